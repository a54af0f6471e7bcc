"""The queue of reviews that wait for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from titleholder.domain.accounts import Tenant
from titleholder.store.review_queue import KINDS, Position, QueueEntry, ReviewQueue, Waiting

if TYPE_CHECKING:
    from titleholder.domain.reviews import Review
    from titleholder.domain.verifications import Verification
    from titleholder.store import Store

LARGEST_PAGE = 50
"""A page's reviews and their verifications are read in one call, which reads 100 items at most."""

MOST_LOOKED_AT = 1000
"""How many reviews of all tenants are looked through to fill a page. After that the page is shorter."""

COUNTED = 100
"""Up to how many waiting reviews are counted."""


MOST_IN_BACKLOG = 10_000
"""Up to how many waiting reviews of a kind are counted for the metric. Counting that many reads 2 MB."""


@dataclass(frozen=True, slots=True)
class QueueQuery:
    """Which reviews: those that need a first decision (`open`) or a second one (`proposed`).

    `reason`: only those whose verdict has it. `batch`: only those of the batch.
    """

    state: Waiting = "open"
    reason: str | None = None
    batch: str | None = None
    limit: int = LARGEST_PAGE

    @property
    def filters(self) -> bool:
        return self.reason is not None or self.batch is not None

    def wants(self, review: Review, verification: Verification) -> bool:
        """Whether the query asks for this review. The index may still list a review that was decided since."""
        reasons = (verification.verdict or {}).get("reasons", ())
        return (
            review.state == self.state
            and (self.reason is None or self.reason in reasons)
            and (self.batch is None or self.batch == verification.batch)
        )


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Reviews with their verifications, the longest waiting first.

    `waiting`: how many of the tenant's reviews are in that state, without filters. `more_wait`: there are or may be more than that.
    `following`: where the next page begins; None on the last one.
    """

    found: Sequence[tuple[Review, Verification]]
    waiting: int
    more_wait: bool
    following: Position | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """The reviews that wait in a stack: how many, and the age of the oldest in seconds (0 if none waits)."""

    waiting: int
    oldest_seconds: float


def backlog(store: Store, now: float) -> Backlog:
    """The reviews of all tenants that wait for a first or a second reviewer."""
    work = store.open_work
    oldest = [item.since for kind in KINDS.values() for item in work.list_behind(kind, None, 1)[0]]
    waiting = sum(work.count(kind, MOST_IN_BACKLOG) for kind in KINDS.values()) if oldest else 0
    return Backlog(waiting, max(0.0, now - min(oldest, default=now)))


def page(store: Store, tenant: Tenant, query: QueueQuery, begin: Position) -> QueuePage:
    """A tenant's reviews from `begin` on.

    Takes three calls of DynamoDB if no reviews of other tenants lie between the tenant's own in the index. Otherwise the listing and the
    counting take one more call each. A filter adds at most one call for each 50 reviews that are looked through.
    """
    queue = store.review_queue
    wanted = MOST_LOOKED_AT if query.filters else query.limit + 1
    entries, following = queue.entries(query.state, tenant, begin, wanted, MOST_LOOKED_AT)
    found: list[tuple[Review, Verification]] = []
    last = None
    for entry, pair in _loaded(queue, entries if query.filters else entries[: query.limit]):
        last = entry
        if pair is not None and query.wants(*pair):
            found.append(pair)
        if len(found) == query.limit:
            break
    counted, more = queue.count(query.state, tenant, COUNTED + 1, MOST_LOOKED_AT)
    if last is not None and last is not entries[-1]:
        following = last.position
    return QueuePage(found, min(counted, COUNTED), more or counted > COUNTED, following)


def _loaded(queue: ReviewQueue, entries: Sequence[QueueEntry]) -> Iterator[tuple[QueueEntry, tuple[Review, Verification] | None]]:
    """Each entry with its review and verification, None if these are not stored. Reads only as far as the caller iterates."""
    for start in range(0, len(entries), LARGEST_PAGE):
        some = entries[start : start + LARGEST_PAGE]
        loaded = queue.load(some)
        yield from ((entry, loaded.get(entry.verification)) for entry in some)
