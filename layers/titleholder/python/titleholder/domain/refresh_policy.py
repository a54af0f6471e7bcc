"""The refresh decision: what to do with an account now, as a pure function of the account, the requirement and the time.

The rules come from Stripe's guide to ownership data. A refresh needs an active account, the `ownership` permission, and
`next_refresh_available_at` in the past. If `ownership_refresh` is null, none was ever tried. If its `next_refresh_available_at` is null, no
refresh is possible now.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from titleholder.domain.accounts import AccountState, Attempt, OwnershipRefresh, StoredAccount
from titleholder.timestamps import to_milliseconds

CLOCK_SKEW = 10
"""How many seconds our clock and Stripe's may differ before a second refresh could be paid for."""

MEMORY_SECONDS = 30
"""A stored observation at most this old (seconds) is used instead of a new read, unless a refresh was pending in it."""

RESUME_SECONDS = 300
"""How long after a cooldown's end the observation that named this end is used, if a workflow has waited for it."""

IDEMPOTENCY_SECONDS = 23 * 3600
"""How long an idempotency key is used (seconds). Stripe may forget it after 24 hours, and it then protects nothing."""

LEASE_SECONDS = 45
"""How long only one worker may make a refresh call: longer than the gateway's slowest call (`gateway.LONGEST_CALL_SECONDS`)."""


LAG_SECONDS = 60
"""A read may show an account as it was this long ago. Only a longer cooldown keeps a call whose result is unknown from being paid twice."""


@dataclass(frozen=True, slots=True)
class FreshnessRequirement:
    """How fresh the data of a verification or an HTTP caller has to be. Times are Unix seconds.

    `not_before`: the time of the oldest usable data (time of the request less `max_age`). `requested_at`: the time of the request; the
    failure of an earlier refresh does not answer it. `deadline`: until when to wait. `joined`: `last_attempted_at` of the refresh that this
    verification or caller started or joined. Its result is the answer even if it is too old by the clocks.
    """

    not_before: float
    requested_at: float
    deadline: float
    joined: int | None = None

    def accepts(self, attempted_at: int) -> bool:
        """Whether data of the refresh tried at `attempted_at` is fresh enough."""
        return attempted_at >= self.not_before - CLOCK_SKEW or (self.joined is not None and attempted_at >= self.joined)

    def allows(self, attempted_at: int, created: int) -> bool:
        """Whether a verdict may rest on owners that Stripe created at `created`, for the refresh tried at `attempted_at`.

        Checked at the verdict, when `joined` is no longer known. Owners of a joined refresh were created after the request.
        """
        return self.accepts(attempted_at) or created >= self.not_before - CLOCK_SKEW

    def allows_owner(self, refreshed_at: int | None, attempted_at: int) -> bool:
        """Whether a verdict may rest on one owner of a snapshot, whose refresh was tried at `attempted_at`.

        `refreshed_at`: Stripe's time of the refresh that updated this owner, maybe an earlier one; None if Stripe names none.
        """
        return refreshed_at is None or refreshed_at >= min(attempted_at, self.not_before) - CLOCK_SKEW

    def answered_by_failure(self, attempted_at: int, asked_at: float | None) -> bool:
        """Whether the failure of the refresh tried at `attempted_at` is the answer to this request.

        It is if the request waited for that refresh, or if this stack started it after the request: at `asked_at` (Unix seconds; None if
        this stack did not start it, as in a prefetch). Stripe's time alone is not enough, because it has whole seconds and its clock may be
        ahead.
        """
        return (asked_at is not None and asked_at >= self.requested_at) or (self.joined is not None and attempted_at >= self.joined)


@dataclass(frozen=True, slots=True)
class Fresh:
    """The refresh tried at `attempted_at` succeeded and is fresh enough. Its owners, if it brought any, are the answer."""

    attempted_at: int


@dataclass(frozen=True, slots=True)
class JoinPending:
    """A refresh is under way: wait for it."""

    attempted_at: int


