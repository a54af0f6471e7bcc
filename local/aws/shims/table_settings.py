"""DynamoDB tables keep the time to live, encryption and point-in-time recovery that their template sets."""

from __future__ import annotations

from typing import Any


def apply() -> None:
    from ministack.services import dynamodb
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    handler = _RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    create_bare, update_bare = handler["create"], handler["update"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
        name, attributes = create_bare(logical_id, props, stack)
        _configure(dynamodb, name, props)
        return name, attributes

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, *rest: Any) -> tuple[str, dict[str, Any]]:
        name, attributes = update_bare(physical_id, old, new, stack, *rest)
        _configure(dynamodb, name, new)
        return name, attributes

    handler.update(create=create, update=update)


def _configure(dynamodb: Any, table: str, props: dict[str, Any]) -> None:
    if ttl := props.get("TimeToLiveSpecification"):
        setting = {"AttributeName": ttl.get("AttributeName"), "Enabled": _true(ttl.get("Enabled", True))}
        dynamodb._update_ttl({"TableName": table, "TimeToLiveSpecification": setting})
    if recovery := props.get("PointInTimeRecoverySpecification"):
        wanted = {"PointInTimeRecoveryEnabled": _true(recovery.get("PointInTimeRecoveryEnabled"))}
        dynamodb._update_continuous_backups({"TableName": table, "PointInTimeRecoverySpecification": wanted})
    if _true((encryption := props.get("SSESpecification") or {}).get("SSEEnabled")):
        described = {
            "Status": "ENABLED",
            "SSEType": encryption.get("SSEType", "KMS"),
            "KMSMasterKeyArn": encryption.get("KMSMasterKeyId", ""),
        }
        dynamodb._tables[table]["SSEDescription"] = described


def _true(value: Any) -> bool:
    return str(value).lower() == "true"
