"""What one verification takes: transitions, Lambda time, DynamoDB units, queue calls, logs, calls to Stripe; and what a million cost.

Workflows, Lambda time, bytes of log and calls to Stripe are counted on the embedded stack. DynamoDB's units are what Amazon's own engine
says that the real handlers consume; calls to other services are counted beside them. Lambda milliseconds are this machine's, busy or
not; AWS's depend on the memory chosen.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

from local.stack import running
from local.stripe_simulator.options import Options
from tests.benchmarks import at_rest, logs
from tests.benchmarks.figures import Figure
from tests.e2e.stack_driver import StackDriver, eventually
from tests.support.dynamodb_local import DynamoDBLocal
from tests.support.sandbox import Sandbox, Tapped
from tests.support.template import ROOT, table_schema
from titleholder.bootstrap import application

VERIFICATIONS = 20
PRICES = json.loads(Path(__file__).with_name("prices.json").read_text())
REPORT = re.compile(r"Billed Duration: ([\d.]+) ms\tMemory Size: (\d+) MB")
GOAL_DOLLARS_PER_MILLION = 150.0
TRACES = 2
"""Traces of a verification that X-Ray records, if few enough come that it records all: the caller's request with the workflow that it
starts, and Stripe's delivery with what follows. Of more than one a second it records 5 percent."""

CLOSE = {"name": "Margaret Louise Testerman", "phone": "555-555-0101"}
REQUESTS = 3
"""Requests to the HTTP API: the caller's two, for the verification and for its verdict, and Stripe's."""


