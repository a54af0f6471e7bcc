"""CloudFormation refuses a parameter that the template does not have. MiniStack ignores it, and would hide a misspelt name."""

from __future__ import annotations

from typing import Any

from ministack.services.cloudformation import changesets, engine, handlers

original_resolve = engine._resolve_parameters


def apply() -> None:
    engine._resolve_parameters = handlers._resolve_parameters = changesets._resolve_parameters = resolve


def resolve(template: dict[str, Any], provided: list[dict[str, Any]], *rest: Any) -> Any:
    """The template's parameters with their values. Raises `ValueError`, with which CloudFormation answers a ValidationError."""
    declared = template.get("Parameters") or {}
    if unknown := [str(one["Key"]) for one in provided if "Key" in one and one["Key"] not in declared]:
        raise ValueError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    return original_resolve(template, provided, *rest)
