"""Events of an organization's destination: whose they are, and how calls name a connected account that came by a context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from local.stripe_simulator.deliveries import GENERATION_FAILURE
from tests.support.sandbox import API_KEY, SIGNING_SECRET, Moment, Sandbox
from titleholder import observability
from titleholder.domain.accounts import AccountRef
from titleholder.services.contexts import MAX_AGE_SECONDS
from titleholder.stripe_api.signatures import sign

OWN, SEEN, FOREIGN = "acct_simulated", "acct_seen", "acct_foreign"
TYPE = "financial_connections.account.deactivated"
ACCOUNT = "/v1/account"


@pytest.fixture(params=["snapshot", "thin"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the metrics that are added from now on."""
    found: list[str] = []
    monkeypatch.setattr(observability.metrics, "add_metric", lambda *, name, **_: found.append(name))
    return found


def event(kind: str, context: str | None, account: str = "fca_1", **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"id": "evt_1", "created": 1_800_000_000, "livemode": False, "object": "event", "type": TYPE}
    made |= {"data": {"object": {"id": account, "object": "financial_connections.account"}}}
    if kind == "thin":
        made |= {"object": "v2.core.event", "type": f"v1.{TYPE}", "related_object": {"id": account, "type": "x", "url": "/x"}}
    return {**made, **({} if context is None else {"context": context}), **changes}


def deliver(sandbox: Sandbox, given: Mapping[str, Any]) -> int:
    body = json.dumps(given).encode()
    answer = sandbox.http(
        "POST",
        "/webhooks/stripe",
        body,
        function="receive_webhook",
        **{"stripe-signature": sign(body, SIGNING_SECRET, int(sandbox.clock.now))},
    )
    return answer.status


def take(sandbox: Sandbox, given: Mapping[str, Any]) -> None:
    """Deliver an event, and have it processed."""
    assert deliver(sandbox, given) == 200
    assert sandbox.consume(sandbox.events_queue) == []


def known(sandbox: Sandbox, ref: AccountRef) -> str | None:
    state = sandbox.store.accounts.get(ref).state
    return None if state is None else state.status


def see(sandbox: Sandbox, stripe_account: str = SEEN, account: str = "fca_0") -> AccountRef:
    """A connected account that has an account here."""
    ref = sandbox.link("inactive", id=account, stripe_account=stripe_account)
    sandbox.http("GET", f"/accounts/{account}", **{"stripe-account": stripe_account})
    return ref


def calls(sandbox: Sandbox) -> list[tuple[str, str | None]]:
    """Paths and connected accounts of the calls to Stripe so far."""
    return [(entry["path"], entry["stripe_account"]) for entry in sandbox.simulator.requests()]


@pytest.fixture
def headers(sandbox: Sandbox) -> list[tuple[str | None, str | None]]:
    """Stripe-Account and Stripe-Context of each call to Stripe from now on."""
    found: list[tuple[str | None, str | None]] = []

    def note(moment: Moment) -> None:
        if (moment.service, moment.when) == ("stripe", "before"):
            found.append((moment.arguments.get("Stripe-Account"), moment.arguments.get("Stripe-Context")))

    sandbox.taps.append(note)
    return found


