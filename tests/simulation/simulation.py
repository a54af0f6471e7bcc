"""One simulated deployment: Stripe, AWS, our real functions, callers, and everything that goes wrong, all drawn from a seed."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from botocore.exceptions import ReadTimeoutError
from greenlet import getcurrent

from local.stripe_simulator.core import Simulator
from local.stripe_simulator.deliveries import Outgoing
from local.stripe_simulator.options import Options
from local.stripe_simulator.sdk import SimulatorHTTPClient
from tests.simulation import records
from tests.simulation.queues import FakeSQS, Message
from tests.simulation.records import Records
from tests.simulation.scheduler import Signal, VirtualScheduler
from tests.simulation.workflows import FakeStepFunctions, TaskError
from tests.support.fakes.dynamodb import FakeDynamoDB
from tests.support.fakes.errors import refused
from tests.support.fakes.event_bus import FakeEvents
from tests.support.fakes.kms import FakeKMS
from tests.support.fakes.s3 import FakeS3
from tests.support.fakes.secrets_manager import FakeSecrets
from tests.support.rights import DynamoDBRights, Noted
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import CLOCK_SKEW
from titleholder.errors import UnexpectedError
from titleholder.stripe_api import signatures

ROOT = Path(__file__).resolve().parents[2]
BEGIN = 1_800_000_000.0
DAY = 86_400.0
WEBHOOK_SECRET = "whsec_simulated"
API_KEY = "sk_test_simulated"
REFRESH_QUEUE, EVENTS_QUEUE = "https://queue/refresh", "https://queue/events"
CLAIM_LIMIT = 6
TIMEOUTS = {
    "api": 45.0,
    "start_refresh": 60.0,
    "receive_webhook": 25.0,
    "receive_event": 30.0,
    "fetch_owners": 60.0,
    "complete_verification": 30.0,
    "reconcile": 300.0,
    "erase_account": 45.0,
    "linking": 45.0,
    "batches": 30.0,
    "run_batch_step": 900.0,
}

ENVIRONMENT = {
    "POWERTOOLS_TRACE_DISABLED": "1",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "AWS_DEFAULT_REGION": "us-east-1",
    "STRIPE_MODE": "test",
    "TABLE_NAME": "table",
    "KEYS_TABLE_NAME": "keys",
    "VAULT_KEY_ID": "arn:aws:kms:us-east-1:000000000000:key/vault",
    "REFRESH_QUEUE_URL": REFRESH_QUEUE,
    "EVENTS_QUEUE_URL": EVENTS_QUEUE,
    "REFRESH_DEAD_LETTER_URL": REFRESH_QUEUE + "-dead",
    "EVENTS_DEAD_LETTER_URL": EVENTS_QUEUE + "-dead",
    "EVENT_BUS_NAME": "bus",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:verify-account",
    "BATCH_STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:verify-batch",
    "BATCH_BUCKET": "bucket",
    "STRIPE_API_KEY_SECRET_NAME": "api-key",
    "STRIPE_WEBHOOK_SECRET_NAME": "webhook-secret",
    "SETTLE_TIMEOUT_SECONDS": "900",
    "CLAIMS_PER_ACCOUNT_PER_DAY": str(CLAIM_LIMIT),
}


class Died(BaseException):
    """A Lambda environment that ended in the middle of its work."""


@dataclass
class Invocation:
    """One run of a function. `crash_at` is the number of an external call, and whether the end comes before it or after it."""

    function: str
    began: float
    skew: float
    crash_at: tuple[int, str] | None = None
    calls: int = 0
    records: Records = field(default_factory=Records)


@dataclass(frozen=True)
class Faults:
    """How likely each trouble is, for each external call or delivery."""

    crash: float = 0.0
    throttle: float = 0.0
    lost_answer: float = 0.0
    stripe: float = 0.0
    slow: float = 0.0
    duplicate_message: float = 0.0
    webhook: float = 0.0
    clock_skew: float = 0.0
    announcement: float = 0.0
    audit: float = 0.0


@dataclass
class Context:
    """What Powertools asks of Lambda's context object."""

    function_name: str
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:f"
    aws_request_id: str = "request"


