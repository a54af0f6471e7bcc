"""Waiters: the paused workflows that are resumed when an account's refresh settles. Rows: ACCOUNT#<ref> / WAITER#<verification id>."""

from __future__ import annotations

from collections.abc import Iterator

from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import FreshnessRequirement
from titleholder.domain.verifications import Waiter
from titleholder.store.open_work import CLOSED, opened
from titleholder.store.table import Item, Table, account_pk
from titleholder.timestamps import DAY_SECONDS, from_milliseconds, to_milliseconds


class Waiters:
    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, ref: AccountRef, waiter: Waiter, hop: int = 0, message_id: str = "", now: float = 0.0) -> Waiter | None:
        """Store a waiter. Returns it with the refresh that an earlier token had joined; None if a later token is stored already.

        `hop`: how often the token's message was requeued. `message_id`: the id of its present message. Also None for a copy of that
        message: each copy would be requeued, so the copies of a request that is requeued repeatedly would multiply.

        A waiter for a repair is listed as open a day after `now` (Unix seconds), so that its account is read then. It waits for no refresh.
        """
        awaited: Item = {**ref.as_dict(), "awaits": "repair", **opened("repair", now + DAY_SECONDS)} if waiter.awaits_repair else {}
        kept = self._table.updated(
            account_pk(ref),
            _sk(waiter.verification),
            set_={
                "verification": waiter.verification,
                "task_token": waiter.task_token,
                "turn": waiter.token_version,
                "not_before_ms": to_milliseconds(waiter.need.not_before),
                "requested_ms": to_milliseconds(waiter.need.requested_at),
                "deadline_ms": to_milliseconds(waiter.need.deadline),
                "hop": hop,
                "message_id": message_id,
                "expires_at": int(waiter.need.deadline) + 7 * DAY_SECONDS,
                **awaited,
            },
            remove=("joined", "joined_ms", "trouble") if waiter.awaits_repair else ("awaits", *CLOSED),
            condition="attribute_not_exists(turn) OR turn < :turn OR (turn = :turn AND (attribute_not_exists(hop) OR hop < :hop "
            "OR (hop = :hop AND message_id = :message_id)))",
        )
        return None if kept is None else _waiter(kept)

    def set_joined(self, ref: AccountRef, waiter: Waiter, attempted_at: int, now: float) -> bool:
        """Record which refresh the waiter waits for, and since when; False if its wait is over."""
        return self._set(ref, waiter, {"joined": attempted_at, "joined_ms": to_milliseconds(now)})

    def set_error(self, ref: AccountRef, waiter: Waiter, reason: str) -> bool:
        """Record why the waiter still waits, as the verdict's reason in case it gets no answer; False if its wait is over."""
        return self._set(ref, waiter, {"trouble": reason})

    def get(self, ref: AccountRef, verification: str) -> Waiter | None:
        item = self._table.get(account_pk(ref), _sk(verification))
        return None if item is None else _waiter(item)

    def of_account(self, ref: AccountRef) -> Iterator[Waiter]:
        """All waiters for an account, read consistently."""
        return map(_waiter, self._table.query(account_pk(ref), _sk("")))

    def postpone_repairs(self, ref: AccountRef, due: float) -> None:
        """List the waiters for an account's repair as open from `due` on (Unix seconds)."""
        for waiter in self.of_account(ref):
            if waiter.awaits_repair:
                self._table.update(
                    account_pk(ref), _sk(waiter.verification), set_={"open_since_ms": to_milliseconds(due)},
                    condition="open_kind = :repair", values={":repair": "repair"},
                )  # fmt: skip

    def remove(self, ref: AccountRef, verification: str, token_version: str | None = None) -> None:
        """Remove a waiter; with `token_version` only if its token still has that version."""
        if token_version is None:
            self._table.delete(account_pk(ref), _sk(verification))
            return
        unchanged, values = "attribute_not_exists(pk) OR turn = :turn", {":turn": token_version}
        self._table.delete(account_pk(ref), _sk(verification), condition=unchanged, values=values)

    def _set(self, ref: AccountRef, waiter: Waiter, attributes: Item) -> bool:
        """Set attributes unless the wait is over: a late worker must change nothing in a later wait of the verification."""
        return self._table.update(
            account_pk(ref), _sk(waiter.verification), set_=attributes,
            condition="begins_with(turn, :wait)", values={":wait": waiter.wait},
        )  # fmt: skip


def _sk(verification: str) -> str:
    return f"WAITER#{verification}"


def _waiter(item: Item) -> Waiter:
    return Waiter(
        verification=item["verification"],
        task_token=item["task_token"],
        token_version=item["turn"],
        need=FreshnessRequirement(
            not_before=from_milliseconds(item["not_before_ms"]),
            requested_at=from_milliseconds(item["requested_ms"]),
            deadline=from_milliseconds(item["deadline_ms"]),
            joined=item.get("joined"),
        ),
        error=item.get("trouble"),
        joined_at=from_milliseconds(item["joined_ms"]) if "joined_ms" in item else None,
        awaits_repair=item.get("awaits") == "repair",
    )
