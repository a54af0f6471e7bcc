"""DynamoDB tables obey their resource policy, and IAM knows the partition keys of a request (`dynamodb:LeadingKeys`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import dynamodb

bare_context = iam_actions.dynamodb_service_context
_policies: dict[str, str] = {}


def apply() -> None:
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    handler = _RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    create_bare, update_bare = handler["create"], handler["update"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
        made: tuple[str, dict[str, Any]] = create_bare(logical_id, props, stack)
        _keep(made[0], props)
        return made

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, *rest: Any) -> tuple[str, dict[str, Any]]:
        made: tuple[str, dict[str, Any]] = update_bare(physical_id, old, new, stack, *rest)
        _keep(made[0], new)
        return made

    handler.update(create=create, update=update)
    dynamodb.table_policy_for_arn = table_policy_for_arn
    iam_evaluator._RESOURCE_POLICY_LOOKUPS["dynamodb"] = ("dynamodb", "table_policy_for_arn")
    iam_actions.dynamodb_service_context = service_context


def table_policy_for_arn(arn: str) -> tuple[str, str] | None:
    """The policy of a table and the account that owns it."""
    _, _, _, _, account, name = arn.split(":", 5)
    policy = _policies.get(name.split("/")[1])
    return None if policy is None else (policy, account)


def service_context(body: bytes) -> dict[str, Any]:
    """The condition keys of a request, the partition keys among them."""
    found = dict(bare_context(body))
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return found
    keys = [str(next(iter(value.values()))) for value in _partition_keys(data)]
    return {**found, "dynamodb:LeadingKeys": keys} if keys else found


def _partition_keys(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    attribute = _partition_attribute(request.get("TableName", ""))
    if attribute:
        for place in ("Key", "Item"):
            if attribute in request.get(place, {}):
                yield request[place][attribute]
    for item in request.get("TransactItems", ()):
        for part in item.values():
            yield from _partition_keys(part)


def _partition_attribute(table: str) -> str | None:
    schema = (dynamodb._tables.get(table) or {}).get("KeySchema", ())
    return next((key["AttributeName"] for key in schema if key["KeyType"] == "HASH"), None)


def _keep(table: str, props: dict[str, Any]) -> None:
    if document := (props.get("ResourcePolicy") or {}).get("PolicyDocument"):
        _policies[table] = json.dumps(document)
    else:
        _policies.pop(table, None)
