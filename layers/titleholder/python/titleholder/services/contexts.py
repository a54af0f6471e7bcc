"""Whose an account is that an event names by a context, and how calls name a connected account.

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
    """What this process knows of contexts in one mode. `clock`: Unix seconds."""

    def __init__(self, store: Store, mode: Mode, clock: Callable[[], float]) -> None:
        self._store = store
        self._mode = mode
        self._clock = clock
        self._own: str | None = None
        self._known: dict[str, tuple[str | None, float]] = {}

    def path(self, stripe_account: str) -> str | None:
        """The path by which calls name a connected account (`Stripe-Context`); None if by its id alone."""
        context, read_at = self._known.get(stripe_account, (None, 0.0))
        if self._clock() >= read_at + MAX_AGE_SECONDS:
            tenant = self._store.connected_accounts.get(self._mode, stripe_account)
            context = None if tenant is None else tenant.context
            self._known[stripe_account] = context, self._clock()
        return context

    def resolve(self, stripe: StripeGateway, named: Tenant, context: str | None) -> Tenant | None:
        """Whose an event is; None if it is not for this stack.

        `named` has the account that the event names, and `context` the path to it, None if the event names it by its id alone. A connected
        account that an event names by its id alone may be new: its events come to the platform's own endpoint.

        Raises:
            StripeError: Stripe could not be asked which account is the platform.
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
        """Whether an account is the platform, read once in a process. If Stripe refuses to say, it is not, unless that is `needed`."""
        if self._own is None:
            try:
                self._own = stripe.account_of_calls()
            except (StripeCredentialsError, StripeRefusedError, AccountNotFoundError):
                if needed:
                    raise
        return account == self._own

    def _remember(self, stripe: StripeGateway, tenant: TenantState, context: str) -> None:
        """Have calls name a connected account by its context, once Stripe has shown that it takes this context for that account."""
        if tenant.context == context:
            return
        try:
            if stripe.account_of_calls(context) != tenant.stripe_account:
                return
        except (StripeError, AccountNotFoundError):
            # The event does not need it. The next one asks again.
            return
        self._store.connected_accounts.set_context(self._mode, tenant.stripe_account, context)
        self._known.pop(tenant.stripe_account, None)
