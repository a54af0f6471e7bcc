"""The environment of a simulation: Stripe, AWS and the real functions, with faults that are drawn from a seed."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ReadTimeoutError
from greenlet import getcurrent

from local.stripe_simulator.core import Simulator
from local.stripe_simulator.deliveries import Outgoing
from local.stripe_simulator.options import Options
from tests.simulation import records, review_checks
from tests.simulation.deployment import (
    API_KEY,
    BEGIN,
    DAY,
    ENVIRONMENT,
    EVENTS_QUEUE,
    REFRESH_QUEUE,
    ROOT,
    TIMEOUTS,
    WEBHOOK_SECRET,
    queue_settings,
)
from tests.simulation.handlers import HANDLERS, TRANSIENT, Context, http_event
from tests.simulation.invariants import Invariants
from tests.simulation.limits import CallQuotas, Concurrency
from tests.simulation.queues import FakeSQS, Message, ThrottledError
from tests.simulation.records import Records
from tests.simulation.scheduler import Signal, VirtualScheduler
from tests.simulation.table_load import TableLoad
from tests.simulation.workflows import FakeStepFunctions, TaskError
from tests.support.fakes.dynamodb import FakeDynamoDB
from tests.support.fakes.errors import refused
from tests.support.fakes.event_bus import FakeEvents
from tests.support.fakes.kms import FakeKMS
from tests.support.fakes.s3 import FakeS3
from tests.support.fakes.secrets_manager import FakeSecrets
from tests.support.rights import DynamoDBRights, Noted
from titleholder.aws import queues
from titleholder.aws.queue_consumer import MOST_RECEIVES
from titleholder.errors import UnexpectedError

FOREIGN = "acct_foreign"
"""An account of the organization that is not connected to the platform."""

LATE_SECONDS = (5.0, 30.0, 100.0, 400.0)
"""How long after the request Stripe executes a refresh whose caller has given up."""


TABLE_OPERATIONS = frozenset({"GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "Query"})


class Died(BaseException):
    """A Lambda environment that ended in the middle of its work."""


@dataclass
class Invocation:
    """One run of a function. `crash_at` is the number of an external call, and whether the function dies before or after it.

    `message`: what it consumes, if that is a message of a queue. `throttled`: AWS throttled a call of it.
    """

    function: str
    began: float
    skew: float
    message: Message | None = None
    crash_at: tuple[int, str] | None = None
    calls: int = 0
    throttled: bool = False
    records: Records = field(default_factory=Records)


@dataclass(frozen=True)
class Faults:
    """The probability of each fault, for each external call or delivery."""

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


@dataclass(frozen=True)
class Refresh:
    """A refresh that was paid for."""

    account: str
    at: float


class OneByOne:
    """Runs one after the other, instead of a pool of threads."""

    def __init__(self, size: int) -> None: ...

    def __enter__(self) -> OneByOne:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, act: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
        return [act(value) for value in values]


class SimulatedStack:
    """Stripe, AWS and the functions, in virtual time and with faults; each simulation draws from its seed."""

    def __init__(self, seed: int, faults: Faults | None = None, options: Options | None = None, begin: float = BEGIN) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.faults = faults or Faults()
        # Of its own, so that what is drawn here changes no other draw of a seed.
        self.record_rng = random.Random(f"{seed}/record")
        self.streams: dict[Any, random.Random] = {}
        """By activity, what its faults are drawn from, so that they change no other draw of a seed."""
        self.stormy = True
        self.many: list[str] = []
        """Connected accounts that have each lost an event."""
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
        self.claimed: dict[str, Mapping[str, Any]] = {}
        """The claims of verifications, by id."""
        self.asked: dict[str, float] = {}
        """When each verification was first asked for, by its name."""
        self.most_hops = queues.MOST_HOPS
        """How often the functions put a message back into its queue; to be set before `inside`."""
        self.wait_seconds = 0
        """For how long the back ends have their calls for verifications wait."""
        self.guesses: set[str] = set()
        self.guessed: set[str] = set()
        self.refreshes: list[Refresh] = []
        self.asking: Counter[str] = Counter()
        self.erased = 0
        self.poisoned: set[str] = set()
        self.waiting: set[str] = set()
        """Verifications that are to wait until an inactive account is repaired."""
        self.repaired: dict[str, tuple[float, bool]] = {}
        """Accounts that were inactive and were repaired for good: when, and whether all events of it are lost."""
        self.closed: set[str] = set()
        """Accounts that nothing can repair."""
        self.patience = 60 * 4000.0
        """How long after the storm everything has to have ended, in seconds."""
        self.batches: dict[str, str] = {}
        self.served: dict[str, Signal] = {}
        """By batch: a message of it is being served."""
        self.violations: list[str] = []
        self.cancelled: set[str] = set()
        self.lost_claims: dict[str, float] = {}
        """Verifications whose claims have expired, and when."""
        self.decided: list[tuple[str, int, str, str]] = []
        """Decisions that were answered 200: the verification, the version that it was about, the decision and the reviewer."""
        self.reviewers: list[tuple[float, int]] = []
        """From when on how many reviewers are needed, in schedules in which that changes."""
        self.reviews_closed: dict[str, float] = {}
        """When the end of each review was stored, by its sort key."""
        self.statuses: dict[str, list[tuple[float, str]]] = {}
        """By the account's partition, the times and statuses with which it was stored; `erased` once its erasure had begun."""
        self.during_refresh: dict[str, Callable[[], None]] = {}
        """By account, what is done while the answer to its next refresh call is on its way. That answer takes three seconds."""
        self.environment: dict[str, str] = {}
        """Settings of the functions that differ from `ENVIRONMENT`; to be set before `inside`."""
        self.events: dict[str, int] = {}
        self.strays: dict[str, str] = {}
        """Genuine events that may have no effect, by id, and why."""
        self.strays_elsewhere: set[str] = set()
        """Those of them that only the consumer of the queue can recognise as events of another account of the organization."""
        self.current_invocations: dict[Any, Invocation] = {}
        self.invariants = Invariants(self)
        self._refreshing: dict[str, Counter[str]] = {}
        stripe_skew = self.rng.uniform(-1, 1) * self.faults.clock_skew
        self.simulator = Simulator(lambda: self.scheduler.now + stripe_skew, seed, options or Options(retry_base_seconds=30))
        self.simulator.configure(foreign=[FOREIGN])
        self.endpoints = [self.simulator.add_endpoint("https://hook", WEBHOOK_SECRET, scope=scope) for scope in ("platform", "connected")]
        self.dynamodb = FakeDynamoDB(self.cross)
        self.dynamodb.changed = self.changed
        self.dynamodb.refuses = self._refuses
        self.sqs = FakeSQS(self.scheduler, self.rng, self.cross, queue_settings())
        self.table_load: TableLoad | None = None
        self._jitter_rng = random.Random(f"{seed}-aws/jitter")
        self.sqs.duplicates = self.faults.duplicate_message
        self.sqs.chain, self.sqs.lost, self.sqs.given_up = self._chain, self._lost, self._given_up
        self.concurrency, self.call_quotas = Concurrency(), CallQuotas()
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
            self._throttle_workflows,
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

    # -- our functions -----------------------------------------------------------------------------------------------------------

    def writers(self, size: int) -> Any:
        """The executor of a batch's import, instead of a pool of threads."""
        return OneByOne(size)

    def _http(
        self,
        function: str,
        method: str,
        path: str,
        body: Any,
        stripe_account: str | None,
        headers: Mapping[str, str],
        subject: str | None = None,
    ) -> tuple[int, Any]:
        sent = {"content-type": "application/json", **headers, **({"stripe-account": stripe_account} if stripe_account else {})}
        try:
            answer = self._invoke(function, http_event(method, path, sent, json.dumps(body), subject=subject))
        except ThrottledError:
            return 503, None
        if answer is None:
            return 500, None
        shown = json.loads(answer["body"])
        if answer["statusCode"] == 500 and str(shown.get("type")).endswith(":internal-error"):
            self.violations.append(f"{method} {path}: answered 500, though AWS only throttled a call or did not answer")
        return answer["statusCode"], shown

    def _consume(self, function: str, message: Message) -> bool:
        if (stray := json.loads(message.body).get("event")) in self.strays and stray not in self.strays_elsewhere:
            self.violations.append(f"{stray} ({self.strays[stray]}): an event that may have no effect was queued")
        record = {
            "messageId": message.id,
            "receiptHandle": message.id,
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": str(message.receives),
                "ApproximateFirstReceiveTimestamp": str(int(message.first_received * 1000)),
            },
        }
        answer = self._invoke(function, {"Records": [record]}, message)
        if answer is not None and not answer["batchItemFailures"]:
            return True
        message.failures += 1
        return False

    def _task(self, function: str, payload: Any) -> Any:
        """Run a function for a workflow, which names it by its ARN."""
        name = {"${VerifyOwnersArn}": "complete_verification", "${ImportManifestArn}": "run_batch_step"}[function]
        try:
            return self._attempt(name, payload)
        except ThrottledError:
            raise TaskError("Lambda.TooManyRequestsException") from None

    def _asynchronously(self, function: str, event: Any) -> Any:
        """Have Lambda run a function from its own queue: while it is throttled, it is tried again for six hours."""
        pause, end = 1.0, self.scheduler.now + 6 * 3600
        while self.scheduler.now < end:
            try:
                return self._invoke(function, event)
            except ThrottledError:
                self.scheduler.sleep(pause)
            pause = min(300.0, 2 * pause)
        return None

    def use_endpoints(self, *endpoints: tuple[str, str], through_platform: bool = False) -> None:
        """Have Stripe deliver to these endpoints alone, each of a scope and a kind of event."""
        for endpoint in self.endpoints:
            self.simulator.remove_endpoint(endpoint)
        self.endpoints = [
            self.simulator.add_endpoint("https://hook", WEBHOOK_SECRET, scope=scope, payload=payload, through_platform=through_platform)
            for scope, payload in endpoints
        ]

    def _postman(self) -> None:
        """Deliver Stripe's webhooks while there are any."""
        while True:
            for outgoing in self.simulator.due_deliveries():
                self.scheduler.spawn(lambda outgoing=outgoing: self._deliver(outgoing), self.rng.expovariate(5))  # type: ignore[misc]
            due = self.simulator.next_due()
            skew = self.simulator.now() - self.scheduler.now
            self._moved = Signal()
            self.scheduler.wait(self._moved, DAY if due is None else max(0.01, due - skew - self.scheduler.now))

    def stripe_moved(self) -> None:
        """Called after a change at Stripe that may cause deliveries."""
        self.scheduler.fire(self._moved)

    def _deliver(self, outgoing: Outgoing) -> None:
        headers = {name.lower(): value for name, value in outgoing.headers.items()}
        try:
            answer = self._invoke("receive_webhook", http_event("POST", "/webhooks/stripe", headers, outgoing.body.decode()))
            status = None if answer is None else answer["statusCode"]
        except ThrottledError:
            status = 503
        self.simulator.delivered(outgoing, status)
        self.stripe_moved()
        if status == 200:
            self.events[outgoing.event_id] = status

    def _invoke(self, function: str, event: Any, message: Message | None = None) -> Any:
        """Run a function; None if it died or failed. Raises ThrottledError if Lambda did not run it."""
        try:
            return self._attempt(function, event, message)
        except TaskError:
            return None

    def _attempt(self, function: str, event: Any, message: Message | None = None) -> Any:
        """Run a function. Raises TaskError if it died or failed, ThrottledError if Lambda did not run it."""
        if not self.concurrency.begin(function):
            self.injected["invocation throttled"] += 1
            raise ThrottledError(function)
        self.invocations[function] += 1
        planned = self.plan.get(function)
        invocation = Invocation(function, self.scheduler.now, self._stream().uniform(-0.5, 0.5) if self.faults.clock_skew else 0.0, message)
        if planned and planned[0] == self.invocations[function]:
            invocation.crash_at = planned[1:]
        me = getcurrent()
        self.current_invocations[me] = invocation
        try:
            answer = HANDLERS[function](event, Context(function))
            self.complain(records.missing_in_answer(invocation.records, event, answer))
            self.complain(review_checks.unrecorded(self, event, answer))
            return answer
        except Died:
            raise TaskError("Lambda.Unknown") from None
        except Exception as error:
            # The exception that was raised first, even if it was translated to another one.
            cause = error.__context__ if isinstance(error, UnexpectedError) else error
            if not isinstance(cause, TRANSIENT) or "TransactionCanceledException" in str(cause):
                self.violations.append(f"{function} raised {type(cause).__name__}: {error}")
            raise TaskError("Lambda.Unknown") from None
        finally:
            self.concurrency.end(function)
            if message is not None:
                message.kept_back += invocation.throttled
            self.calls_of.setdefault(function, []).append(invocation.calls)
            del self.current_invocations[me]

    def changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Called after an item of the table was written."""
        self.invariants.changed(before, after)

    def complain(self, wrong: str | None) -> None:
        self.violations += [] if wrong is None else [wrong]

    def _refuses(self, item: Mapping[str, Any]) -> bool:
        """Whether the table refuses audit entries at the moment."""
        odd = self.faults.audit and self.stormy and item["pk"]["S"].startswith("AUDIT#")
        odd = odd and self.streams.get(getcurrent(), self.record_rng).random() < self.faults.audit
        self.injected["audit write refused"] += bool(odd)
        return bool(odd)

    def _note(self, operation: str, arguments: Mapping[str, Any]) -> None:
        if invocation := self.current_invocations.get(getcurrent()):
            self.rights.note(invocation.function, operation, arguments)

    def busy(self, load: TableLoad) -> None:
        """Let the table be as busy as that until the storm is over."""
        self.table_load = self.dynamodb.load = load

    def time_left(self) -> float:
        """How many seconds the function has that asks."""
        invocation = self.current_invocations.get(getcurrent())
        return TIMEOUTS[invocation.function] - (self.scheduler.now - invocation.began) if invocation else 10**9

    def jitter(self) -> float:
        return self._jitter_rng.random()

    def clock(self) -> float:
        """The time by the clock of the activity that asks."""
        invocation = self.current_invocations.get(getcurrent())
        return self.scheduler.now + (invocation.skew if invocation else 0.0)

    def _chain(self) -> Mapping[str, int]:
        """How often each function ran in the chain of messages that led to the present call, which Lambda counts in their trace headers."""
        invocation = self.current_invocations.get(getcurrent())
        if invocation is None or invocation.message is None:
            return {}
        before = invocation.message.chain
        return {**before, invocation.function: before.get(invocation.function, 0) + 1}

    def _lost(self, why: str, message: Message) -> None:
        """Called with a message that became a dead letter without its consumer having given it up."""
        self.injected[f"dead letter: {why}"] += 1
        if why == "recursive chain stopped" or message.throttled > message.failures:
            self.violations.append(f"a message became a dead letter, because of AWS alone: {why}: {message.body}")

    def _given_up(self, reason: str) -> None:
        """Called when a consumer sends its message to the dead-letter queue."""
        invocation = self.current_invocations.get(getcurrent())
        if invocation is not None and (message := invocation.message) is not None:
            self.injected["dead letter: given up"] += 1
            # A call that was throttled beside a refusal of Stripe did not keep the message back.
            kept_back = invocation.throttled and not reason.startswith("Stripe")
            if 0 < message.kept_back + kept_back == message.failures + 1:
                self.violations.append(f"a message was given up, though nothing but throttled calls kept it back: {message.body}")
            # Two deliveries during throttling of Lambda take no longer than failures may.
            if message.throttled and message.failures + 1 < MOST_RECEIVES - 2:
                self.violations.append(f"a message was given up after {message.failures + 1} failures, because Lambda was throttled")

    # -- trouble -----------------------------------------------------------------------------------------------------------------

    def cross(self, operation: str, effect: Callable[[], Any]) -> Any:
        """Make an external call of one of our functions: time passes, and faults may occur. AWS's own calls have none."""
        invocation = self.current_invocations.get(getcurrent())
        if invocation is None:
            return effect()
        self._begin_call(invocation, operation)
        if self._draw("call refused", self.faults.throttle):
            invocation.throttled = True
            # For good: what the functions repeat by themselves is drawn by `table_load`.
            raise refused(operation, "InternalServerError" if operation in TABLE_OPERATIONS else "ThrottlingException")
        result = effect()
        if operation in TABLE_OPERATIONS and self.table_load and self.table_load.repeats():
            result = effect()
        self.invariants.see_whole()
        self._end_call(invocation)
        if self._draw("lost answer", self.faults.lost_answer):
            raise ReadTimeoutError(endpoint_url="https://aws")
        return result

    def _throttle_workflows(self, operation: str) -> None:
        """Refuse a call by one of our functions if the quota of Step Functions is used up."""
        invocation = self.current_invocations.get(getcurrent())
        if invocation is not None and not self.call_quotas.take(operation, self.scheduler.now):
            self.injected[f"throttled {operation}"] += 1
            invocation.throttled = True
            raise refused(operation, "ThrottlingException")

    def stripe_call(self, method: str, path: str, headers: Mapping[str, str], call: Callable[[], Any]) -> Any:
        """Make a call to Stripe, with a fault if one is drawn."""
        invocation = self.current_invocations[getcurrent()]
        connected = connected_account(headers)
        self.complain(f"{path}: a call about another account of the organization" if connected == FOREIGN else None)
        # As the function could have seen it right before the call.
        wanted = self.invariants.needs(path.split("/")[-2], connected) if path.endswith("/refresh") else []
        self._begin_call(invocation, "Stripe")
        if self._draw("stripe", self.faults.stripe):
            kind = self.rng.choice(["rate_limit", "server_error", "conflict", "hang", "drop"])
            self.injected[f"stripe {kind}"] += 1
            effect, reason = self.rng.choice(["before", "after"]), self.rng.choice([None, "endpoint-rate"])
            if kind in ("hang", "drop") and path.endswith("/refresh") and self.odd.random() < 0.5:
                self.simulator.fail_api("late", seconds=self.odd.choice(LATE_SECONDS))
            else:
                self.simulator.fail_api(kind, effect=effect, reason=reason)
        self.complain(records.missing_at_stripe(invocation.records, method, path, connected))
        if not path.endswith("/refresh"):
            try:
                return call()
            finally:
                self._end_call(invocation)
        account = path.split("/")[-2]
        before, needed = self.invariants.initiated(account), self.invariants.why_not(account, connected, wanted)
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
            self.stripe_moved()  # Stripe executes a late refresh without a further call.
            calling[idempotency_key] -= 1
            if not calling[idempotency_key]:
                del calling[idempotency_key]
            if act := self.during_refresh.pop(account, None):
                self.scheduler.spawn(act, 1.2)
                self.scheduler.sleep(3.0)
            if self.invariants.initiated(account) > before:
                self.refreshes.append(Refresh(account, self.scheduler.now))
                self.violations += [f"{account}: {needed}"] if needed else []
            self._end_call(invocation)

    def _begin_call(self, invocation: Invocation, operation: str) -> None:
        invocation.calls += 1
        self.called[operation] += 1
        self._maybe_die(invocation, "before")
        pause = self._stream().uniform(*self.call_seconds)
        if self._draw("slow call", self.faults.slow):
            pause = self._stream().uniform(0.5, 20)
        self.scheduler.sleep(pause)
        if self.scheduler.now - invocation.began > TIMEOUTS[invocation.function]:
            self.injected["function time-out"] += 1
            raise Died

    def _end_call(self, invocation: Invocation) -> None:
        self._maybe_die(invocation, "after")

    def _maybe_die(self, invocation: Invocation, when: str) -> None:
        if invocation.crash_at == (invocation.calls, when) or self._draw(f"crash {when} a call", self.faults.crash):
            raise Died

    def _stream(self) -> random.Random:
        return self.streams.get(getcurrent(), self.rng)

    def _draw(self, kind: str, likelihood: float) -> bool:
        if not self.stormy or not likelihood or self._stream().random() >= likelihood:
            return False
        self.injected[kind] += 1
        return True


def connected_account(headers: Mapping[str, str]) -> str | None:
    """The connected account that a call to Stripe is about."""
    return (headers.get("Stripe-Context") or headers.get("Stripe-Account") or "").rpartition("/")[2] or None


def _kept_request() -> Callable[[], None]:
    """Keep the request that Powertools stores on its class, because here, unlike in Lambda, functions of one process run concurrently."""
    from aws_lambda_powertools.event_handler.api_gateway import BaseRouter

    kept = {name: getattr(BaseRouter, name) for name in ("current_event", "lambda_context") if hasattr(BaseRouter, name)}

    def give_back() -> None:
        for name, value in kept.items():
            setattr(BaseRouter, name, value)

    return give_back
