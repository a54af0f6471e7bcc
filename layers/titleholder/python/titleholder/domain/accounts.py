"""What is known of a Stripe Financial Connections account at one moment: plain values, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["test", "live"]

HolderKind = Literal["customer", "customer_account", "connected_account"]
HOLDERS: Mapping[HolderKind, str] = {"customer": "customer", "customer_account": "customer_account", "connected_account": "account"}
"""Who may hold linked accounts, by the names that this interface uses, each with Stripe's name for it.

`customer_account` is an account of Accounts v2 that has the customer configuration, `connected_account` one that gets payouts.
"""

ACCOUNT_ID = re.compile(r"fca_[A-Za-z0-9_]{1,120}")
PAYMENT_METHOD_ID = re.compile(r"pm_[A-Za-z0-9_]{1,250}")
CUSTOMER_ID = re.compile(r"cus_[A-Za-z0-9_]{1,250}")
SESSION_ID = re.compile(r"(fcsess|seti|pi|cs|pm)_[A-Za-z0-9_]{1,250}")
"""Whatever an account can be collected with: a session, an intent, or the payment method that came of it."""
CONNECTED_ACCOUNT_ID = re.compile(r"acct_[A-Za-z0-9_]{1,120}")
AUTHORIZATION_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
CONTEXT = re.compile(r"(?=.{1,500}\Z)(org_[A-Za-z0-9_]{1,120}/)*(acct_[A-Za-z0-9_]{1,120}/)*acct_[A-Za-z0-9_]{1,120}")
"""Stripe's path to an account: organizations, accounts on the way, and the account itself."""
_CODE = re.compile(r"[a-z0-9_.]{1,64}")
_LAST_SECOND = 253_402_300_799
"""The last second of the year 9999, after which no time can be written as text."""


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Which account: the same `fca_` id under two connected accounts, or in two modes, is two accounts."""

    account: str
    mode: Mode = "test"
    stripe_account: str | None = None

    @property
    def key(self) -> str:
        """The account's name in keys of every kind, such as `test/platform/fca_1`."""
        return f"{self.mode}/{self.stripe_account or 'platform'}/{self.account}"

    def as_dict(self) -> dict[str, str]:
        """The form that travels in queue messages and workflow inputs."""
        named = {"account": self.account, "mode": self.mode}
        return named if self.stripe_account is None else {**named, "stripe_account": self.stripe_account}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AccountRef:
        """The reverse of `as_dict`. Raises ValueError where an id has not the shape of its kind."""
        account, mode, stripe_account = data.get("account"), data.get("mode"), data.get("stripe_account")
        if not isinstance(account, str) or not ACCOUNT_ID.fullmatch(account):
            raise ValueError("account: not a Financial Connections account id (fca_...)")
        if mode not in ("test", "live"):
            raise ValueError("mode: neither test nor live")
        if stripe_account is not None and (not isinstance(stripe_account, str) or not CONNECTED_ACCOUNT_ID.fullmatch(stripe_account)):
            raise ValueError("stripe_account: not a connected account id (acct_...)")
        return cls(account=account, mode=mode, stripe_account=stripe_account)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose data a caller works with: the platform's own, or a connected account's, in one mode."""

    mode: Mode = "test"
    stripe_account: str | None = None

    def ref(self, account: str) -> AccountRef:
        """The tenant's account of that id."""
        return AccountRef(account, self.mode, self.stripe_account)

    def as_dict(self) -> dict[str, str | None]:
        """The tenant's parts, for audit entries."""
        return {"mode": self.mode, "stripe_account": self.stripe_account}

    def owns(self, mode: object, stripe_account: object) -> bool:
        """Whether something that was stored with these two is the tenant's."""
        return (mode, stripe_account) == (self.mode, self.stripe_account)


@dataclass(frozen=True, slots=True)
class AccountSelector:
    """Names the accounts to be verified. `kind` session: any id that `SESSION_ID` matches."""

    kind: Literal["session", "payment_method"] | HolderKind
    id: str
    mode: Mode = "test"
    stripe_account: str | None = None


