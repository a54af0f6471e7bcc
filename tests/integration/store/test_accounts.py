"""Accounts: newer observations are never replaced by older ones, and one worker at a time has the lease for a refresh call."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.stored import CONNECTED, NOW, REF, put_newest, state
from titleholder.domain.accounts import AccountRef, AccountState, Attempt, OwnershipRefresh, StatusDetails, StoredAccount
from titleholder.domain.refresh_policy import LEASE_SECONDS
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.store import Store

FIRST = Attempt(1, "key-1", 0, NOW, 1, open=True)
SECOND = Attempt(2, "key-2", 0, NOW, 2, open=True)


def observed_state(store: Store, ref: AccountRef = REF) -> AccountState:
    found = store.accounts.get(ref).state
    assert found is not None
    return found


def test_unknown_account_is_empty(store: Store) -> None:
    assert store.accounts.get(REF) == StoredAccount()


@pytest.mark.parametrize(
    "observed",
    [
        state(None),
        state("pending"),
        state("succeeded", next_refresh_available_at=200),
        state("failed", error={"cause": "institution_unavailable", "n": 1}),
        AccountState("inactive", None, None),
        replace(state(None), details=StatusDetails("relink_required", "access_expired", 1_900_000_000), authorization="fcauth_1"),
        AccountState("inactive", None, None, details=StatusDetails(None, "full_moon")),
        AccountState("active", (), None),
        AccountState("hibernating", ("a", "b"), OwnershipRefresh("reticulating", 7)),
    ],
)
def test_observation_is_read_as_it_was_stored(store: Store, observed: AccountState) -> None:
    assert store.accounts.observe(REF, observed, NOW + 0.123, open_=False, calls=0)
    assert store.accounts.get(REF) == StoredAccount(state=observed, observed_at=NOW + 0.123, shown_since=NOW + 0.123)


def test_account_of_live_mode_is_livemode(store: Store) -> None:
    live = AccountRef("fca_1", "live")
    store.accounts.observe(live, replace(state(None), livemode=True), NOW, open_=False, calls=0)
    assert observed_state(store, live).livemode


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
def test_only_a_newer_observation_replaces_another_even_if_the_clock_differs(
    store: Store, older: AccountState, newer: AccountState
) -> None:
    assert store.accounts.observe(REF, older, NOW, open_=False, calls=0)
    assert store.accounts.observe(REF, newer, NOW - 60, open_=False, calls=0)
    assert not store.accounts.observe(REF, older, NOW + 60, open_=False, calls=0)
    assert observed_state(store) == newer


def test_later_read_of_the_same_attempt_replaces_the_earlier_one_only(store: Store) -> None:
    store.accounts.observe(REF, state("succeeded"), NOW, open_=False, calls=0)
    assert store.accounts.observe(REF, state("succeeded", account="inactive"), NOW + 1, open_=False, calls=0)
    assert not store.accounts.observe(REF, state("succeeded"), NOW + 0.5, open_=False, calls=0)
    assert observed_state(store).status == "inactive"


def test_last_write_wins_between_reads_of_the_same_attempt_at_the_same_time(store: Store) -> None:
    store.accounts.observe(REF, state("failed"), NOW, open_=False, calls=0)
    assert store.accounts.observe(REF, state("failed", account="inactive"), NOW, open_=False, calls=0)
    assert observed_state(store).status == "inactive"


def test_observations_of_connected_accounts_and_modes_do_not_mix(store: Store) -> None:
    store.accounts.observe(REF, state("pending"), NOW, open_=False, calls=0)
    store.accounts.observe(CONNECTED, state("failed"), NOW, open_=False, calls=0)
    assert observed_state(store) == state("pending")
    assert observed_state(store, CONNECTED) == state("failed")
    assert store.accounts.get(AccountRef("fca_1", "live")).state is None


def test_observation_leaves_attempt_and_snapshot_unchanged(store: Store) -> None:
    attempt = Attempt(1, "key", 0, NOW, 1, open=True)
    store.accounts.begin_attempt(REF, attempt, None, NOW)
    put_newest(store, REF, Snapshot("fcaowns_1", 90, 91, Sensitive([])), NOW)
    store.accounts.observe(REF, state("pending"), NOW, open_=False, calls=0)
    known = store.accounts.get(REF)
    assert (known.attempt, known.snapshot, known.snapshot_attempted_at) == (attempt, "fcaowns_1", 90)


STATES = [state(None), state("pending"), state("succeeded"), state("pending", 101), state("failed", 101)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(STATES))
def test_newest_observation_is_kept_in_any_order_of_storing(store: Store, order: list[AccountState]) -> None:
    # An account of its own for each order: the table is the same for all of them.
    ref = AccountRef("fca_" + "_".join(str(STATES.index(observed)) for observed in order))
    for number, observed in enumerate(order):
        store.accounts.observe(ref, observed, NOW + number, open_=False, calls=0)
    assert observed_state(store, ref) == state("failed", 101)


def test_one_of_two_workers_that_read_the_same_gets_the_lease(store: Store) -> None:
    assert store.accounts.begin_attempt(REF, FIRST, None, NOW)
    assert not store.accounts.begin_attempt(REF, replace(FIRST, key="other"), None, NOW)
    assert store.accounts.get(REF).attempt == FIRST


def test_lease_is_not_taken_while_it_runs(store: Store) -> None:
    store.accounts.begin_attempt(REF, FIRST, None, NOW)
    assert not store.accounts.begin_attempt(REF, SECOND, FIRST, NOW + LEASE_SECONDS - 0.001)


def test_lease_is_taken_over_once_it_has_expired(store: Store) -> None:
    store.accounts.begin_attempt(REF, FIRST, None, NOW)
    assert store.accounts.begin_attempt(REF, FIRST, FIRST, NOW + LEASE_SECONDS)
    assert not store.accounts.begin_attempt(REF, FIRST, FIRST, NOW + LEASE_SECONDS + 1)


def test_lease_is_free_once_it_was_returned(store: Store) -> None:
    store.accounts.begin_attempt(REF, FIRST, None, NOW)
    assert store.accounts.end_attempt(REF, FIRST, answered=True)
    assert store.accounts.begin_attempt(REF, SECOND, replace(FIRST, open=False), NOW + 1)


def test_lease_is_refused_after_another_attempt_since_the_account_was_read(store: Store) -> None:
    """Another worker took and returned the lease between the read and the write: the lease is free, but what was read is outdated."""
    store.accounts.begin_attempt(REF, FIRST, None, NOW)
    store.accounts.end_attempt(REF, FIRST, answered=True)
    assert not store.accounts.begin_attempt(REF, replace(FIRST, key="late"), None, NOW + 1)
    store.accounts.begin_attempt(REF, SECOND, FIRST, NOW + 1)
    store.accounts.end_attempt(REF, SECOND, answered=True)
    assert not store.accounts.begin_attempt(REF, replace(SECOND, key="late"), FIRST, NOW + 2)
    assert store.accounts.get(REF).attempt == replace(SECOND, open=False)


@pytest.mark.parametrize("answered", [True, False])
def test_attempt_stays_open_until_stripe_has_answered_it(store: Store, answered: bool) -> None:
    store.accounts.begin_attempt(REF, FIRST, None, NOW)
    assert store.accounts.get(REF).attempt == FIRST
    store.accounts.end_attempt(REF, FIRST, answered=answered)
    assert store.accounts.get(REF).attempt == replace(FIRST, open=not answered)


def test_late_end_of_an_attempt_does_not_return_the_next_attempts_lease(store: Store) -> None:
    store.accounts.begin_attempt(REF, FIRST, None, NOW)
    store.accounts.begin_attempt(REF, SECOND, FIRST, NOW + LEASE_SECONDS)
    assert not store.accounts.end_attempt(REF, FIRST, answered=True)
    third = replace(SECOND, number=3)
    assert not store.accounts.begin_attempt(REF, third, SECOND, NOW + LEASE_SECONDS + 1)
    assert store.accounts.get(REF).attempt == SECOND
