"""The linked bank accounts: their refreshes, ownership snapshots and status, and the events of each change."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from local.stripe_simulator import commands
from local.stripe_simulator.deliveries import Webhooks
from local.stripe_simulator.options import Options
from local.stripe_simulator.scenarios import CAUSES, DAY, EXPIRY_CAUSES, SCENARIOS, Outcome, Owner, Ownership, Policy, Scenario
from local.stripe_simulator.timeline import Scope, Timeline
from local.stripe_simulator.wire import ApiError, Json, page

Feature = Literal["balance", "ownership", "transactions"]
Via = Literal["api", "prefetch"]

FEATURE_OF_PREFETCH: Mapping[str, Feature] = {"balances": "balance", "ownership": "ownership", "transactions": "transactions"}
PERMISSION_OF: Mapping[Feature, str] = {"balance": "balances", "ownership": "ownership", "transactions": "transactions"}
FIELD_OF: Mapping[Feature, str] = {
    "balance": "balance_refresh",
    "ownership": "ownership_refresh",
    "transactions": "transaction_refresh",
}
EVENT = "financial_connections.account"

WARNING_SECONDS = 30 * DAY
"""How long before an expected deactivation Stripe sends `upcoming_deactivation`."""


@dataclass
class Refresh:
    """One attempt. `next_at`: when the next one may start, in Unix seconds; None while pending, or if Stripe gives no time."""

    feature: Feature
    started: float
    via: Via
    status: Literal["pending", "succeeded", "failed"] = "pending"
    settled: float | None = None
    next_at: int | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    error: Mapping[str, Any] | None = None
    id: str = ""


@dataclass(frozen=True)
class Snapshot:
    id: str
    created: int
    owners: tuple[Json, ...]


@dataclass(frozen=True)
class Loss:
    """Why an account is inactive, or why it is expected to become inactive `at` a time (Unix seconds)."""

    cause: str
    action: str
    at: int | None = None

    @classmethod
    def of(cls, cause: str | None, action: str | None, known: Sequence[str], at: int | None = None) -> Loss:
        """Only a closed account can't be relinked, unless `action` says otherwise. Raises ValueError."""
        cause = "access_expired" if cause is None else cause
        action = ("none" if cause == "account_closed" else "relink_required") if action is None else action
        if cause not in known or action not in ("none", "relink_required"):
            raise ValueError(f"cause is one of {', '.join(known)}; action is none or relink_required")
        return cls(cause, action, at)


