"""Logs and metrics. Ids only: no event, answer or error object is ever captured whole, for they may hold personal data.

Traces are Lambda's own: its active tracing needs no code of ours.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from titleholder.errors import TitleholderError, UnexpectedError

# A run that counts nothing is nothing to warn of.
warnings.filterwarnings("ignore", message="No application metrics to publish")

logger = Logger(service="titleholder")
metrics = Metrics(namespace="Titleholder", service="titleholder")

Handler = Callable[[Any, Any], Any]


def unexpected(name: str, error: Exception, **ids: str) -> None:
    """Log an unexpected exception that was caught, without its message, and count it as the metric `name`.

    The metric has the dimension `service` alone, whatever dimensions the handler gives its own metrics, because alarms look there.
    """
    logger.error(name, extra={"error": str(UnexpectedError.of(error)), **ids})
    with single_metric(name=name, unit=MetricUnit.Count, value=1, namespace="Titleholder", default_dimensions={"service": "titleholder"}):
        pass


def observed(handler: Handler) -> Handler:
    """A Lambda handler with its request id on every log line and its metrics flushed."""
    if not gc.isenabled():
        # As `cold_start` left it. What has been loaded is never looked through again.
        gc.freeze()
        gc.enable()
    return logger.inject_lambda_context(metrics.log_metrics(_redact_unexpected_errors(handler)), clear_state=True)


def _redact_unexpected_errors(handler: Handler) -> Handler:
    """What nobody foresaw may repeat what it stumbled over, and Lambda logs what is raised and tells the workflow: so its words go."""

    @wraps(handler)
    def told(event: Any, context: Any) -> Any:
        try:
            return handler(event, context)
        except TitleholderError:
            raise
        except Exception as error:
            raise UnexpectedError.of(error) from None

    return told
