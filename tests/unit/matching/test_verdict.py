"""The verdict: the name comes before all else, a missing field is not a mismatch, and policies are data."""

import json
from dataclasses import replace
from typing import Any

import pytest

from titleholder.matching import DEFAULT_POLICY, MATCHER_VERSION, Policy, PolicyError, decide, explain, match
from titleholder.matching.explanations import SENTENCES, UNLIKE, shown
from titleholder.matching.mappings import (
    as_confirmation_of_payee,
    as_plaid,
    as_stripe_ownership_match,
    as_verification_of_payee,
    explain_to_claimant,
)
from titleholder.matching.result import FieldMatch

CLAIM = {"given": "Jane", "family": "Doe", "phone": "415 555 0134", "email": "jane@example.com", "address": "12 Elm St, Reno, NV 89501"}
SAME_CONTACTS = {"phone": "4155550134", "email": "jane@example.com", "raw_address": "12 ELM ST RENO NV 89501"}


def test_matching_contacts_never_rescue_a_wrong_name() -> None:
    for name in ("JOHN DOE", "MARY DOE", "JANE SMITH", "PETER PAN"):
        verdict = decide(CLAIM, [{"name": name, **SAME_CONTACTS}])
        assert verdict.outcome == "no_match", name
        assert verdict.score is not None
        assert verdict.score < 70
        assert verdict.fields["phone"].score == 100


def test_a_matching_phone_and_email_do_not_move_a_wrong_name_at_all() -> None:
    claim = {k: v for k, v in CLAIM.items() if k != "address"}
    alone = match({"given": "Jane", "family": "Doe"}, {"name": "JANE SMITH"}).score
    assert match(claim, {"name": "JANE SMITH", "phone": "4155550134", "email": "jane@example.com"}).score == alone


def test_a_matching_contact_lifts_a_near_name_but_not_among_the_good_ones() -> None:
    claim = {"given": "Nancy", "family": "Wslliiam"}
    alone = match(claim, {"name": "NANCY WILLIAMS"}).score
    lifted = match({**claim, "phone": "4155550134"}, {"name": "NANCY WILLIAMS", "phone": "4155550134"})
    assert alone < lifted.score <= 89
    assert "CONTACT_AGREES" in lifted.reasons


def test_no_contact_makes_another_surname_of_a_longer_one_a_match() -> None:
    contacts = {"phone": "4155550134", "email": "jane@example.com"}
    for mine, held in (("Maria Teresa", "MARIA TERE"), ("Colin Davidson", "COLIN DAVID"), ("Ana Martinez", "ANA MARTIN")):
        assert match({"name": mine, **contacts}, {"name": held, **contacts}).score < 70, held


def test_missing_fields_neither_help_nor_hurt() -> None:
    bare = match({"given": "Jane", "family": "Doe"}, {"name": "JANE DOE"})
    assert match(CLAIM, {"name": "JANE DOE", "phone": None, "email": None, "raw_address": None}).score == bare.score
    assert match({"given": "Jane", "family": "Doe"}, {"name": "JANE DOE", **SAME_CONTACTS}).score == bare.score


def test_verdict_says_which_side_lacks_a_field() -> None:
    fields = match({"given": "Jane", "phone": "4155550134"}, {"name": "JANE", "email": "jane@example.com"}).fields
    assert set(fields) == {"name", "address", "phone", "email"}
    assert (fields["phone"].missing, fields["email"].missing, fields["address"].missing) == ("bank", "claim", "both")
    assert fields["phone"].score is None


def test_different_contacts_leave_an_exact_name_a_match() -> None:
    verdict = decide(
        CLAIM, [{"name": "JANE DOE", "phone": "2025550100", "email": "other@example.com", "raw_address": "9 OAK RD, MIAMI FL 33101"}]
    )
    assert verdict.outcome == "match"
    assert verdict.score is not None
    assert verdict.score < 99


