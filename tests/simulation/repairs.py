"""Accounts that become inactive and are repaired, or are not, and verifications that wait for it."""

from __future__ import annotations

import json
from functools import partial
from random import Random

from tests.simulation.deployment import BEGIN, DAY
from tests.simulation.simulation import Simulation

LONGEST_WAIT = 3 * DAY
"""How long verifications may wait in such schedules: longer than a repair may stay unseen."""

RESUMED_SECONDS = 300.0
"""How soon a wait has to end where nothing is lost: a webhook, two queues, and some slow calls. `reconcile` would come later."""

AT_ONCE_SECONDS = 10_000.0
"""How soon a verification has to end whose account was reactivated where nothing is lost: the longest cooldown, and a settle timeout."""

LONGEST_SECONDS = DAY + 20_000.0
"""How soon it has to end where anything may be lost: a day until the account is read, a run of `reconcile`, and the longest cooldown."""


def has_repairs(seed: int) -> bool:
    """Whether a seed's schedule has accounts that are to be repaired: a third of them have."""
    return Random(f"{seed}/with repairs").random() < 0.35


def draw_repairs(simulation: Simulation, rng: Random) -> None:
    """Draw accounts that are inactive or become so, and what becomes of them."""
    if not has_repairs(simulation.seed):
        return
    hasty: dict[str, float] = {}
    for number in range(rng.choice([1, 1, 2])):
        account = f"fca_repair{number}"
        scenario = rng.choice(["inactive", "inactive", "single_owner", "single_owner", "turning_inactive", "old"])
        policy = {"refusal": rng.choice(["error", "silent"]), "read_lag_seconds": rng.choice([0, 0, 0, 4.0])}
        if policy["read_lag_seconds"]:
            policy["cooldown_seconds"] = 60.0
        simulation.simulator.link(scenario, id=account, policy=policy)
        # A back end asks while the account works, at the moment when it fails or is repaired, or later.
        falls, repaired = rng.uniform(0, 600), rng.uniform(600, 9000)
        for caller in range(rng.randint(1, 4)):
            at = rng.choice([rng.uniform(0, 5), falls + rng.uniform(-1, 1), repaired - rng.uniform(0, 0.6), rng.uniform(0, 3000)])
            wish = rng.choice(["wait", "wait", "wait", "refuse", None])
            max_age = rng.choice([0, 3600])
            simulation.at(max(0.0, at), partial(simulation.verify, f"{account}-{caller}", account, max_age, if_inactive=wish))
        simulation.at(falls, partial(_fall, simulation, account, rng.choice([None, "access_expired", "access_denied"])))
        if rng.random() < 0.3:
            # It expires soon after its first repair.
            simulation.at(repaired / 2, partial(repair, simulation, account))
            simulation.at(repaired / 2 + 1, partial(_expire, simulation, account, BEGIN + rng.uniform(repaired / 2 + 2, repaired - 1)))
        end = rng.choice(["repaired", "repaired", "repaired", "lost", "lost", "disconnected", "closed", "erased", "left"])
        simulation.injected[f"inactive account: {end}"] += 1
        if end == "erased":
            simulation.at(repaired, partial(simulation.erase, account))
        elif end == "repaired" and rng.random() < 0.6:
            hasty[account] = rng.uniform(0, 3)
            # Where no workflow comes to wait for it.
            simulation.at(12_000, partial(conclude, simulation, account, end))
        elif end != "left":
            simulation.at(repaired, partial(conclude, simulation, account, end))
    simulation.sqs.late = partial(_late, simulation, hasty)
    simulation.patience = LONGEST_WAIT + DAY


def _late(simulation: Simulation, hasty: dict[str, float], body: str) -> float:
    """Let the first message that says that a workflow waits for an account be slow, and the account be repaired before it arrives."""
    message = json.loads(body)
    account = message.get("ref", {}).get("account")
    if message.get("awaits") != "repair" or account not in hasty:
        return 0.0
    simulation.injected["repaired before the wait"] += 1
    simulation.at(hasty.pop(account), partial(conclude, simulation, account, "repaired"))
    return 20.0


def _fall(simulation: Simulation, account: str, cause: str | None) -> None:
    if simulation.simulator.state(account)["status"] == "active" and account not in simulation.repaired:
        simulation.simulator.deactivate(account, cause=cause)
        simulation.stripe_moved()


def repair(simulation: Simulation, account: str) -> None:
    """Be the end user, who relinks an account."""
    simulation.simulator.change(account, policy={"deactivate_on_settle": False, "outcome": "succeeded"})
    simulation.simulator.reactivate(account)
    simulation.stripe_moved()


def _expire(simulation: Simulation, account: str, at: float) -> None:
    if simulation.simulator.state(account)["status"] == "active" and account not in simulation.repaired:
        simulation.injected["account that expires"] += 1
        simulation.simulator.expire(account, at)
        simulation.stripe_moved()


def conclude(simulation: Simulation, account: str, end: str) -> None:
    """Repair the account for good (`lost`: Stripe makes no event of that), or let it be closed or disconnected."""
    if account in simulation.repaired:
        return
    if end == "lost":
        simulation.simulator.fail_webhooks("ungenerated", account=account, times=None)
    if end in ("repaired", "lost"):
        simulation.repaired[account] = (simulation.scheduler.now, end == "lost")
        repair(simulation, account)
        return
    if end == "closed":
        simulation.closed.add(account)
        repair(simulation, account)
        simulation.simulator.deactivate(account, cause="account_closed", action="none")
    else:
        simulation.simulator.change(account, action="disconnect")
    simulation.stripe_moved()


def check_repairs(simulation: Simulation, *, troubled: bool) -> None:
    """A verification that waits ends with owners once its account was repaired, and as inactive only at its deadline.

    `troubled`: anything at all may have been lost.
    """
    for name, id_ in simulation.accepted.items():
        item = simulation.dynamodb.items.get((f"VERIFICATION#{id_}", "VERIFICATION"), {})
        account = item.get("account", {}).get("S", "")
        if name not in simulation.waiting or "verdict" not in item:
            continue
        simulation.injected["verification that may wait for a repair"] += 1
        verdict, ended = json.loads(item["verdict"]["S"]), int(item["completed_ms"]["N"]) / 1000
        left = int(item["deadline_ms"]["N"]) / 1000 - ended
        if verdict["reasons"] == ["ACCOUNT_INACTIVE"] and left > 5 and account not in simulation.closed:
            simulation.violations.append(f"{name}: ended as inactive {left:.0f} s before its deadline")
        if account not in simulation.repaired:
            continue
        repaired, lost = simulation.repaired[account]
        simulation.injected["verification whose account was repaired"] += 1
        late = ended - max(repaired, int(item["requested_ms"]["N"]) / 1000)
        bound = LONGEST_SECONDS if troubled or lost else AT_ONCE_SECONDS
        if late > bound:
            simulation.violations.append(f"{name}: ended {late:.0f} s after its account was repaired")
        execution = simulation.workflows.executions.get(id_)
        if execution is not None and not troubled and not lost:
            for state, begun, left_at in zip(execution.states, execution.entered, execution.entered[1:], strict=False):
                if state == "WaitForRepair" and left_at - max(begun, repaired) > RESUMED_SECONDS:
                    simulation.violations.append(f"{name}: waited {left_at - max(begun, repaired):.0f} s though its account was repaired")
        if late <= bound and verdict["snapshot"] is None and not troubled:
            simulation.violations.append(f"{name}: its account was repaired, and it ended without owners ({verdict['reasons']})")
