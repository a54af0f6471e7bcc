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


@dataclass(frozen=True)
class Removed:
    """A parameter of earlier versions, which is refused with a code of its own."""

    code: str
    message: str


Spec = Text | Number | Flag | Many | Hash | Either | Anything | Removed

FEATURES = ("balance", "ownership", "transactions")
PERMISSIONS = ("balances", "ownership", "payment_method", "transactions")
PREFETCH = ("balances", "ownership", "transactions")
SUBCATEGORIES = ("checking", "credit_card", "line_of_credit", "mortgage", "savings")
INFERRED = "inferred_balances"
"""A feature that only preview versions know. It has no effect here."""

EXPAND: Mapping[str, Spec] = {"expand": Many(Text())}
PAGING: Mapping[str, Spec] = {**EXPAND, "limit": Number(1, 100), "starting_after": Text(), "ending_before": Text()}
HOLDER: Mapping[str, Spec] = {"account": Text(), "customer": Text(), "customer_account": Text()}


def _accept(names: str) -> dict[str, Spec]:
    return {name: Anything() for name in names.split()}


def _features(*choices: str) -> Hash:
    return Hash({**EXPAND, "features": Many(Text(choices))}, ("features",))


READ = Hash(EXPAND)
LIST_ACCOUNTS = Hash({**PAGING, "account_holder": Hash(HOLDER), "session": Text()})
LIST_OWNERS = Hash({**PAGING, "ownership": Text()}, ("ownership",))
REFRESH = _features(*FEATURES)
REFRESH_PREVIEW = _features(*FEATURES, INFERRED)
SUBSCRIBE = _features("transactions")
SUBSCRIBE_PREVIEW = _features("balance", INFERRED, "transactions")
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
_ACCOUNT_HOLDER = Hash({**HOLDER, "type": Text(("account", "customer"))}, ("type",))
_LIMITS = Hash({"accounts": Number(1, blank=True)}, ("accounts",))
_FILTERS: Mapping[str, Spec] = {
    "account_subcategories": Many(Text(SUBCATEGORIES)),
    "country": Text(),
    "require_payment_method_support": Text(("all", "at_least_one", "none")),
}
CREATE_SESSION = Hash(
    {
        **EXPAND,
        "account_holder": _ACCOUNT_HOLDER,
        "permissions": Many(Text(PERMISSIONS)),
        "prefetch": Many(Text(PREFETCH)),
        "filters": Hash(_FILTERS),
        "limits": _LIMITS,
        "manual_entry": Hash({"mode": Text(("automatic", "disabled"))}),
        "return_url": Text(),
    },
    ("account_holder", "permissions"),
)
CREATE_SESSION_PREVIEW = Hash(
    {
        **CREATE_SESSION.fields,
        "prefetch": Many(Text((*PREFETCH, INFERRED))),
        "filters": Hash({**_FILTERS, "institution": Text()}),
        "manual_entry": Hash({"mode": Text(("automatic", "custom", "disabled"))}),
        "relink_options": Hash({"account": Text(), "authorization": Text()}, ("authorization",)),
        "ui_mode": Text(("hosted", "modal")),
        "hosted": Hash({"delivery_method": Text(("email", "url"))}),
    },
    ("permissions",),
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

_METHODS = (
    "acss_debit affirm afterpay_clearpay alipay alma amazon_pay au_becs_debit bacs_debit bancontact billie blik boleto card cashapp crypto"
    " customer_balance eps fpx giropay grabpay ideal kakao_pay klarna konbini kr_card link mobilepay multibanco naver_pay oxxo p24"
    " pay_by_bank payco paynow paypal payto pix revolut_pay samsung_pay satispay scalapay sepa_debit sequra sofort sunbit swish twint upi"
    " us_bank_account wechat_pay"
)
"""The payment methods that every operation knows."""
_EXCLUDABLE = f"{_METHODS} bizum mb_way nz_bank_account paypay promptpay zip"
_ALLOWABLE_INTENT = (
    f"{_EXCLUDABLE} boku_promptpay capchase_pay card_present check_scan click_to_pay demo_pay duitnow dummy_auth_push"
    " dummy_passthrough_card edenred gcash getbalance gift_card gopay id_bank_transfer interac_present knet kr_market kriya momo mondu"
    " netbanking ng_bank ng_bank_transfer ng_card ng_market ng_ussd ng_wallet octopus paper_check qris rechnung shop_pay shopeepay"
    " south_korea_market stripe_balance tamara test_pay touch_n_go truemoney us_cash_voucher vipps wero"
)


def _methods(names: str, *, but: str = "") -> Many:
    return Many(Text(tuple(name for name in names.split() if name != but)))


_NO_TYPES: Mapping[str, Spec] = {
    "payment_method_types": Removed(
        "payment_method_types_no_longer_supported",
        "The parameter payment_method_types is no longer supported. Restrict dynamic payment methods by allowed_payment_method_types.",
    )
}
_CHECKOUT_LINKING: Mapping[str, Spec] = {"permissions": Many(Text(PERMISSIONS)), "prefetch": Many(Text(PREFETCH))}
_INTENT_LINKING: Mapping[str, Spec] = {
    **_CHECKOUT_LINKING,
    "return_url": Text(),
    "filters": Hash({"account_subcategories": Many(Text(("checking", "savings")))}),
}


def _method_options(others: str, linking: Mapping[str, Spec], verification: tuple[str, ...], more: str) -> Hash:
    """`others`: the other methods that take options. `verification`: how a bank account may be verified. `more`: its further options."""
    bank = Hash({"financial_connections": Hash(linking), "verification_method": Text(verification), **_accept(more)})
    return Hash({**_accept(others), "us_bank_account": bank})


_INTENT: Mapping[str, Spec] = {
    **EXPAND,
    **_NO_TYPES,
    **_accept(
        "confirm confirmation_token customer_account description mandate_data metadata on_behalf_of payment_method"
        " payment_method_configuration payment_method_data return_url use_stripe_sdk"
    ),
    "allowed_payment_method_types": _methods(_ALLOWABLE_INTENT),
    "excluded_payment_method_types": _methods(_EXCLUDABLE, but="link"),
    "automatic_payment_methods": Hash({"allow_redirects": Text(("always", "never")), "enabled": Flag()}, ("enabled",)),
    "customer": Text(),
}
_INTENT_VERIFICATION = ("automatic", "instant", "microdeposits")
CREATE_SETUP_INTENT = Hash(
    {
        **_INTENT,
        **_accept("attach_to_self flow_directions single_use"),
        "payment_method_options": _method_options(
            "acss_debit amazon_pay bacs_debit bizum blik card card_present klarna link paypal payto pix sepa_debit upi",
            _INTENT_LINKING,
            _INTENT_VERIFICATION,
            "mandate_options networks",
        ),
        "usage": Text(("off_session", "on_session")),
    }
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
        "payment_method_options": _method_options(
            f"{_EXCLUDABLE} card_present interac_present",
            _INTENT_LINKING,
            _INTENT_VERIFICATION,
            "mandate_options networks setup_future_usage target_date transaction_purpose",
        ),
    },
    ("amount", "currency"),
)
READ_INTENT = Hash({**EXPAND, "client_secret": Text()})
CREATE_CHECKOUT = Hash(
    {
        **EXPAND,
        **_NO_TYPES,
        **_accept(
            "adaptive_pricing after_expiration allow_promotion_codes automatic_tax"
            " billing_address_collection branding_settings client_reference_id consent_collection custom_fields custom_text"
            " customer_account customer_creation customer_email customer_update discounts"
            " expires_at integration_identifier invoice_creation line_items locale managed_payments metadata name_collection"
            " optional_items origin_context payment_intent_data payment_method_collection payment_method_configuration"
            " payment_method_data permissions phone_number_collection redirect_on_completion saved_payment_method_options"
            " setup_intent_data shipping_address_collection shipping_options submit_type subscription_data tax_id_collection"
            " wallet_options"
        ),
        "allowed_payment_method_types": _methods(_EXCLUDABLE),
        "excluded_payment_method_types": _methods(_EXCLUDABLE, but="link"),
        "cancel_url": Text(),
        "success_url": Text(),
        "return_url": Text(),
        "currency": Text(),
        "customer": Text(),
        "mode": Text(("payment", "setup", "subscription")),
        "payment_method_options": _method_options(
            f"{_METHODS} demo_pay", _CHECKOUT_LINKING, ("automatic", "instant"), "setup_future_usage target_date"
        ),
        "ui_mode": Text(("elements", "embedded_page", "form", "hosted_page")),
    }
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
    if isinstance(spec, Removed):
        raise ApiError(400, spec.message, code=spec.code, param=name)
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
        if value[key] == "" and not getattr(spec.fields[key], "blank", False):
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
