"""What every use case depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from titleholder.aws.event_publisher import EventPublisher
    from titleholder.aws.queues import Queues
    from titleholder.aws.workflows import Workflow
    from titleholder.services.audit import Audit
    from titleholder.store import Store
    from titleholder.stripe_api.gateway import StripeGateway


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The outside systems, the clock (Unix seconds) and a source of new idempotency keys."""

    store: Store
    stripe: StripeGateway
    workflow: Workflow
    queues: Queues
    bus: EventPublisher
    audit: Audit
    clock: Callable[[], float]
    new_key: Callable[[], str]
