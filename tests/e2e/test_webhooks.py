"""Deliveries by real HTTP: only what Stripe signed just now has an effect."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from local.stack import STACK
from local.stripe_simulator.deliveries import GENERATION_FAILURE
from tests.e2e.stack_driver import StackDriver, eventually
from titleholder.stripe_api import signatures

PROBLEM = "application/problem+json"


def event(account: str = "fca_forged1", **changes: Any) -> bytes:
    about = {"id": account, "object": "financial_connections.account"}
    body = {
        "id": "evt_forged1", "object": "event", "type": "financial_connections.account.refreshed_ownership", "created": 1_790_000_000,
        "livemode": False, "data": {"object": about},
    }  # fmt: skip
    return json.dumps(body | changes).encode()


def signed(driver: StackDriver, body: bytes, age: int = 0, secret: str | None = None) -> dict[str, str]:
    return {"Stripe-Signature": signatures.sign(body, secret or driver.stack.webhook_secret, int(time.time()) - age)}


def forgeries(driver: StackDriver) -> dict[str, tuple[bytes, dict[str, str]]]:
    genuine = event()
    return {
        "unsigned": (genuine, {}),
        "tampered": (genuine.replace(b"fca_forged1", b"fca_forged2"), signed(driver, genuine)),
        "of another secret": (genuine, signed(driver, genuine, secret="whsec_of_another")),
        "replayed": (genuine, signed(driver, genuine, age=301)),
        "from the future": (genuine, signed(driver, genuine, age=-310)),
        "with a malformed signature": (genuine, {"Stripe-Signature": "t=soon,v1=nothing"}),
        "no event": (nothing := b"[]", signed(driver, nothing)),
        "not UTF-8": (binary := b"\xff\xfe{}", signed(driver, binary)),
        "oversized": (big := event(padding="x" * 262_144), signed(driver, big)),
        "empty": (b"", signed(driver, b"")),
    }


FORGERIES = [
    "unsigned", "tampered", "of another secret", "replayed", "from the future", "with a malformed signature", "no event", "not UTF-8",
    "oversized", "empty",
]  # fmt: skip


def test_list_of_forgeries_is_complete(driver: StackDriver) -> None:
    assert list(forgeries(driver)) == FORGERIES


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_delivery_is_refused_and_changes_nothing(idle_driver: StackDriver, forgery: str) -> None:
    before, calls = idle_driver.table(), len(idle_driver.exchanges)
    answer = idle_driver.deliver(*forgeries(idle_driver)[forgery])
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)
    time.sleep(0.3)
    assert idle_driver.table() == before
    assert len(idle_driver.exchanges) == calls


def test_unknown_type_is_acknowledged_and_recorded_only(idle_driver: StackDriver) -> None:
    body = event(id="evt_unknowntype1", type="financial_connections.account.something_new")
    calls = len(idle_driver.exchanges)
    assert idle_driver.deliver(body, signed(idle_driver, body)).status_code == 200
    assert idle_driver.table()["EVENT#evt_unknowntype1", "EVENT"]["processed"] == {"BOOL": True}
    time.sleep(0.5)
    assert len(idle_driver.exchanges) == calls


@pytest.mark.parametrize(
    ("why", "changes"),
    [("other_mode", {"livemode": True}), ("other_context", {"context": "org_1"}), ("malformed", {"data": {"object": None}})],
)
def test_event_that_is_not_for_this_stack_is_acknowledged_and_recorded_only(
    idle_driver: StackDriver, why: str, changes: dict[str, Any]
) -> None:
    body = event(id=f"evt_{why}1", **changes)
    calls = len(idle_driver.exchanges)
    assert idle_driver.deliver(body, signed(idle_driver, body)).status_code == 200
    assert [sk for pk, sk in idle_driver.table() if pk == f"EVENT#evt_{why}1"] == [f"ASIDE#{why}"]
    time.sleep(0.5)
    assert len(idle_driver.exchanges) == calls


def test_event_of_an_organization_has_an_effect_on_the_platforms_own_accounts(driver: StackDriver) -> None:
    account = driver.link("fresh", policy={"webhooks": "lost"})
    body = event(account, id=f"evt_org{account[4:]}", context="org_simulated/acct_simulated")
    assert driver.deliver(body, signed(driver, body)).status_code == 200
    found = eventually(lambda: (answer := driver.http.call("GET", f"/accounts/{account}/owners")).status == 200 and answer.body)
    assert [owner["name"] for owner in found["owners"]] == ["MARGARET ANNE TESTERMAN"]


def test_event_of_another_account_of_an_organization_is_set_aside(driver: StackDriver) -> None:
    account = driver.link("fresh", policy={"webhooks": "lost"})
    id = f"evt_elsewhere{account[4:]}"
    body = event(account, id=id, context="org_simulated/acct_elsewhere")
    assert driver.deliver(body, signed(driver, body)).status_code == 200
    eventually(lambda: driver.table()[f"EVENT#{id}", "EVENT"].get("aside") == {"S": "other_context"})
    assert [sk for pk, sk in driver.table() if pk == f"EVENT#{id}"] == ["EVENT"]
    assert not [pk for pk, _ in driver.table() if pk.endswith(f"/{account}")]


def test_connected_account_is_named_by_the_context_that_it_came_by(driver: StackDriver) -> None:
    connected = {"stripe_account": "acct_e2econtext"}
    account = driver.link("fresh", policy={"webhooks": "lost"}, **connected)
    assert driver.http.call("GET", f"/accounts/{account}", headers={"Stripe-Account": "acct_e2econtext"}).status == 200
    body = event(account, id=f"evt_context{account[4:]}", context="org_simulated/acct_e2econtext")
    assert driver.deliver(body, signed(driver, body)).status_code == 200
    context = eventually(lambda: driver.table()["CONNECTED#test", "acct_e2econtext"].get("context"))
    assert context == {"S": "org_simulated/acct_e2econtext"}
    eventually(lambda: "snapshot" in driver.table()[f"ACCOUNT#test/acct_e2econtext/{account}", "ACCOUNT"])


def test_snapshot_and_thin_event_of_one_occurrence_are_processed_once(idle_driver: StackDriver) -> None:
    account = idle_driver.link("fresh", policy={"webhooks": "lost"})
    about = {"id": account, "type": "financial_connections.account", "url": f"/v1/financial_connections/accounts/{account}"}
    thin = {"id": "evt_thintwin1", "object": "v2.core.event", "related_object": about, "snapshot_event": "evt_snapshottwin1"}
    first = event(**thin, type="v1.financial_connections.account.refreshed_ownership")
    assert idle_driver.deliver(first, signed(idle_driver, first)).status_code == 200
    key = ("EVENT#evt_snapshottwin1", "EVENT")
    eventually(lambda: idle_driver.table()[key]["processed"] == {"BOOL": True})
    calls = idle_driver.stripe_calls(account)
    second = event(account, id="evt_snapshottwin1")
    assert idle_driver.deliver(second, signed(idle_driver, second)).status_code == 200
    time.sleep(1)
    assert idle_driver.stripe_calls(account) == calls


def test_duplicates_are_acknowledged_and_processed_once(idle_driver: StackDriver) -> None:
    # Stripe's own event of the prefetch would have the account read once more, now or a moment later.
    account = idle_driver.link("fresh", policy={"webhooks": "lost"})
    body = event(account, id="evt_twice1")
    assert idle_driver.deliver(body, signed(idle_driver, body)).status_code == 200
    key = ("EVENT#evt_twice1", "EVENT")
    eventually(lambda: idle_driver.table()[key]["processed"] == {"BOOL": True})
    calls = idle_driver.stripe_calls(account)
    assert [idle_driver.deliver(body, signed(idle_driver, body)).status_code for _ in range(3)] == [200] * 3
    time.sleep(1)
    assert idle_driver.stripe_calls(account) == calls


def test_thin_event_of_a_settled_refresh_has_the_owners_fetched(driver: StackDriver) -> None:
    account = driver.link("fresh", policy={"webhooks": "lost"})
    about = {"id": account, "type": "financial_connections.account", "url": f"/v1/financial_connections/accounts/{account}"}
    thin = {
        "id": f"evt_thin{account[4:]}", "object": "v2.core.event", "type": "v1.financial_connections.account.ownership_refresh_succeeded",
        "created": "2026-11-22T10:00:00.000Z", "livemode": False, "context": None, "related_object": about,
    }  # fmt: skip
    body = json.dumps(thin).encode()
    assert driver.deliver(body, signed(driver, body)).status_code == 200
    found = eventually(lambda: (answer := driver.http.call("GET", f"/accounts/{account}/owners")).status == 200 and answer.body)
    assert [owner["name"] for owner in found["owners"]] == ["MARGARET ANNE TESTERMAN"]


def test_connected_accounts_are_kept_apart_from_the_platform(driver: StackDriver) -> None:
    account = driver.link("single_owner")
    mine: dict[str, Any] = {"stripe_account": "acct_e2e1"}
    driver.sim.link("relative", id=account, **mine)
    began = time.monotonic()
    answer = driver.request(account, headers={"Stripe-Account": "acct_e2e1"})
    assert (answer.status, answer.body["stripe_account"]) == (202, "acct_e2e1")
    assert driver.verdict(answer.body["id"], **mine)["outcome"] == "no_match"
    assert time.monotonic() - began < 20  # By its event, not by the settle timeout.
    assert driver.verdict(driver.accepted(account))["outcome"] == "match"
    assert (driver.refreshes(account), driver.refreshes(account, **mine)) == (1, 1)


STRIPES_BUS = "aws.partner/stripe.com/ed_test_e2e1"


def put_on_the_bus(driver: StackDriver, event: dict[str, Any]) -> None:
    """Be Stripe, whose destination is EventBridge."""
    entry = {"Source": STRIPES_BUS, "DetailType": event["type"], "Detail": json.dumps(event), "Time": time.time()}
    answer = driver.stack.client("events").put_partner_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0


class TestFromTheBus:
    def event(self, account: str, **changes: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(event(account, id=f"evt_bus{account[4:]}"))
        found["data"]["object"] |= {"display_name": "Quillfeather Checking", "last4": "7391"}
        return found | changes

    def test_event_has_the_owners_fetched(self, driver: StackDriver) -> None:
        account = driver.link("fresh", policy={"webhooks": "lost"})
        put_on_the_bus(driver, self.event(account))
        found = eventually(lambda: (answer := driver.http.call("GET", f"/accounts/{account}/owners")).status == 200 and answer.body)
        assert [owner["name"] for owner in found["owners"]] == ["MARGARET ANNE TESTERMAN"]

    def test_event_in_the_context_of_an_organization_has_the_owners_fetched(self, driver: StackDriver) -> None:
        account = driver.link("fresh", policy={"webhooks": "lost"})
        put_on_the_bus(driver, self.event(account, context="org_simulated/acct_simulated"))
        found = eventually(lambda: (answer := driver.http.call("GET", f"/accounts/{account}/owners")).status == 200 and answer.body)
        assert [owner["name"] for owner in found["owners"]] == ["MARGARET ANNE TESTERMAN"]

    def test_event_that_stripe_could_not_make_is_looked_up(self, driver: StackDriver) -> None:
        put_on_the_bus(driver, {"id": "evt_failure1", "object": "v2.core.event", "type": GENERATION_FAILURE, "livemode": False})
        eventually(lambda: driver.table().get(("EVENT#evt_failure1", "EVENT"), {}).get("processed") == {"BOOL": True})

    def test_event_of_the_other_mode_is_set_aside(self, driver: StackDriver) -> None:
        put_on_the_bus(driver, self.event("fca_othermode1", livemode=True))
        item = eventually(lambda: driver.table().get(("EVENT#evt_busothermode1", "ASIDE#other_mode")))
        assert item["aside"] == {"S": "other_mode"}

    def test_event_that_fails_for_good_leaves_ids_only_at_the_failure_destination(self, driver: StackDriver) -> None:
        put_on_the_bus(driver, self.event("fca_failing1", id="no event's id"))
        sqs = driver.stack.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{STACK}-async-dead")["QueueUrl"]

        def letters() -> str:
            found = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, MaxNumberOfMessages=10).get("Messages", ())
            return "".join(message["Body"] for message in found)

        text = eventually(lambda: found if "fca_failing1" in (found := letters()) else None, 20)
        assert not [word for word in ("Quillfeather", "7391") if word in text]
