"""Which calls are repeated while DynamoDB is busy, how often and for how long."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from titleholder.errors import TableBusyError
from titleholder.store.patience import (
    BUSY,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PATIENCE_SECONDS,
    RESERVE_SECONDS,
    TRIES,
    PatientClient,
)

THROTTLED = ("ThrottlingError", "ProvisionedThroughputExceeded")
FINAL = ("ConditionalCheckFailed", "ItemCollectionSizeLimitExceeded", "ValidationError")


class Client:
    """Answers one call after the other, each in `seconds`, and keeps the requests."""

    def __init__(self, *answers: Any, seconds: float = 0.0) -> None:
        self._answers = itertools.chain(answers, itertools.repeat({}))
        self._seconds = seconds
        self.requests: list[Any] = []
        self.pauses: list[float] = []
        self.throttled: list[None] = []
        self.now = 1000.0

    def patient(self, jitter: Callable[[], float] = lambda: 1.0, time_left: Callable[[], float] = lambda: 10**6) -> PatientClient:
        return PatientClient(
            self, clock=lambda: self.now, sleep=self._sleep, jitter=jitter, time_left=time_left,
            on_throttled=lambda: self.throttled.append(None),
        )  # fmt: skip

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def _answer(self, **request: Any) -> Any:
        self.requests.append(request)
        self.now += self._seconds
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    get_item = put_item = update_item = delete_item = query = batch_get_item = transact_write_items = _answer


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "Operation")


def cancelled(*codes: str) -> ClientError:
    response: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": [{"Code": code} for code in codes]}
    return ClientError(response, "TransactWriteItems")


def positions(code: str, size: int = 4) -> list[Sequence[str]]:
    """Every way in which some of a transaction's parts can have been refused for this reason."""
    return [[code if chosen else "None" for chosen in each] for each in itertools.product([True, False], repeat=size) if any(each)]


@pytest.mark.parametrize("code", [*THROTTLED, "TransactionConflict"])
def test_transaction_is_repeated_whichever_of_its_parts_dynamodb_was_too_busy_for(code: str) -> None:
    for codes in positions(code):
        client = Client(*[cancelled(*codes)] * 3)
        assert client.patient().transact_write_items(TransactItems=[{}]) == {}
        assert len(client.requests) == 4
        assert len(client.throttled) == (3 if code in THROTTLED else 0)


def test_transaction_is_repeated_where_its_parts_were_refused_for_different_passing_reasons() -> None:
    client = Client(cancelled("TransactionConflict", "None", *THROTTLED))
    client.patient().transact_write_items(TransactItems=[{}])
    assert len(client.requests) == 2


@pytest.mark.parametrize("code", FINAL)
def test_transaction_that_would_be_refused_again_is_not_repeated_even_if_another_part_was_throttled(code: str) -> None:
    for beside in (["None"], list(THROTTLED), ["TransactionConflict"]):
        for codes in itertools.permutations([code, *beside]):
            client = Client(cancelled(*codes))
            with pytest.raises(ClientError, match="TransactionCanceledException"):
                client.patient().transact_write_items(TransactItems=[{}])
            assert len(client.requests) == 1


def test_all_tries_of_a_transaction_have_one_token_so_that_the_success_of_a_lost_try_is_recognised() -> None:
    client = Client(cancelled("ThrottlingError"), refused("TransactionInProgressException"), refused("ThrottlingException"))
    patient = client.patient()
    for _ in range(2):
        patient.transact_write_items(TransactItems=[{}])
    tokens = [request["ClientRequestToken"] for request in client.requests]
    assert len(set(tokens[:4])) == 1
    assert tokens[4] != tokens[0]
    assert all(1 <= len(token) <= 36 for token in tokens)


@pytest.mark.parametrize("code", sorted(BUSY))
@pytest.mark.parametrize("operation", ["get_item", "put_item", "update_item", "delete_item", "query", "batch_get_item"])
def test_single_call_that_the_sdk_gave_up_is_repeated(operation: str, code: str) -> None:
    client = Client(refused(code), refused(code), {"Responses": {}})
    request: dict[str, Any] = {"RequestItems": {"t": {}}} if operation == "batch_get_item" else {"Key": 1}
    assert getattr(client.patient(), operation)(**request) == {"Responses": {}}
    assert client.requests == [request] * 3


