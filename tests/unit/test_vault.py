"""The vault: what is sealed is bound to its place and opened by its account's key alone; what was opened shows nobody its face."""

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

from tests.simulation.fake_aws import FakeKMS
from titleholder.aws.encryption import MEMORY_KEYS, MEMORY_SECONDS, AccountCipher
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
    """The SDK's streams complain once more when they are thrown away after a broken seal."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()


@pytest.mark.usefixtures("_quiet")
class TestVault:
    def setup_method(self) -> None:
        self.now = 0.0
        self.counted = Counted()
        self.vault = self.another()
        self.wrapped = self.vault.new_key(REF)
        self.sealed = self.vault.seal(REF, self.wrapped, ITEM, CLAIM)

    def another(self) -> AccountCipher:
        """A vault that remembers nothing."""
        return AccountCipher(self.counted.kms, "key", lambda: self.now)

    def test_digest_is_the_same_for_the_same_claim_and_account_only(self) -> None:
        digest = self.vault.digest(REF, self.wrapped, CLAIM)
        assert digest == self.another().digest(REF, self.wrapped, dict(reversed(CLAIM.items())))
        other = AccountRef("fca_2")
        others = [
            self.vault.digest(REF, self.wrapped, {**CLAIM, "email": ""}), self.vault.digest(other, self.vault.new_key(other), CLAIM),
            self.vault.digest(REF, self.vault.new_key(REF), CLAIM),
        ]  # fmt: skip
        assert len({digest, *others}) == 4

    def test_digest_is_none_that_can_be_made_without_the_key(self) -> None:
        text = json.dumps(CLAIM, sort_keys=True, ensure_ascii=False).encode()
        guesses = [sha256(text).hexdigest(), hmac.new(self.wrapped, text, sha256).hexdigest()]
        assert self.vault.digest(REF, self.wrapped, CLAIM) not in guesses

    def test_opens_what_it_sealed_and_the_seal_shows_nothing(self) -> None:
        assert b"Canary" not in self.sealed
        assert self.another().open(REF, self.wrapped, ITEM, self.sealed).reveal() == CLAIM

    def test_the_same_sealed_twice_is_not_the_same(self) -> None:
        assert self.vault.seal(REF, self.wrapped, ITEM, CLAIM) != self.sealed

    def test_what_was_moved_to_another_item_is_not_opened(self) -> None:
        with pytest.raises(DecryptionError, match="another place"):
            self.vault.open(REF, self.wrapped, "CLAIM#ver_2", self.sealed)

    def test_another_accounts_key_opens_nothing(self) -> None:
        other = self.vault.new_key(REF)
        with pytest.raises(DecryptionError):
            self.vault.open(REF, other, ITEM, self.sealed)

    @pytest.mark.parametrize("ref", [AccountRef("fca_2"), AccountRef("fca_1", "live"), AccountRef("fca_1", stripe_account="acct_1")])
    def test_a_key_is_bound_to_account_mode_and_connected_account(self, ref: AccountRef) -> None:
        with pytest.raises(ClientError, match="InvalidCiphertext"):
            self.another().open(ref, self.wrapped, ITEM, self.sealed)
        with pytest.raises(ClientError, match="InvalidCiphertext"):
            self.vault.open(ref, self.wrapped, ITEM, self.sealed)

    @pytest.mark.parametrize("at", [0, 1, 40, 120, -60, -20, -1])
    def test_a_changed_byte_breaks_the_seal_and_tells_nothing(self, at: int) -> None:
        changed = bytearray(self.sealed)
        changed[at] ^= 1
        with pytest.raises(DecryptionError) as raised:
            self.vault.open(REF, self.wrapped, ITEM, bytes(changed))
        assert "Canary" not in str(raised.value)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.binary(max_size=200))
    def test_whatever_stands_there_instead_breaks_the_seal(self, garbage: bytes) -> None:
        with pytest.raises(DecryptionError):
            self.vault.open(REF, self.wrapped, ITEM, garbage)

    def test_kms_is_asked_once_for_many_items_and_again_after_a_while(self) -> None:
        for number in range(20):
            self.vault.seal(REF, self.wrapped, f"CLAIM#{number}", CLAIM)
        assert self.counted.calls == ["GenerateDataKey"]
        self.now += MEMORY_SECONDS
        self.vault.open(REF, self.wrapped, ITEM, self.sealed)
        assert self.counted.calls == ["GenerateDataKey", "Decrypt"]

    def test_few_keys_are_remembered(self) -> None:
        for number in range(MEMORY_KEYS * 2):
            self.vault.new_key(AccountRef(f"fca_{number}"))
        assert len(self.vault._unwrapped) == MEMORY_KEYS

    def test_keys_whose_time_is_over_are_forgotten_when_the_next_is_remembered(self) -> None:
        self.now += MEMORY_SECONDS
        wrapped = self.vault.new_key(AccountRef("fca_2"))
        assert list(self.vault._unwrapped) == [(AccountRef("fca_2").key, wrapped)]


@pytest.mark.parametrize("value", [CLAIM, [CLAIM], "Canary", None])
def test_masked_value_shows_itself_to_nobody_but_who_asks(value: Any) -> None:
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
