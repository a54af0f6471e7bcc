"""Reviewers, and what ends reviews without them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

from tests.simulation.deployment import DAY
from tests.simulation.review_checks import missing_entries
from tests.simulation.simulation import Simulation

CLOSE: Mapping[str, Any] = {"name": "Margaret Zoe Testerman"}
"""A claim that is a close match with the owner of most accounts."""

WRONG: Mapping[str, Any] = {"name": "Placeholder Provisions"}
MATCHING: Mapping[str, Any] = {}
REVIEWERS = ("anne", "bob", "carol")
OWNER = {"name": "MARGARET ANNE TESTERMAN", "email": "margaret.testerman@example.com", "phone": "+1 555-555-0101"}
OTHER_OWNERS: Mapping[str, list[dict[str, str | None]]] = {
    "renamed": [{**OWNER, "name": "MARGARET ANNE NEWNAME"}],
    "added": [{**OWNER}, {"name": "NATHANIEL NEWOWNER"}],
    "replaced": [{"name": "NATHANIEL NEWOWNER"}],
    "moved": [{**OWNER, "raw_address": "9 OTHER AVE, PORTLAND, OR 97201"}],
    "contact": [{**OWNER, "phone": "+1 555-555-0199"}],
}
REASONS: Mapping[str, tuple[str, ...]] = {
    "approve": ("NAME_VARIANT_CONFIRMED", "JOINT_OR_AUTHORISED", "OTHER"), "reject": ("DIFFERENT_PERSON", "OTHER"),
}  # fmt: skip


def has_reviews(seed: int) -> bool:
    """Whether a seed's schedule has reviewers: a third of them have."""
    return Random(f"{seed}/with reviews").random() < 0.35


def draw_deployment(simulation: Simulation) -> None:
    """Draw the settings of a schedule with reviewers."""
    if has_reviews(simulation.seed):
        needed = Random(f"{simulation.seed}/reviewers").choice("112")
        simulation.environment |= {"REVIEWERS_NEEDED": needed, "REVIEW_EXPIRY_DAYS": "1"}


def draw_reviews(simulation: Simulation, rng: Random) -> None:
    """Draw close matches, reviewers who decide them, some at once, and what ends reviews meanwhile."""
    if not has_reviews(simulation.seed):
        return
    for number in range(rng.choice([1, 1, 2])):
        account, connected = f"fca_review{number}", rng.choice([None, None, "acct_one"])
        scenario = rng.choice(["single_owner", "single_owner", "fresh", "old", "cooling_down"])
        simulation.simulator.link(scenario, id=account, stripe_account=connected, policy={"cooldown_seconds": 30.0})
        moments = [rng.uniform(100, 4000) for _ in range(2)]
        erased = [at for at in moments if _draw_ending(simulation, rng, account, connected, at) == "erase"]
        names = [f"{account}-{caller}" for caller in range(rng.randint(1, 3))]
        for name in names:
            claim = rng.choice([CLOSE, CLOSE, CLOSE, WRONG, MATCHING])
            begin = rng.choice([rng.uniform(0, 60), moments[0] + rng.uniform(-30, 30)])
            simulation.at(max(0.0, begin), partial(simulation.verify, name, account, rng.choice([0, 3600, 30 * 86_400]), connected, claim))
            if claim != CLOSE and rng.random() < 0.7:
                for at in rng.choices([rng.uniform(200, 2000), moments[0] + rng.uniform(-1, 1)], k=rng.randint(1, 2)):
                    simulation.at(at, partial(open_review, simulation, name, connected))
            _draw_decisions(simulation, rng, name, connected, moments)
            for at in erased * 3:
                # About when the account's key is destroyed: both take three calls until then.
                odd, reviewer = Random(rng.random()), rng.choice(REVIEWERS)
                simulation.at(at + rng.uniform(-0.03, 0.06), partial(decide, simulation, odd, name, reviewer, connected, hasty=True))


