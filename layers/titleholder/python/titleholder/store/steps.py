"""The steps of a verification that are recorded when they happen, for its timeline: ids, codes and times, no personal data.

Rows: VERIFICATION#<id> / WAY#<at, ms>#<kind>.
"""

from __future__ import annotations

from typing import Any

from titleholder.domain.verifications import Step
from titleholder.store.table import Item, Table
from titleholder.timestamps import DAY_SECONDS, from_milliseconds, to_milliseconds

_PREFIX = "WAY#"
_KEYS = ("pk", "sk", "expires_at")


class Steps:
    """`retention_seconds`: how long a step is kept, if the verification has ended by then."""

    def __init__(self, table: Table, retention_seconds: int) -> None:
        self._table = table
        self._retention_seconds = retention_seconds

    def put(self, verification: str, step: Step, deadline: float) -> None:
        """Record a step of a verification that ends at `deadline` at the latest (Unix seconds).

        Written as an update, because not every function that records steps may put items. Tried once, because the verification must not
        wait for a busy table.
        """
        known = {name: value for name, value in step.about.items() if value is not None}
        received: Item = {"received_ms": to_milliseconds(known.pop("received_at"))} if "received_at" in known else {}
        set_: Item = {**known, **received, "expires_at": int(self.kept_until(step.at, deadline))}
        sk = f"{_PREFIX}{to_milliseconds(step.at):015}#{step.kind}"
        self._table.client.once.update_item(**self._table.update_part(_pk(verification), sk, set_=set_)["Update"])

    def of_verification(self, verification: str) -> list[Step]:
        """The recorded steps in order of time."""
        return [_step(item) for item in self._table.query(_pk(verification), _PREFIX) if self._table.is_live(item)]

    def kept_until(self, at: float, deadline: float) -> float:
        """Until when a step of the time `at` is kept: as long as claims, at least a week beyond the verification's deadline (Unix s)."""
        return max(at + self._retention_seconds, deadline + 7 * DAY_SECONDS)


def _pk(verification: str) -> str:
    return f"VERIFICATION#{verification}"


def _step(item: Item) -> Step:
    at, kind = item["sk"].removeprefix(_PREFIX).split("#")
    about: dict[str, Any] = {name: value for name, value in item.items() if name not in _KEYS}
    if "received_ms" in about:
        about["received_at"] = from_milliseconds(about.pop("received_ms"))
    return Step(from_milliseconds(at), kind, about)
