"""Reviews of verifications, and the notes of reviewers.

Rows, both under ACCOUNT#<ref>: a review, REVIEW#<verification id>; the note (encrypted) of the decision that made a version of a review,
NOTE#<verification id>#<version>.

A verification shows the state of its review, written in the same transactions, so that reading a verification needs no second read.
Everything is written as an update, because the functions that open and decide reviews may not put items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from titleholder.domain.accounts import AccountRef
from titleholder.domain.reviews import Review, ReviewDecision
from titleholder.domain.sensitive import Sensitive
from titleholder.errors import AccountErasedError, ReviewNotFoundError
from titleholder.store.claims import claim_sk
from titleholder.store.open_work import CLOSED, OpenKind, opened
from titleholder.store.sealed import SealedItems
from titleholder.store.snapshots import snapshot_sk
from titleholder.store.table import CheckFailedError, Item, Table, account_pk
from titleholder.timestamps import from_milliseconds, to_milliseconds

if TYPE_CHECKING:
    from titleholder.domain.verifications import Verification
    from titleholder.store.verifications import Verifications

REVIEW = "REVIEW#"
NOTE = "NOTE#"
_EXISTS = "attribute_exists(pk)"
_OPEN_KINDS: dict[str, OpenKind] = {"open": "review", "proposed": "review_second"}


@dataclass(frozen=True, slots=True)
class Compared:
    """Which data that a review compares is still kept: the account's wrapped key, None if it was erased; until when the claim is kept (Unix
    seconds), None if it is not kept any more; and whether the owners are kept.
    """

    wrapped: bytes | None = field(repr=False)
    claim_expires_at: int | None
    owners_kept: bool


class Reviews:
    """`verifications`: their items show the state of their reviews."""

    def __init__(self, table: Table, sealed: SealedItems, verifications: Callable[[], Verifications]) -> None:
        self._table = table
        self._sealed = sealed
        self._verifications = verifications

    def get(self, ref: AccountRef, verification: str) -> Review:
        """Raises ReviewNotFoundError."""
        return _required(self._table.get(account_pk(ref), review_sk(verification)))

    def get_for_decision(self, verification: Verification) -> tuple[Review, Compared]:
        """A review, with which of the data that it compares is still kept. Raises ReviewNotFoundError."""
        review, compared = self._get_compared(verification)
        return _required(review), compared

    def get_compared(self, verification: Verification) -> Compared:
        """Which of the data that a review of a verdict would compare is still kept."""
        return self._get_compared(verification)[1]

    def _get_compared(self, verification: Verification) -> tuple[Item | None, Compared]:
        review, claim = review_sk(verification.id), claim_sk(verification.id)
        owners = snapshot_sk((verification.verdict or {}).get("snapshot") or "")
        wrapped, items = self._sealed.live_key_and_items(verification.ref, [review, claim, owners])
        expires_at = int(items[claim]["expires_at"]) if claim in items else None
        return items.get(review), Compared(wrapped, expires_at, owners in items)

    def of_account(self, ref: AccountRef) -> Iterator[Review]:
        """The reviews of an account that are not closed."""
        for item in self._table.query(account_pk(ref), REVIEW):
            if item["review_state"] != "closed":
                yield review_of(item)

    def open(self, review: Review) -> bool:
        """Store a new review of a verification that has its verdict; False if it has a review. Raises AccountErasedError."""
        shown = self._verifications().review_part(review, first=True)
        return self._transact(review.ref, [opening_part(self._table, review), shown])

    def decide(self, before: Review, after: Review, wrapped: bytes, note: Sensitive[str] | None, note_expires_at: int) -> bool:
        """Store a decision about the review `before`, with its note; False if the stored review is no longer `before`.

        Raises AccountErasedError: the account was erased, and nothing was written.
        """
        parts = [self._change_part(before, after), self._verifications().review_part(after)]
        if note is not None:
            sk = note_sk(after.verification, after.version)
            sealed = self._sealed.encrypt(after.ref, wrapped, sk, note.reveal())
            set_ = {"note": sealed, "expires_at": note_expires_at}
            parts.append(self._table.update_part(account_pk(after.ref), sk, set_=set_, condition="attribute_not_exists(pk)"))
        return self._transact(after.ref, parts)

    def expire(self, before: Review, after: Review) -> bool:
        """Store that a review ended without a decision; False if the stored one is not `before` any more."""
        return self._table.transact([self._change_part(before, after), self._verifications().review_part(after)])

    def seen(self, review: Review, by: str, now: float) -> bool:
        """Store which reviewer last saw the comparison. Others are shown only when that was, and whether it was themselves."""
        set_ = {"seen_by": by, "seen_ms": to_milliseconds(now)}
        return self._table.update(account_pk(review.ref), review_sk(review.verification), set_=set_, condition=_EXISTS)

    def mark_finished(self, review: Review) -> bool:
        """Store that the end of a review was recorded and announced."""
        return self._table.update(
            account_pk(review.ref), review_sk(review.verification), remove=CLOSED, condition="open_kind = :kind",
            values={":kind": "review_end"},
        )  # fmt: skip

    def notes(self, review: Review) -> dict[int, Sensitive[str]]:
        """The notes of a review's decisions, by the version that each made. Raises AccountErasedError."""
        versions = {note_sk(review.verification, n): n for n, made in enumerate(review.decisions, start=2) if made.noted}
        if not versions:
            return {}
        return {versions[sk]: note for sk, (_, note) in self._sealed.decrypt(review.ref, dict.fromkeys(versions, "note")).items()}

    def _transact(self, ref: AccountRef, parts: list[Item]) -> bool:
        """Write parts if the account's key still exists, so that nothing is decided after an erasure has begun."""
        try:
            return self._table.transact([self._sealed.key_check(ref), *parts])
        except CheckFailedError:
            raise AccountErasedError from None

    def _change_part(self, before: Review, after: Review) -> Item:
        condition, values = "version = :before AND review_state = :state", {":before": before.version, ":state": before.state}
        return self._table.update_part(
            account_pk(after.ref), review_sk(after.verification), set_=_changed(after), condition=condition, values=values
        )  # fmt: skip


