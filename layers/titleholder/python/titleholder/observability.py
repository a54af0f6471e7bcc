"""Logs, metrics and traces. Ids only: no event, answer or error object is ever captured whole, for they may hold personal data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer

# A run that counts nothing is nothing to warn of.
warnings.filterwarnings("ignore", message="No application metrics to publish")

logger = Logger(service="titleholder")
metrics = Metrics(namespace="Titleholder", service="titleholder")
tracer = Tracer(service="titleholder")

Handler = Callable[[Any, Any], Any]


def observed(handler: Handler) -> Handler:
    """A Lambda handler with its request id on every log line, its metrics flushed and its segment traced."""
    traced = tracer.capture_lambda_handler(handler, capture_response=False, capture_error=False)
    measured = metrics.log_metrics(traced)
    return logger.inject_lambda_context(measured, clear_state=True)
