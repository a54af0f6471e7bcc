"""When a call to Stripe may be made."""

from __future__ import annotations

import bisect
import heapq
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fakes.dynamodb import FakeDynamoDB
from titleholder.aws.queues import MAX_DELAY_SECONDS
from titleholder.domain.rate import MOST_SLOW, RECOVERY_SECONDS, Backoff, Kind, current_factor, increased
from titleholder.errors import RateLimitExceededError
from titleholder.services.rate_limiter import NEAR_SECONDS, RateLimiter, StripeRateLimits, requeued_message
from titleholder.store import Store

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def no_cipher() -> Any:
    raise AssertionError("rate limits encrypt nothing")


def lines(rate: float = 25) -> tuple[StripeRateLimits, Clock]:
    clock = Clock()
    return StripeRateLimits(Store(FakeDynamoDB(), "table", keys_table="keys", cipher=no_cipher, clock=clock), rate, clock), clock


def near(*times: float) -> Any:
    """Times to the millisecond. Without `abs`, pytest's tolerance is a share of the value: half an hour for Unix seconds."""
    return pytest.approx(list(times), abs=0.001)


BATCHED = {"priority": "batch"}


SINGLE = {"task_token": "token"}


def early(limiter: RateLimiter, bucket: str = "read") -> RateLimitExceededError:
    with pytest.raises(RateLimitExceededError) as refused:
        limiter.acquire(bucket)
    return refused.value


@pytest.mark.parametrize(
    ("message", "kind"),
    [(None, Kind.CALLER), ({}, Kind.EVENT), (SINGLE, Kind.SINGLE), (BATCHED, Kind.BATCH), ({**SINGLE, **BATCHED}, Kind.BATCH)],
)
def test_kind_of_work_follows_from_its_message(message: dict[str, Any] | None, kind: Kind) -> None:
    assert Kind.of(message) is kind


class TestRefusal:
    """The error for work that comes too early."""

    @pytest.mark.parametrize(
        ("message", "at", "retry_after"),
        [
            # No slot in the bucket: a caller may try at any time, other work at the time that moves at the bucket's rate.
            (None, 0, 1),
            ({}, 1, 2),
            (BATCHED, 1, 2),
        ],
    )
    def test_refusal_names_the_bucket_and_the_time(self, message: dict[str, Any] | None, at: float, retry_after: int) -> None:
        limits, _ = lines(1)
        for _ in range(5):
            limits.reserve("read", NOW)
        refused = early(limits.limiter(message))
        assert (refused.bucket, refused.at, refused.retry_after, refused.slots) == ("read", NOW + at, retry_after, {})

    @pytest.mark.parametrize(("message", "at", "retry_after"), [(None, 0, 1), ({}, 1, 2), (BATCHED, 1, 2)])
    def test_refusal_for_the_sum_of_all_calls_names_the_bucket_and_the_next_second(
        self, message: dict[str, Any] | None, at: float, retry_after: int
    ) -> None:
        limits, _ = lines(0.25)
        limits.limiter({}).acquire("read")
        refused = early(limits.limiter(message), "list")
        assert (refused.bucket, refused.at, refused.retry_after, refused.slots) == ("list", NOW + at, retry_after, {"list": NOW})

    def test_refusal_names_the_bucket_that_a_requeued_message_asks_for(self) -> None:
        limits, _ = lines(1)
        refused = early(limits.limiter({"ask_after": NOW + 5}), "read")
        assert (refused.bucket, refused.at, refused.retry_after) == ("read", NOW + 5, 6)

    def test_error_for_a_slot_that_lies_ahead_has_the_slots_held(self) -> None:
        limits, _ = lines(1)
        refused = limits.limiter({"places": {"list": NOW}}).exceeded("refresh", NOW + 7.5)
        assert (refused.bucket, refused.at, refused.retry_after, refused.slots) == ("refresh", NOW + 7.5, 8, {"list": NOW})

    def test_refusal_spreads_the_times_to_ask_again_by_bucket_and_kind(self) -> None:
        limits, _ = lines(1)
        assert [limits.next_try("read", NOW, Kind.BATCH) for _ in range(3)] == near(NOW + 1, NOW + 1.909, NOW + 2.818)
        assert [limits.next_try("read", NOW, Kind.EVENT)] == near(NOW + 1)
        assert [limits.next_try("list", NOW, Kind.BATCH)] == near(NOW + 1)
        limits.on_throttled("read")
        assert [limits.next_try("read", NOW, Kind.SINGLE) for _ in range(2)] == near(NOW + 1, NOW + 2.818)

    def test_refusal_in_one_bucket_delays_no_work_that_asks_for_another(self) -> None:
        limits, _ = lines(1)
        for _ in range(5):
            limits.reserve("read", NOW)
            limits.reserve("list", NOW)
        assert [early(limits.limiter({}), bucket).at for bucket in ("read", "read", "list")] == near(NOW + 1, NOW + 1.909, NOW + 1)


