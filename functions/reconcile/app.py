"""Runs on a schedule: finds unfinished work, repairs it, and counts repairs and failed repairs."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.bootstrap import application
from titleholder.observability import count_alone, logger, metrics, observed
from titleholder.services import reconciliation, review_queue
from titleholder.timestamps import DAY_SECONDS

KINDS = ("announcement", "erasure", "disconnection", "refresh", "verification", "event", "review_end")


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Returns how many repairs succeeded, by kind, and how many failed."""
    # First, because everything else fails if the table's key can't be used.
    _look_at_keys()
    made = application()
    report = reconciliation.reconcile(
        made.dependencies(), made.webhook_receiver, review_seconds=made.settings.review_expiry_days * DAY_SECONDS
    )
    repaired, failed = report.repaired, report.failed.total()
    logger.info("reconciled", extra={"repaired": dict(repaired), "failed": dict(report.failed), "cursors_reset": report.cursors_reset})
    counted = {
        # These accounts were only queued to be read, those whose repair is awaited daily. fetch_owners counts what a reading repairs.
        "Repaired": repaired.total() - repaired["refresh"] - repaired["repair"],
        "RepairFailed": failed,
        "TenantRetired": report.retired,
        "TenantReturned": report.returned,
        "ThinEventsNotListed": report.thin_refused,
        "StripeKeyRefused": int(report.key_refused),
    }
    for name, value in counted.items():
        if value or name == "Repaired":
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    _look_at_reviews()
    metrics.add_metric(name="ReconcileCompleted", unit=MetricUnit.Count, value=1)
    return {**{kind: repaired[kind] for kind in KINDS}, "failed": failed}


def _look_at_reviews() -> None:
    """Measure how many reviews wait. Also measured if none waits, so that an alarm ends, but not if the stack has no reviews."""
    made = application()
    try:
        found = review_queue.backlog(made.store, made.clock())
    except Exception as error:
        logger.error("reviews not looked at", extra={"reason": type(error).__name__})
        return
    if found.waiting or made.settings.reviewers_needed:
        metrics.add_metric(name="OpenReviews", unit=MetricUnit.Count, value=found.waiting)
        metrics.add_metric(name="OldestReview", unit=MetricUnit.Seconds, value=round(found.oldest_seconds))


def _look_at_keys() -> None:
    """Count the stack's KMS keys that are disabled or scheduled for deletion, while the deletion can still be cancelled."""
    try:
        for key, state in application().unusable_keys():
            count_alone("KeyUnusable", "a KMS key can't be used", key=key, state=state)
    except Exception as error:
        logger.error("keys not looked at", extra={"reason": type(error).__name__})
