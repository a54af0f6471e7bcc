"""Hand-written mutants of the code. Tests check that the simulation finds each of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.simulation import deployment, simulated_stack
from titleholder import matching
from titleholder.aws import queue_consumer
from titleholder.aws.workflows import Workflow
from titleholder.batches import lifecycle, stopped
from titleholder.domain import owner_changes, refresh_policy, refresh_requests
from titleholder.domain import reviews as domain_reviews
from titleholder.domain.accounts import Tenant
from titleholder.domain.verifications import IdSecret
from titleholder.errors import MalformedEventError, TitleholderError
from titleholder.services import (
    account_sync,
    erasure,
    reconciliation,
    refresh_calls,
    refreshes,
    review_endings,
    review_queue,
    reviews,
    verdicts,
    verifications,
)  # fmt: skip
from titleholder.services.audit import Audit, By, Entry
from titleholder.services.contexts import Contexts
from titleholder.services.rate_limiter import Kind, RateLimiter
from titleholder.store import patience
from titleholder.store import reviews as stored_reviews
from titleholder.store.accounts import Accounts
from titleholder.store.claims import Claims
from titleholder.store.connected_accounts import ConnectedAccounts
from titleholder.store.erasures import Erasures
from titleholder.store.events import Events
from titleholder.store.open_work import OpenWork
from titleholder.store.patience import PatientClient
from titleholder.store.reviews import Reviews, opening_part
from titleholder.store.sealed import SealedItems
from titleholder.store.table import Table
from titleholder.store.verifications import Verifications
from titleholder.store.waiters import Waiters
from titleholder.stripe_api import events as stripe_events
from titleholder.stripe_api.gateway import RecordingClient, StripeGateway
from titleholder.web import resolver


@contextmanager
def parts_written_one_by_one() -> Iterator[None]:
    """Each item of a snapshot is written in a transaction of its own."""
    original = SealedItems.put_all

    def put_all(self: SealedItems, items: Any, ref: Any, wrapped: bytes, **more: Any) -> Any:
        if not any("#PART#" in item["sk"] for item in items):
            return original(self, items, ref, wrapped, **more)
        first, *_ = [original(self, [item], ref, wrapped) for item in items]
        return first

    with _replaced(SealedItems, "put_all", put_all):
        yield


@contextmanager
def too_many_owners_not_remembered() -> Iterator[None]:
    """Each verification pays for a refresh to find again that the owners are too many."""
    with _replaced(refreshes, "_has_too_many_owners", lambda *_: False):
        yield


@contextmanager
def waiter_stored_late() -> Iterator[None]:
    """The waiter is stored after Stripe was called, and the account is not read again."""
    put, original = Waiters.put, refreshes._apply

    def _apply(deps: Any, request: Any, facts: Any, result: Any) -> Any:
        put(deps.store.waiters, request.ref, request.waiter)
        return original(deps, request, facts, result)

    with (
        _replaced(Waiters, "put", lambda self, ref, waiter, *_: waiter),
        _replaced(refreshes, "_apply", _apply),
        _replaced(account_sync, "resume_if_settled", lambda *_: None),
        _replaced(refresh_calls, "_waits", lambda *_: True),
    ):
        yield


@contextmanager
def lease_not_conditional() -> Iterator[None]:
    """Every worker gets the lease."""
    original = Accounts.begin_attempt

    def begin_attempt(self: Accounts, ref: Any, attempt: Any, seen: Any, now: float) -> bool:
        original(self, ref, attempt, seen, now)
        return True

    with _replaced(Accounts, "begin_attempt", begin_attempt):
        yield


@contextmanager
def ordered_by_event_time() -> Iterator[None]:
    """The last write wins, even if it belongs to an earlier attempt."""
    original = Table.update

    def update(self: Table, pk: str, sk: str, *, condition: str, set_: Any = None, **more: Any) -> bool:
        if sk == "ACCOUNT" and set_ and ("refresh_order" in set_ or "snapshot_attempted_at" in set_):
            # DynamoDB refuses values that no expression uses, so the condition stays a part of one that always holds.
            condition = f"attribute_not_exists(no_such_attribute) OR ({condition})"
        return original(self, pk, sk, set_=set_, condition=condition, **more)

    with _replaced(Table, "update", update):
        yield


@contextmanager
def claims_survive_erasure() -> Iterator[None]:
    """The key is destroyed, but encrypted items stay."""
    with _replaced(Erasures, "delete_sealed", lambda self, ref: None):
        yield


@contextmanager
def written_without_proof_of_the_key() -> Iterator[None]:
    """A worker that has read the key once writes without checking it again."""

    def put_all(self: SealedItems, items: Any, ref: Any, wrapped: bytes, *, beside: Any = ()) -> Any:
        return self._table.put_all(items, beside=beside)

    with _replaced(SealedItems, "put_all", put_all):
        yield


@contextmanager
def matcher_failure_not_caught() -> Iterator[None]:
    """An exception of the matcher reaches the function that wants the verdict."""

    def _compared(verification: Any, claim: Any, snapshot: Any, positions: Any) -> Any:
        owners = [dict(snapshot.owners.reveal()[position]) for position in positions]
        return matching.decide(claim.reveal(), owners, matching.Policy.from_dict(verification.policy)).as_dict()

    with _replaced(verdicts, "_compared", _compared):
        yield


@contextmanager
def any_tenant_may_name_any_id() -> Iterator[None]:
    """A caller that knows the id of a verification may read and cancel it."""
    with _replaced(Tenant, "owns", lambda self, mode, stripe_account: True):
        yield


@contextmanager
def ids_derived_without_a_secret() -> Iterator[None]:
    """An id is a plain digest of tenant and Idempotency-Key."""
    with _replaced(verifications, "_derived", lambda store, name, *_: verifications._before_secrets(name)):
        yield


@contextmanager
def secret_of_ids_made_twice() -> Iterator[None]:
    """Callers that make the secret at the same time each keep their own."""

    def id_secret(self: Verifications) -> IdSecret:
        item = self._table.get("SECRET#ids", "SECRET")
        if item is None:
            item = {"pk": "SECRET#ids", "sk": "SECRET", "secret": self._new_secret(), "made_ms": 0}
            self._table.put(item)
        return IdSecret(bytes(item["secret"]), 0)

    with _replaced(Verifications, "id_secret", id_secret):
        yield


@contextmanager
def newest_snapshot_answers() -> Iterator[None]:
    """After a successful refresh the newest stored owners are the answer, even if they are too old."""
    original = account_sync.resume

    def resume(simulation: Any, ref: Any, waiter: Any, decision: Any, trigger: Any) -> None:
        snapshot = simulation.store.accounts.get(ref).snapshot
        if not isinstance(decision, refresh_policy.Fresh) or snapshot is None:
            original(simulation, ref, waiter, decision, trigger)
            return
        simulation.workflow.resume(waiter.task_token, {"outcome": "ready", "snapshot": snapshot})
        simulation.store.waiters.remove(ref, waiter.verification, waiter.token_version)

    with (
        _replaced(account_sync, "resume", resume),
        _replaced(refresh_policy.FreshnessRequirement, "allows", lambda self, attempted_at, created: True),
    ):
        yield


@contextmanager
def any_answer_ends_the_attempt() -> Iterator[None]:
    """An answer to a later request ends an attempt with an earlier request that is unanswered."""
    original = StripeGateway.refresh

    def call(self: StripeGateway, ref: Any, key: str, *, in_doubt: bool = False, **more: Any) -> Any:
        return original(self, ref, key, **more)

    with _replaced(StripeGateway, "refresh", call), _replaced(RecordingClient, "end", lambda self, key: False):
        yield


@contextmanager
def any_reading_decides() -> Iterator[None]:
    """A reading decides although the record is newer."""
    original = account_sync.read_account

    def read_account(*arguments: Any, **more: Any) -> Any:
        return replace(original(*arguments, **more), newer=None)

    with _replaced(account_sync, "read_account", read_account):
        yield


@contextmanager
def announcement_not_kept() -> Iterator[None]:
    """A verdict is announced only by the caller that stored it."""
    original = Table.update

    def update(self: Table, pk: str, sk: str, *, set_: Any = None, remove: Any = (), **more: Any) -> bool:
        if set_ and "verdict" in set_:
            set_ = {name: value for name, value in set_.items() if not name.startswith("open_")}
            remove = (*remove, "open_kind", "open_since_ms")
        return original(self, pk, sk, set_=set_, remove=remove, **more)

    with _replaced(Table, "update", update):
        yield


@contextmanager
def first_failure_ends_the_run() -> Iterator[None]:
    """An item, account or tenant that can't be repaired ends the run."""

    def failed(self: Any, kind: str, error: Exception, **ids: Any) -> None:
        raise error

    with _replaced(reconciliation._Run, "failed", failed):
        yield


