"""What the shims of CloudFormation resources share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS


def after_deployment(resource_type: str, configure: Callable[[str, dict[str, Any]], None]) -> None:
    """Call `configure` with the physical id and the properties of each resource of this type that a stack creates or updates."""
    handler = _RESOURCE_HANDLERS[resource_type]
    original_create, original_update = handler["create"], handler["update"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        made = original_create(logical_id, props, stack)
        configure(made[0], props)
        return made

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, *rest: Any) -> Any:
        made = original_update(physical_id, old, new, stack, *rest)
        configure(made[0], new)
        return made

    handler.update(create=create, update=update)
