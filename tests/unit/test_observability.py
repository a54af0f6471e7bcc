"""What a function raises shows no more than it may."""

from __future__ import annotations

import json
import math
import re
import traceback
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.functions import ROOT
from titleholder.errors import BatchNotFoundError, UnexpectedError
from titleholder.observability import count_verdict, measure_seconds, metrics, observed, tally, time_left

CONTEXT = SimpleNamespace(
    function_name="f", function_version="1", memory_limit_in_mb=512, aws_request_id="r", invoked_function_arn="arn", log_group_name="l",
    get_remaining_time_in_millis=lambda: 45_000,
)  # fmt: skip


def raising(error: Exception) -> Any:
    @observed
    def handler(event: Any, context: Any) -> Any:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("Zebulon Quackenbush"), "KeyError at observability.py:"),
        (UnicodeEncodeError("ascii", "Zebulon", 0, 1, "why"), "UnicodeEncodeError at "),
        (ClientError({"Error": {"Code": "ValidationException", "Message": "Zebulon"}}, "PutItem"), "ClientError (ValidationException) at "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_unexpected_error_keeps_only_its_type_code_and_place(error: Exception, told: str) -> None:
    with pytest.raises(UnexpectedError) as raised:
        raising(error)({}, CONTEXT)
    assert str(raised.value).startswith(told)
    assert "test_observability.py:" in str(raised.value)
    assert "Zebulon" not in "".join(traceback.format_exception(raised.value))


def test_errors_of_our_own_are_raised_unchanged() -> None:
    with pytest.raises(BatchNotFoundError, match="This stack has no such batch"):
        raising(BatchNotFoundError())({}, CONTEXT)


@pytest.mark.parametrize(("event", "seconds"), [({}, 45), ({"Records": []}, 45), ({"requestContext": {"http": {"method": "GET"}}}, 29)])
def test_time_left_is_the_functions_and_for_http_requests_no_longer_than_api_gateway_waits(event: Any, seconds: float) -> None:
    @observed
    def handler(event: Any, context: Any) -> float:
        return time_left()

    assert seconds - 1 < handler(event, CONTEXT) <= seconds
    assert time_left() == math.inf


def test_what_was_tallied_is_one_metric_of_the_invocation_with_the_service_as_its_only_dimension(capsys: Any) -> None:
    @observed
    def handler(event: Any, context: Any) -> None:
        metrics.add_dimension(name="outcome", value="match")
        for _ in range(3):
            tally("TransactionsThrottled")

    handler({}, CONTEXT)
    handler({}, CONTEXT)
    emitted = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "TransactionsThrottled" in line]
    assert [line["TransactionsThrottled"] for line in emitted] == [[3.0], [3.0]]
    assert all(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]] for line in emitted)


def test_times_that_many_threads_measure_are_all_emitted(capsys: Any) -> None:
    """A metric holds a hundred values, so more are several lines."""

    @observed
    def handler(event: Any, context: Any) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: measure_seconds("VerificationSeconds", number), range(1000)))

    handler({}, CONTEXT)
    emitted = [line["VerificationSeconds"] for line in map(json.loads, capsys.readouterr().out.splitlines())]
    assert sorted(value for values in emitted for value in values) == list(range(1000))
    assert all(len(values) <= 100 for values in emitted)


def test_time_is_never_negative_because_clocks_differ(capsys: Any) -> None:
    @observed
    def handler(event: Any, context: Any) -> None:
        measure_seconds("SecondsAfterStripeAnswered", -0.4)

    handler({}, CONTEXT)
    assert json.loads(capsys.readouterr().out)["SecondsAfterStripeAnswered"] == [0.0]


def test_outcome_is_a_dimension_of_no_other_metric(capsys: Any) -> None:
    @observed
    def handler(event: Any, context: Any) -> None:
        count_verdict("match")
        measure_seconds("VerificationSeconds", 1.0)

    handler({}, CONTEXT)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    dimensions = {name: line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for line in lines for name in line if name.startswith("Ver")}
    assert dimensions == {"VerificationCompleted": [["service", "outcome"]], "VerificationSeconds": [["service"]]}


def test_no_traceback_is_logged_because_its_message_may_hold_personal_data() -> None:
    sources = [*(ROOT / "layers" / "titleholder" / "python").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    assert sources
    assert [str(path) for path in sources if re.search(r"logger\.exception\(|exc_info=", path.read_text())] == []
