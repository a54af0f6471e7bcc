"""An HTTP client for the official SDK that calls a `Simulator` directly, without sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe

from local.stripe_simulator.core import Simulator
from local.stripe_simulator.wire import CaseInsensitive


class SimulatorHTTPClient(stripe.HTTPClient):
    """Use as `stripe.StripeClient(key, http_client=SimulatorHTTPClient(simulator))`.

    timeout: seconds until a hanging call fails with stripe.APIConnectionError. sleep: waits that long, for example on a virtual clock;
    None does not wait.
    """

    name = "simulator"

    def __init__(self, simulator: Simulator, *, timeout: float = 80.0, sleep: Callable[[float], None] | None = None) -> None:
        super().__init__()
        self._simulator = simulator
        self._timeout = timeout
        self._sleep = sleep or (lambda seconds: None)

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        body = post_data.encode() if isinstance(post_data, str) else post_data or b""
        response = self._simulator.handle(method, target, headers or {}, body)
        if response.action == "drop":
            raise self._connection_error("The connection was closed without an answer.")
        if response.action == "hang":
            self._sleep(min(response.seconds, self._timeout))
            if response.seconds >= self._timeout or not response.status:
                raise self._connection_error("The request timed out.")
        return response.body.decode(), response.status, CaseInsensitive(response.headers)

    @staticmethod
    def _connection_error(message: str) -> stripe.APIConnectionError:
        return stripe.APIConnectionError(message, should_retry=True)  # type: ignore[no-untyped-call]

    def _sleep_time_seconds(self, num_retries: int) -> float:
        # The SDK would sleep in real time between its own retries.
        self._sleep(min(self.INITIAL_DELAY * 2 ** (num_retries - 1), self.MAX_DELAY))
        return 0.0

    def close(self) -> None:
        pass