@pytest.mark.parametrize(
    "error",
    [refused("ConditionalCheckFailedException"), refused("IdempotentParameterMismatchException"), refused("AccessDeniedException"),
     refused("ValidationException"), ReadTimeoutError(endpoint_url="https://aws"), KeyError("k")],
    ids=str,
)  # fmt: skip
def test_other_failures_are_raised_at_once_and_unchanged(error: Exception) -> None:
    client = Client(error)
    with pytest.raises(type(error)) as raised:
        client.patient().put_item(Key=1)
    assert raised.value is error
    assert len(client.requests) == 1


def test_pauses_are_random_parts_of_growing_ones() -> None:
    longest = [min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**number) for number in range(10)]
    for share in (1.0, 0.5, 0.0):
        client = Client(*[cancelled("ThrottlingError")] * 10)
        client.patient(jitter=partial(float, share)).transact_write_items(TransactItems=[{}])
        assert client.pauses == [share * each for each in longest]


def test_call_is_given_up_after_the_last_try_with_an_error_of_our_own() -> None:
    client = Client(*[cancelled("ThrottlingError")] * 100)
    with pytest.raises(TableBusyError) as raised:
        client.patient(jitter=lambda: 0.1).transact_write_items(TransactItems=[{}])
    assert raised.value.__suppress_context__
    assert len(client.requests) == TRIES


def test_no_try_begins_after_the_time_that_the_sdks_own_pauses_have_used_up() -> None:
    client = Client(*[refused("ThrottlingException")] * 100, seconds=3.5)
    with pytest.raises(TableBusyError):
        client.patient().put_item(Key=1)
    assert len(client.requests) == 3
    assert sum(client.pauses) + 2 * 3.5 <= PATIENCE_SECONDS


def test_no_try_begins_when_the_function_has_no_time_left_for_it() -> None:
    client = Client(*[refused("ThrottlingException")] * 100, seconds=0.1)
    with pytest.raises(TableBusyError):
        client.patient(time_left=lambda: 1000 + RESERVE_SECONDS + 1 - client.now).put_item(Key=1)
    assert 1 < len(client.requests) < TRIES
    assert client.now <= 1001.1


def page(*found: str, left: Sequence[str] = ()) -> dict[str, Any]:
    unprocessed = {"UnprocessedKeys": {"t": {"Keys": list(left)}}} if left else {"UnprocessedKeys": {}}
    return {"Responses": {"t": list(found)}, **unprocessed}


def test_keys_that_were_left_unprocessed_are_asked_for_until_all_are_there() -> None:
    client = Client(page("a", left="bcd"), page(left="bcd"), refused("ThrottlingException"), page("c", left="bd"), page("b", "d"))
    assert client.patient().batch_get_item(RequestItems={"t": {"Keys": list("abcd")}}) == {"Responses": {"t": list("acbd")}}
    assert [request["RequestItems"]["t"]["Keys"] for request in client.requests] == [
        list(each) for each in ("abcd", "bcd", "bcd", "bcd", "bd")
    ]
    assert len(client.pauses) == 4
    assert client.pauses[1] > client.pauses[0]  # None came in between.


def test_keys_that_are_never_processed_are_given_up_and_nothing_is_taken_for_missing() -> None:
    client = Client(page("a", left="b"), *[page(left="b")] * 100)
    with pytest.raises(TableBusyError):
        client.patient(jitter=lambda: 0.1).batch_get_item(RequestItems={"t": {"Keys": list("ab")}})
    assert len(client.requests) == TRIES


def test_slow_progress_is_progress() -> None:
    client = Client(*[page(str(number), left="x") for number in range(3 * TRIES)], page("x"))
    found = client.patient().batch_get_item(RequestItems={"t": {"Keys": ["x"]}})
    assert len(found["Responses"]["t"]) == 3 * TRIES + 1
