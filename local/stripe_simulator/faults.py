"""API faults on demand, and Stripe's rate limits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from local.stripe_simulator.wire import Action, ApiError


@dataclass
class ApiFault:
    """What happens to API calls that match. docs/reference/simulator.md is written from this text.

    kind: what happens. `rate_limit`: 429. `server_error`: 500. `conflict`: 409. `hang`: no answer for `seconds`. `drop`: the connection
        closes without an answer. `late`: no answer, and the call is executed `seconds` later. Until then, calls with the same
        idempotency key are answered 409. Afterwards they get the answer of the late call.
    method: only calls with this HTTP method.
    path: only calls of this path, as a template such as `/v1/financial_connections/accounts/{account}/refresh`.
    account: only calls about this account.
    stripe_account: only calls with this value of the header `Stripe-Account`.
    times: to how many calls the fault applies. null: to all.
    skip: how many matching calls are answered normally before the fault begins.
    seconds: how long `hang` and `late` take.
    effect: with `after`, the call takes effect and then fails. Calls that are answered 429 or 409 never take effect.
    reason: for `rate_limit`: the value of the header `Stripe-Rate-Limited-Reason`. null: the error `lock_timeout`, without that header.
    stored: for `server_error`: whether the 500 is stored with the call's idempotency key. With `false`, the
        500 of the effect `before` is answered before the key is looked up.
    should_retry: the value of the header `Stripe-Should-Retry`. null: no such header.
    """

    kind: Literal["rate_limit", "server_error", "conflict", "hang", "drop", "late"]
    method: str | None = None
    path: str | None = None
    account: str | None = None
    stripe_account: str | None = None
    times: int | None = 1
    skip: int = 0
    seconds: float = 60.0
    effect: Literal["before", "after"] = "before"
    reason: str | None = "endpoint-rate"
    stored: bool = True
    should_retry: bool | None = None

    def takes(self, method: str, template: str, account: str | None, stripe_account: str | None) -> bool:
        wanted = (self.method, self.path, self.account, self.stripe_account)
        given = (method, template, account, stripe_account)
        if self.times == 0 or any(want not in (None, is_) for want, is_ in zip(wanted, given, strict=True)):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def silence(self) -> tuple[Action, float]:
        """The action and seconds of a hang or drop."""
        return ("hang", self.seconds) if self.kind == "hang" else ("drop", 0.0)

    def error(self) -> ApiError:
        headers = {} if self.should_retry is None else {"Stripe-Should-Retry": str(self.should_retry).lower()}
        if self.kind == "rate_limit":
            return rate_limited(self.reason, headers)
        if self.kind == "conflict":
            message = "The request conflicts with another request that is being processed."
            return ApiError(409, message, code="lock_timeout", headers=headers)
        return ApiError(500, "An unknown error occurred", type="api_error", headers=headers)


def rate_limited(reason: str | None, headers: Mapping[str, str]) -> ApiError:
    if reason is None:
        message = "This object cannot be accessed right now because another API request or Stripe process is currently accessing it."
        return ApiError(429, message, code="lock_timeout", headers=headers)
    message = "Request rate limit exceeded."
    return ApiError(429, message, code="rate_limit", headers={**headers, "Stripe-Rate-Limited-Reason": reason})


class RateMeter:
    """Counts each key's calls within one second, refuses calls beyond a limit, and keeps the peaks."""

    def __init__(self) -> None:
        self._asked: dict[str, deque[float]] = {}
        self._admitted: dict[str, deque[float]] = {}
        self.peaks: Counter[str] = Counter()

    def clear(self) -> None:
        self._asked.clear()
        self._admitted.clear()
        self.peaks.clear()

    def admit(self, key: str, now: float, limit: int | None) -> bool:
        """Refused calls do not use up the limit, but count for the peak."""
        asked, admitted = (calls.setdefault(key, deque()) for calls in (self._asked, self._admitted))
        for calls in (asked, admitted):
            while calls and calls[0] <= now - 1.0:
                calls.popleft()
        asked.append(now)
        self.peaks[key] = max(self.peaks[key], len(asked))
        if limit is not None and len(admitted) >= limit:
            return False
        admitted.append(now)
        return True
