"""What a caller can do next: every reason and every conflict has a remedy, which follows from the account."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest

from titleholder.domain.accounts import AccountState, OwnershipRefresh, StatusDetails
from titleholder.domain.remedies import BY_PROBLEM, BY_REASON, Action, Remedy, for_account, for_problem, for_reason, shown
from titleholder.web import problems
from tools.reference.reasons import WITHOUT_A_COMPARISON

NOW = 1_800_000_000
SOON, EARLIER = NOW + 3600, NOW - 3600


def account(
    status: str = "inactive",
    action: str | None = None,
    *,
    authorization: str | None = "fcauth_1",
    opens_at: int | None = None,
    error: dict[str, Any] | None = None,
    permissions: tuple[str, ...] | None = ("ownership",),
    expires_at: int | None = None,
) -> AccountState:
    details = None if action is None and expires_at is None else StatusDetails(action, "unspecified", expires_at)
    refresh = OwnershipRefresh("failed", EARLIER, opens_at, error)
    return AccountState(status, permissions, refresh, details=details, authorization=authorization)


EVERY_ACCOUNT = [
    None,
    *(
        account(status, action, authorization=authorization, opens_at=opens_at, error=error)
        for status, action, authorization, opens_at, error in itertools.product(
            ("active", "inactive", "disconnected", "hibernating"),
            (None, "none", "relink_required", "dance"),
            (None, "fcauth_1"),
            (None, EARLIER, SOON),
            (None, {"recommended_action": "relink_required"}, {"recommended_action": "sing"}),
        )
    ),
]


def test_every_reason_has_a_remedy() -> None:
    assert set(BY_REASON) == set(WITHOUT_A_COMPARISON)


def test_every_conflict_has_a_remedy_and_nothing_else_has() -> None:
    assert set(BY_PROBLEM) == {type_ for type_, status in problems.statuses().items() if status in (409, 410)}


@pytest.mark.parametrize("reason", BY_REASON)
def test_remedy_for_any_account_is_among_those_that_are_documented_for_its_reason(reason: str) -> None:
    found = {for_reason(reason, known, now=NOW, relink=relink).action for known in EVERY_ACCOUNT for relink in (True, False)}
    assert found == set(BY_REASON[reason][1]) <= set(get_args(Action))


@pytest.mark.parametrize("reason", ["ACCOUNT_INACTIVE", "PERMISSION_MISSING"])
class TestReconnecting:
    @pytest.mark.parametrize("action", ["relink_required", None, "unheard_of"])
    def test_account_is_relinked_where_stripe_names_its_authorization(self, reason: str, action: str | None) -> None:
        assert for_reason(reason, account(action=action), now=NOW) == Remedy("relink")

    @pytest.mark.parametrize("status", ["inactive", "hibernating"])
    def test_status_that_is_not_active_is_repaired(self, reason: str, status: str) -> None:
        assert for_reason(reason, account(status), now=NOW) == Remedy("relink")

    def test_closed_account_has_to_be_replaced_by_another_one(self, reason: str) -> None:
        assert for_reason(reason, account(action="none"), now=NOW, relink=True) == Remedy("link_again")

    def test_account_without_an_authorization_is_linked_again(self, reason: str) -> None:
        assert for_reason(reason, account(action="relink_required", authorization=None), now=NOW, relink=True) == Remedy("link_again")

    @pytest.mark.parametrize(("relink", "action"), [(True, "relink"), (False, "link_again")])
    def test_unknown_account_is_relinked_where_that_is_switched_on(self, reason: str, relink: bool, action: Action) -> None:
        assert for_reason(reason, None, now=NOW, relink=relink) == Remedy(action)


def test_permission_of_an_active_account_can_be_added_though_nothing_repairs_its_coming_end() -> None:
    expiring = account("active", "none", permissions=(), expires_at=SOON)
    assert for_reason("PERMISSION_MISSING", expiring, now=NOW) == Remedy("relink")


def test_account_that_has_become_active_again_since_is_verified_again() -> None:
    assert for_reason("ACCOUNT_INACTIVE", account("active"), now=NOW) == Remedy("retry")


class TestRepeating:
    @pytest.mark.parametrize("reason", ["REFRESH_FAILED", "REFRESH_REFUSED", "COOLDOWN_BEYOND_DEADLINE"])
    def test_known_cooldown_is_waited_out(self, reason: str) -> None:
        assert for_reason(reason, account("active", opens_at=SOON), now=NOW) == Remedy("wait", SOON)

    @pytest.mark.parametrize("opens_at", [None, EARLIER, NOW])
    def test_failed_refresh_is_tried_again_at_once_without_a_cooldown(self, opens_at: int | None) -> None:
        assert for_reason("REFRESH_FAILED", account("active", opens_at=opens_at), now=NOW) == Remedy("retry")

    def test_failed_refresh_is_repaired_as_stripe_recommends(self) -> None:
        failed = account("active", opens_at=SOON, error={"recommended_action": "relink_required"})
        assert for_reason("REFRESH_FAILED", failed, now=NOW) == Remedy("relink")

    def test_recommendation_that_is_not_known_changes_nothing(self) -> None:
        failed = account("active", opens_at=SOON, error={"recommended_action": "sing"})
        assert for_reason("REFRESH_FAILED", failed, now=NOW) == Remedy("wait", SOON)

    def test_cooldown_whose_end_is_not_known_is_waited_out_all_the_same(self) -> None:
        assert for_reason("COOLDOWN_BEYOND_DEADLINE", None, now=NOW) == Remedy("wait")


class TestAccounts:
    @pytest.mark.parametrize(
        ("state", "remedy"),
        [
            (account("active"), None),
            (account("active", "none"), None),
            (account("active", "relink_required"), Remedy("relink")),
            (account("active", "relink_required", expires_at=SOON), Remedy("relink")),
            (account("active", "relink_required", expires_at=SOON, authorization=None), Remedy("link_again")),
            (account("active", "none", expires_at=SOON), Remedy("link_again")),
            (account("active", "unheard_of", expires_at=SOON), Remedy("relink")),
            (account("active", permissions=("balances",)), Remedy("relink")),
            (account("active", permissions=None, authorization=None), Remedy("link_again")),
            (account("inactive"), Remedy("relink")),
            (account("inactive", "none"), Remedy("link_again")),
            (account("disconnected"), Remedy("link_again")),
            (account("hibernating"), None),
        ],
    )
    def test_account_says_what_repairs_it_if_anything_has_to_be_done(self, state: AccountState, remedy: Remedy | None) -> None:
        assert for_account(state) == remedy


class TestForms:
    def test_time_is_shown_where_it_is_known(self) -> None:
        assert Remedy("wait", NOW).as_dict() == {"remedy": "wait", "remedy_until": "2027-01-15T08:00:00Z"}
        assert Remedy("wait").as_dict() == {"remedy": "wait"}

    def test_problem_that_depends_on_the_account_has_none_by_its_type(self) -> None:
        assert for_problem("account-inactive") is None
        assert for_problem("verification-completed") == Remedy("none")
        assert for_problem("account-not-found") is None

    def test_verdict_of_an_earlier_release_gets_the_remedy_of_its_reason(self) -> None:
        old = {"outcome": "not_verifiable", "reasons": ["REFRESH_TIMED_OUT"]}
        assert shown(old) == {**old, "remedy": "retry"}

    def test_verdict_keeps_the_remedy_that_it_was_given(self) -> None:
        kept = {"outcome": "not_verifiable", "reasons": ["ACCOUNT_INACTIVE"], "remedy": "relink"}
        assert shown(kept) == kept

    @pytest.mark.parametrize("reasons_", [[], ["NEVER_HEARD"]])
    def test_verdict_of_no_known_reason_has_no_remedy(self, reasons_: list[str]) -> None:
        assert shown({"outcome": "not_verifiable", "reasons": reasons_})["remedy"] == "none"

    def test_verdict_about_owners_needs_no_remedy(self) -> None:
        assert "remedy" not in shown({"outcome": "no_match", "reasons": ["NAME_DIFFERS"]})
