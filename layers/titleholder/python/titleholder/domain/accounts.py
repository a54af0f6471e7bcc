"""What is known of a Stripe Financial Connections account at one moment: plain values, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["test", "live"]

HolderKind = Literal["customer", "customer_account", "connected_account"]
HOLDERS: Mapping[HolderKind, str] = {"customer": "customer", "customer_account": "customer_account", "connected_account": "account"}
"""The kinds of holders of linked accounts, by the names that this interface uses, each with Stripe's name.

`customer_account` is an account of Accounts v2 that has the customer configuration, `connected_account` one that gets payouts.
"""

ACCOUNT_ID = re.compile(r"fca_[A-Za-z0-9_]{1,120}")
PAYMENT_METHOD_ID = re.compile(r"pm_[A-Za-z0-9_]{1,250}")
CUSTOMER_ID = re.compile(r"cus_[A-Za-z0-9_]{1,250}")
SESSION_ID = re.compile(r"(fcsess|seti|pi|cs|pm)_[A-Za-z0-9_]{1,250}")
"""The id of anything that can link an account: a session, an intent, or the payment method that resulted from it."""
CONNECTED_ACCOUNT_ID = re.compile(r"acct_[A-Za-z0-9_]{1,120}")
AUTHORIZATION_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
CONTEXT = re.compile(r"(?=.{1,500}\Z)(org_[A-Za-z0-9_]{1,120}/)*(acct_[A-Za-z0-9_]{1,120}/)*acct_[A-Za-z0-9_]{1,120}")
"""Stripe's path to an account: organizations, accounts on the way, and the account itself."""
_CODE = re.compile(r"[a-z0-9_.]{1,64}")
_LAST_SECOND = 253_402_300_799
"""The last second of the year 9999. Later times can't be written as text."""


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Identifies an account. The same `fca_` id under two connected accounts, or in two modes, names two accounts."""

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
        """The reverse of `as_dict`. Raises ValueError if an id does not have the form of its kind."""
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
    """The owner of the data that a caller works with: the platform or a connected account, in one mode."""

    mode: Mode = "test"
    stripe_account: str | None = None

    def ref(self, account: str) -> AccountRef:
        """The tenant's account of that id."""
        return AccountRef(account, self.mode, self.stripe_account)

    def as_dict(self) -> dict[str, str | None]:
        """The tenant's parts, for audit entries."""
        return {"mode": self.mode, "stripe_account": self.stripe_account}

    def owns(self, mode: object, stripe_account: object) -> bool:
        """Whether an item that was stored with this mode and connected account is the tenant's."""
        return (mode, stripe_account) == (self.mode, self.stripe_account)


@dataclass(frozen=True, slots=True)
class AccountSelector:
    """Names the accounts to be verified. With the `kind` session, `id` is any id that `SESSION_ID` matches."""

    kind: Literal["session", "payment_method"] | HolderKind
    id: str
    mode: Mode = "test"
    stripe_account: str | None = None


@dataclass(frozen=True, slots=True)
class OwnershipRefresh:
    """Stripe's `ownership_refresh`. Times are Unix seconds. Stripe may add values of `status`."""

    status: str
    last_attempted_at: int
    next_refresh_available_at: int | None = None
    error: Mapping[str, Any] | None = None

    @property
    def settled(self) -> bool:
        return self.status in ("succeeded", "failed")


@dataclass(frozen=True, slots=True)
class AccountHolder:
    """Stripe's `account_holder`: the customer or account that lists this account. `kind` is customer, customer_account or account."""

    kind: str
    id: str

    @property
    def name(self) -> HolderKind:
        """The name that this interface uses for a holder of this kind."""
        return next(name for name, kind in HOLDERS.items() if kind == self.kind)

    @classmethod
    def from_stripe(cls, holder: Mapping[str, Any] | None) -> AccountHolder | None:
        """From Stripe's `account_holder`, which names the holder by its id or in expanded form. None if Stripe names no holder."""
        for kind in ("customer", "customer_account", "account"):
            named = (holder or {}).get(kind)
            if isinstance(named, Mapping):
                named = named.get("id")
            if isinstance(named, str):
                return cls(kind, named)
        return None


