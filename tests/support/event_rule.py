"""Transforms an event as EventBridge does by a rule's input transformer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def transformed(transformer: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
    """The target's input. A path that the event does not have gives an empty text; values inside quotes are not escaped."""

    def value(path: str) -> str:
        found: Any = event
        for part in path.removeprefix("$.").split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return "" if found is None else found if isinstance(found, str) else json.dumps(found)

    values = {name: value(path) for name, path in transformer["InputPathsMap"].items()}
    return json.loads(re.sub("<([a-z]+)>", lambda match: values[match[1]], transformer["InputTemplate"]))
