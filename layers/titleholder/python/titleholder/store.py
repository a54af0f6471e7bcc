"""The tables: every read and write that Titleholder does in DynamoDB, and the only module that speaks to it.

The table, keys `pk` and `sk`:

| item | pk | sk |
| --- | --- | --- |
| account (observation, newest snapshot, refresh attempt and its lease) | ACCOUNT#<ref> | ACCOUNT |
| snapshot of owners (personal data, sealed) | ACCOUNT#<ref> | SNAPSHOT#<fcaowns id> |
| a part of a large snapshot's owners (sealed) | ACCOUNT#<ref> | SNAPSHOT#<fcaowns id>#PART#<number> |
| what a snapshot changed, in order of time | ACCOUNT#<ref> | HISTORY#<attempted at>#<created>#<fcaowns id> |
| claim (personal data, sealed) | ACCOUNT#<ref> | CLAIM#<verification id> |
| which claims were made within 24 hours, as digests | ACCOUNT#<ref> | DIGESTS |
| waiter | ACCOUNT#<ref> | WAITER#<verification id> |
| which verifications an account has, in order of time | ACCOUNT#<ref> | VERIFICATION#<requested at, ms>#<id> |
| which verifications of all accounts a customer has | CUSTOMER#<mode>/<connected account>/<id> | VERIFICATION#<requested at, ms>#<id> |
| verification and verdict, or a group and its members | VERIFICATION#<id> | VERIFICATION |
| event received from Stripe | EVENT#<id> | EVENT |
| event received that is not for this stack, or malformed | EVENT#<id> | ASIDE#<why> |
| connected account seen | CONNECTED#<mode> | <acct id> |
| record of who asked for what | AUDIT#<UTC day> | <milliseconds>#<random>, of the entry after an effect: <milliseconds>#<random>#after |
| pace of one of Stripe's operations; of `all`, the calls of the last second | PACE#<line> | PACE |
| where reconcile stopped | RECONCILE#<what> | RECONCILE |
| secret that ids are derived with, made once | SECRET#ids | SECRET |
| answer to a repeatable request (Powertools', see `idempotency`) | IDEMPOTENCY#<digest> | IDEMPOTENCY#<digest> |
| batch | BATCH#<id> | BATCH |
| what became of one range of its manifest | BATCH#<id> | RANGE#<number> |
| its verdicts as they come, counted in shards | BATCH#<id> | COUNT#<shard> |

What is not finished (a refresh that has not been fetched, a verification without verdict, an erasure, an announcement that the event bus
has not taken) has `open_kind` and `open_since_ms`, by which the sparse index `open` lists it, the longest waiting first. `repair_tries`
counts the failed repairs of such an item. For the kind `disconnection`, `open_since_ms` is when the next try is due.

An announcement that follows a change is kept in the same write as the change: the item is listed as `announcement` until the event bus has
taken it. A verification's announcement is made from its verdict, any other one is in the attribute `announcement`.

The table of keys, key `pk` alone, never backed up, holds under ACCOUNT#<ref> the account's wrapped data key, or its tombstone
(`erased_ms`). What is sealed is written in one transaction with a check that this very key still stands, so that nothing can be written
once it is destroyed.

`<ref>` is `AccountRef.key`. `expires_at` (Unix seconds) is the table's TTL attribute; what has expired and is not deleted yet counts as
gone.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from titleholder.domain import claim_limit, snapshots
from titleholder.domain.accounts import AccountHolder, AccountRef, AccountState, Attempt, Mode, OwnershipRefresh, StoredAccount
from titleholder.domain.refresh_policy import LEASE_SECONDS, REASON_BY_ACCOUNT_STATUS, FreshnessRequirement, order
from titleholder.domain.sensitive import Sensitive
from titleholder.errors import (
    AccountErasedError,
    BatchNotFoundError,
    ClaimLimitExceededError,
    IdempotencyConflictError,
    SnapshotNotFoundError,
    VerificationNotFoundError,
    reraise_unless,
)
from titleholder.items import deserialize, serialize

if TYPE_CHECKING:
    from titleholder.aws.encryption import AccountCipher

DAY = 86_400
EVENT_RETENTION_SECONDS = 35 * DAY
TRANSACTION_TRIES = 6
_FAILED = "ConditionalCheckFailed"
_CONDITION_FAILED = "ConditionalCheckFailedException"

EVENT_PATIENCE_SECONDS = 300
"""How long an event may wait for its processing before it is queued again."""

BATCH_SHARDS = 8

TICKS_PER_SECOND, TICKS = 10, 16
"""How finely calls to Stripe are counted, and for how many ticks: more than a second's, so that no count is reused too early."""

OpenKind = Literal["refresh", "erasure", "disconnection", "verification", "announcement"]

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One immutable `account_ownership` with all its owners. `owners`: dicts with id, name, email, phone, raw_address, refreshed_at.

    `too_many`: how many owners were read until it was clear that they are too many (`domain.snapshots`); then `owners` is empty.
    """

    id: str
    attempted_at: int
    created: int
    owners: Sensitive[Sequence[Mapping[str, Any]]]
    too_many: int | None = None


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """A snapshot without its owners. `changes` (`domain.owner_changes`, as dicts) are those since the snapshot `since`; None: not known.

    `too_many_owners`: there were at least `owner_count`, and none is stored.
    """

    id: str
    attempted_at: int
    created: int
    owner_count: int
    since: str | None = None
    changes: Sequence[Mapping[str, Any]] | None = None
    too_many_owners: bool = False


@dataclass(frozen=True, slots=True)
class Waiter:
    """A paused workflow. `turn` orders the tokens of one verification: a later turn's token replaces an earlier one's.

    `joined_at`: when it began to wait for the refresh that `need.joined` names, by our clock (Unix seconds).
    """

    verification: str
    task_token: str = field(repr=False)
    turn: str
    need: FreshnessRequirement
    trouble: str | None = None
    joined_at: float | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """A verification without its claim. `verdict` is None until it ended. Times are Unix seconds.

    `claim_digest` is None where the account was erased before; `request_digest` is of all else that was asked for.
    `batch` and `line`: the batch that works on it, and the line of its manifest.
    """

    id: str
    ref: AccountRef
    claim_digest: str | None
    policy: Mapping[str, Any]
    max_age: int
    requested_at: float
    deadline: float
    request_digest: str
    group: str | None = None
    verdict: Mapping[str, Any] | None = None
    completed_at: float | None = None
    stale: str | None = None
    batch: str | None = None
    line: int | None = None

    @property
    def need(self) -> FreshnessRequirement:
        return FreshnessRequirement(not_before=self.requested_at - self.max_age, requested_at=self.requested_at, deadline=self.deadline)


@dataclass(frozen=True, slots=True)
class DigestedClaim:
    """A claim with its account's wrapped key, and its digest under that key. Both are None if the account was erased.

    `names` are the digests under which the claim counts, one for each of its names; `counted` is what was last seen of what is counted.
    """

    claim: Sensitive[Mapping[str, Any]]
    wrapped: bytes | None = field(repr=False)
    digest: str | None
    names: Sequence[str] = ()
    counted: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class IdSecret:
    """What ids of verifications are derived with. `made_at` (Unix seconds): when this release was first used."""

    value: bytes = field(repr=False)
    made_at: float


@dataclass(frozen=True, slots=True)
class OpenItem:
    """Something that is not finished, as the index lists it. `ref` or `verification` is None where the item is not about one."""

    kind: OpenKind
    pk: str
    sk: str
    ref: AccountRef | None
    verification: str | None


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is to be announced: the event's detail type and its detail (ids and codes, no personal data)."""

    type: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TenantState:
    """A connected account that has accounts here. Times are Unix seconds.

    `asked_at`: when its undelivered events were last asked for, 0 for never. `due_at`: not to be asked again before. `tries`: how often
    this failed in a row. `retired_at`: since when it refuses the stack's key, None if it does not.
    """

    stripe_account: str
    asked_at: float = 0.0
    due_at: float = 0.0
    tries: int = 0
    retired_at: float | None = None


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """An event that was recorded, with its type and Stripe's text for its time.

    `tries`: how often it was queued again because it was not processed; `due_at`: not before then again.
    """

    processed: bool
    due_at: float
    tries: int
    type: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A line that was made `factor` times slower than agreed, at `since` (Unix seconds)."""

    factor: float = 1.0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """A place in a line (Unix seconds), and how slow that was when it was booked."""

    at: float
    slowness: Backoff = Backoff()


@dataclass(frozen=True, slots=True)
class Group:
    """One claim against all accounts of a target: a `kind` (payment_method, session, customer) and its id. `members` are ids."""

    id: str
    mode: Mode
    stripe_account: str | None
    kind: str
    target: str
    members: Sequence[str]
    requested_at: float
    request_digest: str


@dataclass(frozen=True, slots=True)
class VerificationListing:
    """Whose verifications: an account's, or a customer's."""

    pk: str

    @classmethod
    def account(cls, ref: AccountRef) -> VerificationListing:
        return cls(_account_pk(ref))

    @classmethod
    def customer(cls, customer: str, mode: Mode, stripe_account: str | None) -> VerificationListing:
        return cls(f"CUSTOMER#{mode}/{stripe_account or 'platform'}/{customer}")


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many seconds personal data is kept."""

    snapshots: int = 400 * DAY
    claims: int = 400 * DAY


