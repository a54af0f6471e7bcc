"""What the table asks of DynamoDB, and how it takes the answers."""

from __future__ import annotations

from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from titleholder.store.patience import PatientClient
from titleholder.store.table import CheckFailedError, Table, plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(10**37), 10**37) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner),
    max_leaves=20,
)
CHECK: dict[str, Any] = {"ConditionCheck": {}}
PUT: dict[str, Any] = {"Put": {}}


class Client:
    """Answers one call after the other, and keeps the requests."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.requests: list[Any] = []

    def batch_get_item(self, **request: Any) -> Any:
        return self._answer(request)

    def query(self, **request: Any) -> Any:
        return self._answer(request)

    def transact_write_items(self, **request: Any) -> Any:
        return self._answer(request)

    def _answer(self, request: Any) -> Any:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def table(client: Client) -> Table:
    return Table(PatientClient(client, clock=lambda: 0.0, sleep=[].append), "ttt", clock=lambda: 0.0)


def cancelled(*codes: str) -> ClientError:
    response: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": [{"Code": code} for code in codes]}
    return ClientError(response, "TransactWriteItems")


@given(VALUES)
def test_item_comes_back_as_it_was_stored(value: Any) -> None:
    back = plain({"value": TypeSerializer().serialize(value)})["value"]
    assert back == value
    assert repr(back) == repr(value)  # An int stays an int, bytes stay bytes.


@pytest.mark.parametrize("consistent", [True, False])
def test_items_that_dynamodb_left_out_of_an_answer_are_asked_for_again(consistent: bool) -> None:
    left = {"ttt": {"Keys": [{"pk": {"S": "b"}, "sk": {"S": "s"}}], "ConsistentRead": consistent}}
    client = Client(
        {"Responses": {"ttt": [{"pk": {"S": "a"}, "n": {"N": "1"}}]}, "UnprocessedKeys": left}, {"Responses": {"ttt": [{"pk": {"S": "b"}}]}}
    )
    assert list(table(client).get_all([("a", "s"), ("b", "s")], consistent=consistent)) == [{"pk": "a", "n": 1}, {"pk": "b"}]
    assert client.requests[0]["RequestItems"]["ttt"]["ConsistentRead"] is consistent
    assert client.requests[1] == {"RequestItems": left}


def test_many_items_are_read_a_hundred_at_a_time() -> None:
    client = Client(*[{"Responses": {}}] * 3)
    assert list(table(client).get_all([(str(number), "s") for number in range(201)])) == []
    assert [len(request["RequestItems"]["ttt"]["Keys"]) for request in client.requests] == [100, 100, 1]


def test_counting_reads_page_after_page_and_ends_once_there_are_as_many_as_matter() -> None:
    pages: list[dict[str, Any]] = [{"Count": 2, "LastEvaluatedKey": {"n": {"N": "1"}}}, {"Count": 0, "LastEvaluatedKey": {"n": {"N": "2"}}}]
    client = Client(*pages, {"Count": 1})
    assert table(client).count_index("open", "k = :k", {":k": "review"}, 100) == 3
    assert [request.get("ExclusiveStartKey") for request in client.requests] == [None, {"n": {"N": "1"}}, {"n": {"N": "2"}}]
    assert {request["Select"] for request in client.requests} == {"COUNT"}
    client = Client(*pages)
    assert table(client).count_index("open", "k = :k", {":k": "review"}, 2) == 2
    assert len(client.requests) == 1


def test_failed_check_of_a_transaction_is_distinguished_from_another_failed_condition() -> None:
    assert not table(Client(cancelled("None", "ConditionalCheckFailed"))).transact([CHECK, PUT])
    with pytest.raises(CheckFailedError):
        table(Client(cancelled("ConditionalCheckFailed", "ConditionalCheckFailed"))).transact([CHECK, PUT])
