"""The audit log: callers, actions and ids. Entries are appended and never change; the table's own policy forbids it.

Rows: AUDIT#<UTC day>#<last digit of random> / <milliseconds>#<random>, and for the entry after an effect <milliseconds>#<random>#after.
The hexadecimal digit spreads a day over sixteen partition keys, because DynamoDB writes at most 1,000 units a second under one key. Earlier
releases wrote AUDIT#<UTC day>.
"""

from __future__ import annotations

from collections.abc import Mapping

from titleholder.store.table import Item, Table
from titleholder.timestamps import to_milliseconds, utc_day


def partitions(day: str) -> list[str]:
    """The partition keys under which a UTC day's entries can be."""
    return [f"AUDIT#{day}", *(f"AUDIT#{day}#{digit}" for digit in "0123456789abcdef")]


class AuditLog:
    def __init__(self, table: Table) -> None:
        self._table = table

    def append(self, id_: str, entry: Mapping[str, str], at: float, expires_at: int, *, after: bool = False) -> None:
        """Add an entry. `after`: the second one of this id."""
        sk = f"{to_milliseconds(at):015}#{id_}" + ("#after" if after else "")
        pk = f"AUDIT#{utc_day(at)}#{id_[-1]}"
        kept: Item = {"pk": pk, "sk": sk, "entry": id_, **entry, "at_ms": to_milliseconds(at), "expires_at": expires_at}
        # The same entry may exist already: the SDK repeats a request whose answer was lost, and an entry that may be missing is written
        # again. Its expiry may differ, because the retention may have been changed since.
        found = self._table.insert(kept)
        if found is not None and found != {**kept, "expires_at": found["expires_at"]}:
            raise RuntimeError("Another audit entry has this id.")
