"""Which CloudWatch metrics exist: those that AWS documents for the services used, and those that the code emits."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "layers" / "titleholder" / "python" / "titleholder", ROOT / "functions")
NAMESPACE = "Titleholder"

_OF_FUNCTIONS = {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"}
_OF_ACCOUNT = {"ConcurrentExecutions", "UnreservedConcurrentExecutions", "ClaimedAccountConcurrency", "Throttles", "Errors", "Invocations"}
_OF_QUEUES = {
    "ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed", "NumberOfMessagesSent", "NumberOfMessagesReceived", "NumberOfMessagesDeleted",
}  # fmt: skip
_OF_WORKFLOWS = {
    "ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled",
    "ExecutionTime",
}  # fmt: skip
_OF_TABLES = {"ReadThrottleEvents", "WriteThrottleEvents", "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"}
_OF_HTTP_APIS = {"4xx", "5xx", "Count", "Latency", "IntegrationLatency", "DataProcessed"}
_OF_RULES = {"Invocations", "FailedInvocations", "MatchedEvents", "TriggeredRules", "ThrottledRules"}

DOCUMENTED: Mapping[tuple[str, frozenset[str]], set[str]] = {
    ("AWS/Lambda", frozenset({"FunctionName"})): _OF_FUNCTIONS,
    ("AWS/Lambda", frozenset()): _OF_ACCOUNT,
    ("AWS/SQS", frozenset({"QueueName"})): _OF_QUEUES,
    ("AWS/States", frozenset({"StateMachineArn"})): _OF_WORKFLOWS,
    ("AWS/DynamoDB", frozenset({"TableName"})): _OF_TABLES,
    ("AWS/DynamoDB", frozenset({"TableName", "GlobalSecondaryIndexName"})): _OF_TABLES,
    # HTTP APIs have these names. REST APIs have 4XXError and 5XXError, by ApiName.
    ("AWS/ApiGateway", frozenset({"ApiId"})): _OF_HTTP_APIS,
    ("AWS/ApiGateway", frozenset({"ApiId", "Stage"})): _OF_HTTP_APIS,
    # Rules of the default bus have the dimension RuleName alone.
    ("AWS/Events", frozenset({"RuleName"})): _OF_RULES,
    ("AWS/Events", frozenset({"EventBusName", "RuleName"})): _OF_RULES,
}
"""What AWS's documentation says of each service: by namespace and dimensions, the names of the metrics."""


def exists(namespace: str, name: str, dimensions: Mapping[str, Any]) -> bool:
    """Whether a metric has data somewhere: AWS documents it with these dimensions, or the code emits it with them."""
    if namespace == NAMESPACE:
        return emitted().get(name) == frozenset(dimensions) and dimensions["service"] == {"Ref": "AWS::StackName"}
    return name in DOCUMENTED.get((namespace, frozenset(dimensions)), ())


@cache
def emitted() -> dict[str, frozenset[str]]:
    """The metrics that the code emits, by name, with the names of their dimensions."""
    found: dict[str, frozenset[str]] = {}
    for folder in SOURCES:
        for path in sorted(folder.rglob("*.py")):
            tree = ast.parse(path.read_text())
            for name, dimensions in _names(tree):
                found[name] = frozenset({"service"}) | dimensions
    return found


def _names(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """The names of the metrics that a module emits, and the dimensions that are written there.

    A name that is looked up in a mapping, or that comes from a loop over one, may be any of that mapping's texts.
    """
    texts = {
        target.id: [text for text in map(_text, (*node.value.values, *node.value.keys)) if text and text[0].isupper()]
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    loops = {
        node.target.elts[0].id: node.iter.func.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.For)
        and isinstance(node.target, ast.Tuple)
        and isinstance(node.target.elts[0], ast.Name)
        and isinstance(node.iter, ast.Call)
        and isinstance(node.iter.func, ast.Attribute)
        and isinstance(node.iter.func.value, ast.Name)
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if called not in ("add_metric", "single_metric", "count_alone", "unexpected", "tally", "measure_seconds"):
            continue
        given = next((word.value for word in call.keywords if word.arg == "name"), call.args[0] if call.args else None)
        dimensions = {
            key
            for word in call.keywords
            if word.arg == "default_dimensions" and isinstance(word.value, ast.Dict)
            for key in map(_text, word.value.keys)
            if key
        }
        if text := _text(given):
            yield text, dimensions
        elif isinstance(given, ast.Subscript) and isinstance(given.value, ast.Name):
            yield from ((name, dimensions) for name in texts.get(given.value.id, ()))
        elif isinstance(given, ast.Name):
            yield from ((name, dimensions) for name in texts.get(loops.get(given.id, ""), ()))


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
