"""Accounts: the latest observation, the newest snapshot, the refresh attempt and its lease.

Rows: ACCOUNT#<ref> / ACCOUNT, to which `store/erasures` writes too; announced expiries, ACCOUNT#<ref> / EXPIRY#<date>.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from titleholder.domain.accounts import AccountHolder, AccountRef, AccountState, Attempt, OwnershipRefresh, StatusDetails, StoredAccount
from titleholder.domain.refresh_policy import LEASE_SECONDS, REASON_BY_ACCOUNT_STATUS, order
from titleholder.domain.snapshots import Snapshot
from titleholder.store.open_work import CLOSED, Announcement, mark_announced, opened, unannounced
from titleholder.store.table import Item, Table, account_pk
from titleholder.timestamps import DAY_SECONDS, from_milliseconds, to_milliseconds

NOT_ERASED = "attribute_not_exists(erased_ms)"
EXPIRY = "EXPIRY#"

EXPIRY_DAYS = 30
"""How long after its date an announced expiry stays stored, so that it is announced only once."""

_NOT_LIFTED = (
    "attribute_not_exists(stale_marked_ms) AND attribute_not_exists(stale_lift_ms) "
    "AND (attribute_not_exists(#status) OR #status <> :inactive)"
)
_STALENESS: Mapping[str, tuple[tuple[str, ...], str, Item]] = {
    "inactive": (("stale_lift_ms",), "attribute_exists(stale_marked_ms)", {}),
    "disconnected": (("stale_lift_ms",), "", {}),
}
"""By status: attributes that an observation removes, and the condition (with its values) under which all verdicts show the status."""


class Accounts:
    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, ref: AccountRef) -> StoredAccount:
        """What is stored of an account; an empty StoredAccount if nothing is."""
        return self._stored(self._table.get(account_pk(ref), "ACCOUNT") or {}, ref)

    def get_all(self, refs: Sequence[AccountRef]) -> dict[AccountRef, StoredAccount]:
        """What is stored of the accounts. Accounts of which nothing is stored are left out."""
        by_pk = {account_pk(ref): ref for ref in refs}
        found = self._table.get_all([(pk, "ACCOUNT") for pk in by_pk])
        return {by_pk[item["pk"]]: self._stored(item, by_pk[item["pk"]]) for item in found}

    def _stored(self, item: Item, ref: AccountRef) -> StoredAccount:
        kept = self._table.is_live(item, "snapshot_expires_at")
        return StoredAccount(
            state=_state(item, ref) if "status" in item else None,
            observed_at=from_milliseconds(item.get("observed_ms", 0)),
            observed_calls=item.get("observed_calls", 0),
            # An earlier release did not store it.
            shown_since=from_milliseconds(item.get("shown_since_ms", item.get("observed_ms", 0))),
            status_since=from_milliseconds(item.get("status_since_ms", 0)),
            snapshot=item.get("snapshot") if kept else None,
            snapshot_attempted_at=item.get("snapshot_attempted_at") if kept else None,
            snapshot_created=item.get("snapshot_created") if kept else None,
            too_many_owners=bool(kept and item.get("snapshot_too_many")),
            attempt=_attempt(item) if "attempt" in item else None,
            lease_until=_time(item, "lease_until_ms"),
            slot=_time(item, "slot_ms"),
            erased_at=_time(item, "erased_ms"),
            erasure_ended="erasure_ended_ms" in item,
            stale_marked="stale_marked_ms" in item,
            lift_pending="stale_lift_ms" in item,
            disconnect_pending="disconnect_pending" in item,
            disconnect_tries=item.get("disconnect_tries", 0),
        )

    def observe(
        self,
        ref: AccountRef,
        state: AccountState,
        observed_at: float,
        *,
        open_: bool,
        calls: int,
        shown_since: float | None = None,
        status_since: float = 0.0,
        changed: bool = False,
    ) -> bool:
        """Store an account as Stripe described it in a read that began at `observed_at` (Unix seconds).

        False if something newer is stored, or the account was erased. `open_`: there is something left to do, see `refresh_policy.is_open`.
        `calls`: how many refresh calls had been answered before the read. `shown_since`: when the refresh was first seen in its present
        state, None if that is now. `status_since`: as for `StoredAccount`. `changed`: the result of `refresh_policy.has_changed`.
        """
        seen = {
            "observed_ms": to_milliseconds(observed_at),
            "observed_calls": calls,
            "shown_since_ms": to_milliseconds(observed_at if shown_since is None else shown_since),
            **({"status_since_ms": to_milliseconds(status_since)} if status_since else {}),
        }
        stored = self._observe(ref, state, seen, observed_at, open_=open_, changed=changed)
        if stored or changed:
            return stored
        # Another worker may have stored a change of the status since the caller read it. That change is followed up too.
        return self._observe(ref, state, seen, observed_at, open_=open_, changed=True)

    def _observe(self, ref: AccountRef, state: AccountState, seen: Item, observed_at: float, *, open_: bool, changed: bool) -> bool:
        """As `observe`. Without `changed`, also False if the status differs from the stored one."""
        refresh = state.refresh
        open_ = open_ or (changed and state.status in ("inactive", "active"))
        lift = {"stale_lift_ms": to_milliseconds(observed_at)} if changed and state.status not in REASON_BY_ACCOUNT_STATUS else {}
        gone, unchanged, values = _STALENESS.get(state.status, (("stale_marked_ms",), _NOT_LIFTED, {":inactive": "inactive"}))
        newest = (
            f"{NOT_ERASED} AND (attribute_not_exists(refresh_order) OR refresh_order < :refresh_order "
            "OR (refresh_order = :refresh_order AND observed_ms <= :observed_ms))"
        )
        return self._update(
            ref,
            set_={
                "status": state.status,
                "permissions": None if state.permissions is None else list(state.permissions),
                "refresh_status": refresh.status if refresh else None,
                "last_attempted_at": refresh.last_attempted_at if refresh else None,
                "next_refresh_available_at": refresh.next_refresh_available_at if refresh else None,
                "refresh_error": json.dumps(refresh.error, sort_keys=True) if refresh and refresh.error else None,
                "refresh_order": order(refresh),
                "holder": f"{state.holder.kind}/{state.holder.id}" if state.holder else None,
                "status_details": json.dumps(asdict(state.details), sort_keys=True) if state.details else None,
                "authorization": state.authorization,
                **seen,
                **lift,
                **(opened("refresh", observed_at) if open_ else {}),
            },
            remove=(*(("repair_tries",) if open_ else CLOSED), *gone),
            condition=newest if changed or not unchanged else f"{newest} AND {unchanged}",
            values={} if changed else values,
        )

    def end_staleness(self, ref: AccountRef, account: StoredAccount, now: float, *, open_: bool) -> bool:
        """Record that all verdicts of an account show the status in `account`; False if the account was observed again since.

        `open_`: its refresh is not finished yet.
        """
        if account.state is None:
            return False
        marked = account.state.status == "inactive"
        return self._table.update(
            account_pk(ref), "ACCOUNT", set_={"stale_marked_ms": to_milliseconds(now)} if marked else {},
            remove=(*(() if open_ else CLOSED), *(() if marked else ("stale_lift_ms",))),
            condition=f"{NOT_ERASED} AND #status = :status AND refresh_order = :order AND observed_ms = :observed",
            names={"#status": "status"},
            values={
                ":status": account.state.status, ":order": order(account.state.refresh), ":observed": to_milliseconds(account.observed_at)
            },
        )  # fmt: skip

    def put_expiry(self, ref: AccountRef, at: int, announcement: Announcement, now: float) -> bool:
        """Store the announcement that an account is expected to become inactive at the time `at` (Unix seconds); False if it was stored."""
        row = {
            "pk": account_pk(ref),
            "sk": _expiry_sk(at),
            **ref.as_dict(),
            "expires_at": at + EXPIRY_DAYS * DAY_SECONDS,
            **unannounced(announcement, now),
        }
        return self._table.insert(row) is None

    def mark_expiry_announced(self, ref: AccountRef, at: int) -> bool:
        return mark_announced(self._table, account_pk(ref), _expiry_sk(at))

    def begin_attempt(self, ref: AccountRef, attempt: Attempt, seen: Attempt | None, now: float) -> bool:
        """Take the lease for one refresh call; False if another caller holds it, or has made an attempt since `seen` was read.

        No other condition decides when the lease may be taken over: there was no other attempt in between, and no lease runs.
        """
        free = "(attribute_not_exists(lease_until_ms) OR lease_until_ms <= :now)"
        unchanged = "attribute_not_exists(attempt)" if seen is None else "attempt_calls = :seen"
        return self._update(
            ref,
            set_={
                "attempt": attempt.number,
                "attempt_key": attempt.key,
                "attempt_base": attempt.base,
                "attempt_began_ms": to_milliseconds(attempt.began_at),
                "attempt_calls": attempt.calls,
                "attempt_open": True,
                "attempt_doubted_ms": None if attempt.doubted_at is None else to_milliseconds(attempt.doubted_at),
                "lease_until_ms": to_milliseconds(now + LEASE_SECONDS),
                **opened("refresh", now),
            },
            remove=["slot_ms"],
            condition=f"{unchanged} AND {free} AND {NOT_ERASED}",
            values={":now": to_milliseconds(now), **({} if seen is None else {":seen": seen.calls})},
        )

    def end_attempt(self, ref: AccountRef, attempt: Attempt, *, answered: bool, doubted_at: float | None = None) -> bool:
        """Return the lease; False if a later call has begun.

        An attempt that Stripe did not answer stays open, and the next caller repeats it under its key. `doubted_at`: when Stripe gave an
        answer that leaves open whether a refresh was started (Unix seconds), see `Attempt`.
        """
        doubt = {} if doubted_at is None else {"attempt_doubted_ms": to_milliseconds(doubted_at)}
        return self._table.update(
            account_pk(ref), "ACCOUNT", set_={"attempt_open": not answered, **doubt}, remove=["lease_until_ms"],
            condition="attempt_calls = :calls", values={":calls": attempt.calls},
        )  # fmt: skip

    def keep_slot(self, ref: AccountRef, slot: float, known: float | None) -> bool:
        """Keep a slot of the rate limiter (Unix seconds) for an account's next refresh call; False if another one than `known` is kept."""
        if known is None:
            return self._update(ref, set_={"slot_ms": to_milliseconds(slot)}, condition="attribute_not_exists(slot_ms)")
        return self._update(
            ref, set_={"slot_ms": to_milliseconds(slot)}, condition="slot_ms = :known", values={":known": to_milliseconds(known)}
        )

    def drop_slot(self, ref: AccountRef, known: float) -> bool:
        """Remove the slot that was kept for the account's next refresh call, because no call is needed."""
        return self._update(ref, set_={}, remove=["slot_ms"], condition="slot_ms = :known", values={":known": to_milliseconds(known)})

    def set_newest_snapshot(self, ref: AccountRef, snapshot: Snapshot, expires_at: int | None = None, *, open_: bool = False) -> bool:
        """Make a snapshot the account's newest; False if a newer one is stored, or the account was erased.

        `expires_at`: Unix seconds; None leaves the stored time. `open_`: something else is left to do with the account.
        """
        return self._update(
            ref,
            set_={
                "snapshot": snapshot.id,
                "snapshot_attempted_at": snapshot.attempted_at,
                "snapshot_created": snapshot.created,
                "snapshot_too_many": snapshot.too_many,
                **({} if expires_at is None else {"snapshot_expires_at": expires_at}),
            },
            remove=() if open_ else CLOSED,
            condition=f"{NOT_ERASED} AND (attribute_not_exists(snapshot_attempted_at) OR snapshot_attempted_at < :snapshot_attempted_at "
            "OR (snapshot_attempted_at = :snapshot_attempted_at AND snapshot_created < :snapshot_created) "
            "OR (snapshot_attempted_at = :snapshot_attempted_at AND snapshot_created = :snapshot_created AND #snapshot <= :snapshot))",
        )

    def _update(self, ref: AccountRef, *, set_: Item, condition: str, **more: Any) -> bool:
        return self._table.update(account_pk(ref), "ACCOUNT", set_={**ref.as_dict(), **set_}, condition=condition, **more)


