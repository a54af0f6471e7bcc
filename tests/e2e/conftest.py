"""One embedded stack for all end-to-end tests: the real template, real HTTP, a Stripe that settles refreshes in 0.3 s."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from local.aws.paths import BUILD
from local.stack import running
from local.stripe_simulator.options import Options
from tests.e2e.bench import Bench

SETTLE_TIMEOUT_SECONDS = 8
TRAIL = BUILD / "aws" / "trail.jsonl"
"""What IAM decided while the tests ran."""


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    options = Options(settle_seconds=0.3, cooldown_seconds=3600.0, retry_base_seconds=1.0)
    TRAIL.parent.mkdir(parents=True, exist_ok=True)
    TRAIL.unlink(missing_ok=True)
    parameters = {"SettleTimeoutSeconds": str(SETTLE_TIMEOUT_SECONDS), "StripeEventBus": "default"}
    with running(parameters=parameters, options=options, trail=TRAIL) as stack:
        bench = Bench(stack)
        # The first verification pays every function's cold start, so that no test measures it.
        bench.verdict(bench.accepted(bench.link("single_owner")), within=60)
        yield bench


@pytest.fixture
def quiet(bench: Bench) -> Bench:
    """The stack once nothing is under way in it any more: no message in a queue, no change in the table."""
    before = bench.table()
    while True:
        time.sleep(0.25)
        after = bench.table()
        if after == before and not any(_messages(bench, name) for name in ("RefreshQueueUrl", "EventsQueueUrl")):
            return bench
        before = after


def _messages(bench: Bench, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    found = bench.stack.client("sqs").get_queue_attributes(QueueUrl=bench.stack.outputs[queue], AttributeNames=names)["Attributes"]
    return sum(int(found.get(name, 0)) for name in names)
