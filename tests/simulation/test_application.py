"""A simulation leaves no trace in its process, so that other tests may follow it."""

from __future__ import annotations

import os
import random
import sys
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
