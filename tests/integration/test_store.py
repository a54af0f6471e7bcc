"""The store's contract on DynamoDB: what is never overwritten, who may take a lease, whom a token belongs to, what goes together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

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
from titleholder.aws_json import Client, Endpoint, Keys
from titleholder.domain.accounts import AccountRef, AccountState, Attempt, OwnershipRefresh, StoredAccount
from titleholder.domain.refresh_policy import LEASE_SECONDS, FreshnessRequirement
from titleholder.domain.sensitive import Sensitive
from titleholder.errors import IdempotencyConflictError, SnapshotNotFoundError, VerificationNotFoundError
from titleholder.store import (
    EVENT_RETENTION_SECONDS,
    Announcement,
    Backoff,
    Snapshot,
    SnapshotSummary,
    Store,
    TenantState,
    Verification,
    Waiter,
)

NOW = 1_800_000_000.0
REF = AccountRef("fca_1")
CONNECTED = AccountRef("fca_1", stripe_account="acct_1")


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator() as aws:
        yield aws


@pytest.fixture(params=["moto", "the simulation's table", pytest.param("the embedded AWS, by the lean client", marks=pytest.mark.emulator)])
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
        lean: Any = Client("dynamodb", Endpoint(aws.endpoint, "us-east-1"), lambda: Keys("test", "test", None))
        lean.scan = aws.client("dynamodb").scan  # By the tests alone.
        yield made(lean)
        return
    with mock_aws():
        client("dynamodb").create_table(TableName="ttt", **table_schema())
        client("dynamodb").create_table(TableName="ttt-keys", **table_schema("KeysTable"))
        yield made(client("dynamodb"))


def made(dynamodb: Any) -> Store:
    vault = AccountCipher(FakeKMS(), "key", lambda: NOW)
    return Store(dynamodb, "ttt", keys_table="ttt-keys", vault=lambda: vault, clock=lambda: NOW)


def state(status: str | None, attempted_at: int = 100, *, account: str = "active", **more: Any) -> AccountState:
    refresh = None if status is None else OwnershipRefresh(status, attempted_at, **more)
    return AccountState(account, ("ownership",), refresh)


def seen(store: Store, ref: AccountRef = REF) -> AccountState:
    found = store.get_account(ref).state
    assert found is not None
    return found


def keep(store: Store, ref: AccountRef, snapshot: Snapshot, now: float) -> None:
    store.put_snapshot(ref, snapshot, now)
    store.set_newest(ref, snapshot)


class TestObservations:
    def test_unknown_account_is_empty(self, store: Store) -> None:
        assert store.get_account(REF) == StoredAccount()

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
        assert store.observe(REF, observed, NOW + 0.123, open_=False, calls=0)
        assert store.get_account(REF) == StoredAccount(state=observed, observed_at=NOW + 0.123, shown_since=NOW + 0.123)

    def test_live_account_is_livemode(self, store: Store) -> None:
        live = AccountRef("fca_1", "live")
        store.observe(live, replace(state(None), livemode=True), NOW, open_=False, calls=0)
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
        assert store.observe(REF, older, NOW, open_=False, calls=0)
        assert store.observe(REF, newer, NOW - 60, open_=False, calls=0)
        assert not store.observe(REF, older, NOW + 60, open_=False, calls=0)
        assert seen(store) == newer

    def test_of_the_same_attempt_the_later_read_wins_and_the_earlier_one_does_not(self, store: Store) -> None:
        store.observe(REF, state("succeeded"), NOW, open_=False, calls=0)
        assert store.observe(REF, state("succeeded", account="inactive"), NOW + 1, open_=False, calls=0)
        assert not store.observe(REF, state("succeeded"), NOW + 0.5, open_=False, calls=0)
        assert seen(store).status == "inactive"

    def test_of_the_same_attempt_at_the_same_instant_the_last_one_told_wins(self, store: Store) -> None:
        store.observe(REF, state("failed"), NOW, open_=False, calls=0)
        assert store.observe(REF, state("failed", account="inactive"), NOW, open_=False, calls=0)
        assert seen(store).status == "inactive"

    def test_do_not_mix_between_connected_accounts_or_modes(self, store: Store) -> None:
        store.observe(REF, state("pending"), NOW, open_=False, calls=0)
        store.observe(CONNECTED, state("failed"), NOW, open_=False, calls=0)
        assert seen(store) == state("pending")
        assert seen(store, CONNECTED) == state("failed")
        assert store.get_account(AccountRef("fca_1", "live")).state is None

    def test_leave_attempt_and_snapshot_alone(self, store: Store) -> None:
        attempt = Attempt(1, "key", 0, NOW, 1, open=True)
        store.begin_attempt(REF, attempt, None, NOW)
        keep(store, REF, Snapshot("fcaowns_1", 90, 91, Sensitive([])), NOW)
        store.observe(REF, state("pending"), NOW, open_=False, calls=0)
        known = store.get_account(REF)
        assert (known.attempt, known.snapshot, known.snapshot_attempted_at) == (attempt, "fcaowns_1", 90)


STATES = [state(None), state("pending"), state("succeeded"), state("pending", 101), state("failed", 101)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(STATES))
def test_in_whatever_order_observations_come_the_newest_is_kept(store: Store, order: list[AccountState]) -> None:
    # An account of its own for each order: the table is the same for all of them.
    ref = AccountRef("fca_" + "_".join(str(STATES.index(observed)) for observed in order))
    for number, observed in enumerate(order):
        store.observe(ref, observed, NOW + number, open_=False, calls=0)
    assert seen(store, ref) == state("failed", 101)


class TestSnapshots:
    owners = ({"id": "o1", "name": "A", "email": None}, {"id": "o2", "name": "Ünïcode ✓", "email": "x"})

    def test_come_back_as_they_went_in(self, store: Store) -> None:
        keep(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(self.owners)), NOW)
        assert store.get_snapshot(REF, "fcaowns_1") == Snapshot("fcaowns_1", 100, 101, Sensitive(list(self.owners)))

    def test_unknown_one_is_named_so(self, store: Store) -> None:
        with pytest.raises(SnapshotNotFoundError):
            store.get_snapshot(REF, "fcaowns_1")

    def test_is_not_another_accounts(self, store: Store) -> None:
        keep(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(self.owners)), NOW)
        with pytest.raises(SnapshotNotFoundError):
            store.get_snapshot(CONNECTED, "fcaowns_1")

    def test_never_change(self, store: Store) -> None:
        keep(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(self.owners)), NOW)
        keep(store, REF, Snapshot("fcaowns_1", 200, 201, Sensitive([])), NOW)
        assert store.get_snapshot(REF, "fcaowns_1") == Snapshot("fcaowns_1", 100, 101, Sensitive(list(self.owners)))

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
            known = store.get_account(ref)
            assert (known.snapshot, known.snapshot_attempted_at) == (newer.id, newer.attempted_at)
            assert store.get_snapshot(ref, older.id) == replace(older, owners=Sensitive([]))

    def test_history_is_paged_newest_first_and_its_own_accounts(self, store: Store) -> None:
        changed = [{"kind": "owner_added", "before": None, "after": 1}]
        keep(store, REF, Snapshot("fcaowns_b", 100, 100, Sensitive(self.owners[:1])), NOW)
        keep(store, REF, Snapshot("fcaowns_c", 9, 9, Sensitive([])), NOW)
        store.put_snapshot(REF, Snapshot("fcaowns_a", 101, 101, Sensitive(self.owners)), NOW, since="fcaowns_b", changes=changed)
        keep(store, CONNECTED, Snapshot("fcaowns_z", 500, 500, Sensitive([])), NOW)
        first, position = store.past_snapshots(REF, 2)
        assert first == [
            SnapshotSummary("fcaowns_a", 101, 101, 2, "fcaowns_b", changed), SnapshotSummary("fcaowns_b", 100, 100, 1),
        ]  # fmt: skip
        assert store.past_snapshots(REF, 2, position) == ([SnapshotSummary("fcaowns_c", 9, 9, 0)], None)
        assert store.past_snapshots(REF, 3) == ([*first, SnapshotSummary("fcaowns_c", 9, 9, 0)], None)

    def test_repr_tells_no_owner(self) -> None:
        assert "Ünïcode" not in repr(Snapshot("fcaowns_1", 100, 101, Sensitive(self.owners)))


class TestLease:
    first = Attempt(1, "key-1", 0, NOW, 1, open=True)
    second = Attempt(2, "key-2", 0, NOW, 2, open=True)

    def test_one_of_two_who_saw_the_same_gets_it(self, store: Store) -> None:
        assert store.begin_attempt(REF, self.first, None, NOW)
        assert not store.begin_attempt(REF, replace(self.first, key="other"), None, NOW)
        assert store.get_account(REF).attempt == self.first

    def test_is_not_taken_while_it_runs(self, store: Store) -> None:
        store.begin_attempt(REF, self.first, None, NOW)
        assert not store.begin_attempt(REF, self.second, self.first, NOW + LEASE_SECONDS - 0.001)

    def test_is_taken_over_when_it_ran_out(self, store: Store) -> None:
        store.begin_attempt(REF, self.first, None, NOW)
        assert store.begin_attempt(REF, self.first, self.first, NOW + LEASE_SECONDS)
        assert not store.begin_attempt(REF, self.first, self.first, NOW + LEASE_SECONDS + 1)

    def test_is_free_once_given_back(self, store: Store) -> None:
        store.begin_attempt(REF, self.first, None, NOW)
        assert store.end_attempt(REF, self.first, answered=True)
        assert store.begin_attempt(REF, self.second, replace(self.first, open=False), NOW + 1)

    def test_is_refused_to_who_saw_what_was_before_another_attempt(self, store: Store) -> None:
        """Between reading and taking, another caller began, ended and gave back: what was seen is no more, though the lease is free."""
        store.begin_attempt(REF, self.first, None, NOW)
        store.end_attempt(REF, self.first, answered=True)
        assert not store.begin_attempt(REF, replace(self.first, key="late"), None, NOW + 1)
        store.begin_attempt(REF, self.second, self.first, NOW + 1)
        store.end_attempt(REF, self.second, answered=True)
        assert not store.begin_attempt(REF, replace(self.second, key="late"), self.first, NOW + 2)
        assert store.get_account(REF).attempt == replace(self.second, open=False)

    @pytest.mark.parametrize("answered", [True, False])
    def test_attempt_stays_open_until_it_is_answered(self, store: Store, answered: bool) -> None:
        store.begin_attempt(REF, self.first, None, NOW)
        assert store.get_account(REF).attempt == self.first
        store.end_attempt(REF, self.first, answered=answered)
        assert store.get_account(REF).attempt == replace(self.first, open=not answered)

    def test_late_end_of_an_attempt_does_not_free_the_next_ones_lease(self, store: Store) -> None:
        store.begin_attempt(REF, self.first, None, NOW)
        store.begin_attempt(REF, self.second, self.first, NOW + LEASE_SECONDS)
        assert not store.end_attempt(REF, self.first, answered=True)
        third = replace(self.second, number=3)
        assert not store.begin_attempt(REF, third, self.second, NOW + LEASE_SECONDS + 1)
        assert store.get_account(REF).attempt == self.second


class TestWaiters:
    waiter = Waiter("ver_1", "token-1", "2027-01-15T08:00:00Z#000000", FreshnessRequirement(NOW - 60, NOW, NOW + 3600))

    def later(self, turn: str, token: str = "token-2") -> Waiter:
        return replace(self.waiter, task_token=token, turn=turn)

    def test_is_there_once_stored(self, store: Store) -> None:
        assert store.put_waiter(REF, self.waiter) == self.waiter
        assert list(store.waiters(REF)) == [self.waiter]
        assert list(store.waiters(CONNECTED)) == []

    @pytest.mark.parametrize("turn", ["2027-01-15T08:00:00Z#000001", "2027-01-15T08:00:00Z#000010", "2027-01-15T08:00:01Z#000000"])
    def test_later_turn_replaces_the_token_and_keeps_what_was_joined(self, store: Store, turn: str) -> None:
        store.put_waiter(REF, self.waiter)
        store.set_joined(REF, "ver_1", 77, NOW)
        replaced = store.put_waiter(REF, self.later(turn))
        assert replaced == replace(self.later(turn), need=replace(self.waiter.need, joined=77), joined_at=NOW)

    def test_earlier_turn_delivered_late_changes_nothing(self, store: Store) -> None:
        current = self.later("2027-01-15T08:00:00Z#000001")
        store.put_waiter(REF, current)
        assert store.put_waiter(REF, self.waiter) is None
        assert store.get_waiter(REF, "ver_1") == current

    def test_copy_of_a_message_is_told_from_its_redelivery(self, store: Store) -> None:
        assert store.put_waiter(REF, self.waiter, 0, "m1") is not None
        assert store.put_waiter(REF, self.waiter, 0, "copy of m1") is None
        assert store.put_waiter(REF, self.waiter, 0, "m1") is not None
        assert store.put_waiter(REF, self.waiter, 1, "m2") is not None
        assert store.put_waiter(REF, self.waiter, 0, "m1") is None
        assert store.put_waiter(REF, self.later("2027-01-15T08:00:00Z#000001"), 0, "m3") is not None

    def test_same_turn_delivered_twice_is_the_same_waiter(self, store: Store) -> None:
        store.put_waiter(REF, self.waiter)
        assert store.put_waiter(REF, self.waiter) == self.waiter

    def test_is_not_removed_by_who_woke_an_earlier_turn(self, store: Store) -> None:
        store.put_waiter(REF, self.later("2027-01-15T08:00:00Z#000001"))
        store.remove_waiter(REF, "ver_1", self.waiter.turn)
        assert store.get_waiter(REF, "ver_1") is not None
        store.remove_waiter(REF, "ver_1", "2027-01-15T08:00:00Z#000001")
        assert store.get_waiter(REF, "ver_1") is None
        store.remove_waiter(REF, "ver_1", self.waiter.turn)

    def test_notes_about_who_was_woken_meanwhile_bring_nobody_back(self, store: Store) -> None:
        assert not store.set_joined(REF, "ver_1", 77, NOW)
        assert not store.note_trouble(REF, "ver_1", "STRIPE_UNAVAILABLE")
        assert store.get_waiter(REF, "ver_1") is None

    def test_trouble_is_noted(self, store: Store) -> None:
        store.put_waiter(REF, self.waiter)
        store.note_trouble(REF, "ver_1", "STRIPE_UNAVAILABLE")
        assert store.get_waiter(REF, "ver_1") == replace(self.waiter, trouble="STRIPE_UNAVAILABLE")

    def test_goes_away_by_itself_a_week_after_its_deadline(self, store: Store) -> None:
        store.put_waiter(REF, self.waiter)
        item = store._client.scan(TableName="ttt")["Items"][0]
        assert int(item["expires_at"]["N"]) == NOW + 3600 + 7 * 86_400

    def test_many_are_all_found(self, store: Store) -> None:
        for number in range(60):
            store.put_waiter(REF, replace(self.waiter, verification=f"ver_{number}", task_token="x" * 1000))
        assert len(list(store.waiters(REF))) == 60

    def test_repr_tells_no_token(self) -> None:
        assert "token-1" not in repr(self.waiter)


def keep_verification(store: Store, verification: Verification, claim: Mapping[str, Any]) -> Verification:
    keyed = store.key_claim(verification.ref, Sensitive(claim))
    return store.create_verification(replace(verification, claim_digest=keyed.digest), keyed)


class TestVerifications:
    verification = Verification("ver_1", REF, "digest", {"version": "1"}, 60, NOW, NOW + 3600.5, "request")

    def test_come_back_with_their_claim(self, store: Store) -> None:
        made = keep_verification(store, self.verification, CLAIM)
        assert made == replace(self.verification, claim_digest=made.claim_digest)
        assert store.get_verification("ver_1") == made
        assert store.get_claim(REF, "ver_1") == Sensitive(CLAIM)

    def test_unknown_one_is_named_so(self, store: Store) -> None:
        with pytest.raises(VerificationNotFoundError):
            store.get_verification("ver_1")
        assert store.get_claim(REF, "ver_1") is None

    def test_same_request_again_gives_the_first_one(self, store: Store) -> None:
        made = keep_verification(store, self.verification, CLAIM)
        again = replace(self.verification, requested_at=NOW + 60, deadline=NOW + 9000)
        assert keep_verification(store, again, dict(sorted(CLAIM.items(), reverse=True))) == made

    def test_same_request_again_gives_the_first_one_though_its_account_was_erased_since(self, store: Store) -> None:
        made = keep_verification(store, self.verification, CLAIM)
        store.begin_erasure(REF, NOW)
        assert keep_verification(store, self.verification, {"name": "Nobody can tell"}) == made

    def test_same_id_with_another_claim_is_refused(self, store: Store) -> None:
        keep_verification(store, self.verification, CLAIM)
        with pytest.raises(IdempotencyConflictError):
            keep_verification(store, self.verification, {**CLAIM, "name": "Other"})

    def test_claim_of_an_erased_account_leaves_no_trace(self, store: Store) -> None:
        store.begin_erasure(REF, NOW)
        assert keep_verification(store, self.verification, CLAIM).claim_digest is None
        assert store.get_verification("ver_1").claim_digest is None

    def test_other_request_under_the_same_id_is_refused_and_changes_nothing(self, store: Store) -> None:
        keep_verification(store, self.verification, CLAIM)
        before = store._client.scan(TableName="ttt")["Items"]
        other = replace(self.verification, ref=CONNECTED, request_digest="other")
        with pytest.raises(IdempotencyConflictError):
            keep_verification(store, other, {"name": "Other"})
        assert store._client.scan(TableName="ttt")["Items"] == before

    def test_claim_and_verification_are_written_together_or_not_at_all(self, store: Store) -> None:
        orphan = {"pk": {"S": f"ACCOUNT#{REF.key}"}, "sk": {"S": "CLAIM#ver_1"}}
        store._client.put_item(TableName="ttt", Item=orphan)
        with pytest.raises(Exception, match="without the rest"):
            keep_verification(store, self.verification, CLAIM)
        with pytest.raises(VerificationNotFoundError):
            store.get_verification("ver_1")

    def test_verdict_is_kept_for_ever(self, store: Store) -> None:
        keep_verification(store, self.verification, CLAIM)
        assert store.complete_verification("ver_1", {"outcome": "match"}, NOW + 5)
        assert not store.complete_verification("ver_1", {"outcome": "no_match"}, NOW + 6)
        found = store.get_verification("ver_1")
        assert (found.verdict, found.completed_at) == ({"outcome": "match"}, NOW + 5)

    def test_verdict_of_nothing_is_not_kept(self, store: Store) -> None:
        assert not store.complete_verification("ver_1", {"outcome": "match"}, NOW)
        with pytest.raises(VerificationNotFoundError):
            store.get_verification("ver_1")

    def test_claim_stands_only_under_its_account_and_sealed(self, store: Store) -> None:
        keep_verification(store, self.verification, CLAIM)
        for item in store._client.scan(TableName="ttt")["Items"]:
            assert "testerman" not in str(item).lower()
            assert ("claim" in item) == (item["sk"]["S"] == "CLAIM#ver_1")


class TestWhatIsNotFinished:
    later = NOW + 3600

    def open(self, store: Store, before: float = later, limit: int = 10) -> list[AccountRef | None]:
        return [item.ref for item in store.open_items("refresh", before, limit)]

    def verifications(self, store: Store, before: float = later) -> list[str | None]:
        return [item.verification for item in store.open_items("verification", before, 10)]

    def test_open_refresh_is_listed_until_it_is_seen_settled(self, store: Store) -> None:
        store.observe(CONNECTED, state("pending"), NOW, open_=True, calls=0)
        assert self.open(store) == [CONNECTED]
        store.observe(CONNECTED, state("failed"), NOW + 1, open_=False, calls=0)
        assert self.open(store) == []

    def test_open_refresh_is_listed_until_its_owners_are_stored(self, store: Store) -> None:
        store.observe(REF, state("succeeded"), NOW, open_=True, calls=0)
        assert self.open(store) == [REF]
        keep(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive([])), NOW)
        assert self.open(store) == []

    def test_begun_attempt_is_listed_though_its_caller_died(self, store: Store) -> None:
        store.begin_attempt(REF, Attempt(1, "key", 0, NOW, 1, open=True), None, NOW)
        assert self.open(store) == [REF]

    def test_longest_waiting_come_first_and_only_so_many(self, store: Store) -> None:
        refs = [AccountRef(f"fca_{number}") for number in range(5)]
        for age, ref in enumerate(refs):
            store.observe(ref, state("pending"), NOW - age, open_=True, calls=0)
        assert self.open(store, limit=3) == [refs[4], refs[3], refs[2]]
        assert self.open(store, before=NOW - 3) == [refs[4]]

    def test_verification_is_listed_until_it_has_its_verdict(self, store: Store) -> None:
        keep_verification(store, TestVerifications.verification, CLAIM)
        [item] = store.open_items("verification", self.later, 10)
        assert item.verification == "ver_1"
        assert store.take_up(item, self.later) == 0
        assert self.verifications(store) == []
        assert self.verifications(store, self.later + 1) == ["ver_1"]
        store.complete_verification("ver_1", {"outcome": "match"}, NOW)
        assert store.take_up(item, self.later) is None
        assert self.verifications(store, self.later + 9) == []

    def test_item_that_failed_is_listed_later_with_its_failures_counted_until_it_is_seen_well(self, store: Store) -> None:
        store.observe(REF, state("pending"), NOW, open_=True, calls=0)
        [item] = store.open_items("refresh", self.later, 10)
        assert store.put_back(item, self.later + 900, 3)
        assert self.open(store, before=self.later + 900) == []
        assert store.take_up(item, self.later) == 3
        store.observe(REF, state("pending"), NOW + 1, open_=True, calls=0)
        assert store.take_up(item, self.later) == 0
        store.observe(REF, state("failed"), NOW + 2, open_=False, calls=0)
        assert not store.put_back(item, self.later, 4)

    def test_verdict_is_listed_as_to_be_announced_until_it_was(self, store: Store) -> None:
        keep_verification(store, TestVerifications.verification, CLAIM)
        store.complete_verification("ver_1", {"outcome": "match"}, NOW)
        [item] = store.open_items("announcement", self.later, 10)
        assert item.verification == "ver_1"
        assert store.announced_verdict("ver_1")
        assert store.open_items("announcement", self.later, 10) == []
        assert not store.announced_verdict("ver_1")

    def test_changes_of_owners_are_kept_as_to_be_announced_until_they_were(self, store: Store) -> None:
        snapshot = Snapshot("fcaowns_1", 100, 101, Sensitive([]))
        announcement = Announcement("OwnershipChanged", {"snapshot": "fcaowns_1"})
        store.put_snapshot(REF, snapshot, NOW, since="fcaowns_0", changes=[], announcement=announcement)
        [item] = store.open_items("announcement", self.later, 10)
        assert (item.ref, item.verification) == (REF, None)
        assert store.get_announcement(item) == announcement
        assert store.announced_snapshot(REF, snapshot)
        assert store.get_announcement(item) is None
        assert store.open_items("announcement", self.later, 10) == []

    def test_account_that_died_is_listed_until_its_verdicts_are_marked(self, store: Store) -> None:
        dead = replace(state("failed"), status="inactive")
        store.observe(REF, dead, NOW, open_=True, calls=0)
        assert not store.end_staleness(REF, state("failed"), NOW, open_=False)
        assert self.open(store) == [REF]
        assert store.end_staleness(REF, dead, NOW, open_=False)
        assert self.open(store) == []
        assert store.get_account(REF).stale_marked
        store.observe(REF, state("failed"), NOW + 1, open_=False, calls=0)
        assert not store.get_account(REF).stale_marked


class TestTenants:
    def test_are_those_that_have_accounts_here(self, store: Store) -> None:
        store.note_connected(REF)
        store.note_connected(CONNECTED)
        store.note_connected(CONNECTED)
        assert store.tenants("test") == [TenantState(CONNECTED.stripe_account or "")]
        assert store.tenants("live") == []

    def test_failure_and_retirement_last_until_it_answers(self, store: Store) -> None:
        id_ = CONNECTED.stripe_account or ""
        store.note_connected(CONNECTED)
        store.tenant_asked("test", id_, NOW)
        failed = TenantState(id_, asked_at=NOW, due_at=NOW + 900, tries=1)
        assert store.tenant_failed("test", failed)
        assert store.tenants("test") == [failed]
        retired = replace(failed, retired_at=NOW)
        assert store.tenant_failed("test", retired)
        store.note_connected(CONNECTED)
        assert store.tenants("test") == [retired]
        assert store.tenant_answered("test", id_)
        assert store.tenants("test") == [TenantState(id_, asked_at=NOW)]
        assert not store.tenant_answered("test", id_)

    def test_one_that_was_never_seen_is_not_made(self, store: Store) -> None:
        assert not store.tenant_answered("test", "acct_other")
        assert not store.tenant_asked("test", "acct_other", NOW)
        assert store.tenants("test") == []


class TestEvents:
    event: Mapping[str, str] = MappingProxyType({"id": "evt_1", "type": "x", "created": "1", **REF.as_dict()})

    def test_is_new_then_waiting_until_it_is_finished(self, store: Store) -> None:
        assert store.insert_event(self.event, processed=False, now=NOW) == "new"
        assert store.insert_event(self.event, processed=False, now=NOW + 1) == "waiting"
        assert store.finish_event("evt_1")
        assert store.insert_event(self.event, processed=False, now=NOW + 2) == "processed"

    def test_that_needs_no_processing_is_processed_at_once(self, store: Store) -> None:
        assert store.insert_event(self.event, processed=True, now=NOW) == "new"
        assert store.insert_event(self.event, processed=True, now=NOW) == "processed"

    def test_is_recorded_once_with_what_stripe_said_and_expires(self, store: Store) -> None:
        store.insert_event(self.event, processed=False, now=NOW)
        store.insert_event({**self.event, "type": "other"}, processed=True, now=NOW + 60)
        (item,) = store._client.scan(TableName="ttt")["Items"]
        assert (item["type"]["S"], item["received_ms"]["N"]) == ("x", str(int(NOW * 1000)))
        assert int(item["expires_at"]["N"]) == NOW + EVENT_RETENTION_SECONDS

    def test_that_was_never_recorded_is_not_finished(self, store: Store) -> None:
        assert not store.finish_event("evt_1")
        assert store._client.scan(TableName="ttt")["Items"] == []


class TestPace:
    def test_first_place_is_now(self, store: Store) -> None:
        assert store.book("line", 25, NOW).at == NOW

    def test_burst_is_spread_at_the_rate(self, store: Store) -> None:
        assert [store.book("line", 25, NOW).at for _ in range(5)] == pytest.approx([NOW, NOW + 0.04, NOW + 0.08, NOW + 0.12, NOW + 0.16])

    def test_idle_time_is_not_saved_up(self, store: Store) -> None:
        store.book("line", 25, NOW)
        assert [store.book("line", 25, NOW + 60).at for _ in range(2)] == pytest.approx([NOW + 60, NOW + 60.04])

    def test_lines_do_not_mix(self, store: Store) -> None:
        store.book("a", 1, NOW)
        assert store.book("b", 1, NOW).at == NOW

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.floats(0, 2, allow_nan=False), min_size=2, max_size=25), st.sampled_from([1.0, 3.0, 25.0, 100.0]), st.uuids())
    def test_no_window_of_a_second_holds_more_than_the_rate(self, store: Store, pauses: list[float], rate: float, line: object) -> None:
        now, places = NOW, []
        for pause in pauses:
            now += pause / rate
            places.append(store.book(str(line), rate, now).at)
            assert places[-1] >= now
        places.sort()
        for first, last in zip(places, places[int(rate) :], strict=False):
            # A step is a whole number of milliseconds.
            assert last - first >= 1 - 0.001 * rate

    def test_batch_takes_a_near_place_only_and_leaves_no_trace_of_a_refusal(self, store: Store) -> None:
        assert store.book_if_near("line", 2, NOW, NOW + 0.5) is not None
        assert store.book_if_near("line", 2, NOW, NOW + 0.5) is not None
        assert store.book_if_near("line", 2, NOW, NOW + 0.5) is None
        assert store.book("line", 2, NOW).at == pytest.approx(NOW + 1.0)

    def test_times_to_ask_again_are_spread_and_take_no_places(self, store: Store) -> None:
        assert [store.book_again("line", "batch", 4, NOW + 1) for _ in range(3)] == pytest.approx([NOW + 1, NOW + 1.25, NOW + 1.5])
        assert store.book("line", 4, NOW).at == NOW

    def test_slow_line_is_known_to_all_who_book_and_nobody_overwrites_another(self, store: Store) -> None:
        assert store.slowness("line") == Backoff() == store.book("line", 25, NOW).slowness
        first, second = Backoff(2, NOW), Backoff(4, NOW + 5)
        assert store.slow_down("line", first, Backoff())
        assert not store.slow_down("line", second, Backoff())
        assert store.slow_down("line", second, first)
        assert store.slowness("line") == second == store.book("line", 25, NOW).slowness
