"""Finds and repairs what was lost or interrupted: announcements, erasures, verifications, refreshes, events that did not arrive.

A failed repair stops no other. Each item is repaired separately; one that fails is logged, counted and postponed, twice as long each time.
Each kind of work has its own share of a run. Connected accounts are asked one after the other, beginning with the one that was asked
longest ago. Accounts with an open refresh are not read here but queued in the events queue, so that a slow account delays neither this run
nor the calls of others.

Safe to run twice, also concurrently.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, zip_longest
from typing import Any

from titleholder.domain.accounts import AccountRef
from titleholder.errors import (
    AccountNotFoundError,
    MalformedEventError,
    RateLimitExceededError,
    StripeCredentialsError,
    StripeError,
    StripeRefusedError,
    TitleholderError,
    UnexpectedError,
)
from titleholder.observability import logger
from titleholder.services import erasure, review_endings, reviews, verdicts
from titleholder.services.audit import RECONCILE
from titleholder.services.context import Dependencies
from titleholder.services.webhooks import WebhookReceiver, account_named
from titleholder.store.connected_accounts import TenantState
from titleholder.store.open_work import OpenItem, OpenKind
from titleholder.stripe_api import events as stripe_events
from titleholder.timestamps import DAY_SECONDS

PATIENCE_SECONDS: Mapping[OpenKind, float] = {
    "announcement": 300, "erasure": 300, "verification": 3600, "refresh": 840, "repair": 0, "event": 0, "review_end": 300,
}  # fmt: skip
"""How long an item may be unfinished before it is repaired, and how long after that it is repaired again. A waiter for the repair of an
account is listed from the time at which the account is due to be read."""

REPAIR_PAUSE_SECONDS = 3600.0
"""How soon an account to be repaired is read again if Stripe does not answer at present. Otherwise it is read a day later."""

FIRST_PAUSE_SECONDS = 840.0
"""How long an item or a connected account is left alone after its first failure. Each further failure doubles it, up to a day.

A little less than the time between two runs, so that the next run finds it.
"""

OVERDUE_SECONDS = 3600.0
"""How long after its deadline a verification without a verdict is ended, even if its workflow still runs."""

EVENTS_REACH_SECONDS = 30 * 86_400
"""How far back Stripe lists events."""

RUN_SECONDS = 240.0
"""How long a run lasts. The function's timeout is longer by more than the slowest single repair."""

SHARES = {
    "announcement": 0.1,
    "erasure": 0.05,
    "disconnection": 0.05,
    "verification": 0.15,
    "platform": 0.1,
    "refresh": 0.1,
    "repair": 0.05,
    "event": 0.05,
    "review_end": 0.02,
    "review": 0.03,
    "tenants": 0.3,
}
"""Each kind's share of a run, in the order of the work. Time that one kind leaves goes to the kinds after it."""

ITEMS_A_RUN = 1000
"""How many items of a kind one run repairs, taken from each tenant in turn."""

TENANT_REFRESHES_A_RUN = 200
REFRESHES_A_RUN_WITHOUT_STRIPE = 50
"""How many refreshes of one connected account one run queues, and how many in all while Stripe does not answer the platform. Each may
block a consumer of the events queue for its whole timeout, and the same consumers process Stripe's deliveries."""

MOST_LISTED = 20_000
"""How many items of a kind are listed, to take them from each tenant in turn."""

PLATFORM_PAGES = 10
TENANT_PAGES = 3
"""How many pages of each list of events one run reads. The next run continues where this one ended."""

FIRST_REACH_SECONDS = 3 * DAY_SECONDS
"""How far back the first listing of thin events reaches: as long as Stripe repeats a delivery. It also has events from before the stack."""

OVERLAP_SECONDS = 3600
"""How far a listing of thin events overlaps the one before, because an event may be listed late."""


@dataclass(slots=True)
class Report:
    """What a run did. `repaired` by kind: for `refresh`, how many were queued. `failed`: repairs that failed.

    `key_refused`: Stripe refused the stack's own key. `retired`: connected accounts that began to refuse it, `returned`: that ceased to.
    `reviews_ended`: reviews that were ended here without a decision. `thin_refused`: how often Stripe refused to list thin events.
    """

    repaired: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    key_refused: bool = False
    retired: int = 0
    returned: int = 0
    cursors_reset: int = 0
    reviews_ended: int = 0
    thin_refused: int = 0


