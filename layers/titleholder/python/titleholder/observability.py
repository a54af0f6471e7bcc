"""Logs and metrics. Both hold ids only, because events, answers and error messages may contain personal data.

Lambda makes the traces itself: its active tracing needs no code here.
"""

from __future__ import annotations

import gc
import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from titleholder.errors import TitleholderError, UnexpectedError

# An invocation without metrics is normal.
warnings.filterwarnings("ignore", message="No application metrics to publish")

NAMESPACE = "Titleholder"
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME") or "titleholder"
"""The stack's name: the dimension of its metrics, because several stacks of an account share the namespace."""

logger = Logger(service=SERVICE)
metrics = Metrics(namespace=NAMESPACE, service=SERVICE)

Handler = Callable[[Any, Any], Any]

HTTP_SECONDS = 29.0
"""How long an HTTP function has for its answer (seconds). API Gateway waits no longer, even if the function's timeout is longer."""

_ends = math.inf
_tallied: Counter[str] = Counter()
_tallying = Lock()


def time_left() -> float:
    """The seconds until the current invocation must have answered; infinity outside of an invocation."""
    return _ends - time.monotonic()


def tally(name: str) -> None:
    """Add one to the metric `name`, which is emitted at the end of the invocation. May be called by any thread."""
    with _tallying:
        _tallied[name] += 1


def unexpected(name: str, error: Exception, **ids: str) -> None:
    """Log an unexpected exception that was caught, without its message, and count it as the metric `name`.

    The metric has only the dimension `service`, even if the handler gives its own metrics more dimensions, because alarms need that.
    """
    count_alone(name, name, error=str(UnexpectedError.of(error)), **ids)


def count_alone(name: str, message: str, **ids: str) -> None:
    """Log an error, and count it as the metric `name` with only the dimension `service`."""
    logger.error(message, extra=ids)
    _emit(name, 1)


def count_verdict(outcome: str) -> None:
    """Count a verdict as `VerificationCompleted`, the only metric that has the dimension `outcome` beside `service`."""
    with single_metric(
        name="VerificationCompleted", unit=MetricUnit.Count, value=1, namespace=NAMESPACE,
        default_dimensions={"service": SERVICE, "outcome": outcome},
    ):  # fmt: skip
        pass


def count_decision(decision: str, reason: str) -> None:
    """Count a decision that closed a review as `ReviewDecided`, the only metric that has `decision` and `reason` beside `service`."""
    with single_metric(
        name="ReviewDecided", unit=MetricUnit.Count, value=1, namespace=NAMESPACE,
        default_dimensions={"service": SERVICE, "decision": decision, "reason": reason},
    ):  # fmt: skip
        pass


def measure_seconds(name: str, seconds: float) -> None:
    """Add a time to the metric `name`. May be called by any thread."""
    with _tallying:
        metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=max(0.0, round(seconds, 3)))


def _emit(name: str, value: int) -> None:
    with single_metric(name=name, unit=MetricUnit.Count, value=value, namespace=NAMESPACE, default_dimensions={"service": SERVICE}):
        pass


def observed(handler: Handler) -> Handler:
    """A Lambda handler with its request id on every log line and its metrics flushed."""
    if not gc.isenabled():
        # `cold_start` disabled the collector. Modules that are loaded by now are never garbage, so they are exempt from collection.
        gc.freeze()
        gc.enable()
    return logger.inject_lambda_context(metrics.log_metrics(_timed(_redact_unexpected_errors(handler))), clear_state=True)


def _timed(handler: Handler) -> Handler:
    """Sets what `time_left` returns during the invocation, and emits the tallied metrics at its end."""

    @wraps(handler)
    def wrapper(event: Any, context: Any) -> Any:
        global _ends
        http = isinstance(event, dict) and "http" in event.get("requestContext", ())
        left = context.get_remaining_time_in_millis() / 1000
        _ends = time.monotonic() + (min(left, HTTP_SECONDS) if http else left)
        try:
            return handler(event, context)
        finally:
            _ends = math.inf
            with _tallying:
                tallied = dict(_tallied)
                _tallied.clear()
            for name, value in tallied.items():
                _emit(name, value)

    return wrapper


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
