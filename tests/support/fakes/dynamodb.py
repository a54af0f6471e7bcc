"""DynamoDB in memory: the operations and expressions that `titleholder.store` uses, and nothing else.

The store's contract (`tests/integration/store`) runs on it as on Amazon's own engine, and it refuses what that refuses as invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from tests.support.fakes import dynamodb_rules as rules
from tests.support.fakes.dynamodb_expressions import NamedAttributes, attribute_name, holds, parsed_update, plain
from tests.support.fakes.errors import Cross, at_once, refused

Attributes = dict[str, Any]
INDEX_KEYS = tuple(rules.INDEX_KEYS)
PAGE_BYTES = 1024 * 1024
"""A query ends a page with the item that reaches this size."""
INDEX_PROJECTION = ("account", "mode", "stripe_account", "verification")


class Load:
    """How busy DynamoDB is: not at all. Other loads override this."""

    def refusal(self, operation: str, keys: Sequence[tuple[str, str]]) -> str | None:
        """The code with which a single call about these items is refused; None to let it through."""
        return None

    def part_codes(self, keys: Sequence[tuple[str, str]], held: Sequence[bool]) -> Sequence[str] | None:
        """For each part of a transaction the code for which it is cancelled, or "None"; None to let it through. `held`: whether
        its condition holds.
        """
        return None

    def unprocessed(self, keys: Sequence[tuple[str, str]]) -> Set[int]:
        """Which keys of a BatchGetItem are left unprocessed, by their position."""
        return frozenset()


class FakeDynamoDB:
    """The table (`items`) and the one of keys, whose name ends in `keys`.

    `cross(operation, effect)` is called around each operation: there the simulation lets time pass and things go wrong."""

    def __init__(self, cross: Cross = at_once) -> None:
        self.items: dict[tuple[str, str], Attributes] = {}
        self.keys: dict[tuple[str, str], Attributes] = {}
        self._partitions: dict[str, dict[str, None]] = {}
        self.changed: Callable[[Attributes | None, Attributes], None] = lambda before, after: None
        self.refuses: Callable[[Attributes], bool] = lambda item: False
        self.load = Load()
        self._done: dict[str, list[Attributes]] = {}
        """The transactions that succeeded, by ClientRequestToken."""
        self._cross = cross

    def get_item(
        self,
        *,
        TableName: str,
        Key: Attributes,
        ConsistentRead: bool,
        ProjectionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
    ) -> Attributes:
        def effect() -> Attributes:
            rules.check_key(Key, self._key_names(TableName))
            self._admit("GetItem", _key(Key))
            if not (found := self._rows(TableName).get(_key(Key))):
                return {}
            only = {attribute_name(path, ExpressionAttributeNames or {}) for path in ProjectionExpression.split(", ")}
            return {"Item": {name: value for name, value in found.items() if not ProjectionExpression or name in only}}

        return self._cross("GetItem", effect)

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> Attributes:
        def effect() -> Attributes:
            asked = [(table, key) for table, wanted in RequestItems.items() for key in wanted["Keys"]]
            for table, key in asked:
                rules.check_key(key, self._key_names(table))
            keys = [_key(key) for _, key in asked]
            if not 1 <= len(asked) <= rules.MOST_KEYS or len({(table, *_key(key)) for table, key in asked}) < len(asked):
                raise rules.invalid("no keys, too many, or one twice")
            self._admit("BatchGetItem", *keys)
            unprocessed = self.load.unprocessed(keys)
            found: dict[str, list[Attributes]] = {table: [] for table in RequestItems}
            left: dict[str, Any] = {}
            for number, (table, key) in enumerate(asked):
                if number in unprocessed:
                    left.setdefault(table, {**RequestItems[table], "Keys": []})["Keys"].append(key)
                elif row := self._rows(table).get(_key(key)):
                    found[table].append(dict(row))
            return {"Responses": found, "UnprocessedKeys": left}

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
            rules.check_expressions(ConditionExpression, names=ExpressionAttributeNames, values=ExpressionAttributeValues)
            rules.check_item(Item, self._key_names(TableName))
            if self.refuses(Item):
                raise refused("PutItem", "InternalServerError")
            self._admit("PutItem", _key(Item))
            before = self._rows(TableName).get(_key(Item))
            if not holds(ConditionExpression, before, ExpressionAttributeNames or {}, ExpressionAttributeValues or {}):
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
            self._check_update(TableName, Key, UpdateExpression, ConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues)
            self._admit("UpdateItem", _key(Key))
            names, values = ExpressionAttributeNames or {}, ExpressionAttributeValues or {}
            if not holds(ConditionExpression, self._rows(TableName).get(_key(Key)), names, values):
                raise refused("UpdateItem", "ConditionalCheckFailedException")
            after = self._changed(TableName, Key, UpdateExpression, names, values)
            self._store(TableName, after)
            return {"Attributes": dict(after)} if ReturnValues == "ALL_NEW" else {}

        return self._cross("UpdateItem", effect)

    def delete_item(
        self, *, TableName: str, Key: Attributes, ConditionExpression: str = "", ExpressionAttributeValues: Mapping[str, Any] | None = None
    ) -> Attributes:
        def effect() -> Attributes:
            rules.check_key(Key, self._key_names(TableName))
            rules.check_expressions(ConditionExpression, values=ExpressionAttributeValues)
            self._admit("DeleteItem", _key(Key))
            rows = self._rows(TableName)
            if not holds(ConditionExpression, rows.get(_key(Key)), {}, ExpressionAttributeValues or {}):
                raise refused("DeleteItem", "ConditionalCheckFailedException")
            rows.pop(_key(Key), None)
            if rows is self.items:
                pk, sk = _key(Key)
                self._partitions.get(pk, {}).pop(sk, None)
            return {}

        return self._cross("DeleteItem", effect)

    def transact_write_items(self, *, TransactItems: list[Attributes], ClientRequestToken: str = "") -> Attributes:
        def effect() -> Attributes:
            keys = [_key(part.get("Key") or part["Item"]) for item in TransactItems for part in item.values()]
            self._admit("TransactWriteItems", *keys)
            if ClientRequestToken in self._done:
                if self._done[ClientRequestToken] != TransactItems:
                    raise refused("TransactWriteItems", "IdempotentParameterMismatchException")
                return {}
            parts = [(kind, part) for item in TransactItems for kind, part in item.items()]
            self._check_transaction(parts)
            held = [self._part_holds(part) for _, part in parts]
            codes = self.load.part_codes(keys, held)
            if codes is None and not all(held):
                codes = ["None" if holds else "ConditionalCheckFailed" for holds in held]
            if codes is not None:
                reasons = [{"Code": code} for code in codes]
                raise refused("TransactWriteItems", "TransactionCanceledException", CancellationReasons=reasons)
            written = [(part["TableName"], self._written(kind, part)) for kind, part in parts if kind != "ConditionCheck"]
            if ClientRequestToken:
                self._done[ClientRequestToken] = TransactItems
            for table, item in written:
                self._store(table, item)
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
        FilterExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        Select: str = "",
    ) -> Attributes:
        def effect() -> Attributes:
            names = ExpressionAttributeNames or {}
            rules.check_expressions(
                KeyConditionExpression, FilterExpression, names=ExpressionAttributeNames, values=ExpressionAttributeValues
            )
            if any(value == {"S": ""} for value in ExpressionAttributeValues.values()):
                raise rules.invalid("a key is compared with an empty text")
            if IndexName and ConsistentRead:
                raise rules.invalid("an index has no consistent reads")
            if ExclusiveStartKey and not holds(KeyConditionExpression, ExclusiveStartKey, {}, ExpressionAttributeValues):
                raise rules.invalid("the starting key is outside of what the query asks for")
            self._admit("Query")
            if IndexName:
                rows = [item for item in self.items.values() if all(key in item for key in INDEX_KEYS)]
            else:
                pk = ExpressionAttributeValues[":pk"]["S"]
                rows = [self.items[pk, sk] for sk in self.sort_keys(pk)]
            order = INDEX_KEYS[1] if IndexName else "sk"
            found = [dict(item) for item in rows if holds(KeyConditionExpression, item, {}, ExpressionAttributeValues)]

            def place(item: Attributes) -> tuple[Any, str, str]:
                return (plain(item[order]), *_key(item))

            found.sort(key=place, reverse=not ScanIndexForward)
            if ExclusiveStartKey:
                start = place(ExclusiveStartKey)
                found = [item for item in found if (place(item) > start if ScanIndexForward else place(item) < start)]
            keys = ("pk", "sk", *(INDEX_KEYS if IndexName else ()))
            if IndexName:
                found = [{name: item[name] for name in (*keys, *INDEX_PROJECTION) if name in item} for item in found]
            page = found[: min(Limit, _items_of_a_page(found))]
            more = bool(page) and (len(page) == Limit or len(page) < len(found))
            last = {"LastEvaluatedKey": {name: page[-1][name] for name in keys}} if more else {}
            # A limit counts what is read, before the filter.
            fitting = [item for item in page if holds(FilterExpression, item, names, ExpressionAttributeValues)]
            shown = {} if Select == "COUNT" else {"Items": fitting}
            return {**shown, "Count": len(fitting), "ScannedCount": len(page), **last}

        return self._cross("Query", effect)

    def scan(self, *, TableName: str) -> Attributes:
        return {"Items": [dict(item) for item in self.items.values()]}

    def sort_keys(self, pk: str) -> list[str]:
        """The sort keys of a partition's items."""
        return [sk for sk in self._partitions.get(pk, ()) if (pk, sk) in self.items]

    def _admit(self, operation: str, *keys: tuple[str, str]) -> None:
        if code := self.load.refusal(operation, keys):
            raise refused(operation, code)

    def _rows(self, table: str) -> dict[tuple[str, str], Attributes]:
        return self.keys if table.endswith("keys") else self.items

    def _part_holds(self, part: Attributes) -> bool:
        before = self._rows(part["TableName"]).get(_key(part.get("Key") or part["Item"]))
        names, values = part.get("ExpressionAttributeNames", {}), part.get("ExpressionAttributeValues", {})
        return holds(part.get("ConditionExpression", ""), before, names, values)

    def _check_transaction(self, parts: Sequence[tuple[str, Attributes]]) -> None:
        if not 1 <= len(parts) <= rules.MOST_PARTS:
            raise rules.invalid("no parts, or too many")
        for kind, part in parts:
            table, condition = part["TableName"], part.get("ConditionExpression", "")
            names, values = part.get("ExpressionAttributeNames"), part.get("ExpressionAttributeValues")
            if kind == "Put":
                rules.check_expressions(condition, names=names, values=values)
                rules.check_item(part["Item"], self._key_names(table))
            else:
                self._check_update(table, part["Key"], part.get("UpdateExpression", ""), condition, names, values)
        if len({(part["TableName"], *_key(part.get("Key") or part["Item"])) for _, part in parts}) < len(parts):
            raise rules.invalid("two parts about one item")
        if sum(rules.size(part["Item"]) for kind, part in parts if kind == "Put") > rules.MOST_TRANSACTION_BYTES:
            raise rules.invalid(f"more than {rules.MOST_TRANSACTION_BYTES} bytes")

    def _check_update(
        self, table: str, key: Attributes, update: str, condition: str, names: Mapping[str, str] | None, values: Mapping[str, Any] | None
    ) -> None:
        rules.check_key(key, self._key_names(table))
        rules.check_expressions(update, condition, names=names, values=values, keys=self._key_names(table))

    def _key_names(self, table: str) -> tuple[str, ...]:
        return ("pk",) if table.endswith("keys") else ("pk", "sk")

    def _written(self, kind: str, part: Attributes) -> Attributes:
        """The item as a part of a transaction leaves it."""
        if kind == "Put":
            return dict(part["Item"])
        assert kind == "Update", kind
        names, values = part.get("ExpressionAttributeNames", {}), part.get("ExpressionAttributeValues", {})
        return self._changed(part["TableName"], part["Key"], part["UpdateExpression"], names, values)

    def _changed(self, table: str, key: Attributes, expression: str, names: Mapping[str, str], values: Mapping[str, Any]) -> Attributes:
        before = self._rows(table).get(_key(key))
        after = {**(before or {}), **key}
        sets, removes = parsed_update(expression)
        for path, value in sets:
            new = value(NamedAttributes(before or {}, names), values)
            if new is None:
                raise rules.invalid(f"an attribute that does not exist, or is no number: {expression}")
            after[attribute_name(path, names)] = new
        for path in removes:
            after.pop(attribute_name(path, names), None)
        rules.check_item(after, self._key_names(table))
        return after

    def _store(self, table: str, item: Attributes) -> None:
        rows, key = self._rows(table), _key(item)
        before, rows[key] = rows.get(key), dict(item)
        if rows is self.items:
            pk, sk = key
            self._partitions.setdefault(pk, {})[sk] = None
            self.changed(before, rows[key])


def _items_of_a_page(items: Sequence[Attributes]) -> int:
    """How many of the items a query returns at once."""
    if len(items) * rules.MOST_ITEM_BYTES < PAGE_BYTES:
        return len(items)
    bytes_ = 0
    for number, item in enumerate(items, 1):
        bytes_ += rules.size(item)
        if bytes_ >= PAGE_BYTES:
            return number
    return len(items)


def _key(item: Attributes) -> tuple[str, str]:
    return item["pk"]["S"], item.get("sk", {"S": ""})["S"]