@contextmanager
def failed_item_stays_where_it_is() -> Iterator[None]:
    """The run reads open refreshes itself, the first failure ends it, and every run begins with the same refresh."""

    def refreshes(self: Any, end: float) -> None:
        before = self.deps.clock() - reconciliation.PATIENCE_SECONDS["refresh"]
        for item in self.deps.store.open_work.list_oldest("refresh", before, reconciliation.ITEMS_A_RUN):
            account_sync.sync_account(self.deps, item.ref)

    def reconcile(simulation: Any, receiver: Any, *, review_seconds: float) -> Any:
        run = reconciliation._Run(simulation, receiver, reconciliation.Report(), review_seconds)
        for work in (run.announcements, run.erasures, run.verifications, run.refreshes, run.platform, run.tenants):
            work(simulation.clock() + reconciliation.RUN_SECONDS)
        return run.report

    with _replaced(reconciliation._Run, "refreshes", refreshes), _replaced(reconciliation, "reconcile", reconcile):
        yield


@contextmanager
def tenants_share_ten_pages() -> Iterator[None]:
    """Every run begins with the same tenants, and ends after ten pages."""
    original = ConnectedAccounts.list_all

    def list_all(self: ConnectedAccounts, mode: Any) -> Any:
        return sorted(original(self, mode), key=lambda tenant: tenant.stripe_account)[:10]

    with _replaced(ConnectedAccounts, "list_all", list_all):
        yield


