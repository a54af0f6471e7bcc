"""The lean AWS client does over real HTTP what the SDK's clients do: against the embedded AWS, and against a server that misbehaves."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

import boto3
import botocore.session
import pytest
import urllib3
from botocore.loaders import Loader
from hypothesis import given, settings
from hypothesis import strategies as st

from local.aws.emulator import Emulator
from tests.support.functions import http_event, load
from tests.support.template import table_schema
from titleholder import aws_json, bootstrap
from titleholder.aws_json import ATTEMPTS, OPERATIONS, SERVICES, Client, Endpoint, Keys, ServiceError, serves
from titleholder.store import Store
from titleholder.stripe_api import signatures

REGION = "us-east-1"
KEYS = Keys("AKIDEXAMPLE", "secret", "a/session+token==")
ITEM = {"pk": {"S": "EVENT#evt_1"}, "sk": {"S": "EVENT"}, "processed": {"BOOL": False}}
PUT: dict[str, Any] = {"TableName": "events", "Item": ITEM, "ConditionExpression": "attribute_not_exists(pk)"}
PUT |= {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


# -- a server that misbehaves ------------------------------------------------------------------------------------------------------


class Scripted(ThreadingHTTPServer):
    """Gives the answers it is told to, in order, then `{}`; keeps what it was sent. An answer `None` breaks the connection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any] | None] = []
        self.close_after_each = False
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
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.client_address[1], {name.lower(): value for name, value in self.headers.items()}, body))
        answer = self.server.answers.pop(0) if self.server.answers else (200, {})
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status, data = answer
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        if status == 307:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(raw)
        # Without a word in the answer: as a server that has waited long enough for another request.
        self.close_connection = self.close_connection or self.server.close_after_each

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
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


class Pauses:
    """Sleeps no time, and remembers how long it was to be."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def client(url: str, service: str = "dynamodb", pauses: Pauses | None = None, keys: Any = lambda: KEYS) -> Client:
    return Client(service, Endpoint(url, REGION), keys, sleep=pauses or Pauses(), jitter=lambda: 0.5)


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "words", **more}


@pytest.mark.parametrize(
    "passing",
    [
        pytest.param((400, error("ProvisionedThroughputExceededException")), id="throttled"),
        pytest.param((400, error("ThrottlingException")), id="throttled by another name"),
        pytest.param((500, error("InternalServerError")), id="500"),
        pytest.param((503, b"<html>busy</html>"), id="503 without JSON"),
        pytest.param(None, id="broken connection"),
    ],
)
def test_what_may_pass_is_tried_again_after_growing_pauses(server: Scripted, passing: Any) -> None:
    server.answers = [passing, passing, passing, (200, {"ConsumedCapacity": 1})]
    pauses = Pauses()
    assert client(server.url, pauses=pauses).put_item(**PUT) == {"ConsumedCapacity": 1}
    assert pauses.slept == [0.5, 1.0, 2.0]
    assert {body for _, _, body in server.seen} == {json.dumps(PUT).encode()}


def test_at_most_four_attempts_are_made_and_the_last_refusal_is_told(server: Scripted) -> None:
    server.answers = [(400, error("ThrottlingException"))] * 9
    with pytest.raises(ServiceError) as told:
        client(server.url).put_item(**PUT)
    assert told.value.response["Error"] == {"Code": "ThrottlingException", "Message": "words"}
    assert len(server.seen) == ATTEMPTS == 4


def test_service_that_never_answers_is_given_up_after_four_attempts(server: Scripted) -> None:
    server.answers = [None] * 9
    with pytest.raises(urllib3.exceptions.HTTPError):
        client(server.url).put_item(**PUT)
    assert len(server.seen) == 4


@pytest.mark.parametrize("code", ["ValidationException", "AccessDeniedException", "ConditionalCheckFailedException"])
def test_refusal_that_will_not_pass_is_told_at_once(server: Scripted, code: str) -> None:
    server.answers = [(400, error(code))]
    with pytest.raises(ServiceError, match=code):
        client(server.url).put_item(**PUT)
    assert len(server.seen) == 1


def test_redirect_is_not_followed(server: Scripted) -> None:
    server.answers = [(307, {})]
    with pytest.raises(ServiceError, match="307"):
        client(server.url).put_item(**PUT)
    assert len(server.seen) == 1


def test_connection_is_kept(server: Scripted) -> None:
    lean = client(server.url)
    for _ in range(3):
        lean.put_item(**PUT)
    assert (len(server.seen), server.connections) == (3, 1)


def test_connection_that_the_server_closed_meanwhile_is_opened_anew_without_a_pause(server: Scripted) -> None:
    server.close_after_each = True
    pauses = Pauses()
    lean = client(server.url, pauses=pauses)
    for _ in range(3):
        lean.put_item(**PUT)
        wait_until_closed(lean)
    assert (len(server.seen), server.connections) == (3, 3)
    assert pauses.slept == []


def wait_until_closed(lean: Client) -> None:
    """Until the server's end of the kept connection has arrived here."""
    assert lean._pool.pool is not None
    (sock,) = [kept.sock for kept in lean._pool.pool.queue if kept is not None]
    sock.settimeout(5)
    assert sock.recv(1, socket.MSG_PEEK) == b""


