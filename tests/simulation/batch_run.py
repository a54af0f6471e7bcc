"""Runs a batch of any size in virtual time: the real handlers and workflows at Stripe's rate, without faults, and measures it."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from greenlet import getcurrent

from local.stripe_simulator.options import Options
from tests.simulation.application import inside
from tests.simulation.deployment import BEGIN, EVENTS_QUEUE, REFRESH_QUEUE, WEBHOOK_SECRET
from tests.simulation.queues import Message
from tests.simulation.scheduler import Signal
from tests.simulation.simulated_stack import Invocation, Refresh
from tests.simulation.simulation import Simulation
from tests.simulation.workflows import TaskError
from tests.support.fakes.capacity import UNITS_A_SECOND, WriteCapacity

CONSUMERS = {REFRESH_QUEUE: 30, EVENTS_QUEUE: 20}
"""As the template's event source mappings have it (MaximumConcurrency)."""

WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems")
LAMBDA_GB = 0.5
CPU_SECONDS = 0.02
"""The processor time of one invocation (seconds): a guess, small beside its waits."""

AWS_SECONDS = (0.003, 0.012)
WAY_SECONDS = (0.02, 0.06)
"""How long a call is on its way to Stripe; its limits count what has arrived."""

STRIPE_SECONDS = (0.08, 0.34)
"""How long its answer takes then."""

SLICE_SECONDS = 10.0
BEGIN_SECONDS = 5.0
SINGLES = 10
LONGEST_SECONDS = 40 * 86_400.0


@dataclass(frozen=True)
class BatchRun:
    """What a batch of `accounts` took, in virtual seconds.

    `singles`: from the request to the verdict, of those asked meanwhile. `units`: what AWS would be paid for, by the names of
    `tests/benchmarks/prices.json`. `calls`: to Stripe, by operation.
    """

    accounts: int
    rate: float
    settle_seconds: float
    seconds: float
    import_seconds: float
    done: Mapping[str, int]
    lost: int
    paid_twice: int
    transitions: int
    passes: int
    most_open: int
    wait_of_batch: float
    singles: tuple[float, ...]
    units: Mapping[str, float]
    calls: Mapping[str, int]
    peaks: Mapping[str, int]
    refused: int
    invocations: Mapping[str, int]
    violations: tuple[str, ...]

    @property
    def bound(self) -> float:
        """Accounts divided by the rate: the shortest possible time."""
        return self.accounts / self.rate


