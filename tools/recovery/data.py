"""What the recovery commands do with the items of a stack's tables. Each function may be run again."""

from __future__ import annotations

import datetime
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from titleholder.domain.accounts import AccountRef
from titleholder.store import Store, audit
from titleholder.store.sealed import SealedItems
from titleholder.store.snapshots import HISTORY
from titleholder.store.table import Item, Table, plain
from titleholder.timestamps import from_milliseconds

Clock = Callable[[], float]

KIND = re.compile(r"[A-Z]+(?=#|$)")
"""The name of a kind in a key. What follows it is an id, a time or a number."""

FIRST_USE_MS = 60_000
"""How many milliseconds earlier than its account's data key an item that the key encrypts may be dated: its time may be taken first."""


def _no_cipher() -> Any:
    raise AssertionError("a recovery command decrypts nothing")


def store(client: Any, table: str, keys_table: str, clock: Clock = time.time) -> Store:
    """The repositories of the tables. They encrypt and decrypt nothing."""
    return Store(client, table, keys_table=keys_table, cipher=_no_cipher, clock=clock)


def scan(client: Any, table: str, *attributes: str) -> Iterator[Item]:
    """Every item of a table. With `attributes` only these."""
    names = {f"#{number}": name for number, name in enumerate(attributes)}
    wanted: dict[str, Any] = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names} if names else {}
    start: dict[str, Any] = {}
    while True:
        page = client.scan(TableName=table, ConsistentRead=True, **wanted, **start)
        yield from map(plain, page["Items"])
        if not page.get("LastEvaluatedKey"):
            return
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def count_items(client: Any, table: str) -> Counter[str]:
    """How many items of each kind a table has."""
    return Counter(kind(item["pk"], item["sk"]) for item in scan(client, table, "pk", "sk"))


def kind(pk: str, sk: str) -> str:
    """The kind of an item: the names with which its keys begin. A sort key that begins with a time or an id names no kind."""
    names = [match[0] for key in (pk, sk) if (match := KIND.match(key))]
    return " / ".join(names) or "other"


def account_ref(pk: str) -> AccountRef:
    """The account that a partition key `ACCOUNT#<ref>` names."""
    mode, stripe_account, account = pk.removeprefix("ACCOUNT#").split("/")
    return AccountRef.from_dict(
        {"account": account, "mode": mode, "stripe_account": None if stripe_account == "platform" else stripe_account}
    )


def erased_accounts(client: Any, keys_table: str) -> dict[AccountRef, float]:
    """When accounts were erased (Unix seconds), as the table of keys remembers it: an erasure leaves a tombstone in place of the key."""
    items = scan(client, keys_table, "pk", "erased_ms")
    return {account_ref(item["pk"]): from_milliseconds(item["erased_ms"]) for item in items if "erased_ms" in item}


def erase_again(client: Any, table: str, keys_table: str, *, apply: bool, clock: Clock = time.time) -> list[AccountRef]:
    """Mark accounts as erased that were erased after the time to which `table` was restored. Returns them.

    Their data keys are gone, so nothing of them can be read in any case. But without the mark they could be read from Stripe again, and
    refreshed for money. `reconcile` deletes their remaining items, ends their verifications, and asks Stripe to disconnect them, which has
    no effect on accounts that are disconnected already.
    """
    tables, found = store(client, table, keys_table, clock), []
    for ref, erased_at in erased_accounts(client, keys_table).items():
        if tables.accounts.get(ref).erased_at is None:
            found.append(ref)
            if apply:
                tables.erasures.begin(ref, erased_at, disconnect=True)
    return found


def wait_again(client: Any, table: str, keys_table: str, *, apply: bool, clock: Clock = time.time) -> int:
    """List the verifications without a verdict as waiting since now. Returns how many there are.

    The executions of most of them have ended since the time of the restored items. `reconcile` gives such a verification the verdict that
    is possible from what is stored, once it has waited for an hour. In this hour their accounts are read again.
    """
    open_work = store(client, table, keys_table, clock).open_work
    found = open_work.list_oldest("verification", clock() + 1, 10**9)
    for item in found if apply else ():
        open_work.touch(item, clock())
    return len(found)


def carry_over(
    client: Any, source: str, target: str, since: float, *, verdicts: bool = True, apply: bool, clock: Clock = time.time
) -> Counter[str]:
    """Copy items that never change from `source` into `target`, if `target` lacks them. Returns how many items of each kind.

    These are audit entries since `since` (Unix seconds), the secret of ids, and with `verdicts` the verifications that got their verdict
    since then, because the verdict was announced, and its claim and owners may have been erased.
    """
    here, there = store(client, source, "", clock).table, store(client, target, "", clock).table
    copied: Counter[str] = Counter()
    # DynamoDB takes no empty prefix. Entries begin with 15 digits of their time.
    partitions = [("SECRET#ids", "SECRET")]
    day, last = (datetime.datetime.fromtimestamp(at, datetime.UTC).date() for at in (since, clock()))
    while day <= last:
        partitions += [(pk, "0") for pk in audit.partitions(day.isoformat())]
        day += datetime.timedelta(days=1)
    for pk, prefix in partitions:
        for item in here.query(pk, prefix):
            if there.get(item["pk"], item["sk"]) is None:
                copied["audit entries"] += pk != "SECRET#ids"
                if apply:
                    there.insert(item)
    for row in scan(client, source, "pk", "sk", "verdict") if verdicts else ():
        if "verdict" in row and "verdict" not in (there.get(row["pk"], row["sk"]) or {}):
            copied["verdicts"] += 1
            whole = here.get(row["pk"], row["sk"])
            if apply and whole is not None:
                there.put(whole)
    return copied


