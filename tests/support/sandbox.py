"""Everything around the functions in one process and in virtual time: AWS by moto, Stripe by the simulator, without sleeping.

`Sandbox.open()` gives the real handlers the real SDKs over moto's DynamoDB, SQS, Secrets Manager, Step Functions and EventBridge, and
over the Stripe simulator. Only task tokens are our own, since moto does not execute workflows. Every call to the outside passes `taps`,
so that a test can act, fail or crash before or after any of them.
"""

from __future__ import annotations

import contextlib
import copy
import copyreg
import dataclasses
import io
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

import boto3
import moto.backends
import moto.secretsmanager.models
import moto.sqs.models
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from local.stripe_simulator import Options, Simulator
from local.stripe_simulator.deliveries import Outgoing
from local.stripe_simulator.sdk import SimulatorHTTPClient
from tests.support.fast_moto import fast_moto
from tests.support.functions import Function, http_event, load, queue_event
from tests.support.layers import OPERATIONS
from tests.support.rights import DynamoDBRights
from tests.support.stripe_openapi import LEDGER
from tests.support.template import table_schema
from titleholder import bootstrap, observability
from titleholder.bootstrap import Application
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import FreshnessRequirement
from titleholder.domain.verifications import Verification, Waiter
from titleholder.services.context import Dependencies
from titleholder.settings import Settings
from titleholder.store import Store
from titleholder.stripe_api.gateway import READ_TIMEOUT_SECONDS
from tools.reference.events import complaints

START = 1_800_000_000.0
API_KEY = "sk_test_sandbox"
SIGNING_SECRET = "whsec_sandbox_secret"
REGION = "us-east-1"
ENGINE = "DYNAMODB_ENGINE"
"""Environment variable with the URL of the DynamoDB that takes the place of moto's (`tests/amazons_dynamodb.py`)."""

PREVIEW_OPERATIONS = frozenset(
    {
        "GET /v1/financial_connections/accounts",
        "GET /v1/financial_connections/accounts/{account}",
        "GET /v1/financial_connections/sessions/{session}",
        "POST /v1/financial_connections/sessions",
    }
)
"""What may be called with a preview version of Stripe's API where STRIPE_PREVIEW_VERSION is set; nothing may where it is not."""

CLAIM: Mapping[str, Any] = {
    "name": "Margaret Anne Testerman",
    "email": "margaret.testerman@example.com",
    "phone": "+1 555 555 0101",
    "address": "100 Example St Apt 4, Springfield, IL 62701",
    "aka": ["Quillfeather Canary"],
}
PERSONAL = (
    "testerman",
    "samplewell",
    "quillfeather",
    "canary",
    "signatory",
    "placeholder provisions",
    "example.com",
    "springfield",
    "555010",
)
"""Words of the claim above and of the simulator's owners, in lower case, that may be nowhere but in the table."""


class Clock:
    """Virtual Unix time, which passes only in `advance`."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclasses.dataclass(frozen=True)
class Moment:
    """The instant before or after a call to the outside: `stripe` with `POST /v1/...`, or an AWS service with its operation."""

    service: str
    operation: str
    when: Literal["before", "after"]
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)


Tap = Callable[[Moment], None]


class Tapped:
    """A boto3 client. Every call passes the taps."""

    def __init__(self, client: Any, service: str, tap: Tap) -> None:
        self._client = client
        self._service = service
        self._tap = tap

    def __getattr__(self, operation: str) -> Any:
        method = getattr(self._client, operation)
        if not callable(method) or operation in ("get_paginator", "exceptions"):
            return method

        def call(**arguments: Any) -> Any:
            called = arguments.get("ClientMethod", operation).title().replace("_", "")
            assert called in OPERATIONS[self._service].split(), "an operation that layers/core/prune.py leaves out"
            self._tap(Moment(self._service, operation, "before", arguments))
            answer = method(**arguments)
            self._tap(Moment(self._service, operation, "after", arguments))
            return answer

        return call


class TappedHTTPClient(SimulatorHTTPClient):
    """The SDK's HTTP client to the simulator. Its every call passes the taps."""

    def __init__(self, simulator: Simulator, tap: Tap, clock: Clock) -> None:
        super().__init__(simulator, timeout=READ_TIMEOUT_SECONDS, sleep=clock.advance)
        self._tap = tap

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        target = f"/{url.partition('://')[2].partition('/')[2]}"
        version = (headers or {}).get("Stripe-Version")
        LEDGER.note(method, target, post_data.decode() if isinstance(post_data, bytes) else post_data or "", version)
        name = f"{method.upper()} {target[1:].partition('?')[0]}"
        self._tap(Moment("stripe", name, "before", dict(headers or {})))
        answer = super().request(method, url, headers, post_data)
        LEDGER.note_answer(method, target, answer[1], answer[0], version)
        self._tap(Moment("stripe", name, "after", dict(headers or {})))
        return answer


