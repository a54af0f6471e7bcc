"""Stored items to the steps of a timeline. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from titleholder.domain import timeline
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_requests import REPAIRED, gave_up_step, joined_step, resumed_step
from titleholder.domain.reviews import Review, ReviewDecision
from titleholder.domain.snapshots import SnapshotSummary, SnapshotTimes
from titleholder.domain.timeline import KINDS, SHOWN_AT_EACH_END, Timeline
from titleholder.domain.verifications import READING, RECONCILE, TIME_OUT, Step, Trigger, Verification

NOW = 2_000.0
REF = AccountRef("fca_1")
HEAD = Verification("ver_1", REF, "digest", {}, 86_400, 1_000.0, 90_000.0, "request", recorded=True)
VERDICT = {"outcome": "close_match", "score": 62.0, "reasons": ["MIDDLE_DIFFERS"], "snapshot": "fcaowns_1", "fields": {}}
ENDED = replace(HEAD, verdict=VERDICT, completed_at=1_100.0)
SNAPSHOT = SnapshotTimes("fcaowns_1", 1_010, 1_016, 1_017.5)
REVIEW = Review(REF, "ver_1", "open", 1, 1_100.0, "rule")


def built(
    head: Verification = HEAD,
    stored: Sequence[Step] = (),
    *,
    review: Review | None = None,
    snapshot: SnapshotTimes | None = None,
    history: Sequence[SnapshotSummary] = (),
    recorded: bool = True,
    now: float = NOW,
) -> Timeline:
    return timeline.build(head, review, stored, snapshot, history, recorded=recorded, now=now)


def kinds(found: Timeline) -> list[str]:
    return [step.kind for step in found.steps]


def decision(kind: Any, by: str, at: float, reason: str | None = None) -> ReviewDecision:
    return ReviewDecision(by, at, kind, reason, "CASE-4711", noted=True)


EVENTS = "financial_connections.account"
REFRESHED = f"{EVENTS}.refreshed_ownership"


class TestOrder:
    def test_steps_are_in_order_of_time(self) -> None:
        stored = [Step(1_020.0, "woken", {"by": "reading", "outcome": "ready"}), Step(1_010.2, "refresh_started", {"attempted_at": 1_010})]
        found = built(ENDED, stored, snapshot=SNAPSHOT)
        assert kinds(found) == ["requested", "refresh_started", "owners_fetched", "woken", "verdict"]
        assert [step.at for step in found.steps] == [1_000.0, 1_010.2, 1_017.5, 1_020.0, 1_100.0]

    def test_steps_of_one_millisecond_are_in_the_order_in_which_they_happen(self) -> None:
        webhook = Trigger("webhook", "evt_1", REFRESHED, "1000", 1_000.0).as_dict()
        stored = [Step(1_000.0, "woken", {**webhook, "outcome": "ready"}), Step(1_000.0, "refresh_joined", {"attempted_at": 1_000})]
        head = replace(ENDED, completed_at=1_000.0)
        found = built(head, stored, snapshot=replace(SNAPSHOT, stored_at=1_000.0), review=replace(REVIEW, opened_at=1_000.0))
        assert kinds(found) == ["requested", "refresh_joined", "webhook", "owners_fetched", "woken", "verdict", "review_opened"]

    def test_step_of_a_later_release_is_shown_too(self) -> None:
        assert kinds(built(stored=[Step(1_000.0, "something_new")])) == ["requested", "something_new"]

    @pytest.mark.parametrize("number", [99, 100])
    def test_hundred_steps_are_shown_in_whole(self, number: int) -> None:
        found = built(stored=[Step(1_001.0 + each, "trouble", {"reason": "STRIPE_UNAVAILABLE"}) for each in range(number - 1)])
        assert (len(found.steps), found.left_out) == (number, 0)

    def test_of_more_than_a_hundred_steps_the_middle_is_left_out(self) -> None:
        found = built(stored=[Step(1_001.0 + each, "trouble", {"reason": "STRIPE_UNAVAILABLE"}) for each in range(300)])
        assert (len(found.steps), found.left_out) == (2 * SHOWN_AT_EACH_END, 201)
        assert found.steps[0].kind == "requested"
        assert [step.at for step in found.steps[49:51]] == [1_049.0, 1_251.0]
        assert found.steps[-1].at == 1_300.0


class TestSteps:
    def test_request_says_until_when_and_for_which_batch(self) -> None:
        assert built().steps == [Step(1_000.0, "requested", {"deadline": 90_000.0})]
        assert built(replace(HEAD, batch="bat_1")).steps[0].about == {"deadline": 90_000.0, "batch": "bat_1"}

    def test_webhook_is_shown_by_what_it_resumed(self) -> None:
        about = {
            "by": "webhook",
            "event": "evt_1",
            "event_type": REFRESHED,
            "event_created": "1016",
            "received_at": 1_016.4,
            "outcome": "ready",
        }
        _, webhook, woken = built(stored=[Step(1_017.0, "woken", about)]).steps
        assert webhook == Step(1_016.4, "webhook", {"event": "evt_1", "event_type": REFRESHED, "event_created": 1_016.0})
        assert woken == Step(1_017.0, "woken", {"by": "webhook", "event": "evt_1", "outcome": "ready"})

    @pytest.mark.parametrize(
        ("type_", "created", "received_at"),
        [
            (f"{EVENTS}.created", "990", 995.0),
            (f"{EVENTS}.created", "1011", 1_012.0),
            (f"{EVENTS}.refreshed_ownership", "1008", 1_012.0),
            (f"{EVENTS}.refreshed_ownership", "1011", 1_009.0),
            (f"{EVENTS}.refreshed_balance", "1012", 1_012.0),
        ],
    )
    def test_event_that_did_not_report_the_result_is_a_reading_for_something_else(
        self, type_: str, created: str, received_at: float
    ) -> None:
        """Stripe's event was processed late: its reading of the account found the result of a refresh that had settled meanwhile."""
        late = Trigger("webhook", "evt_1", type_, created, received_at).as_dict()
        stored = [Step(1_015.0, "woken", {**late, "outcome": "ready"}), Step(1_010.0, "refresh_started", {"attempted_at": 1_010})]
        found = built(stored=stored)
        assert kinds(found) == ["requested", "refresh_started", "woken"]
        assert found.steps[-1] == Step(1_015.0, "woken", {"by": "reading", "event": "evt_1", "outcome": "ready"})

    def test_event_that_came_while_the_verification_joined_its_refresh_is_shown(self) -> None:
        by = Trigger("webhook", "evt_1", REFRESHED, "1001", 1_001.5).as_dict()
        found = built(stored=[Step(1_003.0, "woken", {**by, "outcome": "ready"}), Step(1_002.0, "refresh_joined", {"attempted_at": 990})])
        assert kinds(found) == ["requested", "webhook", "refresh_joined", "woken"]

    @pytest.mark.parametrize(("name", "there"), [("reactivated", True), ("created", False)])
    def test_end_of_a_repair_shows_the_event_that_reported_it(self, name: str, there: bool) -> None:
        by = Trigger("webhook", "evt_1", f"{EVENTS}.{name}", "1050", 1_051.0).as_dict()
        found = built(stored=[Step(1_002.0, "repair_wait_began", {"reason": "ACCOUNT_INACTIVE"}), Step(1_060.0, "repair_wait_over", by)])
        assert ("webhook" in kinds(found)) is there
        assert found.steps[-1].about["by"] == ("webhook" if there else "reading")

    @pytest.mark.parametrize(
        ("text", "seconds"), [("1016", 1_016.0), ("1970-01-01T00:16:56.000Z", 1_016.0), ("soon", None), ("", None), (None, None)]
    )
    def test_time_of_an_event_is_read_in_any_form(self, text: str | None, seconds: float | None) -> None:
        about = {"by": "reconcile", "event": "evt_1", "event_created": text, "outcome": "ready"}
        assert built(stored=[Step(1_017.0, "woken", about)]).steps[1].about["event_created"] == seconds

    def test_event_that_was_not_delivered_is_no_webhook(self) -> None:
        about = {"by": "reconcile", "event": "evt_1", "event_type": "type", "outcome": "ready"}
        assert kinds(built(stored=[Step(1_017.0, "woken", about)])) == ["requested", "woken"]

    @pytest.mark.parametrize(("ended_at", "over"), [(None, True), (1_500.0, True), (1_499.0, False)])
    def test_cooldown_is_over_when_stripe_allows_the_next_refresh(self, ended_at: float | None, over: bool) -> None:
        head = HEAD if ended_at is None else replace(ENDED, completed_at=ended_at)
        found = built(head, [Step(1_001.0, "cooldown_began", {"resume_at": 1_500})])
        assert ("cooldown_over" in kinds(found)) is over
        assert not over or Step(1_500, "cooldown_over") in found.steps

    def test_cooldown_that_goes_on_is_not_over(self) -> None:
        assert kinds(built(stored=[Step(1_001.0, "cooldown_began", {"resume_at": 2_001})])) == ["requested", "cooldown_began"]

    def test_verdict_has_its_reasons_and_no_fields(self) -> None:
        assert built(ENDED).steps[-1] == Step(
            1_100.0, "verdict", {"outcome": "close_match", "score": 62.0, "reasons": ["MIDDLE_DIFFERS"], "snapshot": "fcaowns_1"}
        )

    @pytest.mark.parametrize(("reason", "kind"), [("CANCELLED", "cancelled"), ("BATCH_STOPPED", "batch_stopped")])
    def test_end_that_was_asked_for_is_named(self, reason: str, kind: str) -> None:
        verdict = {"outcome": "not_verifiable", "score": None, "reasons": [reason], "snapshot": None}
        assert kinds(built(replace(ENDED, verdict=verdict))) == ["requested", kind, "verdict"]

    def test_owners_of_before_the_request_are_shown_where_they_were_fetched(self) -> None:
        assert kinds(built(ENDED, snapshot=replace(SNAPSHOT, stored_at=900.0))) == ["owners_fetched", "requested", "verdict"]

    @pytest.mark.parametrize(
        ("head", "expected"),
        [
            (replace(ENDED, stale="ACCOUNT_INACTIVE", stale_at=1_200.0), ["stale"]),
            (replace(ENDED, stale_at=1_200.0, stale_lifted_at=1_300.0), ["stale", "stale_lifted"]),
            (replace(ENDED, stale="ACCOUNT_DISCONNECTED", stale_at=1_400.0, stale_lifted_at=1_300.0), ["stale_lifted", "stale"]),
            (replace(ENDED, stale_lifted_at=1_300.0), ["stale_lifted"]),
            # Marked and lifted at once by two workers: whether it was ever marked is not known.
            (replace(ENDED, stale_at=1_400.0, stale_lifted_at=1_300.0), ["stale_lifted"]),
            # An earlier release lifted the mark, and kept nothing of it.
            (ENDED, []),
        ],
    )
    def test_mark_and_its_lifting_are_shown_as_far_as_they_are_known(self, head: Verification, expected: list[str]) -> None:
        assert kinds(built(head)) == ["requested", "verdict", *expected]

    def test_reason_of_a_lifted_mark_is_the_only_one_that_can_be_lifted(self) -> None:
        assert built(replace(ENDED, stale_at=1_200.0, stale_lifted_at=1_300.0)).steps[2].about == {"reason": "ACCOUNT_INACTIVE"}


