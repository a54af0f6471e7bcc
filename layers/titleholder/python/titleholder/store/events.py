"""Events received from Stripe. Rows: EVENT#<id> / EVENT; events that are not for this stack, or malformed, EVENT#<id> / ASIDE#<why>."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from titleholder.store.table import Item, Table
from titleholder.timestamps import DAY_SECONDS, from_milliseconds, to_milliseconds

EVENT_RETENTION_SECONDS = 35 * DAY_SECONDS

EVENT_PATIENCE_SECONDS = 300
"""How long an event may wait for its processing before it is queued again."""


Recorded = Literal["new", "waiting", "twin", "processed"]


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


class Events:
    def __init__(self, table: Table) -> None:
        self._table = table

    def insert(self, event: Mapping[str, str], *, processed: bool, now: float, delivered: str | None = None) -> Recorded:
        """Record an event (id, type, created, account) by its id; returns whether it is new, and if not, whether it was processed.

        `delivered`: the id of the event that came, if it is another one about the same occurrence. `twin`: another one came before and
        waits to be processed, but not for long.
        """
        more = {} if delivered is None else {"delivered_id": delivered}
        known = self._table.insert({**_received(event, "EVENT", now), **more, "processed": processed})
        if known is None:
            return "new"
        if known.get("processed"):
            return "processed"
        came = known.get("delivered_id", known["id"])
        recent = now < from_milliseconds(known["received_ms"]) + EVENT_PATIENCE_SECONDS
        return "twin" if recent and came != (delivered or event["id"]) else "waiting"

    def set_aside(self, event: Mapping[str, str], why: str, now: float) -> bool:
        """Record an event that has no effect; False if it was known.

        It has a key of its own, because another event with the same id may have an effect.
        """
        return self._table.insert({**_received(event, f"ASIDE#{why}", now), "aside": why}) is None

    def get(self, event: str) -> KnownEvent | None:
        """What is stored of an event; None if it was not recorded."""
        item = self._table.get(_pk(event), "EVENT")
        if item is None:
            return None
        return KnownEvent(
            processed=item["processed"],
            due_at=from_milliseconds(item.get("due_ms", item["received_ms"] + EVENT_PATIENCE_SECONDS * 1000)),
            tries=item.get("repair_tries", 0),
            type=item.get("type", ""),
            created=item.get("created", ""),
        )

    def postpone(self, event: str, due_at: float, tries: int) -> bool:
        """Record that an event is queued again, and not once more before `due_at`."""
        return self._update(event, {"due_ms": to_milliseconds(due_at), "repair_tries": tries})

    def mark_processed(self, event: str) -> bool:
        return self._update(event, {"processed": True}, remove=["failure"])

    def move_aside(self, event: str, why: str, now: float) -> bool:
        """Record that an event was found to have no effect when it was to be processed; False if that was known.

        The same event may come again by another destination, and have an effect.
        """
        item = self._table.get(_pk(event), "EVENT")
        if item is None:
            return False
        new = self.set_aside({name: item[name] for name in ("id", "type", "created")}, why, now)
        self._table.delete(_pk(event), "EVENT")
        return new

    def set_error(self, event: str, reason: str) -> bool:
        """Record why an event could not be processed."""
        return self._update(event, {"failure": reason})

    def _update(self, event: str, set_: Item, remove: list[str] | None = None) -> bool:
        return self._table.update(_pk(event), "EVENT", set_=set_, remove=remove or (), condition="attribute_exists(pk)")


def _pk(event: str) -> str:
    return f"EVENT#{event}"


def _received(event: Mapping[str, str], sk: str, now: float) -> Item:
    return {
        "pk": _pk(event["id"]),
        "sk": sk,
        **event,
        "received_ms": to_milliseconds(now),
        "expires_at": int(now) + EVENT_RETENTION_SECONDS,
    }
