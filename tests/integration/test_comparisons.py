"""The comparison that a reviewer gets of claim and owner: recorded first, and only what a decision needs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.reviews import ANNE, BOB, CLOSE, TENANT, WRONG, decide, deps, verified
from tests.support.sandbox import PERSONAL, Moment, Sandbox
from titleholder.domain.accounts import Tenant
from titleholder.domain.differences import MOST_CHARACTERS, Comparison, Part
from titleholder.domain.verifications import Verification
from titleholder.errors import (
    AccountErasedError,
    AuditUnavailableError,
    ClaimErasedError,
    ReviewClosedError,
    ReviewNotFoundError,
    VerificationNotFoundError,
)
from titleholder.services import comparisons, reviews
from titleholder.services.audit import By
from titleholder.timestamps import DAY_SECONDS
from titleholder.web import review_models


@pytest.fixture
def reviewing(sandbox: Sandbox) -> Sandbox:
    """A deployment where one reviewer decides."""
    sandbox.cold_start(REVIEWERS_NEEDED="1")
    return sandbox


def compare(verification: Verification, by: By = ANNE, tenant: Tenant = TENANT) -> Comparison:
    return comparisons.compare(deps(), tenant, verification.id, by)


def marked(parts: Any) -> str:
    return "".join(f"[{part.text}]" if part.differs else part.text for part in parts)


def looks(sandbox: Sandbox) -> list[dict[str, str]]:
    entries = [item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#")]
    plain = [{name: str(next(iter(value.values()))) for name, value in item.items()} for item in entries]
    return [entry for entry in plain if entry["action"] == "comparison.read"]


def test_what_differs_is_shown_and_what_agrees_is_not(reviewing: Sandbox) -> None:
    verification = verified(reviewing, {**CLOSE, "email": "m.testerman@example.com"})
    found = compare(verification)
    name, address, phone, email = found.fields
    assert (marked(name.claim), marked(name.bank)) == ("Margaret [Louise] Testerman", "MARGARET [ANNE] TESTERMAN")
    assert [(field.same, field.claim, field.bank) for field in (address, phone)] == [(True, None, None)] * 2
    assert (marked(email.claim), marked(email.bank)) == ("m.testerman@example.com", "m[argaret].testerman@example.com")
    assert found.may_tell == [*dict.fromkeys(found.may_tell)] != []
    assert (found.newest, found.owner_position, found.may_name_owner, found.other_owners) == (True, 0, True, [])


def test_look_is_recorded_before_it_is_shown_and_once(reviewing: Sandbox) -> None:
    verification = verified(reviewing)
    found = compare(verification)
    (look,) = looks(reviewing)
    assert (look["actor"], look["request"], look["state"]) == (ANNE.actor, ANNE.request, "done")
    assert (look["verification"], look["snapshot"], look["account"]) == (verification.id, found.snapshot, verification.ref.account)
    compare(verification, BOB)
    assert [look["actor"] for look in looks(reviewing)].count(BOB.actor) == 1
    assert not [word for word in PERSONAL if word in str(reviewing.items()).lower()]


def test_nothing_is_shown_where_the_look_cannot_be_recorded(reviewing: Sandbox) -> None:
    verification = verified(reviewing)

    def refuse(moment: Moment) -> None:
        if moment.operation == "put_item" and moment.arguments["Item"]["pk"]["S"].startswith("AUDIT#"):
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "no"}}, "PutItem")

    reviewing.taps.append(refuse)
    with pytest.raises(AuditUnavailableError) as caught:
        compare(verification)
    assert not [word for word in PERSONAL if word in str(caught.value).lower()]
    reviewing.taps.remove(refuse)
    assert looks(reviewing) == []
    assert reviewing.store.reviews.get(verification.ref, verification.id).seen_by is None


def test_look_is_counted_with_those_at_owners(reviewing: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    verification = verified(reviewing)
    counted: list[str] = []
    monkeypatch.setattr(comparisons.metrics, "add_metric", lambda name, **_: counted.append(name))
    compare(verification)
    assert counted == ["OwnersRead"]


def test_others_see_when_it_was_looked_at(reviewing: Sandbox) -> None:
    verification = verified(reviewing)
    compare(verification)
    review = reviewing.store.reviews.get(verification.ref, verification.id)
    assert (review.seen_by, review.seen_at) == (ANNE.actor, reviewing.clock.now)
    assert (review.state, review.version) == ("open", 1)


def test_look_that_cannot_be_noted_is_shown_all_the_same(reviewing: Sandbox) -> None:
    verification = verified(reviewing)

    def refuse(moment: Moment) -> None:
        if moment.operation == "update_item" and moment.arguments["Key"]["sk"]["S"].startswith("REVIEW#"):
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "UpdateItem")

    reviewing.taps.append(refuse)
    assert compare(verification).fields
    reviewing.taps.remove(refuse)
    assert len(looks(reviewing)) == 1


def test_names_of_other_owners_are_shown_without_their_contacts(reviewing: Sandbox) -> None:
    owner = {"name": "MARGARET ANNE TESTERMAN", "email": "margaret.testerman@example.com"}
    others = [{"name": f"SIGNATORY {number:02}", "email": f"s{number}@example.com"} for number in range(12)]
    verification = verified(reviewing, {**CLOSE, "phone": "+1 555 555 0199"}, reviewing.link(owners=[others[0], owner, *others[1:]]))
    found = compare(verification)
    assert (found.owner_position, found.other_owner_count) == (1, 12)
    assert found.other_owners == [f"SIGNATORY {number:02}" for number in range(10)]
    assert "s0@example.com" not in review_models.Comparison.of(found).model_dump_json()


def test_other_owners_are_not_named_where_the_name_agrees(reviewing: Sandbox) -> None:
    ref = reviewing.link(owners=[{"name": "MARGARET ANNE TESTERMAN"}, {"name": "SIGNATORY 02"}])
    verification = verified(reviewing, {"name": "Margaret Anne Testerman"}, ref)
    reviews.open_by_hand(deps(), TENANT, verification.id, BOB)
    found = compare(verification)
    assert (found.other_owner_count, found.other_owners) == (1, [])
    assert (found.fields[0].same, found.fields[0].claim, found.may_name_owner) == (True, None, False)


def test_owner_of_a_mismatch_may_not_be_named_to_the_claimant(reviewing: Sandbox) -> None:
    verification = verified(reviewing, WRONG)
    reviews.open_by_hand(deps(), TENANT, verification.id, BOB)
    found = compare(verification)
    assert found.may_name_owner is False
    assert "TESTERMAN" not in " ".join(found.may_tell).upper()


def test_newer_owners_are_mentioned(reviewing: Sandbox) -> None:
    ref = reviewing.link()
    verification = verified(reviewing, CLOSE, ref)
    reviewing.wait(90 * DAY_SECONDS)
    again = verified(reviewing, CLOSE, ref)
    assert again.verdict is not None
    assert verification.verdict is not None
    assert again.verdict["snapshot"] != verification.verdict["snapshot"]
    assert compare(again).newest is True
    assert compare(verification).newest is False


def test_second_reviewer_sees_what_the_first_one_noted(reviewing: Sandbox) -> None:
    reviewing.cold_start(REVIEWERS_NEEDED="2")
    verification = verified(reviewing)
    assert compare(verification, BOB).notes == {}
    decide(verification, "approve", "OTHER", note="A canary note")
    found = compare(verification, BOB)
    assert found.notes == {2: "A canary note"}
    assert "canary" not in repr(found)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_review_that_is_closed_has_nothing_to_show(reviewing: Sandbox, decision: Any) -> None:
    verification = verified(reviewing)
    decide(verification, decision)
    with pytest.raises(ReviewClosedError) as caught:
        compare(verification)
    assert caught.value.review["decisions"][0]["decision"] == decision
    assert looks(reviewing) == []


def test_only_verifications_with_a_review_are_shown(reviewing: Sandbox) -> None:
    verification = verified(reviewing, {"name": "Margaret Anne Testerman"})
    with pytest.raises(ReviewNotFoundError):
        compare(verification)
    assert looks(reviewing) == []


def test_review_of_another_tenant_does_not_exist(reviewing: Sandbox) -> None:
    verification = verified(reviewing)
    with pytest.raises(VerificationNotFoundError):
        compare(verification, tenant=Tenant(stripe_account="acct_1"))
    assert looks(reviewing) == []


def test_erased_account_has_nothing_to_show(reviewing: Sandbox) -> None:
    verification = verified(reviewing)
    assert reviewing.http("DELETE", f"/accounts/{verification.ref.account}").status == 200
    # Its reviews end with it, which says less than that the account is erased.
    reviews.expire(reviewing.store, verification.ref, "ACCOUNT_DISCONNECTED", reviewing.clock.now)
    with pytest.raises(AccountErasedError):
        compare(verification)
    assert looks(reviewing) == []


def test_claim_that_is_gone_ends_the_review(reviewing: Sandbox) -> None:
    verification = verified(reviewing)
    reviewing.wait(401 * DAY_SECONDS)
    for _ in range(2):
        with pytest.raises(ClaimErasedError):
            compare(verification)
    review = reviewing.store.reviews.get(verification.ref, verification.id)
    assert (review.state, review.resolution, review.closed_reason, review.unfinished) == ("closed", "expired", "CLAIM_ERASED", False)
    assert looks(reviewing) == []


HOSTILE = ["<img src=x onerror=alert(1)>", "</script>", '"><svg onload=alert(1)>', "MARGARET \u202eNAMRETSET", "MARGARET " + "X" * 1000]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_name_at_the_bank_is_answered_as_text(reviewing: Sandbox, hostile: str) -> None:
    verification = verified(reviewing, CLOSE, reviewing.link(owners=[{"name": hostile}, {"name": "SIGNATORY 02"}]))
    if verification.review is None:
        reviews.open_by_hand(deps(), TENANT, verification.id, BOB)
    shown = json.loads(review_models.Comparison.of(compare(verification)).model_dump_json())
    (name,) = [field for field in shown["fields"] if field["field"] == "name"]
    assert set(name["bank"][0]) == {"text", "differs"}
    assert "".join(part["text"] for part in name["bank"])[:MOST_CHARACTERS] == hostile[:MOST_CHARACTERS]


def test_answer_has_the_documented_shape(reviewing: Sandbox) -> None:
    shown = json.loads(review_models.Comparison.of(compare(verified(reviewing))).model_dump_json())
    assert set(shown) == {
        "verification", "snapshot", "refreshed_at", "newest", "owner_position", "fields", "other_owners", "other_owner_count", "may_tell",
        "may_name_owner", "notes",
    }  # fmt: skip
    assert set(shown["fields"][0]) == {
        "field", "score", "missing", "same", "reasons", "sentences", "claim", "bank", "other_claimed",
    }  # fmt: skip
    assert shown["fields"][0]["sentences"]
    assert shown["fields"][0]["claim"][0] == Part("Margaret ")._asdict()
