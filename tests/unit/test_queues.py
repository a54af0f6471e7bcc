"""When a message that failed or was deferred comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titleholder.aws.queues import LONGEST_PAUSE_SECONDS, MAX_DELAY_SECONDS, Queues


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


def test_deferred_event_goes_to_its_own_queue() -> None:
    sqs = Sqs()
    Queues(sqs, events_url="events").defer_event({}, -1)
    assert sqs.calls == [{"QueueUrl": "events", "MessageBody": "{}", "DelaySeconds": 0}]
