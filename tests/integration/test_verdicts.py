"""Verdicts: stored once with what explains them, announced without personal data, also where the matcher raises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.sandbox import CLAIM, Moment, Sandbox
from tests.support.verdicts import accept, fetch, finish, owners, run
from titleholder import matching
from titleholder.errors import SnapshotNotFoundError
from titleholder.services import account_sync


class TestVerdicts:
    @pytest.mark.parametrize(
        ("scenario", "outcome", "reason"),
        [
            ("single_owner", "match", None),
            ("paged_owners", "match", "JOINT_OWNER"),
            ("no_owners", "not_verifiable", "NO_OWNERS"),
            ("failing", "not_verifiable", "REFRESH_FAILED"),
            ("turning_inactive", "not_verifiable", "ACCOUNT_INACTIVE"),
            ("inactive", "not_verifiable", "ACCOUNT_INACTIVE"),
            ("disconnected", "not_verifiable", "ACCOUNT_DISCONNECTED"),
            ("permission_missing", "not_verifiable", "PERMISSION_MISSING"),
            ("permissions_null", "not_verifiable", "PERMISSION_MISSING"),
        ],
    )
    def test_verdict_of_each_scenario(self, sandbox: Sandbox, scenario: str, outcome: str, reason: str | None) -> None:
        verdict = run(sandbox, sandbox.link(scenario))
        assert verdict["outcome"] == outcome
        assert reason is None or reason in verdict["reasons"]

    def test_verdict_is_stored_with_all_that_explains_it(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        verdict = run(sandbox, ref)
        assert verdict["snapshot"] == sandbox.store.accounts.get(ref).snapshot
        assert verdict["matcher_version"]
        assert verdict["policy_version"]
        assert len(verdict["claim_digest"]) == 64
        assert verdict["owner_position"] == 0
        assert set(verdict["fields"]) == {"name", "address", "phone", "email"}

    def test_failed_refresh_shows_stripes_error_hash(self, sandbox: Sandbox) -> None:
        verdict = run(sandbox, sandbox.link("failing_with_reason"))
        assert verdict["refresh_error"] == {"cause": "institution_unavailable", "recommended_action": "retry_later"}

    def test_failed_refresh_without_a_hash_shows_none(self, sandbox: Sandbox) -> None:
        assert run(sandbox, sandbox.link("failing"))["refresh_error"] is None

    def test_verdict_is_given_once_and_announced_the_same_when_repeated(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        verdict = run(sandbox, ref)
        verification = sandbox.store.verifications.get(next(iter(sandbox.store.verifications.ids_of(ref))))
        assert finish(sandbox, verification, {"outcome": "not_verifiable", "reason": "ACCOUNT_NOT_FOUND"}) == verdict
        first, second = [event["detail"] for event in sandbox.published()]
        assert first == second
        assert first["verification"] == verification.id
        assert first["outcome"] == "match"

    def test_announcement_carries_ids_scores_and_nothing_personal(self, sandbox: Sandbox) -> None:
        run(sandbox, sandbox.link())
        (event,) = sandbox.published()
        assert event["detail-type"] == "VerificationCompleted"
        assert set(event["detail"]) == {
            "verification", "account", "mode", "outcome", "score", "scores", "reasons", "snapshot", "matcher_version", "policy_version",
            "review",
        }  # fmt: skip

    def test_workflow_that_was_never_resumed_ends_with_its_error(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("never_answering")
        verification = accept(sandbox, ref)
        sandbox.enter(verification)
        sandbox.simulator.fail_api("rate_limit")
        sandbox.consume(sandbox.refresh_queue)
        verdict = finish(sandbox, verification, {"Error": "States.Timeout", "Cause": ""})
        assert (verdict["outcome"], verdict["reasons"]) == ("not_verifiable", ["STRIPE_UNAVAILABLE"])
        assert list(sandbox.store.waiters.of_account(ref)) == []

    def test_workflow_that_was_never_resumed_and_had_no_error_timed_out(self, sandbox: Sandbox) -> None:
        verification = accept(sandbox, sandbox.link("never_answering"))
        sandbox.enter(verification)
        sandbox.consume(sandbox.refresh_queue)
        assert finish(sandbox, verification, {"Error": "States.Timeout"})["reasons"] == ["REFRESH_TIMED_OUT"]

    def test_workflow_that_was_never_resumed_uses_owners_that_are_stored(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending")
        verification = accept(sandbox, ref)
        sandbox.enter(verification, send=False)
        sandbox.wait(6)
        sandbox.simulator.due_deliveries()
        account_sync.sync_account(sandbox.deps, ref)
        assert finish(sandbox, verification, {"Error": "States.Timeout"})["outcome"] == "match"

    def test_erased_claim_is_not_verifiable(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        verification = accept(sandbox, sandbox.link())
        fetch(sandbox, ref)
        key = {"pk": {"S": f"ACCOUNT#{verification.ref.key}"}, "sk": {"S": f"CLAIM#{verification.id}"}}
        sandbox.client("dynamodb").delete_item(TableName="titleholder", Key=key)
        assert finish(sandbox, verification, {"outcome": "ready", "snapshot": "fcaowns_any"})["reasons"] == ["CLAIM_ERASED"]

    def test_missing_snapshot_is_an_error_to_be_retried_and_no_verdict(self, sandbox: Sandbox) -> None:
        verification = accept(sandbox, sandbox.link())
        with pytest.raises(SnapshotNotFoundError):
            sandbox.function("complete_verification")(
                {"verification": verification.id, "refresh": {"outcome": "ready", "snapshot": "fcaowns_x"}}
            )
        assert sandbox.store.verifications.get(verification.id).verdict is None
        assert sandbox.published() == []

    def test_verdict_whose_announcement_failed_is_announced_by_the_retry(self, sandbox: Sandbox) -> None:
        class DiedError(BaseException):
            pass

        def die(moment: Moment) -> None:
            if moment.operation == "put_events" and moment.when == "before":
                sandbox.taps.clear()
                raise DiedError

        verification = accept(sandbox, sandbox.link())
        sandbox.taps.append(die)
        outcome = {"outcome": "not_verifiable", "reason": "REFRESH_FAILED"}
        with pytest.raises(DiedError):
            finish(sandbox, verification, outcome)
        assert finish(sandbox, verification, outcome)["reasons"] == ["REFRESH_FAILED"]
        assert len(sandbox.published()) == 1

    def test_workflow_input_and_queue_hold_no_claim(self, sandbox: Sandbox) -> None:
        accept(sandbox, sandbox.link())
        (started,) = sandbox.tokens.started
        assert set(started["input"]) == {
            "verification", "ref", "not_before", "requested_at", "deadline", "settle_timeout", "longest_wait", "priority", "refresh",
        }  # fmt: skip
        assert "testerman" not in json.dumps(sandbox.tokens.started).lower()


HOSTILE_CLAIM = {"name": "Margaret Testerman", "address": {"postal_code": "a9"}}


class TestMatcherThatRaises:
    """For any claim and any owner, the verification gets its verdict, and so do others."""

    @pytest.fixture
    def raising(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the matcher raise an exception that quotes the claim and the owners."""

        def decide(claim: Any, owners: Any, policy: Any) -> Any:
            raise IndexError(f"{claim} {owners}")

        monkeypatch.setattr("titleholder.matching.decide", decide)

    def test_postal_code_beside_an_address_that_is_a_dash_gets_a_verdict(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=[{"name": "MARGARET TESTERMAN", "raw_address": "-"}])
        assert run(sandbox, ref, HOSTILE_CLAIM)["outcome"] == "match"

    @pytest.mark.usefixtures("raising")
    def test_matcher_that_raises_makes_the_verification_not_verifiable(self, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        verdict = run(sandbox, sandbox.link())
        assert (verdict["outcome"], verdict["reasons"], verdict["score"]) == ("not_verifiable", ["MATCHER_FAILED"], None)
        assert verdict["matcher_version"] == matching.MATCHER_VERSION
        assert verdict["snapshot"]
        (event,) = sandbox.published()
        assert event["detail"]["reasons"] == ["MATCHER_FAILED"]
        counted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"MatcherFailed"' in line]
        assert [(line["MatcherFailed"], line["service"], line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]) for line in counted] == [
            ([1.0], "titleholder", [["service"]])
        ]

    @pytest.mark.usefixtures("raising")
    def test_matcher_that_raises_is_logged_by_type_and_place_alone(self, sandbox: Sandbox) -> None:
        run(sandbox, sandbox.link())
        (line,) = [line for line in sandbox.log_lines() if line["level"] == "ERROR"]
        assert line["error"].startswith("IndexError at ")
        assert "testerman" not in sandbox.log.getvalue().lower()

    @pytest.mark.usefixtures("raising")
    def test_matcher_that_raises_fails_no_request_that_is_answered_at_once(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        fetch(sandbox, ref)
        answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)})
        assert (answer.status, answer.json["verdict"]["reasons"]) == (200, ["MATCHER_FAILED"])

    def test_matcher_that_raises_does_not_keep_owners_from_being_stored(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        def match(claim: Any, owner: Any) -> Any:
            raise IndexError(f"{claim} {owner}")

        ref = sandbox.link("old")
        fetch(sandbox, ref)
        first = sandbox.store.accounts.get(ref).snapshot
        sandbox.simulator.change(ref.account, owners=[{"name": "M TESTERMAN", "raw_address": "-"}])
        monkeypatch.setattr("titleholder.matching.match", match)
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)
        fetch(sandbox, ref)
        newest, before = sandbox.store.snapshots.page(ref, 10)[0]
        assert (newest.since, newest.changes, before.id) == (None, None, first)
        assert owners(sandbox, ref) == ["M TESTERMAN"]
