"""Envelope encryption of claims and owners: one data key an account, wrapped by KMS, used through AWS's own Encryption SDK.

The wrapped key is the store's to keep, in a table that is never backed up: without it nobody can open what was sealed, so destroying it is
erasure. Only wrapped keys that the store has just read are used, so this module's memory of unwrapped ones can't outlive an erasure.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.identifiers import Algorithm, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey
from cryptography.exceptions import InvalidTag

from titleholder.accounts import AccountRef
from titleholder.errors import SealBrokenError
from titleholder.masked import Masked

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


class Vault:
    """Seals and opens, through a boto3 KMS client and the KMS key `key_id` (or its alias). `clock`: Unix seconds."""

    def __init__(self, kms: Any, key_id: str, clock: Callable[[], float]) -> None:
        self._kms = kms
        self._key_id = key_id
        self._clock = clock
        self._sdk = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1)
        self._unwrapped: OrderedDict[tuple[str, bytes], tuple[float, RawMasterKey]] = OrderedDict()

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
            source=text.encode(), key_provider=self._key(ref, wrapped), encryption_context=_context(ref, item), algorithm=_ALGORITHM
        )
        return bytes(sealed)

    def open(self, ref: AccountRef, wrapped: bytes, item: str, sealed: bytes) -> Masked[Any]:
        """What was sealed for that very place.

        Raises:
            SealBrokenError: it was sealed with another key or for another place, or was changed since.
        """
        try:
            text, header = self._sdk.decrypt(source=sealed, key_provider=self._key(ref, wrapped))
        except (AWSEncryptionSDKClientError, InvalidTag):
            raise SealBrokenError(f"{item} cannot be opened with its account's key.") from None
        if header.encryption_context != _context(ref, item):
            raise SealBrokenError(f"{item} was sealed for another place.")
        return Masked(json.loads(text))

    def _key(self, ref: AccountRef, wrapped: bytes) -> RawMasterKey:
        known = self._unwrapped.get((ref.key, wrapped))
        if known is not None and self._clock() < known[0]:
            return known[1]
        answer = self._kms.decrypt(KeyId=self._key_id, CiphertextBlob=wrapped, EncryptionContext=_context(ref))
        return self._remember(ref, wrapped, answer["Plaintext"])

    def _remember(self, ref: AccountRef, wrapped: bytes, plain: bytes) -> RawMasterKey:
        wrapping = WrappingKey(wrapping_algorithm=_WRAPPING, wrapping_key=plain, wrapping_key_type=EncryptionKeyType.SYMMETRIC)
        key = RawMasterKey(provider_id="titleholder", key_id=ref.key.encode(), wrapping_key=wrapping)
        self._unwrapped.pop((ref.key, wrapped), None)
        self._unwrapped[ref.key, wrapped] = (self._clock() + MEMORY_SECONDS, key)
        while len(self._unwrapped) > MEMORY_KEYS:
            self._unwrapped.popitem(last=False)
        return key


def _context(ref: AccountRef, item: str | None = None) -> dict[str, str]:
    """What a key, or what is sealed with it, is bound to: ids alone, for it stands beside the ciphertext in clear."""
    bound = {"account": ref.account, "mode": ref.mode, "stripe_account": ref.stripe_account or "platform"}
    return bound if item is None else {**bound, "item": item}
