"""Runs on a schedule: finds what got lost, repairs it, and counts what it repaired."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder import reconciliation, runtime
from titleholder.observability import logger, metrics, observed


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Answers what was repaired, by kind."""
    repaired = reconciliation.reconcile(runtime.world(), runtime.mailroom())
    logger.info("reconciled", extra={"repaired": dict(repaired)})
    metrics.add_metric(name="Repaired", unit=MetricUnit.Count, value=repaired.total())
    return {kind: repaired[kind] for kind in ("erasure", "refresh", "verification", "event")}
