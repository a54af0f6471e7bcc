"""What Amazon's own engine refuses, takes and answers, the simulation's table does too.

moto and the embedded AWS are laxer in places, which docs/testing.md lists.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from tests.integration.store.conftest import SCHEMAS
from tests.support import dynamodb_local
from tests.support.fakes.dynamodb import FakeDynamoDB
from tests.support.template import table_schema

Call = Callable[[Any], Any]
TABLE = "ttt"
KIB = 1024


def text(value: str) -> dict[str, str]:
    return {"S": value}


def number(value: object) -> dict[str, str]:
    return {"N": str(value)}


KEY = {"pk": text("a"), "sk": text("b")}


def key(sk: object) -> dict[str, Any]:
    return {"pk": text("a"), "sk": text(str(sk))}


def values(**given: Any) -> dict[str, Any]:
    return {"ExpressionAttributeValues": {f":{name}": value for name, value in given.items()}}


def named(**given: str) -> dict[str, Any]:
    return {"ExpressionAttributeNames": {f"#{name}": attribute for name, attribute in given.items()}}


def put(item: Mapping[str, Any], condition: str = "", **more: Any) -> Call:
    conditional = {"ConditionExpression": condition} if condition else {}
    return lambda table: table.put_item(TableName=TABLE, Item=item, **conditional, **more)


def put_if(condition: str, **more: Any) -> Call:
    return put(KEY, condition, **more)


def put_if_in(number_of_values: int) -> Call:
    names = [f"v{place}" for place in range(number_of_values)]
    return put_if(f"turn IN ({', '.join(f':{name}' for name in names)})", **values(**{name: text("x") for name in names}))


def update(expression: str, **more: Any) -> Call:
    return lambda table: table.update_item(TableName=TABLE, Key=KEY, UpdateExpression=expression, **more)


def get(wanted: Mapping[str, Any]) -> Call:
    return lambda table: table.get_item(TableName=TABLE, Key=wanted, ConsistentRead=True)


def get_all(*keys: Mapping[str, Any]) -> Call:
    return lambda table: table.batch_get_item(RequestItems={TABLE: {"Keys": list(keys), "ConsistentRead": True}})


def transact(*parts: Mapping[str, Any], **more: Any) -> Call:
    return lambda table: table.transact_write_items(TransactItems=list(parts), **more)


def put_part(item: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": TABLE, "Item": item, **more}}


def update_part(expression: str, wanted: Mapping[str, Any] = KEY, **more: Any) -> dict[str, Any]:
    return {"Update": {"TableName": TABLE, "Key": wanted, "UpdateExpression": expression, **more}}


def check_part(wanted: Mapping[str, Any], condition: str, **more: Any) -> dict[str, Any]:
    return {"ConditionCheck": {"TableName": TABLE, "Key": wanted, "ConditionExpression": condition, **more}}


def query(prefix: str = "x", **more: Any) -> Call:
    condition = {"KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)", **values(pk=text("a"), prefix=text(prefix))}
    return lambda table: table.query(TableName=TABLE, ConsistentRead=True, **condition, **more)


def query_index(**more: Any) -> Call:
    condition = {"KeyConditionExpression": "open_kind = :kind AND open_since_ms < :before", **values(kind=text("r"), before=number(9))}
    return lambda table: table.query(TableName=TABLE, IndexName="open", **condition, **more)


def after(*calls: Call) -> Call:
    """The answer of the last call."""
    return lambda table: [call(table) for call in calls][-1]


def refused(call: Call) -> Call:
    """The call, which has to be refused."""

    def refusal(table: Any) -> None:
        with pytest.raises(ClientError):
            call(table)

    return refusal


def answer(call: Call, of: Callable[[Any], Any]) -> Call:
    """What `of` makes of the call's answer."""
    return lambda table: of(call(table))


