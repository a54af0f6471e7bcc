"""Connected accounts that have accounts here. Rows: CONNECTED#<mode> / <acct id>."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from titleholder.domain.accounts import AccountRef, Mode
from titleholder.store.table import Item, Table
from titleholder.timestamps import from_milliseconds, to_milliseconds


@dataclass(frozen=True, slots=True)
class TenantState:
    """A connected account that has accounts here. Times are Unix seconds.

    `asked_at`, `thin_asked_at`: when its undelivered and its thin events were last listed, 0 for never. `due_at`: when they may be listed
    again. `tries`: how often that failed in a row. `retired_at`: since when it refuses the stack's key, None if it does not. `context`: the
    path by which Stripe's events and calls name it (`Stripe-Context`), None if they name it by its id alone.
    """

    stripe_account: str
    asked_at: float = 0.0
    due_at: float = 0.0
    tries: int = 0
    retired_at: float | None = None
    context: str | None = None
    thin_asked_at: float = 0.0


class ConnectedAccounts:
    def __init__(self, table: Table) -> None:
        self._table = table

    def record(self, ref: AccountRef) -> None:
        """Record that a connected account has accounts here."""
        if ref.stripe_account is not None:
            self._table.insert({"pk": _pk(ref.mode), "sk": ref.stripe_account})

    def list_all(self, mode: Mode) -> list[TenantState]:
        """The connected accounts of this mode that have accounts here."""
        return [_tenant(item) for item in self._table.query(_pk(mode), "acct_")]

    def get(self, mode: Mode, stripe_account: str) -> TenantState | None:
        """A connected account; None if it has no accounts here."""
        item = self._table.get(_pk(mode), stripe_account)
        return None if item is None else _tenant(item)

    def set_context(self, mode: Mode, stripe_account: str, context: str) -> bool:
        """Record the path by which Stripe knows a connected account."""
        return self._update(mode, stripe_account, {"context": context})

    def forget_context(self, mode: Mode, stripe_account: str) -> bool:
        """Remove a connected account's path, so that calls name it by its id alone."""
        return self._update(mode, stripe_account, {}, remove=("context",))

    def record_asked(self, mode: Mode, stripe_account: str, at: float, *, thin: bool = False) -> bool:
        """Record when a connected account's undelivered events, or with `thin` its thin events, were listed (Unix seconds)."""
        return self._update(mode, stripe_account, {"thin_asked_ms" if thin else "asked_ms": to_milliseconds(at)})

    def record_failure(self, mode: Mode, tenant: TenantState) -> bool:
        """Store a connected account's `tries`, `due_at` and `retired_at`, after its events could not be listed."""
        retired = {} if tenant.retired_at is None else {"retired_ms": to_milliseconds(tenant.retired_at)}
        return self._update(
            mode, tenant.stripe_account, {"repair_tries": tenant.tries, "due_ms": to_milliseconds(tenant.due_at), **retired}
        )

    def record_answer(self, mode: Mode, stripe_account: str) -> bool:
        """Record that a connected account's events could be listed, which ends its pauses. False if the listing had not failed before."""
        failures = ("repair_tries", "due_ms", "retired_ms")
        return self._update(mode, stripe_account, {}, remove=failures, condition="attribute_exists(due_ms)")

    def _update(
        self, mode: Mode, stripe_account: str, set_: Item, *, remove: Sequence[str] = (), condition: str = "attribute_exists(pk)"
    ) -> bool:
        return self._table.update(_pk(mode), stripe_account, set_=set_, remove=remove, condition=condition)


def _tenant(item: Item) -> TenantState:
    return TenantState(
        stripe_account=item["sk"],
        asked_at=from_milliseconds(item.get("asked_ms", 0)),
        due_at=from_milliseconds(item.get("due_ms", 0)),
        tries=item.get("repair_tries", 0),
        retired_at=from_milliseconds(item["retired_ms"]) if "retired_ms" in item else None,
        context=item.get("context"),
        thin_asked_at=from_milliseconds(item.get("thin_asked_ms", 0)),
    )


def _pk(mode: Mode) -> str:
    return f"CONNECTED#{mode}"