class TestSingle:
    def test_single_request_that_is_alone_goes_at_once(self) -> None:
        lines()[0].limiter({}).acquire("read")

    def test_single_request_goes_at_once_if_its_slot_is_so_near_that_sqs_cannot_wait_for_it(self) -> None:
        limits, _ = lines(10)
        for _ in range(3):
            limits.limiter({}).acquire("read")
        assert [early(limits.limiter({})).at] == near(NOW + 0.3)

    def test_single_request_keeps_its_slot_until_it_is_due(self) -> None:
        limits, clock = lines(1)
        limits.limiter({}).acquire("read")
        message = requeued_message({"a": 1}, early(limits.limiter({})))
        assert message == {"a": 1, "places": {"read": NOW + 1}}
        assert requeued_message(message, early(limits.limiter(message))) == message
        clock.now += 1
        limits.limiter(message).acquire("read")
        assert early(limits.limiter({})).at == NOW + 2

    def test_single_request_that_has_waited_in_one_bucket_is_patient_in_the_next(self) -> None:
        limits, _ = lines(2)
        limits.limiter({}).acquire("refresh")
        waited = limits.limiter({"places": {"read": NOW}})
        waited.acquire("read")
        waited.acquire("refresh")

    def test_single_request_of_one_operation_does_not_wait_for_another(self) -> None:
        limits, _ = lines(1)
        limits.limiter({}).acquire("read")
        limits.limiter({}).acquire("refresh")
        early(limits.limiter({}))


class TestSingleRefresh:
    def test_single_refresh_has_the_next_slot_however_far_ahead(self) -> None:
        limits, _ = lines(1)
        assert [limits.limiter(SINGLE).reserve("refresh", None) for _ in range(100)] == [NOW + number for number in range(100)]

    def test_single_refresh_uses_the_slot_that_is_held_for_it_and_takes_no_other(self) -> None:
        limits, _ = lines(1)
        assert limits.limiter(SINGLE).reserve("refresh", NOW - 5) == NOW - 5
        assert not limits._store.table.client.items

    def test_single_refresh_of_one_bucket_leaves_the_slots_of_another(self) -> None:
        limits, _ = lines(1)
        assert limits.limiter(SINGLE).reserve("refresh", None) == NOW
        assert limits.limiter(SINGLE).reserve("list", None) == NOW

    @pytest.mark.parametrize(("ahead", "patient"), [(-5.0, True), (0.2, True), (0.3, False)])
    def test_single_refresh_whose_slot_is_due_waits_up_to_a_second_for_its_next_call(self, ahead: float, patient: bool) -> None:
        limits, _ = lines(2)
        limits.reserve("read", NOW)
        limiter = limits.limiter(SINGLE)
        assert limiter.reserve("refresh", NOW + ahead) == NOW + ahead
        if patient:
            limiter.acquire("read")
        else:
            assert early(limiter).at == NOW + 0.5

    def test_single_refresh_keeps_its_slot_when_another_call_finds_none(self) -> None:
        limits, _ = lines(1)
        for _ in range(4):
            limits.reserve("read", NOW)
        limiter = limits.limiter(SINGLE)
        limiter.reserve("refresh", None)
        message = requeued_message(SINGLE, early(limiter))
        assert message["places"] == {"refresh": NOW}
        assert message["ask_after"] > NOW

    def test_single_refresh_leaves_the_reads_of_paid_refreshes_their_slots(self) -> None:
        # Such a read waits for at most the slots that starts and other events have taken near by, however many of them wait.
        limits, _ = lines(5)
        for message in (SINGLE, {}):
            for _ in range(500):
                with suppress(RateLimitExceededError):
                    limits.limiter(message).acquire("read")
        limiter = limits.limiter({})
        limiter.hurry()
        assert early(limiter).at <= NOW + NEAR_SECONDS + 0.2

    def test_single_refresh_that_a_paid_refresh_waits_for_takes_the_next_slot_however_far(self) -> None:
        limits, _ = lines(1)
        for _ in range(50):
            limits.reserve("read", NOW)
        limiter = limits.limiter(SINGLE)
        limiter.hurry()
        assert limiter.reserve("refresh", None) is None
        assert early(limiter).at == NOW + 50