ONE = values(one=number(1))
INVALID: dict[str, Call] = {
    "an item above 400 KiB": put({**KEY, "x": text("x" * (400 * KIB - 6))}),
    "an item above 400 KiB in UTF-8": put({**KEY, "x": text("é" * 210 * KIB)}),
    "an update that makes an item larger than 400 KiB": after(
        put({**KEY, "x": text("x" * 300 * KIB)}), update("SET y = :y", **values(y=text("y" * 110 * KIB)))
    ),
    "a transaction with an item above 400 KiB": transact(put_part({**KEY, "x": text("x" * 410 * KIB)})),
    "a transaction of 101 items": transact(*(put_part(key(sk)) for sk in range(101))),
    "a transaction above 4 MiB": transact(*(put_part({**key(sk), "x": text("x" * 390 * KIB)}) for sk in range(11))),
    "a transaction that writes an item twice": transact(put_part(KEY), update_part("SET x = :x", **values(x=text("1")))),
    "a transaction that checks what it writes": transact(check_part(KEY, "attribute_not_exists(pk)"), put_part(KEY)),
    "a transaction of nothing": transact(),
    "a transaction that adds to what does not exist": transact(update_part("SET n = n + :one", **ONE)),
    "an empty partition key": put({"pk": text(""), "sk": text("b")}),
    "an empty sort key": put(key("")),
    "a partition key of 2,049 bytes": put({"pk": text("a" * 2049), "sk": text("b")}),
    "a sort key of 1,025 bytes": put(key("b" * 1025)),
    "a sort key of 1,026 bytes in UTF-8": put(key("é" * 513)),
    "reading a partition key of 2,049 bytes": get({"pk": text("a" * 2049), "sk": text("b")}),
    "reading without the sort key": get({"pk": text("a")}),
    "reading with more than the key": get({**KEY, "x": text("a")}),
    "an item without the sort key": put({"pk": text("a")}),
    "a key of another type": put({"pk": number(1), "sk": text("b")}),
    "an empty set": put({**KEY, "x": {"SS": []}}),
    "a set with a value twice": put({**KEY, "x": {"SS": ["a", "a"]}}),
    "a number of 39 digits": put({**KEY, "x": number("1" * 39)}),
    "a number that is too large": put({**KEY, "x": number("1e126")}),
    "not a number": put({**KEY, "x": number("NaN")}),
    "an attribute without a name": put({**KEY, "": text("x")}),
    "a value of two types": put({**KEY, "x": {"S": "a", "N": "1"}}),
    "a reserved word in a condition": put_if("attribute_not_exists(status)"),
    "a reserved word that is compared": put_if("region = :r", **values(r=text("x"))),
    "a reserved word that is set": update("SET name = :r", **values(r=text("x"))),
    "a reserved word that is removed": update("REMOVE name"),
    "a value that is not used": put_if("attribute_not_exists(pk)", **values(r=text("x"))),
    "a name that is not used": put_if("attribute_not_exists(pk)", **named(r="x")),
    "a value that is not defined": put_if("turn = :r"),
    "a name that is not defined": put_if("attribute_not_exists(#x)"),
    "an empty mapping of values": put_if("attribute_not_exists(pk)", ExpressionAttributeValues={}),
    "IN with 101 values": put_if_in(101),
    "a condition of more than 4 KiB": put_if(" OR ".join([f"attribute_not_exists({'a' * 200})"] * 20)),
    "redundant parentheses": put_if("((attribute_not_exists(pk)))"),
    "an attribute compared with itself": put_if("turn = turn"),
    "a name with a dash": update("SET a-b = :x", **values(x=text("1"))),
    "a sum with what does not exist": update("SET n = n + :one", **ONE),
    "a copy of what does not exist": update("SET n = m"),
    "a sum with a text": after(put({**KEY, "n": text("x")}), update("SET n = n + :one", **ONE)),
    "adding to a text": after(put({**KEY, "n": text("x")}), update("ADD #n :one", **named(n="n"), **ONE)),
    "setting an attribute twice": update("SET x = :a, #x = :b", **named(x="x"), **values(a=text("1"), b=text("2"))),
    "setting and removing an attribute": update("SET x = :a REMOVE x", **values(a=text("1"))),
    "removing an attribute twice": update("REMOVE x, x"),
    "setting a key": update("SET sk = :a", **values(a=text("b"))),
    "removing a key": update("REMOVE sk"),
    "a key of the index of another type": put({**KEY, "open_kind": text("r"), "open_since_ms": text("5")}),
    "setting a key of the index to another type": update("SET open_kind = :k", **values(k=number(1))),
    "an empty key of the index": put({**KEY, "open_kind": text(""), "open_since_ms": number(5)}),
    "setting a key of the index to nothing": update("SET open_kind = :k", **values(k=text(""))),
    "a consistent read of the index": query_index(ConsistentRead=True),
    "reading 101 items": get_all(*map(key, range(101))),
    "reading an item twice in one call": get_all(KEY, KEY),
    "reading no item": get_all(),
    "a query with a value that is not used": lambda table: table.query(
        TableName=TABLE, KeyConditionExpression="pk = :pk", ConsistentRead=True, **values(pk=text("a"), r=text("x"))
    ),
    "a query for an empty prefix": query(""),
    "a query that starts outside of its prefix": query(ExclusiveStartKey=key("a")),
    "a query backwards that starts outside of its prefix": query(ExclusiveStartKey=key("z"), ScanIndexForward=False),
    "a query that starts in another partition": query(ExclusiveStartKey={"pk": text("z"), "sk": text("x")}),
}


