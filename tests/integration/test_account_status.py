"""Accounts that become inactive, are expected to, or are active again: what callers are answered, and what happens to verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.stripe_simulator.scenarios import CAUSES
from tests.support.batches import Batch, manifest
from tests.support.sandbox import CLAIM, Moment, Sandbox
from titleholder.domain.accounts import AccountRef
from titleholder.domain.verifications import Verification
from titleholder.services import account_sync, verdicts

pytestmark = pytest.mark.slow

DAY = 86_400
PREVIEW = "2026-09-30.preview"


@pytest.fixture
def preview() -> Iterator[Sandbox]:
    """A deployment with relinking switched on."""
    with Sandbox.open(STRIPE_PREVIEW_VERSION=PREVIEW) as sandbox:
        yield sandbox


def ask(sandbox: Sandbox, ref: AccountRef, max_age: int = 30 * DAY) -> Verification:
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM), "max_age": max_age})
    assert answer.status in (200, 202), answer
    return sandbox.store.verifications.get(answer.json["id"])


def end(sandbox: Sandbox, verification: Verification, outcome: Any) -> Any:
    """What the workflow's last step makes of `outcome`."""
    sandbox.function("complete_verification")({"verification": verification.id, "refresh": outcome})
    return shown(sandbox, verification)["verdict"]


def run(sandbox: Sandbox, ref: AccountRef, max_age: int = 30 * DAY) -> Any:
    """Verify an account from the request to the verdict. Returns the verdict."""
    verification = ask(sandbox, ref, max_age)
    if verification.verdict is None:
        token = sandbox.enter(verification)
        sandbox.consume(sandbox.refresh_queue)
        sandbox.wait(6)
        sandbox.settle()
        return end(sandbox, verification, sandbox.outcome(token))
    return shown(sandbox, verification)["verdict"]


def shown(sandbox: Sandbox, verification: Verification) -> Any:
    return sandbox.http("GET", f"/verifications/{verification.id}").json


def events(sandbox: Sandbox, kind: str) -> list[dict[str, Any]]:
    return [event["detail"] for event in sandbox.published() if event["detail-type"] == kind]


