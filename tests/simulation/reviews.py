"""Reviewers, and what ends reviews without them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from greenlet import getcurrent

from tests.simulation.deployment import DAY
from tests.simulation.simulation import Simulation
from titleholder.bootstrap import application
from titleholder.domain.accounts import AccountRef
from titleholder.store.table import plain
from titleholder.store.verifications import verification_of

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


def draw_looks(simulation: Simulation, rng: Random) -> None:
    """Draw reviewers who list the queue and look at comparisons, some of other tenants, and who see that more or fewer of them are needed.

    All of it draws from `rng` alone, so that it changes no other draw of a seed.
    """
    if not has_reviews(simulation.seed):
        return
    for act in (look, look, list_queue):
        for _ in range(rng.choice([0, 1, 2])):
            _at_odd(simulation, rng, act)
    if rng.random() < 0.3:
        at = rng.uniform(100, 3000)
        now = int(simulation.environment["REVIEWERS_NEEDED"])
        for needed in (3 - now, now)[: rng.choice([1, 2])]:
            simulation.at(at, partial(need_reviewers, simulation, needed))
            at += rng.choice([rng.uniform(0, 60), rng.uniform(0, 3000)])


def _at_odd(simulation: Simulation, rng: Random, act: Callable[[Simulation, Random], None]) -> None:
    own = Random(rng.random())

    def begin() -> None:
        simulation.streams[getcurrent()] = own
        act(simulation, own)
        del simulation.streams[getcurrent()]

    simulation.at(rng.choice([rng.uniform(20, 1000), rng.uniform(50, 9000)]), begin)


def need_reviewers(simulation: Simulation, needed: int) -> None:
    """Be an operator who deploys the stack with another `ReviewersNeeded`."""
    simulation.injected["reviewers needed: another number"] += 1
    simulation.reviewers.append((simulation.scheduler.now, needed))
    application().store.reviewers_needed = needed


def look(simulation: Simulation, rng: Random) -> None:
    """Be a reviewer who has a comparison shown."""
    known: list[str] = []
    for _ in range(rng.choice([1, 40, 40])):
        known = known or sorted(id_ for name, id_ in simulation.accepted.items() if name.startswith("fca_review"))
        if waiting := sorted({**_waiting(simulation, "open", None), **_waiting(simulation, "open", "acct_one")}):
            known = waiting
            break
        simulation.scheduler.sleep(20)
    if not known:
        return
    id_ = rng.choice(known)
    ref = verification_of(plain(simulation.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"])).ref
    strange = rng.random() < 0.15
    asked_for = {None: "acct_one"}.get(ref.stripe_account) if strange else ref.stripe_account
    for attempt in range(rng.randint(1, 6)):
        before = _looked_at(simulation, ref, id_)
        status, answer = simulation._http("review", "POST", f"/verifications/{id_}/comparison", {}, asked_for, {}, rng.choice(REVIEWERS))
        after = _looked_at(simulation, ref, id_)
        if status < 500:
            break
        simulation.scheduler.sleep(min(60, 2**attempt))
    simulation.injected[f"comparison answered {status}"] += 1
    wrong = None
    if status == 200 and strange:
        wrong = "another tenant was shown a comparison"
    elif status == 200 and (before is None or after is None):
        # What ends while it is answered may still be shown.
        wrong = "a comparison was shown without an open review" if before is None else None
    elif status < 500 and status != 200 and not strange and before is not None and after is not None:
        wrong = f"a comparison was answered {status} ({answer['type']}), though its review is open"
    elif status == 200:
        wrong = _misread(simulation, id_, answer)
    elif status < 500 and status not in (404, 409, 410):
        wrong = f"a comparison was answered {status} ({answer['type']})"
    simulation.complain(None if wrong is None else f"{id_}: {wrong}")


def _looked_at(simulation: Simulation, ref: AccountRef, id_: str) -> Any:
    """The open review of a verification, while there is something to compare; else None."""
    review = simulation.dynamodb.items.get((f"ACCOUNT#{ref.key}", f"REVIEW#{id_}"))
    erased = "wrapped_key" not in simulation.dynamodb.keys.get((f"ACCOUNT#{ref.key}", ""), {})
    if review is None or review["review_state"]["S"] == "closed" or erased or id_ in simulation.lost_claims:
        return None
    return review


def _misread(simulation: Simulation, id_: str, answer: Any) -> str | None:
    """What a comparison shows otherwise than it should."""
    head = plain(simulation.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"])
    verdict = json.loads(head["verdict"])
    [name] = [field for field in answer["fields"] if field["field"] == "name"]
    names = [simulation.claimed[id_]["name"]] if id_ in simulation.claimed else []
    if answer["snapshot"] != verdict["snapshot"]:
        return f"a comparison shows {answer['snapshot']} instead of {verdict['snapshot']}"
    if name.get("claim") and names and "".join(part["text"] for part in name["claim"]) not in names:
        return "a comparison shows another claim"
    return None


def list_queue(simulation: Simulation, rng: Random) -> None:
    """Be a reviewer who turns the pages of the queue."""
    state, connected = rng.choice(["open", "open", "proposed"]), rng.choice([None, None, "acct_one"])
    limit, reviewer, cursor = rng.choice([1, 1, 2, 50]), rng.choice(REVIEWERS), ""
    for _ in range(rng.choice([0, 40, 40])):
        if len(_waiting(simulation, state, connected)) > 1:
            break
        simulation.scheduler.sleep(20)
    before, seen = _waiting(simulation, state, connected), list[tuple[str, str]]()
    for _ in range(100):
        path = f"/reviews?state={state}&limit={limit}{cursor}"
        for attempt in range(10):
            status, answer = simulation._http("review", "GET", path, None, connected, {}, reviewer)
            if status < 500:
                break
            simulation.scheduler.sleep(min(60, 2**attempt))
        if status != 200:
            simulation.complain(None if status >= 500 else f"{path}: answered {status}")
            return
        seen += [(review["opened_at"], review["verification"]) for review in answer["reviews"]]
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    simulation.injected["queue listed"] += 1
    stayed = {id_ for id_, version in _waiting(simulation, state, connected).items() if before.get(id_) == version}
    simulation.injected["reviews seen in the queue"] += len(seen)
    listed = [id_ for _, id_ in seen]
    whose = {pk for id_ in listed for pk, sk in simulation.dynamodb.items if sk == f"REVIEW#{id_}"}
    if len(set(listed)) != len(listed) or [at for at, _ in seen] != sorted(at for at, _ in seen):
        simulation.violations.append(f"the queue was listed as {seen}")
    if stayed - set(listed):
        simulation.violations.append(f"the queue was listed without {sorted(stayed - set(listed))}")
    if any(not pk.startswith(f"ACCOUNT#test/{connected or 'platform'}/") for pk in whose):
        simulation.violations.append(f"the queue of {connected} was listed with {sorted(whose)}")


def _waiting(simulation: Simulation, state: str, connected: str | None) -> dict[str, str]:
    """The reviews of a tenant in that state, each with its version."""
    return {
        sk.removeprefix("REVIEW#"): item["version"]["N"]
        for (pk, sk), item in simulation.dynamodb.items.items()
        if sk.startswith("REVIEW#") and item["review_state"]["S"] == state and pk.startswith(f"ACCOUNT#test/{connected or 'platform'}/")
    }


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