@dataclass(frozen=True, slots=True)
class _Listing:
    """A listing of thin events, which may take several runs: the period that it covers, and its next page.

    `failed`: some of its events could not be recorded or read, so the next listing begins at the same time again.
    """

    since: int
    until: int
    page: str | None = None
    failed: bool = False

    @classmethod
    def next(cls, cursor: str | None, now: int) -> _Listing:
        """The listing that a cursor names, or the one that follows it."""
        kept = cls(**json.loads(cursor)) if cursor else None
        if kept is not None and kept.page is not None:
            return kept
        if kept is None:
            return cls(now - FIRST_REACH_SECONDS, now)
        since = kept.since if kept.failed else kept.until - OVERLAP_SECONDS
        return cls(max(since, now - EVENTS_REACH_SECONDS), now)

    def cursor(self) -> str:
        return json.dumps(asdict(self))


def reconcile(
    deps: Dependencies, receiver: WebhookReceiver, *, seconds: float = RUN_SECONDS, review_seconds: float = review_endings.EXPIRY_SECONDS
) -> Report:
    """Repair a part of each kind of work, for `seconds` at most. A failure of one item, account or kind of work is not raised.

    `review_seconds`: how long a review waits for its decision.
    """
    run = _Run(deps, receiver, Report(), review_seconds)
    works: Sequence[Callable[[float], None]] = (
        run.announcements, run.erasures, run.disconnections, run.verifications, run.platform, run.refreshes, run.repairs,
        run.events, run.review_ends, run.reviews, run.tenants,
    )  # fmt: skip
    end = deps.clock()
    for work, (kind, share) in zip(works, SHARES.items(), strict=True):
        end += share * seconds
        try:
            work(end)
        except RateLimitExceededError:
            pass  # The next run continues.
        except Exception as error:
            run.failed(kind, error)
    return run.report


def pause(tries: int) -> float:
    """How long an item is left alone after its latest failure, by the number of failures in a row."""
    return min(DAY_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 30))


