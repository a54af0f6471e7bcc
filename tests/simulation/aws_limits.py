"""Draws from a seed when AWS's limits are reached: little concurrency, times in which others use it up, throttled workflows."""

from __future__ import annotations

from functools import partial
from random import Random

from tests.simulation.simulation import Simulation

LENGTHS = (30.0, 300.0, 1500.0, 5000.0)
"""How many seconds a limit is reached for."""

OPERATIONS = (
    ("DescribeExecution",),
    ("StartExecution", "StopExecution"),
    ("SendTaskSuccess", "SendTaskFailure", "SendTaskHeartbeat"),
    ("DescribeExecution", "StartExecution", "StopExecution", "SendTaskSuccess", "SendTaskFailure", "SendTaskHeartbeat"),
)


def draw_limits(simulation: Simulation) -> bool:
    """In a fifth of the schedules: reach limits of AWS. Returns whether any is reached."""
    # Of its own, so that what is drawn here changes no other draw of a seed.
    rng = Random(f"{simulation.seed}/limits")
    if rng.random() >= 1 / 5:
        return False
    simulation.most_hops = rng.choice([simulation.most_hops, 2, 5])
    if rng.random() < 0.5:
        simulation.concurrency.limit = 10
        simulation.wait_seconds = rng.choice([0, 5, 20])
        simulation.injected["account with a concurrency of 10"] += 1
    if rng.random() < 0.6:
        _between(simulation, rng, "concurrency used up by others", partial(_use_up, simulation))
    if rng.random() < 0.6:
        operations = frozenset(rng.choice(OPERATIONS))
        _between(simulation, rng, "workflows throttled", partial(_throttle, simulation, operations))
    return True


def end_limits(simulation: Simulation) -> None:
    """Let no limit be reached any more."""
    simulation.concurrency.limit, simulation.concurrency.by_others = 1000, 0
    simulation.call_quotas.refused = frozenset()


def _between(simulation: Simulation, rng: Random, kind: str, switch: partial[None]) -> None:
    """Switch something on for a while, once or twice."""
    for _ in range(rng.choice([1, 2])):
        begin, length = rng.choice([rng.uniform(0, 10), rng.uniform(0, 3000)]), rng.choice(LENGTHS)
        simulation.injected[kind] += 1
        simulation.at(begin, partial(switch, True))
        simulation.at(begin + length, partial(switch, False))


def _use_up(simulation: Simulation, on: bool) -> None:
    simulation.concurrency.by_others = simulation.concurrency.limit if on else 0


def _throttle(simulation: Simulation, operations: frozenset[str], on: bool) -> None:
    simulation.call_quotas.refused = operations if on else frozenset()
