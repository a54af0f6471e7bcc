"""The timeline of a verification: what happened to it and when, in ids and codes, without personal data.

Most steps are derived from what is stored anyway: the verification, its review, its snapshot, the history of the account. The others are
recorded when they happen, in at most two small writes for an ordinary verification. A crash may lose or repeat a recorded step, so no
decision depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titleholder.domain.refresh_policy import INACTIVE
from titleholder.domain.snapshots import SnapshotSummary, SnapshotTimes, since
from titleholder.domain.verifications import Step, Verification
from titleholder.timestamps import from_iso

if TYPE_CHECKING:
    from titleholder.domain.reviews import Review

KINDS = (
    "requested", "refresh_started", "refresh_joined", "cooldown_began", "cooldown_over", "repair_wait_began", "repair_wait_over", "trouble",
    "webhook", "owners_fetched", "woken", "cancelled", "batch_stopped", "verdict", "review_opened", "proposed", "withdrawn", "decided",
    "expired", "stale", "stale_lifted", "owners_changed", "newer_owners",
)  # fmt: skip
"""All kinds of steps. Steps of the same millisecond are shown in this order."""

REPORTING = frozenset(
    ("refreshed_ownership", "ownership_refresh_succeeded", "ownership_refresh_failed", "deactivated", "reactivated", "disconnected")
)
"""The last parts of the types of events that report what a verification waits for."""

SHOWN_AT_EACH_END = 50
"""How many steps are shown from the beginning and from the end of a longer timeline."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A verification's steps, in order of time. `left_out`: how many steps in the middle of a long timeline are left out.

    `recorded` False: steps may be missing, because an earlier release handled a part of the verification and recorded none, or because they
    have expired.
    """

    verification: Verification
    review: Review | None
    recorded: bool
    steps: Sequence[Step]
    left_out: int = 0


def build(
    verification: Verification,
    review: Review | None,
    stored: Iterable[Step],
    snapshot: SnapshotTimes | None,
    history: Sequence[SnapshotSummary] = (),
    *,
    recorded: bool,
    now: float,
) -> Timeline:
    """The timeline as of `now` (Unix seconds).

    `stored`: the steps that were recorded. `snapshot`: the one on which the verdict rests; None if it is not stored any more.
    `history`: the account's snapshots, the newest first. `recorded`: whether the verification's steps were recorded from the beginning, and
    none has expired.
    """
    steps = [
        *_of_head(verification),
        *_of_stored(verification, stored, now),
        *_of_owners(snapshot, history),
        *(() if review is None else _of_review(review)),
    ]
    steps.sort(key=_position)
    left_out = max(0, len(steps) - 2 * SHOWN_AT_EACH_END)
    if left_out:
        steps = steps[:SHOWN_AT_EACH_END] + steps[-SHOWN_AT_EACH_END:]
    return Timeline(verification, review, recorded, steps, left_out)


def _of_head(verification: Verification) -> Iterator[Step]:
    """The steps that the verification itself shows."""
    batch = {} if verification.batch is None else {"batch": verification.batch}
    yield Step(verification.requested_at, "requested", {"deadline": verification.deadline, **batch})
    verdict, ended_at = verification.verdict, verification.completed_at
    if verdict is not None and ended_at is not None:
        if verdict["reasons"] == ["CANCELLED"]:
            yield Step(ended_at, "cancelled")
        elif verdict["reasons"] == ["BATCH_STOPPED"]:
            yield Step(ended_at, "batch_stopped", batch)
        yield Step(ended_at, "verdict", {name: verdict.get(name) for name in ("outcome", "score", "reasons", "snapshot")})
    stale_at, lifted_at = verification.stale_at, verification.stale_lifted_at
    if stale_at is not None and (verification.stale is not None or stale_at <= (lifted_at or 0)):
        # A lifted mark keeps its time. Only marks of inactive accounts are lifted.
        yield Step(stale_at, "stale", {"reason": verification.stale or INACTIVE})
    if lifted_at is not None:
        yield Step(lifted_at, "stale_lifted")


def _of_stored(verification: Verification, stored: Iterable[Step], now: float) -> Iterator[Step]:
    """The recorded steps, with those that they imply: the end of a cooldown, and the event that reported an answer."""
    ended_at = now if verification.completed_at is None else verification.completed_at
    # Since when an event can report the answer: by this stack's clock, and by Stripe's.
    since, attempted_at = verification.requested_at, -math.inf
    for step in sorted(stored, key=_position):
        about = dict(step.about)
        if step.kind in ("refresh_started", "refresh_joined"):
            attempted_at = about.get("attempted_at", attempted_at)
            since = step.at if step.kind == "refresh_started" else since
        if "event_created" in about:
            about["event_created"] = _time(about["event_created"])
        if "received_at" in about and not _reports(about, since, attempted_at):
            # An earlier event, or one about something else, was processed only now, and the reading for it found the answer.
            about = {name: value for name, value in about.items() if name not in ("event_type", "event_created", "received_at")}
            about["by"] = "reading"
        if "received_at" in about:
            webhook = {
                "event": about.get("event"),
                "event_type": about.pop("event_type", None),
                "event_created": about.pop("event_created", None),
            }
            yield Step(about.pop("received_at"), "webhook", webhook)
        yield Step(step.at, step.kind, about)
        if step.kind == "cooldown_began" and about["resume_at"] <= ended_at:
            yield Step(about["resume_at"], "cooldown_over")


def _reports(about: Mapping[str, Any], since: float, attempted_at: float) -> bool:
    """Whether an event reported what the workflow waited for, and was not only processed at that time.

    `since`: from when the workflow waited (our clock). `attempted_at`: of the refresh for which it waited (Stripe's clock).
    """
    created = about.get("event_created")
    named = str(about.get("event_type")).rpartition(".")[2] in REPORTING
    return named and about["received_at"] >= since and (created is None or created >= attempted_at)


def _position(step: Step) -> tuple[float, int]:
    return round(step.at, 3), KINDS.index(step.kind) if step.kind in KINDS else len(KINDS)


def _of_owners(snapshot: SnapshotTimes | None, history: Sequence[SnapshotSummary]) -> Iterator[Step]:
    """When the verdict's owners were stored, and what the bank has changed since, even if its newest answer repeats the one before."""
    if snapshot is None:
        return
    yield Step(snapshot.stored_at, "owners_fetched", {"snapshot": snapshot.id, "attempted_at": snapshot.attempted_at})
    if not history or (history[0].attempted_at, history[0].created) < (snapshot.attempted_at, snapshot.created):
        return
    found = since(history, snapshot.id)
    # It may be unknown what has changed, or since when, for example because a snapshot in between has expired.
    unknown = {each.id for each in found.newer if each.changes is None}
    unknown |= set() if found.whole else {found.newer[-1].id}
    unknown |= {found.newer[0].id} if found.newer and any(each.changes != [] for each in found.aside) else set()
    for newer in found.newer:
        about = {"snapshot": newer.id, "attempted_at": newer.attempted_at}
        if newer.changes:
            yield Step(newer.stored_at, "owners_changed", {**about, "changes": [change["kind"] for change in newer.changes]})
        if newer.id in unknown:
            yield Step(newer.stored_at, "newer_owners", about)


def _of_review(review: Review) -> Iterator[Step]:
    yield Step(review.opened_at, "review_opened", {"by": review.opened_by})
    decided = review.resolution in ("approved", "rejected")
    for number, decision in enumerate(review.decisions, 1):
        about = {"by": decision.by, "decision": decision.decision, "reason": decision.reason}
        if decision.decision == "withdraw":
            yield Step(decision.at, "withdrawn", {"by": decision.by})
        elif decided and number == len(review.decisions):
            yield Step(decision.at, "decided", {**about, "resolution": review.resolution})
        else:
            yield Step(decision.at, "proposed", about)
    if review.resolution == "expired" and review.closed_at is not None:
        yield Step(review.closed_at, "expired", {"reason": review.closed_reason})


def _time(text: str | None) -> float | None:
    """Unix seconds of Stripe's text for an event's time; None if it can't be read."""
    if not text:
        return None
    try:
        return float(text) if text.isdigit() else from_iso(text)
    except ValueError:
        return None
