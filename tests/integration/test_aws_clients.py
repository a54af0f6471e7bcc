"""The AWS clients that functions use, over real HTTP: attempts, repeated requests, and that no snapshot has credentials."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from local.aws.emulator import Emulator
from tests.support.functions import http_event, load
from tests.support.template import table_schema
from titleholder import bootstrap
from titleholder.bootstrap import aws_clients
from titleholder.store import Store
from titleholder.stripe_api import signatures

REGION = "us-east-1"
ITEM = {"pk": {"S": "EVENT#evt_1"}, "sk": {"S": "EVENT"}, "processed": {"BOOL": False}}
PUT: dict[str, Any] = {"TableName": "events", "Item": ITEM, "ConditionExpression": "attribute_not_exists(pk)"}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}


class Scripted(ThreadingHTTPServer):
    """Gives its `answers` in order, then `{}`, and keeps the requests. An answer `None` breaks the connection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any] | None] = []
        self.seen: list[tuple[int, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def connections(self) -> int:
        return len({port for port, _, _ in self.seen})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Scripted

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.client_address[1], {name.lower(): value for name, value in self.headers.items()}, body))
        answer = self.server.answers.pop(0) if self.server.answers else (200, {})
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status, data = answer
        raw = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def scripted() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Scripted]:
    """The environment's AWS, asked with the environment's credentials."""
    with scripted() as server:
        for name in KEYS:
            monkeypatch.setenv(name, KEYS[name])
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield server


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the SDK would have paused."""
    slept: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", slept.append)
    return slept


def refusal(code: str, **more: Any) -> tuple[int, dict[str, Any]]:
    return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "words", **more}


@pytest.mark.parametrize("failure", [refusal("ThrottlingException"), (503, {}), None], ids=["throttled", "503", "broken connection"])
def test_call_that_may_yet_succeed_is_tried_four_times(server: Scripted, pauses: list[float], failure: Any) -> None:
    server.answers = [failure] * 3
    aws_clients()("dynamodb").put_item(**PUT)
    assert len(server.seen) == 4
    assert [0 <= pause <= longest for pause, longest in zip(pauses, (1, 2, 4), strict=True)] == [True] * 3
    server.answers = [failure] * 9
    with pytest.raises(Exception):  # noqa: B017, PT011
        aws_clients()("dynamodb").put_item(**PUT)
    assert len(server.seen) == 8


def test_refusal_is_raised_at_once(server: Scripted) -> None:
    server.answers = [refusal("AccessDeniedException")]
    with pytest.raises(ClientError, match="AccessDeniedException"):
        aws_clients()("dynamodb").put_item(**PUT)
    assert len(server.seen) == 1


def test_connection_is_kept(server: Scripted) -> None:
    client = aws_clients()("dynamodb")
    for _ in range(3):
        client.put_item(**PUT)
    assert (len(server.seen), server.connections) == (3, 1)


def test_repeated_transaction_has_the_token_of_the_first_try(server: Scripted, pauses: list[float]) -> None:
    server.answers = [None]
    aws_clients()("dynamodb").transact_write_items(TransactItems=[{"Put": {"TableName": "t", "Item": ITEM}}])
    first, second = (json.loads(body)["ClientRequestToken"] for _, _, body in server.seen)
    assert first == second
    assert len(pauses) == 1


@pytest.mark.usefixtures("pauses")
def test_event_whose_answer_was_lost_is_found_waiting_not_lost(server: Scripted) -> None:
    """The first put takes effect and its answer is lost; the second is refused with our own item, which still waits to be processed."""
    stored = {**ITEM, "id": {"S": "evt_1"}, "received_ms": {"N": "0"}}
    server.answers = [None, refusal("ConditionalCheckFailedException", Item=stored)]
    store = Store(aws_clients()("dynamodb"), "t", keys_table="k", cipher=lambda: pytest.fail("no cipher"), clock=lambda: 0.0)
    assert store.events.insert({"id": "evt_1", "type": "x"}, processed=False, now=0.0)[1] == "waiting"


def test_credentials_of_the_environment_sign_every_call(server: Scripted) -> None:
    aws_clients()("secretsmanager").get_secret_value(SecretId="s")
    (_, headers, _) = server.seen[0]
    assert headers["x-amz-security-token"] == "token"
    assert f"Credential=AKIDEXAMPLE/{datetime.now(UTC):%Y%m%d}/{REGION}/secretsmanager/aws4_request" in headers["authorization"]


def test_missing_credentials_are_reported(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    with pytest.raises(NoCredentialsError):
        aws_clients()("dynamodb").put_item(**PUT)
    assert server.seen == []


def test_credentials_of_the_container_are_asked_for_at_the_first_call_and_renewed(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def credentials(number: int, minutes: int) -> tuple[int, Any]:
        expires = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 200, {"AccessKeyId": f"KEY{number}", "SecretAccessKey": "s", "Token": f"token{number}", "Expiration": expires}

    with scripted() as container:
        # The first ones are about to expire.
        container.answers = [credentials(1, 1), credentials(2, 360)]
        for name in KEYS:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{container.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "opaque")
        client = aws_clients()
        clients = [client(service) for service in ("dynamodb", "sqs", "kms", "s3", "stepfunctions", "secretsmanager", "events")]
        assert container.seen == [], "a snapshot of the process would hold them"
        for _ in range(3):
            clients[0].put_item(**PUT)
        assert [headers["authorization"] for _, headers, _ in container.seen] == ["opaque"] * 2
    assert {headers["x-amz-security-token"] for _, headers, _ in server.seen} == {"token2"}


def test_links_to_files_under_a_kms_key_have_the_signature_that_s3_asks_for(server: Scripted) -> None:
    link = aws_clients()("s3").generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key"})
    assert link.startswith(server.url)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link


@pytest.mark.emulator
def test_the_whole_receiver_takes_a_delivery_by_way_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as aws:
        aws.client("dynamodb").create_table(TableName="events", **table_schema())
        queue = aws.client("sqs").create_queue(QueueName="events")["QueueUrl"]
        aws.client("secretsmanager").create_secret(Name="webhook", SecretString="whsec_of_the_receiver")
        environment = {
            "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": aws.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "TABLE_NAME": "events", "EVENTS_QUEUE_URL": queue, "STRIPE_WEBHOOK_SECRET_NAME": "webhook",
        }  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        event = {"id": "evt_1", "type": "financial_connections.account.refreshed_ownership", "data": {"object": {"id": "fca_1"}}}
        body = json.dumps(event)
        header = signatures.sign(body.encode(), "whsec_of_the_receiver", int(datetime.now(UTC).timestamp()))
        delivery = http_event("POST", "/webhooks/stripe", body, {"Stripe-Signature": header})
        forged = http_event("POST", "/webhooks/stripe", body + " ", {"Stripe-Signature": header})
        bootstrap.use(None)
        try:
            receiver = load("receive_webhook")
            assert [receiver(sent)["statusCode"] for sent in (forged, delivery, delivery)] == [400, 200, 200]
        finally:
            bootstrap.use(None)
        (item,) = aws.client("dynamodb").scan(TableName="events")["Items"]
        assert (item["pk"]["S"], item["processed"]["BOOL"]) == ("EVENT#evt_1", False)
        messages = aws.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        assert {message["Body"] for message in messages} == {'{"event": "evt_1", "account": "fca_1", "mode": "test"}'}


@pytest.mark.usefixtures("server")
def test_endpoint_that_the_template_leaves_empty_is_the_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    assert aws_clients()("sqs").meta.endpoint_url == f"https://sqs.{REGION}.amazonaws.com"
