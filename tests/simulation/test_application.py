"""A simulation leaves no trace in its process, so that other tests may follow it."""

from __future__ import annotations

import gc
import os
import random
import sys
import weakref
from functools import partial
from typing import Any

from tests.simulation.application import inside
from tests.simulation.schedules import simulate
from tests.simulation.simulation import Simulation
from titleholder import bootstrap, matching, observability
from titleholder.domain import snapshots


def state() -> list[Any]:
    metrics = observability.metrics
    return [
        dict(os.environ), list(sys.path), random.getstate(), matching.decide, observability.single_metric, observability.logger.log_level,
        metrics.add_metric, snapshots.PART_BYTES, snapshots.MAX_OWNERS, bootstrap._current,
    ]  # fmt: skip


def test_process_is_as_it_was_after_a_simulation() -> None:
    with inside(Simulation(0)):
        pass  # Loads the handlers, which stay loaded.
    before = state()
    simulate(1)
    assert state() == before


def test_simulation_that_ended_leaves_nothing_in_memory() -> None:
    """Activities that still wait, such as Stripe's deliveries, would keep it: thousands of schedules took gigabytes."""
    simulation = Simulation(1)
    with inside(simulation):
        simulation.at(0, partial(simulation.verify, "a", "fca_a"))
        simulation.run(1)
    gone = weakref.ref(simulation)
    del simulation
    gc.collect()
    assert gone() is None