class TestWhose:
    @pytest.mark.parametrize("path", [f"org_simulated/{OWN}", f"org_a/org_b/{OWN}", OWN])
    def test_event_of_the_keys_own_account_is_the_platforms(self, sandbox: Sandbox, kind: str, path: str) -> None:
        ref = sandbox.link("inactive", id="fca_1")
        take(sandbox, event(kind, path))
        assert known(sandbox, ref) == "inactive"
        assert known(sandbox, AccountRef("fca_1", "test", OWN)) is None

    @pytest.mark.parametrize("path", [f"org_simulated/{SEEN}", f"org_simulated/{OWN}/{SEEN}", f"{OWN}/{SEEN}", SEEN])
    def test_event_of_a_connected_account_that_was_seen_is_that_ones(self, sandbox: Sandbox, kind: str, path: str) -> None:
        see(sandbox)
        ref = sandbox.link("inactive", id="fca_1", stripe_account=SEEN)
        take(sandbox, event(kind, path))
        assert known(sandbox, ref) == "inactive"
        assert known(sandbox, AccountRef("fca_1")) is None

    def test_event_of_any_other_account_of_the_organization_has_no_effect(self, sandbox: Sandbox, kind: str, counted: list[str]) -> None:
        see(sandbox)
        sandbox.simulator.configure(foreign=[FOREIGN])
        for connected in (None, SEEN, FOREIGN):
            sandbox.link("inactive", id="fca_1", stripe_account=connected)
        before = sandbox.items()
        for _ in range(2):
            take(sandbox, event(kind, f"org_simulated/{FOREIGN}"))
        (aside,) = [item for item in sandbox.items() if item not in before and not item["pk"]["S"].startswith("PACE#")]
        assert (aside["pk"]["S"], aside["sk"]["S"]) == ("EVENT#evt_1", "EVENT")
        assert (aside["aside"]["S"], aside["processed"]["BOOL"]) == ("other_context", True)
        assert counted.count("EventOfOtherContext") == 1
        assert not [path for path, _ in calls(sandbox) if path != ACCOUNT and "fca" in path]
        assert not [path for path, connected in calls(sandbox) if connected == FOREIGN]

    def test_event_that_came_before_its_account_was_seen_has_its_effect_when_it_comes_again(self, sandbox: Sandbox, kind: str) -> None:
        ref = sandbox.link("inactive", id="fca_1", stripe_account=SEEN)
        take(sandbox, event(kind, f"org_simulated/{SEEN}"))
        assert known(sandbox, ref) is None
        see(sandbox)
        take(sandbox, event(kind, f"org_simulated/{SEEN}"))
        assert known(sandbox, ref) == "inactive"
        (item,) = [item for item in sandbox.items() if item["pk"]["S"] == "EVENT#evt_1"]
        assert item["processed"]["BOOL"]
        assert "aside" not in item

    def test_event_of_another_account_whose_repeated_delivery_is_cut_off_is_left_processed(self, sandbox: Sandbox, kind: str) -> None:
        sandbox.simulator.configure(foreign=[FOREIGN])
        take(sandbox, event(kind, f"org_simulated/{FOREIGN}"))
        # Nothing processes what the receiver queues now, as if it had died before it queued it.
        deliver(sandbox, event(kind, f"org_simulated/{FOREIGN}"))
        (item,) = [item for item in sandbox.items() if item["pk"]["S"] == "EVENT#evt_1"]
        assert item["processed"]["BOOL"]

    def test_connected_account_that_an_event_names_by_its_id_alone_may_be_new(self, sandbox: Sandbox, kind: str) -> None:
        ref = sandbox.link("inactive", id="fca_1", stripe_account="acct_new")
        take(sandbox, event(kind, "acct_new"))
        assert known(sandbox, ref) == "inactive"

    def test_event_that_was_set_aside_counts_when_the_platforms_own_endpoint_delivers_it(self, sandbox: Sandbox, kind: str) -> None:
        ref = sandbox.link("inactive", id="fca_1", stripe_account="acct_new")
        take(sandbox, event(kind, "org_simulated/acct_new"))
        assert known(sandbox, ref) is None
        take(sandbox, event(kind, "acct_new"))
        assert known(sandbox, ref) == "inactive"

    def test_event_never_touches_an_account_of_the_same_id_elsewhere(self, sandbox: Sandbox, kind: str) -> None:
        see(sandbox, "acct_x"), see(sandbox, "acct_y")
        refs = {each: sandbox.link("fresh", id="fca_1", stripe_account=each) for each in (None, "acct_x", "acct_y")}
        for place, (connected, ref) in enumerate(refs.items()):
            sandbox.simulator.change("fca_1", stripe_account=connected, action="deactivate")
            take(sandbox, event(kind, f"org_simulated/{connected or OWN}", id=f"evt_{place}"))
            assert [known(sandbox, each) for each in refs.values()].count("inactive") == place + 1
            assert known(sandbox, ref) == "inactive"

    def test_event_of_the_other_mode_is_set_aside_with_any_context(self, sandbox: Sandbox, kind: str) -> None:
        for path in (f"org_simulated/{OWN}", f"org_simulated/{SEEN}", "org_simulated"):
            assert deliver(sandbox, event(kind, path, livemode=True)) == 200
        assert sandbox.messages(sandbox.events_queue) == []


