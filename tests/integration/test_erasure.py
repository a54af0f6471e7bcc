"""Disconnect and erase: what is left, what can't come back, and that nothing is lost to a crash on the way."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.support.world import CLAIM, PERSONAL, Moment, Sandbox, client
from titleholder import erasure, ownership
from titleholder.accounts import AccountRef
from titleholder.errors import AccountErasedError, SnapshotNotFoundError
from titleholder.masked import Masked
from titleholder.reconciliation import PATIENCE_SECONDS
from titleholder.store import Snapshot

KEYS = "titleholder-keys"
UNRELATED = ("AUDIT#", "PACE#")
OUTCOME = {"outcome": "not_verifiable", "reason": "ACCOUNT_DISCONNECTED"}


@pytest.fixture
def ref(sandbox: Sandbox) -> AccountRef:
    return sandbox.link("fresh", id="fca_1")


def verified(sandbox: Sandbox, ref: AccountRef) -> str:
    """The id of a verification that has its verdict."""
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)})
    assert answer.json["verdict"]["outcome"] == "match"
    return str(answer.json["id"])


def waiting(sandbox: Sandbox, ref: AccountRef) -> tuple[str, str]:
    """A verification whose workflow waits, with its task token."""
    sandbox.wait(120)
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM), "max_age": 0})
    token = sandbox.enter(sandbox.store.get_verification(answer.json["id"]))
    sandbox.consume(sandbox.refresh_queue)
    assert sandbox.outcome(token) is None
    return str(answer.json["id"]), token


def delete(sandbox: Sandbox, ref: AccountRef) -> Any:
    return sandbox.http("DELETE", f"/accounts/{ref.account}")


def kinds(sandbox: Sandbox) -> Counter[str]:
    """How many items there are of each kind, the keys among them."""
    found = Counter(item["sk"]["S"].partition("#")[0] for item in sandbox.items(but=UNRELATED))
    for item in client("dynamodb").scan(TableName=KEYS)["Items"]:
        found["key" if "wrapped_key" in item else "tombstone"] += 1
    return found


def test_before_and_after_by_kind(sandbox: Sandbox, ref: AccountRef) -> None:
    done = verified(sandbox, ref)
    open_, token = waiting(sandbox, ref)
    assert kinds(sandbox) == {
        "ACCOUNT": 1, "SNAPSHOT": 1, "HISTORY": 1, "CLAIM": 2, "WAITER": 1, "VERIFICATION": 4, "key": 1,
    }  # fmt: skip
    before = sandbox.http("GET", f"/verifications/{done}").json
    answer = delete(sandbox, ref)
    assert (answer.status, answer.json["account"]) == (200, "fca_1")
    assert kinds(sandbox) == {"ACCOUNT": 1, "VERIFICATION": 4, "tombstone": 1}
    assert sandbox.http("GET", f"/verifications/{done}").json == {**before, "stale": "ACCOUNT_DISCONNECTED"}
    assert sandbox.http("GET", f"/verifications/{open_}").json["verdict"]["reasons"] == ["ACCOUNT_DISCONNECTED"]
    assert sandbox.outcome(token) == OUTCOME
    assert sandbox.simulator.state("fca_1")["status"] == "disconnected"


def test_guessing_a_claim_does_not_help_whoever_holds_a_backup(sandbox: Sandbox, ref: AccountRef) -> None:
    """What stands in clear is either keyed by the account's key, or says nothing of the claim."""
    sandbox.link("fresh", id="fca_2")

    def digests(account: str, name: str) -> dict[str, str]:
        id_ = sandbox.http("POST", "/verifications", {"account": account, "claim": {"name": name}}).json["id"]
        [item] = [item for item in sandbox.items() if item["pk"]["S"] == f"VERIFICATION#{id_}"]
        return {attribute: item[attribute]["S"] for attribute in ("claim_digest", "request_digest")}

    one, same, other = digests("fca_1", "Margaret Testerman"), digests("fca_1", "Margaret Testerman"), digests("fca_1", "Li Chen")
    assert one == same
    assert one["claim_digest"] != other["claim_digest"]
    assert one["request_digest"] == other["request_digest"]
    assert digests("fca_2", "Margaret Testerman")["claim_digest"] != one["claim_digest"]


def test_what_a_backup_holds_cant_be_opened(sandbox: Sandbox, ref: AccountRef) -> None:
    """The table is restored to how it was before; the table of keys has no backups."""
    done = verified(sandbox, ref)
    backup = sandbox.items()
    sealed = [item for item in backup if "claim" in item or "owners" in item]
    assert len(sealed) == 2
    delete(sandbox, ref)
    for item in backup:
        client("dynamodb").put_item(TableName="titleholder", Item=item)
    for cold in (False, True):
        if cold:
            sandbox.cold_start()
        with pytest.raises(AccountErasedError):
            sandbox.store.get_claim(ref, done)
        assert sandbox.http("GET", "/accounts/fca_1/owners").problem == "account-erased"
    # Not even who has every right at KMS: the wrapped key is nowhere.
    [left] = client("dynamodb").scan(TableName=KEYS)["Items"]
    assert set(left) == {"pk", "erased_ms", "made_ms"}
    words = b"".join(item.get("claim", item.get("owners"))["B"] for item in sealed).lower()
    assert not [word for word in PERSONAL if word.encode() in words]


