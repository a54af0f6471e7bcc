"""The secrets, from AWS Secrets Manager: cached, current and previous, loaded anew when none of them serves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from titleholder.errors import refused

MAX_AGE_SECONDS = 300
RELOAD_PAUSE_SECONDS = 10
"""Forged deliveries must not make us ask Secrets Manager without pause."""


class SecretValues:
    """One secret's values: those of its current version, then those of the previous one.

    A version holds one value, several separated by commas or white space, or a JSON list (or object) of them.
    """

    def __init__(self, client: Any, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._name = name
        self._clock = clock
        self._values: tuple[str, ...] = ()
        self._loaded_at: float | None = None

    def get(self) -> Sequence[str]:
        """The values, at most 5 minutes old; none if the secret does not exist or is empty."""
        if self._loaded_at is None or self._clock() - self._loaded_at > MAX_AGE_SECONDS:
            self._load()
        return self._values

    def reload(self) -> Sequence[str]:
        """The values as they are now, unless they were loaded in the last 10 seconds."""
        if self._loaded_at is None or self._clock() - self._loaded_at > RELOAD_PAUSE_SECONDS:
            self._load()
        return self._values

    def _load(self) -> None:
        found: list[str] = []
        for stage in ("AWSCURRENT", "AWSPREVIOUS"):
            try:
                text = self._client.get_secret_value(SecretId=self._name, VersionStage=stage)["SecretString"]
            except Exception as error:
                refused(error, "ResourceNotFoundException", "InvalidRequestException")
                continue
            found += [value for value in _split(text) if value not in found]
        self._values = tuple(found)
        self._loaded_at = self._clock()


class SecretApiKeys:
    """Stripe's API keys out of a secret, as `stripe_gateway.ApiKeys`."""

    def __init__(self, values: SecretValues) -> None:
        self._values = values

    def api_keys(self) -> Sequence[str]:
        return self._values.get()

    def reload_api_keys(self) -> Sequence[str]:
        return self._values.reload()


def _split(text: str) -> list[str]:
    text = text.strip()
    if text[:1] in ("[", "{"):
        try:
            data = json.loads(text)
        except ValueError:
            return []
        values = list(data.values()) if isinstance(data, dict) else data
        return [value for value in values if isinstance(value, str) and value]
    return text.replace(",", " ").split()