@contextmanager
def unknown_cursor_is_kept() -> Iterator[None]:
    """A cursor that Stripe does not know is never reset."""
    original = OpenWork.set_cursor

    def set_cursor(self: OpenWork, what: str, at: str | None) -> None:
        if self.get_cursor(what) != "evt_unknown":
            original(self, what, at)

    with _replaced(OpenWork, "set_cursor", set_cursor), _replaced(reconciliation, "StripeRefusedError", ZeroDivisionError):
        yield


@contextmanager
def tenants_retired_for_the_stacks_key() -> Iterator[None]:
    """Every 401 and 403 under a connected account retires it, also when the stack's key is refused."""

    def platform(self: Any, end: float) -> None:
        self.platform_answers = True

    with (
        _replaced(reconciliation._Run, "_accepts_the_key", lambda self: True),
        _replaced(reconciliation._Run, "platform", platform),
    ):
        yield


@contextmanager
def events_of_the_other_mode_are_taken_in() -> Iterator[None]:
    """The mode of an event is not checked."""
    original = stripe_events.from_object

    def from_object(data: Any, mode: Any, **more: Any) -> Any:
        return original({**data, "livemode": None}, mode, **more)

    with _replaced(stripe_events, "from_object", from_object):
        yield


@contextmanager
def events_for_others_are_refused() -> Iterator[None]:
    """A genuine event that is not for this stack is answered 400, so that Stripe retries it for days."""
    original = stripe_events.from_object

    def from_object(data: Any, mode: Any) -> Any:
        event = original(data, mode)
        if event.set_aside is not None:
            raise MalformedEventError("This event is not for this stack.")
        return event

    with _replaced(stripe_events, "from_object", from_object):
        yield


@contextmanager
def context_taken_for_a_connected_account() -> Iterator[None]:
    """An event in the context of the platform's own account is taken for one of a connected account."""
    with _replaced(Contexts, "_is_own", lambda self, stripe, account, *, needed: False):
        yield


