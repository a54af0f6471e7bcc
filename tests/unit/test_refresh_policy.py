"""The refresh decision over every state an account can be in, and the rules that keep a refresh from being paid for twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titleholder.domain.accounts import AccountHolder, AccountState, Attempt, OwnershipRefresh, StatusDetails, StoredAccount
from titleholder.domain.refresh_policy import (
    CLOCK_SKEW,
    IDEMPOTENCY_SECONDS,
    LAG_SECONDS,
    LAST_OBSERVATION,
    LEASE_SECONDS,
    MEMORY_SECONDS,
    RESUME_SECONDS,
    CoolingDown,
    Decision,
    Fresh,
    FreshnessRequirement,
    JoinPending,
    NotVerifiable,
    StartRefresh,
    asked_at,
    began_before,
    brought_position,
    decide,
    decide_after_refusal,
    decide_from_memory,
    final_reason,
    is_gone,
    is_open,
    is_outdated,
    is_pending,
    is_unconfirmed,
    is_unsettled,
    may_have_started,
    needs_repair,
    next_attempt,
    observation,
    order,
    origin,
    position,
    settled_since,
    shows,
    status_since,
    was_started,
)
from titleholder.stripe_api.gateway import LONGEST_CALL_SECONDS

NOW = 1_800_000_000
DAY = 86_400
PAST, FUTURE = NOW - 60, NOW + 3600
LONG_AGO = NOW - 40 * DAY

NEED = FreshnessRequirement(not_before=NOW - 30 * DAY, requested_at=NOW, deadline=NOW + 7 * DAY)


SINCE = Attempt(1, "key", NOW - 1, began_at=NOW, calls=1, open=False)
"""This stack's newest attempt, made right after the request."""


def refresh(status: str, attempted_at: int = LONG_AGO, opens_at: int | None = PAST) -> OwnershipRefresh:
    return OwnershipRefresh(status=status, last_attempted_at=attempted_at, next_refresh_available_at=opens_at)


def account(hash_: OwnershipRefresh | None, status: str = "active", permissions: tuple[str, ...] | None = ("ownership",)) -> AccountState:
    return AccountState(status=status, permissions=permissions, refresh=hash_)


