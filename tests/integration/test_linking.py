"""Linking accounts and listing them over HTTP: the requests to Stripe, what a caller may repeat, and what is refused."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.support.sandbox import Answer, Moment, Sandbox, client
from tests.support.stripe_client import CheckedHTTPClient
from titleholder.services import linking
from titleholder.stripe_api import gateway
from titleholder.stripe_api import linking as stripe_linking

pytestmark = pytest.mark.slow

EMAIL = "margaret.testerman@example.com"
VIA = ("financial_connections", "setup_intent", "payment_intent", "checkout_session")
PAGES = {"amount": 1500, "return_url": "https://shop.test/linked"}
V2 = "acct_customer"
"""An account of Accounts v2 with the customer configuration."""


@pytest.fixture
def wire(sandbox: Sandbox) -> CheckedHTTPClient:
    """Every request to Stripe from now on, each checked against Stripe's document where that is at hand."""
    checked = CheckedHTTPClient(sandbox.http_client)
    sandbox.http_client = checked  # type: ignore[assignment]
    return checked


def customer(sandbox: Sandbox, key: str | None = None, email: str = EMAIL, **headers: str) -> Answer:
    headers |= {"Idempotency-Key": key} if key else {}
    return sandbox.http("POST", "/customers", {"email": email}, **headers)


def known_customer(sandbox: Sandbox, **headers: str) -> str:
    return str(customer(sandbox, **headers).json["id"])


def session(sandbox: Sandbox, via: str, key: str | None = None, headers: dict[str, str] | None = None, **body: Any) -> Answer:
    extra: dict[str, dict[str, Any]] = {"payment_intent": {"amount": 1500}, "checkout_session": {"return_url": "https://shop.test/linked"}}
    needed = extra.get(via, {})
    given = {"Idempotency-Key": key} if key else {}
    return sandbox.http("POST", "/sessions", {"via": via, **needed, **body}, **given, **(headers or {}))


def sent(wire: CheckedHTTPClient) -> dict[str, str]:
    """The parameters of the last request."""
    return dict(parse_qsl(wire.exchanges[-1][2]))


def calls(sandbox: Sandbox, operation: str) -> int:
    return int(sandbox.simulator.request_counts()["operations"].get(operation, 0))


# -- customers and sessions ------------------------------------------------------------------------------------------------------------


