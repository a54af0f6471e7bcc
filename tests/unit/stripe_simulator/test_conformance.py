"""The simulator against Stripe's OpenAPI documents: its answers in every scenario, and what it takes; and the judge itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from local.stripe_simulator import parameters as spec
from local.stripe_simulator.api import OPERATIONS, Operation
from local.stripe_simulator.options import GA_VERSION, PREVIEW_VERSION
from local.stripe_simulator.scenarios import SCENARIOS
from tests.support.functions import ROOT
from tests.support.stripe_openapi import FORM, Judge, StripeOpenAPI, required

ACCOUNT = "/v1/financial_connections/accounts/fca_a"

NOT_SIMULATED = {
    "GET /v1/financial_connections/transactions",
    "GET /v1/financial_connections/transactions/{transaction}",
    "GET /v2/core/event_destinations",
    "POST /v2/core/event_destinations",
    # Preview.
    "GET /v1/financial_connections/accounts/{account}/inferred_balances",
    "GET /v1/financial_connections/consents/{consent}",
    "GET /v1/financial_connections/institutions",
    "GET /v1/financial_connections/institutions/{institution}",
    "POST /v1/financial_connections/consents",
    "POST /v1/financial_connections/ownership_match",
}
"""What Stripe's documents describe and the product does not use."""

TAKEN_OTHERWISE = {"GET /v2/core/events": [f"[created][{name}]: not of type string" for name in ("gt", "gte", "lt", "lte")]}
"""Where Stripe's document (Unix seconds) and its SDKs (texts) contradict each other. The simulator's options choose."""

LEFT_OUT = {
    "account", "application", "bank_account", "card", "cash_balance", "charge", "coupon", "customer", "deleted_bank_account",
    "deleted_card", "deleted_tax_id", "discount", "invoice", "item", "mandate", "payment_intent",
    "payment_intent_amount_details_line_item", "payment_link", "payment_method", "payment_record", "promotion_code", "review",
    "setup_attempt", "setup_intent", "setup_intent_type_specific_payment_method_options_client", "shipping_rate", "source",
    "subscription", "tax_id", "tax_rate", "test_helpers.test_clock", "token",
}  # fmt: skip
"""The resources that a document names and does not describe (`x-pruned-ref`). An answer has only their ids."""


@pytest.fixture
def judge() -> Judge:
    return required()


@pytest.fixture
def documents(judge: Judge) -> dict[str, StripeOpenAPI]:
    """Stripe's own, by their version."""
    assert judge.preview is not None, "the document of the preview version is beside the other"
    return {document.version: document for document in (judge.stable, judge.preview)}


def attempt(call: Any) -> Any:
    try:
        return call()
    except stripe.StripeError as error:
        return error


# -- what the simulator answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [GA_VERSION, PREVIEW_VERSION])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_exchanges_about_an_account_fit(judge: Judge, driver: Any, scenario: str, version: str) -> None:
    options = {"stripe_version": version}
    driver.sim.link(scenario, id="fca_a", customer="cus_1")
    for _ in range(2):
        for expand in ([], ["ownership"], ["account_holder.customer"] if version == GA_VERSION else []):
            account = attempt(lambda expand=expand: driver.accounts.retrieve("fca_a", {"expand": expand}, options))
            attempt(lambda expand=expand: driver.accounts.list({"expand": [f"data.{path}" for path in expand], "limit": 3}, options))
        if isinstance(account.ownership, str):
            attempt(lambda account=account: driver.accounts.owners.list("fca_a", {"ownership": account.ownership, "limit": 5}))
        for features in (["ownership"], ["balance", "transactions"]):
            attempt(lambda features=features: driver.accounts.refresh("fca_a", {"features": features, "expand": ["ownership"]}, options))
        driver.wait(70)
    attempt(lambda: driver.accounts.subscribe("fca_a", {"features": ["transactions"]}, options))
    driver.sim.change("fca_a", expected_deactivation_date=1_900_000_000, action="update_account_numbers")
    attempt(lambda: driver.accounts.retrieve("fca_a", {}, options))
    attempt(lambda: driver.accounts.unsubscribe("fca_a", {"features": ["transactions"]}))
    attempt(lambda: driver.accounts.disconnect("fca_a"))
    for event in driver.stripe.v1.events.list({"limit": 100, "delivery_success": True}).data:
        judge.validate_event(driver.stripe.v1.events.retrieve(event.id).to_dict())
    assert len(driver.http.exchanges) > 15, "each was judged when it was made"


