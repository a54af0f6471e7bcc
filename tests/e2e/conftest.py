"""One embedded stack for all end-to-end tests: the real template, real HTTP, a Stripe that settles refreshes in 0.3 s."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from local.stack import Stack, running
from local.stripe_simulator.options import Options
from tests.e2e.issuer import ACCOUNT_CLAIM, APP_CLIENT, AUDIENCE, DESK, SCOPE_PREFIX, Issuer
from tests.e2e.stack_driver import TRAIL, StackDriver
from tests.support.desk_browser import desk, visit  # noqa: F401
from tests.support.whole_run import OTHER_STACK
from tools.permissions import Roles

SETTLE_TIMEOUT_SECONDS = 8


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the files of `OTHER_STACK` a stack of their own, also if one worker runs all tests: they leave dead letters and work in it."""
    if "driver" in metafunc.fixturenames and metafunc.definition.nodeid.startswith(OTHER_STACK):
        metafunc.parametrize("driver", ["other"], indirect=True, ids=[pytest.HIDDEN_PARAM])


@pytest.fixture(scope="session")
def driver() -> Iterator[StackDriver]:
    """The stack that this worker's end-to-end tests share. At its end, IAM must have refused no call of a function."""
    options = Options(settle_seconds=0.3, cooldown_seconds=3600.0, retry_base_seconds=1.0)
    TRAIL.parent.mkdir(parents=True, exist_ok=True)
    TRAIL.unlink(missing_ok=True)
    parameters = {"SettleTimeoutSeconds": str(SETTLE_TIMEOUT_SECONDS), "StripeEventBus": "default", "ReviewersNeeded": "1"}
    with running(parameters=parameters, options=options, trail=TRAIL) as stack:
        driver = StackDriver(stack)
        # The first verification pays every function's cold start, so that no test measures it.
        driver.verdict(driver.accepted(driver.link("single_owner")), within=60)
        yield driver
        # Each worker has its own stack, and `test_permissions.py` runs in one worker.
        assert Roles(driver, TRAIL).refused_calls() == []


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An issuer of JSON Web Tokens, which the second stack trusts."""
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def people() -> Iterator[Issuer]:
    """The issuer of the tokens of people who review."""
    with Issuer(DESK, "reviewer") as issuer:
        yield issuer


@pytest.fixture(scope="session")
def by_token(issuer: Issuer, people: Issuer) -> Iterator[Stack]:
    """A second stack, whose callers send tokens for one connected account each, and whose routes call published versions.

    The routes of the review desk take the tokens of people, whose issuer is another one.
    """
    parameters = {
        "ReviewIssuer": people.url,
        "ReviewAudience": f"{DESK},{APP_CLIENT}",
        "JwtIssuer": issuer.url,
        "JwtAudience": f"{AUDIENCE},{APP_CLIENT}",
        "JwtScopePrefix": SCOPE_PREFIX,
        "JwtAccountClaim": ACCOUNT_CLAIM,
        "SnapStart": "true",
    }
    with running(parameters=parameters, options=Options(settle_seconds=0.3)) as stack:
        yield stack


@pytest.fixture
def announcement_queue(driver: StackDriver) -> Iterator[str]:
    """The URL of a queue that gets what is announced on the bus."""
    sqs, events, bus = driver.stack.client("sqs"), driver.stack.client("events"), driver.stack.outputs["EventBusName"]
    url = sqs.create_queue(QueueName="announcements")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="announcements", EventBusName=bus, EventPattern=json.dumps({"source": ["titleholder"]}))
    events.put_targets(Rule="announcements", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    yield url
    events.remove_targets(Rule="announcements", EventBusName=bus, Ids=["queue"])
    events.delete_rule(Name="announcements", EventBusName=bus)
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def idle_driver(driver: StackDriver) -> StackDriver:
    """The stack once nothing is under way in it any more: no message in a queue, no change in the table."""
    # An event that failed in an earlier test is redelivered for minutes, and no test waits for it.
    driver.stack.client("sqs").purge_queue(QueueUrl=driver.stack.outputs["EventsQueueUrl"])
    before = driver.table()
    while True:
        time.sleep(0.25)
        after = driver.table()
        if after == before and not any(_messages(driver, name) for name in ("RefreshQueueUrl", "EventsQueueUrl")):
            return driver
        before = after


def _messages(driver: StackDriver, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    found = driver.stack.client("sqs").get_queue_attributes(QueueUrl=driver.stack.outputs[queue], AttributeNames=names)["Attributes"]
    return sum(int(found.get(name, 0)) for name in names)
