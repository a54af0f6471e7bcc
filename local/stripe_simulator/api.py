"""Stripe's operations: what each does, and which fields it can expand."""

from __future__ import annotations

import base64
import copy
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from urllib.parse import urlencode

from local.stripe_simulator import parameters as spec
from local.stripe_simulator.accounts import Account, Accounts
from local.stripe_simulator.deliveries import Event, Webhooks
from local.stripe_simulator.options import GA_VERSION, Options
from local.stripe_simulator.timeline import Scope, Timeline
from local.stripe_simulator.wire import ApiError, Json, page

EVENT_DAYS = 30

OBJECT_NAMES = {
    "customer": "customer",
    "setup_intent": "setupintent",
    "payment_intent": "payment_intent",
    "payment_method": "PaymentMethod",
    "checkout.session": "checkout.session",
    "financial_connections.session": "financial connections session",
    "financial_connections.account": "financial connections account",
    "event": "event",
}


@dataclass(frozen=True)
class Call:
    """One API call as an operation sees it. `path` holds the ids in the path, `params` the checked parameters.

    `version`: the API version whose shapes the answer has; `preview`: whether that is the preview version.
    """

    scope: Scope
    path: Mapping[str, str]
    params: Json
    request_id: str
    idempotency_key: str | None
    version: str = GA_VERSION
    preview: bool = False


Handler = Callable[["Api", Call], Json]


@dataclass(frozen=True)
class Operation:
    """`parameters` is None for an operation that only preview versions have; `preview` are its parameters there, if they differ."""

    method: str
    template: str
    parameters: spec.Hash | None
    handler: Handler
    expandable: frozenset[str] = frozenset()
    preview: spec.Hash | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    def exists(self, preview: bool) -> bool:
        return preview or self.parameters is not None

    def parameters_of(self, preview: bool) -> spec.Hash:
        found = (self.preview or self.parameters) if preview else self.parameters
        assert found is not None
        return found

    def match(self, method: str, parts: Sequence[str]) -> dict[str, str] | None:
        wanted = self.template.split("/")
        if method != self.method or len(wanted) != len(parts):
            return None
        ids = {}
        for want, part in zip(wanted, parts, strict=True):
            if want.startswith("{"):
                ids[want[1:-1]] = part
            elif want != part:
                return None
        return ids


OPERATIONS: list[Operation] = []

ACCOUNT = frozenset({"ownership", "account_holder.customer"})
INTENT = frozenset({"payment_method", "customer"})
CHECKOUT = frozenset(
    {"customer", *(f"{intent}{suffix}" for intent in ("setup_intent", "payment_intent") for suffix in ("", ".payment_method"))}
)


def _under(prefix: str, paths: frozenset[str]) -> frozenset[str]:
    return frozenset(f"{prefix}.{path}" for path in paths)


def operation(
    method: str,
    template: str,
    parameters: spec.Hash | None = spec.READ,
    expandable: frozenset[str] = frozenset(),
    *,
    preview: spec.Hash | None = None,
) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        OPERATIONS.append(Operation(method, template, parameters, handler, expandable, preview))
        return handler

    return register


