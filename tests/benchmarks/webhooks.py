"""A thousand deliveries at a hundred a second on the embedded stack: none lost, and how soon each is acknowledged."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles
from typing import Any

import requests

from local.stack import running
from local.stripe_simulator.options import Options
from tests.benchmarks.figures import Figure
from tests.e2e.stack_driver import StackDriver, eventually
from titleholder.stripe_api import signatures

DELIVERIES, PER_SECOND, CALLERS = 1000, 100, 32
DRAIN_SECONDS = 300


def measure() -> list[Figure]:
    with running(options=Options(settle_seconds=0.3), parameters={"StripeCallsPerSecond": "100"}) as stack:
        driver = StackDriver(stack)
        account = driver.link("single_owner")
        driver.verdict(driver.accepted(account), within=60)
        session = requests.Session()
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=CALLERS))
        for number in range(6):  # Every environment of the receiver has started.
            _deliver(session, stack, f"evt_warm{number}", account)
        began = time.monotonic()

        def at_its_time(number: int) -> tuple[int, float]:
            due = began + number / PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            status = _deliver(session, stack, f"evt_burst{number}", account)
            # From when it was due: a sender that is held up counts as waiting.
            return status, time.monotonic() - due

        with ThreadPoolExecutor(CALLERS) as callers:
            answers = list(callers.map(at_its_time, range(DELIVERIES)))
        took = time.monotonic() - began
        wanted = {f"EVENT#evt_burst{number}" for number in range(DELIVERIES)}

        def processed() -> bool:
            done = {pk for (pk, _), item in driver.table().items() if item.get("processed", {}).get("BOOL")}
            return wanted <= done

        eventually(processed, DRAIN_SECONDS)
        drained = time.monotonic() - began
    times = quantiles([1000 * seconds for _, seconds in answers], n=100)
    lost = sum(status != 200 for status, _ in answers)
    topic, about = "webhooks", f"{DELIVERIES} at {PER_SECOND} a second, on this machine"
    return [
        Figure(topic, "not acknowledged or lost", lost, "", ("<=", 0.0), f"{about}; all processed after {drained:.0f} s"),
        Figure(topic, "acknowledged, p50", times[49], "ms", None, f"{about}; sent in {took:.1f} s"),
        Figure(topic, "acknowledged, p99", times[98], "ms", None, about),
    ]


def _deliver(session: requests.Session, stack: Any, event: str, account: str) -> int:
    body = json.dumps({
        "id": event, "object": "event", "type": "financial_connections.account.refreshed_ownership", "livemode": False,
        "created": int(time.time()), "data": {"object": {"id": account, "object": "financial_connections.account"}},
    }).encode()  # fmt: skip
    headers = {"Content-Type": "application/json", "Stripe-Signature": signatures.sign(body, stack.webhook_secret, int(time.time()))}
    return session.post(stack.webhook_url, body, headers=headers, timeout=60).status_code
