"""DynamoDB tables get the time to live, encryption and point-in-time recovery of the template. A stack cannot delete a protected table."""

from __future__ import annotations

from typing import Any

from ministack.services import dynamodb
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

from local.aws.shims._cloudformation import after_deployment

original_delete = _RESOURCE_HANDLERS["AWS::DynamoDB::Table"]["delete"]


def apply() -> None:
    after_deployment("AWS::DynamoDB::Table", configure)
    _RESOURCE_HANDLERS["AWS::DynamoDB::Table"]["delete"] = delete


def delete(table: str, props: dict[str, Any]) -> None:
    """As on AWS, fail while the table is protected, even in the rollback of the stack's creation."""
    if _true(dynamodb._tables.get(table, {}).get("DeletionProtectionEnabled")):
        raise ValueError("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
    original_delete(table, props)


def configure(table: str, props: dict[str, Any]) -> None:
    """Give the table the settings of its template properties."""
    if ttl := props.get("TimeToLiveSpecification"):
        setting = {"AttributeName": ttl.get("AttributeName"), "Enabled": _true(ttl.get("Enabled", True))}
        dynamodb._update_ttl({"TableName": table, "TimeToLiveSpecification": setting})
    if recovery := props.get("PointInTimeRecoverySpecification"):
        wanted = {"PointInTimeRecoveryEnabled": _true(recovery.get("PointInTimeRecoveryEnabled"))}
        dynamodb._update_continuous_backups({"TableName": table, "PointInTimeRecoverySpecification": wanted})
    if _true((encryption := props.get("SSESpecification") or {}).get("SSEEnabled")):
        dynamodb._tables[table]["SSEDescription"] = {
            "Status": "ENABLED",
            "SSEType": encryption.get("SSEType", "KMS"),
            "KMSMasterKeyArn": encryption.get("KMSMasterKeyId", ""),
        }


def _true(value: Any) -> bool:
    return str(value).lower() == "true"
