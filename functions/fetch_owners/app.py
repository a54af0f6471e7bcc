"""Consumes the events queue: reads each event's account again, stores its owners, wakes whoever waits for them."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from titleholder import ownership, pace, runtime
from titleholder.accounts import AccountRef
from titleholder.batches import Source, each_record
from titleholder.errors import PaceExceededError
from titleholder.observability import logger, observed


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers SQS with the messages to be delivered again."""
    settings = runtime.settings()
    return each_record(event, _process, Source(runtime.queues(), settings.events_queue_url, settings.events_dead_letter_url, _buried))


def _process(message: dict[str, Any]) -> None:
    ref, event_id = AccountRef.from_dict(message), message["event"]
    world = runtime.world(runtime.pace().gate(message))
    try:
        ownership.fetch(world, ref)
    except PaceExceededError as early:
        world.queues.defer_event(pace.later(message, early), early.at - runtime.clock())
        return
    world.store.finish_event(event_id)
    logger.info("account fetched", extra={"event_id": event_id, "account": ref.account})


def _buried(message: dict[str, Any], reason: str) -> None:
    runtime.store().fail_event(message["event"], reason)
