"""Consumes the events queue: reads each event's account again, stores its owners, wakes whoever waits for them."""

from __future__ import annotations

from typing import Any

from titleholder import ownership, runtime
from titleholder.accounts import AccountRef
from titleholder.batches import each_record
from titleholder.observability import logger, observed


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers SQS with the messages to be delivered again."""
    return each_record(event, _process, runtime.queues(), runtime.settings().events_queue_url)


def _process(message: dict[str, Any], now: float) -> None:
    ref = AccountRef.from_dict(message)
    world = runtime.world()
    ownership.fetch(world, ref)
    world.store.finish_event(message["event"])
    logger.info("account fetched", extra={"event_id": message["event"], "account": ref.account})