@dataclass(frozen=True, slots=True)
class OwnershipRefresh:
    """Stripe's `ownership_refresh`. Times are Unix seconds; `status` is open: unknown values may come."""

    status: str
    last_attempted_at: int
    next_refresh_available_at: int | None = None
    error: Mapping[str, Any] | None = None

    @property
    def settled(self) -> bool:
        return self.status in ("succeeded", "failed")


@dataclass(frozen=True, slots=True)
class AccountHolder:
    """Stripe's `account_holder`: whose accounts this one is listed among. `kind` is customer, customer_account or account."""

    kind: str
    id: str

    @property
    def name(self) -> HolderKind:
        """The name that this interface uses for a holder of this kind."""
        return next(name for name, kind in HOLDERS.items() if kind == self.kind)

    @classmethod
    def from_stripe(cls, holder: Mapping[str, Any] | None) -> AccountHolder | None:
        """None where Stripe names no holder. Who is expanded is taken by the id."""
        for kind in ("customer", "customer_account", "account"):
            named = (holder or {}).get(kind)
            if isinstance(named, Mapping):
                named = named.get("id")
            if isinstance(named, str):
                return cls(kind, named)
        return None


@dataclass(frozen=True, slots=True)
class StatusDetails:
    """Stripe's `status_details` of an account's present status. `action` and `cause` are open: unknown values may come.

    Of an active account: why it is expected to become inactive, and when (Unix seconds). Of an inactive one: why it is, and whether
    relinking repairs it; only Stripe's preview versions say so.
    """

    action: str | None = None
    cause: str | None = None
    expected_deactivation_at: int | None = None

    @classmethod
    def from_stripe(cls, status: str, details: Any) -> StatusDetails | None:
        """None where Stripe says nothing of the present status. Values that are neither codes nor times are dropped."""
        said = details.get(status) if isinstance(details, Mapping) else None
        if not isinstance(said, Mapping):
            return None
        date = said.get("expected_deactivation_date")
        is_time = isinstance(date, int) and not isinstance(date, bool) and 0 < date <= _LAST_SECOND
        made = cls(_code(said.get("action")), _code(said.get("cause")), date if is_time else None)
        return None if made == cls() else made


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as Stripe described it. `permissions` None means that Stripe sent null.

    `details`: of its present status. `authorization`: the id of the end user's authorization that it belongs to (`fcauth_...`), which only
    Stripe's preview versions name. The account can be relinked through it.
    """

    status: str
    permissions: tuple[str, ...] | None
    refresh: OwnershipRefresh | None
    livemode: bool = False
    holder: AccountHolder | None = None
    details: StatusDetails | None = None
    authorization: str | None = None

    @classmethod
    def from_stripe(cls, account: Mapping[str, Any]) -> AccountState:
        """From Stripe's account object, whose nullable parts may be null or absent."""
        hash_ = account.get("ownership_refresh")
        refresh = None
        if hash_:
            refresh = OwnershipRefresh(
                status=str(hash_["status"]),
                last_attempted_at=int(hash_["last_attempted_at"]),
                next_refresh_available_at=hash_.get("next_refresh_available_at"),
                error=_codes(hash_.get("error")),
            )
        permissions = account.get("permissions")
        return cls(
            status=str(account["status"]),
            permissions=None if permissions is None else tuple(permissions),
            refresh=refresh,
            livemode=bool(account.get("livemode")),
            holder=AccountHolder.from_stripe(account.get("account_holder")),
            details=StatusDetails.from_stripe(str(account["status"]), account.get("status_details")),
            authorization=_authorization(account.get("authorization")),
        )

    @property
    def beyond_repair(self) -> bool:
        """Whether the account is inactive, and Stripe says that nothing repairs it."""
        return self.status == "inactive" and self.details is not None and self.details.action == "none"

    @property
    def expires_at(self) -> int | None:
        """When Stripe expects the account to become inactive (Unix seconds), None if it does not."""
        return self.details.expected_deactivation_at if self.status == "active" and self.details is not None else None


def _code(value: Any) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _authorization(value: Any) -> str | None:
    """The id of an authorization, which may be expanded."""
    id_ = value.get("id") if isinstance(value, Mapping) else value
    return id_ if isinstance(id_, str) and AUTHORIZATION_ID.fullmatch(id_) else None


