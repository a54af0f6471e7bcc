"""Results so far of a batch, with a death or a stop at each call of the step that writes them."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from greenlet import getcurrent

from tests.simulation.application import inside
from tests.simulation.promises import check_promises
from tests.simulation.simulated_stack import Invocation
from tests.simulation.simulation import Simulation

LATE_SECONDS = 100.0
"""How late a call of Tally arrives after a stop. The run that closes the batch takes less."""


class BatchWithCooldowns(Simulation):
    """A simulation of one batch whose accounts wait for a few seconds, for some minutes and for an hour. It records the runs of Tally.

    `stop_at`: at which call of which run of Tally (from 1) the batch is stopped, and the call arrives late.
    """

    def __init__(self, stop_at: tuple[int, int] | None = None) -> None:
        super().__init__(0)
        self.tallies: list[tuple[int, Invocation]] = []
        self._stop_at = stop_at
        self.simulator.options.settle_seconds = 3.0
        self._accounts = ["fca_soon", "fca_late", "fca_later", "fca_quick"]
        for account, seconds in zip(self._accounts, (30.0, 700.0, 4000.0, None), strict=True):
            policy = {} if seconds is None else {"cooldown_seconds": seconds}
            self.simulator.link("single_owner" if seconds is None else "cooling_down", id=account, policy=policy)

    def go(self) -> None:
        with inside(self):
            self.at(1, partial(self.batch, self._accounts, 0, None, None))
            self.run(3 * 3600)
            check_promises(self)

    def _task(self, function: str, payload: Any) -> Any:
        self.step = payload.get("step")
        return super()._task(function, payload)

    def _begin_call(self, invocation: Invocation, operation: str) -> None:
        if self.current_invocations.get(getcurrent()) is invocation and invocation.function == "run_batch_step" and self.step == "tally":
            if not self.tallies or self.tallies[-1][1] is not invocation:
                self.tallies.append((self.invocations["run_batch_step"], invocation))
            if self._stop_at == (len(self.tallies), invocation.calls + 1):
                self._stop_at = None
                [batch] = self.batches.values()
                self.scheduler.spawn(lambda: self._http("batches", "DELETE", f"/batches/{batch}", None, None, {}))
                self.scheduler.sleep(LATE_SECONDS)
        super()._begin_call(invocation, operation)


@cache
def calls_of_tally() -> list[tuple[int, int]]:
    """By run of Tally, which run of `run_batch_step` it is and how many calls it makes."""
    simulation = BatchWithCooldowns()
    simulation.go()
    assert not simulation.violations
    assert simulation.injected["results so far shown"]
    return [(run, invocation.calls) for run, invocation in simulation.tallies]


def test_batch_with_several_passes_shows_results_so_far_and_then_the_results() -> None:
    assert len(calls_of_tally()) > 2


def test_death_of_the_step_that_writes_them_changes_no_results() -> None:
    run, calls = max(calls_of_tally(), key=lambda found: found[1])
    for call in range(calls + 1):
        simulation = BatchWithCooldowns()
        simulation.plan = {"run_batch_step": (run, call, "after") if call else (run, 1, "before")}
        simulation.go()
        assert not simulation.violations, call


def test_stop_while_the_step_that_writes_them_goes_on_changes_no_results() -> None:
    number, (_, calls) = max(enumerate(calls_of_tally(), 1), key=lambda found: found[1][1])
    for call in range(1, calls + 1):
        simulation = BatchWithCooldowns((number, call))
        simulation.go()
        assert not simulation.violations, call
        assert simulation.injected["results of a batch read at the end"] == 1
