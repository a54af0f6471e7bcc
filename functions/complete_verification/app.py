"""Last step of the workflow `verify_account`: gives a verification its verdict."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from titleholder.bootstrap import application
from titleholder.observability import logger, observed
from titleholder.services import verdicts


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Takes `{verification, refresh}`; returns `{verification, outcome}`. `refresh` is the result with which the workflow was resumed."""
    done = verdicts.complete_by_id(
        application().store, application().event_publisher, event["verification"], event["refresh"], now=application().clock()
    )
    outcome = (done.verdict or {})["outcome"]
    logger.info("verification completed", extra={"verification": done.id, "outcome": outcome})
    return {"verification": done.id, "outcome": outcome}
