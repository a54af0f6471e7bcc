"""What Stripe is asked for when accounts are to be linked."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from titleholder.services.linking import STEPS, NewSession, Via, parameters

VIA = get_args(Via)


def permissions(params: dict[str, Any]) -> list[str]:
    bank = params.get("payment_method_options", {}).get("us_bank_account", {})
    return list(params.get("permissions") or bank["financial_connections"]["permissions"])


@pytest.mark.parametrize("via", VIA)
@pytest.mark.parametrize("more", [(), ("balances",), ("ownership", "payment_method", "transactions")])
def test_owners_are_always_asked_for_and_each_permission_once(via: Via, more: tuple[str, ...]) -> None:
    asked = permissions(parameters(NewSession(via, customer="cus_1", permissions=more, amount=50)))
    assert {"ownership", *more} <= set(asked)
    assert len(asked) == len(set(asked))
    assert via == "financial_connections" or "payment_method" in asked


@pytest.mark.parametrize("via", VIA)
def test_what_nobody_asked_for_is_left_to_stripe(via: Via) -> None:
    text = str(parameters(NewSession(via, customer="cus_1", amount=50)))
    assert not [word for word in ("prefetch", "filters", "limits", "manual_entry", "verification_method", "None") if word in text]


@pytest.mark.parametrize("via", VIA)
def test_every_kind_says_what_the_front_end_does(via: Via) -> None:
    assert STEPS[via].next
    assert STEPS[via].instructions.endswith(".")