@dataclass(frozen=True, slots=True)
class StartRefresh:
    """A refresh may be started. `base` is `last_attempted_at` now, 0 if there was none."""

    base: int


@dataclass(frozen=True, slots=True)
class CoolingDown:
    """Stripe allows no refresh before `resume_at` (Unix seconds)."""

    resume_at: int


@dataclass(frozen=True, slots=True)
class NotVerifiable:
    """There will be no data. `reason` is a stable code."""

    reason: str


Decision = Fresh | JoinPending | StartRefresh | CoolingDown | NotVerifiable

OWNERSHIP_MISSING = "OWNERSHIP_MISSING"
"""The reason if a refresh succeeded and brought no owners, or only old ones."""

TOO_MANY_OWNERS = "TOO_MANY_OWNERS"

REASON_BY_ACCOUNT_STATUS = {"inactive": "ACCOUNT_INACTIVE", "disconnected": "ACCOUNT_DISCONNECTED"}

INACTIVE = REASON_BY_ACCOUNT_STATUS["inactive"]

INACTIVE_CODE = "financial_connections_account_inactive"
"""The code with which Stripe refuses to refresh an inactive account."""

ERASED = REASON_BY_ACCOUNT_STATUS["disconnected"]
"""The reason for an erased account, because Stripe never undoes a disconnection."""


_OF_NO_ACCOUNT = frozenset({"CANCELLED", "BATCH_STOPPED", "CLAIM_ERASED", "ACCOUNT_NOT_FOUND", TOO_MANY_OWNERS, ERASED})
"""Reasons that do not depend on the account's status."""


def final_reason(reason: str, account: StoredAccount) -> str:
    """The reason of a verdict without owners. `reason`: what ended the request. `account`: as stored at the time of the verdict.

    If the account is inactive, that is the reason, because its owners can't be fetched until it is active again. If it was erased since it
    was read, that is the reason, because its owners can never be fetched.
    """
    if reason in _OF_NO_ACCOUNT:
        return reason
    if account.erased_at is not None:
        return ERASED
    return INACTIVE if account.state is not None and account.state.status == "inactive" else reason


def decide(state: AccountState, need: FreshnessRequirement, now: float, attempt: Attempt | None) -> Decision:
    """What to do for `need` with an account in `state` at `now` (Unix seconds). `attempt`: this stack's newest one for the account."""
    refresh = state.refresh
    if state.status == "disconnected":
        return NotVerifiable(REASON_BY_ACCOUNT_STATUS["disconnected"])
    if "ownership" not in (state.permissions or ()):
        # Relinking an inactive account adds the permission too.
        return NotVerifiable(INACTIVE if state.status == "inactive" else "PERMISSION_MISSING")
    if refresh is not None and not refresh.settled:
        # An unknown status is treated like a pending one, because only waiting can't pay twice.
        return JoinPending(refresh.last_attempted_at)
    if refresh is not None and refresh.status == "succeeded" and need.accepts(refresh.last_attempted_at):
        return Fresh(refresh.last_attempted_at)
    if state.status == "inactive":
        return NotVerifiable(INACTIVE)
    if (
        refresh is not None
        and refresh.status == "failed"
        and need.answered_by_failure(refresh.last_attempted_at, asked_at(refresh, attempt))
    ):
        return NotVerifiable("REFRESH_FAILED")
    if refresh is None:
        return StartRefresh(base=0)
    if refresh.next_refresh_available_at is None:
        return NotVerifiable("REFRESH_UNAVAILABLE")
    if refresh.next_refresh_available_at > now:
        return _cool_down(refresh.next_refresh_available_at, need)
    return StartRefresh(base=refresh.last_attempted_at)


