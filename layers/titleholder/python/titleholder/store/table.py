"""Every call to DynamoDB. Only this module knows DynamoDB's attribute values: its callers read and write plain dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer

from titleholder.domain.accounts import AccountRef
from titleholder.errors import reraise_unless

if TYPE_CHECKING:
    from titleholder.store.patience import PatientClient

ITEMS_A_READ = 100
"""DynamoDB's limit for one BatchGetItem."""

_FAILED = "ConditionalCheckFailed"
_REFUSED = "ConditionalCheckFailedException"

Item = dict[str, Any]

_serialize: Callable[[Any], Item] = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class IndexSlice:
    """Consecutive items of an index that match. `looked_at`: how many were read. `last`: the key of the last one read, if more follow."""

    items: Sequence[Item]
    count: int
    looked_at: int
    last: Item | None


class CheckFailedError(Exception):
    """A check of a transaction failed, so nothing was written."""


def plain(item: Mapping[str, Any]) -> Item:
    """An item as DynamoDB returns it, with int and bytes in place of boto3's Decimal and Binary."""
    return {name: _plain(_deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value)
        case Binary():
            return value.value
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list():
            return [_plain(part) for part in value]
    return value


def account_pk(ref: AccountRef) -> str:
    return f"ACCOUNT#{ref.key}"


class Table:
    """The table `name`. `clock` (Unix seconds) decides what has expired."""

    def __init__(self, client: PatientClient, name: str, *, clock: Callable[[], float]) -> None:
        self.client = client
        self.name = name
        self._clock = clock

    def is_live(self, item: Mapping[str, Any], expires: str = "expires_at") -> bool:
        """Whether an item has not expired. Needed because DynamoDB may delete an expired item days later."""
        return item.get(expires) is None or self._clock() < int(item[expires])

    def get(self, pk: str, sk: str | None = None, *, only: Sequence[str] = ()) -> Item | None:
        """An item, or None. With `only`, it has no other attributes."""
        found = self.client.get_item(TableName=self.name, Key=_key(pk, sk), ConsistentRead=True, **_projected(only)).get("Item")
        return None if found is None else plain(found)

    def get_all(
        self, keys: Sequence[tuple[str, str]], *, consistent: bool = True, with_: tuple[Table, str] | None = None, only: Sequence[str] = ()
    ) -> Iterator[Item]:
        """The items of these keys that exist, in any order. With `only`, they have no other attributes.

        `with_`: another table, and the key of an item there to be read in the same call.
        """
        for begin in range(0, len(keys), ITEMS_A_READ):
            batch = [_key(*key) for key in keys[begin : begin + ITEMS_A_READ]]
            wanted: dict[str, Any] = {self.name: {"Keys": batch, "ConsistentRead": consistent, **_projected(only)}}
            if with_ is not None:
                wanted[with_[0].name] = {"Keys": [_key(with_[1])], "ConsistentRead": consistent}
            for items in self.client.batch_get_item(RequestItems=wanted)["Responses"].values():
                yield from map(plain, items)

    def query(self, pk: str, prefix: str) -> Iterator[Item]:
        """The items of a partition whose sort keys begin with `prefix`, in their order."""
        return self._pages(_below(pk, prefix))

    def page(self, pk: str, prefix: str, limit: int, after: str | None) -> tuple[list[Item], str | None]:
        """Up to `limit` items below the sort key `prefix` + `after`, in reverse order; and the `after` of the next page or None."""
        start = {} if after is None else {"ExclusiveStartKey": _key(pk, prefix + after)}
        found = list(islice(self._pages({**_below(pk, prefix), **start, "ScanIndexForward": False, "Limit": limit + 1}), limit + 1))
        return found[:limit], found[limit - 1]["sk"].removeprefix(prefix) if len(found) > limit else None

    def query_index(self, index: str, condition: str, values: Mapping[str, Any], limit: int, *, start: Item | None = None) -> list[Item]:
        """Up to `limit` items of an index, which may lag behind the table. `start`: the keys of the item after which to begin."""
        begin = {} if start is None else {"ExclusiveStartKey": _serialized(start)}
        request = {"IndexName": index, "KeyConditionExpression": condition, **_values(values), "Limit": limit, **begin}
        return list(islice(self._pages(request), limit))

    def count_index(self, index: str, condition: str, values: Mapping[str, Any], most: int) -> int:
        """How many items of an index there are, counted up to about `most`."""
        request = {"IndexName": index, "KeyConditionExpression": condition, **_values(values), "Select": "COUNT"}
        counted, start = 0, Item()
        while True:
            page = self.client.query(TableName=self.name, **request, **start)
            counted += int(page["Count"])
            if "LastEvaluatedKey" not in page or counted >= most:
                return counted
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def scan_index(
        self, index: str, condition: str, values: Mapping[str, Any], limit: int, *, matching: str, names: Mapping[str, str],
        start: Item | None = None, count: bool = False,
    ) -> IndexSlice:  # fmt: skip
        """Those of the next `limit` items of an index that fulfil the condition `matching`. The index may lag behind the table.

        Takes one call, which reads fewer items if they are larger than 1 MB. `start`: the `last` of the slice before. `count`: only count
        the items that match.
        """
        answer = self.client.query(
            TableName=self.name, IndexName=index, KeyConditionExpression=condition, FilterExpression=matching,
            ExpressionAttributeNames=dict(names), **_values(values), Limit=limit,
            **({"Select": "COUNT"} if count else {}), **({} if start is None else {"ExclusiveStartKey": _serialized(start)}),
        )  # fmt: skip
        last = answer.get("LastEvaluatedKey")
        found = [plain(item) for item in answer.get("Items", ())]
        return IndexSlice(found, answer["Count"], answer["ScannedCount"], None if last is None else plain(last))

    def put(self, item: Item) -> None:
        """Store an item. Replaces one with the same keys."""
        self.client.put_item(TableName=self.name, Item=_serialized(item))

    def insert(self, item: Item) -> Item | None:
        """Store a new item and return None. If an item with the same keys exists, leave it unchanged and return it."""
        try:
            self.client.put_item(
                TableName=self.name, Item=_serialized(item), ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )  # fmt: skip
        except Exception as error:
            return plain(reraise_unless(error, _REFUSED)["Item"])
        return None

    def put_all(self, items: Sequence[Item], *, checks: Sequence[Item] = (), beside: Sequence[Item] = ()) -> Item | None:
        """Store new items in one transaction and return None. If the first of them exists, store none and return it.

        `checks` and `beside` are further parts of the transaction. If the condition of one of `beside` does not hold, nothing is stored and
        an empty item is returned.

        Raises:
            CheckFailedError: one of `checks` did not hold.
        """
        now = {":now": int(self._clock())}
        puts = [self.put_part(item, condition="attribute_not_exists(pk) OR expires_at <= :now", values=now) for item in items]
        if self.transact([*checks, *puts, *beside]):
            return None
        kept = self.get(items[0]["pk"], items[0]["sk"])
        if kept is None and beside:
            return {}
        if kept is None:
            raise InconsistentItemsError
        return kept

    def update(
        self, pk: str, sk: str, *, condition: str, set_: Item | None = None, remove: Sequence[str] = (),
        values: Mapping[str, Any] | None = None, names: Mapping[str, str] | None = None,
    ) -> bool:  # fmt: skip
        """Set attributes if a condition holds; False if it did not. In the condition, `:name` is the new value of the attribute `name`."""
        change = self.update_part(pk, sk, condition=condition, set_=set_, remove=remove, values=values, names=names)["Update"]
        return _unless_refused(partial(self.client.update_item, **change)) is not None

    def updated(
        self, pk: str, sk: str, *, condition: str, set_: Item | None = None, compute: Mapping[str, str] | None = None,
        remove: Sequence[str] = (), values: Mapping[str, Any] | None = None,
    ) -> Item | None:  # fmt: skip
        """As `update`, but returns the whole changed item, or None. `compute`: attributes with the expressions that give their values."""
        change = self.update_part(pk, sk, condition=condition, set_=set_, compute=compute, remove=remove, values=values)["Update"]
        answer = _unless_refused(partial(self.client.update_item, **change, ReturnValues="ALL_NEW"))
        return None if answer is None else plain(answer["Attributes"])

    def increment(self, pk: str, sk: str, name: str) -> None:
        """Add one to an attribute, which counts as 0 if it does not exist."""
        self.client.update_item(
            TableName=self.name, Key=_key(pk, sk), UpdateExpression="ADD #name :one", ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues=_serialized({":one": 1}),
        )  # fmt: skip

    def delete(self, pk: str, sk: str, *, condition: str = "", values: Mapping[str, Any] | None = None) -> None:
        """Delete an item if a condition holds."""
        conditional = {"ConditionExpression": condition, **_values(values)} if condition else {}
        _unless_refused(partial(self.client.delete_item, TableName=self.name, Key=_key(pk, sk), **conditional))

    def put_part(self, item: Item, *, condition: str, values: Mapping[str, Any] | None = None) -> Item:
        """A part of a transaction."""
        return {"Put": {"TableName": self.name, "Item": _serialized(item), "ConditionExpression": condition, **_values(values)}}

    def check_part(self, pk: str, sk: str | None = None, *, condition: str, values: Mapping[str, Any] | None = None) -> Item:
        """A part of a transaction that only checks a condition."""
        return {"ConditionCheck": {"TableName": self.name, "Key": _key(pk, sk), "ConditionExpression": condition, **_values(values)}}

    def update_part(
        self, pk: str, sk: str | None = None, *, condition: str = "", set_: Item | None = None, compute: Mapping[str, str] | None = None,
        remove: Sequence[str] = (), values: Mapping[str, Any] | None = None, names: Mapping[str, str] | None = None,
    ) -> Item:  # fmt: skip
        """A part of a transaction."""
        set_ = set_ or {}
        sets = [*(f"#{name} = :{name}" for name in set_), *(f"{name} = {expression}" for name, expression in (compute or {}).items())]
        clauses = [f"SET {', '.join(sets)}"] * bool(sets) + [f"REMOVE {', '.join(remove)}"] * bool(remove)
        all_names = {**{f"#{name}": name for name in set_}, **(names or {})}
        return {
            "Update": {
                "TableName": self.name,
                "Key": _key(pk, sk),
                "UpdateExpression": " ".join(clauses),
                **({"ConditionExpression": condition} if condition else {}),
                **({"ExpressionAttributeNames": all_names} if all_names else {}),
                **_values({**{f":{name}": value for name, value in set_.items()}, **(values or {})}),
            }
        }

    def transact(self, parts: Sequence[Item]) -> bool:
        """Write all of `parts` or none; False if a condition did not hold.

        Raises:
            CheckFailedError: the condition of a check did not hold.
        """
        try:
            self.client.transact_write_items(TransactItems=list(parts))
        except Exception as error:
            codes = [reason.get("Code") for reason in reraise_unless(error, "TransactionCanceledException")["CancellationReasons"]]
            if any("ConditionCheck" in part and code == _FAILED for part, code in zip(parts, codes, strict=True)):
                raise CheckFailedError from None
            if _FAILED in codes:
                return False
            raise
        return True

    def _pages(self, request: Mapping[str, Any]) -> Iterator[Item]:
        """The items that a query finds. Each page is read when its first item is needed."""
        start: Item = {}
        while True:
            page = self.client.query(TableName=self.name, **{**request, **start})
            yield from map(plain, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


class InconsistentItemsError(RuntimeError):
    """Some items of a transaction exist without the first of them."""

    def __init__(self) -> None:
        super().__init__("Inconsistent state: some items of this transaction already exist.")


def _key(pk: str, sk: str | None = None) -> Item:
    return _serialized({"pk": pk} if sk is None else {"pk": pk, "sk": sk})


def _below(pk: str, prefix: str) -> Item:
    condition = "pk = :pk AND begins_with(sk, :prefix)"
    return {"KeyConditionExpression": condition, **_values({":pk": pk, ":prefix": prefix}), "ConsistentRead": True}


def _serialized(values: Mapping[str, Any]) -> Item:
    return {name: _serialize(value) for name, value in values.items()}


def _projected(only: Sequence[str]) -> Item:
    names = {f"#{name}": name for name in only}
    return {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names} if names else {}


def _values(values: Mapping[str, Any] | None) -> Item:
    """The parameter for values, left out if there are none, because DynamoDB refuses an empty mapping."""
    return {"ExpressionAttributeValues": _serialized(values)} if values else {}


def _unless_refused(call: Callable[[], Any]) -> Any:
    """The call's answer, or None if its condition did not hold."""
    try:
        return call()
    except Exception as error:
        reraise_unless(error, _REFUSED)
        return None