class TestDetails:
    @pytest.mark.parametrize("cause", CAUSES)
    def test_inactive_account_shows_its_cause_and_what_repairs_it(self, preview: Sandbox, cause: str) -> None:
        ref = preview.link()
        preview.simulator.deactivate(ref.account, cause=cause)
        answer = preview.http("GET", f"/accounts/{ref.account}").json
        closed = cause == "account_closed"
        assert answer["status_details"] == {
            "cause": cause,
            "action": "none" if closed else "relink_required",
            "expected_deactivation_at": None,
        }
        assert answer["remedy"] == ("link_again" if closed else "relink")

    def test_inactive_account_is_to_be_linked_again_without_relinking(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("access_denied")
        answer = sandbox.http("GET", f"/accounts/{ref.account}").json
        assert (answer.get("status_details"), answer["remedy"]) == (None, "link_again")

    def test_expiring_account_shows_when(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.expire(ref.account, sandbox.clock() + DAY)
        answer = sandbox.http("GET", f"/accounts/{ref.account}").json
        expected = {"cause": "access_expired", "action": "relink_required", "expected_deactivation_at": "2027-01-16T08:00:00Z"}
        assert (answer["status"], answer["status_details"], answer["remedy"]) == ("active", expected, "link_again")

    def test_account_with_nothing_to_be_done_has_no_remedy(self, sandbox: Sandbox) -> None:
        answer = sandbox.http("GET", f"/accounts/{sandbox.link().account}").json
        assert (answer["status_details"], answer["remedy"]) == (None, None)


class TestReason:
    @pytest.mark.parametrize(
        ("scenario", "expected"), [("turning_inactive", "link_again"), ("inactive", "link_again"), ("closed", "link_again")]
    )
    def test_account_that_is_found_inactive_is_the_reason(self, sandbox: Sandbox, scenario: str, expected: str) -> None:
        verdict = run(sandbox, sandbox.link(scenario))
        assert (verdict["reasons"], verdict["remedy"]) == (["ACCOUNT_INACTIVE"], expected)

    @pytest.mark.parametrize(("cause", "expected"), [("access_expired", "relink"), ("account_closed", "link_again")])
    def test_account_that_can_be_relinked_is(self, preview: Sandbox, cause: str, expected: str) -> None:
        ref = preview.link()
        preview.simulator.deactivate(ref.account, cause=cause)
        verdict = run(preview, ref)
        assert (verdict["reasons"], verdict["remedy"]) == (["ACCOUNT_INACTIVE"], expected)

    @pytest.mark.parametrize("first", ["deactivated", "settled"])
    def test_refresh_that_fails_as_the_account_becomes_inactive_has_that_reason_in_any_order(self, sandbox: Sandbox, first: str) -> None:
        ref = sandbox.link(policy={"outcome": "failed"})
        verification = ask(sandbox, ref)
        token = sandbox.enter(verification)
        sandbox.consume(sandbox.refresh_queue)
        if first == "deactivated":
            sandbox.simulator.deactivate(ref.account)
            sandbox.settle()
        sandbox.wait(6)
        sandbox.settle()
        if first == "settled":
            sandbox.simulator.deactivate(ref.account)
            sandbox.settle()
        assert end(sandbox, verification, sandbox.outcome(token))["reasons"] == ["ACCOUNT_INACTIVE"]

    @pytest.mark.parametrize("error", ["States.Timeout", "WorkflowFailed"])
    def test_refresh_that_never_ends_is_not_the_reason_where_the_account_is_inactive(self, sandbox: Sandbox, error: str) -> None:
        ref = sandbox.link("never_answering")
        verification = ask(sandbox, ref)
        sandbox.enter(verification)
        sandbox.consume(sandbox.refresh_queue)
        sandbox.simulator.deactivate(ref.account)
        sandbox.settle()
        assert end(sandbox, verification, {"Error": error})["reasons"] == ["ACCOUNT_INACTIVE"]

    @pytest.mark.parametrize("reason", ["REFRESH_UNAVAILABLE", "COOLDOWN_BEYOND_DEADLINE", "REFRESH_REFUSED", "PERMISSION_MISSING"])
    def test_workflow_that_was_resumed_before_the_account_became_inactive_ends_with_that_reason(
        self, sandbox: Sandbox, reason: str
    ) -> None:
        ref = sandbox.link()
        verification = ask(sandbox, ref)
        sandbox.simulator.deactivate(ref.account)
        sandbox.settle()
        assert end(sandbox, verification, {"outcome": "not_verifiable", "reason": reason})["reasons"] == ["ACCOUNT_INACTIVE"]

    def test_owners_that_the_request_accepts_give_a_stale_verdict(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending")
        verification = ask(sandbox, ref)
        assert verification.verdict is None
        sandbox.wait(6)
        sandbox.settle()
        sandbox.simulator.deactivate(ref.account)
        sandbox.settle()
        assert end(sandbox, verification, {"outcome": "not_verifiable", "reason": "REFRESH_FAILED"})["outcome"] == "match"
        assert shown(sandbox, verification)["stale"] == "ACCOUNT_INACTIVE"

    def test_cancelled_verification_of_an_inactive_account_stays_cancelled(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        verification = ask(sandbox, ref)
        sandbox.simulator.deactivate(ref.account)
        sandbox.settle()
        verdict = sandbox.http("DELETE", f"/verifications/{verification.id}").json["verdict"]
        assert (verdict["reasons"], verdict["remedy"]) == (["CANCELLED"], "none")

    @pytest.mark.parametrize(
        ("scenario", "problem", "remedy"),
        [
            ("inactive", "account-inactive", "link_again"),
            ("disconnected", "account-disconnected", "link_again"),
            ("permission_missing", "permission-missing", "link_again"),
            ("no_next_refresh", "refresh-unavailable", "link_again"),
            ("cooling_down", "cooling-down", "wait"),
        ],
    )
    def test_refusal_of_a_refresh_names_its_remedy(self, sandbox: Sandbox, scenario: str, problem: str, remedy: str) -> None:
        ref = sandbox.link(scenario)
        answer = sandbox.http("POST", f"/accounts/{ref.account}/refreshes")
        assert (answer.status, answer.problem, answer.json["remedy"]) == (409, problem, remedy)
        assert answer.json.get("remedy_until") == answer.json.get("retry_at")

    def test_refresh_of_an_account_that_can_be_relinked_says_so(self, preview: Sandbox) -> None:
        ref = preview.link("inactive")
        assert preview.http("POST", f"/accounts/{ref.account}/refreshes").json["remedy"] == "relink"


class TestRemedyOfVerdicts:
    def test_failed_refresh_is_to_be_repeated_after_its_cooldown(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("failing")
        verdict = run(sandbox, ref)
        opens_at = sandbox.http("GET", f"/accounts/{ref.account}").json["next_refresh_available_at"]
        assert (verdict["reasons"], verdict["remedy"], verdict["remedy_until"]) == (["REFRESH_FAILED"], "wait", opens_at)

    def test_event_and_list_name_the_remedy(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("permission_missing")
        verdict = run(sandbox, ref)
        assert verdict["remedy"] == "link_again"
        [event] = events(sandbox, "VerificationCompleted")
        assert event["remedy"] == "link_again"
        [listed] = sandbox.http("GET", f"/verifications?account={ref.account}").json["verifications"]
        assert listed["verdict"]["remedy"] == "link_again"

    def test_verdict_about_owners_names_none(self, sandbox: Sandbox) -> None:
        assert run(sandbox, sandbox.link("fresh"))["remedy"] is None
        [event] = events(sandbox, "VerificationCompleted")
        assert "remedy" not in event

    def test_account_without_owners_has_no_remedy(self, sandbox: Sandbox) -> None:
        verdict = run(sandbox, sandbox.link("no_owners"))
        assert (verdict["reasons"], verdict["remedy"]) == (["NO_OWNERS"], "none")

    def test_results_of_a_batch_name_the_remedy(self, sandbox: Sandbox) -> None:
        accounts = [sandbox.link("permission_missing").account, sandbox.link("fresh").account]
        batch = Batch(sandbox, manifest(accounts))
        batch.start()
        batch.run(batch.imported())
        rows = batch.lines("results.jsonl")
        assert [(row["remedy"], row["remedy_until"]) for row in rows] == [("link_again", None), (None, None)]

    def test_verdict_of_an_earlier_release_shows_the_remedy_of_its_reason(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("inactive")
        verification = ask(sandbox, ref)
        verdict = end(sandbox, verification, {"outcome": "not_verifiable", "reason": "ACCOUNT_INACTIVE"})
        old = {name: value for name, value in verdict.items() if name not in ("remedy", "remedy_until")}
        sandbox.store.table.update(
            f"VERIFICATION#{verification.id}", "VERIFICATION", set_={"verdict": json.dumps(old)}, condition="attribute_exists(pk)"
        )
        assert shown(sandbox, verification)["verdict"]["remedy"] == "link_again"

    def test_remedy_never_changes_with_the_account(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("inactive")
        verification = ask(sandbox, ref)
        before = end(sandbox, verification, {"outcome": "not_verifiable", "reason": "ACCOUNT_INACTIVE"})
        sandbox.simulator.reactivate(ref.account)
        sandbox.settle()
        assert shown(sandbox, verification)["verdict"] == before


class TestStale:
    @pytest.fixture
    def verified(self, sandbox: Sandbox) -> tuple[AccountRef, Verification]:
        ref = sandbox.link("fresh")
        account_sync.sync_account(sandbox.deps, ref)
        return ref, ask(sandbox, ref)

    def become(self, sandbox: Sandbox, ref: AccountRef, change: str) -> None:
        sandbox.wait(100)
        getattr(sandbox.simulator, change)(ref.account)
        sandbox.settle()

    def stale(self, sandbox: Sandbox, verification: Verification) -> str | None:
        found: str | None = shown(sandbox, verification).get("stale")
        return found

    def test_verdict_of_a_reactivated_account_holds_again(self, sandbox: Sandbox, verified: Any) -> None:
        ref, verification = verified
        for _ in range(2):
            self.become(sandbox, ref, "deactivate")
            assert self.stale(sandbox, verification) == "ACCOUNT_INACTIVE"
            self.become(sandbox, ref, "reactivate")
            assert self.stale(sandbox, verification) is None
        expected = {"verification": verification.id, **ref.as_dict()}
        assert events(sandbox, "VerificationStaleLifted") == [expected, expected]
        assert len(events(sandbox, "VerificationStale")) == 2
        self.become(sandbox, ref, "deactivate")
        assert self.stale(sandbox, verification) == "ACCOUNT_INACTIVE"

    @pytest.mark.parametrize("when", ["after the verdict", "while it is announced"])
    def test_slow_worker_marks_no_verdict_that_was_given_after_the_reactivation(self, sandbox: Sandbox, when: str) -> None:
        ref = sandbox.link("fresh")
        account_sync.sync_account(sandbox.deps, ref)
        self.become(sandbox, ref, "deactivate")
        seen_by_the_slow_one = sandbox.store.accounts.get(ref)
        self.become(sandbox, ref, "reactivate")

        def go_on() -> None:
            sandbox.taps.clear()
            verdicts.show_status(sandbox.store, sandbox.deps.bus, ref, seen_by_the_slow_one, sandbox.clock())

        def between(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("put_events", "after"):
                go_on()

        if when == "while it is announced":
            sandbox.taps.append(between)
        verification = ask(sandbox, ref)
        if when == "after the verdict":
            go_on()
        assert sandbox.taps == []
        assert self.stale(sandbox, verification) is None
        assert len(events(sandbox, "VerificationStale")) == len(events(sandbox, "VerificationStaleLifted"))

    def test_reading_the_account_lifts_it_where_the_webhook_is_lost(self, sandbox: Sandbox, verified: Any) -> None:
        ref, verification = verified
        self.become(sandbox, ref, "deactivate")
        sandbox.simulator.reactivate(ref.account)
        sandbox.http("GET", f"/accounts/{ref.account}")
        assert self.stale(sandbox, verification) is None

    def test_reading_the_account_marks_it_where_the_webhook_is_lost(self, sandbox: Sandbox, verified: Any) -> None:
        ref, verification = verified
        sandbox.simulator.deactivate(ref.account)
        sandbox.http("GET", f"/accounts/{ref.account}")
        assert self.stale(sandbox, verification) == "ACCOUNT_INACTIVE"

    def test_reconcile_lifts_it_where_the_webhook_is_lost(self, sandbox: Sandbox, verified: Any) -> None:
        ref, verification = verified
        self.become(sandbox, ref, "deactivate")
        sandbox.simulator.fail_webhooks("drop", account=ref.account, times=None)
        self.become(sandbox, ref, "reactivate")
        assert self.stale(sandbox, verification) == "ACCOUNT_INACTIVE"
        sandbox.wait(3600)
        sandbox.function("reconcile")({})
        sandbox.consume(sandbox.events_queue)
        assert self.stale(sandbox, verification) is None

    def test_changed_status_is_read_once_more_by_reconcile_and_then_no_more(self, sandbox: Sandbox, verified: Any) -> None:
        ref, _ = verified
        self.become(sandbox, ref, "deactivate")
        reads = []
        for _ in range(3):
            sandbox.wait(1000)
            before = len(sandbox.stripe_calls(ref))
            sandbox.function("reconcile")({})
            sandbox.consume(sandbox.events_queue)
            reads.append(len(sandbox.stripe_calls(ref)) - before)
        assert reads == [1, 0, 0]

    def test_disconnected_account_keeps_its_verdicts_stale(self, sandbox: Sandbox, verified: Any) -> None:
        ref, verification = verified
        self.become(sandbox, ref, "deactivate")
        sandbox.wait(100)
        sandbox.simulator.change(ref.account, action="disconnect")
        sandbox.settle()
        assert self.stale(sandbox, verification) == "ACCOUNT_DISCONNECTED"
        state = sandbox.store.accounts.get(ref)
        assert state.erased_at is not None

    def test_verdict_that_an_earlier_release_marked_is_lifted(self, sandbox: Sandbox, verified: Any) -> None:
        ref, verification = verified
        self.become(sandbox, ref, "deactivate")
        sandbox.store.table.update(
            f"VERIFICATION#{verification.id}", "VERIFICATION", remove=["stale_seen"], condition="attribute_exists(pk)"
        )
        sandbox.store.table.update(f"ACCOUNT#{ref.key}", "ACCOUNT", remove=["status_since_ms"], condition="attribute_exists(pk)")
        self.become(sandbox, ref, "reactivate")
        assert self.stale(sandbox, verification) is None

    @pytest.mark.parametrize("point", range(1, 12))
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("change", ["deactivate", "reactivate"])
    def test_crash_while_marks_are_changed_is_repaired(self, sandbox: Sandbox, verified: Any, change: str, when: str, point: int) -> None:
        ref, verification = verified
        if change == "reactivate":
            self.become(sandbox, ref, "deactivate")
        sandbox.wait(100)
        getattr(sandbox.simulator, change)(ref.account)
        sandbox.simulator._webhooks.events.clear()
        calls = iter(range(1, 1000))

        def crash(moment: Moment) -> None:
            if moment.service in ("dynamodb", "events") and moment.when == when and next(calls) == point:
                raise KeyboardInterrupt

        sandbox.taps.append(crash)
        try:
            account_sync.sync_account(sandbox.deps, ref)
        except KeyboardInterrupt:
            pass
        finally:
            sandbox.taps.clear()
        if sandbox.store.accounts.get(ref).state.status == ("inactive" if change == "deactivate" else "active"):  # type: ignore[union-attr]
            # The crashed worker's message is lost too.
            sandbox.wait(1000)
            sandbox.function("reconcile")({})
            sandbox.consume(sandbox.events_queue)
            assert self.stale(sandbox, verification) == ("ACCOUNT_INACTIVE" if change == "deactivate" else None)
            assert events(sandbox, "VerificationStale" if change == "deactivate" else "VerificationStaleLifted")

    @pytest.mark.parametrize("slow", ["deactivate", "reactivate"])
    def test_slow_worker_does_not_undo_what_a_later_one_saw(self, sandbox: Sandbox, verified: Any, slow: str) -> None:
        """The slow worker has seen the account's state, and is overtaken right before it changes the verdict."""
        ref, verification = verified
        if slow == "reactivate":
            self.become(sandbox, ref, "deactivate")
        sandbox.wait(100)
        getattr(sandbox.simulator, slow)(ref.account)
        other = "reactivate" if slow == "deactivate" else "deactivate"

        def overtake(moment: Moment) -> None:
            if moment.operation == "update_item" and ":stale_seen" in str(moment.arguments) and moment.when == "before":
                sandbox.taps.clear()
                sandbox.wait(1)
                getattr(sandbox.simulator, other)(ref.account)
                account_sync.sync_account(sandbox.deps, ref)

        sandbox.taps.append(overtake)
        account_sync.sync_account(sandbox.deps, ref)
        assert self.stale(sandbox, verification) == ("ACCOUNT_INACTIVE" if slow == "reactivate" else None)
        announced = [event["detail-type"] for event in sandbox.published() if event["detail-type"].startswith("VerificationStale")]
        expected = ["VerificationStale"] if slow == "reactivate" else []
        assert announced[-1:] == expected, "what holds is announced last, and nothing of what never held"

    def test_verdict_that_is_given_while_the_account_is_reactivated_is_not_stale(self, sandbox: Sandbox, verified: Any) -> None:
        ref, _ = verified
        self.become(sandbox, ref, "deactivate")
        sandbox.wait(100)

        def overtake(moment: Moment) -> None:
            if moment.operation == "update_item" and ":stale_seen" in str(moment.arguments) and moment.when == "before":
                sandbox.taps.clear()
                sandbox.wait(1)
                sandbox.simulator.reactivate(ref.account)
                account_sync.sync_account(sandbox.deps, ref)

        sandbox.taps.append(overtake)
        assert self.stale(sandbox, ask(sandbox, ref)) is None


class TestExpiring:
    def details(self, sandbox: Sandbox) -> list[Any]:
        return [(detail["account"], detail["expected_deactivation_at"]) for detail in events(sandbox, "AccountExpiring")]

    def test_expiry_is_announced_with_cause_date_and_remedy(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.expire(ref.account, sandbox.clock() + DAY, cause="institution_requirement")
        sandbox.settle()
        [event] = events(sandbox, "AccountExpiring")
        assert event == {
            **ref.as_dict(),
            "expected_deactivation_at": "2027-01-16T08:00:00Z",
            "cause": "institution_requirement",
            "action": "relink_required",
            "remedy": "link_again",
        }

    def test_each_date_is_announced_once_however_often_the_account_is_read(self, sandbox: Sandbox) -> None:
        ref, dates = sandbox.link(), [sandbox.clock() + DAY, sandbox.clock() + 2 * DAY, sandbox.clock() + DAY]
        for date in dates:
            sandbox.simulator.expire(ref.account, date)
            sandbox.wait(10)
            sandbox.settle()
            assert sandbox.http("GET", f"/accounts/{ref.account}").status == 200
        sandbox.wait(1000)
        sandbox.function("reconcile")({})
        assert self.details(sandbox) == [(ref.account, "2027-01-16T08:00:00Z"), (ref.account, "2027-01-17T08:00:00Z")]

    def test_expiry_is_found_by_any_reading_where_the_webhook_is_lost(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("expiring")
        sandbox.http("GET", f"/accounts/{ref.account}")
        assert len(self.details(sandbox)) == 1

    def test_bus_that_takes_nothing_delays_the_announcement_and_nothing_else(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("expiring")

        def refuse(moment: Moment) -> None:
            if moment.service == "events" and moment.when == "before":
                raise ConnectionError

        sandbox.taps.append(refuse)
        assert sandbox.http("GET", f"/accounts/{ref.account}").status == 200
        sandbox.taps.clear()
        assert self.details(sandbox) == []
        sandbox.wait(1000)
        sandbox.function("reconcile")({})
        sandbox.function("reconcile")({})
        assert len(self.details(sandbox)) == 1

    @pytest.mark.parametrize("point", range(1, 10))
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_crash_does_not_lose_the_announcement(self, sandbox: Sandbox, when: str, point: int) -> None:
        ref = sandbox.link("expiring")
        calls = iter(range(1, 1000))

        def crash(moment: Moment) -> None:
            if moment.service in ("dynamodb", "events") and moment.when == when and next(calls) == point:
                raise KeyboardInterrupt

        sandbox.taps.append(crash)
        try:
            account_sync.sync_account(sandbox.deps, ref)
        except KeyboardInterrupt:
            pass
        finally:
            sandbox.taps.clear()
        account_sync.sync_account(sandbox.deps, ref)
        sandbox.wait(1000)
        sandbox.function("reconcile")({})
        assert len(set(self.details(sandbox))) == 1

    def test_account_really_becomes_inactive_at_its_date(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("expiring_soon")
        sandbox.wait(61)
        sandbox.settle()
        assert run(sandbox, ref)["reasons"] == ["ACCOUNT_INACTIVE"]

    def test_nothing_of_an_expiry_is_left_of_an_erased_account(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("expiring")
        account_sync.sync_account(sandbox.deps, ref)
        sandbox.http("DELETE", f"/accounts/{ref.account}")
        left = [item for item in sandbox.items() if item["sk"]["S"].startswith("EXPIRY#") or "status_details" in item]
        assert left == []
