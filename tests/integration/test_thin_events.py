"""Thin events: beside snapshot events of the same occurrence, and alone, where lost ones are found in Stripe's list."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.sandbox import API_KEY, SIGNING_SECRET, Moment, Sandbox
from titleholder import observability
from titleholder.domain.accounts import AccountRef
from titleholder.services import reconciliation
from titleholder.stripe_api.signatures import sign

DAY = 86_400
LIST = "GET /v2/core/events"


def deliver(sandbox: Sandbox, event: dict[str, Any]) -> None:
    body = json.dumps(event).encode()
    header = sign(body, SIGNING_SECRET, int(sandbox.clock.now))
    assert sandbox.http("POST", "/webhooks/stripe", body, function="receive_webhook", **{"stripe-signature": header}).status == 200


def add_endpoints(sandbox: Sandbox, *payloads: str) -> None:
    """These endpoints alone, for the platform and for connected accounts."""
    for endpoint in list(sandbox.simulator._webhooks.endpoints):
        sandbox.simulator.remove_endpoint(endpoint)
    for payload in payloads:
        for scope in ("platform", "connected"):
            sandbox.simulator.add_endpoint("https://hook", SIGNING_SECRET, payload=payload, scope=scope)


def status(sandbox: Sandbox, ref: AccountRef) -> str | None:
    state = sandbox.store.accounts.get(ref).state
    return None if state is None else state.status


def reconcile(sandbox: Sandbox) -> dict[str, int]:
    answer: dict[str, int] = sandbox.function("reconcile")({})
    for _ in range(5):
        # The rate limiter spreads the calls over some seconds.
        assert sandbox.consume(sandbox.events_queue) == []
        sandbox.wait(2)
    return answer


def link(sandbox: Sandbox, account: str, stripe_account: str | None = None) -> AccountRef:
    """Link an account, and have the events of its linking processed."""
    sandbox.simulator.link("fresh", id=account, stripe_account=stripe_account)
    sandbox.settle()
    sandbox.wait(2)
    return AccountRef(account, "test", stripe_account)


def lose(sandbox: Sandbox, account: str, stripe_account: str | None = None, action: str = "deactivate") -> None:
    """Have something happen to an account, and lose every delivery of it."""
    sandbox.simulator.fail_webhooks("drop", account=account, times=None)
    sandbox.simulator.change(account, stripe_account=stripe_account, action=action)
    assert sandbox.deliver_due() == []


class TestBothKinds:
    @pytest.fixture
    def events(self, sandbox: Sandbox) -> list[dict[str, Any]]:
        """The snapshot event and the thin events of one occurrence: a refresh that has settled."""
        add_endpoints(sandbox, "snapshot", "thin")
        sandbox.simulator.link("prefetch_pending", id="fca_1")
        sandbox.simulator.due_deliveries()
        sandbox.wait(5)
        found = [json.loads(delivery.body) for delivery in sandbox.simulator.due_deliveries()]
        assert [event["object"] for event in found] == ["event", "v2.core.event", "v2.core.event"]
        return found

    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
    def test_second_arrival_of_one_occurrence_is_not_queued(self, sandbox: Sandbox, events: list[Any], order: tuple[int, ...]) -> None:
        for place in order:
            deliver(sandbox, events[place])
            assert [message["event"] for message in sandbox.messages(sandbox.events_queue)] == [events[0]["id"]]

    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
    def test_second_arrival_wakes_nothing_after_the_first_was_processed(
        self, sandbox: Sandbox, events: list[Any], order: tuple[int, ...]
    ) -> None:
        first, *more = (events[place] for place in order)
        deliver(sandbox, first)
        assert sandbox.consume(sandbox.events_queue) == []
        calls = len(sandbox.stripe_calls())
        for event in more:
            deliver(sandbox, event)
        assert sandbox.consume(sandbox.events_queue) == []
        assert len(sandbox.stripe_calls()) == calls

    def test_delivery_that_comes_again_is_queued_again_while_it_waits(self, sandbox: Sandbox, events: list[Any]) -> None:
        for event in (events[1], events[0], events[1]):
            deliver(sandbox, event)
        assert len(sandbox.messages(sandbox.events_queue)) == 2

    def test_second_arrival_is_queued_if_the_first_has_waited_for_long(self, sandbox: Sandbox, events: list[Any]) -> None:
        deliver(sandbox, events[0])
        sandbox.wait(300)
        deliver(sandbox, events[1])
        assert len(sandbox.messages(sandbox.events_queue)) == 2

    def test_events_of_two_occurrences_are_two(self, sandbox: Sandbox, events: list[Any]) -> None:
        deliver(sandbox, events[0])
        deliver(sandbox, events[1] | {"snapshot_event": "evt_another"})
        assert len(sandbox.messages(sandbox.events_queue)) == 2

    def test_lost_snapshot_event_whose_thin_event_came_is_not_read_again(self, sandbox: Sandbox) -> None:
        add_endpoints(sandbox, "snapshot", "thin")
        ref = link(sandbox, "fca_1")
        type_ = "financial_connections.account.deactivated"
        sandbox.simulator.fail_webhooks("drop", type=type_, account="fca_1", times=None)
        sandbox.simulator.change("fca_1", action="deactivate")
        assert len(sandbox.deliver_due()) == 1
        assert sandbox.consume(sandbox.events_queue) == []
        assert status(sandbox, ref) == "inactive"
        assert reconcile(sandbox)["event"] == 0


class TestThinAlone:
    @pytest.fixture(autouse=True)
    def thin(self, sandbox: Sandbox) -> None:
        add_endpoints(sandbox, "thin")

    @pytest.mark.parametrize("connected", [None, "acct_1"])
    @pytest.mark.parametrize(("action", "shown"), [("deactivate", "inactive"), ("disconnect", "disconnected")])
    def test_lost_event_is_found(self, sandbox: Sandbox, connected: str | None, action: str, shown: str) -> None:
        ref = link(sandbox, "fca_1", connected)
        lose(sandbox, "fca_1", connected, action)
        answer = reconcile(sandbox)
        assert (answer["event"], answer["failed"]) == (1, 0)
        assert status(sandbox, ref) == shown
        assert reconcile(sandbox)["event"] == 0

    def test_event_of_an_account_that_nothing_else_knows_is_found(self, sandbox: Sandbox) -> None:
        sandbox.simulator.fail_webhooks("drop", times=None)
        sandbox.simulator.link("fresh", id="fca_new")
        assert sandbox.deliver_due() == []
        assert reconcile(sandbox)["event"] == 2
        assert status(sandbox, AccountRef("fca_new")) == "active"

    def test_delivered_events_are_not_read_again(self, sandbox: Sandbox) -> None:
        sandbox.simulator.link("fresh", id="fca_1")
        sandbox.settle()
        calls = len(sandbox.stripe_calls(AccountRef("fca_1")))
        assert reconcile(sandbox)["event"] == 0
        assert len(sandbox.stripe_calls(AccountRef("fca_1"))) == calls

    @pytest.mark.parametrize("created", ["seconds", "text"])
    def test_times_are_given_as_stripe_takes_them(self, sandbox: Sandbox, created: str) -> None:
        sandbox.simulator.configure(thin_created=created)
        ref = link(sandbox, "fca_1")
        lose(sandbox, "fca_1")
        assert reconcile(sandbox)["event"] == 1
        assert status(sandbox, ref) == "inactive"

    def test_events_are_listed_from_where_the_last_listing_ended(self, sandbox: Sandbox) -> None:
        queries: list[str] = []
        request = sandbox.http_client.request

        def note(method: str, url: str, *more: Any, **options: Any) -> Any:
            queries.extend([url] if "/v2/core/events?" in url else [])
            return request(method, url, *more, **options)

        sandbox.http_client.request = note  # type: ignore[method-assign]
        link(sandbox, "fca_1")
        now = int(sandbox.clock.now)
        reconcile(sandbox)
        assert f"created[gte]={now - reconciliation.FIRST_REACH_SECONDS}&" in queries[-1]
        sandbox.wait(10 * DAY)
        reconcile(sandbox)
        assert f"created[gte]={now - reconciliation.OVERLAP_SECONDS}&" in queries[-1]
        sandbox.wait(60 * DAY)
        now = int(sandbox.clock.now)
        reconcile(sandbox)
        assert f"created[gte]={now - reconciliation.EVENTS_REACH_SECONDS}&" in queries[-1]

    def test_many_events_take_several_runs_and_each_is_found_once(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("titleholder.stripe_api.gateway.EVENTS_PAGE", 2)
        monkeypatch.setattr(reconciliation, "PLATFORM_PAGES", 2)
        sandbox.simulator.fail_webhooks("drop", times=None)
        for number in range(7):
            sandbox.simulator.link("inactive", id=f"fca_{number}")
        assert [reconcile(sandbox)["event"] for _ in range(3)] == [4, 3, 0]

    def test_page_that_stripe_forgot_begins_the_listing_anew(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("titleholder.stripe_api.gateway.EVENTS_PAGE", 2)
        monkeypatch.setattr(reconciliation, "PLATFORM_PAGES", 1)
        sandbox.simulator.fail_webhooks("drop", times=None)
        for number in range(4):
            sandbox.simulator.link("inactive", id=f"fca_{number}")
        assert reconcile(sandbox)["event"] == 2
        cursor = json.loads(sandbox.store.open_work.get_cursor("thin/test/platform") or "")
        sandbox.store.open_work.set_cursor("thin/test/platform", json.dumps(cursor | {"page": "/v2/core/events?page=unknown"}))
        answers = [reconcile(sandbox) for _ in range(3)]
        assert [(answer["event"], answer["failed"]) for answer in answers] == [(0, 0), (0, 0), (2, 0)]

    def test_event_that_could_not_be_taken_in_is_listed_again(self, sandbox: Sandbox) -> None:
        link(sandbox, "fca_1")
        lose(sandbox, "fca_1")

        def fail(moment: Moment) -> None:
            if (moment.service, moment.operation, moment.when) == ("sqs", "send_message", "before"):
                raise RuntimeError

        sandbox.taps.append(fail)
        assert reconcile(sandbox)["failed"] == 1
        sandbox.taps.clear()
        sandbox.wait(3 * 3600)
        assert reconcile(sandbox)["failed"] == 0
        assert status(sandbox, AccountRef("fca_1")) == "inactive"


@pytest.mark.slow
class TestRefusedList:
    @pytest.fixture
    def counted(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        found: list[str] = []
        monkeypatch.setattr(observability.metrics, "add_metric", lambda *, name, **_: found.append(name))
        return found

    def test_is_counted_and_stops_nothing_else(self, sandbox: Sandbox, counted: list[str]) -> None:
        sandbox.simulator.configure(denied={API_KEY: frozenset({LIST})})
        sandbox.simulator.add_endpoint("https://hook", SIGNING_SECRET, scope="connected")
        ref = link(sandbox, "fca_1", "acct_1")
        lose(sandbox, "fca_1", "acct_1")
        answer = reconcile(sandbox)
        assert (answer["event"], answer["failed"]) == (1, 0)
        assert status(sandbox, ref) == "inactive"
        assert "ThinEventsNotListed" in counted
        assert not {"StripeKeyRefused", "TenantRetired"} & set(counted)
        assert [entry["operation"] for entry in sandbox.simulator.requests()].count(LIST) == 1

    def test_is_tried_again_by_the_next_run(self, sandbox: Sandbox) -> None:
        add_endpoints(sandbox, "thin")
        ref = link(sandbox, "fca_1")
        lose(sandbox, "fca_1")
        sandbox.simulator.configure(denied={API_KEY: frozenset({LIST})})
        assert reconcile(sandbox)["event"] == 0
        sandbox.simulator.configure(denied={})
        assert reconcile(sandbox)["event"] == 1
        assert status(sandbox, ref) == "inactive"

    @pytest.mark.parametrize("kind", ["server_error", "rate_limit", "hang"])
    def test_of_one_connected_account_stops_no_other(self, sandbox: Sandbox, kind: str) -> None:
        add_endpoints(sandbox, "thin")
        refs = [link(sandbox, f"fca_{number}", f"acct_{number}") for number in range(3)]
        for ref in refs:
            lose(sandbox, ref.account, ref.stripe_account)
        sandbox.simulator.fail_api(kind, path="/v2/core/events", stripe_account="acct_1", times=None)
        reconcile(sandbox)
        assert [status(sandbox, ref) for ref in refs] == ["inactive", "active", "inactive"]
        sandbox.simulator.clear_faults()
        sandbox.wait(2 * DAY)
        reconcile(sandbox)
        assert status(sandbox, refs[1]) == "inactive"
