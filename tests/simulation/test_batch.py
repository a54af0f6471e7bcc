"""Batches in virtual time, with the real handlers and workflows; and the model of them held against the run."""

from __future__ import annotations

import re

import pytest

from tests.simulation.batch_memory import measure
from tests.simulation.batch_world import CONSUMERS, Course, run_batch
from tests.simulation.world import ROOT
from tools.batch_model import predict

ACCOUNTS, SETTLE_SECONDS = 150, 4.0
LINE_BYTES = 75


@pytest.fixture(scope="module")
def course() -> Course:
    return run_batch(ACCOUNTS, settle_seconds=SETTLE_SECONDS, singles=5)


def test_nothing_is_lost_and_nothing_paid_twice(course: Course) -> None:
    assert (course.done, course.lost, course.paid_twice, course.violations) == ({"match": ACCOUNTS}, 0, 0, ())


def test_account_costs_one_call_of_each_of_three_operations(course: Course) -> None:
    # Stripe's limit is one for each operation: a second call of any would halve the pace.
    assert course.calls == {
        "GET /v1/financial_connections/accounts/{account}": ACCOUNTS + 5,
        "POST /v1/financial_connections/accounts/{account}/refresh": ACCOUNTS + 5,
        "GET /v1/financial_connections/accounts": ACCOUNTS + 5,
    }


def test_single_verifications_overtake_the_batch(course: Course) -> None:
    # Beside their refresh they wait for whole seconds of a queue's delay, however long the batch is.
    assert max(course.singles) < SETTLE_SECONDS + 4 < course.wait_of_batch


def test_lines_are_kept_full_to_the_end(course: Course) -> None:
    # Beside the bank's time there are the first and the last place, to whole seconds of a queue's delay.
    assert course.seconds - course.import_seconds < (ACCOUNTS + 5) / course.rate + SETTLE_SECONDS + 3


def test_those_who_cool_down_are_taken_in_a_later_pass() -> None:
    course = run_batch(20, settle_seconds=2, cooling=5, cooldown_seconds=300, singles=0)
    assert (course.done, course.lost, course.paid_twice, course.violations) == ({"match": 20}, 0, 0, ())
    assert course.passes > 2
    # The first pass ends for them with a place given up.
    assert course.transitions == 20 * 3 + 5 * 3
    assert course.seconds > 300


@pytest.mark.parametrize("accounts", [20, ACCOUNTS])
def test_model_agrees_with_the_run(accounts: int, course: Course) -> None:
    ran = course if accounts == ACCOUNTS else run_batch(accounts, settle_seconds=SETTLE_SECONDS, singles=0)
    expected = predict(accounts, settle_seconds=SETTLE_SECONDS, line_bytes=LINE_BYTES)
    assert ran.seconds == pytest.approx(expected.seconds, rel=0.15)
    assert ran.most_open == expected.open
    assert ran.transitions == expected.units["step_functions_transition"]


def test_model_names_no_less_than_the_run_is_charged(course: Course) -> None:
    verified = ACCOUNTS + 5
    expected = predict(verified).units
    for name, counted in course.units.items():
        # A short batch asks less often for a place in the line; a single verification has transitions that are not counted here.
        if name != "step_functions_transition":
            assert counted <= expected[name] * 1.1, name
            assert counted >= expected[name] * (0.25 if name == "kms_request" else 0.6), name


def test_a_million_stays_within_what_is_promised() -> None:
    million = predict(1_000_000)
    assert million.seconds / million.bound <= 1.15
    assert million.dollars <= 150


def test_memory_of_the_steps_does_not_grow_with_the_manifest() -> None:
    ten, hundred = (max(peak for step, peak in measure(lines, traced=True).items() if step != "imports") for lines in (10_000, 40_000))
    assert hundred < 1.15 * ten


def test_consumers_are_those_of_the_template() -> None:
    found = re.findall(r"MaximumConcurrency: (\d+)", (ROOT / "template.yaml").read_text())
    assert list(map(int, found)) == list(CONSUMERS.values())
