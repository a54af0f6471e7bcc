"""Events, signatures, retries, and webhook faults."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import stripe

from tests.support.stripe_client import refusal
from tests.support.stripe_openapi import from_environment

SECRET = "whsec_for_tests_only"
URL = "http://hooks.example.com/stripe"
UPCOMING = [
    "expected_deactivation_date_updated", "financial_connections.authorization.expected_deactivation_date_updated",
    "upcoming_deactivation", "financial_connections.authorization.upcoming_deactivation",
]  # fmt: skip
REFRESHED = "financial_connections.account.refreshed_ownership"


@pytest.fixture
def hooked(driver: Any) -> Any:
    driver.sim.add_endpoint(URL, SECRET)
    return driver


def settle(driver: Any, account: str, scenario: str = "single_owner", **link: Any) -> None:
    driver.sim.link(scenario, id=account, **link)
    driver.refresh(account)
    driver.wait(5)


def types(deliveries: list[Any]) -> list[str]:
    return [delivery.type.removeprefix("financial_connections.account.") for delivery in deliveries]


def test_an_event_is_signed_and_holds_the_account_as_it_was(hooked: Any) -> None:
    settle(hooked, "fca_a")
    created, refreshed = hooked.deliver()
    hooked.sim.change("fca_a", action="deactivate")
    event = hooked.stripe.construct_event(refreshed.body, refreshed.headers["Stripe-Signature"], SECRET, tolerance=10**9)
    assert (event.type, event.object, event.pending_webhooks) == (REFRESHED, "event", 1)
    account = event.data.object
    assert (account.id, account.status, account.ownership_refresh.status) == ("fca_a", "active", "succeeded")
    assert account.ownership == hooked.accounts.retrieve("fca_a").ownership, "an id, not expanded"
    assert created.url == URL
    if document := from_environment():
        document.validate_event(json.loads(created.body))
        document.validate_event(json.loads(refreshed.body))


def test_a_failed_refresh_sends_the_same_event_type(hooked: Any) -> None:
    settle(hooked, "fca_a", "failing")
    assert types(hooked.deliver()) == ["created", "refreshed_ownership"]


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        ({"action": "deactivate"}, ["deactivated"]),
        ({"action": "disconnect"}, ["disconnected"]),
        ({"action": "update_account_numbers"}, ["account_numbers_updated"]),
        ({"expected_deactivation_date": 1_800_086_400}, UPCOMING),
    ],
)
def test_every_change_of_an_account_sends_an_event(hooked: Any, change: dict[str, Any], sent: list[str]) -> None:
    hooked.sim.link("single_owner", id="fca_a")
    hooked.deliver()
    hooked.sim.change("fca_a", **change)
    assert types(hooked.deliver()) == sent
    hooked.sim.change("fca_a", **change | {"expected_deactivation_date": None})
    assert types(hooked.deliver()) == (sent if "update" in str(change) else []), "and told once"


def test_reactivation_sends_an_event(hooked: Any) -> None:
    hooked.sim.link("inactive", id="fca_a")
    hooked.deliver()
    hooked.sim.change("fca_a", action="reactivate")
    assert types(hooked.deliver()) == ["reactivated"]


def test_an_account_found_broken_while_refreshing_sends_both_events(hooked: Any) -> None:
    settle(hooked, "fca_a", "turning_inactive")
    assert Counter(types(hooked.deliver())) == {"created": 1, "refreshed_ownership": 1, "deactivated": 1}


def test_an_event_caused_by_a_request_names_it(hooked: Any) -> None:
    hooked.sim.link("single_owner", id="fca_a")
    hooked.accounts.disconnect("fca_a", None, {"idempotency_key": "k"})
    event = hooked.stripe.v1.events.list({"type": "financial_connections.account.disconnected"}).data[0]
    assert event.request.idempotency_key == "k"


def test_a_refused_delivery_is_retried_later_and_later_signed_anew(hooked: Any) -> None:
    hooked.sim.link("single_owner", id="fca_a")
    times, bodies = [], set()
    while (due := hooked.sim.next_due()) is not None:
        hooked.wait(due - hooked.now)
        (delivery,) = hooked.deliver(status=500)
        times.append(hooked.now)
        bodies.add(delivery.body)
        hooked.stripe.construct_event(delivery.body, delivery.headers["Stripe-Signature"], SECRET, tolerance=10**9)
        assert f"t={int(hooked.now)}," in delivery.headers["Stripe-Signature"]
    assert [later - earlier for earlier, later in pairwise(times)] == [5 * 2**number for number in range(8)]
    assert len(bodies) == 1


@pytest.mark.parametrize("status", [199, 300, 302, 400, 404, 503, None])
def test_anything_but_2xx_counts_as_refused(hooked: Any, status: int | None) -> None:
    hooked.sim.link("single_owner", id="fca_a")
    hooked.deliver(status)
    assert hooked.sim.next_due() == hooked.now + 5
    hooked.wait(5)
    assert hooked.deliver(204)[0].attempt == 2
    assert hooked.sim.next_due() is None


def test_delivery_success_and_pending_webhooks_follow_the_deliveries(hooked: Any) -> None:
    hooked.sim.link("single_owner", id="fca_a")
    undelivered = lambda: [event.pending_webhooks for event in hooked.stripe.v1.events.list({"delivery_success": False}).data]  # noqa: E731
    assert undelivered() == [1]
    hooked.deliver(500)
    assert undelivered() == [1]
    hooked.wait(5)
    hooked.deliver(200)
    assert undelivered() == []
    assert [event.pending_webhooks for event in hooked.stripe.v1.events.list({"delivery_success": True}).data] == [0]


def test_a_secret_being_rolled_signs_with_both(driver: Any) -> None:
    driver.sim.add_endpoint(URL, ["whsec_old", "whsec_new"])
    driver.sim.link("single_owner", id="fca_a")
    (delivery,) = driver.deliver()
    assert delivery.headers["Stripe-Signature"].count("v1=") == 2
    for secret in ("whsec_old", "whsec_new"):
        driver.stripe.construct_event(delivery.body, delivery.headers["Stripe-Signature"], secret, tolerance=10**9)
    with pytest.raises(stripe.SignatureVerificationError):
        driver.stripe.construct_event(delivery.body, delivery.headers["Stripe-Signature"], "whsec_wrong", tolerance=10**9)


def test_platform_and_connected_endpoints_get_only_their_own_events(driver: Any) -> None:
    driver.sim.add_endpoint(URL, SECRET, id="we_platform")
    driver.sim.add_endpoint(URL, SECRET, scope="connected", id="we_connected")
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.link("single_owner", id="fca_b", stripe_account="acct_1")
    sent = {delivery.endpoint: json.loads(delivery.body) for delivery in driver.deliver()}
    assert {endpoint: (event.get("account"), event["data"]["object"]["id"]) for endpoint, event in sent.items()} == {
        "we_platform": (None, "fca_a"),
        "we_connected": ("acct_1", "fca_b"),
    }


def test_an_endpoint_gets_only_the_types_and_the_mode_it_asked_for(driver: Any) -> None:
    driver.sim.add_endpoint(URL, SECRET, types=[REFRESHED], livemode=False)
    settle(driver, "fca_a")
    driver.sim.link("fresh", id="fca_live", livemode=True)
    assert types(driver.deliver()) == ["refreshed_ownership"]


def test_thin_events_carry_a_reference_and_come_with_the_split_outcome(driver: Any) -> None:
    driver.sim.add_endpoint(URL, SECRET, payload="thin", scope="connected")
    driver.sim.link("single_owner", id="fca_a", stripe_account="acct_1")
    driver.refresh("fca_a", stripe_account="acct_1")
    driver.wait(5)
    deliveries = driver.deliver()
    assert [delivery.type for delivery in deliveries] == [
        "v1.financial_connections.account.created",
        "v1.financial_connections.account.refreshed_ownership",
        "v1.financial_connections.account.ownership_refresh_succeeded",
    ]
    for delivery in deliveries:
        signature = delivery.headers["Stripe-Signature"]
        notification = driver.stripe.parse_event_notification(delivery.body, signature, SECRET, tolerance=10**9)
        assert str(notification.context) == "acct_1"
        assert notification.fetch_related_object().id == "fca_a"
        assert notification.fetch_event().id == notification.id
    assert refusal(lambda: driver.stripe.v2.core.events.retrieve(json.loads(deliveries[0].body)["id"])).http_status == 404


def test_a_duplicated_webhook_is_the_same_event_again(hooked: Any) -> None:
    hooked.sim.fail_webhooks("duplicate", copies=2, seconds=3)
    hooked.sim.link("single_owner", id="fca_a")
    sent = hooked.deliver()
    hooked.wait(6)
    sent += hooked.deliver()
    assert (len(sent), len({delivery.event_id for delivery in sent})) == (3, 1)


def test_a_twin_is_another_event_for_the_same_occurrence(hooked: Any) -> None:
    hooked.sim.fail_webhooks("twin", type=REFRESHED)
    settle(hooked, "fca_a")
    sent = hooked.deliver()
    assert types(sent) == ["created", "refreshed_ownership", "refreshed_ownership"]
    assert len({delivery.event_id for delivery in sent}) == 3


def test_a_delayed_webhook_comes_late(hooked: Any) -> None:
    hooked.sim.fail_webhooks("delay", seconds=30)
    hooked.sim.link("single_owner", id="fca_a")
    assert hooked.deliver() == []
    hooked.wait(30)
    assert types(hooked.deliver()) == ["created"]


def test_a_dropped_webhook_never_comes_and_is_listed_as_undelivered(hooked: Any) -> None:
    hooked.sim.fail_webhooks("drop", type=REFRESHED, account="fca_a", times=None)
    settle(hooked, "fca_a")
    settle(hooked, "fca_b")
    hooked.wait(10**6)
    assert Counter(types(hooked.deliver())) == {"created": 2, "refreshed_ownership": 1}
    undelivered = hooked.stripe.v1.events.list({"delivery_success": False, "types": [REFRESHED]}).data
    assert [(event.data.object.id, event.pending_webhooks) for event in undelivered] == [("fca_a", 0)]


def test_the_lost_webhook_scenario_sends_nothing(hooked: Any) -> None:
    settle(hooked, "fca_a", "lost_webhook")
    assert hooked.deliver() == []
    assert hooked.accounts.retrieve("fca_a").ownership_refresh.status == "succeeded"


def test_a_reordered_webhook_is_overtaken_by_the_next_one(hooked: Any) -> None:
    hooked.sim.fail_webhooks("reorder", seconds=60)
    settle(hooked, "fca_a")
    sent = hooked.deliver()
    hooked.wait(0.01)
    assert types(sent + hooked.deliver()) == ["refreshed_ownership", "created"]


def test_a_reordered_webhook_that_nothing_overtakes_comes_all_the_same(hooked: Any) -> None:
    hooked.sim.fail_webhooks("reorder", seconds=60)
    hooked.sim.link("single_owner", id="fca_a")
    hooked.wait(59)
    assert hooked.deliver() == []
    hooked.wait(1)
    assert types(hooked.deliver()) == ["created"]


def test_a_fault_ends_after_its_times(hooked: Any) -> None:
    hooked.sim.fail_webhooks("drop", times=2)
    for number in range(4):
        hooked.sim.link("single_owner", id=f"fca_{number}")
    assert [json.loads(delivery.body)["data"]["object"]["id"] for delivery in hooked.deliver()] == ["fca_2", "fca_3"]


def test_an_event_can_be_resent_by_hand(hooked: Any) -> None:
    hooked.sim.link("single_owner", id="fca_a")
    (first,) = hooked.deliver()
    assert hooked.sim.resend(first.event_id) == 1
    assert [delivery.event_id for delivery in hooked.deliver()] == [first.event_id]


def test_a_removed_endpoint_gets_no_retries(hooked: Any) -> None:
    endpoint = hooked.sim.add_endpoint(URL, SECRET, id="we_extra")
    hooked.sim.link("single_owner", id="fca_a")
    hooked.deliver(500)
    hooked.sim.remove_endpoint(endpoint)
    hooked.wait(5)
    assert [delivery.endpoint for delivery in hooked.deliver()] != [endpoint]
    assert len(hooked.deliver()) == 0


def test_events_are_listed_newest_first_by_type_and_time_for_thirty_days(hooked: Any) -> None:
    events = hooked.stripe.v1.events
    start = int(hooked.now)
    for number in range(12):
        hooked.sim.link("single_owner", id=f"fca_{number}")
        hooked.wait(1)
    ids = [event.data.object.id for event in events.list({"limit": 5}).auto_paging_iter()]
    assert ids == [f"fca_{number}" for number in reversed(range(12))]
    found = events.list({"created": {"gt": start + 2, "lte": start + 4}}).data
    assert [event.data.object.id for event in found] == ["fca_4", "fca_3"]
    assert events.list({"types": [REFRESHED]}).data == []
    assert len(events.list({"type": "financial_connections.*", "limit": 100}).data) == 12
    first = found[0].id
    assert events.retrieve(first).id == first
    hooked.wait(30 * 86400)
    assert events.list().data == []
    assert refusal(lambda: events.retrieve(first)).http_status == 404


def test_the_delivery_log_has_attempts_and_answers(hooked: Any) -> None:
    hooked.sim.link("single_owner", id="fca_a")
    hooked.deliver(503)
    hooked.wait(5)
    hooked.deliver(200)
    assert [(entry["account"], entry["attempt"], entry["status"], entry["result"]) for entry in hooked.sim.deliveries()] == [
        ("fca_a", 1, 503, "refused"),
        ("fca_a", 2, 200, "delivered"),
    ]


def test_an_unknown_or_forgotten_event_is_no_cursor_and_one_that_is_not_listed_any_more_is(hooked: Any) -> None:
    events = hooked.stripe.v1.events
    for number in range(3):
        hooked.sim.link("inactive", id=f"fca_{number}")
        hooked.wait(1)
    newest, middle, oldest = (event.id for event in events.list({"limit": 3}).data)
    refused = refusal(lambda: events.list({"starting_after": "evt_unknown"}))
    assert (refused.http_status, refused.code, refused.param) == (400, "resource_missing", "starting_after")
    after = events.list({"starting_after": middle, "types": [events.retrieve(oldest).type]}).data
    assert [event.id for event in after] == [oldest]
    assert events.list({"starting_after": middle, "types": ["charge.failed"]}).data == []
    hooked.wait(31 * 86400)
    assert refusal(lambda: events.list({"starting_after": newest})).code == "resource_missing"


def test_a_connected_account_that_revoked_its_access_refuses_every_call(hooked: Any) -> None:
    hooked.sim.link("inactive", id="fca_1", stripe_account="acct_1")
    hooked.sim.configure(revoked=["acct_1"])
    refused = refusal(lambda: hooked.stripe.v1.events.list({}, {"stripe_account": "acct_1"}))
    assert refused.http_status == 403
    assert hooked.stripe.v1.events.list({}, {"stripe_account": "acct_2"}).data == []
    hooked.sim.configure(revoked=[])
    assert hooked.stripe.v1.events.list({}, {"stripe_account": "acct_1"}).data
