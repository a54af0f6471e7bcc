"""The scenario accounts: the owners that the bank knows, and how Stripe behaves. All persons and businesses are invented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Owner = Mapping[str, str | None]
Outcome = Literal["succeeded", "failed", "never"]
Ownership = Literal["new", "null", "kept"]

CAUSES = ("access_denied", "access_expired", "account_closed", "account_unavailable", "institution_requirement", "unspecified")
"""Why an account is inactive."""

EXPIRY_CAUSES = ("access_expired", "institution_requirement", "unspecified")
"""Why an active account is expected to become inactive."""

DAY = 86_400


@dataclass(frozen=True)
class Policy:
    """How an account answers refreshes. docs/reference/simulator.md is written from this text.

    settle_seconds: seconds until a refresh settles. null: the value of the option of this name.
    outcome: how a refresh ends. With `never`, it stays pending. A list has one outcome for each attempt. Later attempts have the last one.
    ownership: what the account's field `ownership` names after a refresh that succeeded: a `new` object, none (`null`), or the same as
        before (`kept`). A list has one value for each attempt, as in `outcome`. If a scenario starts with old owners, these count as the
        first attempt.
    cooldown_seconds: seconds after a settled refresh until the next one is allowed. null: the value of the option of this name.
    refusal: how a refresh that may not start is answered: `error` with 400, `silent` with 200 and the unchanged account.
    refusal_code: the `code` of refusals for which Stripe documents no code.
    next_available_null: whether settled refreshes have no `next_refresh_available_at`, so that no further refresh is allowed.
    failure_error: the object `error` of a failed refresh. Stripe documents it for preview versions.
    deactivate_on_settle: whether the account becomes inactive when a refresh settles, because the connection is broken.
    webhooks: whether the account's events are sent. With `lost`, none is sent.
    owners_page: how many owners a page has at most, even if `limit` is larger.
    keep_data_after_disconnect: whether data can be read after the disconnection. Stripe's documentation contradicts itself about this.
    list_lag_seconds: lists show the account as it was this many seconds ago.
    read_lag_seconds: reads show the account as it was this many seconds ago. They always find the account. Answers to POST never lag.
    unlisted: with `true`, no list contains the account.
    expires_after_seconds: after how many seconds the account becomes inactive, counted from its linking and from each reactivation. The
        account shows that time in advance. null: never.
    """

    settle_seconds: float | None = None
    outcome: Outcome | tuple[Outcome, ...] = "succeeded"
    ownership: Ownership | tuple[Ownership, ...] = "new"
    cooldown_seconds: float | None = None
    refusal: Literal["error", "silent"] = "error"
    refusal_code: str | None = None
    next_available_null: bool = False
    failure_error: Mapping[str, Any] | None = None
    deactivate_on_settle: bool = False
    webhooks: Literal["normal", "lost"] = "normal"
    owners_page: int | None = None
    keep_data_after_disconnect: bool = False
    list_lag_seconds: float = 0.0
    read_lag_seconds: float = 0.0
    unlisted: bool = False
    expires_after_seconds: float | None = None


@dataclass(frozen=True)
class Scenario:
    """One kind of linked account.

    start: the state of its ownership after linking. "none": never refreshed; "pending": a prefetch is under way;
    "fresh": a prefetch has just succeeded; "failed": a prefetch has just failed, so the cooldown runs; "old": a snapshot
    from long ago.
    cause: why it is inactive, also if it becomes so while refreshing.
    permissions: a list replaces the requested ones, "null" is Stripe's null list, None takes the requested ones.
    account: fields of the account object that differ from the default.
    """

    title: str
    owners: tuple[Owner, ...] = ()
    policy: Policy = field(default_factory=Policy)
    start: Literal["none", "pending", "fresh", "failed", "old"] = "none"
    status: Literal["active", "inactive", "disconnected"] = "active"
    cause: str = "access_expired"
    permissions: tuple[str, ...] | Literal["null"] | None = None
    account: Mapping[str, Any] = field(default_factory=dict)


def owner(name: str, email: str | None = None, phone: str | None = None, raw_address: str | None = None) -> dict[str, str | None]:
    return {"name": name, "email": email, "phone": phone, "raw_address": raw_address}


ADDRESS = "100 EXAMPLE ST APT 4, SPRINGFIELD, IL 62701"

MARGARET = owner("MARGARET ANNE TESTERMAN", "margaret.testerman@example.com", "+1 555-555-0101", ADDRESS)
JOHN = owner("JOHN Q SAMPLEWELL", "john.samplewell@example.com", "(555) 555-0102", "22 FIXTURE AVE, PORTLAND, OR 97201")
JANE = owner("JANE R SAMPLEWELL", "jane.samplewell@example.com", "(555) 555-0103", "22 FIXTURE AVE, PORTLAND, OR 97201")
BUSINESS = owner("PLACEHOLDER PROVISIONS LLC", "accounts@placeholder.example.com", "5555550104", "7 DUMMY PLAZA STE 300, AUSTIN, TX 78701")
TRUST = owner("THE TESTERMAN FAMILY REVOCABLE TRUST DTD 01/02/2003", None, "555-555-0105", ADDRESS)

SCENARIOS: Mapping[str, Scenario] = {
    "single_owner": Scenario("One owner, every field given", (MARGARET,)),
    "joint": Scenario("Two owners, each in an object of its own", (JOHN, JANE)),
    "joint_line": Scenario(
        "Two owners on one line",
        (owner("JOHN Q SAMPLEWELL & JANE R SAMPLEWELL", None, "555-555-0102", "22 FIXTURE AVE, PORTLAND OR 97201"),),
    ),
    "business": Scenario("A company's account", (BUSINESS,), account={"display_name": "Business Checking"}),
    "trust": Scenario("A trust's account", (TRUST,)),
    "partial": Scenario("The bank gives a name and nothing else", (owner("MARGARET A TESTERMAN") | {"refreshed_at": None},)),
    "no_owners": Scenario("The refresh succeeds without owners"),
    "paged_owners": Scenario(
        "Thirteen owners, more than one page of them",
        (*(owner(f"SIGNATORY {number:02}", f"signatory{number}@example.com") for number in range(1, 13)), MARGARET),
    ),
    "nickname": Scenario("The bank knows a nickname", (owner("PEGGY TESTERMAN", None, "5555550101", ADDRESS),)),
    "relative": Scenario(
        "The account of a relative at the same address",
        (owner("HAROLD TESTERMAN", "harold.testerman@example.com", "+1 555-555-0106", ADDRESS),),
    ),
    "failing": Scenario("Every refresh fails", policy=Policy(outcome="failed")),
    "failing_with_reason": Scenario(
        "Every refresh fails, and the account shows why (preview)",
        policy=Policy(outcome="failed", failure_error={"cause": "institution_unavailable", "recommended_action": "retry_later"}),
    ),
    "failing_then_succeeding": Scenario(
        "The first refresh fails, and later ones succeed", (MARGARET,), Policy(outcome=("failed", "succeeded"))
    ),
    "failing_with_old_snapshot": Scenario(
        "Every refresh fails; the account keeps an old snapshot", (MARGARET,), Policy(outcome="failed"), "old"
    ),
    "never_answering": Scenario("The refresh stays pending forever", (MARGARET,), Policy(outcome="never")),
    "cooling_down": Scenario("A prefetch has just failed; the next refresh must wait", (MARGARET,), Policy(cooldown_seconds=20), "failed"),
    "prefetch_pending": Scenario("A prefetch is under way", (MARGARET,), start="pending"),
    "fresh": Scenario("A prefetch has just succeeded", (MARGARET,), start="fresh"),
    "old": Scenario("A snapshot from long ago; a refresh is allowed", (MARGARET,), start="old"),
    "inactive": Scenario("Inactive, never refreshed", (MARGARET,), status="inactive"),
    "inactive_with_old_snapshot": Scenario("Inactive, with an old snapshot that can be read", (MARGARET,), start="old", status="inactive"),
    "turning_inactive": Scenario(
        "A refresh finds the connection broken, so the account becomes inactive",
        (MARGARET,),
        Policy(outcome="failed", deactivate_on_settle=True),
    ),
    "access_denied": Scenario("Inactive: the holder withdrew access at the bank", (MARGARET,), status="inactive", cause="access_denied"),
    "closed": Scenario("Inactive: the account was closed, and can't be repaired", (MARGARET,), status="inactive", cause="account_closed"),
    "unavailable": Scenario("Inactive: the bank does not show the account", (MARGARET,), status="inactive", cause="account_unavailable"),
    "institution_requirement": Scenario(
        "Inactive: the bank demands a new login", (MARGARET,), status="inactive", cause="institution_requirement"
    ),
    "inactive_unspecified": Scenario("Inactive without a named cause", (MARGARET,), status="inactive", cause="unspecified"),
    "expiring": Scenario("Active, and expected to become inactive in 30 days", (MARGARET,), Policy(expires_after_seconds=30 * DAY)),
    "expiring_soon": Scenario(
        "Becomes inactive within a minute, and again a minute after each reactivation", (MARGARET,), Policy(expires_after_seconds=60)
    ),
    "disconnected": Scenario("Disconnected", (MARGARET,), start="old", status="disconnected"),
    "permission_missing": Scenario("Linked without the ownership permission", (MARGARET,), permissions=("balances", "payment_method")),
    "permissions_null": Scenario("Linked, and the permission list is null", (MARGARET,), permissions="null"),
    "lost_webhook": Scenario("Settles, but no webhook arrives", (MARGARET,), Policy(webhooks="lost")),
    "silently_refusing": Scenario(
        "A prefetch has just failed; a refresh in the cooldown is answered 200, but not started",
        (MARGARET,),
        Policy(cooldown_seconds=20, refusal="silent"),
        "failed",
    ),
    "no_next_refresh": Scenario(
        "Settled refreshes have no next_refresh_available_at", (MARGARET,), Policy(next_available_null=True), "failed"
    ),
}
