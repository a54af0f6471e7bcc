"""What is encrypted is bound to its item and decrypted with its account's key alone; what was decrypted stays masked."""

from __future__ import annotations

import gc
import hmac
import json
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fakes.kms import FakeKMS
from titleholder.aws.encryption import CACHE_SECONDS, CACHED_KEYS, AccountCipher
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import MASK, Sensitive
from titleholder.errors import DecryptionError

REF = AccountRef("fca_1")
CLAIM = {"name": "Quillfeather Canary", "aka": ["Ünïcode ✓"], "email": None}
ITEM = "CLAIM#ver_1"


class Counted:
    """KMS, with its calls counted."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.kms = FakeKMS(self._cross)

    def _cross(self, operation: str, effect: Callable[[], Any]) -> Any:
        self.calls.append(operation)
        return effect()


@pytest.fixture
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The SDK's streams raise once more when they are collected after a failed decryption."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()


@pytest.mark.usefixtures("_quiet")
class TestAccountCipher:
    def setup_method(self) -> None:
        self.now = 0.0
        self.counted = Counted()
        self.cipher = self.another()
        self.wrapped = self.cipher.new_key(REF)
        self.encrypted = self.cipher.encrypt(REF, self.wrapped, ITEM, CLAIM)

    def another(self) -> AccountCipher:
        """A cipher that has cached nothing."""
        return AccountCipher(self.counted.kms, "key", lambda: self.now)

    def test_digest_is_the_same_for_the_same_claim_and_account_only(self) -> None:
        digest = self.cipher.digest(REF, self.wrapped, CLAIM)
        assert digest == self.another().digest(REF, self.wrapped, dict(reversed(CLAIM.items())))
        other = AccountRef("fca_2")
        others = [
            self.cipher.digest(REF, self.wrapped, {**CLAIM, "email": ""}), self.cipher.digest(other, self.cipher.new_key(other), CLAIM),
            self.cipher.digest(REF, self.cipher.new_key(REF), CLAIM),
        ]  # fmt: skip
        assert len({digest, *others}) == 4

    def test_digest_is_none_that_can_be_made_without_the_key(self) -> None:
        text = json.dumps(CLAIM, sort_keys=True, ensure_ascii=False).encode()
        guesses = [sha256(text).hexdigest(), hmac.new(self.wrapped, text, sha256).hexdigest()]
        assert self.cipher.digest(REF, self.wrapped, CLAIM) not in guesses

    def test_decrypts_what_it_encrypted_and_the_ciphertext_shows_nothing(self) -> None:
        assert b"Canary" not in self.encrypted
        assert self.another().decrypt(REF, self.wrapped, ITEM, self.encrypted).reveal() == CLAIM

    def test_the_same_encrypted_twice_is_not_the_same(self) -> None:
        assert self.cipher.encrypt(REF, self.wrapped, ITEM, CLAIM) != self.encrypted

    def test_what_was_moved_to_another_item_is_not_decrypted(self) -> None:
        with pytest.raises(DecryptionError, match="another item"):
            self.cipher.decrypt(REF, self.wrapped, "CLAIM#ver_2", self.encrypted)

    def test_another_accounts_key_decrypts_nothing(self) -> None:
        other = self.cipher.new_key(REF)
        with pytest.raises(DecryptionError):
            self.cipher.decrypt(REF, other, ITEM, self.encrypted)

    @pytest.mark.parametrize("ref", [AccountRef("fca_2"), AccountRef("fca_1", "live"), AccountRef("fca_1", stripe_account="acct_1")])
    def test_a_key_is_bound_to_account_mode_and_connected_account(self, ref: AccountRef) -> None:
        with pytest.raises(ClientError, match="InvalidCiphertext"):
            self.another().decrypt(ref, self.wrapped, ITEM, self.encrypted)
        with pytest.raises(ClientError, match="InvalidCiphertext"):
            self.cipher.decrypt(ref, self.wrapped, ITEM, self.encrypted)

    @pytest.mark.parametrize("at", [0, 1, 40, 120, -60, -20, -1])
    def test_a_changed_byte_is_refused_without_the_value(self, at: int) -> None:
        changed = bytearray(self.encrypted)
        changed[at] ^= 1
        with pytest.raises(DecryptionError) as raised:
            self.cipher.decrypt(REF, self.wrapped, ITEM, bytes(changed))
        assert "Canary" not in str(raised.value)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.binary(max_size=200))
    def test_other_bytes_in_its_place_are_refused(self, garbage: bytes) -> None:
        with pytest.raises(DecryptionError):
            self.cipher.decrypt(REF, self.wrapped, ITEM, garbage)

    def test_kms_is_asked_once_for_many_items_and_again_after_a_while(self) -> None:
        for number in range(20):
            self.cipher.encrypt(REF, self.wrapped, f"CLAIM#{number}", CLAIM)
        assert self.counted.calls == ["GenerateDataKey"]
        self.now += CACHE_SECONDS
        self.cipher.decrypt(REF, self.wrapped, ITEM, self.encrypted)
        assert self.counted.calls == ["GenerateDataKey", "Decrypt"]

    def test_few_keys_are_cached(self) -> None:
        for number in range(CACHED_KEYS * 2):
            self.cipher.new_key(AccountRef(f"fca_{number}"))
        assert len(self.cipher._cached) == CACHED_KEYS

    def test_expired_keys_are_dropped_when_the_next_is_cached(self) -> None:
        self.now += CACHE_SECONDS
        wrapped = self.cipher.new_key(AccountRef("fca_2"))
        assert list(self.cipher._cached) == [(AccountRef("fca_2").key, wrapped)]


@pytest.mark.parametrize("value", [CLAIM, [CLAIM], "Canary", None])
def test_masked_value_shows_itself_only_by_reveal(value: Any) -> None:
    masked = Sensitive(value)
    seen = [
        repr(masked),
        str(masked),
        f"{masked}",
        f"{masked!r:>20}",
        json.dumps({"claim": masked}),
        repr({"claim": [masked]}),
        "".join([masked]),
    ]
    assert not [text for text in seen if "Canary" in text or MASK not in text]
    assert masked.reveal() is value


def test_masked_values_are_equal_by_what_they_hide() -> None:
    assert Sensitive([1]) == Sensitive([1])
    assert Sensitive([1]) != Sensitive([2])
    assert Sensitive(MASK) != MASK