def decide_after_refusal(state: AccountState, need: FreshnessRequirement, now: float, code: str | None = None) -> Decision:
    """What to do after Stripe refused a refresh, by the account as it is afterwards.

    Stripe refuses either with an error, whose code is then `code`, or with an unchanged account in a 200. Neither is documented.
    """
    if code == INACTIVE_CODE:
        return NotVerifiable(REASON_BY_ACCOUNT_STATUS["inactive"])
    # No attempt is given, because a failure that the account shows was before the refusal, and so belongs to an earlier attempt.
    decision = decide(state, need, now, None)
    if not isinstance(decision, StartRefresh):
        return decision
    opens_at = state.refresh.next_refresh_available_at if state.refresh else None
    if opens_at is not None and now < opens_at + CLOCK_SKEW:
        # The cooldown is over by our clock, but maybe not by Stripe's. Wait once for the difference.
        return _cool_down(opens_at + CLOCK_SKEW, need)
    return NotVerifiable("REFRESH_REFUSED")


def decide_from_memory(stored: StoredAccount, need: FreshnessRequirement, now: float, resumed_at: float | None = None) -> Decision | None:
    """The decision from stored data alone; None if Stripe has to be asked.

    `resumed_at`: the end of the cooldown that the request has just waited for (Unix seconds); None if it has not.
    """
    if stored.erased_at is not None:
        return NotVerifiable(REASON_BY_ACCOUNT_STATUS["disconnected"])
    if stored.snapshot_attempted_at is not None and usable_snapshot(stored, need):
        return Fresh(stored.snapshot_attempted_at)
    if stored.state is None or (stored.attempt is not None and (stored.attempt.open or stored.observed_calls != stored.attempt.calls)):
        return None
    opens_at = stored.state.refresh.next_refresh_available_at if stored.state.refresh else None
    resumed = resumed_at is not None and opens_at is not None and opens_at <= resumed_at and now - opens_at <= RESUME_SECONDS
    if not resumed and now - stored.observed_at > MEMORY_SECONDS:
        return None
    decision = decide(stored.state, need, now, stored.attempt)
    # Stripe may have something that is not stored yet: owners to fetch, or a refresh that has settled since.
    asks = isinstance(decision, Fresh | JoinPending) or (isinstance(decision, StartRefresh) and _owners_not_seen(stored.state, stored))
    # No event says that a permission was added, so only an observation since the request shows that it is missing.
    asks = asks or (isinstance(decision, NotVerifiable) and stored.observed_at < need.requested_at)
    # Before a workflow waits for another repair, ask Stripe whether the account is still active after the first one.
    asks = asks or (resumed_at is not None and decision == NotVerifiable(INACTIVE))
    return None if asks else decision


def needs_repair(state: AccountState | None) -> bool:
    """Whether an account is inactive and can be repaired, as far as Stripe shows."""
    return state is not None and state.status == "inactive" and not state.beyond_repair


def is_gone(account: StoredAccount) -> bool:
    """Whether an account can never be active again: it was erased or disconnected, or Stripe says that nothing repairs it."""
    state = account.state
    return account.erased_at is not None or (state is not None and (state.status == "disconnected" or state.beyond_repair))


def _owners_not_seen(state: AccountState, stored: StoredAccount) -> bool:
    """Whether a refresh has succeeded whose owners are not stored, so that only Stripe shows whether they are too many."""
    known = state.refresh
    return known is not None and known.status == "succeeded" and (stored.snapshot_attempted_at or 0) < known.last_attempted_at


def usable_snapshot(stored: StoredAccount, need: FreshnessRequirement) -> str | None:
    """The stored snapshot if a verdict for `need` may rest on it, else None."""
    fresh = stored.snapshot_attempted_at is not None and need.accepts(stored.snapshot_attempted_at)
    return stored.snapshot if fresh else None


def origin(succeeded: OwnershipRefresh, created: int) -> int:
    """When the refresh was tried that an account's ownership object came from, as far as Stripe shows it (Unix seconds).

    `created`: when the object was created. Stripe may leave an old object with an account after a newer refresh has succeeded. Its owners
    are then as old as the object.
    """
    return succeeded.last_attempted_at if created >= succeeded.last_attempted_at - CLOCK_SKEW else created


