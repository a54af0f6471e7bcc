"""Starts refreshes: for the workflows that ask through the refresh queue, and for `POST /accounts/{account}/refreshes`."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.aws.queue_consumer import Source, each_record
from titleholder.bootstrap import application
from titleholder.errors import PaceExceededError
from titleholder.observability import logger, metrics, observed
from titleholder.services import rate_limiter, refreshes
from titleholder.services.context import Dependencies

IN_FLIGHT_SECONDS = 2.0
"""How soon to look again what came of another caller's refresh call."""

HEARTBEAT_SHARE = 0.45
"""How long a request may stay in the queue without a heartbeat, as a share of the settle timeout."""


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers SQS with the messages to be delivered again, or the HTTP caller."""
    if "Records" in event:
        settings = application().settings
        return each_record(event, _process, Source(application().queues, settings.refresh_queue_url, settings.refresh_dead_letter_url))
    import routes  # pydantic and the resolver are loaded only where HTTP is spoken

    answer: dict[str, Any] = routes.handle(event, context)
    return answer


def _process(message: dict[str, Any], message_id: str) -> None:
    deps = application().dependencies(application().rate_limits.gate(message))
    request = refreshes.RefreshRequest.from_message(message, message_id)
    try:
        asked = refreshes.handle_request(deps, request)
    except PaceExceededError as early:
        _defer(deps, request, rate_limiter.requeued_message(message, early), early.at)
        return
    if isinstance(asked, refreshes.AlreadyStarting):
        _defer(deps, request, message, application().clock() + IN_FLIGHT_SECONDS)
    elif isinstance(asked, refreshes.StillPending):
        _defer(deps, request, message, asked.at)
    logger.info(
        "refresh request served",
        extra={"verification": request.waiter.verification, "account": request.ref.account, "result": type(asked).__name__},
    )
    if isinstance(asked, refreshes.Started):
        metrics.add_metric(name="RefreshStarted", unit=MetricUnit.Count, value=1)


def _defer(deps: Dependencies, request: refreshes.RefreshRequest, message: dict[str, Any], at: float) -> None:
    """Put a request back into the queue until `at` (Unix seconds), unless its workflow no longer waits for it.

    The heartbeat keeps the time in the queue out of the settle timeout.
    """
    if not deps.workflow.heartbeat(request.waiter.task_token):
        return
    longest = HEARTBEAT_SHARE * deps.workflow.settle_timeout
    deps.queues.defer_refresh({**message, refreshes.HOP: request.hop + 1}, min(longest, at - application().clock()))
