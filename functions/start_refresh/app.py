"""Starts refreshes: for the workflows that ask through the refresh queue, and for `POST /accounts/{account}/refreshes`."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder import ownership, pace, runtime
from titleholder.batches import Source, each_record
from titleholder.observability import logger, metrics, observed


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
    world, settings, now = runtime.world(), runtime.settings(), runtime.clock()
    turn = pace.turn(world.store, message, settings.refreshes_per_second, now)
    if turn > now:
        world.queues.defer_refresh({**message, pace.TURN: turn}, turn - now)
        return
    request = ownership.RefreshRequest.from_message(message)
    asked = ownership.serve(world, request)
    logger.info(
        "refresh request served",
        extra={"verification": request.waiter.verification, "account": request.ref.account, "result": type(asked).__name__},
    )
    if isinstance(asked, ownership.Started):
        metrics.add_metric(name="RefreshStarted", unit=MetricUnit.Count, value=1)
