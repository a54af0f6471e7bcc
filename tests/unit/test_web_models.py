"""The shapes of what callers send: strict, closed, bounded; what passes goes to the matcher as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from titleholder.web.models import Claim, NewRefresh, NewVerification


@pytest.mark.parametrize("named", [{"name": "A"}, {"given": "A"}, {"family": "A"}, {"business_name": "A"}])
def test_claim_needs_one_kind_of_name(named: dict[str, str]) -> None:
    assert Claim.model_validate(named).as_dict() == named


@pytest.mark.parametrize("given_", [{}, {"middle": "A"}, {"suffix": "Jr"}, {"aka": ["A"]}, {"email": "a@b.c"}, {"name": None}])
def test_claim_without_a_name_is_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Claim.model_validate(given_)


def test_claim_goes_on_without_what_was_not_given_and_without_outer_space() -> None:
    sent = {"name": "  Ada  L ", "address": {"line1": "1 A St", "city": None}, "phone": None, "aka": [" B "]}
    assert Claim.model_validate(sent).as_dict() == {"name": "Ada  L", "address": {"line1": "1 A St"}, "aka": ["B"]}


@pytest.mark.parametrize("address", ["1 A St\nSpringfield", {"postal_code": "1"}, "1 A St\tApt 4"])
def test_address_is_text_of_lines_or_parts(address: Any) -> None:
    assert Claim.model_validate({"name": "A", "address": address}).as_dict()["address"] == address


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "a\x1bb", "a\x7f", "", " ", "x" * 1001, "\ud800", 1, True, None, [], {}])
def test_text_that_no_name_holds_is_refused(text: Any) -> None:
    with pytest.raises(ValidationError):
        Claim.model_validate({"name": text})


@pytest.mark.parametrize("text", ["Ñandú Ørsted", "李 小龍", "O'Brien-Smith, Jr.", "محمد", "x" * 1000, "🙂"])
def test_names_of_all_scripts_are_accepted(text: str) -> None:
    assert Claim.model_validate({"name": text}).as_dict() == {"name": text}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=1000))
def test_any_text_without_controls_is_a_name(text: str) -> None:
    assert Claim.model_validate({"name": text}).name == text


@pytest.mark.parametrize("max_age", [0, 1, 366 * 86_400])
def test_max_age_within_bounds(max_age: int) -> None:
    assert NewVerification.model_validate({"account": "fca_1", "claim": {"name": "A"}, "max_age": max_age}).max_age == max_age
    assert NewRefresh.model_validate({"max_age": max_age}).max_age == max_age


@pytest.mark.parametrize("max_age", [-1, 366 * 86_400 + 1, "0", 0.0, True, []])
def test_max_age_of_another_kind(max_age: Any) -> None:
    with pytest.raises(ValidationError):
        NewRefresh.model_validate({"max_age": max_age})


@pytest.mark.parametrize("account", ["fca_1", "fca_A_z9", "fca_" + "x" * 120])
def test_account_ids(account: str) -> None:
    assert NewVerification.model_validate({"account": account, "claim": {"name": "A"}}).account == account


@pytest.mark.parametrize("account", ["", "fca_", "fca-1", "FCA_1", " fca_1", "fca_1 ", "fca_1\n", "fca_é", "x\nfca_1", "fca_" + "x" * 121])
def test_what_is_no_account_id(account: str) -> None:
    with pytest.raises(ValidationError):
        NewVerification.model_validate({"account": account, "claim": {"name": "A"}})
