"""What docs/speed.md says that a stack costs is what the template, the prices and the documented counts give."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.benchmarks import at_rest
from tests.support.resolved import resolved
from tests.support.template import ROOT

PRICES = at_rest.PRICES
NUMBER = r"\d[\d,]*(?:\.\d+)?"


@cache
def section() -> str:
    return (ROOT / "docs" / "speed.md").read_text().split("## What a stack costs\n")[1].split("\n## ")[0]


def rows(heading: str) -> dict[str, tuple[str, float]]:
    """The rows of the table with this heading: what was counted, and dollars."""
    table = section().split(f"| {heading} |")[1].split("\n\n")[0]
    return {name: (counted, float(value)) for name, counted, value in re.findall(r"^\| ([^|]+?) \| ([^|]*?) ?\| ([\d.]+) \|$", table, re.M)}


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(NUMBER, text)]


def test_prices_are_those_of_the_benchmark_with_their_date_and_region() -> None:
    written = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", section(), re.M)}
    assert written == {name: value for name, value in PRICES.items() if isinstance(value, float)}
    assert f"`{PRICES['region']}` on {PRICES['date']}" in section()


@cache
def run() -> dict[str, float]:
    return at_rest.run_of_reconcile()


def test_month_at_rest_is_what_the_template_and_a_run_of_reconcile_cost() -> None:
    documented = rows("service | counted | dollars")
    priced = at_rest.dollars(at_rest.counts(), run())
    assert {name: dollars for name, (_, dollars) in documented.items()} == pytest.approx({**priced, "all": sum(priced.values())}, abs=0.006)


def test_counts_at_rest_are_those_of_the_template() -> None:
    documented, there = {name: numbers(counted) for name, (counted, _) in rows("service | counted | dollars").items()}, at_rest.counts()
    assert documented["KMS keys"] == [there["KMS keys"]]
    assert documented["Secrets Manager"] == [there["secrets"]]
    assert documented["alarms"] == [there["alarms"], there["metrics of alarms"]]
    assert documented["dashboard"] == [there["dashboards"]]
    assert documented["polling of queues"] == [there["polled queues"], at_rest.POLLS_PER_MINUTE]
    assert documented["metrics"] == [run()["metrics"]]
    assert documented["reconcile"] == [at_rest.RUNS]
    assert documented["logs"] == pytest.approx([run()["bytes"]], rel=0.1)


def test_reconcile_runs_as_often_as_the_template_schedules_it() -> None:
    assert resolved({})["ReconcileOften"]["Properties"]["ScheduleExpression"] == f"rate({at_rest.DAYS * 24 * 60 // at_rest.RUNS} minutes)"


def test_million_costs_what_the_documented_counts_cost() -> None:
    documented = rows("service | counted for each | dollars")
    counted = {name: numbers(text) for name, (text, _) in documented.items()}
    [transitions], [queue_calls], [log] = counted["transitions"], counted["queues"], counted["logs"]
    writes, reads = counted["DynamoDB"]
    requests, events, keys = counted["HTTP, bus, keys"]
    expected = {
        "transitions": transitions * PRICES["step_functions_transition"],
        "DynamoDB": writes * PRICES["dynamodb_write_unit"] + reads * PRICES["dynamodb_read_unit"],
        "queues": queue_calls * PRICES["sqs_request"],
        "HTTP, bus, keys": requests * PRICES["http_api_request"] + events * PRICES["eventbridge_event"] + keys * PRICES["kms_request"],
        "logs": log / 1e9 * (PRICES["log_gb"] + PRICES["log_gb_month"]),
        "tracing": counted["tracing"][0] * PRICES["trace"],
    }
    dollars = {name: value for name, (_, value) in documented.items()}
    assert {name: dollars[name] for name in expected} == pytest.approx({name: 1e6 * value for name, value in expected.items()}, abs=0.2)
    assert sum(value for name, value in dollars.items() if name != "all") == pytest.approx(dollars["all"], abs=0.02)
    found = (ROOT / "docs" / "speed.md").read_text()
    assert f"| ${dollars['all']} ($75 of it for state transitions) |" in found
    assert f"{writes:g} write and {reads:g} read units" in found.split("| a verification |")[1].split("|")[0]