class Api:
    """The operations' shared state. Objects other than accounts and events are kept in the form in which they are shown."""

    def __init__(self, timeline: Timeline, accounts: Accounts, webhooks: Webhooks, options: Options) -> None:
        self.options = options
        self.timeline = timeline
        self.accounts = accounts
        self.webhooks = webhooks
        self._objects: dict[tuple[Scope, str], dict[str, Json]] = {}
        self.customer_accounts: set[tuple[Scope, str]] = set()

    def clear(self) -> None:
        self._objects.clear()
        self.customer_accounts.clear()

    def of(self, scope: Scope, kind: str) -> dict[str, Json]:
        return self._objects.setdefault((scope, kind), {})

    def create(self, scope: Scope, kind: str, prefix: str, fields: Json, id: str | None = None) -> Json:
        new: Json = {
            "id": id or self.timeline.new_id(prefix),
            "object": kind,
            "created": int(self.timeline.now()),
            "livemode": scope.livemode,
        }
        self.of(scope, kind)[new["id"]] = new | fields
        return self.of(scope, kind)[new["id"]]

    def find(self, scope: Scope, kind: str, id: str, param: str) -> Json:
        return self.of(scope, kind).get(id) or self._missing(kind, id, param, id in self.of(_other_mode(scope), kind), scope)

    def account(self, scope: Scope, id: str) -> Account:
        found = self.accounts.within(scope).get(id)
        return found or self._missing("financial_connections.account", id, "account", id in self.accounts.within(_other_mode(scope)), scope)

    def _missing(self, kind: str, id: str, param: str, elsewhere: bool, scope: Scope) -> NoReturn:
        message = f"No such {OBJECT_NAMES.get(kind, kind)}: '{id[:80]}'"
        if elsewhere:
            there, here = ("test", "live") if scope.livemode else ("live", "test")
            message += f"; a similar object exists in {there} mode, but a {here} mode key was used to make this request."
        raise ApiError(404, message, code="resource_missing", param=param)

    def expand(self, scope: Scope, shown: Json, paths: Sequence[str]) -> Json:
        """A copy of `shown` with ids replaced by their objects. Paths were checked against the operation's expandable ones."""
        result = copy.deepcopy(shown)
        for path in sorted(set(paths)):
            self._expand(scope, result, path.split("."))
        return result

    def _expand(self, scope: Scope, node: Any, keys: list[str]) -> None:
        if isinstance(node, list):
            for item in node:
                self._expand(scope, item, keys)
        elif isinstance(node, dict) and node.get(keys[0]) is not None:
            if isinstance(node[keys[0]], str):
                node[keys[0]] = self._resolve(scope, node, keys[0])
            if len(keys) > 1:
                self._expand(scope, node[keys[0]], keys[1:])

    def _resolve(self, scope: Scope, node: Json, key: str) -> Json:
        if key == "ownership":
            return self.accounts.within(scope)[node["id"]].render_ownership(node[key])
        return copy.deepcopy(self.of(scope, key)[node[key]])


def _other_mode(scope: Scope) -> Scope:
    return scope._replace(livemode=not scope.livemode)


# --- Financial Connections accounts -----------------------------------------------------------------------------------

_ACCOUNTS = "/v1/financial_connections/accounts"


@operation("GET", _ACCOUNTS + "/{account}", expandable=ACCOUNT)
def retrieve_account(api: Api, call: Call) -> Json:
    return api.account(call.scope, call.path["account"]).as_read(api.timeline.now(), preview=call.preview)


@operation("GET", _ACCOUNTS, spec.LIST_ACCOUNTS, _under("data", ACCOUNT))
def list_accounts(api: Api, call: Call) -> Json:
    wanted: Json = call.params.get("account_holder", {})
    if len(wanted) > 1:
        raise ApiError(400, "You may only specify one of these parameters: account, customer, customer_account.", param="account_holder")
    session = call.params.get("session")
    now = api.timeline.now()
    found = [
        shown
        for account in reversed(api.accounts.held(call.scope, wanted))
        if (not session or account.listed_by(session)) and (shown := account.as_listed(now, preview=call.preview)) is not None
    ]
    return page(found, call.params, _ACCOUNTS)


@operation("POST", _ACCOUNTS + "/{account}/refresh", spec.REFRESH, ACCOUNT, preview=spec.REFRESH_PREVIEW)
def refresh_account(api: Api, call: Call) -> Json:
    account = api.account(call.scope, call.path["account"])
    features = [feature for feature in call.params["features"] if feature != spec.INFERRED]
    api.accounts.refresh(account, features, call.request_id, call.idempotency_key)
    return account.render(preview=call.preview)