@pytest.mark.parametrize("payload", ["snapshot", "thin"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_event_that_is_delivered_fits(judge: Judge, driver: Any, scenario: str, payload: str) -> None:
    driver.sim.add_endpoint("https://hooks.example.com", "whsec_test", payload=payload)
    driver.sim.link(scenario, id="fca_a", customer="cus_1", policy={"webhooks": "normal"})
    attempt(lambda: driver.refresh("fca_a"))
    driver.wait(70)
    for action in ("deactivate", "reactivate", "update_account_numbers", "disconnect"):
        driver.sim.change("fca_a", action=action)
    delivered = driver.deliver()
    assert delivered
    for delivery in delivered:
        judge.validate_event(json.loads(delivery.body))


LINKING = ["setup_intents", "payment_intents", "checkout_setup", "checkout_payment", "customers", "sessions", "payouts", "v2_setup"]


@pytest.mark.parametrize("kind", LINKING)
@pytest.mark.parametrize("stage", ["new", "completed", "typed in by hand"])
def test_all_exchanges_about_linking_fit(judge: Judge, driver: Any, kind: str, stage: str) -> None:
    v1 = driver.stripe.v1
    customer = v1.customers.create({"email": "someone@example.com", "name": "Some One", "address": {"line1": "1 EXAMPLE ST"}})
    v1.customers.retrieve(customer.id)
    if kind == "customers":
        driver.sim.delete_customer(customer.id)
        v1.customers.retrieve(customer.id)
        return
    linking = {"permissions": ["ownership", "payment_method"], "prefetch": ["ownership"]}
    by_hand = stage == "typed in by hand"
    bank = {"financial_connections": linking, "verification_method": "automatic" if by_hand else "instant"}
    paid_with: Any = {"allowed_payment_method_types": ["us_bank_account"], "payment_method_options": {"us_bank_account": bank}}
    payment: Any = {"customer": customer.id, **paid_with}
    driver.sim.add_customer_account("acct_v2")
    way: Any = {
        **linking,
        "limits": {"accounts": 1},
        "manual_entry": {"mode": "automatic" if by_hand else "disabled"},
        "return_url": "https://example.com",
    }
    support = {"account_subcategories": ["checking", "savings"], "require_payment_method_support": "all"}
    price = {"price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Rent"}}, "quantity": 1}
    service, params, expand = {
        "setup_intents": (v1.setup_intents, payment, ["payment_method", "customer"]),
        "payment_intents": (v1.payment_intents, {**payment, "amount": 2500, "currency": "usd"}, ["payment_method", "customer"]),
        "checkout_setup": (
            v1.checkout.sessions,
            {**payment, "mode": "setup", "success_url": "https://example.com"},
            ["setup_intent.payment_method", "customer"],
        ),
        "checkout_payment": (
            v1.checkout.sessions,
            {**payment, "mode": "payment", "line_items": [price], "ui_mode": "embedded_page", "return_url": "https://example.com"},
            ["payment_intent.payment_method"],
        ),
        "sessions": (
            v1.financial_connections.sessions,
            {"account_holder": {"type": "customer", "customer": customer.id}, **way},
            ["accounts.data.ownership"],
        ),
        "payouts": (
            v1.financial_connections.sessions,
            {"account_holder": {"type": "account", "account": "acct_1"}, "filters": support, **way},
            ["accounts.data.ownership"],
        ),
        "v2_setup": (v1.setup_intents, {"customer_account": "acct_v2", **paid_with}, ["payment_method"]),
    }[kind]
    made = service.create(params)
    done = {"payment_method": None}
    if stage != "new":
        done = driver.sim.complete(made.id, accounts=[{"scenario": "fresh"}], manual=by_hand)
    service.retrieve(made.id)
    service.retrieve(made.id, {"expand": expand})
    if done["payment_method"]:
        v1.payment_methods.retrieve(done["payment_method"], {"expand": ["customer"]})
    assert {status for *_, status, _ in driver.http.exchanges} == {200}


