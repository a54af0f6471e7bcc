"""Disconnect and erase: what is left, what can't come back, and that a crash in between loses nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.sandbox import API_KEY, CLAIM, PERSONAL, Moment, Sandbox, client
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.errors import AccountErasedError, SnapshotNotFoundError
from titleholder.services import account_sync, erasure
from titleholder.services.audit import By
from titleholder.services.reconciliation import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

KEYS = "titleholder-keys"
CALLER = By("caller")
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
    token = sandbox.enter(sandbox.store.verifications.get(answer.json["id"]))
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
        "ACCOUNT": 1, "SNAPSHOT": 1, "HISTORY": 1, "CLAIM": 2, "DIGESTS": 1, "WAITER": 1, "VERIFICATION": 4, "WAY": 1, "key": 1,
    }  # fmt: skip
    before = sandbox.http("GET", f"/verifications/{done}").json
    answer = delete(sandbox, ref)
    assert (answer.status, answer.json["account"], answer.json["disconnected"]) == (200, "fca_1", True)
    assert kinds(sandbox) == {"ACCOUNT": 1, "VERIFICATION": 4, "WAY": 1, "tombstone": 1}
    assert sandbox.http("GET", f"/verifications/{done}").json == {**before, "stale": "ACCOUNT_DISCONNECTED"}
    assert sandbox.http("GET", f"/verifications/{open_}").json["verdict"]["reasons"] == ["ACCOUNT_DISCONNECTED"]
    assert sandbox.outcome(token) == OUTCOME
    assert sandbox.simulator.state("fca_1")["status"] == "disconnected"


def test_guessing_a_claim_does_not_help_the_holder_of_a_backup(sandbox: Sandbox, ref: AccountRef) -> None:
    """Data in clear text is either a digest under the account's key, or says nothing about the claim."""
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
            sandbox.store.claims.get(ref, done)
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


def test_repeating_it_changes_nothing_and_makes_no_call(sandbox: Sandbox, ref: AccountRef) -> None:
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
    sandbox.store.snapshots.put(ref, Snapshot("fcaowns_1", 1, 1, Sensitive([{"name": "QUILLFEATHER CANARY"}])), sandbox.clock())
    assert delete(sandbox, ref).status == 200
    assert kinds(sandbox) == {"ACCOUNT": 1, "tombstone": 1}


def key_refused(sandbox: Sandbox) -> None:
    sandbox.simulator.configure(api_keys=frozenset({"sk_test_other"}))


def right_denied(sandbox: Sandbox) -> None:
    sandbox.simulator.configure(denied={API_KEY: frozenset({"POST /v1/financial_connections/accounts/{account}/disconnect"})})


def no_key(sandbox: Sandbox) -> None:
    sandbox.delete_secret("api-key")
    sandbox.cold_start()


def limiter_full(sandbox: Sandbox) -> None:
    """Other requests have booked the calls of the next 40 s."""
    for _ in range(40):
        sandbox.store.rate_limits.reserve("other", 1, sandbox.clock())


def fault(kind: str) -> Callable[[Sandbox], None]:
    return lambda sandbox: sandbox.simulator.fail_api(kind, times=None)


def recovered(sandbox: Sandbox) -> None:
    sandbox.simulator.configure(api_keys=None, denied={})
    sandbox.simulator.clear_faults()
    with contextlib.suppress(ClientError):
        client("secretsmanager").create_secret(Name="api-key", SecretString=API_KEY)


TROUBLES = {
    "401": key_refused,
    "403": right_denied,
    "no key": no_key,
    "500": fault("server_error"),
    "hang": fault("hang"),
    "drop": fault("drop"),
    "429": fault("rate_limit"),
    "409": fault("conflict"),
    "limiter full": limiter_full,
}


