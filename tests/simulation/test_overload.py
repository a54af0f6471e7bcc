"""More work than Stripe allows: goodput holds, waiting work keeps its slot, and nothing is paid for that no verification wants."""

from __future__ import annotations

import pytest

from tests.simulation.overload import Load, Outcome, mixed, run


@pytest.fixture(scope="module", params=[0.5, 2.0, 5.0])
def mixture(request: pytest.FixtureRequest) -> Outcome:
    """Single verifications beside a batch, for four settle timeouts, at a multiple of the rate."""
    return run(mixed(request.param, pace=5, settle_timeout=6))


def test_pace_is_used_until_the_backlog_is_drained(mixture: Outcome) -> None:
    assert mixture.verdicts == {"match": mixture.load.singles + mixture.load.batch}
    assert mixture.goodput >= 0.9
    assert mixture.lost == 0


def test_no_refresh_is_paid_for_that_is_not_wanted_any_more(mixture: Outcome) -> None:
    assert (mixture.unwanted, mixture.paid) == (0, mixture.load.singles + mixture.load.batch)


def test_time_in_the_queue_ends_no_verification(mixture: Outcome) -> None:
    assert mixture.early_timeouts == 0
    assert mixture.violations == ()


def test_all_operations_together_stay_within_stripes_limit(mixture: Outcome) -> None:
    assert mixture.peak <= mixture.load.in_all
    assert mixture.refused == 0


@pytest.mark.parametrize("singles", [240, 480])
def test_queue_that_is_several_settle_timeouts_long_ends_in_verdicts(singles: int) -> None:
    outcome = run(Load(2, 60, singles=singles, seconds=30))
    assert outcome.verdicts == {"match": singles}
    assert outcome.goodput >= 0.95


def test_batch_whose_queue_is_longer_than_the_settle_timeout_ends_in_verdicts() -> None:
    outcome = run(Load(1, 60, batch=300))
    assert outcome.verdicts == {"match": 300}
    assert outcome.goodput >= 0.95


def test_readers_delay_no_verification() -> None:
    outcome = run(Load(25, 900, singles=20, seconds=10, readers=200, reading=10))
    assert max(outcome.waits) < outcome.load.bank + 4
    # They get a time to ask again, and have taken no slot meanwhile.
    assert outcome.read_answers[429] > 1000
    assert outcome.read_answers[200] > 0


def test_request_beyond_its_deadline_costs_nothing() -> None:
    outcome = run(Load(1, 60, singles=240, seconds=10, max_wait=60))
    assert outcome.unwanted == 0
    assert outcome.verdicts["match"] == pytest.approx(60, abs=10)
    assert outcome.paid <= outcome.verdicts["match"] + outcome.load.bank * outcome.load.pace + 3
    assert outcome.reasons == {"REFRESH_TIMED_OUT": 240 - outcome.verdicts["match"]}