def was_started(before: int, after: AccountState, began_at: float = 0.0) -> bool:
    """Whether the answer to a refresh call shows a pending refresh, or one that settled since the call was first made, at `began_at`.

    `before`: `last_attempted_at` as it was known then, 0 for none. It may come from an outdated read, so a settled refresh also has to be
    newer than the call.
    """
    refresh = after.refresh
    if refresh is None or refresh.status == "pending":
        return refresh is not None
    return refresh.last_attempted_at > before and refresh.last_attempted_at >= began_at - CLOCK_SKEW


def asked_at(refresh: OwnershipRefresh, attempt: Attempt | None) -> float | None:
    """When this stack started `refresh` (Unix seconds); None if it did not start it. `attempt`: this stack's newest one for the account."""
    if attempt is None or not attempt.base < refresh.last_attempted_at >= attempt.began_at - CLOCK_SKEW:
        return None
    return attempt.began_at


def may_have_started(attempt: Attempt, now: float) -> bool:
    """Whether an earlier call at the same base may have started a refresh that Stripe does not show yet."""
    return attempt.doubted_at is not None and now - attempt.doubted_at < LAG_SECONDS


def is_outdated(reading: AccountState, begun_at: float, known: StoredAccount) -> bool:
    """Whether a reading that began at `begun_at` (Unix seconds) is older than what is stored about the account.

    A refresh that is pending in the reading, and that another worker found settled meanwhile, may still be joined.
    """
    if known.state is None or order(reading.refresh) >= order(known.state.refresh):
        return False
    same = order(reading.refresh) // 2 == order(known.state.refresh) // 2
    return not same or known.observed_at < begun_at


def is_pending(account: StoredAccount) -> bool:
    """Whether a refresh of the account is pending, as stored."""
    known = account.state.refresh if account.state is not None else None
    return known is not None and not known.settled


def is_open(state: AccountState, brought: tuple[int, int, str] | None, account: StoredAccount) -> bool:
    """Whether an account's refresh has yet to settle, its owners to be stored, its verdicts to show its status, or all to be erased.

    `state`: as it was read. `brought`: the position of the owners that came with it. `account`: what was stored before.
    """
    return is_unsettled(state, brought, account) or state.status == "disconnected" or is_staleness_due(state, account)


def is_staleness_due(state: AccountState, account: StoredAccount) -> bool:
    """Whether the verdicts of an account in `state` have to be marked as stale, or their marks to be lifted. Arguments as for `is_open`.

    Verdicts of an account with a status that this release does not know stay as they are.
    """
    return state.status in ("inactive", "active") and has_changed(state, account)


def has_changed(state: AccountState, account: StoredAccount) -> bool:
    """Whether the verdicts of an account may not show yet that it is inactive, or that it no longer is. Arguments as for `is_open`."""
    if state.status == "inactive":
        return not account.stale_marked
    return account.stale_marked or account.lift_pending or (account.state is not None and account.state.status == "inactive")


def status_since(state: AccountState, observed_at: float, account: StoredAccount) -> float:
    """`StoredAccount.status_since` to store with `state`, which was read at `observed_at`. `account`: what was stored before."""
    seen_before = account.state is None or account.state.status == state.status
    return account.status_since if seen_before else observed_at


def is_unconfirmed(observed_at: float, since: float) -> bool:
    """Whether a status that was first seen at `since` has not been confirmed yet by a reading that was made long enough after that.

    Readings may lag. If an account changes its status twice within that lag, the earlier status may be read after the later one.
    """
    return observed_at - since < LAG_SECONDS + CLOCK_SKEW


LAST_OBSERVATION = "~"
"""Sorts after every `observation`. Used for a disconnected account, because it stays disconnected."""


def observation(account: StoredAccount) -> str:
    """The position of an account's newest stored reading, as text. A reading replaces those whose text sorts before its own."""
    return f"{order(account.state.refresh if account.state else None):012}#{to_milliseconds(account.observed_at):015}"


def is_unsettled(state: AccountState, brought: tuple[int, int, str] | None, account: StoredAccount) -> bool:
    """Whether an account's refresh has yet to settle or its owners to be stored. Arguments as for `is_open`."""
    refresh = state.refresh
    if refresh is None or refresh.status == "failed" or state.status == "disconnected":
        return False
    return refresh.status != "succeeded" or (brought is not None and position(account) < brought)