class TestCaller:
    def test_caller_takes_only_what_is_free_now_and_reserves_nothing_else(self) -> None:
        limits, _ = lines(10)
        for _ in range(3):
            limits.limiter().acquire("read")
        before = dict(limits._store.table.client.items)
        for _ in range(1000):
            assert early(limits.limiter()).retry_after == 1
        assert limits._store.table.client.items == before
        assert [limits.reserve("read", NOW)] == near(NOW + 0.3)

    @pytest.mark.parametrize("bucket", ["other", "events"])
    def test_caller_may_take_what_comes_within_a_second_where_no_refresh_waits(self, bucket: str) -> None:
        limits, _ = lines(4)
        for _ in range(5):
            limits.limiter().acquire(bucket)
        early(limits.limiter(), bucket)

    def test_caller_leaves_room_for_other_work_among_all_calls(self) -> None:
        limits, _ = lines(25)
        for number in range(80):
            limits.limiter().acquire(f"line {number}")
        early(limits.limiter(), "read")
        limits.limiter({}).acquire("read")


class TestAllOperations:
    def test_all_operations_together_never_make_more_calls_in_a_second_than_allowed(self) -> None:
        limits, clock = lines(25)
        made: list[float] = []
        for number in range(2000):
            clock.now = NOW + number * 0.004
            with suppress(RateLimitExceededError):
                limits.limiter({"places": {str(number): NOW}}).acquire(str(number))
                made.append(clock.now)
        assert max(bisect.bisect_left(made, at + 1) - place for place, at in enumerate(made)) <= 100
        # Refused calls are not counted: most of the allowed calls are used.
        assert len(made) > 0.85 * 100 * 8

    def test_all_operations_leave_work_that_they_refuse_its_slot(self) -> None:
        limits, _ = lines(0.25)
        limits.limiter({}).acquire("read")
        assert early(limits.limiter({"places": {"list": NOW}}), "list").slots == {"list": NOW}

    def test_all_operations_are_limited_by_what_is_agreed_for_all_where_that_is_less(self) -> None:
        clock = Clock()
        limits = StripeRateLimits(lines()[0]._store, 25, clock, limit=10)
        for number in range(10):
            limits.limiter({}).acquire(f"bucket {number}")
        early(limits.limiter({}))

    def test_all_operations_always_allow_one(self) -> None:
        limits, clock = lines(0.1)
        limits.limiter({}).acquire("read")
        clock.now += 3
        limits.limiter({}).acquire("list")


class TestEitherOfTwoBuckets:
    def test_preferred_one_is_taken_while_a_slot_in_it_is_near(self) -> None:
        limits, clock = lines(1)
        assert limits.limiter({}).acquire_either("list", "read") == "list"
        for ahead in (1, 2, 3):
            with pytest.raises(RateLimitExceededError) as refused:
                limits.limiter({}).acquire_either("list", "read")
            assert (refused.value.bucket, refused.value.at) == ("list", clock.now + ahead)
        assert limits.limiter({}).acquire_either("list", "read") == "read"

    def test_preferred_one_is_waited_for_where_the_other_is_far_as_well(self) -> None:
        limits, _ = lines(1)
        for bucket in ("list", "read"):
            for _ in range(20):
                limits.reserve(bucket, NOW)
        limiter = limits.limiter({})
        limiter.hurry()
        with pytest.raises(RateLimitExceededError) as refused:
            limiter.acquire_either("list", "read")
        assert (refused.value.bucket, refused.value.at) == ("list", NOW + 20)

    @pytest.mark.parametrize("bucket", ["list", "read"])
    def test_slot_that_was_reserved_is_kept_whichever_it_is_in(self, bucket: str) -> None:
        limits, _ = lines(1)
        assert limits.limiter({"places": {bucket: NOW}}).acquire_either("list", "read") == bucket
        assert set(limits._store.table.client.items) == {("PACE#all", "PACE")}

    def test_caller_waits_up_to_a_second_only_in_a_bucket_for_callers(self) -> None:
        limits, _ = lines(2)
        for bucket in ("list", "other"):
            limits.reserve(bucket, NOW)
        assert limits.limiter().acquire_either("list", "other") == "other"

    def test_caller_takes_what_is_free_now(self) -> None:
        limits, _ = lines(1)
        assert [limits.limiter().acquire_either("list", "read") for _ in range(2)] == ["list", "read"]
        with pytest.raises(RateLimitExceededError):
            limits.limiter().acquire_either("list", "read")

    def test_slow_one_is_left_for_the_other(self) -> None:
        limits, _ = lines(0.5)
        limits.on_throttled("list")
        assert [limits.limiter({}).acquire_either("list", "read") for _ in range(2)] == ["list", "read"]


