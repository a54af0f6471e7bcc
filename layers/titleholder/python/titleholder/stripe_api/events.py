"""Parses Stripe's events: id, type, which account to read again, and whether the event is for this stack. Other content is ignored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from titleholder.domain.accounts import ACCOUNT_ID, CONNECTED_ACCOUNT_ID, CONTEXT, AccountRef, Mode, Tenant
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


GENERATION_FAILURE = "v2.core.health.event_generation_failure.resolved"
"""The type of the thin event that Stripe sends instead of an event that it could not make. Stripe neither delivers nor lists the latter."""

THIN_TYPES = (*sorted(f"v1.{type_}" for type_ in _ACCOUNT_EVENTS), GENERATION_FAILURE)
"""The types of thin events that are processed. Stripe lists at most 20 types at once."""

SetAside = Literal["other_mode", "other_context", "malformed"]
"""Why a genuine event is not processed, if its type is not the cause.

`other_mode`: Stripe sends test events to live Connect endpoints too. `other_context`: its account or context is not a path to one account,
or the path leads to an account of an organization that is neither the platform nor connected to it. `malformed`: its type is processed, but
it names no account.
"""


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """One event. `ref` is None if there is no account to read again: the event is then stored, but not processed.

    `created` is Stripe's own text or seconds, stored for operators; no code orders by it. With `set_aside`, `ref` is None.

    `context`: the path by which an event names its account, such as `org_.../acct_...`; None if it names it by at most one id. Whether that
    account is the platform, or connected to it, is not known yet (`services.contexts`). Until then, `ref` has the path's last account.
    `snapshot_event`: the snapshot event of the same occurrence, which a thin event names. `missed`: the tenant for which Stripe could not
    make an event. Only this event, read from Stripe by its id, says which account it is about.
    """

    id: str
    type: str
    created: str
    ref: AccountRef | None
    set_aside: SetAside | None = None
    context: str | None = None
    snapshot_event: str | None = None
    missed: Tenant | None = None

    @property
    def key(self) -> str:
        """The id under which the event is stored. Snapshot and thin events of one occurrence share it.

        An event that is not processed has its own, because another event of the same occurrence may have to be processed.
        """
        return self.id if self.ref is None or self.snapshot_event is None else self.snapshot_event


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


def from_object(data: Mapping[str, Any], mode: Mode, *, listed_for: str | None = None) -> StripeEvent:
    """The event in an already parsed snapshot (`event`) or thin (`v2.core.event`) event object. Raises the same errors as `parse`.

    `listed_for`: the connected account whose list contains the event.
    """
    id_, type_ = data.get("id"), data.get("type")
    if not isinstance(id_, str) or not _EVENT_ID.fullmatch(id_):
        raise MalformedEventError("id: not an event id (evt_...).")
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_):
        raise MalformedEventError("type: not an event type.")
    created, livemode = _created(data.get("created")), data.get("livemode")
    if isinstance(livemode, bool) and livemode != (mode == "live"):
        return StripeEvent(id_, type_, created, None, "other_mode")
    thin = data.get("object") == "v2.core.event"
    try:
        connected, context = _owner(data, thin=thin)
    except ValueError:
        return StripeEvent(id_, type_, created, None, "other_context")
    if listed_for is not None:
        # A list contains events of the requested account, but may not name that account in each of them.
        if connected not in (None, listed_for):
            return StripeEvent(id_, type_, created, None, "other_context")
        connected, context = listed_for, None
    if type_ == GENERATION_FAILURE and thin:
        return StripeEvent(id_, type_, created, None, None, context, missed=Tenant(mode, connected))
    if type_.removeprefix("v1.") not in _ACCOUNT_EVENTS:
        return StripeEvent(id_, type_, created, None)
    account = _account(data, type_, thin=thin)
    if account is None:
        return StripeEvent(id_, type_, created, None, "malformed")
    twin = data.get("snapshot_event") if thin else None
    if not isinstance(twin, str) or not _EVENT_ID.fullmatch(twin):
        twin = None
    return StripeEvent(id_, type_, created, AccountRef(account, mode, connected), None, context, twin)


def missed_account(event: Mapping[str, Any]) -> str | None:
    """The account about which Stripe could not make an event, as `event` reports. None if the missing event's type is not processed."""
    data = event.get("data")
    impact = data.get("impact") if isinstance(data, Mapping) else None
    if not isinstance(impact, Mapping) or str(impact.get("event_type")).removeprefix("v1.") not in _ACCOUNT_EVENTS:
        return None
    related = impact.get("related_object")
    account = related.get("id") if isinstance(related, Mapping) else impact.get("related_object_id")
    return account if isinstance(account, str) and ACCOUNT_ID.fullmatch(account) else None


def from_bus(detail: Mapping[str, Any], mode: Mode) -> StripeEvent:
    """The event in EventBridge's envelope: ids and texts that the rule's input transformer picked, or the whole event.

    The transformer converts every value to text, and missing values to an empty text. Raises the same errors as `parse`.
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


def _owner(data: Mapping[str, Any], *, thin: bool) -> tuple[str | None, str | None]:
    """The connected account that an event belongs to, None if it names none; and the path to it, None if the path is one id.

    Raises ValueError if the event names an account in an unknown way.
    """
    # A snapshot event has `account`, a thin one `context`; a snapshot event of an organization's destination has both.
    connected, context = None if thin else data.get("account"), data.get("context")
    if connected is not None and not (isinstance(connected, str) and CONNECTED_ACCOUNT_ID.fullmatch(connected)):
        raise ValueError("account: not a connected account id")
    if context is None:
        return connected, None
    if not isinstance(context, str) or not CONTEXT.fullmatch(context):
        raise ValueError("context: not a path to an account")
    named = context.rpartition("/")[2]
    if connected not in (None, named):
        raise ValueError("account and context name different accounts")
    return named, context if context != named else None


def _account(data: Mapping[str, Any], type_: str, *, thin: bool) -> str | None:
    """The Financial Connections account that an event is about; None if the event is malformed."""
    holder = data if thin else data.get("data")
    about = holder.get("related_object" if thin else "object") if isinstance(holder, Mapping) else None
    account = about.get("id") if isinstance(about, Mapping) else None
    livemode = data.get("livemode")
    valid = livemode is None or isinstance(livemode, bool)
    if not valid or type_.startswith("v1.") != thin or not isinstance(account, str) or not ACCOUNT_ID.fullmatch(account):
        return None
    return account
