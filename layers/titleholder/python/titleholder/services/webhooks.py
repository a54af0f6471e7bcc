"""Receiving Stripe's deliveries. A delivery is acknowledged only after its event is stored. Loads neither `stripe` nor `pydantic`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.aws.queues import Queues
from titleholder.domain.accounts import Mode
from titleholder.errors import InvalidSignatureError, MalformedEventError
from titleholder.observability import logger, metrics
from titleholder.store import Store
from titleholder.stripe_api import events as stripe_events
from titleholder.stripe_api import signatures
from titleholder.stripe_api.events import SetAside, StripeEvent

MAX_BODY_BYTES = 256 * 1024

METRICS: Mapping[SetAside, str] = {"other_mode": "EventOfOtherMode", "other_context": "EventOfOtherContext", "malformed": "EventMalformed"}
"""How events that are set aside are counted. `EventMalformed` raises an alarm."""


class SigningSecrets(Protocol):
    """The signing secrets. `reload` reads them again, after none of those from `get` matched."""

    def get(self) -> Sequence[str]: ...

    def reload(self) -> Sequence[str]: ...


def raw_body(http_event: Mapping[str, Any]) -> bytes:
    """The bytes that Stripe sent, taken from API Gateway's event, which may hold them in base64.

    Raises:
        MalformedEventError: the body is too large, or not UTF-8.
    """
    text = http_event.get("body") or ""
    try:
        body = base64.b64decode(text, validate=True) if http_event.get("isBase64Encoded") else text.encode()
        if len(body) > MAX_BODY_BYTES:
            raise MalformedEventError(f"The body is larger than {MAX_BODY_BYTES // 1024} KiB.")
        body.decode()
    except ValueError:
        raise MalformedEventError("The body is not UTF-8 text.") from None
    return body


def account_named(event: StripeEvent) -> dict[str, str]:
    """What an event's item and its message say about the account that it names. Empty if the event is not processed."""
    about = {} if event.ref is None else event.ref.as_dict()
    if event.missed is not None:
        about = {name: value for name, value in event.missed.as_dict().items() if value is not None}
    if about and event.context is not None:
        about["context"] = event.context
    return about


@dataclass(frozen=True, slots=True)
class WebhookReceiver:
    """Receives events for one stack. `clock`: Unix seconds."""

    store: Store
    queues: Queues
    secrets: SigningSecrets
    mode: Mode
    clock: Callable[[], float]

    def receive(self, body: bytes, signature: str | None) -> tuple[StripeEvent, str]:
        """Verify a delivery, store its event, queue it. Returns as `accept` does.

        Raises:
            InvalidSignatureError: the delivery is not proven to come from Stripe. Nothing was written.
            MalformedEventError: it is signed, but not a JSON object with an event's id and type. Nothing was written.
        """
        now = self.clock()
        try:
            signatures.verify(body, signature, self.secrets.get(), now)
        except InvalidSignatureError:
            signatures.verify(body, signature, self.secrets.reload(), now)
        return self.accept(stripe_events.parse(body, self.mode))

    def accept(self, event: StripeEvent, *, listed: bool = False) -> tuple[StripeEvent, str]:
        """Record a trusted event, then queue it. An event that is stored but not processed yet is queued again.

        Returns the event and `new`, `waiting`, `twin`, `processed`, `ignored`, or the reason for setting it aside. An event that is set
        aside is stored under a key of its own and counted, and has no other effect. `listed`: it comes from a list that contains it at each
        read, so it is counted once, and it is open until it is processed. A delivery is counted each time, because the function may have
        crashed at an earlier one before it counted.

        `twin`: the other event of the same occurrence (Stripe sends a snapshot and a thin event), for the same account by the same path,
        waits already. This one is not queued, because Stripe repeats the other one until it is queued.
        """
        if event.set_aside is not None:
            kept = {"id": event.id, "type": event.type, "created": event.created}
            if self.store.events.set_aside(kept, event.set_aside, self.clock()) or not listed:
                metrics.add_metric(name=METRICS[event.set_aside], unit=MetricUnit.Count, value=1)
                told = {"event_id": event.id, "event_type": event.type, "reason": event.set_aside}
                (logger.error if event.set_aside == "malformed" else logger.info)("event set aside", extra=told)
            return event, event.set_aside
        about = account_named(event)
        record = {"id": event.key, "type": event.type, "created": event.created, **about}
        delivered = event.id if event.id != event.key else None
        key, known = self.store.events.insert(record, processed=not about, now=self.clock(), delivered=delivered, listed=listed)
        if not about:
            return event, "ignored"
        if known not in ("processed", "twin"):
            self.queues.send_event({"event": key, **about})
        if event.missed is not None and known == "new":
            metrics.add_metric(name="EventGenerationFailure", unit=MetricUnit.Count, value=1)
        return event, known
