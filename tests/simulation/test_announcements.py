"""What follows a stored change is announced, whichever function stored it and however often the event bus refuses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.stripe_simulator.options import Options
from tests.simulation.application import inside
from tests.simulation.batch_run import BatchSimulation
from tests.simulation.simulation import Simulation
from titleholder.bootstrap import application
from titleholder.services import verdicts
from titleholder.services.reconciliation import PATIENCE_SECONDS


class Refusing:
    """Says whether the bus refuses announcements."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self) -> bool:
        return self.on


@pytest.fixture
def bus() -> Refusing:
    return Refusing()


@pytest.fixture
def simulation(bus: Refusing) -> Iterator[Simulation]:
    """A simulation whose only fault is that `bus` refuses events while it is on."""
    simulation = Simulation(1)
    simulation.simulator.options.settle_seconds = 3.0
    simulation.events_bus._refuses = bus
    with inside(simulation):
        yield simulation


def announced(simulation: Simulation, kind: str) -> list[Any]:
    return [detail for each, detail in simulation.events_bus.announced if each == kind]


def reconciled(simulation: Simulation) -> None:
    simulation.run(PATIENCE_SECONDS["announcement"] + 1)
    simulation.scheduler.spawn(simulation.reconcile)
    simulation.run(30)


def verifications(simulation: Simulation) -> dict[str, Any]:
    return {pk.removeprefix("VERIFICATION#"): item for (pk, sk), item in simulation.dynamodb.items.items() if sk == "VERIFICATION"}


def once(simulation: Simulation, method: str, path: str, body: Any = None, function: str = "api") -> None:
    """Be a caller that asks only once."""
    simulation.at(0, lambda: simulation._http(function, method, path, body, None, {}))
    simulation.run(60)


CLAIM = {"account": "fca_a", "claim": {"name": "Margaret Testerman"}}


def test_verdict_that_was_given_at_once(simulation: Simulation, bus: Refusing) -> None:
    simulation.simulator.link("fresh", id="fca_a")
    simulation.run(60)
    bus.on = True
    once(simulation, "POST", "/verifications", CLAIM)
    bus.on = False
    [id_] = verifications(simulation)
    assert announced(simulation, "VerificationCompleted") == []
    reconciled(simulation)
    assert [detail["verification"] for detail in announced(simulation, "VerificationCompleted")] == [id_]
    reconciled(simulation)
    assert len(announced(simulation, "VerificationCompleted")) == 1


def test_verdict_that_reconcile_gave(simulation: Simulation, bus: Refusing) -> None:
    simulation.simulator.link("cooling_down", id="fca_a", policy={"cooldown_seconds": 90_000.0})
    simulation.at(2, lambda: simulation.verify("a", "fca_a"))
    simulation.run(30)
    simulation.workflows.executions[simulation.accepted["a"]].status = "FAILED"
    bus.on = True
    simulation.run(3700)
    simulation.scheduler.spawn(simulation.reconcile)
    simulation.run(30)
    bus.on = False
    assert "verdict" in verifications(simulation)[simulation.accepted["a"]]
    assert announced(simulation, "VerificationCompleted") == []
    reconciled(simulation)
    assert [detail["verification"] for detail in announced(simulation, "VerificationCompleted")] == [simulation.accepted["a"]]


def test_verdict_of_a_cancelled_verification(simulation: Simulation, bus: Refusing) -> None:
    simulation.simulator.link("never_answering", id="fca_a")
    simulation.at(2, lambda: simulation.verify("a", "fca_a"))
    simulation.run(30)
    bus.on = True
    once(simulation, "DELETE", f"/verifications/{simulation.accepted['a']}")
    bus.on = False
    reconciled(simulation)
    assert [detail["reasons"] for detail in announced(simulation, "VerificationCompleted")] == [["CANCELLED"]]


