"""docs/reference/claims.md has every field of a claim, and says truly how it is read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from local.stripe_simulator.scenarios import SCENARIOS
from titleholder.batches.manifests import ADDRESS_COLUMNS, CLAIM_COLUMNS
from titleholder.matching import decide, match
from titleholder.matching.result import CONTACTS
from titleholder.schemas import Address, Claim
from tools.reference import FOLDER
from tools.reference.claims import BUSINESS, FIELDS, NAMES, PARTS, PERSON

PAGE = (FOLDER / "claims.md").read_text()
SAME = [(name, written, read.same[0]) for name, read in FIELDS.items() for written in read.same]


def test_page_has_every_field_of_a_claim_and_no_other() -> None:
    assert list(FIELDS) == list(Claim.model_fields) == list(CLAIM_COLUMNS)
    assert list(PARTS) == list(Address.model_fields) == list(ADDRESS_COLUMNS)
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [*FIELDS, *PARTS]


@pytest.mark.parametrize("name", FIELDS)
def test_field_is_a_name_of_its_own_only_if_the_page_says_so(name: str) -> None:
    value: Any = ["Jane Doe"] if name == "aka" else "person" if name == "type" else "Jane"
    if name in NAMES:
        Claim.model_validate({name: value})
    else:
        with pytest.raises(ValidationError):
            Claim.model_validate({name: value})
        Claim.model_validate({"name": "Jane Doe", name: value})


@pytest.mark.parametrize("example", re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
def test_example_is_accepted_as_it_stands(example: str) -> None:
    assert Claim.model_validate(json.loads(example)).as_dict() in (PERSON, BUSINESS)


@pytest.mark.parametrize(("claim", "scenario"), [(PERSON, "single_owner"), (BUSINESS, "business")])
def test_example_matches_the_scenario_that_the_page_names(claim: dict[str, Any], scenario: str) -> None:
    verdict = decide(claim, [dict(owner) for owner in SCENARIOS[scenario].owners])
    assert verdict.outcome == "match"
    assert {name: field.score for name, field in verdict.fields.items() if (field.score or 0) < 90} == {}


@pytest.mark.parametrize(("name", "written", "held"), SAME)
def test_spellings_that_the_page_calls_the_same_cost_two_points_at_most(name: str, written: str, held: str) -> None:
    field = name if name in dict(CONTACTS) else "name"
    owner = {"name": held} if field == "name" else {"name": "JANE DOE", dict(CONTACTS)[field]: held}
    claim = {name: written} if field == "name" else {"name": "Jane Doe", name: written}
    assert (match(claim, owner).fields[field].score or 0) >= 98


@pytest.mark.parametrize("placeholder", ["N/A", "unknown", "none", "test"])
@pytest.mark.parametrize("field", ["name", "address", "phone", "email"])
def test_placeholder_counts_as_missing(field: str, placeholder: str) -> None:
    owner = {"name": "JANE DOE", "raw_address": "1 ELM ST", "phone": "415-555-0134", "email": "jane@example.com"}
    assert match({"name": "Jane Doe", field: placeholder}, owner).fields[field].missing == "claim"


def test_phone_of_zeros_counts_as_missing() -> None:
    found = match({"name": "Jane Doe", "phone": "0000000000"}, {"name": "JANE DOE", "phone": "415-555-0134"})
    assert (found.fields["phone"].score, found.fields["phone"].missing) == (None, "claim")


def test_country_is_not_compared() -> None:
    parts = {"line1": "1 Elm St", "city": "Reno", "state": "NV", "postal_code": "89501"}
    scores = [
        match({"name": "J D", "address": {**parts, "country": country}}, {"name": "J D", "raw_address": "1 ELM ST RENO NV 89501"})
        .fields["address"].score for country in ("US", "FR")
    ]  # fmt: skip
    assert scores[0] == scores[1]


@pytest.mark.parametrize("name", ["word " * 81, "a" * 601])
def test_longer_name_than_is_read_never_matches(name: str) -> None:
    assert decide({"name": name.strip()}, [{"name": name.strip()}]).outcome != "match"


def test_two_forms_of_different_names_contradict_each_other() -> None:
    for claim in (
        {"given": "Edgar", "family": "Colby", "name": "Alma Venable"},
        {"given": "Edgar", "family": "Colby", "business_name": "X LLC"},
    ):
        found = match(claim, {"name": "EDGAR COLBY"})
        assert "CLAIM_CONTRADICTS_ITSELF" in found.reasons
        assert found.score <= 69
