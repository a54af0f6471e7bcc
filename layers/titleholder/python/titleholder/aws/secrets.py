"""Secrets from AWS Secrets Manager: the current version, and for a day the previous one. Cached, and reloaded if no value is accepted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.errors import is_aws_unavailable, reraise_unless
from titleholder.observability import logger, metrics

MAX_AGE_SECONDS = 300
RELOAD_PAUSE_SECONDS = 10
"""The shortest time between two loads, because each forged delivery asks for a reload."""

KEPT_SECONDS = 3600
"""How old the values may be that are used while Secrets Manager throttles calls or does not answer (seconds)."""

PREVIOUS_SECONDS = 24 * 3600
"""How long the previous version is valid after the current one was created: the longest time that Stripe keeps a rolled secret valid."""


_MISSING = ("ResourceNotFoundException", "InvalidRequestException", "AccessDeniedException")
"""AWS's answers for a secret that does not exist or was deleted.

A role names its secret by an ARN with the characters that AWS appends. While the secret does not exist, that permission applies to nothing,
so AWS denies access.
"""


@dataclass(frozen=True, slots=True)
class SecretKind:
    """The form of a usable value: `name` for messages, `pattern` for the whole value."""

    name: str
    pattern: re.Pattern[str]


SIGNING_SECRET = SecretKind("webhook signing secret (whsec_...)", re.compile(r"whsec_[A-Za-z0-9+/=_-]{8,}"))
"""Stripe's own have 32 or more characters after the prefix. Those of test servers may be shorter, but a placeholder must not match."""

API_KEY = SecretKind("Stripe API key (sk_... or rk_...)", re.compile(r"(sk|rk)_[A-Za-z0-9_]+"))


class SecretValues:
    """The usable values of one secret: those of its current version, and for a day after its creation those of the previous version.

    A version holds one value, several separated by commas or white space, or a JSON list (or object) of them. Only parts with the form
    of its `kind` are values; other parts of the text are ignored and reported. `clock` gives Unix seconds.
    """

    def __init__(self, client: Any, name: str, kind: SecretKind, clock: Callable[[], float]) -> None:
        self._client = client
        self._name = name
        self._kind = kind
        self._clock = clock
        self._current: tuple[str, ...] = ()
        self._previous: tuple[str, ...] = ()
        self._previous_ends = 0.0
        self._loaded_at = -math.inf
        self._refusal: str | None = None

    def get(self) -> Sequence[str]:
        """The values, at most 5 minutes old; empty if the secret does not exist, may not be read or holds no usable value."""
        return self._values(MAX_AGE_SECONDS)

    def reload(self) -> Sequence[str]:
        """The values as they are now, unless they were loaded in the last 10 seconds."""
        return self._values(RELOAD_PAUSE_SECONDS)

    def _values(self, max_age: float) -> tuple[str, ...]:
        # A clock that was set back makes the age negative.
        age = self._clock() - self._loaded_at
        if not 0 <= age <= max_age:
            try:
                self._load()
            except Exception as error:
                if not is_aws_unavailable(error) or not self._current or not 0 <= age <= KEPT_SECONDS:
                    raise
                logger.warning("a secret can't be loaded again, so its last values are used", extra={"secret": self._name})
        return self._current + self._previous if self._clock() < self._previous_ends else self._current

    def _load(self) -> None:
        current: tuple[str, ...] = ()
        previous: tuple[str, ...] = ()
        ends = 0.0
        self._refusal = None
        version = self._version("AWSCURRENT")
        if version is not None:
            current = self._usable(version)
            # Without a date the end of the previous version is unknown, so it is not used.
            created = version.get("CreatedDate")
            ends = created.timestamp() + PREVIOUS_SECONDS if created else 0.0
            before = self._version("AWSPREVIOUS") if self._clock() < ends else None
            if before is not None:
                previous = tuple(value for value in self._usable(before) if value not in current)
        if not current:
            # The metric raises an alarm: without a usable value every delivery, or every call to Stripe, is refused.
            metrics.add_metric(name="SecretUnusable", unit=MetricUnit.Count, value=1)
            about = {"secret": self._name, "expected": self._kind.name, "answer": self._refusal}
            logger.error("a secret does not exist, may not be read, or its current version holds no usable value", extra=about)
        self._current, self._previous, self._previous_ends = current, previous, ends
        self._loaded_at = self._clock()

    def _version(self, stage: str) -> dict[str, Any] | None:
        """A version of the secret; None if there is none, or AWS does not say whether there is."""
        try:
            found: dict[str, Any] = self._client.get_secret_value(SecretId=self._name, VersionStage=stage)
        except Exception as error:
            self._refusal = reraise_unless(error, *_MISSING)["Error"]["Code"]
            return None
        return found

    def _usable(self, version: dict[str, Any]) -> tuple[str, ...]:
        found = list(dict.fromkeys(split(version.get("SecretString") or "")))
        usable = tuple(value for value in found if self._kind.pattern.fullmatch(value))
        if len(usable) < len(found):
            ignored = {"secret": self._name, "expected": self._kind.name, "ignored": len(found) - len(usable)}
            logger.warning("parts of a secret are ignored because they do not have its form", extra=ignored)
        return usable


class SecretApiKeys:
    """Stripe's API keys from a secret, as `stripe_api.gateway.ApiKeys`."""

    def __init__(self, values: SecretValues) -> None:
        self._values = values

    def api_keys(self) -> Sequence[str]:
        return self._values.get()

    def reload_api_keys(self) -> Sequence[str]:
        return self._values.reload()


def split(text: str) -> list[str]:
    """The parts of a secret's text, of any form."""
    text = text.strip()
    if text[:1] in ("[", "{"):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return []
        values = list(data.values()) if isinstance(data, dict) else data
        return [value.strip() for value in values if isinstance(value, str) and value.strip()]
    return text.replace(",", " ").split()
