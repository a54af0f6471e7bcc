"""Many at once, for real: callers of one account, and Stripe's deliveries."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

from local.client import Answer, Client
from tests.e2e.stack_driver import MARGARET, StackDriver, eventually
from titleholder.stripe_api.signatures import sign

CALLERS = 50
WAITING = 12
EVENTS = 100


def test_fifty_verifications_of_one_account_at_once_share_one_refresh(driver: StackDriver) -> None:
    account = driver.link("single_owner")
    answers = driver.request_all([account] * CALLERS)
    assert {answer.status for answer in answers} <= {200, 202}
    ids = [answer.body["id"] for answer in answers]
    assert len(set(ids)) == CALLERS
    verdicts = [driver.verdict(id_, within=120) for id_ in ids]
    assert {verdict["outcome"] for verdict in verdicts} == {"match"}
    assert len({verdict["snapshot"] for verdict in verdicts}) == 1
    assert driver.refreshes(account) == 1
    assert not [sk for pk, sk in driver.table() if pk.endswith(account) and sk.startswith("WAITER#")]


def test_calls_that_wait_leave_an_environment_for_others_so_that_none_is_answered_503(driver: StackDriver) -> None:
    accounts = [driver.link("single_owner") for _ in range(WAITING)]
    for account in accounts:
        # So each verdict takes longer than the workflow waits for a webhook.
        driver.sim.fail_webhooks("drop", times=None, account=account)

    def verify(account: str) -> Answer:
        body = {"account": account, "claim": MARGARET, "wait": 20}
        return Client(driver.stack.api_url).call("POST", "/verifications", body)

    with ThreadPoolExecutor(WAITING) as callers:
        answers = list(callers.map(verify, accounts))
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 202}, answers
    assert statuses.count(200) <= 2
    assert {driver.verdict(answer.body["id"], within=60)["outcome"] for answer in answers} == {"match"}


def test_two_hundred_deliveries_at_once_of_which_half_are_duplicates_are_each_processed_once(idle_driver: StackDriver) -> None:
    account = idle_driver.link("fresh")
    now = int(time.time())
    bodies = []
    for number in range(EVENTS):
        event = {
            "id": f"evt_burst{number}", "object": "event", "type": "financial_connections.account.refreshed_ownership", "created": now,
            "livemode": False, "data": {"object": {"id": account, "object": "financial_connections.account"}},
        }  # fmt: skip
        bodies.append(json.dumps(event).encode())
    with ThreadPoolExecutor(40) as senders:
        header = [{"Stripe-Signature": sign(body, idle_driver.stack.webhook_secret, int(time.time()))} for body in bodies]
        answers = list(senders.map(idle_driver.deliver, bodies * 2, header * 2))
    assert {answer.status_code for answer in answers} == {200}

    def processed() -> bool:
        events = [item for (pk, _), item in idle_driver.table().items() if pk.startswith("EVENT#evt_burst")]
        return len(events) == EVENTS and all(item["processed"]["BOOL"] for item in events)

    assert eventually(processed, within=120)
    snapshots = [sk for pk, sk in idle_driver.table() if pk.endswith(account) and sk.startswith("SNAPSHOT#")]
    assert len(snapshots) == 1
