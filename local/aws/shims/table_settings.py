"""DynamoDB tables get the time to live, encryption and point-in-time recovery that the template sets."""

from __future__ import annotations

from typing import Any

from ministack.services import dynamodb

from local.aws.shims._cloudformation import after_deployment


def apply() -> None:
    after_deployment("AWS::DynamoDB::Table", configure)


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
