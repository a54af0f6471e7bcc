"""What a Stripe event says, as far as it is believed: its id, its type, and which account to read again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from titleholder.accounts import ACCOUNT_ID, CONNECTED_ACCOUNT_ID, AccountRef, Mode
from titleholder.errors import MalformedEventError, ModeMismatchError

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
"""The types of snapshot events that are acted upon. The split outcomes of a refresh exist as thin events only."""


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """One event. `ref` is None when it is not about an account that Titleholder acts upon: recorded, not processed.

    `created` is Stripe's own text or seconds, kept for people; nothing is ordered by it.
    """

    id: str
    type: str
    created: str
    ref: AccountRef | None


def parse(body: bytes, mode: Mode) -> StripeEvent:
    """The event in a delivery's body, whose signature must have been verified before.

    Raises:
        MalformedEventError: the body is no JSON object with an event's id and type.
        ModeMismatchError: the event is of the other mode than the stack.
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
    livemode = data.get("livemode")
    if isinstance(livemode, bool) and livemode != (mode == "live"):
        theirs = "live" if livemode else "test"
        raise ModeMismatchError(
            f"This is a {theirs}-mode event, but the stack's StripeMode is {mode}. "
            f"Point Stripe's {theirs}-mode endpoint at a stack deployed with StripeMode={theirs}."
        )
    thin = data.get("object") == "v2.core.event"
    return StripeEvent(id=id_, type=type_, created=_created(data.get("created")), ref=_account(data, type_, mode, thin=thin))


def _created(value: Any) -> str:
    # Whatever stands there, the table has to take it: half a surrogate pair is no text that DynamoDB stores.
    return str(value)[:40].encode(errors="replace").decode() if isinstance(value, str | int) else ""


def _account(data: Mapping[str, Any], type_: str, mode: Mode, *, thin: bool) -> AccountRef | None:
    if type_.removeprefix("v1.") not in _ACCOUNT_EVENTS or type_.startswith("v1.") != thin:
        return None
    about = data.get("related_object") if thin else (data.get("data") or {}).get("object") if isinstance(data.get("data"), dict) else None
    connected = data.get("context") if thin else data.get("account")
    account = about.get("id") if isinstance(about, dict) else None
    if not isinstance(account, str) or not ACCOUNT_ID.fullmatch(account):
        return None
    if connected is not None and (not isinstance(connected, str) or not CONNECTED_ACCOUNT_ID.fullmatch(connected)):
        return None
    return AccountRef(account=account, mode=mode, stripe_account=connected)
