"""The store's contract on DynamoDB: what is never overwritten, who may take a lease, whom a token belongs to, what goes together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from local.aws.emulator import Emulator
from tests.simulation.fake_aws import FakeKMS
from tests.simulation.fake_dynamodb import FakeDynamoDB
from tests.support.template import table_schema
from tests.support.world import CLAIM, client
from titleholder.aws.encryption import AccountCipher
from titleholder.bootstrap import aws_clients
from titleholder.domain.accounts import AccountRef, AccountState, Attempt, OwnershipRefresh, StoredAccount
from titleholder.domain.rate import Backoff
from titleholder.domain.refresh_policy import LEASE_SECONDS, FreshnessRequirement
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot, SnapshotSummary
from titleholder.domain.verifications import Verification, Waiter
from titleholder.errors import IdempotencyConflictError, SnapshotNotFoundError, VerificationNotFoundError
from titleholder.store import Store
from titleholder.store.connected_accounts import TenantState
from titleholder.store.events import EVENT_RETENTION_SECONDS
from titleholder.store.open_work import Announcement

NOW = 1_800_000_000.0
REF = AccountRef("fca_1")
CONNECTED = AccountRef("fca_1", stripe_account="acct_1")


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator() as aws:
        yield aws


@pytest.fixture(
    params=["moto", "the simulation's table", pytest.param("the embedded AWS, by the functions' client", marks=pytest.mark.emulator)]
)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """The contract holds on all, so that what the simulation shows is true of DynamoDB, whichever client speaks to it."""
    if request.param == "the simulation's table":
        yield made(FakeDynamoDB())
        return
    if request.param != "moto":
        aws = request.getfixturevalue("aws")
        for table, schema in (("ttt", table_schema()), ("ttt-keys", table_schema("KeysTable"))):
            with contextlib.suppress(ClientError):
                aws.client("dynamodb").delete_table(TableName=table)
            aws.client("dynamodb").create_table(TableName=table, **schema)
        where = {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
        with patch.dict("os.environ", {**where, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}):
            yield made(aws_clients()("dynamodb"))
        return
    with mock_aws():
        client("dynamodb").create_table(TableName="ttt", **table_schema())
        client("dynamodb").create_table(TableName="ttt-keys", **table_schema("KeysTable"))
        yield made(client("dynamodb"))


def made(dynamodb: Any) -> Store:
    cipher = AccountCipher(FakeKMS(), "key", lambda: NOW)
    return Store(dynamodb, "ttt", keys_table="ttt-keys", cipher=lambda: cipher, clock=lambda: NOW)


def state(status: str | None, attempted_at: int = 100, *, account: str = "active", **more: Any) -> AccountState:
    refresh = None if status is None else OwnershipRefresh(status, attempted_at, **more)
    return AccountState(account, ("ownership",), refresh)


def seen(store: Store, ref: AccountRef = REF) -> AccountState:
    found = store.accounts.get(ref).state
    assert found is not None
    return found


def keep(store: Store, ref: AccountRef, snapshot: Snapshot, now: float) -> None:
    store.snapshots.put(ref, snapshot, now)
    store.accounts.set_newest_snapshot(ref, snapshot)


class TestObservations:
    def test_unknown_account_is_empty(self, store: Store) -> None:
        assert store.accounts.get(REF) == StoredAccount()

    @pytest.mark.parametrize(
        "observed",
        [
            state(None),
            state("pending"),
            state("succeeded", next_refresh_available_at=200),
            state("failed", error={"cause": "institution_unavailable", "n": 1}),
            AccountState("inactive", None, None),
            AccountState("active", (), None),
            AccountState("hibernating", ("a", "b"), OwnershipRefresh("reticulating", 7)),
        ],
    )
    def test_come_back_as_they_went_in(self, store: Store, observed: AccountState) -> None:
        assert store.accounts.observe(REF, observed, NOW + 0.123, open_=False, calls=0)
        assert store.accounts.get(REF) == StoredAccount(state=observed, observed_at=NOW + 0.123, shown_since=NOW + 0.123)

    def test_live_account_is_livemode(self, store: Store) -> None:
        live = AccountRef("fca_1", "live")
        store.accounts.observe(live, replace(state(None), livemode=True), NOW, open_=False, calls=0)
        assert seen(store, live).livemode

    @pytest.mark.parametrize(
        ("older", "newer"),
        [
            (state(None), state("pending")),
            (state("pending"), state("succeeded")),
            (state("pending"), state("failed")),
            (state("succeeded"), state("pending", 101)),
            (state("failed", 100), state("succeeded", 101)),
        ],
    )
    def test_newer_replaces_older_but_older_never_newer_whatever_the_clock_says(
        self, store: Store, older: AccountState, newer: AccountState
    ) -> None:
        assert store.accounts.observe(REF, older, NOW, open_=False, calls=0)
        assert store.accounts.observe(REF, newer, NOW - 60, open_=False, calls=0)
        assert not store.accounts.observe(REF, older, NOW + 60, open_=False, calls=0)
        assert seen(store) == newer

    def test_of_the_same_attempt_the_later_read_wins_and_the_earlier_one_does_not(self, store: Store) -> None:
        store.accounts.observe(REF, state("succeeded"), NOW, open_=False, calls=0)
        assert store.accounts.observe(REF, state("succeeded", account="inactive"), NOW + 1, open_=False, calls=0)
        assert not store.accounts.observe(REF, state("succeeded"), NOW + 0.5, open_=False, calls=0)
        assert seen(store).status == "inactive"

    def test_of_the_same_attempt_at_the_same_instant_the_last_one_told_wins(self, store: Store) -> None:
        store.accounts.observe(REF, state("failed"), NOW, open_=False, calls=0)
        assert store.accounts.observe(REF, state("failed", account="inactive"), NOW, open_=False, calls=0)
        assert seen(store).status == "inactive"

    def test_do_not_mix_between_connected_accounts_or_modes(self, store: Store) -> None:
        store.accounts.observe(REF, state("pending"), NOW, open_=False, calls=0)
        store.accounts.observe(CONNECTED, state("failed"), NOW, open_=False, calls=0)
        assert seen(store) == state("pending")
        assert seen(store, CONNECTED) == state("failed")
        assert store.accounts.get(AccountRef("fca_1", "live")).state is None

    def test_leave_attempt_and_snapshot_alone(self, store: Store) -> None:
        attempt = Attempt(1, "key", 0, NOW, 1, open=True)
        store.accounts.begin_attempt(REF, attempt, None, NOW)
        keep(store, REF, Snapshot("fcaowns_1", 90, 91, Sensitive([])), NOW)
        store.accounts.observe(REF, state("pending"), NOW, open_=False, calls=0)
        known = store.accounts.get(REF)
        assert (known.attempt, known.snapshot, known.snapshot_attempted_at) == (attempt, "fcaowns_1", 90)


STATES = [state(None), state("pending"), state("succeeded"), state("pending", 101), state("failed", 101)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(STATES))
def test_in_whatever_order_observations_come_the_newest_is_kept(store: Store, order: list[AccountState]) -> None:
    # An account of its own for each order: the table is the same for all of them.
    ref = AccountRef("fca_" + "_".join(str(STATES.index(observed)) for observed in order))
    for number, observed in enumerate(order):
        store.accounts.observe(ref, observed, NOW + number, open_=False, calls=0)
    assert seen(store, ref) == state("failed", 101)


class TestSnapshots:
    owners = ({"id": "o1", "name": "A", "email": None}, {"id": "o2", "name": "Ünïcode ✓", "email": "x"})

    def test_come_back_as_they_went_in(self, store: Store) -> None:
        keep(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(self.owners)), NOW)
        assert store.snapshots.get(REF, "fcaowns_1") == Snapshot("fcaowns_1", 100, 101, Sensitive(list(self.owners)))

    def test_unknown_one_is_named_so(self, store: Store) -> None:
        with pytest.raises(SnapshotNotFoundError):
            store.snapshots.get(REF, "fcaowns_1")

    def test_is_not_another_accounts(self, store: Store) -> None:
        keep(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(self.owners)), NOW)
        with pytest.raises(SnapshotNotFoundError):
            store.snapshots.get(CONNECTED, "fcaowns_1")

    def test_never_change(self, store: Store) -> None:
        keep(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(self.owners)), NOW)
        keep(store, REF, Snapshot("fcaowns_1", 200, 201, Sensitive([])), NOW)
        assert store.snapshots.get(REF, "fcaowns_1") == Snapshot("fcaowns_1", 100, 101, Sensitive(list(self.owners)))

    @pytest.mark.parametrize(
        ("older", "newer"),
        [
            (Snapshot("fcaowns_b", 100, 150, Sensitive([])), Snapshot("fcaowns_a", 101, 150, Sensitive([]))),
            (Snapshot("fcaowns_b", 100, 150, Sensitive([])), Snapshot("fcaowns_a", 100, 151, Sensitive([]))),
            (Snapshot("fcaowns_a", 100, 150, Sensitive([])), Snapshot("fcaowns_b", 100, 150, Sensitive([]))),
        ],
        ids=["tried later", "made later", "all times equal"],
    )
    def test_newest_is_the_same_whichever_comes_first(self, store: Store, older: Snapshot, newer: Snapshot) -> None:
        for ref, order in ((REF, (older, newer)), (CONNECTED, (newer, older))):
            for snapshot in order:
                keep(store, ref, snapshot, NOW)
            known = store.accounts.get(ref)
            assert (known.snapshot, known.snapshot_attempted_at) == (newer.id, newer.attempted_at)
            assert store.snapshots.get(ref, older.id) == replace(older, owners=Sensitive([]))

    def test_history_is_paged_newest_first_and_its_own_accounts(self, store: Store) -> None:
        changed = [{"kind": "owner_added", "before": None, "after": 1}]
        keep(store, REF, Snapshot("fcaowns_b", 100, 100, Sensitive(self.owners[:1])), NOW)
        keep(store, REF, Snapshot("fcaowns_c", 9, 9, Sensitive([])), NOW)
        store.snapshots.put(REF, Snapshot("fcaowns_a", 101, 101, Sensitive(self.owners)), NOW, since="fcaowns_b", changes=changed)
        keep(store, CONNECTED, Snapshot("fcaowns_z", 500, 500, Sensitive([])), NOW)
        first, position = store.snapshots.page(REF, 2)
        assert first == [
            SnapshotSummary("fcaowns_a", 101, 101, 2, "fcaowns_b", changed), SnapshotSummary("fcaowns_b", 100, 100, 1),
        ]  # fmt: skip
        assert store.snapshots.page(REF, 2, position) == ([SnapshotSummary("fcaowns_c", 9, 9, 0)], None)
        assert store.snapshots.page(REF, 3) == ([*first, SnapshotSummary("fcaowns_c", 9, 9, 0)], None)

    def test_repr_tells_no_owner(self) -> None:
        assert "Ünïcode" not in repr(Snapshot("fcaowns_1", 100, 101, Sensitive(self.owners)))


class TestLease:
    first = Attempt(1, "key-1", 0, NOW, 1, open=True)
    second = Attempt(2, "key-2", 0, NOW, 2, open=True)

    def test_one_of_two_who_saw_the_same_gets_it(self, store: Store) -> None:
        assert store.accounts.begin_attempt(REF, self.first, None, NOW)
        assert not store.accounts.begin_attempt(REF, replace(self.first, key="other"), None, NOW)
        assert store.accounts.get(REF).attempt == self.first

    def test_is_not_taken_while_it_runs(self, store: Store) -> None:
        store.accounts.begin_attempt(REF, self.first, None, NOW)
        assert not store.accounts.begin_attempt(REF, self.second, self.first, NOW + LEASE_SECONDS - 0.001)

    def test_is_taken_over_when_it_ran_out(self, store: Store) -> None:
        store.accounts.begin_attempt(REF, self.first, None, NOW)
        assert store.accounts.begin_attempt(REF, self.first, self.first, NOW + LEASE_SECONDS)
        assert not store.accounts.begin_attempt(REF, self.first, self.first, NOW + LEASE_SECONDS + 1)

    def test_is_free_once_given_back(self, store: Store) -> None:
        store.accounts.begin_attempt(REF, self.first, None, NOW)
        assert store.accounts.end_attempt(REF, self.first, answered=True)
        assert store.accounts.begin_attempt(REF, self.second, replace(self.first, open=False), NOW + 1)

    def test_is_refused_to_who_saw_what_was_before_another_attempt(self, store: Store) -> None:
        """Between reading and taking, another caller began, ended and gave back: what was seen is no more, though the lease is free."""
        store.accounts.begin_attempt(REF, self.first, None, NOW)
        store.accounts.end_attempt(REF, self.first, answered=True)
        assert not store.accounts.begin_attempt(REF, replace(self.first, key="late"), None, NOW + 1)
        store.accounts.begin_attempt(REF, self.second, self.first, NOW + 1)
        store.accounts.end_attempt(REF, self.second, answered=True)
        assert not store.accounts.begin_attempt(REF, replace(self.second, key="late"), self.first, NOW + 2)
        assert store.accounts.get(REF).attempt == replace(self.second, open=False)

    @pytest.mark.parametrize("answered", [True, False])
    def test_attempt_stays_open_until_it_is_answered(self, store: Store, answered: bool) -> None:
        store.accounts.begin_attempt(REF, self.first, None, NOW)
        assert store.accounts.get(REF).attempt == self.first
        store.accounts.end_attempt(REF, self.first, answered=answered)
        assert store.accounts.get(REF).attempt == replace(self.first, open=not answered)

    def test_late_end_of_an_attempt_does_not_free_the_next_ones_lease(self, store: Store) -> None:
        store.accounts.begin_attempt(REF, self.first, None, NOW)
        store.accounts.begin_attempt(REF, self.second, self.first, NOW + LEASE_SECONDS)
        assert not store.accounts.end_attempt(REF, self.first, answered=True)
        third = replace(self.second, number=3)
        assert not store.accounts.begin_attempt(REF, third, self.second, NOW + LEASE_SECONDS + 1)
        assert store.accounts.get(REF).attempt == self.second


class TestWaiters:
    waiter = Waiter("ver_1", "token-1", "2027-01-15T08:00:00Z#000000", FreshnessRequirement(NOW - 60, NOW, NOW + 3600))

    def later(self, turn: str, token: str = "token-2") -> Waiter:
        return replace(self.waiter, task_token=token, token_version=turn)

    def test_is_there_once_stored(self, store: Store) -> None:
        assert store.waiters.put(REF, self.waiter) == self.waiter
        assert list(store.waiters.of_account(REF)) == [self.waiter]
        assert list(store.waiters.of_account(CONNECTED)) == []

    @pytest.mark.parametrize("turn", ["2027-01-15T08:00:00Z#000001", "2027-01-15T08:00:00Z#000010", "2027-01-15T08:00:01Z#000000"])
    def test_later_turn_replaces_the_token_and_keeps_what_was_joined(self, store: Store, turn: str) -> None:
        store.waiters.put(REF, self.waiter)
        store.waiters.set_joined(REF, "ver_1", 77, NOW)
        replaced = store.waiters.put(REF, self.later(turn))
        assert replaced == replace(self.later(turn), need=replace(self.waiter.need, joined=77), joined_at=NOW)

    def test_earlier_turn_delivered_late_changes_nothing(self, store: Store) -> None:
        current = self.later("2027-01-15T08:00:00Z#000001")
        store.waiters.put(REF, current)
        assert store.waiters.put(REF, self.waiter) is None
        assert store.waiters.get(REF, "ver_1") == current

    def test_copy_of_a_message_is_told_from_its_redelivery(self, store: Store) -> None:
        assert store.waiters.put(REF, self.waiter, 0, "m1") is not None
        assert store.waiters.put(REF, self.waiter, 0, "copy of m1") is None
        assert store.waiters.put(REF, self.waiter, 0, "m1") is not None
        assert store.waiters.put(REF, self.waiter, 1, "m2") is not None
        assert store.waiters.put(REF, self.waiter, 0, "m1") is None
        assert store.waiters.put(REF, self.later("2027-01-15T08:00:00Z#000001"), 0, "m3") is not None

    def test_same_turn_delivered_twice_is_the_same_waiter(self, store: Store) -> None:
        store.waiters.put(REF, self.waiter)
        assert store.waiters.put(REF, self.waiter) == self.waiter

    def test_is_not_removed_by_who_woke_an_earlier_turn(self, store: Store) -> None:
        store.waiters.put(REF, self.later("2027-01-15T08:00:00Z#000001"))
        store.waiters.remove(REF, "ver_1", self.waiter.token_version)
        assert store.waiters.get(REF, "ver_1") is not None
        store.waiters.remove(REF, "ver_1", "2027-01-15T08:00:00Z#000001")
        assert store.waiters.get(REF, "ver_1") is None
        store.waiters.remove(REF, "ver_1", self.waiter.token_version)

    def test_notes_about_who_was_woken_meanwhile_bring_nobody_back(self, store: Store) -> None:
        assert not store.waiters.set_joined(REF, "ver_1", 77, NOW)
        assert not store.waiters.set_error(REF, "ver_1", "STRIPE_UNAVAILABLE")
        assert store.waiters.get(REF, "ver_1") is None

    def test_trouble_is_noted(self, store: Store) -> None:
        store.waiters.put(REF, self.waiter)
        store.waiters.set_error(REF, "ver_1", "STRIPE_UNAVAILABLE")
        assert store.waiters.get(REF, "ver_1") == replace(self.waiter, error="STRIPE_UNAVAILABLE")

    def test_goes_away_by_itself_a_week_after_its_deadline(self, store: Store) -> None:
        store.waiters.put(REF, self.waiter)
        item = store.table.client.scan(TableName="ttt")["Items"][0]
        assert int(item["expires_at"]["N"]) == NOW + 3600 + 7 * 86_400

    def test_many_are_all_found(self, store: Store) -> None:
        for number in range(60):
            store.waiters.put(REF, replace(self.waiter, verification=f"ver_{number}", task_token="x" * 1000))
        assert len(list(store.waiters.of_account(REF))) == 60

    def test_repr_tells_no_token(self) -> None:
        assert "token-1" not in repr(self.waiter)


def keep_verification(store: Store, verification: Verification, claim: Mapping[str, Any]) -> Verification:
    keyed = store.claims.digest(verification.ref, Sensitive(claim))
    return store.verifications.create(replace(verification, claim_digest=keyed.digest), keyed)


class TestVerifications:
    verification = Verification("ver_1", REF, "digest", {"version": "1"}, 60, NOW, NOW + 3600.5, "request")

    def test_come_back_with_their_claim(self, store: Store) -> None:
        made = keep_verification(store, self.verification, CLAIM)
        assert made == replace(self.verification, claim_digest=made.claim_digest)
        assert store.verifications.get("ver_1") == made
        assert store.claims.get(REF, "ver_1") == Sensitive(CLAIM)

    def test_unknown_one_is_named_so(self, store: Store) -> None:
        with pytest.raises(VerificationNotFoundError):
            store.verifications.get("ver_1")
        assert store.claims.get(REF, "ver_1") is None

    def test_same_request_again_gives_the_first_one(self, store: Store) -> None:
        made = keep_verification(store, self.verification, CLAIM)
        again = replace(self.verification, requested_at=NOW + 60, deadline=NOW + 9000)
        assert keep_verification(store, again, dict(sorted(CLAIM.items(), reverse=True))) == made

    def test_same_request_again_gives_the_first_one_though_its_account_was_erased_since(self, store: Store) -> None:
        made = keep_verification(store, self.verification, CLAIM)
        store.erasures.begin(REF, NOW)
        assert keep_verification(store, self.verification, {"name": "Nobody can tell"}) == made

    def test_same_id_with_another_claim_is_refused(self, store: Store) -> None:
        keep_verification(store, self.verification, CLAIM)
        with pytest.raises(IdempotencyConflictError):
            keep_verification(store, self.verification, {**CLAIM, "name": "Other"})

    def test_claim_of_an_erased_account_leaves_no_trace(self, store: Store) -> None:
        store.erasures.begin(REF, NOW)
        assert keep_verification(store, self.verification, CLAIM).claim_digest is None
        assert store.verifications.get("ver_1").claim_digest is None

    def test_other_request_under_the_same_id_is_refused_and_changes_nothing(self, store: Store) -> None:
        keep_verification(store, self.verification, CLAIM)
        before = store.table.client.scan(TableName="ttt")["Items"]
        other = replace(self.verification, ref=CONNECTED, request_digest="other")
        with pytest.raises(IdempotencyConflictError):
            keep_verification(store, other, {"name": "Other"})
        assert store.table.client.scan(TableName="ttt")["Items"] == before

    def test_claim_and_verification_are_written_together_or_not_at_all(self, store: Store) -> None:
        orphan = {"pk": {"S": f"ACCOUNT#{REF.key}"}, "sk": {"S": "CLAIM#ver_1"}}
        store.table.client.put_item(TableName="ttt", Item=orphan)
        with pytest.raises(Exception, match="Inconsistent state"):
            keep_verification(store, self.verification, CLAIM)
        with pytest.raises(VerificationNotFoundError):
            store.verifications.get("ver_1")

    def test_verdict_is_kept_for_ever(self, store: Store) -> None:
        keep_verification(store, self.verification, CLAIM)
        assert store.verifications.complete("ver_1", {"outcome": "match"}, NOW + 5)
        assert not store.verifications.complete("ver_1", {"outcome": "no_match"}, NOW + 6)
        found = store.verifications.get("ver_1")
        assert (found.verdict, found.completed_at) == ({"outcome": "match"}, NOW + 5)

    def test_verdict_of_nothing_is_not_kept(self, store: Store) -> None:
        assert not store.verifications.complete("ver_1", {"outcome": "match"}, NOW)
        with pytest.raises(VerificationNotFoundError):
            store.verifications.get("ver_1")

    def test_claim_stands_only_under_its_account_and_sealed(self, store: Store) -> None:
        keep_verification(store, self.verification, CLAIM)
        for item in store.table.client.scan(TableName="ttt")["Items"]:
            assert "testerman" not in str(item).lower()
            assert ("claim" in item) == (item["sk"]["S"] == "CLAIM#ver_1")


class TestWhatIsNotFinished:
    later = NOW + 3600

    def open(self, store: Store, before: float = later, limit: int = 10) -> list[AccountRef | None]:
        return [item.ref for item in store.open_work.list_oldest("refresh", before, limit)]

    def verifications(self, store: Store, before: float = later) -> list[str | None]:
        return [item.verification for item in store.open_work.list_oldest("verification", before, 10)]

    def test_open_refresh_is_listed_until_it_is_seen_settled(self, store: Store) -> None:
        store.accounts.observe(CONNECTED, state("pending"), NOW, open_=True, calls=0)
        assert self.open(store) == [CONNECTED]
        store.accounts.observe(CONNECTED, state("failed"), NOW + 1, open_=False, calls=0)
        assert self.open(store) == []

    def test_open_refresh_is_listed_until_its_owners_are_stored(self, store: Store) -> None:
        store.accounts.observe(REF, state("succeeded"), NOW, open_=True, calls=0)
        assert self.open(store) == [REF]
        keep(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive([])), NOW)
        assert self.open(store) == []

    def test_begun_attempt_is_listed_though_its_caller_died(self, store: Store) -> None:
        store.accounts.begin_attempt(REF, Attempt(1, "key", 0, NOW, 1, open=True), None, NOW)
        assert self.open(store) == [REF]

    def test_longest_waiting_come_first_and_only_so_many(self, store: Store) -> None:
        refs = [AccountRef(f"fca_{number}") for number in range(5)]
        for age, ref in enumerate(refs):
            store.accounts.observe(ref, state("pending"), NOW - age, open_=True, calls=0)
        assert self.open(store, limit=3) == [refs[4], refs[3], refs[2]]
        assert self.open(store, before=NOW - 3) == [refs[4]]

    def test_verification_is_listed_until_it_has_its_verdict(self, store: Store) -> None:
        keep_verification(store, TestVerifications.verification, CLAIM)
        [item] = store.open_work.list_oldest("verification", self.later, 10)
        assert item.verification == "ver_1"
        assert store.open_work.touch(item, self.later) == 0
        assert self.verifications(store) == []
        assert self.verifications(store, self.later + 1) == ["ver_1"]
        store.verifications.complete("ver_1", {"outcome": "match"}, NOW)
        assert store.open_work.touch(item, self.later) is None
        assert self.verifications(store, self.later + 9) == []

    def test_item_that_failed_is_listed_later_with_its_failures_counted_until_it_is_seen_well(self, store: Store) -> None:
        store.accounts.observe(REF, state("pending"), NOW, open_=True, calls=0)
        [item] = store.open_work.list_oldest("refresh", self.later, 10)
        assert store.open_work.postpone(item, self.later + 900, 3)
        assert self.open(store, before=self.later + 900) == []
        assert store.open_work.touch(item, self.later) == 3
        store.accounts.observe(REF, state("pending"), NOW + 1, open_=True, calls=0)
        assert store.open_work.touch(item, self.later) == 0
        store.accounts.observe(REF, state("failed"), NOW + 2, open_=False, calls=0)
        assert not store.open_work.postpone(item, self.later, 4)

    def test_verdict_is_listed_as_to_be_announced_until_it_was(self, store: Store) -> None:
        keep_verification(store, TestVerifications.verification, CLAIM)
        store.verifications.complete("ver_1", {"outcome": "match"}, NOW)
        [item] = store.open_work.list_oldest("announcement", self.later, 10)
        assert item.verification == "ver_1"
        assert store.verifications.mark_announced("ver_1")
        assert store.open_work.list_oldest("announcement", self.later, 10) == []
        assert not store.verifications.mark_announced("ver_1")

    def test_changes_of_owners_are_kept_as_to_be_announced_until_they_were(self, store: Store) -> None:
        snapshot = Snapshot("fcaowns_1", 100, 101, Sensitive([]))
        announcement = Announcement("OwnershipChanged", {"snapshot": "fcaowns_1"})
        store.snapshots.put(REF, snapshot, NOW, since="fcaowns_0", changes=[], announcement=announcement)
        [item] = store.open_work.list_oldest("announcement", self.later, 10)
        assert (item.ref, item.verification) == (REF, None)
        assert store.open_work.get_announcement(item) == announcement
        assert store.snapshots.mark_announced(REF, snapshot)
        assert store.open_work.get_announcement(item) is None
        assert store.open_work.list_oldest("announcement", self.later, 10) == []

    def test_account_that_died_is_listed_until_its_verdicts_are_marked(self, store: Store) -> None:
        dead = replace(state("failed"), status="inactive")
        store.accounts.observe(REF, dead, NOW, open_=True, calls=0)
        assert not store.accounts.end_staleness(REF, state("failed"), NOW, open_=False)
        assert self.open(store) == [REF]
        assert store.accounts.end_staleness(REF, dead, NOW, open_=False)
        assert self.open(store) == []
        assert store.accounts.get(REF).stale_marked
        store.accounts.observe(REF, state("failed"), NOW + 1, open_=False, calls=0)
        assert not store.accounts.get(REF).stale_marked


class TestTenants:
    def test_are_those_that_have_accounts_here(self, store: Store) -> None:
        store.connected_accounts.record(REF)
        store.connected_accounts.record(CONNECTED)
        store.connected_accounts.record(CONNECTED)
        assert store.connected_accounts.list_all("test") == [TenantState(CONNECTED.stripe_account or "")]
        assert store.connected_accounts.list_all("live") == []

    def test_failure_and_retirement_last_until_it_answers(self, store: Store) -> None:
        id_ = CONNECTED.stripe_account or ""
        store.connected_accounts.record(CONNECTED)
        store.connected_accounts.record_asked("test", id_, NOW)
        failed = TenantState(id_, asked_at=NOW, due_at=NOW + 900, tries=1)
        assert store.connected_accounts.record_failure("test", failed)
        assert store.connected_accounts.list_all("test") == [failed]
        retired = replace(failed, retired_at=NOW)
        assert store.connected_accounts.record_failure("test", retired)
        store.connected_accounts.record(CONNECTED)
        assert store.connected_accounts.list_all("test") == [retired]
        assert store.connected_accounts.record_answer("test", id_)
        assert store.connected_accounts.list_all("test") == [TenantState(id_, asked_at=NOW)]
        assert not store.connected_accounts.record_answer("test", id_)

    def test_one_that_was_never_seen_is_not_made(self, store: Store) -> None:
        assert not store.connected_accounts.record_answer("test", "acct_other")
        assert not store.connected_accounts.record_asked("test", "acct_other", NOW)
        assert store.connected_accounts.list_all("test") == []


class TestEvents:
    event: Mapping[str, str] = MappingProxyType({"id": "evt_1", "type": "x", "created": "1", **REF.as_dict()})

    def test_is_new_then_waiting_until_it_is_finished(self, store: Store) -> None:
        assert store.events.insert(self.event, processed=False, now=NOW) == "new"
        assert store.events.insert(self.event, processed=False, now=NOW + 1) == "waiting"
        assert store.events.mark_processed("evt_1")
        assert store.events.insert(self.event, processed=False, now=NOW + 2) == "processed"

    def test_that_needs_no_processing_is_processed_at_once(self, store: Store) -> None:
        assert store.events.insert(self.event, processed=True, now=NOW) == "new"
        assert store.events.insert(self.event, processed=True, now=NOW) == "processed"

    def test_is_recorded_once_with_what_stripe_said_and_expires(self, store: Store) -> None:
        store.events.insert(self.event, processed=False, now=NOW)
        store.events.insert({**self.event, "type": "other"}, processed=True, now=NOW + 60)
        (item,) = store.table.client.scan(TableName="ttt")["Items"]
        assert (item["type"]["S"], item["received_ms"]["N"]) == ("x", str(int(NOW * 1000)))
        assert int(item["expires_at"]["N"]) == NOW + EVENT_RETENTION_SECONDS

    def test_that_was_never_recorded_is_not_finished(self, store: Store) -> None:
        assert not store.events.mark_processed("evt_1")
        assert store.table.client.scan(TableName="ttt")["Items"] == []


class TestPace:
    def test_first_place_is_now(self, store: Store) -> None:
        assert store.rate_limits.reserve("line", 25, NOW).at == NOW

    def test_burst_is_spread_at_the_rate(self, store: Store) -> None:
        assert [store.rate_limits.reserve("line", 25, NOW).at for _ in range(5)] == pytest.approx(
            [NOW, NOW + 0.04, NOW + 0.08, NOW + 0.12, NOW + 0.16]
        )

    def test_idle_time_is_not_saved_up(self, store: Store) -> None:
        store.rate_limits.reserve("line", 25, NOW)
        assert [store.rate_limits.reserve("line", 25, NOW + 60).at for _ in range(2)] == pytest.approx([NOW + 60, NOW + 60.04])

    def test_lines_do_not_mix(self, store: Store) -> None:
        store.rate_limits.reserve("a", 1, NOW)
        assert store.rate_limits.reserve("b", 1, NOW).at == NOW

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.floats(0, 2, allow_nan=False), min_size=2, max_size=25), st.sampled_from([1.0, 3.0, 25.0, 100.0]), st.uuids())
    def test_no_window_of_a_second_holds_more_than_the_rate(self, store: Store, pauses: list[float], rate: float, line: object) -> None:
        now, places = NOW, []
        for pause in pauses:
            now += pause / rate
            places.append(store.rate_limits.reserve(str(line), rate, now).at)
            assert places[-1] >= now
        places.sort()
        for first, last in zip(places, places[int(rate) :], strict=False):
            # A step is a whole number of milliseconds.
            assert last - first >= 1 - 0.001 * rate

    def test_batch_takes_a_near_place_only_and_leaves_no_trace_of_a_refusal(self, store: Store) -> None:
        assert store.rate_limits.reserve_until("line", 2, NOW, NOW + 0.5) is not None
        assert store.rate_limits.reserve_until("line", 2, NOW, NOW + 0.5) is not None
        assert store.rate_limits.reserve_until("line", 2, NOW, NOW + 0.5) is None
        assert store.rate_limits.reserve("line", 2, NOW).at == pytest.approx(NOW + 1.0)

    def test_times_to_ask_again_are_spread_and_take_no_places(self, store: Store) -> None:
        assert [store.rate_limits.next_try("line", "batch", 4, NOW + 1) for _ in range(3)] == pytest.approx(
            [NOW + 1, NOW + 1.25, NOW + 1.5]
        )
        assert store.rate_limits.reserve("line", 4, NOW).at == NOW

    def test_slow_line_is_known_to_all_who_book_and_nobody_overwrites_another(self, store: Store) -> None:
        assert store.rate_limits.backoff("line") == Backoff() == store.rate_limits.reserve("line", 25, NOW).backoff
        first, second = Backoff(2, NOW), Backoff(4, NOW + 5)
        assert store.rate_limits.set_backoff("line", first, Backoff())
        assert not store.rate_limits.set_backoff("line", second, Backoff())
        assert store.rate_limits.set_backoff("line", second, first)
        assert store.rate_limits.backoff("line") == second == store.rate_limits.reserve("line", 25, NOW).backoff
