"""Fetching settled refreshes, waking everybody, and bringing each verification to one verdict that can be explained."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.functions import queue_event
from tests.support.sandbox import API_KEY, CLAIM, Moment, Sandbox
from titleholder import matching
from titleholder.domain import owner_changes
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import FreshnessRequirement, decide_from_memory
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.domain.verifications import Verification
from titleholder.errors import SnapshotNotFoundError
from titleholder.services import account_sync
from titleholder.stripe_api.gateway import LIST as LINE
from titleholder.stripe_api.gateway import READ_TIMEOUT_SECONDS, _reading


def accept(sandbox: Sandbox, ref: AccountRef, claim: Any = CLAIM) -> Verification:
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(claim), "max_age": 0})
    assert answer.status == 202, answer
    return sandbox.store.verifications.get(answer.json["id"])


def fetch(sandbox: Sandbox, ref: AccountRef, event: str = "evt_1") -> None:
    sandbox.send(sandbox.events_queue, {"event": event, **ref.as_dict()})
    assert sandbox.consume(sandbox.events_queue) == []


def finish(sandbox: Sandbox, verification: Verification, outcome: Any) -> dict[str, Any]:
    """What the workflow does at its end; the verdict as a caller sees it."""
    sandbox.function("complete_verification")({"verification": verification.id, "refresh": outcome})
    verdict: dict[str, Any] = sandbox.http("GET", f"/verifications/{verification.id}").json["verdict"]
    return verdict


def run(sandbox: Sandbox, ref: AccountRef, claim: Any = CLAIM) -> dict[str, Any]:
    """The ordinary way of one verification, to its verdict."""
    sandbox.wait(2)
    verification = accept(sandbox, ref, claim)
    token = sandbox.enter(verification)
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    sandbox.settle()
    return finish(sandbox, verification, sandbox.outcome(token))


def owners(sandbox: Sandbox, ref: AccountRef) -> list[str]:
    account = sandbox.store.accounts.get(ref)
    assert account.snapshot is not None
    return [owner["name"] for owner in sandbox.store.snapshots.get(ref, account.snapshot).owners.reveal()]


class TestFetch:
    @pytest.mark.parametrize("page", [1, 2, 5, 13, None])
    def test_all_owners_are_fetched_whatever_a_page_holds(self, sandbox: Sandbox, page: int | None) -> None:
        ref = sandbox.link("paged_owners", policy={"owners_page": page})
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)
        fetch(sandbox, ref)
        assert owners(sandbox, ref) == [*(f"SIGNATORY {number:02}" for number in range(1, 13)), "MARGARET ANNE TESTERMAN"]

    def test_pages_are_read_once(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("paged_owners", policy={"owners_page": 2})
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)
        fetch(sandbox, ref)
        assert sandbox.stripe_calls(ref).count("GET owners") == 6
        fetch(sandbox, ref, "evt_2")
        assert sandbox.stripe_calls(ref).count("GET owners") == 6

    def test_webhook_that_comes_too_early_changes_nothing(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.deps.stripe.refresh(ref, "key")
        fetch(sandbox, ref)
        assert sandbox.store.accounts.get(ref).snapshot is None
        assert [waiter.verification for waiter in sandbox.store.waiters.of_account(ref)] == []

    def test_events_out_of_order_leave_the_newest_snapshot_and_both_readable(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=[{"name": "FIRST OWNER"}])
        sandbox.deps.stripe.refresh(ref, "key-1")
        sandbox.wait(6)
        late = sandbox.deps.stripe.read(ref)
        first = sandbox.store.accounts.get(ref)
        sandbox.wait(100)
        sandbox.simulator.change(ref.account, owners=[{"name": "SECOND OWNER"}])
        sandbox.deps.stripe.refresh(ref, "key-2")
        sandbox.wait(6)
        fetch(sandbox, ref)
        account_sync.apply_reading(sandbox.deps, ref, late, first)
        assert owners(sandbox, ref) == ["SECOND OWNER"]
        assert late.ownership is not None
        assert [owner["name"] for owner in sandbox.store.snapshots.get(ref, late.ownership.id).owners.reveal()] == ["FIRST OWNER"]

    def test_stored_snapshot_does_not_change_when_the_bank_does(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        fetch(sandbox, ref)
        sandbox.simulator.change(ref.account, owners=[{"name": "SOMEBODY ELSE"}])
        fetch(sandbox, ref, "evt_2")
        assert owners(sandbox, ref) == ["MARGARET ANNE TESTERMAN"]

    def test_event_is_marked_as_processed_only_after_its_work(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        event = {"id": "evt_1", "type": "x", "created": "1", **ref.as_dict()}
        sandbox.store.events.insert(event, processed=False, now=sandbox.clock.now)
        sandbox.simulator.fail_api("rate_limit")
        sandbox.send(sandbox.events_queue, {"event": "evt_1", **ref.as_dict()})
        assert len(sandbox.consume(sandbox.events_queue)) == 1
        assert sandbox.store.events.insert(event, processed=False, now=sandbox.clock.now) == "waiting"
        sandbox.wait(3)
        assert sandbox.consume(sandbox.events_queue) == []
        assert sandbox.store.events.insert(event, processed=False, now=sandbox.clock.now) == "processed"

    def test_one_bad_message_does_not_hold_up_the_others(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        sandbox.client("sqs").send_message(QueueUrl=sandbox.events_queue, MessageBody="{")
        sandbox.send(sandbox.events_queue, {"event": "evt_1", **ref.as_dict()})
        first, second = sandbox.receive(sandbox.events_queue)[0], sandbox.receive(sandbox.events_queue)[0]
        answer = sandbox.function("fetch_owners")(queue_event(first, second))
        assert answer == {"batchItemFailures": [{"itemIdentifier": first["MessageId"]}]}
        assert owners(sandbox, ref) == ["MARGARET ANNE TESTERMAN"]

    def test_connected_accounts_owners_are_its_own(self, sandbox: Sandbox) -> None:
        platform = sandbox.link("fresh", id="fca_1")
        connected = sandbox.link("fresh", id="fca_1", stripe_account="acct_1", owners=[{"name": "CONNECTED OWNER"}])
        fetch(sandbox, connected)
        assert owners(sandbox, connected) == ["CONNECTED OWNER"]
        assert sandbox.store.accounts.get(platform).snapshot is None


LIST = "/v1/financial_connections/accounts"


def start(sandbox: Sandbox, ref: AccountRef) -> str:
    """A verification whose refresh is under way; its workflow's token."""
    sandbox.wait(2)
    token = sandbox.enter(accept_for(sandbox, ref))
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    return token


