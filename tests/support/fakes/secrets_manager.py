"""Secrets Manager in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.fakes.errors import Cross, refused


class FakeSecrets:
    """Secrets by name: one version each."""

    def __init__(self, cross: Cross, values: Mapping[str, str]) -> None:
        self._cross, self.values = cross, dict(values)

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if VersionStage != "AWSCURRENT" or SecretId not in self.values:
                raise refused("GetSecretValue", "ResourceNotFoundException")
            return {"SecretString": self.values[SecretId]}

        return self._cross("GetSecretValue", effect)  # type: ignore[no-any-return]
