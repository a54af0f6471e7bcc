"""The timeline of verifications: the real workflow and functions in virtual time, their steps compared with what Stripe's simulator did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.simulation.application import inside
from tests.simulation.deployment import API_KEY, BEGIN, DAY
from tests.simulation.handlers import http_event
from tests.simulation.promises import check_promises
from tests.simulation.simulation import Simulation
from titleholder.timestamps import from_iso

SETTLE_TIMEOUT = 900
ORDINARY = ["webhook", "owners_fetched", "woken", "verdict"]
SECOND = pytest.approx(0, abs=1)


class Stack:
    """A simulation in which verifications are requested after 100 seconds."""

    def __init__(self) -> None:
        self.simulation = Simulation(0)
        options = self.simulation.simulator.options
        options.settle_seconds, options.cooldown_seconds = 6.0, 3600.0

    def verify(self, account: str, scenario: str, *, policy: dict[str, Any] | None = None, at: float = 100.0, **more: Any) -> None:
        """Link an account `at` that time, and verify it at once."""

        def link() -> None:
            self.simulation.simulator.link(scenario, id=account, policy=policy or {})
            self.simulation.stripe_moved()

        self.simulation.at(at, link)
        self.simulation.at(at, partial(self.simulation.verify, account, account, **more))

    def change(self, at: float, action: str, account: str) -> None:
        def act() -> None:
            self.simulation.simulator.change(account, action=action)
            self.simulation.stripe_moved()

        self.simulation.at(at, act)

    def deny(self, at: float, *operations: str) -> None:
        """Have Stripe refuse the key of the stack for these operations, and for no other, from then on."""
        denied = {API_KEY: frozenset(operations)} if operations else {}
        self.simulation.at(at, lambda: self.simulation.simulator.configure(denied=denied))

    def run(self, seconds: float = 2 * 3600) -> None:
        self.simulation.run(seconds)

    def timeline(self, account: str) -> Any:
        answers: list[Any] = []

        def ask() -> None:
            path = f"/verifications/{self.simulation.accepted[account]}"
            event = http_event("GET", path, {}, "") | {"rawQueryString": "timeline=true", "queryStringParameters": {"timeline": "true"}}
            answers.append(json.loads(self.simulation._invoke("api", event)["body"])["timeline"])

        self.simulation.at(0, ask)
        self.simulation.run(1)
        return answers[0]

    def steps(self, account: str) -> list[dict[str, Any]]:
        """All steps, their times as seconds after the beginning."""
        found = self.timeline(account)
        assert found["recorded"] is True
        assert found["left_out"] == 0
        return [{**step, "at": from_iso(step["at"]) - BEGIN} for step in found["steps"]]

    def refreshes(self, account: str) -> list[dict[str, Any]]:
        """Stripe's refreshes of the account, their times as seconds after the beginning."""
        found = self.simulation.simulator.state(account)["refreshes"]
        return [{**one, "started": one["started"] - BEGIN, "settled": (one["settled"] or 0) - BEGIN} for one in found]

    def delivery(self, account: str, event: str) -> dict[str, Any]:
        """Stripe's delivery of an event that was accepted, its time as seconds after the beginning."""
        [found] = [one for one in self.simulation.simulator.deliveries() if one["event"] == event and one["status"] == 200]
        assert found["account"] == account
        return {**found, "at": found["at"] - BEGIN}

    def ended_at(self, account: str) -> float:
        item = self.simulation.dynamodb.items[f"VERIFICATION#{self.simulation.accepted[account]}", "VERIFICATION"]
        return int(item["completed_ms"]["N"]) / 1000 - BEGIN


@pytest.fixture
def stack() -> Iterator[Stack]:
    made = Stack()
    with inside(made.simulation):
        yield made
        made.simulation.reconcile_every(10, 1)
        made.simulation.run(100)
        check_promises(made.simulation)
    assert made.simulation.violations == []


def kinds(steps: list[dict[str, Any]]) -> list[str]:
    return [step["kind"] for step in steps]


