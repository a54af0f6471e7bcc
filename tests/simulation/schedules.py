"""Draws schedules from a seed and runs them to their end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from local.stripe_simulator.scenarios import SCENARIOS as KINDS
from tests.simulation.application import POISON, inside
from tests.simulation.aws_limits import draw_limits, end_limits
from tests.simulation.bursts import STORM_SECONDS, begin_burst, check_burst, draw_burst
from tests.simulation.deployment import API_KEY, BEGIN, CLAIM_LIMIT, DAY
from tests.simulation.promises import SETTLE_SECONDS, check_bound, check_promises, check_woken, fails
from tests.simulation.repairs import LONGEST_WAIT, check_repairs, conclude, draw_repairs, has_repairs
from tests.simulation.review_checks import check_reviews
from tests.simulation.reviews import draw_deployment, draw_looks, draw_reviewed, draw_reviews, wait_for_expiry
from tests.simulation.simulated_stack import FOREIGN, LATE_SECONDS, Faults
from tests.simulation.simulation import Simulation
from tests.simulation.table_load import TableLoad
from tests.support.fakes.dynamodb import Load
from titleholder.domain import snapshots

REFRESH = "/v1/financial_connections/accounts/{account}/refresh"
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
    ("other_context", {"context": "org_simulated"}),
    ("other_context", {"account": "acct_one", "context": "org_simulated/acct_two"}),
    ("other_context", {**THIN, "context": "acct_one/org_simulated"}),
    ("other_context", {"context": f"org_simulated/{FOREIGN}"}),
    ("other_context", {**THIN, "context": f"org_simulated/{FOREIGN}"}),
    ("malformed", {"data": {}}),
    ("malformed", {"data": {"object": {"id": "cus_1"}}}),
    ("malformed", {**THIN, "related_object": None}),
)
THIRTEEN = KINDS["paged_owners"].owners
COOLDOWNS = (2.0, 30.0, 600.0, 4000.0)
FREQUENT_SECONDS = 10 * SETTLE_SECONDS
SELDOM_SECONDS = 3 * SETTLE_SECONDS
"""The time between two runs of `reconcile` once `FREQUENT_SECONDS` have passed since the storm."""


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
    burst = draw_burst(simulation) if faults is None else None
    load = TableLoad(seed, lambda: simulation.scheduler.now, simulation.injected)
    busy = faults is None and burst is None and load.active
    if busy:
        simulation.busy(load)
    limited = faults is None and burst is None and draw_limits(simulation)
    if has_repairs(seed):
        simulation.environment["MAX_WAIT_SECONDS"] = str(int(LONGEST_WAIT))
    draw_deployment(simulation)
    with inside(simulation):
        if burst is None:
            _draw(simulation)
        else:
            begin_burst(simulation, burst)
        simulation.run(STORM_SECONDS)
        _calm(simulation)
        check_bound(simulation)
        _settle(simulation)
        wait_for_expiry(simulation)
        check_promises(simulation)
        check_reviews(simulation)
        faults = simulation.faults
        troubled = (
            busy
            or limited
            or bool(
                faults.crash
                or faults.throttle
                or faults.lost_answer
                or faults.stripe
                or faults.webhook
                or faults.announcement
                or faults.audit
            )
        )
        check_repairs(simulation, troubled=troubled or bool(simulation.many))
        if not troubled:
            if burst is None:
                check_woken(simulation)
            else:
                check_burst(simulation, burst)
    executions = simulation.workflows.executions.values()
    transitions = [execution.transitions for execution in executions]
    return Result(seed, simulation.violations, simulation.injected, len(simulation.accepted), len(simulation.refreshes), transitions)


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
    simulation.environment |= {"REVIEWERS_NEEDED": "2", "REVIEW_EXPIRY_DAYS": "1"}
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
        simulator.link("single_owner", id="fca_revived")
        simulator.link("inactive", id="fca_repaired")
        simulator.link("inactive", id="fca_unseen")
        simulator.link("single_owner", id="fca_reviewed")
        simulator.link("fresh", id="fca_unreviewed")
        for at, name, account in (
            (5.0, "a", "fca_paged"), (5.01, "b", "fca_paged"), (6.0, "c", "fca_cooling"), (6.0, "d", "fca_failing"), (6.0, "e", "fca_lost"),
            (7.0, "g", "fca_inactive"), (7.0, "j", "fca_revived"),
        ):  # fmt: skip
            simulation.at(at, partial(simulation.verify, name, account))
        simulation.at(7, lambda: simulation.verify("f", "fca_silent", stripe_account="acct_one"))
        simulation.at(7, lambda: simulation.verify("k", "fca_repaired", if_inactive="wait"))
        simulation.at(7, lambda: simulation.verify("l", "fca_unseen", if_inactive="wait"))
        draw_reviewed(simulation)
        simulation.at(2100, lambda: conclude(simulation, "fca_repaired", "repaired"))
        simulation.at(2100, lambda: conclude(simulation, "fca_unseen", "lost"))
        simulation.at(200, lambda: simulation.ask_refresh("fca_paged", 0))
        simulation.at(2000, lambda: simulation.verify("h", "fca_paged"))
        simulation.at(2400, lambda: simulation.erase("fca_failing"))
        simulation.at(2500, lambda: _change(simulation, "fca_paged", "deactivate", None))
        simulation.at(2510, lambda: _change(simulation, "fca_revived", "deactivate", None))
        simulation.at(2560, lambda: _change(simulation, "fca_revived", "reactivate", None))
        simulation.at(2600, lambda: simulation.verify("i", "fca_cooling", max_age=0))
        simulation.at(2601, lambda: simulation.erase("fca_cooling"))
        simulation.at(2650, lambda: _change(simulation, "fca_lost", "disconnect", None))
        simulation.at(2670, simulation.deny_disconnecting)
        simulation.at(2680, lambda: simulation.erase("fca_inactive"))
        simulation.at(2690, lambda: simulation.deny_disconnecting(denied=False))
        simulation.reconcile_every(900, 3)
        simulation.run(STORM_SECONDS)
        # The next run of `reconcile` has the account read whose repair no event has reported.
        simulation.run(DAY)
        _settle(simulation)
        check_promises(simulation)
        check_reviews(simulation)
        check_repairs(simulation, troubled=True)
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
    _draw_destinations(simulation, Random(f"{simulation.seed}/destinations"))
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
        _draw_revivals(simulation, account, connected)
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
    draw_repairs(simulation, Random(f"{simulation.seed}/repairs"))
    draw_reviews(simulation, Random(f"{simulation.seed}/reviews"))
    draw_looks(simulation, Random(f"{simulation.seed}/looks"))
    simulation.reconcile_every(900, int(STORM_SECONDS // 900))


def _draw_revivals(simulation: Simulation, account: str, connected: str | None) -> None:
    """Draw an account that becomes inactive and active by turns, sometimes within seconds."""
    odd = Random(f"{simulation.seed}/revivals/{account}")
    if odd.random() < 0.4:
        at = odd.uniform(0, 3000)
        for number in range(odd.randint(2, 5)):
            simulation.at(at, partial(_change, simulation, account, "reactivate" if number % 2 else "deactivate", connected))
            at += odd.choice([odd.uniform(0, 1), odd.uniform(0, 10), odd.uniform(0, 600)])


def _draw_destinations(simulation: Simulation, rng: Random) -> None:
    """In half of the schedules, draw other event destinations: an organization's, one of thin events alone, or one of each kind."""
    kind = rng.choice([None, None, None, "organization", "thin", "both kinds"])
    if kind is None:
        return
    simulation.injected[f"destinations: {kind}"] += 1
    simulator = simulation.simulator
    if kind == "organization":
        # Sometimes beside the platform's own endpoints, so that every event comes twice.
        beside, thin = rng.random() < 0.3, rng.random() < 0.5
        simulation.use_endpoints(
            *(("platform", "snapshot"), ("connected", "snapshot")) if beside else (),
            ("organization", "thin" if thin else "snapshot"),
            through_platform=rng.random() < 0.5,
        )
        simulator.configure(organization=rng.choice(["org_simulated", "org_outer/org_inner"]))
        if beside and rng.random() < 0.5:
            # The organization's events of the platform are dead letters then, and its own endpoints' must have their effect.
            simulator.configure(denied={API_KEY: frozenset({"GET /v1/account"})})
            simulation.injected["own account denied"] += 1
    else:
        payloads = ["thin"] if kind == "thin" else ["snapshot", "thin"]
        simulation.use_endpoints(*((scope, payload) for scope in ("platform", "connected") for payload in payloads))
        simulator.configure(thin_created=rng.choice(["seconds", "text"]))


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
    simulation.dynamodb.load, simulation.table_load = Load(), None
    end_limits(simulation)
    simulation.sqs.duplicates = 0
    simulation.simulator.clear_faults()
    simulation.simulator.configure(denied={})
    _break(simulation)


def _settle(simulation: Simulation) -> None:
    """Run until everything has ended, with `reconcile` on its schedule."""
    began = simulation.scheduler.now
    while simulation.scheduler.now < began + simulation.patience:
        # Later only workflows are left that wait for days, and running `reconcile` seldom is enough for what it owes them.
        late = simulation.scheduler.now > began + FREQUENT_SECONDS
        simulation.scheduler.spawn(simulation.reconcile, 10)
        simulation.run(SELDOM_SECONDS if late else SETTLE_SECONDS)
        disconnected = not any("disconnect_pending" in item and not fails(simulation, item) for item in simulation.dynamodb.items.values())
        if simulation.quiet and disconnected and simulation.scheduler.now > BEGIN + STORM_SECONDS + 2 * 3600:
            break
    for _ in range(2):
        simulation.scheduler.spawn(simulation.reconcile)
        simulation.run(SETTLE_SECONDS)
