"""Logs and metrics. Both hold ids only, because events, answers and error messages may contain personal data.

Lambda makes the traces itself: its active tracing needs no code here.
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

# An invocation without metrics is normal.
warnings.filterwarnings("ignore", message="No application metrics to publish")

logger = Logger(service="titleholder")
metrics = Metrics(namespace="Titleholder", service="titleholder")

Handler = Callable[[Any, Any], Any]


def unexpected(name: str, error: Exception, **ids: str) -> None:
    """Log an unexpected exception that was caught, without its message, and count it as the metric `name`.

    The metric has the dimension `service` alone, whatever dimensions the handler gives its own metrics, because alarms look there.
    """
    count_alone(name, name, error=str(UnexpectedError.of(error)), **ids)


def count_alone(name: str, message: str, **ids: str) -> None:
    """Log an error, and count it as the metric `name` with the dimension `service` alone."""
    logger.error(message, extra=ids)
    with single_metric(name=name, unit=MetricUnit.Count, value=1, namespace="Titleholder", default_dimensions={"service": "titleholder"}):
        pass


def observed(handler: Handler) -> Handler:
    """A Lambda handler with its request id on every log line and its metrics flushed."""
    if not gc.isenabled():
        # `cold_start` disabled the collector. Modules that are loaded by now are never garbage, so they are exempt from collection.
        gc.freeze()
        gc.enable()
    return logger.inject_lambda_context(metrics.log_metrics(_redact_unexpected_errors(handler)), clear_state=True)


def _redact_unexpected_errors(handler: Handler) -> Handler:
    """Redacts unexpected exceptions: Lambda logs the message and Step Functions stores it, and it may quote the input."""

    @wraps(handler)
    def wrapper(event: Any, context: Any) -> Any:
        try:
            return handler(event, context)
        except TitleholderError:
            raise
        except Exception as error:
            raise UnexpectedError.of(error) from None

    return wrapper
