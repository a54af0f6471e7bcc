"""What one verification takes: transitions, Lambda time, DynamoDB units, queue calls, calls to Stripe; and what a million cost.

Workflows, Lambda time and calls to Stripe are counted on the embedded stack. DynamoDB's units and the calls to other services are
counted at the real handlers over moto, where each call's items can be measured: a write unit is a KiB begun (twice that in a transaction,
and one more where the item enters, leaves or changes in the index), a read unit 4 KiB begun of a consistent read. Lambda milliseconds are
this machine's, busy or not; AWS's depend on the memory chosen.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

from local.stack import running
from local.stripe_simulator.options import Options
from tests.benchmarks.figures import Figure
from tests.e2e.stack_driver import StackDriver, eventually
from tests.support.sandbox import Moment, Sandbox, client

VERIFICATIONS = 20
PRICES = json.loads(Path(__file__).with_name("prices.json").read_text())
REPORT = re.compile(r"Billed Duration: ([\d.]+) ms\tMemory Size: (\d+) MB")
GOAL_DOLLARS_PER_MILLION = 150.0


class Units:
    """A tap that counts what each call to AWS is charged as."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._client = client("dynamodb")

    def __call__(self, moment: Moment) -> None:
        if moment.service != "dynamodb":
            if moment.when == "before":
                self.counted[moment.service] += 1
            return
        call, arguments = moment.operation, moment.arguments
        if call == "get_item" and moment.when == "after":
            self.counted["reads"] += self._read(arguments["TableName"], arguments["Key"])
        elif call == "batch_get_item" and moment.when == "after":
            self.counted["reads"] += sum(
                self._read(table, key) for table, asked in arguments["RequestItems"].items() for key in asked["Keys"]
            )
        elif call == "query" and moment.when == "after":
            self.counted["reads"] += max(1, math.ceil(sum(map(size, self._client.query(**arguments)["Items"])) / 4096))
        elif call in ("put_item", "update_item", "delete_item"):
            # An update is charged for the larger of the item before and after.
            self.counted["writes"] += self._write(arguments) if moment.when == "after" else 0
        elif call == "transact_write_items" and moment.when == "after":
            for part in arguments["TransactItems"]:
                ((kind, inner),) = part.items()
                self.counted["reads" if kind == "ConditionCheck" else "writes"] += 2 * self._write(inner)

    def _read(self, table: str, key: Any) -> int:
        return max(1, math.ceil(size(self._item(table, key)) / 4096))

    def _write(self, arguments: Any) -> int:
        item = arguments.get("Item") or self._item(arguments["TableName"], arguments["Key"])
        indexed = "open_kind" in item or "open_kind" in str(arguments.get("UpdateExpression", ""))
        return max(1, math.ceil(size(item) / 1024)) + indexed

    def _item(self, table: str, key: Any) -> Any:
        return self._client.get_item(TableName=table, Key=key).get("Item") or {}


def size(item: Any) -> int:
    """About the bytes that DynamoDB counts."""
    return sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())


def units() -> dict[str, float]:
    """The charged units of one ordinary verification: an account never seen, refreshed, its webhook delivered."""
    with Sandbox.open() as sandbox:
        counter: Units | None = None
        for number in range(3):
            # The first warms up: secrets are read once and kept.
            counter = Units()
            ref = sandbox.link(id=f"fca_cost{number}")
            sandbox.taps[:] = [counter]
            created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Margaret Testerman"}}).json
            token = sandbox.enter(sandbox.store.verifications.get(created["id"]))
            sandbox.consume(sandbox.refresh_queue)
            sandbox.wait(6)
            sandbox.settle()
            outcome = sandbox.outcome(token)
            assert outcome is not None
            assert sandbox.function("complete_verification")({"verification": created["id"], "refresh": outcome})["outcome"] == "match"
            sandbox.taps.clear()
        assert counter is not None
        return dict(counter.counted)


def measure() -> list[Figure]:
    with contextlib.redirect_stdout(io.StringIO()):
        counted = units()
    with running(options=Options(settle_seconds=0.3)) as stack:
        driver = StackDriver(stack)
        for _ in range(3):
            driver.verdict(driver.accepted(driver.link("single_owner")), within=60)
        before = sum(1 for _ in _reports(driver))
        # One after the other, so that they do not wait for each other's processor.
        accounts, ids = list[str](), list[str]()
        for _ in range(VERIFICATIONS):
            accounts.append(driver.link("single_owner"))
            ids.append(driver.accepted(accounts[-1]))
            driver.verdict(ids[-1], within=120)
        transitions = mean(driver.transitions(id_) for id_ in ids)
        calls = mean(driver.stripe_calls(account) for account in accounts)
        reports = list(eventually(lambda: list(_reports(driver)), 10))[before:]
    milliseconds = sum(ms for ms, _ in reports) / VERIFICATIONS
    gigabyte_seconds = sum(ms / 1000 * memory / 1024 for ms, memory in reports) / VERIFICATIONS
    invocations = len(reports) / VERIFICATIONS
    # Each message is sent once and received and deleted by the event source once; the workflow sends the refresh request itself.
    messages = 2
    queue_calls = 3 * messages
    price = PRICES
    dollars = {
        "transitions": transitions * price["step_functions_transition"],
        "Lambda": gigabyte_seconds * price["lambda_gb_second_arm64"] + invocations * price["lambda_request"],
        "DynamoDB": counted["writes"] * price["dynamodb_write_unit"] + counted["reads"] * price["dynamodb_read_unit"],
        "queues": queue_calls * price["sqs_request"],
        "HTTP, bus, keys": 2 * price["http_api_request"] + counted.get("events", 0) * price["eventbridge_event"]
        + counted.get("kms", 0) * price["kms_request"],
    }  # fmt: skip
    topic, about = "one verification", f"mean of {VERIFICATIONS} on the embedded stack"
    return [
        Figure(topic, "state transitions", transitions, "", ("<=", 6.0), about),
        Figure(topic, "calls to Stripe", calls, "", ("<=", 3.0), about),
        Figure(topic, "Lambda invocations", invocations, "", None, about),
        Figure(topic, "Lambda milliseconds", milliseconds, "ms", None, f"{about}, this machine's"),
        Figure(topic, "DynamoDB write units", counted["writes"], "", None, "real handlers over moto"),
        Figure(topic, "DynamoDB read units", counted["reads"], "", None, "real handlers over moto"),
        Figure(topic, "KMS calls", counted.get("kms", 0), "", None, "real handlers over moto"),
        Figure(topic, "queue calls", queue_calls, "", None, "two messages, each sent, received, deleted"),
        *(Figure("a million", name, 1e6 * value, "$", None, f"prices of {price['date']}") for name, value in dollars.items()),
        Figure("a million", "all beside Stripe's charge", 1e6 * sum(dollars.values()), "$", ("<=", GOAL_DOLLARS_PER_MILLION),
               f"prices of {price['date']}, {price['region']}"),
    ]  # fmt: skip


def _reports(driver: StackDriver) -> Any:
    for line in driver.log_lines():
        if found := REPORT.search(line):
            yield float(found[1]), int(found[2])
