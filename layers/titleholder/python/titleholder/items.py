"""DynamoDB's attribute values, to and from plain ones: as boto3's own, for the types that are used here.

boto3's come with all of boto3, which would be a sixth of a cold start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def serialize(value: Any) -> dict[str, Any]:
    """None, truth, text, whole numbers, bytes, and lists and dicts of these. Raises TypeError for anything else."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case bytes() | bytearray():
            return {"B": bytes(value)}
        case Mapping():
            return {"M": {name: serialize(part) for name, part in value.items()}}
        case list() | tuple():
            return {"L": [serialize(part) for part in value]}
    raise TypeError(f"a {type(value).__name__} has no place in the table")


def deserialize(attribute: Mapping[str, Any]) -> Any:
    """The reverse. Raises TypeError for a kind that is never written here, such as a set."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S" | "BOOL" | "B":
            return value
        case "N":
            return int(value)
        case "NULL":
            return None
        case "M":
            return {name: deserialize(part) for name, part in value.items()}
        case "L":
            return [deserialize(part) for part in value]
    raise TypeError(f"attributes of the kind {kind} are not written here")
