"""What a caller can do next: the remedy for each reason why a verification is not verifiable, and for each problem of status 409 or 410."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from titleholder.domain.accounts import AccountState
from titleholder.errors import Action
from titleholder.timestamps import iso_seconds


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a caller can do. `until`: with `wait`, until when (Unix seconds), if that is known.

    `relink`: the holder relinks the account, which keeps its id. `link_again`: the holder links it, or another one, as a new account.
    `wait`: the same request succeeds later. `retry`: it may succeed at any time, or after the step that the problem's detail names.
    `none`: the same request gets the same answer, or it was ended on purpose.
    """

    action: Action
    until: int | None = None

    def as_dict(self) -> dict[str, str]:
        """The form in verdicts, answers and events."""
        return {"remedy": self.action} | ({} if self.until is None else {"remedy_until": iso_seconds(self.until)})


@dataclass(frozen=True, slots=True)
class _Known:
    """What a remedy depends on. `account` is None if it is not known. `relink` then says whether to assume that it can be relinked."""

    account: AccountState | None
    now: float
    relink: bool

    @property
    def opens_at(self) -> int | None:
        """When Stripe allows the next refresh, if that lies ahead."""
        refresh = self.account.refresh if self.account is not None else None
        at = refresh.next_refresh_available_at if refresh is not None else None
        return at if at is not None and at > self.now else None


Choice = Callable[[_Known], Remedy]


def _always(action: Action) -> Choice:
    return lambda known: Remedy(action)


def _reconnect(known: _Known) -> Remedy:
    """Relink the account if Stripe names its authorization, unless Stripe says that relinking does not repair it."""
    account = known.account
    if account is None:
        return Remedy("relink" if known.relink else "link_again")
    return Remedy("link_again" if account.beyond_repair or account.authorization is None else "relink")


def _reactivate(known: _Known) -> Remedy:
    """`_reconnect`, unless the account has become active again since."""
    return Remedy("retry") if known.account is not None and known.account.status == "active" else _reconnect(known)


def _wait(known: _Known) -> Remedy:
    return Remedy("wait", known.opens_at)


def _repeat(known: _Known) -> Remedy:
    """Wait for the end of a known cooldown, else retry."""
    return Remedy("retry") if known.opens_at is None else Remedy("wait", known.opens_at)


def _after_failure(known: _Known) -> Remedy:
    """What Stripe recommends after a failed refresh. Its codes are in preview, so an unknown one counts as none."""
    refresh = known.account.refresh if known.account is not None else None
    recommended = (refresh.error or {}).get("recommended_action") if refresh is not None else None
    return _reconnect(known) if recommended in ("relink", "relink_required") else _repeat(known)


_RECONNECT: tuple[Action, ...] = ("relink", "link_again")

BY_REASON: Mapping[str, tuple[Choice, tuple[Action, ...]]] = {
    "ACCOUNT_DISCONNECTED": (_always("link_again"), ("link_again",)),
    "ACCOUNT_INACTIVE": (_reactivate, (*_RECONNECT, "retry")),
    "ACCOUNT_NOT_FOUND": (_always("none"), ("none",)),
    "PERMISSION_MISSING": (_reconnect, _RECONNECT),
    "REFRESH_FAILED": (_after_failure, ("wait", "retry", *_RECONNECT)),
    "REFRESH_REFUSED": (_repeat, ("wait", "retry")),
    "REFRESH_TIMED_OUT": (_always("retry"), ("retry",)),
    "REFRESH_UNAVAILABLE": (_always("link_again"), ("link_again",)),
    "COOLDOWN_BEYOND_DEADLINE": (_wait, ("wait",)),
    "OWNERSHIP_MISSING": (_always("none"), ("none",)),
    "NO_OWNERS": (_always("none"), ("none",)),
    "TOO_MANY_OWNERS": (_always("none"), ("none",)),
    "NAME_MISSING": (_always("none"), ("none",)),
    "REQUIRED_FIELD_MISSING": (_always("none"), ("none",)),
    "STRIPE_UNAVAILABLE": (_always("retry"), ("retry",)),
    "STRIPE_CREDENTIALS_REFUSED": (_always("retry"), ("retry",)),
    "CLAIM_ERASED": (_always("retry"), ("retry",)),
    "CANCELLED": (_always("none"), ("none",)),
    "BATCH_STOPPED": (_always("none"), ("none",)),
    "MATCHER_FAILED": (_always("none"), ("none",)),
    "UNEXPECTED_ANSWER": (_always("retry"), ("retry",)),
}
"""For each reason: the function that chooses its remedy, and the remedies that it may choose."""

BY_PROBLEM: Mapping[str, tuple[Action, ...]] = {
    "account-inactive": BY_REASON["ACCOUNT_INACTIVE"][1],
    "account-disconnected": ("link_again",),
    "permission-missing": BY_REASON["PERMISSION_MISSING"][1],
    "refresh-unavailable": ("link_again",),
    "refresh-refused": BY_REASON["REFRESH_REFUSED"][1],
    "cooling-down": ("wait",),
    "account-erased": ("link_again",),
    "no-linked-account": ("retry", "relink", "link_again"),
    "relink-not-available": ("link_again",),
    "us-bank-account-unavailable": ("retry",),
    "idempotency-in-progress": ("retry",),
    "batch-state": ("retry", "none"),
    "verification-completed": ("none",),
    "too-many-accounts": ("none",),
    "too-many-owners": ("none",),
    "review-changed": ("none",),
    "review-closed": ("none",),
    "nothing-to-withdraw": ("none",),
    "nothing-to-review": ("none",),
    "claim-erased": ("none",),
    "owners-erased": ("none",),
}
"""The remedies of each type of problem with status 409 or 410.

If a type has several, the account decides (see `for_reason`), or the error's own `remedy`.
"""


def for_reason(reason: str, account: AccountState | None = None, *, now: float, relink: bool = False) -> Remedy:
    """The remedy for a verification that is not verifiable, or for a refused refresh, at `now` (Unix seconds).

    `account`: as stored now. It can be relinked if Stripe names its authorization. Without an account, `relink` says whether this stack can
    relink accounts at all. A reason of a later release has no remedy.
    """
    choice, _ = BY_REASON.get(reason, (_always("none"), ()))
    return choice(_Known(account, now, relink))


def for_problem(type_: str) -> Remedy | None:
    """The remedy for a problem, if its type alone decides it; else None."""
    actions = BY_PROBLEM.get(type_, ())
    return Remedy(actions[0]) if len(actions) == 1 else None


def for_account(account: AccountState) -> Remedy | None:
    """What repairs an account, or keeps it from becoming inactive; None if nothing has to be done."""
    if account.status == "disconnected":
        return Remedy("link_again")
    known = _Known(account, 0, relink=False)
    if account.status == "inactive" or "ownership" not in (account.permissions or ()):
        return _reconnect(known)
    if account.details is None or (account.expires_at is None and account.details.action != "relink_required"):
        return None
    return Remedy("link_again") if account.details.action == "none" else _reconnect(known)


def shown(verdict: Mapping[str, Any], *, relink: bool = False) -> dict[str, Any]:
    """A verdict with its remedy. For a verdict of an earlier release, which stored none, it is derived from the first reason."""
    if verdict["outcome"] != "not_verifiable" or "remedy" in verdict:
        return dict(verdict)
    reason = next(iter(verdict["reasons"]), "")
    return {**verdict, **for_reason(reason, now=0, relink=relink).as_dict()}