def accept_for(sandbox: Sandbox, ref: AccountRef) -> Verification:
    headers = {} if ref.stripe_account is None else {"Stripe_Account": ref.stripe_account}
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM), "max_age": 0}, **headers)
    return sandbox.store.verifications.get(answer.json["id"])


class TestSettledRefresh:
    """An account was read before its refresh; after it, it is looked for in the list of its holder's accounts."""

    @pytest.mark.parametrize("connected", [None, "acct_1"])
    def test_is_found_in_the_list_of_the_holders_accounts(self, sandbox: Sandbox, connected: str | None) -> None:
        held: dict[str, Any] = {"customer": "cus_1", "stripe_account": connected}
        others = [sandbox.link("fresh", owners=[{"name": "SOMEBODY ELSE"}], **held)]
        ref = sandbox.link("paged_owners", policy={"owners_page": 2}, **held)
        others.append(sandbox.link("fresh", owners=[{"name": "SOMEBODY ELSE"}], **held))
        token = start(sandbox, ref)
        fetch(sandbox, ref)
        assert (sandbox.outcome(token) or {})["outcome"] == "ready"
        assert len(owners(sandbox, ref)) == 13
        assert sandbox.stripe_calls()[:3] == ["GET {account}", "POST refresh", "GET accounts"]
        assert sandbox.stripe_calls().count("GET {account}") == 1
        assert {entry["stripe_account"] for entry in sandbox.simulator.requests()} == {connected}
        assert all(sandbox.store.accounts.get(other).snapshot is None for other in others)

    def test_of_an_account_held_by_a_connected_account_is_found_there(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(details={"account_holder": {"type": "account", "account": "acct_9"}})
        sandbox.simulator.fail_api("server_error", path=LIST)
        start(sandbox, ref)
        asked: list[Moment] = []
        sandbox.taps.append(asked.append)
        sandbox.settle()
        assert [moment.operation for moment in asked if moment.service == "stripe"][:1] == [f"GET {LIST[1:]}"]
        assert owners(sandbox, ref) == ["MARGARET ANNE TESTERMAN"]

    @pytest.mark.parametrize(
        "trouble",
        [
            {"policy": {"unlisted": True}},
            {"policy": {"list_lag_seconds": 3}},
            {"policy": {"list_lag_seconds": 1000}},
            {"fault": {"kind": "rate_limit"}},
            {"fault": {"kind": "server_error", "times": None}},
            {"fault": {"kind": "hang", "times": None}},
            {"fault": {"kind": "drop", "times": None}},
            {"denied": True},
        ],
    )
    def test_that_no_list_shows_is_read(self, sandbox: Sandbox, trouble: dict[str, Any]) -> None:
        ref = sandbox.link(customer="cus_1", policy=trouble.get("policy"))
        token = start(sandbox, ref)
        if "fault" in trouble:
            sandbox.simulator.fail_api(path=LIST, **trouble["fault"])
        if "denied" in trouble:
            sandbox.simulator.configure(denied={API_KEY: frozenset({f"GET {LIST}"})})
        before = sandbox.clock.now
        sandbox.settle()
        assert (sandbox.outcome(token) or {})["outcome"] == "ready"
        assert sandbox.stripe_calls() == ["GET {account}", "POST refresh", "GET accounts", "GET {account}"]
        # There is time left for reading it: a list that hangs is waited for once.
        assert sandbox.clock.now - before <= READ_TIMEOUT_SECONDS

    def test_is_read_where_the_line_of_lists_is_long(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1")
        token = start(sandbox, ref)
        for _ in range(25 * 4):
            sandbox.store.rate_limits.reserve(LINE, 25, sandbox.clock.now)
        sandbox.settle()
        assert (sandbox.outcome(token) or {})["outcome"] == "ready"
        assert sandbox.stripe_calls(ref)[-1] == "GET {account}"

    def test_that_is_known_is_read_when_another_event_comes(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1", policy={"list_lag_seconds": 1000})
        start(sandbox, ref)
        sandbox.settle()
        sandbox.simulator.change(ref.account, action="deactivate")
        sandbox.settle()
        state = sandbox.store.accounts.get(ref).state
        assert state is not None
        assert state.status == "inactive"
        assert sandbox.stripe_calls()[-1] == "GET {account}"

    def test_in_a_list_says_nothing_of_calls_made_since_the_last_look(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1")
        start(sandbox, ref)
        known = sandbox.store.accounts.get(ref).attempt
        assert known is not None
        # A later refresh call, whose caller died before it noted what it saw: a list that lags behind would not show it.
        later = replace(known, calls=known.calls + 1, open=True)
        assert sandbox.store.accounts.begin_attempt(ref, later, known, sandbox.clock.now)
        assert sandbox.store.accounts.end_attempt(ref, later, answered=True)
        sandbox.settle()
        assert sandbox.stripe_calls()[-1] == "GET accounts"
        stored = sandbox.store.accounts.get(ref)
        assert decide_from_memory(stored, FreshnessRequirement(sandbox.clock.now + 100, sandbox.clock.now, 2e9), sandbox.clock.now) is None

    def test_failure_is_found_in_the_list_as_well(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("failing", customer="cus_1")
        token = start(sandbox, ref)
        sandbox.settle()
        assert sandbox.outcome(token) == {"outcome": "not_verifiable", "reason": "REFRESH_FAILED"}
        assert sandbox.stripe_calls()[-1] == "GET accounts"

    def test_of_an_account_that_was_disconnected_erases_it(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1")
        token = start(sandbox, ref)
        sandbox.simulator.change(ref.account, action="disconnect")
        sandbox.settle()
        assert sandbox.outcome(token) == {"outcome": "not_verifiable", "reason": "ACCOUNT_DISCONNECTED"}
        item = next(item for item in sandbox.items() if item["sk"]["S"] == "ACCOUNT")
        assert "erased_ms" in item
        assert "holder" not in item


class TestWaking:
    @pytest.mark.parametrize(("scenario", "outcome"), [("single_owner", "ready"), ("failing", "not_verifiable")])
    def test_fifty_waiters_are_all_woken_by_one_fetch(self, sandbox: Sandbox, scenario: str, outcome: str) -> None:
        ref = sandbox.link(scenario)
        sandbox.wait(2)
        waiters = [sandbox.waiter(f"ver_{number:02}") for number in range(50)]
        for waiter in waiters:
            sandbox.store.waiters.put(ref, waiter)
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)
        calls = len(sandbox.stripe_calls(ref))
        fetch(sandbox, ref)
        assert {(sandbox.outcome(waiter.task_token) or {}).get("outcome") for waiter in waiters} == {outcome}
        assert list(sandbox.store.waiters.of_account(ref)) == []
        assert len(sandbox.stripe_calls(ref)) == calls + 1

    def test_waiter_who_gave_up_does_not_keep_the_others_waiting(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        waiters = [sandbox.waiter(f"ver_{number}") for number in range(3)]
        for waiter in waiters:
            sandbox.store.waiters.put(ref, waiter)
        sandbox.tokens.open.remove(waiters[0].task_token)
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)
        fetch(sandbox, ref)
        assert [sandbox.outcome(waiter.task_token) is not None for waiter in waiters] == [False, True, True]
        assert list(sandbox.store.waiters.of_account(ref)) == []

    def test_fetch_that_dies_half_way_wakes_the_rest_when_repeated(self, sandbox: Sandbox) -> None:
        class DiedError(BaseException):
            pass

        ref = sandbox.link()
        waiters = [sandbox.waiter(f"ver_{number}") for number in range(4)]
        for waiter in waiters:
            sandbox.store.waiters.put(ref, waiter)
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)

        def die(moment: Moment) -> None:
            if moment.operation == "send_task_success" and moment.when == "after" and len(sandbox.tokens.outcomes) == 2:
                sandbox.taps.clear()
                raise DiedError

        sandbox.taps.append(die)
        with pytest.raises(DiedError):
            account_sync.sync_account(sandbox.deps, ref)
        fetch(sandbox, ref)
        assert all(sandbox.outcome(waiter.task_token) for waiter in waiters)
        assert list(sandbox.store.waiters.of_account(ref)) == []

    def test_waiter_who_needs_newer_owners_goes_on_waiting(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        sandbox.wait(600)
        waiter = sandbox.waiter("ver_1", max_age=60)
        sandbox.store.waiters.put(ref, waiter)
        fetch(sandbox, ref)
        assert sandbox.outcome(waiter.task_token) is None
        assert len(list(sandbox.store.waiters.of_account(ref))) == 1

    def test_account_unknown_to_stripe_wakes_all(self, sandbox: Sandbox) -> None:
        ref = AccountRef("fca_gone")
        waiter = sandbox.waiter("ver_1")
        sandbox.store.waiters.put(ref, waiter)
        fetch(sandbox, ref)
        assert sandbox.outcome(waiter.task_token) == {"outcome": "not_verifiable", "reason": "ACCOUNT_NOT_FOUND"}

    @pytest.mark.parametrize(("action", "reason"), [("deactivate", "ACCOUNT_INACTIVE"), ("disconnect", "ACCOUNT_DISCONNECTED")])
    def test_account_that_dies_wakes_all_who_would_wait_in_vain(self, sandbox: Sandbox, action: str, reason: str) -> None:
        ref = sandbox.link("old")
        waiter = sandbox.waiter("ver_1")
        sandbox.store.waiters.put(ref, waiter)
        sandbox.simulator.change(ref.account, action=action)
        sandbox.settle()
        assert sandbox.outcome(waiter.task_token) == {"outcome": "not_verifiable", "reason": reason}


class TestVerdicts:
    @pytest.mark.parametrize(
        ("scenario", "outcome", "reason"),
        [
            ("single_owner", "match", None),
            ("paged_owners", "match", "JOINT_OWNER"),
            ("no_owners", "not_verifiable", "NO_OWNERS"),
            ("failing", "not_verifiable", "REFRESH_FAILED"),
            ("turning_inactive", "not_verifiable", "REFRESH_FAILED"),
            ("inactive", "not_verifiable", "ACCOUNT_INACTIVE"),
            ("disconnected", "not_verifiable", "ACCOUNT_DISCONNECTED"),
            ("permission_missing", "not_verifiable", "PERMISSION_MISSING"),
            ("permissions_null", "not_verifiable", "PERMISSION_MISSING"),
        ],
    )
    def test_of_scenario(self, sandbox: Sandbox, scenario: str, outcome: str, reason: str | None) -> None:
        verdict = run(sandbox, sandbox.link(scenario))
        assert verdict["outcome"] == outcome
        assert reason is None or reason in verdict["reasons"]

    def test_stores_all_that_explains_and_repeats_it(self, sandbox: Sandbox) -> None:
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

    def test_is_given_once_and_announced_the_same_when_repeated(self, sandbox: Sandbox) -> None:
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
        }  # fmt: skip

    def test_workflow_that_was_never_woken_ends_with_its_trouble(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("never_answering")
        verification = accept(sandbox, ref)
        sandbox.enter(verification)
        sandbox.simulator.fail_api("rate_limit")
        sandbox.consume(sandbox.refresh_queue)
        verdict = finish(sandbox, verification, {"Error": "States.Timeout", "Cause": ""})
        assert (verdict["outcome"], verdict["reasons"]) == ("not_verifiable", ["STRIPE_UNAVAILABLE"])
        assert list(sandbox.store.waiters.of_account(ref)) == []

    def test_workflow_that_was_never_woken_and_had_no_trouble_timed_out(self, sandbox: Sandbox) -> None:
        verification = accept(sandbox, sandbox.link("never_answering"))
        sandbox.enter(verification)
        sandbox.consume(sandbox.refresh_queue)
        assert finish(sandbox, verification, {"Error": "States.Timeout"})["reasons"] == ["REFRESH_TIMED_OUT"]

    def test_workflow_that_was_never_woken_uses_owners_that_are_there_all_the_same(self, sandbox: Sandbox) -> None:
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
    """Nothing that a claim or an owner holds may keep a verification from its verdict, nor others from theirs."""

    @pytest.fixture
    def raising(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def decide(claim: Any, owners: Any, policy: Any) -> Any:
            raise IndexError(f"{claim} {owners}")

        monkeypatch.setattr("titleholder.matching.decide", decide)

    def test_postal_code_beside_an_address_that_is_a_dash_gets_a_verdict(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=[{"name": "MARGARET TESTERMAN", "raw_address": "-"}])
        assert run(sandbox, ref, HOSTILE_CLAIM)["outcome"] == "match"

    @pytest.mark.usefixtures("raising")
    def test_makes_the_verification_end_as_not_verifiable(self, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
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
    def test_is_logged_by_type_and_place_alone(self, sandbox: Sandbox) -> None:
        run(sandbox, sandbox.link())
        (line,) = [line for line in sandbox.log_lines() if line["level"] == "ERROR"]
        assert line["error"].startswith("IndexError at ")
        assert "testerman" not in sandbox.log.getvalue().lower()

    @pytest.mark.usefixtures("raising")
    def test_does_not_make_a_request_fail_that_is_answered_at_once(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        fetch(sandbox, ref)
        answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)})
        assert (answer.status, answer.json["verdict"]["reasons"]) == (200, ["MATCHER_FAILED"])

    def test_does_not_keep_owners_from_being_stored(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
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


class TestOwnersOfAnotherShape:
    @pytest.mark.parametrize(
        ("owner", "name"),
        [
            (None, None), ("MARGARET", None), ([], None), ({}, None), ({"name": None}, None), ({"name": ["MARGARET"]}, None),
            ({"name": 1}, None),
            ({"name": "MARGARET \ud83d"}, "MARGARET ?"), ({"name": "MARGARET", "id": {"a": 1}, "raw_address": {"line1": "x"}}, "MARGARET"),
        ],
    )  # fmt: skip
    def test_are_stored_as_far_as_they_can_be_used(self, sandbox: Sandbox, owner: Any, name: str | None) -> None:
        ref = sandbox.link()
        page = {"data": [owner], "has_more": False}
        ownership_ = _reading({**SUCCEEDED, "ownership": {"id": "fcaowns_1", "created": 1, "owners": page}}).ownership
        assert ownership_ is not None
        kept = sandbox.deps.stripe.owners(ref, ownership_)
        sandbox.store.snapshots.put(ref, Snapshot("fcaowns_1", 1, 1, Sensitive(kept)), sandbox.clock.now)
        assert [found["name"] for found in sandbox.store.snapshots.get(ref, "fcaowns_1").owners.reveal()] == [name]
        assert owner_changes.between(kept, kept) == []

    @pytest.mark.parametrize("page", [None, {}, {"data": None, "has_more": False}, []])
    def test_as_a_whole_are_listed_anew(self, sandbox: Sandbox, page: Any) -> None:
        ref = sandbox.link("fresh")
        real = sandbox.deps.stripe.read(ref).ownership
        assert real is not None
        found = _reading({**SUCCEEDED, "ownership": {"id": real.id, "created": 1, "owners": page}}).ownership
        assert found is not None
        assert [owner["name"] for owner in sandbox.deps.stripe.owners(ref, found)] == ["MARGARET ANNE TESTERMAN"]


SUCCEEDED = {"id": "fca_1", "status": "active", "livemode": False, "permissions": ["ownership"], "ownership_refresh": None}
