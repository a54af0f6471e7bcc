"""docs/reference/policy.md has every entry of a policy and every field beside the claim, with the limits that the code checks."""

from __future__ import annotations

import json
import re
from dataclasses import fields as fields_of
from typing import Any

import pytest
from pydantic import ValidationError

from titleholder.domain.accounts import AccountState, OwnershipRefresh
from titleholder.domain.refresh_policy import CoolingDown, FreshnessRequirement, NotVerifiable, decide
from titleholder.matching import DEFAULT_POLICY, Policy, PolicyError
from titleholder.matching import decide as compare
from titleholder.web.models import TARGETS, NewBatch, NewRefresh, NewVerification
from tools.reference import FOLDER
from tools.reference.policy import ENTRIES, default_of_refreshes, fields

PAGE = (FOLDER / "policy.md").read_text()
EXAMPLES = {text["version"]: Policy.from_request(text) for text in map(json.loads, re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))}
REQUEST = {"account": "fca_1", "claim": {"name": "Jane Doe"}}


def test_page_has_every_entry_of_a_policy_and_no_other() -> None:
    assert list(ENTRIES) == [field.name for field in fields_of(Policy)] == list(DEFAULT_POLICY.as_dict())


def test_page_has_every_field_of_a_verification_beside_its_target_and_claim() -> None:
    assert set(fields()) == set(NewVerification.model_fields) - set(TARGETS) - {"claim"}
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [*fields(), *ENTRIES]


def test_batches_and_refreshes_take_what_the_page_says() -> None:
    assert {"max_age", "policy"} == set(NewBatch.model_fields) & set(fields())
    assert set(NewRefresh.model_fields) == {"max_age"}
    assert default_of_refreshes() == 86_400


@pytest.mark.parametrize("name", ["max_age", "wait"])
def test_number_has_the_limits_of_the_page(name: str) -> None:
    [most] = re.findall(r"from 0 to (\d+)", fields()[name][0])
    for value in (0, int(most)):
        NewVerification.model_validate({**REQUEST, name: value})
    for value in (-1, int(most) + 1):
        with pytest.raises(ValidationError):
            NewVerification.model_validate({**REQUEST, name: value})


@pytest.mark.parametrize(
    ("entry", "good", "bad"),
    [
        ("version", ["x", "x" * 64], ["", "x" * 65, 1]),
        ("match_threshold", [50, 100], [101, "70"]),
        ("close_match_threshold", [0, 70], [71, -1]),
        ("required_fields", [["name", "phone"], []], [["iban"], "phone"]),
        ("field_thresholds", [{"phone": 0}, {"address": 100, "email": 1}], [{"name": 70}, {"phone": 101}, []]),
        ("never_close", [["NICKNAME"], []], [["NO_SUCH_REASON"], "NICKNAME"]),
    ],
)
def test_entry_has_the_type_and_limits_of_the_page(entry: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        Policy.from_request({"version": "mine", entry: value})
    for value in bad:
        with pytest.raises(PolicyError) as caught:
            Policy.from_request({"version": "mine", entry: value})
        assert caught.value.field.partition(".")[0] == entry


def test_example_is_accepted_and_does_what_the_page_says() -> None:
    example = EXAMPLES["payouts-1"]
    claim = {"name": "Jane Doe", "phone": "5550134"}
    assert compare(claim, [{"name": "JANE DOE", "phone": "+1 415 555 0134"}], example).outcome == "match"
    assert compare(claim, [{"name": "JANE DOE"}], example).outcome == "not_verifiable"
    assert compare(claim, [{"name": "JANE DOE", "phone": "+1 415 555 0178"}], example).outcome == "no_match"


def outcome(claim: str, owner: str, policy: Policy = DEFAULT_POLICY) -> str:
    return compare({"name": claim}, [{"name": owner}], policy).outcome


@pytest.mark.parametrize(
    ("claim", "owner", "reason", "by_default"),
    [
        ("Edgar Colby", "MRS EDGAR COLBY", "SPOUSE_TITLE", "close_match"),
        ("Edgar Colby", "MR & MRS EDGAR COLBY", "SPOUSE_TITLE", "close_match"),
        ("Naresh Gill", "VIKAS GILL S/O NARESH GILL", "PARENT_OF_OWNER", "close_match"),
        ("Naresh Gill", "SITA GILL W/O NARESH GILL", "PARENT_OF_OWNER", "close_match"),
        ("Alma Venable", "ESTATE OF EDGAR COLBY ALMA VENABLE EXEC", "SIGNER_ONLY", "close_match"),
        ("Juan Santos Reyes", "JUAN REYES SANTOS", "MAIDEN_NAME_LIKELY", "close_match"),
        ("John Doe", "MARY DOE", "RELATIVE_LIKELY", "no_match"),
        ("Walter Colby", "WALTER VENABLE", "SURNAME_DIFFERS", "no_match"),
    ],
)
def test_lenders_policy_of_the_page_refuses_spouses_and_relatives(claim: str, owner: str, reason: str, by_default: str) -> None:
    lender = EXAMPLES["lender-1"]
    assert set(lender.never_close) > set(DEFAULT_POLICY.never_close)
    assert reason in compare({"name": claim}, [{"name": owner}], lender).reasons
    assert (outcome(claim, owner), outcome(claim, owner, lender)) == (by_default, "no_match")


def test_lenders_policy_of_the_page_takes_an_owner_of_a_joint_account() -> None:
    assert outcome("Jane Doe", "JOHN ROE & JANE DOE", EXAMPLES["lender-1"]) == "match"


def test_list_of_reasons_replaces_the_default_one_as_the_page_says() -> None:
    only = Policy.from_request({"version": "x", "never_close": ["SPOUSE_TITLE"]})
    assert (outcome("John Doe", "MARY DOE"), outcome("John Doe", "MARY DOE", only)) == ("no_match", "close_match")


def test_no_reason_prevents_a_match_below_the_thresholds_that_the_page_calls_safe() -> None:
    low = Policy.from_request({"version": "x", "match_threshold": 50})
    verdict = compare({"name": "John Doe"}, [{"name": "MARY DOE"}], low)
    assert (verdict.outcome, verdict.score, verdict.reasons[0]) == ("match", 50.19, "RELATIVE_LIKELY")
    assert "the score is 50.19" in " ".join(PAGE.split())


def test_max_age_of_zero_waits_out_the_cooldown_of_a_refresh_that_has_just_succeeded() -> None:
    state = AccountState(
        "active", ["ownership"], OwnershipRefresh("succeeded", last_attempted_at=1000, next_refresh_available_at=1000 + 6 * 3600)
    )
    need = FreshnessRequirement(not_before=2000, requested_at=2000, deadline=2000 + 7 * 86_400)
    assert decide(state, need, 2000, None) == CoolingDown(1000 + 6 * 3600)
    shorter = FreshnessRequirement(not_before=2000, requested_at=2000, deadline=2000 + 3600)
    assert decide(state, shorter, 2000, None) == NotVerifiable("COOLDOWN_BEYOND_DEADLINE")