def _codes(error: Any) -> dict[str, str] | None:
    """What Stripe says of a failure, as far as it says it in codes: its words have no published shape, and may be about people."""
    if not isinstance(error, Mapping):
        return None
    words = {name: value for name, value in error.items() if isinstance(value, str)}
    return {name: value for name, value in words.items() if _CODE.fullmatch(name) and _CODE.fullmatch(value)}


@dataclass(frozen=True, slots=True)
class AccountNumber:
    """What Stripe says of one of an account's numbers, which itself is never read. All values are open: unknown ones may come."""

    status: str
    identifier_type: str | None = None
    expected_expiry_at: int | None = None


@dataclass(frozen=True, slots=True)
class PaymentSupport:
    """What can be paid with an account: types of payment methods, and the states of its numbers (None: Stripe does not say)."""

    methods: tuple[str, ...] = ()
    numbers: tuple[AccountNumber, ...] | None = None

    @classmethod
    def from_stripe(cls, account: Mapping[str, Any]) -> PaymentSupport:
        """From Stripe's account object. No verification depends on these parts, so an unexpected shape counts as missing."""
        methods, numbers = account.get("supported_payment_method_types"), account.get("account_numbers")
        return cls(
            methods=tuple(method for method in methods if isinstance(method, str)) if isinstance(methods, list) else (),
            numbers=tuple(_account_number(number) for number in numbers if isinstance(number, Mapping))
            if isinstance(numbers, list)
            else None,
        )


def _account_number(number: Mapping[str, Any]) -> AccountNumber:
    kind, expiry = number.get("identifier_type"), number.get("expected_expiry_date")
    return AccountNumber(
        status=str(number.get("status")),
        identifier_type=kind if isinstance(kind, str) else None,
        expected_expiry_at=expiry if isinstance(expiry, int) else None,
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """The newest attempt to initiate a refresh that this stack made.

    `base` is `last_attempted_at` as it stood before (0: never). `open` until it is known what became of each of its requests.
    `key` is its idempotency key: shared by retries of this attempt, never by the next. `began_at` is when it was first made (Unix seconds).
    `doubted_at`: when Stripe last answered a refresh call at this `base` with 5xx (Unix seconds), which may have taken effect all the same.
    `calls` counts every refresh call for this account, repeated ones too: it orders calls and observations where clocks differ.
    """

    number: int
    key: str
    base: int
    began_at: float
    calls: int
    open: bool
    doubted_at: float | None = None


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """What this stack remembers of an account.

    `observed_at`: our clock just before the read that `state` comes from. `observed_calls`: how many refresh calls had been answered
    before that read; where there were more since, `state` may know nothing of them. `shown_since`: our clock when the refresh in `state`
    was first seen as it is, however often it was seen since. `status_since`: our clock when the status in `state` was first seen instead of
    another one; 0 if it never was another one. `stale_marked`: the account is inactive, and all its
    verdicts have been marked as stale. `lift_pending`: it has ceased to be inactive, and its verdicts may still be marked so.
    `disconnect_pending`: it is erased here, and has yet to be disconnected at Stripe, which has failed
    `disconnect_tries` times since. `too_many_owners`: the newest snapshot holds none, because there were too many. `lease_until`:
    until when one caller alone may make a refresh call (Unix seconds). `slot`: the rate limiter's slot that is kept for the account's next
    refresh call (Unix seconds).
    """

    state: AccountState | None = None
    observed_at: float = 0.0
    observed_calls: int = 0
    shown_since: float = 0.0
    snapshot: str | None = None
    snapshot_attempted_at: int | None = None
    snapshot_created: int | None = None
    attempt: Attempt | None = None
    lease_until: float | None = None
    slot: float | None = None
    erased_at: float | None = None
    erasure_ended: bool = False
    stale_marked: bool = False
    lift_pending: bool = False
    disconnect_pending: bool = False
    disconnect_tries: int = 0
    too_many_owners: bool = False
    status_since: float = 0.0

    @property
    def answered_calls(self) -> int:
        """How many refresh calls are known to have been answered: all but one that is still open."""
        return 0 if self.attempt is None else self.attempt.calls - self.attempt.open