def sort_keys(found: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """The sort keys of a page, and that after which the next one begins."""
    last = found.get("LastEvaluatedKey")
    return [item["sk"]["S"] for item in found["Items"]], last and last["sk"]["S"]


def open_item(sk: object) -> dict[str, Any]:
    return {**key(sk), "open_kind": text("r"), "open_since_ms": number(5), "account": text("fca_1"), "mode": text("test"), "x": text("y")}


ADD_ONE = update_part("ADD n :one", **ONE)
PUT_NEW = put_part(KEY, ConditionExpression="attribute_not_exists(pk)")
THREE = (put(key("x1")), put(key("x2")), put(key("x3")))
LARGE = tuple(put({**key(f"x{number}"), "x": text("x" * 300 * KIB)}) for number in range(5))
REFUSED, CANCELLED = "ConditionalCheckFailedException", ["None", "ConditionalCheckFailed"]
ANSWERS: dict[str, tuple[Call, Any]] = {
    "an item of 400 KiB": (put({**KEY, "x": text("x" * (400 * KIB - 9))}), "taken"),
    "a transaction of 100 items": (transact(*(put_part(key(sk)) for sk in range(100))), "taken"),
    "a transaction just below 4 MiB": (transact(*(put_part({**key(sk), "x": text("x" * 390 * KIB)}) for sk in range(10))), "taken"),
    "the reasons of a cancelled transaction": (
        after(put(key(1)), transact(put_part(key(2)), put_part(key(1), ConditionExpression="attribute_not_exists(pk)"))), CANCELLED,
    ),
    "a transaction that is repeated with its token": (
        after(*[transact(ADD_ONE, ClientRequestToken="one")] * 2, answer(get(KEY), lambda found: found["Item"]["n"])), number(1),
    ),
    "a cancelled transaction that is repeated with its token": (
        after(
            put(KEY), refused(transact(PUT_NEW, ClientRequestToken="two")), lambda table: table.delete_item(TableName=TABLE, Key=KEY),
            transact(PUT_NEW, ClientRequestToken="two"),
        ),
        "taken",
    ),
    "another transaction with a token that was used": (
        after(*[transact(part, ClientRequestToken="three") for part in (ADD_ONE, PUT_NEW)]), "IdempotentParameterMismatchException",
    ),
    "a partition key of 2,048 bytes": (put({"pk": text("a" * 2048), "sk": text("b")}), "taken"),
    "a sort key of 1,024 bytes": (put(key("b" * 1024)), "taken"),
    "an empty text": (put({**KEY, "x": text("")}), "taken"),
    "empty bytes": (put({**KEY, "x": {"B": b""}}), "taken"),
    "an empty list": (put({**KEY, "x": {"L": []}}), "taken"),
    "null": (put({**KEY, "x": {"NULL": True}}), "taken"),
    "a number of 38 digits": (put({**KEY, "x": number("1" * 38)}), "taken"),
    "IN with 100 values": (put_if_in(100), REFUSED),
    "what does not exist is not equal": (put_if("turn = :v", **values(v=text("1"))), REFUSED),
    "what does not exist differs": (put_if("turn <> :v", **values(v=text("1"))), "taken"),
    "a condition that is not true": (put_if("NOT turn = :v", **values(v=text("1"))), "taken"),
    "values of two types differ": (after(put({**KEY, "turn": number(1)}), put_if("turn <> :v", **values(v=text("1")))), "taken"),
    "values of two types have no order": (after(put({**KEY, "turn": number(1)}), put_if("turn < :v", **values(v=text("2")))), REFUSED),
    "adding to what does not exist": (
        answer(update("ADD #n :one", ReturnValues="ALL_NEW", **named(n="n"), **ONE), lambda found: found["Attributes"]["n"]), number(1),
    ),
    "removing from what does not exist makes an item": (after(update("REMOVE x"), answer(get(KEY), lambda found: found["Item"])), KEY),
    "deleting what does not exist": (lambda table: table.delete_item(TableName=TABLE, Key=KEY), "taken"),
    "reading 100 items": (answer(get_all(*map(key, range(100))), lambda found: found["Responses"][TABLE]), []),
    "a query's last page that is full has a next one": (after(*THREE, answer(query(Limit=3), sort_keys)), (["x1", "x2", "x3"], "x3")),
    "a query's last page that is not full has none": (after(*THREE, answer(query(Limit=4), sort_keys)), (["x1", "x2", "x3"], None)),
    "a query backwards": (
        after(*THREE, answer(query(Limit=1, ScanIndexForward=False, ExclusiveStartKey=key("x3")), sort_keys)), (["x2"], "x2"),
    ),
    "a query's page ends with the item that reaches 1 MiB": (
        after(*LARGE, answer(query(), sort_keys)), (["x0", "x1", "x2", "x3"], "x3"),
    ),
    "the index projects some attributes": (
        after(put(open_item(1)), answer(query_index(), lambda found: set(found["Items"][0]))),
        {"pk", "sk", "open_kind", "open_since_ms", "account", "mode"},
    ),
    "an item with one of the index's keys is not in it": (
        after(put({**KEY, "open_kind": text("r")}), answer(query_index(), lambda found: found["Items"])), [],
    ),
    "a page of the index names both keys": (
        after(put(open_item(1)), put(open_item(2)), answer(query_index(Limit=1), lambda found: set(found["LastEvaluatedKey"]))),
        {"pk", "sk", "open_kind", "open_since_ms"},
    ),
}  # fmt: skip


@pytest.fixture(params=["the simulation's table", pytest.param(dynamodb_local.NAME, marks=pytest.mark.slow)])
def table(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "the simulation's table":
        yield FakeDynamoDB()
        return
    engine, _ = request.getfixturevalue("amazon")
    with contextlib.suppress(ClientError):
        engine.delete_table(TableName=TABLE)
    engine.create_table(TableName=TABLE, **table_schema(SCHEMAS[TABLE]))
    yield engine


def outcome(call: Call, table: Any) -> Any:
    try:
        found = call(table)
    except ParamValidationError:
        return "ValidationException"
    except ClientError as error:
        reasons = error.response.get("CancellationReasons")
        return [reason["Code"] for reason in reasons] if reasons else error.response["Error"]["Code"]
    return "taken" if isinstance(found, dict) and not found.keys() - {"ResponseMetadata", "ConsumedCapacity"} else found


@pytest.mark.parametrize("rule", INVALID)
def test_invalid_request_is_refused(table: Any, rule: str) -> None:
    assert outcome(INVALID[rule], table) == "ValidationException"


@pytest.mark.parametrize("rule", ANSWERS)
def test_request_is_answered_alike(table: Any, rule: str) -> None:
    call, wanted = ANSWERS[rule]
    assert outcome(call, table) == wanted
