"""What a function raises tells nobody more than it may."""

from __future__ import annotations

import traceback
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from titleholder.errors import BatchNotFoundError, UnexpectedError
from titleholder.observability import observed

CONTEXT = SimpleNamespace(
    function_name="f", function_version="1", memory_limit_in_mb=512, aws_request_id="r", invoked_function_arn="arn", log_group_name="l"
)


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
def test_what_nobody_foresaw_is_told_by_kind_and_place_alone(error: Exception, told: str) -> None:
    with pytest.raises(UnexpectedError) as raised:
        raising(error)({}, CONTEXT)
    assert str(raised.value).startswith(told)
    assert "test_observability.py:" in str(raised.value)
    assert "Zebulon" not in "".join(traceback.format_exception(raised.value))


def test_errors_of_our_own_are_told_as_they_are() -> None:
    with pytest.raises(BatchNotFoundError, match="No such batch"):
        raising(BatchNotFoundError("No such batch."))({}, CONTEXT)