def draw_reviewed(simulation: Simulation) -> None:
    """Have one close match proposed and confirmed, one rejected after its proposal was withdrawn, and one ended by other owners.

    For the schedule in which every function dies at every call.
    """
    odd = Random("reviewed")
    for name, account, claim in (("m", "fca_reviewed", CLOSE), ("n", "fca_unreviewed", CLOSE), ("o", "fca_unreviewed", MATCHING)):
        simulation.at(8.0, partial(simulation.verify, f"{account}-{name}", account, claim=claim))
    simulation.at(100, partial(decide, simulation, odd, "fca_reviewed-m", "anne", None, decision="approve", hasty=True, noted=True))
    simulation.at(120, partial(decide, simulation, odd, "fca_reviewed-m", "bob", None, decision="approve", hasty=True))
    simulation.at(100, partial(open_review, simulation, "fca_unreviewed-o", None))
    simulation.at(110, partial(decide, simulation, odd, "fca_unreviewed-o", "anne", None, decision="approve", hasty=True))
    simulation.at(130, partial(decide, simulation, odd, "fca_unreviewed-o", "anne", None, decision="withdraw", hasty=True))
    simulation.at(140, partial(decide, simulation, odd, "fca_unreviewed-o", "bob", None, decision="reject", hasty=True))
    simulation.at(150, partial(simulation.simulator.change, "fca_unreviewed", owners=OTHER_OWNERS["renamed"]))
    simulation.at(160, partial(simulation.ask_refresh, "fca_unreviewed", 0))


def _draw_decisions(simulation: Simulation, rng: Random, name: str, connected: str | None, moments: list[float]) -> None:
    """Draw reviewers who decide about one verification, often at the same moment as others, or as its review ends by itself."""
    together = rng.uniform(100, 6000)
    for _ in range(rng.choice([0, 2, 3, 4, 8])):
        at = rng.choice([together, rng.choice(moments), rng.choice(moments), rng.uniform(100, 9000)])
        # Within the fifth of a second that a decision takes, or after some thought.
        hasty = rng.random() < 0.6
        at += rng.uniform(-0.1, 0.2) if hasty else rng.uniform(-2, 8)
        odd = Random(rng.random())
        simulation.at(max(1.0, at), partial(decide, simulation, odd, name, rng.choice(REVIEWERS), connected, hasty=hasty))


def _draw_ending(simulation: Simulation, rng: Random, account: str, connected: str | None, at: float) -> str:
    kind = rng.choice(["none", "none", "deactivate", "revived", "disconnect", "erase", "owners", "owners", "owners", "claim"])
    simulation.injected[f"review, and {kind}"] += 1
    if kind in ("deactivate", "revived", "disconnect"):
        action = "disconnect" if kind == "disconnect" else "deactivate"
        simulation.at(at, partial(_change, simulation, account, action, connected))
        if kind == "revived":
            simulation.at(
                at + rng.choice([rng.uniform(0, 3), rng.uniform(0, 600)]), partial(_change, simulation, account, "reactivate", connected)
            )
    elif kind == "erase":
        simulation.at(at, partial(simulation.erase, account, connected))
    elif kind == "owners":
        owners = OTHER_OWNERS[rng.choice(list(OTHER_OWNERS))]
        simulation.at(max(0.0, at - 20), partial(simulation.simulator.change, account, stripe_account=connected, owners=owners))
        simulation.at(at, partial(simulation.verify, f"{account}-again-{at:.3f}", account, 0, connected))
    elif kind == "claim":
        simulation.at(at, partial(lose_claims, simulation, account, connected))
    return kind


def _change(simulation: Simulation, account: str, action: str, connected: str | None) -> None:
    if simulation.simulator.state(account, stripe_account=connected)["status"] != "disconnected":
        simulation.simulator.change(account, stripe_account=connected, action=action)
        simulation.stripe_moved()


