"""Nothing that can't be repaired holds up the repair of anything else: items, accounts, connected accounts, kinds of work."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.simulation.application import inside
from tests.simulation.deployment import EVENTS_QUEUE
from tests.simulation.simulation import Simulation
from titleholder.services import verdicts
from titleholder.services.reconciliation import FIRST_PAUSE_SECONDS, PATIENCE_SECONDS
from titleholder.timestamps import DAY_SECONDS

PERIOD = 900.0
ENDED = {"verified": 1, "rejected": 0, "done": {"match": 1}}
"""What the event of a batch's end says beside its id."""
"""How often the template runs reconcile."""


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """A simulation without faults, in which the functions run."""
    simulation = Simulation(1)
    simulation.simulator.options.settle_seconds = 3.0
    with inside(simulation):
        yield simulation


def reconcile(simulation: Simulation, rest: float = 30.0) -> Any:
    answers: list[Any] = []
    simulation.scheduler.spawn(lambda: answers.append(simulation._invoke("reconcile", {})))
    simulation.run(300 + rest)
    assert answers[0] is not None
    return answers[0]


def connected(simulation: Simulation, number: int) -> str:
    """A connected account that has one account here, with all its data read."""
    id_ = f"acct_{number:03}"
    simulation.dynamodb._store("table", {"pk": {"S": "CONNECTED#test"}, "sk": {"S": id_}})
    simulation.simulator.link("inactive", id=f"fca_{number}", stripe_account=id_)
    return id_


def knows(simulation: Simulation, number: int) -> bool:
    """Whether what Stripe could not deliver of a connected account has arrived."""
    return (f"ACCOUNT#test/acct_{number:03}/fca_{number}", "ACCOUNT") in simulation.dynamodb.items


def tenant(simulation: Simulation, id_: str) -> Any:
    return simulation.dynamodb.items["CONNECTED#test", id_]


def deaf(simulation: Simulation) -> None:
    """No delivery of Stripe arrives."""
    simulation.simulator.fail_webhooks("drop", times=None)