@contextmanager
def thin_events_not_listed() -> Iterator[None]:
    """Events of destinations that take thin events alone are lost if their deliveries are."""
    with _replaced(reconciliation._Run, "_thin", lambda self, stripe_account, pages, end: None):
        yield


@contextmanager
def stop_ends_nothing() -> Iterator[None]:
    """A stop ends a batch's execution, but leaves its verifications without verdicts."""
    with _replaced(lifecycle, "_close", lambda simulation, kept: None):
        yield


@contextmanager
def recorded_afterwards() -> Iterator[None]:
    """An effect is recorded only after it has succeeded."""

    @contextmanager
    def effect(self: Audit, by: Any, action: Any, ref: Any = None, /, **ids: Any) -> Iterator[Entry]:
        entry = Entry()
        yield entry
        with original(self, by, action, ref, **ids, **entry.noted):
            pass

    original = Audit.effect
    with _replaced(Audit, "effect", effect):
        yield


@contextmanager
def stop_not_seen_before_a_refresh() -> Iterator[None]:
    """A stop of the batch is checked when a message comes, but not again right before the refresh is paid."""
    with _replaced(Verifications, "is_wanted", lambda self, verification: True):
        yield


@contextmanager
def reads_not_recorded() -> Iterator[None]:
    """Reads are not recorded."""
    with _replaced(Audit, "read", lambda self, *args, **ids: None):
        yield


@contextmanager
def stop_forgets_broken_imports() -> Iterator[None]:
    """After a stop, the verifications of a range whose import died are not closed."""
    with _replaced(stopped, "made_lines", lambda context, batch, number: []):
        yield


@contextmanager
def erasure_waits_for_stripe() -> Iterator[None]:
    """An account is erased only after Stripe has disconnected it."""

    def disconnect(simulation: Any, ref: Any, by: Any) -> Any:
        with simulation.audit.effect(by, "account.erased", ref):
            erasure._disconnect(simulation, ref)
            erasure._erase(simulation, ref, by, pending=False)
        return erasure.Erased(simulation.clock(), disconnected=True)

    with _replaced(erasure, "disconnect", disconnect):
        yield


@contextmanager
def disconnection_not_repeated() -> Iterator[None]:
    """A disconnection that failed is not retried."""
    with _replaced(erasure, "retry_disconnections", lambda simulation, end: 0):
        yield


@contextmanager
def claims_counted_without_looking_again() -> Iterator[None]:
    """Counted claims are stored without checking what was counted meanwhile."""
    original = Claims._count_part

    def _count_part(self: Claims, *arguments: Any) -> Any:
        part = original(self, *arguments)
        return {"Put": {name: value for name, value in part["Put"].items() if name in ("TableName", "Item")}}

    with _replaced(Claims, "_count_part", _count_part):
        yield


@contextmanager
def callers_book_ahead() -> Iterator[None]:
    """An HTTP caller's call books the next slot, however far ahead, and is then refused."""
    original = RateLimiter._slot

    def _slot(self: RateLimiter, line: str, now: float) -> float:
        return self._limits.reserve(line, now) if self._kind is Kind.CALLER else original(self, line, now)

    with _replaced(RateLimiter, "_slot", _slot):
        yield


@contextmanager
def slot_lost_with_the_settle_timeout() -> Iterator[None]:
    """The settle timeout includes the time in the queue, and a workflow that asks again loses its slot."""
    with _replaced(Workflow, "heartbeat", lambda self, task_token: True), _replaced(Accounts, "keep_slot", lambda *_: True):
        yield


@contextmanager
def gives_up_after_settle_timeouts_in_the_queue() -> Iterator[None]:
    """A workflow ends when its request has waited for three settle timeouts, although no refresh was started."""
    original = refreshes.handle_request

    def handle_request(simulation: Any, request: Any) -> Any:
        if simulation.clock() - request.waiter.need.requested_at > 3 * simulation.workflow.settle_timeout:
            simulation.workflow.give_up(request.waiter.task_token)
            return refresh_requests.GaveUp()
        return original(simulation, request)

    with _replaced(refreshes, "handle_request", handle_request):
        yield