@dataclass(frozen=True, slots=True)
class StatusDetails:
    """Stripe's `status_details` of an account's present status. Stripe may add values of `action` and `cause`.

    For an active account: why it is expected to become inactive, and when (Unix seconds). For an inactive one: why it is inactive, and
    whether relinking repairs it; only Stripe's preview versions have that.
    """

    action: str | None = None
    cause: str | None = None
    expected_deactivation_at: int | None = None

    @classmethod
    def from_stripe(cls, status: str, details: Any) -> StatusDetails | None:
        """None if Stripe says nothing about the present status. Values that are neither codes nor times are dropped."""
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

    `details`: those of its present status. `authorization`: the id of the end user's authorization that the account belongs to
    (`fcauth_...`), through which it can be relinked. Only Stripe's preview versions name it.
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
        """When Stripe expects the account to become inactive (Unix seconds); None if Stripe does not expect that."""
        return self.details.expected_deactivation_at if self.status == "active" and self.details is not None else None


def _code(value: Any) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _authorization(value: Any) -> str | None:
    """The id of an authorization, which may be expanded."""
    id_ = value.get("id") if isinstance(value, Mapping) else value
    return id_ if isinstance(id_, str) and AUTHORIZATION_ID.fullmatch(id_) else None


def _codes(error: Any) -> dict[str, str] | None:
    """The codes of Stripe's error object. Its texts are left out, because they may contain personal data."""
    if not isinstance(error, Mapping):
        return None
    words = {name: value for name, value in error.items() if isinstance(value, str)}
    return {name: value for name, value in words.items() if _CODE.fullmatch(name) and _CODE.fullmatch(value)}


@dataclass(frozen=True, slots=True)
class AccountNumber:
    """What Stripe says about one of an account's numbers. The number itself is never read. Stripe may add values of every field."""

    status: str
    identifier_type: str | None = None
    expected_expiry_at: int | None = None


@dataclass(frozen=True, slots=True)
class PaymentSupport:
    """How an account can be used for payments: types of payment methods, and the states of its numbers (None: Stripe does not say)."""

    methods: tuple[str, ...] = ()
    numbers: tuple[AccountNumber, ...] | None = None

    @classmethod
    def from_stripe(cls, account: Mapping[str, Any]) -> PaymentSupport:
        """From Stripe's account object. An unexpected form counts as missing, because no verification depends on these parts."""
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

    `base`: `last_attempted_at` before the attempt (0: never). `open`: the result of one of its requests is not known yet.
    `key`: its idempotency key, which retries of this attempt share, but no other attempt. `began_at`: when it was first made (Unix
    seconds). `doubted_at`: when Stripe last answered a refresh call at this `base` with 5xx (Unix seconds); it may have taken effect.
    `calls`: how many refresh calls were made for this account, including repeated ones. It orders calls and observations of workers whose
    clocks differ.
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
    """What this stack has stored about an account. Times are Unix seconds by our clock.

    `observed_at`: just before the read that `state` comes from. `observed_calls`: how many refresh calls had been answered before that
    read. If there were more since, `state` may not show their effects. `shown_since`: when the refresh was first seen as it is in `state`.
    `status_since`: when the status in `state` was first seen after another status; 0 if no other was ever seen.

    `stale_marked`: the account is inactive, and all its verdicts are marked as stale. `lift_pending`: the account is no longer inactive,
    but its verdicts may still be marked. `disconnect_pending`: it is erased here but not disconnected at Stripe yet, which has failed
    `disconnect_tries` times. `too_many_owners`: the newest snapshot has no owners, because there were too many. `lease_until`: until when
    only one caller may make a refresh call. `slot`: the rate limiter's slot that is kept for the account's next refresh call.
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
        """How many refresh calls are known to have been answered: all except one that is still open."""
        return 0 if self.attempt is None else self.attempt.calls - self.attempt.open
