"""What gets lost, dies or comes by another way, one thing at a time, in virtual time with the real functions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.simulation.world import EVENTS_QUEUE, HANDLERS, REFRESH_QUEUE, Context, World, inside

DEAD_LETTERS = EVENTS_QUEUE + "-dead"
NOTHING = {"announcement": 0, "erasure": 0, "disconnection": 0, "refresh": 0, "verification": 0, "event": 0, "failed": 0}


@pytest.fixture
def world() -> Iterator[World]:
    world = World(1)
    world.simulator.options.settle_seconds = 3.0
    with inside(world):
        yield world


def verdict(world: World, name: str) -> Any:
    item = world.dynamodb.items[f"VERIFICATION#{world.accepted[name]}", "VERIFICATION"]
    return json.loads(item["verdict"]["S"]) if "verdict" in item else None


def is_stale(world: World, name: str) -> bool:
    return "stale" in world.dynamodb.items[f"VERIFICATION#{world.accepted[name]}", "VERIFICATION"]


def account_item(world: World, account: str, stripe_account: str = "platform") -> Any:
    return world.dynamodb.items[f"ACCOUNT#test/{stripe_account}/{account}", "ACCOUNT"]


def reconcile(world: World) -> Any:
    answers = []
    world.hub.spawn(lambda: answers.append(world._invoke("reconcile", {})))
    world.run(5)
    return answers[0]


class TestPrefetch:
    def test_owners_of_an_account_never_seen_are_stored_with_nobody_waiting(self, world: World) -> None:
        world.simulator.link("prefetch_pending", id="fca_a")
        world.stripe_moved()
        world.run(60)
        assert "snapshot" in account_item(world, "fca_a")
        assert world.simulator.initiated_refreshes()["fca_a"] == 0

    def test_refresh_started_by_somebody_else_is_fetched_by_reconcile_when_its_webhook_is_lost(self, world: World) -> None:
        world.simulator.link("single_owner", id="fca_a")
        world.at(1, lambda: world.ask_refresh("fca_a", 0))
        world.simulator.fail_webhooks("drop", account="fca_a", times=None)
        world.run(600)
        assert "snapshot" not in account_item(world, "fca_a")
        world.run(600)
        assert reconcile(world) == NOTHING | {"refresh": 1, "event": 1}
        assert "snapshot" in account_item(world, "fca_a")
        world.run(60)
        assert reconcile(world) == NOTHING


class TestReconcile:
    def test_verification_whose_workflow_was_never_started_is_started(self, world: World) -> None:
        world.simulator.link("single_owner", id="fca_a")
        calls = itertools.count()
        start = world.workflows.start_execution

        def start_execution(**request: Any) -> Any:
            if next(calls) == 0:
                raise ConnectionError
            return start(**request)

        world.workflows.start_execution = start_execution  # type: ignore[method-assign]
        world.at(0, lambda: world._http("api", "POST", "/verifications", {"account": "fca_a", "claim": {"name": "M"}}, None, {}))
        world.run(3700)
        [key] = [key for key in world.dynamodb.items if key[1] == "VERIFICATION"]
        assert "verdict" not in world.dynamodb.items[key]
        assert reconcile(world)["verification"] == 1
        world.run(60)
        assert "verdict" in world.dynamodb.items[key]

    def test_verification_whose_workflow_failed_gets_the_verdict_that_can_be_given(self, world: World) -> None:
        world.simulator.link("cooling_down", id="fca_a", policy={"cooldown_seconds": 90_000.0})
        world.at(2, lambda: world.verify("a", "fca_a"))
        world.run(30)
        world.workflows.executions[world.accepted["a"]].status = "FAILED"
        world.run(3700)
        assert reconcile(world)["verification"] == 1
        assert verdict(world, "a")["outcome"] == "not_verifiable"

    def test_verification_that_waits_for_its_cooldown_is_left_alone(self, world: World) -> None:
        world.simulator.link("cooling_down", id="fca_a", policy={"cooldown_seconds": 9000.0})
        world.at(2, lambda: world.verify("a", "fca_a"))
        world.run(4000)
        assert reconcile(world)["verification"] == 0
        world.run(6000)
        assert verdict(world, "a")["outcome"] == "match"

    def test_undelivered_event_is_processed_once_and_a_second_run_does_nothing(self, world: World) -> None:
        world.simulator.link("single_owner", id="fca_a")
        world.at(0, lambda: world.verify("a", "fca_a"))
        world.run(60)
        world.simulator.fail_webhooks("drop", account="fca_a", times=None)
        world.simulator.change("fca_a", action="deactivate")
        world.stripe_moved()
        world.run(60)
        assert not is_stale(world, "a")
        assert reconcile(world)["event"] == 1
        world.run(60)
        assert is_stale(world, "a")
        assert reconcile(world)["event"] == 0

    def test_undelivered_event_of_a_connected_account_is_found_too(self, world: World) -> None:
        world.simulator.link("single_owner", id="fca_a", stripe_account="acct_one")
        world.at(0, lambda: world.verify("a", "fca_a", stripe_account="acct_one"))
        world.run(60)
        world.simulator.fail_webhooks("drop", account="fca_a", times=None)
        world.simulator.change("fca_a", action="deactivate", stripe_account="acct_one")
        world.stripe_moved()
        world.run(60)
        assert reconcile(world)["event"] == 1
        world.run(60)
        assert is_stale(world, "a")


class TestInFlight:
    def test_caller_that_meets_a_call_whose_refresh_fails_waits_for_no_settle_timeout(self, world: World) -> None:
        # The refresh fails before the second caller's request, and its call is answered after it.
        world.simulator.link("failing", id="fca_a", policy={"settle_seconds": 0.5, "cooldown_seconds": 0.3})
        calls, made = world.stripe_call, itertools.count()

        def stripe_call(method: str, path: str, *more: Any) -> Any:
            answer = calls(method, path, *more)
            if path.endswith("/refresh") and next(made) == 0:
                world.hub.spawn(lambda: world.verify("b", "fca_a", max_age=0), 1.2)
                world.hub.sleep(3)
            return answer

        world.stripe_call = stripe_call  # type: ignore[method-assign, assignment]
        world.at(0, lambda: world.verify("a", "fca_a"))
        world.run(120)
        assert verdict(world, "a")["reasons"] == ["REFRESH_FAILED"]
        assert verdict(world, "b") is not None
        assert world.workflows.executions[world.accepted["b"]].timeouts == 0


class TestPoison:
    def test_event_that_cannot_be_processed_ends_as_a_dead_letter_with_its_reason_blocks_nobody_and_can_be_redriven(
        self, world: World
    ) -> None:
        world.simulator.fail_api("rate_limit", account="fca_bad", times=None)
        world.simulator.link("fresh", id="fca_bad")
        world.simulator.link("fresh", id="fca_good")
        world.stripe_moved()
        world.run(30)
        assert "snapshot" in account_item(world, "fca_good")
        world.run(1200)
        bodies = world.sqs.dead[DEAD_LETTERS]
        assert {json.loads(body)["account"] for body in bodies} == {"fca_bad"}
        events = [item for (pk, sk), item in world.dynamodb.items.items() if sk == "EVENT" and item["account"]["S"] == "fca_bad"]
        assert {item["failure"]["S"] for item in events} == {"StripeRateLimitedError: Stripe asked for a slower pace."}
        world.simulator.clear_faults()
        for body in bodies:
            world.at(0, lambda body=body: world.sqs.send_message(QueueUrl=EVENTS_QUEUE, MessageBody=body))  # type: ignore[misc]
        world.run(30)
        assert "snapshot" in account_item(world, "fca_bad")
        events = [item for (pk, sk), item in world.dynamodb.items.items() if sk == "EVENT"]
        assert all(item["processed"]["BOOL"] and "failure" not in item for item in events)


class TestLifecycle:
    @pytest.mark.parametrize(("action", "reason"), [("deactivate", "ACCOUNT_INACTIVE"), ("disconnect", "ACCOUNT_DISCONNECTED")])
    def test_verification_that_waits_for_an_account_that_dies_ends_with_the_reason(self, world: World, action: str, reason: str) -> None:
        world.simulator.link("never_answering", id="fca_a")
        world.at(0, lambda: world.verify("a", "fca_a"))
        world.run(60)
        assert verdict(world, "a") is None
        if action == "deactivate":
            # Stripe fails what was pending when it loses the account.
            world.simulator.change("fca_a", policy={"outcome": "failed"})
        world.simulator.change("fca_a", action=action)
        world.stripe_moved()
        world.run(6000)
        assert verdict(world, "a")["outcome"] == "not_verifiable"
        if action == "disconnect":
            assert verdict(world, "a")["reasons"] == [reason]

    def test_verdict_of_an_account_that_dies_is_marked_stale_and_announced_once(self, world: World) -> None:
        world.simulator.link("single_owner", id="fca_a")
        world.at(0, lambda: world.verify("a", "fca_a"))
        world.run(60)
        world.simulator.change("fca_a", action="deactivate")
        world.simulator.fail_webhooks("duplicate", account="fca_a", times=None)
        world.stripe_moved()
        world.run(60)
        assert is_stale(world, "a")
        announced = [detail for kind, detail in world.events_bus.announced if kind == "VerificationStale"]
        assert announced == [{"verification": world.accepted["a"], "account": "fca_a", "mode": "test", "reason": "ACCOUNT_INACTIVE"}]

    def test_verdict_given_on_an_account_that_is_dead_already_is_stale_from_the_start(self, world: World) -> None:
        world.simulator.link("single_owner", id="fca_a")
        world.at(0, lambda: world.verify("a", "fca_a"))
        world.run(60)
        world.simulator.change("fca_a", action="deactivate")
        world.stripe_moved()
        world.run(60)
        world.at(0, lambda: world.verify("b", "fca_a"))
        world.run(60)
        assert verdict(world, "b")["outcome"] == "match"
        assert is_stale(world, "b")
        stale = [detail["verification"] for kind, detail in world.events_bus.announced if kind == "VerificationStale"]
        assert stale == [world.accepted["a"], world.accepted["b"]]

    def test_message_that_comes_again_after_its_verdict_pays_for_nothing(self, world: World) -> None:
        sent: list[dict[str, Any]] = []
        send = world.sqs.send_message

        def send_message(**message: Any) -> Any:
            sent.append(message)
            return send(**message)

        world.sqs.send_message = send_message  # type: ignore[method-assign]
        world.simulator.link("inactive", id="fca_a")
        world.at(1, lambda: world.verify("a", "fca_a"))
        world.run(60)
        assert verdict(world, "a")["reasons"] == ["ACCOUNT_INACTIVE"]
        world.simulator.change("fca_a", action="reactivate")
        world.stripe_moved()
        world.run(60)
        [late] = [message for message in sent if message["QueueUrl"] == REFRESH_QUEUE]
        world.at(0, lambda: send(**late))
        world.run(60)
        assert world.simulator.initiated_refreshes()["fca_a"] == 0
        assert not [sk for _, sk in world.dynamodb.items if sk.startswith("WAITER#")]

    def test_new_verifications_work_after_reactivation(self, world: World) -> None:
        world.simulator.options.cooldown_seconds = 5.0
        world.simulator.link("single_owner", id="fca_a")
        world.simulator.change("fca_a", action="deactivate")
        world.at(1, lambda: world.verify("a", "fca_a"))
        world.run(60)
        assert verdict(world, "a")["reasons"] == ["ACCOUNT_INACTIVE"]
        world.simulator.change("fca_a", action="reactivate")
        world.stripe_moved()
        world.run(60)
        world.at(0, lambda: world.verify("b", "fca_a"))
        world.run(60)
        assert verdict(world, "b")["outcome"] == "match"
        assert account_item(world, "fca_a")["status"]["S"] == "active"

    def test_every_order_of_deliveries_ends_in_the_same_state(self) -> None:
        ends = set()
        for order in itertools.permutations(range(4)):
            world = World(1)
            world.simulator.options.settle_seconds = 1.0
            with inside(world):
                held: list[Any] = []
                world._deliver = held.append  # type: ignore[method-assign, assignment]
                world.simulator.link("fresh", id="fca_a")
                world.simulator.change("fca_a", action="update_account_numbers")
                world.simulator.change("fca_a", action="deactivate")
                world.run(5)
                assert len(held) == 4
                for place in order:
                    world.hub.spawn(partial(World._deliver, world, held[place]))
                    world.run(5)
                item = account_item(world, "fca_a")
                ends.add(json.dumps({name: item[name] for name in ("status", "refresh_status", "snapshot", "snapshot_attempted_at")}))
        assert len(ends) == 1


class TestOtherWaysIn:
    def event(self, **changed: Any) -> dict[str, Any]:
        detail = {
            "id": "evt_1", "object": "event", "type": "financial_connections.account.refreshed_ownership", "livemode": False, "created": 1,
            "data": {"object": {"id": "fca_a"}},
        }  # fmt: skip
        return {"source": "aws.partner/stripe.com/ed_test_1", "detail-type": detail["type"], "detail": detail | changed}

    def invoke(self, world: World, event: dict[str, Any]) -> Any:
        answers = []
        world.hub.spawn(lambda: answers.append(HANDLERS["receive_event"](event, Context("receive_event"))))
        world.run(30)
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
    def test_event_from_eventbridge_ends_where_a_delivery_over_http_ends(self, world: World, changed: dict[str, Any]) -> None:
        world.simulator.fail_webhooks("drop", account="fca_a", times=None)
        world.simulator.link("fresh", id="fca_a")
        assert self.invoke(world, self.event(**changed)) == {"event": "evt_1", "state": "new"}
        assert "snapshot" in account_item(world, "fca_a")
        assert self.invoke(world, self.event(**changed)) == {"event": "evt_1", "state": "processed"}

    @pytest.mark.parametrize("changed", [{"source": "titleholder"}, {"detail": "no event"}], ids=["another source", "no detail"])
    def test_what_is_not_from_stripes_bus_is_refused_and_changes_nothing(self, world: World, changed: dict[str, Any]) -> None:
        with pytest.raises(Exception, match=r"Stripe's partner event source|holds no event"):
            HANDLERS["receive_event"]({**self.event(), **changed}, Context("receive_event"))
        assert not world.dynamodb.items

    def test_http_request_that_dresses_up_as_an_event_is_refused(self, world: World) -> None:
        event = {"version": "2.0", "headers": {}, "body": json.dumps(self.event()), "requestContext": {"http": {"method": "POST"}}}
        with pytest.raises(Exception, match="Stripe's partner event source"):
            HANDLERS["receive_event"](event, Context("receive_event"))


class TestConnect:
    def test_same_id_under_two_connected_accounts_stays_two(self, world: World) -> None:
        for connected in ("acct_one", "acct_two"):
            world.simulator.link("single_owner", id="fca_a", stripe_account=connected)
            world.at(1, lambda connected=connected: world.verify(connected, "fca_a", stripe_account=connected))  # type: ignore[misc]
        world.run(60)
        assert {verdict(world, name)["outcome"] for name in ("acct_one", "acct_two")} == {"match"}
        assert verdict(world, "acct_one")["snapshot"] != verdict(world, "acct_two")["snapshot"]
        for connected in ("acct_one", "acct_two"):
            assert world.simulator.state("fca_a", stripe_account=connected)["initiated_refreshes"] == 1
            assert "snapshot" in account_item(world, "fca_a", connected)
