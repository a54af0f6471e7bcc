"""IAM evaluates a table's resource policy and the partition keys of a request (`dynamodb:LeadingKeys`).

As on AWS, each table of a request and each item of a transaction is evaluated with the keys that the request touches there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import dynamodb

from local.aws.shims._cloudformation import after_deployment

original_context = iam_actions.dynamodb_service_context
_TOUCHED = "titleholder:touched"
"""Entry of a request's context that holds its keys until `enforce` knows the table and the action."""
_PARTS = {
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "Get": "dynamodb:GetItem",
}
_EQUALS = re.compile(r"([#A-Za-z0-9_.]+)\s*=\s*(:[A-Za-z0-9_]+)")

Touched = tuple[str | None, str, str | None, str]
"""An action (None for the request's own), a table, an index (None for the table itself) and a partition key."""


def apply() -> None:
    after_deployment("AWS::DynamoDB::Table", _keep_policy)
    dynamodb.table_policy_for_arn = table_policy_for_arn
    iam_evaluator._RESOURCE_POLICY_LOOKUPS["dynamodb"] = ("dynamodb", "table_policy_for_arn")
    iam_actions.dynamodb_service_context = service_context
    original_enforce = iam_evaluator.enforce

    def enforce(
        access_key: str, action: str, service: str, region: str, resource_arn: str = "*", service_context: dict[str, Any] | None = None
    ) -> Any:
        context = dict(service_context or {})
        touched: list[Touched] = context.pop(_TOUCHED, [])
        if keys := [key for own, table, index, key in touched if own in (None, action) and _is(resource_arn, table, index)]:
            context["dynamodb:LeadingKeys"] = keys
        return original_enforce(access_key, action, service, region, resource_arn=resource_arn, service_context=context)

    iam_evaluator.enforce = enforce


def table_policy_for_arn(arn: str) -> tuple[str, str] | None:
    """The policy of a table and the account that owns it."""
    *service, account, name = arn.split(":", 5)
    kept = dynamodb._resource_policies.get(":".join([*service, account, "/".join(name.split("/")[:2])]))
    return None if kept is None else (kept["Policy"], account)


def service_context(body: bytes) -> dict[str, Any]:
    """The condition keys of a request, its partition keys included."""
    found = dict(original_context(body))
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return found
    return {**found, _TOUCHED: list(_touched(data))} if isinstance(data, dict) else found


def _touched(request: dict[str, Any], action: str | None = None) -> Iterator[Touched]:
    """The partition keys that a request names."""
    table, index = _name(request.get("TableName")), request.get("IndexName")
    if attribute := _partition_attribute(table, index):
        for place in ("Key", "Item"):
            if attribute in request.get(place, {}):
                yield action, table, None, _text(request[place][attribute])
        names, values = request.get("ExpressionAttributeNames") or {}, request.get("ExpressionAttributeValues") or {}
        for name, value in _EQUALS.findall(request.get("KeyConditionExpression") or ""):
            if names.get(name, name) == attribute and value in values:
                yield action, table, index, _text(values[value])
        for condition in [(request.get("KeyConditions") or {}).get(attribute) or {}]:
            for value in condition.get("AttributeValueList", ()):
                yield action, table, index, _text(value)
    for item in request.get("TransactItems", ()):
        for member, part in item.items():
            yield from _touched(part, _PARTS.get(member))
    for name, wanted in (request.get("RequestItems") or {}).items():
        parts = [{"Key": key} for key in wanted.get("Keys", ())] if isinstance(wanted, dict) else _written(wanted)
        for part in parts:
            yield from _touched({"TableName": name, **part}, action)


def _written(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of BatchWriteItem for one table."""
    return [part for request in requests for part in request.values()]


def _partition_attribute(table: str, index: str | None) -> str | None:
    kept = dynamodb._tables.get(table) or {}
    indexes = [*kept.get("GlobalSecondaryIndexes", ()), *kept.get("LocalSecondaryIndexes", ())]
    schema = next((each["KeySchema"] for each in indexes if each["IndexName"] == index), ()) if index else kept.get("KeySchema", ())
    return next((key["AttributeName"] for key in schema if key["KeyType"] == "HASH"), None)


def _is(arn: str, table: str, index: str | None) -> bool:
    return arn.partition(":table/")[2] == (table if index is None else f"{table}/index/{index}")


def _name(table: Any) -> str:
    """The table's name. A request may give its ARN instead."""
    return str(table or "").rpartition(":table/")[2]


def _text(value: dict[str, Any]) -> str:
    return str(next(iter(value.values())))


def _keep_policy(table: str, props: dict[str, Any]) -> None:
    arn = dynamodb._tables[table]["TableArn"]
    if document := (props.get("ResourcePolicy") or {}).get("PolicyDocument"):
        dynamodb._put_resource_policy({"ResourceArn": arn, "Policy": json.dumps(document)})
    else:
        dynamodb._resource_policies.pop(arn, None)
