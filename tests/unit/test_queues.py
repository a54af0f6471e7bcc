"""When a message that failed or was deferred is received again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes.errors import refused
from titleholder.aws.queue_consumer import FAILURES_SECONDS, MOST_RECEIVES, MOST_RECEIVES_WITHOUT_AWS, QueueConsumer
from titleholder.aws.queues import LONGEST_PAUSE_SECONDS, MAX_DELAY_SECONDS, MOST_HOPS, Queues, put_back
from titleholder.errors import AuditUnavailableError, AwsUnavailableError, StripeServerError, TableBusyError, is_aws_unavailable


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


def test_message_counts_how_often_it_was_put_back_and_not_without_end() -> None:
    message: dict[str, Any] | None = {"account": "fca_1"}
    for hop in range(1, MOST_HOPS + 1):
        assert message is not None
        message = put_back(message)
        assert message == {"account": "fca_1", "hop": hop}
    assert message is not None
    assert put_back(message) is None


NOW = 1_800_000_000.0
THROTTLED = refused("SendTaskSuccess", "ThrottlingException")


class TestFailure:
    def failed(self, error: Exception, count: int, *, age: float = 60.0, body: str = '{"account": "fca_1", "hop": 2}') -> dict[str, Any]:
        """What is done with a message that fails with `error` at its delivery number `count`, `age` seconds after its first one."""
        sqs = Sqs()

        def process(message: Any, message_id: str) -> None:
            raise error

        attributes = {"ApproximateReceiveCount": str(count), "ApproximateFirstReceiveTimestamp": str(int((NOW - age) * 1000))}
        record = {"messageId": "m", "receiptHandle": "r", "body": body, "attributes": attributes, "eventSource": "aws:sqs"}
        QueueConsumer(Queues(sqs, jitter=lambda: 1.0), "queue", "dead", clock=lambda: NOW).consume({"Records": [record]}, process)
        (call,) = sqs.calls
        return call

    @pytest.mark.parametrize("error", [THROTTLED, TableBusyError(), AwsUnavailableError()])
    def test_message_that_aws_kept_back_is_no_dead_letter_soon(self, error: Exception) -> None:
        assert self.failed(error, MOST_RECEIVES + 5)["VisibilityTimeout"] == 900
        assert self.failed(error, MOST_RECEIVES_WITHOUT_AWS)["QueueUrl"] == "dead"

    def test_message_that_failed_seven_times_is_a_dead_letter(self) -> None:
        assert self.failed(StripeServerError("500"), MOST_RECEIVES - 1)["VisibilityTimeout"] == 64
        assert self.failed(StripeServerError("500"), MOST_RECEIVES)["QueueUrl"] == "dead"

    def test_message_whose_deliveries_did_not_all_reach_the_function_is_sent_anew(self) -> None:
        call = self.failed(StripeServerError("500"), MOST_RECEIVES, age=FAILURES_SECONDS + 1)
        assert call["QueueUrl"] == "queue"
        assert json.loads(call["MessageBody"]) == {"account": "fca_1", "hop": 3, "copies": 1}

    @pytest.mark.parametrize("body", ['{"account": "fca_1", "copies": 3}', "[]", '{"hop": "x"}'])
    def test_message_is_not_sent_anew_without_end(self, body: str) -> None:
        assert self.failed(StripeServerError("500"), MOST_RECEIVES, age=FAILURES_SECONDS + 1, body=body)["QueueUrl"] == "dead"


@pytest.mark.parametrize(
    ("code", "unavailable"),
    [
        ("ThrottlingException", True), ("Throttling", True), ("RequestThrottled", True), ("KmsThrottled", True), ("SlowDown", True),
        ("TooManyRequestsException", True), ("RequestLimitExceeded", True), ("InternalServerError", True),
        ("AccessDeniedException", False), ("ResourceNotFoundException", False), ("ValidationException", False), ("TaskTimedOut", False),
    ],
)  # fmt: skip
def test_answer_of_aws_says_whether_the_same_call_can_succeed_later(code: str, unavailable: bool) -> None:
    assert is_aws_unavailable(refused("Any", code)) is unavailable


@pytest.mark.parametrize(
    "error", [ReadTimeoutError(endpoint_url="x"), EndpointConnectionError(endpoint_url="x"), ConnectionClosedError(endpoint_url="x")]
)
def test_call_without_an_answer_can_succeed_later(error: Exception) -> None:
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    assert is_aws_unavailable(error)
    assert is_aws_unavailable(wrapped)
    assert not is_aws_unavailable(RuntimeError("another"))


def test_call_whose_audit_entry_cannot_be_written_can_succeed_later() -> None:
    assert is_aws_unavailable(AuditUnavailableError("not written"))