def the(steps: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [step for step in steps if step["kind"] == kind]
    return found


def check_fetched(stack: Stack, account: str, steps: list[dict[str, Any]], refresh: dict[str, Any]) -> None:
    """The refresh, its webhook and its owners have the times that Stripe states."""
    webhook, woken = the(steps, "webhook"), the(steps, "woken")
    delivery = stack.delivery(account, webhook["event"])
    assert webhook["at"] - delivery["at"] == SECOND
    assert webhook["event_type"] == delivery["type"]
    assert from_iso(webhook["event_created"]) - BEGIN - refresh["settled"] == SECOND
    assert the(steps, "owners_fetched")["at"] - refresh["settled"] == SECOND
    assert from_iso(the(steps, "owners_fetched")["attempted_at"]) - BEGIN - refresh["started"] == SECOND
    assert (woken["by"], woken["event"], woken["outcome"]) == ("webhook", webhook["event"], "ready")
    assert woken["at"] - refresh["settled"] == SECOND
    assert the(steps, "verdict")["at"] == stack.ended_at(account)


class TestSteps:
    def test_account_that_was_never_seen_has_its_refresh_its_webhook_and_its_verdict(self, stack: Stack) -> None:
        stack.verify("fca_new", "single_owner")
        stack.run()
        steps, [refresh] = stack.steps("fca_new"), stack.refreshes("fca_new")
        assert kinds(steps) == ["requested", "refresh_started", *ORDINARY]
        assert the(steps, "requested")["at"] - 100 == SECOND
        started = the(steps, "refresh_started")
        assert started["at"] - refresh["started"] == SECOND
        assert from_iso(started["attempted_at"]) - BEGIN - refresh["started"] == SECOND
        check_fetched(stack, "fca_new", steps, refresh)
        assert the(steps, "verdict")["outcome"] == "match"

    def test_cooldown_is_between_the_request_and_the_refresh(self, stack: Stack) -> None:
        stack.verify("fca_cooling", "cooling_down")
        stack.run()
        steps, refreshes = stack.steps("fca_cooling"), stack.refreshes("fca_cooling")
        assert kinds(steps) == ["requested", "cooldown_began", "cooldown_over", "refresh_started", *ORDINARY]
        allowed_at = refreshes[-2]["next_at"] - BEGIN
        began = the(steps, "cooldown_began")
        assert began["at"] - 100 == SECOND
        assert from_iso(began["resume_at"]) - BEGIN == allowed_at
        assert the(steps, "cooldown_over")["at"] == allowed_at
        assert the(steps, "refresh_started")["at"] - refreshes[-1]["started"] == SECOND
        assert refreshes[-1]["started"] - allowed_at == pytest.approx(0, abs=5)
        check_fetched(stack, "fca_cooling", steps, refreshes[-1])

    def test_webhook_that_overtakes_the_answer_to_the_refresh_call_follows_its_start(self, stack: Stack) -> None:
        stack.simulation.during_refresh["fca_new"] = lambda: None  # Stripe's answer takes three seconds.
        stack.verify("fca_new", "single_owner", policy={"settle_seconds": 0.5})
        stack.run()
        steps, [refresh] = stack.steps("fca_new"), stack.refreshes("fca_new")
        assert kinds(steps) == ["requested", "refresh_started", *ORDINARY]
        assert the(steps, "refresh_started")["at"] - refresh["started"] == SECOND

    def test_prefetch_is_joined(self, stack: Stack) -> None:
        stack.verify("fca_prefetch", "prefetch_pending", policy={"settle_seconds": 30.0})
        stack.run()
        steps, [refresh] = stack.steps("fca_prefetch"), stack.refreshes("fca_prefetch")
        assert refresh["via"] == "prefetch"
        assert kinds(steps) == ["requested", "refresh_joined", *ORDINARY]
        assert from_iso(the(steps, "refresh_joined")["attempted_at"]) - BEGIN - refresh["started"] == SECOND
        check_fetched(stack, "fca_prefetch", steps, refresh)

    def test_fresh_owners_answer_at_once_and_nothing_is_recorded(self, stack: Stack) -> None:
        stack.verify("fca_fresh", "fresh")
        stack.run()
        steps = stack.steps("fca_fresh")
        assert sorted(kinds(steps)) == ["owners_fetched", "requested", "verdict"]
        assert [step["at"] - 100 for step in steps] == [SECOND] * 3
        assert not [sk for _, sk in stack.simulation.dynamodb.items if sk.startswith("WAY#")]

    def test_lost_webhook_is_replaced_by_the_workflow_that_asks_again(self, stack: Stack) -> None:
        stack.verify("fca_lost", "lost_webhook")
        stack.run()
        steps, [refresh] = stack.steps("fca_lost"), stack.refreshes("fca_lost")
        assert kinds(steps) == ["requested", "refresh_started", "owners_fetched", "woken", "verdict"]
        assert the(steps, "refresh_started")["at"] - refresh["started"] == SECOND
        woken = the(steps, "woken")
        assert (woken["by"], woken["outcome"]) == ("time_out", "ready")
        assert woken["at"] - refresh["started"] == pytest.approx(SETTLE_TIMEOUT, abs=15)
        assert the(steps, "owners_fetched")["at"] - woken["at"] == SECOND
        assert the(steps, "verdict")["at"] == stack.ended_at("fca_lost")

    def test_lost_webhook_is_replaced_by_reconcile(self, stack: Stack) -> None:
        stack.verify("fca_lost", "lost_webhook")
        stack.simulation.reconcile_every(300, 3)
        stack.run()
        steps = stack.steps("fca_lost")
        assert kinds(steps) == ["requested", "refresh_started", "owners_fetched", "woken", "verdict"]
        assert the(steps, "woken")["by"] == "reconcile"

    def test_inactive_account_ends_at_once(self, stack: Stack) -> None:
        stack.verify("fca_inactive", "inactive")
        stack.run()
        steps = stack.steps("fca_inactive")
        assert kinds(steps) == ["requested", "verdict"]
        assert the(steps, "verdict")["reasons"] == ["ACCOUNT_INACTIVE"]
        assert the(steps, "verdict")["at"] == stack.ended_at("fca_inactive")

    def test_repair_that_is_waited_for_is_shown_with_the_webhook_that_told_of_it(self, stack: Stack) -> None:
        stack.verify("fca_inactive", "inactive", if_inactive="wait")
        stack.change(5000, "reactivate", "fca_inactive")
        stack.run()
        steps, refresh = stack.steps("fca_inactive"), stack.refreshes("fca_inactive")[-1]
        assert kinds(steps) == ["requested", "repair_wait_began", "webhook", "repair_wait_over", "refresh_started", *ORDINARY]
        assert the(steps, "repair_wait_began")["at"] - 100 == SECOND
        assert the(steps, "repair_wait_began")["reason"] == "ACCOUNT_INACTIVE"
        over, webhook = the(steps, "repair_wait_over"), steps[2]
        assert over["by"] == "webhook"
        assert over["event"] == webhook["event"]
        assert stack.delivery("fca_inactive", webhook["event"])["at"] - webhook["at"] == SECOND
        assert over["at"] - 5000 == SECOND
        assert the(steps, "refresh_started")["at"] - refresh["started"] == SECOND

    def test_refresh_that_never_settles_is_given_up(self, stack: Stack) -> None:
        stack.verify("fca_never", "never_answering")
        stack.run()
        steps = stack.steps("fca_never")
        assert kinds(steps) == ["requested", "refresh_started", "woken", "verdict"]
        assert (the(steps, "woken")["by"], the(steps, "woken")["outcome"]) == ("time_out", "gave_up")
        assert the(steps, "verdict")["reasons"] == ["REFRESH_TIMED_OUT"]

    def test_trouble_with_stripe_is_shown_once_though_the_request_is_repeated(self, stack: Stack) -> None:
        stack.verify("fca_1", "single_owner")
        stack.deny(100.001, "POST /v1/financial_connections/accounts/{account}/refresh")
        stack.deny(400)
        stack.run()
        steps = stack.steps("fca_1")
        assert kinds(steps)[:2] == ["requested", "trouble"]
        assert kinds(steps).count("trouble") == 1
        assert the(steps, "trouble")["reason"] == "STRIPE_CREDENTIALS_REFUSED"
        assert kinds(steps)[2:] == ["refresh_started", *ORDINARY]


class TestAfterwards:
    def test_cancelled_verification_says_so(self, stack: Stack) -> None:
        stack.verify("fca_cooling", "cooling_down", policy={"cooldown_seconds": 3600.0})
        stack.simulation.at(200, lambda: stack.simulation.cancel("fca_cooling"))
        stack.run()
        steps = stack.steps("fca_cooling")
        assert kinds(steps) == ["requested", "cooldown_began", "cancelled", "verdict"]
        assert the(steps, "cancelled")["at"] - 200 == SECOND

    def test_mark_of_an_inactive_account_and_its_lifting_are_shown(self, stack: Stack) -> None:
        stack.verify("fca_1", "single_owner")
        stack.change(1000, "deactivate", "fca_1")
        stack.run(2000)
        steps = stack.steps("fca_1")
        assert kinds(steps)[-2:] == ["verdict", "stale"]
        assert (steps[-1]["reason"], steps[-1]["at"] - 1000) == ("ACCOUNT_INACTIVE", SECOND)
        lifted_at = stack.simulation.scheduler.now - BEGIN + 1000
        stack.change(1000, "reactivate", "fca_1")
        stack.run(2000)
        steps = stack.steps("fca_1")
        assert kinds(steps)[-3:] == ["verdict", "stale", "stale_lifted"]
        assert (steps[-2]["at"] - 1000, steps[-1]["at"] - lifted_at) == (SECOND, SECOND)

    def test_lines_of_a_batch_have_their_steps(self, stack: Stack) -> None:
        simulation = stack.simulation
        simulation.simulator.link("single_owner", id="fca_1")
        simulation.simulator.link("cooling_down", id="fca_2", policy={"cooldown_seconds": 600.0})
        simulation.at(100, lambda: simulation.batch(["fca_1", "fca_2"], 0, None, None))
        stack.run(DAY)
        heads = [item for (_, sk), item in simulation.dynamodb.items.items() if sk == "VERIFICATION"]
        simulation.accepted.update({item["account"]["S"]: item["verification"]["S"] for item in heads})
        steps = stack.steps("fca_1")
        assert kinds(steps) == ["requested", "refresh_started", *ORDINARY]
        assert the(steps, "requested")["batch"] in simulation.batches.values()
        assert kinds(stack.steps("fca_2")) == ["requested", "cooldown_began", "cooldown_over", "refresh_started", *ORDINARY]