def since(id_: str, at: int, before: str | None, *kinds: str, known: bool = True) -> SnapshotSummary:
    """A snapshot of the time `at`, and what it changed since the one before."""
    changes = [{"kind": kind, "before": 0, "after": 0} for kind in kinds] if known else None
    return SnapshotSummary(id_, at, at + 6, 2, before, changes, stored_at=at + 7.0)


FIRST = since("fcaowns_1", 1_010, None, known=False)


class TestOwnersSince:
    NEWEST = since("fcaowns_2", 1_300, "fcaowns_1", "owner_added")

    def test_change_is_shown_by_its_kinds(self) -> None:
        found = built(ENDED, snapshot=SNAPSHOT, history=[self.NEWEST, FIRST])
        about = {"snapshot": "fcaowns_2", "attempted_at": 1_300, "changes": ["owner_added"]}
        assert found.steps[-1] == Step(1_307.0, "owners_changed", about)

    def test_newer_owners_without_a_change_are_no_step(self) -> None:
        assert kinds(built(ENDED, snapshot=SNAPSHOT, history=[replace(self.NEWEST, changes=[]), FIRST]))[-1] == "verdict"

    def test_newer_owners_of_which_the_change_is_not_known_are_said_to_be_newer(self) -> None:
        found = built(ENDED, snapshot=SNAPSHOT, history=[replace(self.NEWEST, changes=None), FIRST])
        assert kinds(found)[-2:] == ["verdict", "newer_owners"]

    @pytest.mark.parametrize(
        ("history", "expected"),
        [
            # The bank's last answers say again what an earlier one said first.
            (
                [since("d", 1_500, "c"), since("c", 1_400, "b"), since("b", 1_300, "fcaowns_1", "owner_renamed"), FIRST],
                [("owners_changed", 1_307.0)],
            ),
            (
                [since("c", 1_400, "b", "owner_removed"), since("b", 1_300, "fcaowns_1", "owner_added"), FIRST],
                [("owners_changed", 1_307.0), ("owners_changed", 1_407.0)],
            ),
            # One in between is not stored any more, or is not known to have changed anything.
            ([since("c", 1_400, "b")], [("newer_owners", 1_407.0)]),
            ([since("c", 1_400, "b", "owner_added")], [("owners_changed", 1_407.0), ("newer_owners", 1_407.0)]),
            ([since("c", 1_400, "b"), since("b", 1_300, None, known=False), FIRST], [("newer_owners", 1_307.0)]),
            ([since("d", 1_500, "c", "owner_moved"), since("c", 1_400, "b")], [("newer_owners", 1_407.0), ("owners_changed", 1_507.0)]),
            # One that was stored after a newer one says nothing about the newest owners.
            ([since("c", 1_400, "fcaowns_1"), since("late", 1_300, None, known=False), FIRST], []),
            # The verdict's own was stored after a newer one.
            ([since("c", 1_400, "a"), replace(FIRST, since="a", changes=[]), since("a", 900, None, known=False)], []),
            (
                [since("c", 1_400, "a"), since("fcaowns_1", 1_010, "a", "owner_added"), since("a", 900, None, known=False)],
                [("newer_owners", 1_407.0)],
            ),
        ],
    )  # fmt: skip
    def test_all_changes_since_are_shown_and_a_gap_is_said(self, history: list[SnapshotSummary], expected: list[tuple[str, float]]) -> None:
        steps = built(ENDED, snapshot=SNAPSHOT, history=history).steps
        assert [(step.kind, step.at) for step in steps if step.at > 1_200] == expected

    @pytest.mark.parametrize(
        "history",
        [[], [FIRST], [replace(FIRST, id="a", attempted_at=900)], [replace(FIRST, id="a", created=1_015)]],
    )
    def test_owners_that_are_not_newer_are_no_step(self, history: list[SnapshotSummary]) -> None:
        assert kinds(built(ENDED, snapshot=SNAPSHOT, history=history))[-1] == "verdict"

    def test_nothing_is_said_where_the_verdicts_owners_are_not_kept(self) -> None:
        assert kinds(built(ENDED, history=[self.NEWEST])) == ["requested", "verdict"]