def test_the_best_owner_counts_and_is_named_by_position() -> None:
    verdict = decide({"given": "Jane", "family": "Doe"}, [{"name": "JOHN DOE"}, {"name": "JANE DOE"}, {"name": "J DOE"}])
    assert (verdict.outcome, verdict.owner_position) == ("match", 1)
    assert "JOINT_OWNER" in verdict.reasons
    tie = decide({"given": "Jane", "family": "Doe"}, [{"name": "JANE DOE"}, {"name": "JANE DOE"}])
    assert tie.owner_position == 0


@pytest.mark.parametrize(
    ("claim", "owners", "reason", "position"),
    [
        ({"name": "Jane Doe"}, [], "NO_OWNERS", None),
        ({"name": "Jane Doe"}, [{"name": "  "}], "NAME_MISSING", 0),
        ({}, [{"name": "Jane Doe"}], "NAME_MISSING", 0),
        ({"phone": "4155550134"}, [{"name": "", "phone": "4155550134"}], "NAME_MISSING", 0),
    ],
)
def test_without_names_nothing_can_be_verified(
    claim: dict[str, object], owners: list[dict[str, object]], reason: str, position: int | None
) -> None:
    verdict = decide(claim, owners)
    assert (verdict.outcome, verdict.reasons[0], verdict.owner_position) == ("not_verifiable", reason, position)
    assert verdict.score is None


def test_verdict_as_dict_is_json_without_personal_data() -> None:
    verdict = decide(CLAIM, [{"name": "JANET DOE", **SAME_CONTACTS}])
    text = json.dumps(verdict.as_dict()).lower()
    assert not any(secret in text for secret in ("jane", "doe", "4155550134", "example.com", "elm"))
    assert verdict.as_dict()["matcher_version"] == MATCHER_VERSION
    assert verdict.as_dict()["policy_version"] == DEFAULT_POLICY.version


def test_policy_thresholds_move_the_outcome() -> None:
    owners = [{"name": "J DOE"}]
    assert decide({"given": "Jane", "family": "Doe"}, owners).outcome == "match"
    strict = Policy.from_dict({"version": "strict-1", "match_threshold": 95, "close_match_threshold": 60})
    verdict = decide({"given": "Jane", "family": "Doe"}, owners, strict)
    assert (verdict.outcome, verdict.policy_version) == ("close_match", "strict-1")


def test_a_relative_is_never_a_close_match_whatever_the_thresholds() -> None:
    lax = Policy.from_dict({"version": "lax-1", "match_threshold": 70, "close_match_threshold": 10})
    assert decide({"given": "Jane", "family": "Doe"}, [{"name": "JOHN DOE"}], lax).outcome == "no_match"