class Simulation:
    """Call `link`, `verify`, `ask_refresh`, `change` at the times you like (`at`), then `run`, then look."""

    def __init__(self, seed: int, faults: Faults | None = None, options: Options | None = None, begin: float = BEGIN) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.faults = faults or Faults()
        # Of its own, so that what is drawn here changes no other draw of a seed.
        self.record_rng = random.Random(f"{seed}/record")
        self.stormy = True
        self.many: list[str] = []
        """Connected accounts of which each has lost an event."""
        self.broken: dict[str, str] = {}
        """Accounts and connected accounts that fail for good, and how."""
        self.call_seconds = (0.002, 0.05)
        self.scheduler = VirtualScheduler(begin)
        self.scheduler.kept = _kept_request
        self.injected: Counter[str] = Counter()
        self.called: Counter[str] = Counter()
        self.plan: dict[str, tuple[int, int, str]] = {}
        self.invocations: Counter[str] = Counter()
        self.calls_of: dict[str, list[int]] = {}
        self.odd = random.Random(f"{seed}/late")
        """Of its own, so that what is drawn by it changes no other draw of a seed."""
        self.asked_at: dict[tuple[str, str], float] = {}
        """When a refresh of an account was first asked for under an idempotency key, by Stripe's clock."""
        self.accepted: dict[str, str] = {}
        self.guesses: set[str] = set()
        self.guessed: set[str] = set()
        self.refreshes: list[Refresh] = []
        self.asking: Counter[str] = Counter()
        self.erased = 0
        self.poisoned: set[str] = set()
        self.batches: dict[str, str] = {}
        self.served: dict[str, Signal] = {}
        """By batch: a message of it is being served."""
        self.stopped: dict[str, float] = {}
        """When a batch was stopped."""
        self._written: set[tuple[str, str]] = set()
        self.violations: list[str] = []
        self.cancelled: set[str] = set()
        self.during_refresh: dict[str, Callable[[], None]] = {}
        """By account, what is done while the answer to its next refresh call is on its way. That answer takes three seconds."""
        self.environment: dict[str, str] = {}
        """Settings of the functions that differ from `ENVIRONMENT`; to be set before `inside`."""
        self.open: dict[str, dict[str, Mapping[str, Any]]] = {}
        """By account key, the verifications without a verdict, by id."""
        self.events: dict[str, int] = {}
        self.strays: dict[str, str] = {}
        self._running: dict[Any, Invocation] = {}
        self._refreshing: dict[str, Counter[str]] = {}
        stripe_skew = self.rng.uniform(-1, 1) * self.faults.clock_skew
        self.simulator = Simulator(lambda: self.scheduler.now + stripe_skew, seed, options or Options(retry_base_seconds=30))
        self.endpoints = [self.simulator.add_endpoint("https://hook", WEBHOOK_SECRET, scope=scope) for scope in ("platform", "connected")]
        self.dynamodb = FakeDynamoDB(self.cross)
        self.dynamodb.changed = self._changed
        self.dynamodb.refuses = self._refuses
        self.sqs = FakeSQS(self.scheduler, self.rng, self.cross)
        self.sqs.duplicates = self.faults.duplicate_message
        self.events_bus = FakeEvents(self.cross, lambda: self._draw("announcement refused", self.faults.announcement))
        secrets = FakeSecrets(self.cross, {"api-key": API_KEY, "webhook-secret": WEBHOOK_SECRET})
        self.s3 = FakeS3(self.cross)
        definitions = {
            ENVIRONMENT[f"{prefix}STATE_MACHINE_ARN"]: json.loads(
                (ROOT / "statemachines" / f"{name}.asl.json").read_text().replace("${RefreshQueueUrl}", REFRESH_QUEUE)
            )
            for prefix, name in (("", "verify_account"), ("BATCH_", "verify_batch"))
        }
        self.workflows = FakeStepFunctions(
            self.scheduler,
            self.rng,
            self.cross,
            definitions,
            self.sqs,
            self._task,
            lambda place: self.s3.lines(place.get("Key") or place["Prefix"]),
        )
        self.sqs.consumers = {
            REFRESH_QUEUE: lambda message: self._consume("start_refresh", message),
            EVENTS_QUEUE: lambda message: self._consume("fetch_owners", message),
        }
        self.clients = {
            "dynamodb": Noted(self.dynamodb, self._note), "sqs": self.sqs, "events": self.events_bus, "secretsmanager": secrets,
            "stepfunctions": self.workflows, "kms": FakeKMS(self.cross), "s3": self.s3,
        }  # fmt: skip
        self.rights = DynamoDBRights()
        self._moved = Signal()
        self.scheduler.spawn(self._postman)

    # -- what the outside does ---------------------------------------------------------------------------------------------------

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something `seconds` after the beginning."""
        self.scheduler.spawn(act, seconds)

    def verify(
        self,
        name: str,
        account: str,
        max_age: int = 30 * 86_400,
        stripe_account: str | None = None,
        claim: Mapping[str, Any] | None = None,
        key: str | None = None,
        *,
        patient: bool = True,
    ) -> None:
        """Be a back end that wants a verification, and asks again until it has been accepted. `key`: its Idempotency-Key, else `name`.

        One that is not `patient` asks once, whatever it is answered.
        """
        if claim == POISON:
            self.poisoned.add(name)
        body = {"account": account, "claim": {"name": "Margaret Testerman", **(claim or {})}, "max_age": max_age}
        self.guesses.add(guessed(f"test/{stripe_account or 'platform'}/{key or name}"))
        for attempt in range(60):
            status, answer = self._http("api", "POST", "/verifications", body, stripe_account, {"idempotency-key": key or name})
            if status in (200, 202):
                known = self.accepted.setdefault(name, answer["id"])
                if known != answer["id"]:
                    self.violations.append(f"{name}: two ids for one Idempotency-Key")
                return
            if status == 404 or not patient:
                return
            self.scheduler.sleep(min(600, 2**attempt))
        self.violations.append(f"{name}: never accepted")

    def pry(self, name: str, stripe_account: str | None) -> None:
        """Be the back end of another tenant, which knows the id of a verification that is not its own."""
        if (id_ := self.accepted.get(name)) is None:
            return
        for method in ("GET", "DELETE"):
            status, _ = self._http("api", method, f"/verifications/{id_}", None, stripe_account, {})
            self.injected[f"another tenant's {method}"] += 1
            if status < 400 or status == 409:
                self.violations.append(f"{name}: another tenant's {method} was answered {status}")

    def guess(self, account: str, key: str, names: Sequence[str]) -> None:
        """Be a back end that tries names, once."""
        claim = {"name": names[0], "aka": list(names[1:])}
        status, answer = self._http("api", "POST", "/verifications", {"account": account, "claim": claim}, None, {"idempotency-key": key})
        if status in (200, 202):
            self.accepted[key] = answer["id"]
            self.guessed.update(names)
        self.injected[f"guess answered {status}"] += 1

    def ask_refresh(self, account: str, max_age: int, stripe_account: str | None = None) -> None:
        """Be a back end that wants fresh owners, once."""
        self.asking[account] += 1
        self._http("start_refresh", "POST", f"/accounts/{account}/refreshes", {"max_age": max_age}, stripe_account, {})
        self.asking[account] -= 1

    def erase(self, account: str, stripe_account: str | None = None) -> None:
        """Be a back end that wants an account gone, and asks again until it is."""
        for attempt in range(60):
            status, answer = self._http("erase_account", "DELETE", f"/accounts/{account}", None, stripe_account, {})
            if status in (200, 404):
                self.erased += status == 200
                self.injected["erased before it was disconnected"] += status == 200 and not answer["disconnected"]
                self.stripe_moved()
                pk = f"ACCOUNT#test/{stripe_account or 'platform'}/{account}"
                left = [sk for key, sk in self.dynamodb.items if key == pk and sk.startswith(SEALED)]
                if status == 200 and (left or "wrapped_key" in self.dynamodb.keys.get((pk, ""), {})):
                    self.violations.append(f"{account}: answered as erased, and {left or 'its key'} is left")
                return
            if answer and answer["type"].rpartition(":")[2] in WAITS_FOR_STRIPE:
                self.violations.append(f"{account}: not erased, because Stripe could not be asked ({answer['type']})")
            self.scheduler.sleep(min(600, 2**attempt))
        self.violations.append(f"{account}: never erased")

    def read_account(self, account: str) -> None:
        """Be a back end that reads an account, once."""
        status, _ = self._http("api", "GET", f"/accounts/{account}", None, None, {})
        self.injected[f"reader answered {status}"] += 1

    def cancel(self, name: str) -> None:
        """Be a back end that no longer wants a verification."""
        if name in self.accepted:
            self.cancelled.add(name)
            status, _ = self._http("api", "DELETE", f"/verifications/{self.accepted[name]}", None, None, {})
            self.injected["verification cancelled"] += status == 200

    def look(self, account: str, stripe_account: str | None = None) -> None:
        """Be a back end that reads what there is about an account."""
        paths = [f"/accounts/{account}", f"/accounts/{account}/owners", f"/accounts/{account}/snapshots"]
        for path in (*paths, *(f"/verifications/{id_}" for id_ in self.accepted.values())):
            self._http("api", "GET", path, None, stripe_account, {})

    def have_linked(self, stripe_account: str | None = None) -> None:
        """Be a back end that has accounts linked, once."""
        status, customer = self._http("linking", "POST", "/customers", {"email": "someone@example.com"}, stripe_account, {})
        if status == 201:
            body = {"via": "financial_connections", "customer": customer["id"]}
            status, session = self._http("linking", "POST", "/sessions", body, stripe_account, {})
        if status == 201:
            self._http("linking", "GET", f"/sessions/{session['id']}", None, stripe_account, {})

    def deny_disconnecting(self, denied: bool = True) -> None:
        """Let Stripe answer 403 where an account is to be disconnected."""
        operations = frozenset({"POST /v1/financial_connections/accounts/{account}/disconnect"})
        self.injected["disconnecting denied"] += denied
        self.simulator.configure(denied={API_KEY: operations} if denied else {})

    def receive_stray(self, event: Mapping[str, Any], why: str, *, by_bus: bool = False) -> None:
        """Be Stripe with a genuine event that may have no effect, and deliver it until it is taken. `why` it has to be set aside."""
        self.strays[event["id"]] = why
        self.injected[f"event set aside: {why}"] += 1
        body = json.dumps(event)
        for attempt in range(60):
            if by_bus:
                answer = self._invoke("receive_event", {"source": "aws.partner/stripe.com/ed_1", "detail": json.loads(body)})
            else:
                headers = {"stripe-signature": signatures.sign(body.encode(), WEBHOOK_SECRET, int(self.scheduler.now))}
                answer = self._invoke("receive_webhook", http_event("POST", "/webhooks/stripe", headers, body))
            if answer is not None and answer.get("statusCode", 200) == 200:
                return
            if answer is not None:
                self.violations.append(f"{event['id']} ({why}): a genuine event was answered {answer['statusCode']}")
                return
            self.scheduler.sleep(min(600, 2**attempt))
        self.violations.append(f"{event['id']} ({why}): never taken")

    def batch(self, accounts: Sequence[str], max_age: int, stripe_account: str | None, stop_after: float | None) -> None:
        """Be a back end that has a batch verified, and stops it so long after its start. It asks again until all is done, as the docs say:
        starts anew what failed, and stops anew what was not ended by the stop.
        """
        key = f"batch-{len(self.batches)}-{'-'.join(accounts)}"
        self.batches[key] = ""
        body = {"format": "jsonl", "max_age": max_age, "scope": key}
        made = self._until((201,), "POST", "/batches", body, stripe_account)
        if made is None:
            return
        self.batches[key] = made["id"]
        lines = [{"account": account, "claim": {"name": "Margaret Testerman"}} for account in (*accounts, "ba_1")]
        self.s3.objects[f"manifests/{made['id']}"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        path = f"/batches/{made['id']}"
        self._until((202,), "POST", f"{path}/start", {}, stripe_account)
        if stop_after is not None:
            if stop_after < 0:
                # When the first of its messages is being served: between that and the refresh there are about ten calls.
                self.scheduler.wait(self.served.setdefault(made["id"], Signal()), 600)
            self.scheduler.sleep(abs(stop_after))
            self._until((200, 409), "DELETE", path, None, stripe_account)
        for _ in range(2000):
            shown = self._until((200,), "GET", path, None, stripe_account)
            if shown is None or shown["results"] or (shown["state"] == "stopped" and self.scheduler.now > BEGIN + ENDED_SECONDS):
                break
            if shown["state"] == "failed":
                self._until((202, 409), "POST", f"{path}/start", {}, stripe_account)
            elif shown["state"] == "stopped" and shown["failure"]:
                self._until((200,), "DELETE", path, None, stripe_account)
            self.scheduler.sleep(60 if shown["state"] != "stopped" else 300)
        else:
            self.violations.append(f"{key}: never done")

    def _until(self, wanted: tuple[int, ...], method: str, path: str, body: Any, stripe_account: str | None) -> Any:
        """What a route of batches answers, asked again until it answers as wanted; None if it never does."""
        for attempt in range(60):
            status, answer = self._http("batches", method, path, body, stripe_account, {})
            if status in wanted:
                return answer
            self.scheduler.sleep(min(600, 2**attempt))
        self.violations.append(f"{method} {path}: never answered as wanted")
        return None

    def reconcile(self) -> None:
        """Be the scheduler."""
        self._invoke("reconcile", {})

    def reconcile_every(self, seconds: float, times: int) -> None:
        for number in range(1, times + 1):
            self.scheduler.spawn(self.reconcile, number * seconds)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.scheduler.run(self.scheduler.now + seconds)

    @property
    def quiet(self) -> bool:
        """Whether nothing is on its way: no message, no execution, no delivery."""
        return not self.sqs.in_flight and all(execution.status != "RUNNING" for execution in self.workflows.executions.values())

    # -- our functions -----------------------------------------------------------------------------------------------------------

    def writers(self, size: int) -> Any:
        """What a batch's import writes with, in place of a pool of threads."""
        return OneByOne(size)

    def _http(
        self, function: str, method: str, path: str, body: Any, stripe_account: str | None, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        sent = {"content-type": "application/json", **headers, **({"stripe-account": stripe_account} if stripe_account else {})}
        answer = self._invoke(function, http_event(method, path, sent, json.dumps(body)))
        return (500, None) if answer is None else (answer["statusCode"], json.loads(answer["body"]))

    def _consume(self, function: str, message: Message) -> bool:
        if (stray := json.loads(message.body).get("event")) in self.strays:
            self.violations.append(f"{stray} ({self.strays[stray]}): an event that may have no effect was queued")
        record = {
            "messageId": message.id,
            "receiptHandle": message.id,
            "body": message.body,
            "attributes": {"ApproximateReceiveCount": str(message.receives)},
        }
        answer = self._invoke(function, {"Records": [record]})
        return answer is not None and not answer["batchItemFailures"]

    def _task(self, function: str, payload: Any) -> Any:
        """Run a function for a workflow, which names it by its ARN."""
        name = {"${VerifyOwnersArn}": "complete_verification", "${ImportManifestArn}": "run_batch_step"}[function]
        return self._attempt(name, payload)

    def _postman(self) -> None:
        """Carry Stripe's deliveries for as long as there is one."""
        while True:
            for outgoing in self.simulator.due_deliveries():
                self.scheduler.spawn(lambda outgoing=outgoing: self._deliver(outgoing), self.rng.expovariate(5))  # type: ignore[misc]
            due = self.simulator.next_due()
            skew = self.simulator.now() - self.scheduler.now
            self._moved = Signal()
            self.scheduler.wait(self._moved, DAY if due is None else max(0.01, due - skew - self.scheduler.now))

    def stripe_moved(self) -> None:
        """Something was done at Stripe that may have consequences."""
        self.scheduler.fire(self._moved)

    def _deliver(self, outgoing: Outgoing) -> None:
        headers = {name.lower(): value for name, value in outgoing.headers.items()}
        answer = self._invoke("receive_webhook", http_event("POST", "/webhooks/stripe", headers, outgoing.body.decode()))
        status = None if answer is None else answer["statusCode"]
        self.simulator.delivered(outgoing, status)
        self.stripe_moved()
        if status == 200:
            self.events[outgoing.event_id] = status

    def _invoke(self, function: str, event: Any) -> Any:
        """Run a function; None if it died or failed."""
        try:
            return self._attempt(function, event)
        except TaskError:
            return None

    def _attempt(self, function: str, event: Any) -> Any:
        """Run a function. Raises TaskError if it died or failed."""
        self.invocations[function] += 1
        planned = self.plan.get(function)
        invocation = Invocation(function, self.scheduler.now, self.rng.uniform(-0.5, 0.5) if self.faults.clock_skew else 0.0)
        if planned and planned[0] == self.invocations[function]:
            invocation.crash_at = planned[1:]
        me = getcurrent()
        self._running[me] = invocation
        try:
            answer = HANDLERS[function](event, Context(function))
            self._complain(records.missing_in_answer(invocation.records, event, answer))
            return answer
        except Died:
            raise TaskError("Lambda.Unknown") from None
        except Exception as error:
            # What was raised first, whatever it is told as.
            cause = error.__context__ if isinstance(error, UnexpectedError) else error
            if not isinstance(cause, TRANSIENT):
                self.violations.append(f"{function} raised {type(cause).__name__}: {error}")
            raise TaskError("Lambda.Unknown") from None
        finally:
            self.calls_of.setdefault(function, []).append(invocation.calls)
            del self._running[me]

    def _complain(self, wrong: str | None) -> None:
        self.violations += [] if wrong is None else [wrong]

    def _refuses(self, item: Mapping[str, Any]) -> bool:
        """Whether the table refuses an entry of the record just now."""
        odd = self.faults.audit and self.stormy and item["pk"]["S"].startswith("AUDIT#") and self.record_rng.random() < self.faults.audit
        self.injected["audit write refused"] += bool(odd)
        return bool(odd)

    def _note(self, operation: str, arguments: Mapping[str, Any]) -> None:
        if invocation := self._running.get(getcurrent()):
            self.rights.note(invocation.function, operation, arguments)

    def clock(self) -> float:
        """The time by the clock of whoever asks."""
        invocation = self._running.get(getcurrent())
        return self.scheduler.now + (invocation.skew if invocation else 0.0)

    # -- trouble -----------------------------------------------------------------------------------------------------------------

    def cross(self, operation: str, effect: Callable[[], Any]) -> Any:
        """An external call of one of our functions: time passes, and things may go wrong. AWS's own calls pass untouched."""
        invocation = self._running.get(getcurrent())
        if invocation is None:
            return effect()
        self._begin_call(invocation, operation)
        if self._draw("throttle", self.faults.throttle):
            raise refused(operation, "ThrottlingException")
        result = effect()
        self._see_whole()
        self._end_call(invocation)
        if self._draw("lost answer", self.faults.lost_answer):
            raise ReadTimeoutError(endpoint_url="https://aws")
        return result

    def stripe_call(self, method: str, path: str, headers: Mapping[str, str], call: Callable[[], Any]) -> Any:
        """A call to Stripe, on one of its ways wrong if so drawn."""
        invocation = self._running[getcurrent()]
        # As the function could have seen it right before the call.
        wanted = self._needs(path.split("/")[-2], headers.get("Stripe-Account")) if path.endswith("/refresh") else []
        self._begin_call(invocation, "Stripe")
        if self._draw("stripe", self.faults.stripe):
            kind = self.rng.choice(["rate_limit", "server_error", "conflict", "hang", "drop"])
            self.injected[f"stripe {kind}"] += 1
            effect, reason = self.rng.choice(["before", "after"]), self.rng.choice([None, "endpoint-rate"])
            if kind in ("hang", "drop") and path.endswith("/refresh") and self.odd.random() < 0.5:
                self.simulator.fail_api("late", seconds=self.odd.choice(LATE_SECONDS))
            else:
                self.simulator.fail_api(kind, effect=effect, reason=reason)
        self._complain(records.missing_at_stripe(invocation.records, method, path, headers.get("Stripe-Account")))
        if not path.endswith("/refresh"):
            try:
                return call()
            finally:
                self._end_call(invocation)
        account = path.split("/")[-2]
        before, needed = self._initiated(account), self._why_not(account, headers.get("Stripe-Account"), wanted)
        asked_at = self.simulator.now()
        idempotency_key = headers["Idempotency-Key"]
        if self.simulator.awaits(idempotency_key):
            needed = None  # What is executed now was asked for by an earlier call.
        calling = self._refreshing.setdefault(account, Counter())
        if set(calling) - {idempotency_key}:
            self.violations.append(f"{account}: two different refresh calls at once")
        calling[idempotency_key] += 1
        try:
            return call()
        finally:
            self.asked_at.setdefault((account, idempotency_key), asked_at)
            self.stripe_moved()  # One that is executed late is so whether anybody calls or not.
            calling[idempotency_key] -= 1
            if not calling[idempotency_key]:
                del calling[idempotency_key]
            if act := self.during_refresh.pop(account, None):
                self.scheduler.spawn(act, 1.2)
                self.scheduler.sleep(3.0)
            if self._initiated(account) > before:
                self.refreshes.append(Refresh(account, self.scheduler.now))
                self.violations += [f"{account}: {needed}"] if needed else []
            self._end_call(invocation)

    def _begin_call(self, invocation: Invocation, operation: str) -> None:
        invocation.calls += 1
        self.called[operation] += 1
        self._maybe_die(invocation, "before")
        pause = self.rng.uniform(*self.call_seconds)
        if self._draw("slow call", self.faults.slow):
            pause = self.rng.uniform(0.5, 20)
        self.scheduler.sleep(pause)
        if self.scheduler.now - invocation.began > TIMEOUTS[invocation.function]:
            self.injected["function time-out"] += 1
            raise Died

    def _end_call(self, invocation: Invocation) -> None:
        self._maybe_die(invocation, "after")

    def _maybe_die(self, invocation: Invocation, when: str) -> None:
        if invocation.crash_at == (invocation.calls, when) or self._draw(f"crash {when} a call", self.faults.crash):
            raise Died

    def _draw(self, kind: str, likelihood: float) -> bool:
        if not self.stormy or not likelihood or self.rng.random() >= likelihood:
            return False
        self.injected[kind] += 1
        return True

    # -- what must never happen --------------------------------------------------------------------------------------------------

    def _initiated(self, account: str) -> int:
        return self.simulator.initiated_refreshes().get(account, 0)

    def _needs(self, account: str, connected: str | None) -> list[tuple[float, int]]:
        """When the open verifications of an account were asked for, and their `max_age`; without those whose deadline has passed, and those
        of stopped batches.
        """
        needs = []
        for item in self.open.get(AccountRef(account, "test", connected).key, {}).values():
            if int(item["deadline_ms"]["N"]) / 1000 < self.scheduler.now - DEADLINE_BLINDNESS:
                continue
            stopped = self.stopped.get(item.get("batch", {}).get("S", ""))
            if stopped is None or self.scheduler.now - stopped < STOP_BLINDNESS:
                needs.append((int(item["requested_ms"]["N"]) / 1000, int(item["max_age"]["N"])))
        return needs

    def _why_not(self, account: str, connected: str | None, needs: Sequence[tuple[float, int]]) -> str | None:
        """What speaks against paying for a refresh now: that nobody needs one, or that what Stripe has would serve all who do."""
        now = self.simulator.now()
        (state,) = (state for state in self.simulator.states() if (state["id"], state["stripe_account"]) == (account, connected))
        done = [r for r in state["refreshes"] if r["status"] == "succeeded"]
        # A prefetch by somebody else may settle between our reading of the account and the call: nobody can see that in time.
        blind = any(r["via"] == "prefetch" and (r["settled"] or now) > now - PREFETCH_BLINDNESS for r in state["refreshes"])
        if self.asking[account] or blind:
            return None
        last = max((r["started"] for r in done), default=None)
        if not needs:
            return "a refresh was paid for that no verification needed"
        if self._too_many(account, connected):
            return "a refresh was paid for by a verification although the owners are known to be too many"
        if last is not None and all(last >= requested - max_age - 8 for requested, max_age in needs):
            return "a refresh was paid for although Stripe had data that was fresh enough"
        return None

    def paid_twice(self) -> Iterator[str]:
        """Refreshes that were paid for although one was enough: a second key was used before a call under the first one was executed."""
        for state in self.simulator.states():
            paid = [refresh for refresh in state["refreshes"] if refresh["via"] == "api" and refresh["feature"] == "ownership"]
            for late in paid:
                asked = self.asked_at[state["id"], late["idempotency_key"]]
                if late["started"] > asked + 1:
                    self.injected["refresh executed late"] += 1
                if any(asked < other["started"] < late["started"] for other in paid):
                    yield f"{state['id']}: a call was executed late, and another one was paid for meanwhile"

    def _check_verdict(self, item: Mapping[str, Any]) -> None:
        """A verdict rests on owners that are fresh enough, and no refresh of ours runs that was refused as it says."""
        verdict, requested = json.loads(item["verdict"]["S"]), int(item["requested_ms"]["N"]) / 1000
        ref = AccountRef.from_dict(_strings(item))
        try:
            state = self.simulator.state(ref.account, stripe_account=ref.stripe_account)
        except KeyError:
            return
        created = {snapshot["id"]: snapshot["created"] for snapshot in state["snapshots"]}
        oldest = requested - int(item["max_age"]["N"]) - CLOCK_SKEW - self.faults.clock_skew - 2
        if verdict["snapshot"] and created[verdict["snapshot"]] < oldest:
            self.violations.append(f"{item['pk']['S']}: its verdict rests on owners {oldest - created[verdict['snapshot']]:.0f} s too old")
        if verdict["reasons"] == ["OWNERSHIP_MISSING"]:
            self.injected["verdict: ownership missing"] += 1
        ends = [refresh["settled"] or self.simulator.now() for refresh in state["refreshes"] if refresh["via"] == "api"]
        if verdict["reasons"] == ["REFRESH_REFUSED"] and any(end > self.simulator.now() - 5 for end in ends):
            self.violations.append(f"{item['pk']['S']}: REFRESH_REFUSED while a refresh of ours runs")

    def _too_many(self, account: str, connected: str | None) -> bool:
        """Whether the stored account's newest snapshot is one of too many owners."""
        item = self.dynamodb.items.get((f"ACCOUNT#{AccountRef(account, 'test', connected).key}", "ACCOUNT"), {})
        return "N" in item.get("snapshot_too_many", {})

    def _see_whole(self) -> None:
        """After each call that wrote a snapshot: all of its parts are there, for the next reader may come at once."""
        while self._written:
            pk, head = self._written.pop()
            item = self.dynamodb.items.get((pk, head))
            found = sum(key[0] == pk and key[1].startswith(f"{head}#PART#") for key in self.dynamodb.items)
            if found != int(item["parts"]["N"] if item and "parts" in item else 0):
                self.violations.append(f"{pk}: {head} has {found} parts at one moment, which are not all")

    def _changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Watch every write: nothing newer is replaced by something older, no verdict changes."""
        pk, sk = after["pk"]["S"], after["sk"]["S"]
        if invocation := self._running.get(getcurrent()):
            if pk.startswith("AUDIT#"):
                invocation.records.note(after)
            self._complain(records.missing_in_table(invocation.records, before, after))
        if sk == "EVENT" and (stray := after["id"]["S"]) in self.strays:
            self.violations.append(f"{stray} ({self.strays[stray]}): an event that may have no effect was recorded as one that has")
        if sk.startswith("SNAPSHOT#"):
            self._written.add((pk, sk.partition("#PART#")[0]))
        if sk == "VERIFICATION" and "members" not in after:
            of_account = self.open.setdefault(AccountRef.from_dict(_strings(after)).key, {})
            if "verdict" in after:
                of_account.pop(after["verification"]["S"], None)
            else:
                of_account[after["verification"]["S"]] = after
        if sk.startswith("WAITER#") and before is None:
            verification = self.dynamodb.items.get((f"VERIFICATION#{sk.removeprefix('WAITER#')}", "VERIFICATION"), {})
            if signal := self.served.get(verification.get("batch", {}).get("S", "")):
                self.scheduler.fire(signal)
        if sk == "BATCH" and after["batch_state"]["S"] == "stopped":
            self.stopped.setdefault(after["batch"]["S"], self.scheduler.now)
        erased = "erased_ms" in after or "erased_ms" in self.dynamodb.keys.get((pk, ""), {})
        if erased and (sk.startswith(SEALED) or (sk == "ACCOUNT" and "snapshot" in after)):
            self.violations.append(f"{pk}: {sk} was written after the account was erased")
        if before is None:
            return
        if sk == "ACCOUNT" and "snapshot" in before and not erased and _place(after) < _place(before):
            self.violations.append(f"{after['account']['S']}: a newer snapshot was replaced by an older one")
        seen = [int(item["refresh_order"]["N"]) for item in (before, after) if "refresh_order" in item]
        if after["sk"]["S"] == "ACCOUNT" and seen != sorted(seen):
            self.violations.append(f"{after['account']['S']}: a newer observation was replaced by an older one")
        if "verdict" in after and "verdict" not in before:
            self._check_verdict(after)
        if "verdict" in before and before["verdict"] != after.get("verdict"):
            self.violations.append(f"{after['pk']['S']}: a verdict changed")
        if after["sk"]["S"].startswith("SNAPSHOT#") and before != after:
            self.violations.append(f"{after['sk']['S']}: a snapshot changed")


POISON = {"address": {"postal_code": "a9"}}
"""What a claim holds that makes the simulated matcher raise."""


def guessed(name: str) -> str:
    """The id that a stranger would try who knows what it is derived from, but no secret."""
    return f"ver_{sha256(name.encode()).hexdigest()[:32]}"


ENDED_SECONDS = 5 * 3600.0
"""When a back end no longer waits for the results of a batch that it stopped: it does not know whether anything was imported."""

STOP_BLINDNESS = 0.1
"""A stop within so many seconds before a call to Stripe comes too late for it."""

WAITS_FOR_STRIPE = (
    "stripe-credentials-refused", "stripe-refused", "stripe-rate-limited", "stripe-unavailable", "rate-limit-exceeded", "misconfigured",
)  # fmt: skip
SEALED = ("SNAPSHOT#", "HISTORY#", "CLAIM#", "DIGESTS")


def _strings(item: Mapping[str, Any]) -> dict[str, str]:
    """The attributes of an item that are text."""
    return {name: value["S"] for name, value in item.items() if "S" in value}


def _place(item: Mapping[str, Any]) -> tuple[int, int, str]:
    """The place of an account's newest snapshot in time."""
    return int(item["snapshot_attempted_at"]["N"]), int(item["snapshot_created"]["N"]), item["snapshot"]["S"]


@dataclass(frozen=True)
class Refresh:
    """A refresh that was paid for."""

    account: str
    at: float


PREFETCH_BLINDNESS = 340.0
DEADLINE_BLINDNESS = 25.0
"""How long a call may be on its way: a worker looks at the deadline right before it calls, by a clock that may differ."""

LATE_SECONDS = (5.0, 30.0, 100.0, 400.0)
"""How long after it was asked for a refresh is executed whose caller has given up."""
TRANSIENT: tuple[type[Exception], ...] = ()
HANDLERS: dict[str, Callable[[Any, Any], Any]] = {}
_CURRENT: list[Simulation] = []


class OneByOne:
    """In place of a pool of threads."""

    def __init__(self, size: int) -> None: ...

    def __enter__(self) -> OneByOne:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, act: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
        return [act(value) for value in values]


class SimulatedStripe(SimulatorHTTPClient):
    """The SDK's way to the simulation's Stripe."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation.simulator, timeout=8.0, sleep=simulation.scheduler.sleep)
        self._simulation = simulation

    def request(self, method: str, url: str, headers: Any = None, post_data: Any = None, *, _usage: Any = None) -> Any:
        path = url.split("?")[0].removeprefix("https://api.stripe.com")
        call = super().request
        return self._simulation.stripe_call(
            method.upper(), path, headers or {}, lambda: call(method, url, headers, post_data, _usage=_usage)
        )


def _kept_request() -> Callable[[], None]:
    """Keep the request that Powertools keeps for its class: functions of one process do not run at once in Lambda, but they do here."""
    from aws_lambda_powertools.event_handler.api_gateway import BaseRouter

    kept = {name: getattr(BaseRouter, name) for name in ("current_event", "lambda_context") if hasattr(BaseRouter, name)}

    def give_back() -> None:
        for name, value in kept.items():
            setattr(BaseRouter, name, value)

    return give_back


def http_event(method: str, path: str, headers: Mapping[str, str], body: str, *, encoded: bool = False) -> dict[str, Any]:
    """An event as an HTTP API sends it to a function (payload format 2.0)."""
    return {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": dict(headers),
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default", "requestId": "id"},
        "body": base64.b64encode(body.encode()).decode() if encoded else body,
        "isBase64Encoded": encoded,
    }


@contextmanager
def inside(simulation: Simulation) -> Iterator[Simulation]:
    """Have the functions live in this simulation."""
    from titleholder import bootstrap, matching, observability
    from titleholder.bootstrap import Application
    from titleholder.domain import snapshots
    from titleholder.settings import Settings

    limits = snapshots.PART_BYTES, snapshots.MAX_OWNERS
    decide, single_metric, level = matching.decide, observability.single_metric, observability.logger.log_level
    _load()
    drawn = random.Random(f"{simulation.seed} secrets")
    random.seed(simulation.seed)

    def fragile(claim: Mapping[str, Any], *more: Any) -> Any:
        """The matcher, with a fault that some claims meet."""
        if claim.get("address") == POISON["address"]:
            simulation.injected["matcher raised"] += 1
            raise IndexError("string index out of range")
        return decide(dict(claim), *more)

    try:
        matching.decide = fragile  # type: ignore[assignment]
        observability.single_metric = lambda **_: nullcontext()  # type: ignore[assignment]
        observability.logger.setLevel("CRITICAL")
        application = Application(
            Settings.from_environment({**ENVIRONMENT, **simulation.environment}),
            client=simulation.clients.__getitem__,
            stripe_http=lambda: SimulatedStripe(simulation),
            clock=simulation.clock,
            new_secret=lambda: drawn.randbytes(32),
            writers=simulation.writers,
        )
        bootstrap.use(application)
        yield simulation
    finally:
        matching.decide, observability.single_metric = decide, single_metric
        snapshots.PART_BYTES, snapshots.MAX_OWNERS = limits
        observability.logger.setLevel(level)
        bootstrap.use(None)


def _load() -> None:
    """Load the handlers once, as Lambda does: each by its own file."""
    global TRANSIENT
    if HANDLERS:
        return
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name.startswith("POWERTOOLS")})
    from botocore.exceptions import BotoCoreError, ClientError

    from titleholder import observability
    from titleholder.aws.event_publisher import AnnouncementRefusedError
    from titleholder.errors import StripeError

    # What is counted goes to standard output, and would fill it.
    observability.metrics.add_metric = observability.metrics.add_dimension = lambda **_: None  # type: ignore[method-assign,assignment]
    TRANSIENT = (BotoCoreError, ClientError, StripeError, AnnouncementRefusedError)
    sys.path.append(str(ROOT / "functions" / "start_refresh"))
    for folder in sorted(path.parent for path in (ROOT / "functions").glob("*/app.py")):
        spec = importlib.util.spec_from_file_location(f"simulated_{folder.name}", folder / "app.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        HANDLERS[folder.name] = module.handler