class TestTenants:
    def test_lost_events_are_found_whatever_other_tenants_answer(self, simulation: Simulation) -> None:
        deaf(simulation)
        for number in range(40):
            connected(simulation, number)
        simulation.simulator.configure(revoked=["acct_000", "acct_001"])
        simulation.simulator.fail_api("server_error", stripe_account="acct_002", times=None)
        simulation.simulator.fail_api("rate_limit", stripe_account="acct_003", times=None)
        simulation.dynamodb._store(
            "table", {"pk": {"S": "RECONCILE#test/acct_004"}, "sk": {"S": "RECONCILE"}, "at": {"S": "evt_forgotten"}}
        )  # fmt: skip
        reconcile(simulation)
        assert [number for number in range(40) if not knows(simulation, number)] == [0, 1, 2, 3]
        assert simulation.dynamodb.items["RECONCILE#test/acct_004", "RECONCILE"]["at"] == {"NULL": True}

    def test_revoked_tenant_is_retired_asked_daily_and_returns_by_itself(self, simulation: Simulation) -> None:
        deaf(simulation)
        id_ = connected(simulation, 0)
        simulation.simulator.configure(revoked=[id_])
        reconcile(simulation)
        assert "retired_ms" in tenant(simulation, id_)
        asked = tenant(simulation, id_)["asked_ms"]
        simulation.run(DAY_SECONDS / 2)
        reconcile(simulation)
        assert tenant(simulation, id_)["asked_ms"] == asked
        simulation.simulator.configure(revoked=[])
        simulation.run(DAY_SECONDS / 2)
        reconcile(simulation)
        assert knows(simulation, 0)
        assert not {"retired_ms", "due_ms", "repair_tries"} & set(tenant(simulation, id_))

    def test_retired_tenant_returns_with_any_event_of_its_own(self, simulation: Simulation) -> None:
        deaf(simulation)
        id_ = connected(simulation, 0)
        simulation.simulator.configure(revoked=[id_])
        reconcile(simulation)
        simulation.simulator.configure(revoked=[])
        simulation.simulator.clear_faults()
        simulation.simulator.change("fca_0", action="reactivate", stripe_account=id_)
        simulation.stripe_moved()
        simulation.run(60)
        assert "retired_ms" not in tenant(simulation, id_)
        assert knows(simulation, 0)
        deaf(simulation)
        simulation.simulator.change("fca_0", action="deactivate", stripe_account=id_)
        assert reconcile(simulation)["event"] == 2

    def test_no_tenant_is_retired_while_stripe_refuses_the_stacks_own_key(self, simulation: Simulation) -> None:
        deaf(simulation)
        ids = [connected(simulation, number) for number in range(5)]
        simulation.simulator.configure(api_keys=frozenset({"sk_test_another"}))
        assert reconcile(simulation)["failed"] == 1
        assert not any({"retired_ms", "due_ms"} & set(tenant(simulation, id_)) for id_ in ids)
        simulation.simulator.configure(api_keys=None)
        reconcile(simulation)
        assert all(knows(simulation, number) for number in range(5))

    def test_no_tenant_is_retired_when_the_key_is_refused_in_the_middle_of_a_run(self, simulation: Simulation) -> None:
        deaf(simulation)
        ids = [connected(simulation, number) for number in range(5)]
        keep = simulation.simulator.configure

        def once(*arguments: Any) -> bool:
            if simulation.called["Stripe"] == 3:
                keep(api_keys=frozenset({"sk_test_another"}))
            return False

        begin = simulation._begin_call
        simulation._begin_call = lambda *arguments: (once(), begin(*arguments))[1]  # type: ignore[method-assign]
        reconcile(simulation)
        assert not any({"retired_ms", "due_ms"} & set(tenant(simulation, id_)) for id_ in ids)

    def test_repairs_that_need_no_stripe_go_on_while_the_key_is_refused(self, simulation: Simulation) -> None:
        simulation.simulator.link("cooling_down", id="fca_a", policy={"cooldown_seconds": 90_000.0})
        simulation.at(2, lambda: simulation.verify("a", "fca_a"))
        simulation.run(30)
        simulation.workflows.executions[simulation.accepted["a"]].status = "FAILED"
        simulation.simulator.configure(api_keys=frozenset({"sk_test_another"}))
        simulation.run(PATIENCE_SECONDS["verification"])
        assert reconcile(simulation)["verification"] == 1

    def test_accounts_rest_no_longer_for_failures_of_the_key(self, simulation: Simulation) -> None:
        simulation.simulator.link("single_owner", id="fca_a")
        deaf(simulation)
        simulation.at(1, lambda: simulation.ask_refresh("fca_a", 0))
        simulation.run(PATIENCE_SECONDS["refresh"])
        simulation.simulator.configure(api_keys=frozenset({"sk_test_another"}))
        for _ in range(20):
            reconcile(simulation)
            simulation.run(PERIOD)
        simulation.simulator.configure(api_keys=None)
        reconcile(simulation)
        assert "snapshot" in simulation.dynamodb.items["ACCOUNT#test/platform/fca_a", "ACCOUNT"]

    def test_every_tenant_is_asked_in_turn_when_a_run_has_no_time_for_all(self, simulation: Simulation) -> None:
        deaf(simulation)
        for number in range(60):
            connected(simulation, number)
        hung = [f"acct_{number:03}" for number in range(0, 60, 2)]
        for id_ in hung:
            simulation.simulator.fail_api("hang", stripe_account=id_, times=None)
        # 30 times 8 seconds: more than a run has.
        reconcile(simulation)
        first = sum(knows(simulation, number) for number in range(60))
        assert 10 < first < 30
        simulation.run(PERIOD)
        reconcile(simulation)
        assert all(knows(simulation, number) for number in range(1, 60, 2))

    def test_flood_of_one_tenants_events_leaves_time_for_the_others(self, simulation: Simulation) -> None:
        deaf(simulation)
        flooded = connected(simulation, 0)
        for number in range(700):
            simulation.simulator.change("fca_0", action="reactivate" if number % 2 else "deactivate", stripe_account=flooded)
        connected(simulation, 1)
        reconcile(simulation)
        assert knows(simulation, 1)
        seen = sum(sk == "EVENT" for _, sk in simulation.dynamodb.items)
        assert seen < 500
        for _ in range(5):
            simulation.run(PERIOD)
            reconcile(simulation, 600)
        undelivered = sum(not event.delivered for events in simulation.simulator._webhooks.events.values() for event in events.values())
        assert sum(sk == "EVENT" for _, sk in simulation.dynamodb.items) == undelivered