class TestOwnAccount:
    def test_is_asked_for_once(self, sandbox: Sandbox, kind: str) -> None:
        for number in range(3):
            take(sandbox, event(kind, f"org_simulated/acct_{number}", id=f"evt_{number}"))
        assert [path for path, _ in calls(sandbox)] == [ACCOUNT]

    def test_is_not_asked_for_by_events_of_the_platform_and_of_connected_accounts_that_were_seen(self, sandbox: Sandbox, kind: str) -> None:
        see(sandbox)
        for connected in (None, SEEN):
            sandbox.link("inactive", id="fca_1", stripe_account=connected)
            take(sandbox, event(kind, connected, id=f"evt_{connected or 'platform'}"))
        assert ACCOUNT not in [path for path, _ in calls(sandbox)]

    def test_is_not_asked_for_by_the_receiver(self, sandbox: Sandbox, kind: str) -> None:
        assert deliver(sandbox, event(kind, f"org_simulated/{OWN}")) == 200
        assert calls(sandbox) == []

    def test_that_the_key_may_not_read_keeps_no_connected_account_from_its_events(self, sandbox: Sandbox, kind: str) -> None:
        sandbox.simulator.configure(denied={API_KEY: frozenset({"GET /v1/account"})})
        see(sandbox)
        for connected in (SEEN, "acct_new"):
            ref = sandbox.link("inactive", id="fca_1", stripe_account=connected)
            take(sandbox, event(kind, connected if connected != SEEN else f"org_simulated/{SEEN}", id=f"evt_{connected}"))
            assert known(sandbox, ref) == "inactive"

    def test_that_the_key_may_not_read_loses_no_event(self, sandbox: Sandbox, kind: str) -> None:
        sandbox.simulator.configure(denied={API_KEY: frozenset({"GET /v1/account"})})
        ref = sandbox.link("inactive", id="fca_1")
        assert deliver(sandbox, event(kind, f"org_simulated/{OWN}")) == 200
        assert sandbox.consume(sandbox.events_queue) != []
        sandbox.simulator.configure(denied={})
        sandbox.wait(120)
        assert sandbox.consume(sandbox.events_queue) == []
        assert known(sandbox, ref) == "inactive"