class BatchSimulation(Simulation):
    """A simulation in which one batch runs without faults."""

    def __init__(self, accounts: int, options: Options, seed: int = 0, cooling: int = 0, singles: int = SINGLES) -> None:
        self.units: dict[str, float] = defaultdict(float)
        self.lambda_seconds = 0.0
        super().__init__(seed, options=options)
        self.sqs.concurrency = dict(CONSUMERS)
        self.accounts = [f"fca_batch{number}" for number in range(accounts)]
        # The back end heard of the accounts when they were linked, which is not part of this.
        for endpoint in self.endpoints:
            self.simulator.remove_endpoint(endpoint)
        for number, account in enumerate([*self.accounts, *(f"fca_single{number}" for number in range(singles))]):
            self.simulator.link(
                "cooling_down" if number < cooling else "single_owner", id=account, customer=f"cus_{number}",
                policy={"cooldown_seconds": options.cooldown_seconds},
            )  # fmt: skip
        self.simulator.add_endpoint("https://hook", WEBHOOK_SECRET)
        self.id = ""

    def begin(self) -> None:
        """Upload and start the batch."""
        _, answer = self._http("batches", "POST", "/batches", {"format": "jsonl"}, None, {})
        self.id = answer["id"]
        self.s3.objects[f"manifests/{self.id}"] = b"".join(
            json.dumps({"account": account, "claim": {"name": "Margaret Testerman"}}).encode() + b"\n" for account in self.accounts
        )
        status, answer = self._http("batches", "POST", f"/batches/{self.id}/start", {}, None, {})
        if status != 202:
            raise RuntimeError(f"the batch did not start: {answer or self.violations}")

    @property
    def running(self) -> bool:
        return not self.id or self.workflows.executions[f"{self.id}-1"].status == "RUNNING"

    @property
    def finished(self) -> int:
        """The number of children that have ended with a verdict, without those that left the Map for a cooldown."""
        return sum(child.output is not None and "outcome" in child.output for child in self.workflows.children.get("Verify", ()))

    def cross(self, operation: str, effect: Callable[[], Any]) -> Any:
        """Make an external call, and count its price."""

        def priced() -> Any:
            written = self.units["dynamodb_write_unit"]
            try:
                result = effect()
            except ClientError:
                self._write(1)
                raise
            if operation in WRITES:
                # `changed` is not called for deletes and for the table of keys. Transactions count double, and so do their checks.
                self._write(max(1, self.units["dynamodb_write_unit"] - written + 2) if operation.startswith("Transact") else 0)
                self._write(self.units["dynamodb_write_unit"] == written)
            self._count(operation, result)
            return result

        return super().cross(operation, priced)

    def _count(self, operation: str, result: Any) -> None:
        if operation in ("GetItem", "Query"):
            self.units["dynamodb_read_unit"] += 1
        elif operation == "BatchGetItem":
            self.units["dynamodb_read_unit"] += sum(map(len, result["Responses"].values()))
        elif operation == "SendMessage":
            # Sent, received, deleted.
            self.units["sqs_request"] += 3
        elif operation in ("GenerateDataKey", "Decrypt"):
            self.units["kms_request"] += 1
        elif operation == "PutEvents":
            self.units["eventbridge_event"] += 1

    def _write(self, units: float) -> None:
        self.units["dynamodb_write_unit"] += units

    def changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        super().changed(before, after)
        self._write(math.ceil(max(_size(before or {}), _size(after)) / 1024))
        if (before or {}).get("open_kind") != after.get("open_kind"):
            self._write(1)

    def _attempt(self, function: str, event: Any, message: Message | None = None) -> Any:
        began = self.scheduler.now
        try:
            return super()._attempt(function, event, message)
        finally:
            self.lambda_seconds += self.scheduler.now - began + CPU_SECONDS

    def stripe_call(self, method: str, path: str, headers: Mapping[str, str], call: Callable[[], Any]) -> Any:
        """Make a call to Stripe. Paid refreshes are checked at the end, not at each call for every account."""
        invocation = self.current_invocations[getcurrent()]
        self._begin_call(invocation, "Stripe")
        answer = call()
        if method == "POST":
            self.refreshes.append(Refresh(path.split("/")[-2], self.scheduler.now))
            self.stripe_moved()
        self.scheduler.sleep(self.rng.uniform(*STRIPE_SECONDS))
        return answer

    def _begin_call(self, invocation: Invocation, operation: str) -> None:
        invocation.calls += 1
        self.called[f"{invocation.function} {operation}"] += 1
        self.scheduler.sleep(self.rng.uniform(*(WAY_SECONDS if operation == "Stripe" else AWS_SECONDS)))

    def writers(self, size: int) -> Any:
        """As many activities of one invocation, instead of a pool of threads."""
        simulation = self

        class Writers:
            def __init__(self, size: int) -> None:
                self._size = size

            def __enter__(self) -> Writers:
                return self

            def __exit__(self, *_: object) -> None: ...

            def map(self, act: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
                todo = list(values)
                results: list[Any] = [None] * len(todo)
                errors: list[BaseException] = []
                left, ended, working = iter(range(len(todo))), Signal(), [self._size]
                invocation = simulation.current_invocations[getcurrent()]

                def work() -> None:
                    simulation.current_invocations[getcurrent()] = invocation
                    try:
                        for number in left:
                            results[number] = act(todo[number])
                    except Exception as error:
                        errors.append(error)
                    finally:
                        del simulation.current_invocations[getcurrent()]
                        working[0] -= 1
                        if not working[0]:
                            simulation.scheduler.fire(ended)

                for _ in range(self._size):
                    simulation.scheduler.spawn(work)
                simulation.scheduler.wait(ended, 10**9)
                if errors:
                    raise errors[0]
                return results

        return Writers(size)


@dataclass(frozen=True)
class ImportRun:
    """What an import of `lines` took, in virtual seconds, where the table takes `units` a second.

    `lost`: lines without a verification. `failed`: tries of ranges that failed. `throttled`: throttled tries, by operation. `units_a_line`:
    write units. `hottest`: of one partition key, in all.
    """

    lines: int
    units: float
    seconds: float
    lost: int
    failed: int
    throttled: Mapping[str, int]
    units_a_line: float
    hottest: int
    largest_item: int
    violations: tuple[str, ...]


def run_import(lines: int, units: float = UNITS_A_SECOND, partitions: int | None = None) -> ImportRun:
    """Import a batch of `lines`, and end when its verifications begin."""
    simulation = BatchSimulation(lines, Options(), singles=0)
    load = simulation.dynamodb.load = WriteCapacity(units, lambda: simulation.scheduler.now, simulation.scheduler.sleep, partitions)
    failures = 0
    attempt = simulation._attempt

    def counted(function: str, *arguments: Any) -> Any:
        nonlocal failures
        try:
            return attempt(function, *arguments)
        except TaskError:
            failures += function == "run_batch_step"
            raise

    simulation._attempt = counted  # type: ignore[method-assign, assignment]
    with inside(simulation):
        simulation.at(BEGIN_SECONDS, simulation.begin)
        items = simulation.dynamodb.items
        while simulation.running and "imported_ms" not in items.get((f"BATCH#{simulation.id}", "BATCH"), {}):
            simulation.run(1.0)
        batch = {name: _plain(value) for name, value in items[f"BATCH#{simulation.id}", "BATCH"].items()}
    made = sum(sk == "VERIFICATION" for _, sk in items)
    return ImportRun(
        lines=lines,
        units=units,
        seconds=(int(batch.get("imported_ms", 0)) - int(batch["started_ms"])) / 1000,
        lost=lines - made,
        failed=failures,
        throttled=dict(load.throttled),
        units_a_line=load.written.total() / lines,
        hottest=max(load.written.values()),
        largest_item=max(_size(item) for (pk, sk), item in items.items() if sk.startswith(("VERIFICATION", "CLAIM#", "DIGESTS"))),
        violations=tuple(simulation.violations),
    )


def run_batch(
    accounts: int,
    *,
    settle_seconds: float = 30.0,
    rate: float = 25.0,
    rate_limit: int | None = None,
    cooling: int = 0,
    cooldown_seconds: float = 600.0,
    singles: int = SINGLES,
    shown: Callable[[int, float], None] = lambda finished, seconds: None,
) -> BatchRun:
    """Run a batch of `accounts`, of which `cooling` are in cooldown, to its end. Meanwhile `singles` accounts are verified one by one.

    `rate_limit`: more calls of an operation within any one second are answered 429, if anything is.
    `shown(finished, seconds)` is called from time to time with the progress.
    """
    simulation = BatchSimulation(
        accounts,
        Options(settle_seconds=settle_seconds, cooldown_seconds=cooldown_seconds, rate_limit=rate_limit),
        cooling=cooling,
        singles=singles,
    )
    with inside(simulation):
        # A failure of the very second would be an answer to who asks then.
        simulation.at(BEGIN_SECONDS, simulation.begin)
        spread = accounts / rate / (singles + 1)
        for number in range(singles):
            simulation.at(BEGIN_SECONDS + spread * (number + 1), partial(simulation.verify, f"single-{number}", f"fca_single{number}"))
        while simulation.running and simulation.scheduler.now - BEGIN < LONGEST_SECONDS:
            simulation.run(SLICE_SECONDS)
            shown(simulation.finished, simulation.scheduler.now - BEGIN)
        while len(simulation.accepted) < singles or not simulation.quiet:
            simulation.run(SLICE_SECONDS)
        return _batch_run(simulation, rate, settle_seconds)


def _batch_run(simulation: BatchSimulation, rate: float, settle_seconds: float) -> BatchRun:
    items = simulation.dynamodb.items
    batch = {name: _plain(value) for name, value in items[f"BATCH#{simulation.id}", "BATCH"].items()}
    verifications = {pk.removeprefix("VERIFICATION#"): item for (pk, sk), item in items.items() if sk == "VERIFICATION"}
    took = {
        id_: (int(item["completed_ms"]["N"]) - int(item["requested_ms"]["N"])) / 1000
        for id_, item in verifications.items()
        if "completed_ms" in item
    }
    single = set(simulation.accepted.values())
    outcomes = Counter(json.loads(item["verdict"]["S"])["outcome"] for id_, item in verifications.items() if id_ in took.keys() - single)
    results = simulation.s3.lines(f"batches/{simulation.id}/results.jsonl")
    seen = {row["account"] for row in results if row["outcome"] is not None}
    paid = Counter(refresh.account for refresh in simulation.refreshes)
    initiated = simulation.simulator.initiated_refreshes()
    children = simulation.workflows.children["Verify"]
    counted = simulation.simulator.request_counts()
    begun = int(batch["started_ms"]) / 1000
    units = {
        **simulation.units,
        "step_functions_transition": sum(child.transitions for child in children),
        "lambda_request": simulation.invocations.total(),
        "lambda_gb_second_arm64": simulation.lambda_seconds * LAMBDA_GB,
    }
    return BatchRun(
        accounts=len(simulation.accounts),
        rate=rate,
        settle_seconds=settle_seconds,
        seconds=int(batch["completed_ms"]) / 1000 - begun,
        import_seconds=int(batch["imported_ms"]) / 1000 - begun,
        done=dict(outcomes),
        lost=len(set(simulation.accounts) - seen),
        paid_twice=sum(count > 1 for count in initiated.values()) + sum(count > 1 and initiated[each] > 1 for each, count in paid.items()),
        transitions=sum(child.transitions for child in children),
        passes=int(batch["pass"]) + 1,
        most_open=simulation.workflows.most_children["Verify"],
        wait_of_batch=statistics.median(took[id_] for id_ in took.keys() - single),
        singles=tuple(took[id_] for id_ in simulation.accepted.values()),
        units=units,
        calls=counted["operations"],
        peaks=counted["peaks"],
        refused=counted["statuses"].get("429", 0),
        invocations=dict(simulation.invocations),
        violations=(*simulation.violations, *(f"no right to: {call}" for call in simulation.rights.refused())),
    )


def _size(item: Mapping[str, Any]) -> int:
    size = 0
    for name, typed in item.items():
        size += len(name)
        for value in typed.values():
            size += len(value) if isinstance(value, (str, bytes)) else 8
    return size


def _plain(value: Mapping[str, Any]) -> Any:
    ((_, content),) = value.items()
    return content