@pytest.mark.parametrize("trouble", TROUBLES)
class TestWithoutStripe:
    def test_account_is_erased_at_once_and_disconnected_later(self, sandbox: Sandbox, ref: AccountRef, trouble: str) -> None:
        open_, token = waiting(sandbox, ref)
        TROUBLES[trouble](sandbox)
        began = sandbox.clock()
        answer = delete(sandbox, ref)
        assert (answer.status, answer.json["disconnected"]) == (200, False)
        # API Gateway gives up after 30 s.
        assert sandbox.clock() - began < 25
        assert kinds(sandbox) == {"ACCOUNT": 1, "VERIFICATION": 2, "WAY": 1, "tombstone": 1}
        assert sandbox.outcome(token) == OUTCOME
        assert sandbox.http("GET", f"/verifications/{open_}").json["verdict"]["reasons"] == ["ACCOUNT_DISCONNECTED"]
        assert sandbox.simulator.state("fca_1")["status"] == "active"
        recovered(sandbox)
        sandbox.wait(300)
        assert sandbox.function("reconcile")({})["disconnection"] == 1
        assert sandbox.simulator.state("fca_1")["status"] == "disconnected"
        again = delete(sandbox, ref)
        assert again.json == {**answer.json, "disconnected": True}
        sandbox.wait(86_400)
        assert sandbox.function("reconcile")({})["disconnection"] == 0

    def test_account_that_is_not_known_yet_is_erased_too(self, sandbox: Sandbox, ref: AccountRef, trouble: str) -> None:
        TROUBLES[trouble](sandbox)
        answer = delete(sandbox, ref)
        assert (answer.status, answer.json["disconnected"]) == (200, False)
        recovered(sandbox)
        sandbox.wait(300)
        sandbox.function("reconcile")({})
        assert sandbox.simulator.state("fca_1")["status"] == "disconnected"

    def test_what_stripe_sends_afterwards_is_not_stored(self, sandbox: Sandbox, ref: AccountRef, trouble: str) -> None:
        verified(sandbox, ref)
        TROUBLES[trouble](sandbox)
        delete(sandbox, ref)
        recovered(sandbox)
        sandbox.wait(3600)
        sandbox.simulator.change("fca_1", action="prefetch")
        for _ in range(3):
            sandbox.wait(120)
            sandbox.settle()
        assert sandbox.simulator.state("fca_1")["refreshes"][-1]["status"] == "succeeded"
        assert sandbox.http("POST", "/accounts/fca_1/refreshes", {"max_age": 0}).problem == "account-disconnected"
        sandbox.http("GET", "/accounts/fca_1")
        assert sandbox.http("GET", "/accounts/fca_1/owners").problem == "account-erased"
        assert not {"SNAPSHOT", "HISTORY", "CLAIM", "WAITER", "key"} & set(kinds(sandbox))
        assert sandbox.store.accounts.get(ref).disconnect_pending


def test_repeated_request_disconnects_at_once_when_stripe_answers_again(sandbox: Sandbox, ref: AccountRef) -> None:
    verified(sandbox, ref)
    key_refused(sandbox)
    first = delete(sandbox, ref)
    recovered(sandbox)
    assert delete(sandbox, ref).json == {**first.json, "disconnected": True}
    assert sandbox.simulator.state("fca_1")["status"] == "disconnected"
    assert [item for item in sandbox.items() if "open_kind" in item] == []


