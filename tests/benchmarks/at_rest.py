"""What a stack costs in a month without use, by service: counted in the template, and in a run of reconcile that finds nothing.

`make bench TOPICS=cost` prints it. Lambda's pollers, the schedule and the alarms work whether there is anything to do or not.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks import logs
from tests.benchmarks.figures import Figure
from tests.support.resolved import resolved
from tests.support.sandbox import Moment, Sandbox

PRICES = json.loads(Path(__file__).with_name("prices.json").read_text())
DAYS = 31
RUNS = DAYS * 24 * 4
"""Runs of reconcile in a month, one in 15 minutes. A test compares it with the schedule."""

POLLS_PER_MINUTE = 15
"""Lambda asks each queue with five long polls of 20 s at once, also an empty one."""

RUN_SECONDS = 2.0
"""How long a run of reconcile that finds nothing takes, with a cold start, because Lambda ends its environment within 15 minutes."""


def counts() -> dict[str, int]:
    """The resources of a stack with the default settings that cost money even if unused."""
    resources = resolved({})
    types = Counter(resource["Type"] for resource in resources.values())
    alarms = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    return {
        "KMS keys": types["AWS::KMS::Key"],
        # They are not in the template, because they outlive the stack.
        "secrets": len(secrets()),
        "alarms": len(alarms),
        # An alarm over several metrics is charged for each of them.
        "metrics of alarms": sum(map(_metrics, alarms)),
        "dashboards": types["AWS::CloudWatch::Dashboard"],
        "polled queues": types["AWS::Lambda::EventSourceMapping"],
    }


def _metrics(alarm: Mapping[str, Any]) -> int:
    return sum("MetricStat" in each for each in alarm["Metrics"]) if "Metrics" in alarm else 1


def secrets() -> set[str]:
    """The names of the secrets that the functions read."""
    functions = [resource["Properties"] for resource in resolved({}).values() if resource["Type"] == "AWS::Lambda::Function"]
    variables = [function["Environment"]["Variables"] for function in functions]
    return {value for each in variables for name, value in each.items() if name.endswith("_SECRET_NAME")}


def run_of_reconcile() -> dict[str, float]:
    """What a run that finds nothing to do uses: DynamoDB's calls, bytes of log, metrics that it publishes."""
    calls: Counter[str] = Counter()

    def tap(moment: Moment) -> None:
        if moment.when == "before":
            calls["writes" if moment.operation.startswith(("put", "update", "delete", "transact")) else "reads"] += (
                moment.service == "dynamodb"
            )

    with Sandbox.open() as sandbox:
        reconcile = sandbox.function("reconcile")
        with contextlib.redirect_stdout(io.StringIO()):
            reconcile({})  # Reads the secrets.
        sandbox.taps.append(tap)
        logged, text = len(sandbox.log.getvalue()), io.StringIO()
        # Metrics are printed, lines are logged.
        with contextlib.redirect_stdout(text):
            reconcile({})
        size = len(sandbox.log.getvalue()) - logged + len(text.getvalue()) + logs.PLATFORM_BYTES
    return {**calls, "bytes": size, "metrics": len(logs.metrics_in(text.getvalue()))}


def dollars(there: Mapping[str, int], run: Mapping[str, float], price: Mapping[str, Any] = PRICES) -> dict[str, float]:
    """What a month at rest costs, by service, without free tiers."""
    memory = 512 / 1024
    return {
        "KMS keys": there["KMS keys"] * price["kms_key_month"],
        "Secrets Manager": there["secrets"] * price["secret_month"],
        "alarms": there["metrics of alarms"] * price["alarm_metric_month"],
        "dashboard": there["dashboards"] * price["dashboard_month"],
        "metrics": run["metrics"] * price["custom_metric_month"],
        "polling of queues": there["polled queues"] * POLLS_PER_MINUTE * 60 * 24 * DAYS * price["sqs_request"],
        "reconcile": RUNS * (
            RUN_SECONDS * memory * price["lambda_gb_second_arm64"] + price["lambda_request"] + price["schedule_invocation"]
            + run.get("reads", 0) * price["dynamodb_read_unit"] + run.get("writes", 0) * price["dynamodb_write_unit"]
            + len(secrets()) * price["secrets_manager_request"]
        ),
        "logs": RUNS * run["bytes"] / 1e9 * (price["log_gb"] + price["log_gb_month"]),
        # Reconcile runs less often than once a second, so that X-Ray records each run.
        "tracing": RUNS * price["trace"],
    }  # fmt: skip


def measure() -> list[Figure]:
    there, run = counts(), run_of_reconcile()
    priced = dollars(there, run)
    about = f"prices of {PRICES['date']}, {PRICES['region']}"
    return [
        *(Figure("a stack at rest", name, number, "", None, "in the template") for name, number in there.items()),
        Figure("a stack at rest", "runs of reconcile", RUNS, "", None, f"in {DAYS} days"),
        Figure("a stack at rest", "bytes of log in a run", run["bytes"], "", None, "a run that finds nothing"),
        *(Figure("a month at rest", name, value, "$", None, about) for name, value in priced.items()),
        Figure("a month at rest", "all", sum(priced.values()), "$", None, f"{about}, without free tiers"),
    ]  # fmt: skip