@contextmanager
def refresh_after_the_deadline() -> Iterator[None]:
    """A request is handled also after its verification's deadline."""
    original = refreshes.RefreshRequest.from_message

    def from_message(message: Any, message_id: str = "") -> Any:
        request = original(message, message_id)
        need = replace(request.waiter.need, deadline=request.waiter.need.deadline + 10**6)
        return replace(request, waiter=replace(request.waiter, need=need))

    with _replaced(refreshes.RefreshRequest, "from_message", staticmethod(from_message)):
        yield


@contextmanager
def in_flight_is_not_looked_at_again() -> Iterator[None]:
    """A request that finds another worker's lease waits for that refresh, with any result."""
    original = refreshes.handle_request

    def handle_request(simulation: Any, request: Any) -> Any:
        asked = original(simulation, request)
        return refresh_policy.JoinPending(0) if isinstance(asked, refresh_requests.AlreadyStarting) else asked

    with _replaced(refreshes, "handle_request", handle_request):
        yield


@contextmanager
def stale_never_lifted() -> Iterator[None]:
    """A verdict that was marked as stale stays so, even if its account is active again."""
    with _replaced(verdicts, "lift_stale", lambda *_: False):
        yield


@contextmanager
def repaired_accounts_resume_nobody() -> Iterator[None]:
    """A reading that shows an account active again does not resume the workflows that wait for its repair."""
    with _replaced(account_sync, "resume_repaired", lambda *_: None):
        yield


@contextmanager
def repair_before_the_wait_is_not_seen() -> Iterator[None]:
    """A workflow waits for a repair without a look at what happened since it was decided to wait."""
    original = refresh_requests.decide_request

    def decide_request(facts: Any) -> Any:
        decision = original(facts)
        return refresh_requests.AwaitRepair() if isinstance(decision, refresh_requests.Repaired) else decision

    with _replaced(refresh_requests, "decide_request", decide_request):
        yield


@contextmanager
def accounts_to_be_repaired_are_not_read() -> Iterator[None]:
    """Nothing looks for a repair whose webhook was lost."""
    with _replaced(reconciliation._Run, "repairs", lambda self, end: None):
        yield


@contextmanager
def inactive_accounts_end_what_would_wait() -> Iterator[None]:
    """The wish to wait for a repair is not stored with the verification."""
    original = Verifications.create

    def create(self: Verifications, verification: Any, claim: Any) -> Any:
        return original(self, replace(verification, waits_if_inactive=False), claim)

    with _replaced(Verifications, "create", create):
        yield


@contextmanager
def late_workers_change_later_waits() -> Iterator[None]:
    """A worker that is late stores what it learned for one wait of a verification with whatever the verification waits for by then."""

    def set_attributes(self: Waiters, ref: Any, waiter: Any, attributes: Any) -> bool:
        key = f"ACCOUNT#{ref.key}", f"WAITER#{waiter.verification}"
        return self._table.update(*key, set_=attributes, condition="attribute_exists(pk)")

    with _replaced(Waiters, "_set", set_attributes):
        yield


@contextmanager
def cancelled_transactions_not_repeated() -> Iterator[None]:
    """A transaction that DynamoDB cancelled because it was busy fails at its first try."""
    with _replaced(PatientClient, "transact_write_items", lambda self, **request: self._client.transact_write_items(**request)):
        yield


@contextmanager
def unprocessed_keys_taken_for_missing() -> Iterator[None]:
    """Items that DynamoDB left unprocessed in a BatchGetItem count as missing."""
    with _replaced(PatientClient, "batch_get_item", lambda self, **request: self._client.batch_get_item(**request)):
        yield


@contextmanager
def busy_table_is_an_internal_error() -> Iterator[None]:
    """After the last try callers get an internal error instead of a time to come again."""
    with _replaced(patience, "TableBusyError", TitleholderError):
        yield


@contextmanager
def throttled_calls_are_internal_errors() -> Iterator[None]:
    """Callers get 500, instead of 503, where AWS throttles a call."""
    with _replaced(resolver, "is_aws_unavailable", lambda error: False):
        yield


