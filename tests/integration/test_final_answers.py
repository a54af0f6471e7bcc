"""The answer to act on, `final`, wherever verifications are read: the verdict's, or the one that a review gave."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.batches import Batch, linked, manifest
from tests.support.reviews import ANNE, BOB, CLOSE, TENANT, WRONG, decide, deps, verified
from tests.support.sandbox import CLAIM, Sandbox
from tests.support.verifications import customer, get, work
from titleholder.domain.verifications import Verification
from titleholder.services import reviews
from titleholder.services.audit import RECONCILE
from titleholder.timestamps import iso_seconds


@pytest.fixture
def reviewing(sandbox: Sandbox) -> Sandbox:
    """A deployment where one reviewer decides."""
    sandbox.cold_start(REVIEWERS_NEEDED="1")
    return sandbox


def shown(sandbox: Sandbox, verification: Verification) -> dict[str, Any]:
    """What a caller reads of a verification, by itself and in lists alike."""
    single: dict[str, Any] = get(sandbox, verification.id)
    listed = sandbox.http("GET", f"/verifications?account={verification.ref.account}").json["verifications"]
    assert [one for one in listed if one["id"] == verification.id] == [single]
    return single


def said(sandbox: Sandbox, verification: Verification) -> tuple[Any, Any]:
    one = shown(sandbox, verification)
    final = one["final"]
    return one["review"], None if final is None else (final["outcome"], final["by"])


def end(verification: Verification) -> None:
    """Let a review end for want of a decision."""
    [ended] = reviews.expire(deps().store, verification.ref, "NOT_IN_TIME", deps().clock(), verification.id, RECONCILE)
    reviews.finish(deps(), ended)


@pytest.mark.parametrize(
    ("claim", "final"), [(CLAIM, ("match", "verdict")), (WRONG, ("no_match", "verdict")), (CLOSE, None)], ids=["match", "none", "close"]
)
def test_without_a_review_it_is_the_verdicts_where_that_is_clear(sandbox: Sandbox, claim: Any, final: Any) -> None:
    verification = verified(sandbox, claim)
    assert said(sandbox, verification) == (None, final)
    if final is not None:
        assert shown(sandbox, verification)["final"]["at"] == shown(sandbox, verification)["completed_at"]


def test_there_is_none_before_the_verdict(sandbox: Sandbox) -> None:
    account = sandbox.link().account
    waiting = sandbox.http("POST", "/verifications", {"account": account, "claim": dict(CLAIM)}).json
    assert (waiting["state"], waiting["review"], waiting["final"]) == ("waiting", None, None)


def test_there_is_none_while_the_review_waits(reviewing: Sandbox) -> None:
    verification = verified(reviewing)
    assert said(reviewing, verification) == ("open", None)
    reviewing.cold_start(REVIEWERS_NEEDED="2")
    decide(verification, "approve", by=ANNE)
    assert said(reviewing, verification) == ("proposed", None)


@pytest.mark.parametrize(("decision", "final"), [("approve", "match"), ("reject", "no_match")])
def test_it_is_what_the_reviewer_decided_and_nothing_else_changes(reviewing: Sandbox, decision: Any, final: str) -> None:
    verification = verified(reviewing)
    before, stripe = shown(reviewing, verification), reviewing.stripe_calls()
    reviewing.wait(3600)
    decide(verification, decision)
    after = shown(reviewing, verification)
    assert after == {**before, "review": "closed", "final": {"outcome": final, "by": "review", "at": iso_seconds(reviewing.clock.now)}}
    assert reviewing.stripe_calls() == stripe


def test_review_that_ended_by_itself_leaves_what_the_verdict_says(reviewing: Sandbox) -> None:
    close, wrong = verified(reviewing), verified(reviewing, WRONG)
    reviews.open_by_hand(deps(), TENANT, wrong.id, BOB)
    assert said(reviewing, wrong) == ("open", None)
    end(close)
    end(wrong)
    assert said(reviewing, close) == ("closed", None)
    assert said(reviewing, wrong) == ("closed", ("no_match", "verdict"))


class TestGroup:
    def group(self, sandbox: Sandbox, stripe: Any, *claimed: str) -> tuple[str, list[str]]:
        """A group of accounts whose owners have these names."""
        scenarios: list[Any] = [{"scenario": "single_owner", "owners": [{"name": name}]} for name in claimed]
        id_ = customer(sandbox, stripe, *scenarios)
        made = sandbox.http("POST", "/verifications", {"claim": {"name": "Margaret Anne Testerman"}, "customer": id_}).json
        by_account = {member["account"]: member["verification"] for member in made["members"]}
        members = [by_account[f"fca_{number}"] for number in range(len(claimed))]
        for member in members:
            work(sandbox, member)
        return made["id"], members

    def test_members_and_their_summary_show_it(self, reviewing: Sandbox, stripe: Any) -> None:
        group, (close, _) = self.group(reviewing, stripe, "MARGARET LOUISE TESTERMAN", "PLACEHOLDER PROVISIONS")
        before = get(reviewing, group)
        members = {member["verification"]: member for member in before["members"]}
        assert (members[close]["outcome"], members[close]["review"], members[close]["final"]) == ("close_match", "open", None)
        assert (before["state"], before["summary"]["any"], before["summary"]["all"]) == ("completed", False, False)
        assert before["summary"]["final"] == {"any": None, "all": False}

        decide(reviewing.store.verifications.get(close), "approve")
        after = get(reviewing, group)
        members = {member["verification"]: member for member in after["members"]}
        assert (members[close]["review"], members[close]["final"]["outcome"]) == ("closed", "match")
        assert after["summary"] == {**before["summary"], "final": {"any": True, "all": False}}

    @pytest.mark.parametrize(("decision", "final"), [("approve", {"any": True, "all": True}), ("reject", {"any": True, "all": False})])
    def test_all_are_known_once_the_last_review_is_closed(self, reviewing: Sandbox, stripe: Any, decision: Any, final: Any) -> None:
        group, (close, _) = self.group(reviewing, stripe, "MARGARET LOUISE TESTERMAN", "MARGARET ANNE TESTERMAN")
        assert get(reviewing, group)["summary"]["final"] == {"any": True, "all": None}
        decide(reviewing.store.verifications.get(close), decision)
        assert get(reviewing, group)["summary"]["final"] == final

    def test_review_that_ended_by_itself_is_no_match_for_the_summary(self, reviewing: Sandbox, stripe: Any) -> None:
        group, (close,) = self.group(reviewing, stripe, "MARGARET LOUISE TESTERMAN")
        end(reviewing.store.verifications.get(close))
        assert get(reviewing, group)["summary"]["final"] == {"any": False, "all": False}


def test_files_of_a_batch_keep_the_verdicts_and_its_verifications_show_what_was_decided(reviewing: Sandbox) -> None:
    batch = Batch(reviewing, manifest(linked(reviewing, 1), {"name": "Margaret Louise Testerman"}))
    batch.start()
    batch.run(batch.imported())
    [row] = batch.lines("results.jsonl")
    assert (row["outcome"], get(reviewing, row["verification"])["review"]) == ("close_match", "open")
    decide(reviewing.store.verifications.get(row["verification"]), "approve")
    assert batch.lines("results.jsonl") == [row]
    assert batch.shown()["done"] == {"close_match": 1}
    shown_now = get(reviewing, row["verification"])
    assert (shown_now["verdict"]["outcome"], shown_now["final"]["outcome"]) == ("close_match", "match")