@pytest.mark.parametrize("how", ["event", "reading", "delete"])
def test_every_way_of_learning_of_it_erases(sandbox: Sandbox, ref: AccountRef, how: str) -> None:
    verified(sandbox, ref)
    if how == "delete":
        delete(sandbox, ref)
    else:
        sandbox.simulator.change("fca_1", action="disconnect")
        if how == "event":
            sandbox.settle()
        else:
            assert sandbox.http("GET", "/accounts/fca_1").json["status"] == "disconnected"
    assert not {"SNAPSHOT", "HISTORY", "CLAIM", "WAITER", "key"} & set(kinds(sandbox))


def test_repeating_it_changes_nothing_and_asks_nobody(sandbox: Sandbox, ref: AccountRef) -> None:
    verified(sandbox, ref)
    first = delete(sandbox, ref)
    calls, items, told = sandbox.stripe_calls(), sandbox.items(but=UNRELATED), sandbox.published()
    sandbox.wait(1000)
    assert delete(sandbox, ref).json == first.json
    assert (sandbox.stripe_calls(), sandbox.items(but=UNRELATED), sandbox.published()) == (calls, items, told)


def test_account_that_was_disconnected_before_is_erased(sandbox: Sandbox, ref: AccountRef) -> None:
    verified(sandbox, ref)
    sandbox.simulator.change("fca_1", action="disconnect")
    assert delete(sandbox, ref).status == 200
    assert "key" not in kinds(sandbox)


def test_account_that_stripe_does_not_know_is_erased_if_anything_is_held(sandbox: Sandbox) -> None:
    ref = AccountRef("fca_gone")
    assert delete(sandbox, ref).problem == "account-not-found"
    assert not sandbox.items(but=UNRELATED)
    sandbox.store.put_snapshot(ref, Snapshot("fcaowns_1", 1, 1, Masked([{"name": "QUILLFEATHER CANARY"}])), sandbox.clock())
    assert delete(sandbox, ref).status == 200
    assert kinds(sandbox) == {"ACCOUNT": 1, "tombstone": 1}


def test_nothing_is_erased_while_stripe_cant_be_asked(sandbox: Sandbox, ref: AccountRef) -> None:
    verified(sandbox, ref)
    before = sandbox.items(but=UNRELATED)
    sandbox.simulator.fail_api("server_error", times=None)
    assert delete(sandbox, ref).problem == "stripe-unavailable"
    assert sandbox.items(but=UNRELATED) == before


def test_the_same_account_of_another_connected_account_stays(sandbox: Sandbox, ref: AccountRef) -> None:
    other = sandbox.link("fresh", id="fca_1", stripe_account="acct_1")
    ownership.fetch(sandbox.world, other)
    verified(sandbox, ref)
    delete(sandbox, ref)
    known = sandbox.store.get_account(other).snapshot
    assert known is not None
    assert sandbox.store.get_snapshot(other, known)
    assert sandbox.simulator.state("fca_1", stripe_account="acct_1")["status"] == "active"


def test_fetch_in_flight_brings_nothing_back(sandbox: Sandbox, ref: AccountRef) -> None:
    """The owners were read before the account was erased, and are stored after."""

    def meanwhile(moment: Moment) -> None:
        if moment.operation == "GET v1/financial_connections/accounts/fca_1" and moment.when == "after":
            sandbox.taps.clear()
            erasure.disconnect(sandbox.world, ref)

    sandbox.taps.append(meanwhile)
    ownership.fetch(sandbox.world, ref)
    assert sandbox.taps == []
    assert kinds(sandbox) == {"ACCOUNT": 1, "tombstone": 1}


def test_warm_environment_with_the_key_in_memory_writes_nothing(sandbox: Sandbox, ref: AccountRef) -> None:
    """The key is destroyed between the look at it and the write."""
    verified(sandbox, ref)

    def meanwhile(moment: Moment) -> None:
        if moment.operation == "transact_write_items" and moment.when == "before":
            sandbox.taps.clear()
            erasure.disconnect(sandbox.world, ref)

    sandbox.taps.append(meanwhile)
    with pytest.raises(AccountErasedError):
        sandbox.store.put_snapshot(ref, Snapshot("fcaowns_late", 9, 9, Masked([{"name": "QUILLFEATHER CANARY"}])), sandbox.clock())
    assert not {"SNAPSHOT", "HISTORY", "CLAIM"} & set(kinds(sandbox))


