"""Alarms on metric math can be part of a stack. They keep their state, because the emulator evaluates no expressions."""

from __future__ import annotations

from typing import Any

from ministack.services.cloudformation import provisioners

original_record = provisioners._cw_metric_alarm_record


def apply() -> None:
    provisioners._cw_metric_alarm_record = record


def record(name: str, props: dict[str, Any]) -> dict[str, Any]:
    """The alarm that CloudWatch keeps. One on metric math names no metric itself, so the emulator does not evaluate it."""
    queries = props.get("Metrics")
    if not queries:
        return dict(original_record(name, props))
    watched = [query for query in queries if str(query.get("ReturnData", True)).lower() == "true"]
    if len(watched) != 1 or len({query["Id"] for query in queries}) != len(queries):
        raise ValueError("Exactly one element of the metrics list should return data, and ids must be unique")
    plain = {key: value for key, value in props.items() if key != "Metrics"}
    kept = original_record(name, {**plain, "Namespace": "none", "MetricName": "none"})
    return {**kept, "Namespace": "", "MetricName": "", "Metrics": queries}
