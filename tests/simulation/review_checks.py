"""What has to be true of reviews: at every write, and after a schedule."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.simulation.deployment import DAY
from tests.simulation.records import REVIEWING
from titleholder.domain import reviews
from titleholder.domain.accounts import AccountRef
from titleholder.store.table import plain
from titleholder.store.verifications import verification_of

if TYPE_CHECKING:
    from local.stripe_simulator.accounts import Snapshot
    from tests.simulation.simulated_stack import SimulatedStack

UNCHANGED = {"open_kind", "open_since_ms", "repair_tries", "seen_by", "seen_ms"}
"""The attributes of a closed review that may still change: whether it is finished, and who looked at it."""

LATE_SECONDS = 2 * 4000.0
"""How long after its time a review may end, because `reconcile` runs that seldom after the storm."""


BLIND_SECONDS = 65.0
"""For how long a function may still act on what it read before: longer than any of them runs."""


def reviewers(stack: SimulatedStack) -> int:
    """How many reviewers approve a close match when this schedule begins; 0 for no reviews."""
    return int(stack.environment.get("REVIEWERS_NEEDED", "0"))


def reviewers_at(stack: SimulatedStack, at: float, blind: float = 1.0) -> set[int]:
    """How many reviewers a function may have found to be needed at that time, or `blind` seconds before or after it."""
    changes = [(0.0, reviewers(stack)), *stack.reviewers]
    ends = [begin for begin, _ in changes[1:]] + [math.inf]
    return {needed for (begin, needed), end in zip(changes, ends, strict=True) if begin - blind <= at <= end + blind}


def expiry(stack: SimulatedStack) -> float:
    return int(stack.environment.get("REVIEW_EXPIRY_DAYS", "30")) * DAY


def missing_review(stack: SimulatedStack, head: Mapping[str, Any]) -> str | None:
    """The violation of a verdict that was just written, if it has to be reviewed and has no review."""
    if not reviewers(stack) or json.loads(head["verdict"]["S"])["outcome"] != "close_match":
        return None
    found = plain(head)
    stored = (f"ACCOUNT#{verification_of(found).ref.key}", f"REVIEW#{found['verification']}") in stack.dynamodb.items
    return None if stored and "review" in head else f"{found['verification']}: a close match without its review"


def wrong_write(stack: SimulatedStack, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[str]:
    """The violations of an item that was just written."""
    pk, sk = after["pk"]["S"], after["sk"]["S"]
    if sk == "VERIFICATION":
        if "review" in after and not reviewers(stack):
            yield f"{pk}: it shows a review, though there are none"
        if before is not None and "final" in before and before["final"] != after.get("final"):
            yield f"{pk}: what a reviewer decided has changed"
    if sk.startswith(("REVIEW#", "NOTE#")) and not reviewers(stack):
        yield f"{pk}: {sk} was written, though there are no reviews"
    if sk.startswith("NOTE#") and before is not None:
        yield f"{pk}: {sk} has changed"
    if not sk.startswith("REVIEW#"):
        return
    new = plain(after)
    old = plain(before) if before is not None else {**new, "version": 1, "decisions": [], "review_state": "open"}
    if old["review_state"] == "closed":
        changed = {name for name in {*old, *new} - UNCHANGED if old.get(name) != new.get(name)}
        if changed:
            yield f"{sk}: it was closed, and has changed: {sorted(changed)}"
        return
    made = new["decisions"][len(old["decisions"]) :]
    if new["decisions"][: len(old["decisions"])] != old["decisions"] or len(made) > 1:
        yield f"{sk}: a decision was replaced"
    if new["version"] != old["version"] + bool(made or new["review_state"] != old["review_state"]):
        yield f"{sk}: version {new['version']} follows {old['version']}"
    if made and "wrapped_key" not in stack.dynamodb.keys.get((pk, ""), {}):
        yield f"{sk}: decided after the account was erased"
    if new["review_state"] != "closed":
        wanted = {"open": "review", "proposed": "review_second"}[new["review_state"]]
        if new.get("open_kind") != wanted or new["open_since_ms"] != new["opened_ms"]:
            yield f"{sk}: its place in the queue has changed"
    else:
        stack.reviews_closed[sk] = stack.scheduler.now
    times = [new["opened_ms"], *(decision["at_ms"] for decision in new["decisions"]), *([new["closed_ms"]] if "closed_ms" in new else [])]
    if times != sorted(times):
        yield f"{sk}: its times are in no order: {times}"


def unrecorded(stack: SimulatedStack, event: Any, answer: Any) -> str | None:
    """The violation of an answer 200 that shows a review, if this version or an earlier one that was asked for has no audit entry."""
    http = event.get("requestContext", {}).get("http", {}) if isinstance(event, dict) else {}
    if not http or not REVIEWING.search(http["path"]) or answer["statusCode"] != 200:
        return None
    shown = json.loads(answer["body"])
    id_ = shown["verification"]
    head = plain(stack.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"])
    opened_by = stack.dynamodb.items[f"ACCOUNT#{verification_of(head).ref.key}", f"REVIEW#{id_}"]["opened_by"]["S"]
    recorded = {int(entry["version"]) for entry in _entries(stack) if entry["verification"] == id_}
    missing = set(range(1 if opened_by == "manual" else 2, shown["version"] + 1)) - recorded
    return f"{id_}: answered, and not recorded before: versions {sorted(missing)}" if missing else None


def check_reviews(stack: SimulatedStack) -> None:
    """Check the reviews at the end of a schedule."""
    entries: dict[str, list[Mapping[str, Any]]] = {}
    for entry in _entries(stack):
        entries.setdefault(entry["verification"], []).append(entry)
    events: dict[str, list[Mapping[str, Any]]] = {}
    for kind, detail in stack.events_bus.announced:
        if kind == "VerificationReviewed":
            events.setdefault(detail["verification"], []).append(detail)
    accounts = {AccountRef(each.id, "test", each.scope.stripe_account).key: each for each in stack.simulator._accounts.everywhere()}
    snapshots = {f"ACCOUNT#{key}": {each.id: each for each in account.snapshots} for key, account in accounts.items()}
    for (pk, sk), item in stack.dynamodb.items.items():
        if sk == "VERIFICATION" and "members" not in item and "verdict" in item:
            stack.complain(missing_review(stack, item))
        if sk.startswith("REVIEW#"):
            id_ = sk.removeprefix("REVIEW#")
            head = plain(stack.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"])
            found = _wrong(stack, plain(item), head, entries.pop(id_, []), events.pop(id_, []), snapshots.get(pk, {}), pk)
            stack.violations += [f"{id_}: {wrong}" for wrong in found]
    stack.violations += [f"{id_}: {len(kept)} entries about a review that it does not have" for id_, kept in entries.items()]
    stack.violations += [f"{id_}: the end of a review was announced that it does not have" for id_ in events]
    for id_, version, decision, by in stack.decided:
        ref = verification_of(plain(stack.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"])).ref
        made = plain(stack.dynamodb.items[f"ACCOUNT#{ref.key}", f"REVIEW#{id_}"])["decisions"]
        if len(made) < version or (made[version - 1]["decision"], made[version - 1]["by"]) != (decision, by):
            stack.violations.append(f"{id_}: a decision was answered 200, and is not stored")


def _wrong(
    stack: SimulatedStack,
    review: Mapping[str, Any],
    head: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    snapshots: Mapping[str, Snapshot],
    pk: str,
) -> Iterator[str]:
    state, resolution, verdict = review["review_state"], review.get("resolution"), json.loads(head["verdict"])
    stack.injected[f"review {resolution or state}"] += 1
    if head.get("review") != state:
        yield f"its review is {state}, and it shows {head.get('review')}"
    if "reviewers_needed" in review and review["reviewers_needed"] not in reviewers_at(stack, review["opened_ms"] / 1000, BLIND_SECONDS):
        yield f"its review was opened for {review['reviewers_needed']} reviewers"
    told = _told(stack, review, verdict)
    if told != (resolution if resolution in ("approved", "rejected") else None):
        yield f"its review is {resolution or state}, and its decisions say {told}"
    wanted, final = _final(verdict["outcome"], state, resolution), reviews.final(verification_of(dict(head)))
    if (final.outcome if final else None) != wanted:
        yield f"its answer is {final}, not {wanted}"
    counted = Counter((int(entry["version"]), entry["action"], entry["actor"]) for entry in entries)
    due = Counter(_due(review))
    if state == "closed" and counted != due:
        yield f"its review is recorded as {sorted(counted.elements())}, not {sorted(due.elements())}"
    if counted - due:
        yield f"its review is recorded too often: {sorted((counted - due).elements())}"
    if state == "closed":
        if len({json.dumps(event, sort_keys=True) for event in events}) != 1 or "open_kind" in review:
            yield f"the end of its review was announced as {events}, and it is listed as {review.get('open_kind')}"
        elif (events[0]["final"] or {}).get("outcome") != wanted or events[0]["resolution"] != resolution:
            yield f"the end of its review was announced as {events[0]}"
        yield from _wrong_ending(stack, review, verdict, snapshots, pk)
    else:
        if events:
            yield "the end of its review was announced, and it has none"
        yield from _overdue(stack, review, head, verdict, snapshots, pk)


def _told(stack: SimulatedStack, review: Mapping[str, Any], verdict: Mapping[str, Any]) -> str | None:
    """What the decisions say: two people approve where two are needed, one rejects, and a proposal may be withdrawn.

    A review needs as many as when it was opened, and more if more are needed by now.
    """
    proposer: str | None = None
    for number, made in enumerate(review["decisions"], start=1):
        needed = {
            2 if verdict["outcome"] == "no_match" else max(found, review.get("reviewers_needed", 1))
            for found in reviewers_at(stack, made["at_ms"] / 1000)
        }
        closed = number == len(review["decisions"]) and review.get("resolution") == "approved"
        if made["decision"] == "withdraw":
            if made["by"] != proposer:
                return "withdrawn by another reviewer"
            proposer = None
        elif made["decision"] == "reject":
            return "rejected"
        elif proposer == made["by"]:
            return "confirmed by its proposer"
        elif proposer is not None or (closed and 1 in needed) or 2 not in needed:
            return "approved"
        else:
            proposer = made["by"]
    return None


def _final(outcome: str, state: str, resolution: str | None) -> str | None:
    if state != "closed":
        return None
    if resolution == "expired":
        return outcome if outcome in ("match", "no_match") else None
    return {"approved": "match", "rejected": "no_match"}[resolution or ""]


def _due(review: Mapping[str, Any]) -> Iterator[tuple[int, str, str]]:
    """The entries that a review has to have when it is closed: for each version who made it."""
    if review["opened_by"] == "manual":
        yield 1, "review.opened", review["opened_actor"]
    for version, made in enumerate(review["decisions"], start=2):
        yield version, "review.decided", made["by"]
    if review.get("resolution") == "expired":
        yield len(review["decisions"]) + 2, "review.expired", review["closed_actor"]


def _wrong_ending(
    stack: SimulatedStack, review: Mapping[str, Any], verdict: Mapping[str, Any], snapshots: Mapping[str, Snapshot], pk: str
) -> Iterator[str]:
    """Whether a review that ended without a decision had reason to."""
    reason, opened, closed = review.get("closed_reason"), review["opened_ms"] / 1000, review["closed_ms"] / 1000
    if (reason is not None) != (review["resolution"] == "expired"):
        yield f"its review is {review['resolution']} because of {reason}"
    if reason is None:
        return
    stack.injected[f"review ended: {reason}"] += 1
    if reason == "NOT_IN_TIME":
        if closed - opened < expiry(stack) - 2:
            yield f"its review ended as not in time after {closed - opened:.0f} s"
    elif reason == "CLAIM_ERASED":
        if stack.lost_claims.get(review["verification"], math.inf) > closed + 2:
            yield "its review ended because its claim was erased, and it was not"
    elif reason in ("ACCOUNT_INACTIVE", "ACCOUNT_DISCONNECTED"):
        wanted = {"ACCOUNT_INACTIVE": {"inactive"}, "ACCOUNT_DISCONNECTED": {"disconnected", "erased"}}[reason]
        had = _statuses(stack, pk, opened - BLIND_SECONDS, stack.reviews_closed[f"REVIEW#{review['verification']}"])
        if not wanted & had:
            yield f"its review ended because of {reason}, and its account was {', '.join(sorted(had))}"
    elif reason == "OWNERS_CHANGED":
        seen = snapshots[verdict["snapshot"]]
        if not any(_names(each) != _names(seen) for each in snapshots.values() if seen.created <= each.created <= closed + 7):
            yield "its review ended because the owners changed, and they did not"
    elif reason == "OWNERS_ERASED":
        kept = stack.dynamodb.items.get((pk, f"SNAPSHOT#{verdict['snapshot']}"))
        if kept is not None and int(kept["expires_at"]["N"]) > closed + 2:
            yield "its review ended because the owners were erased, and they were not"
    else:
        yield f"its review ended because of {reason}"


def _statuses(stack: SimulatedStack, pk: str, begin: float, end: float) -> set[str]:
    """The statuses that an account was stored with between two times."""
    known = stack.statuses.get(pk, [])
    at_begin = [status for at, status in known if at <= begin][-1:]
    return {*at_begin, *(status for at, status in known if begin < at <= end)}


def _names(snapshot: Snapshot) -> list[str]:
    return sorted((owner.get("name") or "").casefold() for owner in snapshot.owners)


def _overdue(
    stack: SimulatedStack,
    review: Mapping[str, Any],
    head: Mapping[str, Any],
    verdict: Mapping[str, Any],
    snapshots: Mapping[str, Snapshot],
    pk: str,
) -> Iterator[str]:
    """Why a review should have ended that has not."""
    account = plain(stack.dynamodb.items[pk, "ACCOUNT"])
    if "stale" in head or account.get("status") != "active":
        yield f"its review is open, and its account {account.get('status')}"
    if (stack.scheduler.now - review["opened_ms"] / 1000) > expiry(stack) + LATE_SECONDS:
        yield "its review is open after its time"
    if head["verification"] in stack.lost_claims and stack.scheduler.now - stack.lost_claims[head["verification"]] > LATE_SECONDS:
        yield "its review is open, and its claim gone"
    newest, seen = snapshots.get(account.get("snapshot", "")), snapshots[verdict["snapshot"]]
    if newest is not None and _names(newest) != _names(seen):
        yield f"its review is open, and the owners changed from {_names(seen)} to {_names(newest)}"


def _entries(stack: SimulatedStack) -> Iterator[Mapping[str, Any]]:
    for (pk, _), item in stack.dynamodb.items.items():
        if pk.startswith("AUDIT#") and item["action"]["S"] in ("review.opened", "review.decided", "review.expired"):
            yield plain(item)
