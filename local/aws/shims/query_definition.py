"""Saved queries of Logs Insights can be part of a stack. They are kept, and run nowhere, because the emulator has no Logs Insights."""

from __future__ import annotations

import uuid
from typing import Any

from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

saved: dict[str, dict[str, Any]] = {}
"""The properties of each saved query, by its id."""


def apply() -> None:
    _RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = {"create": create, "update": update, "delete": delete}


def create(logical_id: str, props: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
    if not props.get("Name") or not props.get("QueryString"):
        raise ValueError("Name and QueryString are required for AWS::Logs::QueryDefinition")
    id_ = str(uuid.uuid4())
    saved[id_] = dict(props)
    return id_, {"QueryDefinitionId": id_}


def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, *rest: Any) -> tuple[str, dict[str, Any]]:
    saved[physical_id] = dict(new)
    return physical_id, {"QueryDefinitionId": physical_id}


def delete(physical_id: str, props: dict[str, Any]) -> None:
    saved.pop(physical_id, None)
