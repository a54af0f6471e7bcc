"""Finds the tenant of an event that names its account by a context, and the context by which calls name a connected account.

An organization's event destination delivers the events of all its accounts, each with the path to its account: `org_.../acct_...`. Such an
event is for this stack if the account is the platform itself or a connected account that has accounts here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from titleholder.domain.accounts import Mode, Tenant
from titleholder.errors import AccountNotFoundError, StripeCredentialsError, StripeError, StripeRefusedError

if TYPE_CHECKING:
    from titleholder.store import Store
    from titleholder.store.connected_accounts import TenantState
    from titleholder.stripe_api.gateway import StripeGateway

MAX_AGE_SECONDS = 300.0
"""How long a process uses the context of a connected account before it reads it again."""


class Contexts:
    """The contexts of one mode that this process knows. `clock`: Unix seconds."""

    def __init__(self, store: Store, mode: Mode, clock: Callable[[], float]) -> None:
        self._store = store
        self._mode = mode
        self._clock = clock
        self._own: str | None = None
        self._known: dict[str, tuple[str | None, float]] = {}

    def path(self, stripe_account: str) -> str | None:
        """The path by which calls name a connected account (`Stripe-Context`); None if they name it by its id alone."""
        context, read_at = self._known.get(stripe_account, (None, 0.0))
        if self._clock() >= read_at + MAX_AGE_SECONDS:
            tenant = self._store.connected_accounts.get(self._mode, stripe_account)
            context = None if tenant is None else tenant.context
            self._known[stripe_account] = context, self._clock()
        return context

    def resolve(self, stripe: StripeGateway, named: Tenant, context: str | None) -> Tenant | None:
        """The tenant that an event belongs to; None if the event is not for this stack.

        `named` has the account that the event names. `context` is the path to it, None if the event names it by its id alone. Such a
        connected account may be new, because its events come to the platform's own endpoint.

        Raises:
            StripeError: the call that shows which account is the platform failed.
        """
        if named.stripe_account is None:
            return named
        known = self._store.connected_accounts.get(self._mode, named.stripe_account)
        # A known connected account that is named by its id alone needs no call to Stripe.
        asks = context is not None or known is None
        if asks and self._is_own(stripe, named.stripe_account, needed=context is not None and known is None):
            return Tenant(named.mode)
        if context is None:
            return named
        if known is None:
            return None
        self._remember(stripe, known, context)
        return named

    def _is_own(self, stripe: StripeGateway, account: str, *, needed: bool) -> bool:
        """Whether an account is the platform. Read once in a process. If Stripe refuses the call: False, or with `needed` the error."""
        if self._own is None:
            try:
                self._own = stripe.account_of_calls()
            except (StripeCredentialsError, StripeRefusedError, AccountNotFoundError):
                if needed:
                    raise
        return account == self._own

    def _remember(self, stripe: StripeGateway, tenant: TenantState, context: str) -> None:
        """Have calls name a connected account by its context, if Stripe accepts this context for that account."""
        if tenant.context == context:
            return
        try:
            if stripe.account_of_calls(context) != tenant.stripe_account:
                return
        except (StripeError, AccountNotFoundError):
            # The event can be handled without it. The next event tries again.
            return
        self._store.connected_accounts.set_context(self._mode, tenant.stripe_account, context)
        self._known.pop(tenant.stripe_account, None)
