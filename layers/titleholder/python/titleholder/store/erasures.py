"""Erasure of an account: its key is destroyed first, then what the key encrypted is deleted, then Stripe disconnects the account.

Rows: those of `store/accounts`, `store/snapshots` and `store/claims`, and the account's key.
"""

from __future__ import annotations

from titleholder.domain.accounts import AccountRef
from titleholder.store.accounts import EXPIRY, NOT_ERASED
from titleholder.store.claims import DIGESTS
from titleholder.store.open_work import CLOSED, opened
from titleholder.store.sealed import SealedItems
from titleholder.store.snapshots import HISTORY
from titleholder.store.table import Table, account_pk
from titleholder.timestamps import to_milliseconds

_PENDING = "attribute_exists(disconnect_pending)"
_ERASED = ("snapshot", "snapshot_attempted_at", "snapshot_created", "snapshot_expires_at", "snapshot_too_many", "refresh_error",
           "holder", "status_details", "authorization", "lease_until_ms")  # fmt: skip
"""Attributes that erasure removes from the account's own item: those about owners, Stripe's messages, and the holder."""


class Erasures:
    def __init__(self, table: Table, sealed: SealedItems) -> None:
        self._table = table
        self._sealed = sealed

    def has_key(self, ref: AccountRef) -> bool:
        """Whether anything was ever encrypted for the account."""
        return self._sealed.has_key(ref)

    def begin(self, ref: AccountRef, now: float, *, disconnect: bool = False) -> bool:
        """Mark the account as erased and destroy its key, in one transaction; False if that was done before.

        `disconnect`: it has yet to be disconnected at Stripe.
        """
        marked = {**ref.as_dict(), "status": "disconnected", "erased_ms": to_milliseconds(now), **opened("erasure", now)}
        if disconnect:
            marked["disconnect_pending"] = True
        names = {f"#{name}": name for name in _ERASED}
        mark = self._table.update_part(account_pk(ref), "ACCOUNT", set_=marked, remove=list(names), names=names, condition=NOT_ERASED)
        return self._table.transact([mark, self._sealed.destroy_key_part(ref, now)])

    def delete_sealed(self, ref: AccountRef) -> None:
        """Delete snapshots, their history, claims, the digests of counted claims, reviewers' notes, and announced expiries."""
        from titleholder.store.reviews import NOTE

        self._table.delete(account_pk(ref), DIGESTS)
        for kind in ("SNAPSHOT#", HISTORY, "CLAIM#", NOTE, EXPIRY):
            for item in self._table.query(account_pk(ref), kind):
                self._table.delete(item["pk"], item["sk"])

    def end(self, ref: AccountRef, now: float, retry_at: float) -> bool:
        """Record that nothing is left to erase. If the account has yet to be disconnected, that is due at `retry_at` (Unix seconds)."""
        ended = {"erasure_ended_ms": to_milliseconds(now)}
        erased = "attribute_exists(erased_ms) AND attribute_not_exists(disconnect_pending)"
        if self._table.update(account_pk(ref), "ACCOUNT", set_=ended, remove=CLOSED, condition=erased):
            return True
        unlisted = f"{_PENDING} AND attribute_not_exists(erasure_ended_ms)"
        due = {**ended, **opened("disconnection", retry_at)}
        return self._table.update(account_pk(ref), "ACCOUNT", set_=due, remove=["repair_tries"], condition=unlisted)

    def postpone_disconnection(self, ref: AccountRef, tries: int, due: float) -> bool:
        """Set when the next try is due; False if the account is disconnected."""
        set_ = {"disconnect_tries": tries, **opened("disconnection", due)}
        return self._table.update(account_pk(ref), "ACCOUNT", set_=set_, condition=_PENDING)

    def end_disconnection(self, ref: AccountRef, now: float) -> bool:
        """Record that Stripe has disconnected an erased account."""
        return self._table.update(
            account_pk(ref), "ACCOUNT", set_={"disconnected_ms": to_milliseconds(now)},
            remove=["disconnect_pending", "disconnect_tries", *CLOSED], condition="attribute_exists(erasure_ended_ms)",
        )  # fmt: skip

    def give_up_disconnection(self, ref: AccountRef, now: float) -> bool:
        """Do not try again."""
        return self._table.update(
            account_pk(ref), "ACCOUNT", set_={"disconnect_given_up_ms": to_milliseconds(now)}, remove=CLOSED, condition=_PENDING
        )  # fmt: skip