def lose_claims(simulation: Simulation, account: str, connected: str | None) -> None:
    """Let an account's claims expire."""
    pk = f"ACCOUNT#test/{connected or 'platform'}/{account}"
    for sk in simulation.dynamodb.sort_keys(pk):
        if sk.startswith("CLAIM#"):
            simulation.dynamodb.items[pk, sk]["expires_at"] = {"N": str(int(simulation.scheduler.now) - 5)}
            simulation.lost_claims.setdefault(sk.removeprefix("CLAIM#"), simulation.scheduler.now)


def open_review(simulation: Simulation, name: str, connected: str | None) -> None:
    """Be a back end that has a verification reviewed, and asks again until it is answered."""
    for attempt in range(20):
        if (id_ := simulation.accepted.get(name)) is None:
            return
        status, _ = simulation._http("review", "POST", f"/verifications/{id_}/review", {}, connected, {}, "backend")
        if status < 500:
            simulation.injected[f"opening a review answered {status}"] += 1
            return
        simulation.scheduler.sleep(min(60, 2**attempt))


def decide(
    simulation: Simulation,
    rng: Random,
    name: str,
    reviewer: str,
    connected: str | None,
    *,
    decision: str | None = None,
    hasty: bool = False,
    again: bool = True,
    noted: bool = False,
) -> None:
    """Be a reviewer who has looked at a review, thinks, decides, and sends the same again until it is answered. If another reviewer came
    first, look and decide once more.
    """
    review = _shown(simulation, name, connected)
    if review is None:
        return
    id_, state, version = review
    if decision is None:
        decision = rng.choice(["approve", "approve", "approve", "reject", *(["withdraw"] if state == "proposed" else [])])
    body: dict[str, Any] = {"version": version, "decision": decision}
    if decision != "withdraw":
        body["reason"] = rng.choice(REASONS[decision])
        if noted or body["reason"] == "OTHER" or rng.random() < 0.3:
            body["note"] = "Spoke with the claimant."
    simulation.scheduler.sleep(0.0 if hasty else rng.choice([rng.uniform(0, 5), rng.uniform(0, 300)]))
    for attempt in range(20):
        status, answer = simulation._http("review", "POST", f"/verifications/{id_}/review/decisions", body, connected, {}, reviewer)
        if status < 500:
            break
        simulation.scheduler.sleep(min(60, 2**attempt))
    simulation.injected[f"decision answered {status}"] += 1
    if status == 200:
        simulation.decided.append((id_, version, decision, f"https://idp.example#{reviewer}"))
        simulation.complain(missing_entries(simulation, id_, version + 1))
        if rng.random() < 0.2:
            # Its answer was lost on the way back to the page.
            status, answer = simulation._http("review", "POST", f"/verifications/{id_}/review/decisions", body, connected, {}, reviewer)
            if status not in (200, 500, 503):
                simulation.violations.append(f"{id_}: a decision was answered 200, and its repetition {status}")
    elif status == 409 and answer["type"].endswith("review-changed") and again:
        decide(simulation, rng, name, reviewer, connected, again=False)
    elif status not in (403, 409, 410) and status < 500:
        simulation.violations.append(f"{id_}: a decision was answered {status} ({answer})")


def _shown(simulation: Simulation, name: str, connected: str | None) -> tuple[str, str, int] | None:
    """What the page shows a reviewer: the verification, its review's state and version."""
    if (id_ := simulation.accepted.get(name)) is None:
        return None
    account = name.rsplit("-", 1)[0]
    item = simulation.dynamodb.items.get((f"ACCOUNT#test/{connected or 'platform'}/{account}", f"REVIEW#{id_}"))
    return None if item is None else (id_, item["review_state"]["S"], int(item["version"]["N"]))


def wait_for_expiry(simulation: Simulation) -> None:
    """In half of the schedules, let the time of all open reviews pass."""
    if has_reviews(simulation.seed) and Random(f"{simulation.seed}/expiry").random() < 0.5:
        simulation.run(DAY)
        for _ in range(2):
            simulation.scheduler.spawn(simulation.reconcile)
            simulation.run(4000)
