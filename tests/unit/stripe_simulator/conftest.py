"""A simulator in virtual time, and the official SDK connected to it without sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import stripe

from local.stripe_simulator import Options, Simulator
from local.stripe_simulator.deliveries import Outgoing
from local.stripe_simulator.sdk import SimulatorHTTPClient
from tests.support.stripe_client import TEST_KEY, CheckedHTTPClient, client

START = 1_800_000_000.0
SECRET = "whsec_for_tests_only"


@dataclass
class SimulatorDriver:
    """What a test uses: the simulator `sim`, the SDK's client `stripe`, and `wait`, which lets virtual time pass."""

    sim: Simulator
    http: CheckedHTTPClient
    stripe: stripe.StripeClient
    time: list[float]

    @property
    def now(self) -> float:
        return self.time[0]

    def wait(self, seconds: float) -> None:
        self.time[0] += seconds

    @property
    def accounts(self) -> Any:
        return self.stripe.v1.financial_connections.accounts

    def client(self, key: str = TEST_KEY, **options: Any) -> stripe.StripeClient:
        return client(self.http, key, **options)

    def refresh(self, account: str, **options: Any) -> Any:
        return self.accounts.refresh(account, {"features": ["ownership"]}, options)

    def deliver(self, status: int | None = 200) -> list[Outgoing]:
        """Make every delivery that is due. Each is answered with `status`."""
        due = self.sim.due_deliveries()
        for delivery in due:
            self.sim.delivered(delivery, status)
        return due


@pytest.fixture
def make_driver() -> Callable[..., SimulatorDriver]:
    def make(**options: Any) -> SimulatorDriver:
        time = [START]
        sim = Simulator(lambda: time[0], seed=1, options=Options(**{"settle_seconds": 5.0, "cooldown_seconds": 60.0, **options}))
        http = CheckedHTTPClient(SimulatorHTTPClient(sim))
        return SimulatorDriver(sim, http, client(http), time)

    return make


@pytest.fixture
def driver(make_driver: Callable[..., SimulatorDriver]) -> SimulatorDriver:
    return make_driver()