@dataclass
class Account:
    """A Financial Connections account, with what the API does not show: its policy and every refresh.

    `authorization`: its id, which the accounts of one session share. `relinked_in`: the sessions that relinked the account after another
    one had linked it, and whether lists by that session contain it. `loss`: why it is inactive, or will be if the connection is found
    broken. `expiry`: why and when an active account is expected to become inactive. `ownership`: the snapshot that the account names.
    `past`: earlier states of the account, each with the time of its end, for reads and lists that lag.
    """

    id: str
    scope: Scope
    scenario: str
    created: int
    policy: Policy
    owners: tuple[Owner, ...]
    permissions: list[str] | None
    holder: Json | None
    session: str | None
    authorization: str
    details: Json
    status: Literal["active", "inactive", "disconnected"] = "active"
    loss: Loss = Loss("access_expired", "relink_required")
    expiry: Loss | None = None
    subscriptions: list[str] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    ownership: str | None = None
    current: dict[Feature, Refresh] = field(default_factory=dict)
    attempts: list[Refresh] = field(default_factory=list)
    past: list[tuple[float, Json | None]] = field(default_factory=list)
    relinked_in: dict[str, bool] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/v1/financial_connections/accounts/{self.id}"

    @property
    def readable(self) -> bool:
        """Whether refreshed data can be read."""
        return self.status != "disconnected" or self.policy.keep_data_after_disconnect

    def collected_in(self, session: str) -> bool:
        """Whether the account was linked or relinked in that session."""
        return self.session == session or session in self.relinked_in

    def listed_by(self, session: str) -> bool:
        """Whether the list of that session's accounts contains the account."""
        return self.session == session or self.relinked_in.get(session, False)

    def render(self, *, preview: bool = False) -> Json:
        """The account as the API shows it, `ownership` not expanded. `preview`: as its preview versions do."""
        return in_version(self._render(), preview)

    def _render(self) -> Json:
        result: Json = {
            "id": self.id,
            "object": "financial_connections.account",
            "account_holder": self.holder,
            "account_numbers": None,
            "authorization": self.authorization,
            "balance": None,
            "category": "cash",
            "created": self.created,
            "display_name": "Everyday Checking",
            "institution_name": "Example Test Bank",
            "last4": "6789",
            "livemode": self.scope.livemode,
            "ownership": self.ownership if self.readable else None,
            "permissions": self.permissions,
            "status": self.status,
            "subcategory": "checking",
            "subscriptions": list(self.subscriptions),
            "supported_payment_method_types": ["us_bank_account"],
        }
        for feature, name in FIELD_OF.items():
            result[name] = self._refresh(feature)
        balance = self.current.get("balance")
        if balance and balance.status == "succeeded" and self.readable:
            result["balance"] = {
                "as_of": int(balance.settled or 0), "current": {"usd": 123456}, "type": "cash", "cash": {"available": {"usd": 120000}},
            }  # fmt: skip
        result |= {"status_details": self._status_details()} | self.details
        # Without an authorization, Stripe leaves the field out instead of showing null.
        return {name: value for name, value in result.items() if name != "authorization" or value is not None}

    def _status_details(self) -> Json:
        """Why the present status is what it is, or will end."""
        if self.status == "active" and self.expiry is not None:
            expiry = self.expiry
            return {"active": {"action": expiry.action, "cause": expiry.cause, "expected_deactivation_date": expiry.at}}
        if self.status == "inactive":
            return {"inactive": {"action": self.loss.action, "cause": self.loss.cause}}
        return {}

    @property
    def lags(self) -> bool:
        return bool(self.policy.list_lag_seconds or self.policy.read_lag_seconds)

    def remember(self, now: float) -> None:
        """Keep the current state before a change, if lists or reads of this account lag."""
        if self.lags:
            self.past.append((now, self._render()))

    def as_listed(self, now: float, *, preview: bool = False) -> Json | None:
        """The account as a list shows it, None if no list contains it (yet)."""
        if self.policy.unlisted:
            return None
        back = now - self.policy.list_lag_seconds
        lagging = self.past if self.policy.list_lag_seconds else ()
        past = [shown for until, shown in lagging if until > back]
        shown = past[0] if past else self._render()
        return None if shown is None else in_version(shown, preview)

    def as_read(self, now: float, *, preview: bool = False) -> Json:
        """The account as a read shows it: its state `read_lag_seconds` ago, or the first one."""
        back = now - self.policy.read_lag_seconds
        lagging = self.past if self.policy.read_lag_seconds else ()
        past = [shown for until, shown in lagging if until > back and shown is not None]
        return in_version(past[0] if past else self._render(), preview)

    def _refresh(self, feature: Feature) -> Json | None:
        refresh = self.current.get(feature)
        if refresh is None:
            return None
        result: Json = {
            "last_attempted_at": int(refresh.started),
            "next_refresh_available_at": refresh.next_at if self.status == "active" else None,
            "status": refresh.status,
        }
        if feature == "transactions":
            result["id"] = refresh.id
        if refresh.error is not None:
            result["error"] = dict(refresh.error)
        return result

    def render_ownership(self, id: str) -> Json:
        """A snapshot with the first page of its owners."""
        snapshot = next(snapshot for snapshot in self.snapshots if snapshot.id == id)
        owners = self.owners_page(snapshot, {})
        return {"id": snapshot.id, "object": "financial_connections.account_ownership", "created": snapshot.created, "owners": owners}

    def owners_page(self, snapshot: Snapshot, params: Mapping[str, Any]) -> Json:
        url = f"{self.path}/owners?ownership={snapshot.id}"
        return page(list(snapshot.owners), params, url, cap=self.policy.owners_page)

    def true_state(self) -> Json:
        """The state for tests. `initiated_refreshes`: owners refreshes by API calls. Each costs money, as does each prefetch."""
        owners = [refresh for refresh in self.attempts if refresh.feature == "ownership"]
        shown = ("feature", "started", "via", "status", "settled", "next_at", "request_id", "idempotency_key")
        return {
            "id": self.id,
            "scenario": self.scenario,
            "stripe_account": self.scope.stripe_account,
            "livemode": self.scope.livemode,
            "status": self.status,
            "initiated_refreshes": sum(refresh.via == "api" for refresh in owners),
            "prefetches": sum(refresh.via == "prefetch" for refresh in owners),
            "refreshes": [{name: getattr(refresh, name) for name in shown} for refresh in self.attempts],
            "snapshots": [{"id": snap.id, "created": snap.created, "owners": len(snap.owners)} for snap in self.snapshots],
            "account": self.render(),
        }