def test_event_whose_answer_was_lost_is_found_waiting_not_lost() -> None:
    """The first put takes effect and its answer is lost; the second is refused with our own item, which still waits to be processed."""
    with scripted() as server:
        server.answers = [None, (400, error("ConditionalCheckFailedException", Item=ITEM))]
        store = Store(client(server.url), "t", keys_table="k", vault=lambda: pytest.fail("no vault"), clock=lambda: 0.0)
        assert store.insert_event({"id": "evt_1", "type": "x"}, processed=False, now=0.0) == "waiting"


# -- what is sent ------------------------------------------------------------------------------------------------------------------


def proven(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a request to `/` is signed with `secret`, told from nothing but what arrived."""
    found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=[^/]+/(\S+), SignedHeaders=(\S+), Signature=(\S+)", headers["authorization"])
    assert found is not None
    scope, names, signature = found.groups()
    listed = "".join(f"{name}:{headers[name]}\n" for name in names.split(";"))
    request = f"POST\n/\n\n{listed}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    assert {"host", "x-amz-date", "x-amz-target", "content-type"} <= set(names.split(";"))
    return key.hex() == signature


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(codec="utf-8")), st.sampled_from(sorted(SERVICES)), st.none() | st.text("ab/+=", min_size=1))
def test_every_request_arrives_as_it_was_meant_and_signed(server_for_all: Scripted, text: str, service: str, token: str | None) -> None:
    keys = Keys("AKIDEXAMPLE", "secret/+", token)
    call = getattr(client(server_for_all.url, service, keys=lambda: keys), OPERATIONS[service].split()[0])
    call(Text=text)
    _, headers, body = server_for_all.seen[-1]
    assert json.loads(body) == {"Text": text}
    assert headers.get("x-amz-security-token") == token
    assert f"/{REGION}/{SERVICES[service].name}/aws4_request" in headers["authorization"]
    assert proven("secret/+", headers, body)
    assert not proven("secret/", headers, body)


@pytest.fixture(scope="module")
def server_for_all() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


def sent_by_the_sdk(server: Scripted, service: str) -> Any:
    return boto3.client(service, region_name=REGION, endpoint_url=server.url, aws_access_key_id="a", aws_secret_access_key="b")


@pytest.mark.parametrize(
    ("service", "operation", "request_"),
    [
        ("dynamodb", "put_item", PUT),
        ("sqs", "send_message", {"QueueUrl": "http://sqs.test/1/q", "MessageBody": "{}"}),
        ("secretsmanager", "get_secret_value", {"SecretId": "s", "VersionStage": "AWSCURRENT"}),
        ("dynamodb", "update_item", {"TableName": "t-1", "Key": {"pk": {"B": b"\x00\xff"}}, "UpdateExpression": "SET a = b"}),
        ("dynamodb", "transact_write_items", {"TransactItems": [{"Put": {"TableName": "t-1", "Item": ITEM}}], "ClientRequestToken": "t"}),
        ("kms", "decrypt", {"KeyId": "k", "CiphertextBlob": b"\x00wrapped", "EncryptionContext": {"mode": "test"}}),
        ("events", "put_events", {"Entries": [{"Source": "s", "DetailType": "d", "Detail": "{}", "EventBusName": "b"}]}),
        ("stepfunctions", "send_task_success", {"taskToken": "t", "output": "{}"}),
    ],
)
def test_request_is_the_sdks_own(server: Scripted, monkeypatch: pytest.MonkeyPatch, service: str, operation: str, request_: Any) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "receive_webhook")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1\n")
    getattr(client(server.url, service), operation)(**request_)
    getattr(sent_by_the_sdk(server, service), operation)(**request_)
    (_, ours, our_body), (_, theirs, their_body) = server.seen
    for name in ("host", "content-type", "x-amz-target", "x-amzn-trace-id"):
        assert ours[name] == theirs[name]
    assert json.loads(our_body) == json.loads(their_body)


def test_bytes_come_back_as_bytes_and_attributes_of_the_same_name_stay_what_they_are(server: Scripted) -> None:
    answer = {"Item": {"sealed": {"B": "AP8="}, "B": {"M": {"B": {"S": "text"}, "b": {"L": [{"B": "AA=="}]}}}, "Plaintext": {"S": "AA=="}}}
    server.answers = [(200, answer), (200, {"Plaintext": "AP8=", "KeyId": "AA=="})]
    assert client(server.url).get_item()["Item"] == {
        "sealed": {"B": b"\x00\xff"},
        "B": {"M": {"B": {"S": "text"}, "b": {"L": [{"B": b"\x00"}]}}},
        "Plaintext": {"S": "AA=="},
    }
    assert client(server.url, "kms").decrypt() == {"Plaintext": b"\x00\xff", "KeyId": "AA=="}


def test_transaction_that_is_tried_again_bears_the_token_of_the_first_try(server: Scripted) -> None:
    server.answers = [None, (200, {}), (200, {})]
    lean = client(server.url)
    lean.transact_write_items(TransactItems=[])
    lean.transact_write_items(TransactItems=[])
    first, again, other = [json.loads(body)["ClientRequestToken"] for _, _, body in server.seen]
    assert first == again != other


def test_cancelled_transaction_tells_why(server: Scripted) -> None:
    reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": {"k": {"B": "AA=="}}}]
    server.answers = [(400, error("TransactionCanceledException", CancellationReasons=reasons))]
    with pytest.raises(ServiceError) as cancelled:
        client(server.url).transact_write_items(TransactItems=[])
    assert cancelled.value.response["CancellationReasons"][1] == {"Code": "ConditionalCheckFailed", "Item": {"k": {"B": b"\x00"}}}


# -- nothing is called that needs more ---------------------------------------------------------------------------------------------


def members(shape: Any, seen: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Every member of a shape, at any depth, with its name."""
    inner = dict(getattr(shape, "members", None) or {})
    for part in ("member", "key", "value"):
        if getattr(shape, part, None) is not None:
            inner[part] = getattr(shape, part)
    for name, each in inner.items():
        yield name, each
        if each.name not in seen:
            yield from members(each, seen | {each.name})


@pytest.mark.parametrize("service", SERVICES)
def test_operations_have_no_form_that_the_lean_client_does_not_know(service: str) -> None:
    model = botocore.session.Session().get_service_model(service)
    known = SERVICES[service]
    assert f"{model.metadata['targetPrefix']} {model.metadata['jsonVersion']}" == f"{known.target} {known.version}"
    assert model.metadata.get("signingName", model.metadata["endpointPrefix"]) == known.name
    assert model.service_id.replace(" ", "_").upper() == known.variable
    tokens = set()
    for name in OPERATIONS[service].split():
        operation = model.operation_model(name.title().replace("_", ""))
        assert (operation.http["method"], operation.http["requestUri"], operation.endpoint) == ("POST", "/", None)
        given = dict(members(operation.input_shape))
        tokens |= {(operation.name, member) for member in operation.idempotent_members}
        assert not [member for member, shape in given.items() if shape.type_name == "timestamp" and (service, member) not in UNUSED]
        for member, shape in [*members(operation.input_shape), *members(operation.output_shape or operation.input_shape)]:
            assert shape.type_name != "blob" or member in known.blobs or (service, member) in UNUSED, (name, member)
    assert tokens == ({("TransactWriteItems", "ClientRequestToken")} if service == "dynamodb" else set())


UNUSED = {
    ("events", "Time"), ("sqs", "BinaryValue"), ("sqs", "member"), ("secretsmanager", "SecretBinary"), ("dynamodb", "member"),
    ("kms", "AttestationDocument"), ("kms", "CiphertextForRecipient"),
}  # fmt: skip
"""Of these forms nothing is sent or asked for here: sets of bytes, times of events, binary attributes of messages, attested enclaves."""


def test_every_call_in_the_package_is_among_the_operations() -> None:
    package = Path(aws_json.__file__).parent
    by_sdk = {"files", "idempotency"}
    sources = [path.read_text() for path in package.glob("*.py") if path.stem not in by_sdk]
    called = {name for text in sources for name in re.findall(r"self\._(?:client|kms)\.([a-z_]+)", text)}
    listed = {name for names in OPERATIONS.values() for name in names.split()}
    assert called == listed


# -- real services -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    """An AWS that checks signatures and permissions; the key `test` may do anything."""
    with Emulator(auth=True) as aws:
        aws.client("dynamodb").create_table(TableName="events", **table_schema())
        yield aws


ROOT = Keys("test", "test", None)


@pytest.mark.emulator
def test_refused_put_gives_the_item_that_is_there(aws: Emulator) -> None:
    lean = client(aws.endpoint, keys=lambda: ROOT)
    lean.put_item(**PUT)
    with pytest.raises(ServiceError) as refused:
        lean.put_item(**PUT)
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert refused.value.response["Item"] == ITEM


@pytest.mark.emulator
def test_message_is_sent_and_secret_read(aws: Emulator) -> None:
    queue = aws.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    client(aws.endpoint, "sqs", keys=lambda: ROOT).send_message(QueueUrl=queue, MessageBody='{"event": "evt_ü"}')
    assert aws.client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"] == '{"event": "evt_ü"}'
    aws.client("secretsmanager").create_secret(Name="s", SecretString="whsec_1")
    secrets = client(aws.endpoint, "secretsmanager", keys=lambda: ROOT)
    assert secrets.get_secret_value(SecretId="s", VersionStage="AWSCURRENT")["SecretString"] == "whsec_1"
    with pytest.raises(ServiceError) as missing:
        secrets.get_secret_value(SecretId="none", VersionStage="AWSCURRENT")
    assert missing.value.response["Error"]["Code"] == "ResourceNotFoundException"


@pytest.mark.emulator
def test_signature_with_a_wrong_secret_is_refused_and_so_is_what_the_role_does_not_allow(aws: Emulator) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="receiver")
    made = iam.create_access_key(UserName="receiver")["AccessKey"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"}]}
    iam.put_user_policy(UserName="receiver", PolicyName="p", PolicyDocument=json.dumps(policy))
    right = Keys(made["AccessKeyId"], made["SecretAccessKey"], None)
    client(aws.endpoint, keys=lambda: right).put_item(TableName="events", Item={**ITEM, "pk": {"S": "EVENT#evt_signed"}})
    with pytest.raises(ServiceError, match="signature"):
        client(aws.endpoint, keys=lambda: right._replace(secret_key="wrong")).put_item(**PUT)
    with pytest.raises(ServiceError, match="AccessDenied"):
        client(aws.endpoint, "sqs", keys=lambda: right).send_message(QueueUrl=f"{aws.endpoint}/000000000000/q", MessageBody="{}")


# -- where, and as whom ------------------------------------------------------------------------------------------------------------


LEFT_TO_THE_SDK = re.compile(r"(?:us-iso|eu-isoe|eusc|.*-global)")


def test_every_region_has_the_sdks_endpoint() -> None:
    session, partitions = botocore.session.Session(), Loader().load_data("partitions")["partitions"]
    session.set_credentials("a", "b")
    named = [region for partition in partitions for region in partition["regions"]]
    assert len(named) > 30
    for region, service in itertools.product(named, SERVICES):
        found = serves(service, {"AWS_DEFAULT_REGION": region})
        if LEFT_TO_THE_SDK.match(region):
            assert found is None
        else:
            with patch.dict("os.environ", clear=True):
                assert found == (session.create_client(service, region_name=region).meta.endpoint_url, region)


def test_endpoint_may_be_named_for_all_services_or_for_one() -> None:
    named = {"AWS_REGION": REGION, "AWS_ENDPOINT_URL": "http://all.test:4566/", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://one.test"}
    assert serves("sqs", named) == ("http://all.test:4566", REGION)
    assert serves("secretsmanager", named) == ("https://one.test", REGION)
    # As on AWS, where the template leaves it empty.
    assert serves("sqs", {"AWS_REGION": REGION, "AWS_ENDPOINT_URL": ""}) == ("https://sqs.us-east-1.amazonaws.com", REGION)


@pytest.mark.parametrize(
    "asked",
    [
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"https_proxy": "http://proxy.test"},
        {"AWS_CA_BUNDLE": "/bundle.pem"},
        {"AWS_ENDPOINT_URL": "http://all.test/path"},
        {"AWS_DEFAULT_REGION": "us-iso-east-1"},
        {"AWS_DEFAULT_REGION": ""},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_only_the_sdk_knows_is_left_to_it(monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]) -> None:
    assert serves("sqs", {"AWS_DEFAULT_REGION": REGION}) is not None
    assert serves("sqs", {"AWS_DEFAULT_REGION": REGION, **asked}) is None
    monkeypatch.setattr(bootstrap, "_sdk_client", lambda service: f"the SDK's {service}")
    with patch.dict("os.environ", {"AWS_DEFAULT_REGION": REGION, **asked}, clear=True):
        assert bootstrap._client.__wrapped__("sqs") == "the SDK's sqs"


def test_servers_have_to_prove_who_they_are() -> None:
    pool = client("https://dynamodb.us-east-1.amazonaws.com")._pool
    context = pool.conn_kw["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert (pool.timeout.connect_timeout, pool.timeout.read_timeout) == (2, 5)


def test_credentials_of_the_environment_are_taken_whole() -> None:
    both = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    assert Keys.of({**both, "AWS_SESSION_TOKEN": "token"}) == ("AKIDEXAMPLE", "secret", "token")
    assert Keys.of(both) == ("AKIDEXAMPLE", "secret", None)
    assert Keys.of({"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"}) is None


@pytest.fixture
def fresh() -> Iterator[None]:
    def forget() -> None:
        for value in vars(bootstrap).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()

    forget()
    yield
    forget()


class _Container(BaseHTTPRequestHandler):
    """Lambda's credentials endpoint: every answer has another key, of which the first is all but expired."""

    asked: list[str | None]

    def do_GET(self) -> None:
        self.asked.append(self.headers["authorization"])
        left = timedelta(minutes=1 if len(self.asked) == 1 else 360)
        expires = (datetime.now(UTC) + left).strftime("%Y-%m-%dT%H:%M:%SZ")
        number = len(self.asked)
        data = {"AccessKeyId": f"KEY{number}", "SecretAccessKey": f"secret{number}", "Token": f"token{number}", "Expiration": expires}
        raw = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None: ...


@pytest.mark.usefixtures("fresh")
def test_credentials_of_the_container_are_taken_and_renewed_before_they_expire(server: Scripted) -> None:
    asked: list[str | None] = []
    handler = type("Container", (_Container,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as container:
        thread = Thread(target=container.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        environment = {
            "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": server.url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "opaque",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{container.server_address[1]}/credentials",
        }  # fmt: skip
        try:
            with patch.dict("os.environ", environment, clear=True):
                lean = bootstrap._client("dynamodb")
                assert isinstance(lean, aws_json.Client)
                assert asked == [], "a snapshot of the process would hold them"
                for _ in range(3):
                    lean.put_item(**PUT)
        finally:
            container.shutdown()
            thread.join()
    assert set(asked) == {"opaque"}
    # The first was never used: it would have expired within minutes. The second serves until it is about to.
    assert len(asked) == 2
    assert {headers["x-amz-security-token"] for _, headers, _ in server.seen} == {"token2"}
    assert all(proven("secret2", headers, body) for _, headers, body in server.seen)


@pytest.mark.emulator
@pytest.mark.usefixtures("fresh")
def test_delivery_is_taken_in_by_way_of_it(aws: Emulator) -> None:
    """The whole receiver, unpatched, over HTTP."""
    aws.client("dynamodb").create_table(TableName="mail", **table_schema())
    queue = aws.client("sqs").create_queue(QueueName="mail")["QueueUrl"]
    aws.client("secretsmanager").create_secret(Name="mail", SecretString="whsec_mail_room")
    environment = {
        "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": aws.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "TABLE_NAME": "mail", "EVENTS_QUEUE_URL": queue, "STRIPE_WEBHOOK_SECRET_NAME": "mail",
    }  # fmt: skip
    event = {"id": "evt_1", "type": "financial_connections.account.refreshed_ownership", "data": {"object": {"id": "fca_1"}}}
    body = json.dumps(event)
    header = signatures.sign(body.encode(), "whsec_mail_room", int(datetime.now(UTC).timestamp()))
    delivery = http_event("POST", "/webhooks/stripe", body, {"Stripe-Signature": header})
    forged = http_event("POST", "/webhooks/stripe", body + " ", {"Stripe-Signature": header})
    with patch.dict("os.environ", environment, clear=True):
        receiver = load("receive_webhook")
        assert [receiver(sent)["statusCode"] for sent in (forged, delivery, delivery)] == [400, 200, 200]
        assert isinstance(bootstrap.webhook_receiver().secrets._client, aws_json.Client)  # type: ignore[attr-defined]
    (item,) = aws.client("dynamodb").scan(TableName="mail")["Items"]
    assert (item["pk"]["S"], item["processed"]["BOOL"]) == ("EVENT#evt_1", False)
    messages = aws.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert {message["Body"] for message in messages} == {'{"event": "evt_1", "account": "fca_1", "mode": "test"}'}
