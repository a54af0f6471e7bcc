"""Disconnect and erase on the deployed stack: every item by kind before and after, and what a backup copy is still good for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.e2e.bench import Bench, eventually
from titleholder.aws.encryption import AccountCipher
from titleholder.domain.accounts import AccountRef
from titleholder.errors import AccountErasedError
from titleholder.store import Store

CLAIM = {"name": "Zebulon Quackenbush", "email": "zebulon@quackenbush.example.com"}
OWNER = {"name": "ZEBULON QUACKENBUSH", "email": "zq@bank.example.com"}
TRACES = (b"quackenbush", b"zebulon", b"zq@bank")


def kinds(bench: Bench, account: str) -> Counter[str]:
    """The account's items by kind, its key among them."""
    found = Counter(sk.partition("#")[0] for pk, sk in bench.table() if pk.endswith(f"/{account}"))
    keys = bench.stack.client("dynamodb").scan(TableName=f"{bench.stack.outputs['TableName']}-keys")["Items"]
    for item in keys:
        if item["pk"]["S"].endswith(f"/{account}"):
            found["key" if "wrapped_key" in item else "tombstone"] += 1
    return found


def store(bench: Bench) -> Store:
    """The store of somebody with every right, at the deployed tables and KMS key."""
    table = bench.stack.outputs["TableName"]
    cipher = AccountCipher(bench.stack.client("kms"), f"alias/{table}-vault", lambda: 0.0)
    dynamodb = bench.stack.client("dynamodb")
    return Store(dynamodb, table, keys_table=f"{table}-keys", cipher=lambda: cipher, clock=lambda: 0.0)


def sealed(bench: Bench, account: str) -> list[dict[str, Any]]:
    """The items of the account that hold what is sealed, as they stand in the table."""
    items = bench.stack.client("dynamodb").scan(TableName=bench.stack.outputs["TableName"])["Items"]
    return [item for item in items if item["pk"]["S"].endswith(f"/{account}") and ("claim" in item or "owners" in item)]


def test_erased_account_leaves_verdicts_and_a_backup_that_nobody_can_open(bench: Bench) -> None:
    account = bench.link("single_owner", owners=[OWNER])
    verification = bench.accepted(account, CLAIM)
    verdict = bench.verdict(verification)
    assert verdict["outcome"] in ("match", "close_match")
    before = kinds(bench, account)
    assert before == {"ACCOUNT": 1, "SNAPSHOT": 1, "HISTORY": 1, "CLAIM": 1, "DIGESTS": 1, "VERIFICATION": 1, "key": 1}
    backup = sealed(bench, account)
    ref, reader = AccountRef(account), store(bench)
    claim = reader.get_claim(ref, verification)
    assert claim is not None
    assert claim.reveal()["name"] == CLAIM["name"]
    assert not [trace for item in backup for trace in TRACES if trace in str(item).lower().encode()]

    answer = bench.http.call("DELETE", f"/accounts/{account}")
    assert answer.status == 200
    assert kinds(bench, account) == {"ACCOUNT": 1, "VERIFICATION": 1, "tombstone": 1}
    assert bench.sim.state(account)["status"] == "disconnected"
    shown = bench.verification(verification)
    assert (shown["verdict"], shown["stale"]) == (verdict, "ACCOUNT_DISCONNECTED")
    assert bench.http.call("GET", f"/accounts/{account}/owners").status == 410

    for item in backup:
        bench.stack.client("dynamodb").put_item(TableName=bench.stack.outputs["TableName"], Item=item)
    for environment in (reader, store(bench)):
        with pytest.raises(AccountErasedError):
            environment.get_claim(ref, verification)
    assert bench.http.call("GET", f"/accounts/{account}/owners?snapshot={verdict['snapshot']}").status == 410
    assert bench.http.call("DELETE", f"/accounts/{account}").body == answer.body


def test_stripes_event_erases(bench: Bench) -> None:
    account = bench.link("single_owner", owners=[OWNER])
    bench.verdict(bench.accepted(account, CLAIM))
    bench.sim.change(account, action="disconnect")
    eventually(lambda: kinds(bench, account) == {"ACCOUNT": 1, "VERIFICATION": 1, "tombstone": 1})


def test_waiting_verification_ends_with_the_reason(bench: Bench) -> None:
    account = bench.link("never_answering")
    verification = bench.accepted(account, CLAIM)
    eventually(lambda: kinds(bench, account)["WAITER"])
    assert bench.http.call("DELETE", f"/accounts/{account}").status == 200
    verdict = bench.verdict(verification)
    assert (verdict["outcome"], verdict["reasons"]) == ("not_verifiable", ["ACCOUNT_DISCONNECTED"])
    assert kinds(bench, account)["CLAIM"] == 0
