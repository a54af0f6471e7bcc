"""Verdicts in the words of other schemes, each from the outcome, the scores and the reasons of a verdict."""

from __future__ import annotations

from typing import Any

import pytest

from titleholder.matching import FieldMatch, Verdict
from titleholder.matching.mappings import (
    as_confirmation_of_payee,
    as_plaid,
    as_stripe_ownership_match,
    as_verification_of_payee,
    explain_to_claimant,
)


def verdict(outcome: str, name: float | None = 100.0, *reasons: str, **fields: FieldMatch) -> Verdict:
    """A verdict whose name field has the score and the reasons; fields that are not given are missing at the bank."""
    given = {field: fields.get(field, FieldMatch(None, "bank")) for field in ("address", "phone", "email")}
    return Verdict(outcome, name, {"name": FieldMatch(name, None if name else "bank", reasons), **given}, reasons, 0, "m", "p")


@pytest.mark.parametrize(
    ("given", "claimed_type", "answer"),
    [
        (verdict("match", 100.0), "person", (True, None)),
        (verdict("match", 95.0), "person", (True, None)),
        (verdict("match", 94.9), "person", (False, "MBAM")),
        (verdict("match", None), "person", (False, "MBAM")),
        (verdict("match", 100.0, "BUSINESS_VS_PERSON"), "person", (False, "BANM")),
        (verdict("match", 100.0, "BUSINESS_VS_PERSON"), "business", (False, "PANM")),
        (verdict("close_match", 60.0), "person", (False, "MBAM")),
        (verdict("close_match", 60.0, "BUSINESS_VS_PERSON"), "person", (False, "BAMM")),
        (verdict("close_match", 60.0, "BUSINESS_VS_PERSON"), "business", (False, "PAMM")),
        (verdict("no_match", 10.0), "person", (False, "ANNM")),
        (verdict("no_match", 10.0, "BUSINESS_VS_PERSON"), "person", (False, "ANNM")),
        (verdict("not_verifiable", None, "NAME_MISSING"), "person", (False, "ANNM")),
        (verdict("not_verifiable", None, "NO_OWNERS"), "person", (False, "AC01")),
        (verdict("not_verifiable", None, "ACCOUNT_INACTIVE"), "person", (False, "AC01")),
        (verdict("not_verifiable", None, "PERMISSION_MISSING"), "person", (False, "AC01")),
        (verdict("not_verifiable", None, "REFRESH_FAILED"), "person", (False, "AC01")),
    ],
)
def test_confirmation_of_payee_has_a_code_for_each_kind_of_mismatch(
    given: Verdict, claimed_type: str, answer: tuple[bool, str | None]
) -> None:
    assert as_confirmation_of_payee(given, claimed_type) == answer


def test_confirmation_of_payee_takes_a_claim_for_a_persons() -> None:
    assert as_confirmation_of_payee(verdict("match", 100.0, "BUSINESS_VS_PERSON")) == (False, "BANM")


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (verdict("match", 95.0), "MTCH"),
        (verdict("match", 94.9), "CMTC"),
        (verdict("match", None), "CMTC"),
        (verdict("close_match", 60.0), "CMTC"),
        (verdict("no_match", 10.0), "NMTC"),
        (verdict("not_verifiable", None), "NOAP"),
    ],
)
def test_verification_of_payee_calls_a_near_name_close(given: Verdict, answer: str) -> None:
    assert as_verification_of_payee(given) == answer


def plaid_name(score: int | None, nickname: bool | None, one_name: bool | None, business: bool | None) -> dict[str, Any]:
    return {
        "score": score,
        "is_nickname_match": nickname,
        "is_first_name_or_last_name_match": one_name,
        "is_business_name_detected": business,
    }


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (verdict("match", 99.6), plaid_name(99, False, False, False)),
        (verdict("match", 97.0, "NICKNAME"), plaid_name(97, True, False, False)),
        (verdict("no_match", 40.0, "RELATIVE_LIKELY"), plaid_name(40, False, True, False)),
        (verdict("no_match", 40.0, "GIVEN_NAME_DIFFERS"), plaid_name(40, False, True, False)),
        (verdict("no_match", 40.0, "SURNAME_DIFFERS"), plaid_name(40, False, True, False)),
        (verdict("no_match", 40.0, "SURNAME_DIFFERS", "NAME_DIFFERS"), plaid_name(40, False, False, False)),
        (verdict("no_match", 0.0, "LEGAL_FORM_CONFLICT"), plaid_name(0, False, False, True)),
        (verdict("not_verifiable", None, "NICKNAME", "SURNAME_DIFFERS", "DOING_BUSINESS_AS"), plaid_name(None, None, None, None)),
    ],
)
def test_plaids_name_has_whole_scores_and_flags(given: Verdict, name: dict[str, Any]) -> None:
    assert as_plaid(given)["legal_name"] == name


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (FieldMatch(None, "claim"), {"score": None, "is_postal_code_match": None}),
        (FieldMatch(90.9), {"score": 90, "is_postal_code_match": True}),
        (FieldMatch(60.0, None, ("POSTAL_CODE_DIFFERS",)), {"score": 60, "is_postal_code_match": False}),
        (FieldMatch(60.0, None, ("CITY_ONLY",)), {"score": 60, "is_postal_code_match": False}),
    ],
)
def test_plaids_address_says_whether_the_postal_code_matches(address: FieldMatch, expected: dict[str, Any]) -> None:
    assert as_plaid(verdict("match", address=address))["address"] == expected


def test_plaid_and_stripe_have_the_scores_of_all_fields() -> None:
    given = verdict("match", 98.5, address=FieldMatch(None, "both"), phone=FieldMatch(85.0), email=FieldMatch(0.0))
    plaid = as_plaid(given)
    assert set(plaid) == {"legal_name", "address", "phone_number", "email_address"}
    assert (plaid["phone_number"], plaid["email_address"]) == ({"score": 85}, {"score": 0})
    assert as_stripe_ownership_match(given) == {
        "name": {"match_score": 98, "missing_data": None},
        "address": {"match_score": None, "missing_data": "both"},
        "phone": {"match_score": 85, "missing_data": None},
        "email": {"match_score": 0, "missing_data": None},
    }


@pytest.mark.parametrize(
    ("outcome", "owner_name", "permitted", "shown"),
    [
        ("close_match", "JANE DOE", True, True),
        ("close_match", "JANE DOE", False, False),
        ("close_match", None, True, False),
        ("match", "JANE DOE", True, False),
        ("no_match", "JANE DOE", True, False),
    ],
)
def test_owners_name_is_shown_for_a_close_match_where_that_is_permitted(
    outcome: str, owner_name: str | None, permitted: bool, shown: bool
) -> None:
    sentences = explain_to_claimant(verdict(outcome, 60.0, "NICKNAME"), owner_name, permitted)
    assert sentences[1:] == (["The name on the account is JANE DOE."] if shown else [])


def test_owners_name_is_not_shown_unless_that_is_said_to_be_permitted() -> None:
    assert explain_to_claimant(verdict("close_match", 60.0), "JANE DOE") == []
