"""Owners: fetched when a refresh settles, stored as snapshots, in any shape that Stripe sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.functions import queue_event
from tests.support.sandbox import API_KEY, Moment, Sandbox
from tests.support.verdicts import fetch, owners, start
from titleholder.domain import owner_changes
from titleholder.domain.refresh_policy import FreshnessRequirement, decide_from_memory
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.services import account_sync
from titleholder.stripe_api.gateway import LIST as LINE
from titleholder.stripe_api.gateway import READ_TIMEOUT_SECONDS, _reading


class TestFetch:
    @pytest.mark.parametrize("page", [1, 2, 5, 13, None])
    def test_all_owners_are_fetched_with_any_size_of_page(self, sandbox: Sandbox, page: int | None) -> None:
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
        assert sandbox.store.events.insert(event, processed=False, now=sandbox.clock.now)[1] == "waiting"
        sandbox.wait(3)
        assert sandbox.consume(sandbox.events_queue) == []
        assert sandbox.store.events.insert(event, processed=False, now=sandbox.clock.now)[1] == "processed"

    def test_one_bad_message_does_not_hold_up_the_others(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        sandbox.client("sqs").send_message(QueueUrl=sandbox.events_queue, MessageBody="{")
        sandbox.send(sandbox.events_queue, {"event": "evt_1", **ref.as_dict()})
        first, second = sandbox.receive(sandbox.events_queue)[0], sandbox.receive(sandbox.events_queue)[0]
        answer = sandbox.function("fetch_owners")(queue_event(first, second))
        assert answer == {"batchItemFailures": [{"itemIdentifier": first["MessageId"]}]}
        assert owners(sandbox, ref) == ["MARGARET ANNE TESTERMAN"]

    def test_owners_of_a_connected_account_stay_with_it(self, sandbox: Sandbox) -> None:
        platform = sandbox.link("fresh", id="fca_1")
        connected = sandbox.link("fresh", id="fca_1", stripe_account="acct_1", owners=[{"name": "CONNECTED OWNER"}])
        fetch(sandbox, connected)
        assert owners(sandbox, connected) == ["CONNECTED OWNER"]
        assert sandbox.store.accounts.get(platform).snapshot is None


LIST = "/v1/financial_connections/accounts"


class TestSettledRefresh:
    """An account was read before its refresh; after it, it is looked for in the list of its holder's accounts."""

    @pytest.mark.parametrize("connected", [None, "acct_1"])
    def test_settled_refresh_is_found_in_the_list_of_the_holders_accounts(self, sandbox: Sandbox, connected: str | None) -> None:
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

    def test_settled_refresh_of_an_account_that_a_connected_account_holds_is_found_there(self, sandbox: Sandbox) -> None:
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
    def test_settled_refresh_that_no_list_shows_is_read(self, sandbox: Sandbox, trouble: dict[str, Any]) -> None:
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

    def test_account_is_read_where_the_bucket_of_lists_is_full(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1")
        token = start(sandbox, ref)
        for _ in range(25 * 4):
            sandbox.store.rate_limits.reserve(LINE, 25, sandbox.clock.now)
        sandbox.settle()
        assert (sandbox.outcome(token) or {})["outcome"] == "ready"
        assert sandbox.stripe_calls(ref)[-1] == "GET {account}"

    def test_account_with_a_known_refresh_is_read_when_another_event_comes(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1", policy={"list_lag_seconds": 1000})
        start(sandbox, ref)
        sandbox.settle()
        sandbox.simulator.change(ref.account, action="deactivate")
        sandbox.settle()
        state = sandbox.store.accounts.get(ref).state
        assert state is not None
        assert state.status == "inactive"
        assert sandbox.stripe_calls()[-1] == "GET {account}"

    def test_list_does_not_cover_calls_made_since_the_last_read(self, sandbox: Sandbox) -> None:
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

    def test_failed_refresh_is_found_in_the_list_as_well(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("failing", customer="cus_1")
        token = start(sandbox, ref)
        sandbox.settle()
        assert sandbox.outcome(token) == {"outcome": "not_verifiable", "reason": "REFRESH_FAILED"}
        assert sandbox.stripe_calls()[-1] == "GET accounts"

    def test_list_that_shows_a_disconnected_account_erases_it(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1")
        token = start(sandbox, ref)
        sandbox.simulator.change(ref.account, action="disconnect")
        sandbox.settle()
        assert sandbox.outcome(token) == {"outcome": "not_verifiable", "reason": "ACCOUNT_DISCONNECTED"}
        item = next(item for item in sandbox.items() if item["sk"]["S"] == "ACCOUNT")
        assert "erased_ms" in item
        assert "holder" not in item


class TestOwnersOfAnotherShape:
    @pytest.mark.parametrize(
        ("owner", "name"),
        [
            (None, None), ("MARGARET", None), ([], None), ({}, None), ({"name": None}, None), ({"name": ["MARGARET"]}, None),
            ({"name": 1}, None),
            ({"name": "MARGARET \ud83d"}, "MARGARET ?"), ({"name": "MARGARET", "id": {"a": 1}, "raw_address": {"line1": "x"}}, "MARGARET"),
        ],
    )  # fmt: skip
    def test_owners_of_another_shape_are_stored_as_far_as_they_can_be_used(self, sandbox: Sandbox, owner: Any, name: str | None) -> None:
        ref = sandbox.link()
        page = {"data": [owner], "has_more": False}
        ownership_ = _reading({**SUCCEEDED, "ownership": {"id": "fcaowns_1", "created": 1, "owners": page}}).ownership
        assert ownership_ is not None
        kept = sandbox.deps.stripe.owners(ref, ownership_)
        sandbox.store.snapshots.put(ref, Snapshot("fcaowns_1", 1, 1, Sensitive(kept)), sandbox.clock.now)
        assert [found["name"] for found in sandbox.store.snapshots.get(ref, "fcaowns_1").owners.reveal()] == [name]
        assert owner_changes.between(kept, kept) == []

    @pytest.mark.parametrize("page", [None, {}, {"data": None, "has_more": False}, []])
    def test_owners_that_are_no_list_are_listed_anew(self, sandbox: Sandbox, page: Any) -> None:
        ref = sandbox.link("fresh")
        real = sandbox.deps.stripe.read(ref).ownership
        assert real is not None
        found = _reading({**SUCCEEDED, "ownership": {"id": real.id, "created": 1, "owners": page}}).ownership
        assert found is not None
        assert [owner["name"] for owner in sandbox.deps.stripe.owners(ref, found)] == ["MARGARET ANNE TESTERMAN"]


SUCCEEDED = {"id": "fca_1", "status": "active", "livemode": False, "permissions": ["ownership"], "ownership_refresh": None}
