"""A sample of the simulation: schedules of faults, crash points, and the proof that bugs would be found."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.mutants import BUGS
from tests.simulation.run import CRASHABLE, crash, points
from tests.simulation.schedules import crash_at, simulate

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "150"))
ENOUGH_SEEDS = 300
CRASH_PARTS = 6
FOUND_BY = {
    "review_opened_after_the_verdict": 11,
    "last_decision_wins": 83,
    "closed_reviews_not_finished": 11,
    "entries_of_reviews_written_anew": 4,
    "notes_survive_erasure": 108,
    "reviews_wait_for_ever": 11,
    "open_reviews_not_looked_at": 11,
    "decision_replaces_the_verdict": 15,
    "reviews_that_expire_count_as_rejected": 11,
    "one_reviewer_is_enough": 14,
    "repeated_decisions_are_refused": 15,
    "open_reviews_end_as_inactive": 14,
    "moved_owners_end_reviews": 35,
    "newer_owners_end_reviews": 35,
    "openings_by_hand_not_recorded": 4,
    "open_reviews_follow_another_number": 108,
    "comparisons_not_recorded": 29,
    "queue_goes_on_behind_the_next_page": 122,
    "unprocessed_keys_taken_for_missing": 39,
    "throttled_calls_are_internal_errors": 30,
    "cancelled_transactions_not_repeated": 15,
    "busy_table_is_an_internal_error": 48,
    "context_taken_for_a_connected_account": 8,
    "thin_events_not_listed": 11,
    "stop_not_seen_before_a_refresh": 63,
    "lease_not_conditional": 38,
    "written_without_proof_of_the_key": 94,
    "matcher_failure_not_caught": 6,
    "secret_of_ids_made_twice": 17,
    "newest_snapshot_answers": 17,
    "any_answer_ends_the_attempt": 273,
    "any_reading_decides": 277,
    "announcement_not_kept": 36,
    "erasure_waits_for_stripe": 8,
    "disconnection_not_repeated": 8,
    "first_failure_ends_the_run": 11,
    "failed_item_stays_where_it_is": 8,
    "tenants_share_ten_pages": 7,
    "unknown_cursor_is_kept": 7,
    "tenants_retired_for_the_stacks_key": 7,
    "slot_lost_with_the_settle_timeout": 314,
    "waiter_stored_late": 14,
    "gives_up_after_settle_timeouts_in_the_queue": 65,
    "in_flight_is_not_looked_at_again": 85,
    "claims_counted_without_looking_again": 194,
    "callers_book_ahead": 88,
    "parts_written_one_by_one": 3,
    "refresh_after_the_deadline": 169,
    "too_many_owners_not_remembered": 4,
    "stale_never_lifted": 1,
    "claims_survive_erasure": 2,
    "ordered_by_event_time": 5,
    "repaired_accounts_resume_nobody": 8,
    "accounts_to_be_repaired_are_not_read": 14,
    "inactive_accounts_end_what_would_wait": 1,
    "throttled_calls_make_dead_letters": 84,
    "throttled_deliveries_count_as_failures": 174,
    "queues_with_short_patience": 49,
    "events_deferred_too_often_are_dropped": 191,
}
"""Seeds that found these bugs last, tried first to save time. `python -m tests.simulation.run --bug NAME` finds the present one."""

HELD_BY_TESTS = {
    "stop_forgets_broken_imports": (
        "integration/batches/test_stops.py",
        "test_step_of_a_stopped_batch_that_is_repeated_still_looks_for_what_a_broken_import_made",
    ),
    "repair_before_the_wait_is_not_seen": (
        "simulation/test_waiting_for_repair.py",
        "test_reactivation_between_the_decision_and_the_wait_is_seen",
    ),
    "late_workers_change_later_waits": (
        "simulation/test_waiting_for_repair.py",
        "test_late_worker_does_not_make_the_refresh_that_failed_before_the_repair_the_answer",
    ),
    "decided_without_proof_of_the_key": (
        "integration/test_reviews.py",
        "test_decision_is_refused_if_the_erasure_begins_just_before_it_is_stored",
    ),
}
"""Bugs that drawn schedules show too rarely, as one in hundreds: each with the test that fails with it."""


@pytest.mark.parametrize("begin", range(0, SEEDS, 10))
def test_promises_hold_under_drawn_faults(begin: int) -> None:
    violations = {seed: result.violations for seed in range(begin, begin + 10) if (result := simulate(seed)).violations}
    assert not violations, f"again: python -m tests.simulation.run --seeds 1 --start {min(violations)}"


def test_the_same_seed_gives_the_same_course_of_events() -> None:
    assert simulate(7) == simulate(7)


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug not in HELD_BY_TESTS])
def test_a_bug_put_in_by_hand_is_found(bug: str) -> None:
    with BUGS[bug]():
        assert any(simulate(seed).violations for seed in dict.fromkeys([FOUND_BY.get(bug, 0), *range(ENOUGH_SEEDS)]))


@pytest.mark.parametrize("bug", HELD_BY_TESTS)
def test_a_bug_that_schedules_show_rarely_has_a_test_of_its_own(bug: str) -> None:
    file, name = HELD_BY_TESTS[bug]
    assert bug in BUGS
    assert f"def {name}(" in (Path(__file__).parents[1] / file).read_text()


@cache
def some_points() -> list[tuple[str, int, int, str]]:
    """Every 15th crash point, of each function before and after calls. `make crash-points` tries all of them."""
    everything = list(points())
    assert {function for function, *_ in everything} == set(CRASHABLE)
    some = everything[::15]
    assert {(function, when) for function, *_, when in some} == {(function, when) for function in CRASHABLE for when in ("before", "after")}
    return some


# In parts, which other workers can run meanwhile.
@pytest.mark.parametrize("part", range(CRASH_PARTS))
def test_promises_hold_at_crash_points_of_every_function(part: int) -> None:
    violations = {point: found for point in some_points()[part::CRASH_PARTS] if (found := crash(point)[1])}
    assert not violations


def test_without_trouble_a_verification_takes_at_most_six_transitions_and_nine_with_a_cooldown() -> None:
    simulation = crash_at({})
    assert not simulation.violations
    assert len(simulation.accepted) == 15
    assert Counter(kind for kind, _ in simulation.events_bus.announced)["VerificationReviewed"] == 3
    for execution in simulation.workflows.executions.values():
        repairs = execution.states.count("WaitForRepair")
        assert execution.transitions <= (9 if execution.waits else 6) + 3 * repairs
        assert execution.waits <= 1
        assert repairs <= 1