@operation("POST", _ACCOUNTS + "/{account}/disconnect", expandable=ACCOUNT)
def disconnect_account(api: Api, call: Call) -> Json:
    account = api.account(call.scope, call.path["account"])
    api.accounts.disconnect(account, {"id": call.request_id, "idempotency_key": call.idempotency_key})
    return account.render(preview=call.preview)


@operation("POST", _ACCOUNTS + "/{account}/subscribe", spec.SUBSCRIBE, ACCOUNT, preview=spec.SUBSCRIBE_PREVIEW)
def subscribe_account(api: Api, call: Call) -> Json:
    account = api.account(call.scope, call.path["account"])
    account.subscriptions = ["transactions"]
    return account.render(preview=call.preview)


@operation("POST", _ACCOUNTS + "/{account}/unsubscribe", spec.SUBSCRIBE, ACCOUNT)
def unsubscribe_account(api: Api, call: Call) -> Json:
    account = api.account(call.scope, call.path["account"])
    account.subscriptions = []
    return account.render(preview=call.preview)


@operation("GET", _ACCOUNTS + "/{account}/owners", spec.LIST_OWNERS)
def list_owners(api: Api, call: Call) -> Json:
    account = api.account(call.scope, call.path["account"])
    wanted = call.params["ownership"]
    for snapshot in account.snapshots if account.readable else ():
        if snapshot.id == wanted:
            return account.owners_page(snapshot, call.params)
    raise ApiError(404, f"No such account ownership: '{wanted[:80]}'", code="resource_missing", param="ownership")


# --- Financial Connections sessions -----------------------------------------------------------------------------------


PREVIEW_OF_SESSION = ("relink_options", "relink_result", "status", "status_details")
"""The fields of a session that only preview versions show."""


def _lacks(param: str) -> ApiError:
    return ApiError(400, f"Missing required param: {param}.", code="parameter_missing", param=param)


def _check_customer(api: Api, call: Call, named: Json, within: str = "") -> None:
    """Check that `customer` and `customer_account` of `named` exist, at most one of them. `within`: the hash of parameters they are in."""

    def param(name: str) -> str:
        return f"{within}[{name}]" if within else name

    customer, account = named.get("customer"), named.get("customer_account")
    if customer is not None and account is not None:
        message = "You may only specify one of these parameters: customer, customer_account."
        raise ApiError(400, message, param=param("customer_account"))
    if customer is not None and api.of(call.scope, "customer").get(customer, {"deleted": True}).get("deleted"):
        raise ApiError(400, f"No such customer: '{customer[:80]}'", code="resource_missing", param=param("customer"))
    if account is not None and (call.scope, account) not in api.customer_accounts:
        raise ApiError(400, f"No such customer account: '{account[:80]}'", code="resource_missing", param=param("customer_account"))


@operation(
    "POST",
    "/v1/financial_connections/sessions",
    spec.CREATE_SESSION,
    _under("accounts.data", ACCOUNT),
    preview=spec.CREATE_SESSION_PREVIEW,
)
def create_session(api: Api, call: Call) -> Json:
    params = call.params
    holder = params.get("account_holder")
    if holder is not None:
        _check_holder(holder)
        _check_customer(api, call, holder, "account_holder")
    if "relink_options" in params:
        _check_relink_options(api, call, params["relink_options"])
    fields: Json = {
        "account_holder": holder,
        "permissions": params["permissions"],
        "prefetch": params.get("prefetch", []),
        "filters": {"account_subcategories": None, "country": None} | params.get("filters", {}),
        "status": "pending",
    }
    if isinstance(params.get("limits", {}).get("accounts"), int):
        fields["limits"] = params["limits"]
    fields |= {name: params[name] for name in ("manual_entry", "relink_options", "return_url") if name in params}
    session = api.create(call.scope, "financial_connections.session", "fcsess", fields)
    del session["created"]
    session["client_secret"] = api.timeline.new_id("fcsess_client_secret")
    return _show_session(api, call, session)


