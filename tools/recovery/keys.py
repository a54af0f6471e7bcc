"""A lost table of keys: what can't be read any more, a new table of keys, and which accounts have to be read from Stripe again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tools.recovery import data, restore
from tools.recovery.stack import Deployed, RecoveryError, table_exists


def rebuild(
    stack: Deployed, *, apply: bool, say: restore.Say, per_second: float = 10.0, sleep: Callable[[float], None] = time.sleep,
    clock: data.Clock = time.time,
) -> None:  # fmt: skip
    """Replace the table of keys by a new one, and let expire what the lost keys encrypted.

    What can't be decrypted expires while there is no table of keys, because nothing can be encrypted then.
    """
    dynamodb, table, keys_table = stack.clients("dynamodb"), stack.data_table, stack.keys_table
    exists = table_exists(dynamodb, keys_table) is not None
    keys = {item["pk"]: item for item in data.scan(dynamodb, keys_table)} if exists else {}
    lost = data.lost_with_the_keys(dynamodb, table, keys_table, keys, clock)
    if exists and not lost.rows and not lost.tombstones:
        say(f"right: the table {keys_table} has a key for everything that is encrypted. Nothing to do.")
        return
    say(f"lost:  owners of {len(lost.owners)} accounts, which can be read from Stripe again")
    say(f"lost:  claims of {lost.claims} verifications, {lost.waiting} of them without a verdict: they end as not_verifiable, CLAIM_ERASED")
    say(f"{'letting' if apply else 'would let'}: {len(lost.rows)} items expire that can't be decrypted any more")
    if apply:
        data.expire(dynamodb, table, lost, clock)
    if not exists:
        say(f"{'making' if apply else 'would make'}: the table {keys_table}")
        if apply:
            _create(stack, dynamodb, sleep, clock)
    say(f"{'writing' if apply else 'would write'}: tombstones of erased accounts, so that none gets a new key")
    if apply:
        say(f"wrote: {data.write_tombstones(dynamodb, table, keys_table, clock)} tombstones")
    say("The owners are stored again when the accounts are read:")
    restore.read_accounts(stack, apply=apply, say=say, per_second=per_second, sleep=sleep)
    if apply:
        say(f"next:  exclude {keys_table} from every backup plan; ask callers to repeat the verifications that ended as CLAIM_ERASED")


def _create(stack: Deployed, dynamodb: Any, sleep: Callable[[float], None], clock: data.Clock) -> None:
    wanted, key = stack.properties("KeysTable"), stack.resources.get("Key")
    if not key:
        raise RecoveryError(f"The stack {stack.name} has no key for its tables.")
    names = ("TableName", "BillingMode", "AttributeDefinitions", "KeySchema", "DeletionProtectionEnabled")
    made = {name: wanted[name] for name in names if name in wanted}
    made["DeletionProtectionEnabled"] = str(made.get("DeletionProtectionEnabled", False)).lower() == "true"
    dynamodb.create_table(**made, SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}, Tags=stack.tags)
    for _ in range(120):
        if (table_exists(dynamodb, stack.keys_table) or {}).get("TableStatus") == "ACTIVE":
            return
        sleep(restore.POLL_SECONDS)
    raise RecoveryError(f"The table {stack.keys_table} is not active. Run this command again once it is.")
