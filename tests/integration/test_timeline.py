"""The timeline of a verification: what is written and read for it, and that the verification does not depend on it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.refreshing import READ, serve
from tests.support.reviews import ANNE, BOB, TENANT, WRONG, decide, deps, verified
from tests.support.sandbox import CLAIM, PERSONAL, Moment, Sandbox, client
from tests.support.verifications import customer, get, post, work
from titleholder.domain.accounts import Tenant
from titleholder.errors import StripeError, VerificationNotFoundError
from titleholder.services import reviews, timelines
from titleholder.timestamps import DAY_SECONDS

WRITES = ("put_item", "update_item", "delete_item", "transact_write_items")


def told(sandbox: Sandbox, id: str) -> Any:
    return sandbox.http("GET", f"/verifications/{id}?timeline=true").json["timeline"]


def kinds(sandbox: Sandbox, id: str) -> list[str]:
    return [step["kind"] for step in told(sandbox, id)["steps"]]


def recorded(sandbox: Sandbox) -> list[str]:
    """The kinds of the steps that were written."""
    return [item["sk"]["S"].rpartition("#")[2] for item in sandbox.items() if item["sk"]["S"].startswith("WAY#")]


class Calls:
    """The calls to DynamoDB from now on, each with its arguments."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.made: list[Moment] = []
        sandbox.taps.append(lambda moment: self.made.append(moment) if (moment.service, moment.when) == ("dynamodb", "before") else None)

    def writes(self) -> list[Moment]:
        return [moment for moment in self.made if moment.operation in WRITES]

    def of_steps(self) -> list[Moment]:
        return [moment for moment in self.writes() if "WAY#" in json.dumps(moment.arguments, default=str)]