class TestReviews:
    def test_open_review_was_opened(self) -> None:
        assert built(ENDED, review=REVIEW).steps[-1] == Step(1_100.0, "review_opened", {"by": "rule"})

    def test_proposal_withdrawal_and_decision_are_distinguished(self) -> None:
        made = (
            decision("approve", "idp#1", 1_200.0, "OTHER"), decision("withdraw", "idp#1", 1_210.0),
            decision("approve", "idp#1", 1_220.0, "NAME_VARIANT_CONFIRMED"), decision("approve", "idp#2", 1_230.0, "CONTACT_CONFIRMED"),
        )  # fmt: skip
        review = replace(REVIEW, state="closed", decisions=made, closed_at=1_230.0, resolution="approved", version=5)
        found = built(ENDED, review=review)
        assert kinds(found)[-5:] == ["review_opened", "proposed", "withdrawn", "proposed", "decided"]
        about = {"by": "idp#2", "decision": "approve", "reason": "CONTACT_CONFIRMED", "resolution": "approved"}
        assert found.steps[-1] == Step(1_230.0, "decided", about)
        assert found.review is review

    def test_proposal_that_waits_is_no_decision(self) -> None:
        review = replace(REVIEW, state="proposed", decisions=(decision("approve", "idp#1", 1_200.0, "OTHER"),), version=2)
        assert kinds(built(ENDED, review=review))[-1] == "proposed"

    def test_review_that_ended_by_itself_says_why(self) -> None:
        made = (decision("approve", "idp#1", 1_200.0, "OTHER"),)
        review = replace(REVIEW, state="closed", decisions=made, closed_at=1_300.0, resolution="expired", closed_reason="OWNERS_CHANGED")
        found = built(ENDED, review=review)
        assert kinds(found)[-2:] == ["proposed", "expired"]
        assert found.steps[-1].about == {"reason": "OWNERS_CHANGED"}

    def test_steps_have_neither_reference_nor_note(self) -> None:
        review = replace(REVIEW, state="closed", decisions=(decision("reject", "idp#1", 1_200.0, "RELATIVE"),), resolution="rejected")
        assert "CASE-4711" not in str(built(ENDED, review=review).steps)