def _expiry_sk(at: int) -> str:
    return f"{EXPIRY}{at:012}"


def _state(item: Item, ref: AccountRef) -> AccountState:
    refresh = None
    if item.get("refresh_status") is not None:
        refresh = OwnershipRefresh(
            status=item["refresh_status"],
            last_attempted_at=item["last_attempted_at"],
            next_refresh_available_at=item.get("next_refresh_available_at"),
            error=json.loads(item["refresh_error"]) if item.get("refresh_error") else None,
        )
    permissions = item.get("permissions")
    return AccountState(
        status=item["status"],
        permissions=None if permissions is None else tuple(permissions),
        refresh=refresh,
        livemode=ref.mode == "live",
        holder=AccountHolder(*item["holder"].split("/", 1)) if item.get("holder") else None,
        details=StatusDetails(**json.loads(item["status_details"])) if item.get("status_details") else None,
        authorization=item.get("authorization"),
    )


def _attempt(item: Item) -> Attempt:
    return Attempt(
        number=item["attempt"],
        key=item["attempt_key"],
        base=item["attempt_base"],
        began_at=from_milliseconds(item["attempt_began_ms"]),
        calls=item["attempt_calls"],
        open=item["attempt_open"],
        doubted_at=_time(item, "attempt_doubted_ms"),
    )


def _time(item: Item, name: str) -> float | None:
    return None if item.get(name) is None else from_milliseconds(item[name])
