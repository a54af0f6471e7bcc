"""Step Functions paths as documented.

A path that selects nothing fails the state, `IsPresent` is true for null, and every comparison has a `...Path` form.
"""

from __future__ import annotations

from typing import Any

from ministack.services import stepfunctions as sf

from local.aws.shims._workflow import TaskError

original_resolve, original_evaluate = sf._resolve_path, sf._evaluate_rule


def apply() -> None:
    sf._resolve_path = resolve_path
    sf._evaluate_rule = evaluate_rule


def resolve_path(path: str, data: Any) -> Any:
    """What the reference path selects in `data`. Raises `TaskError` if it selects nothing."""
    tokens = sf._parse_jsonpath_tokens(path) if path.startswith("$") and path != "$" else None
    if tokens is None or any(kind not in ("field", "index") for kind, _ in tokens):
        return original_resolve(path, data)
    for _, key in tokens:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            raise TaskError("States.Runtime", f"The JSONPath '{path}' could not be found in the input") from None
    return data


def evaluate_rule(rule: dict[str, Any], data: Any, context: dict[str, Any] | None = None) -> bool:
    if "IsPresent" in rule:
        try:
            sf._resolve_path_or_ctx(rule["Variable"], data, context)
        except TaskError:
            return not rule["IsPresent"]
        return bool(rule["IsPresent"])
    values = {
        name.removesuffix("Path"): sf._resolve_path_or_ctx(operand, data, context) if name.endswith("Path") else operand
        for name, operand in rule.items()
    }
    return bool(original_evaluate(values, data, context))