TABLE: dict[str, tuple[AccountState, FreshnessRequirement, Decision]] = {
    "never refreshed": (account(None), NEED, StartRefresh(base=0)),
    "pending": (account(refresh("pending", NOW - 5, None)), NEED, JoinPending(NOW - 5)),
    "pending since long ago": (account(refresh("pending", LONG_AGO, None)), NEED, JoinPending(LONG_AGO)),
    "pending, though the time of the next refresh is past": (account(refresh("pending", LONG_AGO, PAST)), NEED, JoinPending(LONG_AGO)),
    "unknown refresh status": (account(refresh("reticulating", LONG_AGO, PAST)), NEED, JoinPending(LONG_AGO)),
    "succeeded, fresh": (account(refresh("succeeded", NOW - DAY, FUTURE)), NEED, Fresh(NOW - DAY)),
    "succeeded, fresh, another refresh allowed": (account(refresh("succeeded", NOW - DAY, PAST)), NEED, Fresh(NOW - DAY)),
    "succeeded, fresh, no time of a next one": (account(refresh("succeeded", NOW - DAY, None)), NEED, Fresh(NOW - DAY)),
    "succeeded, stale, allowed": (account(refresh("succeeded", LONG_AGO, PAST)), NEED, StartRefresh(LONG_AGO)),
    "succeeded, stale, allowed this second": (account(refresh("succeeded", LONG_AGO, NOW)), NEED, StartRefresh(LONG_AGO)),
    "succeeded, stale, cooling down": (account(refresh("succeeded", LONG_AGO, FUTURE)), NEED, CoolingDown(FUTURE)),
    "succeeded, stale, cooling down by a second": (account(refresh("succeeded", LONG_AGO, NOW + 1)), NEED, CoolingDown(NOW + 1)),
    "succeeded, stale, no time of a next one": (account(refresh("succeeded", LONG_AGO, None)), NEED, NotVerifiable("REFRESH_UNAVAILABLE")),
    "failed before the request, allowed": (account(refresh("failed", NOW - 60, PAST)), NEED, StartRefresh(NOW - 60)),
    "failed before the request, cooling down": (account(refresh("failed", NOW - 60, FUTURE)), NEED, CoolingDown(FUTURE)),
    "failed before the request, no time of a next one": (
        account(refresh("failed", NOW - 60, None)),
        NEED,
        NotVerifiable("REFRESH_UNAVAILABLE"),
    ),
    "failed a second before the request": (account(refresh("failed", NOW - 1, PAST)), NEED, StartRefresh(NOW - 1)),
    "failed since the request, cooling down": (account(refresh("failed", NOW, FUTURE)), NEED, NotVerifiable("REFRESH_FAILED")),
    "failed since the request, allowed": (account(refresh("failed", NOW, PAST)), NEED, NotVerifiable("REFRESH_FAILED")),
    "failed before a request in mid-second": (
        account(refresh("failed", NOW, FUTURE)),
        replace(NEED, requested_at=NOW + 0.9),
        CoolingDown(FUTURE),
    ),
    "failed, joined before the request": (
        account(refresh("failed", NOW - 60, FUTURE)),
        replace(NEED, joined=NOW - 60),
        NotVerifiable("REFRESH_FAILED"),
    ),
    "failed after the one that was joined": (
        account(refresh("failed", NOW - 10, FUTURE)),
        replace(NEED, joined=NOW - 60),
        NotVerifiable("REFRESH_FAILED"),
    ),
    "failed before the one that was joined": (
        account(refresh("failed", NOW - 61, PAST)),
        replace(NEED, joined=NOW - 60),
        StartRefresh(NOW - 61),
    ),
    "joined one succeeded, too old by the clock": (
        account(refresh("succeeded", LONG_AGO, FUTURE)),
        replace(NEED, joined=LONG_AGO),
        Fresh(LONG_AGO),
    ),
    "one before the joined one succeeded": (
        account(refresh("succeeded", LONG_AGO - 1, PAST)),
        replace(NEED, joined=LONG_AGO),
        StartRefresh(LONG_AGO - 1),
    ),
    "inactive, never refreshed": (account(None, "inactive"), NEED, NotVerifiable("ACCOUNT_INACTIVE")),
    "inactive, stale": (account(refresh("succeeded", LONG_AGO, None), "inactive"), NEED, NotVerifiable("ACCOUNT_INACTIVE")),
    "inactive, stale, allowed by its time": (
        account(refresh("succeeded", LONG_AGO, PAST), "inactive"),
        NEED,
        NotVerifiable("ACCOUNT_INACTIVE"),
    ),
    "inactive, fresh owners are readable": (account(refresh("succeeded", NOW - DAY, None), "inactive"), NEED, Fresh(NOW - DAY)),
    "inactive, pending": (account(refresh("pending", NOW - 5, None), "inactive"), NEED, JoinPending(NOW - 5)),
    "inactive, failed since the request": (account(refresh("failed", NOW, None), "inactive"), NEED, NotVerifiable("ACCOUNT_INACTIVE")),
    "inactive, permission missing": (account(None, "inactive", permissions=()), NEED, NotVerifiable("ACCOUNT_INACTIVE")),
    "inactive, failed long ago": (account(refresh("failed", LONG_AGO, None), "inactive"), NEED, NotVerifiable("ACCOUNT_INACTIVE")),
    "disconnected, never refreshed": (account(None, "disconnected"), NEED, NotVerifiable("ACCOUNT_DISCONNECTED")),
    "disconnected, though fresh": (account(refresh("succeeded", NOW, PAST), "disconnected"), NEED, NotVerifiable("ACCOUNT_DISCONNECTED")),
    "disconnected, though pending": (account(refresh("pending", NOW, None), "disconnected"), NEED, NotVerifiable("ACCOUNT_DISCONNECTED")),
    "permission missing": (account(None, permissions=("balances",)), NEED, NotVerifiable("PERMISSION_MISSING")),
    "permission missing, though fresh": (
        account(refresh("succeeded", NOW, PAST), permissions=("balances",)),
        NEED,
        NotVerifiable("PERMISSION_MISSING"),
    ),
    "no permission at all": (account(None, permissions=()), NEED, NotVerifiable("PERMISSION_MISSING")),
    "permissions null": (account(None, permissions=None), NEED, NotVerifiable("PERMISSION_MISSING")),
    "permission among others": (account(None, permissions=("balances", "ownership")), NEED, StartRefresh(0)),
    # Stripe decides what an account of a status that is not known yet may do; its refusal is survived.
    "unknown account status": (account(None, "hibernating"), NEED, StartRefresh(0)),
    "unknown account status, cooling down": (account(refresh("failed", LONG_AGO, FUTURE), "hibernating"), NEED, CoolingDown(FUTURE)),
    "cooldown up to the deadline": (
        account(refresh("failed", LONG_AGO, FUTURE)),
        replace(NEED, deadline=FUTURE),
        CoolingDown(FUTURE),
    ),
    "cooldown beyond the deadline": (
        account(refresh("failed", LONG_AGO, FUTURE)),
        replace(NEED, deadline=FUTURE - 1),
        NotVerifiable("COOLDOWN_BEYOND_DEADLINE"),
    ),
    "as old as allowed": (account(refresh("succeeded", NOW - 30 * DAY, PAST)), NEED, Fresh(NOW - 30 * DAY)),
    "older than allowed by less than the clocks' difference": (
        account(refresh("succeeded", NOW - 30 * DAY - CLOCK_SKEW, PAST)),
        NEED,
        Fresh(NOW - 30 * DAY - CLOCK_SKEW),
    ),
    "older than allowed by more than the clocks' difference": (
        account(refresh("succeeded", NOW - 30 * DAY - CLOCK_SKEW - 1, PAST)),
        NEED,
        StartRefresh(NOW - 30 * DAY - CLOCK_SKEW - 1),
    ),
    "no age allowed, succeeded a moment ago by another clock": (
        account(refresh("succeeded", NOW - 3, PAST)),
        replace(NEED, not_before=NOW),
        Fresh(NOW - 3),
    ),
}


@pytest.mark.parametrize(("state", "need", "expected"), TABLE.values(), ids=TABLE.keys())
def test_decision_for_every_state(state: AccountState, need: FreshnessRequirement, expected: Decision) -> None:
    assert decide(state, need, NOW, SINCE) == expected


class TestFailure:
    """A refresh has failed, and Stripe allows another one."""

    @pytest.mark.parametrize(
        ("requested", "attempted_at", "attempt", "answers"),
        [
            # By this stack since the request, in the same second or by clocks that differ.
            (NOW + 0.1, NOW, replace(SINCE, began_at=NOW + 0.2), True),
            (NOW + 0.1, NOW - 5, replace(SINCE, base=NOW - 60, began_at=NOW + 0.2), True),
            # By this stack before the request, in the same second or by clocks that differ.
            (NOW + 0.9, NOW, replace(SINCE, began_at=NOW + 0.2), False),
            (NOW + 0.9, NOW + 5, replace(SINCE, began_at=NOW + 0.2), False),
            # A prefetch, or another system's refresh.
            (NOW + 0.9, NOW, None, False),
            (NOW + 0.9, NOW + 5, None, False),
            (NOW, NOW + 60, replace(SINCE, base=NOW + 60), False),
            (NOW - 60, NOW - 30, replace(SINCE, began_at=NOW), False),
        ],
    )
    def test_failure_answers_a_request_only_if_this_stack_asked_for_the_refresh_since(
        self, requested: float, attempted_at: int, attempt: Attempt | None, answers: bool
    ) -> None:
        decision = decide(account(refresh("failed", attempted_at, NOW)), replace(NEED, requested_at=requested), NOW + 100, attempt)
        assert decision == (NotVerifiable("REFRESH_FAILED") if answers else StartRefresh(attempted_at))


