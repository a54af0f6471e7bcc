"""Starts refreshes: for the workflows that ask through the refresh queue, and for `POST /accounts/{account}/refreshes`."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder import ownership, pace, runtime
from titleholder.batches import Source, each_record
from titleholder.errors import PaceExceededError
from titleholder.observability import logger, metrics, observed

IN_FLIGHT_SECONDS = 2.0
"""How soon to look again what came of another caller's refresh call."""

HEARTBEAT_SHARE = 0.45
"""How long a request may stay in the queue without a heartbeat, as a share of the settle timeout."""


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers SQS with the messages to be delivered again, or the HTTP caller."""
    if "Records" in event:
        settings = runtime.settings()
        return each_record(event, _process, Source(runtime.queues(), settings.refresh_queue_url, settings.refresh_dead_letter_url))
    import routes  # pydantic and the resolver are loaded only where HTTP is spoken

    answer: dict[str, Any] = routes.handle(event, context)
    return answer


def _process(message: dict[str, Any], message_id: str) -> None:
    world = runtime.world(runtime.pace().gate(message))
    request = ownership.RefreshRequest.from_message(message, message_id)
    try:
        asked = ownership.serve(world, request)
    except PaceExceededError as early:
        _defer(world, request, pace.later(message, early), early.at)
        return
    if isinstance(asked, ownership.InFlight):
        _defer(world, request, message, runtime.clock() + IN_FLIGHT_SECONDS)
    elif isinstance(asked, ownership.StillPending):
        _defer(world, request, message, asked.at)
    logger.info(
        "refresh request served",
        extra={"verification": request.waiter.verification, "account": request.ref.account, "result": type(asked).__name__},
    )
    if isinstance(asked, ownership.Started):
        metrics.add_metric(name="RefreshStarted", unit=MetricUnit.Count, value=1)


def _defer(world: ownership.World, request: ownership.RefreshRequest, message: dict[str, Any], at: float) -> None:
    """Put a request back into the queue until `at` (Unix seconds), unless its workflow no longer waits for it.

    The heartbeat keeps the time in the queue out of the settle timeout.
    """
    if not world.workflow.heartbeat(request.waiter.task_token):
        return
    longest = HEARTBEAT_SHARE * world.workflow.settle_timeout
    world.queues.defer_refresh({**message, ownership.HOP: request.hop + 1}, min(longest, at - runtime.clock()))