class TaskTokens:
    """Step Functions as the functions use it: moto starts executions, and this class keeps the task tokens."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.open: set[str] = set()
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.heartbeats: list[str] = []
        self.started: list[dict[str, Any]] = []
        self.stopped: list[str] = []

    def start_execution(self, **arguments: Any) -> Any:
        answer = self._client.start_execution(**arguments)
        self.started.append({"name": arguments["name"], "input": json.loads(arguments["input"])})
        return answer

    def describe_execution(self, **arguments: Any) -> Any:
        return self._client.describe_execution(**arguments)

    def stop_execution(self, **arguments: Any) -> Any:
        answer = self._client.stop_execution(**arguments)
        self.stopped.append(arguments["executionArn"].rpartition(":")[2])
        return answer

    def send_task_success(self, *, taskToken: str, output: str) -> Any:
        if taskToken in self.outcomes:
            raise _client_error("TaskTimedOut", "SendTaskSuccess")
        if taskToken not in self.open:
            raise _client_error("InvalidToken", "SendTaskSuccess")
        self.open.remove(taskToken)
        self.outcomes[taskToken] = json.loads(output)
        return {}

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> Any:
        return self.send_task_success(taskToken=taskToken, output=json.dumps({"Error": error}))

    def send_task_heartbeat(self, *, taskToken: str) -> Any:
        if taskToken not in self.open:
            raise _client_error("TaskTimedOut", "SendTaskHeartbeat")
        self.heartbeats.append(taskToken)
        return {}


class WatchedFunction(Function):
    """A function whose name is the last of `running` while it runs."""

    def __init__(self, function: Function, running: list[str]) -> None:
        super().__init__(function.name, function.module)
        self._running = running

    def __call__(self, event: Mapping[str, Any]) -> Any:
        self._running.append(self.name)
        try:
            return super().__call__(event)
        finally:
            self._running.pop()


class Sandbox:
    """One deployment. `clock` is the time everywhere; `taps` are called at every `Moment`; `log` holds every log line."""

    def __init__(self, *, seed: int = 0, options: Options | None = None, **environment: str) -> None:
        self.clock = Clock()
        self.simulator = Simulator(self.clock, seed=seed, options=options or Options(settle_seconds=5.0, cooldown_seconds=60.0))
        self.taps: list[Tap] = []
        self.meanwhile: list[Callable[[], None]] = []
        self.log = io.StringIO()
        self.http_client = TappedHTTPClient(self.simulator, self.tap, self.clock)
        self.tokens = TaskTokens(client("stepfunctions"))
        self.environment = environment
        self.rights = DynamoDBRights()
        self.announced: list[tuple[str, dict[str, Any]]] = []
        self.preview_reads: frozenset[str] = frozenset()
        self._running: list[str] = []
        self._number = 0

    @classmethod
    @contextlib.contextmanager
    def open(cls, **options: Any) -> Iterator[Sandbox]:
        """A sandbox with its resources. The functions use it within the context."""
        sandbox = cls(**options)
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock_aws())
            stack.enter_context(fast_moto())
            sandbox._place_resources()
            sandbox._patch(stack)
            yield sandbox
            assert sandbox.rights.refused() == [], "calls that the functions' roles in template.yaml would refuse on AWS"
            assert [said for kind, detail in sandbox.announced for said in complaints(kind, detail)] == [], "see docs/reference/events.md"
            assert sandbox.previews() <= sandbox.preview_reads, "operations that were called with a preview version of Stripe's API"

    # -- setting up --------------------------------------------------------------------------------------------------------------

    def _place_resources(self) -> None:
        environment, states = _resources()
        # What refers to a service refers to the one of this sandbox.
        memo = {id(then): moto.backends.get_backend(service)[ACCOUNT][region] for (service, region), (then, _) in states.items()}
        with patch.dict(copyreg.dispatch_table, UNUSED_LOCKS):
            for then, state in states.values():
                vars(memo[id(then)]).update(copy.deepcopy(state, dict(memo)))
        if ENGINE in os.environ:
            _make_tables()
        self.refresh_queue, self.events_queue = environment["REFRESH_QUEUE_URL"], environment["EVENTS_QUEUE_URL"]
        self.refresh_dead, self.events_dead = environment["REFRESH_DEAD_LETTER_URL"], environment["EVENTS_DEAD_LETTER_URL"]
        self.bus_queue = f"{self.refresh_queue.rpartition('/')[0]}/bus"
        self.environment = {**environment, **self.environment}
        self.simulator.add_endpoint("https://titleholder.test/webhooks/stripe", SIGNING_SECRET)

    def _patch(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(patch.object(moto.sqs.models, "unix_time", self.clock))
        stack.enter_context(patch.object(moto.sqs.models, "unix_time_millis", lambda: self.clock.now * 1000))
        stack.enter_context(patch.object(moto.secretsmanager.models, "time", SimpleNamespace(time=self.clock)))
        handler: Any = observability.logger.registered_handler
        stack.callback(handler.setStream, handler.setStream(self.log))
        stack.callback(bootstrap.use, None)
        self.cold_start()
        self.functions: dict[str, Function] = {}

    def cold_start(self, **changed: str) -> None:
        """Start every function again, as after a cold start, with these environment variables changed."""
        self.environment |= changed
        if self.environment.get("STRIPE_PREVIEW_VERSION"):
            self.preview_reads = PREVIEW_OPERATIONS
        bootstrap.use(
            Application(
                Settings.from_environment(self.environment),
                client=self.client,
                stripe_http=lambda: self.http_client,
                clock=self.clock,
                sleep=self.sleep,
            )
        )

    def client(self, service: str) -> Any:
        """A client as the functions get it. Its calls pass the taps."""
        return Tapped(self.tokens if service == "stepfunctions" else client(service), service, self.tap)

    def tap(self, moment: Moment) -> None:
        if self._running and moment.service == "dynamodb" and moment.when == "before":
            self.rights.note(self._running[-1], moment.operation, moment.arguments)
        if moment.operation == "put_events" and moment.when == "before":
            self.announced += [(entry["DetailType"], json.loads(entry["Detail"])) for entry in moment.arguments["Entries"]]
        for tap in tuple(self.taps):
            tap(moment)

    @property
    def deps(self) -> Dependencies:
        return bootstrap.application().dependencies()

    @property
    def store(self) -> Store:
        return bootstrap.application().store

    def set_secret(self, name: str, value: str) -> None:
        """Roll a secret: its current value becomes the previous one."""
        client("secretsmanager").put_secret_value(SecretId=name, SecretString=value)

    def delete_secret(self, name: str) -> None:
        client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    # -- the functions -----------------------------------------------------------------------------------------------------------

    def function(self, name: str) -> Function:
        """The function whose code is in that folder under functions/."""
        if name not in self.functions:
            self.functions[name] = WatchedFunction(load(name), self._running)
        return self.functions[name]

    def http(self, method: str, path: str, body: Any = None, *, function: str | None = None, **headers: str) -> Answer:
        """Call a route as API Gateway does. `body`: bytes and text go as they are, all else as JSON."""
        name = function or _function(method, path)
        return Answer.of(self.function(name)(http_event(method, path, body, headers)))

    def deliver(self, delivery: Outgoing) -> Answer:
        """Make one webhook delivery, and report its result to the simulator."""
        event = http_event("POST", "/webhooks/stripe", delivery.body, delivery.headers)
        answer = Answer.of(self.function("receive_webhook")(event))
        self.simulator.delivered(delivery, answer.status)
        return answer

    def deliver_due(self) -> list[Answer]:
        return [self.deliver(delivery) for delivery in self.simulator.due_deliveries()]

    def consume(self, queue_url: str) -> list[dict[str, Any]]:
        """Let a queue's consumer process every visible message. Returns the bodies of those that failed."""
        return [json.loads(body) for body in self.consume_raw(queue_url)]

    def consume_raw(self, queue_url: str) -> list[str]:
        """Like `consume`, for bodies that may be invalid JSON."""
        sqs, failed = client("sqs"), []
        name = "start_refresh" if queue_url == self.refresh_queue else "fetch_owners"
        while messages := self.receive(queue_url):
            for message in messages:
                answer = self.function(name)(queue_event(message))
                if answer["batchItemFailures"]:
                    failed.append(message["Body"])
                else:
                    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return failed

    def send(self, queue_url: str, message: Mapping[str, Any]) -> None:
        client("sqs").send_message(QueueUrl=queue_url, MessageBody=json.dumps(message))

    def receive(self, queue_url: str) -> list[dict[str, Any]]:
        answer = client("sqs").receive_message(QueueUrl=queue_url, MaxNumberOfMessages=1, AttributeNames=["All"], WaitTimeSeconds=0)
        return list(answer.get("Messages", ()))

    def settle(self) -> None:
        """Deliver due webhooks, then the messages of both queues."""
        self.deliver_due()
        self.consume(self.events_queue)
        self.consume(self.refresh_queue)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def sleep(self, seconds: float) -> None:
        """The functions' `sleep`: time passes, and the next of `meanwhile` happens."""
        self.clock.advance(seconds)
        if self.meanwhile:
            self.meanwhile.pop(0)()

    # -- what the workflow does --------------------------------------------------------------------------------------------------

    def enter(self, verification: Verification, *, retry: int = 0, resume_at: str | None = None, send: bool = True) -> str:
        """Enter `RequestRefresh`: send the request with a new token, and return the token."""
        self._number += 1
        token = f"token-{self._number:04}"
        self.tokens.open.add(token)
        entered = f"2027-01-15T08:00:00.{self._number:06}Z"
        message = {
            "task_token": token,
            "entered": entered,
            "retry": retry,
            "verification": verification.id,
            "ref": verification.ref.as_dict(),
            "not_before": verification.need.not_before,
            "requested_at": verification.requested_at,
            "deadline": verification.deadline,
            "resume_at": resume_at,
        }
        if send:
            self.send(self.refresh_queue, message)
        return token

    def outcome(self, token: str) -> dict[str, Any] | None:
        """The outcome with which the token's workflow was resumed; None while it waits."""
        return self.tokens.outcomes.get(token)

    # -- what there is -----------------------------------------------------------------------------------------------------------

    def link(self, scenario: str = "single_owner", **options: Any) -> AccountRef:
        """Link an account. The events of its linking count as delivered before."""
        linked = self.simulator.link(scenario, **options)
        for delivery in self.simulator.due_deliveries():
            self.simulator.delivered(delivery, 200)
        return AccountRef(linked["id"], "live" if linked["livemode"] else "test", linked["stripe_account"])

    def waiter(self, verification: str, *, max_age: float = 0.0, turn: str = "1", patience: float = 86_400.0) -> Waiter:
        """A waiter whose request is made now, with an open token."""
        now = self.clock.now
        token = f"token-of-{verification}-{turn}"
        self.tokens.open.add(token)
        return Waiter(verification, token, turn, FreshnessRequirement(not_before=now - max_age, requested_at=now, deadline=now + patience))

    def refreshes(self, ref: AccountRef) -> int:
        """The number of paid refreshes of the account."""
        return int(self.simulator.state(ref.account, stripe_account=ref.stripe_account)["initiated_refreshes"])

    def previews(self) -> set[str]:
        """The operations that were called with a preview version of Stripe's API that the simulator has."""
        known = [entry for entry in self.simulator.requests() if entry["path"] is not None]
        return {entry["operation"] for entry in known if entry["version"].endswith("preview")}

    def stripe_calls(self, ref: AccountRef | None = None) -> list[str]:
        """The operations called at Stripe, in order."""
        return [
            f"{entry['method']} {str(entry['path']).rpartition('/')[2]}"
            for entry in self.simulator.requests()
            if ref is None or entry["account"] == ref.account
        ]

    def items(self, *, but: Sequence[str] = ()) -> list[dict[str, Any]]:
        """All items of the table, except those whose keys begin with one of `but`."""
        found = client("dynamodb").scan(TableName="titleholder")["Items"]
        return [item for item in found if not item["pk"]["S"].startswith(tuple(but))]

    def messages(self, queue_url: str) -> list[dict[str, Any]]:
        """The bodies of all messages in a queue, those delayed or in flight too. Moto's own view: receiving would hide them."""
        queues = moto.sqs.models.sqs_backends[ACCOUNT][REGION].queues
        return [_json(message.body) for message in queues[queue_url.rpartition("/")[2]]._messages]

    def published(self) -> list[dict[str, Any]]:
        """The events on the bus."""
        return self.messages(self.bus_queue)

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def outside_the_table(self) -> str:
        """Everything that the functions sent elsewhere than to the table or to an HTTP caller."""
        sent = [self.messages(url) for url in (self.refresh_queue, self.events_queue, self.refresh_dead, self.events_dead, self.bus_queue)]
        return json.dumps([sent, self.tokens.outcomes, self.tokens.started, self.simulator.requests()]) + self.log.getvalue()


