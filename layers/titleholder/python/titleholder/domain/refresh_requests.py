"""Decides what to do about a paused workflow's request for fresh owners: a pure function of the facts gathered for the request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from titleholder.domain import refresh_policy
from titleholder.domain.accounts import StoredAccount
from titleholder.domain.refresh_policy import CoolingDown, Decision, Fresh, FreshnessRequirement, NotVerifiable
from titleholder.domain.verifications import TIME_OUT, Step, Trigger, Verification, Waiter
from titleholder.timestamps import from_iso, iso_seconds

SETTLE_TIMEOUTS = 3
"""How many settle timeouts a refresh may take. After each but the last the account is read again, because a webhook may be lost."""

EARLY_SHARE = 0.9
"""The share of the settle timeout in which a joined refresh is not read again. A workflow's clock may be slightly ahead."""

CALL_SECONDS = 10.0
"""How many seconds to wait for the answer to another worker's refresh call before the account is read."""

PUNCTUAL_SHARE = 0.05
"""If a request took more than this share of the settle timeout until its refresh started, a heartbeat restarts the settle timeout."""

HEARTBEAT_SHARE = 0.45
"""The share of the settle timeout for which a workflow's work may stay in a queue without a heartbeat."""

SLOT_SECONDS = 3600
"""How many seconds after it was due a slot that is kept for an account may be used. An older slot was left behind by a crash."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The facts on which a request is decided. `account`: as stored at `now` (Unix seconds).

    `batch_stopped`: the verification belongs to a batch that was stopped. `resumed_at`: the end of the cooldown that the workflow has just
    waited for (Unix seconds); None if it has not. `settle_timeout`: in seconds.
    """

    waiter: Waiter
    verification: Verification
    batch_stopped: bool
    account: StoredAccount
    now: float
    settle_timeout: float
    resumed_at: float | None = None

    @property
    def waited(self) -> float:
        """For how many seconds the request has waited for the refresh that it joined and that is still stored as pending; else -1."""
        waiter, pending = self.waiter, self.account.state.refresh if self.account.state is not None else None
        if pending is None or pending.settled or waiter.joined_at is None or pending.last_attempted_at != waiter.need.joined:
            return -1.0
        return max(0.0, self.now - waiter.joined_at)

    @property
    def is_late(self) -> bool:
        """Whether the request is in its last settle timeout, after which it is given up."""
        return self.waited >= self._late_after

    @property
    def was_seen_late(self) -> bool:
        """Whether the account was read in the last settle timeout. A request may be late only because its reading waits for a slot."""
        joined_at = self.waiter.joined_at
        return self.is_late and joined_at is not None and self.account.observed_at >= joined_at + self._late_after

    @property
    def gives_up_at(self) -> float:
        """When the request is given up if the refresh that it waits for stays pending (Unix seconds)."""
        return self.now - self.waited + SETTLE_TIMEOUTS * self.settle_timeout

    @property
    def _late_after(self) -> float:
        return (SETTLE_TIMEOUTS - 1) * EARLY_SHARE * self.settle_timeout


@dataclass(frozen=True, slots=True)
class Ended:
    """The verification has a verdict already, which rests on `snapshot`."""

    snapshot: str | None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The verification's batch was stopped while the message was on its way."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The refresh did not settle in time, or the request's deadline has passed: the workflow has to end without data."""


@dataclass(frozen=True, slots=True)
class StillPending:
    """The refresh was still pending in the last settle timeout: the request has to come again `at` (Unix seconds), to give up."""

    at: float


@dataclass(frozen=True, slots=True)
class AlreadyJoined:
    """The message came twice, or was requeued: nothing is to be done before the settle timeout."""

    attempted_at: int


@dataclass(frozen=True, slots=True)
class AlreadyStarting:
    """Another worker is making the refresh call. Its result is known within the lease, so the request has to come again."""


@dataclass(frozen=True, slots=True)
class AskStripe:
    """The account has to be read from Stripe. `refresh_pending`: to find the end of a refresh that was paid for."""

    refresh_pending: bool


@dataclass(frozen=True, slots=True)
class AwaitRepair:
    """The account is inactive: the workflow stays paused until a reading shows that it no longer needs a repair."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """The account no longer needs a repair: it is active again, or can never be. The workflow has to ask again."""


RequestDecision = (
    Ended | Withdrawn | GaveUp | StillPending | AlreadyJoined | AlreadyStarting | AskStripe | AwaitRepair | Repaired | Decision
)


def decide_request(facts: RequestFacts) -> RequestDecision:
    """What to do about a paused workflow's request."""
    need = facts.waiter.need
    if facts.verification.verdict is not None:
        # A message may come again long after it was handled. No refresh may be paid for a verification that has ended.
        return Ended(facts.verification.verdict.get("snapshot"))
    if facts.batch_stopped:
        return Withdrawn()
    if facts.now > need.deadline:
        return GaveUp()
    if facts.waiter.awaits_repair:
        # The account was read after the waiter was stored. So a reactivation after the decision to wait is either seen here, or the reading
        # that shows it finds the waiter.
        waits = facts.account.erased_at is None and refresh_policy.needs_repair(facts.account.state)
        return AwaitRepair() if waits else Repaired()
    if facts.was_seen_late:
        if facts.now < facts.gives_up_at:
            return StillPending(facts.gives_up_at)
        # A refresh may stay pending because the account is inactive.
        waits = facts.verification.waits_if_inactive and refresh_policy.needs_repair(facts.account.state)
        return NotVerifiable(refresh_policy.INACTIVE) if waits else GaveUp()
    if 0 <= facts.waited < EARLY_SHARE * facts.settle_timeout:
        return AlreadyJoined(need.joined or 0)
    return decide_known(facts.account, need, facts.now, facts.resumed_at)