@operation("GET", "/v1/financial_connections/sessions/{session}", expandable=_under("accounts.data", ACCOUNT))
def retrieve_session(api: Api, call: Call) -> Json:
    return _show_session(api, call, api.find(call.scope, "financial_connections.session", call.path["session"], "session"))


def _check_holder(holder: Json) -> None:
    """Refuse a holder whose ids are not those of its type."""
    fitting = {"customer": ("customer", "customer_account"), "account": ("account",)}[holder["type"]]
    for param in (f"account_holder[{name}]" for name in holder if name not in ("type", *fitting)):
        raise ApiError(400, f"{param} is not available with account_holder[type] {holder['type']}.", param=param)
    if not any(name in holder for name in fitting):
        raise _lacks(f"account_holder[{fitting[0]}]")


def _show_session(api: Api, call: Call, session: Json) -> Json:
    collected = [account for account in api.accounts.within(call.scope).values() if account.collected_in(session["id"])]
    linked = [account.render(preview=call.preview) for account in collected]
    shown = {name: value for name, value in session.items() if call.preview or name not in PREVIEW_OF_SESSION}
    return shown | {"accounts": page(linked, {}, f"{_ACCOUNTS}?session={session['id']}")}


def _check_relink_options(api: Api, call: Call, options: Mapping[str, str]) -> None:
    """Raises ApiError 400 if a session can't relink this."""
    accounts = api.accounts.authorized(call.scope, options["authorization"])
    if not accounts:
        message = f"No such financial connections authorization: '{options['authorization'][:80]}'"
        raise ApiError(400, message, code="resource_missing", param="relink_options[authorization]")
    if all(account.status == "disconnected" for account in accounts):
        raise ApiError(400, "This authorization has been disconnected.", param="relink_options[authorization]")
    wanted = options.get("account")
    found = next((account for account in accounts if account.id == wanted), None)
    if wanted is not None and found is None:
        message = f"The account '{wanted[:80]}' does not belong to this authorization."
        raise ApiError(400, message, code="resource_missing", param="relink_options[account]")
    if found is not None and found.status == "disconnected":
        raise ApiError(400, "This account has been disconnected.", param="relink_options[account]")
    holder = call.params.get("account_holder")
    if holder is not None and holder != accounts[0].holder:
        raise ApiError(400, "The account holder is not that of the authorization.", param="account_holder")


# --- Authorizations ---------------------------------------------------------------------------------------------------
# An authorization is an end user's consent at one institution, which the accounts of one session share.


@operation("GET", "/v1/financial_connections/authorizations/{authorization}", None, preview=spec.READ)
def retrieve_authorization(api: Api, call: Call) -> Json:
    id_ = call.path["authorization"]
    accounts = api.accounts.authorized(call.scope, id_)
    if not accounts:
        message = f"No such financial connections authorization: '{id_[:80]}'"
        raise ApiError(404, message, code="resource_missing", param="authorization")
    return api.accounts.render_authorization(accounts, preview=True)


# --- Customers, payment methods, intents, Checkout --------------------------------------------------------------------


@operation("POST", "/v1/customers", spec.CREATE_CUSTOMER)
def create_customer(api: Api, call: Call) -> Json:
    return new_customer(api, call.scope, call.params)


def _nulls(names: str) -> Json:
    return dict.fromkeys(names.split())


def new_customer(api: Api, scope: Scope, params: Mapping[str, Any], id: str | None = None) -> Json:
    blank = _nulls("address currency default_source description email name phone shipping test_clock")
    known = {name: value for name, value in params.items() if name in (*blank, "metadata", "preferred_locales")}
    extra: Json = {"delinquent": False, "metadata": {}, "preferred_locales": []}
    return api.create(scope, "customer", "cus", blank | extra | known, id)


@operation("GET", "/v1/customers/{customer}")
def retrieve_customer(api: Api, call: Call) -> Json:
    return api.find(call.scope, "customer", call.path["customer"], "id")


