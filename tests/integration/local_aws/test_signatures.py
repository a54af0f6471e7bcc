"""The signature of every request is verified: a caller who does not know the secret, or changes what was signed, is refused as AWS refuses.

The requests are signed here by botocore and by curl, sent over a plain connection, and changed on the way.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import botocore.auth
import pytest
import requests
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from ministack.core import sigv4

from local.aws.emulator import REGION
from local.client import Client

from .conftest import Stack

ROOT = Credentials("test", "test")
JSON = {"Content-Type": "application/x-amz-json-1.0"}


class ToldPayload(S3SigV4Auth):  # type: ignore[misc]
    """Signs the hash of the body that the headers name, even if it is wrong."""

    def _modify_request_before_signing(self, request: Any) -> None:
        SigV4Auth._modify_request_before_signing(self, request)


@dataclass
class Wire:
    """A signed request as it is sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes = b""

    def but(self, **changes: Any) -> Wire:
        return replace(self, headers=dict(self.headers), **changes)

    def header(self, name: str, value: str | None) -> Wire:
        kept = {key: old for key, old in self.headers.items() if key.lower() != name.lower()}
        return replace(self, headers=kept if value is None else {**kept, name: value})

    def authorization(self, old: str, new: str) -> Wire:
        assert old in self.headers["Authorization"]
        return self.header("Authorization", self.headers["Authorization"].replace(old, new))

    def send(self) -> tuple[int, bytes]:
        target = urlsplit(self.url)
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
        connection.putrequest(self.method, target.path + (f"?{target.query}" if target.query else ""), skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value.encode())
        connection.putheader("Content-Length", str(len(self.body)))
        connection.endheaders(self.body)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()


@dataclass(frozen=True)
class Call:
    """A call of a service, and what it refuses with: the status and the code of a wrong signature, of an unknown key."""

    service: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    minutes: int = 15
    mismatch: tuple[int, bytes] = (400, b"InvalidSignatureException")
    unknown: tuple[int, bytes] = (400, b"UnrecognizedClientException")
    scope: tuple[int, bytes] = (400, b"InvalidSignatureException")
    expired: tuple[int, bytes] = (400, b"InvalidSignatureException")

    def signed(
        self,
        stack: Stack,
        credentials: Credentials = ROOT,
        region: str = REGION,
        service: str = "",
        late: timedelta = timedelta(0),
        signer: type[SigV4Auth] | None = None,
    ) -> Wire:
        url = stack.aws.endpoint + self.path if self.service != "execute-api" else stack.url + self.path
        request = AWSRequest(self.method, url, dict(self.headers), self.body)
        kind = signer or (S3SigV4Auth if self.service == "s3" else SigV4Auth)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(botocore.auth, "get_current_datetime", lambda: datetime.now(UTC).replace(tzinfo=None) - late)
            kind(credentials, service or self.service, region).add_auth(request)
        return Wire(self.method, url, dict(request.headers.items()), self.body)


FORBIDDEN = (403, b'{"message": "Forbidden"}')
XML = {"mismatch": (403, b"<Code>SignatureDoesNotMatch</Code>")}
CALLS = {
    "HTTP API": Call(
        "execute-api", "/signed/fca_1?a=1&b=2", b'{"x": 1}', {"Content-Type": "application/json", "X-Extra": "one"}, minutes=5,
        mismatch=FORBIDDEN, unknown=FORBIDDEN, scope=FORBIDDEN, expired=FORBIDDEN,
    ),
    "JSON": Call("dynamodb", "/?a=1&b=2", b"{}", {**JSON, "X-Amz-Target": "DynamoDB_20120810.ListTables", "X-Extra": "one"}),
    "query": Call(
        "sts", "/?a=1&b=2", b"Action=GetCallerIdentity&Version=2011-06-15",
        {"Content-Type": "application/x-www-form-urlencoded", "X-Extra": "one"},
        mismatch=(403, b"<Code>SignatureDoesNotMatch</Code>"), unknown=(403, b"<Code>InvalidClientTokenId</Code>"),
        scope=(403, b"<Code>SignatureDoesNotMatch</Code>"), expired=(403, b"<Code>SignatureDoesNotMatch</Code>"),
    ),
    "S3": Call(
        "s3", "/signatures/some%20key?a=1&b=2", b"x", {"X-Extra": "one"}, method="PUT",
        mismatch=(403, b"<Code>SignatureDoesNotMatch</Code>"), unknown=(403, b"<Code>InvalidAccessKeyId</Code>"),
        scope=(400, b"<Code>AuthorizationHeaderMalformed</Code>"), expired=(403, b"<Code>RequestTimeTooSkewed</Code>"),
    ),
}  # fmt: skip
EACH = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture(scope="module", autouse=True)
def bucket(stack: Stack) -> None:
    stack.client("s3").create_bucket(Bucket="signatures")


