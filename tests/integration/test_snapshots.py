"""An account's snapshots: their history, what changed from one to the next, and that a change is announced after any crash."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.sandbox import Moment, Sandbox
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.services import account_sync

ANNE = {"name": "MARGARET ANNE TESTERMAN", "raw_address": "100 EXAMPLE ST, SPRINGFIELD, IL 62701"}
BOB = {"name": "ROBERT SAMPLEWELL"}
ADDED = [{"kind": "owner_added", "before": None, "after": 1}]


def renew(sandbox: Sandbox, ref: AccountRef, owners: list[dict[str, Any]]) -> None:
    """Let the bank have other owners, and a refresh fetch them."""
    sandbox.wait(120)
    sandbox.simulator.change(ref.account, owners=owners)
    sandbox.deps.stripe.refresh(ref, f"key-{sandbox.clock.now}")
    sandbox.wait(6)


def announced(sandbox: Sandbox) -> list[Any]:
    return [event["detail"] for event in sandbox.published() if event["detail-type"] == "OwnershipChanged"]


@pytest.fixture
def ref(sandbox: Sandbox) -> AccountRef:
    """An account whose first snapshot is stored."""
    ref = sandbox.link("fresh", id="fca_1", owners=[ANNE])
    account_sync.sync_account(sandbox.deps, ref)
    return ref


def test_history_tells_what_changed_newest_first(sandbox: Sandbox, ref: AccountRef) -> None:
    renew(sandbox, ref, [ANNE, BOB])
    account_sync.sync_account(sandbox.deps, ref)
    sandbox.wait(10)
    answer = sandbox.http("GET", "/accounts/fca_1/snapshots").json
    newer, older = answer["snapshots"]
    assert (newer["age"], newer["owner_count"], newer["since"], newer["changes"]) == (16, 2, older["snapshot"], ADDED)
    assert (older["owner_count"], older["since"], older["changes"]) == (1, None, None)
    assert newer["refreshed_at"] > older["refreshed_at"]
    assert answer["next_cursor"] is None
    assert sandbox.http("GET", "/accounts/fca_1/owners").json["age"] == 16


def test_change_is_announced_by_ids_and_kinds(sandbox: Sandbox, ref: AccountRef) -> None:
    first = sandbox.store.accounts.get(ref).snapshot
    assert announced(sandbox) == []
    renew(sandbox, ref, [ANNE, BOB])
    account_sync.sync_account(sandbox.deps, ref)
    second = sandbox.store.accounts.get(ref).snapshot
    [detail] = announced(sandbox)
    assert detail == {
        "account": "fca_1", "mode": "test", "snapshot": second, "since": first, "refreshed_at": "2027-01-15T08:02:00Z", "changes": ADDED,
    }  # fmt: skip


def test_nothing_changed_is_kept_as_such_and_not_announced(sandbox: Sandbox, ref: AccountRef) -> None:
    renew(sandbox, ref, [ANNE])
    account_sync.sync_account(sandbox.deps, ref)
    assert announced(sandbox) == []
    assert sandbox.http("GET", "/accounts/fca_1/snapshots").json["snapshots"][0]["changes"] == []


@pytest.mark.parametrize("operation", ["transact_write_items", "put_events", "update_item"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_crash_while_storing_loses_no_announcement(sandbox: Sandbox, ref: AccountRef, operation: str, when: str) -> None:
    """Every announcement is the same, and at least one is made."""
    renew(sandbox, ref, [ANNE, BOB])
    seen = 0

    def die(moment: Moment) -> None:
        nonlocal seen
        # The account is observed by one update before the snapshot is stored.
        seen += (moment.operation, moment.when) == (operation, when)
        if seen == (2 if operation == "update_item" else 1):
            sandbox.taps.clear()
            raise RuntimeError

    sandbox.taps.append(die)
    with pytest.raises(RuntimeError):
        account_sync.sync_account(sandbox.deps, ref)
    account_sync.sync_account(sandbox.deps, ref)
    assert sandbox.taps == []
    assert {json.dumps(detail["changes"]) for detail in announced(sandbox)} == {json.dumps(ADDED)}
    assert [past["changes"] for past in sandbox.http("GET", "/accounts/fca_1/snapshots").json["snapshots"]] == [ADDED, None]


def test_older_snapshot_that_comes_late_is_kept_and_not_announced(sandbox: Sandbox, ref: AccountRef) -> None:
    newest = sandbox.store.accounts.get(ref)
    assert newest.snapshot_attempted_at is not None
    late = Snapshot("fcaowns_late", newest.snapshot_attempted_at - 100, 1, Sensitive([BOB]))
    account_sync._save_snapshot(sandbox.deps, ref, late)
    assert announced(sandbox) == []
    assert sandbox.store.accounts.get(ref).snapshot == newest.snapshot
    assert [past["changes"] for past in sandbox.http("GET", "/accounts/fca_1/snapshots").json["snapshots"]] == [None, None]


def test_snapshot_before_that_is_gone_leaves_changes_unknown(sandbox: Sandbox, ref: AccountRef) -> None:
    first = sandbox.store.accounts.get(ref).snapshot
    key = {"pk": {"S": f"ACCOUNT#{ref.key}"}, "sk": {"S": f"SNAPSHOT#{first}"}}
    sandbox.client("dynamodb").delete_item(TableName="titleholder", Key=key)
    renew(sandbox, ref, [BOB])
    account_sync.sync_account(sandbox.deps, ref)
    assert announced(sandbox) == []
    assert sandbox.http("GET", "/accounts/fca_1/snapshots").json["snapshots"][0]["changes"] is None
    assert sandbox.http("GET", "/accounts/fca_1/owners").json["owners"][0]["name"] == BOB["name"]


class TestPages:
    @pytest.fixture(autouse=True)
    def five(self, sandbox: Sandbox) -> None:
        for number in range(5):
            sandbox.store.snapshots.put(
                AccountRef("fca_1"), Snapshot(f"fcaowns_{number}", 100 + number, 100, Sensitive([])), sandbox.clock.now
            )

    def test_join_to_the_whole(self, sandbox: Sandbox) -> None:
        found: list[str] = []
        cursor = ""
        for size in (2, 2, 1):
            page = sandbox.http("GET", f"/accounts/fca_1/snapshots?limit=2{cursor}").json
            assert len(page["snapshots"]) == size
            found += [past["snapshot"] for past in page["snapshots"]]
            cursor = f"&cursor={page['next_cursor']}"
        assert found == [f"fcaowns_{number}" for number in (4, 3, 2, 1, 0)]
        assert page["next_cursor"] is None

    def test_cursor_of_another_account_is_refused(self, sandbox: Sandbox) -> None:
        cursor = sandbox.http("GET", "/accounts/fca_1/snapshots?limit=2").json["next_cursor"]
        for path, headers in (("/accounts/fca_2/snapshots", {}), ("/accounts/fca_1/snapshots", {"Stripe-Account": "acct_1"})):
            answer = sandbox.http("GET", f"{path}?cursor={cursor}", **headers)
            assert (answer.status, answer.problem) == (422, "invalid-cursor")

    @pytest.mark.parametrize(
        "cursor",
        ["x", "bnVsbA", "W10", "eyJhIjoxfQ", "YQ", "%00", "a" * 1001, base64.urlsafe_b64encode(b"[" * 300).decode(), "%F0%9F%92%A9"],
    )
    def test_what_is_no_cursor_is_refused(self, sandbox: Sandbox, cursor: str) -> None:
        answer = sandbox.http("GET", f"/accounts/fca_1/snapshots?cursor={cursor}")
        assert answer.status == 422
        assert answer.problem == "invalid-cursor" or answer.bad_fields == {"cursor"}

    @pytest.mark.parametrize("limit", ["0", "101", "x", "1.5", "-1"])
    def test_limit_out_of_range(self, sandbox: Sandbox, limit: str) -> None:
        answer = sandbox.http("GET", f"/accounts/fca_1/snapshots?limit={limit}")
        assert (answer.status, answer.bad_fields) == (422, {"limit"})


def test_account_without_snapshots_has_an_empty_history(sandbox: Sandbox) -> None:
    assert sandbox.http("GET", "/accounts/fca_1/snapshots").json == {"account": "fca_1", "snapshots": [], "next_cursor": None}