class TestRefusal:
    """Stripe refused, by an error or by an unchanged account."""

    def test_code_shows_that_an_inactive_account_was_refused_even_if_the_account_does_not(self) -> None:
        code = "financial_connections_account_inactive"
        assert decide_after_refusal(account(None), NEED, NOW, code) == NotVerifiable("ACCOUNT_INACTIVE")

    def test_refusal_without_any_visible_reason_is_final(self) -> None:
        assert decide_after_refusal(account(None), NEED, NOW) == NotVerifiable("REFRESH_REFUSED")
        assert decide_after_refusal(account(refresh("failed")), NEED, NOW, "some_code") == NotVerifiable("REFRESH_REFUSED")

    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            (account(refresh("failed", LONG_AGO, FUTURE)), CoolingDown(FUTURE)),
            (account(refresh("pending", NOW, None)), JoinPending(NOW)),
            (account(refresh("succeeded", NOW, FUTURE)), Fresh(NOW)),
            (account(None, "inactive"), NotVerifiable("ACCOUNT_INACTIVE")),
            (account(None, "disconnected"), NotVerifiable("ACCOUNT_DISCONNECTED")),
            (account(None, permissions=None), NotVerifiable("PERMISSION_MISSING")),
        ],
    )
    def test_refusal_is_explained_by_the_account_after_it(self, state: AccountState, expected: Decision) -> None:
        assert decide_after_refusal(state, NEED, NOW) == expected

    def test_just_after_the_cooldown_waits_out_the_difference_of_the_clocks_once(self) -> None:
        state = account(refresh("failed", LONG_AGO, NOW - 1))
        waited = decide_after_refusal(state, NEED, NOW)
        assert waited == CoolingDown(NOW - 1 + CLOCK_SKEW)
        assert decide_after_refusal(state, NEED, NOW - 1 + CLOCK_SKEW) == NotVerifiable("REFRESH_REFUSED")

    def test_just_after_the_cooldown_is_not_waited_for_beyond_the_deadline(self) -> None:
        state = account(refresh("failed", LONG_AGO, NOW - 1))
        assert decide_after_refusal(state, replace(NEED, deadline=NOW), NOW) == NotVerifiable("COOLDOWN_BEYOND_DEADLINE")

    @given(st.sampled_from(list(TABLE.values())), st.none() | st.text(max_size=10))
    def test_never_leads_to_another_refresh(self, row: tuple[AccountState, FreshnessRequirement, Decision], code: str | None) -> None:
        assert not isinstance(decide_after_refusal(row[0], row[1], NOW, code), StartRefresh)


class TestSilentRefusalIsToldByLastAttemptedAt:
    def test_unchanged_account_was_not_refreshed(self) -> None:
        assert not was_started(LONG_AGO, account(refresh("failed", LONG_AGO, FUTURE)))
        assert not was_started(LONG_AGO, account(refresh("succeeded", LONG_AGO, PAST)))

    def test_account_without_any_refresh_was_not_refreshed(self) -> None:
        assert not was_started(0, account(None))

    def test_later_attempt_with_any_status_is_a_refresh(self) -> None:
        for status in ("pending", "succeeded", "failed", "reticulating"):
            assert was_started(LONG_AGO, account(refresh(status, LONG_AGO + 1)))

    def test_pending_attempt_of_the_same_second_is_a_refresh(self) -> None:
        assert was_started(NOW, account(refresh("pending", NOW)))

    @pytest.mark.parametrize(
        ("began_at", "started"),
        [
            (NOW - 1.0, True),
            (NOW + float(CLOCK_SKEW), True),
            (NOW + CLOCK_SKEW + 0.1, False),
        ],
    )
    def test_settled_refresh_counts_only_if_it_is_as_new_as_the_call_by_either_clock(self, began_at: float, started: bool) -> None:
        assert was_started(LONG_AGO, account(refresh("succeeded", NOW)), began_at) is started


class TestWhatAVerdictMayRestOn:
    OLDEST = NOW - 30 * DAY - CLOCK_SKEW
    """The oldest time that NEED accepts."""

    @pytest.mark.parametrize(
        ("attempted_at", "created", "allowed"),
        [
            (OLDEST, LONG_AGO, True),
            (OLDEST - 1, OLDEST, True),
            (OLDEST - 1, OLDEST - 1, False),
        ],
    )
    def test_owners_need_a_fresh_refresh_or_to_be_created_since(self, attempted_at: int, created: int, allowed: bool) -> None:
        assert NEED.allows(attempted_at, created) is allowed

    @pytest.mark.parametrize(
        ("refreshed_at", "attempted_at", "allowed"),
        [
            (None, NOW, True),
            (NOW, NOW, True),
            (OLDEST, NOW, True),
            (OLDEST - 1, NOW, False),
            # Of an older refresh that the asker had joined, owners are as old as the refresh.
            (LONG_AGO - CLOCK_SKEW, LONG_AGO, True),
            (LONG_AGO - CLOCK_SKEW - 1, LONG_AGO, False),
        ],
    )
    def test_owner_is_as_fresh_as_the_request_or_the_refresh_needs_it(
        self, refreshed_at: int | None, attempted_at: int, allowed: bool
    ) -> None:
        assert NEED.allows_owner(refreshed_at, attempted_at) is allowed