def decide_known(
    account: StoredAccount, need: FreshnessRequirement, now: float, resumed_at: float | None = None
) -> AlreadyStarting | AskStripe | Decision:
    """What to do for `need`, by what is stored about the account at `now` (Unix seconds)."""
    decision = refresh_policy.decide_from_memory(account, need, now, resumed_at)
    if decision is not None and not isinstance(decision, refresh_policy.StartRefresh):
        return decision
    if account.lease_until is not None and now < account.lease_until - refresh_policy.LEASE_SECONDS + CALL_SECONDS:
        return AlreadyStarting()
    return AskStripe(refresh_policy.is_pending(account)) if decision is None else decision


def held_slot(account: StoredAccount, now: float) -> float | None:
    """The slot that is kept for the account's next refresh call (Unix seconds); None without a usable one."""
    return account.slot if account.slot is not None and now - account.slot < SLOT_SECONDS else None


def waits_for_repair(account: StoredAccount, need: FreshnessRequirement, now: float) -> bool:
    """Whether a verification with `waits_if_inactive` has to wait now, by what is stored about its account."""
    inactive = account.state is not None and refresh_policy.decide(account.state, need, now, None) == NotVerifiable(refresh_policy.INACTIVE)
    return inactive and not refresh_policy.is_gone(account)


def is_for_inactivity(reason: str, account: StoredAccount) -> bool:
    """Whether `reason` ends a verification because its account is inactive, and the account can be repaired."""
    inactive = refresh_policy.INACTIVE in (reason, refresh_policy.final_reason(reason, account))
    return inactive and not refresh_policy.is_gone(account)


REPAIRED = {"outcome": "repaired"}
"""The payload with which a workflow that waits for a repair is resumed. It then asks again."""


def outcome(
    decision: Fresh | CoolingDown | NotVerifiable, account: StoredAccount, need: FreshnessRequirement, now: float = 0.0, *,
    waits_if_inactive: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The payload with which a workflow that waits for a refresh is resumed. `account`: as stored at `now` (Unix seconds).

    `waits_if_inactive`: the verification waits until an inactive account is repaired. Failures before `resume_at` then do not answer it.
    """
    match decision:
        case Fresh():
            if snapshot := refresh_policy.usable_snapshot(account, need):
                return {"outcome": "ready", "snapshot": snapshot}
            reason = refresh_policy.OWNERSHIP_MISSING if account.erased_at is None else refresh_policy.ERASED
            return outcome(NotVerifiable(reason), account, need, now, waits_if_inactive=waits_if_inactive)
        case CoolingDown(resume_at):
            return {"outcome": "cooling_down", "resume_at": iso_seconds(resume_at)}
        case NotVerifiable(reason) if waits_if_inactive and now < need.deadline and is_for_inactivity(reason, account):
            left = math.ceil(need.deadline - now)
            return {"outcome": "inactive", "reason": refresh_policy.INACTIVE, "seconds": left, "resume_at": iso_seconds(math.ceil(now))}
        case NotVerifiable(reason):
            return {"outcome": "not_verifiable", "reason": reason}


def resumed_step(payload: Mapping[str, Any], trigger: Trigger | None, at: float) -> Step | None:
    """The step to record after a workflow was resumed with `payload`; None if it had not waited (`trigger` None) and continues at once."""
    by = {} if trigger is None else trigger.as_dict()
    match payload["outcome"]:
        case "cooling_down":
            return Step(at, "cooldown_began", {**by, "resume_at": int(from_iso(payload["resume_at"]))})
        case "inactive":
            return Step(at, "repair_wait_began", {**by, "reason": payload["reason"]})
        case "repaired":
            return Step(at, "repair_wait_over", by)
        case outcome:
            return Step(at, "woken", {**by, "outcome": outcome}) if trigger is not None else None


def joined_step(attempted_at: int, now: float, started_at: float | None) -> Step:
    """The step to record once it is known which refresh a workflow waits for.

    `now`: when the workflow began to ask, which is before every answer to it. `started_at`: when the refresh was started for the workflow;
    None if it was already pending. Both are Unix seconds.
    """
    kind = "refresh_joined" if started_at is None else "refresh_started"
    return Step(now if started_at is None else started_at, kind, {"attempted_at": attempted_at})


def gave_up_step(at: float) -> Step:
    """The step to record after a workflow was ended because its refresh did not settle in time, or its deadline had passed."""
    return Step(at, "woken", {**TIME_OUT.as_dict(), "outcome": "gave_up"})