class TestItems:
    def refreshing(self, simulation: Simulation, account: str, stripe_account: str | None = None) -> None:
        """A refresh that has settled, and whose webhook was lost."""
        simulation.simulator.link("single_owner", id=account, stripe_account=stripe_account)
        simulation.at(1, lambda: simulation.ask_refresh(account, 0, stripe_account))

    def stored(self, simulation: Simulation, account: str, stripe_account: str = "platform") -> bool:
        return "snapshot" in simulation.dynamodb.items[f"ACCOUNT#test/{stripe_account}/{account}", "ACCOUNT"]

    @pytest.mark.parametrize("kind", ["server_error", "rate_limit", "hang", "drop"])
    def test_account_that_always_fails_holds_up_no_other_and_is_no_dead_letter(self, simulation: Simulation, kind: str) -> None:
        deaf(simulation)
        for account in ("fca_bad", "fca_good"):
            self.refreshing(simulation, account)
        simulation.run(60)
        simulation.simulator._webhooks.events.clear()
        simulation.simulator.fail_api(kind, account="fca_bad", times=None)
        simulation.run(PATIENCE_SECONDS["refresh"])
        reconcile(simulation, 120)
        assert self.stored(simulation, "fca_good")
        assert not self.stored(simulation, "fca_bad")
        assert not simulation.sqs.dead
        simulation.simulator.clear_faults()
        simulation.run(FIRST_PAUSE_SECONDS)
        reconcile(simulation)
        assert self.stored(simulation, "fca_bad")

    def test_item_that_fails_rests_twice_as_long_each_time(self, simulation: Simulation) -> None:
        deaf(simulation)
        self.refreshing(simulation, "fca_bad")
        simulation.run(60)
        simulation.simulator._webhooks.events.clear()
        simulation.simulator.fail_api("server_error", account="fca_bad", times=None)
        looked = []
        for number in range(200):
            simulation.run(PERIOD - 330)
            if reconcile(simulation)["refresh"]:
                looked.append(number)
        pauses = [after - before for before, after in pairwise(looked)]
        assert pauses == [1, 2, 4, 8, 15, 30, 60][: len(pauses)]
        assert len(pauses) >= 6
        # Half a day of failures is over: it is looked at once more within another half a day, and then as often as any other.
        simulation.simulator.clear_faults()
        for _ in range(64):
            simulation.run(PERIOD - 330)
            reconcile(simulation)
        assert self.stored(simulation, "fca_bad")
        assert "repair_tries" not in simulation.dynamodb.items["ACCOUNT#test/platform/fca_bad", "ACCOUNT"]

    def test_flood_of_one_tenants_refreshes_is_taken_in_turn_with_the_others(self, simulation: Simulation) -> None:
        deaf(simulation)
        for number in range(5000):
            key = f"test/acct_big/fca_{number}"
            simulation.dynamodb._store(
                "table",
                {
                    "pk": {"S": f"ACCOUNT#{key}"}, "sk": {"S": "ACCOUNT"}, "account": {"S": f"fca_{number}"}, "mode": {"S": "test"},
                    "stripe_account": {"S": "acct_big"}, "open_kind": {"S": "refresh"}, "open_since_ms": {"N": "1"},
                },
            )  # fmt: skip
        self.refreshing(simulation, "fca_small", "acct_small")
        simulation.run(60)
        simulation.simulator._webhooks.events.clear()
        simulation.run(PATIENCE_SECONDS["refresh"])
        assert reconcile(simulation)["refresh"] == 201
        assert self.stored(simulation, "fca_small", "acct_small")

    def test_few_accounts_are_looked_at_while_stripe_does_not_answer(self, simulation: Simulation) -> None:
        for number in range(200):
            ref = {"account": {"S": f"fca_{number}"}, "mode": {"S": "test"}}
            key = {"pk": {"S": f"ACCOUNT#test/platform/fca_{number}"}, "sk": {"S": "ACCOUNT"}}
            simulation.dynamodb._store("table", {**key, **ref, "open_kind": {"S": "refresh"}, "open_since_ms": {"N": "1"}})
        simulation.simulator.fail_api("hang", times=None)
        assert reconcile(simulation)["refresh"] == 50
        simulation.simulator.clear_faults()
        simulation.run(PERIOD)
        assert reconcile(simulation)["refresh"] == 200

    def test_flood_of_one_kind_of_work_leaves_time_for_the_others(self, simulation: Simulation) -> None:
        deaf(simulation)
        connected(simulation, 0)
        for number in range(1500):
            simulation.dynamodb._store(
                "table",
                {
                    "pk": {"S": f"BATCH#{number}"}, "sk": {"S": "BATCH"}, "open_kind": {"S": "announcement"}, "open_since_ms": {"N": "1"},
                    "announcement": {"S": json.dumps({"type": "BatchCompleted", "detail": {**ENDED, "batch": str(number)}})},
                    "batch_state": {"S": "completed"}, "run": {"N": "1"},
                },
            )  # fmt: skip
        simulation.call_seconds = (0.1, 0.2)
        answer = reconcile(simulation)
        assert 20 < answer["announcement"] < 100
        assert knows(simulation, 0)

    def test_verification_whose_verdict_raises_holds_up_no_other(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("bad", "good"):
            simulation.simulator.link("cooling_down", id=f"fca_{name}", policy={"cooldown_seconds": 90_000.0})
            simulation.at(2, lambda name=name: simulation.verify(name, f"fca_{name}"))  # type: ignore[misc]
        simulation.run(30)
        for execution in simulation.workflows.executions.values():
            execution.status = "FAILED"
        made = verdicts._verdict

        def raising(store: Any, verification: Any, outcome: Any) -> Any:
            if verification.id == simulation.accepted["bad"]:
                raise IndexError
            return made(store, verification, outcome)

        monkeypatch.setattr(verdicts, "_verdict", raising)
        simulation.run(PATIENCE_SECONDS["verification"])
        answer = reconcile(simulation)
        assert (answer["verification"], answer["failed"]) == (1, 1)
        assert "verdict" in simulation.dynamodb.items[f"VERIFICATION#{simulation.accepted['good']}", "VERIFICATION"]
        monkeypatch.setattr(verdicts, "_verdict", made)
        simulation.run(FIRST_PAUSE_SECONDS)
        assert reconcile(simulation)["verification"] == 1

    def test_erasure_that_raises_holds_up_no_other(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("bad", "good"):
            simulation.simulator.link("single_owner", id=f"fca_{name}")
            simulation.at(1, lambda name=name: simulation.verify(name, f"fca_{name}"))  # type: ignore[misc]
        simulation.run(60)
        mark_stale = verdicts.mark_stale

        def raising(*arguments: Any, **more: Any) -> Any:
            raise ConnectionError

        monkeypatch.setattr(verdicts, "mark_stale", raising)
        for name in ("bad", "good"):
            path = f"/accounts/fca_{name}"
            simulation.scheduler.spawn(lambda path=path: simulation._http("erase_account", "DELETE", path, None, None, {}))  # type: ignore[misc]
        simulation.run(5)
        simulation.violations.clear()
        simulation.simulator._webhooks.events.clear()
        simulation.sqs.dead.clear()

        def raising_for_one(store: Any, bus: Any, ref: Any, *more: Any, **by: Any) -> Any:
            if ref.account == "fca_bad":
                raise ConnectionError
            return mark_stale(store, bus, ref, *more, **by)

        monkeypatch.setattr(verdicts, "mark_stale", raising_for_one)
        simulation.run(PATIENCE_SECONDS["erasure"])
        answer = reconcile(simulation)
        assert (answer["erasure"], answer["failed"]) == (1, 1)

    def test_verification_whose_workflow_runs_long_after_the_deadline_is_ended(self, simulation: Simulation) -> None:
        simulation.simulator.link("never_answering", id="fca_a")
        simulation.at(2, lambda: simulation.verify("a", "fca_a"))
        simulation.run(30)
        item = simulation.dynamodb.items[f"VERIFICATION#{simulation.accepted['a']}", "VERIFICATION"]
        item["deadline_ms"] = {"N": str(round((simulation.scheduler.now + 100) * 1000))}
        execution = simulation.workflows.executions[simulation.accepted["a"]]
        simulation.workflows._run = lambda *arguments: None  # type: ignore[method-assign]
        simulation.workflows._enter = lambda execution, state, data: (data, simulation.scheduler.sleep(1e9))  # type: ignore[method-assign, func-returns-value, assignment]
        simulation.run(4000)
        assert execution.status == "RUNNING"
        assert reconcile(simulation)["verification"] == 1
        assert execution.status == "ABORTED"
        assert json.loads(simulation.dynamodb.items[item["pk"]["S"], "VERIFICATION"]["verdict"]["S"])["outcome"] == "not_verifiable"

    def test_event_that_was_recorded_and_never_processed_is_queued_again_after_longer_and_longer_pauses(
        self, simulation: Simulation
    ) -> None:
        deaf(simulation)
        simulation.simulator.link("fresh", id="fca_a")
        simulation.simulator.fail_api("server_error", account="fca_a", times=None)
        sent = []
        send = simulation.sqs.send_message

        def send_message(**message: Any) -> Any:
            if message["QueueUrl"] == EVENTS_QUEUE and "event" in json.loads(message["MessageBody"]):
                sent.append(json.loads(message["MessageBody"])["event"])
            return send(**message)

        simulation.sqs.send_message = send_message  # type: ignore[method-assign]
        for _ in range(30):
            simulation.run(PERIOD - 330)
            reconcile(simulation)
        undelivered = len(set(sent))
        assert undelivered >= 1
        assert len(sent) <= 7 * undelivered
        simulation.simulator.clear_faults()
        for _ in range(64):
            simulation.run(PERIOD - 330)
            reconcile(simulation)
        assert "snapshot" in simulation.dynamodb.items["ACCOUNT#test/platform/fca_a", "ACCOUNT"]


TENANTS, BROKEN = 500, 20
BOUND_SECONDS = 4 * PERIOD
"""What docs/operations.md states for this number: (0.3 * 500 + 11 * 20) / 96 runs, rounded up."""


def test_repairs_of_480_tenants_end_within_the_stated_bound_while_20_others_are_broken(simulation: Simulation) -> None:
    assert math.ceil((0.3 * TENANTS + 11 * BROKEN) / 96) * PERIOD == BOUND_SECONDS
    # Slow calls: about 0.3 seconds for a tenant, as stated.
    simulation.call_seconds = (0.01, 0.09)
    deaf(simulation)
    ids = [connected(simulation, number) for number in range(TENANTS)]
    # Each tenant lost an event, every tenth the webhook of a refresh, whose event is too old to be found.
    refreshed = range(0, TENANTS, 10)
    for number in refreshed:
        simulation.simulator.link("single_owner", id=f"fca_r{number}", stripe_account=ids[number])
        simulation.at(number / 10, lambda number=number: simulation.ask_refresh(f"fca_r{number}", 0, ids[number]))  # type: ignore[misc]
    simulation.run(120)
    assert sum(simulation.simulator.initiated_refreshes().values()) == len(refreshed)
    for events in simulation.simulator._webhooks.events.values():
        for id_ in [id_ for id_, event in events.items() if "fca_r" in json.dumps(event.render())]:
            del events[id_]
    kinds = ["revoked", "server_error", "hang", "rate_limit", "drop"]
    broken = {number: kinds[place % len(kinds)] for place, number in enumerate(range(0, TENANTS, TENANTS // BROKEN))}
    simulation.simulator.configure(revoked=[ids[number] for number, kind in broken.items() if kind == "revoked"])
    for number, kind in broken.items():
        if kind != "revoked":
            simulation.simulator.fail_api(kind, stripe_account=ids[number], times=None)
    forgotten = range(7, TENANTS, 50)
    for number in forgotten:
        simulation.dynamodb._store(
            "table", {"pk": {"S": f"RECONCILE#test/{ids[number]}"}, "sk": {"S": "RECONCILE"}, "at": {"S": "evt_forgotten"}}
        )  # fmt: skip
    simulation.run(PATIENCE_SECONDS["refresh"])
    healthy = [number for number in range(TENANTS) if number not in broken]
    began = simulation.scheduler.now
    simulation.reconcile_every(PERIOD, int(BOUND_SECONDS // PERIOD))
    simulation.run(BOUND_SECONDS + 300)
    assert len(healthy) == TENANTS - BROKEN
    assert [number for number in healthy if not knows(simulation, number)] == []
    stored = {pk.split("/")[1] for (pk, sk), item in simulation.dynamodb.items.items() if sk == "ACCOUNT" and "snapshot" in item}
    assert [number for number in refreshed if number not in broken and ids[number] not in stored] == []
    asked = [int(tenant(simulation, ids[number])["asked_ms"]["N"]) / 1000 - began for number in healthy]
    assert max(asked) < BOUND_SECONDS + 300
    retired = [number for number in range(TENANTS) if "retired_ms" in tenant(simulation, ids[number])]
    assert retired == [number for number, kind in broken.items() if kind == "revoked"]
    assert not simulation.sqs.dead
