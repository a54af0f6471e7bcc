"""Ends open reviews without a decision: for a change of the account or its owners, for erased data, or when their time is over.

The use case that finds the reason ends the account's reviews at once. `reconcile` looks at the open reviews in turn, and ends those that
were missed: one that was opened at the same moment, or one whose end could not be written.

A review that can't be ended is logged and left to `reconcile`, so that it holds up neither the erasure of its account nor other reviews.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from titleholder.domain import owner_changes
from titleholder.domain.accounts import AccountRef, StoredAccount
from titleholder.domain.snapshots import HISTORY_LOOKED_AT
from titleholder.errors import TitleholderError, UnexpectedError, VerificationNotFoundError
from titleholder.observability import logger
from titleholder.services import reviews
from titleholder.services.audit import RECONCILE, STRIPE, By
from titleholder.timestamps import DAY_SECONDS

if TYPE_CHECKING:
    from titleholder.domain.reviews import ClosedReason, Review
    from titleholder.domain.snapshots import SnapshotSummary
    from titleholder.domain.verifications import Verification
    from titleholder.services.context import Dependencies
    from titleholder.store import Store
    from titleholder.store.open_work import OpenItem, OpenKind

KINDS: Sequence[OpenKind] = ("review", "review_second")

PAGE = 100
"""How many of the oldest open reviews of each kind a run of `reconcile` looks at."""

MOST_AT_ONCE = 20
"""How many reviews of an account are ended or finished by the use case that found the reason. The others are left to `reconcile`, because
the use case's caller would have to wait for each of them."""

PAGES_A_RUN = 4
"""How many pages of the other open reviews it looks at. The next run continues where this one ended."""

EXPIRY_SECONDS = 30 * DAY_SECONDS

_UNREADABLE = (KeyError, TypeError, ValueError, VerificationNotFoundError)
"""Exceptions that show that the stored data of a review can't be read."""


def end(store: Store, ref: AccountRef, verification: str, reason: ClosedReason, now: float, by: By | None = None) -> list[Review]:
    """End the open review of a verification. Returns it; an empty list if it has ended meanwhile or could not be ended."""
    try:
        return reviews.expire(store, ref, reason, now, verification, by or STRIPE)
    except Exception as error:
        _left_to_reconcile(ref, verification, error)
        return []


def _end(store: Store, review: Review, reason: ClosedReason, now: float) -> list[Review]:
    """As `end`, for a review that was just read."""
    try:
        return [ended for ended in [reviews.end(store, review, reason, now, STRIPE)] if ended is not None]
    except Exception as error:
        _left_to_reconcile(review.ref, review.verification, error)
        return []


def end_for_owners(store: Store, ref: AccountRef, now: float) -> list[Review]:
    """End open reviews that compare claims with owners that the account no longer has, `MOST_AT_ONCE` at most. Returns them."""
    ended: list[Review] = []
    history: Sequence[SnapshotSummary] | None = None
    try:
        for review in islice(store.reviews.of_account(ref), MOST_AT_ONCE):
            history = store.snapshots.page(ref, HISTORY_LOOKED_AT)[0] if history is None else history
            snapshot = _snapshot(store.verifications.get(review.verification))
            kept = any(known.id == snapshot for known in history) or store.snapshots.times(ref, snapshot) is not None
            if reason := _reason_of_owners(kept=kept, changed=owner_changes.have_changed(history, snapshot)):
                ended += _end(store, review, reason, now)
    except _UNREADABLE as error:
        _left_to_reconcile(ref, None, error)
    return ended


def finish(deps: Dependencies, ended: Sequence[Review]) -> None:
    """Record and announce reviews that have just ended, `MOST_AT_ONCE` at most. The others and failures are left to `reconcile`."""
    for review in ended[:MOST_AT_ONCE]:
        try:
            reviews.finish(deps, review)
        except Exception as error:
            _left_to_reconcile(review.ref, review.verification, error)


def end_overdue(deps: Dependencies, until: float, expiry_seconds: float, failed: Callable[[OpenItem, Exception], None]) -> int:
    """End the open reviews that should have ended, until the time `until` (Unix seconds). Returns how many. A failure stops no other.

    The reviews are listed in the order of the reviewers' queue, so they are not moved within it. A stored position says where the next run
    continues.
    """
    ended = 0
    for left, kind in zip(range(len(KINDS), 0, -1), KINDS, strict=True):
        # A share of the time for each kind. Time that one kind leaves goes to the next.
        end = deps.clock() + (until - deps.clock()) / left
        ended += _end_overdue(deps, kind, end, expiry_seconds, failed)
    return ended