def test_verdict_whose_account_died_before_it_was_announced_as_stale(simulation: Simulation, bus: Refusing) -> None:
    simulation.simulator.link("single_owner", id="fca_a")
    simulation.at(0, lambda: simulation.verify("a", "fca_a"))
    simulation.run(60)
    simulation.simulator.change("fca_a", action="deactivate")
    simulation.stripe_moved()
    simulation.run(60)
    assert len(announced(simulation, "VerificationStale")) == 1
    bus.on = True
    once(simulation, "POST", "/verifications", CLAIM)
    bus.on = False
    reconciled(simulation)
    assert {detail["verification"] for detail in announced(simulation, "VerificationStale")} == set(verifications(simulation))


@pytest.mark.parametrize("action", ["deactivate", "disconnect"])
def test_staleness_that_was_seen_by_a_caller_who_reads_an_account_once(simulation: Simulation, bus: Refusing, action: str) -> None:
    simulation.simulator.link("single_owner", id="fca_a")
    simulation.at(0, lambda: simulation.verify("a", "fca_a"))
    simulation.run(60)
    simulation.simulator.fail_webhooks("drop", account="fca_a", times=None)
    simulation.simulator.change("fca_a", action=action)
    simulation.simulator.clear_faults()
    simulation.simulator._webhooks.events.clear()
    bus.on = True
    once(simulation, "POST", "/accounts/fca_a/refreshes", {"max_age": 0}, function="start_refresh")
    bus.on = False
    assert announced(simulation, "VerificationStale") == []
    simulation.run(900)
    reconciled(simulation)
    assert [detail["verification"] for detail in announced(simulation, "VerificationStale")] == [simulation.accepted["a"]]


def test_changes_of_owners(simulation: Simulation, bus: Refusing) -> None:
    simulation.simulator.options.cooldown_seconds = 5.0
    simulation.simulator.link("single_owner", id="fca_a")
    simulation.at(0, lambda: simulation.verify("a", "fca_a"))
    simulation.run(60)
    simulation.simulator.change("fca_a", owners=[{"name": "Somebody Else"}])
    simulation.simulator.fail_webhooks("drop", account="fca_a", times=None)
    once(simulation, "POST", "/accounts/fca_a/refreshes", {"max_age": 0}, function="start_refresh")
    bus.on = True
    simulation.run(900)
    simulation.scheduler.spawn(simulation.reconcile)
    simulation.run(60)
    bus.on = False
    assert announced(simulation, "OwnershipChanged") == []
    [entry] = [item for (_, sk), item in simulation.dynamodb.items.items() if sk.startswith("HISTORY#") and "S" in item["changes"]]
    reconciled(simulation)
    [detail] = [json.loads(text) for text in {json.dumps(detail) for detail in announced(simulation, "OwnershipChanged")}]
    assert detail["snapshot"] == entry["snapshot"]["S"]
    assert detail["changes"]


def test_end_of_a_batch(bus: Refusing) -> None:
    simulation = BatchSimulation(2, Options(settle_seconds=3.0), singles=0)
    simulation.events_bus._refuses = bus
    with inside(simulation):
        simulation.at(1, simulation.begin)
        simulation.run(1)
        bus.on = True
        simulation.run(4 * 3600)
        assert not simulation.running
        assert announced(simulation, "BatchCompleted") == []
        bus.on = False
        reconciled(simulation)
        assert [detail["verified"] for detail in announced(simulation, "BatchCompleted")] == [2]
        assert len(announced(simulation, "VerificationCompleted")) == 2


def test_refused_announcement_keeps_no_caller_from_ending_the_other_verifications(simulation: Simulation, bus: Refusing) -> None:
    for name in ("a", "b"):
        simulation.simulator.link("never_answering", id=f"fca_{name}")
        simulation.at(1, lambda name=name: simulation.verify(name, f"fca_{name}"))  # type: ignore[misc]
    simulation.run(30)
    bus.on = True
    for id_ in simulation.accepted.values():
        ended = verdicts.complete_by_id(
            application().store,
            application().event_publisher,
            id_,
            {"reason": "BATCH_STOPPED"},
            now=simulation.scheduler.now,
            among_others=True,
        )
        assert ended.verdict
    bus.on = False
    reconciled(simulation)
    assert {detail["verification"] for detail in announced(simulation, "VerificationCompleted")} == set(simulation.accepted.values())
