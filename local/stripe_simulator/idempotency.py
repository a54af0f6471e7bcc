"""Idempotency keys: a key keeps its first answer for a day (docs.stripe.com/api/idempotent_requests)."""

from __future__ import annotations

from dataclasses import dataclass

from local.stripe_simulator.options import Options
from local.stripe_simulator.timeline import Scope
from local.stripe_simulator.wire import ApiError, Response

LONGEST_KEY = 255


@dataclass
class Remembered:
    """The first use of a key. `busy_until`: the first request is still being answered until then."""

    fingerprint: str
    at: float
    busy_until: float
    response: Response


class IdempotencyKeys:
    """The first use of each key and its answer."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._all: dict[tuple[Scope, str], Remembered] = {}
        self._held: dict[tuple[Scope, str], str] = {}

    def clear(self) -> None:
        self._all.clear()
        self._held.clear()

    def hold(self, scope: Scope, key: str, fingerprint: str) -> None:
        """Reserve the key for a request that is executed later. Until `remember`, other requests get 409."""
        self._held[scope, key] = fingerprint

    def holds(self, key: str) -> bool:
        """Whether a request with this key is still to be executed."""
        return any(held == key for _, held in self._held)

    def recall(self, scope: Scope, key: str, fingerprint: str, now: float) -> Response | None:
        """The stored answer, or None for a new key.

        Raises ApiError: 400 for a key too long or used with other parameters, 409 while the first request is under way.
        """
        if len(key) > LONGEST_KEY:
            raise ApiError(400, f"Idempotency keys may be at most {LONGEST_KEY} characters long.", type="idempotency_error")
        seen, held = self._all.get((scope, key)), self._held.get((scope, key))
        if held is None and (seen is None or now - seen.at >= self._options.idempotency_seconds):
            return None
        if fingerprint != (held if seen is None else seen.fingerprint):
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
                f" Try using a key other than '{key}' if you meant to execute a different request."
            )
            raise ApiError(400, message, type="idempotency_error")
        if seen is None or now < seen.busy_until:
            message = "There is currently another in-progress request using this Idempotent Key."
            raise ApiError(409, message, type="idempotency_error", code="idempotency_key_in_use")
        return seen.response

    def remember(self, scope: Scope, key: str, fingerprint: str, now: float, response: Response, busy_seconds: float = 0.0) -> None:
        """Store the first answer. Its caller gets it `busy_seconds` from now."""
        self._held.pop((scope, key), None)
        self._all[scope, key] = Remembered(fingerprint, now, now + busy_seconds, response)