def test_required_fields_must_be_there_and_agree() -> None:
    policy = Policy.from_dict({"version": "phone-1", "required_fields": ["phone"]})
    absent = decide(CLAIM, [{"name": "JANE DOE"}], policy)
    assert (absent.outcome, absent.reasons[0]) == ("not_verifiable", "REQUIRED_FIELD_MISSING")
    other = decide(CLAIM, [{"name": "JANE DOE", "phone": "2025550100"}], policy)
    assert (other.outcome, other.reasons[0]) == ("no_match", "REQUIRED_FIELD_DIFFERS")
    assert decide(CLAIM, [{"name": "JANE DOE", "phone": "4155550134"}], policy).outcome == "match"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "policy"),
        ({"version": "x", "match_threshold": 101}, "match_threshold"),
        ({"version": "x", "match_threshold": "70"}, "match_threshold"),
        ({"version": "x", "match_threshold": True}, "match_threshold"),
        ({"version": "x", "close_match_threshold": 80}, "close_match_threshold"),
        ({"version": "x", "required_fields": "phone"}, "required_fields"),
        ({"version": "x", "required_fields": ["fax"]}, "required_fields"),
        ({"version": "x", "field_thresholds": {"name": 5}}, "field_thresholds"),
        ({"version": "x", "field_thresholds": {"phone": -1}}, "field_thresholds.phone"),
        ({"version": "x", "never_close": ["NONSENSE"]}, "never_close"),
        ({"version": 7}, "version"),
        ({"version": ""}, "version"),
        ({"match_threshold": 80}, "version"),
        ({"version": "x", "threshold": 80}, "threshold"),
    ],
)
def test_a_bad_policy_is_refused_by_the_name_of_the_field(data: object, field: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(data)
    assert caught.value.field == field


def test_a_policy_survives_its_own_data() -> None:
    assert Policy.from_dict(DEFAULT_POLICY.as_dict()) == DEFAULT_POLICY
    assert Policy.from_dict({}) == DEFAULT_POLICY


def test_every_reason_has_a_sentence() -> None:
    assert all(explain(code) == SENTENCES[code] and SENTENCES[code].endswith(".") for code in SENTENCES)


def test_a_reason_of_a_later_release_gets_a_general_sentence_so_that_showing_its_verdict_does_not_fail() -> None:
    assert explain("NO_SUCH_REASON") == "There is another reason, which this release cannot explain (NO_SUCH_REASON)."
    later = replace(decide({"name": "Alma Colby"}, [{"name": "ALMA COLBY"}]), reasons=("NO_SUCH_REASON",))
    assert explain_to_claimant(later) == [explain("NO_SUCH_REASON")]


@pytest.mark.parametrize(
    ("claim", "owner", "codes"),
    [
        ({"name": "Walter Colby"}, "WALTER COLBY LLC", ("BUSINESS_VS_PERSON",)),
        ({"name": "Edgar Colby"}, "EDGAR COLBY IRREVOCABLE TRUST", ("TRUST",)),
        ({"name": "Edgar Colby"}, "ESTATE OF EDGAR COLBY", ("ESTATE",)),
        ({"name": "Hazel Colby"}, "EDGAR WHITE (TOD) HAZEL COLBY", ("BENEFICIARY_ONLY",)),
        ({"name": "Abdullah Ahmed Al Hakim"}, "ABDULLAH YAHYA AL HAKIM", ("MIDDLE_DIFFERS",)),
        ({"name": "Watban Ibrahim Hassan Al-Mosuli"}, "WATBAN IBRAHIM HASSAN AL-TIKRITI", ("SURNAME_DIFFERS",)),
        ({"name": "Hazel Colby"}, "EDGAR WHITE & HAZEL COLBY", ("NORMALISED", "JOINT_OWNER")),
        ({"name": "Hazel Colby"}, "MRS HAZEL COLBY", ("NORMALISED",)),
    ],
)
def test_no_sentence_says_that_names_are_the_same_beside_one_that_says_that_they_differ(
    claim: dict[str, Any], owner: str, codes: tuple[str, ...]
) -> None:
    verdict = decide(claim, [{"name": owner}])
    assert "NORMALISED" in verdict.reasons
    assert shown(verdict.reasons) == codes
    assert explain_to_claimant(verdict) == [explain(code) for code in codes]


def test_same_names_are_said_beside_what_the_contacts_show() -> None:
    assert shown(["NORMALISED", "PHONE_DIFFERS", "CONTACT_DIFFERS"]) == ("NORMALISED", "PHONE_DIFFERS", "CONTACT_DIFFERS")
    assert shown(["SURNAME_DIFFERS", "NO_SUCH_REASON", "NORMALISED"]) == ("SURNAME_DIFFERS", "NO_SUCH_REASON")
    assert set(UNLIKE) < set(SENTENCES)


@pytest.mark.parametrize("text", ["", "close match", "ALMA COLBY", "A" * 65, "NICKNAME\n"])
def test_a_text_that_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a reason code"):
        explain(text)


def test_the_owners_name_is_shown_for_a_permitted_close_match_only() -> None:
    close = decide({"given": "John", "family": "Smith"}, [{"name": "JOHN SMITH PLUMBING LLC"}])
    wrong = decide({"given": "John", "family": "Smith"}, [{"name": "MARY SMITH"}])
    assert close.outcome == "close_match"
    assert "PLUMBING" in " ".join(explain_to_claimant(close, "JOHN SMITH PLUMBING LLC", permitted=True))
    assert "PLUMBING" not in " ".join(explain_to_claimant(close, "JOHN SMITH PLUMBING LLC"))
    assert "MARY" not in " ".join(explain_to_claimant(wrong, "MARY SMITH", permitted=True))


def test_outcomes_map_to_other_schemes() -> None:
    def verdict(claim: dict[str, object], name: str) -> object:
        return decide(claim, [{"name": name}])

    jane = {"given": "Jane", "family": "Doe"}
    table = [
        (verdict(jane, "JANE DOE"), (True, None), "MTCH"),
        (verdict(jane, "JANE DEO"), (False, "MBAM"), "CMTC"),
        (verdict(jane, "J DOE"), (False, "MBAM"), "CMTC"),
        (verdict(jane, "JOHN DOE"), (False, "ANNM"), "NMTC"),
        (verdict(jane, "JANE DOE PLUMBING LLC"), (False, "BAMM"), "CMTC"),
        (decide(jane, []), (False, "AC01"), "NOAP"),
    ]
    for given, payee, verification in table:
        assert as_confirmation_of_payee(given) == payee
        assert as_verification_of_payee(given) == verification


def test_plaid_flags_and_whole_scores() -> None:
    answer = as_plaid(decide({"given": "Jennifer", "family": "Smith"}, [{"name": "JENN SMITH"}]))
    assert answer["legal_name"] == {
        "score": 90,
        "is_nickname_match": True,
        "is_first_name_or_last_name_match": False,
        "is_business_name_detected": False,
    }
    assert answer["phone_number"] == {"score": None}
    relative = as_plaid(decide({"given": "Jane", "family": "Doe"}, [{"name": "JOHN DOE"}]))
    assert relative["legal_name"]["is_first_name_or_last_name_match"] is True


def test_stripe_ownership_match_says_score_and_missing_data() -> None:
    answer = as_stripe_ownership_match(decide({"given": "Jane", "family": "Doe", "phone": "4155550134"}, [{"name": "JANE DOE"}]))
    assert answer["name"] == {"match_score": 100, "missing_data": None}
    assert answer["phone"] == {"match_score": None, "missing_data": "bank"}


def test_a_wrong_or_merely_similar_name_at_another_address_ranks_lower() -> None:
    elsewhere = {"raw_address": "9 OAK RD, MIAMI FL 33101"}
    for name in ("JANE SMITH", "MARY DOE"):
        assert match(CLAIM, {"name": name, **elsewhere}).score < match(CLAIM, {"name": name}).score
    assert match(CLAIM, {"name": "DOE JANE", **elsewhere}).score >= 70


def test_another_surname_at_the_same_address_is_no_match_in_either_order() -> None:
    for name in ("JANE SMITH", "SMITH JANE"):
        verdict = decide(CLAIM, [{"name": name, "raw_address": "12 ELM ST RENO NV 89501"}])
        assert verdict.outcome == "no_match", name
        assert verdict.score is not None
        assert 50 < verdict.score < 70


def test_scrambled_letters_are_for_review_unless_both_names_are_known() -> None:
    assert 50 <= match({"given": "Leo", "family": "Miller"}, {"name": "OEL MILLER"}).score < 70
    assert match({"given": "Amy", "family": "Miller"}, {"name": "MAY MILLER"}).score < 60


def test_a_given_name_wrong_at_both_ends_is_at_most_for_review() -> None:
    for name in ("AESSICJ", "KESSICS"):
        assert match({"given": "Jessica", "family": "Miller"}, {"name": f"{name} MILLER"}).score < 70


def test_required_address_without_a_part_in_common_is_not_verifiable() -> None:
    policy = Policy(version="address", required_fields=("address",))
    verdict = decide({"name": "Edgar Colby", "address": "12 Elm St"}, [{"name": "EDGAR COLBY", "raw_address": "RENO NV 89501"}], policy)
    assert (verdict.outcome, verdict.reasons[0], verdict.fields["address"]) == (
        "not_verifiable",
        "REQUIRED_FIELD_MISSING",
        FieldMatch(None, "both"),
    )
