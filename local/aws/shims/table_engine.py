"""Reads and writes of tables go to another DynamoDB, if one is named. IAM and the tables' policies are evaluated here first.

Tests name Amazon's own engine, so that it executes all requests of the stack.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import urllib3
from ministack.services import dynamodb

from local.aws.shims._cloudformation import after_deployment

VARIABLE = "DYNAMODB_ENGINE"
"""Environment variable with the URL of the other DynamoDB."""
FORWARDED = {
    "PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem", "TransactGetItems",
    "TransactWriteItems",
}  # fmt: skip
SETTINGS = ("BillingMode", "AttributeDefinitions", "KeySchema")
INDEX_SETTINGS = ("IndexName", "KeySchema", "Projection")
CONNECTIONS = 64

original_handle_request = dynamodb.handle_request


class Engine:
    """The DynamoDB at `url`. Each emulator has its own tables there, because DynamoDB Local keeps them by access key."""

    def __init__(self, url: str, emulator: int) -> None:
        self._url = url
        credential = f"emulator{emulator}/20260101/us-east-1/dynamodb/aws4_request"
        self._headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=00",
        }
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False, timeout=60)

    def call(self, operation: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {**self._headers, "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        answer = self._pool.request("POST", self._url, body=body, headers=headers)
        kept = ("content-type", "x-amz-crc32", "x-amzn-requestid")
        return answer.status, {name: answer.headers[name] for name in kept if name in answer.headers}, answer.data

    def create_table(self, table: str, props: dict[str, Any]) -> None:
        """Create the table of a stack. A later deployment finds it there."""
        wanted = {name: props[name] for name in SETTINGS if name in props}
        if indexes := props.get("GlobalSecondaryIndexes"):
            wanted["GlobalSecondaryIndexes"] = [{name: index[name] for name in INDEX_SETTINGS} for index in indexes]
        status, _, answer = self.call("CreateTable", json.dumps({"TableName": table, **wanted}).encode())
        if status != 200 and b"ResourceInUseException" not in answer:
            raise RuntimeError(f"{self._url} does not create {table}: {answer.decode()}")


def apply(url: str | None) -> None:
    """`url`: the other DynamoDB; None to use MiniStack's own."""
    if not url:
        return
    engine = Engine(url, int(os.environ["GATEWAY_PORT"]))

    async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]) -> Any:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation not in FORWARDED:
            return await original_handle_request(method, path, headers, body, query_params)
        return await asyncio.to_thread(engine.call, operation, body)

    dynamodb.handle_request = handle_request
    after_deployment("AWS::DynamoDB::Table", engine.create_table)