@pytest.mark.parametrize(
    ("created", "tried_at"),
    [
        (NOW + 5, NOW),
        (NOW, NOW),
        (NOW - CLOCK_SKEW, NOW),
        (NOW - CLOCK_SKEW - 1, NOW - CLOCK_SKEW - 1),
    ],
)
def test_object_older_than_the_refresh_does_not_come_from_it(created: int, tried_at: int) -> None:
    assert origin(refresh("succeeded", NOW), created) == tried_at


class TestMemory:
    """Deciding without asking Stripe."""

    cooling = StoredAccount(state=account(refresh("failed", LONG_AGO, FUTURE)), observed_at=NOW - 1)

    def test_memory_of_nothing_asks_stripe(self) -> None:
        assert decide_from_memory(StoredAccount(), NEED, NOW) is None

    def test_fresh_snapshot_answers_however_old_the_observation(self) -> None:
        stored = StoredAccount(snapshot="fcaowns_1", snapshot_attempted_at=NOW - DAY)
        assert decide_from_memory(stored, NEED, NOW) == Fresh(NOW - DAY)

    def test_fresh_snapshot_answers_though_an_attempt_is_open(self) -> None:
        attempt = Attempt(1, "key", 0, NOW - 5, 1, open=True)
        stored = replace(self.cooling, snapshot="fcaowns_1", snapshot_attempted_at=NOW - DAY, attempt=attempt)
        assert decide_from_memory(stored, NEED, NOW) == Fresh(NOW - DAY)

    def test_stale_snapshot_does_not_answer(self) -> None:
        assert decide_from_memory(StoredAccount(snapshot="fcaowns_1", snapshot_attempted_at=LONG_AGO), NEED, NOW) is None

    def test_recent_cooldown_answers(self) -> None:
        assert decide_from_memory(self.cooling, NEED, NOW) == CoolingDown(FUTURE)

    def test_observation_of_the_last_seconds_lets_a_refresh_start(self) -> None:
        assert decide_from_memory(StoredAccount(state=account(None), observed_at=NOW - MEMORY_SECONDS), NEED, NOW) == StartRefresh(0)

    @pytest.mark.parametrize("seen", [None, LONG_AGO - 1])
    def test_owners_that_are_not_stored_ask_stripe_before_a_refresh_is_paid(self, seen: int | None) -> None:
        """They may be too many, and then so will be those that a refresh would bring."""
        old = StoredAccount(state=account(refresh("succeeded", LONG_AGO, PAST)), observed_at=NOW - 1, snapshot_attempted_at=seen)
        assert decide_from_memory(old, NEED, NOW) is None
        assert decide_from_memory(replace(old, snapshot_attempted_at=LONG_AGO), NEED, NOW) == StartRefresh(LONG_AGO)

    def test_older_observation_asks_stripe(self) -> None:
        assert decide_from_memory(replace(self.cooling, observed_at=NOW - MEMORY_SECONDS - 1), NEED, NOW) is None

    def test_open_attempt_asks_stripe(self) -> None:
        attempt = Attempt(1, "key", 0, began_at=NOW - 100, calls=1, open=True)
        assert decide_from_memory(replace(self.cooling, attempt=attempt), NEED, NOW) is None

    def test_observation_from_before_the_newest_attempt_asks_stripe(self) -> None:
        attempt = Attempt(1, "key", 0, began_at=NOW - 100, calls=2, open=False)
        assert decide_from_memory(replace(self.cooling, attempt=attempt), NEED, NOW) is None
        assert decide_from_memory(replace(self.cooling, observed_calls=2, attempt=attempt), NEED, NOW) == CoolingDown(FUTURE)

    @pytest.mark.parametrize(
        "state", [account(None, status="inactive"), account(None, permissions=("balances",)), account(None, permissions=None)]
    )
    def test_observation_from_before_the_request_refuses_nothing(self, state: AccountState) -> None:
        """The account may have been relinked since: no event says that a permission was added."""
        stored = StoredAccount(state=state, observed_at=NEED.requested_at - 1)
        assert decide_from_memory(stored, NEED, NOW) is None
        assert isinstance(decide_from_memory(replace(stored, observed_at=NEED.requested_at), NEED, NOW), NotVerifiable)

    @pytest.mark.parametrize("hash_", [refresh("pending", NOW - 1, None), refresh("reticulating", NOW - 1), refresh("succeeded", NOW - 1)])
    def test_memory_of_a_refresh_under_way_or_of_owners_not_fetched_asks_stripe(self, hash_: OwnershipRefresh) -> None:
        assert decide_from_memory(StoredAccount(state=account(hash_), observed_at=NOW), NEED, NOW) is None

    def test_cooldown_waited_out_is_remembered_longer(self) -> None:
        stored = StoredAccount(state=account(refresh("failed", LONG_AGO, NOW - 2)), observed_at=NOW - 3600)
        assert decide_from_memory(stored, NEED, NOW) is None
        assert decide_from_memory(stored, NEED, NOW, resumed_at=NOW - 2) == StartRefresh(LONG_AGO)

    def test_cooldown_waited_out_long_ago_asks_stripe(self) -> None:
        stored = StoredAccount(state=account(refresh("failed", LONG_AGO, NOW - RESUME_SECONDS - 1)), observed_at=NOW - 3600)
        assert decide_from_memory(stored, NEED, NOW, resumed_at=NOW - RESUME_SECONDS - 1) is None

    def test_cooldown_waited_out_is_remembered_to_the_last_second(self) -> None:
        ended = NOW - RESUME_SECONDS
        stored = StoredAccount(state=account(refresh("failed", LONG_AGO, ended)), observed_at=NOW - 3600)
        assert decide_from_memory(stored, NEED, NOW, resumed_at=ended) == StartRefresh(LONG_AGO)

    def test_erased_account_is_disconnected_with_any_stored_data(self) -> None:
        stored = StoredAccount(state=account(None), observed_at=NOW, snapshot_attempted_at=NOW, erased_at=NOW - 1.0)
        assert decide_from_memory(stored, NEED, NOW) == NotVerifiable("ACCOUNT_DISCONNECTED")

    def test_account_that_was_inactive_before_a_wait_is_looked_at_again_after_it(self) -> None:
        """The first repair may hold by now."""
        state = account(refresh("failed", LONG_AGO, NOW - 2), status="inactive")
        stored = StoredAccount(state=state, observed_at=NEED.requested_at)
        assert decide_from_memory(stored, NEED, NOW) == NotVerifiable("ACCOUNT_INACTIVE")
        assert decide_from_memory(stored, NEED, NOW, resumed_at=NOW - 2) is None

    def test_refresh_of_this_stack_that_failed_since_the_request_is_remembered_as_its_own(self) -> None:
        state = account(refresh("failed", NOW + 1, None))
        stored = StoredAccount(state=state, observed_at=NOW + 1, observed_calls=1, attempt=SINCE)
        assert decide_from_memory(stored, NEED, NOW + 2) == decide(state, NEED, NOW + 2, SINCE) != decide(state, NEED, NOW + 2, None)

    def test_another_cooldown_than_the_one_waited_out_asks_stripe(self) -> None:
        stored = StoredAccount(state=account(refresh("failed", LONG_AGO, FUTURE)), observed_at=NOW - 3600)
        assert decide_from_memory(stored, NEED, NOW, resumed_at=NOW - 2) is None


