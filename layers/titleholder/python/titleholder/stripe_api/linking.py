"""Stripe's customers, sessions, intents and payment methods, for linking accounts. Calls go through `StripeGateway.call`.

Every function takes the connected account (None: the platform itself), and raises the same errors as `StripeGateway.read`, except for 404.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from titleholder.errors import CustomerNotFoundError, PaymentMethodNotFoundError, SessionNotFoundError, StripeRefusedError
from titleholder.stripe_api.gateway import LIST, READ, RESOURCE_MISSING, StripeGateway

PAGE = 100
KEY_REUSED = "idempotency_error"
"""The code of Stripe's error for an idempotency key that was used with other parameters."""

Json = dict[str, Any]


def create_customer(stripe: StripeGateway, params: Json, stripe_account: str | None, key: str | None) -> Json:
    """A new Customer. `key`: Stripe's idempotency key."""
    return _plain(stripe.make(lambda client, key: client.v1.customers.create(cast(Any, params), _options(stripe_account, key)), key))


def create_session(stripe: StripeGateway, via: str, params: Json, stripe_account: str | None, key: str | None) -> Json:
    """A new session or intent of the kind `via`. `key`: Stripe's idempotency key.

    Raises CustomerNotFoundError if Stripe answers 404 for its holder. Documented is 400 `resource_missing`.
    """

    def create(client: Any, key: str | None) -> Any:
        service = {
            "financial_connections": client.v1.financial_connections.sessions,
            "setup_intent": client.v1.setup_intents,
            "payment_intent": client.v1.payment_intents,
            "checkout_session": client.v1.checkout.sessions,
        }[via]
        return service.create(params, _options(stripe_account, key))

    return _plain(stripe.make(create, key, CustomerNotFoundError))


def create_relink_session(stripe: StripeGateway, params: Json, stripe_account: str | None, key: str | None, version: str) -> Json:
    """A new Financial Connections Session for relinking, which only preview versions make. `key`: Stripe's idempotency key."""

    def create(client: Any, key: str | None) -> Any:
        return client.v1.financial_connections.sessions.create(cast(Any, params), _options(stripe_account, key, version=version))

    return _plain(stripe.make(create, key))


def session(stripe: StripeGateway, via: str, id: str, stripe_account: str | None) -> Json:
    """A session or intent of the kind `via`, as it is now. Raises SessionNotFoundError."""
    read = {
        "financial_connections": financial_connections_session,
        "setup_intent": setup_intent,
        "payment_intent": payment_intent,
        "checkout_session": checkout_session,
    }[via]
    return read(stripe, id, stripe_account)


def financial_connections_session(stripe: StripeGateway, id: str, stripe_account: str | None) -> Json:
    """A Financial Connections Session. Raises SessionNotFoundError."""
    return _plain(
        stripe.read_call(
            lambda client, version: client.v1.financial_connections.sessions.retrieve(id, {}, _options(stripe_account, version=version)),
            SessionNotFoundError,
        )
    )


def setup_intent(stripe: StripeGateway, id: str, stripe_account: str | None) -> Json:
    """A SetupIntent with its payment method. Raises SessionNotFoundError."""
    return _plain(
        stripe.call(
            lambda client: client.v1.setup_intents.retrieve(id, {"expand": ["payment_method"]}, _options(stripe_account)),
            SessionNotFoundError,
        )
    )


def payment_intent(stripe: StripeGateway, id: str, stripe_account: str | None) -> Json:
    """A PaymentIntent with its payment method. Raises SessionNotFoundError."""
    return _plain(
        stripe.call(
            lambda client: client.v1.payment_intents.retrieve(id, {"expand": ["payment_method"]}, _options(stripe_account)),
            SessionNotFoundError,
        )
    )


def checkout_session(stripe: StripeGateway, id: str, stripe_account: str | None) -> Json:
    """A Checkout Session with its intent and the intent's payment method. Raises SessionNotFoundError."""
    expand = ["setup_intent.payment_method", "payment_intent.payment_method"]
    return _plain(
        stripe.call(
            lambda client: client.v1.checkout.sessions.retrieve(id, {"expand": expand}, _options(stripe_account)), SessionNotFoundError
        )
    )


def payment_method(stripe: StripeGateway, id: str, stripe_account: str | None) -> Json:
    """A payment method. Raises PaymentMethodNotFoundError."""
    return _plain(
        stripe.call(lambda client: client.v1.payment_methods.retrieve(id, {}, _options(stripe_account)), PaymentMethodNotFoundError)
    )


def account(stripe: StripeGateway, id: str, stripe_account: str | None) -> Json:
    """A Financial Connections account as Stripe shows it. Raises AccountNotFoundError."""
    return _plain(
        stripe.read_call(
            lambda client, version: client.v1.financial_connections.accounts.retrieve(id, {}, _options(stripe_account, version=version)),
            bucket=READ,
        )
    )


def accounts(
    stripe: StripeGateway, stripe_account: str | None, wanted: Mapping[str, Any], *, limit: int = PAGE, after: str | None = None
) -> tuple[list[Json], bool]:
    """One page of accounts, the newest first, and whether there are more. `wanted`: `{"session": id}` or `{"account_holder": {...}}`."""
    params: Any = {**wanted, "limit": limit, **({} if after is None else {"starting_after": after})}
    page = _plain(
        stripe.read_call(
            lambda client, version: client.v1.financial_connections.accounts.list(params, _options(stripe_account, version=version)),
            bucket=LIST,
        )
    )
    return list(page["data"]), bool(page["has_more"])


def check_customer(stripe: StripeGateway, id: str, stripe_account: str | None) -> None:
    """Return if the customer exists. Raises CustomerNotFoundError, also if it was deleted."""
    found = _plain(stripe.call(lambda client: client.v1.customers.retrieve(id, {}, _options(stripe_account)), CustomerNotFoundError))
    if found.get("deleted"):
        raise CustomerNotFoundError("This customer was deleted at Stripe. Create a new one: POST /customers.")


def is_missing(error: StripeRefusedError) -> bool:
    """Whether Stripe refused because an object that a parameter names does not exist."""
    return error.code == RESOURCE_MISSING


def _plain(answer: Any) -> Json:
    return cast(Json, answer.to_dict())


def _options(stripe_account: str | None, idempotency_key: str | None = None, *, version: str | None = None) -> Any:
    options = {"stripe_account": stripe_account, "idempotency_key": idempotency_key, "stripe_version": version}
    return {name: value for name, value in options.items() if value is not None}