class Store:
    """The table named `table` and that of keys, through a boto3 DynamoDB client.

    `vault` is asked for where something is sealed or opened, and only there. `clock`: Unix seconds, by which things expire.
    `new_secret` makes 32 random bytes or more. `claims_per_day`: so many different claims about one account are accepted within 24 hours.
    """

    def __init__(
        self,
        client: Any,
        table: str,
        *,
        keys_table: str,
        vault: Callable[[], AccountCipher],
        clock: Callable[[], float],
        retention: Retention = Retention(),  # immutable
        sleep: Callable[[float], None] = time.sleep,
        new_secret: Callable[[], bytes] = secrets.token_bytes,
        claims_per_day: int = 100,
    ) -> None:
        self._client = client
        self._table = table
        self._keys_table = keys_table
        self._vault = vault
        self._clock = clock
        self._retention = retention
        self._sleep = sleep
        self._new_secret = new_secret
        self._claims_per_day = claims_per_day
        self._id_secret: IdSecret | None = None

    # -- accounts ----------------------------------------------------------------------------------------------------------------

    def get_account(self, ref: AccountRef) -> StoredAccount:
        """What is remembered of the account; an empty StoredAccount if nothing is."""
        item = self._get(_account_pk(ref), "ACCOUNT")
        if item is None:
            return StoredAccount()
        state = attempt = None
        if "status" in item:
            refresh = None
            if item.get("refresh_status") is not None:
                refresh = OwnershipRefresh(
                    status=item["refresh_status"],
                    last_attempted_at=int(item["last_attempted_at"]),
                    next_refresh_available_at=_int(item.get("next_refresh_available_at")),
                    error=json.loads(item["refresh_error"]) if item.get("refresh_error") else None,
                )
            permissions = item.get("permissions")
            state = AccountState(
                status=item["status"],
                permissions=None if permissions is None else tuple(permissions),
                refresh=refresh,
                livemode=ref.mode == "live",
                holder=AccountHolder(*item["holder"].split("/", 1)) if item.get("holder") else None,
            )
        if "attempt" in item:
            attempt = Attempt(
                number=int(item["attempt"]),
                key=item["attempt_key"],
                base=int(item["attempt_base"]),
                began_at=_seconds(item["attempt_began_ms"]),
                calls=int(item["attempt_calls"]),
                open=item["attempt_open"],
                doubted_at=None if item.get("attempt_doubted_ms") is None else _seconds(item["attempt_doubted_ms"]),
            )
        kept = self._lives(item.get("snapshot_expires_at"))
        return StoredAccount(
            state=state,
            observed_at=_seconds(item.get("observed_ms", 0)),
            observed_calls=int(item.get("observed_calls", 0)),
            # An earlier release did not keep it.
            shown_since=_seconds(item.get("shown_since_ms", item.get("observed_ms", 0))),
            snapshot=item.get("snapshot") if kept else None,
            snapshot_attempted_at=_int(item.get("snapshot_attempted_at")) if kept else None,
            snapshot_created=_int(item.get("snapshot_created")) if kept else None,
            too_many_owners=bool(kept and item.get("snapshot_too_many")),
            attempt=attempt,
            lease_until=_seconds(item["lease_until_ms"]) if "lease_until_ms" in item else None,
            slot=_seconds(item["slot_ms"]) if "slot_ms" in item else None,
            erased_at=_seconds(item["erased_ms"]) if "erased_ms" in item else None,
            erasure_ended="erasure_ended_ms" in item,
            stale_marked="stale_marked_ms" in item,
            disconnect_pending="disconnect_pending" in item,
            disconnect_tries=int(item.get("disconnect_tries", 0)),
        )

    def observe(
        self, ref: AccountRef, state: AccountState, observed_at: float, *, open_: bool, calls: int, shown_since: float | None = None
    ) -> bool:
        """Remember an account as Stripe described it in a read begun at `observed_at`; False if something newer is, or it was erased.

        `open_` says that there is something left to do, see `ownership._is_open`; `calls` how many refresh calls had been answered before;
        `shown_since` when its refresh was first seen as it is, None if it is seen so now.
        """
        refresh = state.refresh
        return self._update(
            _account_pk(ref),
            "ACCOUNT",
            set_={
                **_ref_attributes(ref),
                "status": state.status,
                "permissions": None if state.permissions is None else list(state.permissions),
                "refresh_status": refresh.status if refresh else None,
                "last_attempted_at": refresh.last_attempted_at if refresh else None,
                "next_refresh_available_at": refresh.next_refresh_available_at if refresh else None,
                "refresh_error": json.dumps(refresh.error, sort_keys=True) if refresh and refresh.error else None,
                "refresh_order": order(refresh),
                "holder": f"{state.holder.kind}/{state.holder.id}" if state.holder else None,
                "observed_ms": _ms(observed_at),
                "observed_calls": calls,
                "shown_since_ms": _ms(observed_at if shown_since is None else shown_since),
                **(_opened("refresh", observed_at) if open_ else {}),
            },
            remove=(*(("repair_tries",) if open_ else _OPEN), *(() if state.status in REASON_BY_ACCOUNT_STATUS else ("stale_marked_ms",))),
            condition=f"{_NOT_ERASED} AND (attribute_not_exists(refresh_order) OR refresh_order < :refresh_order "
            "OR (refresh_order = :refresh_order AND observed_ms <= :observed_ms))",
        )

    def end_staleness(self, ref: AccountRef, state: AccountState, now: float, *, open_: bool) -> bool:
        """Note that all verdicts of an account that is `state.status` were marked; False if its observation has changed.

        `open_`: its refresh is not finished all the same.
        """
        return self._update(
            _account_pk(ref), "ACCOUNT", set_={"stale_marked_ms": _ms(now)}, remove=() if open_ else _OPEN,
            condition="#status = :status AND refresh_order = :order", names={"#status": "status"},
            values={":status": state.status, ":order": order(state.refresh)},
        )  # fmt: skip

    def begin_attempt(self, ref: AccountRef, attempt: Attempt, seen: Attempt | None, now: float) -> bool:
        """Take the lease for one refresh call; False if another caller holds it, or has made an attempt since `seen` was read.

        The one condition that says when the lease may be taken over: nobody else's attempt came in between, and no lease runs.
        """
        free = "(attribute_not_exists(lease_until_ms) OR lease_until_ms <= :now)"
        unchanged = "attribute_not_exists(attempt)" if seen is None else "attempt_calls = :seen"
        return self._update(
            _account_pk(ref),
            "ACCOUNT",
            set_={
                **_ref_attributes(ref),
                "attempt": attempt.number,
                "attempt_key": attempt.key,
                "attempt_base": attempt.base,
                "attempt_began_ms": _ms(attempt.began_at),
                "attempt_calls": attempt.calls,
                "attempt_open": True,
                "attempt_doubted_ms": None if attempt.doubted_at is None else _ms(attempt.doubted_at),
                "lease_until_ms": _ms(now + LEASE_SECONDS),
                **_opened("refresh", now),
            },
            remove=["slot_ms"],
            condition=f"{unchanged} AND {free} AND {_NOT_ERASED}",
            values={":now": _ms(now), **({} if seen is None else {":seen": seen.calls})},
        )

    def end_attempt(self, ref: AccountRef, attempt: Attempt, *, answered: bool, doubted_at: float | None = None) -> bool:
        """Give the lease back. An attempt that Stripe did not answer stays open: whoever is next repeats it under its key.

        `doubted_at`: the answer leaves open whether a refresh was started, see `Attempt`. False if a later call has begun.
        """
        doubt = {} if doubted_at is None else {"attempt_doubted_ms": _ms(doubted_at)}
        return self._update(
            _account_pk(ref), "ACCOUNT", set_={"attempt_open": not answered, **doubt}, remove=["lease_until_ms"],
            condition="attempt_calls = :calls", values={":calls": attempt.calls},
        )  # fmt: skip

    def keep_slot(self, ref: AccountRef, slot: float, known: float | None) -> bool:
        """Keep a slot of the rate limiter (Unix seconds) for an account's next refresh call; False if another one than `known` is kept."""
        unchanged = "attribute_not_exists(slot_ms)" if known is None else "slot_ms = :known"
        return self._update(
            _account_pk(ref), "ACCOUNT", set_={**_ref_attributes(ref), "slot_ms": _ms(slot)}, condition=unchanged,
            values={} if known is None else {":known": _ms(known)},
        )  # fmt: skip

    def drop_slot(self, ref: AccountRef, known: float) -> bool:
        """Forget the slot that was kept for the account's next refresh call, because it needs none."""
        return self._update(
            _account_pk(ref), "ACCOUNT", set_=_ref_attributes(ref), remove=["slot_ms"], condition="slot_ms = :known",
            values={":known": _ms(known)},
        )  # fmt: skip

    # -- snapshots ---------------------------------------------------------------------------------------------------------------

    def put_snapshot(
        self,
        ref: AccountRef,
        snapshot: Snapshot,
        now: float,
        *,
        since: str | None = None,
        changes: Sequence[Mapping[str, Any]] | None = None,
        announcement: Announcement | None = None,
    ) -> int:
        """Keep a snapshot unchanged while it lasts, with what it changed; returns when it expires. One that is kept stays as it is.

        All of it is written in one transaction, in as many items as its owners need, so that a crash never leaves a part of them.

        `announcement`: what has to be announced of it, until `announced_snapshot`.

        Raises:
            AccountErasedError: the account was erased; nothing is kept.
        """
        sk, expires_at, wrapped = f"SNAPSHOT#{snapshot.id}", int(now) + self._retention.snapshots, self._key_for_writing(ref)
        parts = snapshots.in_parts(snapshot.owners.reveal())
        kept: Item = {
            "pk": _account_pk(ref),
            "snapshot": snapshot.id,
            "attempted_at": snapshot.attempted_at,
            "snapshot_created": snapshot.created,
            "stored_ms": _ms(now),
            "expires_at": expires_at,
        }
        many: Item = {} if snapshot.too_many is None else {"too_many": snapshot.too_many}
        # In parts, the first item has no owners of its own: a release that knows no parts must not take the first part for all of them.
        body = {**kept, **many, "sk": sk} | (
            {"owners": self._vault().seal(ref, wrapped, sk, parts[0])} if len(parts) == 1 else {"parts": len(parts)}
        )
        more: list[Item] = [
            {**kept, "sk": part, "owners": self._vault().seal(ref, wrapped, part, owners)}
            for part, owners in zip(_part_sks(body), parts, strict=False)
        ]
        entry = {
            **kept,
            "sk": _history_sk(snapshot),
            **many,
            "owner_count": snapshot.too_many or sum(map(len, parts)),
            "since": since,
            "changes": None if changes is None else json.dumps([dict(change) for change in changes]),
            **({} if announcement is None else {**_ref_attributes(ref), **_unannounced(announcement, now)}),
        }
        old = self._put_all([body, entry, *more], ref, wrapped)
        return expires_at if old is None else int(old["expires_at"])

    def set_newest(self, ref: AccountRef, snapshot: Snapshot, expires_at: int | None = None) -> bool:
        """Make a snapshot, which expires then, the account's newest; False if a newer one is, or it was erased. None: as it was."""
        return self._update(
            _account_pk(ref),
            "ACCOUNT",
            set_={
                **_ref_attributes(ref),
                "snapshot": snapshot.id,
                "snapshot_attempted_at": snapshot.attempted_at,
                "snapshot_created": snapshot.created,
                "snapshot_too_many": snapshot.too_many,
                **({} if expires_at is None else {"snapshot_expires_at": expires_at}),
            },
            remove=_OPEN,
            condition=f"{_NOT_ERASED} AND (attribute_not_exists(snapshot_attempted_at) OR snapshot_attempted_at < :snapshot_attempted_at "
            "OR (snapshot_attempted_at = :snapshot_attempted_at AND snapshot_created < :snapshot_created) "
            "OR (snapshot_attempted_at = :snapshot_attempted_at AND snapshot_created = :snapshot_created AND #snapshot <= :snapshot))",
        )

    def announced_snapshot(self, ref: AccountRef, snapshot: Snapshot) -> bool:
        """Note that what a snapshot changed was announced."""
        return self._announced(_account_pk(ref), _history_sk(snapshot))

    def get_snapshot(self, ref: AccountRef, snapshot: str) -> Snapshot:
        """Raises SnapshotNotFoundError, also if it has expired, and AccountErasedError."""
        sk = f"SNAPSHOT#{snapshot}"
        return _snapshot(self._opened(ref, {sk: "owners"}).get(sk))

    def past_snapshots(self, ref: AccountRef, limit: int, after: str | None = None) -> tuple[list[SnapshotSummary], str | None]:
        """So many of an account's snapshots, the newest first, below position `after`; and where to go on, if there are more."""
        items, position = self._page(_account_pk(ref), _HISTORY, limit, after)
        return [_past(item) for item in items if self._lives(item.get("expires_at"))], position

    # -- waiters -----------------------------------------------------------------------------------------------------------------

    def put_waiter(self, ref: AccountRef, waiter: Waiter, hop: int = 0, message_id: str = "") -> Waiter | None:
        """Remember whom to wake; returns it with what it had joined in an earlier turn, or None if a later turn waits already.

        `hop`: how often the turn's message was put back into its queue, `message_id`: of its present message. None also for a copy of that
        message. A request that comes again and again would otherwise multiply, because each of its copies is put back.
        """
        kept = self._updated(
            _account_pk(ref),
            f"WAITER#{waiter.verification}",
            set_={
                "verification": waiter.verification,
                "task_token": waiter.task_token,
                "turn": waiter.turn,
                "not_before_ms": _ms(waiter.need.not_before),
                "requested_ms": _ms(waiter.need.requested_at),
                "deadline_ms": _ms(waiter.need.deadline),
                "hop": hop,
                "message_id": message_id,
                "expires_at": int(waiter.need.deadline) + 7 * DAY,
            },
            condition="attribute_not_exists(turn) OR turn < :turn OR (turn = :turn AND (attribute_not_exists(hop) OR hop < :hop "
            "OR (hop = :hop AND message_id = :message_id)))",
        )
        return None if kept is None else _waiter(kept)

    def set_joined(self, ref: AccountRef, verification: str, attempted_at: int, now: float) -> bool:
        """Remember which refresh the waiter waits for, and since when; False if it was woken meanwhile."""
        return self._update(
            _account_pk(ref), f"WAITER#{verification}", set_={"joined": attempted_at, "joined_ms": _ms(now)},
            condition="attribute_exists(pk)",
        )  # fmt: skip

    def note_trouble(self, ref: AccountRef, verification: str, reason: str) -> bool:
        """Remember why the waiter still waits, for the verdict should nothing better come."""
        return self._update(_account_pk(ref), f"WAITER#{verification}", set_={"trouble": reason}, condition="attribute_exists(pk)")

    def get_waiter(self, ref: AccountRef, verification: str) -> Waiter | None:
        item = self._get(_account_pk(ref), f"WAITER#{verification}")
        return None if item is None else _waiter(item)

    def waiters(self, ref: AccountRef) -> Iterator[Waiter]:
        """Everybody who waits for this account, as of now (a consistent read)."""
        for item in self._query(_account_pk(ref), "WAITER#"):
            yield _waiter(item)

    def remove_waiter(self, ref: AccountRef, verification: str, turn: str | None = None) -> None:
        """Forget a waiter; with `turn` only if it still waits for that turn."""
        request: Item = {"TableName": self._table, "Key": _key(_account_pk(ref), f"WAITER#{verification}")}
        if turn is not None:
            request |= {
                "ConditionExpression": "attribute_not_exists(pk) OR turn = :turn",
                "ExpressionAttributeValues": {":turn": {"S": turn}},
            }
        _unless_refused(lambda: self._client.delete_item(**request))

    # -- verifications -----------------------------------------------------------------------------------------------------------

    def id_secret(self) -> IdSecret:
        """The secret that ids are derived with. The first caller makes it; it never changes, so each process reads it once."""
        if self._id_secret is None:
            item = self._get("SECRET#ids", "SECRET")
            if item is None:
                item = {"pk": "SECRET#ids", "sk": "SECRET", "secret": self._new_secret(), "made_ms": _ms(self._clock())}
                # Another caller, or our own retried request, may have stored one since. The stored one is the secret.
                old = self._put(item, condition="attribute_not_exists(pk)", return_old=True)
                item = item if old is True else old
            self._id_secret = IdSecret(bytes(item["secret"]), _seconds(item["made_ms"]))
        return self._id_secret

    def key_claim(self, ref: AccountRef, claim: Sensitive[Mapping[str, Any]]) -> DigestedClaim:
        """What a claim about the account can be known by, and kept with."""
        key, items = self._items_and_key(ref, [_DIGESTS])
        try:
            wrapped = self._new_key(ref) if key is None else _wrapped(key)
        except AccountErasedError:
            return DigestedClaim(claim, None, None)

        def digest(value: Mapping[str, Any]) -> str:
            return self._vault().digest(ref, wrapped, dict(value))

        names = [digest(one)[:_DIGEST_CHARS] for one in claim_limit.one_by_one(claim.reveal())]
        return DigestedClaim(claim, wrapped, digest(claim.reveal()), names, items.get(_DIGESTS))

    def check_claim(self, keyed: DigestedClaim) -> None:
        """Raises ClaimLimitExceededError if the claim may not be made just now. `create_verification` counts it."""
        if keyed.wrapped is not None:
            claim_limit.count(_counted(keyed.counted), keyed.names, int(self._clock()), self._claims_per_day)

    def create_verification(self, verification: Verification, keyed: DigestedClaim) -> Verification:
        """Keep a new verification and its claim together; if the id is taken by the same request, return what is kept.

        Of an erased account the claim is not kept: that verification can only end in `ACCOUNT_DISCONNECTED`.

        Raises:
            IdempotencyConflictError: the id is taken by another request.
            ClaimLimitExceededError: too many different claims about the account. Nothing was written.
        """
        ref = verification.ref
        head: Item = {
            "pk": f"VERIFICATION#{verification.id}",
            "sk": "VERIFICATION",
            **_ref_attributes(verification.ref),
            "verification": verification.id,
            "claim_digest": verification.claim_digest,
            "policy": json.dumps(dict(verification.policy), sort_keys=True),
            "max_age": verification.max_age,
            "requested_ms": _ms(verification.requested_at),
            "deadline_ms": _ms(verification.deadline),
            "request_digest": verification.request_digest,
            "group": verification.group,
            # A batch looks after its own: its workflow ends when all of them have their verdicts.
            **(_opened("verification", verification.requested_at) if verification.batch is None else _batched(verification)),
        }
        entry = _entry(VerificationListing.account(verification.ref), verification.id, verification.requested_at)
        # Never before the verification has ended, however short claims are kept.
        expires_at = max(int(verification.requested_at) + self._retention.claims, int(verification.deadline) + 7 * DAY)
        try:
            if keyed.wrapped is None:
                raise AccountErasedError
            sk = f"CLAIM#{verification.id}"
            sealed = self._vault().seal(ref, keyed.wrapped, sk, dict(keyed.claim.reveal()))
            body: Item = {"pk": _account_pk(ref), "sk": sk, "claim": sealed, "expires_at": expires_at}
            kept = self._put_counted([head, body, entry], ref, keyed, keyed.wrapped)
        except AccountErasedError:
            kept = self._put_all([head, entry])
        return verification if kept is None else _same_request(kept, verification)

    def _put_counted(self, items: Sequence[Item], ref: AccountRef, keyed: DigestedClaim, wrapped: bytes) -> Item | None:
        """As `_put_all`, and count the claim in the same transaction if it is not counted yet.

        Raises AccountErasedError, and ClaimLimitExceededError unless the first of the items is there already.
        """
        counted = keyed.counted
        # A try fails only if another claim was counted meanwhile, which happens no more often than the limit allows.
        for _ in range(self._claims_per_day + TRANSACTION_TRIES):
            now = int(self._clock())
            try:
                digests = claim_limit.count(_counted(counted), keyed.names, now, self._claims_per_day)
            except ClaimLimitExceededError:
                if (kept := self._get(items[0]["pk"], items[0]["sk"])) is not None:
                    return kept
                raise
            kept = self._put_all(items, ref, wrapped, [] if digests is None else [self._counting(ref, counted, digests, now)])
            if kept is None or kept:
                return kept
            seen, counted = counted, self._get(_account_pk(ref), _DIGESTS)
            if counted == seen:
                raise RuntimeError(_PARTLY_THERE)
        raise RuntimeError("The claims counted for an account changed under every try to add one.")

    def _counting(self, ref: AccountRef, seen: Mapping[str, Any] | None, digests: Mapping[str, int], now: int) -> Item:
        """The part of a transaction that stores what is counted, unless it changed since it was seen."""
        item = {
            "pk": _account_pk(ref),
            "sk": _DIGESTS,
            "digests": digests,
            "changes": 1 if seen is None else int(seen["changes"]) + 1,
            "expires_at": now + claim_limit.WINDOW_SECONDS,
        }
        unchanged: Item = {"ConditionExpression": "attribute_not_exists(pk)"}
        if seen is not None:
            values = {":changes": serialize(int(seen["changes"]))}
            unchanged = {"ConditionExpression": "changes = :changes", "ExpressionAttributeValues": values}
        return {"Put": {"TableName": self._table, "Item": _item(item), **unchanged}}

    def get_verification(self, verification: str) -> Verification:
        """Raises VerificationNotFoundError, also for a group."""
        found = self.find(verification)
        if isinstance(found, Group):
            raise VerificationNotFoundError("No such verification.")
        return found

    def find(self, id: str) -> Verification | Group:
        """Raises VerificationNotFoundError."""
        item = self._get(f"VERIFICATION#{id}", "VERIFICATION")
        if item is None:
            raise VerificationNotFoundError("No such verification.")
        return _verification_or_group(item)

    def find_all(self, ids: Sequence[str]) -> dict[str, Verification | Group]:
        """Those of the verifications and groups that there are, by id."""
        keys = [_key(f"VERIFICATION#{id_}", "VERIFICATION") for id_ in dict.fromkeys(ids)]
        return {item["verification"]: _verification_or_group(item) for item in self._get_all(keys)}

    def create_group(self, group: Group) -> Group:
        """Keep a new group, whose members are there already; if the id is taken by the same request, return what is kept.

        Raises:
            IdempotencyConflictError: the id is taken by another request.
        """
        head: Item = {
            "pk": f"VERIFICATION#{group.id}",
            "sk": "VERIFICATION",
            "verification": group.id,
            "mode": group.mode,
            "stripe_account": group.stripe_account,
            "target_kind": group.kind,
            "target": group.target,
            "members": list(group.members),
            "requested_ms": _ms(group.requested_at),
            "request_digest": group.request_digest,
        }
        entries = []
        if group.kind == "customer":
            entries.append(
                _entry(VerificationListing.customer(group.target, group.mode, group.stripe_account), group.id, group.requested_at)
            )
        kept = self._put_all([head, *entries])
        if kept is None:
            return group
        found = _verification_or_group(kept)
        if not isinstance(found, Group) or found.request_digest != group.request_digest:
            raise IdempotencyConflictError("This Idempotency-Key was used before with another request.")
        return found

    def verifications_page(
        self, holder: VerificationListing, limit: int, after: str | None = None
    ) -> tuple[list[str], list[str], str | None]:
        """So many ids, the newest first, below position `after`; each one's own position; and where to go on, if there are more."""
        items, position = self._page(holder.pk, _ENTRY, limit, after)
        return [item["verification"] for item in items], [item["sk"].removeprefix(_ENTRY) for item in items], position

    def get_claim(self, ref: AccountRef, verification: str) -> Sensitive[dict[str, Any]] | None:
        """The claim, or None if it has expired. Raises AccountErasedError."""
        sk = f"CLAIM#{verification}"
        found = self._opened(ref, {sk: "claim"}).get(sk)
        return None if found is None else found[1]

    def get_claim_and_snapshot(
        self, ref: AccountRef, verification: str, snapshot: str
    ) -> tuple[Sensitive[dict[str, Any]], Snapshot] | None:
        """Both in one call; None if the claim has expired. Raises SnapshotNotFoundError, also if it has expired, and AccountErasedError."""
        claim, owners = f"CLAIM#{verification}", f"SNAPSHOT#{snapshot}"
        found = self._opened(ref, {claim: "claim", owners: "owners"})
        return (found[claim][1], _snapshot(found.get(owners))) if claim in found else None

    def get_verifications(self, ids: Sequence[str], *, consistent: bool = False) -> dict[str, Verification]:
        """Those of the verifications that exist, by id; as they were a moment ago, unless the read is to be `consistent`."""
        found: dict[str, Verification] = {}
        for at in range(0, len(ids), 100):
            keys = [_key(f"VERIFICATION#{id_}", "VERIFICATION") for id_ in ids[at : at + 100]]
            left: Item = {self._table: {"Keys": keys, "ConsistentRead": consistent}}
            while left:
                answer = self._client.batch_get_item(RequestItems=left)
                for item in answer["Responses"].get(self._table, ()):
                    kept = _verification({name: deserialize(value) for name, value in item.items()})
                    found[kept.id] = kept
                left = answer.get("UnprocessedKeys") or {}
        return found

    def adopt_verification(self, verification: Verification) -> bool:
        """Let `verification.batch` work on a verification that another batch left without a verdict; False if it has one, or is ours."""
        return self._update(
            f"VERIFICATION#{verification.id}",
            "VERIFICATION",
            set_={
                **_batched(verification),
                "requested_ms": _ms(verification.requested_at),
                "deadline_ms": _ms(verification.deadline),
            },
            condition="attribute_exists(pk) AND attribute_not_exists(verdict) AND #batch <> :batch",
        )

    def complete_verification(self, verification: str, verdict: Mapping[str, Any], now: float, *, batch: str | None = None) -> bool:
        """Keep the verdict, which never changes again, until `announced_verdict` as one to be announced.

        False if there was one already, or if another than `batch` works on the verification.
        """
        return self._update(
            f"VERIFICATION#{verification}",
            "VERIFICATION",
            set_={"verdict": json.dumps(dict(verdict)), "completed_ms": _ms(now), **_opened("announcement", now)},
            remove=("repair_tries",),
            condition="attribute_exists(pk) AND attribute_not_exists(verdict)" + (" AND #batch = :ours" if batch else ""),
            values={":ours": batch} if batch else {},
            names={"#batch": "batch"} if batch else {},
        )

    def announced_verdict(self, verification: str) -> bool:
        """Note that a verdict was announced, and marked as stale where its account is dead."""
        return self._announced(f"VERIFICATION#{verification}", "VERIFICATION")

    def is_wanted(self, verification: str) -> bool:
        """Whether a verification still needs owners: it has no verdict, and its batch, if it has one, was not stopped.

        The batch is read last, because a stop is kept there first.
        """
        item = self._get(f"VERIFICATION#{verification}", "VERIFICATION")
        if item is None or "verdict" in item:
            return False
        batch = self._get(f"BATCH#{item['batch']}", "BATCH") if item.get("batch") else None
        return batch is None or batch["batch_state"] != "stopped"

    def verifications_of(self, ref: AccountRef) -> Iterator[str]:
        """The ids of all verifications of an account."""
        for item in self._query(_account_pk(ref), _ENTRY):
            yield item["verification"]

    def mark_stale(self, verification: str, reason: str, now: float) -> bool:
        """Mark a verdict whose account is no longer what it was; False if it has none or is marked already."""
        return self._update(
            f"VERIFICATION#{verification}", "VERIFICATION", set_={"stale": reason, "stale_ms": _ms(now)},
            condition="attribute_exists(verdict) AND attribute_not_exists(stale)",
        )  # fmt: skip

    # -- what is not finished ----------------------------------------------------------------------------------------------------

    def open_items(self, kind: OpenKind, before: float, limit: int) -> list[OpenItem]:
        """What is not finished and was last looked at before `before`, the longest waiting first."""
        found: list[OpenItem] = []
        request: Item = {
            "TableName": self._table,
            "IndexName": "open",
            "KeyConditionExpression": "open_kind = :kind AND open_since_ms < :before",
            "ExpressionAttributeValues": {":kind": {"S": kind}, ":before": {"N": str(_ms(before))}},
        }
        while len(found) < limit:
            page = self._client.query(**request, Limit=limit - len(found))
            for raw in page["Items"]:
                item = {name: deserialize(value) for name, value in raw.items()}
                ref = AccountRef.from_dict(item) if "account" in item else None
                found.append(OpenItem(kind, item["pk"], item["sk"], ref, item.get("verification")))
            if "LastEvaluatedKey" not in page:
                break
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return found

    def take_up(self, item: OpenItem, now: float) -> int | None:
        """Count an item as looked at now, before it is repaired: whatever happens meanwhile, the next one is not held up by it.

        Returns how often its repair has failed in a row; None if it is finished.
        """
        kept = self._updated(
            item.pk, item.sk, set_={"open_since_ms": _ms(now)}, condition="open_kind = :kind", values={":kind": item.kind}
        )  # fmt: skip
        return None if kept is None else int(kept.get("repair_tries", 0))

    def put_back(self, item: OpenItem, since: float, tries: int) -> bool:
        """Have an item listed as waiting since `since` (in the future: the longer it is not listed), after `tries` repairs that failed."""
        return self._update(
            item.pk, item.sk, set_={"open_since_ms": _ms(since), "repair_tries": tries}, condition="open_kind = :kind",
            values={":kind": item.kind},
        )  # fmt: skip

    def get_announcement(self, item: OpenItem) -> Announcement | None:
        """What an item that is no verification has to announce; None if that was done."""
        kept = (self._get(item.pk, item.sk) or {}).get("announcement")
        return None if kept is None else Announcement(**json.loads(kept))

    def announced(self, item: OpenItem) -> bool:
        """Note that an item's announcement was made."""
        return self._announced(item.pk, item.sk)

    def _announced(self, pk: str, sk: str) -> bool:
        return self._update(
            pk, sk, set_={}, remove=(*_OPEN, "announcement"), condition="open_kind = :announcement",
            values={":announcement": "announcement"},
        )  # fmt: skip

    # -- connected accounts ------------------------------------------------------------------------------------------------------

    def note_connected(self, ref: AccountRef) -> None:
        """Remember that a connected account has accounts here."""
        if ref.stripe_account is not None:
            self._put({"pk": f"CONNECTED#{ref.mode}", "sk": ref.stripe_account}, condition="attribute_not_exists(pk)")

    def tenants(self, mode: Mode) -> list[TenantState]:
        """The connected accounts seen in this mode."""
        return [
            TenantState(
                stripe_account=item["sk"],
                asked_at=_seconds(item.get("asked_ms", 0)),
                due_at=_seconds(item.get("due_ms", 0)),
                tries=int(item.get("repair_tries", 0)),
                retired_at=_seconds(item["retired_ms"]) if "retired_ms" in item else None,
            )
            for item in self._query(f"CONNECTED#{mode}", "acct_")
        ]

    def tenant_asked(self, mode: Mode, stripe_account: str, at: float) -> bool:
        """Note when a connected account's undelivered events were asked for."""
        return self._change_tenant(mode, stripe_account, set_={"asked_ms": _ms(at)})

    def tenant_failed(self, mode: Mode, tenant: TenantState) -> bool:
        """Note that a connected account could not be asked: `tries`, `due_at` and `retired_at` as they are now."""
        retired = {} if tenant.retired_at is None else {"retired_ms": _ms(tenant.retired_at)}
        set_ = {"repair_tries": tenant.tries, "due_ms": _ms(tenant.due_at), **retired}
        return self._change_tenant(mode, tenant.stripe_account, set_=set_)

    def tenant_answered(self, mode: Mode, stripe_account: str) -> bool:
        """Note that a connected account answered: it is asked as often as the others again. False if it had not failed."""
        return self._change_tenant(
            mode, stripe_account, set_={}, remove=("repair_tries", "due_ms", "retired_ms"), condition="attribute_exists(due_ms)"
        )  # fmt: skip

    def _change_tenant(
        self, mode: Mode, stripe_account: str, *, set_: Item, remove: Sequence[str] = (), condition: str = "attribute_exists(pk)"
    ) -> bool:
        return self._update(f"CONNECTED#{mode}", stripe_account, set_=set_, remove=remove, condition=condition)

    def get_cursor(self, what: str) -> str | None:
        """Where the last slice of a long listing ended; None to begin anew."""
        item = self._get(f"RECONCILE#{what}", "RECONCILE")
        return None if item is None else item.get("at")

    def set_cursor(self, what: str, at: str | None) -> None:
        self._client.put_item(TableName=self._table, Item=_item({"pk": f"RECONCILE#{what}", "sk": "RECONCILE", "at": at}))

    # -- events ------------------------------------------------------------------------------------------------------------------

    def insert_event(self, event: Mapping[str, str], *, processed: bool, now: float) -> Literal["new", "waiting", "processed"]:
        """Record an event (id, type, created, account) by its id; tells whether it is new, and if not, whether it was processed."""
        added = self._put(
            {
                "pk": f"EVENT#{event['id']}",
                "sk": "EVENT",
                **event,
                "received_ms": _ms(now),
                "processed": processed,
                "expires_at": int(now) + EVENT_RETENTION_SECONDS,
            },
            condition="attribute_not_exists(pk)",
            return_old=True,
        )
        if added is True:
            return "new"
        return "processed" if added.get("processed") else "waiting"

    def set_event_aside(self, event: Mapping[str, str], why: str, now: float) -> bool:
        """Record an event that has no effect, under a key of its own, for one of the same id may have an effect; False if it was known."""
        kept = {"pk": f"EVENT#{event['id']}", "sk": f"ASIDE#{why}", **event, "aside": why, "received_ms": _ms(now)}
        return bool(self._put({**kept, "expires_at": int(now) + EVENT_RETENTION_SECONDS}, condition="attribute_not_exists(pk)"))

    def get_event(self, event: str) -> KnownEvent | None:
        """What is known of an event; None if it was not recorded."""
        item = self._get(f"EVENT#{event}", "EVENT")
        if item is None:
            return None
        due_ms = item.get("due_ms", int(item["received_ms"]) + EVENT_PATIENCE_SECONDS * 1000)
        return KnownEvent(
            processed=bool(item["processed"]),
            due_at=_seconds(due_ms),
            tries=int(item.get("repair_tries", 0)),
            type=item.get("type", ""),
            created=item.get("created", ""),
        )

    def put_event_back(self, event: str, due_at: float, tries: int) -> bool:
        """Note that an event is queued again, and not once more before `due_at`."""
        return self._update(
            f"EVENT#{event}", "EVENT", set_={"due_ms": _ms(due_at), "repair_tries": tries}, condition="attribute_exists(pk)"
        )  # fmt: skip

    def finish_event(self, event: str) -> bool:
        """Mark an event as processed."""
        return self._update(f"EVENT#{event}", "EVENT", set_={"processed": True}, remove=["failure"], condition="attribute_exists(pk)")

    def fail_event(self, event: str, reason: str) -> bool:
        """Note why an event could not be processed."""
        return self._update(f"EVENT#{event}", "EVENT", set_={"failure": reason}, condition="attribute_exists(pk)")

    # -- audit -------------------------------------------------------------------------------------------------------------------

    def append_audit(self, id_: str, entry: Mapping[str, str], at: float, expires_at: int, *, after: bool = False) -> None:
        """Add to the record; no entry is ever changed, and the table's own policy forbids it. `after`: the second entry of this id."""
        day = datetime.fromtimestamp(at, UTC).date().isoformat()
        sk = f"{_ms(at):015}#{id_}" + ("#after" if after else "")
        kept: Item = {"pk": f"AUDIT#{day}", "sk": sk, "entry": id_, **entry, "at_ms": _ms(at), "expires_at": expires_at}
        # The same entry may be there already: a request of ours whose answer was lost is sent again.
        if self._put(kept, condition="attribute_not_exists(pk)", return_old=True) not in (True, kept):
            raise RuntimeError("Another audit entry has this id.")

    # -- batches -----------------------------------------------------------------------------------------------------------------

    def create_batch(self, batch: str, attributes: Mapping[str, Any]) -> bool:
        """Keep a new batch; False if it is there."""
        item = {"pk": f"BATCH#{batch}", "sk": "BATCH", "batch": batch, **attributes}
        return bool(self._put(item, condition="attribute_not_exists(pk)"))

    def get_batch(self, batch: str) -> dict[str, Any]:
        """Raises BatchNotFoundError."""
        item = self._get(f"BATCH#{batch}", "BATCH")
        if item is None:
            raise BatchNotFoundError("No such batch.")
        return item

    def update_batch(self, batch: str, attributes: Mapping[str, Any], *, unless: Sequence[str] = ()) -> bool:
        """Set attributes of a batch; False if its `batch_state` is one of `unless`."""
        names = {f":unless{number}": state for number, state in enumerate(unless)}
        refused = f" AND NOT batch_state IN ({', '.join(names)})" if names else ""
        return self._update(f"BATCH#{batch}", "BATCH", set_=dict(attributes), condition=f"attribute_exists(pk){refused}", values=names)

    def complete_batch(self, batch: str, now: float, announcement: Announcement) -> bool:
        """Mark a batch as completed, until `announced_batch` as one whose end is to be announced; False if it was stopped."""
        ended = {"batch_state": "completed", "completed_ms": _ms(now), **_unannounced(announcement, now)}
        return self.update_batch(batch, ended, unless=["stopped"])

    def announced_batch(self, batch: str) -> bool:
        """Note that a batch's end was announced."""
        return self._announced(f"BATCH#{batch}", "BATCH")

    def note_cooling(self, batch: str, verification: str, until: int) -> None:
        """Note that a verification of a batch has to wait for the end of a cooldown (Unix seconds)."""
        self.count(batch, verification, "cooled")
        later = "attribute_exists(pk) AND (attribute_not_exists(cooling_until) OR cooling_until < :cooling_until)"
        self._update(f"BATCH#{batch}", "BATCH", set_={"cooling_until": until}, condition=later)

    def put_range(self, batch: str, number: int, attributes: Mapping[str, Any]) -> None:
        """Keep what became of one range of a manifest, in place of what was kept before."""
        self._client.put_item(
            TableName=self._table, Item=_item({"pk": f"BATCH#{batch}", "sk": f"RANGE#{number:06}", "number": number, **attributes})
        )

    def get_range(self, batch: str, number: int) -> dict[str, Any] | None:
        return self._get(f"BATCH#{batch}", f"RANGE#{number:06}")

    def ranges(self, batch: str) -> Iterator[dict[str, Any]]:
        """What became of each range, in order."""
        return self._query(f"BATCH#{batch}", "RANGE#")

    def count(self, batch: str, verification: str, what: str) -> None:
        """Count one verification of a batch under `what`, for its progress only: a crash may lose a count."""
        self._client.update_item(
            TableName=self._table,
            Key=_key(f"BATCH#{batch}", f"COUNT#{int(verification[-2:], 16) % BATCH_SHARDS:02}"),
            UpdateExpression="ADD #what :one",
            ExpressionAttributeNames={"#what": what},
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    def counts(self, batch: str) -> dict[str, int]:
        """What was counted."""
        totals: dict[str, int] = {}
        for item in self._query(f"BATCH#{batch}", "COUNT#"):
            for name, value in item.items():
                if name not in ("pk", "sk"):
                    totals[name] = totals.get(name, 0) + int(value)
        return totals

    # -- pace --------------------------------------------------------------------------------------------------------------------

    def book(self, line: str, rate: float, now: float) -> Reservation:
        """Book the next free place in a line that moves `rate` times a second, not before now."""
        for _ in range(20):
            if place := self._book(line, "next_ms", rate, now):
                return place
        raise RuntimeError("The pace item changed under every try to book a place.")

    def book_if_near(self, line: str, rate: float, now: float, until: float) -> Reservation | None:
        """As `book`, but only a place up to `until`; None if there is none."""
        return self._book(line, "next_ms", rate, now, until)

    def book_again(self, line: str, kind: str, rate: float, earliest: float) -> float:
        """When work of a kind (`single` or `batch`) is to ask for a place again: times that are `rate` a second, too, but no places."""
        for _ in range(20):
            if time := self._book(line, f"{kind}_ms", rate, earliest):
                return time.at
        raise RuntimeError("The pace item changed under every try to be told a time.")

    def _book(self, line: str, clock: str, rate: float, earliest: float, until: float | None = None) -> Reservation | None:
        at, step = _ms(earliest), round(1000 / rate)
        near, limit = ("", {}) if until is None else (f" AND {clock} <= :until", {":until": {"N": str(_ms(until))}})
        for next_, condition, values in (
            (":at + :step", f"attribute_not_exists({clock}) OR {clock} <= :at", {}),
            (f"{clock} + :step", f"{clock} > :at{near}", limit),
        ):
            request: Item = {
                "TableName": self._table,
                "Key": _key(f"PACE#{line}", "PACE"),
                "UpdateExpression": f"SET {clock} = {next_}",
                "ConditionExpression": condition,
                "ExpressionAttributeValues": {":at": {"N": str(at)}, ":step": {"N": str(step)}, **values},
                "ReturnValues": "ALL_NEW",
            }
            answer = _unless_refused(partial(self._client.update_item, **request))
            if answer is not None:
                item = {name: deserialize(value) for name, value in answer["Attributes"].items()}
                return Reservation(at=max(earliest, _seconds(item[clock] - step)), slowness=_slowness(item))
        return None

    def count_call(self, now: float) -> int:
        """Count a call to Stripe; returns how many were counted in the last second, this one included, whatever the operation.

        Counted by tenths of a second, so that one write does it. The number covers up to a tenth more than a second, never less.
        """
        tick = int(now * TICKS_PER_SECOND)
        number, at = f"count{tick % TICKS}", f"tick{tick % TICKS}"
        values = {":tick": {"N": str(tick)}, ":one": {"N": "1"}}
        for _ in range(20):
            for set_, condition in (
                (f"{number} = {number} + :one", f"{at} = :tick"),
                (f"{at} = :tick, {number} = :one", f"attribute_not_exists({at}) OR {at} < :tick"),
            ):
                change = {
                    "TableName": self._table, "Key": _key("PACE#all", "PACE"), "UpdateExpression": f"SET {set_}",
                    "ConditionExpression": condition, "ExpressionAttributeValues": values, "ReturnValues": "ALL_NEW",
                }  # fmt: skip
                answer = _unless_refused(partial(self._client.update_item, **change))
                if answer is not None:
                    item = {name: deserialize(value) for name, value in answer["Attributes"].items()}
                    recent = (place for place in range(TICKS) if item.get(f"tick{place}", 0) >= tick - TICKS_PER_SECOND)
                    return sum(int(item[f"count{place}"]) for place in recent)
        raise RuntimeError("The count of calls changed under every try to add to it.")

    def uncount_call(self, now: float) -> None:
        """Take back a call that was counted at `now` and not made."""
        tick = int(now * TICKS_PER_SECOND)
        number, at = f"count{tick % TICKS}", f"tick{tick % TICKS}"
        change = {
            "TableName": self._table, "Key": _key("PACE#all", "PACE"), "UpdateExpression": f"SET {number} = {number} + :less",
            "ConditionExpression": f"{at} = :tick", "ExpressionAttributeValues": {":tick": {"N": str(tick)}, ":less": {"N": "-1"}},
        }  # fmt: skip
        _unless_refused(partial(self._client.update_item, **change))

    def slowness(self, line: str) -> Backoff:
        """How slow a line is."""
        return _slowness(self._get(f"PACE#{line}", "PACE") or {})

    def slow_down(self, line: str, slowness: Backoff, known: Backoff) -> bool:
        """Make a line slower; False if somebody else did since `known` was read."""
        unchanged = "slowed_ms = :known" if known != Backoff() else "attribute_not_exists(slowed_ms)"
        return self._update(
            f"PACE#{line}", "PACE", set_={"slow_percent": round(slowness.factor * 100), "slowed_ms": _ms(slowness.since)},
            condition=unchanged, values={":known": _ms(known.since)} if known != Backoff() else {},
        )  # fmt: skip

    # -- erasure -----------------------------------------------------------------------------------------------------------------

    def has_key(self, ref: AccountRef) -> bool:
        """Whether anything was ever sealed for the account."""
        pk = {"pk": {"S": _account_pk(ref)}}
        return "Item" in self._client.get_item(TableName=self._keys_table, Key=pk, ConsistentRead=True)

    def begin_erasure(self, ref: AccountRef, now: float, *, disconnect: bool = False) -> bool:
        """Mark the account as erased and destroy its key, in one; False if that was done before.

        `disconnect`: it has yet to be disconnected at Stripe.
        """
        marked = {**_ref_attributes(ref), "status": "disconnected", "erased_ms": _ms(now), **_opened("erasure", now)}
        if disconnect:
            marked["disconnect_pending"] = True
        mark = {
            "TableName": self._table,
            "Key": _key(_account_pk(ref), "ACCOUNT"),
            "UpdateExpression": f"SET {', '.join(f'#{name} = :{name}' for name in marked)} "
            f"REMOVE {', '.join(f'#{name}' for name in _ERASED)}",
            "ConditionExpression": _NOT_ERASED,
            "ExpressionAttributeNames": {f"#{name}": name for name in (*marked, *_ERASED)},
            "ExpressionAttributeValues": {f":{name}": serialize(value) for name, value in marked.items()},
        }
        destroy = {
            "TableName": self._keys_table,
            "Key": {"pk": {"S": _account_pk(ref)}},
            "UpdateExpression": "SET erased_ms = :now REMOVE wrapped_key",
            "ExpressionAttributeValues": {":now": {"N": str(_ms(now))}},
        }
        return self._transact([{"Update": mark}, {"Update": destroy}])

    def delete_sealed(self, ref: AccountRef) -> None:
        """Delete snapshots, their history, claims, and what is counted of claims."""
        self._client.delete_item(TableName=self._table, Key=_key(_account_pk(ref), _DIGESTS))
        for kind in ("SNAPSHOT#", _HISTORY, "CLAIM#"):
            for item in self._query(_account_pk(ref), kind):
                self._client.delete_item(TableName=self._table, Key=_key(item["pk"], item["sk"]))

    def end_erasure(self, ref: AccountRef, now: float, retry_at: float) -> bool:
        """Note that nothing is left to erase. If the account has yet to be disconnected, that is due at `retry_at` (Unix seconds)."""
        ended = {"erasure_ended_ms": _ms(now)}
        erased = "attribute_exists(erased_ms) AND attribute_not_exists(disconnect_pending)"
        if self._update(_account_pk(ref), "ACCOUNT", set_=ended, remove=_OPEN, condition=erased):
            return True
        unlisted = f"{_PENDING} AND attribute_not_exists(erasure_ended_ms)"
        due = {**ended, **_opened("disconnection", retry_at)}
        return self._update(_account_pk(ref), "ACCOUNT", set_=due, remove=["repair_tries"], condition=unlisted)

    def postpone_disconnection(self, ref: AccountRef, tries: int, due: float) -> bool:
        """Book the next try; False if the account is disconnected."""
        set_ = {"disconnect_tries": tries, **_opened("disconnection", due)}
        return self._update(_account_pk(ref), "ACCOUNT", set_=set_, condition=_PENDING)

    def end_disconnection(self, ref: AccountRef, now: float) -> bool:
        """Note that Stripe has disconnected an erased account."""
        return self._update(
            _account_pk(ref), "ACCOUNT", set_={"disconnected_ms": _ms(now)}, remove=["disconnect_pending", "disconnect_tries", *_OPEN],
            condition="attribute_exists(erasure_ended_ms)",
        )  # fmt: skip

    def give_up_disconnection(self, ref: AccountRef, now: float) -> bool:
        """Try no more by ourselves."""
        return self._update(_account_pk(ref), "ACCOUNT", set_={"disconnect_given_up_ms": _ms(now)}, remove=_OPEN, condition=_PENDING)

    # -- keys, and what is sealed with them --------------------------------------------------------------------------------------

    def _key_for_writing(self, ref: AccountRef) -> bytes:
        """The account's wrapped key, made if it has none yet. Raises AccountErasedError."""
        pk = {"pk": {"S": _account_pk(ref)}}
        found = self._client.get_item(TableName=self._keys_table, Key=pk, ConsistentRead=True).get("Item")
        return self._new_key(ref) if found is None else _wrapped(found)

    def _new_key(self, ref: AccountRef) -> bytes:
        """The wrapped key of an account that had none just now. Raises AccountErasedError."""
        wrapped = self._vault().new_key(ref)
        item = {"pk": {"S": _account_pk(ref)}, "wrapped_key": {"B": wrapped}, "made_ms": {"N": str(_ms(self._clock()))}}
        try:
            self._client.put_item(
                TableName=self._keys_table, Item=item, ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )  # fmt: skip
        except Exception as error:
            # Another caller was first, or a try of ours whose answer was lost: the key that stands is the key.
            return _wrapped(reraise_unless(error, _CONDITION_FAILED)["Item"])
        return wrapped

    def _while_key_stands(self, ref: AccountRef, wrapped: bytes) -> Item:
        """The part of a transaction that has it fail if the account was erased."""
        return {
            "ConditionCheck": {
                "TableName": self._keys_table,
                "Key": {"pk": {"S": _account_pk(ref)}},
                "ConditionExpression": "wrapped_key = :wrapped",
                "ExpressionAttributeValues": {":wrapped": {"B": wrapped}},
            }
        }

    def _transact(self, parts: Sequence[Item]) -> bool:
        """All of `parts` or none; False if a condition did not hold.

        Raises:
            AccountErasedError: it was that of a ConditionCheck, so the key no longer stands.
        """
        for attempt in range(TRANSACTION_TRIES):
            try:
                self._client.transact_write_items(TransactItems=list(parts))
            except Exception as error:
                reasons = reraise_unless(error, "TransactionCanceledException")["CancellationReasons"]
                codes = [reason.get("Code") for reason in reasons]
                if any("ConditionCheck" in part and code == _FAILED for part, code in zip(parts, codes, strict=True)):
                    raise AccountErasedError from None
                if _FAILED in codes:
                    return False
                # Two transactions met at the same item; DynamoDB lets neither wait.
                if "TransactionConflict" not in codes or attempt == TRANSACTION_TRIES - 1:
                    raise
                self._sleep(0.02 * 2**attempt * (0.5 + random.SystemRandom().random()))
            else:
                return True
        raise AssertionError("unreachable")

    def _opened(self, ref: AccountRef, sealed: Mapping[str, str]) -> dict[str, tuple[Item, Sensitive[Any]]]:
        """Items by sort key, each with what is sealed in its attribute (`sealed`: attributes by sort key); without those that are not there
        or have expired. Raises AccountErasedError.

        The key is read in the same call as the items, so that an erasure is noticed whatever is remembered of unwrapped keys.
        """
        items, wrapped = self._with_key(ref, list(sealed))
        parts = {part: sk for sk, item in items.items() for part in _part_sks(item)}
        held: dict[str, Item] = {}
        if parts:
            held, wrapped = self._with_key(ref, list(parts))
        opened: dict[str, tuple[Item, Sensitive[Any]]] = {}
        for sk, item in items.items():
            if "parts" not in item:
                opened[sk] = (item, self._vault().open(ref, wrapped, sk, bytes(item[sealed[sk]])))
            elif set(_part_sks(item)) <= set(held):
                pieces = [self._vault().open(ref, wrapped, part, bytes(held[part][sealed[sk]])) for part in _part_sks(item)]
                opened[sk] = (item, Sensitive([one for piece in pieces for one in piece.reveal()]))
        return opened

    def _with_key(self, ref: AccountRef, sks: Sequence[str]) -> tuple[dict[str, Item], bytes]:
        """Items of an account that are there and have not expired, by sort key, and its wrapped key as of the same call.

        Without a key nothing was ever sealed. Raises AccountErasedError.
        """
        key, items = self._items_and_key(ref, sks)
        if key is None:
            return {}, b""
        wrapped = _wrapped(key)
        return {sk: item for sk, item in items.items() if self._lives(item.get("expires_at"))}, wrapped

    def _items_and_key(self, ref: AccountRef, sks: Sequence[str]) -> tuple[Item | None, dict[str, Item]]:
        """The account's item in the table of keys, and those of its items that there are, by sort key, in one call."""
        pk = _account_pk(ref)
        wanted: Item = {
            self._table: {"Keys": [_key(pk, sk) for sk in sks], "ConsistentRead": True},
            self._keys_table: {"Keys": [{"pk": {"S": pk}}], "ConsistentRead": True},
        }
        keys: list[Item] = []
        found: dict[str, Item] = {}
        while wanted:
            page = self._client.batch_get_item(RequestItems=wanted)
            keys += page["Responses"].get(self._keys_table, ())
            for raw in page["Responses"].get(self._table, ()):
                item = {name: deserialize(value) for name, value in raw.items()}
                found[item["sk"]] = item
            wanted = page.get("UnprocessedKeys") or {}
        return keys[0] if keys else None, found

    def _lives(self, expires_at: Any) -> bool:
        return expires_at is None or self._clock() < int(expires_at)

    # -- the few ways in which the table is touched ----------------------------------------------------------------------------------

    def _get(self, pk: str, sk: str) -> Item | None:
        found = self._client.get_item(TableName=self._table, Key=_key(pk, sk), ConsistentRead=True).get("Item")
        return None if found is None else {name: deserialize(value) for name, value in found.items()}

    def _get_all(self, keys: Sequence[Item]) -> Iterator[Item]:
        """Those of the items that there are, in any order (consistent reads, up to 100 in a call)."""
        for begin in range(0, len(keys), 100):
            wanted: Item = {self._table: {"Keys": list(keys[begin : begin + 100]), "ConsistentRead": True}}
            while wanted:
                page = self._client.batch_get_item(RequestItems=wanted)
                for item in page["Responses"].get(self._table, ()):
                    yield {name: deserialize(value) for name, value in item.items()}
                wanted = page.get("UnprocessedKeys") or {}

    def _query(self, pk: str, prefix: str) -> Iterator[Item]:
        request: Item = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": {"S": pk}, ":prefix": {"S": prefix}},
            "ConsistentRead": True,
        }
        while True:
            page = self._client.query(**request)
            for found in page["Items"]:
                yield {name: deserialize(value) for name, value in found.items()}
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _page(self, pk: str, prefix: str, limit: int, after: str | None) -> tuple[list[Item], str | None]:
        """So many items, the last first, below the sort key `prefix` + `after`; and the `after` of the next page, if there is one."""
        request: Item = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": {"S": pk}, ":prefix": {"S": prefix}},
            "ConsistentRead": True,
            "ScanIndexForward": False,
            "Limit": limit + 1,
        }
        if after is not None:
            request["ExclusiveStartKey"] = _key(pk, prefix + after)
        found: list[Item] = []
        while len(found) <= limit:
            page = self._client.query(**request)
            found += [{name: deserialize(value) for name, value in item.items()} for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        more = len(found) > limit
        return found[:limit], found[limit - 1]["sk"].removeprefix(prefix) if more else None

    def _put(self, item: Item, *, condition: str, return_old: bool = False) -> Any:
        """True if put; where the condition refused, the item that is there (if asked for), else False."""
        request: Item = {"TableName": self._table, "Item": _item(item), "ConditionExpression": condition}
        if return_old:
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            self._client.put_item(**request)
        except Exception as error:
            old = reraise_unless(error, _CONDITION_FAILED).get("Item") or {}
            return {name: deserialize(value) for name, value in old.items()} if return_old else False
        return True

    def _put_all(
        self, items: Sequence[Item], ref: AccountRef | None = None, wrapped: bytes = b"", beside: Sequence[Item] = ()
    ) -> Item | None:
        """Put new items together, or, if the first of them is there already, none; then that one is returned.

        With `ref` only while its key `wrapped` stands. Raises AccountErasedError. `beside` are more parts of the same transaction; if the
        condition of one of these did not hold, nothing is put, and an empty item is returned.
        """
        free = {
            "TableName": self._table,
            "ConditionExpression": "attribute_not_exists(pk) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": {"N": str(int(self._clock()))}},
        }
        proof = [] if ref is None else [self._while_key_stands(ref, wrapped)]
        if self._transact([*proof, *({"Put": {**free, "Item": _item(item)}} for item in items), *beside]):
            return None
        kept = self._get(items[0]["pk"], items[0]["sk"])
        if kept is None and beside:
            return {}
        if kept is None:
            raise RuntimeError(_PARTLY_THERE)
        return kept

    def _update(
        self, pk: str, sk: str, *, set_: Item, condition: str, remove: Sequence[str] = (), values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> bool:  # fmt: skip
        """Set attributes under a condition, in which `:name` stands for the new value of attribute `name`; False if it did not hold."""
        change = self._change(pk, sk, set_, condition, remove, values, names)
        return _unless_refused(lambda: self._client.update_item(**change)) is not None

    def _updated(self, pk: str, sk: str, *, set_: Item, condition: str, values: Mapping[str, Any] | None = None) -> Item | None:
        """As `_update`; gives the whole item as it is then."""
        change = self._change(pk, sk, set_, condition, values=values)
        answer = _unless_refused(lambda: self._client.update_item(**change, ReturnValues="ALL_NEW"))
        return None if answer is None else {name: deserialize(value) for name, value in answer["Attributes"].items()}

    def _change(
        self, pk: str, sk: str, set_: Item, condition: str, remove: Sequence[str] = (), values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Item:  # fmt: skip
        sets = f"SET {', '.join(f'#{name} = :{name}' for name in set_)}" if set_ else ""
        removes = f"REMOVE {', '.join(remove)}" if remove else ""
        all_names = {**{f"#{name}": name for name in set_}, **(names or {})}
        all_values = {
            **{f":{name}": serialize(value) for name, value in set_.items()},
            **{name: serialize(value) for name, value in (values or {}).items()},
        }
        return {
            "TableName": self._table,
            "Key": _key(pk, sk),
            "UpdateExpression": f"{sets} {removes}".strip(),
            "ConditionExpression": condition,
            # DynamoDB refuses empty ones.
            **({"ExpressionAttributeNames": all_names} if all_names else {}),
            **({"ExpressionAttributeValues": all_values} if all_values else {}),
        }


def _wrapped(key_item: Item) -> bytes:
    """The wrapped key in an item of the table of keys. Raises AccountErasedError if it is a tombstone."""
    if "wrapped_key" not in key_item:
        raise AccountErasedError
    return bytes(key_item["wrapped_key"]["B"])


def _counted(item: Mapping[str, Any] | None) -> Mapping[str, int]:
    return {} if item is None else {digest: int(at) for digest, at in item["digests"].items()}


def _same_request(kept: Item, verification: Verification) -> Verification:
    """The verification that is kept under an id, for the request that made it. Raises IdempotencyConflictError for any other.

    Of an account that was erased since, nobody can tell any more which claim it was.
    """
    same = verification.claim_digest in (None, kept.get("claim_digest"))
    if kept["request_digest"] != verification.request_digest or not same:
        raise IdempotencyConflictError("This Idempotency-Key was used before with another request.")
    return _verification(kept)


def _unless_refused(call: Any) -> Any:
    """The call's answer, or None if its condition did not hold."""
    try:
        return call()
    except Exception as error:
        reraise_unless(error, _CONDITION_FAILED)
        return None


_DIGESTS = "DIGESTS"
_DIGEST_CHARS = 24
"""Of a digest's 64, for there are up to a thousand in one item."""
_PARTLY_THERE = "A part of what was to be written together stands in the table without the rest."
_HISTORY = "HISTORY#"
_ENTRY = "VERIFICATION#"
_OPEN = ("open_kind", "open_since_ms", "repair_tries")
_PENDING = "attribute_exists(disconnect_pending)"
_NOT_ERASED = "attribute_not_exists(erased_ms)"
_ERASED = ("snapshot", "snapshot_attempted_at", "snapshot_created", "snapshot_expires_at", "snapshot_too_many", "refresh_error",
           "holder", "lease_until_ms")  # fmt: skip
"""What an account's own item loses with its erasure: what rests on owners, Stripe's words, and whose it was."""


def _opened(kind: str, since: float) -> Item:
    return {"open_kind": kind, "open_since_ms": _ms(since)}


def _unannounced(announcement: Announcement, now: float) -> Item:
    kept = json.dumps({"type": announcement.type, "detail": dict(announcement.detail)})
    return {**_opened("announcement", now), "announcement": kept}


def _history_sk(snapshot: Snapshot) -> str:
    return f"{_HISTORY}{snapshot.attempted_at:012}#{snapshot.created:012}#{snapshot.id}"


def _batched(verification: Verification) -> Item:
    return {"batch": verification.batch, "batch_line": verification.line}


def _account_pk(ref: AccountRef) -> str:
    return f"ACCOUNT#{ref.key}"


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _item(item: Item) -> Item:
    return {name: serialize(value) for name, value in item.items()}


def _ref_attributes(ref: AccountRef) -> Item:
    return ref.as_dict()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _seconds(milliseconds: Any) -> float:
    return int(milliseconds) / 1000


def _int(value: Any) -> int | None:
    return None if value is None else int(value)


def _snapshot(found: tuple[Item, Sensitive[Any]] | None) -> Snapshot:
    """A snapshot as it was opened. Raises SnapshotNotFoundError if there is none."""
    if found is None:
        raise SnapshotNotFoundError("No such snapshot of this account is stored.")
    item, owners = found
    return Snapshot(
        id=item["snapshot"], attempted_at=int(item["attempted_at"]), created=int(item["snapshot_created"]), owners=owners,
        too_many=_int(item.get("too_many")),
    )  # fmt: skip


def _part_sks(item: Item) -> list[str]:
    """The sort keys of the items that hold the owners of a snapshot in parts; none where its own item holds them."""
    return [f"{item['sk']}#PART#{number:03}" for number in range(int(item.get("parts", 0)))]


def _past(item: Item) -> SnapshotSummary:
    return SnapshotSummary(
        id=item["snapshot"],
        attempted_at=int(item["attempted_at"]),
        created=int(item["snapshot_created"]),
        owner_count=int(item["owner_count"]),
        since=item.get("since"),
        changes=json.loads(item["changes"]) if item.get("changes") else None,
        too_many_owners="too_many" in item,
    )


def _slowness(item: Item) -> Backoff:
    return Backoff(int(item["slow_percent"]) / 100, _seconds(item["slowed_ms"])) if "slowed_ms" in item else Backoff()


def _waiter(item: Item) -> Waiter:
    return Waiter(
        verification=item["verification"],
        task_token=item["task_token"],
        turn=item["turn"],
        need=FreshnessRequirement(
            not_before=_seconds(item["not_before_ms"]),
            requested_at=_seconds(item["requested_ms"]),
            deadline=_seconds(item["deadline_ms"]),
            joined=_int(item.get("joined")),
        ),
        trouble=item.get("trouble"),
        joined_at=_seconds(item["joined_ms"]) if "joined_ms" in item else None,
    )


def _entry(holder: VerificationListing, id: str, requested_at: float) -> Item:
    return {"pk": holder.pk, "sk": f"{_ENTRY}{_ms(requested_at):015}#{id}", "verification": id}


def _verification_or_group(item: Item) -> Verification | Group:
    if "members" not in item:
        return _verification(item)
    return Group(
        id=item["verification"],
        mode=item["mode"],
        stripe_account=item.get("stripe_account"),
        kind=item["target_kind"],
        target=item["target"],
        members=item["members"],
        requested_at=_seconds(item["requested_ms"]),
        request_digest=item["request_digest"],
    )


def _verification(item: Item) -> Verification:
    return Verification(
        id=item["verification"],
        ref=AccountRef.from_dict(item),
        claim_digest=item["claim_digest"],
        policy=json.loads(item["policy"]),
        max_age=int(item["max_age"]),
        requested_at=_seconds(item["requested_ms"]),
        deadline=_seconds(item["deadline_ms"]),
        request_digest=item["request_digest"],
        group=item.get("group"),
        verdict=json.loads(item["verdict"]) if "verdict" in item else None,
        completed_at=_seconds(item["completed_ms"]) if "completed_ms" in item else None,
        stale=item.get("stale"),
        batch=item.get("batch"),
        line=_int(item.get("batch_line")),
    )
