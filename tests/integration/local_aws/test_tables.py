"""The embedded DynamoDB restores tables to a point in time as AWS documents it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from local.aws.emulator import Emulator

POLICY = {"Version": "2012-10-17", "Statement": []}


@pytest.fixture
def dynamodb(aws: Emulator) -> Any:
    return aws.client("dynamodb")


@pytest.fixture
def source(dynamodb: Any) -> Iterator[str]:
    """A table with point-in-time recovery, time to live, a tag, an index and a policy."""
    made = dynamodb.create_table(
        TableName="restorable", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "kind")],
        GlobalSecondaryIndexes=[
            {"IndexName": "kinds", "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
        ],
        Tags=[{"Key": "stage", "Value": "dev"}],
    )["TableDescription"]  # fmt: skip
    dynamodb.update_continuous_backups(TableName="restorable", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    dynamodb.update_time_to_live(TableName="restorable", TimeToLiveSpecification={"AttributeName": "expires_at", "Enabled": True})
    dynamodb.put_resource_policy(ResourceArn=made["TableArn"], Policy=json.dumps(POLICY))
    yield "restorable"
    for name in {"restorable", "restored"} & set(dynamodb.list_tables()["TableNames"]):
        dynamodb.delete_table(TableName=name)


def put(dynamodb: Any, key: str, value: str) -> None:
    dynamodb.put_item(TableName="restorable", Item={"pk": {"S": key}, "value": {"S": value}})


def restore(dynamodb: Any, at: float, into: str = "restored") -> Any:
    return dynamodb.restore_table_to_point_in_time(SourceTableName="restorable", TargetTableName=into, RestoreDateTime=at)


def test_restored_table_has_the_items_of_that_time(dynamodb: Any, source: str) -> None:
    for key in ("changed", "deleted"):
        put(dynamodb, key, "then")
    at = time.time()
    put(dynamodb, "changed", "later")
    put(dynamodb, "new", "later")
    dynamodb.delete_item(TableName=source, Key={"pk": {"S": "deleted"}})
    restore(dynamodb, at)
    found = {item["pk"]["S"]: item["value"]["S"] for item in dynamodb.scan(TableName="restored")["Items"]}
    assert found == {"changed": "then", "deleted": "then"}


def test_restored_table_lacks_what_dynamodb_leaves_out(dynamodb: Any, source: str) -> None:
    restore(dynamodb, time.time())
    table = dynamodb.describe_table(TableName="restored")["Table"]
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["kinds"]
    assert table["RestoreSummary"]["SourceTableArn"].endswith(f"/{source}")
    assert dynamodb.describe_time_to_live(TableName="restored")["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED"
    backups = dynamodb.describe_continuous_backups(TableName="restored")["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "DISABLED"
    assert dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"] == []
    with pytest.raises(dynamodb.exceptions.PolicyNotFoundException):
        dynamodb.get_resource_policy(ResourceArn=table["TableArn"])


def test_refuses_what_dynamodb_refuses(dynamodb: Any, source: str) -> None:
    with pytest.raises(dynamodb.exceptions.TableAlreadyExistsException):
        restore(dynamodb, time.time(), into=source)
    for at in (time.time() - 86_400, time.time() + 60):
        with pytest.raises(dynamodb.exceptions.InvalidRestoreTimeException):
            restore(dynamodb, at)
    dynamodb.update_continuous_backups(TableName=source, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False})
    with pytest.raises(dynamodb.exceptions.PointInTimeRecoveryUnavailableException):
        restore(dynamodb, time.time())