@pytest.mark.parametrize("sample", sorted(path.name for path in (ROOT / "events").glob("receive_webhook.*.json")))
def test_sample_of_an_event_fits(judge: Judge, sample: str) -> None:
    delivery = json.loads((ROOT / "events" / sample).read_text())
    body = base64.b64decode(delivery["body"]) if delivery["isBase64Encoded"] else delivery["body"]
    judge.validate_event(json.loads(body))


@pytest.mark.parametrize("version", [GA_VERSION, PREVIEW_VERSION])
@pytest.mark.parametrize(
    ("status", "faults"),
    [(401, None), (403, None), (404, None), (409, "conflict"), (429, "rate_limit"), (500, "server_error")],
)
def test_every_error_fits(judge: Judge, make_driver: Any, status: int, faults: str | None, version: str) -> None:
    driver = make_driver(denied={"rk_test_x": frozenset({"GET /v1/financial_connections/accounts/{account}"})})
    if faults:
        driver.sim.fail_api(faults)
    key = {401: "nonsense", 403: "rk_test_x"}.get(status, "sk_test_x")
    answer = driver.sim.handle("GET", ACCOUNT, {"Authorization": f"Bearer {key}", "Stripe-Version": version})
    assert answer.status == status
    assert judge.validate_response("GET", ACCOUNT, status, answer.body, version)


# -- what the simulator takes ------------------------------------------------------------------------------------------------------------


def described(operation: Any) -> Any:
    """The parameters of an operation in a document, as the schema of one hash."""
    query = [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    form = operation.get("requestBody", {}).get("content", {}).get(FORM, {}).get("schema", {})
    return {
        "type": "object",
        "properties": {**form.get("properties", {}), **{parameter["name"]: parameter["schema"] for parameter in query}},
        "required": [*form.get("required", []), *(parameter["name"] for parameter in query if parameter.get("required"))],
    }


def differences(taken: spec.Spec, schema: Any, name: str = "") -> Iterator[str]:
    """What the simulator takes otherwise than the document says, parameter by parameter."""
    variants = schema.get("anyOf", [schema])
    kinds = {variant["type"]: variant for variant in variants if variant.get("enum") != [""]}
    kind = next(kind for kind in ("object", "array", "integer", "boolean", "string", "any") if kind == _KIND[type(taken)] or kind == "any")
    if kind == "any":
        return
    if isinstance(taken, spec.Either):
        yield from differences(taken.hash, schema, name)
        yield from differences(taken.simple, schema, name)
        return
    found = kinds.get(kind)
    if found is None:
        yield f"{name}: not of type {kind}"
    elif isinstance(taken, spec.Many):
        yield from differences(taken.item, found["items"], f"{name}[]")
    elif isinstance(taken, spec.Text):
        listed = {value for value in found.get("enum", ()) if value}
        yield from (f"{name}: {value}" for value in sorted(listed ^ set(taken.choices)))
    elif isinstance(taken, spec.Hash):
        properties = found.get("properties", {})
        current = {key: field for key, field in taken.fields.items() if not isinstance(field, spec.Removed)}
        yield from (f"{name}[{key}]: only one of both knows it" for key in sorted(set(properties) ^ set(current)))
        yield from (f"{name}[{key}]: required by one of both" for key in sorted(set(found.get("required", ())) ^ set(taken.required)))
        for key in sorted(set(properties) & set(current)):
            yield from differences(current[key], properties[key], f"{name}[{key}]")


_KIND = {
    spec.Hash: "object", spec.Either: "object", spec.Many: "array", spec.Number: "integer", spec.Flag: "boolean", spec.Text: "string",
    spec.Anything: "any",
}  # fmt: skip


@pytest.mark.parametrize("version", [GA_VERSION, PREVIEW_VERSION])
@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])
def test_simulator_takes_the_parameters_that_stripe_documents(
    documents: dict[str, StripeOpenAPI], judge: Judge, operation: Operation, version: str
) -> None:
    preview = version == PREVIEW_VERSION
    if not operation.exists(preview):
        assert operation.name not in documents[version].operations()
        return
    known = documents[version].operations().get(operation.name)
    if known is None and operation.name not in TAKEN_OTHERWISE and judge.supplement is not None:
        known = judge.supplement.operations().get(operation.name)
    if known is None:
        # The preview document is an extract.
        assert preview, "an operation that no document describes"
        return
    assert list(differences(operation.parameters_of(preview), described(known))) == TAKEN_OTHERWISE.get(operation.name, [])


