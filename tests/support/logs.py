"""Which messages the functions log, and with which fields, taken from the source."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from functools import cache

from tests.support.metrics import SOURCES

STANDARD = {
    "level", "location", "message", "timestamp", "service", "cold_start", "function_name", "function_memory_size", "function_arn",
    "function_request_id", "xray_trace_id",
}  # fmt: skip
"""The fields that Powertools gives every line. A line has only those that have a value."""

LEVELS = ("debug", "info", "warning", "error", "exception")
OF_COUNTS = ("count_alone", "unexpected")


@cache
def logged() -> Mapping[str, frozenset[str]]:
    """The fields of each message beside the standard ones."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for folder in SOURCES:
        for path in sorted(folder.rglob("*.py")):
            tree = ast.parse(path.read_text())
            named = {
                target.id: _keys(node.value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for call in ast.walk(tree):
                if not isinstance(call, ast.Call):
                    continue
                for message in _messages(call):
                    for word in call.keywords:
                        if word.arg == "extra":
                            found[message] |= named.get(word.value.id, set()) if isinstance(word.value, ast.Name) else _keys(word.value)
                        elif word.arg and _name(call) in OF_COUNTS:
                            found[message].add(word.arg)
                    if _name(call) == "unexpected":
                        found[message].add("error")
    return {message: frozenset(fields) for message, fields in found.items()}


def _messages(call: ast.Call) -> list[str]:
    """The messages that a call logs; none if it logs nothing."""
    name, texts = _name(call), [part.value for part in call.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if name in OF_COUNTS:
        return texts[-1:]
    # A call of a method that is chosen by a condition has no name.
    logs = name in LEVELS or (isinstance(call.func, ast.IfExp) and any(word.arg == "extra" for word in call.keywords))
    return texts[:1] if logs else []


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _keys(node: ast.AST) -> set[str]:
    return {key.value for key in getattr(node, "keys", ()) if isinstance(key, ast.Constant) and isinstance(key.value, str)}