@contextmanager
def throttled_calls_make_dead_letters() -> Iterator[None]:
    """A message whose consumer's calls are throttled is given up as soon as one that is at fault itself."""
    with _replaced(queue_consumer, "is_aws_unavailable", lambda error: False):
        yield


@contextmanager
def throttled_deliveries_count_as_failures() -> Iterator[None]:
    """A message that Lambda was not run for seven times is given up at its first failure."""
    with _replaced(queue_consumer.QueueConsumer, "_copy", lambda self, record: None):
        yield


@contextmanager
def queues_with_short_patience() -> Iterator[None]:
    """The queues have the visibility time-out and the number of deliveries of earlier releases."""
    short = {url: replace(settings, visibility=120.0, most_receives=8) for url, settings in deployment.queue_settings().items()}
    with _replaced(simulated_stack, "queue_settings", lambda: short):
        yield


@contextmanager
def events_deferred_too_often_are_dropped() -> Iterator[None]:
    """An event whose message was put back too often is never queued again."""
    with _replaced(Events, "leave_to_reconcile", lambda self, key, now: False):
        yield


@contextmanager
def review_opened_after_the_verdict() -> Iterator[None]:
    """A close match is stored first, and its review then."""
    original = Verifications.complete

    def complete(self: Verifications, verification: str, verdict: Any, now: float, *, review: Any = None, **more: Any) -> bool:
        done = original(self, verification, verdict, now, **more)
        if done and review is not None:
            self._table.transact([opening_part(self._table, review), self.review_part(review, first=True)])
        return done

    with _replaced(Verifications, "complete", complete):
        yield


@contextmanager
def last_decision_wins() -> Iterator[None]:
    """A decision is stored even if another reviewer has decided meanwhile."""

    def _change_part(self: Reviews, before: Any, after: Any) -> Any:
        set_ = stored_reviews._changed(after)
        return self._table.update_part(stored_reviews.account_pk(after.ref), stored_reviews.review_sk(after.verification), set_=set_)

    with _replaced(Reviews, "_change_part", _change_part):
        yield


@contextmanager
def closed_reviews_not_finished() -> Iterator[None]:
    """What follows the end of a review is done only by the caller that ended it."""
    with _replaced(reconciliation._Run, "review_ends", lambda self, end: None):
        yield


@contextmanager
def entries_of_reviews_written_anew() -> Iterator[None]:
    """Each try to record a decision writes an entry of its own."""
    with _replaced(reviews, "_entry_id", lambda review, version: uuid.uuid4().hex):
        yield


@contextmanager
def decided_without_proof_of_the_key() -> Iterator[None]:
    """A decision is stored without checking that its account was not erased since it was looked at."""
    with _replaced(Reviews, "_transact", lambda self, ref, parts: self._table.transact(parts)):
        yield


@contextmanager
def notes_survive_erasure() -> Iterator[None]:
    """Reviewers' notes stay."""
    original = Table.query

    def query(self: Table, pk: str, prefix: str) -> Any:
        return iter(()) if prefix == "NOTE#" else original(self, pk, prefix)

    with _replaced(Table, "query", query):
        yield


@contextmanager
def reviews_wait_for_ever() -> Iterator[None]:
    """Nothing but a decision ends a review."""
    with _replaced(reviews, "end", lambda *_: None):
        yield


@contextmanager
def open_reviews_not_looked_at() -> Iterator[None]:
    """`reconcile` does not look for reviews that should have ended."""
    with _replaced(reconciliation._Run, "reviews", lambda self, end: None):
        yield


@contextmanager
def decision_replaces_the_verdict() -> Iterator[None]:
    """What a person decides is stored as the verdict."""
    original = Verifications.review_part

    def review_part(self: Verifications, review: Any, *, first: bool = False) -> Any:
        part = original(self, review, first=first)
        if review.resolution == "approved":
            part["Update"]["UpdateExpression"] += ", verdict = :approved"
            part["Update"]["ExpressionAttributeValues"][":approved"] = {"S": '{"outcome": "match", "reasons": [], "snapshot": null}'}
        return part

    with _replaced(Verifications, "review_part", review_part):
        yield