class TestCalls:
    def test_name_a_connected_account_by_the_context_that_it_came_by(self, sandbox: Sandbox, kind: str, headers: list[Any]) -> None:
        see(sandbox)
        sandbox.link("inactive", id="fca_1", stripe_account=SEEN)
        headers.clear()
        take(sandbox, event(kind, f"org_simulated/{SEEN}"))
        sandbox.wait(MAX_AGE_SECONDS)
        sandbox.http("GET", "/accounts/fca_1", **{"stripe-account": SEEN})
        assert headers[0] == (None, None)  # Whose the key is.
        assert set(headers[1:]) == {(None, f"org_simulated/{SEEN}")}
        assert len(headers) >= 4
        sandbox.function("reconcile")({})
        assert set(headers[4:]) <= {(None, None), (None, f"org_simulated/{SEEN}")}

    def test_name_all_others_as_before(self, sandbox: Sandbox, headers: list[Any]) -> None:
        see(sandbox)
        sandbox.link("inactive", id="fca_1")
        take(sandbox, event("snapshot", f"org_simulated/{OWN}"))
        sandbox.http("GET", "/accounts/fca_0", **{"stripe-account": SEEN})
        assert set(headers) == {(None, None), (SEEN, None)}

    def test_go_on_as_before_where_stripe_does_not_take_the_context(self, sandbox: Sandbox, kind: str, headers: list[Any]) -> None:
        see(sandbox)
        ref = sandbox.link("inactive", id="fca_1", stripe_account=SEEN)
        take(sandbox, event(kind, f"org_unknown/{SEEN}"))
        assert known(sandbox, ref) == "inactive"
        assert headers[-1] == (SEEN, None)

    @pytest.mark.parametrize("fault", ["server_error", "drop"])
    def test_go_on_as_before_while_stripe_does_not_say_whether_it_takes_the_context(
        self, sandbox: Sandbox, kind: str, headers: list[Any], fault: str
    ) -> None:
        see(sandbox)
        ref = sandbox.link("inactive", id="fca_1", stripe_account=SEEN)
        sandbox.simulator.fail_api(fault, path=ACCOUNT, stripe_account=SEEN, times=None)
        take(sandbox, event(kind, f"org_simulated/{SEEN}"))
        assert known(sandbox, ref) == "inactive"
        assert headers[-1] == (SEEN, None)
        sandbox.simulator.clear_faults()
        take(sandbox, event(kind, f"org_simulated/{SEEN}", id="evt_2"))
        assert headers[-1] == (None, f"org_simulated/{SEEN}")

    def test_name_an_account_by_its_id_again_that_left_its_organization(self, sandbox: Sandbox, headers: list[Any]) -> None:
        see(sandbox)
        sandbox.link("inactive", id="fca_1", stripe_account=SEEN)
        take(sandbox, event("snapshot", f"org_simulated/{SEEN}"))
        sandbox.simulator.configure(organization="org_another")
        assert sandbox.function("reconcile")({})["failed"] == 1
        sandbox.wait(900)
        assert sandbox.function("reconcile")({})["failed"] == 0
        assert headers[-1] == (SEEN, None)

    def test_follow_an_account_to_another_organization(self, sandbox: Sandbox, kind: str, headers: list[Any]) -> None:
        see(sandbox)
        sandbox.link("inactive", id="fca_1", stripe_account=SEEN)
        take(sandbox, event(kind, f"org_simulated/{SEEN}"))
        sandbox.simulator.configure(organization="org_new/org_inner")
        take(sandbox, event(kind, f"org_new/org_inner/{SEEN}", id="evt_2"))
        assert headers[-1] == (None, f"org_new/org_inner/{SEEN}")


class TestEventsThatStripeCouldNotMake:
    @pytest.mark.parametrize("scope", ["platform", "connected", "organization"])
    def test_have_their_account_read(self, sandbox: Sandbox, scope: str, counted: list[str]) -> None:
        see(sandbox)
        connected = None if scope == "platform" else SEEN
        sandbox.simulator.add_endpoint("https://hook", SIGNING_SECRET, payload="thin", scope=scope, types=[GENERATION_FAILURE])
        ref = sandbox.link("fresh", id="fca_1", stripe_account=connected)
        sandbox.simulator.fail_webhooks("ungenerated", account="fca_1")
        sandbox.simulator.change("fca_1", stripe_account=connected, action="deactivate")
        assert [answer.status for answer in sandbox.deliver_due()] == [200]
        assert sandbox.consume(sandbox.events_queue) == []
        assert known(sandbox, ref) == "inactive"
        assert counted.count("EventGenerationFailure") == 1

    def test_may_be_about_something_else(self, sandbox: Sandbox) -> None:
        sandbox.simulator.add_endpoint("https://hook", SIGNING_SECRET, payload="thin")
        sandbox.simulator.send_thin(GENERATION_FAILURE)
        assert [answer.status for answer in sandbox.deliver_due()] == [200]
        assert sandbox.consume(sandbox.events_queue) == []
        assert [path for path, _ in calls(sandbox)] == ["/v2/core/events/{id}"]
        assert all(item["processed"]["BOOL"] for item in sandbox.items() if item["sk"]["S"] == "EVENT")


