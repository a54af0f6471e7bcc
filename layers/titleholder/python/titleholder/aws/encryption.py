"""Envelope encryption of claims and owners with AWS's Encryption SDK: one data key for each account, wrapped by KMS.

The store keeps the wrapped key in a table that is never backed up. Without it no data of the account can be decrypted, so destroying it
erases the account. Callers pass the wrapped key that they have just read, so that a cached unwrapped key is never used
after an erasure.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.identifiers import Algorithm, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.errors import DecryptionError

CACHE_SECONDS = 300
"""How long an unwrapped key is cached (seconds). For a busy account, each environment calls KMS this often."""

CACHED_KEYS = 256
"""The most unwrapped keys that are cached."""

# Silence the SDK's logger: it logs what it also raises.
logging.getLogger("aws_encryption_sdk").disabled = True
logging.getLogger("aws_encryption_sdk.streaming_client").disabled = True

# Key commitment, and no signature: writers and readers are the same party.
_ALGORITHM = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
_WRAPPING = WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING


@dataclass(frozen=True, slots=True)
class _DataKey:
    """An account's unwrapped data key: `encrypting` wraps the keys of messages, `digesting` is derived from it. `until`: Unix seconds."""

    until: float
    encrypting: RawMasterKey
    digesting: bytes


class AccountCipher:
    """Encrypts and decrypts, through a boto3 KMS client and the KMS key `key_id` (or its alias). `clock`: Unix seconds."""

    def __init__(self, kms: Any, key_id: str, clock: Callable[[], float]) -> None:
        self._kms = kms
        self._key_id = key_id
        self._clock = clock
        self._sdk = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1)
        self._cached: OrderedDict[tuple[str, bytes], _DataKey] = OrderedDict()

    def new_key(self, ref: AccountRef) -> bytes:
        """A new data key for an account, wrapped."""
        made = self._kms.generate_data_key(KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=_context(ref))
        wrapped = bytes(made["CiphertextBlob"])
        self._cache(ref, wrapped, made["Plaintext"])
        return wrapped

    def encrypt(self, ref: AccountRef, wrapped: bytes, item: str, value: Any) -> bytes:
        """Encrypt a JSON value with the account's wrapped key, bound to `item` (the kind and id of the item that will hold it)."""
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        key = self._key(ref, wrapped).encrypting
        encrypted, _ = self._sdk.encrypt(
            source=text.encode(), key_provider=key, encryption_context=_context(ref, item), algorithm=_ALGORITHM
        )
        return bytes(encrypted)

    def decrypt(self, ref: AccountRef, wrapped: bytes, item: str, encrypted: bytes) -> Sensitive[Any]:
        """Decrypt a value that was encrypted for this item.

        Raises:
            DecryptionError: it was encrypted with another key or for another item, or has been changed since.
        """
        try:
            text, header = self._sdk.decrypt(source=encrypted, key_provider=self._key(ref, wrapped).encrypting)
        except (AWSEncryptionSDKClientError, InvalidTag):
            raise DecryptionError(f"{item} cannot be decrypted with its account's key.") from None
        if header.encryption_context != _context(ref, item):
            raise DecryptionError(f"{item} holds data that was encrypted for another item.")
        return Sensitive(json.loads(text))

    def digest(self, ref: AccountRef, wrapped: bytes, value: Any) -> str:
        """A keyed digest of a JSON value: equal for equal values of one account, and useless for guessing them without its key."""
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        return hmac.new(self._key(ref, wrapped).digesting, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()

    def _key(self, ref: AccountRef, wrapped: bytes) -> _DataKey:
        known = self._cached.get((ref.key, wrapped))
        if known is not None and self._clock() < known.until:
            return known
        answer = self._kms.decrypt(KeyId=self._key_id, CiphertextBlob=wrapped, EncryptionContext=_context(ref))
        return self._cache(ref, wrapped, answer["Plaintext"])

    def _cache(self, ref: AccountRef, wrapped: bytes, plain: bytes) -> _DataKey:
        wrapping = WrappingKey(wrapping_algorithm=_WRAPPING, wrapping_key=plain, wrapping_key_type=EncryptionKeyType.SYMMETRIC)
        key = _DataKey(
            until=self._clock() + CACHE_SECONDS,
            encrypting=RawMasterKey(provider_id="titleholder", key_id=ref.key.encode(), wrapping_key=wrapping),
            digesting=HKDF(SHA256(), 32, salt=None, info=b"titleholder claim digest").derive(plain),
        )
        self._cached.pop((ref.key, wrapped), None)
        self._cached[ref.key, wrapped] = key
        while len(self._cached) > CACHED_KEYS or next(iter(self._cached.values())).until <= self._clock():
            self._cached.popitem(last=False)
        return key


def _context(ref: AccountRef, item: str | None = None) -> dict[str, str]:
    """The encryption context of a wrapped key or of an item encrypted with it. It has only ids, because it is stored in plain text."""
    bound = {"account": ref.account, "mode": ref.mode, "stripe_account": ref.stripe_account or "platform"}
    return bound if item is None else {**bound, "item": item}
