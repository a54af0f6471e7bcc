"""Rate limits: slots of a bucket are spread at its rate."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.stored import NOW
from titleholder.domain.rate import Backoff
from titleholder.store import Store


def test_first_slot_is_now(store: Store) -> None:
    assert store.rate_limits.reserve("bucket", 25, NOW).at == NOW


def test_slots_of_a_burst_are_spread_at_the_rate(store: Store) -> None:
    assert [store.rate_limits.reserve("bucket", 25, NOW).at for _ in range(5)] == pytest.approx(
        [NOW, NOW + 0.04, NOW + 0.08, NOW + 0.12, NOW + 0.16], abs=0.001
    )


def test_idle_time_is_not_saved_up(store: Store) -> None:
    store.rate_limits.reserve("bucket", 25, NOW)
    assert [store.rate_limits.reserve("bucket", 25, NOW + 60).at for _ in range(2)] == pytest.approx([NOW + 60, NOW + 60.04], abs=0.001)


def test_buckets_do_not_mix(store: Store) -> None:
    store.rate_limits.reserve("a", 1, NOW)
    assert store.rate_limits.reserve("b", 1, NOW).at == NOW


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 2, allow_nan=False), min_size=2, max_size=25), st.sampled_from([1.0, 3.0, 25.0, 100.0]), st.uuids())
def test_no_window_of_a_second_has_more_slots_than_the_rate(store: Store, pauses: list[float], rate: float, bucket: object) -> None:
    now, slots = NOW, []
    for pause in pauses:
        now += pause / rate
        slots.append(store.rate_limits.reserve(str(bucket), rate, now).at)
        assert slots[-1] >= now
    slots.sort()
    for first, last in zip(slots, slots[int(rate) :], strict=False):
        # A step is a whole number of milliseconds.
        assert last - first >= 1 - 0.001 * rate


def test_slot_beyond_the_limit_is_not_reserved(store: Store) -> None:
    assert store.rate_limits.reserve_until("bucket", 2, NOW, NOW + 0.5) is not None
    assert store.rate_limits.reserve_until("bucket", 2, NOW, NOW + 0.5) is not None
    assert store.rate_limits.reserve_until("bucket", 2, NOW, NOW + 0.5) is None
    assert store.rate_limits.reserve("bucket", 2, NOW).at == pytest.approx(NOW + 1.0, abs=0.001)


def test_times_to_try_again_are_spread_and_reserve_no_slots(store: Store) -> None:
    assert [store.rate_limits.next_try("bucket", "batch", 4, NOW + 1) for _ in range(3)] == pytest.approx(
        [NOW + 1, NOW + 1.25, NOW + 1.5], abs=0.001
    )
    assert store.rate_limits.reserve("bucket", 4, NOW).at == NOW


def test_backoff_is_returned_with_each_slot_and_never_overwritten_by_an_outdated_one(store: Store) -> None:
    assert store.rate_limits.backoff("bucket") == Backoff() == store.rate_limits.reserve("bucket", 25, NOW).backoff
    first, second = Backoff(2, NOW), Backoff(4, NOW + 5)
    assert store.rate_limits.set_backoff("bucket", first, Backoff())
    assert not store.rate_limits.set_backoff("bucket", second, Backoff())
    assert store.rate_limits.set_backoff("bucket", second, first)
    assert store.rate_limits.backoff("bucket") == second == store.rate_limits.reserve("bucket", 25, NOW).backoff
