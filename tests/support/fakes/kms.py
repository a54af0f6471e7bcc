"""KMS in memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from tests.support.fakes.errors import Cross, at_once, refused


class FakeKMS:
    """Wraps data keys without encryption, but checks that the encryption context is the same when it unwraps."""

    def __init__(self, cross: Cross = at_once) -> None:
        self._cross = cross
        self._numbers = itertools.count(1)
        self.states: dict[str, str] = {}
        """By key, where it is another one than `Enabled`."""

    def generate_data_key(self, *, KeyId: str, KeySpec: str, EncryptionContext: Mapping[str, str]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            plain = next(self._numbers).to_bytes(32)
            return {"Plaintext": plain, "CiphertextBlob": plain + json.dumps(EncryptionContext, sort_keys=True).encode()}

        return self._cross("GenerateDataKey", effect)  # type: ignore[no-any-return]

    def decrypt(self, *, KeyId: str, CiphertextBlob: bytes, EncryptionContext: Mapping[str, str]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if CiphertextBlob[32:] != json.dumps(EncryptionContext, sort_keys=True).encode():
                raise refused("Decrypt", "InvalidCiphertextException")
            return {"Plaintext": CiphertextBlob[:32]}

        return self._cross("Decrypt", effect)  # type: ignore[no-any-return]

    def describe_key(self, *, KeyId: str) -> dict[str, Any]:
        return {"KeyMetadata": {"KeyState": self.states.get(KeyId, "Enabled")}}
