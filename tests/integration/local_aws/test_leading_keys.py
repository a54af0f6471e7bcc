"""IAM's `dynamodb:LeadingKeys`: a role with some partition keys is refused all others, by every operation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.aws.emulator import REGION, Emulator

ACTIONS = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem", "BatchWriteItem", "ConditionCheckItem"]


def key(pk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": "x"}}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A DynamoDB client of a role that may touch items of EVENT#* in `one`, and all of `other`."""
    with Emulator() as aws:
        dynamodb, iam, sts = (aws.client(service) for service in ("dynamodb", "iam", "sts"))
        names = ("pk", "sk", "kind")
        index: dict[str, Any] = {"IndexName": "kinds", "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}]}
        index["Projection"] = {"ProjectionType": "ALL"}
        for table in ("one", "other"):
            dynamodb.create_table(
                TableName=table, BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                GlobalSecondaryIndexes=[index],
            )  # fmt: skip
        arn = f"arn:aws:dynamodb:{REGION}:000000000000:table/"
        actions = [f"dynamodb:{action}" for action in ACTIONS]
        condition = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["EVENT#*"]}}
        statements = [
            {"Effect": "Allow", "Action": actions, "Resource": [f"{arn}one", f"{arn}one/index/kinds"], "Condition": condition},
            {"Effect": "Allow", "Action": actions, "Resource": f"{arn}other"},
        ]
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
        role = iam.create_role(RoleName="some", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))[
            "Role"
        ]
        iam.put_role_policy(RoleName="some", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
        given = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
        yield boto3.client(
            "dynamodb", endpoint_url=aws.endpoint, region_name=REGION, aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"],
        )  # fmt: skip


def query(client: Any, pk: str, **more: Any) -> Any:
    return client.query(TableName="one", KeyConditionExpression="#p = :p", ExpressionAttributeValues={":p": {"S": pk}}, **more)


def transact(client: Any, *parts: dict[str, Any]) -> Any:
    return client.transact_write_items(TransactItems=list(parts))


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "get": lambda client, pk: client.get_item(TableName="one", Key=key(pk)),
    "get by the table's ARN": lambda client, pk: client.get_item(
        TableName=f"arn:aws:dynamodb:{REGION}:000000000000:table/one", Key=key(pk)
    ),
    "put": lambda client, pk: client.put_item(TableName="one", Item=key(pk)),
    "update": lambda client, pk: client.update_item(TableName="one", Key=key(pk)),
    "delete": lambda client, pk: client.delete_item(TableName="one", Key=key(pk)),
    "query": lambda client, pk: query(client, pk, ExpressionAttributeNames={"#p": "pk"}),
    "query, the sort key first": lambda client, pk: client.query(
        TableName="one",
        KeyConditionExpression="begins_with(sk, :s) AND pk=:p",
        ExpressionAttributeValues={":s": {"S": "x"}, ":p": {"S": pk}},
    ),
    "query of an index": lambda client, pk: query(client, pk, IndexName="kinds", ExpressionAttributeNames={"#p": "kind"}),
    "batch get": lambda client, pk: client.batch_get_item(RequestItems={"one": {"Keys": [key("EVENT#0"), key(pk)]}}),
    "batch get of two tables": lambda client, pk: client.batch_get_item(
        RequestItems={"other": {"Keys": [key("ANY#1")]}, "one": {"Keys": [key("EVENT#0"), key(pk)]}}
    ),
    "batch write": lambda client, pk: client.batch_write_item(RequestItems={"one": [{"PutRequest": {"Item": key(pk)}}]}),
    "batch delete": lambda client, pk: client.batch_write_item(RequestItems={"one": [{"DeleteRequest": {"Key": key(pk)}}]}),
    "transaction": lambda client, pk: transact(client, {"Put": {"TableName": "one", "Item": key(pk)}}),
    "transaction over two tables": lambda client, pk: transact(
        client, {"Put": {"TableName": "other", "Item": key("ANY#1")}}, {"Put": {"TableName": "one", "Item": key(pk)}}
    ),
    "transaction of two actions": lambda client, pk: transact(
        client, {"Put": {"TableName": "one", "Item": key("EVENT#2")}}, {"Delete": {"TableName": "one", "Key": key(pk)}}
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_key_that_the_role_may_touch_is_served(client: Any, call: Callable[[Any, str], Any]) -> None:
    call(client, "EVENT#1")


@pytest.mark.parametrize("pk", ["VERIFICATION#1", "AUDIT#2026-11-27", "xEVENT#1", "EVENT"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_key_that_the_role_may_not_touch_is_refused(client: Any, call: Callable[[Any, str], Any], pk: str) -> None:
    with pytest.raises(ClientError, match="not authorized"):
        call(client, pk)
