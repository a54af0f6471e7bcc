"""Takes in Stripe's events from EventBridge: the second way in. Trust comes from the bus, so this function is never bound to HTTP."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from titleholder.bootstrap import application
from titleholder.errors import MalformedEventError
from titleholder.observability import logger, observed
from titleholder.stripe_api import events as stripe_events


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Takes EventBridge's envelope, reduced by the rule to ids; ends as a delivery over HTTP would after its signature was verified.

    Raises:
        MalformedEventError: this did not come from Stripe's bus, or has no event's id and type. It ends at the failure destination.
    """
    if not str(event.get("source", "")).startswith("aws.partner/stripe.com/"):
        raise MalformedEventError("This is not an event from Stripe's partner event source.")
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise MalformedEventError("The envelope holds no event.")
    accepted, state = application().webhook_receiver.accept(stripe_events.from_bus(detail, application().settings.mode))
    logger.info("event accepted", extra={"event_id": accepted.id, "event_type": accepted.type, "state": state})
    return {"event": accepted.id, "state": state}