def accounts_to_read(client: Any, table: str) -> list[AccountRef]:
    """The accounts that are not erased, those with unfinished work first."""
    rows: dict[str, bool] = {}
    for item in scan(client, table, "pk", "sk", "erased_ms", "open_kind", "account", "mode", "stripe_account"):
        if item["sk"] == "ACCOUNT" and item["pk"].startswith("ACCOUNT#") and "erased_ms" not in item:
            rows[item["pk"]] = rows.get(item["pk"], False) or "open_kind" in item
        elif item["sk"] == "VERIFICATION" and item.get("open_kind") == "verification" and "account" in item:
            rows[f"ACCOUNT#{AccountRef.from_dict(item).key}"] = True
    return [account_ref(pk) for pk, _ in sorted(rows.items(), key=lambda row: (not row[1], row[0]))]


@dataclass
class Lost:
    """What can't be decrypted without the lost keys. `owners`: accounts that had owners, which can be read from Stripe again.

    `claims`: verifications whose claim is lost; `waiting`: how many of them have no verdict yet.
    """

    owners: list[AccountRef] = field(default_factory=list)
    claims: int = 0
    waiting: int = 0
    tombstones: int = 0
    rows: list[tuple[str, str]] = field(default_factory=list)


def lost_with_the_keys(client: Any, table: str, keys_table: str, keys: Mapping[str, Item], clock: Clock = time.time) -> Lost:
    """What the accounts whose data key is missing, or is younger than what it should decrypt, have lost. `keys`: by partition key."""
    lost, tables = Lost(), store(client, table, keys_table, clock).table
    claims: list[tuple[str, str]] = []
    owners: dict[str, None] = {}
    for item in scan(client, table, "pk", "sk", "stored_ms", "erased_ms", "expires_at", "snapshot", "snapshot_expires_at"):
        pk, sk = item["pk"], item["sk"]
        if not pk.startswith("ACCOUNT#"):
            continue
        key = keys.get(pk, {})
        made_ms = key.get("made_ms", math.inf)
        if sk == "ACCOUNT" and "erased_ms" in item and "erased_ms" not in key:
            lost.tombstones += 1
        if "erased_ms" in key or not tables.is_live(item):
            continue
        if sk.startswith(("SNAPSHOT#", HISTORY)) and item["stored_ms"] < made_ms - FIRST_USE_MS:
            owners[pk] = None
            lost.rows.append((pk, sk))
        elif sk.startswith("CLAIM#"):
            claims.append((pk, sk))
    for pk, sk in claims:
        verification = tables.get(f"VERIFICATION#{sk.removeprefix('CLAIM#')}", "VERIFICATION") or {}
        if verification.get("requested_ms", 0) < keys.get(pk, {}).get("made_ms", math.inf) - FIRST_USE_MS:
            lost.rows.append((pk, sk))
            lost.claims += 1
            lost.waiting += "verdict" not in verification
    lost.owners = [account_ref(pk) for pk in owners]
    return lost


def expire(client: Any, table: str, lost: Lost, clock: Clock = time.time) -> None:
    """Let what can't be decrypted any more expire now. Readers then treat it as deleted, and DynamoDB deletes it."""
    rows, now = store(client, table, "", clock).table, int(clock())
    for pk, sk in lost.rows:
        rows.update(pk, sk, set_={"expires_at": now}, condition="attribute_exists(pk)")
    for ref in lost.owners:
        rows.update(
            f"ACCOUNT#{ref.key}", "ACCOUNT", set_={"snapshot_expires_at": now}, condition="attribute_exists(#snapshot)",
            names={"#snapshot": "snapshot"},
        )  # fmt: skip


def write_tombstones(client: Any, table: str, keys_table: str, clock: Clock = time.time) -> int:
    """Write the tombstones of erased accounts into a new table of keys. Without them an erased account would get a new key."""
    keys, written = Table(client, keys_table, clock=clock), 0
    sealed = SealedItems(Table(client, table, clock=clock), keys, _no_cipher, clock)
    for item in scan(client, table, "pk", "sk", "erased_ms"):
        if item["sk"] == "ACCOUNT" and "erased_ms" in item:
            keys.transact([sealed.destroy_key_part(account_ref(item["pk"]), from_milliseconds(item["erased_ms"]))])
            written += 1
    return written