class TestBatch:
    def test_batch_takes_what_is_free_in_the_coming_second_and_no_more(self) -> None:
        limits, _ = lines(5)
        for _ in range(5):
            limits.limiter(BATCHED).acquire("read")
        early(limits.limiter(BATCHED))

    def test_batch_that_was_given_a_time_does_not_ask_before_it(self) -> None:
        limits, clock = lines(1)
        for _ in range(2):
            limits.limiter(BATCHED).acquire("read")
        message = requeued_message(BATCHED, early(limits.limiter(BATCHED)))
        before = dict(limits._store.table.client.items)
        assert requeued_message(message, early(limits.limiter(message))) == message
        assert limits._store.table.client.items == before
        clock.now = message["ask_after"]
        limits.limiter(message).acquire("read")

    def test_batch_takes_its_turn_before_any_call_and_uses_it_once(self) -> None:
        limits, _ = lines(0.5)
        limiter = limits.limiter(BATCHED)
        assert limiter.reserve("refresh", None) is None
        limiter.acquire("refresh")
        early(limiter, "refresh")

    def test_batch_takes_its_slot_before_any_call_or_gets_a_time_to_ask_again(self) -> None:
        limits, _ = lines(1)
        for _ in range(5):
            limits.reserve("refresh", NOW)
        with pytest.raises(RateLimitExceededError) as refused:
            limits.limiter(BATCHED).reserve("refresh", None)
        assert (refused.value.bucket, refused.value.slots) == ("refresh", {})

    def test_batch_of_a_paid_refresh_takes_no_slot_before_its_call(self) -> None:
        limits, _ = lines(1)
        limiter = limits.limiter(BATCHED)
        limiter.hurry()
        assert limiter.reserve("refresh", None) is None
        assert not limits._store.table.client.items

    def test_batch_takes_the_very_next_slot_of_a_bucket_that_is_slowed_down(self) -> None:
        limits, _ = lines(1)
        limits.on_throttled("read")
        limits.reserve("read", NOW)
        assert early(limits.limiter(BATCHED)).slots == {"read": NOW + 2}

    def test_batch_is_overtaken_however_long_it_is(self) -> None:
        limits, _ = lines(5)
        told = 0.0
        for _ in range(500):
            try:
                limits.limiter(BATCHED).acquire("read")
            except RateLimitExceededError as refused:
                told = refused.at
        assert told > NOW + 90
        assert [limits.reserve("read", NOW)] == near(NOW + 1)


class Traffic:
    """Messages in a queue that delays by whole seconds, in virtual time. `went`: when each call was made, by kind."""

    def __init__(self, rate: float) -> None:
        self.limits, self.clock = lines(rate)
        self.went: dict[str, list[float]] = {"single": [], "batch": []}
        self.waits: list[float] = []
        self.receives = 0

    def run(self, arrivals: list[tuple[float, str]]) -> None:
        queue: list[tuple[float, int, str, dict[str, Any]]] = [
            (NOW + at, number, kind, {} if kind == "single" else dict(BATCHED)) for number, (at, kind) in enumerate(arrivals)
        ]
        heapq.heapify(queue)
        begun = {number: at for at, number, _, _ in queue}
        while queue:
            self.clock.now, number, kind, message = heapq.heappop(queue)
            self.receives += 1
            try:
                self.limits.limiter(message).acquire("read")
            except RateLimitExceededError as refused:
                pause = max(1, min(MAX_DELAY_SECONDS, math.ceil(refused.at - self.clock.now)))
                heapq.heappush(queue, (self.clock.now + pause, number, kind, requeued_message(message, refused)))
                continue
            self.went[kind].append(self.clock.now)
            if kind == "single":
                self.waits.append(self.clock.now - begun[number])

    def most_within(self, seconds: float) -> int:
        times = sorted(self.went["single"] + self.went["batch"])
        return max((bisect.bisect_left(times, time + seconds) - place for place, time in enumerate(times)), default=0)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([2.0, 5.0, 25.0]),
    st.integers(0, 200),
    st.lists(st.floats(0, 20, allow_nan=False), max_size=30),
    st.floats(0, 3, allow_nan=False),
)
def test_whatever_arrives_goes_through_once_and_no_faster_than_agreed(rate: float, batch: int, singles: list[float], begin: float) -> None:
    traffic = Traffic(rate)
    traffic.run([(begin, "batch")] * batch + [(at, "single") for at in singles])
    assert (len(traffic.went["batch"]), len(traffic.went["single"])) == (batch, len(singles))
    # Booked times are exact, but a request may come up to a second earlier, or later.
    assert all(traffic.most_within(window) <= rate * (window + 2.2) + 1 for window in (1, 5, 20))


