"""HTTP APIs: the event that a function gets, and which callers are refused."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .conftest import Stack


def call(stack: Stack, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
    request = urllib.request.Request(stack.url + path, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null"), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null"), error.headers


def test_route_reaches_the_function_with_its_path_parameter(stack: Stack) -> None:
    status, event, headers = call(stack, "POST", "/echo/a%20b?x=1&x=2", b"{}", {"Content-Type": "application/json"})
    assert status == 201
    assert headers["x-seen"] == "yes"
    assert event["routeKey"] == "POST /echo/{name}"
    assert event["pathParameters"] == {"name": "a b"}
    assert event["rawQueryString"] == "x=1&x=2"
    assert event["queryStringParameters"] == {"x": "1,2"}


def test_unknown_route_and_wrong_method_are_not_found(stack: Stack) -> None:
    assert call(stack, "GET", "/nothing")[0] == 404
    assert call(stack, "DELETE", "/echo/x")[0] == 404


@pytest.mark.parametrize("body", [b'{"b": 1,\t"a": 2}\r\n', '{"name": "Zoë \U0001f600"}'.encode(), b'{"a": "\\u00e9\\/"}', b" {}  "])
def test_text_body_arrives_byte_for_byte(stack: Stack, body: bytes) -> None:
    _, event, _ = call(stack, "POST", "/echo/x", body, {"Content-Type": "application/json; charset=utf-8"})
    assert event["isBase64Encoded"] is False
    assert event["body"].encode() == body


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-www-form-urlencoded", "image/png"])
def test_body_of_another_type_arrives_in_base64_byte_for_byte(stack: Stack, content_type: str) -> None:
    body = bytes(range(256))
    _, event, _ = call(stack, "POST", "/echo/x", body, {"Content-Type": content_type})
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == body


@pytest.mark.parametrize("body", [b'{"a": "\xff"}', b"\xc3", b"\xed\xa0\x80", bytes(range(256))])
def test_text_that_is_not_utf_8_arrives_in_base64_byte_for_byte(stack: Stack, body: bytes) -> None:
    _, event, _ = call(stack, "POST", "/echo/x", body, {"Content-Type": "application/json"})
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == body


def test_call_without_body_has_none(stack: Stack) -> None:
    _, event, _ = call(stack, "POST", "/echo/x")
    assert "body" not in event


def test_header_names_arrive_in_lower_case_and_values_untouched(stack: Stack) -> None:
    _, event, _ = call(
        stack, "POST", "/echo/x", b"{}", {"Stripe-Signature": "t=1,v1=AbC", "Idempotency-Key": "K-1", "Content-Type": "text/plain"}
    )
    assert event["headers"]["stripe-signature"] == "t=1,v1=AbC"
    assert event["headers"]["idempotency-key"] == "K-1"
    assert not [name for name in event["headers"] if name != name.lower()]


def test_chunked_body_arrives_whole(stack: Stack) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.aws.port, timeout=30)
    parts = [b'{"a": ', b"1", b"}"]
    headers = {"Content-Type": "application/json"}
    connection.request("POST", stack.url.removeprefix(stack.aws.endpoint) + "/echo/x", iter(parts), headers, encode_chunked=True)
    assert json.load(connection.getresponse())["body"].encode() == b"".join(parts)
    connection.close()


def test_large_body_arrives_whole(stack: Stack) -> None:
    body = json.dumps({"filler": "x" * 900_000}).encode()
    _, event, _ = call(stack, "POST", "/echo/x", body, {"Content-Type": "application/json"})
    assert hashlib.sha256(event["body"].encode()).digest() == hashlib.sha256(body).digest()


def test_function_reads_the_table(stack: Stack) -> None:
    stack.client("dynamodb").put_item(TableName=stack["Table"], Item={"pk": {"S": "item-1"}, "colour": {"S": "green"}})
    assert call(stack, "GET", "/items/item-1")[:2] == (200, {"pk": "item-1", "colour": "green"})
    assert call(stack, "GET", "/items/item-2")[0] == 404


def test_caller_learns_nothing_of_a_functions_error(stack: Stack) -> None:
    assert call(stack, "GET", "/broken")[:2] == (500, {"message": "Internal Server Error"})


def test_caller_waits_no_longer_than_the_integrations_timeout(stack: Stack) -> None:
    assert call(stack, "GET", "/slow")[:2] == (503, {"message": "Service Unavailable"})


def test_iam_route_refuses_an_unsigned_call_and_names_the_caller_of_a_signed_one(stack: Stack) -> None:
    assert call(stack, "GET", "/signed")[0] == 403
    request = AWSRequest("GET", stack.url + "/signed")
    SigV4Auth(Credentials("test", "test"), "execute-api", "us-east-1").add_auth(request)
    status, event, _ = call(stack, "GET", "/signed", headers=dict(request.headers))
    assert status == 201
    assert event["requestContext"]["authorizer"]["iam"]["accessKey"] == "test"


@pytest.mark.parametrize(
    ("origin", "status", "allowed"), [("https://app.example.com", 204, True), ("https://other.example.com", 403, False)]
)
def test_preflight_is_answered_for_the_origins_of_the_template(stack: Stack, origin: str, status: int, allowed: bool) -> None:
    answered, _, headers = call(stack, "OPTIONS", "/items/x", headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
    assert (answered, headers["Access-Control-Allow-Origin"]) == (status, origin if allowed else None)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer e30.e30.c2ln"}])
def test_token_route_refuses_a_call_without_a_valid_token(stack: Stack, headers: dict[str, str]) -> None:
    assert call(stack, "GET", "/token", headers=headers)[0] == 401
