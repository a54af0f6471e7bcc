"""What gets lost, dies or comes by another way, one thing at a time, in virtual time with the real functions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from tests.simulation.application import inside
from tests.simulation.deployment import EVENTS_QUEUE, REFRESH_QUEUE
from tests.simulation.handlers import HANDLERS, Context
from tests.simulation.simulation import Simulation

DEAD_LETTERS = EVENTS_QUEUE + "-dead"
NOTHING = {
    "announcement": 0, "erasure": 0, "disconnection": 0, "refresh": 0, "verification": 0, "event": 0, "review_end": 0, "failed": 0,
}  # fmt: skip


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """A simulation without faults, in which the functions run."""
    simulation = Simulation(1)
    simulation.simulator.options.settle_seconds = 3.0
    with inside(simulation):
        yield simulation


def verdict(simulation: Simulation, name: str) -> Any:
    item = simulation.dynamodb.items[f"VERIFICATION#{simulation.accepted[name]}", "VERIFICATION"]
    return json.loads(item["verdict"]["S"]) if "verdict" in item else None


def is_stale(simulation: Simulation, name: str) -> bool:
    return "stale" in simulation.dynamodb.items[f"VERIFICATION#{simulation.accepted[name]}", "VERIFICATION"]


def account_item(simulation: Simulation, account: str, stripe_account: str = "platform") -> Any:
    return simulation.dynamodb.items[f"ACCOUNT#test/{stripe_account}/{account}", "ACCOUNT"]


def reconcile(simulation: Simulation) -> Any:
    answers = []
    simulation.scheduler.spawn(lambda: answers.append(simulation._invoke("reconcile", {})))
    simulation.run(5)
    return answers[0]


def deactivate_unheard(simulation: Simulation) -> None:
    """Verify an account, then let it become inactive at Stripe, whose event is never delivered."""
    simulation.simulator.link("single_owner", id="fca_a")
    simulation.at(0, lambda: simulation.verify("a", "fca_a"))
    simulation.run(60)
    simulation.simulator.fail_webhooks("drop", account="fca_a", times=None)
    simulation.simulator.change("fca_a", action="deactivate")
    simulation.stripe_moved()
    simulation.run(60)


class TestPrefetch:
    def test_owners_of_an_unknown_account_are_stored_without_a_waiter(self, simulation: Simulation) -> None:
        simulation.simulator.link("prefetch_pending", id="fca_a")
        simulation.stripe_moved()
        simulation.run(60)
        assert "snapshot" in account_item(simulation, "fca_a")
        assert simulation.simulator.initiated_refreshes()["fca_a"] == 0

    def test_reconcile_fetches_a_refresh_of_another_stack_whose_webhook_is_lost(self, simulation: Simulation) -> None:
        simulation.simulator.link("single_owner", id="fca_a")
        simulation.at(1, lambda: simulation.ask_refresh("fca_a", 0))
        simulation.simulator.fail_webhooks("drop", account="fca_a", times=None)
        simulation.run(600)
        assert "snapshot" not in account_item(simulation, "fca_a")
        simulation.run(600)
        # The event's message may be processed before the run lists open refreshes.
        assert reconcile(simulation) | {"refresh": 1} == NOTHING | {"refresh": 1, "event": 1}
        assert "snapshot" in account_item(simulation, "fca_a")
        simulation.run(60)
        assert reconcile(simulation) == NOTHING


class TestReconcile:
    def test_verification_whose_workflow_was_never_started_is_started(self, simulation: Simulation) -> None:
        simulation.simulator.link("single_owner", id="fca_a")
        calls = itertools.count()
        start = simulation.workflows.start_execution

        def start_execution(**request: Any) -> Any:
            if next(calls) == 0:
                raise ConnectionError
            return start(**request)

        simulation.workflows.start_execution = start_execution  # type: ignore[method-assign]
        simulation.at(0, lambda: simulation._http("api", "POST", "/verifications", {"account": "fca_a", "claim": {"name": "M"}}, None, {}))
        simulation.run(3700)
        [key] = [key for key in simulation.dynamodb.items if key[1] == "VERIFICATION"]
        assert "verdict" not in simulation.dynamodb.items[key]
        assert reconcile(simulation)["verification"] == 1
        simulation.run(60)
        assert "verdict" in simulation.dynamodb.items[key]

    def test_verification_whose_workflow_failed_gets_the_verdict_that_can_be_given(self, simulation: Simulation) -> None:
        simulation.simulator.link("cooling_down", id="fca_a", policy={"cooldown_seconds": 90_000.0})
        simulation.at(2, lambda: simulation.verify("a", "fca_a"))
        simulation.run(30)
        simulation.workflows.executions[simulation.accepted["a"]].status = "FAILED"
        simulation.run(3700)
        assert reconcile(simulation)["verification"] == 1
        assert verdict(simulation, "a")["outcome"] == "not_verifiable"

    def test_verification_that_waits_for_its_cooldown_is_left_alone(self, simulation: Simulation) -> None:
        simulation.simulator.link("cooling_down", id="fca_a", policy={"cooldown_seconds": 9000.0})
        simulation.at(2, lambda: simulation.verify("a", "fca_a"))
        simulation.run(4000)
        assert reconcile(simulation)["verification"] == 0
        simulation.run(6000)
        assert verdict(simulation, "a")["outcome"] == "match"

    def test_undelivered_event_is_processed_once_and_a_second_run_does_nothing(self, simulation: Simulation) -> None:
        deactivate_unheard(simulation)
        assert not is_stale(simulation, "a")
        assert reconcile(simulation)["event"] == 1
        simulation.run(60)
        assert is_stale(simulation, "a")
        assert reconcile(simulation)["event"] == 0

    def test_event_whose_queueing_failed_is_processed_although_stripe_lists_it_no_more(self, simulation: Simulation) -> None:
        deactivate_unheard(simulation)
        send = simulation.sqs.send_message
        simulation.sqs.send_message = Mock(side_effect=ConnectionError)  # type: ignore[method-assign]
        assert reconcile(simulation)["failed"] == 1
        simulation.sqs.send_message = send  # type: ignore[method-assign]
        simulation.run(300)
        assert not is_stale(simulation, "a")
        calls = simulation.stripe_call
        simulation.stripe_call = lambda method, path, *more: (  # type: ignore[method-assign]
            (200, {"object": "list", "data": [], "has_more": False}) if path == "/v1/events" else calls(method, path, *more)
        )
        assert reconcile(simulation)["event"] == 1
        simulation.run(60)
        assert is_stale(simulation, "a")

    def test_undelivered_event_of_a_connected_account_is_found_too(self, simulation: Simulation) -> None:
        simulation.simulator.link("single_owner", id="fca_a", stripe_account="acct_one")
        simulation.at(0, lambda: simulation.verify("a", "fca_a", stripe_account="acct_one"))
        simulation.run(60)
        simulation.simulator.fail_webhooks("drop", account="fca_a", times=None)
        simulation.simulator.change("fca_a", action="deactivate", stripe_account="acct_one")
        simulation.stripe_moved()
        simulation.run(60)
        assert reconcile(simulation)["event"] == 1
        simulation.run(60)
        assert is_stale(simulation, "a")


class TestInFlight:
    def test_caller_that_meets_a_call_whose_refresh_fails_waits_for_no_settle_timeout(self, simulation: Simulation) -> None:
        # The refresh fails before the second caller's request, and its call is answered after it.
        simulation.simulator.link("failing", id="fca_a", policy={"settle_seconds": 0.5, "cooldown_seconds": 0.3})
        calls, made = simulation.stripe_call, itertools.count()

        def stripe_call(method: str, path: str, *more: Any) -> Any:
            answer = calls(method, path, *more)
            if path.endswith("/refresh") and next(made) == 0:
                simulation.scheduler.spawn(lambda: simulation.verify("b", "fca_a", max_age=0), 1.2)
                simulation.scheduler.sleep(3)
            return answer

        simulation.stripe_call = stripe_call  # type: ignore[method-assign, assignment]
        simulation.at(0, lambda: simulation.verify("a", "fca_a"))
        simulation.run(120)
        assert verdict(simulation, "a")["reasons"] == ["REFRESH_FAILED"]
        assert verdict(simulation, "b") is not None
        assert simulation.workflows.executions[simulation.accepted["b"]].timeouts == 0


class TestPoison:
    def test_event_that_fails_becomes_a_dead_letter_with_its_reason_delays_no_other_and_can_be_redriven(
        self, simulation: Simulation
    ) -> None:
        simulation.simulator.fail_api("rate_limit", account="fca_bad", times=None)
        simulation.simulator.link("fresh", id="fca_bad")
        simulation.simulator.link("fresh", id="fca_good")
        simulation.stripe_moved()
        simulation.run(30)
        assert "snapshot" in account_item(simulation, "fca_good")
        simulation.run(1200)
        bodies = simulation.sqs.dead[DEAD_LETTERS]
        assert {json.loads(body)["account"] for body in bodies} == {"fca_bad"}
        events = [item for (pk, sk), item in simulation.dynamodb.items.items() if sk == "EVENT" and item["account"]["S"] == "fca_bad"]
        assert {item["failure"]["S"] for item in events} == {"StripeRateLimitedError: Stripe limited the rate of calls (429)."}
        simulation.simulator.clear_faults()
        for body in bodies:
            simulation.at(0, lambda body=body: simulation.sqs.send_message(QueueUrl=EVENTS_QUEUE, MessageBody=body))  # type: ignore[misc]
        simulation.run(30)
        assert "snapshot" in account_item(simulation, "fca_bad")
        events = [item for (pk, sk), item in simulation.dynamodb.items.items() if sk == "EVENT"]
        assert all(item["processed"]["BOOL"] and "failure" not in item for item in events)


class TestLifecycle:
    @pytest.mark.parametrize(("action", "reason"), [("deactivate", "ACCOUNT_INACTIVE"), ("disconnect", "ACCOUNT_DISCONNECTED")])
    def test_verification_that_waits_for_an_account_that_dies_ends_with_the_reason(
        self, simulation: Simulation, action: str, reason: str
    ) -> None:
        simulation.simulator.link("never_answering", id="fca_a")
        simulation.at(0, lambda: simulation.verify("a", "fca_a"))
        simulation.run(60)
        assert verdict(simulation, "a") is None
        if action == "deactivate":
            # Stripe fails what was pending when it loses the account.
            simulation.simulator.change("fca_a", policy={"outcome": "failed"})
        simulation.simulator.change("fca_a", action=action)
        simulation.stripe_moved()
        simulation.run(6000)
        assert verdict(simulation, "a")["outcome"] == "not_verifiable"
        if action == "disconnect":
            assert verdict(simulation, "a")["reasons"] == [reason]

    def test_verdict_of_an_account_that_dies_is_marked_stale_and_announced_once(self, simulation: Simulation) -> None:
        simulation.simulator.link("single_owner", id="fca_a")
        simulation.at(0, lambda: simulation.verify("a", "fca_a"))
        simulation.run(60)
        simulation.simulator.change("fca_a", action="deactivate")
        simulation.simulator.fail_webhooks("duplicate", account="fca_a", times=None)
        simulation.stripe_moved()
        simulation.run(60)
        assert is_stale(simulation, "a")
        announced = [detail for kind, detail in simulation.events_bus.announced if kind == "VerificationStale"]
        assert announced == [{"verification": simulation.accepted["a"], "account": "fca_a", "mode": "test", "reason": "ACCOUNT_INACTIVE"}]

    def test_verdict_given_on_an_account_that_is_dead_already_is_stale_from_the_start(self, simulation: Simulation) -> None:
        simulation.simulator.link("single_owner", id="fca_a")
        simulation.at(0, lambda: simulation.verify("a", "fca_a"))
        simulation.run(60)
        simulation.simulator.change("fca_a", action="deactivate")
        simulation.stripe_moved()
        simulation.run(60)
        simulation.at(0, lambda: simulation.verify("b", "fca_a"))
        simulation.run(60)
        assert verdict(simulation, "b")["outcome"] == "match"
        assert is_stale(simulation, "b")
        stale = [detail["verification"] for kind, detail in simulation.events_bus.announced if kind == "VerificationStale"]
        assert stale == [simulation.accepted["a"], simulation.accepted["b"]]

    def test_message_that_comes_again_after_its_verdict_pays_for_nothing(self, simulation: Simulation) -> None:
        sent: list[dict[str, Any]] = []
        send = simulation.sqs.send_message

        def send_message(**message: Any) -> Any:
            sent.append(message)
            return send(**message)

        simulation.sqs.send_message = send_message  # type: ignore[method-assign]
        simulation.simulator.link("inactive", id="fca_a")
        simulation.at(1, lambda: simulation.verify("a", "fca_a"))
        simulation.run(60)
        assert verdict(simulation, "a")["reasons"] == ["ACCOUNT_INACTIVE"]
        simulation.simulator.change("fca_a", action="reactivate")
        simulation.stripe_moved()
        simulation.run(60)
        [late] = [message for message in sent if message["QueueUrl"] == REFRESH_QUEUE]
        simulation.at(0, lambda: send(**late))
        simulation.run(60)
        assert simulation.simulator.initiated_refreshes()["fca_a"] == 0
        assert not [sk for _, sk in simulation.dynamodb.items if sk.startswith("WAITER#")]

    def test_new_verifications_work_after_reactivation(self, simulation: Simulation) -> None:
        simulation.simulator.options.cooldown_seconds = 5.0
        simulation.simulator.link("single_owner", id="fca_a")
        simulation.simulator.change("fca_a", action="deactivate")
        simulation.at(1, lambda: simulation.verify("a", "fca_a"))
        simulation.run(60)
        assert verdict(simulation, "a")["reasons"] == ["ACCOUNT_INACTIVE"]
        simulation.simulator.change("fca_a", action="reactivate")
        simulation.stripe_moved()
        simulation.run(60)
        simulation.at(0, lambda: simulation.verify("b", "fca_a"))
        simulation.run(60)
        assert verdict(simulation, "b")["outcome"] == "match"
        assert account_item(simulation, "fca_a")["status"]["S"] == "active"

    def test_every_order_of_deliveries_ends_in_the_same_state(self) -> None:
        ends = set()
        for order in itertools.permutations(range(4)):
            simulation = Simulation(1)
            simulation.simulator.options.settle_seconds = 1.0
            with inside(simulation):
                held: list[Any] = []
                simulation._deliver = held.append  # type: ignore[method-assign, assignment]
                simulation.simulator.link("fresh", id="fca_a")
                simulation.simulator.change("fca_a", action="update_account_numbers")
                simulation.simulator.change("fca_a", action="deactivate")
                simulation.run(5)
                assert len(held) == 4
                for place in order:
                    simulation.scheduler.spawn(partial(Simulation._deliver, simulation, held[place]))
                    simulation.run(5)
                item = account_item(simulation, "fca_a")
                ends.add(json.dumps({name: item[name] for name in ("status", "refresh_status", "snapshot", "snapshot_attempted_at")}))
        assert len(ends) == 1


class TestOtherWaysIn:
    def event(self, **changed: Any) -> dict[str, Any]:
        detail = {
            "id": "evt_1", "object": "event", "type": "financial_connections.account.refreshed_ownership", "livemode": False, "created": 1,
            "data": {"object": {"id": "fca_a"}},
        }  # fmt: skip
        return {"source": "aws.partner/stripe.com/ed_test_1", "detail-type": detail["type"], "detail": detail | changed}

    def invoke(self, simulation: Simulation, event: dict[str, Any]) -> Any:
        answers = []
        simulation.scheduler.spawn(lambda: answers.append(HANDLERS["receive_event"](event, Context("receive_event"))))
        simulation.run(30)
        return answers[0]

    @pytest.mark.parametrize(
        "changed",
        [
            {},
            {"object": "v2.core.event", "type": "v1.financial_connections.account.ownership_refresh_succeeded", "data": None,
             "related_object": {"id": "fca_a", "type": "financial_connections.account"}},
        ],
        ids=["snapshot", "thin"],
    )  # fmt: skip
    def test_event_from_eventbridge_ends_where_a_delivery_over_http_ends(self, simulation: Simulation, changed: dict[str, Any]) -> None:
        simulation.simulator.fail_webhooks("drop", account="fca_a", times=None)
        simulation.simulator.link("fresh", id="fca_a")
        assert self.invoke(simulation, self.event(**changed)) == {"event": "evt_1", "state": "new"}
        assert "snapshot" in account_item(simulation, "fca_a")
        assert self.invoke(simulation, self.event(**changed)) == {"event": "evt_1", "state": "processed"}

    @pytest.mark.parametrize("changed", [{"source": "titleholder"}, {"detail": "no event"}], ids=["another source", "no detail"])
    def test_what_is_not_from_stripes_bus_is_refused_and_changes_nothing(self, simulation: Simulation, changed: dict[str, Any]) -> None:
        with pytest.raises(Exception, match=r"Stripe's partner event source|contains no event"):
            HANDLERS["receive_event"]({**self.event(), **changed}, Context("receive_event"))
        assert not simulation.dynamodb.items

    def test_http_request_that_dresses_up_as_an_event_is_refused(self, simulation: Simulation) -> None:
        event = {"version": "2.0", "headers": {}, "body": json.dumps(self.event()), "requestContext": {"http": {"method": "POST"}}}
        with pytest.raises(Exception, match="Stripe's partner event source"):
            HANDLERS["receive_event"](event, Context("receive_event"))


class TestConnect:
    def test_same_id_under_two_connected_accounts_stays_two(self, simulation: Simulation) -> None:
        for connected in ("acct_one", "acct_two"):
            simulation.simulator.link("single_owner", id="fca_a", stripe_account=connected)
            simulation.at(1, lambda connected=connected: simulation.verify(connected, "fca_a", stripe_account=connected))  # type: ignore[misc]
        simulation.run(60)
        assert {verdict(simulation, name)["outcome"] for name in ("acct_one", "acct_two")} == {"match"}
        assert verdict(simulation, "acct_one")["snapshot"] != verdict(simulation, "acct_two")["snapshot"]
        for connected in ("acct_one", "acct_two"):
            assert simulation.simulator.state("fca_a", stripe_account=connected)["initiated_refreshes"] == 1
            assert "snapshot" in account_item(simulation, "fca_a", connected)
