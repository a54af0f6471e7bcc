"""The functions' application while a simulation runs: its clients, clock and secrets are the simulation's."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar
from unittest.mock import patch

from local.stripe_simulator.sdk import SimulatorHTTPClient
from tests.simulation.deployment import ENVIRONMENT
from tests.simulation.handlers import load_handlers
from tests.simulation.simulated_stack import SimulatedStack
from tests.support.functions import FUNCTIONS
from tests.support.stripe_openapi import LEDGER
from titleholder import bootstrap, matching, observability
from titleholder.aws import queues
from titleholder.bootstrap import Application
from titleholder.domain import snapshots
from titleholder.settings import Settings

Stack = TypeVar("Stack", bound=SimulatedStack)

POISON = {"address": {"postal_code": "a9"}}
"""The text in a claim for which the simulated matcher raises an error."""


class SimulatedStripe(SimulatorHTTPClient):
    """The SDK's HTTP client to the simulation's Stripe."""

    def __init__(self, simulation: SimulatedStack) -> None:
        super().__init__(simulation.simulator, timeout=8.0, sleep=simulation.scheduler.sleep)
        self._simulation = simulation

    def request(self, method: str, url: str, headers: Any = None, post_data: Any = None, *, _usage: Any = None) -> Any:
        target, version = url.removeprefix("https://api.stripe.com"), (headers or {}).get("Stripe-Version")
        call = super().request

        def judged() -> Any:
            LEDGER.note(method, target, post_data or "", version)
            answer = call(method, url, headers, post_data, _usage=_usage)
            LEDGER.note_answer(method, target, answer[1], answer[0], version)
            return answer

        return self._simulation.stripe_call(method.upper(), target.partition("?")[0], headers or {}, judged)


@contextmanager
def inside(simulation: Stack) -> Iterator[Stack]:
    """Run the functions in this simulation, and leave no trace of it in the process."""
    load_handlers()
    decide, state, level = matching.decide, random.getstate(), observability.logger.log_level
    limits = snapshots.PART_BYTES, snapshots.MAX_OWNERS
    drawn = random.Random(f"{simulation.seed} secrets")

    def fragile(claim: Mapping[str, Any], *more: Any) -> Any:
        """The matcher, with an exception for some claims."""
        if claim.get("address") == POISON["address"]:
            simulation.injected["matcher raised"] += 1
            raise IndexError("string index out of range")
        return decide(dict(claim), *more)

    with ExitStack() as undo:
        undo.enter_context(patch.object(matching, "decide", fragile))
        # Metrics go to standard output, and would fill it.
        undo.enter_context(patch.object(observability, "single_metric", lambda **_: nullcontext()))
        undo.enter_context(patch.object(observability.metrics, "add_metric", lambda **_: None))
        # A handler imports its folder's other modules late.
        undo.enter_context(patch.object(sys, "path", [*sys.path, str(FUNCTIONS / "start_refresh")]))
        undo.callback(observability.logger.setLevel, level)
        undo.callback(random.setstate, state)
        undo.callback(bootstrap.use, None)
        # Schedules shorten these.
        undo.enter_context(patch.object(queues, "MOST_HOPS", simulation.most_hops))
        undo.enter_context(patch.multiple(snapshots, PART_BYTES=limits[0], MAX_OWNERS=limits[1]))
        observability.logger.setLevel("CRITICAL")
        random.seed(simulation.seed)
        bootstrap.use(
            Application(
                Settings.from_environment({**ENVIRONMENT, **simulation.environment}),
                client=simulation.clients.__getitem__,
                stripe_http=lambda: SimulatedStripe(simulation),
                clock=simulation.clock,
                sleep=simulation.scheduler.sleep,
                jitter=simulation.jitter,
                time_left=simulation.time_left,
                new_secret=lambda: drawn.randbytes(32),
                writers=simulation.writers,
            )
        )
        undo.callback(simulation.scheduler.close)
        yield simulation
