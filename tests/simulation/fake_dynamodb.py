"""DynamoDB in memory: the operations and expressions that `titleholder.store` uses, and nothing else.

The store's contract (`tests/integration/store`) runs on it as on moto.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

Attributes = dict[str, Any]
_NOTHING = {"N": "0"}
Expression = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
INDEX_KEYS = ("open_kind", "open_since_ms")
MOST_ITEM_BYTES = 400 * 1024
MOST_PARTS, MOST_TRANSACTION_BYTES = 100, 4 * 1024 * 1024
INDEX_PROJECTION = ("account", "mode", "stripe_account", "verification")

_TOKENS = re.compile(
    r"\s*(attribute_exists|attribute_not_exists|begins_with|(?:AND|OR|NOT|IN)\b|<=|>=|<>|[()=<>,+]|[:#]?[A-Za-z_][A-Za-z0-9_]*)"
)


def refused(operation: str, code: str, **more: Any) -> ClientError:
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": 400}, **more}
    return ClientError(response, operation)  # type: ignore[arg-type]


class FakeDynamoDB:
    """The table (`items`) and the one of keys, whose name ends in `keys`.

    `cross(operation, effect)` is called around each operation: there the simulation lets time pass and things go wrong."""

    def __init__(self, cross: Callable[[str, Callable[[], Any]], Any] = lambda operation, effect: effect()) -> None:
        self.items: dict[tuple[str, str], Attributes] = {}
        self.keys: dict[tuple[str, str], Attributes] = {}
        self._partitions: dict[str, dict[str, None]] = {}
        self.changed: Callable[[Attributes | None, Attributes], None] = lambda before, after: None
        self.refuses: Callable[[Attributes], bool] = lambda item: False
        self._cross = cross

    def get_item(self, *, TableName: str, Key: Attributes, ConsistentRead: bool) -> Attributes:
        return self._cross("GetItem", lambda: {"Item": dict(found)} if (found := self._rows(TableName).get(_key(Key))) else {})

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> Attributes:
        def effect() -> Attributes:
            found = {
                table: [dict(row) for key in wanted["Keys"] if (row := self._rows(table).get(_key(key)))]
                for table, wanted in RequestItems.items()
            }
            return {"Responses": found, "UnprocessedKeys": {}}

        return self._cross("BatchGetItem", effect)

    def put_item(
        self,
        *,
        TableName: str,
        Item: Attributes,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        ExpressionAttributeValues: Mapping[str, Any] | None = None,
        ReturnValuesOnConditionCheckFailure: str = "NONE",
    ) -> Attributes:
        def effect() -> Attributes:
            if self.refuses(Item):
                raise refused("PutItem", "ProvisionedThroughputExceededException")
            before = self._rows(TableName).get(_key(Item))
            if not _holds(ConditionExpression, before, ExpressionAttributeNames or {}, ExpressionAttributeValues or {}):
                old = {"Item": dict(before)} if before and ReturnValuesOnConditionCheckFailure == "ALL_OLD" else {}
                raise refused("PutItem", "ConditionalCheckFailedException", **old)
            self._store(TableName, Item)
            return {}

        return self._cross("PutItem", effect)

    def update_item(
        self,
        *,
        TableName: str,
        Key: Attributes,
        UpdateExpression: str,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        ExpressionAttributeValues: Mapping[str, Any] | None = None,
        ReturnValues: str = "NONE",
    ) -> Attributes:
        def effect() -> Attributes:
            names, values = ExpressionAttributeNames or {}, ExpressionAttributeValues or {}
            if not _holds(ConditionExpression, self._rows(TableName).get(_key(Key)), names, values):
                raise refused("UpdateItem", "ConditionalCheckFailedException")
            after = self._change(TableName, Key, UpdateExpression, names, values)
            return {"Attributes": dict(after)} if ReturnValues == "ALL_NEW" else {}

        return self._cross("UpdateItem", effect)

    def delete_item(
        self, *, TableName: str, Key: Attributes, ConditionExpression: str = "", ExpressionAttributeValues: Mapping[str, Any] | None = None
    ) -> Attributes:
        def effect() -> Attributes:
            rows = self._rows(TableName)
            if not _holds(ConditionExpression, rows.get(_key(Key)), {}, ExpressionAttributeValues or {}):
                raise refused("DeleteItem", "ConditionalCheckFailedException")
            rows.pop(_key(Key), None)
            if rows is self.items:
                pk, sk = _key(Key)
                self._partitions.get(pk, {}).pop(sk, None)
            return {}

        return self._cross("DeleteItem", effect)

    def transact_write_items(self, *, TransactItems: list[Attributes]) -> Attributes:
        def effect() -> Attributes:
            parts = [(kind, part) for item in TransactItems for kind, part in item.items()]
            if len(parts) > MOST_PARTS or sum(_bytes(part["Item"]) for kind, part in parts if kind == "Put") > MOST_TRANSACTION_BYTES:
                raise refused("TransactWriteItems", "ValidationException")
            held = [self._part_holds(part) for _, part in parts]
            if not all(held):
                reasons = [{"Code": "None" if holds else "ConditionalCheckFailed"} for holds in held]
                raise refused("TransactWriteItems", "TransactionCanceledException", CancellationReasons=reasons)
            for kind, part in parts:
                if kind == "Put":
                    self._store(part["TableName"], part["Item"])
                elif kind == "Update":
                    names, values = part.get("ExpressionAttributeNames", {}), part.get("ExpressionAttributeValues", {})
                    self._change(part["TableName"], part["Key"], part["UpdateExpression"], names, values)
            return {}

        return self._cross("TransactWriteItems", effect)

    def query(
        self,
        *,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Mapping[str, Any],
        ConsistentRead: bool = False,
        IndexName: str = "",
        Limit: int = 10**9,
        ScanIndexForward: bool = True,
        ExclusiveStartKey: Attributes | None = None,
    ) -> Attributes:
        def effect() -> Attributes:
            if IndexName:
                rows = [item for item in self.items.values() if all(key in item for key in INDEX_KEYS)]
            else:
                pk = ExpressionAttributeValues[":pk"]["S"]
                rows = [self.items[pk, sk] for sk in self._partitions.get(pk, ()) if (pk, sk) in self.items]
            order = INDEX_KEYS[1] if IndexName else "sk"
            found = [dict(item) for item in rows if _holds(KeyConditionExpression, item, {}, ExpressionAttributeValues)]

            def place(item: Attributes) -> tuple[Any, str, str]:
                return (_plain(item[order]), *_key(item))

            found.sort(key=place, reverse=not ScanIndexForward)
            if ExclusiveStartKey:
                start = place(ExclusiveStartKey)
                found = [item for item in found if (place(item) > start if ScanIndexForward else place(item) < start)]
            keys = ("pk", "sk", *(INDEX_KEYS if IndexName else ()))
            last = {"LastEvaluatedKey": {name: found[Limit - 1][name] for name in keys}} if len(found) > Limit else {}
            if IndexName:
                found = [{name: item[name] for name in (*keys, *INDEX_PROJECTION) if name in item} for item in found]
            return {"Items": found[:Limit], **last}

        return self._cross("Query", effect)

    def scan(self, *, TableName: str) -> Attributes:
        return {"Items": [dict(item) for item in self.items.values()]}

    def _rows(self, table: str) -> dict[tuple[str, str], Attributes]:
        return self.keys if table.endswith("keys") else self.items

    def _part_holds(self, part: Attributes) -> bool:
        before = self._rows(part["TableName"]).get(_key(part.get("Key") or part["Item"]))
        names, values = part.get("ExpressionAttributeNames", {}), part.get("ExpressionAttributeValues", {})
        return _holds(part.get("ConditionExpression", ""), before, names, values)

    def _change(self, table: str, key: Attributes, expression: str, names: Mapping[str, str], values: Mapping[str, Any]) -> Attributes:
        before = self._rows(table).get(_key(key))
        after = {**(before or {}), **key}
        sets, removes = _update(expression)
        for path, value in sets:
            after[_name(path, names)] = value(_Named(before or {}, names), values)
        for path in removes:
            after.pop(_name(path, names), None)
        self._store(table, after)
        return after

    def _store(self, table: str, item: Attributes) -> None:
        if _bytes(item) > MOST_ITEM_BYTES:
            raise refused("PutItem", "ValidationException")
        rows = self._rows(table)
        before, rows[_key(item)] = rows.get(_key(item)), dict(item)
        if rows is self.items:
            pk, sk = _key(item)
            self._partitions.setdefault(pk, {})[sk] = None
            self.changed(before, rows[pk, sk])


class _Named(Mapping[str, Any]):
    """An item whose attributes may be asked for by their placeholders."""

    def __init__(self, item: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._item, self._names = item, names

    def __getitem__(self, path: str) -> Any:
        return self._item[_name(path, self._names)]

    def __iter__(self) -> Any:
        return iter(self._item)

    def __len__(self) -> int:
        return len(self._item)


def _key(item: Attributes) -> tuple[str, str]:
    return item["pk"]["S"], item.get("sk", {"S": ""})["S"]


def _bytes(item: Attributes) -> int:
    """The size of an item, by the longest of what it may hold: its texts and what is sealed."""
    return sum(len(name) + len(next(iter(value.values()))) for name, value in item.items() if value.keys() & {"S", "B"})


def _name(path: str, names: Mapping[str, str]) -> str:
    return names[path] if path.startswith("#") else path


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return int(content) if kind == "N" else content


def _holds(condition: str, item: Attributes | None, names: Mapping[str, str], values: Mapping[str, Any]) -> bool:
    return not condition or bool(_condition(condition)(_Named(item or {}, names), values))


class _Parser:
    """A recursive descent over the little of the expression language that is used."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKENS.findall(text)
        if "".join(self.tokens) != re.sub(r"\s", "", text):
            raise ValueError(f"not understood: {text}")

    def take(self, *wanted: str) -> str | None:
        if self.tokens and (not wanted or self.tokens[0] in wanted):
            return str(self.tokens.pop(0))
        return None

    def either(self) -> Expression:
        left = self.both()
        while self.take("OR"):
            left = _or(left, self.both())
        return left

    def both(self) -> Expression:
        left = self.one()
        while self.take("AND"):
            left = _and(left, self.one())
        return left

    def one(self) -> Expression:
        if self.take("NOT"):
            inner = self.one()
            return lambda item, values: not inner(item, values)
        if self.take("("):
            inner = self.either()
            self.take(")")
            return inner
        if function := self.take("attribute_exists", "attribute_not_exists"):
            self.take("(")
            path = self.take() or ""
            self.take(")")
            wanted = function == "attribute_exists"
            return lambda item, values: _has(item, path) == wanted
        if self.take("begins_with"):
            self.take("(")
            path = self.take() or ""
            self.take(",")
            prefix = self.take() or ""
            self.take(")")
            return lambda item, values: _has(item, path) and _plain(item[path]).startswith(_plain(values[prefix]))
        left, operator = self.take() or "", self.take("=", "<", "<=", ">", ">=", "<>", "IN") or ""
        if operator == "IN":
            among = self._list()
            return lambda item, values: any(_compare("=", _value(left, item, values), values[name]) for name in among)
        right = self.take() or ""
        return lambda item, values: _compare(operator, _value(left, item, values), _value(right, item, values))

    def _list(self) -> list[str]:
        self.take("(")
        among = [self.take() or ""]
        while self.take(","):
            among.append(self.take() or "")
        self.take(")")
        return among


