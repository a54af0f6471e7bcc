"""What follows a stored change is announced, whichever function stored it and however often the event bus refuses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.stripe_simulator.options import Options
from tests.simulation.batch_world import BatchedWorld
from tests.simulation.world import World, inside
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
def world(bus: Refusing) -> Iterator[World]:
    world = World(1)
    world.simulator.options.settle_seconds = 3.0
    world.events_bus._refuses = bus
    with inside(world):
        yield world


def announced(world: World, kind: str) -> list[Any]:
    return [detail for each, detail in world.events_bus.announced if each == kind]


def reconciled(world: World) -> None:
    world.run(PATIENCE_SECONDS["announcement"] + 1)
    world.hub.spawn(world.reconcile)
    world.run(30)


def verifications(world: World) -> dict[str, Any]:
    return {pk.removeprefix("VERIFICATION#"): item for (pk, sk), item in world.dynamodb.items.items() if sk == "VERIFICATION"}


def once(world: World, method: str, path: str, body: Any = None, function: str = "api") -> None:
    """Be a caller that asks once, whatever it is answered."""
    world.at(0, lambda: world._http(function, method, path, body, None, {}))
    world.run(60)


CLAIM = {"account": "fca_a", "claim": {"name": "Margaret Testerman"}}


def test_verdict_that_was_given_at_once(world: World, bus: Refusing) -> None:
    world.simulator.link("fresh", id="fca_a")
    world.run(60)
    bus.on = True
    once(world, "POST", "/verifications", CLAIM)
    bus.on = False
    [id_] = verifications(world)
    assert announced(world, "VerificationCompleted") == []
    reconciled(world)
    assert [detail["verification"] for detail in announced(world, "VerificationCompleted")] == [id_]
    reconciled(world)
    assert len(announced(world, "VerificationCompleted")) == 1


def test_verdict_that_reconcile_gave(world: World, bus: Refusing) -> None:
    world.simulator.link("cooling_down", id="fca_a", policy={"cooldown_seconds": 90_000.0})
    world.at(2, lambda: world.verify("a", "fca_a"))
    world.run(30)
    world.workflows.executions[world.accepted["a"]].status = "FAILED"
    bus.on = True
    world.run(3700)
    world.hub.spawn(world.reconcile)
    world.run(30)
    bus.on = False
    assert "verdict" in verifications(world)[world.accepted["a"]]
    assert announced(world, "VerificationCompleted") == []
    reconciled(world)
    assert [detail["verification"] for detail in announced(world, "VerificationCompleted")] == [world.accepted["a"]]


def test_verdict_of_a_cancelled_verification(world: World, bus: Refusing) -> None:
    world.simulator.link("never_answering", id="fca_a")
    world.at(2, lambda: world.verify("a", "fca_a"))
    world.run(30)
    bus.on = True
    once(world, "DELETE", f"/verifications/{world.accepted['a']}")
    bus.on = False
    reconciled(world)
    assert [detail["reasons"] for detail in announced(world, "VerificationCompleted")] == [["CANCELLED"]]


def test_verdict_whose_account_died_before_it_was_announced_as_stale(world: World, bus: Refusing) -> None:
    world.simulator.link("single_owner", id="fca_a")
    world.at(0, lambda: world.verify("a", "fca_a"))
    world.run(60)
    world.simulator.change("fca_a", action="deactivate")
    world.stripe_moved()
    world.run(60)
    assert len(announced(world, "VerificationStale")) == 1
    bus.on = True
    once(world, "POST", "/verifications", CLAIM)
    bus.on = False
    reconciled(world)
    assert {detail["verification"] for detail in announced(world, "VerificationStale")} == set(verifications(world))


@pytest.mark.parametrize("action", ["deactivate", "disconnect"])
def test_staleness_that_was_seen_by_a_caller_who_reads_an_account_once(world: World, bus: Refusing, action: str) -> None:
    world.simulator.link("single_owner", id="fca_a")
    world.at(0, lambda: world.verify("a", "fca_a"))
    world.run(60)
    world.simulator.fail_webhooks("drop", account="fca_a", times=None)
    world.simulator.change("fca_a", action=action)
    world.simulator.clear_faults()
    world.simulator._webhooks.events.clear()
    bus.on = True
    once(world, "POST", "/accounts/fca_a/refreshes", {"max_age": 0}, function="start_refresh")
    bus.on = False
    assert announced(world, "VerificationStale") == []
    world.run(900)
    reconciled(world)
    assert [detail["verification"] for detail in announced(world, "VerificationStale")] == [world.accepted["a"]]


def test_changes_of_owners(world: World, bus: Refusing) -> None:
    world.simulator.options.cooldown_seconds = 5.0
    world.simulator.link("single_owner", id="fca_a")
    world.at(0, lambda: world.verify("a", "fca_a"))
    world.run(60)
    world.simulator.change("fca_a", owners=[{"name": "Somebody Else"}])
    world.simulator.fail_webhooks("drop", account="fca_a", times=None)
    once(world, "POST", "/accounts/fca_a/refreshes", {"max_age": 0}, function="start_refresh")
    bus.on = True
    world.run(900)
    world.hub.spawn(world.reconcile)
    world.run(60)
    bus.on = False
    assert announced(world, "OwnershipChanged") == []
    [entry] = [item for (_, sk), item in world.dynamodb.items.items() if sk.startswith("HISTORY#") and "S" in item["changes"]]
    reconciled(world)
    [detail] = [json.loads(text) for text in {json.dumps(detail) for detail in announced(world, "OwnershipChanged")}]
    assert detail["snapshot"] == entry["snapshot"]["S"]
    assert detail["changes"]


def test_end_of_a_batch(bus: Refusing) -> None:
    world = BatchedWorld(2, Options(settle_seconds=3.0), singles=0)
    world.events_bus._refuses = bus
    with inside(world):
        world.at(1, world.begin)
        world.run(1)
        bus.on = True
        world.run(4 * 3600)
        assert not world.running
        assert announced(world, "BatchCompleted") == []
        bus.on = False
        reconciled(world)
        assert [detail["verified"] for detail in announced(world, "BatchCompleted")] == [2]
        assert len(announced(world, "VerificationCompleted")) == 2


def test_refused_announcement_keeps_no_caller_from_ending_the_other_verifications(world: World, bus: Refusing) -> None:
    for name in ("a", "b"):
        world.simulator.link("never_answering", id=f"fca_{name}")
        world.at(1, lambda name=name: world.verify(name, f"fca_{name}"))  # type: ignore[misc]
    world.run(30)
    bus.on = True
    for id_ in world.accepted.values():
        ended = verdicts.complete_by_id(
            application().store, application().event_publisher, id_, {"reason": "BATCH_STOPPED"}, now=world.hub.now, among_others=True
        )  # fmt: skip
        assert ended.verdict
    bus.on = False
    reconciled(world)
    assert {detail["verification"] for detail in announced(world, "VerificationCompleted")} == set(world.accepted.values())
