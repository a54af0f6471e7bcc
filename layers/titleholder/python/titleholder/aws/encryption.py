"""Envelope encryption of claims and owners: one data key an account, wrapped by KMS, used through AWS's own Encryption SDK.

The wrapped key is the store's to keep, in a table that is never backed up: without it nobody can open what was sealed, so destroying it is
erasure. Only wrapped keys that the store has just read are used, so this module's memory of unwrapped ones can't outlive an erasure.
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

MEMORY_SECONDS = 300
"""How long an unwrapped key is remembered; a busy account asks KMS that often in each environment."""

MEMORY_KEYS = 256
"""How many unwrapped keys are remembered at most."""

# What it says of a broken seal, it says in an exception as well.
logging.getLogger("aws_encryption_sdk").disabled = True
logging.getLogger("aws_encryption_sdk.streaming_client").disabled = True

# Key commitment, and no signature: writers and readers are the same party.
_ALGORITHM = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
_WRAPPING = WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING


@dataclass(frozen=True, slots=True)
class _Unwrapped:
    """What an account's data key is used as: it wraps what is sealed, and another key made of it makes digests. `until`: Unix seconds."""

    until: float
    sealing: RawMasterKey
    digesting: bytes


class AccountCipher:
    """Seals and opens, through a boto3 KMS client and the KMS key `key_id` (or its alias). `clock`: Unix seconds."""

    def __init__(self, kms: Any, key_id: str, clock: Callable[[], float]) -> None:
        self._kms = kms
        self._key_id = key_id
        self._clock = clock
        self._sdk = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1)
        self._unwrapped: OrderedDict[tuple[str, bytes], _Unwrapped] = OrderedDict()

    def new_key(self, ref: AccountRef) -> bytes:
        """A new data key for an account, wrapped."""
        made = self._kms.generate_data_key(KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=_context(ref))
        wrapped = bytes(made["CiphertextBlob"])
        self._remember(ref, wrapped, made["Plaintext"])
        return wrapped

    def seal(self, ref: AccountRef, wrapped: bytes, item: str, value: Any) -> bytes:
        """What JSON can hold, encrypted for the place `item` (a kind and an id) of the account whose wrapped key this is."""
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        sealed, _ = self._sdk.encrypt(
            source=text.encode(), key_provider=self._key(ref, wrapped).sealing, encryption_context=_context(ref, item), algorithm=_ALGORITHM
        )
        return bytes(sealed)

    def open(self, ref: AccountRef, wrapped: bytes, item: str, sealed: bytes) -> Sensitive[Any]:
        """What was sealed for that very place.

        Raises:
            SealBrokenError: it was sealed with another key or for another place, or was changed since.
        """
        try:
            text, header = self._sdk.decrypt(source=sealed, key_provider=self._key(ref, wrapped).sealing)
        except (AWSEncryptionSDKClientError, InvalidTag):
            raise DecryptionError(f"{item} cannot be opened with its account's key.") from None
        if header.encryption_context != _context(ref, item):
            raise DecryptionError(f"{item} was sealed for another place.")
        return Sensitive(json.loads(text))

    def digest(self, ref: AccountRef, wrapped: bytes, value: Any) -> str:
        """A digest of what JSON can hold: equal for equal values of one account, and no help in guessing them without its key."""
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        return hmac.new(self._key(ref, wrapped).digesting, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()

    def _key(self, ref: AccountRef, wrapped: bytes) -> _Unwrapped:
        known = self._unwrapped.get((ref.key, wrapped))
        if known is not None and self._clock() < known.until:
            return known
        answer = self._kms.decrypt(KeyId=self._key_id, CiphertextBlob=wrapped, EncryptionContext=_context(ref))
        return self._remember(ref, wrapped, answer["Plaintext"])

    def _remember(self, ref: AccountRef, wrapped: bytes, plain: bytes) -> _Unwrapped:
        wrapping = WrappingKey(wrapping_algorithm=_WRAPPING, wrapping_key=plain, wrapping_key_type=EncryptionKeyType.SYMMETRIC)
        key = _Unwrapped(
            until=self._clock() + MEMORY_SECONDS,
            sealing=RawMasterKey(provider_id="titleholder", key_id=ref.key.encode(), wrapping_key=wrapping),
            digesting=HKDF(SHA256(), 32, salt=None, info=b"titleholder claim digest").derive(plain),
        )
        self._unwrapped.pop((ref.key, wrapped), None)
        self._unwrapped[ref.key, wrapped] = key
        while len(self._unwrapped) > MEMORY_KEYS or next(iter(self._unwrapped.values())).until <= self._clock():
            self._unwrapped.popitem(last=False)
        return key


def _context(ref: AccountRef, item: str | None = None) -> dict[str, str]:
    """What a key, or what is sealed with it, is bound to: ids alone, for it stands beside the ciphertext in clear."""
    bound = {"account": ref.account, "mode": ref.mode, "stripe_account": ref.stripe_account or "platform"}
    return bound if item is None else {**bound, "item": item}
