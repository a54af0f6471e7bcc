"""Accepts Stripe's events from EventBridge. The bus proves their origin, so this function must have no HTTP route."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.bootstrap import application
from titleholder.errors import MalformedEventError
from titleholder.observability import logger, metrics, observed
from titleholder.stripe_api import events as stripe_events


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Accept one event in EventBridge's envelope, which the rule reduced to ids, like a webhook whose signature was verified.

    Raises:
        MalformedEventError: it did not come from Stripe's bus, or lacks an event's id and type. Lambda sends it to the failure destination.
    """
    if not str(event.get("source", "")).startswith("aws.partner/stripe.com/"):
        raise MalformedEventError("This is not an event from Stripe's partner event source.")
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise MalformedEventError("The envelope contains no event.")
    accepted, state = application().webhook_receiver.accept(stripe_events.from_bus(detail, application().settings.mode))
    logger.info("event accepted", extra={"event_id": accepted.id, "event_type": accepted.type, "state": state})
    metrics.add_metric(name="DeliveryAccepted", unit=MetricUnit.Count, value=1)
    return {"event": accepted.id, "state": state}
