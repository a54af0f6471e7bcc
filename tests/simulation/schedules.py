"""Draws schedules from a seed, runs them to their end, and checks the promises."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from local.stripe_simulator.scenarios import SCENARIOS as KINDS
from tests.simulation.application import POISON, inside
from tests.simulation.deployment import BEGIN, CLAIM_LIMIT, EVENTS_QUEUE
from tests.simulation.invariants import SEALED
from tests.simulation.simulated_stack import LATE_SECONDS, Faults
from tests.simulation.simulation import Simulation
from titleholder.domain import snapshots
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import CLOCK_SKEW, TOO_MANY_OWNERS
from titleholder.services import erasure
from titleholder.services.verdicts import MATCHER_FAILED

REFRESH = "/v1/financial_connections/accounts/{account}/refresh"
STORM_SECONDS = 3 * 3600.0
SETTLE_SECONDS = 4000.0
"""The time between two runs of `reconcile` after the storm."""
BOUND_RUNS = 4
"""Within so many runs docs/operations.md promises repairs, even for ten times as many tenants as there are here."""
SCENARIOS = (
    *["single_owner"] * 3, "paged_owners", "old", "fresh", "failing_then_succeeding", "cooling_down", "prefetch_pending", "lost_webhook",
    "silently_refusing", "turning_inactive", "never_answering", "failing", "inactive_with_old_snapshot", "no_next_refresh",
)  # fmt: skip
THIN = {
    "object": "v2.core.event", "type": "v1.financial_connections.account.ownership_refresh_succeeded",
    "created": "2027-01-15T08:00:00.000Z",
    "related_object": {"id": "fca_0", "type": "financial_connections.account"},
}  # fmt: skip
STRAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("other_mode", {"livemode": True}),
    ("other_mode", {**THIN, "livemode": True}),
    ("other_context", {"account": "org_1/acct_one"}),
    ("other_context", {"context": "org_1/acct_one"}),
    ("other_context", {**THIN, "context": "org_1/acct_one"}),
    ("malformed", {"data": {}}),
    ("malformed", {"data": {"object": {"id": "cus_1"}}}),
    ("malformed", {**THIN, "related_object": None}),
)
THIRTEEN = KINDS["paged_owners"].owners
SILENT = ("lost_webhook", "never_answering")
COOLDOWNS = (2.0, 30.0, 600.0, 4000.0)


@dataclass
class Result:
    """The result of one seed."""

    seed: int
    violations: list[str]
    injected: Counter[str]
    verifications: int = 0
    refreshes: int = 0
    transitions: list[int] = field(default_factory=list)


def simulate(seed: int, faults: Faults | None = None) -> Result:
    """Draw a schedule, run it, check it."""
    simulation = Simulation(seed, faults)
    if faults is None:
        simulation.faults = replace(_draw_faults(simulation.rng), audit=simulation.record_rng.choice([0, 0, 0.02, 0.2]))
        simulation.sqs.duplicates = simulation.faults.duplicate_message
    burst = _draw_burst(simulation) if faults is None else None
    with inside(simulation):
        if burst is None:
            _draw(simulation)
        else:
            _begin_burst(simulation, burst)
        simulation.run(STORM_SECONDS)
        _calm(simulation)
        _check_bound(simulation)
        _settle(simulation)
        _check(simulation)
        faults = simulation.faults
        if not (
            faults.crash or faults.throttle or faults.lost_answer or faults.stripe or faults.webhook or faults.announcement or faults.audit
        ):
            if burst is None:
                _check_woken(simulation)
            else:
                _check_burst(simulation, burst)
    executions = simulation.workflows.executions.values()
    transitions = [execution.transitions for execution in executions]
    return Result(seed, simulation.violations, simulation.injected, len(simulation.accepted), len(simulation.refreshes), transitions)


@dataclass(frozen=True)
class Burst:
    """Five times the work that Stripe's rate allows, for so many accounts. Times are seconds, `pace` is calls a second."""

    accounts: int
    pace: float
    settle_timeout: int
    max_wait: int
    readers: int

    @property
    def seconds(self) -> float:
        return self.accounts / (5 * self.pace)


def _draw_burst(simulation: Simulation) -> Burst | None:
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


def _begin_burst(simulation: Simulation, burst: Burst) -> None:
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