def _or(left: Expression, right: Expression) -> Expression:
    return lambda item, values: left(item, values) or right(item, values)


def _and(left: Expression, right: Expression) -> Expression:
    return lambda item, values: left(item, values) and right(item, values)


def _has(item: Mapping[str, Any], path: str) -> bool:
    try:
        item[path]
    except KeyError:
        return False
    return True


def _value(token: str, item: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    if token.startswith(":"):
        return values[token]
    return item[token] if _has(item, token) else None


def _compare(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None or left.keys() != right.keys():
        return operator == "<>"
    a, b = _plain(left), _plain(right)
    return bool({"=": a == b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "<>": a != b}[operator])


@cache
def _condition(text: str) -> Expression:
    parser = _Parser(text)
    expression = parser.either()
    if parser.tokens:
        raise ValueError(f"not understood: {text}")
    return expression


@cache
def _update(text: str) -> tuple[list[tuple[str, Expression]], list[str]]:
    if text.startswith("ADD "):
        path, value = text.removeprefix("ADD ").split()
        return [(path, _sum(f"{path} + {value}"))], []
    sets_text, _, removes_text = f" {text}".partition(" REMOVE ")
    sets: list[tuple[str, Expression]] = []
    for clause in sets_text.removeprefix(" SET ").split(", ") if sets_text else []:
        path, _, value = clause.partition(" = ")
        sets.append((path, _sum(value)))
    return sets, [path for path in removes_text.split(", ") if path]


def _sum(text: str) -> Expression:
    terms = text.split(" + ")
    if len(terms) == 1:
        return lambda item, values: _value(text, item, values)
    return lambda item, values: {"N": str(sum(_plain(_value(term, item, values) or _NOTHING) for term in terms))}