@operation("GET", "/v1/payment_methods/{payment_method}", expandable=frozenset({"customer"}))
def retrieve_payment_method(api: Api, call: Call) -> Json:
    return api.find(call.scope, "payment_method", call.path["payment_method"], "payment_method")


def new_payment_method(api: Api, scope: Scope, holder: Json | None, account: Account | None, id: str | None = None) -> Json:
    """A bank account to pay from, of an account's holder. `account` is None if the end user typed the numbers in."""
    shown = account.render() if account else {}
    fields: Json = {
        "allow_redisplay": "unspecified",
        "billing_details": {"address": _nulls("city country line1 line2 postal_code state"), **_nulls("email name phone")},
        "customer": (holder or {}).get("customer"),
        "customer_account": (holder or {}).get("customer_account"),
        "metadata": {},
        "type": "us_bank_account",
        "us_bank_account": {
            "account_holder_type": "individual",
            "account_type": "savings" if shown.get("subcategory") == "savings" else "checking",
            "bank_name": shown.get("institution_name", "Example Test Bank"),
            "financial_connections_account": account.id if account else None,
            "fingerprint": api.timeline.random.randbytes(8).hex(),
            "last4": shown.get("last4", "6789"),
            "networks": {"preferred": "ach", "supported": ["ach"]},
            "routing_number": "110000000",
            "status_details": {},
        },
    }
    return api.create(scope, "payment_method", "pm", fields, id)


USUAL_METHODS = ("card", "link", "us_bank_account")
"""The payment methods that are switched on in the account's settings."""

_BANK_PERMISSIONS = "payment_method_options[us_bank_account][financial_connections][permissions]"


def _methods(api: Api, params: Json, currency: str | None) -> list[str]:
    """The payment methods of an intent or a Checkout Session: those switched on, without the unavailable ones, as the parameters filter.

    Raises ApiError 400 for parameters that exclude each other, and for permissions that no payment can be made with.
    """
    allowed = params.get("allowed_payment_method_types")
    rivals = ("excluded_payment_method_types", "automatic_payment_methods", "payment_method_configuration")
    for rival in rivals if allowed is not None else ():
        if rival in params:
            message = f"You may only specify one of these parameters: allowed_payment_method_types, {rival}."
            raise ApiError(400, message, param="allowed_payment_method_types")
    permissions = bank_options(params).get("permissions")
    if permissions is not None and "payment_method" not in permissions:
        raise ApiError(400, "The permissions must include payment_method.", param=_BANK_PERMISSIONS)
    absent = {*api.options.unavailable_payment_methods, *params.get("excluded_payment_method_types", ())}
    if (currency or "usd").lower() != "usd":
        absent.add("us_bank_account")
    return [method for method in USUAL_METHODS if method not in absent and (allowed is None or method in allowed)]


def _intent(api: Api, call: Call, kind: str, prefix: str, more: Json) -> Json:
    params = call.params
    _check_customer(api, call, params)
    fields: Json = {
        **_nulls("application automatic_payment_methods cancellation_reason next_action on_behalf_of payment_method"),
        "customer": params.get("customer"),
        "customer_account": params.get("customer_account"),
        "description": params.get("description"),
        "metadata": params.get("metadata", {}),
        "payment_method_options": params.get("payment_method_options", {}),
        "payment_method_types": _methods(api, params, params.get("currency")),
        "status": "requires_payment_method",
    }
    intent = api.create(call.scope, kind, prefix, fields | more)
    intent["client_secret"] = api.timeline.new_id(f"{intent['id']}_secret")
    return intent


@operation("POST", "/v1/setup_intents", spec.CREATE_SETUP_INTENT, INTENT)
def create_setup_intent(api: Api, call: Call) -> Json:
    more = _nulls("flow_directions last_setup_error latest_attempt mandate") | {"usage": call.params.get("usage", "off_session")}
    return _intent(api, call, "setup_intent", "seti", more)