class TestNextAttempt:
    previous = Attempt(number=3, key="old", base=LONG_AGO, began_at=NOW - 60, calls=4, open=True)

    def test_first_one_is_numbered_one_under_the_new_key(self) -> None:
        assert next_attempt(None, 0, NOW, "new") == Attempt(1, "new", 0, NOW, 1, open=True)

    def test_unanswered_one_is_repeated_under_its_own_key(self) -> None:
        assert next_attempt(self.previous, LONG_AGO, NOW, "new") == replace(self.previous, calls=5)

    def test_answered_one_is_followed_by_another_key(self) -> None:
        follower = next_attempt(replace(self.previous, open=False), LONG_AGO, NOW, "new")
        assert follower == Attempt(4, "new", LONG_AGO, NOW, 5, open=True)

    def test_key_of_another_refresh_is_not_used_again(self) -> None:
        assert next_attempt(self.previous, LONG_AGO + 1, NOW, "new").key == "new"

    @pytest.mark.parametrize(
        ("attempted_at", "shown_since", "key"),
        [
            (NOW - 61, NOW - 61, "old"),
            # It may be the result of the attempt: its second is that of the attempt, or a reading showed it only later.
            (NOW - 60, NOW - 61, "new"),
            (NOW - 61, NOW - 60, "new"),
        ],
    )
    def test_unanswered_one_is_repeated_where_the_account_shows_a_refresh_from_before_it(
        self, attempted_at: int, shown_since: int, key: str
    ) -> None:
        known = StoredAccount(state=account(refresh("succeeded", attempted_at)), shown_since=shown_since, attempt=self.previous)
        assert began_before(attempted_at, known) is (key == "old")
        assert next_attempt(self.previous, attempted_at, NOW, "new", older=began_before(attempted_at, known)).key == key

    def test_no_other_refresh_is_taken_for_one_from_before_the_attempt(self) -> None:
        known = StoredAccount(state=account(refresh("succeeded", NOW - 61)), shown_since=NOW - 61, attempt=self.previous)
        assert not began_before(NOW - 62, known)
        assert not began_before(0, replace(known, state=None))
        assert not began_before(NOW - 61, replace(known, attempt=None))

    def test_key_that_stripe_may_have_forgotten_is_not_used_again(self) -> None:
        assert next_attempt(replace(self.previous, began_at=NOW - IDEMPOTENCY_SECONDS + 1), LONG_AGO, NOW, "new").key == "old"
        assert next_attempt(replace(self.previous, began_at=NOW - IDEMPOTENCY_SECONDS), LONG_AGO, NOW, "new").key == "new"

    @pytest.mark.parametrize(("base", "doubted_at"), [(LONG_AGO, NOW - 30), (LONG_AGO + 1, None)])
    def test_doubt_about_a_call_outlives_it_until_another_refresh_is_seen(self, base: int, doubted_at: float | None) -> None:
        doubtful = replace(self.previous, open=False, doubted_at=NOW - 30)
        assert next_attempt(doubtful, base, NOW, "new").doubted_at == doubted_at

    @pytest.mark.parametrize(
        ("doubted_at", "expected"),
        [(None, False), (NOW, True), (NOW - LAG_SECONDS + 1, True), (NOW - LAG_SECONDS, False)],
    )
    def test_call_in_doubt_may_have_started_a_refresh_as_long_as_reads_may_lag(self, doubted_at: float | None, expected: bool) -> None:
        assert may_have_started(replace(self.previous, doubted_at=doubted_at), NOW) is expected