class Consumption:
    """What calls to Amazon's engine consume, in write and read units.

    Where the engine counts less than AWS documents, the difference is added: a write whose condition does not hold is charged as a write of
    the item (here at least one unit), and so is the reading of an item that does not exist.
    """

    WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems")
    READS = ("GetItem", "BatchGetItem", "Query")

    def __init__(self, engine: DynamoDBLocal) -> None:
        self.units: Counter[str] = Counter()
        self.client = engine.client()
        events = self.client.meta.events
        events.register("provide-client-params.dynamodb", self._ask)
        events.register("after-call.dynamodb", self._note)

    def _ask(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> dict[str, Any] | None:
        if model.name not in (*self.WRITES, *self.READS):
            return None
        context["params"] = params
        return {**params, "ReturnConsumedCapacity": "TOTAL"}

    def _note(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        units = sum(each["CapacityUnits"] for each in (consumed if isinstance(consumed, list) else [consumed]))
        if model.name in self.WRITES:
            if "Error" in parsed:
                units = 2 * len(context["params"]["TransactItems"]) if model.name == "TransactWriteItems" else 1
            self.units["writes"] += units
        elif model.name in self.READS:
            if model.name == "BatchGetItem":
                asked = sum(len(table["Keys"]) for table in context["params"]["RequestItems"].values())
                units += asked - sum(map(len, parsed["Responses"].values()))
            self.units["reads"] += units


class SandboxOnAmazonsEngine(Sandbox):
    """A sandbox whose tables are those of Amazon's engine."""

    def __init__(self, dynamodb: Any) -> None:
        super().__init__()
        self._dynamodb = dynamodb

    def client(self, service: str) -> Any:
        return Tapped(self._dynamodb, service, self.tap) if service == "dynamodb" else super().client(service)

    def create_tables(self) -> None:
        for variable, table in (("TABLE_NAME", "Table"), ("KEYS_TABLE_NAME", "KeysTable")):
            self._dynamodb.create_table(TableName=self.environment[variable], **table_schema(table))


def units() -> dict[str, float]:
    """What one ordinary verification takes, as the mean of several: an account never seen, refreshed, its webhook delivered.

    It varies with the shards that the rate limiter draws. Raises `DynamoDBLocalError` where the engine cannot run.
    """
    with contextlib.ExitStack() as opened:
        engine = opened.enter_context(DynamoDBLocal())
        consumption, others = Consumption(engine), Counter[str]()
        sandbox = opened.enter_context(SandboxOnAmazonsEngine.open(dynamodb=consumption.client))
        sandbox.create_tables()
        sandbox.taps.append(lambda moment: others.update([moment.service] if moment.when == "before" else []))
        for number in range(1 + VERIFICATIONS):
            ref = sandbox.link(id=f"fca_cost{number}")
            if number == 1:
                # The first warmed up: secrets are read once and kept.
                consumption.units.clear()
                others.clear()
            created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Margaret Testerman"}}).json
            _forget_keys()
            # A reading of this function's own is none of the verification's.
            before = consumption.units.copy()
            verification = sandbox.store.verifications.get(created["id"])
            consumption.units = before
            token = sandbox.enter(verification)
            sandbox.consume(sandbox.refresh_queue)
            sandbox.wait(6)
            sandbox.settle()
            _forget_keys()
            outcome = sandbox.outcome(token)
            assert outcome is not None
            assert sandbox.function("complete_verification")({"verification": created["id"], "refresh": outcome})["outcome"] == "match"
        counted = {name: count for name, count in others.items() if name != "dynamodb"} | consumption.units
        stored = sum(_stored(engine.client(), sandbox.environment[name]) for name in ("TABLE_NAME", "KEYS_TABLE_NAME"))
        return {name: count / VERIFICATIONS for name, count in counted.items()} | {"stored": stored / (1 + VERIFICATIONS)}


def _forget_keys() -> None:
    """Drop the unwrapped data keys. On Lambda the next function has its own process, and calls KMS for each account's key itself."""
    application().cipher._cached.clear()


def units_of_a_review() -> dict[str, float]:
    """What is added where a person decides a close match: its opening, a page of the queue with it, timeline, comparison and decision.

    Raises `DynamoDBLocalError` where the engine cannot run.
    """
    with contextlib.ExitStack() as opened:
        engine = opened.enter_context(DynamoDBLocal())
        consumption = Consumption(engine)
        sandbox = opened.enter_context(SandboxOnAmazonsEngine.open(dynamodb=consumption.client))
        sandbox.create_tables()
        body = {"account": sandbox.link("fresh", id="fca_review").account, "claim": CLOSE}
        consumed: dict[str, Counter[str]] = {}
        for reviewers in ("0", "0", "1"):
            sandbox.cold_start(REVIEWERS_NEEDED=reviewers)
            sandbox.wait(1)
            consumption.units.clear()
            created = sandbox.http("POST", "/verifications", body).json
            assert (created["verdict"]["outcome"], created["review"]) == ("close_match", "open" if reviewers == "1" else None)
            consumed[reviewers] = consumption.units.copy()
        review = f"/verifications/{created['id']}"
        decision = {"version": 1, "decision": "approve", "reason": "OTHER", "note": "The passport was shown."}
        consumption.units.clear()
        for method, path, sent in (
            ("GET", "/reviews", None), ("GET", f"{review}/timeline", None), ("POST", f"{review}/comparison", None),
            ("POST", f"{review}/review/decisions", decision),
        ):  # fmt: skip
            assert sandbox.http(method, path, sent, function="review").status == 200
        return {name: consumption.units[name] + consumed["1"][name] - consumed["0"][name] for name in ("writes", "reads")}


def _stored(dynamodb: Any, table: str) -> int:
    """About the bytes that a table's items take, as DynamoDB counts them."""
    items = [item for page in dynamodb.get_paginator("scan").paginate(TableName=table) for item in page["Items"]]
    return sum(len(name) + len(str(next(iter(value.values())))) for item in items for name, value in item.items()) + 100 * len(items)


def measure() -> list[Figure]:
    with contextlib.redirect_stdout(io.StringIO()):
        counted, reviewed = units(), units_of_a_review()
    with running(options=Options(settle_seconds=0.3)) as stack:
        driver = StackDriver(stack)
        for _ in range(3):
            driver.verdict(driver.accepted(driver.link("single_owner")), within=60)
        before, logged = sum(1 for _ in _reports(driver)), logs.by_group(driver)
        # One after the other, so that they do not wait for each other's processor.
        accounts, ids = list[str](), list[str]()
        for _ in range(VERIFICATIONS):
            accounts.append(driver.link("single_owner"))
            ids.append(driver.accepted(accounts[-1]))
            # Without polling: a caller reads the verification once, after the event of its verdict.
            eventually(lambda: driver.history(ids[-1])[-1]["type"] == "ExecutionSucceeded", 120)
            driver.verification(ids[-1])
        transitions = mean(driver.transitions(id_) for id_ in ids)
        calls = mean(driver.stripe_calls(account) for account in accounts)
        reports = list(eventually(lambda: list(_reports(driver)), 10))[before:]
        published = len(logs.metrics_in("\n".join(driver.log_lines())))
        lines = {name: (size - logged.get(name, 0)) / VERIFICATIONS for name, size in logs.by_group(driver).items()}
    milliseconds = sum(ms for ms, _ in reports) / VERIFICATIONS
    gigabyte_seconds = sum(ms / 1000 * memory / 1024 for ms, memory in reports) / VERIFICATIONS
    invocations = len(reports) / VERIFICATIONS
    # Each message is sent once and received and deleted by the event source once; the workflow sends the refresh request itself.
    messages = 2
    queue_calls = 3 * messages
    price = PRICES
    lines = {name: size for name, size in lines.items() if size} | {"http": float(REQUESTS * logs.access_log_bytes())}
    dollars = {
        "transitions": transitions * price["step_functions_transition"],
        "Lambda": gigabyte_seconds * price["lambda_gb_second_arm64"] + invocations * price["lambda_request"],
        "DynamoDB": counted["writes"] * price["dynamodb_write_unit"] + counted["reads"] * price["dynamodb_read_unit"],
        "queues": queue_calls * price["sqs_request"],
        "HTTP, bus, keys": REQUESTS * price["http_api_request"] + counted.get("events", 0) * price["eventbridge_event"]
        + counted.get("kms", 0) * price["kms_request"],
        "logs": sum(lines.values()) / 1e9 * (price["log_gb"] + price["log_gb_month"]),
        "tracing": TRACES * price["trace"],
    }  # fmt: skip
    kept = price["dynamodb_gb_month"] + price["dynamodb_backup_gb_month"]
    engine = f"mean of {VERIFICATIONS} on Amazon's DynamoDB Local"
    topic, about = "one verification", f"mean of {VERIFICATIONS} on the embedded stack"
    return [
        Figure(topic, "state transitions", transitions, "", ("<=", 6.0), about),
        Figure(topic, "calls to Stripe", calls, "", ("<=", 3.0), about),
        Figure(topic, "Lambda invocations", invocations, "", None, about),
        Figure(topic, "Lambda milliseconds", milliseconds, "ms", None, f"{about}, this machine's"),
        Figure(topic, "DynamoDB write units", counted["writes"], "", ("<=", 50.0), engine),
        Figure(topic, "DynamoDB read units", counted["reads"], "", ("<=", 22.0), engine),
        Figure(topic, "bytes stored", counted["stored"], "", None, engine),
        Figure("one review", "DynamoDB write units", reviewed["writes"], "", None, "on Amazon's DynamoDB Local"),
        Figure("one review", "DynamoDB read units", reviewed["reads"], "", None, "on Amazon's DynamoDB Local"),
        Figure(topic, "KMS calls", counted.get("kms", 0), "", None, "real handlers"),
        Figure(topic, "queue calls", queue_calls, "", None, "two messages, each sent, received, deleted"),
        *(Figure(topic, f"bytes of log, {name}", size, "", None, about) for name, size in sorted(lines.items())),
        Figure(topic, "bytes of log, all", sum(lines.values()), "", ("<=", 1.1 * documented("logs")), f"{about}; docs/speed.md"),
        *(Figure("a million", name, 1e6 * value, "$", None, f"prices of {price['date']}") for name, value in dollars.items()),
        Figure("a million", "all beside Stripe's charge", 1e6 * sum(dollars.values()), "$", ("<=", GOAL_DOLLARS_PER_MILLION),
               f"prices of {price['date']}, {price['region']}"),
        Figure("a month in use", "metrics published", published, "", None, "by name and dimensions, of verifications that succeed"),
        Figure("a month in use", "metrics", published * price["custom_metric_month"], "$", None, f"prices of {price['date']}"),
        Figure("a month in use", "a million stored", 1e-3 * counted["stored"] * kept, "$", None, "with point-in-time recovery"),
        *at_rest.measure(),
    ]  # fmt: skip


def documented(service: str) -> float:
    """What docs/speed.md says was counted of a service for one verification: the first number in its row."""
    row = re.search(rf"^\| {service} \| ([\d,]+) .*\|$", (ROOT / "docs" / "speed.md").read_text().split("counted for each")[1], re.M)
    assert row is not None
    return float(row[1].replace(",", ""))


def _reports(driver: StackDriver) -> Any:
    for line in driver.log_lines():
        if found := REPORT.search(line):
            yield float(found[1]), int(found[2])
