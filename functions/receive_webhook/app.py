"""`POST /webhooks/stripe`: accepts Stripe's webhook deliveries."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.bootstrap import application
from titleholder.errors import AwsUnavailableError, InvalidSignatureError, MalformedEventError, is_aws_unavailable
from titleholder.observability import logger, measure_seconds, metrics, observed
from titleholder.services import webhooks
from titleholder.web import problems


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Accept one delivery.

    Answers 200 once the event is stored, also for duplicates, unknown types and events that are not for this stack. Answers 400 without
    effect if the body is too large or not UTF-8, if no signature proves that Stripe sent the delivery, or if a signed body is not a JSON
    object with an event's id and type, which an item needs; Stripe's Dashboard shows the failure. Answers 503 if an AWS service is busy, so
    that Stripe delivers the event again.
    """
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    try:
        body = webhooks.raw_body(event)
        accepted, state = application().webhook_receiver.receive(body, headers.get("stripe-signature"))
    except (InvalidSignatureError, MalformedEventError) as error:
        problem = problems.problem_for(error)
        logger.warning("delivery refused", extra={"problem": problem.type, "reason": str(error)})
        metrics.add_metric(name="DeliveryRefused", unit=MetricUnit.Count, value=1)
        # A zero, so that the alarm WebhooksRefusedAlarm finds a value even if no delivery was ever accepted.
        metrics.add_metric(name="DeliveryAccepted", unit=MetricUnit.Count, value=0)
        return _answer(problem.status, problems.CONTENT_TYPE, problem.body())
    except Exception as error:
        if not is_aws_unavailable(error):
            raise
        problem = problems.problem_for(error if isinstance(error, AwsUnavailableError) else AwsUnavailableError.of(error))
        logger.error("delivery not stored", extra={"problem": problem.type, "reason": problem.detail})
        metrics.add_metric(name="DeliveryNotStored", unit=MetricUnit.Count, value=1)
        return _answer(problem.status, problems.CONTENT_TYPE, problem.body(), problem.headers)
    logger.info("delivery accepted", extra={"event_id": accepted.id, "event_type": accepted.type, "state": state})
    metrics.add_metric(name="DeliveryAccepted", unit=MetricUnit.Count, value=1)
    if received_at := event.get("requestContext", {}).get("timeEpoch"):
        # Measured from when API Gateway received it (milliseconds), so that a cold start counts, too.
        measure_seconds("DeliverySeconds", application().clock() - received_at / 1000)
    return _answer(200, "application/json", {"received": True})


def _answer(status: int, content_type: str, body: dict[str, Any], headers: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": content_type, **headers}, "body": json.dumps(body), "isBase64Encoded": False}
