"""Relinking: the end user repairs the access to an account, or grants it further permissions. Uses a preview of Stripe's API.

Each step reads the state from Stripe and stores nothing, because the end user may choose another account than the one to be relinked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from titleholder.domain.accounts import AccountHolder, AccountState, Tenant
from titleholder.errors import AccountErasedError, AccountNotFoundError, RelinkNotAvailableError, StripeRefusedError
from titleholder.services.context import Dependencies
from titleholder.services.linking import once
from titleholder.stripe_api import linking as stripe_linking

PAYMENT = "payment_method"

REASONS: Mapping[str, str] = {
    "switched_off": "Relinking is not switched on in this stack.",
    "version_refused": "Stripe refuses the API version that this stack uses for relinking.",
    "account_disconnected": "The account was disconnected.",
    "not_repairable": "Stripe says that relinking does not repair this account; it may have been closed.",
    "no_authorization": "Stripe names no authorization that this account belongs to.",
    "gone": "Stripe does not know the account's authorization or its holder any more.",
}
"""Why an account can't be relinked."""


@dataclass(frozen=True, slots=True)
class Relinkable:
    """An account that can be relinked, and what the end user is asked for: its present permissions, `ownership` and the `added` ones."""

    account: str
    authorization: str
    holder: AccountHolder | None
    permissions: tuple[str, ...]
    version: str

    def asked(self, added: Sequence[str] = ()) -> list[str]:
        """The permissions to ask for. All are named, because Stripe may replace the present ones by them."""
        return sorted({*self.permissions, "ownership", *added})


@dataclass(frozen=True, slots=True)
class RelinkResult:
    """The status of a session for relinking. `relinked_account` is None until the account that was named has been relinked."""

    account: str | None
    authorization: str | None
    status: str | None
    failure_reason: str | None
    relinked_account: str | None


def find(deps: Dependencies, tenant: Tenant, account: str) -> Relinkable:
    """The account, if it can be relinked now.

    Raises:
        RelinkNotAvailableError: it can't be relinked. The error's `reason` says why.
        AccountErasedError, AccountNotFoundError, StripeError, RateLimitExceededError.
    """
    preview = deps.stripe.preview
    if preview.configured is None:
        raise _unavailable("switched_off")
    if deps.store.accounts.get(tenant.ref(account)).erased_at is not None:
        raise AccountErasedError
    state = AccountState.from_stripe(stripe_linking.account(deps.stripe, account, tenant.stripe_account))
    if preview.refused:
        raise _unavailable("version_refused")
    if state.status == "disconnected":
        raise _unavailable("account_disconnected")
    if state.status == "inactive" and state.details is not None and state.details.action == "none":
        raise _unavailable("not_repairable")
    if state.authorization is None:
        raise _unavailable("no_authorization")
    return Relinkable(account, state.authorization, state.holder, state.permissions or (), preview.configured)


def create(
    deps: Dependencies,
    tenant: Tenant,
    target: Relinkable,
    *,
    permissions: Sequence[str],
    prefetch: Sequence[str],
    return_url: str | None,
    key: str | None,
) -> dict[str, Any]:
    """The session as Stripe made it. Raises RelinkNotAvailableError, IdempotencyConflictError, StripeError, RateLimitExceededError."""
    params = parameters(target, permissions, prefetch, return_url)
    try:
        return once(lambda: stripe_linking.create_relink_session(deps.stripe, params, tenant.stripe_account, key, target.version))
    except StripeRefusedError as error:
        if stripe_linking.is_missing(error):
            raise _unavailable("gone") from None
        raise
    except AccountNotFoundError:
        raise _unavailable("gone") from None


def parameters(target: Relinkable, permissions: Sequence[str], prefetch: Sequence[str], return_url: str | None) -> dict[str, Any]:
    """Stripe's parameters."""
    asked = target.asked(permissions)
    params: dict[str, Any] = {
        "relink_options": {"authorization": target.authorization, "account": target.account},
        "permissions": asked,
        "manual_entry": {"mode": "disabled"},
    }
    if target.holder is not None:
        kind = "account" if target.holder.kind == "account" else "customer"
        params["account_holder"] = {"type": kind, target.holder.kind: target.holder.id}
    if PAYMENT in asked:
        # If payments use the account, the one account of the session has to support them.
        params |= {"limits": {"accounts": 1}, "filters": {"require_payment_method_support": "all"}}
    if prefetch:
        params["prefetch"] = list(prefetch)
    if return_url is not None:
        params["return_url"] = return_url
    return params


def _unavailable(reason: str) -> RelinkNotAvailableError:
    return RelinkNotAvailableError(f"{REASONS[reason]} The holder can link the account again.", reason)


def result(session: Mapping[str, Any]) -> RelinkResult | None:
    """The status of a Financial Connections Session for relinking; None if it is not for relinking, or Stripe does not show that it is."""
    options, ended = _hash(session.get("relink_options")), _hash(session.get("relink_result"))
    authorization = options.get("authorization")
    if authorization is None:
        return None
    return RelinkResult(
        account=options.get("account"),
        authorization=ended.get("authorization") or authorization,
        status=session.get("status"),
        failure_reason=ended.get("failure_reason"),
        relinked_account=ended.get("account"),
    )


def _hash(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