class TestRecordedSteps:
    """What is recorded when a workflow is resumed, or begins to wait for a refresh."""

    def test_workflow_that_waited_was_woken(self) -> None:
        ready = {"outcome": "ready", "snapshot": "fcaowns_1"}
        assert resumed_step(ready, READING, 5.0) == Step(5.0, "woken", {"by": "reading", "outcome": "ready"})
        assert resumed_step(ready, RECONCILE, 5.0) == Step(5.0, "woken", {"by": "reconcile", "outcome": "ready"})

    def test_request_that_is_answered_at_once_is_not_recorded(self) -> None:
        assert resumed_step({"outcome": "ready", "snapshot": "fcaowns_1"}, None, 5.0) is None
        assert resumed_step({"outcome": "not_verifiable", "reason": "PERMISSION_MISSING"}, None, 5.0) is None

    def test_pauses_are_recorded_even_so(self) -> None:
        cooling = {"outcome": "cooling_down", "resume_at": "1970-01-01T01:00:00Z"}
        assert resumed_step(cooling, None, 5.0) == Step(5.0, "cooldown_began", {"resume_at": 3_600})
        inactive = {"outcome": "inactive", "reason": "ACCOUNT_INACTIVE", "seconds": 9, "resume_at": "1970-01-01T00:00:05Z"}
        assert resumed_step(inactive, None, 5.0) == Step(5.0, "repair_wait_began", {"reason": "ACCOUNT_INACTIVE"})
        assert resumed_step(REPAIRED, READING, 5.0) == Step(5.0, "repair_wait_over", {"by": "reading"})

    def test_refresh_was_started_for_the_workflow_or_joined(self) -> None:
        assert joined_step(10, 12.0, 11.5) == Step(11.5, "refresh_started", {"attempted_at": 10})
        assert joined_step(10, 12.0, None) == Step(12.0, "refresh_joined", {"attempted_at": 10})

    def test_workflow_that_was_given_up_says_so(self) -> None:
        assert gave_up_step(5.0) == Step(5.0, "woken", {"by": TIME_OUT.by, "outcome": "gave_up"})

    def test_all_their_kinds_are_known(self) -> None:
        payloads = [REPAIRED, {"outcome": "ready"}, {"outcome": "inactive", "reason": "ACCOUNT_INACTIVE"}]
        steps = [*(resumed_step(payload, READING, 5.0) for payload in payloads), joined_step(1, 2.0, None), joined_step(1, 2.0, 2.0)]
        assert {step.kind for step in steps if step is not None} <= set(KINDS)
