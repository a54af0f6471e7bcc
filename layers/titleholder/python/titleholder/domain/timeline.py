"""The timeline of a verification: what happened to it and when, in ids and codes, without personal data.

Most steps are made from what is stored anyway: the verification, its review, its snapshot, the history of the account. The others are
recorded when they happen, in at most two small writes for an ordinary verification. A crash may lose or repeat a recorded step, so nothing
is decided by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from titleholder.domain.refresh_policy import INACTIVE
from titleholder.domain.snapshots import SnapshotSummary, SnapshotTimes
from titleholder.domain.verifications import Step, Verification
from titleholder.timestamps import from_iso

if TYPE_CHECKING:
    from titleholder.domain.reviews import Review

KINDS = (
    "requested", "refresh_started", "refresh_joined", "cooldown_began", "cooldown_over", "repair_wait_began", "repair_wait_over", "trouble",
    "webhook", "owners_fetched", "woken", "cancelled", "batch_stopped", "verdict", "review_opened", "proposed", "withdrawn", "decided",
    "expired", "stale", "stale_lifted", "owners_changed", "newer_owners",
)  # fmt: skip
"""All kinds of steps, in the order in which those of the same millisecond happened."""

SHOWN_AT_EACH_END = 50
"""How many steps are shown from the beginning and from the end of a longer timeline."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A verification's steps, in order of time. `left_out`: how many steps in the middle of a long timeline are not among them.

    `recorded` False: an earlier release handled a part of it and recorded no steps, or they have expired. Then steps may be missing.
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
    newest: SnapshotSummary | None,
    *,
    recorded: bool,
    now: float,
) -> Timeline:
    """The timeline as of `now` (Unix seconds).

    `stored`: the steps that were recorded. `snapshot`: the one on which the verdict rests, `newest`: the account's newest one; None where
    it is not stored any more. `recorded`: whether the verification's steps were recorded from the beginning, and none has expired.
    """
    steps = [
        *_of_head(verification),
        *_of_stored(verification, stored, now),
        *_of_owners(verification, snapshot, newest),
        *(() if review is None else _of_review(review)),
    ]
    steps.sort(key=lambda step: (round(step.at, 3), KINDS.index(step.kind) if step.kind in KINDS else len(KINDS)))
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
    """The recorded steps, with those that they imply: the end of a cooldown, and the webhook that brought an answer."""
    ended_at = now if verification.completed_at is None else verification.completed_at
    for step in stored:
        about = dict(step.about)
        if "event_created" in about:
            about["event_created"] = _time(about["event_created"])
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


def _of_owners(verification: Verification, snapshot: SnapshotTimes | None, newest: SnapshotSummary | None) -> Iterator[Step]:
    """When the owners were stored on which the verdict rests, and whether the account has newer ones."""
    if snapshot is None:
        return
    yield Step(snapshot.stored_at, "owners_fetched", {"snapshot": snapshot.id, "attempted_at": snapshot.attempted_at})
    if newest is None or newest.id == snapshot.id or (newest.attempted_at, newest.created) < (snapshot.attempted_at, snapshot.created):
        return
    about = {"snapshot": newest.id, "attempted_at": newest.attempted_at}
    if newest.changes is None:
        # Whether they differ is not known, for example because the snapshot before had expired.
        yield Step(newest.stored_at, "newer_owners", about)
    elif newest.changes:
        yield Step(newest.stored_at, "owners_changed", {**about, "changes": [change["kind"] for change in newest.changes]})


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