def _check_burst(simulation: Simulation, burst: Burst) -> None:
    """Without faults, the rate was used until the burst was done, and the time in the queue counted for no refresh."""
    last = 0.0
    for (pk, sk), item in simulation.dynamodb.items.items():
        if sk != "VERIFICATION" or "verdict" not in item:
            continue
        ended, deadline = (int(item[name]["N"]) / 1000 for name in ("completed_ms", "deadline_ms"))
        execution = simulation.workflows.executions.get(item["verification"]["S"])
        # A second caller that comes after the first one's refresh has settled waits for the cooldown, whatever the rate is.
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


def _draw_faults(rng: Random) -> Faults:
    """Draw which faults there are, and how likely. In a quarter of the schedules nothing fails: messages are only slow or come twice."""
    if rng.random() < 0.25:
        return Faults(slow=rng.choice([0.02, 0.1]), duplicate_message=rng.choice([0, 0.2]), clock_skew=rng.choice([0, 2, 5]))
    return Faults(
        crash=rng.choice([0, 0.002, 0.01, 0.03]),
        throttle=rng.choice([0, 0.003, 0.02]),
        lost_answer=rng.choice([0, 0.003, 0.02]),
        stripe=rng.choice([0, 0.02, 0.1, 0.3]),
        slow=rng.choice([0, 0.01, 0.05]),
        duplicate_message=rng.choice([0, 0.05, 0.3]),
        webhook=rng.choice([0, 0.2, 0.6]),
        clock_skew=rng.choice([0, 2, 5]),
        announcement=rng.choice([0, 0, 0.1, 0.4]),
    )


def crash_at(plan: Mapping[str, tuple[int, int, str]]) -> Simulation:
    """Run the one schedule in which every function is called, with the crashes that `plan` names, and check it.

    plan: by function, which of its runs dies (from 1), at which external call (from 1), and whether `before` or `after` it.
    """
    simulation = Simulation(0, Faults())
    simulation.plan = dict(plan)
    simulator = simulation.simulator
    simulator.options.settle_seconds = 3.0
    simulator.options.cooldown_seconds = 60.0
    with inside(simulation):
        simulator.link("paged_owners", id="fca_paged", customer="cus_1", policy={"owners_page": 5})
        simulator.link("cooling_down", id="fca_cooling", customer="cus_1", policy={"cooldown_seconds": 30.0, "list_lag_seconds": 20.0})
        simulator.link("failing", id="fca_failing")
        simulator.link("lost_webhook", id="fca_lost")
        simulator.link("silently_refusing", id="fca_silent", stripe_account="acct_one", customer="cus_1", policy={"cooldown_seconds": 40.0})
        simulator.link("inactive", id="fca_inactive")
        for at, name, account in (
            (5.0, "a", "fca_paged"), (5.01, "b", "fca_paged"), (6.0, "c", "fca_cooling"), (6.0, "d", "fca_failing"), (6.0, "e", "fca_lost"),
            (7.0, "g", "fca_inactive"),
        ):  # fmt: skip
            simulation.at(at, partial(simulation.verify, name, account))
        simulation.at(7, lambda: simulation.verify("f", "fca_silent", stripe_account="acct_one"))
        simulation.at(200, lambda: simulation.ask_refresh("fca_paged", 0))
        simulation.at(2000, lambda: simulation.verify("h", "fca_paged"))
        simulation.at(2400, lambda: simulation.erase("fca_failing"))
        simulation.at(2500, lambda: _change(simulation, "fca_paged", "deactivate", None))
        simulation.at(2600, lambda: simulation.verify("i", "fca_cooling", max_age=0))
        simulation.at(2601, lambda: simulation.erase("fca_cooling"))
        simulation.at(2650, lambda: _change(simulation, "fca_lost", "disconnect", None))
        simulation.at(2670, simulation.deny_disconnecting)
        simulation.at(2680, lambda: simulation.erase("fca_inactive"))
        simulation.at(2690, lambda: simulation.deny_disconnecting(denied=False))
        simulation.reconcile_every(900, 3)
        simulation.run(STORM_SECONDS)
        _settle(simulation)
        _check(simulation)
    return simulation


