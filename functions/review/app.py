"""HTTP routes for reviews of close matches and for the timeline of verifications."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from titleholder.bootstrap import prepare
from titleholder.observability import observed
from titleholder.web import resolver

app = resolver.resolver()


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request."""
    return resolver.handle(app, event, context)


prepare(lambda made: (made.cipher, made.store.load(), made.event_publisher, made.audit))
