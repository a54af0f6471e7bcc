"""EventBridge delivers partner events (PutPartnerEvents), and a function that a rule invokes has retries and a failure destination."""

from __future__ import annotations

import json
from typing import Any

from ministack.services import eventbridge, lambda_svc

original_dispatch = eventbridge._dispatch_to_lambda


def apply() -> None:
    eventbridge._put_partner_events = put_partner_events
    eventbridge._dispatch_to_lambda = dispatch_to_lambda


def put_partner_events(data: dict[str, Any]) -> Any:
    """Answer PutPartnerEvents. An event goes to the bus named after its source, else to the default bus."""
    entries = [
        {**entry, "EventBusName": entry["Source"] if entry.get("Source") in eventbridge._event_buses else "default"}
        for entry in data.get("Entries", ())
    ]
    return eventbridge._put_events({"Entries": entries}, allow_aws_source=True)


def dispatch_to_lambda(arn: str, payload: str) -> None:
    """Invoke the function that a rule names."""
    function, settings, _ = lambda_svc._get_func_record_for_ref(arn)
    try:
        event = json.loads(payload)
    except ValueError:
        function = None
    if not function or not settings:
        original_dispatch(arn, payload)
        return
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, settings), event)
