"""Batches in virtual time, with the real handlers and workflows; and the model of them held against the run."""

from __future__ import annotations

import re

import pytest

from tests.simulation.batch_memory import measure
from tests.simulation.batch_run import CONSUMERS, BatchRun, run_batch, run_import
from tests.simulation.deployment import ROOT
from tools.batch_model import predict

ACCOUNTS, SETTLE_SECONDS = 150, 4.0
LINE_BYTES = 75


@pytest.fixture(scope="module")
def run() -> BatchRun:
    return run_batch(ACCOUNTS, settle_seconds=SETTLE_SECONDS, singles=5)


def test_nothing_is_lost_and_nothing_paid_twice(run: BatchRun) -> None:
    assert (run.done, run.lost, run.paid_twice, run.violations) == ({"match": ACCOUNTS}, 0, 0, ())


def test_account_costs_one_call_of_each_of_three_operations(run: BatchRun) -> None:
    # Stripe's limit is one for each operation: a second call of any would halve the pace.
    assert run.calls == {
        "GET /v1/financial_connections/accounts/{account}": ACCOUNTS + 5,
        "POST /v1/financial_connections/accounts/{account}/refresh": ACCOUNTS + 5,
        "GET /v1/financial_connections/accounts": ACCOUNTS + 5,
    }


def test_single_verifications_overtake_the_batch(run: BatchRun) -> None:
    # Beside their refresh they wait for whole seconds of a queue's delay, however long the batch is.
    assert max(run.singles) < SETTLE_SECONDS + 4 < run.wait_of_batch


def test_lines_are_kept_full_to_the_end(run: BatchRun) -> None:
    # Beside the bank's time there are the first and the last place, to whole seconds of a queue's delay.
    assert run.seconds - run.import_seconds < (ACCOUNTS + 5) / run.rate + SETTLE_SECONDS + 3


def test_those_who_cool_down_are_taken_in_a_later_pass() -> None:
    run = run_batch(20, settle_seconds=2, cooling=5, cooldown_seconds=300, singles=0)
    assert (run.done, run.lost, run.paid_twice, run.violations) == ({"match": 20}, 0, 0, ())
    assert run.passes > 2
    # The first pass ends for them with a place given up.
    assert run.transitions == 20 * 3 + 5 * 3
    assert run.seconds > 300


@pytest.mark.parametrize("accounts", [20, ACCOUNTS])
def test_model_agrees_with_the_run(accounts: int, run: BatchRun) -> None:
    ran = run if accounts == ACCOUNTS else run_batch(accounts, settle_seconds=SETTLE_SECONDS, singles=0)
    expected = predict(accounts, settle_seconds=SETTLE_SECONDS, line_bytes=LINE_BYTES)
    assert ran.seconds == pytest.approx(expected.seconds, rel=0.15)
    assert ran.most_open == expected.open
    assert ran.transitions == expected.units["step_functions_transition"]


def test_model_names_no_less_than_the_run_is_charged(run: BatchRun) -> None:
    verified = ACCOUNTS + 5
    expected = predict(verified).units
    for name, counted in run.units.items():
        # A short batch asks less often for a place in the line; a single verification has transitions that are not counted here.
        if name != "step_functions_transition":
            assert counted <= expected[name] * 1.1, name
            assert counted >= expected[name] * (0.25 if name == "kms_request" else 0.6), name


def test_a_million_stays_within_what_is_promised() -> None:
    million = predict(1_000_000)
    assert million.seconds / million.bound <= 1.15
    assert million.dollars <= 150


def test_import_loses_no_line_and_no_range_where_the_table_throttles_it() -> None:
    # Two functions write, for each of which the table takes as much as a new table for each of five: 4,000 units a second in all.
    run = run_import(1500, units=1600)
    assert run.throttled["TransactWriteItems"] > 150
    assert (run.lost, run.failed, run.violations) == (0, 0, ())
    assert run.seconds < 1.7 * 1500 * run.units_a_line / run.units
    # What the fake table counts as one unit is one, and no partition key takes more than a hundredth of the writes.
    assert run.largest_item < 1024
    assert run.hottest < 0.01 * 1500 * run.units_a_line


def test_memory_of_the_steps_does_not_grow_with_the_manifest() -> None:
    ten, hundred = (max(peak for step, peak in measure(lines, traced=True).items() if step != "imports") for lines in (10_000, 40_000))
    assert hundred < 1.15 * ten


def test_consumers_are_those_of_the_template() -> None:
    found = re.findall(r"MaximumConcurrency: (\d+)", (ROOT / "template.yaml").read_text())
    assert list(map(int, found)) == list(CONSUMERS.values())