def twins(context: str | None, snapshot: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The thin event of an organization's destination, and the snapshot event of the same occurrence that another endpoint delivers."""
    return [event("thin", context, id="evt_thin", snapshot_event="evt_p"), {**event("snapshot", None, id="evt_p"), **snapshot}]


class TestTwinsByDifferentPaths:
    @pytest.mark.parametrize("first", ["thin", "snapshot"])
    def test_platforms_own_event_counts_where_the_key_may_not_read_its_account(self, sandbox: Sandbox, first: str) -> None:
        sandbox.simulator.configure(denied={API_KEY: frozenset({"GET /v1/account"})})
        ref = sandbox.link("inactive", id="fca_1")
        pair = twins(f"org_simulated/{OWN}", {})
        for each in pair if first == "thin" else reversed(pair):
            assert deliver(sandbox, each) == 200
        sandbox.consume(sandbox.events_queue)
        assert known(sandbox, ref) == "inactive"

    @pytest.mark.parametrize("first", ["thin", "snapshot"])
    @pytest.mark.parametrize("between", [False, True])
    def test_event_of_a_new_connected_account_counts(self, sandbox: Sandbox, first: str, between: bool) -> None:
        ref = sandbox.link("inactive", id="fca_1", stripe_account="acct_new")
        pair = twins(f"org_simulated/{OWN}/acct_new", {"account": "acct_new"})
        for each in pair if first == "thin" else reversed(pair):
            assert deliver(sandbox, each) == 200
            if between:
                assert sandbox.consume(sandbox.events_queue) == []
        assert sandbox.consume(sandbox.events_queue) == []
        assert known(sandbox, ref) == "inactive"
        assert all(item["processed"]["BOOL"] for item in sandbox.items() if item["sk"]["S"].startswith("EVENT"))

    @pytest.mark.parametrize("first", ["thin", "snapshot"])
    def test_connected_accounts_event_that_names_the_platforms_hides_neither(self, sandbox: Sandbox, first: str) -> None:
        refs = [sandbox.link("inactive", id="fca_1", stripe_account=each) for each in (None, "acct_h1")]
        pair = twins("acct_h1", {})
        for each in pair if first == "thin" else reversed(pair):
            assert deliver(sandbox, each) == 200
        assert sandbox.consume(sandbox.events_queue) == []
        assert [known(sandbox, each) for each in refs] == ["inactive"] * 2

    def test_same_path_is_one_event(self, sandbox: Sandbox) -> None:
        see(sandbox)
        path = f"org_simulated/{SEEN}"
        thin, snapshot = (
            event("thin", path, id="evt_thin", snapshot_event="evt_p"),
            {**event("snapshot", path, id="evt_p"), "account": SEEN},
        )
        for each in (thin, snapshot, snapshot):
            assert deliver(sandbox, each) == 200
            assert [message["event"] for message in sandbox.messages(sandbox.events_queue)] == ["evt_p"]

    def test_delivery_of_the_second_path_that_comes_again_is_a_duplicate(self, sandbox: Sandbox) -> None:
        see(sandbox)
        path = f"org_simulated/{SEEN}"
        thin, snapshot = (
            event("thin", path, id="evt_thin", snapshot_event="evt_p"),
            {**event("snapshot", None, id="evt_p"), "account": SEEN},
        )
        sandbox.link("inactive", id="fca_1", stripe_account=SEEN)
        for each in (thin, snapshot):
            take(sandbox, each)
        for each in (thin, snapshot):
            assert deliver(sandbox, each) == 200
        assert sandbox.messages(sandbox.events_queue) == []

    def test_second_path_that_was_not_queued_is_queued_when_it_comes_again(self, sandbox: Sandbox) -> None:
        pair = twins(f"org_simulated/{OWN}", {})
        for each in (*pair, pair[1]):
            assert deliver(sandbox, each) == 200
        assert [message["event"] for message in sandbox.messages(sandbox.events_queue)] == ["evt_p", *["evt_p@platform/fca_1"] * 2]
