"""Disconnect and erase on the deployed stack: every item by kind before and after, and what a backup copy is still good for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.e2e.stack_driver import StackDriver, eventually
from titleholder.aws.encryption import AccountCipher
from titleholder.domain.accounts import AccountRef
from titleholder.errors import AccountErasedError
from titleholder.store import Store

CLAIM = {"name": "Zebulon Quackenbush", "email": "zebulon@quackenbush.example.com"}
OWNER = {"name": "ZEBULON QUACKENBUSH", "email": "zq@bank.example.com"}
TRACES = (b"quackenbush", b"zebulon", b"zq@bank")


def kinds(driver: StackDriver, account: str) -> Counter[str]:
    """The account's items by kind, its key among them."""
    found = Counter(sk.partition("#")[0] for pk, sk in driver.table() if pk.endswith(f"/{account}"))
    keys = driver.stack.client("dynamodb").scan(TableName=f"{driver.stack.outputs['TableName']}-keys")["Items"]
    for item in keys:
        if item["pk"]["S"].endswith(f"/{account}"):
            found["key" if "wrapped_key" in item else "tombstone"] += 1
    return found


def store(driver: StackDriver) -> Store:
    """The store as an administrator with every right uses it, at the deployed tables and KMS key."""
    table = driver.stack.outputs["TableName"]
    cipher = AccountCipher(driver.stack.client("kms"), f"alias/{table}-vault", lambda: 0.0)
    dynamodb = driver.stack.client("dynamodb")
    return Store(dynamodb, table, keys_table=f"{table}-keys", cipher=lambda: cipher, clock=lambda: 0.0)


def sealed(driver: StackDriver, account: str) -> list[dict[str, Any]]:
    """The account's items with encrypted data, as they are in the table."""
    items = driver.stack.client("dynamodb").scan(TableName=driver.stack.outputs["TableName"])["Items"]
    return [item for item in items if item["pk"]["S"].endswith(f"/{account}") and ("claim" in item or "owners" in item)]


def test_erased_account_leaves_verdicts_and_a_backup_that_cannot_be_decrypted(driver: StackDriver) -> None:
    account = driver.link("single_owner", owners=[OWNER])
    verification = driver.accepted(account, CLAIM)
    verdict = driver.verdict(verification)
    assert verdict["outcome"] in ("match", "close_match")
    before = kinds(driver, account)
    assert before == {"ACCOUNT": 1, "SNAPSHOT": 1, "HISTORY": 1, "CLAIM": 1, "DIGESTS": 1, "VERIFICATION": 1, "key": 1}
    backup = sealed(driver, account)
    ref, reader = AccountRef(account), store(driver)
    claim = reader.claims.get(ref, verification)
    assert claim is not None
    assert claim.reveal()["name"] == CLAIM["name"]
    assert not [trace for item in backup for trace in TRACES if trace in str(item).lower().encode()]

    answer = driver.http.call("DELETE", f"/accounts/{account}")
    assert answer.status == 200
    assert kinds(driver, account) == {"ACCOUNT": 1, "VERIFICATION": 1, "tombstone": 1}
    assert driver.sim.state(account)["status"] == "disconnected"
    shown = driver.verification(verification)
    assert (shown["verdict"], shown["stale"]) == (verdict, "ACCOUNT_DISCONNECTED")
    assert driver.http.call("GET", f"/accounts/{account}/owners").status == 410

    for item in backup:
        driver.stack.client("dynamodb").put_item(TableName=driver.stack.outputs["TableName"], Item=item)
    for environment in (reader, store(driver)):
        with pytest.raises(AccountErasedError):
            environment.claims.get(ref, verification)
    assert driver.http.call("GET", f"/accounts/{account}/owners?snapshot={verdict['snapshot']}").status == 410
    assert driver.http.call("DELETE", f"/accounts/{account}").body == answer.body


def test_stripes_event_erases(driver: StackDriver) -> None:
    account = driver.link("single_owner", owners=[OWNER])
    driver.verdict(driver.accepted(account, CLAIM))
    driver.sim.change(account, action="disconnect")
    eventually(lambda: kinds(driver, account) == {"ACCOUNT": 1, "VERIFICATION": 1, "tombstone": 1})


def test_waiting_verification_ends_with_the_reason(driver: StackDriver) -> None:
    account = driver.link("never_answering")
    verification = driver.accepted(account, CLAIM)
    eventually(lambda: kinds(driver, account)["WAITER"])
    assert driver.http.call("DELETE", f"/accounts/{account}").status == 200
    verdict = driver.verdict(verification)
    assert (verdict["outcome"], verdict["reasons"]) == ("not_verifiable", ["ACCOUNT_DISCONNECTED"])
    assert kinds(driver, account)["CLAIM"] == 0