def _draw(simulation: Simulation) -> None:
    """Draw accounts, callers, lifecycle changes and webhook faults, with their times."""
    rng, simulator = simulation.rng, simulation.simulator
    # Of its own, so that what is drawn beside the rest changes no other draw of a seed.
    odd, answers = Random(f"{simulation.seed}/odd"), Random(f"{simulation.seed}/answers")
    # So that thirteen owners are many: more than one part, or more than are stored.
    snapshots.PART_BYTES = odd.choice([snapshots.PART_BYTES, 700, 700])
    snapshots.MAX_OWNERS = odd.choice([snapshots.MAX_OWNERS, snapshots.MAX_OWNERS, 12])
    simulator.options.settle_seconds = rng.choice([0.5, 3.0, 60.0])
    simulator.options.cooldown_seconds = rng.choice(COOLDOWNS)
    for number in range(rng.randint(1, 3)):
        account = f"fca_{number}"
        connected = "acct_one" if rng.random() < 0.2 else None
        policy: dict[str, Any] = {
            "refusal": rng.choice(["error", "silent"]),
            "list_lag_seconds": rng.choice([0, 0, 0, 2, 60, 5000]),
            "unlisted": rng.random() < 0.1,
        }
        customer = rng.choice([None, "cus_1", "cus_1", "cus_2"])
        if rng.random() < 0.3:
            policy["cooldown_seconds"] = rng.choice(COOLDOWNS)
        _draw_answers(simulation, answers, account, policy)
        scenario = rng.choice(SCENARIOS)
        _webhook_faults(simulation, account)
        owners = THIRTEEN if odd.random() < 0.3 else None
        simulator.link(scenario, id=account, stripe_account=connected, customer=customer, policy=policy, owners=owners)
        burst = rng.random() < 0.3
        for caller in range(rng.randint(1, 8 if burst else 4)):
            begin = rng.uniform(0, 2) if burst else rng.choice([rng.uniform(0, 5), rng.uniform(0, 2000)])
            max_age = rng.choice([0, 60, 3600, 30 * 86_400])
            name = f"{account}-{caller}"
            claim = POISON if odd.random() < 0.1 else None
            simulation.at(begin, partial(simulation.verify, name, account, max_age, connected, claim, patient=odd.random() < 0.8))
        if rng.random() < 0.2:
            age = rng.choice([0, 3600])
            simulation.at(rng.uniform(0, 1000), partial(simulation.ask_refresh, account, age, connected))
        for _ in range(rng.choice([0, 0, 1, 2])):
            action = rng.choice(["deactivate", "reactivate", "prefetch", "disconnect", "update_account_numbers"])
            simulation.at(rng.uniform(0, 3000), partial(_change, simulation, account, action, connected))
        if rng.random() < 0.2:
            simulation.at(rng.choice([rng.uniform(0, 10), rng.uniform(0, 3000)]), partial(simulation.erase, account, connected))
        if odd.random() < 0.3:
            simulation.at(odd.uniform(0, 2000), partial(_change_owners, simulation, account, connected))
    if rng.random() < 0.2:
        _draw_tenants(simulation)
    if odd.random() < 0.15:
        _draw_many_tenants(simulation, odd)
    _draw_records(simulation)
    _draw_strays(simulation, Random(f"{simulation.seed}/strays"))
    _draw_batches(simulation)
    _draw_guesses(simulation, Random(f"{simulation.seed}/guesses"))
    simulation.reconcile_every(900, int(STORM_SECONDS // 900))


def _draw_records(simulation: Simulation) -> None:
    """Draw callers that read, callers that have accounts linked, and erasures while Stripe refuses to disconnect."""
    odd = simulation.record_rng
    accounts = [(state["id"], state["stripe_account"]) for state in simulation.simulator.states() if state["id"].startswith("fca_")]
    account, connected = odd.choice(accounts)
    if odd.random() < 0.3:
        simulation.at(odd.uniform(0, 3000), partial(simulation.look, account, connected))
    if odd.random() < 0.2:
        simulation.at(odd.uniform(0, 3000), partial(simulation.have_linked, odd.choice([None, "acct_one"])))
    if odd.random() < 0.2:
        begin, kind = odd.uniform(0, 3000), odd.choice(["denied", "hang", "server_error", "rate_limit"])
        if kind == "denied":
            simulation.at(begin, simulation.deny_disconnecting)
            simulation.at(begin + odd.uniform(10, 6000), partial(simulation.deny_disconnecting, denied=False))
        else:
            path = "/v1/financial_connections/accounts/{account}/disconnect"
            simulation.at(begin, partial(simulation.simulator.fail_api, kind, path=path, times=None))
            simulation.injected[f"disconnecting: {kind}"] += 1
        simulation.at(begin + 1, partial(simulation.erase, account, connected))


def _draw_strays(simulation: Simulation, rng: Random) -> None:
    """Draw genuine events that are not for this stack, or unusable, about accounts that it knows: they must have no effect."""
    snapshot_type = "financial_connections.account." + rng.choice(["refreshed_ownership", "deactivated", "disconnected"])
    for number in range(rng.choice([0, 0, 1, 3])):
        why, changes = rng.choice(STRAYS)
        event = {
            "id": f"evt_stray{number}", "object": "event", "type": snapshot_type, "created": int(BEGIN), "livemode": False,
            "data": {"object": {"id": "fca_0", "object": "financial_connections.account"}}, **changes,
        }  # fmt: skip
        simulation.at(rng.uniform(0, 3000), partial(simulation.receive_stray, event, why, by_bus=rng.random() < 0.3))


def _draw_answers(simulation: Simulation, rng: Random, account: str, policy: dict[str, Any]) -> None:
    """Draw undocumented behaviour of Stripe: no new owners, reads that lag behind, calls that are executed late."""
    if rng.random() < 0.25:
        policy["ownership"] = rng.choice(["null", "kept", ("new", "null"), ("null", "new"), ("new", "kept"), ("new", "null", "new")])
        simulation.injected["account whose refreshes bring no new owners"] += 1
    if rng.random() < 0.3:
        policy["read_lag_seconds"] = rng.choice([1.0, 4.0, 4.0, 25.0])
        # What cannot be seen yet must not be allowed again yet: see `refresh_policy.LAG_SECONDS`.
        policy["cooldown_seconds"] = max(30.0, policy.get("cooldown_seconds", simulation.simulator.options.cooldown_seconds))
        simulation.injected["account whose reads lag"] += 1
    if simulation.faults.stripe and rng.random() < 0.3:
        later: list[dict[str, Any]] = rng.choice(
            [
                [{"kind": "rate_limit"}],
                [{"kind": "server_error", "stored": False, "times": 2}],
                [{"kind": "hang", "times": 2}, {"kind": "rate_limit"}],
                [{"kind": "hang", "times": 2}, {"kind": "server_error", "stored": False, "times": 3}],
                [{"kind": "drop", "times": 2}],
            ]
        )
        for fault in ({"kind": "late", "seconds": rng.choice(LATE_SECONDS)}, *later):
            simulation.simulator.fail_api(path=REFRESH, account=account, **fault)
        simulation.injected["account whose first call is executed late"] += 1


def _draw_tenants(simulation: Simulation) -> None:
    """Draw back ends of several tenants that use the same Idempotency-Key, and try each other's ids."""
    rng = simulation.rng
    tenants = rng.sample([None, "acct_one", "acct_two"], rng.choice([2, 3]))
    for number, connected in enumerate(tenants):
        account = f"fca_tenant{number}"
        simulation.simulator.link(rng.choice(["single_owner", "fresh", "cooling_down"]), id=account, stripe_account=connected)
        max_age = rng.choice([0, 3600])
        # A client that gives up too early sends the same request twice at once, perhaps the first request that the stack ever gets.
        twice = rng.random() < 0.5
        for _ in range(2 if twice else 1):
            begin = rng.uniform(0, 0.05) if twice else rng.choice([rng.uniform(0, 2), rng.uniform(0, 2000)])
            simulation.at(begin, partial(simulation.verify, f"{account}-0", account, max_age, connected, key="order-1"))
        other = rng.choice([each for each in tenants if each != connected])
        simulation.at(rng.choice([rng.uniform(1, 5), rng.uniform(0, 3000)]), partial(simulation.pry, f"{account}-0", other))


def _draw_many_tenants(simulation: Simulation, rng: Random) -> None:
    """Draw many tenants that each lost an event, some of them broken; an account that always fails; a key that is refused for a while."""
    simulator = simulation.simulator
    for number in range(rng.randint(30, 40)):
        connected = f"acct_many{number:02}"
        simulation.many.append(connected)
        simulation.injected["tenant"] += 1
        simulation.dynamodb._store("table", {"pk": {"S": "CONNECTED#test"}, "sk": {"S": connected}})
        simulator.fail_webhooks("drop", account=f"fca_of_{connected}", times=None)
        simulator.link("inactive", id=f"fca_of_{connected}", stripe_account=connected)
    for connected in rng.sample(simulation.many, 6):
        simulation.broken[connected] = rng.choice(["revoked", "server_error", "hang", "rate_limit", "drop"])
        simulation.injected[f"tenant broken: {simulation.broken[connected]}"] += 1
    for connected in rng.sample(simulation.many, 3):
        simulation.injected["tenant with an unknown cursor"] += 1
        cursor = {"pk": {"S": f"RECONCILE#test/{connected}"}, "sk": {"S": "RECONCILE"}, "at": {"S": "evt_unknown"}}
        simulation.dynamodb._store("table", cursor)
    if rng.random() < 0.5:
        simulation.injected["account that always fails"] += 1
        simulator.link("single_owner", id="fca_broken")
        simulation.at(5, lambda: simulation.ask_refresh("fca_broken", 0))
        simulation.at(60, lambda: simulation.broken.update(fca_broken="server_error"))
    simulation.at(61, partial(_break, simulation))
    if rng.random() < 0.5:
        simulation.injected["key refused"] += 1
        begin = rng.uniform(100, STORM_SECONDS - 4000)
        simulation.at(begin, lambda: simulator.configure(api_keys=frozenset({"sk_test_another"})))
        simulation.at(begin + rng.uniform(1000, 4000), lambda: simulator.configure(api_keys=None))


def _break(simulation: Simulation) -> None:
    """Apply the lasting faults."""
    simulation.simulator.configure(revoked=[id_ for id_, kind in simulation.broken.items() if kind == "revoked"])
    for id_, kind in simulation.broken.items():
        if kind != "revoked":
            simulation.simulator.fail_api(kind, **{"account" if id_.startswith("fca_") else "stripe_account": id_}, times=None)


def _change_owners(simulation: Simulation, account: str, connected: str | None) -> None:
    simulation.injected["lifecycle new owner"] += 1
    simulation.simulator.change(account, stripe_account=connected, owners=[{"name": "Nathaniel Newowner"}])


def _draw_batches(simulation: Simulation) -> None:
    """Draw small batches over the same accounts and others; most of them are stopped."""
    rng = Random(f"{simulation.seed}/batches")
    if rng.random() < 0.6:
        return
    connected = rng.choice([None, None, "acct_one"])
    for number in range(rng.choice([1, 1, 2])):
        accounts = [f"fca_batch{number}{each}" for each in range(rng.randint(1, 3))]
        for account in accounts:
            policy = {"cooldown_seconds": rng.choice(COOLDOWNS)}
            simulation.simulator.link(rng.choice(SCENARIOS), id=account, stripe_account=connected, policy=policy)
        if connected is None:
            accounts.append("fca_0")
        if rng.random() < 0.5:
            # A single verification of an account that the batch verifies as well.
            simulation.at(rng.uniform(0, 10), partial(simulation.verify, f"{accounts[0]}-single", accounts[0], 0, connected))
        stop = rng.choice(
            [
                None,
                rng.uniform(0, 1),
                rng.uniform(0, 4),
                -rng.uniform(0, 0.2),
                -rng.uniform(0, 0.2),
                rng.uniform(0, 60),
                rng.uniform(0, 4000),
            ]
        )
        simulation.injected["batch" if stop is None else "batch stopped"] += 1
        simulation.at(rng.uniform(0, 5), partial(simulation.batch, accounts, rng.choice([0, 3600]), connected, stop))


def _draw_guesses(simulation: Simulation, rng: Random) -> None:
    """In a tenth of the schedules, draw a back end that tries different claims about one account, several at once and some twice."""
    if rng.random() >= 0.1:
        return
    simulation.simulator.link(rng.choice(["single_owner", "fresh"]), id="fca_guessed")
    for number in range(rng.randint(CLAIM_LIMIT, 2 * CLAIM_LIMIT)):
        names = [f"Guess {rng.randrange(2 * CLAIM_LIMIT)}" for _ in range(rng.choice([1, 1, 3]))]
        simulation.at(
            rng.choice([rng.uniform(100, 101), rng.uniform(0, 2000)]), partial(simulation.guess, "fca_guessed", f"guess-{number}", names)
        )


def _change(simulation: Simulation, account: str, action: str, connected: str | None) -> None:
    state = simulation.simulator.state(account, stripe_account=connected)
    pending = any(refresh["status"] == "pending" for refresh in state["refreshes"])
    if state["status"] != "disconnected" and not (action == "prefetch" and pending):
        simulation.injected[f"lifecycle {action}"] += 1
        simulation.simulator.change(account, stripe_account=connected, action=action)
        simulation.stripe_moved()


def _webhook_faults(simulation: Simulation, account: str) -> None:
    if simulation.rng.random() >= simulation.faults.webhook:
        return
    for kind in simulation.rng.sample(["duplicate", "delay", "drop", "reorder", "twin"], 2):
        simulation.injected[f"webhook {kind}"] += 1
        simulation.simulator.fail_webhooks(
            kind, account=account, times=simulation.rng.choice([1, 2, None]), seconds=simulation.rng.choice([0.0, 20.0, 1500.0])
        )


def _calm(simulation: Simulation) -> None:
    """End the faults. What is lost stays lost."""
    simulation.stormy = False
    simulation.sqs.duplicates = 0
    simulation.simulator.clear_faults()
    simulation.simulator.configure(denied={})
    _break(simulation)


def _check_bound(simulation: Simulation) -> None:
    """A lost event of a tenant that works, and has worked, is repaired within `BOUND_RUNS` runs, whatever other tenants do."""
    items, now = simulation.dynamodb.items, simulation.scheduler.now * 1000
    resting = {id_ for id_ in simulation.many if int(items["CONNECTED#test", id_].get("due_ms", {"N": "0"})["N"]) > now}
    for _ in range(BOUND_RUNS if simulation.many else 0):
        simulation.scheduler.spawn(simulation.reconcile)
        simulation.run(900)
    for id_ in simulation.many:
        if id_ not in resting and id_ not in simulation.broken and (f"ACCOUNT#test/{id_}/fca_of_{id_}", "ACCOUNT") not in items:
            simulation.violations.append(f"{id_}: its lost event was not found within {BOUND_RUNS} runs")
        if id_ not in simulation.broken and "retired_ms" in items["CONNECTED#test", id_]:
            simulation.violations.append(f"{id_}: retired, though it had not revoked its access")


def _settle(simulation: Simulation) -> None:
    """Run until everything has ended, with `reconcile` on its schedule."""
    for _ in range(60):
        simulation.scheduler.spawn(simulation.reconcile, 10)
        simulation.run(SETTLE_SECONDS)
        disconnected = not any("disconnect_pending" in item and not _fails(simulation, item) for item in simulation.dynamodb.items.values())
        if simulation.quiet and disconnected and simulation.scheduler.now > BEGIN + STORM_SECONDS + 2 * 3600:
            break
    for _ in range(2):
        simulation.scheduler.spawn(simulation.reconcile)
        simulation.run(SETTLE_SECONDS)


def _check(simulation: Simulation) -> None:
    """Check the promises by the state of the table, the bus and Stripe at the end."""
    complain = simulation.violations.append
    simulation.violations += [f"no right to: {call}" for call in simulation.rights.refused()]
    items = simulation.dynamodb.items
    verifications = {pk.removeprefix("VERIFICATION#"): item for (pk, sk), item in items.items() if sk == "VERIFICATION"}
    announced: dict[str, set[str]] = {}
    stale_announced = set()
    for kind, detail in simulation.events_bus.announced:
        if kind == "VerificationCompleted":
            announced.setdefault(detail["verification"], set()).add(json.dumps(detail, sort_keys=True))
        elif kind == "VerificationStale":
            stale_announced.add(detail["verification"])
    for name, id_ in simulation.accepted.items():
        item = verifications.get(id_)
        if item is None or "verdict" not in item:
            execution = simulation.workflows.executions.get(id_)
            complain(f"{name}: accepted, and no verdict (its workflow: {execution.status if execution else 'none'})")
            continue
        verdict = json.loads(item["verdict"]["S"])
        _check_many(simulation, name, item, verdict)
        if (
            name in simulation.poisoned
            and verdict["snapshot"] is not None
            and verdict["reasons"] not in ([MATCHER_FAILED], [TOO_MANY_OWNERS])
        ):
            complain(f"{name}: the matcher raised, and the verdict is {verdict['outcome']} for {verdict['reasons']}")
        if verdict["reasons"] == ["CANCELLED"] and name not in simulation.cancelled:
            complain(f"{name}: cancelled, and not by its own back end")
    for id_, item in verifications.items():
        if "verdict" in item and len(announced.get(id_, ())) != 1:
            complain(f"{id_}: {len(announced.get(id_, ()))} different verdicts were announced")
    for id_, item in verifications.items():
        batch = item.get("batch", {}).get("S")
        if batch is None:
            continue
        if "verdict" not in item:
            complain(f"{id_}: of a batch that {'was stopped' if batch in simulation.invariants.stopped else 'ran'}, and no verdict")
        elif "BATCH_STOPPED" in item["verdict"]["S"]:
            simulation.injected["verification stopped"] += 1
            if batch not in simulation.invariants.stopped:
                complain(f"{id_}: stopped with a batch that was not")
    _check_changes_announced(simulation)
    dead = {json.loads(body).get("event") for body in simulation.sqs.dead.get(EVENTS_QUEUE + "-dead", ())}
    for (pk, sk), item in items.items():
        # A waiter that a late message stored after the verdict does not wait any more; it expires.
        if sk.startswith("WAITER#") and "verdict" not in verifications[sk.removeprefix("WAITER#")]:
            complain(f"{item['verification']['S']}: still waits at the end")
        if sk == "EVENT" and not item["processed"]["BOOL"] and item["id"]["S"] not in dead:
            complain(f"{pk}: acknowledged, neither processed nor among the dead letters")
    ids = list(simulation.accepted.values())
    if len(set(ids)) < len(ids):
        complain("two Idempotency-Keys, or two tenants with the same one, have one verification")
    if guessed := {id_ for id_ in ids if id_ in simulation.guesses}:
        complain(f"{guessed.pop()}: its id can be derived from its Idempotency-Key")
    for id_, why in simulation.strays.items():
        if {sk for pk, sk in items if pk == f"EVENT#{id_}"} != {f"ASIDE#{why}"}:
            complain(f"{id_} ({why}): not stored as what it is")
    if len(simulation.guessed) > CLAIM_LIMIT:
        complain(f"{len(simulation.guessed)} different names were compared with one account within 24 hours")
    _check_erased(simulation)
    simulation.violations += simulation.invariants.paid_twice()
    _check_whole(simulation)
    for running in simulation.workflows.executions.values():
        if running.status == "RUNNING":
            complain(f"{running.name}: runs for ever")
    _check_accounts(simulation, verifications, stale_announced)


def _check_changes_announced(simulation: Simulation) -> None:
    """Every stored change of a snapshot was announced, unless the account was erased since, and so was every batch's end."""
    ended = {detail["batch"] for kind, detail in simulation.events_bus.announced if kind == "BatchCompleted"}
    for (pk, sk), item in simulation.dynamodb.items.items():
        if sk == "BATCH" and item["batch_state"]["S"] == "completed" and item["batch"]["S"] not in ended:
            simulation.violations.append(f"{pk}: its end was not announced")
    announced = {detail["snapshot"] for kind, detail in simulation.events_bus.announced if kind == "OwnershipChanged"}
    for (_, sk), item in simulation.dynamodb.items.items():
        if sk.startswith("HISTORY#") and "S" in item["changes"] and json.loads(item["changes"]["S"]):
            simulation.injected["owners changed"] += 1
            if item["snapshot"]["S"] not in announced:
                simulation.violations.append(f"{sk}: its changes were not announced")


def _check_many(simulation: Simulation, name: str, item: Mapping[str, Any], verdict: Mapping[str, Any]) -> None:
    """Too many owners give that reason, whatever else happens to the account, and nothing else does."""
    if verdict["snapshot"] is None:
        return
    ref = AccountRef(item["account"]["S"], "test", item.get("stripe_account", {}).get("S"))
    kept = simulation.dynamodb.items.get((f"ACCOUNT#{ref.key}", f"SNAPSHOT#{verdict['snapshot']}"))
    if kept is not None and ("too_many" in kept) != (verdict["reasons"] == [TOO_MANY_OWNERS]):
        simulation.violations.append(f"{name}: {verdict['reasons']} for a snapshot with {kept.get('too_many', 'not too many')} owners")
    simulation.injected["verdict on too many owners"] += verdict["reasons"] == [TOO_MANY_OWNERS]


def _check_whole(simulation: Simulation) -> None:
    """No snapshot lacks a part, and no part lacks its snapshot."""
    found: dict[tuple[str, str], set[str]] = {}
    wanted: dict[tuple[str, str], int] = {}
    for (pk, sk), item in simulation.dynamodb.items.items():
        head, _, part = sk.partition("#PART#")
        if part:
            found.setdefault((pk, head), set()).add(part)
        elif sk.startswith("SNAPSHOT#") and "parts" in item:
            simulation.injected["snapshot in parts"] += 1
            wanted[pk, sk] = int(item["parts"]["N"])
    for key in {*found, *wanted}:
        if len(found.get(key, ())) != wanted.get(key, 0):
            simulation.violations.append(f"{key}: {len(found.get(key, ()))} of {wanted.get(key, 0)} parts are stored")


def _check_erased(simulation: Simulation) -> None:
    """No encrypted item and no key is left of a disconnected account."""
    for (pk, _), item in list(simulation.dynamodb.items.items()):
        if item["sk"]["S"] != "ACCOUNT" or item.get("status", {}).get("S") != "disconnected":
            continue
        simulation.injected["account erased"] += 1
        left = [sk for key, sk in simulation.dynamodb.items if key == pk and sk.startswith(SEALED)]
        if left or "wrapped_key" in simulation.dynamodb.keys.get((pk, ""), {"wrapped_key": None}):
            simulation.violations.append(f"{pk}: disconnected, and not erased ({left or 'its key'})")
        if "erasure_ended_ms" not in item or "snapshot" in item or "refresh_error" in item:
            simulation.violations.append(f"{pk}: its erasure was not ended")
        elif "disconnect_pending" in item and _fails(simulation, item):
            _check_denied(simulation, pk, item)
        elif "open_kind" in item:
            simulation.violations.append(f"{pk}: its erasure was not ended ({item['open_kind']['S']})")


def _check_denied(simulation: Simulation, pk: str, item: Mapping[str, Any]) -> None:
    """An account that Stripe never disconnects is still listed: a disconnection was tried, and the next try is due in the future."""
    simulation.injected["disconnection denied for good"] += 1
    tries, open_ = int(item.get("disconnect_tries", {"N": "0"})["N"]), item.get("open_kind", {"S": None})["S"]
    if not tries or open_ != "disconnection":
        simulation.violations.append(f"{pk}: its disconnection is not tried any more ({tries} tries, {open_})")
        return
    ahead = int(item["open_since_ms"]["N"]) / 1000 - simulation.scheduler.now
    if not -2 * SETTLE_SECONDS < ahead <= erasure.LONGEST_PAUSE_SECONDS + CLOCK_SKEW:
        simulation.violations.append(f"{pk}: its next disconnection is due in {ahead:.0f} s")


def _fails(simulation: Simulation, item: Mapping[str, Any]) -> bool:
    """Whether Stripe never answers for this account, or for its connected account."""
    return any(item.get(name, {}).get("S") in simulation.broken for name in ("account", "stripe_account"))


def _check_woken(simulation: Simulation) -> None:
    """Without faults, no workflow may have waited for a time-out, because then a call that resumes it would have been lost."""
    if simulation.injected["function time-out"] or simulation.injected["key refused"]:
        return
    silent = {state["id"] for state in simulation.simulator.states() if state["scenario"] in SILENT}
    for name, id_ in simulation.accepted.items():
        execution = simulation.workflows.executions.get(id_)
        if execution and execution.timeouts and name.rsplit("-", 1)[0] not in silent:
            simulation.violations.append(f"{name}: not resumed, although nothing was lost")


def _check_accounts(simulation: Simulation, verifications: dict[str, Any], stale_announced: set[str]) -> None:
    for state in simulation.simulator.states():
        ref = AccountRef(state["id"], "test", state["stripe_account"])
        item = simulation.dynamodb.items.get((f"ACCOUNT#{ref.key}", "ACCOUNT"))
        if ref.account in simulation.broken or ref.stripe_account in simulation.broken:
            continue
        if item is None and ref.stripe_account in simulation.many:
            simulation.violations.append(f"{ref.key}: its lost event was never found")
        if item is None or "status" not in item:
            continue
        if any(json.loads(body)["account"] == ref.account for body in simulation.sqs.dead.get(EVENTS_QUEUE + "-dead", ())):
            simulation.injected["account with a dead letter"] += 1
            continue
        if item["status"]["S"] != state["status"]:
            simulation.violations.append(f"{ref.key}: known as {item['status']['S']}, is {state['status']}")
        newest = max(state["refreshes"], key=lambda r: r["started"], default=None)
        if newest and newest["status"] == "succeeded" and state["status"] != "disconnected":
            known, named = item["snapshot"]["S"] if "snapshot" in item else None, state["account"]["ownership"]
            if named not in (None, known):
                simulation.violations.append(f"{ref.key}: the newest owners are not stored ({known}, {named})")
        if state["status"] in ("inactive", "disconnected"):
            for id_, verification in verifications.items():
                if verification["account"]["S"] != ref.account or "verdict" not in verification:
                    continue
                lives = json.loads(verification["verdict"]["S"])["outcome"] != "not_verifiable"
                if lives and ("stale" not in verification or id_ not in stale_announced):
                    simulation.violations.append(f"{id_}: its account is inactive or disconnected, and its verdict not marked as stale")
