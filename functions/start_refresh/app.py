"""Starts refreshes: for workflows, through the refresh queue, and for `POST /accounts/{account}/refreshes`."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.aws.queue_consumer import QueueConsumer
from titleholder.bootstrap import application
from titleholder.observability import logger, metrics, observed
from titleholder.services import refreshes
from titleholder.services.refresh_calls import Started


@observed
def handler(event: dict[str, Any], context: Any) -> Any:
    """Answer one HTTP request, or process SQS messages and return those that SQS has to deliver again."""
    if "Records" in event:
        settings = application().settings
        consumer = QueueConsumer(
            application().queues, settings.refresh_queue_url, settings.refresh_dead_letter_url, clock=application().clock
        )
        return consumer.consume(event, _process)
    import routes  # imported here, so that pydantic and the resolver are loaded only for HTTP requests

    return routes.handle(event, context)


def _process(message: dict[str, Any], message_id: str) -> None:
    deps = application().dependencies(application().rate_limits.limiter(message))
    result = refreshes.handle_message(deps, message, message_id)
    if isinstance(result, refreshes.Requeued):
        return
    logger.info(
        "refresh request handled",
        extra={"verification": message["verification"], "account": message["ref"]["account"], "result": type(result).__name__},
    )
    if isinstance(result, Started):
        metrics.add_metric(name="RefreshStarted", unit=MetricUnit.Count, value=1)