@pytest.fixture(scope="module")
def session(stack: Stack) -> Credentials:
    """Credentials of an assumed role that may do anything."""
    iam, sts = stack.client("iam"), stack.client("sts")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    role = iam.create_role(RoleName="signer", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"]
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="signer", PolicyName="all", PolicyDocument=json.dumps(allowed))
    given = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def refused(answer: tuple[int, bytes], expected: tuple[int, bytes]) -> None:
    assert (answer[0], expected[1] in answer[1]) == (expected[0], True), answer


@EACH
def test_signature_by_the_right_secret_is_accepted(stack: Stack, session: Credentials, call: Call) -> None:
    assert call.signed(stack).send()[0] in (200, 201)
    assert call.signed(stack, session).send()[0] in (200, 201)
    late = timedelta(minutes=call.minutes - 1)
    assert call.signed(stack, late=late).send()[0] in (200, 201)
    assert call.signed(stack, late=-late).send()[0] in (200, 201)


@EACH
def test_wrong_secret_is_refused(stack: Stack, session: Credentials, call: Call) -> None:
    refused(call.signed(stack, Credentials("test", "tesu")).send(), call.mismatch)
    refused(call.signed(stack, Credentials(session.access_key, "x" * 40, session.token)).send(), call.mismatch)


@EACH
def test_signature_of_zeros_or_without_a_part_is_refused(stack: Stack, call: Call) -> None:
    wire = call.signed(stack)
    signature = wire.headers["Authorization"].rpartition("Signature=")[2]
    refused(wire.authorization(signature, "00").send(), call.mismatch)
    refused(wire.authorization(signature, "0" * 64).send(), call.mismatch)
    for broken in (f", Signature={signature}", "Credential=test/", "SignedHeaders="):
        assert wire.authorization(broken, "").send()[0] in (400, 403)
    assert wire.header("X-Amz-Date", None).send()[0] in (400, 403)
    for other in ("AWS4-HMAC-SHA512", "AWS4-ECDSA-P256-SHA256"):
        assert wire.authorization("AWS4-HMAC-SHA256", other).send()[0] in (400, 403)
    assert wire.header("Authorization", f"AWS test:{signature}").send()[0] in (400, 403)


@EACH
def test_unknown_key_is_refused(stack: Stack, call: Call) -> None:
    for key in ("AKIAIOSFODNN7EXAMPLE", "000000000000", "111111111111"):
        refused(call.signed(stack, Credentials(key, "test")).send(), call.unknown)


@EACH
def test_signature_for_another_region_service_or_day_is_refused(stack: Stack, call: Call) -> None:
    refused(call.signed(stack, region="eu-west-1").send(), call.scope)
    # Where neither the path nor a header names the service, the signature does, as a host name does on AWS.
    elsewhere = call.signed(stack, service="sqs").send()
    assert elsewhere[0] >= 400
    if call.service in ("execute-api", "dynamodb"):
        refused(elsewhere, call.scope)
    wire = call.signed(stack)
    refused(wire.authorization(wire.headers["X-Amz-Date"][:8], "20200101").send(), call.scope)


@EACH
def test_altered_request_is_refused(stack: Stack, call: Call) -> None:
    wire = call.signed(stack)
    assert wire.but(body=wire.body[:-1] + b" ").send()[0] in (400, 403)
    refused(wire.but(url=wire.url.replace("b=2", "b=3")).send(), call.mismatch)
    refused(wire.but(url=wire.url + "&c=4").send(), call.mismatch)
    refused(wire.header("X-Extra", "two").send(), call.mismatch)
    refused(wire.header("X-Extra", None).send(), call.mismatch)
    refused(wire.header("X-Amz-Meta-Added", "by another").send(), call.mismatch if call.service != "s3" else (403, b"AccessDenied"))
    if len(urlsplit(call.path).path) > 1:
        refused(wire.but(url=wire.url.replace("?", "x?")).send(), call.mismatch)


class PlainPath(SigV4Auth):  # type: ignore[misc]
    """Signs for S3 as for the other services, without a header with the body's hash."""

    def _normalize_url_path(self, path: str) -> str:
        return path


