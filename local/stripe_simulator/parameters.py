"""The parameters of each operation, and Stripe's errors for invalid ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.stripe_simulator.wire import ApiError


@dataclass(frozen=True)
class Text:
    """A string; one of `choices` when there are any."""

    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Number:
    """An integer within bounds. `blank` allows the empty string, which unsets it."""

    least: int | None = None
    most: int | None = None
    blank: bool = False


@dataclass(frozen=True)
class Flag:
    """true or false."""


@dataclass(frozen=True)
class Many:
    """A list of at most `most` items."""

    item: Spec
    most: int | None = None


@dataclass(frozen=True)
class Hash:
    """Named parameters. Those in `required` must be given."""

    fields: Mapping[str, Spec]
    required: tuple[str, ...] = ()


@dataclass(frozen=True)
class Either:
    """A hash or a simple value."""

    hash: Hash
    simple: Spec


@dataclass(frozen=True)
class Anything:
    """Any value: the parameter has no effect here."""


Spec = Text | Number | Flag | Many | Hash | Either | Anything

FEATURES = ("balance", "ownership", "transactions")
PERMISSIONS = ("balances", "ownership", "payment_method", "transactions")
PREFETCH = ("balances", "ownership", "transactions")
SUBCATEGORIES = ("checking", "credit_card", "line_of_credit", "mortgage", "savings")

EXPAND: Mapping[str, Spec] = {"expand": Many(Text())}
PAGING: Mapping[str, Spec] = {**EXPAND, "limit": Number(1, 100), "starting_after": Text(), "ending_before": Text()}
HOLDER: Mapping[str, Spec] = {"account": Text(), "customer": Text(), "customer_account": Text()}


def _accept(names: str) -> dict[str, Spec]:
    return {name: Anything() for name in names.split()}


READ = Hash(EXPAND)
LIST_ACCOUNTS = Hash({**PAGING, "account_holder": Hash(HOLDER), "session": Text()})
LIST_OWNERS = Hash({**PAGING, "ownership": Text()}, ("ownership",))
REFRESH = Hash({**EXPAND, "features": Many(Text(FEATURES))}, ("features",))
SUBSCRIBE = Hash({**EXPAND, "features": Many(Text(("transactions",)))}, ("features",))
LIST_EVENTS = Hash(
    {
        **PAGING,
        "type": Text(),
        "types": Many(Text(), most=20),
        "delivery_success": Flag(),
        "created": Either(Hash({name: Number() for name in ("gt", "gte", "lt", "lte")}), Number()),
    }
)
LIST_THIN_EVENTS = Hash(
    {
        "types": Many(Text(), most=20),
        "created": Hash({name: Text() for name in ("gt", "gte", "lt", "lte")}),
        "limit": Number(1, 100),
        "object_id": Text(),
        "page": Text(),
    }
)
CREATE_SESSION = Hash(
    {
        **EXPAND,
        "account_holder": Hash({**HOLDER, "type": Text(("account", "customer"))}, ("type",)),
        "permissions": Many(Text(PERMISSIONS)),
        "prefetch": Many(Text(PREFETCH)),
        "filters": Hash(
            {
                "account_subcategories": Many(Text(SUBCATEGORIES)),
                "country": Text(),
                "require_payment_method_support": Text(("all", "at_least_one", "none")),
            }
        ),
        "limits": Hash({"accounts": Number(1, blank=True)}, ("accounts",)),
        "manual_entry": Hash({"mode": Text(("automatic", "disabled"))}),
        "return_url": Text(),
    },
    ("account_holder", "permissions"),
)
CREATE_CUSTOMER = Hash(
    {
        **EXPAND,
        **_accept(
            "address balance business_name cash_balance description individual_name invoice_prefix invoice_settings"
            " metadata next_invoice_sequence payment_method preferred_locales shipping source tax tax_exempt tax_id_data"
            " test_clock validate"
        ),
        "email": Text(),
        "name": Text(),
        "phone": Text(),
    }
)
_CHECKOUT_LINKING: Mapping[str, Spec] = {"permissions": Many(Text(PERMISSIONS)), "prefetch": Many(Text(PREFETCH))}
_INTENT_LINKING: Mapping[str, Spec] = {
    **_CHECKOUT_LINKING,
    "return_url": Text(),
    "filters": Hash({"account_subcategories": Many(Text(("checking", "savings")))}),
}


def _method_options(linking: Mapping[str, Spec]) -> Hash:
    bank = Hash(
        {
            "financial_connections": Hash(linking),
            "verification_method": Text(("automatic", "instant", "microdeposits", "skip")),
            **_accept("mandate_options networks preferred_settlement_speed setup_future_usage target_date transaction_purpose"),
        }
    )
    return Hash({"us_bank_account": bank, **_accept("acss_debit card link paypal sepa_debit")})


_INTENT: Mapping[str, Spec] = {
    **EXPAND,
    **_accept(
        "allowed_payment_method_types automatic_payment_methods confirm confirmation_token customer_account description"
        " excluded_payment_method_types mandate_data metadata on_behalf_of payment_method payment_method_configuration"
        " payment_method_data return_url use_stripe_sdk"
    ),
    "customer": Text(),
    "payment_method_types": Many(Text()),
    "payment_method_options": _method_options(_INTENT_LINKING),
}
CREATE_SETUP_INTENT = Hash(
    {**_INTENT, **_accept("attach_to_self flow_directions single_use"), "usage": Text(("off_session", "on_session"))}
)
CREATE_PAYMENT_INTENT = Hash(
    {
        **_INTENT,
        **_accept(
            "amount_details application_fee_amount capture_method confirmation_method error_on_requires_action hooks"
            " mandate off_session payment_details radar_options receipt_email setup_future_usage shipping"
            " statement_descriptor statement_descriptor_suffix transfer_data transfer_group"
        ),
        "amount": Number(1),
        "currency": Text(),
    },
    ("amount", "currency"),
)
READ_INTENT = Hash({**EXPAND, "client_secret": Text()})
CREATE_CHECKOUT = Hash(
    {
        **EXPAND,
        **_accept(
            "adaptive_pricing after_expiration allow_promotion_codes allowed_payment_method_types automatic_tax"
            " billing_address_collection branding_settings client_reference_id consent_collection custom_fields custom_text"
            " customer_account customer_creation customer_email customer_update discounts excluded_payment_method_types"
            " expires_at integration_identifier invoice_creation line_items locale managed_payments metadata name_collection"
            " optional_items origin_context payment_intent_data payment_method_collection payment_method_configuration"
            " payment_method_data permissions phone_number_collection redirect_on_completion saved_payment_method_options"
            " setup_intent_data shipping_address_collection shipping_options submit_type subscription_data tax_id_collection"
            " ui_mode wallet_options"
        ),
        "cancel_url": Text(),
        "success_url": Text(),
        "return_url": Text(),
        "currency": Text(),
        "customer": Text(),
        "mode": Text(("payment", "setup")),
        "payment_method_types": Many(Text()),
        "payment_method_options": _method_options(_CHECKOUT_LINKING),
    },
    ("mode",),
)


def check(spec: Spec, value: Any, name: str = "") -> Any:
    """`value` with numbers and flags converted. Raises ApiError 400 with Stripe's message. `name`: the parameter's full name."""
    if isinstance(spec, Hash):
        return _hash(spec, value, name)
    if isinstance(spec, Either):
        return check(spec.hash if isinstance(value, dict) else spec.simple, value, name)
    if isinstance(spec, Many):
        if not isinstance(value, list):
            raise ApiError(400, "Invalid array", param=name)
        if spec.most is not None and len(value) > spec.most:
            raise ApiError(400, f"Array {name} exceeded maximum {spec.most} allowed elements.", param=name)
        return [check(spec.item, item, f"{name}[{index}]") for index, item in enumerate(value)]
    if isinstance(spec, Anything):
        return value
    if not isinstance(value, str):
        raise ApiError(400, f"Invalid string: {name}", param=name)
    if isinstance(spec, Number):
        return _number(spec, value, name)
    if isinstance(spec, Flag):
        if value not in ("true", "false"):
            raise ApiError(400, f"Invalid boolean: {value}", param=name)
        return value == "true"
    if spec.choices and value not in spec.choices:
        raise ApiError(400, f"Invalid {name}: must be one of {', '.join(spec.choices[:-1])} or {spec.choices[-1]}", param=name)
    return value


def _hash(spec: Hash, value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ApiError(400, "Invalid hash", param=name)

    def full(key: str) -> str:
        return f"{name}[{key}]" if name else key

    for key in value:
        if key not in spec.fields:
            raise ApiError(400, f"Received unknown parameter: {full(key)}", code="parameter_unknown", param=full(key))
    for key in spec.required:
        if key not in value:
            raise ApiError(400, f"Missing required param: {full(key)}.", code="parameter_missing", param=full(key))
        if value[key] == "":
            message = f"You passed an empty string for '{full(key)}'. We assume empty values are an attempt to unset a parameter."
            raise ApiError(400, message, code="parameter_invalid_empty", param=full(key))
    return {key: check(spec.fields[key], item, full(key)) for key, item in value.items()}


def _number(spec: Number, value: str, name: str) -> int | str:
    if spec.blank and value == "":
        return value
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise ApiError(400, f"Invalid integer: {value[:40]}", code="parameter_invalid_integer", param=name)
    number = int(value)
    if spec.least is not None and number < spec.least:
        raise ApiError(400, f"This value must be greater than or equal to {spec.least}.", code="parameter_invalid_integer", param=name)
    if spec.most is not None and number > spec.most:
        raise ApiError(400, f"This value must be less than or equal to {spec.most}.", code="parameter_invalid_integer", param=name)
    return number