@operation("GET", "/v1/setup_intents/{intent}", spec.READ_INTENT, INTENT)
def retrieve_setup_intent(api: Api, call: Call) -> Json:
    return api.find(call.scope, "setup_intent", call.path["intent"], "intent")


@operation("POST", "/v1/payment_intents", spec.CREATE_PAYMENT_INTENT, INTENT)
def create_payment_intent(api: Api, call: Call) -> Json:
    amount = call.params["amount"]
    more: Json = {
        **_nulls("canceled_at last_payment_error latest_charge receipt_email shipping"),
        **_nulls("statement_descriptor statement_descriptor_suffix transfer_data transfer_group"),
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "capture_method": call.params.get("capture_method", "automatic"),
        "confirmation_method": "automatic",
        "currency": call.params["currency"].lower(),
        "setup_future_usage": call.params.get("setup_future_usage"),
    }
    return _intent(api, call, "payment_intent", "pi", more)


@operation("GET", "/v1/payment_intents/{intent}", spec.READ_INTENT, INTENT)
def retrieve_payment_intent(api: Api, call: Call) -> Json:
    return api.find(call.scope, "payment_intent", call.path["intent"], "intent")


@operation("POST", "/v1/checkout/sessions", spec.CREATE_CHECKOUT, CHECKOUT)
def create_checkout_session(api: Api, call: Call) -> Json:
    params = call.params
    mode, ui_mode = params.get("mode"), params.get("ui_mode", "hosted_page")
    if mode is None:
        raise _lacks("mode")
    if mode == "setup" and "currency" not in params and "allowed_payment_method_types" not in params:
        raise _lacks("currency")
    if mode != "setup" and not params.get("line_items"):
        raise _lacks("line_items")
    if ui_mode in ("embedded_page", "elements") and "success_url" in params:
        raise ApiError(400, f"success_url is not allowed with ui_mode {ui_mode}.", param="success_url")
    _check_customer(api, call, params)
    now = int(api.timeline.now())
    given = "customer_email client_reference_id success_url cancel_url customer customer_account allowed_payment_method_types"
    items: list[Json] = params.get("line_items", [])
    total = _total(items)
    currency = params.get("currency") or next((item["price_data"].get("currency") for item in items if "price_data" in item), None)
    fields: Json = {name: params.get(name) for name in given.split()} | {
        # Checkout's answer lacks it if it was not given.
        **{name: params[name] for name in ("return_url",) if name in params},
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, **_nulls("liability provider status")},
        "currency": currency,
        "custom_fields": [],
        "custom_text": _nulls("after_submit shipping_address submit terms_of_service_acceptance"),
        "expires_at": now + 86400,
        "metadata": params.get("metadata", {}),
        "mode": mode,
        "payment_intent": None,
        "payment_method_options": params.get("payment_method_options", {}),
        "payment_method_types": _methods(api, params, currency),
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "setup_intent": None,
        "shipping_options": [],
        "status": "open",
        "ui_mode": ui_mode,
    }
    session = api.create(call.scope, "checkout.session", f"cs_{'live' if call.scope.livemode else 'test'}", fields)
    hosted = ui_mode == "hosted_page"
    session["url"] = f"https://checkout.stripe.com/c/pay/{session['id']}" if hosted else None
    session["client_secret"] = None if hosted else api.timeline.new_id(f"{session['id']}_secret")
    if mode == "setup":
        # In payment mode Stripe makes the PaymentIntent when the session is confirmed.
        session["setup_intent"] = create_setup_intent(api, _with(call, _checkout_intent(params)))["id"]
    return session


def _total(line_items: list[Json]) -> int | None:
    """The sum of the items that give their own prices."""
    amounts = [int(item["price_data"]["unit_amount"]) * int(item.get("quantity", 1)) for item in line_items if "price_data" in item]
    return sum(amounts) if amounts else None


def _checkout_intent(params: Json) -> Json:
    names = ("customer", "customer_account", "allowed_payment_method_types", "payment_method_options")
    return {name: params[name] for name in names if params.get(name) is not None}


