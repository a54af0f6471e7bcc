"""Schedules drawn from a seed, run to their end, and held against the promises."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from local.stripe_simulator.options import Options
from titleholder.accounts import AccountRef
from tests.simulation.world import BEGIN, DAY, EVENTS_QUEUE, Faults, World, inside

STORM_SECONDS = 3 * 3600.0
SCENARIOS = (
    "single_owner", "single_owner", "single_owner", "paged_owners", "old", "fresh", "failing_then_succeeding", "cooling_down", "prefetch_pending",
    "lost_webhook", "silently_refusing", "turning_inactive", "never_answering", "failing", "inactive_with_old_snapshot", "no_next_refresh",
)  # fmt: skip
COOLDOWNS = (2.0, 30.0, 600.0, 4000.0)


@dataclass
class Result:
    """What came of one seed."""

    seed: int
    violations: list[str]
    injected: Counter[str]
    verifications: int = 0
    refreshes: int = 0
    transitions: list[int] = field(default_factory=list)


def simulate(seed: int, faults: Faults | None = None) -> Result:
    """Draw a schedule, run it, check it."""
    world = World(seed, faults, None)
    rng = world.rng
    if faults is None:
        world.faults = Faults(
            crash=rng.choice([0, 0.002, 0.01, 0.03]),
            throttle=rng.choice([0, 0.003, 0.02]),
            lost_answer=rng.choice([0, 0.003, 0.02]),
            stripe=rng.choice([0, 0.02, 0.1, 0.3]),
            slow=rng.choice([0, 0.01, 0.05]),
            duplicate_message=rng.choice([0, 0.05, 0.3]),
            webhook=rng.choice([0, 0.2, 0.6]),
            clock_skew=rng.choice([0, 2, 5]),
        )
        world.sqs.duplicates = world.faults.duplicate_message
    with inside(world):
        _draw(world)
        world.run(STORM_SECONDS)
        _calm(world)
        _settle(world)
        _check(world)
    executions = world.workflows.executions.values()
    return Result(
        seed, world.violations, world.injected, len(world.accepted), len(world.refreshes), [execution.transitions for execution in executions]
    )


def _draw(world: World) -> None:
    """Accounts, callers, lifecycle changes and webhook faults, at drawn times."""
    rng, simulator = world.rng, world.simulator
    simulator.options.settle_seconds = rng.choice([0.5, 3.0, 60.0])
    simulator.options.cooldown_seconds = rng.choice(COOLDOWNS)
    for number in range(rng.randint(1, 3)):
        account = f"fca_{number}"
        connected = "acct_one" if rng.random() < 0.2 else None
        policy: dict[str, Any] = {"refusal": rng.choice(["error", "silent"])}
        if rng.random() < 0.3:
            policy["cooldown_seconds"] = rng.choice(COOLDOWNS)
        scenario = rng.choice(SCENARIOS)
        _webhook_faults(world, account)
        simulator.link(scenario, id=account, stripe_account=connected, policy=policy)
        burst = rng.random() < 0.3
        for caller in range(rng.randint(1, 8 if burst else 4)):
            begin = rng.uniform(0, 2) if burst else rng.choice([rng.uniform(0, 5), rng.uniform(0, 2000)])
            max_age = rng.choice([0, 60, 3600, 30 * 86_400])
            name = f"{account}-{caller}"
            world.at(begin, lambda name=name, account=account, max_age=max_age, connected=connected: world.verify(name, account, max_age, connected))  # type: ignore[misc]
        if rng.random() < 0.2:
            age = rng.choice([0, 3600])
            world.at(rng.uniform(0, 1000), lambda account=account, age=age, connected=connected: world.ask_refresh(account, age, connected))  # type: ignore[misc]
        for _ in range(rng.choice([0, 0, 1, 2])):
            action = rng.choice(["deactivate", "reactivate", "prefetch", "disconnect", "update_account_numbers"])
            world.at(rng.uniform(0, 3000), lambda account=account, action=action, connected=connected: _change(world, account, action, connected))  # type: ignore[misc]
    world.reconcile_every(900, int(STORM_SECONDS // 900))


def _change(world: World, account: str, action: str, connected: str | None) -> None:
    state = world.simulator.state(account, stripe_account=connected)
    pending = any(refresh["status"] == "pending" for refresh in state["refreshes"])
    if state["status"] != "disconnected" and not (action == "prefetch" and pending):
        world.injected[f"lifecycle {action}"] += 1
        world.simulator.change(account, stripe_account=connected, action=action)
        world.stripe_moved()


def _webhook_faults(world: World, account: str) -> None:
    if world.rng.random() >= world.faults.webhook:
        return
    for kind in world.rng.sample(["duplicate", "delay", "drop", "reorder", "twin"], 2):
        world.injected[f"webhook {kind}"] += 1
        world.simulator.fail_webhooks(kind, account=account, times=world.rng.choice([1, 2, None]), seconds=world.rng.choice([0.0, 20.0, 1500.0]))


def _calm(world: World) -> None:
    """The faults end; what is lost stays lost."""
    world.stormy = False
    world.sqs.duplicates = 0
    world.simulator.clear_faults()


def _settle(world: World) -> None:
    """Let everything come to its end, with reconcile going on."""
    for _ in range(60):
        world.hub.spawn(world.reconcile, 10)
        world.run(4000)
        if world.quiet and world.hub.now > BEGIN + STORM_SECONDS + 2 * 3600:
            break
    for _ in range(2):
        world.hub.spawn(world.reconcile)
        world.run(4000)


def _check(world: World) -> None:
    """The promises, as the table, the bus and Stripe show them at the end."""
    complain = world.violations.append
    items = world.dynamodb.items
    verifications = {pk.removeprefix("VERIFICATION#"): item for (pk, sk), item in items.items() if sk == "VERIFICATION"}
    announced: dict[str, set[str]] = {}
    stale_announced = set()
    for kind, detail in world.events_bus.announced:
        if kind == "VerificationCompleted":
            announced.setdefault(detail["verification"], set()).add(json.dumps(detail, sort_keys=True))
        elif kind == "VerificationStale":
            stale_announced.add(detail["verification"])
    for name, id_ in world.accepted.items():
        item = verifications.get(id_)
        if item is None or "verdict" not in item:
            complain(f"{name}: accepted, and no verdict ({[execution.status for execution in [world.workflows.executions.get(id_)] if execution]})")
            continue
        if len(announced.get(id_, ())) != 1:
            complain(f"{name}: {len(announced.get(id_, ()))} different verdicts were announced")
    dead = {json.loads(body)["event"] for body in world.sqs.dead.get(EVENTS_QUEUE + "-dead", ())}
    for (pk, sk), item in items.items():
        if sk.startswith("WAITER#") and not _pending(world, pk):
            complain(f"{item['verification']['S']}: still waits at the end")
        if sk == "EVENT" and not item["processed"]["BOOL"] and item["id"]["S"] not in dead:
            complain(f"{pk}: acknowledged, neither processed nor among the dead letters")
    for execution in world.workflows.executions.values():
        if execution.status == "RUNNING":
            complain(f"{execution.name}: runs for ever")
        # Each retry is a transition too, so a bound on the way without trouble only: see the crash-free seeds.
    _check_accounts(world, verifications, stale_announced)


def _pending(world: World, pk: str) -> bool:
    """Whether the account's refresh is still pending at Stripe: a late message may wait for it until its item expires."""
    return world.dynamodb.items[pk, "ACCOUNT"].get("refresh_status") == {"S": "pending"}


