"""When a message that failed comes back, and when a refresh request's turn is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titleholder import pace
from titleholder.errors import PaceExceededError
from titleholder.queues import LONGEST_PAUSE_SECONDS, MAX_DELAY_SECONDS, Queues

NOW = 1_800_000_000.0


class Sqs:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def send_message(self, **arguments: Any) -> None:
        self.calls.append(arguments)

    change_message_visibility = send_message


def pauses(jitter: float, count: int) -> int:
    sqs = Sqs()
    Queues(sqs, jitter=lambda: jitter).back_off("url", "receipt", count)
    return int(sqs.calls[0]["VisibilityTimeout"])


@pytest.mark.parametrize(("count", "longest"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 64), (7, 120), (100, 120)])
def test_pause_doubles_up_to_its_limit(count: int, longest: int) -> None:
    assert pauses(0.999999, count) == longest
    assert pauses(0.0, count) == max(1, longest // 2)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 1000))
def test_pause_is_never_nought_nor_longer_than_allowed(jitter: float, count: int) -> None:
    assert 1 <= pauses(jitter, count) <= LONGEST_PAUSE_SECONDS


def test_deferred_request_never_comes_before_its_turn() -> None:
    sqs = Sqs()
    Queues(sqs, refresh_url="url").defer_refresh({"a": 1}, 1.2)
    assert sqs.calls == [{"QueueUrl": "url", "MessageBody": '{"a": 1}', "DelaySeconds": 2}]


def test_delay_that_sqs_does_not_take_is_cut() -> None:
    sqs = Sqs()
    Queues(sqs, refresh_url="url").defer_refresh({}, 10_000.0)
    assert sqs.calls[0]["DelaySeconds"] == MAX_DELAY_SECONDS == 900


def test_event_message_holds_what_it_was_given() -> None:
    sqs = Sqs()
    Queues(sqs, events_url="url").send_event({"event": "evt_1", "account": "fca_1", "mode": "test"})
    assert json.loads(sqs.calls[0]["MessageBody"]) == {"event": "evt_1", "account": "fca_1", "mode": "test"}


class Line:
    """A store whose next place is at `at`."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.booked = 0

    def book(self, name: str, rate: float, now: float) -> float:
        self.booked += 1
        return self.at


class TestTurn:
    def test_of_a_lone_request_is_now(self) -> None:
        assert pace.turn(Line(NOW), {}, 25, NOW) == NOW  # type: ignore[arg-type]

    def test_so_near_that_sqs_cannot_wait_for_it_is_now(self) -> None:
        assert pace.turn(Line(NOW + pace.AT_ONCE_SECONDS), {}, 25, NOW) == NOW  # type: ignore[arg-type]

    def test_further_ahead_is_told(self) -> None:
        assert pace.turn(Line(NOW + 3), {}, 25, NOW) == NOW + 3  # type: ignore[arg-type]

    def test_is_booked_once_and_then_borne_by_the_message(self) -> None:
        line = Line(NOW + 99)
        assert pace.turn(line, {pace.TURN: NOW + 3}, 25, NOW) == NOW + 3  # type: ignore[arg-type]
        assert pace.turn(line, {pace.TURN: NOW + 3}, 25, NOW + 3) == NOW + 3  # type: ignore[arg-type]
        assert line.booked == 0


class TestTake:
    def test_near_place_is_taken(self) -> None:
        pace.take(Line(NOW + pace.LONGEST_WAIT_SECONDS), 25, NOW)  # type: ignore[arg-type]

    def test_far_place_is_refused_with_the_seconds_to_wait(self) -> None:
        with pytest.raises(PaceExceededError) as refused:
            pace.take(Line(NOW + 7.5), 25, NOW)  # type: ignore[arg-type]
        assert refused.value.retry_after == 8