class WithoutHost(SigV4Auth):  # type: ignore[misc]
    def headers_to_sign(self, request: Any) -> Any:
        headers = super().headers_to_sign(request)
        del headers["host"]
        return headers


def test_host_has_to_be_signed(stack: Stack) -> None:
    call = CALLS["JSON"]
    wire = call.signed(stack, signer=WithoutHost)
    assert "host" not in wire.headers["Authorization"]
    refused(wire.send(), call.mismatch)


@EACH
def test_signature_that_is_too_old_or_of_the_future_is_refused(stack: Stack, call: Call) -> None:
    late = timedelta(minutes=call.minutes + 1)
    refused(call.signed(stack, late=late).send(), call.expired)
    refused(call.signed(stack, late=-late).send(), call.expired)


@EACH
def test_token_of_temporary_credentials_has_to_come_along(stack: Stack, session: Credentials, call: Call) -> None:
    refused(call.signed(stack, Credentials(session.access_key, session.secret_key)).send(), call.unknown)
    wrong = call.signed(stack, Credentials(session.access_key, session.secret_key, "wrong")).send()
    assert wrong[0] in (400, 403)
    assert b"InvalidToken" in wrong[1] or call.unknown[1] in wrong[1]
    assert call.signed(stack, Credentials("test", "test", session.token)).send()[0] in (400, 403)


UNSIGNED = [
    None,
    "",
    "Bearer x",
    "Basic dGVzdDp0ZXN0",
    "nonsense",
    "AWS test:x",
    "AWS4-HMAC-SHA256",
    "AWS4-HMAC-SHA256 Credential=test/x/y/z/aws4_request",
]


@EACH
@pytest.mark.parametrize("authorization", UNSIGNED)
def test_call_without_a_signature_is_refused_even_with_other_credentials(stack: Stack, call: Call, authorization: str | None) -> None:
    bare = call.signed(stack).header("X-Amz-Date", None).header("Authorization", authorization)
    assert bare.send()[0] in (400, 403)


@pytest.mark.parametrize(
    "wire",
    [
        Wire("PUT", "/new-bucket", {}),
        Wire("GET", "/", {}),
        Wire("GET", "/2015-03-31/functions/", {}),
        Wire("POST", "/service/GraniteServiceVersion20100801/operation/DescribeAlarms", {"Smithy-Protocol": "rpc-v2-cbor"}),
        Wire("POST", "/?X-Amz-Credential=test/20261128/us-east-1/iam/aws4_request", {}, b"Action=ListUsers&Version=2010-05-08"),
    ],
    ids=lambda wire: wire.url,
)
def test_no_service_is_open_to_the_unsigned(stack: Stack, wire: Wire) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", **wire.headers}
    assert replace(wire, url=stack.aws.endpoint + wire.url, headers=form).send()[0] in (400, 403)