class Accounts:
    """All linked accounts, and the changes that can happen to them."""

    def __init__(self, timeline: Timeline, webhooks: Webhooks, options: Options) -> None:
        self._timeline = timeline
        self._webhooks = webhooks
        self._options = options
        self._all: dict[Scope, dict[str, Account]] = {}
        self._held: dict[tuple[Scope, str, str], list[Account]] = {}

    def clear(self) -> None:
        self._all.clear()
        self._held.clear()

    def within(self, scope: Scope) -> dict[str, Account]:
        return self._all.setdefault(scope, {})

    def held(self, scope: Scope, holder: Mapping[str, str]) -> list[Account]:
        """The accounts of a holder, who is named by one id, or all accounts without a holder. The oldest first."""
        for kind, id in holder.items():
            return self._held.get((scope, kind, id), [])
        return list(self.within(scope).values())

    def authorized(self, scope: Scope, authorization: str) -> list[Account]:
        """The accounts of an authorization, the oldest first."""
        return [account for account in self.within(scope).values() if account.authorization == authorization]

    def everywhere(self) -> list[Account]:
        return [account for accounts in self._all.values() for account in accounts.values()]

    def link(
        self,
        scope: Scope,
        scenario: str,
        *,
        id: str | None = None,
        holder: Json | None = None,
        session: str | None = None,
        authorization: str | None = None,
        requested: Sequence[str] = ("balances", "ownership", "payment_method"),
        prefetch: Sequence[str] = (),
        policy: Mapping[str, Any] | None = None,
        owners: Sequence[Owner] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Account:
        """Link an account, as an end user does. `authorization`: None for that of the session's other accounts, or a new one.

        Raises KeyError for an unknown scenario, ValueError for an id in use, and for an unknown field of `policy`, `owners` or `details`.
        """
        if scenario not in SCENARIOS:
            raise KeyError(f"{scenario}: {commands.no_such('scenario', scenario, SCENARIOS)}")
        commands.check_owners(owners)
        commands.check(details or {}, commands.DETAILS, "details")
        kind = SCENARIOS[scenario]
        now = self._timeline.now()
        account_id = id or self._timeline.new_id("fca")
        if account_id in self.within(scope):
            raise ValueError(f"account {account_id} is already linked")
        old = kind.start == "old"
        account = Account(
            id=account_id,
            scope=scope,
            scenario=scenario,
            created=int(now - self._options.old_snapshot_seconds) if old else int(now),
            policy=with_overrides(kind.policy, policy or {}),
            owners=tuple(kind.owners if owners is None else owners),
            permissions=_permissions(kind, requested),
            holder=holder,
            session=session,
            authorization=authorization or self._authorization(scope, account_id, session),
            details=dict(kind.account) | dict(details or {}),
        )
        self.within(scope)[account_id] = account
        for named, who in (holder or {}).items():
            self._held.setdefault((scope, named, who), []).append(account)
        if account.lags:
            account.past.append((now, None))
        self._emit(account, "created")
        self._start_state(account, kind)
        for name in prefetch:
            if kind.start == "none" and name in (account.permissions or []) and account.status == "active":
                self.start(account, FEATURE_OF_PREFETCH[name], "prefetch")
        return account

    def _authorization(self, scope: Scope, account_id: str, session: str | None) -> str:
        """The authorization of the session's accounts, else a new one. Its id is made of the account's, so that other ids do not change."""
        accounts = self.within(scope).values() if session is not None else ()
        known = (account.authorization for account in accounts if account.session == session)
        return next(known, f"fcauth_{account_id.removeprefix('fca_')}")

    def _start_state(self, account: Account, kind: Scenario) -> None:
        now = self._timeline.now()
        if kind.start == "pending":
            self.start(account, "ownership", "prefetch")
        elif kind.start == "old":
            then = now - self._options.old_snapshot_seconds
            self._attempt(account, Refresh("ownership", then, "prefetch"))
            self._conclude(account, account.attempts[-1], "succeeded", then + self._options.settle_seconds, ownership="new")
        elif kind.start in ("fresh", "failed"):
            self._attempt(account, Refresh("ownership", now, "prefetch"))
            self._conclude(account, account.attempts[-1], "succeeded" if kind.start == "fresh" else "failed", now)
            self._emit_ownership(account, account.attempts[-1])
        account.status = kind.status
        account.loss = Loss.of(kind.cause, None, CAUSES)
        self._expire_again(account)

    def _attempt(self, account: Account, refresh: Refresh) -> None:
        refresh.id = self._timeline.new_id("fctxnref") if refresh.feature == "transactions" else ""
        account.current[refresh.feature] = refresh
        account.attempts.append(refresh)

    def start(
        self, account: Account, feature: Feature, via: Via, *, request_id: str | None = None, idempotency_key: str | None = None
    ) -> Refresh:
        """Start a refresh without any check. A started refresh costs money."""
        now = self._timeline.now()
        account.remember(now)
        refresh = Refresh(feature, now, via, request_id=request_id, idempotency_key=idempotency_key)
        self._attempt(account, refresh)
        outcome = self._outcome(account, refresh)
        if outcome != "never":
            wait = _first(account.policy.settle_seconds, self._options.settle_seconds)
            self._timeline.at(now + wait, lambda: self._settle(account, refresh, outcome))
        return refresh

    def _outcome(self, account: Account, refresh: Refresh) -> Outcome:
        if refresh.feature != "ownership":
            return "succeeded"
        return _of_attempt(account, refresh, account.policy.outcome)

    def _settle(self, account: Account, refresh: Refresh, outcome: Outcome) -> None:
        if refresh.status != "pending" or self.within(account.scope).get(account.id) is not account:
            return
        account.remember(self._timeline.now())
        broken = account.policy.deactivate_on_settle
        if broken and account.status == "active":
            account.status, account.expiry = "inactive", None
        succeeded = outcome == "succeeded" and account.status == "active"
        self._conclude(account, refresh, "succeeded" if succeeded else "failed", self._timeline.now())
        if refresh.feature == "ownership":
            self._emit_ownership(account, refresh)
        else:
            self._emit(account, f"refreshed_{refresh.feature}")
        if broken:
            self._emit(account, "deactivated")

    def _conclude(
        self, account: Account, refresh: Refresh, status: Literal["succeeded", "failed"], at: float, ownership: Ownership | None = None
    ) -> None:
        refresh.status = status
        refresh.settled = at
        cooldown = _first(account.policy.cooldown_seconds, self._options.cooldown_seconds)
        refresh.next_at = None if account.policy.next_available_null else math.ceil(at + cooldown)
        if refresh.feature != "ownership":
            return
        if status == "failed":
            refresh.error = account.policy.failure_error
            return
        named = ownership or _of_attempt(account, refresh, account.policy.ownership)
        if named != "new":
            account.ownership = None if named == "null" else account.ownership
            return
        snapshot_id = account.ownership = self._timeline.new_id("fcaowns")
        owners = tuple(
            {
                "id": self._timeline.new_id("fcaown"),
                "object": "financial_connections.account_owner",
                "email": None,
                "phone": None,
                "raw_address": None,
                "refreshed_at": int(at),
                **owner,
                "ownership": snapshot_id,
            }
            for owner in account.owners
        )
        account.snapshots.append(Snapshot(snapshot_id, int(at), owners))

    @staticmethod
    def pending(account: Account, feature: Feature) -> bool:
        current = account.current.get(feature)
        return current is not None and current.status == "pending"

    def refuse(self, account: Account, feature: Feature) -> ApiError | None:
        """The error if a refresh may not start now, else None."""
        if account.status == "inactive":
            message = "Data cannot be refreshed on inactive Financial Connections accounts."
            return ApiError(400, message, code="financial_connections_account_inactive")
        if account.status == "disconnected":
            return self._refusal(account, "The account has been disconnected and its data can no longer be refreshed.")
        if PERMISSION_OF[feature] not in (account.permissions or []):
            return self._refusal(account, f"The `{PERMISSION_OF[feature]}` permission has not been granted for this account.")
        current = account.current.get(feature)
        if current is None:
            return None
        if self.pending(account, feature):
            return self._refusal(account, f"A {feature} refresh is already pending for this account.")
        if current.next_at is None or self._timeline.now() < current.next_at:
            return self._refusal(account, f"The {feature} of this account cannot be refreshed yet; see `next_refresh_available_at`.")
        return None

    @staticmethod
    def _refusal(account: Account, message: str) -> ApiError:
        return ApiError(400, message, code=account.policy.refusal_code)

    def refresh(self, account: Account, features: Sequence[Feature], request_id: str, idempotency_key: str | None) -> None:
        """Refresh by an API call. Raises ApiError 400 if Stripe's rules forbid it, unless the account's policy refuses silently."""
        allowed = []
        for feature in dict.fromkeys(features):
            refusal = self.refuse(account, feature)
            if refusal is None:
                allowed.append(feature)
            elif account.policy.refusal == "error":
                raise refusal
        for feature in allowed:
            self.start(account, feature, "api", request_id=request_id, idempotency_key=idempotency_key)

    def deactivate(self, account: Account, cause: str | None = None, action: str | None = None) -> None:
        """Stripe loses access to the account. Of an inactive one, only the details change, and no event says so.

        Raises ValueError for an unknown cause or action.
        """
        loss = account.loss if cause is None and action is None else Loss.of(cause, action, CAUSES)
        if account.status == "active":
            account.remember(self._timeline.now())
            account.status, account.loss, account.expiry = "inactive", loss, None
            self._emit(account, "deactivated")
        elif account.status == "inactive" and loss != account.loss:
            account.remember(self._timeline.now())
            account.loss = loss

    def reactivate(self, account: Account) -> None:
        if account.status == "inactive":
            account.remember(self._timeline.now())
            account.status, account.expiry = "active", None
            self._emit(account, "reactivated")
            self._expire_again(account)

    def repair(self, account: Account) -> None:
        """Renew the access to an account that is inactive or will be. An account that needs no repair stays as it is."""
        if account.status == "inactive":
            self.reactivate(account)
        elif account.expiry is not None:
            account.remember(self._timeline.now())
            account.expiry = None
            self._emit_expiry(account, "expected_deactivation_date_updated")
            self._expire_again(account)

    def disconnect(self, account: Account, request: Mapping[str, str | None] | None = None) -> None:
        """End the connection. Pending refreshes fail without an event."""
        if account.status == "disconnected":
            return
        account.remember(self._timeline.now())
        account.status = "disconnected"
        for refresh in account.current.values():
            if refresh.status == "pending":
                refresh.status, refresh.settled = "failed", self._timeline.now()
        self._emit(account, "disconnected", request=request)

    def expire(self, account: Account, at: float, cause: str | None = None, action: str | None = None) -> None:
        """Expect an active account to become inactive `at` that time (Unix seconds), when it does. Raises ValueError as `deactivate`."""
        expiry = Loss.of(cause, action, EXPIRY_CAUSES, int(at))
        if account.status != "active":
            return
        account.remember(self._timeline.now())
        account.expiry = expiry
        self._emit_expiry(account, "expected_deactivation_date_updated")
        warn_at = int(at) - WARNING_SECONDS
        if warn_at <= self._timeline.now():
            self._emit_expiry(account, "upcoming_deactivation")
        else:
            self._timeline.at(
                warn_at, lambda: self._while_expiring(account, expiry, lambda: self._emit_expiry(account, "upcoming_deactivation"))
            )
        self._timeline.at(
            int(at), lambda: self._while_expiring(account, expiry, lambda: self.deactivate(account, expiry.cause, expiry.action))
        )

    def _while_expiring(self, account: Account, expiry: Loss, action: Callable[[], None]) -> None:
        """Do `action`, unless the account is no longer expected to expire, or its date has changed."""
        if account.expiry is expiry and self.within(account.scope).get(account.id) is account:
            action()

    def _expire_again(self, account: Account) -> None:
        if account.status == "active" and account.policy.expires_after_seconds is not None:
            self.expire(account, self._timeline.now() + account.policy.expires_after_seconds)

    def update_account_numbers(self, account: Account) -> None:
        numbers = [
            {"expected_expiry_date": None, "identifier_type": "account_number", "status": "transactable", "supported_networks": ["ach"]}
        ]
        account.details["account_numbers"] = numbers
        self._emit(account, "account_numbers_updated")

    @staticmethod
    def render_authorization(accounts: Sequence[Account], *, preview: bool = False) -> Json:
        """The authorization of these accounts, the oldest first: inactive if one of them is, and disconnected if all are."""
        first = accounts[0]
        shown: Json = {
            "id": first.authorization,
            "object": "financial_connections.authorization",
            "institution_name": first.render()["institution_name"],
            "livemode": first.scope.livemode,
            **_authorization_status(accounts),
        }
        return shown | ({"account_holder": first.holder} if preview else {})

    def _emit_expiry(self, account: Account, what: str) -> None:
        """Send the event of an account, and that of its authorization."""
        self._emit(account, what)
        shown = self.render_authorization(self.authorized(account.scope, account.authorization))
        lost = account.policy.webhooks == "lost"
        self._webhooks.emit(account.scope, f"financial_connections.authorization.{what}", shown, request=None, lost=lost)

    def _emit_ownership(self, account: Account, refresh: Refresh) -> None:
        self._emit(account, "refreshed_ownership", thin_types=(f"v1.{EVENT}.ownership_refresh_{refresh.status}",))

    def _emit(
        self, account: Account, what: str, *, request: Mapping[str, str | None] | None = None, thin_types: tuple[str, ...] = ()
    ) -> None:
        lost = account.policy.webhooks == "lost"
        self._webhooks.emit(account.scope, f"{EVENT}.{what}", account.render(), request=request, lost=lost, thin_types=thin_types)


def _authorization_status(accounts: Sequence[Account]) -> Json:
    living = [account for account in accounts if account.status != "disconnected"]
    inactive = [account.loss.action for account in living if account.status == "inactive"]
    expiring = [account.expiry for account in living if account.status == "active" and account.expiry is not None]
    if not living:
        return {"status": "disconnected", "status_details": {}}
    if inactive:
        return {"status": "inactive", "status_details": {"inactive": {"action": max(inactive)}}}
    if not expiring:
        return {"status": "active", "status_details": {}}
    first = min(expiring, key=lambda expiry: expiry.at or 0)
    return {"status": "active", "status_details": {"active": {"action": first.action, "expected_deactivation_date": first.at}}}


def in_version(shown: Json, preview: bool) -> Json:
    """An account without what only preview versions of the API show, unless `preview`."""
    if preview:
        return shown
    details = {status: said for status, said in shown["status_details"].items() if status != "inactive"}
    stable = {name: value for name, value in shown.items() if name != "authorization"}
    return {**stable, "status_details": details}


def offered(scenario: str, details: Mapping[str, Any] | None) -> Json:
    """The fields that decide whether a session lets an account of this scenario be linked. Raises KeyError."""
    usual = {"subcategory": "checking", "supported_payment_method_types": ["us_bank_account"]}
    return usual | dict(SCENARIOS[scenario].account) | dict(details or {})


def with_overrides(policy: Policy, overrides: Mapping[str, Any]) -> Policy:
    """The policy with `overrides`. Raises ValueError for an unknown setting, or one of another type."""
    commands.check(overrides, commands.hints(Policy), "policy")
    listed: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in overrides.items()}
    return replace(policy, **listed)


Each = TypeVar("Each", Outcome, Ownership)


def _of_attempt(account: Account, refresh: Refresh, each: Each | tuple[Each, ...]) -> Each:
    """A policy's value for this ownership refresh: one for all, or one for each attempt, the last repeating."""
    if isinstance(each, str):
        return each
    before = itertools.takewhile(lambda past: past is not refresh, account.attempts)
    number = sum(past.feature == "ownership" for past in before)
    return each[min(number, len(each) - 1)]


def _permissions(kind: Scenario, requested: Sequence[str]) -> list[str] | None:
    if kind.permissions is None:
        return list(requested)
    return None if kind.permissions == "null" else list(kind.permissions)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
