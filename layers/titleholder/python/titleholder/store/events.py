"""Events received from Stripe.

Rows: EVENT#<id> / EVENT; another event with that id, which names another account or the same one by another path, EVENT#<id> /
EVENT#<path>/<account>; events that are not for this stack, or malformed, EVENT#<id> / ASIDE#<why>. The first two have the keys `<id>` and
`<id>@<path>/<account>`. If only their processing shows that they are not for this stack, they count as processed and have `aside`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from titleholder.store.open_work import CLOSED, OpenItem, opened
from titleholder.store.table import Item, Table
from titleholder.timestamps import DAY_SECONDS, from_milliseconds, to_milliseconds

EVENT_RETENTION_SECONDS = 35 * DAY_SECONDS

EVENT_PATIENCE_SECONDS = 300
"""How long an event may wait for its processing before it is queued again."""


Recorded = Literal["new", "waiting", "twin", "processed"]


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """An event that was recorded, with its id and type, its time as Stripe's text, and when it was received (Unix seconds).

    `tries`: how often it was queued again because it was not processed. `due_at`: when it may be queued again. `aside`: why its processing
    had no effect; it may have one when it comes again. `open`: it is listed as open work. `listed`: `reconcile` found it in a list.
    """

    processed: bool
    due_at: float
    tries: int
    type: str = ""
    created: str = ""
    aside: str | None = None
    open: bool = False
    id: str | None = None
    received_at: float | None = None
    listed: bool = False


class Events:
    def __init__(self, table: Table) -> None:
        self._table = table

    def insert(
        self, event: Mapping[str, str], *, processed: bool, now: float, delivered: str | None = None, listed: bool = False
    ) -> tuple[str, Recorded]:
        """Record an event (id, type, created, account). Returns its key, whether it is new, and if not, whether it was processed.

        `delivered`: the id of the event that was delivered, if that is another event of the same occurrence. The result `twin`: the other
        event came before, with the same account by the same path, and waits to be processed, but not for long.

        `listed`: `reconcile` found the event in a list. If `reconcile` crashes before it queues the event, nothing repeats that, and the
        list omits the event once a delivery succeeds, maybe by another path. So the event is listed as open, unless it is processed within
        EVENT_PATIENCE_SECONDS.
        """
        more: Item = {"processed": processed}
        if delivered is not None:
            more["delivered_id"] = delivered
        if listed:
            more["listed"] = True
        if listed and not processed:
            more |= opened("event", now + EVENT_PATIENCE_SECONDS)
        key = event["id"]
        known = self._table.insert({**_received(event, "EVENT", now), **more})
        if known is not None and not processed and not _same_account(known, event):
            # Processing may show that the event that came first has no effect, while this one has one.
            key = _second_key(event)
            known = self._table.insert({**_received(event, _keys(key)[1], now), **more})
        if known is None:
            return key, "new"
        if known.get("processed") and "aside" not in known:
            return key, "processed"
        came = known.get("delivered_id", event["id"])
        recent = now < from_milliseconds(known["received_ms"]) + EVENT_PATIENCE_SECONDS
        return key, "twin" if recent and came != (delivered or event["id"]) else "waiting"

    def find(self, event: Mapping[str, str]) -> tuple[str, KnownEvent | None]:
        """The key that `insert` chooses for an event (id, account), and what is stored under it."""
        key = event["id"]
        item = self._item(key)
        if item is not None and not _same_account(item, event):
            key = _second_key(event)
            item = self._item(key)
        return key, None if item is None else _known(item)

    def set_aside(self, event: Mapping[str, str], why: str, now: float) -> bool:
        """Record an event that has no effect; False if it was known.

        It has a key of its own, because another event with the same id may have an effect.
        """
        return self._table.insert({**_received(event, f"ASIDE#{why}", now), "aside": why}) is None

    def get(self, key: str) -> KnownEvent | None:
        """What is stored of an event; None if it was not recorded."""
        item = self._item(key)
        return None if item is None else _known(item)

    def postpone(self, key: str, due_at: float, tries: int) -> bool:
        """Record that an event is queued again, and not once more before `due_at`."""
        return self._update(key, {"due_ms": to_milliseconds(due_at), "repair_tries": tries})

    def leave_to_reconcile(self, key: str, now: float) -> bool:
        """List an event as open, so that `reconcile` queues it again; False if it was processed."""
        return self._table.update(
            *_keys(key), set_=opened("event", now), condition="attribute_exists(pk) AND #processed = :no", values={":no": False},
            names={"#processed": "processed"},
        )  # fmt: skip

    def message(self, item: OpenItem) -> dict[str, str] | None:
        """The queue message for an event that is listed as open; None if the event was processed."""
        event = self._table.get(item.pk, item.sk) or {"processed": True}
        if event["processed"]:
            return None
        place = item.sk.removeprefix("EVENT").removeprefix("#")
        key = f"{item.pk.removeprefix('EVENT#')}@{place}" if place else item.pk.removeprefix("EVENT#")
        about = {name: event[name] for name in ("account", "mode", "stripe_account", "context") if event.get(name) is not None}
        return {"event": key, **about}

    def mark_processed(self, key: str) -> bool:
        return self._update(key, {"processed": True}, remove=["failure", "aside", *CLOSED])

    def move_aside(self, key: str, why: str) -> bool:
        """Record that the processing of an event showed that it has no effect; False if that was known.

        The item stays. Otherwise a repeated delivery would record the event as new, and if it crashed before it queues the event, nothing
        would process it.
        """
        return self._table.update(
            *_keys(key), set_={"processed": True, "aside": why}, remove=CLOSED,
            condition="attribute_exists(pk) AND attribute_not_exists(aside)",
        )  # fmt: skip

    def set_error(self, key: str, reason: str) -> bool:
        """Record why an event could not be processed."""
        return self._update(key, {"failure": reason})

    def _item(self, key: str) -> Item | None:
        return self._table.get(*_keys(key))

    def _update(self, key: str, set_: Item, remove: list[str] | None = None) -> bool:
        return self._table.update(*_keys(key), set_=set_, remove=remove or (), condition="attribute_exists(pk)")


def _pk(event: str) -> str:
    return f"EVENT#{event}"


def id_of(key: str) -> str:
    """Stripe's id in an event's key."""
    return key.partition("@")[0]


def _keys(key: str) -> tuple[str, str]:
    """The keys of the item of an event."""
    id_, _, place = key.partition("@")
    return _pk(id_), f"EVENT#{place}" if place else "EVENT"


def _second_key(event: Mapping[str, str]) -> str:
    path = event.get("context") or event.get("stripe_account") or "platform"
    return f"{event['id']}@{path}/{event.get('account', '')}"


def _same_account(item: Mapping[str, object], event: Mapping[str, str]) -> bool:
    """Whether a stored event and another one name the same account by the same path."""
    return all(item.get(name) == event.get(name) for name in ("account", "stripe_account", "context"))


def _known(item: Item) -> KnownEvent:
    return KnownEvent(
        processed=item["processed"],
        due_at=from_milliseconds(item.get("due_ms", item["received_ms"] + EVENT_PATIENCE_SECONDS * 1000)),
        tries=item.get("repair_tries", 0),
        type=item.get("type", ""),
        created=item.get("created", ""),
        aside=item.get("aside"),
        open="open_kind" in item,
        id=item.get("id"),
        received_at=from_milliseconds(item["received_ms"]),
        listed=bool(item.get("listed")),
    )


def _received(event: Mapping[str, str], sk: str, now: float) -> Item:
    return {
        "pk": _pk(event["id"]),
        "sk": sk,
        **event,
        "received_ms": to_milliseconds(now),
        "expires_at": int(now) + EVENT_RETENTION_SECONDS,
    }
