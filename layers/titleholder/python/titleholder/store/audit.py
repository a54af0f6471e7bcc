"""Audit log: who asked for what. Entries are appended and never change; the table's own policy forbids it.

Rows: AUDIT#<UTC day> / <milliseconds>#<random>, and for the entry after an effect <milliseconds>#<random>#after.
"""

from __future__ import annotations

from collections.abc import Mapping

from titleholder.store.table import Item, Table
from titleholder.timestamps import to_milliseconds, utc_day


class AuditLog:
    def __init__(self, table: Table) -> None:
        self._table = table

    def append(self, id_: str, entry: Mapping[str, str], at: float, expires_at: int, *, after: bool = False) -> None:
        """Add an entry. `after`: the second one of this id."""
        sk = f"{to_milliseconds(at):015}#{id_}" + ("#after" if after else "")
        kept: Item = {"pk": f"AUDIT#{utc_day(at)}", "sk": sk, "entry": id_, **entry, "at_ms": to_milliseconds(at), "expires_at": expires_at}
        # The same entry may exist already: the SDK repeats a request whose answer was lost.
        if self._table.insert(kept) not in (None, kept):
            raise RuntimeError("Another audit entry has this id.")