@contextmanager
def reviews_that_expire_count_as_rejected() -> Iterator[None]:
    """A review that ended without a decision answers as a rejection does."""
    original = domain_reviews.decided

    def decided(review: Any) -> Any:
        return original(replace(review, resolution="rejected") if review.resolution == "expired" else review)

    with _replaced(domain_reviews, "decided", decided):
        yield


@contextmanager
def one_reviewer_is_enough() -> Iterator[None]:
    """A proposal that needs a second reviewer closes the review."""
    with _replaced(domain_reviews, "needed", lambda outcome, reviewers: 1):
        yield


@contextmanager
def repeated_decisions_are_refused() -> Iterator[None]:
    """A decision whose answer was lost is refused when it comes again."""
    with _replaced(domain_reviews, "_is_repeated", lambda *_: False):
        yield


@contextmanager
def open_reviews_end_as_inactive() -> Iterator[None]:
    """`reconcile` takes every account for inactive."""
    original = review_endings._reason
    with _replaced(review_endings, "_reason", lambda account, **known: original(account, **known) or "ACCOUNT_INACTIVE"):
        yield


@contextmanager
def moved_owners_end_reviews() -> Iterator[None]:
    """An owner who has moved is taken for another one."""
    with _replaced(owner_changes, "OTHER_OWNERS", owner_changes.OTHER_OWNERS | {"owner_moved"}):
        yield


@contextmanager
def newer_owners_end_reviews() -> Iterator[None]:
    """Any newer snapshot ends a review, even if it changed nothing."""
    with _replaced(owner_changes, "have_changed", lambda history, snapshot: bool(history) and history[0].id != snapshot):
        yield


@contextmanager
def openings_by_hand_not_recorded() -> Iterator[None]:
    """A review that a back end opens has no audit entry."""
    original = reviews._entries

    def _entries(review: Any) -> Iterator[Any]:
        for by, action, at, ids in original(review):
            yield (By("") if action == "review.opened" else by), action, at, ids

    with _replaced(reviews, "_entries", _entries):
        yield


@contextmanager
def open_reviews_follow_another_number() -> Iterator[None]:
    """A review that was opened for two reviewers needs one as soon as the stack is set to one."""
    original = stored_reviews.review_of
    with _replaced(stored_reviews, "review_of", lambda item: replace(original(item), reviewers_needed=1)):
        yield


@contextmanager
def comparisons_not_recorded() -> Iterator[None]:
    """A reviewer is shown a claim and an owner without an entry."""
    original = Audit.read

    def read(self: Audit, by: By, action: Any, *more: Any, **ids: Any) -> None:
        if action != "comparison.read":
            original(self, by, action, *more, **ids)

    with _replaced(Audit, "read", read):
        yield


@contextmanager
def queue_goes_on_behind_the_next_page() -> Iterator[None]:
    """The cursor of the queue skips a review."""
    original = review_queue.page

    def page(*arguments: Any) -> Any:
        found = original(*arguments)
        return found if found.following is None else replace(found, following=replace(found.following, after=f"ver_{'f' * 32}"))

    with _replaced(review_queue, "page", page):
        yield


