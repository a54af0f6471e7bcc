"""Accounts with many owners: any number up to a limit is stored whole. Too many are noticed before a refresh is paid, if possible."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.sandbox import Moment, Sandbox
from tests.support.verdicts import accept, fetch, finish, run
from titleholder.domain import owner_changes, snapshots
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import MAX_OWNERS, PART_BYTES, Snapshot
from titleholder.errors import AccountErasedError, SnapshotNotFoundError
from titleholder.stripe_api.gateway import MOST_OWNERS_PAGES

pytestmark = pytest.mark.slow

MARGARET = {"name": "MARGARET ANNE TESTERMAN", "email": "margaret.testerman@example.com", "phone": "+1 555-555-0101",
            "raw_address": "100 EXAMPLE ST APT 4, SPRINGFIELD, IL 62701"}  # fmt: skip


def many(count: int, *, long: int = 0) -> list[dict[str, Any]]:
    """That many owners, Margaret the last of them. Each address has `long` additional characters."""
    others = [
        {"id": f"o{number}", "name": f"SIGNATORY {number:04}", "email": f"signatory{number}@example.com",
         "phone": f"+1 555 555 {number:04}", "raw_address": f"{number} EXAMPLE ST, SPRINGFIELD, IL 62701{'É' * long}"}
        for number in range(count - 1)
    ]  # fmt: skip
    return [*others, {"id": "margaret", **MARGARET}]


def snapshot(owners: list[dict[str, Any]], id_: str = "fcaowns_1") -> Snapshot:
    return Snapshot(id=id_, attempted_at=1, created=1, owners=Sensitive(owners))


def kept(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [item for item in sandbox.items() if item["sk"]["S"].startswith(("SNAPSHOT#", "HISTORY#"))]


class TestSnapshotsOfManyOwners:
    @pytest.mark.parametrize(("count", "long"), [(1, 0), (500, 0), (1200, 0), (MAX_OWNERS, 0), (MAX_OWNERS, 600), (11, 120_000)])
    def test_snapshots_are_read_as_they_were_stored(self, sandbox: Sandbox, count: int, long: int) -> None:
        ref, owners = sandbox.link(), many(count, long=long)
        assert snapshots.fit(owners)
        sandbox.store.snapshots.put(ref, snapshot(owners), sandbox.clock.now)
        assert sandbox.store.snapshots.get(ref, "fcaowns_1").owners.reveal() == owners
        assert sandbox.store.snapshots.page(ref, 1)[0][0].owner_count == count

    def test_snapshots_are_written_in_one_transaction_that_dynamodb_takes(self, sandbox: Sandbox) -> None:
        ref, written = sandbox.link(), []

        def note(moment: Moment) -> None:
            if moment.operation == "transact_write_items" and moment.when == "before":
                written.append(moment.arguments["TransactItems"])

        sandbox.taps.append(note)
        sandbox.store.snapshots.put(ref, snapshot(many(MAX_OWNERS, long=600)), sandbox.clock.now)
        (parts,) = written
        assert "ConditionCheck" in parts[0]
        sizes = [len(str(part["Put"]["Item"]).encode()) for part in parts[1:]]
        sealed = [len(part["Put"]["Item"]["owners"]["B"]) for part in parts[1:] if "owners" in part["Put"]["Item"]]
        assert len(sealed) > 5
        assert len(sizes) == len(sealed) + 2
        assert max(sealed) < PART_BYTES + 5_000
        assert sum(sealed) < 3_500_000
        assert len(parts) <= 40

    def test_snapshots_of_few_are_one_item_as_ever(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.store.snapshots.put(ref, snapshot(many(13)), sandbox.clock.now)
        entry, body = sorted(kept(sandbox), key=lambda item: item["sk"]["S"])
        assert set(body) == {
            "pk", "sk", "snapshot", "attempted_at", "snapshot_created", "stored_ms", "expires_at", "owners",
        }  # fmt: skip
        assert entry["owner_count"] == {"N": "13"}

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_snapshots_are_there_as_a_whole_or_not_at_all_after_a_crash(self, sandbox: Sandbox, when: str) -> None:
        class DiedError(BaseException):
            pass

        def die(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("transact_write_items", when):
                sandbox.taps.clear()
                raise DiedError

        ref, owners = sandbox.link(), many(1500, long=100)
        sandbox.taps.append(die)
        with pytest.raises(DiedError):
            sandbox.store.snapshots.put(ref, snapshot(owners), sandbox.clock.now)
        if when == "before":
            assert kept(sandbox) == []
            with pytest.raises(SnapshotNotFoundError):
                sandbox.store.snapshots.get(ref, "fcaowns_1")
        sandbox.store.snapshots.put(ref, snapshot(owners), sandbox.clock.now)
        assert sandbox.store.snapshots.get(ref, "fcaowns_1").owners.reveal() == owners

    def test_snapshots_are_not_written_once_the_key_is_gone(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()

        def erase(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("transact_write_items", "before"):
                sandbox.taps.clear()
                sandbox.store.erasures.begin(ref, sandbox.clock.now)

        sandbox.taps.append(erase)
        with pytest.raises(AccountErasedError):
            sandbox.store.snapshots.put(ref, snapshot(many(1500, long=100)), sandbox.clock.now)
        assert kept(sandbox) == []

    def test_snapshots_are_erased_whole(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.store.snapshots.put(ref, snapshot(many(1500, long=100)), sandbox.clock.now)
        assert sum("#PART#" in item["sk"]["S"] for item in kept(sandbox)) > 0
        assert sandbox.http("DELETE", f"/accounts/{ref.account}").status == 200
        assert kept(sandbox) == []

    def test_snapshots_that_were_erased_between_the_reads_of_their_parts_are_not_found(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.store.snapshots.put(ref, snapshot(many(1500, long=100)), sandbox.clock.now)

        def erase(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("batch_get_item", "after"):
                sandbox.taps.clear()
                sandbox.store.erasures.begin(ref, sandbox.clock.now)

        sandbox.taps.append(erase)
        with pytest.raises(AccountErasedError):
            sandbox.store.snapshots.get(ref, "fcaowns_1")

    def test_snapshots_that_lack_a_part_are_not_taken_for_whole(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.store.snapshots.put(ref, snapshot(many(1500, long=100)), sandbox.clock.now)
        part = next(item for item in kept(sandbox) if item["sk"]["S"].endswith("#PART#001"))
        sandbox.client("dynamodb").delete_item(TableName="titleholder", Key={name: part[name] for name in ("pk", "sk")})
        with pytest.raises(SnapshotNotFoundError):
            sandbox.store.snapshots.get(ref, "fcaowns_1")

    def test_parts_cannot_be_exchanged(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.store.snapshots.put(ref, snapshot(many(MAX_OWNERS, long=200)), sandbox.clock.now)
        one, other = (next(item for item in kept(sandbox) if item["sk"]["S"].endswith(f"#PART#{number:03}")) for number in (0, 1))
        sandbox.client("dynamodb").put_item(TableName="titleholder", Item={**one, "owners": other["owners"]})
        with pytest.raises(Exception, match="encrypted for another item"):
            sandbox.store.snapshots.get(ref, "fcaowns_1")

    @pytest.mark.parametrize("count", [500, 1200, MAX_OWNERS])
    def test_give_a_verdict(self, sandbox: Sandbox, count: int) -> None:
        ref = sandbox.link(owners=many(count))
        verdict = run(sandbox, ref)
        assert (verdict["outcome"], verdict["owner_position"]) == ("match", count - 1)
        assert verdict["owners_compared"] is None
        answer = sandbox.http("GET", f"/accounts/{ref.account}/owners")
        assert (answer.status, len(answer.json["owners"])) == (200, count)

    def test_snapshots_whose_changes_are_many_are_announced_in_an_event_that_the_bus_takes(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("old", owners=many(MAX_OWNERS))
        fetch(sandbox, ref)
        renamed = [{"id": f"x{number}", "name": f"OTHER PERSON{number}"} for number in range(MAX_OWNERS)]
        sandbox.simulator.change(ref.account, owners=renamed)
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)
        fetch(sandbox, ref)
        newest = sandbox.store.snapshots.page(ref, 1)[0][0]
        assert newest.changes is not None
        assert 0 < len(newest.changes) <= owner_changes.MOST_CHANGES
        (event,) = [event for event in sandbox.published() if event["detail-type"] == "OwnershipChanged"]
        assert len(event["detail"]["changes"]) == len(newest.changes)
        assert len(str(event).encode()) < 200_000


class TestMoreOwnersThanAreStored:
    def test_end_a_verification_as_not_verifiable(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=many(MAX_OWNERS + 1))
        verdict = run(sandbox, ref)
        assert (verdict["outcome"], verdict["reasons"]) == ("not_verifiable", ["TOO_MANY_OWNERS"])
        assert verdict["snapshot"]
        assert verdict["matcher_version"]
        assert verdict["refreshed_at"]

    def test_or_more_bytes_do_too(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=many(900, long=2000))
        assert run(sandbox, ref)["reasons"] == ["TOO_MANY_OWNERS"]

    def test_or_one_owner_that_no_item_takes(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        # Stripe gives an address at most 5,000 characters, so only a smaller item can't take one.
        monkeypatch.setattr(snapshots, "PART_BYTES", 6_000)
        ref = sandbox.link(owners=many(2, long=4_000))
        assert run(sandbox, ref)["reasons"] == ["TOO_MANY_OWNERS"]

    @pytest.mark.parametrize("page", [1, 10, 100])
    def test_too_many_owners_are_not_listed_to_their_end(self, sandbox: Sandbox, page: int) -> None:
        ref = sandbox.link(owners=many(9000), policy={"owners_page": page})
        # A call takes its time, else the pace would defer the listing.
        sandbox.taps.append(lambda moment: sandbox.wait(0.05) if moment.service == "stripe" else None)
        assert run(sandbox, ref)["reasons"] == ["TOO_MANY_OWNERS"]
        assert 0 < sandbox.stripe_calls(ref).count("GET owners") <= MOST_OWNERS_PAGES

    def test_too_many_owners_are_not_paid_for_again_by_verifications(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=many(MAX_OWNERS + 1))
        run(sandbox, ref)
        assert sandbox.refreshes(ref) == 1
        for _ in range(3):
            sandbox.wait(3600)
            assert run(sandbox, ref)["reasons"] == ["TOO_MANY_OWNERS"]
        assert sandbox.refreshes(ref) == 1

    @pytest.mark.parametrize("scenario", ["old", "failing_with_old_snapshot"])
    def test_too_many_owners_are_not_paid_for_where_stripe_shows_them_before(self, sandbox: Sandbox, scenario: str) -> None:
        ref = sandbox.link(scenario, owners=many(MAX_OWNERS + 1))
        sandbox.wait(3600)
        assert run(sandbox, ref)["reasons"] == ["TOO_MANY_OWNERS"]
        assert sandbox.refreshes(ref) == 0

    def test_too_many_owners_may_be_fetched_again_by_a_caller_who_asks_for_it(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=many(MAX_OWNERS + 1))
        run(sandbox, ref)
        sandbox.wait(3600)
        sandbox.simulator.change(ref.account, owners=many(2))
        assert sandbox.http("POST", f"/accounts/{ref.account}/refreshes", {"max_age": 0}).status == 202
        sandbox.wait(6)
        sandbox.settle()
        sandbox.wait(3600)
        assert run(sandbox, ref)["outcome"] == "match"
        assert sandbox.refreshes(ref) == 3

    def test_too_many_owners_are_forgotten_when_a_later_prefetch_brings_fewer(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=many(MAX_OWNERS + 1))
        run(sandbox, ref)
        sandbox.wait(3600)
        sandbox.simulator.change(ref.account, owners=many(2))
        sandbox.simulator.change(ref.account, action="prefetch")
        sandbox.wait(6)
        sandbox.settle()
        assert not sandbox.store.accounts.get(ref).too_many_owners
        sandbox.wait(3600)
        assert run(sandbox, ref)["outcome"] == "match"

    def test_too_many_owners_are_reported_to_callers_that_read_them(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(owners=many(MAX_OWNERS + 1))
        run(sandbox, ref)
        answer = sandbox.http("GET", f"/accounts/{ref.account}/owners")
        assert (answer.status, answer.problem) == (409, "too-many-owners")
        (past,) = sandbox.http("GET", f"/accounts/{ref.account}/snapshots").json["snapshots"]
        assert past["too_many_owners"] is True
        assert past["owner_count"] > MAX_OWNERS
        assert not any("#PART#" in item["sk"]["S"] for item in sandbox.items())

    def test_wake_every_verification_that_waits(self, sandbox: Sandbox) -> None:
        ref: AccountRef = sandbox.link(owners=many(MAX_OWNERS + 1))
        sandbox.wait(2)
        waiting = [accept(sandbox, ref) for _ in range(3)]
        tokens = [sandbox.enter(verification) for verification in waiting]
        sandbox.consume(sandbox.refresh_queue)
        sandbox.wait(6)
        sandbox.settle()
        reasons = [finish(sandbox, one, sandbox.outcome(token))["reasons"] for one, token in zip(waiting, tokens, strict=True)]
        assert reasons == [["TOO_MANY_OWNERS"]] * 3


def test_the_table_refuses_what_is_not_cut_into_parts(sandbox: Sandbox) -> None:
    """The judge of this file: the emulated table has DynamoDB's limits."""
    item = {"pk": {"S": "x"}, "sk": {"S": "x"}, "owners": {"B": b"x" * 410_000}}
    with pytest.raises(ClientError):
        sandbox.client("dynamodb").put_item(TableName="titleholder", Item=item)
