"""Many requests for one account within a moment."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from tests.simulation.deployment import BEGIN
from tests.simulation.simulated_stack import Faults
from tests.simulation.simulation import Simulation

STORM_SECONDS = 3 * 3600.0


@dataclass(frozen=True)
class Burst:
    """Five times the work that Stripe's rate allows, for `accounts` accounts. Times are seconds, `pace` is calls a second."""

    accounts: int
    pace: float
    settle_timeout: int
    max_wait: int
    readers: int

    @property
    def seconds(self) -> float:
        return self.accounts / (5 * self.pace)


def draw_burst(simulation: Simulation) -> Burst | None:
    """In a twentieth of the schedules: a burst, with settings under which its queue is several settle timeouts long."""
    rng = Random(f"{simulation.seed}/burst")
    if rng.random() >= 1 / 20:
        return None
    # Beside a burst the other faults would cost too much time; half of the bursts have none, so that their end can be asserted.
    simulation.faults = replace(simulation.faults, slow=0.0, clock_skew=0.0) if rng.random() < 0.5 else Faults()
    simulation.sqs.duplicates = simulation.faults.duplicate_message
    burst = Burst(rng.choice([40, 60, 80]), 1.0, 15, rng.choice([60, 600, 3600]), rng.choice([0, 0, 300]))
    simulation.environment = {
        "STRIPE_CALLS_PER_SECOND": f"{burst.pace:g}",
        "SETTLE_TIMEOUT_SECONDS": str(burst.settle_timeout),
        "MAX_WAIT_SECONDS": str(burst.max_wait),
    }
    return burst


def begin_burst(simulation: Simulation, burst: Burst) -> None:
    rng = Random(f"{simulation.seed}/callers")
    simulation.simulator.options.settle_seconds = rng.choice([0.5, 3.0])
    simulation.injected["burst of five times the pace"] += 1
    for number in range(burst.accounts):
        account, begin = f"fca_burst{number}", rng.uniform(0, burst.seconds)
        simulation.simulator.link("single_owner", id=account, customer=f"cus_{number}")
        simulation.at(begin, partial(simulation.verify, f"{account}-0", account))
        if rng.random() < 0.1:
            # A second caller shares the account's slot, and meets the first one's call.
            simulation.at(begin + rng.uniform(0, 20), partial(simulation.verify, f"{account}-1", account, 0))
        if rng.random() < 0.1:
            simulation.at(begin + rng.uniform(5, 60), partial(simulation.cancel, f"{account}-0"))
    # One whose refresh fails at once, and a second caller who asks after that but before the first one's call is answered.
    simulation.simulator.link("failing", id="fca_met", customer="cus_met", policy={"settle_seconds": 0.5, "cooldown_seconds": 20.0})
    simulation.at(burst.seconds / 2, partial(simulation.verify, "fca_met-0", "fca_met"))
    simulation.during_refresh["fca_met"] = partial(simulation.verify, "fca_met-1", "fca_met", 0)
    for number in range(burst.readers):
        simulation.at(number / 100, partial(simulation.read_account, "fca_burst0"))
    simulation.reconcile_every(900, int(STORM_SECONDS // 900))


def check_burst(simulation: Simulation, burst: Burst) -> None:
    """Without faults, the rate was used until the burst was done, and the time in the queue counted for no refresh."""
    last = 0.0
    for (pk, sk), item in simulation.dynamodb.items.items():
        if sk != "VERIFICATION" or "verdict" not in item:
            continue
        ended, deadline = (int(item[name]["N"]) / 1000 for name in ("completed_ms", "deadline_ms"))
        execution = simulation.workflows.executions.get(item["verification"]["S"])
        # A second caller that comes after the first one's refresh has settled waits for the cooldown, at any rate.
        if execution is None or not execution.waits:
            last = max(last, ended - BEGIN)
        if "REFRESH_TIMED_OUT" in json.loads(item["verdict"]["S"])["reasons"] and ended < deadline:
            simulation.violations.append(f"{pk}: timed out {deadline - ended:.0f} s before its deadline, though its refresh was never late")
    late = sum(execution.timeouts for execution in simulation.workflows.executions.values())
    if late:
        simulation.violations.append(f"{late} settle timeouts passed, though each refresh settled in time")
    # A second caller's refresh, with max_age 0, may be needed after the first one's.
    bound = 1.3 * burst.accounts / burst.pace + 90
    if last > bound:
        simulation.violations.append(f"the last verdict of the burst came after {last:.0f} s, later than {bound:.0f}")
    if (most := simulation.simulator.request_counts()["peaks"].get("*", 0)) > 100:
        simulation.violations.append(f"{most} calls within one second")