def _with(call: Call, params: Json) -> Call:
    return replace(call, path={}, params=params)


@operation("GET", "/v1/checkout/sessions/{session}", expandable=CHECKOUT)
def retrieve_checkout_session(api: Api, call: Call) -> Json:
    return api.find(call.scope, "checkout.session", call.path["session"], "session")


# --- Events -----------------------------------------------------------------------------------------------------------


@operation("GET", "/v1/events", spec.LIST_EVENTS)
def list_events(api: Api, call: Call) -> Json:
    params = call.params
    if "type" in params and "types" in params:
        raise ApiError(400, "You may only specify one of these parameters: type, types.", param="type")
    types = set(params.get("types", [params["type"]] if "type" in params else []))
    oldest = api.timeline.now() - EVENT_DAYS * 86400
    events = {id_: event for id_, event in api.webhooks.events.get(call.scope, {}).items() if event.created >= oldest}
    for name in ("starting_after", "ending_before"):
        if name in params and params[name] not in events:
            raise ApiError(400, f"No such event: '{params[name][:80]}'", code="resource_missing", param=name)

    def listed(event: Event) -> bool:
        return (
            (not types or any(_type_matches(event.type, wanted) for wanted in types))
            and params.get("delivery_success", event.delivered) == event.delivered
            and _within(int(event.created), params.get("created", {}))
        )

    # A cursor's event gives a position even if the filters exclude that event.
    cursors = (params.get("starting_after"), params.get("ending_before"))
    found = [{"id": event.id} for event in reversed(events.values()) if listed(event) or event.id in cursors]
    shown = page(found, params, "/v1/events")
    return shown | {"data": [events[item["id"]].render() for item in shown["data"]]}


def _type_matches(type: str, wanted: str) -> bool:
    return type.startswith(wanted[:-1]) if wanted.endswith("*") else type == wanted


def _within(created: float, bounds: Mapping[str, float] | int) -> bool:
    if isinstance(bounds, int):
        return created == bounds
    tests: Mapping[str, Callable[[float, float], bool]] = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
    return all(tests[name](created, bound) for name, bound in bounds.items())


@operation("GET", "/v1/events/{id}")
def retrieve_event(api: Api, call: Call) -> Json:
    event = api.webhooks.events.get(call.scope, {}).get(call.path["id"])
    if event is None or event.created < api.timeline.now() - EVENT_DAYS * 86400:
        raise ApiError(404, f"No such event: '{call.path['id'][:80]}'", code="resource_missing", param="id")
    return event.render()


@operation("GET", "/v2/core/events/{id}", spec.Hash({}))
def retrieve_thin_event(api: Api, call: Call) -> Json:
    event = api.webhooks.thin_events.get(call.scope, {}).get(call.path["id"])
    if event is None:
        raise ApiError(404, "Event not found.", code="not_found")
    return event.render() | event.fetched


@operation("GET", "/v2/core/events", spec.LIST_THIN_EVENTS)
def list_thin_events(api: Api, call: Call) -> Json:
    """Thin events, the newest first. Whether they were delivered is not asked. A page's token holds all of the request."""
    params = _of_page(call.params["page"]) | {"page": call.params["page"]} if "page" in call.params else call.params
    bounds = {name: api.webhooks.seconds(text, f"created[{name}]") for name, text in params.get("created", {}).items()}
    oldest, types = api.timeline.now() - EVENT_DAYS * 86400, set(params.get("types", ()))
    listed = [
        event
        for event in reversed(api.webhooks.thin_events.get(call.scope, {}).values())
        if event.created >= oldest
        and (not types or event.type in types)
        and params.get("object_id", event.account) == event.account
        and _within(event.created, bounds)
    ]
    begin = params.get("begin")
    if begin is not None:
        places = [place for place, event in enumerate(listed) if event.id == begin]
        if not places:
            raise ApiError(400, "The page token is invalid.", code="invalid_page_token", param="page")
        listed = listed[places[0] :]
    size = int(params.get("limit", 20))
    following = listed[size].id if len(listed) > size else None
    shown = [event.render() | event.fetched for event in listed[:size]]
    return {"data": shown, "next_page_url": _page_url(params, following) if following else None, "previous_page_url": None}


