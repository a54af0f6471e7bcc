"""Metrics: each one that an alarm or the dashboard uses is emitted once, with the right dimensions, without personal data."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import boto3
import pytest

from tests.support.functions import http_event
from tests.support.reviews import verified
from tests.support.sandbox import CLAIM, Answer, Sandbox
from tests.support.verdicts import accept, fetch, finish, run
from titleholder import bootstrap, observability
from titleholder.aws import keys
from titleholder.domain.verifications import Verification
from titleholder.errors import TableBusyError
from titleholder.matching.explanations import SENTENCES
from titleholder.services import reconciliation, review_queue, verdicts, webhooks
from titleholder.timestamps import DAY_SECONDS

Emitted = Callable[[], dict[tuple[str, ...], list[float]]]


@pytest.fixture
def emitted(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> Emitted:
    """The values that were emitted since the last call, by name and values of the dimensions."""

    def read() -> dict[tuple[str, ...], list[float]]:
        found: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for line in capsys.readouterr().out.splitlines():
            blob: Mapping[str, Any] = json.loads(line) if line.startswith("{") and '"_aws"' in line else {}
            for directive in blob.get("_aws", {}).get("CloudWatchMetrics", ()):
                assert directive["Namespace"] == "Titleholder"
                (dimensions,) = directive["Dimensions"]
                for metric in directive["Metrics"]:
                    found[metric["Name"], *(blob[name] for name in dimensions)] += blob[metric["Name"]]
        return dict(found)

    return read


class TestVerdict:
    def test_verdict_is_counted_by_outcome_with_its_time(self, sandbox: Sandbox, emitted: Emitted) -> None:
        run(sandbox, sandbox.link())
        found = emitted()
        assert found["VerificationCompleted", "titleholder", "match"] == [1.0]
        # The bank took five seconds.
        assert found["VerificationSeconds", "titleholder"] == [6.0]
        assert found["SecondsAfterStripeAnswered", "titleholder"] == [1.0]
        assert ("VerificationUnanswered", "titleholder") not in found

    def test_time_after_stripes_answer_begins_when_the_owners_were_made(self, sandbox: Sandbox, emitted: Emitted) -> None:
        ref = sandbox.link()
        verification = accept(sandbox, ref)
        token = sandbox.enter(verification)
        sandbox.settle()
        sandbox.wait(65.0)
        sandbox.settle()
        answer = sandbox.outcome(token)
        assert answer
        emitted()
        finish(sandbox, verification, answer)
        found = emitted()
        assert found["VerificationSeconds", "titleholder"] == [65.0]
        assert found["SecondsAfterStripeAnswered", "titleholder"] == [60.0]

    def test_time_after_stripes_answer_begins_with_the_request_if_the_owners_were_there(self, sandbox: Sandbox, emitted: Emitted) -> None:
        ref = sandbox.link("fresh")
        fetch(sandbox, ref)
        sandbox.wait(600.0)
        emitted()
        assert sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)}).status == 200
        assert emitted()["SecondsAfterStripeAnswered", "titleholder"] == [0.0]

    def test_verdict_without_owners_has_no_time_after_stripes_answer(self, sandbox: Sandbox, emitted: Emitted) -> None:
        run(sandbox, sandbox.link("failing"))
        found = emitted()
        assert found["VerificationCompleted", "titleholder", "not_verifiable"] == [1.0]
        assert ("SecondsAfterStripeAnswered", "titleholder") not in found
        # That the bank refused is an answer.
        assert ("VerificationUnanswered", "titleholder") not in found

    def test_verdict_that_says_that_the_service_failed_is_counted_as_that(self, sandbox: Sandbox, emitted: Emitted) -> None:
        verification = accept(sandbox, sandbox.link())
        finish(sandbox, verification, {"Error": "States.Timeout"})
        assert emitted()["VerificationUnanswered", "titleholder"] == [1.0]

    def test_reasons_that_count_as_unanswered_exist(self) -> None:
        assert set(SENTENCES) >= verdicts.UNANSWERED

    def test_repeated_completion_is_not_counted_again(self, sandbox: Sandbox, emitted: Emitted) -> None:
        ref = sandbox.link()
        run(sandbox, ref)
        emitted()
        verification = sandbox.store.verifications.get(next(iter(sandbox.store.verifications.ids_of(ref))))
        finish(sandbox, verification, {"outcome": "not_verifiable", "reason": "ACCOUNT_NOT_FOUND"})
        assert not [name for name, *_ in emitted() if name.startswith("Verification")]

    def test_verification_of_a_batch_whose_owners_were_there_waits_for_its_turn_only(self, sandbox: Sandbox, emitted: Emitted) -> None:
        ref = sandbox.link()
        fetched = run(sandbox, ref)["snapshot"]
        sandbox.wait(60.0)
        verification = replace(accept(sandbox, ref), max_age=86_400.0, batch="bat_1")
        sandbox.wait(3600.0)
        emitted()
        deps = sandbox.deps
        verdicts.complete(deps.store, deps.bus, verification, {"outcome": "ready", "snapshot": fetched}, now=sandbox.clock())
        observability.metrics.flush_metrics()
        found = emitted()
        assert found["VerificationSeconds", "titleholder"] == [3600.0]
        assert ("SecondsAfterStripeAnswered", "titleholder") not in found


class TestReviews:
    """What waits for reviewers, and what they decide."""

    @pytest.fixture
    def reviewing(self, sandbox: Sandbox) -> Sandbox:
        sandbox.cold_start(REVIEWERS_NEEDED="1")
        return sandbox

    def waiting(self, sandbox: Sandbox, emitted: Emitted) -> Any:
        """How many reviews wait, and for how many seconds the oldest one has waited, as a run of reconcile counts them."""
        emitted()
        sandbox.function("reconcile")({})
        found = emitted()
        return found.get(("OpenReviews", "titleholder")), found.get(("OldestReview", "titleholder"))

    def decide(self, sandbox: Sandbox, verification: Verification, decision: str, reason: str, version: int = 1) -> int:
        body = {"version": version, "decision": decision, "reason": reason}
        event = http_event("POST", f"/verifications/{verification.id}/review/decisions", body, {})
        event["requestContext"]["authorizer"] = {"iam": {"userArn": "arn:aws:sts::123456789012:assumed-role/reviewers/anne"}}
        return Answer.of(sandbox.function("review")(event)).status

    def test_reviews_that_wait_are_counted_with_the_age_of_the_oldest(self, reviewing: Sandbox, emitted: Emitted) -> None:
        assert self.waiting(reviewing, emitted) == ([0.0], [0.0])
        oldest = verified(reviewing)
        opened = reviewing.clock.now
        reviewing.wait(3600.0)
        reviewing.cold_start(REVIEWERS_NEEDED="2")
        assert self.decide(reviewing, oldest, "approve", "NAME_VARIANT_CONFIRMED") == 200
        verified(reviewing)
        # A proposal that waits for its second reviewer has waited since the review was opened.
        assert self.waiting(reviewing, emitted) == ([2.0], [pytest.approx(reviewing.clock.now - opened, abs=1)])

    def test_last_decision_brings_zeros(self, reviewing: Sandbox, emitted: Emitted) -> None:
        verification = verified(reviewing)
        assert self.waiting(reviewing, emitted)[0] == [1.0]
        assert self.decide(reviewing, verification, "reject", "RELATIVE") == 200
        assert self.waiting(reviewing, emitted) == ([0.0], [0.0])

    def test_stack_without_reviews_sends_nothing_about_them(self, sandbox: Sandbox, emitted: Emitted) -> None:
        verified(sandbox)
        assert self.waiting(sandbox, emitted) == (None, None)

    def test_reviews_that_wait_are_counted_after_reviews_were_switched_off(self, reviewing: Sandbox, emitted: Emitted) -> None:
        verified(reviewing)
        reviewing.cold_start(REVIEWERS_NEEDED="0")
        assert self.waiting(reviewing, emitted)[0] == [1.0]

    def test_reconcile_goes_on_where_reviews_cannot_be_counted(
        self, reviewing: Sandbox, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise TableBusyError("busy")

        monkeypatch.setattr(review_queue, "backlog", fail)
        emitted()
        reviewing.function("reconcile")({})
        found = emitted()
        assert found["ReconcileCompleted", "titleholder"] == [1.0]
        assert ("OpenReviews", "titleholder") not in found

    def test_decision_is_counted_by_reason_once(self, reviewing: Sandbox, emitted: Emitted) -> None:
        verification = verified(reviewing)
        emitted()
        for _ in range(2):
            assert self.decide(reviewing, verification, "reject", "SUSPECTED_FRAUD") == 200
        assert emitted()["ReviewDecided", "titleholder", "reject", "SUSPECTED_FRAUD"] == [1.0]

    def test_proposal_is_not_counted_as_a_decision(self, reviewing: Sandbox, emitted: Emitted) -> None:
        reviewing.cold_start(REVIEWERS_NEEDED="2")
        verification = verified(reviewing)
        assert self.decide(reviewing, verification, "approve", "NAME_VARIANT_CONFIRMED") == 200
        assert not [name for name in emitted() if name[0] == "ReviewDecided"]

    def test_review_that_ended_by_itself_is_counted_as_that(self, reviewing: Sandbox, emitted: Emitted) -> None:
        verified(reviewing)
        reviewing.wait(31 * DAY_SECONDS)
        assert self.waiting(reviewing, emitted) == ([0.0], [0.0])
        verified(reviewing)
        reviewing.wait(31 * DAY_SECONDS)
        emitted()
        reviewing.function("reconcile")({})
        assert emitted()["ReviewExpired", "titleholder"] == [1.0]


class TestDelivery:
    def test_refresh_that_was_paid_for_brings_a_zero_of_accepted_deliveries(self, sandbox: Sandbox, emitted: Emitted) -> None:
        """So the alarm for absent webhooks has a value to compare where none ever came."""
        sandbox.enter(accept(sandbox, sandbox.link()))
        sandbox.consume(sandbox.refresh_queue)
        found = emitted()
        assert found["RefreshesPaid", "titleholder"] == [1.0]
        assert found["DeliveryAccepted", "titleholder"] == [0.0]
        assert sum(found["StripeCalls", "titleholder"]) >= 1

    def test_accepted_delivery_is_counted_with_its_time(self, sandbox: Sandbox, emitted: Emitted) -> None:
        sandbox.enter(accept(sandbox, sandbox.link()))
        sandbox.consume(sandbox.refresh_queue)
        sandbox.wait(6.0)
        emitted()
        sandbox.deliver_due()
        found = emitted()
        assert sum(found["DeliveryAccepted", "titleholder"]) == len(found["DeliverySeconds", "titleholder"]) >= 1
        assert all(seconds >= 0 for seconds in found["DeliverySeconds", "titleholder"])

    def test_refused_delivery_is_counted_with_a_zero_of_accepted_ones(self, sandbox: Sandbox, emitted: Emitted) -> None:
        assert sandbox.http("POST", "/webhooks/stripe", {}, function="receive_webhook").status == 400
        found = emitted()
        assert (found["DeliveryRefused", "titleholder"], found["DeliveryAccepted", "titleholder"]) == ([1.0], [0.0])
        assert ("DeliverySeconds", "titleholder") not in found

    def test_delivery_that_could_not_be_stored_is_counted_as_neither(
        self, sandbox: Sandbox, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*_: object) -> Any:
            raise TableBusyError

        monkeypatch.setattr(webhooks.WebhookReceiver, "receive", busy)
        assert sandbox.http("POST", "/webhooks/stripe", {}, function="receive_webhook").status == 503
        assert emitted() == {("DeliveryNotStored", "titleholder"): [1.0]}


class TestReconcile:
    def test_run_that_completes_is_counted(self, sandbox: Sandbox, emitted: Emitted) -> None:
        sandbox.function("reconcile")({})
        found = emitted()
        assert found["ReconcileCompleted", "titleholder"] == [1.0]
        assert ("KeyUnusable", "titleholder") not in found

    def test_planned_readings_are_no_repairs(self, sandbox: Sandbox, emitted: Emitted, monkeypatch: pytest.MonkeyPatch) -> None:
        """The alarm on repairs must not be raised because many workflows wait for the repair of their account."""
        report = reconciliation.Report(repaired=Counter(repair=12, refresh=3, announcement=1))
        monkeypatch.setattr(reconciliation, "reconcile", lambda *_, **__: report)
        sandbox.function("reconcile")({})
        assert emitted()["Repaired", "titleholder"] == [1.0]

    def test_key_whose_deletion_is_scheduled_is_counted_and_logged(self, sandbox: Sandbox, emitted: Emitted) -> None:
        key = sandbox.environment["VAULT_KEY_ID"]
        boto3.client("kms", region_name="us-east-1").schedule_key_deletion(KeyId=key.rpartition("/")[2], PendingWindowInDays=7)
        sandbox.function("reconcile")({})
        assert emitted()["KeyUnusable", "titleholder"] == [1.0]
        (line,) = [line for line in sandbox.log_lines() if line["message"] == "a KMS key can't be used"]
        assert (line["key"], line["state"]) == (key, "PendingDeletion")

    def test_key_of_the_table_is_counted_although_the_table_cannot_be_read(
        self, sandbox: Sandbox, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreadable(*_: object, **__: object) -> Any:
            raise RuntimeError("KMSAccessDeniedException")

        monkeypatch.setattr(bootstrap.Application, "unusable_keys", lambda self: [("tables", "Disabled")])
        monkeypatch.setattr(reconciliation, "reconcile", unreadable)
        with pytest.raises(Exception, match="RuntimeError"):
            sandbox.function("reconcile")({})
        found = emitted()
        assert found["KeyUnusable", "titleholder"] == [1.0]
        assert ("ReconcileCompleted", "titleholder") not in found

    def test_disabled_key_of_the_tables_is_noticed(self) -> None:
        class KMS:
            def describe_key(self, KeyId: str) -> Any:
                return {"KeyMetadata": {"KeyState": {"tables": "Disabled", "vault": "Enabled"}[KeyId]}}

        assert list(keys.unusable(KMS(), ["tables", "vault"])) == [("tables", "Disabled")]

    def test_keys_that_cannot_be_looked_at_do_not_fail_the_run(
        self, sandbox: Sandbox, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def denied(self: object) -> Any:
            raise RuntimeError("AccessDenied")

        monkeypatch.setattr(bootstrap.Application, "unusable_keys", denied)
        sandbox.function("reconcile")({})
        assert emitted()["ReconcileCompleted", "titleholder"] == [1.0]
        assert [line["reason"] for line in sandbox.log_lines() if line["message"] == "keys not looked at"] == ["RuntimeError"]


def test_call_that_stripe_refuses_is_logged_without_its_message_and_counted(sandbox: Sandbox, emitted: Emitted) -> None:
    sandbox.simulator.options.api_keys = frozenset({"sk_test_other"})
    assert sandbox.http("GET", "/accounts/fca_1").status >= 400
    found = emitted()
    assert sum(found["StripeCallFailed", "titleholder"]) >= 1
    line = next(line for line in sandbox.log_lines() if line["message"] == "call to Stripe failed")
    assert (line["operation"], line["stripe_status"]) == ("read", 401)
    assert line["stripe_request"].startswith("req_")
    assert "sk_test" not in json.dumps(line)


def test_account_that_stripe_does_not_know_is_no_failed_call(sandbox: Sandbox, emitted: Emitted) -> None:
    assert sandbox.http("GET", "/accounts/fca_unknown").status == 404
    assert ("StripeCallFailed", "titleholder") not in emitted()
