"""Consumes the events queue: reads each event's account again, stores its owners, resumes the workflows that wait for them.

A message without an event comes from `reconcile`, to have an account read. If that fails, the message is neither retried nor sent to the
dead-letter queue, because `reconcile` sends another one after a pause, which grows each time.
"""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.aws.queue_consumer import QueueConsumer
from titleholder.aws.queues import HOP, put_back
from titleholder.bootstrap import application
from titleholder.domain.accounts import AccountRef, Tenant
from titleholder.domain.verifications import RECONCILE
from titleholder.errors import AccountNotFoundError, RateLimitExceededError, StripeLaggingError, TitleholderError, UnexpectedError
from titleholder.observability import logger, metrics, observed, tally
from titleholder.services import account_sync, rate_limiter
from titleholder.services.context import Dependencies
from titleholder.services.webhooks import METRICS
from titleholder.store.events import id_of
from titleholder.stripe_api.events import missed_account


@observed
def handler(event: dict[str, Any], context: Any) -> Any:
    """Process SQS messages. Returns those that SQS has to deliver again."""
    settings, queues = application().settings, application().queues
    consumer = QueueConsumer(queues, settings.events_queue_url, settings.events_dead_letter_url, _on_dead_letter, application().clock)
    return consumer.consume(event, _process)


def _process(message: dict[str, Any], _: str) -> None:
    key = message.get("event")
    ref: AccountRef | None = None
    deps = application().dependencies(application().rate_limits.limiter(message))
    if key is not None and (rate_limiter.SLOTS_KEY in message or rate_limiter.RETRY_AT_KEY in message):
        # SQS may deliver a message twice. Without this check, each copy of a waiting message would be put back.
        known = deps.store.events.get(key)
        if known is not None and known.processed and known.aside is None:
            return
    try:
        ref = AccountRef.from_dict(message) if key is None else _account_of_event(deps, key, message)
        if ref is None:
            return
        showed_news = account_sync.sync_account(deps, ref, key, RECONCILE)
    except StripeLaggingError as behind:
        _defer(deps, message, behind.retry_after * 1.5 ** max(0, min(20, int(message.get(HOP, 0)) - 10)))
        return
    except RateLimitExceededError as early:
        at = early.at if ref is None else account_sync.await_slot(deps, ref, early.at)
        _defer(deps, rate_limiter.requeued_message(message, early), at - deps.clock())
        return
    except Exception as error:
        # `reconcile` repeats its own readings later. Nothing repeats one that a recovery command requires.
        if key is not None or message.get("required"):
            raise
        reason = f"{type(error).__name__}: {error}" if isinstance(error, TitleholderError) else str(UnexpectedError.of(error))
        logger.error("repair failed", extra={"kind": "refresh", "reason": reason, "account": message.get("account")})
        metrics.add_metric(name="RepairFailed", unit=MetricUnit.Count, value=1)
        return
    if key is not None:
        deps.store.events.mark_processed(key)
    elif showed_news:
        metrics.add_metric(name="Repaired", unit=MetricUnit.Count, value=1)
    if ref.stripe_account is not None and deps.store.connected_accounts.record_answer(ref.mode, ref.stripe_account):
        logger.info("connected account answers again", extra={"stripe_account": ref.stripe_account})
    logger.info("account fetched", extra={"event_id": None if key is None else id_of(key), "account": ref.account})


def _defer(deps: Dependencies, message: Mapping[str, Any], delay: float) -> None:
    """Put a message back into the queue. If that was done too often, the event is left to `reconcile`, which queues it again."""
    again = put_back(message)
    if again is not None:
        deps.queues.defer_event(again, delay)
        return
    key = message.get("event")
    logger.warning("event deferred too often", extra={"event_id": None if key is None else id_of(key), "account": message.get("account")})
    tally("MessagesDeferredTooOften")
    if key is not None:
        deps.store.events.leave_to_reconcile(key, deps.clock())


def _account_of_event(deps: Dependencies, key: str, message: Mapping[str, Any]) -> AccountRef | None:
    """The account to read for an event; None if there is none. The event then counts as processed."""
    event_id = id_of(key)
    ref = AccountRef.from_dict(message) if "account" in message else None
    named = Tenant(message["mode"], message.get("stripe_account"))
    found = application().contexts.resolve(deps.stripe, named, message.get("context"))
    if found is None:
        if deps.store.events.move_aside(key, "other_context"):
            metrics.add_metric(name=METRICS["other_context"], unit=MetricUnit.Count, value=1)
        logger.info("event set aside", extra={"event_id": event_id, "reason": "other_context"})
        return None
    if ref is not None:
        return found.ref(ref.account)
    try:
        account = missed_account(deps.stripe.thin_event(event_id, found.stripe_account))
    except AccountNotFoundError:
        account = None
    if account is None:
        deps.store.events.mark_processed(key)
        logger.info("event about no account", extra={"event_id": event_id})
        return None
    return found.ref(account)


def _on_dead_letter(message: dict[str, Any], reason: str) -> None:
    if "event" in message:
        application().store.events.set_error(message["event"], reason)