def _page_url(params: Json, begin: str) -> str:
    token = base64.urlsafe_b64encode(json.dumps({**params, "page": None, "begin": begin}).encode()).decode()
    return f"/v2/core/events?{urlencode({'limit': params.get('limit', 20), 'page': token})}"


def _of_page(token: str) -> Json:
    try:
        found = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ApiError(400, "The page token is invalid.", code="invalid_page_token", param="page")
    return found


# --- The key's own account --------------------------------------------------------------------------------------------


@operation("GET", "/v1/account")
def retrieve_own_account(api: Api, call: Call) -> Json:
    """The account that the call is about: the key's own, or the connected one that the call names."""
    return {
        "id": call.scope.stripe_account or api.webhooks.own_account,
        "object": "account",
        "capabilities": {},
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


# --- What an end user's linking changes -------------------------------------------------------------------------------

PAYING = ("checking", "savings")


def check_linked(session: Json, linked: Sequence[Json]) -> None:
    """Raises ValueError if the dialogue of a Financial Connections Session does not let the end user link these accounts."""
    filters, limit = session["filters"], session.get("limits", {}).get("accounts")
    wanted, support = filters.get("account_subcategories"), filters.get("require_payment_method_support", "none")
    paying = [bool(account["supported_payment_method_types"]) for account in linked]
    refused = (
        (limit is not None and len(linked) > limit)
        or any(wanted and account["subcategory"] not in wanted for account in linked)
        or (support == "all" and not all(paying))
        or (support == "at_least_one" and linked and not any(paying))
    )
    if refused:
        raise ValueError(f"{session['id']} does not let these accounts be linked")


def check_manual_entry(shown: Json, is_session: bool) -> None:
    """Raises ValueError if a session, intent or Checkout Session does not let the end user type numbers in."""
    options = shown.get("payment_method_options", {}).get("us_bank_account", {})
    if (shown.get("manual_entry", {}).get("mode") != "automatic") if is_session else options.get("verification_method") == "instant":
        raise ValueError(f"{shown['id']} does not let numbers be typed in by hand")


def gives_token(session: Json) -> bool:
    """Whether a Financial Connections Session ends with a token for the external account of a connected account."""
    one_that_pays = (session["filters"].get("require_payment_method_support"), session.get("limits", {}).get("accounts")) == ("all", 1)
    return one_that_pays and (session["account_holder"] or {}).get("type") == "account" and "payment_method" in session["permissions"]


def bank_options(intent: Json) -> Json:
    """The linking options of a SetupIntent, PaymentIntent or Checkout Session."""
    options: Json = intent.get("payment_method_options", {}).get("us_bank_account", {}).get("financial_connections", {})
    return options


def confirm(api: Api, scope: Scope, shown: Json, method: Json) -> None:
    """Confirm the intent or Checkout Session with the payment method that the end user has given."""
    kind = shown["object"]
    if kind == "checkout.session":
        call = Call(
            scope,
            {},
            _checkout_intent(shown) | {"amount": shown["amount_total"] or 100, "currency": shown.get("currency") or "usd"},
            "",
            None,
        )
        if shown["mode"] == "payment" and shown["payment_intent"] is None:
            shown["payment_intent"] = create_payment_intent(api, call)["id"]
        inner = "setup_intent" if shown["mode"] == "setup" else "payment_intent"
        confirm(api, scope, api.of(scope, inner)[shown[inner]], method)
        shown["status"] = "complete"
    else:
        shown["payment_method"] = method["id"]
        shown["status"] = "succeeded" if kind == "setup_intent" else "processing"
