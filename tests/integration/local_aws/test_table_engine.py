"""Reads and writes go to the DynamoDB that is named; everything about tables and their policies stays in the embedded AWS."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from ministack.services import dynamodb

from local.aws.shims import table_engine
from local.aws.shims.table_engine import Engine
from tests.support.template import table_schema

Asked = list[tuple[str, str, Any]]


@pytest.fixture
def asked() -> Asked:
    """The operations that the other DynamoDB was asked for, with the access key and the request."""
    return []


@pytest.fixture
def engine_url(asked: Asked) -> Iterator[str]:
    """Another DynamoDB, which knows of one item and refuses to create a table twice."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            access_key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            again = operation == "CreateTable" and any(before[0] == operation for before in asked)
            asked.append((operation, access_key, request))
            answer = {"__type": "com.amazonaws.dynamodb.v20120810#ResourceInUseException"} if again else {"Item": {"pk": {"S": "there"}}}
            self.send_response(400 if again else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def call(operation: str, request: Any) -> tuple[int, Any]:
    headers = {"x-amz-target": f"DynamoDB_20120810.{operation}"}
    status, _, body = asyncio.run(dynamodb.handle_request("POST", "/", headers, json.dumps(request).encode(), {}))
    return status, json.loads(body)


def test_reads_and_writes_are_forwarded_and_nothing_else(engine_url: str, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    created: list[Any] = []
    monkeypatch.setattr(dynamodb, "handle_request", dynamodb.handle_request)
    monkeypatch.setattr(table_engine, "after_deployment", lambda kind, configure: created.append(kind))
    monkeypatch.setenv("GATEWAY_PORT", "4567")
    table_engine.apply(engine_url)
    assert created == ["AWS::DynamoDB::Table"]
    assert call("GetItem", {"TableName": "t", "Key": {}}) == (200, {"Item": {"pk": {"S": "there"}}})
    assert call("ListTables", {})[1] == {"TableNames": []}
    assert asked == [("GetItem", "emulator4567", {"TableName": "t", "Key": {}})]


def test_table_of_a_stack_is_created_once_with_the_settings_that_matter(engine_url: str, asked: Asked) -> None:
    engine = Engine(engine_url, 4567)
    schema = table_schema()
    for _ in range(2):
        engine.create_table("t", {**schema, "SSESpecification": {"SSEEnabled": True}, "Tags": []})
    assert [request for _, _, request in asked] == [{"TableName": "t", **schema}] * 2


def test_without_another_dynamodb_nothing_changes() -> None:
    before = dynamodb.handle_request
    table_engine.apply(None)
    assert dynamodb.handle_request is before
