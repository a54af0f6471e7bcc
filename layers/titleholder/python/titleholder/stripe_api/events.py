"""Parses Stripe's events: id, type, which account to read again, and whether the event is for this stack. Other content is ignored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from titleholder.domain.accounts import ACCOUNT_ID, CONNECTED_ACCOUNT_ID, AccountRef, Mode
from titleholder.errors import MalformedEventError

_EVENT_ID = re.compile(r"evt_[A-Za-z0-9_]{1,120}")
_TYPE = re.compile(r"[a-z0-9_.\[\]]{1,200}")

_ACCOUNT_EVENTS = frozenset(
    "financial_connections.account." + name
    for name in (
        "created", "deactivated", "reactivated", "disconnected", "refreshed_ownership", "ownership_refresh_succeeded",
        "ownership_refresh_failed", "account_numbers_updated", "upcoming_account_number_expiry", "supported_payment_method_types_updated",
        "expected_deactivation_date_updated", "upcoming_deactivation",
    )
)  # fmt: skip


SNAPSHOT_TYPES = tuple(sorted(type_ for type_ in _ACCOUNT_EVENTS if ".ownership_refresh_" not in type_))
"""The types of snapshot events that are processed. Succeeded and failed refreshes have types of their own as thin events only."""


SetAside = Literal["other_mode", "other_context", "malformed"]
"""Why a genuine event is not processed, whatever its type.

`other_mode`: Stripe sends test events to live Connect endpoints too. `other_context`: it belongs neither to the platform nor to one
connected account, such as events of an organization's other accounts (`org_.../acct_...`). `malformed`: its type is processed, but it names
no account.
"""


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """One event. `ref` is None if there is no account to read again: the event is then stored, but not processed.

    `created` is Stripe's own text or seconds, stored for people; no code orders by it. With `set_aside`, `ref` is None.
    """

    id: str
    type: str
    created: str
    ref: AccountRef | None
    set_aside: SetAside | None = None


@dataclass(frozen=True, slots=True)
class StatedChange:
    """The change that an event reports, and its time (Unix seconds). It is only a reason to read the account again."""

    what: Literal["disconnected", "deactivated", "reactivated", "settled"]
    at: float


def stated_change(type_: str, created: str) -> StatedChange | None:
    """The change that an event of this type and time reports; None if the account will not show it, or the time can't be read."""
    name = type_.rpartition(".")[2]
    what = "settled" if name in ("refreshed_ownership", "ownership_refresh_succeeded", "ownership_refresh_failed") else name
    if what not in ("disconnected", "deactivated", "reactivated", "settled"):
        return None
    try:
        at = float(created) if created.isdigit() else datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return StatedChange(what, at)  # type: ignore[arg-type]


def parse(body: bytes, mode: Mode) -> StripeEvent:
    """The event in a delivery's body. Its signature must have been verified before.

    Raises:
        MalformedEventError: the body is not a JSON object with an event's id and type.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedEventError("The body is not JSON.") from None
    if not isinstance(data, dict):
        raise MalformedEventError("The body is not a JSON object.")
    return from_object(data, mode)


def from_object(data: Mapping[str, Any], mode: Mode) -> StripeEvent:
    """The event in an already parsed snapshot (`event`) or thin (`v2.core.event`) event object. Raises as `parse` does."""
    id_, type_ = data.get("id"), data.get("type")
    if not isinstance(id_, str) or not _EVENT_ID.fullmatch(id_):
        raise MalformedEventError("id: not an event id (evt_...).")
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_):
        raise MalformedEventError("type: not an event type.")
    created = _created(data.get("created"))
    ref, set_aside = _subject(data, type_, mode)
    return StripeEvent(id=id_, type=type_, created=created, ref=ref, set_aside=set_aside)


def from_bus(detail: Mapping[str, Any], mode: Mode) -> StripeEvent:
    """The event in EventBridge's envelope: ids and texts that the rule's input transformer picked, or the whole event.

    The transformer converts every value to text, and missing values to an empty text. Raises as `parse` does.
    """
    data = _present(detail)
    if data.get("livemode") in ("true", "false"):
        data["livemode"] = data["livemode"] == "true"
    return from_object(data, mode)


def _present(data: Mapping[str, Any]) -> dict[str, Any]:
    absent = ("", "null")
    return {name: _present(value) if isinstance(value, Mapping) else value for name, value in data.items() if value not in absent}


def _created(value: Any) -> str:
    # The value must be storable: DynamoDB refuses half a surrogate pair.
    return str(value)[:40].encode(errors="replace").decode() if isinstance(value, str | int) else ""


def _subject(data: Mapping[str, Any], type_: str, mode: Mode) -> tuple[AccountRef | None, SetAside | None]:
    """Which account to read again, or why the event is set aside; neither for an event of a type that is only stored."""
    livemode = data.get("livemode")
    if isinstance(livemode, bool) and livemode != (mode == "live"):
        return None, "other_mode"
    thin = data.get("object") == "v2.core.event"
    # A snapshot event has `account`, a thin one `context`; a snapshot event of an organization's destination has both.
    connected, context = None if thin else data.get("account"), data.get("context")
    if None not in (connected, context) and connected != context:
        return None, "other_context"
    connected = context if connected is None else connected
    if connected is not None and (not isinstance(connected, str) or not CONNECTED_ACCOUNT_ID.fullmatch(connected)):
        return None, "other_context"
    if type_.removeprefix("v1.") not in _ACCOUNT_EVENTS:
        return None, None
    holder = data if thin else data.get("data")
    about = holder.get("related_object" if thin else "object") if isinstance(holder, Mapping) else None
    account = about.get("id") if isinstance(about, Mapping) else None
    valid = livemode is None or isinstance(livemode, bool)
    if not valid or type_.startswith("v1.") != thin or not isinstance(account, str) or not ACCOUNT_ID.fullmatch(account):
        return None, "malformed"
    return AccountRef(account=account, mode=mode, stripe_account=connected), None