def test_verification_of_an_erased_account_keeps_no_claim_and_ends_with_the_reason(sandbox: Sandbox, ref: AccountRef) -> None:
    delete(sandbox, ref)
    answer = sandbox.http("POST", "/verifications", {"account": "fca_1", "claim": dict(CLAIM)})
    assert answer.status == 202
    token = sandbox.enter(sandbox.store.get_verification(answer.json["id"]))
    sandbox.consume(sandbox.refresh_queue)
    assert sandbox.outcome(token) == OUTCOME
    sandbox.function("verify_owners")({"verification": answer.json["id"], "refresh": OUTCOME})
    assert sandbox.http("GET", f"/verifications/{answer.json['id']}").json["verdict"]["reasons"] == ["ACCOUNT_DISCONNECTED"]
    assert kinds(sandbox)["CLAIM"] == 0


def test_after_it_reading_is_gone_and_refreshing_refused(sandbox: Sandbox, ref: AccountRef) -> None:
    verified(sandbox, ref)
    snapshot = sandbox.store.get_account(ref).snapshot
    delete(sandbox, ref)
    for path in ("owners", f"owners?snapshot={snapshot}", "snapshots"):
        answer = sandbox.http("GET", f"/accounts/fca_1/{path}")
        assert (answer.status, answer.problem) == (410, "account-erased")
    assert sandbox.http("POST", "/accounts/fca_1/refreshes").problem == "account-disconnected"
    assert sandbox.http("GET", "/accounts/fca_1").json["snapshot"] is None


def test_erasure_that_was_cut_off_is_ended_by_reconcile(sandbox: Sandbox, ref: AccountRef) -> None:
    """The simulation kills it at every call; here the mark alone was written, and Stripe's event never came."""
    verified(sandbox, ref)
    open_, token = waiting(sandbox, ref)
    sandbox.store.begin_erasure(ref, sandbox.clock())
    assert kinds(sandbox)["CLAIM"] == 2
    sandbox.wait(PATIENCE_SECONDS["erasure"] + 1)
    assert sandbox.function("reconcile")({})["erasure"] == 1
    assert not {"SNAPSHOT", "HISTORY", "CLAIM", "WAITER", "key"} & set(kinds(sandbox))
    assert sandbox.outcome(token) == OUTCOME
    assert sandbox.store.get_verification(open_).verdict is not None
    assert sandbox.function("reconcile")({})["erasure"] == 0


class TestRetention:
    def test_expired_owners_and_claims_are_gone_before_dynamodb_deletes_them(self, sandbox: Sandbox, ref: AccountRef) -> None:
        done = verified(sandbox, ref)
        snapshot = sandbox.store.get_account(ref).snapshot
        assert snapshot is not None
        day = 86_400
        sandbox.wait(400 * day - 10)
        assert sandbox.store.get_snapshot(ref, snapshot)
        assert sandbox.store.get_claim(ref, done) is not None
        sandbox.wait(20)
        assert sandbox.store.get_claim(ref, done) is None
        with pytest.raises(SnapshotNotFoundError):
            sandbox.store.get_snapshot(ref, snapshot)
        assert sandbox.store.get_account(ref).snapshot is None
        assert sandbox.http("GET", "/accounts/fca_1/owners").problem == "snapshot-not-found"
        assert sandbox.http("GET", "/accounts/fca_1/snapshots").json["snapshots"] == []
        assert sandbox.http("GET", f"/verifications/{done}").json["verdict"]["outcome"] == "match"

    def test_owners_that_expired_are_stored_anew_when_they_are_needed(self, sandbox: Sandbox, ref: AccountRef) -> None:
        verified(sandbox, ref)
        sandbox.wait(401 * 86_400)
        ownership.fetch(sandbox.world, ref)
        known = sandbox.store.get_account(ref).snapshot
        assert known is not None
        assert sandbox.store.get_snapshot(ref, known).owners.reveal()


def test_codes_alone_are_kept_of_stripes_words(sandbox: Sandbox) -> None:
    said = {"code": "institution_unavailable", "message": "Ask Quillfeather Canary", "details": {"name": "Canary"}, "n": 1}
    ref = sandbox.link("failing", policy={"outcome": "failed", "failure_error": said})
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)})
    token = sandbox.enter(sandbox.store.get_verification(answer.json["id"]))
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    sandbox.settle()
    sandbox.function("verify_owners")({"verification": answer.json["id"], "refresh": sandbox.outcome(token)})
    shown = sandbox.http("GET", f"/verifications/{answer.json['id']}").json["verdict"]
    assert shown["refresh_error"] == {"code": "institution_unavailable"}
    assert "canary" not in json.dumps(sandbox.items(), default=str).lower()
    delete(sandbox, ref)
    assert "canary" not in json.dumps(sandbox.items(), default=str).lower()