def test_disconnection_is_tried_with_growing_pauses_for_30_days_and_then_alarmed(
    sandbox: Sandbox, ref: AccountRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(erasure.metrics, "add_metric", lambda *, name, **_: counted.append(name))
    verified(sandbox, ref)
    right_denied(sandbox)
    delete(sandbox, ref)
    tried: list[float] = []

    def count(moment: Moment) -> None:
        if moment.operation.endswith("/disconnect") and moment.when == "before" and (not tried or tried[-1] != sandbox.clock()):
            tried.append(sandbox.clock())

    sandbox.taps.append(count)
    began = sandbox.clock()
    alarmed = 0.0
    while sandbox.clock() < began + 40 * 86_400:
        # As far as the pauses allow. Nothing is due after the alarm, so larger steps are enough to see that none follows.
        sandbox.wait(900 if sandbox.clock() < began + 43_200 else 12 * 3600 if alarmed else erasure.LONGEST_PAUSE_SECONDS + 60)
        sandbox.function("reconcile")({})
        if "DisconnectionFailed" in counted:
            counted.clear()
            assert not alarmed
            alarmed = sandbox.clock() - began
    assert 30 * 86_400 <= alarmed <= 30.5 * 86_400
    assert tried[-1] - began == alarmed
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert pauses[:4] == sorted(pauses[:4])
    assert max(pauses) <= 9 * 3600
    assert len(tried) < 150
    recovered(sandbox)
    assert delete(sandbox, ref).json["disconnected"] is True


def test_disconnection_that_fails_holds_up_no_other(sandbox: Sandbox) -> None:
    """All accounts of one tenant fail, and one of them crashes the run."""
    refs = [sandbox.link("fresh", id=f"fca_{number}", stripe_account="acct_1") for number in range(5)]
    other = sandbox.link("fresh", id="fca_1", stripe_account="acct_2")
    sandbox.simulator.fail_api("server_error", times=None)
    for ref in (*refs, other):
        sandbox.http("DELETE", f"/accounts/{ref.account}", stripe_account=ref.stripe_account)
        sandbox.wait(1)
    sandbox.simulator.clear_faults()
    sandbox.simulator.fail_api("server_error", stripe_account="acct_1", times=None)

    class DiedError(BaseException):
        pass

    def die(moment: Moment) -> None:
        if moment.operation.endswith("/fca_0/disconnect"):
            raise DiedError

    sandbox.taps.append(die)
    sandbox.wait(300)
    with pytest.raises(DiedError):
        sandbox.function("reconcile")({})
    assert sandbox.function("reconcile")({})["disconnection"] == 1
    assert sandbox.simulator.state("fca_1", stripe_account="acct_2")["status"] == "disconnected"


def test_account_that_only_stripe_knows_is_disconnected(sandbox: Sandbox, ref: AccountRef) -> None:
    answer = delete(sandbox, ref)
    assert (answer.status, answer.json["disconnected"]) == (200, True)
    assert sandbox.simulator.state("fca_1")["status"] == "disconnected"


def test_account_erased_by_an_earlier_release_counts_as_disconnected(sandbox: Sandbox, ref: AccountRef) -> None:
    verified(sandbox, ref)
    erasure.erase(sandbox.deps, ref)
    calls = sandbox.stripe_calls()
    assert delete(sandbox, ref).json["disconnected"] is True
    assert sandbox.stripe_calls() == calls


def test_the_same_account_of_another_connected_account_stays(sandbox: Sandbox, ref: AccountRef) -> None:
    other = sandbox.link("fresh", id="fca_1", stripe_account="acct_1")
    account_sync.sync_account(sandbox.deps, other)
    verified(sandbox, ref)
    delete(sandbox, ref)
    known = sandbox.store.accounts.get(other).snapshot
    assert known is not None
    assert sandbox.store.snapshots.get(other, known)
    assert sandbox.simulator.state("fca_1", stripe_account="acct_1")["status"] == "active"


def test_fetch_in_flight_brings_nothing_back(sandbox: Sandbox, ref: AccountRef) -> None:
    """The owners were read before the account was erased, and are stored after."""

    def meanwhile(moment: Moment) -> None:
        if moment.operation == "GET v1/financial_connections/accounts/fca_1" and moment.when == "after":
            sandbox.taps.clear()
            erasure.disconnect(sandbox.deps, ref, CALLER)

    sandbox.taps.append(meanwhile)
    account_sync.sync_account(sandbox.deps, ref)
    assert sandbox.taps == []
    assert kinds(sandbox) == {"ACCOUNT": 1, "tombstone": 1}


def test_warm_environment_with_the_key_in_memory_writes_nothing(sandbox: Sandbox, ref: AccountRef) -> None:
    """The key is destroyed between the look at it and the write."""
    verified(sandbox, ref)

    def meanwhile(moment: Moment) -> None:
        if moment.operation == "transact_write_items" and moment.when == "before":
            sandbox.taps.clear()
            erasure.disconnect(sandbox.deps, ref, CALLER)

    sandbox.taps.append(meanwhile)
    with pytest.raises(AccountErasedError):
        sandbox.store.snapshots.put(ref, Snapshot("fcaowns_late", 9, 9, Sensitive([{"name": "QUILLFEATHER CANARY"}])), sandbox.clock())
    assert not {"SNAPSHOT", "HISTORY", "CLAIM"} & set(kinds(sandbox))


def test_verification_of_an_erased_account_keeps_no_claim_and_ends_with_the_reason(sandbox: Sandbox, ref: AccountRef) -> None:
    delete(sandbox, ref)
    answer = sandbox.http("POST", "/verifications", {"account": "fca_1", "claim": dict(CLAIM)})
    assert answer.status == 202
    token = sandbox.enter(sandbox.store.verifications.get(answer.json["id"]))
    sandbox.consume(sandbox.refresh_queue)
    assert sandbox.outcome(token) == OUTCOME
    sandbox.function("complete_verification")({"verification": answer.json["id"], "refresh": OUTCOME})
    assert sandbox.http("GET", f"/verifications/{answer.json['id']}").json["verdict"]["reasons"] == ["ACCOUNT_DISCONNECTED"]
    assert kinds(sandbox)["CLAIM"] == 0


def test_after_it_reading_is_gone_and_refreshing_refused(sandbox: Sandbox, ref: AccountRef) -> None:
    verified(sandbox, ref)
    snapshot = sandbox.store.accounts.get(ref).snapshot
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
    sandbox.store.erasures.begin(ref, sandbox.clock())
    assert kinds(sandbox)["CLAIM"] == 2
    sandbox.wait(PATIENCE_SECONDS["erasure"] + 1)
    assert sandbox.function("reconcile")({})["erasure"] == 1
    assert not {"SNAPSHOT", "HISTORY", "CLAIM", "WAITER", "key"} & set(kinds(sandbox))
    assert sandbox.outcome(token) == OUTCOME
    assert sandbox.store.verifications.get(open_).verdict is not None
    assert sandbox.function("reconcile")({})["erasure"] == 0


def test_erasure_that_was_not_begun_is_done_at_the_word_of_reconcile(sandbox: Sandbox, ref: AccountRef) -> None:
    """A worker has read that the account is disconnected, and died. So did all its repetitions: the event's message is gone."""
    verified(sandbox, ref)
    sandbox.simulator.change(ref.account, stripe_account=ref.stripe_account, action="disconnect")
    for delivery in sandbox.simulator.due_deliveries():
        assert sandbox.deliver(delivery).status == 200
        sandbox.simulator.delivered(delivery, 200)
    client("sqs").purge_queue(QueueUrl=sandbox.events_queue)

    def die(moment: Moment) -> None:
        if moment.operation == "transact_write_items":
            sandbox.taps.clear()
            raise RuntimeError

    sandbox.taps.append(die)
    with pytest.raises(RuntimeError):
        account_sync.sync_account(sandbox.deps, ref)
    assert not sandbox.store.accounts.get(ref).erasure_ended
    sandbox.wait(PATIENCE_SECONDS["refresh"] + 1)
    sandbox.function("reconcile")({})
    sandbox.consume(sandbox.events_queue)
    assert sandbox.store.accounts.get(ref).erasure_ended
    assert not {"SNAPSHOT", "HISTORY", "CLAIM", "WAITER", "key"} & set(kinds(sandbox))


class TestRetention:
    def test_expired_owners_and_claims_are_gone_before_dynamodb_deletes_them(self, sandbox: Sandbox, ref: AccountRef) -> None:
        done = verified(sandbox, ref)
        snapshot = sandbox.store.accounts.get(ref).snapshot
        assert snapshot is not None
        day = 86_400
        sandbox.wait(400 * day - 10)
        assert sandbox.store.snapshots.get(ref, snapshot)
        assert sandbox.store.claims.get(ref, done) is not None
        sandbox.wait(20)
        assert sandbox.store.claims.get(ref, done) is None
        with pytest.raises(SnapshotNotFoundError):
            sandbox.store.snapshots.get(ref, snapshot)
        assert sandbox.store.accounts.get(ref).snapshot is None
        assert sandbox.http("GET", "/accounts/fca_1/owners").problem == "snapshot-not-found"
        assert sandbox.http("GET", "/accounts/fca_1/snapshots").json["snapshots"] == []
        assert sandbox.http("GET", f"/verifications/{done}").json["verdict"]["outcome"] == "match"

    def test_owners_that_expired_are_stored_anew_when_they_are_needed(self, sandbox: Sandbox, ref: AccountRef) -> None:
        verified(sandbox, ref)
        sandbox.wait(401 * 86_400)
        account_sync.sync_account(sandbox.deps, ref)
        known = sandbox.store.accounts.get(ref).snapshot
        assert known is not None
        assert sandbox.store.snapshots.get(ref, known).owners.reveal()


def test_codes_alone_are_kept_of_stripes_words(sandbox: Sandbox) -> None:
    said = {"code": "institution_unavailable", "message": "Ask Quillfeather Canary", "details": {"name": "Canary"}, "n": 1}
    ref = sandbox.link("failing", policy={"outcome": "failed", "failure_error": said})
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)})
    token = sandbox.enter(sandbox.store.verifications.get(answer.json["id"]))
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    sandbox.settle()
    sandbox.function("complete_verification")({"verification": answer.json["id"], "refresh": sandbox.outcome(token)})
    shown = sandbox.http("GET", f"/verifications/{answer.json['id']}").json["verdict"]
    assert shown["refresh_error"] == {"code": "institution_unavailable"}
    assert "canary" not in json.dumps(sandbox.items(), default=str).lower()
    delete(sandbox, ref)
    assert "canary" not in json.dumps(sandbox.items(), default=str).lower()