def opening_part(table: Table, review: Review) -> Item:
    """The part of a transaction that stores a new review."""
    set_ = {
        **review.ref.as_dict(),
        "verification": review.verification,
        "opened_ms": to_milliseconds(review.opened_at),
        "opened_by": review.opened_by,
        **_some(opened_actor=review.opened_actor, opened_request=review.opened_request),
        "reviewers_needed": review.reviewers_needed,
        **_changed(review),
        # This is the review's place in the queue, so no change touches it before the review is closed.
        "open_since_ms": to_milliseconds(review.opened_at),
    }
    return table.update_part(account_pk(review.ref), review_sk(review.verification), set_=set_, condition="attribute_not_exists(pk)")


def review_of(item: Item) -> Review:
    """A review as stored in an item."""
    return Review(
        ref=AccountRef.from_dict(item),
        verification=item["verification"],
        state=item["review_state"],
        version=item["version"],
        opened_at=from_milliseconds(item["opened_ms"]),
        opened_by=item["opened_by"],
        decisions=tuple(_decision(made) for made in item["decisions"]),
        seen_by=item.get("seen_by"),
        seen_at=from_milliseconds(item["seen_ms"]) if "seen_ms" in item else None,
        closed_at=from_milliseconds(item["closed_ms"]) if "closed_ms" in item else None,
        resolution=item.get("resolution"),
        closed_reason=item.get("closed_reason"),
        unfinished=item.get("open_kind") == "review_end",
        opened_actor=item.get("opened_actor", ""),
        opened_request=item.get("opened_request", ""),
        closed_actor=item.get("closed_actor", ""),
        closed_request=item.get("closed_request", ""),
        reviewers_needed=item.get("reviewers_needed", 1),
        recorded=item.get("recorded", 0),
    )


def review_sk(verification: str) -> str:
    return f"{REVIEW}{verification}"


def note_sk(verification: str, version: int) -> str:
    return f"{NOTE}{verification}#{version}"


def _required(item: Item | None) -> Review:
    if item is None:
        raise ReviewNotFoundError
    return review_of(item)


def _changed(review: Review) -> Item:
    """The attributes that a new version of a review may change."""
    changed: Item = {
        "review_state": review.state,
        "version": review.version,
        "decisions": [_decision_item(made) for made in review.decisions],
        **_some(recorded=review.recorded),
    }
    if review.closed_at is None:
        return {**changed, "open_kind": _OPEN_KINDS[review.state]}
    ended = _some(
        resolution=review.resolution, closed_reason=review.closed_reason, closed_actor=review.closed_actor,
        closed_request=review.closed_request,
    )  # fmt: skip
    return {**changed, **ended, "closed_ms": to_milliseconds(review.closed_at), **opened("review_end", review.closed_at)}


def _decision_item(made: ReviewDecision) -> Item:
    said = _some(reason=made.reason, reference=made.reference, request=made.request)
    return {"by": made.by, "at_ms": to_milliseconds(made.at), "decision": made.decision, "noted": made.noted, **said}


def _decision(item: Item) -> ReviewDecision:
    return ReviewDecision(
        by=item["by"],
        at=from_milliseconds(item["at_ms"]),
        decision=item["decision"],
        reason=item.get("reason"),
        reference=item.get("reference"),
        noted=item["noted"],
        request=item.get("request", ""),
    )


def _some(**attributes: Any) -> Item:
    """The attributes that have a value."""
    return {name: value for name, value in attributes.items() if value}