def _check_accounts(world: World, verifications: dict[str, Any], stale_announced: set[str]) -> None:
    for state in world.simulator.states():
        ref = AccountRef(state["id"], "test", state["stripe_account"])
        item = world.dynamodb.items.get((f"ACCOUNT#{ref.key}", "ACCOUNT"))
        if item is None or "status" not in item:
            continue
        if any(json.loads(body)["account"] == ref.account for body in world.sqs.dead.get(EVENTS_QUEUE + "-dead", ())):
            world.injected["account with a dead letter"] += 1
            continue
        if item["status"]["S"] != state["status"]:
            world.violations.append(f"{ref.key}: known as {item['status']['S']}, is {state['status']}")
        done = [r for r in state["refreshes"] if r["status"] == "succeeded"]
        newest = max(state["refreshes"], key=lambda r: r["started"], default=None)
        if newest and newest["status"] == "succeeded" and state["status"] != "disconnected":
            known = int(item["snapshot_attempted_at"]["N"]) if "snapshot_attempted_at" in item else None
            if known != int(done[-1]["started"]):
                world.violations.append(f"{ref.key}: the newest owners are not stored ({known}, {done[-1]['started']})")
        if state["status"] in ("inactive", "disconnected"):
            for id_, verification in verifications.items():
                if verification["account"]["S"] != ref.account or "verdict" not in verification:
                    continue
                lives = json.loads(verification["verdict"]["S"])["outcome"] != "not_verifiable"
                if lives and ("stale" not in verification or id_ not in stale_announced):
                    world.violations.append(f"{id_}: its account is dead, and its verdict not marked as stale")


__all__ = ["DAY", "Options", "Result", "simulate"]