def position(account: StoredAccount) -> tuple[int, int, str]:
    """The position of the newest stored owners: when their refresh was tried, when Stripe created them, their id."""
    return account.snapshot_attempted_at or 0, account.snapshot_created or 0, account.snapshot or ""


def brought_position(state: AccountState, created: int, id_: str) -> tuple[int, int, str] | None:
    """The `position` of an ownership object that came with an account; None if the account's refresh has not succeeded."""
    refresh = state.refresh
    return None if refresh is None or refresh.status != "succeeded" else (origin(refresh, created), created, id_)


def shows(state: AccountState, created: int | None, what: str, at: float, before: StoredAccount) -> bool:
    """Whether an account shows what an event reported: that it became `what` at the time `at` (Unix seconds).

    `created`: when the ownership object that came with `state` was created; None without one. `before`: what was stored before the account
    was read.
    """
    match what:
        case "disconnected":
            return state.status == "disconnected"
        case "deactivated":
            return state.status != "active"
        case "reactivated":
            return state.status != "inactive"
    refresh = state.refresh
    if refresh is None or not refresh.settled:
        return refresh is not None and refresh.last_attempted_at > at
    # The account shows a settled refresh. It is not the event's but an earlier one if it was stored before the event, if its owners are
    # older than the event, or if this stack has started another one since.
    latest = at - CLOCK_SKEW
    known = before.state is not None and order(refresh) <= order(before.state.refresh) and before.shown_since < latest
    older = created is not None and created < latest
    attempt = before.attempt
    asked = attempt is not None and attempt.base == refresh.last_attempted_at and attempt.began_at <= at + CLOCK_SKEW
    return not (known or older or asked)


def settled_since(before: AccountState, after: AccountState) -> bool:
    """Whether `after` shows the end of the refresh that `before` shows as pending, or of a later one."""
    return after.refresh is not None and after.refresh.settled and order(after.refresh) > order(before.refresh)


def began_before(base: int, account: StoredAccount) -> bool:
    """Whether the refresh of the time `base`, which the account shows, is older than the stack's newest attempt, and so not its result.

    Readings may lag, so an attempt may be made before a refresh is known that runs already, such as a prefetch. `began_at` is a time of
    this stack's clock, and `base` one of Stripe's. So a reading that showed the refresh must also have begun before the attempt.
    """
    attempt, refresh = account.attempt, None if account.state is None else account.state.refresh
    if attempt is None or refresh is None or refresh.last_attempted_at != base:
        return False
    return base < int(attempt.began_at) and account.shown_since < attempt.began_at


def next_attempt(previous: Attempt | None, base: int, now: float, new_key: str, *, older: bool = False) -> Attempt:
    """The attempt to make now: the previous one again if Stripe never answered it, else a new one with `new_key`.

    `older`: the refresh that the account shows is not the previous attempt's (`began_before`), so Stripe may still execute that attempt.
    """
    same = previous is not None and (previous.base == base or older)
    if previous is not None and same and previous.open and now - previous.began_at < IDEMPOTENCY_SECONDS:
        return replace(previous, calls=previous.calls + 1)
    calls = 1 if previous is None else previous.calls + 1
    number = 1 if previous is None else previous.number + 1
    doubted_at = previous.doubted_at if previous is not None and previous.base == base else None
    return Attempt(number=number, key=new_key, base=base, began_at=now, calls=calls, open=True, doubted_at=doubted_at)


def order(refresh: OwnershipRefresh | None) -> int:
    """A number that orders observations: later attempts after earlier ones, and for the same attempt settled after pending."""
    return 0 if refresh is None else refresh.last_attempted_at * 2 + refresh.settled


def _cool_down(resume_at: int, need: FreshnessRequirement) -> CoolingDown | NotVerifiable:
    return CoolingDown(resume_at) if resume_at <= need.deadline else NotVerifiable("COOLDOWN_BEYOND_DEADLINE")