def test_batch_runs_at_the_rate_and_singles_wait_a_moment_only() -> None:
    traffic = Traffic(25)
    traffic.run([(0, "batch")] * 2000 + [(3 + number / 2, "single") for number in range(60)])
    assert max(traffic.went["batch"]) - NOW < 1.1 * 2060 / 25
    assert max(traffic.waits) <= 2
    assert traffic.most_within(1) <= 1.25 * 25
    # Coming in vain costs money.
    assert traffic.receives < 3 * 2060


class TestSlowness:
    def test_slowdown_doubles_at_a_refusal_and_comes_back(self) -> None:
        slow = increased(Backoff(), NOW)
        assert current_factor(slow, NOW) == 2
        assert current_factor(slow, NOW + RECOVERY_SECONDS) == 1.5
        assert current_factor(slow, NOW + 10 * RECOVERY_SECONDS) == pytest.approx(1, abs=0.01)

    def test_slowdown_counts_refusals_of_the_same_moment_once(self) -> None:
        slow = increased(Backoff(), NOW)
        assert increased(slow, NOW + 0.9) == slow

    def test_slowdown_counts_a_refusal_a_second_later_again(self) -> None:
        slow = increased(Backoff(), NOW)
        assert increased(slow, NOW + 1) == Backoff(2 * current_factor(slow, NOW + 1), NOW + 1)

    def test_slowdown_doubles_what_is_left_of_it(self) -> None:
        assert increased(increased(Backoff(), NOW), NOW + RECOVERY_SECONDS) == Backoff(3, NOW + RECOVERY_SECONDS)

    @given(st.lists(st.floats(0, 100, allow_nan=False), max_size=30), st.floats(0, 1000, allow_nan=False))
    def test_slowdown_is_never_more_than_its_limit_and_only_shrinks_by_itself(self, pauses: list[float], later_on: float) -> None:
        slow, now = Backoff(), NOW
        for pause in pauses:
            now += pause
            slow = increased(slow, now)
            assert 1 <= current_factor(slow, now) <= MOST_SLOW
        assert 1 <= current_factor(slow, now + later_on) <= current_factor(slow, now)

    def test_slowdown_of_a_bucket_is_learnt_by_other_workers_when_they_reserve(self) -> None:
        limits, clock = lines(10)
        limits.on_throttled("read")
        other = StripeRateLimits(limits._store, 10, clock)
        assert [other.reserve("read", NOW) for _ in range(3)] == near(NOW, NOW + 0.1, NOW + 0.3)
        clock.now += 600
        assert [other.reserve("read", clock.now) for _ in range(2)] == near(clock.now, clock.now + 0.1)

    def test_slowdown_of_a_bucket_adds_up_among_workers(self) -> None:
        limits, clock = lines(10)
        limits.limiter({}).on_throttled("read")
        clock.now += RECOVERY_SECONDS
        StripeRateLimits(limits._store, 10, clock).limiter({}).on_throttled("read")
        other = StripeRateLimits(limits._store, 10, clock)
        assert [other.reserve("read", clock.now) for _ in range(3)] == near(clock.now, clock.now + 0.1, clock.now + 0.4)

    def test_slowdown_is_felt_at_once_by_the_worker_that_was_refused(self) -> None:
        limits, _ = lines(10)
        limits.on_throttled("read")
        assert [limits.reserve("read", NOW) for _ in range(3)] == near(NOW, NOW + 0.2, NOW + 0.4)

    def test_slowdown_of_one_bucket_does_not_slow_another(self) -> None:
        limits, _ = lines(1)
        limits.on_throttled("read")
        assert [limits.reserve("refresh", NOW) for _ in range(2)] == [NOW, NOW + 1]