def _end_overdue(
    deps: Dependencies, kind: OpenKind, until: float, expiry_seconds: float, failed: Callable[[OpenItem, Exception], None]
) -> int:
    ended = 0
    for items in _in_turn(deps.store, kind):
        for item, ref, reason in _due(deps.store, items, deps.clock() - expiry_seconds, failed):
            if deps.clock() >= until:
                return ended
            try:
                closed = reviews.expire(deps.store, ref, reason, deps.clock(), item.verification, RECONCILE)
                ended += len(closed)
                finish(deps, closed)
            except Exception as error:
                failed(item, error)
        if deps.clock() >= until:
            return ended
    return ended


def _in_turn(store: Store, kind: OpenKind) -> Iterator[list[OpenItem]]:
    """The open reviews of a kind that are looked at now: the oldest ones, and if there are more, a part of the others."""
    work = store.open_work
    oldest, behind = work.list_behind(kind, None, PAGE)
    yield oldest
    position = None if behind is None else work.get_cursor(kind) or behind
    for _ in range(PAGES_A_RUN):
        if position is None:
            return
        items, position = work.list_behind(kind, position, PAGE)
        # Stored before the work, so that the next run begins with others if this one crashes.
        work.set_cursor(kind, position)
        yield items


def _due(
    store: Store, items: Sequence[OpenItem], opened_before: float, failed: Callable[[OpenItem, Exception], None]
) -> Iterator[tuple[OpenItem, AccountRef, ClosedReason]]:
    """The open reviews among `items` that have to end, each with its account and the reason. Their data are read together."""
    if not items:
        return
    try:
        reviewed = [(item, *_named(item)) for item in items]
        heads = store.verifications.get_all([verification for *_, verification in reviewed])
        claims = store.claims.kept([(ref, verification) for _, ref, verification in reviewed])
        accounts = store.accounts.get_all([ref for _, ref, _ in reviewed])
        owners = store.snapshots.kept([(ref, _snapshot(heads[verification])) for _, ref, verification in reviewed])
        for item, ref, verification in reviewed:
            account, head = accounts.get(ref, StoredAccount()), heads[verification]
            kept = (ref, _snapshot(head)) in owners
            of_owners = _reason_of_owners(kept=kept, changed=kept and reviews.have_owners_changed(store, head, account))
            if reason := _reason(account, kept=verification in claims, owners=of_owners, late=item.since < opened_before):
                yield item, ref, reason
    except _UNREADABLE as error:
        if len(items) == 1:
            failed(items[0], error)
            return
        for item in items:
            yield from _due(store, [item], opened_before, failed)


def _reason_of_owners(*, kept: bool, changed: bool) -> ClosedReason | None:
    """`OWNERS_ERASED` comes first, because without the verdict's owners it is unknown whether they have changed."""
    if not kept:
        return "OWNERS_ERASED"
    return "OWNERS_CHANGED" if changed else None


def _reason(account: StoredAccount, *, kept: bool, owners: ClosedReason | None, late: bool) -> ClosedReason | None:
    status = account.state.status if account.state is not None else None
    if account.erased_at is not None or status == "disconnected":
        # Its claims are deleted too.
        return "ACCOUNT_DISCONNECTED"
    if status == "inactive":
        return "ACCOUNT_INACTIVE"
    if not kept:
        return "CLAIM_ERASED"
    return owners or ("NOT_IN_TIME" if late else None)


def _named(item: OpenItem) -> tuple[AccountRef, str]:
    if item.ref is None or item.verification is None:
        raise ValueError("The item names no account or no verification.")
    return item.ref, item.verification


def _snapshot(head: Verification) -> str:
    return (head.verdict or {}).get("snapshot") or ""


def _left_to_reconcile(ref: AccountRef, verification: str | None, error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}" if isinstance(error, TitleholderError) else str(UnexpectedError.of(error))
    logger.warning("review left to reconcile", extra={"account": ref.account, "verification": verification, "reason": reason})