class TestOutdatedReading:
    """A reading begun at NOW of an account that is known."""

    @pytest.mark.parametrize(
        ("reading", "known", "observed_at", "outdated"),
        [
            (None, None, NOW - 60, False),
            (("pending", NOW - 5), ("pending", NOW - 5), NOW - 60, False),
            (("succeeded", NOW - 5), ("pending", NOW - 5), NOW - 60, False),
            (("pending", NOW - 5), ("failed", LONG_AGO), NOW - 60, False),
            (None, ("pending", NOW - 5), NOW - 60, True),
            (("succeeded", LONG_AGO), ("pending", NOW - 5), NOW - 60, True),
            (("succeeded", LONG_AGO), ("pending", NOW - 5), NOW + 1, True),
            # Settled when last seen: before the reading began, or while it was under way.
            (("pending", NOW - 5), ("succeeded", NOW - 5), NOW - 1, True),
            (("pending", NOW - 5), ("succeeded", NOW - 5), NOW, False),
            (("pending", NOW - 5), ("succeeded", NOW - 5), NOW + 1, False),
            (("pending", NOW - 6), ("failed", NOW - 6), NOW + 1, False),
        ],
    )
    def test_outdated_reading_is_one_that_shows_an_earlier_state(
        self, reading: tuple[str, int] | None, known: tuple[str, int] | None, observed_at: float, outdated: bool
    ) -> None:
        read, seen = (account(None if given is None else refresh(*given, None)) for given in (reading, known))
        assert is_outdated(read, NOW, StoredAccount(state=seen, observed_at=observed_at)) is outdated

    def test_outdated_reading_is_none_where_nothing_is_known(self) -> None:
        assert not is_outdated(account(None), NOW, StoredAccount())
        assert not is_outdated(account(refresh("pending", NOW)), NOW, StoredAccount())


BROUGHT = (NOW - 30, NOW - 20, "fcaowns_2")
"""The position of owners of a refresh tried 30 s ago."""


@pytest.mark.parametrize(
    ("state", "brought", "before", "open_", "unsettled"),
    [
        (account(None), None, StoredAccount(), False, False),
        (account(refresh("pending", NOW - 30)), None, StoredAccount(), True, True),
        (account(refresh("failed", NOW - 30)), BROUGHT, StoredAccount(), False, False),
        (account(refresh("succeeded", NOW - 30)), None, StoredAccount(), False, False),
        (account(refresh("succeeded", NOW - 30)), BROUGHT, StoredAccount(), True, True),
        (account(refresh("succeeded", NOW - 30)), BROUGHT, StoredAccount(None, 0, 0, 0, "fcaowns_2", NOW - 30, NOW - 20), False, False),
        (account(refresh("succeeded", NOW - 30)), BROUGHT, StoredAccount(None, 0, 0, 0, "fcaowns_1", NOW - 30, NOW - 20), True, True),
        (account(refresh("pending", NOW - 30), "disconnected"), BROUGHT, StoredAccount(), True, False),
        (account(None, "disconnected"), None, StoredAccount(), True, False),
        (account(None, "inactive"), None, StoredAccount(), True, False),
        (account(None, "inactive"), None, StoredAccount(stale_marked=True), False, False),
        (account(None), None, StoredAccount(state=account(None, "inactive")), True, False),
        (account(None), None, StoredAccount(state=account(None), stale_marked=True), True, False),
        (account(None), None, StoredAccount(state=account(None), lift_pending=True), True, False),
        (account(None), None, StoredAccount(state=account(None)), False, False),
        (account(None, "hibernating"), None, StoredAccount(state=account(None, "inactive")), False, False),
    ],
)
def test_account_is_open_until_its_refresh_its_owners_and_its_end_are_dealt_with(
    state: AccountState, brought: tuple[int, int, str] | None, before: StoredAccount, open_: bool, unsettled: bool
) -> None:
    assert is_open(state, brought, before) is open_
    assert is_unsettled(state, brought, before) is unsettled


@pytest.mark.parametrize(
    ("state", "pending"),
    [(None, False), (account(None), False), (account(refresh("pending")), True), (account(refresh("failed")), False)],
)
def test_refresh_is_known_as_pending(state: AccountState | None, pending: bool) -> None:
    assert is_pending(StoredAccount(state=state)) is pending


def test_owners_are_ordered_by_their_refresh_then_their_age_then_their_id() -> None:
    assert position(StoredAccount()) == (0, 0, "")
    assert position(StoredAccount(snapshot="fcaowns_1", snapshot_attempted_at=NOW, snapshot_created=NOW + 5)) == (NOW, NOW + 5, "fcaowns_1")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (account(None), None),
        (account(refresh("pending", NOW)), None),
        (account(refresh("failed", NOW)), None),
        (account(refresh("succeeded", NOW)), (NOW, NOW + 5, "fcaowns_1")),
        (account(refresh("succeeded", NOW + 60)), (NOW + 5, NOW + 5, "fcaowns_1")),
    ],
)
def test_only_a_refresh_that_succeeded_brings_owners(state: AccountState, expected: tuple[int, int, str] | None) -> None:
    assert brought_position(state, NOW + 5, "fcaowns_1") == expected


class TestEventShown:
    """What an event said at NOW, and the account that is read after it."""

    @pytest.mark.parametrize(
        ("what", "active", "inactive", "disconnected"),
        [("disconnected", False, False, True), ("deactivated", False, True, True), ("reactivated", True, False, True)],
    )
    def test_by_the_status(self, what: str, active: bool, inactive: bool, disconnected: bool) -> None:
        statuses = ("active", "inactive", "disconnected")
        shown = [shows(account(refresh("failed", LONG_AGO), status), None, what, NOW, StoredAccount()) for status in statuses]
        assert shown == [active, inactive, disconnected]

    KNOWN = StoredAccount(state=account(refresh("failed", NOW - 60)), shown_since=NOW - CLOCK_SKEW - 1)
    ASKED = Attempt(1, "key", NOW - 60, NOW + CLOCK_SKEW, 1, open=False)

    @pytest.mark.parametrize(
        ("hash_", "created", "before", "shown"),
        [
            (None, None, StoredAccount(), False),
            # Another refresh than the one of the event is pending.
            (refresh("pending", NOW), None, StoredAccount(), False),
            (refresh("pending", NOW + 1), None, StoredAccount(), True),
            (refresh("succeeded", NOW - 60), None, StoredAccount(), True),
            (refresh("failed", NOW - 60), None, StoredAccount(), True),
            # This was known before the event.
            (refresh("failed", NOW - 60), None, KNOWN, False),
            (refresh("failed", NOW - 61), None, KNOWN, False),
            (refresh("failed", NOW - 59), None, KNOWN, True),
            (refresh("failed", NOW - 60), None, replace(KNOWN, shown_since=NOW - CLOCK_SKEW), True),
            # Its owners are older than the event.
            (refresh("succeeded", NOW - 60), NOW - CLOCK_SKEW, StoredAccount(), True),
            (refresh("succeeded", NOW - 60), NOW - CLOCK_SKEW - 1, StoredAccount(), False),
            # This stack has asked for another one since.
            (refresh("failed", NOW - 60), None, StoredAccount(attempt=ASKED), False),
            (refresh("failed", NOW - 60), None, StoredAccount(attempt=replace(ASKED, began_at=NOW + CLOCK_SKEW + 1)), True),
            (refresh("failed", NOW - 60), None, StoredAccount(attempt=replace(ASKED, base=NOW - 61)), True),
        ],
    )
    def test_by_a_settled_refresh_that_is_not_an_earlier_one(
        self, hash_: OwnershipRefresh | None, created: int | None, before: StoredAccount, shown: bool
    ) -> None:
        assert shows(account(hash_), created, "refreshed", NOW, before) is shown