def test_simulator_has_every_operation_that_the_product_may_use(documents: dict[str, StripeOpenAPI], judge: Judge) -> None:
    every = {name for document in documents.values() for name in document.operations()}
    assert every - {operation.name for operation in OPERATIONS} == NOT_SIMULATED
    assert judge.supplement is not None
    supplied = set(judge.supplement.operations())
    assert supplied - every == {"GET /v1/account"}
    assert supplied & every == set(TAKEN_OTHERWISE), "what Stripe's own documents describe needs no supplement"


@pytest.mark.parametrize(
    ("taken", "schema"),
    [
        (spec.Hash({"a": spec.Text()}), {"type": "object", "properties": {}}),
        (spec.Hash({}), {"type": "object", "properties": {"a": {"type": "string"}}}),
        (spec.Hash({"a": spec.Text()}), {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
        (spec.Text(("a", "b")), {"type": "string", "enum": ["a"]}),
        (spec.Text(), {"type": "string", "enum": ["a"]}),
        (spec.Many(spec.Text(("a",))), {"type": "array", "items": {"type": "string", "enum": ["b"]}}),
        (spec.Number(), {"anyOf": [{"type": "string"}, {"type": "string", "enum": [""]}]}),
    ],
)
def test_differences_are_found(taken: spec.Spec, schema: Any) -> None:
    assert list(differences(taken, schema))


# -- the judge ---------------------------------------------------------------------------------------------------------------------------


WRONG = [
    ("POST", f"{ACCOUNT}/refresh", "features[0]=balances"),
    ("POST", f"{ACCOUNT}/refresh", "features[0]=ownership&colour=red"),
    ("POST", f"{ACCOUNT}/refresh", "expand[0]=ownership"),
    ("POST", f"{ACCOUNT}/refresh", ""),
    ("POST", f"{ACCOUNT}/refresh", "features[first]=ownership"),
    ("POST", f"{ACCOUNT}/refresh", "features=ownership"),
    ("POST", f"{ACCOUNT}/refresh", '{"features": ["ownership"]}'),
    ("POST", f"{ACCOUNT}/refresh?features[0]=ownership", "features[0]=ownership"),
    ("GET", f"{ACCOUNT}/owners", ""),
    ("GET", f"{ACCOUNT}/owners?ownership=fcaowns_1&limit=many", ""),
    ("GET", f"{ACCOUNT}?colour=red", ""),
    ("GET", ACCOUNT, "expand[0]=ownership"),
    ("POST", "/v1/setup_intents", "payment_method_types[0]=us_bank_account"),
    ("POST", "/v1/setup_intents", "allowed_payment_method_types[0]=us_bank_acount"),
    ("POST", "/v1/payment_intents", "amount=100"),
    ("GET", "/v2/core/events?delivery_success=false", ""),
    ("GET", "/v2/core/events?limit=many", ""),
    ("POST", "/v2/core/event_destinations", "name=a"),
]


@pytest.mark.parametrize(("method", "target", "body"), WRONG)
def test_judge_finds_a_wrong_request(judge: Judge, method: str, target: str, body: str) -> None:
    with pytest.raises(AssertionError):
        judge.validate_request(method, target, body)


ELSEWHERE = [f"{ACCOUNT}/refresh?features[0]=ownership", ACCOUNT, "/v2/core/event_destinations"]
"""Where parameters are in the wrong place, which the simulator ignores; and an operation that it lacks."""


@pytest.mark.parametrize(("method", "target", "body"), [wrong for wrong in WRONG if wrong[1] not in ELSEWHERE])
def test_simulator_refuses_what_the_judge_refuses(driver: Any, method: str, target: str, body: str) -> None:
    driver.sim.link("fresh", id="fca_a")
    answer = driver.sim.handle(method, target, {"Authorization": "Bearer sk_test_x"}, body.encode())
    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")


RELINK = "permissions[0]=ownership&relink_options[authorization]=fcauth_1"


@pytest.mark.parametrize(("version", "fits"), [(PREVIEW_VERSION, True), ("2026-08-26.preview", True), (GA_VERSION, False), (None, False)])
def test_version_of_the_request_chooses_the_document(judge: Judge, version: str | None, fits: bool) -> None:
    if fits:
        assert judge.validate_request("POST", "/v1/financial_connections/sessions", RELINK, version) == "stripe"
    else:
        with pytest.raises(AssertionError, match="relink_options"):
            judge.validate_request("POST", "/v1/financial_connections/sessions", RELINK, version)


def test_version_that_no_document_describes_does_not_fit(judge: Judge) -> None:
    with pytest.raises(AssertionError, match="is not that of Stripe's document"):
        judge.validate_request("GET", ACCOUNT, version="2026-09-30.endive")


@pytest.mark.parametrize(
    ("method", "target", "version"),
    [
        ("DELETE", "/v1/customers/cus_1", None),
        ("GET", "/v1/financial_connections/authorizations/fcauth_1", GA_VERSION),
        ("POST", "/v1/customers", PREVIEW_VERSION),
    ],
)
def test_operation_that_the_chosen_document_lacks_is_unchecked(judge: Judge, method: str, target: str, version: str | None) -> None:
    assert judge.validate_request(method, target, "", version) is None
    assert judge.validate_response(method, target, 200, "{}", version) is None


def test_own_account_is_judged_by_our_supplement(judge: Judge, driver: Any) -> None:
    answer = driver.sim.handle("GET", "/v1/account", {"Authorization": "Bearer sk_test_x"})
    assert judge.validate_request("GET", "/v1/account") == "supplement"
    assert judge.validate_response("GET", "/v1/account", answer.status, answer.body) == "supplement"
    with pytest.raises(AssertionError):
        judge.validate_response("GET", "/v1/account", 200, '{"object": "account"}')


@pytest.mark.parametrize(("gte", "source"), [("1800000000", "stripe"), ("2027-01-15T08:00:00Z", "supplement"), ("today", None), ("", None)])
def test_times_of_thin_events_are_as_the_document_or_the_sdk_has_them(judge: Judge, gte: str, source: str | None) -> None:
    target = f"/v2/core/events?created[gte]={gte}&types[0]=v1.financial_connections.account.created&limit=100"
    if source is None:
        with pytest.raises(AssertionError, match="created"):
            judge.validate_request("GET", target)
    else:
        assert judge.validate_request("GET", target) == source


@pytest.mark.parametrize(
    "change",
    [
        {"status": "pending"},
        {"error": {"cause": "a"}},
        {"colour": "red"},
        {"created": "today"},
        {"ownership_refresh": {"status": "failed"}},
    ],
)
def test_judge_finds_a_wrong_answer(judge: Judge, driver: Any, change: dict[str, Any]) -> None:
    account = driver.sim.link("fresh", id="fca_a")["account"]
    right = {"object": "list", "data": [account], "has_more": False, "url": "/v1/financial_connections/accounts"}
    list_path = "/v1/financial_connections/accounts"
    assert judge.validate_response("GET", list_path, 200, json.dumps(right))
    wrong = right | {"data": [account | change]}
    with pytest.raises(AssertionError, match="does not fit"):
        judge.validate_response("GET", list_path, 200, json.dumps(wrong))


def pruned(node: Any) -> Iterator[str]:
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from pruned(value)
    if isinstance(node, dict) and "x-pruned-ref" in node:
        yield node["x-pruned-ref"]


def test_resources_that_are_left_out_are_known_by_name(documents: dict[str, StripeOpenAPI]) -> None:
    assert {name for document in documents.values() for name in pruned(document.schemas)} == LEFT_OUT


@pytest.mark.parametrize("value", ["seti_attempt_1", None, {"id": "seti_attempt_1", "object": "setup_attempt"}])
def test_resource_that_is_left_out_is_answered_by_its_id(judge: Judge, driver: Any, value: Any) -> None:
    intent = driver.stripe.v1.setup_intents.create({}).to_dict()
    answer = json.dumps(intent | {"latest_attempt": value})
    if isinstance(value, dict):
        with pytest.raises(AssertionError, match="latest_attempt"):
            judge.validate_response("GET", f"/v1/setup_intents/{intent['id']}", 200, answer)
    else:
        assert judge.validate_response("GET", f"/v1/setup_intents/{intent['id']}", 200, answer)
