"""Evaluates an alarm of the template as CloudWatch documents it: metric math, missing data, M out of N periods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Value = float | None
"""A metric's value in a period; None without data."""

BREACHES = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}


class Number:
    """A value of metric math. Any operation on a missing value gives a missing value."""

    def __init__(self, value: Value, *, known: bool = True) -> None:
        self.value = value
        self.known = known
        """Whether the metric had a value at any time. CloudWatch fills the gaps of such a metric only."""

    def _with(self, other: Any, combine: Any) -> Number:
        right = other.value if isinstance(other, Number) else other
        return Number(None if self.value is None or right is None else float(combine(self.value, right)))

    def __add__(self, other: Any) -> Number:
        return self._with(other, lambda a, b: a + b)

    def __mul__(self, other: Any) -> Number:
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Number:
        return self._with(other, lambda a, b: a / b) if getattr(other, "value", other) != 0 else Number(None)

    def __gt__(self, other: Any) -> Number:
        return self._with(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Number:
        return self._with(other, lambda a, b: a >= b)

    def __lt__(self, other: Any) -> Number:
        return self._with(other, lambda a, b: a < b)

    def __and__(self, other: Any) -> Number:
        return self._with(other, lambda a, b: bool(a) and bool(b))


def _number(value: Any) -> Number:
    return value if isinstance(value, Number) else Number(float(value))


def _if(condition: Number, then: Any, otherwise: Any) -> Number:
    return Number(None) if condition.value is None else _number(then if condition.value else otherwise)


def _fill(values: Any, filling: float) -> Any:
    if isinstance(values, list):
        return [_fill(value, filling) for value in values]
    return Number(filling) if values.value is None and values.known else values


def _sum(values: Sequence[Number]) -> Number:
    there = [value.value for value in values if value.value is not None]
    return Number(sum(there) if there else None)


def worked_out(alarm: Mapping[str, Any], values: Mapping[str, Value], *, known: set[str] | None = None, quota: float = 1000.0) -> Value:
    """What an alarm watches in one period. `values`: by the id of a metric, or by its name where the alarm watches it alone.

    `known`: the metrics that ever had a value (None: all).
    """
    if "Metrics" not in alarm:
        return values.get(alarm["MetricName"])
    queries = {query["Id"]: query for query in alarm["Metrics"]}
    metrics = {id_: Number(values.get(id_), known=known is None or id_ in known) for id_, query in queries.items() if "MetricStat" in query}
    functions = {
        "IF": _if, "FILL": _fill, "SUM": _sum, "METRICS": lambda: list(metrics.values()), "SERVICE_QUOTA": lambda _: Number(quota),
    }  # fmt: skip

    def result(id_: str) -> Number:
        # `&` binds more tightly than comparisons, so each side of AND gets parentheses.
        text = re.sub(r"\(([^(),]+) AND ([^(),]+),", r"((\1) & (\2),", queries[id_]["Expression"])
        used = {name for name in re.findall(r"\b[a-z]\w*\b", text) if name in queries}
        names = {name: metrics[name] if name in metrics else result(name) for name in used}
        return _number(eval(text, {"__builtins__": {}}, {**functions, **names}))

    return result("watched").value


FURTHER_PERIODS = 2
"""How many periods CloudWatch retrieves beyond the evaluated ones. Its documentation gives this number as an example and promises none."""


def raised(alarm: Mapping[str, Any], periods: Sequence[Mapping[str, Value]], **options: Any) -> bool:
    """Whether an alarm is on after these periods, the newest last. Periods before them have no data.

    CloudWatch evaluates the newest values that exist in its evaluation range, which is longer than the alarm's periods, and
    treats as missing only what these values lack.
    """
    count = alarm["EvaluationPeriods"]
    range_ = [*({} for _ in range(count + FURTHER_PERIODS)), *periods][-count - FURTHER_PERIODS :]
    there = [value for period in range_ if (value := worked_out(alarm, period, **options)) is not None][-count:]
    breaching = sum(bool(BREACHES[alarm["ComparisonOperator"]](value, float(alarm["Threshold"]))) for value in there)
    if alarm["TreatMissingData"] == "breaching":
        breaching += count - len(there)
    return breaching >= alarm.get("DatapointsToAlarm", count)