PATHS = ["/signed/fca_1", "/signed/a%20b", "/signed/a%3Ab", "/signed/Zo%C3%AB", "/signed/~a-b_c.d", "/signed/a+b"]
QUERIES = ["", "a=", "a", "b=1&a=2", "a=2&a=1", "a=x%20y", "a=x+y", "a=%C3%A9%2F%3D%26", "Z=1&a=2&A=3", "a=1%2C2&b=%7E~", "a[]=1"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", QUERIES)
def test_odd_paths_and_queries_are_accepted_if_they_were_signed_as_aws_reads_them(stack: Stack, path: str, query: str) -> None:
    """Names and values are signed decoded and encoded again, a plus sign in a query as a space. botocore encodes parameters so."""
    url = stack.url + path
    request = AWSRequest("POST", url, data=b"{}", params=parse_qsl(query, keep_blank_values=True))
    SigV4Auth(ROOT, "execute-api", REGION).add_auth(request)
    status, body = Wire("POST", url + (f"?{query}" if query else ""), dict(request.headers.items()), b"{}").send()
    assert (status, json.loads(body)["rawQueryString"]) == (201, query)


@pytest.mark.parametrize("path", [*PATHS, "/signed/a b", "/signed/Zoë"])
@pytest.mark.parametrize("query", ["", "?a=&b", "?b=1&a=2&a=1", "?a=x%20y%2C", "?a=é&b=x y"])
def test_the_projects_own_client_signs_what_it_sends(stack: Stack, path: str, query: str) -> None:
    assert Client(stack.url).call("POST", path + query, {"name": "Zoë"}).status == 201


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("path", ["/signed/fca_1", "/signed/fca_1?a=1&b=2", "/signed/a-b_c.d~e?limit=5"])
def test_curl_signs_as_the_documents_say(stack: Stack, session: Credentials, path: str) -> None:
    def curl(user: str, *more: str) -> str:
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--aws-sigv4", f"aws:amz:{REGION}:execute-api", "--user", user]
        body = ["-H", "Content-Type: application/json", "-d", '{"name": "Zoë"}']
        return subprocess.run([*command, *body, *more, stack.url + path], capture_output=True, text=True, check=True).stdout

    assert curl("test:test") == "201"
    assert curl("test:wrong") == "403"
    key = f"{session.access_key}:{session.secret_key}"
    assert curl(key, "-H", f"X-Amz-Security-Token: {session.token}") == "201"
    assert curl(key) == "403"


class TestBodies:
    """What S3 takes for the hash of a body, and what the others take."""

    def wire(self, stack: Stack, told: str, body: bytes = b"x", **more: str) -> Wire:
        url = f"{stack.aws.endpoint}/signatures/body"
        request = AWSRequest("PUT", url, {"X-Amz-Content-SHA256": told, **more}, body)
        request.context["payload_signing_enabled"] = True
        ToldPayload(ROOT, "s3", REGION).add_auth(request)
        return Wire("PUT", url, dict(request.headers.items()), body)

    def test_unsigned_body_may_be_any_but_for_s3_only(self, stack: Stack) -> None:
        assert self.wire(stack, "UNSIGNED-PAYLOAD").but(body=b"another").send()[0] == 200
        call = replace(CALLS["JSON"], headers={**CALLS["JSON"].headers, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
        refused(call.signed(stack).send(), call.mismatch)

    def test_hash_of_another_body_is_refused(self, stack: Stack) -> None:
        refused(self.wire(stack, "0" * 64).send(), (400, b"XAmzContentSHA256Mismatch"))

    @pytest.mark.parametrize("trailer", [[], [b"x-amz-checksum-crc32:S4457w=="]], ids=["chunks only", "with a trailer"])
    def test_stream_is_accepted_with_every_part_signed_and_in_its_order(self, stack: Stack, trailer: list[bytes]) -> None:
        more = {"X-Amz-Decoded-Content-Length": "6", "Content-Encoding": "aws-chunked"}
        if trailer:
            more["X-Amz-Trailer"] = ",".join(line.partition(b":")[0].decode() for line in trailer)
        wire = self.wire(stack, f"STREAMING-AWS4-HMAC-SHA256-PAYLOAD{'-TRAILER' if trailer else ''}", **more)
        day = wire.headers["X-Amz-Date"]
        key = sigv4.derive_signing_key("test", day[:8], REGION, "s3")
        previous = wire.headers["Authorization"].rpartition("Signature=")[2]

        def sign(kind: str, *hashed: bytes) -> bytes:
            nonlocal previous
            scope = f"{day[:8]}/{REGION}/s3/aws4_request"
            text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", day, scope, previous, *(hashlib.sha256(each).hexdigest() for each in hashed)])
            previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            return previous.encode()

        parts = [b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), sign("PAYLOAD", b"", chunk), chunk) for chunk in (b"abc", b"def")]
        parts.append(b"0;chunk-signature=%s\r\n" % sign("PAYLOAD", b"", b""))
        lines = b"".join(line + b"\n" for line in trailer)
        parts += [line + b"\r\n" for line in trailer] + ([b"x-amz-trailer-signature:%s\r\n" % sign("TRAILER", lines)] if trailer else [])
        assert wire.but(body=b"".join([*parts, b"\r\n"])).send()[0] == 200
        assert stack.client("s3").get_object(Bucket="signatures", Key="body")["Body"].read() == b"abcdef"
        altered = [[parts[1], parts[0], *parts[2:]], [parts[0].replace(b"abc", b"abx"), *parts[1:]], parts[:2]]
        if trailer:
            altered += [parts[:3], parts[:-1], [*parts[:-2], parts[-2].replace(b"crc32:", b"crc32: "), parts[-1]]]
        for some in altered:
            assert wire.but(body=b"".join([*some, b"\r\n"])).send()[0] in (400, 403)

    def test_header_with_the_hash_has_to_be_there(self, stack: Stack) -> None:
        wire = CALLS["S3"].signed(stack, signer=PlainPath)
        refused(wire.send(), (400, b"<Code>InvalidRequest</Code>"))

    def test_sdk_uploads_in_every_way_it_knows(self, stack: Stack) -> None:
        for options in ({}, {"payload_signing_enabled": True}, {"payload_signing_enabled": False}):
            s3 = stack.aws.client("s3", config=Config(s3=options))
            s3.put_object(Bucket="signatures", Key="Zoë/a b+c", Body=b"x", Metadata={"colour": "green  and blue"})
            assert s3.get_object(Bucket="signatures", Key="Zoë/a b+c")["Body"].read() == b"x"
            assert s3.list_objects_v2(Bucket="signatures", Prefix="Zoë/a b+")["KeyCount"] == 1


class TestPresigned:
    """URLs that are good for a while, as `POST /batches` hands them out."""

    def url(self, stack: Stack, method: str = "get_object", key: str = "pre signed/ä", seconds: int = 60, **options: Any) -> str:
        s3 = (
            stack.aws.client("s3", config=Config(signature_version="s3v4"))
            if not options
            else boto3.client("s3", endpoint_url=stack.aws.endpoint, config=Config(signature_version="s3v4"), **options)
        )
        return str(s3.generate_presigned_url(method, Params={"Bucket": "signatures", "Key": key}, ExpiresIn=seconds))

    def test_url_is_good_for_its_method_key_and_time(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        assert requests.put(self.url(stack, "put_object"), b"x", timeout=30).status_code == 200
        url = self.url(stack)
        assert requests.get(url, timeout=30).content == b"x"
        assert requests.put(url, b"y", timeout=30).status_code == 403
        assert requests.get(url.replace("pre%20signed", "another"), timeout=30).status_code == 403
        assert requests.get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"), timeout=30).status_code == 403
        assert requests.get(url.rpartition("X-Amz-Signature=")[0] + "X-Amz-Signature=00", timeout=30).status_code == 403
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=20))
        assert requests.get(self.url(stack, seconds=1140), timeout=30).status_code == 403
        assert requests.get(self.url(stack, seconds=1260), timeout=30).content == b"x"

    def test_url_by_other_keys_or_for_another_region_is_refused(self, stack: Stack, session: Credentials) -> None:
        keys = {"aws_access_key_id": session.access_key, "aws_secret_access_key": session.secret_key}
        self.url(stack, "put_object")
        assert requests.put(self.url(stack, "put_object", region_name=REGION, aws_session_token=session.token, **keys), b"x", timeout=30).ok
        for options in (
            {"region_name": REGION, **keys},
            {"region_name": REGION, "aws_session_token": session.token, **keys, "aws_secret_access_key": "x"},
            {"region_name": "eu-west-1", "aws_session_token": session.token, **keys},
            {"region_name": "eu-west-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"},
            {"region_name": REGION, "aws_access_key_id": "test", "aws_secret_access_key": "tesu"},
        ):
            assert requests.put(self.url(stack, "put_object", **options), b"x", timeout=30).status_code in (400, 403), options