class TestSettledSince:
    PENDING = account(refresh("pending", NOW - 30, None))

    @pytest.mark.parametrize(
        ("after", "settled"),
        [
            (account(refresh("succeeded", NOW - 30)), True),
            (account(refresh("failed", NOW - 30), status="inactive"), True),
            (account(refresh("succeeded", NOW - 5)), True),
            (account(refresh("pending", NOW - 30, None)), False),
            (account(refresh("pending", NOW - 5, None)), False),
            (account(refresh("succeeded", LONG_AGO)), False),
            (account(None), False),
        ],
    )
    def test_shows_the_end_of_the_refresh_or_of_a_later_one(self, after: AccountState, settled: bool) -> None:
        assert settled_since(self.PENDING, after) is settled

    def test_shows_nothing_new_of_a_refresh_that_had_ended(self) -> None:
        ended = account(refresh("succeeded", NOW - 30))
        assert not settled_since(ended, ended)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "customer", "customer": "cus_1"}, AccountHolder("customer", "cus_1")),
        ({"type": "customer", "customer": {"id": "cus_1", "object": "customer"}}, AccountHolder("customer", "cus_1")),
        ({"type": "customer", "customer": None, "customer_account": "acct_1"}, AccountHolder("customer_account", "acct_1")),
        ({"type": "account", "account": "acct_1"}, AccountHolder("account", "acct_1")),
        ({"type": "account"}, None),
        (None, None),
    ],
)
def test_holder_of_an_account_is_the_one_that_stripe_names(given: dict[str, object] | None, expected: AccountHolder | None) -> None:
    assert AccountHolder.from_stripe(given) == expected


class TestOrder:
    def test_none_then_pending_then_settled_then_the_next_attempt(self) -> None:
        seen = [None, refresh("pending", 100), refresh("succeeded", 100), refresh("pending", 101), refresh("failed", 101)]
        places = [order(hash_) for hash_ in seen]
        assert places == sorted(set(places))

    def test_success_and_failure_of_one_attempt_have_one_place(self) -> None:
        assert order(refresh("succeeded", 100)) == order(refresh("failed", 100))

    def test_unknown_status_counts_as_not_settled(self) -> None:
        assert order(refresh("reticulating", 100)) == order(refresh("pending", 100))


def test_lease_outlasts_the_slowest_call() -> None:
    assert LEASE_SECONDS > LONGEST_CALL_SECONDS


TIMES = st.integers(NOW - 50 * DAY, NOW + 50 * DAY)
STATES = st.builds(
    AccountState,
    status=st.sampled_from(["active", "inactive", "disconnected", "hibernating"]),
    permissions=st.none() | st.lists(st.sampled_from(["ownership", "balances", "x"]), max_size=3).map(tuple),
    refresh=st.none()
    | st.builds(
        OwnershipRefresh,
        status=st.sampled_from(["pending", "succeeded", "failed", "reticulating"]),
        last_attempted_at=TIMES,
        next_refresh_available_at=st.none() | TIMES,
    ),
)
NEEDS = st.builds(FreshnessRequirement, not_before=TIMES, requested_at=TIMES, deadline=TIMES, joined=st.none() | TIMES)


@given(STATES, NEEDS, TIMES)
def test_money_is_never_spent_in_vain(state: AccountState, need: FreshnessRequirement, now: int) -> None:
    if not isinstance(decide(state, need, now, None), StartRefresh):
        return
    assert state.status not in ("inactive", "disconnected")
    assert "ownership" in (state.permissions or ())
    if state.refresh is not None:
        assert state.refresh.status in ("succeeded", "failed")
        assert state.refresh.next_refresh_available_at is not None
        assert state.refresh.next_refresh_available_at <= now
        acceptable = state.refresh.last_attempted_at >= need.not_before or (
            need.joined is not None and state.refresh.last_attempted_at >= need.joined
        )
        assert not (state.refresh.status == "succeeded" and acceptable)


@given(STATES, NEEDS, TIMES)
def test_cooldown_names_a_time_ahead_that_the_asker_can_wait_for(state: AccountState, need: FreshnessRequirement, now: int) -> None:
    decision = decide(state, need, now, None)
    if isinstance(decision, CoolingDown):
        assert now < decision.resume_at <= need.deadline


@given(STATES, NEEDS, TIMES, st.integers(0, MEMORY_SECONDS))
def test_memory_never_says_more_than_the_decision_itself(state: AccountState, need: FreshnessRequirement, now: int, age: int) -> None:
    remembered = decide_from_memory(StoredAccount(state=state, observed_at=now - age), need, now)
    assert remembered in (None, decide(state, need, now, None))