def test_customer_has_the_email_at_stripe_and_the_answer_does_not(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    made = customer(sandbox)
    assert (made.status, set(made.json)) == (201, {"id", "stripe_account", "livemode"})
    assert sent(wire) == {"email": EMAIL}


@pytest.mark.parametrize("via", VIA)
def test_session_asks_for_the_owners_and_says_what_the_front_end_does(sandbox: Sandbox, wire: CheckedHTTPClient, via: str) -> None:
    made = session(sandbox, via, customer=known_customer(sandbox))
    assert made.status == 201, made
    assert "ownership" in [value for name, value in sent(wire).items() if "[permissions]" in name or name.startswith("permissions")]
    assert ("payment_method" in made.json["permissions"]) == (via != "financial_connections")
    assert (made.json["next"], made.json["instructions"]) == (linking.STEPS[via].next, linking.STEPS[via].instructions)  # type: ignore[index]
    assert bool(made.json["url"]) == (via == "checkout_session")
    assert bool(made.json["client_secret"]) == (via != "checkout_session")


@pytest.mark.parametrize("via", VIA)
def test_account_linked_in_a_session_is_found_by_it_and_by_its_customer(sandbox: Sandbox, wire: CheckedHTTPClient, via: str) -> None:
    holder = known_customer(sandbox)
    made = session(sandbox, via, customer=holder, prefetch=["ownership"]).json["id"]
    empty = sandbox.http("GET", f"/sessions/{made}").json
    assert (empty["accounts"], empty["empty_reason"]) == ([], "not_linked_yet")
    [linked] = sandbox.simulator.complete(made)["accounts"]
    found = sandbox.http("GET", f"/sessions/{made}")
    [account] = found.json["accounts"]
    assert (found.status, found.json["source"], found.json["manually_entered"], found.json["empty_reason"]) == (200, via, False, None)
    assert (account["account"], account["status"]) == (linked, "active")
    assert "ownership" in account["permissions"]
    assert account["ownership_refresh"]["status"] == "pending"
    assert sandbox.http("GET", f"/accounts?customer={holder}").json["accounts"] == [account]
    if via != "financial_connections":
        assert sandbox.http("GET", f"/sessions/{found.json['payment_method']}").json["accounts"] == [account]


@pytest.mark.parametrize("via", ["setup_intent", "payment_intent", "checkout_session"])
def test_account_typed_in_by_hand_is_none_and_said_so(sandbox: Sandbox, via: str) -> None:
    made = session(sandbox, via, customer=known_customer(sandbox)).json["id"]
    method = sandbox.simulator.complete(made, manual=True)["payment_method"]
    for id in (made, method):
        found = sandbox.http("GET", f"/sessions/{id}").json
        assert (found["accounts"], found["manually_entered"], found["empty_reason"]) == ([], True, "manually_entered")


@pytest.mark.parametrize(("given", "sent_as"), [("+15555550101", "+15555550101"), ("+1 (555) 555-0101", "+15555550101")])
def test_customers_phone_reaches_stripe_in_one_format(sandbox: Sandbox, wire: CheckedHTTPClient, given: str, sent_as: str) -> None:
    made = sandbox.http("POST", "/customers", {"email": EMAIL, "phone": given})
    assert (made.status, sent(wire)) == (201, {"email": EMAIL, "phone": sent_as})


def test_repeated_customer_may_spell_its_phone_otherwise(sandbox: Sandbox) -> None:
    body = {"email": EMAIL, "phone": "+15555550101"}
    first = sandbox.http("POST", "/customers", body, **{"Idempotency-Key": "k"})
    again = sandbox.http("POST", "/customers", {**body, "phone": "+1 555 555 0101"}, **{"Idempotency-Key": "k"})
    other = sandbox.http("POST", "/customers", {**body, "phone": "+15555550102"}, **{"Idempotency-Key": "k"})
    assert again.json == first.json
    assert (other.status, other.problem) == (422, "idempotency-conflict")
    assert "5550101" not in json.dumps(sandbox.items(but=()))


# -- Accounts v2 as customers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", VIA)
def test_account_is_linked_for_a_customer_account_and_found_by_it(sandbox: Sandbox, wire: CheckedHTTPClient, via: str) -> None:
    sandbox.simulator.add_customer_account(V2)
    made = session(sandbox, via, customer_account=V2)
    assert (made.status, made.json["customer_account"], made.json["customer"]) == (201, V2, None), made
    assert V2 in sent(wire).values()
    [linked] = sandbox.simulator.complete(made.json["id"])["accounts"]
    [account] = sandbox.http("GET", f"/accounts?customer_account={V2}").json["accounts"]
    assert account["account"] == linked
    assert account["account_holder"] == {"customer": None, "customer_account": V2, "connected_account": None}
    assert sandbox.http("GET", f"/sessions/{made.json['id']}").json["accounts"] == [account]


@pytest.mark.parametrize("via", VIA)
def test_customer_account_that_stripe_does_not_know(sandbox: Sandbox, via: str) -> None:
    answer = session(sandbox, via, customer_account="acct_unheard")
    assert (answer.status, answer.problem) == (404, "customer-not-found")


def test_customer_account_of_one_platform_is_none_of_another(sandbox: Sandbox) -> None:
    sandbox.simulator.add_customer_account(V2, stripe_account="acct_1")
    there = {"Stripe-Account": "acct_1"}
    assert session(sandbox, "setup_intent", customer_account=V2).problem == "customer-not-found"
    made = session(sandbox, "setup_intent", customer_account=V2, headers=there).json
    [linked] = sandbox.simulator.complete(made["id"], stripe_account="acct_1")["accounts"]
    assert sandbox.http("GET", f"/accounts?customer_account={V2}").json["accounts"] == []
    [found] = sandbox.http("GET", f"/accounts?customer_account={V2}", **there).json["accounts"]
    assert found["account"] == linked


# -- payouts of connected accounts -----------------------------------------------------------------------------------------------------


def test_payout_account_gives_a_token_for_the_external_account(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    made = session(sandbox, "financial_connections", connected_account="acct_1").json
    assert made["next"] == "stripe.collectBankAccountToken"
    assert {"ownership", "payment_method"} <= set(made["permissions"])
    assert sandbox.http("GET", f"/sessions/{made['id']}").json["bank_account_token"] is None
    [linked] = sandbox.simulator.complete(made["id"])["accounts"]
    found = sandbox.http("GET", f"/sessions/{made['id']}").json
    assert found["bank_account_token"].startswith("btok_")
    assert found["bank_account_token"] not in sandbox.log.getvalue() + json.dumps(sandbox.items(but=()))
    assert [account["account"] for account in found["accounts"]] == [linked]
    assert found["accounts"][0]["supported_payment_method_types"] == ["us_bank_account"]
    assert found["accounts"][0]["account_holder"]["connected_account"] == "acct_1"


def test_token_that_stripe_answers_in_full_is_shown_by_its_id(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(sandbox, "financial_connections", connected_account="acct_1").json["id"]
    sandbox.simulator.complete(made)
    read = stripe_linking.financial_connections_session
    token = {"id": "btok_1", "object": "token", "bank_account": {"account_holder_name": "Margaret Testerman", "last4": "6789"}}
    monkeypatch.setattr(stripe_linking, "financial_connections_session", lambda *given: {**read(*given), "bank_account_token": token})
    shown = sandbox.http("GET", f"/sessions/{made}")
    assert shown.json["bank_account_token"] == "btok_1"
    assert "Testerman" not in shown.text


def test_payouts_go_to_one_account_that_can_be_paid(sandbox: Sandbox) -> None:
    made = session(sandbox, "financial_connections", connected_account="acct_1").json["id"]
    card = {
        "scenario": "single_owner",
        "details": {"category": "credit", "subcategory": "credit_card", "supported_payment_method_types": []},
    }
    for chosen in ([card], [{"scenario": "single_owner"}] * 2):
        with pytest.raises(ValueError, match="does not let"):
            sandbox.simulator.complete(made, accounts=chosen)
    assert sandbox.simulator.complete(made)["accounts"]


def test_payout_numbers_that_were_typed_in_give_a_token_and_no_account(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    made = session(sandbox, "financial_connections", connected_account="acct_1", manual_entry={"mode": "automatic"}).json["id"]
    sandbox.simulator.complete(made, manual=True)
    found = sandbox.http("GET", f"/sessions/{made}").json
    assert (found["accounts"], found["manually_entered"], found["empty_reason"]) == ([], True, "manually_entered")
    assert found["bank_account_token"]


def test_numbers_can_not_be_typed_in_unless_the_caller_says_so(sandbox: Sandbox) -> None:
    made = session(sandbox, "financial_connections", connected_account="acct_1").json["id"]
    with pytest.raises(ValueError, match="by hand"):
        sandbox.simulator.complete(made, manual=True)


@pytest.mark.parametrize("body", [{"limits": {"accounts": 2}}, {"filters": {"require_payment_method_support": "none"}}])
def test_caller_who_wants_more_than_the_payout_account_collects_accounts(sandbox: Sandbox, body: dict[str, Any]) -> None:
    made = session(sandbox, "financial_connections", connected_account="acct_1", **body).json
    assert made["next"] == "stripe.collectFinancialConnectionsAccounts"


def test_accounts_of_a_connected_account_are_listed_for_it_alone(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    made = session(sandbox, "financial_connections", connected_account="acct_1").json["id"]
    [linked] = sandbox.simulator.complete(made)["accounts"]
    [found] = sandbox.http("GET", "/accounts?connected_account=acct_1").json["accounts"]
    assert found["account"] == linked
    assert sandbox.http("GET", "/accounts?connected_account=acct_2").json["accounts"] == []
    assert sandbox.http("GET", "/accounts?customer_account=acct_1").json["accounts"] == []
    foreign = sandbox.http("GET", "/accounts?connected_account=acct_1", **{"Stripe-Account": "acct_2"})
    assert (foreign.status, foreign.bad_fields) == (422, {"connected_account"})


def test_accounts_of_a_session_are_listed_in_pages(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    made = session(sandbox, "financial_connections", customer=known_customer(sandbox)).json["id"]
    assert sandbox.http("GET", f"/accounts?session={made}").json["accounts"] == []
    linked = sandbox.simulator.complete(made, accounts=[{"scenario": "single_owner"}] * 3)["accounts"]
    first = sandbox.http("GET", f"/accounts?session={made}&limit=2").json
    rest = sandbox.http("GET", f"/accounts?session={made}&limit=2&cursor={first['next_cursor']}").json
    assert (first["session"], rest["next_cursor"]) == (made, None)
    assert {account["account"] for account in [*first["accounts"], *rest["accounts"]]} == set(linked)


def test_account_shows_the_state_of_its_numbers_and_not_the_numbers(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    number = {"identifier_type": "tokenized_account_number", "status": "pending", "supported_networks": ["ach"]}
    details = {"account_numbers": [{**number, "expected_expiry_date": 1_800_000_000}]}
    ref = sandbox.link(customer="cus_1", details=details)
    [listed] = sandbox.http("GET", "/accounts?customer=cus_1").json["accounts"]
    for account in (listed, sandbox.http("GET", f"/accounts/{ref.account}").json):
        assert account["account_numbers"] == [
            {"identifier_type": "tokenized_account_number", "status": "pending", "expected_expiry_date": "2027-01-15T08:00:00Z"}
        ]
        assert account["account_holder"] == {"customer": "cus_1", "customer_account": None, "connected_account": None}
        assert account["supported_payment_method_types"] == ["us_bank_account"]


def test_listed_account_shows_why_it_will_be_inactive_and_what_helps(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    sound, expiring, closed, unread = (
        sandbox.link(customer="cus_1", permissions=["balances"] if n == 3 else ["ownership"]) for n in range(4)
    )
    sandbox.simulator.expire(expiring.account, at=1_900_000_000)
    sandbox.simulator.deactivate(closed.account, cause="account_closed", action="none")
    shown = {account["account"]: account for account in sandbox.http("GET", "/accounts?customer=cus_1").json["accounts"]}
    assert (shown[sound.account]["status_details"], shown[sound.account]["remedy"]) == (None, None)
    assert shown[expiring.account]["status_details"]["expected_deactivation_at"] == "2030-03-17T17:46:40Z"
    assert [shown[ref.account]["remedy"] for ref in (expiring, closed, unread)] == ["link_again"] * 3


def test_every_wish_reaches_stripe(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    session(
        sandbox,
        "financial_connections",
        customer=known_customer(sandbox),
        permissions=["balances", "ownership"],
        prefetch=["balances", "ownership"],
        filters={"account_subcategories": ["checking"], "country": "US", "require_payment_method_support": "all"},
        limits={"accounts": 2},
        manual_entry={"mode": "disabled"},
        return_url="myapp://linked",
    )
    params = sent(wire)
    assert {params.pop("account_holder[type]"), params.pop("account_holder[customer]")[:4]} == {"customer", "cus_"}
    assert params == {
        "permissions[0]": "balances",
        "permissions[1]": "ownership",
        "prefetch[0]": "balances",
        "prefetch[1]": "ownership",
        "filters[account_subcategories][0]": "checking",
        "filters[country]": "US",
        "filters[require_payment_method_support]": "all",
        "limits[accounts]": "2",
        "manual_entry[mode]": "disabled",
        "return_url": "myapp://linked",
    }


@pytest.mark.parametrize("via", ["setup_intent", "payment_intent", "checkout_session"])
def test_manual_entry_is_switched_off_where_a_payment_is_the_way_in(sandbox: Sandbox, wire: CheckedHTTPClient, via: str) -> None:
    assert session(sandbox, via, customer=known_customer(sandbox), manual_entry={"mode": "disabled"}).status == 201
    assert sent(wire)["payment_method_options[us_bank_account][verification_method]"] == "instant"


@pytest.mark.parametrize("via", ["setup_intent", "payment_intent", "checkout_session"])
def test_payment_is_by_bank_account_alone(sandbox: Sandbox, wire: CheckedHTTPClient, via: str) -> None:
    assert session(sandbox, via, customer=known_customer(sandbox)).status == 201
    assert sent(wire)["allowed_payment_method_types[0]"] == "us_bank_account"
    assert not [name for name in sent(wire) if name.startswith(("payment_method_types", "allowed_payment_method_types[1]"))]


@pytest.mark.parametrize("via", ["setup_intent", "payment_intent", "checkout_session"])
def test_session_that_stripe_offers_no_bank_account_for_is_refused(sandbox: Sandbox, via: str) -> None:
    holder = known_customer(sandbox)
    sandbox.simulator.configure(unavailable_payment_methods=["us_bank_account"])
    for _ in range(2):
        answer = session(sandbox, via, key="k", customer=holder)
        assert (answer.status, answer.problem) == (409, "us-bank-account-unavailable")
        assert "ACH Direct Debit" in answer.json["detail"]
    assert session(sandbox, "financial_connections", customer=holder).status == 201
    sandbox.simulator.configure(unavailable_payment_methods=[])
    assert session(sandbox, via, key="another", customer=holder).status == 201


def test_checkout_takes_a_payment_when_there_is_an_amount(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    holder = known_customer(sandbox)
    session(sandbox, "checkout_session", customer=holder)
    assert (sent(wire)["mode"], "line_items[0][quantity]" in sent(wire)) == ("setup", False)
    made = session(sandbox, "checkout_session", customer=holder, amount=2500, description="Rent").json["id"]
    params = sent(wire)
    assert (params["mode"], params["line_items[0][price_data][unit_amount]"]) == ("payment", "2500")
    assert params["line_items[0][price_data][product_data][name]"] == "Rent"
    [linked] = sandbox.simulator.complete(made)["accounts"]
    assert sandbox.http("GET", f"/sessions/{made}").json["accounts"][0]["account"] == linked


def test_payouts_account_of_a_connected_account_is_linked_for_that(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    made = session(sandbox, "financial_connections", connected_account="acct_1")
    assert (made.status, made.json["connected_account"]) == (201, "acct_1")
    assert sent(wire)["account_holder[type]"] == "account"
    assert sent(wire)["account_holder[account]"] == "acct_1"


def test_everything_stays_under_the_connected_account_that_is_named(sandbox: Sandbox) -> None:
    there = {"Stripe-Account": "acct_1"}
    holder = known_customer(sandbox, **there)
    assert session(sandbox, "setup_intent", customer=holder).problem == "customer-not-found"
    made = session(sandbox, "setup_intent", customer=holder, headers=there).json
    assert made["stripe_account"] == "acct_1"
    [linked] = sandbox.simulator.complete(made["id"], stripe_account="acct_1")["accounts"]
    assert sandbox.http("GET", f"/sessions/{made['id']}").problem == "session-not-found"
    assert sandbox.http("GET", f"/accounts?customer={holder}").problem == "customer-not-found"
    [found] = sandbox.http("GET", f"/accounts?customer={holder}", **there).json["accounts"]
    assert found["account"] == linked


@pytest.mark.parametrize("via", VIA)
def test_customer_that_was_deleted_is_no_customer(sandbox: Sandbox, via: str) -> None:
    holder = known_customer(sandbox)
    sandbox.simulator.delete_customer(holder)
    assert session(sandbox, via, customer=holder).problem == "customer-not-found"
    assert sandbox.http("GET", f"/accounts?customer={holder}").problem == "customer-not-found"


# -- what is refused -------------------------------------------------------------------------------------------------------------------

CUS = {"customer": "cus_1"}
BAD: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "no via": ("/sessions", CUS, {"via"}),
    "unknown via": ("/sessions", {"via": "card", **CUS}, {"via"}),
    "nobody's": ("/sessions", {"via": "setup_intent"}, {"customer"}),
    "two customers": ("/sessions", {"via": "setup_intent", "customer_account": "acct_1", **CUS}, {"customer_account"}),
    "customer account of another kind": ("/sessions", {"via": "setup_intent", "customer_account": "cus_1"}, {"customer_account"}),
    "two accounts": (
        "/sessions", {"via": "financial_connections", "customer_account": "acct_1", "connected_account": "acct_1"}, {"connected_account"}
    ),
    "payout to a mortgage": (
        "/sessions",
        {"via": "financial_connections", "connected_account": "acct_1", "filters": {"account_subcategories": ["mortgage"]}},
        {"filters.account_subcategories"},
    ),
    "payment support of credit": (
        "/sessions",
        {
            "via": "financial_connections",
            "filters": {"account_subcategories": ["credit_card"], "require_payment_method_support": "at_least_one"},
            **CUS,
        },
        {"filters.account_subcategories"},
    ),
    "somebody of another kind": ("/sessions", {"via": "setup_intent", "customer": "acct_1"}, {"customer"}),
    "two holders": ("/sessions", {"via": "financial_connections", "connected_account": "acct_1", **CUS}, {"connected_account"}),
    "connected account pays": ("/sessions", {"via": "setup_intent", "connected_account": "acct_1"}, {"connected_account"}),
    "unknown permission": ("/sessions", {"via": "setup_intent", "permissions": ["owners"], **CUS}, {"permissions.0"}),
    "prefetch not permitted": ("/sessions", {"via": "setup_intent", "prefetch": ["ownership", "balances"], **CUS}, {"prefetch.1"}),
    "limits of an intent": ("/sessions", {"via": "setup_intent", "limits": {"accounts": 1}, **CUS}, {"limits"}),
    "no account at all": ("/sessions", {"via": "financial_connections", "limits": {"accounts": 0}, **CUS}, {"limits.accounts"}),
    "country of an intent": ("/sessions", {"via": "setup_intent", "filters": {"country": "US"}, **CUS}, {"filters.country"}),
    "mortgage that pays": (
        "/sessions", {"via": "setup_intent", "filters": {"account_subcategories": ["savings", "mortgage"]}, **CUS},
        {"filters.account_subcategories.1"},
    ),
    "filters of Checkout": (
        "/sessions", {"via": "checkout_session", "filters": {"account_subcategories": ["savings"]}, **PAGES, **CUS}, {"filters"}
    ),
    "payment of nothing": ("/sessions", {"via": "payment_intent", **CUS}, {"amount"}),
    "payment of too little": ("/sessions", {"via": "payment_intent", "amount": 49, **CUS}, {"amount"}),
    "payment in another currency": ("/sessions", {"via": "payment_intent", "amount": 50, "currency": "eur", **CUS}, {"currency"}),
    "amount without a payment": ("/sessions", {"via": "setup_intent", "amount": 50, **CUS}, {"amount"}),
    "currency without an amount": (
        "/sessions", {"via": "checkout_session", "currency": "usd", "return_url": "https://x.test", **CUS}, {"currency"}
    ),
    "Checkout without way back": ("/sessions", {"via": "checkout_session", **CUS}, {"return_url"}),
    "Checkout back to no page": ("/sessions", {"via": "checkout_session", "return_url": "myapp://x", **CUS}, {"return_url"}),
    "return to no address": ("/sessions", {"via": "setup_intent", "return_url": "home", **CUS}, {"return_url"}),
    "unknown field": ("/sessions", {"via": "setup_intent", "colour": "red", **CUS}, {"colour"}),
    "no email": ("/customers", {}, {"email"}),
    "email that is none": ("/customers", {"email": "margaret"}, {"email"}),
    "email with NUL": ("/customers", {"email": "a\0@b.test"}, {"email"}),
    "email of lone surrogates": ("/customers", {"email": "\ud800@b.test"}, {"email"}),
    "phone of no country": ("/customers", {"email": "a@b.test", "phone": "555 555 0101"}, {"phone"}),
    "phone that is none": ("/customers", {"email": "a@b.test", "phone": "+call me"}, {"phone"}),
    "phone that is too long": ("/customers", {"email": "a@b.test", "phone": "+1234567890123456"}, {"phone"}),
    "phone alone": ("/customers", {"phone": "+15555550101"}, {"email"}),
    "customer with a name": ("/customers", {"email": "a@b.test", "name": "x"}, {"name"}),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_request_is_told_what_is_wrong_and_changes_nothing(sandbox: Sandbox, case: str) -> None:
    path, body, fields = BAD[case]
    answer = sandbox.http("POST", path, body, **{"Idempotency-Key": "k"})
    assert (answer.status, answer.problem, answer.bad_fields) == (422, "invalid-request", fields)
    assert sandbox.items(but=("PACE#", "AUDIT#")) == []
    assert sandbox.stripe_calls() == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/sessions/sub_1", "invalid-request"),
        ("/sessions/fcsess_", "invalid-request"),
        ("/sessions/fcsess_unheard", "session-not-found"),
        ("/sessions/cs_test_unheard", "session-not-found"),
        ("/sessions/pm_unheard", "payment-method-not-found"),
        ("/accounts", "invalid-request"),
        ("/accounts?customer=fca_1", "invalid-request"),
        ("/accounts?customer=cus_1&customer_account=acct_1", "invalid-request"),
        ("/accounts?customer_account=cus_1", "invalid-request"),
        ("/accounts?session=seti_1", "invalid-request"),
        ("/accounts?session=fcsess_unheard", "session-not-found"),
        ("/accounts?customer=cus_unheard", "customer-not-found"),
        ("/accounts?customer=cus_1&limit=0", "invalid-request"),
        ("/accounts?customer=cus_1&limit=101", "invalid-request"),
        ("/accounts?customer=cus_1&cursor=%00", "invalid-request"),
        ("/accounts?customer=cus_1&cursor=abc", "invalid-cursor"),
    ],
)
def test_what_can_not_be_found(sandbox: Sandbox, path: str, problem: str) -> None:
    answer = sandbox.http("GET", path)
    assert answer.problem == problem
    assert answer.status == (404 if problem.endswith("not-found") else 422)


@pytest.mark.parametrize("via", VIA)
def test_customer_that_stripe_does_not_know(sandbox: Sandbox, via: str) -> None:
    answer = session(sandbox, via, key="k", customer="cus_unheard")
    assert (answer.status, answer.problem) == (404, "customer-not-found")
    assert sandbox.items(but=("PACE#", "AUDIT#")) == []


@pytest.mark.parametrize("via", VIA)
def test_holder_that_stripe_misses_with_404_is_no_account(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, via: str) -> None:
    refused = sandbox.http_client.request

    def missing(*given: Any, **more: Any) -> Any:
        body, status, headers = refused(*given, **more)
        return body, 404 if status == 400 else status, headers

    monkeypatch.setattr(sandbox.http_client, "request", missing)
    answer = session(sandbox, via, customer="cus_unheard")
    assert (answer.status, answer.problem) == (404, "customer-not-found")


# -- pages -----------------------------------------------------------------------------------------------------------------------------


def test_pages_hold_every_account_once(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    linked = [sandbox.link(customer="cus_1").account for _ in range(5)]
    seen, cursor = [], ""
    for size in (2, 2, 1):
        page = sandbox.http("GET", f"/accounts?customer=cus_1&limit=2{cursor}").json
        assert len(page["accounts"]) == size
        seen += [account["account"] for account in page["accounts"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (page["next_cursor"], seen) == (None, linked[::-1])


def test_cursor_is_good_for_its_own_list_alone(sandbox: Sandbox) -> None:
    for holder in ("cus_1", "cus_2"):
        for stripe_account in (None, "acct_1"):
            for _ in range(2):
                sandbox.link(customer=holder, stripe_account=stripe_account)
    cursor = sandbox.http("GET", "/accounts?customer=cus_1&limit=1").json["next_cursor"]
    assert sandbox.http("GET", f"/accounts?customer=cus_1&limit=1&cursor={cursor}").status == 200
    assert sandbox.http("GET", f"/accounts?customer=cus_2&limit=1&cursor={cursor}").problem == "invalid-cursor"
    foreign = sandbox.http("GET", f"/accounts?customer=cus_1&limit=1&cursor={cursor}", **{"Stripe-Account": "acct_1"})
    assert (foreign.status, foreign.problem) == (422, "invalid-cursor")


# -- what a caller may repeat ----------------------------------------------------------------------------------------------------------


def test_same_key_and_body_make_one_customer_and_one_answer(sandbox: Sandbox) -> None:
    first, second = customer(sandbox, "k"), customer(sandbox, "k")
    assert (second.status, second.json) == (first.status, first.json)
    assert calls(sandbox, "POST /v1/customers") == 1


@pytest.mark.parametrize("via", VIA)
def test_same_key_and_body_make_one_session_and_one_answer_with_its_secret(sandbox: Sandbox, via: str) -> None:
    holder = known_customer(sandbox)
    first, second = (session(sandbox, via, "k", customer=holder) for _ in range(2))
    assert (second.status, second.json) == (first.status, first.json)
    created = [entry for entry in sandbox.simulator.requests() if entry["method"] == "POST"]
    assert len(created) == 2


def test_same_key_with_another_body_is_refused(sandbox: Sandbox) -> None:
    customer(sandbox, "k")
    answer = customer(sandbox, "k", "harold.testerman@example.com")
    assert (answer.status, answer.problem) == (422, "idempotency-conflict")
    assert calls(sandbox, "POST /v1/customers") == 1


def test_key_counts_within_its_route_and_connected_account(sandbox: Sandbox) -> None:
    here, there = customer(sandbox, "k"), customer(sandbox, "k", **{"Stripe-Account": "acct_1"})
    assert here.json["id"] != there.json["id"]
    assert session(sandbox, "setup_intent", "k", customer=here.json["id"]).status == 201


def test_without_a_key_every_request_has_its_effect(sandbox: Sandbox) -> None:
    assert customer(sandbox).json["id"] != customer(sandbox).json["id"]
    assert sandbox.items(but=("PACE#", "AUDIT#")) == []


def test_request_during_the_first_one_is_answered_to_come_again(sandbox: Sandbox) -> None:
    answers: list[Answer] = []

    def again(moment: Moment) -> None:
        if (moment.service, moment.operation, moment.when) == ("stripe", "POST v1/customers", "before") and not answers:
            answers.append(customer(sandbox, "k"))

    sandbox.taps.append(again)
    first = customer(sandbox, "k")
    [second] = answers
    assert (second.status, second.problem, second.headers["retry-after"]) == (409, "idempotency-in-progress", "5")
    assert customer(sandbox, "k").json == first.json
    assert calls(sandbox, "POST /v1/customers") == 1


class Crash(BaseException):
    """The function's end in the middle of its work."""


@pytest.mark.parametrize(("service", "operation"), [("stripe", "POST v1/customers"), ("dynamodb", "update_item")])
def test_crash_after_the_effect_is_healed_by_the_repeated_request(sandbox: Sandbox, service: str, operation: str) -> None:
    def crash(moment: Moment) -> None:
        if (moment.service, moment.operation) == (service, operation) and moment.when == ("after" if service == "stripe" else "before"):
            raise Crash

    sandbox.taps.append(crash)
    with pytest.raises(Crash):
        customer(sandbox, "k")
    sandbox.taps.clear()
    assert customer(sandbox, "k").problem == "idempotency-in-progress"
    # The crashed function's time is over.
    [record] = sandbox.items(but=("PACE#", "AUDIT#"))
    client("dynamodb").update_item(
        TableName="titleholder",
        Key={"pk": record["pk"], "sk": record["sk"]},
        UpdateExpression="SET in_progress_expiration = :past",
        ExpressionAttributeValues={":past": {"N": "1"}},
    )
    assert customer(sandbox, "k").status == 201
    made = [entry for entry in sandbox.simulator.requests() if entry["operation"] == "POST /v1/customers" and not entry["replayed"]]
    assert len(made) == 1


def test_failure_is_not_remembered(sandbox: Sandbox) -> None:
    sandbox.simulator.fail_api("rate_limit", method="POST", path="/v1/customers", times=1)
    assert (customer(sandbox, "k").status, sandbox.items(but=("PACE#", "AUDIT#"))) == (503, [])
    assert customer(sandbox, "k").status == 201


def test_stripe_itself_refuses_another_body_where_our_record_is_gone(sandbox: Sandbox) -> None:
    customer(sandbox, "k")
    [record] = sandbox.items(but=("PACE#", "AUDIT#"))
    client("dynamodb").delete_item(TableName="titleholder", Key={"pk": record["pk"], "sk": record["sk"]})
    assert customer(sandbox, "k", "harold.testerman@example.com").problem == "idempotency-conflict"


@pytest.mark.parametrize("key", ["k", EMAIL])
def test_neither_record_nor_stripes_key_holds_what_was_sent_or_a_secret(sandbox: Sandbox, key: str) -> None:
    holder = customer(sandbox, key).json["id"]
    secret = session(sandbox, "setup_intent", key, customer=holder).json["client_secret"]
    records = sandbox.items(but=("PACE#", "AUDIT#"))
    assert {name for record in records for name in record} == {
        "pk", "sk", "status", "expires_at", "in_progress_expiration", "validation", "data",
    }  # fmt: skip
    kept = json.dumps([records, [entry["idempotency_key"] for entry in sandbox.simulator.requests()]])
    assert EMAIL not in kept
    assert secret not in kept
    assert {tuple(json.loads(record["data"]["S"])) for record in records} == {("id",)}
    assert secret not in sandbox.log.getvalue()


def _make(sandbox: Sandbox, route: str, key: str, customer_id: str) -> Answer:
    return customer(sandbox, key) if route == "customers" else session(sandbox, route, key, customer=customer_id)


@pytest.mark.parametrize("route", ["customers", *VIA])
@pytest.mark.parametrize("outages", [1, 3])
@pytest.mark.parametrize("effect", ["before", "after"])
def test_request_that_stripe_failed_succeeds_when_it_is_repeated(sandbox: Sandbox, route: str, outages: int, effect: str) -> None:
    holder = known_customer(sandbox)
    sandbox.simulator.fail_api("server_error", method="POST", effect=effect, times=None)
    for _ in range(outages):
        failed = _make(sandbox, route, "k", holder)
        assert (failed.status, failed.problem) == (503, "stripe-unavailable")
        assert failed.headers["retry-after"]
    sandbox.simulator.clear_faults()
    made = _make(sandbox, route, "k", holder)
    assert made.status == 201, made
    assert _make(sandbox, route, "k", holder).json == made.json
    keys = [
        entry["idempotency_key"] for entry in sandbox.simulator.requests() if (entry["idempotency_key"] or "").startswith("titleholder")
    ]
    executed = [entry for entry in sandbox.simulator.requests() if entry["idempotency_key"] in keys and not entry["replayed"]]
    assert len(executed) == len(set(keys)) == outages + 1


def test_request_that_stripe_failed_often_is_told_to_take_a_new_key(sandbox: Sandbox) -> None:
    sandbox.simulator.fail_api("server_error", method="POST", times=None)
    for _ in range(gateway.MOST_STRIPE_KEYS):
        failed = customer(sandbox, "k")
        assert (failed.status, "Idempotency-Key" in failed.json["detail"]) == (503, False)
    sandbox.simulator.clear_faults()
    last = customer(sandbox, "k")
    assert (last.status, "new Idempotency-Key" in last.json["detail"]) == (503, True)
    assert customer(sandbox, "another").status == 201


@pytest.mark.parametrize(
    ("kind", "id_", "noun"),
    [
        ("customer", "cus_unheard", "customer"),
        ("customer_account", "acct_unheard", "customer account"),
        ("connected_account", "acct_unheard", "connected account"),
    ],
)
@pytest.mark.parametrize("as_404", [False, True])
def test_holder_that_stripe_does_not_know_is_named_by_its_kind(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, kind: str, id_: str, noun: str, as_404: bool
) -> None:
    asked = sandbox.http_client.request

    def missing(*given: Any, **more: Any) -> Any:
        # The simulator knows every connected account.
        _, _, headers = asked(*given, **more)
        error = {"type": "invalid_request_error", "code": "resource_missing", "param": "account_holder", "message": "No such thing"}
        return json.dumps({"error": error}), 404 if as_404 else 400, headers

    monkeypatch.setattr(sandbox.http_client, "request", missing)
    answer = session(sandbox, "financial_connections", **{kind: id_})
    assert answer.problem == "customer-not-found"
    assert answer.json["detail"] == (
        f"Stripe knows no such {noun} in this mode and under this connected account. Check the id and the header Stripe-Account."
    )


@pytest.mark.parametrize(
    ("given", "sent_as"),
    [
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("+44(0) 20 7946 0958", "+442079460958"),
        ("+353 (0) 1 555 0101", "+35315550101"),
        ("+39 (06) 5550 1012", "+390655501012"),
        ("+39 06 5550 1012", "+390655501012"),
    ],
)
def test_national_zero_in_parentheses_is_no_part_of_the_phone_number(
    sandbox: Sandbox, wire: CheckedHTTPClient, given: str, sent_as: str
) -> None:
    made = sandbox.http("POST", "/customers", {"email": EMAIL, "phone": given})
    assert (made.status, sent(wire)["phone"]) == (201, sent_as)


@pytest.mark.parametrize("given", ["(0)20 7946 0958", "+44 20 (0) 7946 0958", "+(0)44 20 7946 0958", "+44 (0)(0)20 7946 0958"])
def test_zero_in_parentheses_elsewhere_is_refused(sandbox: Sandbox, given: str) -> None:
    assert sandbox.http("POST", "/customers", {"email": EMAIL, "phone": given}).bad_fields == {"phone"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "/customers", {"email": "margaret"}, {}),
        ("POST", "/customers", {"email": EMAIL}, {"Idempotency-Key": "a b"}),
        ("POST", "/sessions", {"via": "setup_intent", "customer": "margaret"}, {}),
        ("POST", "/sessions", {"via": "setup_intent", "customer": "cus_1", "return_url": "home"}, {}),
        ("POST", "/sessions", {"via": "checkout_session", "customer": "cus_1", "amount": 50, "description": "\n", **PAGES}, {}),
        ("POST", "/sessions", {"via": "financial_connections", "customer": "cus_1", "filters": {"country": "us"}}, {}),
        ("POST", "/verifications", {"account": "margaret", "claim": {"name": "Margaret"}}, {}),
        ("POST", "/verifications", {"account": "fca_1", "claim": {"name": "\0"}}, {}),
        ("POST", "/batches", {"format": "csv", "scope": "a b"}, {}),
        ("GET", "/sessions/margaret", None, {}),
        ("GET", "/accounts?session=margaret", None, {}),
        ("GET", "/accounts?customer=cus_1&cursor=%00", None, {}),
        ("GET", "/verifications/margaret", None, {}),
    ],
)
def test_wrong_text_is_explained(sandbox: Sandbox, method: str, path: str, body: Any, headers: dict[str, str]) -> None:
    answer = sandbox.http(method, path, body, **headers)
    assert answer.status == 422, answer
    for error in answer.json["errors"]:
        assert not set("^$[]{}\\") & set(error["detail"]), error
        assert "pattern" not in error["detail"]


# -- a target that names no account ----------------------------------------------------------------------------------------------------


def _verify(sandbox: Sandbox, **target: str) -> Answer:
    return sandbox.http("POST", "/verifications", {**target, "claim": {"name": "Margaret Testerman"}})


@pytest.mark.parametrize("via", VIA)
def test_open_session_is_to_be_asked_again(sandbox: Sandbox, via: str) -> None:
    made = session(sandbox, via, customer=known_customer(sandbox)).json["id"]
    answer = _verify(sandbox, session=made)
    assert (answer.status, answer.problem, answer.json["reason"], answer.json["remedy"]) == (
        409, "no-linked-account", "not_linked_yet", "retry",
    )  # fmt: skip
    sandbox.simulator.complete(made)
    assert _verify(sandbox, session=made).status == 202


def test_holder_without_an_account_is_to_link_one(sandbox: Sandbox) -> None:
    holder = known_customer(sandbox)
    answer = _verify(sandbox, customer=holder)
    assert (answer.problem, answer.json["remedy"], "again" in answer.json["detail"]) == ("no-linked-account", "link_again", False)


def test_account_typed_in_by_hand_is_to_be_linked(sandbox: Sandbox) -> None:
    made = session(sandbox, "setup_intent", customer=known_customer(sandbox)).json["id"]
    sandbox.simulator.complete(made, manual=True)
    answer = _verify(sandbox, session=made)
    assert (answer.json["reason"], answer.json["remedy"]) == ("manually_entered", "link_again")