SERVICES = {
    "cloudformation": "describe_stacks", "cloudwatch": "describe_alarms", "dynamodb": "list_tables", "events": "list_rules",
    "iam": "list_roles", "kms": "list_keys", "lambda": "list_functions",
    "logs": "describe_log_groups", "s3": "list_buckets", "scheduler": "list_schedules",
    "secretsmanager": "list_secrets", "sqs": "list_queues", "ssm": "describe_parameters", "stepfunctions": "list_state_machines",
    "sts": "get_caller_identity", "apigatewayv2": "get_apis",
}  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_that_the_stack_uses_refuses_a_wrong_secret_and_region(stack: Stack, session: Credentials, service: str) -> None:
    def call(**options: Any) -> None:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION, **options}
        getattr(boto3.client(service, endpoint_url=stack.aws.endpoint, **keys), SERVICES[service])()

    call()
    mine = {"aws_access_key_id": session.access_key, "aws_secret_access_key": session.secret_key}
    call(**mine, aws_session_token=session.token)
    for wrong in (
        {"aws_secret_access_key": "tesu"},
        {"aws_access_key_id": "AKIA0"},
        mine,
        *([] if service == "iam" else [{"region_name": "eu-west-1"}]),
    ):
        with pytest.raises(ClientError) as refusal:
            call(**wrong)
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_what_aws_leaves_unsigned_needs_no_signature_and_reads_none(stack: Stack) -> None:
    for authorization in (None, "AWS4-HMAC-SHA256 Credential=test/x, SignedHeaders=host, Signature=00", "Bearer x"):
        headers = {"Authorization": authorization} if authorization else {}
        assert requests.post(stack.url + "/echo/x", b"{}", headers=headers, timeout=30).status_code == 201
        assert requests.get(stack.url + "/no-such-route", headers=headers, timeout=30).status_code == 404
