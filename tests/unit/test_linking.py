"""What Stripe is asked for when accounts are to be linked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from titleholder.services.linking import PAYOUT_STEP, STEPS, NewSession, Via, parameters

ROOT = Path(__file__).parents[2]
VIA = get_args(Via)
INTENTS = [via for via in VIA if via != "financial_connections"]
HOLDERS = [{"customer": "cus_1"}, {"customer_account": "acct_1"}]
SUBCATEGORIES = {"checking", "savings", "mortgage", "line_of_credit", "credit_card"}


def permissions(params: dict[str, Any]) -> list[str]:
    bank = params.get("payment_method_options", {}).get("us_bank_account", {})
    return list(params.get("permissions") or bank["financial_connections"]["permissions"])


def payout(**more: Any) -> NewSession:
    return NewSession("financial_connections", connected_account="acct_1", **more)


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize("more", [(), ("balances",), ("ownership", "payment_method", "transactions")])
def test_owners_are_always_asked_for_and_each_permission_once(via: Via, more: tuple[str, ...]) -> None:
    asked = permissions(parameters(NewSession(via, customer="cus_1", permissions=more, amount=50)))
    assert {"ownership", *more} <= set(asked)
    assert len(asked) == len(set(asked))
    assert via == "financial_connections" or "payment_method" in asked


@pytest.mark.parametrize("via", VIA)
def test_part_that_is_not_given_is_left_to_stripe_where_it_has_one_meaning(via: Via) -> None:
    text = str(parameters(NewSession(via, customer="cus_1", amount=50)))
    assert not [word for word in ("prefetch", "country", "return_url", "None") if word in text]


@pytest.mark.parametrize("holder", HOLDERS)
def test_defaults_of_a_session_for_data_are_said_explicitly(holder: dict[str, Any]) -> None:
    params = parameters(NewSession("financial_connections", **holder))
    assert params["account_holder"] == {"type": "customer", **holder}
    assert set(params["filters"].pop("account_subcategories")) == SUBCATEGORIES
    assert params["filters"] == {"require_payment_method_support": "none"}
    assert (params["limits"], params["manual_entry"]) == ({"accounts": ""}, {"mode": "disabled"})
    assert "payment_method" not in params["permissions"]


def test_defaults_of_a_session_for_payouts_let_one_account_be_linked_that_can_be_paid() -> None:
    params = parameters(payout())
    assert params["account_holder"] == {"type": "account", "account": "acct_1"}
    assert params["filters"] == {"require_payment_method_support": "all", "account_subcategories": ["checking", "savings"]}
    assert (params["limits"], params["manual_entry"]) == ({"accounts": 1}, {"mode": "disabled"})
    assert {"ownership", "payment_method"} <= set(params["permissions"])


@pytest.mark.parametrize("holder", [*HOLDERS, {"connected_account": "acct_1"}])
def test_caller_overrides_each_default(holder: dict[str, Any]) -> None:
    filters = {"require_payment_method_support": "at_least_one", "account_subcategories": ["savings", "credit_card"]}
    params = parameters(NewSession("financial_connections", **holder, filters=filters, max_accounts=7, manual_entry="automatic"))
    assert (params["filters"], params["limits"], params["manual_entry"]) == (filters, {"accounts": 7}, {"mode": "automatic"})


def test_accounts_of_every_kind_are_offered_once_payments_need_not_be_supported() -> None:
    params = parameters(payout(filters={"require_payment_method_support": "none"}))
    assert set(params["filters"]["account_subcategories"]) == SUBCATEGORIES


@pytest.mark.parametrize("via", INTENTS)
@pytest.mark.parametrize(("asked", "sent"), [(None, "automatic"), ("automatic", "automatic"), ("disabled", "instant")])
def test_manual_entry_of_a_payment_is_said_explicitly(via: Via, asked: str | None, sent: str) -> None:
    params = parameters(NewSession(via, customer="cus_1", amount=50, manual_entry=asked))
    assert params["payment_method_options"]["us_bank_account"]["verification_method"] == sent


def test_documented_defaults_are_those_that_are_sent() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+) \| (.+) \| (.+) \|$", (ROOT / "docs" / "linking.md").read_text(), re.MULTILINE)
    told = {name: [set(re.findall(r"`(\w+)`", cell)) or {cell} for cell in cells] for name, *cells in rows}
    data, payouts = (
        parameters(NewSession("financial_connections", **holder)) for holder in ({"customer": "cus_1"}, {"connected_account": "a"})
    )
    for column, params in enumerate((data, payouts)):
        assert told["manual_entry.mode"][column] == {params["manual_entry"]["mode"]}
        assert told["limits.accounts"][column] == {str(params["limits"]["accounts"]) or "any number"}
        assert told["filters.require_payment_method_support"][column] == {params["filters"]["require_payment_method_support"]}
        assert told["filters.account_subcategories"][column] == set(params["filters"]["account_subcategories"])
        assert told["filters.country"][column] == {"left to Stripe"}
        assert "country" not in params["filters"]
    assert told["manual_entry.mode"][2] == {"automatic"}


@pytest.mark.parametrize("via", INTENTS)
def test_payment_belongs_to_a_customer_account(via: Via) -> None:
    params = parameters(NewSession(via, customer_account="acct_1", amount=50))
    assert (params["customer_account"], "customer" in params) == ("acct_1", False)


def test_checkout_names_the_currency_where_no_price_does() -> None:
    setup = parameters(NewSession("checkout_session", customer="cus_1"))
    assert (setup["mode"], setup["currency"], "line_items" in setup) == ("setup", "usd", False)
    payment = parameters(NewSession("checkout_session", customer="cus_1", amount=50))
    assert (payment["mode"], "currency" in payment) == ("payment", False)
    assert payment["line_items"][0]["price_data"]["currency"] == "usd"


@pytest.mark.parametrize("via", VIA)
def test_every_kind_says_what_the_front_end_does(via: Via) -> None:
    assert STEPS[via].next
    assert STEPS[via].instructions.endswith(".")
    assert NewSession(via, customer="cus_1").step == STEPS[via]


def test_front_end_collects_a_token_where_one_account_is_linked_for_payouts() -> None:
    assert payout().step == payout(max_accounts=1).step == PAYOUT_STEP
    assert PAYOUT_STEP.next == "stripe.collectBankAccountToken"
    # A token is for one account that can be paid.
    for other in (payout(max_accounts=2), payout(filters={"require_payment_method_support": "none"})):
        assert other.step == STEPS["financial_connections"]