QUEUES = ("refresh", "events", "refresh-dead", "events-dead", "bus")
ACCOUNT = "123456789012"

# A copied queue has a lock of its own.
UNUSED_LOCKS = {threading.Condition: lambda condition: (threading.Condition, ())}

States = Mapping[tuple[str, str], tuple[Any, Mapping[str, Any]]]
"""Moto's services by name and region, each with what it held."""


@cache
def _resources() -> tuple[Mapping[str, str], States]:
    """Make the resources of a deployment, once in a process. Returns the functions' environment, and the state of moto's services."""
    sqs, secrets, workflows, events = (client(name) for name in ("sqs", "secretsmanager", "stepfunctions", "events"))
    _make_tables()
    urls = {name: sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "120"})["QueueUrl"] for name in QUEUES}
    secrets.create_secret(Name="api-key", SecretString=API_KEY)
    secrets.create_secret(Name="webhook-secret", SecretString=SIGNING_SECRET)
    machines = {
        name: workflows.create_state_machine(
            name=name, definition='{"StartAt":"A","States":{"A":{"Type":"Succeed"}}}', roleArn=f"arn:aws:iam::{ACCOUNT}:role/any"
        )["stateMachineArn"]
        for name in ("verify-account", "verify-batch")
    }
    client("s3").create_bucket(Bucket="titleholder-batches")
    events.create_event_bus(Name="titleholder")
    events.put_rule(Name="all", EventBusName="titleholder", EventPattern='{"source":["titleholder"]}')
    target = sqs.get_queue_attributes(QueueUrl=urls["bus"], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_targets(Rule="all", EventBusName="titleholder", Targets=[{"Id": "queue", "Arn": target}])
    environment = {
        "STRIPE_MODE": "test",
        "TABLE_NAME": "titleholder",
        "KEYS_TABLE_NAME": "titleholder-keys",
        "VAULT_KEY_ID": client("kms").create_key()["KeyMetadata"]["Arn"],
        "REFRESH_QUEUE_URL": urls["refresh"],
        "EVENTS_QUEUE_URL": urls["events"],
        "REFRESH_DEAD_LETTER_URL": urls["refresh-dead"],
        "EVENTS_DEAD_LETTER_URL": urls["events-dead"],
        "EVENT_BUS_NAME": "titleholder",
        "BATCH_BUCKET": "titleholder-batches",
        "BATCH_STATE_MACHINE_ARN": machines["verify-batch"],
        "STATE_MACHINE_ARN": machines["verify-account"],
        "STRIPE_API_KEY_SECRET_NAME": "api-key",
        "STRIPE_WEBHOOK_SECRET_NAME": "webhook-secret",
    }
    states = {}
    with patch.dict(copyreg.dispatch_table, UNUSED_LOCKS):
        for service in ("dynamodb", "sqs", "secretsmanager", "stepfunctions", "s3", "events", "kms"):
            for region, backend in moto.backends.get_backend(service)[ACCOUNT].items():
                states[service, region] = backend, copy.deepcopy(vars(backend), {id(backend): backend})
    return environment, states


def _make_tables() -> None:
    """Replace the tables by empty ones."""
    dynamodb = client("dynamodb")
    for name, schema in (("titleholder", "Table"), ("titleholder-keys", "KeysTable")):
        with contextlib.suppress(ClientError):
            dynamodb.delete_table(TableName=name)
        dynamodb.create_table(TableName=name, **table_schema(schema))


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an HTTP caller sees."""

    status: int
    headers: Mapping[str, str]
    text: str

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Answer:
        headers = {name.lower(): value for name, value in result.get("headers", {}).items()}
        headers |= {name.lower(): values[0] for name, values in result.get("multiValueHeaders", {}).items()}
        return cls(result["statusCode"], headers, result["body"])

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def content_type(self) -> str:
        return self.headers["content-type"]

    @property
    def problem(self) -> str:
        """The problem's short name. AssertionError if the answer is not a problem document."""
        assert self.content_type == "application/problem+json", self
        assert self.json["status"] == self.status
        return str(self.json["type"]).removeprefix("urn:titleholder:problem:")

    @property
    def bad_fields(self) -> set[str]:
        return {error["field"] for error in self.json.get("errors", ())}


@cache
def client(service: str) -> Any:
    """A plain client, which answers from moto inside a sandbox. It is made once, because that takes long."""
    # The SDK would put its own name together for each call.
    config = Config(user_agent="sandbox")
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    endpoint = os.environ.get(ENGINE) if service == "dynamodb" else None
    made = boto3.client(service, region_name=REGION, endpoint_url=endpoint, config=config, **keys)
    made.meta.events.register("before-call.secrets-manager.GetSecretValue", _note_secret)
    made.meta.events.register("after-call.secrets-manager.GetSecretValue", _deny_missing_secret)
    return made


def _note_secret(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["secret"] = json.loads(params["body"])["SecretId"]


def _deny_missing_secret(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """A role names a secret with the end of its ARN, which a secret that does not exist has not: AWS denies access to it."""
    if "Error" in parsed and context["secret"] not in moto.backends.get_backend("secretsmanager")[ACCOUNT][REGION].secrets:
        parsed["Error"]["Code"] = "AccessDeniedException"


def _function(method: str, path: str) -> str:
    """The function behind a route."""
    if path.endswith("/refreshes"):
        return "start_refresh"
    if path.startswith("/batches"):
        return "batches"
    if method == "DELETE" and path.startswith("/accounts/"):
        return "erase_account"
    bare = path.partition("?")[0]
    if bare == "/reviews" or bare.endswith(("/timeline", "/comparison", "/review", "/review/decisions")):
        return "review"
    collects = bare == "/customers" or bare == "/sessions" or bare.startswith("/sessions/") or (method, bare) == ("GET", "/accounts")
    return "linking" if collects else "api"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _client_error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)