BUGS: dict[str, Callable[[], Any]] = {
    "review_opened_after_the_verdict": review_opened_after_the_verdict,
    "last_decision_wins": last_decision_wins,
    "closed_reviews_not_finished": closed_reviews_not_finished,
    "entries_of_reviews_written_anew": entries_of_reviews_written_anew,
    "decided_without_proof_of_the_key": decided_without_proof_of_the_key,
    "notes_survive_erasure": notes_survive_erasure,
    "reviews_wait_for_ever": reviews_wait_for_ever,
    "open_reviews_not_looked_at": open_reviews_not_looked_at,
    "decision_replaces_the_verdict": decision_replaces_the_verdict,
    "reviews_that_expire_count_as_rejected": reviews_that_expire_count_as_rejected,
    "one_reviewer_is_enough": one_reviewer_is_enough,
    "repeated_decisions_are_refused": repeated_decisions_are_refused,
    "open_reviews_end_as_inactive": open_reviews_end_as_inactive,
    "moved_owners_end_reviews": moved_owners_end_reviews,
    "newer_owners_end_reviews": newer_owners_end_reviews,
    "openings_by_hand_not_recorded": openings_by_hand_not_recorded,
    "open_reviews_follow_another_number": open_reviews_follow_another_number,
    "comparisons_not_recorded": comparisons_not_recorded,
    "queue_goes_on_behind_the_next_page": queue_goes_on_behind_the_next_page,
    "throttled_calls_are_internal_errors": throttled_calls_are_internal_errors,
    "throttled_calls_make_dead_letters": throttled_calls_make_dead_letters,
    "throttled_deliveries_count_as_failures": throttled_deliveries_count_as_failures,
    "queues_with_short_patience": queues_with_short_patience,
    "events_deferred_too_often_are_dropped": events_deferred_too_often_are_dropped,
    "cancelled_transactions_not_repeated": cancelled_transactions_not_repeated,
    "unprocessed_keys_taken_for_missing": unprocessed_keys_taken_for_missing,
    "busy_table_is_an_internal_error": busy_table_is_an_internal_error,
    "context_taken_for_a_connected_account": context_taken_for_a_connected_account,
    "thin_events_not_listed": thin_events_not_listed,
    "repaired_accounts_resume_nobody": repaired_accounts_resume_nobody,
    "repair_before_the_wait_is_not_seen": repair_before_the_wait_is_not_seen,
    "accounts_to_be_repaired_are_not_read": accounts_to_be_repaired_are_not_read,
    "inactive_accounts_end_what_would_wait": inactive_accounts_end_what_would_wait,
    "late_workers_change_later_waits": late_workers_change_later_waits,
    "stop_ends_nothing": stop_ends_nothing,
    "stop_not_seen_before_a_refresh": stop_not_seen_before_a_refresh,
    "stop_forgets_broken_imports": stop_forgets_broken_imports,
    "waiter_stored_late": waiter_stored_late,
    "lease_not_conditional": lease_not_conditional,
    "events_of_the_other_mode_are_taken_in": events_of_the_other_mode_are_taken_in,
    "events_for_others_are_refused": events_for_others_are_refused,
    "ordered_by_event_time": ordered_by_event_time,
    "claims_survive_erasure": claims_survive_erasure,
    "written_without_proof_of_the_key": written_without_proof_of_the_key,
    "matcher_failure_not_caught": matcher_failure_not_caught,
    "parts_written_one_by_one": parts_written_one_by_one,
    "too_many_owners_not_remembered": too_many_owners_not_remembered,
    "any_tenant_may_name_any_id": any_tenant_may_name_any_id,
    "ids_derived_without_a_secret": ids_derived_without_a_secret,
    "secret_of_ids_made_twice": secret_of_ids_made_twice,
    "newest_snapshot_answers": newest_snapshot_answers,
    "any_answer_ends_the_attempt": any_answer_ends_the_attempt,
    "any_reading_decides": any_reading_decides,
    "announcement_not_kept": announcement_not_kept,
    "recorded_afterwards": recorded_afterwards,
    "reads_not_recorded": reads_not_recorded,
    "erasure_waits_for_stripe": erasure_waits_for_stripe,
    "disconnection_not_repeated": disconnection_not_repeated,
    "first_failure_ends_the_run": first_failure_ends_the_run,
    "failed_item_stays_where_it_is": failed_item_stays_where_it_is,
    "tenants_share_ten_pages": tenants_share_ten_pages,
    "unknown_cursor_is_kept": unknown_cursor_is_kept,
    "tenants_retired_for_the_stacks_key": tenants_retired_for_the_stacks_key,
    "callers_book_ahead": callers_book_ahead,
    "slot_lost_with_the_settle_timeout": slot_lost_with_the_settle_timeout,
    "gives_up_after_settle_timeouts_in_the_queue": gives_up_after_settle_timeouts_in_the_queue,
    "refresh_after_the_deadline": refresh_after_the_deadline,
    "in_flight_is_not_looked_at_again": in_flight_is_not_looked_at_again,
    "claims_counted_without_looking_again": claims_counted_without_looking_again,
    "stale_never_lifted": stale_never_lifted,
}


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)
