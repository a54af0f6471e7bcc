"""What the functions' roles in template.yaml allow on the tables, by partition key: IAM's decisions without an emulator.

`DynamoDBRights.note` records every call that a function makes. `refused` returns the calls that the function's role would not allow on AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from tests.support.template import folder, functions, several, statements

TABLES = ("Table", "KeysTable")
TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


class DynamoDBRights:
    """The calls that were made: function, action, resource (a logical id, or `<id>/index/<name>`) and partition key up to its first #."""

    def __init__(self) -> None:
        self.made: set[tuple[str, str, str, str]] = set()

    def note(self, function: str, operation: str, request: Mapping[str, Any]) -> None:
        """Record a call with the arguments that boto3 takes. `operation` is spelled as in `update_item`."""
        for action, table, key in _touched("".join(part.title() for part in operation.split("_")), request):
            self.made.add((function, action, table, key.partition("#")[0]))

    def refused(self) -> list[str]:
        """The calls that the functions' roles would refuse."""
        return sorted(" ".join(each) for each in self.made if not allowed(*each))


class Noted:
    """A DynamoDB client that passes each call (operation and arguments) to `note` before it makes the call."""

    def __init__(self, client: Any, note: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._client = client
        self._note = note

    def __getattr__(self, operation: str) -> Any:
        method = getattr(self._client, operation)

        def call(**arguments: Any) -> Any:
            self._note(operation, arguments)
            return method(**arguments)

        return call


@cache
def allowed(function: str, action: str, resource: str, kind: str) -> bool:
    """Whether the role of a function (its folder's name) allows an action on items whose partition key begins with `kind`#."""
    return any(
        action in actions and resource in where and (patterns is None or any(fnmatchcase(f"{kind}#x", pattern) for pattern in patterns))
        for actions, where, patterns in allowances(function)
    )


@cache
def allowances(function: str) -> list[tuple[list[str], list[str], list[str] | None]]:
    """What a role allows in DynamoDB: actions, resources, and the patterns of partition keys, None for all."""
    (properties,) = [each for name, each in functions().items() if folder(name) == function]
    found = []
    for statement in statements(properties):
        actions = [action.removeprefix("dynamodb:") for action in several(statement["Action"]) if action.startswith("dynamodb:")]
        if actions:
            condition = statement.get("Condition", {})
            assert set(condition) <= {"ForAllValues:StringLike"}
            patterns = condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
            found.append((actions, [_named(each) for each in several(statement["Resource"])], patterns))
    return found


def _named(resource: Any) -> str:
    """The logical id in a table's ARN, with the index if it is one's. The parameter DataTableName replaces `Table`."""
    if "Fn::If" in resource:
        assert resource["Fn::If"][0] == "HasDataTable"
        return _named(resource["Fn::If"][2])
    if "Fn::GetAtt" in resource:
        return str(resource["Fn::GetAtt"][0] if isinstance(resource["Fn::GetAtt"], list) else resource["Fn::GetAtt"].partition(".")[0])
    return str(resource["Fn::Sub"]).replace("${Table.Arn}", "Table")


def _touched(operation: str, request: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Action, resource and partition key of each item that a call touches."""
    match operation:
        case "BatchGetItem":
            for table, wanted in request["RequestItems"].items():
                for key in wanted["Keys"]:
                    yield operation, _logical(table), key["pk"]["S"]
        case "TransactWriteItems":
            for item in request["TransactItems"]:
                for kind, part in item.items():
                    yield TRANSACTED[kind], _logical(part["TableName"]), (part.get("Key") or part["Item"])["pk"]["S"]
        case "Query" if "IndexName" in request:
            yield operation, f"{_logical(request['TableName'])}/index/{request['IndexName']}", ""
        case "Query":
            yield operation, _logical(request["TableName"]), request["ExpressionAttributeValues"][":pk"]["S"]
        case "Scan":
            yield operation, _logical(request["TableName"]), ""
        case _:
            yield operation, _logical(request["TableName"]), (request.get("Key") or request["Item"])["pk"]["S"]


def _logical(table: str) -> str:
    return "KeysTable" if table.endswith("keys") else "Table"