@given(STATES, NEEDS)
def test_what_was_asked_for_at_the_end_of_a_cooldown_is_decided(state: AccountState, need: FreshnessRequirement) -> None:
    first = decide(state, need, NOW, None)
    if isinstance(first, CoolingDown):
        assert not isinstance(decide(state, need, first.resume_at, None), CoolingDown)


class TestStatus:
    def test_status_is_dated_when_it_replaces_another_one(self) -> None:
        before = StoredAccount(state=account(None), status_since=5.0)
        assert status_since(account(None, "inactive"), NOW, before) == NOW
        assert status_since(account(None), NOW, before) == 5.0
        assert status_since(account(None, "inactive"), NOW, StoredAccount()) == 0.0, "it may have been so for long"

    def test_new_status_is_confirmed_by_a_reading_that_can_not_lag_behind_it(self) -> None:
        assert is_unconfirmed(NOW, NOW)
        assert is_unconfirmed(NOW + LAG_SECONDS, NOW)
        assert not is_unconfirmed(NOW + LAG_SECONDS + CLOCK_SKEW, NOW)
        assert not is_unconfirmed(NOW, 0.0)

    def test_observations_sort_as_they_replace_each_other(self) -> None:
        readings = [
            StoredAccount(observed_at=NOW - 1),
            StoredAccount(state=account(None), observed_at=NOW),
            StoredAccount(state=account(None), observed_at=NOW + 0.001),
            StoredAccount(state=account(refresh("pending", NOW - 5)), observed_at=NOW - 60),
            StoredAccount(state=account(refresh("failed", NOW - 5)), observed_at=NOW - 90),
        ]
        seen = [observation(one) for one in readings]
        assert seen == sorted(seen)
        assert len(set(seen)) == len(seen)
        assert max(seen) < LAST_OBSERVATION


class TestRepair:
    """Which accounts can be active again."""

    @pytest.mark.parametrize(
        ("status", "action", "repairable", "gone"),
        [
            ("active", None, False, False),
            ("inactive", None, True, False),
            ("inactive", "relink_required", True, False),
            ("inactive", "none", False, True),
            ("active", "none", False, False),
            ("disconnected", None, False, True),
            ("hibernating", None, False, False),
        ],
    )
    def test_status_and_what_stripe_asks_for_say_whether_a_repair_helps(
        self, status: str, action: str | None, repairable: bool, gone: bool
    ) -> None:
        state = replace(account(None, status), details=StatusDetails(action, None, None) if action else None)
        assert needs_repair(state) is repairable
        assert is_gone(StoredAccount(state=state)) is gone
        assert is_gone(StoredAccount(state=state, erased_at=1.0))

    def test_account_that_was_never_read_is_neither_broken_nor_gone(self) -> None:
        assert not needs_repair(None)
        assert not is_gone(StoredAccount())
        assert is_gone(StoredAccount(erased_at=1.0))


class TestAskedAt:
    attempt = Attempt(1, "key", LONG_AGO, began_at=NOW, calls=1, open=False)

    @pytest.mark.parametrize("attempted_at", [NOW - CLOCK_SKEW, NOW, NOW + 60])
    def test_refresh_since_the_newest_attempt_began_is_its_own(self, attempted_at: int) -> None:
        assert asked_at(refresh("pending", attempted_at), self.attempt) == NOW

    @pytest.mark.parametrize("attempted_at", [NOW - CLOCK_SKEW - 1, LONG_AGO])
    def test_earlier_refresh_is_of_another(self, attempted_at: int) -> None:
        assert asked_at(refresh("pending", attempted_at), self.attempt) is None

    def test_refresh_that_was_there_before_the_attempt_is_of_another(self) -> None:
        assert asked_at(refresh("pending", NOW), replace(self.attempt, base=NOW)) is None
        assert asked_at(refresh("pending", NOW), None) is None


class TestFinalReason:
    """The reason of a verdict if the request accepts none of the stored owners."""

    @pytest.mark.parametrize(
        "reason",
        [
            "REFRESH_FAILED", "REFRESH_TIMED_OUT", "REFRESH_UNAVAILABLE", "REFRESH_REFUSED", "COOLDOWN_BEYOND_DEADLINE",
            "OWNERSHIP_MISSING", "PERMISSION_MISSING", "STRIPE_UNAVAILABLE", "UNEXPECTED_ANSWER", "ACCOUNT_INACTIVE",
        ],
    )  # fmt: skip
    def test_inactive_account_is_the_reason_after_any_failure(self, reason: str) -> None:
        assert final_reason(reason, StoredAccount(state=account(None, "inactive"))) == "ACCOUNT_INACTIVE"
        assert final_reason(reason, StoredAccount(state=account(None))) == reason
        assert final_reason(reason, StoredAccount()) == reason

    @pytest.mark.parametrize(
        "reason", ["CANCELLED", "BATCH_STOPPED", "CLAIM_ERASED", "TOO_MANY_OWNERS", "ACCOUNT_NOT_FOUND", "ACCOUNT_DISCONNECTED"]
    )
    def test_reason_that_has_nothing_to_do_with_the_status_is_kept(self, reason: str) -> None:
        assert final_reason(reason, StoredAccount(state=account(None, "inactive"))) == reason

    @pytest.mark.parametrize("status", ["active", "inactive", "disconnected"])
    @pytest.mark.parametrize("reason", ["REFRESH_FAILED", "PERMISSION_MISSING", "ACCOUNT_INACTIVE"])
    def test_account_erased_since_is_the_reason_after_any_reading(self, reason: str, status: str) -> None:
        erased = StoredAccount(state=account(None, status), erased_at=1.0)
        assert final_reason(reason, erased) == "ACCOUNT_DISCONNECTED"
        assert final_reason("CANCELLED", erased) == "CANCELLED"