class TestWrites:
    def test_ordinary_verification_costs_two_more(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        calls = Calls(sandbox)
        work(sandbox, made["id"])
        assert get(sandbox, made["id"])["verdict"]["outcome"] == "match"
        assert [moment.operation for moment in calls.of_steps()] == ["update_item", "update_item"]
        assert recorded(sandbox) == ["refresh_started", "woken"]
        for moment in calls.of_steps():
            assert len(json.dumps(moment.arguments)) < 1000  # So that each is one write unit.

    @pytest.mark.parametrize("scenario", ["fresh", "inactive", "permission_missing"])
    @pytest.mark.parametrize("at_once", [True, False], ids=["over HTTP", "by the workflow"])
    def test_verification_that_is_answered_at_once_costs_none(self, sandbox: Sandbox, scenario: str, at_once: bool) -> None:
        ref, calls = sandbox.link(scenario), Calls(sandbox)
        if at_once:
            made = post(sandbox, account=ref.account).json
            work(sandbox, made["id"]) if made["state"] == "waiting" else None
            assert get(sandbox, made["id"])["state"] == "completed"
        else:
            serve(sandbox, ref, max_age=DAY_SECONDS)
        assert calls.writes()
        assert calls.of_steps() == []

    def test_cooldown_costs_one_more(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("cooling_down", policy={"cooldown_seconds": 600.0})
        made = post(sandbox, account=ref.account).json
        verification = sandbox.store.verifications.get(made["id"])
        token = sandbox.enter(verification)
        sandbox.consume(sandbox.refresh_queue)
        cooling = sandbox.outcome(token)
        assert cooling is not None
        assert recorded(sandbox) == ["cooldown_began"]
        sandbox.wait(601)
        token = sandbox.enter(verification, resume_at=cooling["resume_at"])
        sandbox.settle()
        sandbox.wait(6)
        sandbox.settle()
        assert recorded(sandbox) == ["cooldown_began", "refresh_started", "woken"]

    def test_message_that_comes_twice_records_its_step_once(self, sandbox: Sandbox) -> None:
        verification = sandbox.store.verifications.get(post(sandbox, account=sandbox.link().account).json["id"])
        sandbox.enter(verification)
        [message] = sandbox.messages(sandbox.refresh_queue)
        sandbox.send(sandbox.refresh_queue, message)
        sandbox.consume(sandbox.refresh_queue)
        assert recorded(sandbox) == ["refresh_started"]

    def test_trouble_is_recorded_once_until_it_changes(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.fail_api("server_error", path=READ, times=None)
        for turn in ("1", "2"):
            sandbox.wait(60)
            with pytest.raises(StripeError):
                serve(sandbox, ref, turn=turn)
        assert recorded(sandbox) == ["trouble"]
        sandbox.wait(60)
        sandbox.simulator.clear_faults()
        sandbox.simulator.configure(api_keys=frozenset({"sk_test_other"}))
        with pytest.raises(StripeError):
            serve(sandbox, ref, turn="3")
        assert recorded(sandbox) == ["trouble", "trouble"]

    def test_step_is_kept_as_long_as_the_claim(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        work(sandbox, made["id"])
        [claim] = [item for item in sandbox.items() if item["sk"]["S"].startswith("CLAIM#")]
        for item in sandbox.items():
            if item["sk"]["S"].startswith("WAY#"):
                assert 0 <= int(item["expires_at"]["N"]) - int(claim["expires_at"]["N"]) <= 10

    def test_step_is_kept_until_the_verification_has_ended(self, sandbox: Sandbox) -> None:
        sandbox.cold_start(CLAIM_RETENTION_DAYS="1")
        made = post(sandbox, account=sandbox.link().account).json
        sandbox.enter(sandbox.store.verifications.get(made["id"]))
        sandbox.consume(sandbox.refresh_queue)
        [step] = [item for item in sandbox.items() if item["sk"]["S"].startswith("WAY#")]
        assert int(step["expires_at"]["N"]) >= sandbox.store.verifications.get(made["id"]).deadline


class TestFailedWrite:
    """A step that can't be written is left out: the verification takes its way as if it was not to be written."""

    @pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "TransactionConflictException", "ValidationException"])
    def test_verification_ends_all_the_same(self, sandbox: Sandbox, code: str) -> None:
        tries: list[str] = []

        def refuse(moment: Moment) -> None:
            if (moment.service, moment.when) == ("dynamodb", "before") and "WAY#" in json.dumps(moment.arguments, default=str):
                tries.append(moment.operation)
                raise ClientError({"Error": {"Code": code, "Message": f"{dict(CLAIM)}"}}, "UpdateItem")

        made = post(sandbox, account=sandbox.link().account).json
        sandbox.taps.append(refuse)
        began = sandbox.clock.now
        work(sandbox, made["id"])
        assert get(sandbox, made["id"])["verdict"]["outcome"] == "match"
        assert tries == ["update_item"] * 2  # Nothing was tried again.
        assert sandbox.clock.now - began == 6  # Nor waited for: that is how long Stripe took.
        lines = [line for line in sandbox.log_lines() if line["message"] == "step not recorded"]
        assert [(line["step"], line["verification"]) for line in lines] == [("refresh_started", made["id"]), ("woken", made["id"])]
        sandbox.taps.clear()
        assert kinds(sandbox, made["id"]) == ["requested", "owners_fetched", "verdict"]


class TestReads:
    def test_timeline_takes_five_reads_and_no_owner(self, sandbox: Sandbox) -> None:
        sandbox.cold_start(REVIEWERS_NEEDED="1")
        verification = verified(sandbox)
        calls = Calls(sandbox)
        found = timelines.read(sandbox.store, TENANT, verification.id, sandbox.clock.now)
        operations = [moment.operation for moment in calls.made]
        assert operations == ["get_item", "query", "get_item", "get_item", "query"]
        assert {"verdict", "review_opened", "owners_fetched"} <= {step.kind for step in found.steps}
        [snapshot] = [moment.arguments for moment in calls.made if "SNAPSHOT#" in json.dumps(moment.arguments)]
        assert "owners" not in snapshot["ExpressionAttributeNames"].values()

    def test_verification_that_waits_takes_two(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        calls = Calls(sandbox)
        timelines.read(sandbox.store, TENANT, made["id"], sandbox.clock.now)
        assert [moment.operation for moment in calls.made] == ["get_item", "query"]

    def test_verification_is_read_as_before_without_the_parameter(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        calls = Calls(sandbox)
        assert "timeline" not in get(sandbox, made["id"])
        assert [moment.operation for moment in calls.made] == ["get_item", "put_item"]  # The last one is the audit entry.

    def test_reading_is_audited(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        told(sandbox, made["id"])
        entries = [item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#")]
        assert "verification.read" in {item["action"]["S"] for item in entries}

    @pytest.mark.parametrize("value", ["maybe", "", "2"])
    def test_parameter_is_true_or_false(self, sandbox: Sandbox, value: str) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        assert sandbox.http("GET", f"/verifications/{made['id']}?timeline={value}").status == 422

    def test_timeline_of_another_tenants_verification_is_not_found(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        answer = sandbox.http("GET", f"/verifications/{made['id']}?timeline=true", Stripe_Account="acct_other")
        assert (answer.status, answer.problem) == (404, "verification-not-found")
        for tenant in (Tenant("test", "acct_other"), Tenant("live")):
            with pytest.raises(VerificationNotFoundError):
                timelines.read(sandbox.store, tenant, made["id"], sandbox.clock.now)

    def test_several_accounts_have_a_timeline_each(self, sandbox: Sandbox, stripe: Any) -> None:
        made = post(sandbox, customer=customer(sandbox, stripe, "single_owner", "fresh")).json
        answer = sandbox.http("GET", f"/verifications/{made['id']}?timeline=true").json
        assert "timeline" not in answer
        with pytest.raises(VerificationNotFoundError, match="of its own"):
            timelines.read(sandbox.store, TENANT, made["id"], sandbox.clock.now)
        with pytest.raises(VerificationNotFoundError, match="no such"):
            timelines.read(sandbox.store, Tenant("test", "acct_other"), made["id"], sandbox.clock.now)
        for member in answer["members"]:
            assert kinds(sandbox, member["verification"])[0] in ("requested", "owners_fetched")


class TestOldVerifications:
    """A verification that an earlier release accepted has no mark that its steps are recorded."""

    def test_timeline_shows_what_is_stored_and_says_that_it_may_not_be_all(self, sandbox: Sandbox) -> None:
        verification = verified(sandbox)
        for item in sandbox.items():
            if item["sk"]["S"].startswith("WAY#"):
                client("dynamodb").delete_item(TableName="titleholder", Key={"pk": item["pk"], "sk": item["sk"]})
        self.forget(verification.id, "recorded")
        assert told(sandbox, verification.id)["recorded"] is False
        assert kinds(sandbox, verification.id) == ["requested", "owners_fetched", "verdict"]

    def test_verification_that_waited_over_the_upgrade_has_its_steps_from_then_on(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        self.forget(made["id"], "recorded")
        work(sandbox, made["id"])
        found = told(sandbox, made["id"])
        assert found["recorded"] is False
        assert [step["kind"] for step in found["steps"]][1] == "refresh_started"

    def test_steps_that_have_expired_are_said_to_be_missing(self, sandbox: Sandbox) -> None:
        verification = verified(sandbox)
        assert told(sandbox, verification.id)["recorded"] is True
        sandbox.wait(401 * DAY_SECONDS)
        assert told(sandbox, verification.id)["recorded"] is False
        assert kinds(sandbox, verification.id) == ["requested", "verdict"]

    def test_event_of_an_earlier_release_is_shown_as_far_as_it_is_known(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        sandbox.enter(sandbox.store.verifications.get(made["id"]))
        sandbox.consume(sandbox.refresh_queue)
        sandbox.wait(6)
        sandbox.deliver_due()
        [event] = [item for item in sandbox.items() if item["pk"]["S"].startswith("EVENT#")]
        client("dynamodb").delete_item(TableName="titleholder", Key={"pk": event["pk"], "sk": event["sk"]})
        sandbox.settle()
        [woken] = [step for step in told(sandbox, made["id"])["steps"] if step["kind"] == "woken"]
        assert {name: woken[name] for name in woken if name != "at"} == {"kind": "woken", "by": "webhook", "outcome": "ready"}

    def forget(self, id: str, attribute: str) -> None:
        key = {"pk": {"S": f"VERIFICATION#{id}"}, "sk": {"S": "VERIFICATION"}}
        client("dynamodb").update_item(
            TableName="titleholder", Key=key, UpdateExpression="REMOVE #name", ExpressionAttributeNames={"#name": attribute}
        )


class TestEvents:
    def test_event_of_the_linking_that_is_processed_late_is_not_shown_as_the_result(self, sandbox: Sandbox) -> None:
        linked = sandbox.simulator.link("single_owner")
        sandbox.deliver_due()  # The event is received, and waits in the queue.
        assert len(sandbox.messages(sandbox.events_queue)) == 1
        made = post(sandbox, account=linked["id"]).json
        sandbox.enter(sandbox.store.verifications.get(made["id"]))
        sandbox.consume(sandbox.refresh_queue)
        sandbox.wait(6)  # The refresh has settled.
        sandbox.consume(sandbox.events_queue)
        found = told(sandbox, made["id"])["steps"]
        assert [step["kind"] for step in found] == ["requested", "refresh_started", "woken"]
        assert found[-1]["by"] == "reading"

    def test_event_that_reports_the_result_is_shown_with_its_type(self, sandbox: Sandbox) -> None:
        made = post(sandbox, account=sandbox.link().account).json
        work(sandbox, made["id"])
        [webhook] = [step for step in told(sandbox, made["id"])["steps"] if step["kind"] == "webhook"]
        assert webhook["event_type"] == "financial_connections.account.refreshed_ownership"


class TestReviews:
    def test_review_is_shown_step_by_step(self, sandbox: Sandbox) -> None:
        sandbox.cold_start(REVIEWERS_NEEDED="2")
        verification = verified(sandbox)
        sandbox.wait(60)
        decide(verification, "approve")
        sandbox.wait(60)
        decide(verification, "approve", by=BOB, version=2, reference="CASE-4711")
        assert kinds(sandbox, verification.id)[-4:] == ["verdict", "review_opened", "proposed", "decided"]
        steps = told(sandbox, verification.id)["steps"]
        assert [steps[-2]["by"], steps[-1]["by"]] == [ANNE.actor, BOB.actor]
        assert (steps[-1]["resolution"], steps[-1]["decision"], steps[-1]["reason"]) == ("approved", "approve", "NAME_VARIANT_CONFIRMED")
        assert "CASE-4711" not in json.dumps(steps)

    def test_review_that_was_opened_by_hand_and_ended_by_itself(self, sandbox: Sandbox) -> None:
        sandbox.cold_start(REVIEWERS_NEEDED="1")
        verification = verified(sandbox, WRONG)
        reviews.open_by_hand(deps(), TENANT, verification.id, ANNE)
        sandbox.wait(60)
        sandbox.simulator.change(verification.ref.account, action="deactivate")
        sandbox.settle()
        assert kinds(sandbox, verification.id)[-3:] == ["review_opened", "expired", "stale"]
        opened, expired, _ = told(sandbox, verification.id)["steps"][-3:]
        assert (opened["by"], expired["reason"]) == ("manual", "ACCOUNT_INACTIVE")


class TestAfterwards:
    def test_change_of_owners_is_shown(self, sandbox: Sandbox) -> None:
        verification = verified(sandbox)
        sandbox.wait(DAY_SECONDS)
        owner = {"name": "MARGARET TESTERMAN", "email": None, "phone": None, "raw_address": None}
        joint = {"name": "OLIVER PLACEHOLDER", "email": None, "phone": None, "raw_address": None}
        sandbox.simulator.change(verification.ref.account, action="prefetch", owners=[owner, joint])
        sandbox.wait(60)
        sandbox.settle()
        steps = told(sandbox, verification.id)["steps"]
        assert steps[-1]["kind"] == "owners_changed"
        assert "owner_added" in steps[-1]["changes"]
        assert "OLIVER" not in json.dumps(steps)

    def test_change_of_owners_is_shown_after_later_answers_that_say_the_same(self, sandbox: Sandbox) -> None:
        verification = verified(sandbox)
        renamed = [{"name": "MARGARET NEWNAME", "email": None, "phone": None, "raw_address": None}]
        for _ in range(2):
            sandbox.wait(DAY_SECONDS)
            sandbox.simulator.change(verification.ref.account, action="prefetch", owners=renamed)
            sandbox.wait(60)
            sandbox.settle()
            assert kinds(sandbox, verification.id)[-2:] == ["verdict", "owners_changed"]
        calls = Calls(sandbox)
        timelines.read(sandbox.store, TENANT, verification.id, sandbox.clock.now)
        assert [moment.operation for moment in calls.made].count("query") == 2  # The steps, and the snapshots.

    def test_no_step_has_personal_data(self, sandbox: Sandbox) -> None:
        owner = {"name": "QUILLFEATHER CANARY", "email": "canary@example.com", "phone": "5555550101", "raw_address": "1 CANARY ST"}
        ref = sandbox.link(owners=[owner], details={"display_name": "QUILLFEATHER CHECKING"})
        made = post(sandbox, account=ref.account).json
        work(sandbox, made["id"])
        sandbox.simulator.change(ref.account, action="deactivate")
        sandbox.settle()
        stored = [item for item in sandbox.items() if item["sk"]["S"].startswith("WAY#")]
        text = (json.dumps(stored) + json.dumps(told(sandbox, made["id"]))).lower()
        assert "refresh_started" in text
        assert not [word for word in (*PERSONAL, "quillfeather", "canary", "5550101") if word.lower() in text]
