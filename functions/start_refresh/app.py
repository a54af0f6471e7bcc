"""Starts refreshes: for the workflows that ask through the refresh queue, and for `POST /accounts/{account}/refreshes`."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder import ownership, pace, runtime
from titleholder.batches import Source, each_record
from titleholder.errors import PaceExceededError
from titleholder.observability import logger, metrics, observed
from titleholder.stripe_gateway import READ


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers SQS with the messages to be delivered again, or the HTTP caller."""
    if "Records" in event:
        settings = runtime.settings()
        return each_record(event, _process, Source(runtime.queues(), settings.refresh_queue_url, settings.refresh_dead_letter_url))
    import routes  # pydantic and the resolver are loaded only where HTTP is spoken

    answer: dict[str, Any] = routes.handle(event, context)
    return answer


def _process(message: dict[str, Any]) -> None:
    gate = runtime.pace().gate(message)
    world = runtime.world(gate)
    request = ownership.RefreshRequest.from_message(message)
    try:
        if gate.batch:
            # A batch's request comes again and again while there is no room: that must cost next to nothing.
            gate.enter_ahead(READ)
        asked = ownership.serve(world, request)
    except PaceExceededError as early:
        world.queues.defer_refresh(pace.later(message, early), early.at - runtime.clock())
        return
    logger.info(
        "refresh request served",
        extra={"verification": request.waiter.verification, "account": request.ref.account, "result": type(asked).__name__},
    )
    if isinstance(asked, ownership.Started):
        metrics.add_metric(name="RefreshStarted", unit=MetricUnit.Count, value=1)