@dataclass(slots=True)
class _Run:
    deps: Dependencies
    receiver: WebhookReceiver
    report: Report
    review_seconds: float
    platform_answers: bool = False
    thin_refused: bool = False
    looked_at: dict[AccountRef, float] = field(default_factory=dict)
    """Accounts that this run has queued because workflows wait for their repair, and when they are due again."""

    def failed(self, kind: str, error: Exception, **ids: str | None) -> None:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, TitleholderError) else str(UnexpectedError.of(error))
        logger.error("repair failed", extra={"kind": kind, "reason": reason, **ids})
        self.report.failed[kind] += 1

    # -- items -------------------------------------------------------------------------------------------------------------------

    def announcements(self, end: float) -> None:
        self._each("announcement", end, self._announce)

    def erasures(self, end: float) -> None:
        self._each("erasure", end, self._erase)

    def disconnections(self, end: float) -> None:
        self.report.repaired["disconnection"] += erasure.retry_disconnections(self.deps, end)

    def verifications(self, end: float) -> None:
        self._each("verification", end, self._verification)

    def refreshes(self, end: float) -> None:
        """Queue the accounts whose refresh has been open for long."""
        most = ITEMS_A_RUN if self.platform_answers else REFRESHES_A_RUN_WITHOUT_STRIPE
        self._each("refresh", end, self._have_looked_at, most, TENANT_REFRESHES_A_RUN)

    def repairs(self, end: float) -> None:
        """Queue, once a day, the accounts whose repair a workflow waits for, because the webhook of a repair may be lost."""
        most = ITEMS_A_RUN if self.platform_answers else REFRESHES_A_RUN_WITHOUT_STRIPE
        self._each("repair", end, self._look_for_repair, most, TENANT_REFRESHES_A_RUN)

    def events(self, end: float) -> None:
        """Queue events again whose messages were requeued too often and therefore dropped."""
        self._each("event", end, self._queue_anew)

    def review_ends(self, end: float) -> None:
        """Record and announce the ends of reviews for which that is missing."""
        self._each("review_end", end, self._finish_review)

    def reviews(self, end: float) -> None:
        """End the reviews that were not decided in time, and those whose end was missed."""
        self.report.reviews_ended += review_endings.end_overdue(self.deps, end, self.review_seconds, self._review_failed)

    def _review_failed(self, item: OpenItem, error: Exception) -> None:
        self.failed("review", error, verification=item.verification, account=item.ref.account if item.ref else None)

    def _each(
        self,
        kind: OpenKind,
        end: float,
        repair: Callable[[OpenItem, int], bool],
        most: int = ITEMS_A_RUN,
        most_of_tenant: int = ITEMS_A_RUN,
    ) -> None:
        """Repair items of a kind: from each tenant in turn, the longest waiting first."""
        by_tenant: dict[str | None, list[OpenItem]] = {}
        for item in self.deps.store.open_work.list_oldest(kind, self.deps.clock() - PATIENCE_SECONDS[kind], MOST_LISTED):
            its = by_tenant.setdefault(item.ref.stripe_account if item.ref else None, [])
            if item.ref is None or item.ref.stripe_account is None or len(its) < most_of_tenant:
                its.append(item)
        in_turn = [item for item in chain.from_iterable(zip_longest(*by_tenant.values())) if item is not None]
        for item in in_turn[:most]:
            if self.deps.clock() >= end:
                return
            self._one(item, repair)

    def _one(self, item: OpenItem, repair: Callable[[OpenItem, int], bool]) -> None:
        """Repair one item. It is moved to the end of its list first, so that the next run begins with others if this one crashes."""
        tries = 0
        try:
            known = self.deps.store.open_work.touch(item, self.deps.clock())
            if known is None:
                return
            tries = known
            self.report.repaired[item.kind] += repair(item, tries)
        except Exception as error:
            self.failed(item.kind, error, verification=item.verification, account=item.ref.account if item.ref else None)
            try:
                self._put_back(item, tries + 1)
            except Exception as again:
                self.failed(item.kind, again)

    def _put_back(self, item: OpenItem, tries: int) -> None:
        # The list shows an item once it is older than its kind's patience.
        since = self.deps.clock() + pause(tries) - PATIENCE_SECONDS[item.kind]
        self.deps.store.open_work.postpone(item, since, tries)

    def _announce(self, item: OpenItem, tries: int) -> bool:
        if item.sk == "VERIFICATION" and item.verification is not None:
            verdicts.complete_by_id(self.deps.store, self.deps.bus, item.verification, {}, now=self.deps.clock())
            return True
        announcement = self.deps.store.open_work.get_announcement(item)
        if announcement is not None:
            self.deps.bus.publish(announcement.type, announcement.detail)
        self.deps.store.open_work.mark_announced(item)
        return announcement is not None

    def _finish_review(self, item: OpenItem, tries: int) -> bool:
        if item.ref is None or item.verification is None:
            return False
        reviews.finish(self.deps, self.deps.store.reviews.get(item.ref, item.verification))
        return True

    def _erase(self, item: OpenItem, tries: int) -> bool:
        if item.ref is not None:
            erasure.erase(self.deps, item.ref, RECONCILE)
        return True

    def _verification(self, item: OpenItem, tries: int) -> bool:
        deps, id_ = self.deps, item.verification or ""
        status, verification = deps.workflow.status(id_), deps.store.verifications.get(id_)
        overdue = deps.clock() > verification.deadline + OVERDUE_SECONDS
        if status is None and not overdue:
            deps.workflow.start(verification)
        elif status != "RUNNING" or overdue:
            # A failed execution can't be started again under the same name, so give the verdict that the stored data allow.
            verdicts.complete(deps.store, deps.bus, verification, {"Error": "WorkflowFailed"}, now=deps.clock())
            if status == "RUNNING":
                deps.workflow.stop(id_)
        elif tries:
            deps.store.open_work.postpone(item, deps.clock(), 0)
        return status != "RUNNING" or overdue

    def _have_looked_at(self, item: OpenItem, tries: int) -> bool:
        if item.ref is None:
            return False
        # Reading the account resets this. While Stripe refuses the stack's own key, failures say nothing about single accounts.
        if self.platform_answers:
            self._put_back(item, tries + 1)
        self.deps.queues.send_event(item.ref.as_dict())
        return True

    def _queue_anew(self, item: OpenItem, tries: int) -> bool:
        message = self.deps.store.events.message(item)
        if message is None:
            return False
        # It stays listed until it is processed, and is queued after pauses that double.
        self._put_back(item, tries + 1)
        self.deps.queues.send_event(message)
        return True

    def _look_for_repair(self, item: OpenItem, tries: int) -> bool:
        if item.ref is None:
            return False
        if item.ref in self.looked_at:
            self.deps.store.open_work.postpone(item, self.looked_at[item.ref], 0)
            return False
        self.deps.queues.send_event(item.ref.as_dict())
        # One reading serves all workflows that wait for the account, so they are due together from now on. They are postponed only now, so
        # that after a crash the item is due in the next run and not a day later.
        due = self.deps.clock() + (DAY_SECONDS if self.platform_answers else REPAIR_PAUSE_SECONDS)
        self.looked_at[item.ref] = due
        self.deps.store.waiters.postpone_repairs(item.ref, due)
        return True

    # -- events ------------------------------------------------------------------------------------------------------------------

    def platform(self, end: float) -> None:
        """Record the platform's events that were lost. The listing also shows whether Stripe accepts the stack's key."""
        try:
            self._undelivered(None, PLATFORM_PAGES, end)
        except StripeCredentialsError as error:
            self.report.key_refused = True
            self.failed("platform", error)
            return
        self.platform_answers = True
        self._thin(None, PLATFORM_PAGES, end)

    def tenants(self, end: float) -> None:
        """Record the lost events of connected accounts, beginning with the account that was asked longest ago."""
        if self.report.key_refused:
            return
        # Thin events are listed in the time that is left.
        for thin in (False, True):
            now = self.deps.clock()
            due = [tenant for tenant in self.deps.store.connected_accounts.list_all(self.receiver.mode) if tenant.due_at <= now]
            for tenant in sorted(due, key=lambda tenant: (tenant.thin_asked_at if thin else tenant.asked_at, tenant.stripe_account)):
                if self.deps.clock() >= end or self.report.key_refused or (thin and self.thin_refused):
                    return
                try:
                    self._tenant(tenant, end, thin=thin)
                except RateLimitExceededError:
                    raise
                except Exception as error:
                    self.failed("tenants", error, stripe_account=tenant.stripe_account)

    def _tenant(self, tenant: TenantState, end: float, *, thin: bool) -> None:
        store, mode, id_ = self.deps.store, self.receiver.mode, tenant.stripe_account
        store.connected_accounts.record_asked(mode, id_, self.deps.clock(), thin=thin)
        try:
            (self._thin if thin else self._undelivered)(id_, TENANT_PAGES, end)
        except RateLimitExceededError:
            store.connected_accounts.record_asked(mode, id_, tenant.thin_asked_at if thin else tenant.asked_at, thin=thin)
            raise
        except StripeCredentialsError:
            if not self._accepts_the_key():
                raise
            if tenant.context is not None:
                # It may have left the organization, so calls name it by its id alone again.
                store.connected_accounts.forget_context(mode, id_)
                raise
            now = self.deps.clock()
            store.connected_accounts.record_failure(
                mode, replace(tenant, tries=tenant.tries + 1, due_at=now + DAY_SECONDS, retired_at=tenant.retired_at or now)
            )
            if tenant.retired_at is None:
                self.report.retired += 1
                logger.error("connected account refuses the stack's key", extra={"stripe_account": id_})
        except Exception:
            # While Stripe does not answer the platform either, the failure says nothing about the connected account.
            if self.platform_answers:
                tries = tenant.tries + 1
                store.connected_accounts.record_failure(mode, replace(tenant, tries=tries, due_at=self.deps.clock() + pause(tries)))
            raise
        else:
            if tenant.tries and store.connected_accounts.record_answer(mode, id_) and tenant.retired_at is not None:
                self.report.returned += 1
                logger.info("connected account accepts the stack's key again", extra={"stripe_account": id_})

    def _accepts_the_key(self) -> bool:
        """Whether Stripe accepts the stack's key now, shown by a call for the platform itself."""
        try:
            self._page(None, None)
        except StripeCredentialsError as error:
            self.report.key_refused = True
            self.failed("platform", error)
            return False
        except (StripeError, RateLimitExceededError):
            return False
        return True

    def _undelivered(self, stripe_account: str | None, pages: int, end: float) -> None:
        """Record undelivered events, the newest first: at most `pages` pages, from where the last run ended."""
        store, what = self.deps.store, f"{self.receiver.mode}/{stripe_account or 'platform'}"
        after = store.open_work.get_cursor(what)
        for _ in range(pages):
            try:
                events, more = self._page(stripe_account, after)
            except (StripeRefusedError, AccountNotFoundError):
                if after is None:
                    raise
                # Stripe does not know this event any more, so the next run begins with the newest.
                self.report.cursors_reset += 1
                after = None
                store.open_work.set_cursor(what, None)
                continue
            self._take_in(events, stripe_account)
            before, after = after, events[-1]["id"] if events and more else None
            if after != before:
                store.open_work.set_cursor(what, after)
            if after is None or self.deps.clock() >= end:
                return

    def _page(self, stripe_account: str | None, after: str | None) -> tuple[list[dict[str, Any]], bool]:
        since = int(self.deps.clock()) - EVENTS_REACH_SECONDS
        return self.deps.stripe.undelivered(stripe_account, stripe_events.SNAPSHOT_TYPES, since, after)

    def _thin(self, stripe_account: str | None, pages: int, end: float) -> None:
        """Record thin events that did not arrive: at most `pages` pages, from where the last run ended.

        Thin events need this list, because the list of undelivered events has only snapshot events. This list has delivered events too, so
        most are known already. It is not a failure if the key may not read the list, or if Stripe does not have it.
        """
        store, what = self.deps.store, f"thin/{self.receiver.mode}/{stripe_account or 'platform'}"
        cursor = store.open_work.get_cursor(what)
        listing = _Listing.next(cursor, int(self.deps.clock()))
        found = listing.page is not None
        for _ in range(pages):
            try:
                events, page = self.deps.stripe.thin_events(
                    stripe_account, stripe_events.THIN_TYPES, (listing.since, listing.until), listing.page
                )
            except (StripeCredentialsError, StripeRefusedError, AccountNotFoundError) as error:
                if listing.page is not None:
                    # Stripe does not know this page any more, so the next run begins this listing again.
                    self.report.cursors_reset += 1
                    store.open_work.set_cursor(what, replace(listing, page=None, failed=True).cursor())
                    return
                # While Stripe refuses the platform's list, connected accounts are not asked.
                self.thin_refused = stripe_account is None
                self.report.thin_refused += 1
                logger.info("thin events can't be listed", extra={"reason": str(error), "stripe_account": stripe_account})
                return
            failed = self._take_in(events, stripe_account)
            found = found or bool(events)
            listing = replace(listing, page=page if events else None, failed=listing.failed or failed)
            # An account without thin events needs no cursor, because nothing is lost if its next listing covers the same period.
            if found and listing.cursor() != cursor:
                cursor = listing.cursor()
                store.open_work.set_cursor(what, cursor)
            if listing.page is None or self.deps.clock() >= end:
                return

    def _take_in(self, events: Sequence[Mapping[str, Any]], stripe_account: str | None) -> bool:
        """Record listed events, each separately. Returns whether one failed."""
        failed = False
        for data in events:
            try:
                self._event(data, stripe_account)
            except Exception as error:
                failed = True
                self.failed("event", error, stripe_account=stripe_account)
        return failed

    def _event(self, data: Mapping[str, Any], stripe_account: str | None) -> None:
        try:
            event = stripe_events.from_object(data, self.receiver.mode, listed_for=stripe_account)
        except MalformedEventError:
            return
        now = self.deps.clock()
        key, known = self.deps.store.events.find({"id": event.key, **account_named(event)})
        if known is not None:
            # Open events are queued again from the list of open work.
            if known.processed or known.open or now < known.due_at:
                return
            self.deps.store.events.postpone(key, now + pause(known.tries + 1), known.tries + 1)
        self.report.repaired["event"] += self.receiver.accept(event, listed=True)[1] == "new"
