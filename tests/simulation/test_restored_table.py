"""A table that was restored to a point in time, and a lost table of keys: what happened since is made good, or stays lost as documented.

The recovery commands' own functions prepare the tables (`tools.recovery.data`). The real functions go on with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from local.stripe_simulator.options import Options
from tests.simulation.application import inside
from tests.simulation.deployment import BEGIN, EVENTS_QUEUE
from tests.simulation.invariants import Invariants
from tests.simulation.simulation import Simulation
from tests.support.fakes.dynamodb import FakeDynamoDB
from titleholder.domain.accounts import AccountRef
from tools.recovery import data

HOURS = 3600.0
POINT = 2 * HOURS
"""The point in time to which the table is restored, in seconds after the beginning."""

SEALED = ("SNAPSHOT#", "CLAIM#")


class Operator(FakeDynamoDB):
    """The simulation's tables as the recovery commands see them: without the simulation's faults and invariants."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self.items, self.keys, self._partitions = simulation.dynamodb.items, simulation.dynamodb.keys, simulation.dynamodb._partitions

    def scan(self, *, TableName: str, **_: Any) -> dict[str, Any]:  # type: ignore[override]
        return {"Items": [dict(item) for item in self._rows(TableName).values()]}


def owners(simulation: Simulation, account: str) -> tuple[int, str]:
    """The status of GET owners, and the type of the problem."""
    found: list[Any] = []
    simulation.at(0, lambda: found.append(simulation._http("api", "GET", f"/accounts/{account}/owners", None, None, {})))
    simulation.run(60)
    [(status, answer)] = found
    return status, (answer or {}).get("type", "").rpartition(":")[2]


class Both:
    """A client of two tables, `old` and the one with any other name."""

    def __init__(self, old: FakeDynamoDB, other: FakeDynamoDB) -> None:
        self._old, self._other = old, other

    def __getattr__(self, name: str) -> Any:
        return lambda **request: getattr(self._old if request["TableName"] == "old" else self._other, name)(**request)


class Restored:
    """Six accounts, whose table is lost an hour after the point in time. `at` keeps what was then."""

    def __init__(self, *, erase_again: bool = True, read_again: bool = True, verdicts: bool = True) -> None:
        self.simulation = simulation = Simulation(0, options=Options(retry_base_seconds=30, settle_seconds=60.0, cooldown_seconds=60.0))
        self.erase_again, self.read_again, self.verdicts = erase_again, read_again, verdicts
        self.client = Operator(simulation)
        with inside(simulation):
            for name in ("done", "erased_later", "waiting", "erased_waiting", "lost", "inactive"):
                self.simulation.simulator.link("single_owner", id=f"fca_{name}")
            simulation.reconcile_every(900, 60)
            for name in ("done", "erased_later", "inactive"):
                simulation.at(60, lambda name=name: simulation.verify(name, f"fca_{name}"))  # type: ignore[misc]
            # At the point in time these wait for their refresh.
            for name in ("waiting", "erased_waiting"):
                simulation.at(POINT - 20, lambda name=name: simulation.verify(name, f"fca_{name}"))  # type: ignore[misc]
            simulation.at(POINT, self._keep)
            simulation.at(POINT + 300, lambda: simulation.verify("lost", "fca_lost"))
            simulation.at(POINT + 600, lambda: simulation.erase("fca_erased_later"))
            simulation.at(POINT + 600, lambda: simulation.erase("fca_erased_waiting"))
            simulation.at(POINT + 900, lambda: simulation.simulator.deactivate("fca_inactive"))
            simulation.run(POINT + HOURS)
            self.paid = dict(simulation.simulator.initiated_refreshes())
            self.announced = {detail["verification"]: detail["outcome"] for detail in self._verdicts()}
            self._restore()
            simulation.run(8 * HOURS)
            simulation.at(0, lambda: simulation.verify("lost", "fca_lost"))
            simulation.run(8 * HOURS)

    def _keep(self) -> None:
        self.then = deepcopy(self.simulation.dynamodb.items)

    def _restore(self) -> None:
        simulation, clock = self.simulation, lambda: self.simulation.scheduler.now
        old = Operator(simulation)
        old.items, old._partitions = dict(old.items), dict(old._partitions)
        # What is stored again has been judged before.
        simulation.invariants = Invariants(simulation)
        self.client.items.clear()
        self.client._partitions.clear()
        for item in self.then.values():
            self.client.put_item(TableName="table", Item=deepcopy(item))
        self.copied = data.carry_over(
            Both(old, self.client), "old", "table", BEGIN + POINT, verdicts=self.verdicts, apply=True, clock=clock
        )
        if self.erase_again:
            self.marked = data.erase_again(self.client, "table", "keys", apply=True, clock=clock)
        data.wait_again(self.client, "table", "keys", apply=True, clock=clock)
        for ref in data.accounts_to_read(self.client, "table") if self.read_again else ():
            simulation.sqs.send_message(QueueUrl=EVENTS_QUEUE, MessageBody=json.dumps(ref.as_dict()))

    def _verdicts(self) -> list[Mapping[str, Any]]:
        return [detail for kind, detail in self.simulation.events_bus.announced if kind == "VerificationCompleted"]

    def verdict(self, name: str) -> dict[str, Any]:
        id_ = self.simulation.accepted[name]
        found: dict[str, Any] = json.loads(self.simulation.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"]["verdict"]["S"])
        return found

    def account(self, name: str) -> dict[str, Any]:
        return self.simulation.dynamodb.items[f"ACCOUNT#test/platform/fca_{name}", "ACCOUNT"]

    def sealed(self, name: str) -> list[str]:
        pk = f"ACCOUNT#test/platform/fca_{name}"
        return [sk for key, sk in self.simulation.dynamodb.items if key == pk and sk.startswith(SEALED)]


@pytest.fixture(scope="module")
def restored() -> Restored:
    return Restored()


class TestErasedSince:
    @pytest.mark.parametrize("name", ["erased_later", "erased_waiting"])
    def test_point_in_time_has_the_account_with_its_encrypted_data(self, restored: Restored, name: str) -> None:
        pk = f"ACCOUNT#test/platform/fca_{name}"
        assert "erased_ms" not in restored.then[pk, "ACCOUNT"]
        assert [sk for key, sk in restored.then if key == pk and sk.startswith(SEALED)]

    def test_both_are_found_by_their_tombstones(self, restored: Restored) -> None:
        assert {ref.account for ref in restored.marked} == {"fca_erased_later", "fca_erased_waiting"}

    @pytest.mark.parametrize("name", ["erased_later", "erased_waiting"])
    def test_account_is_erased_again_to_its_end(self, restored: Restored, name: str) -> None:
        account = restored.account(name)
        assert {"erased_ms", "erasure_ended_ms", "disconnected_ms"} <= set(account)
        assert account["status"] == {"S": "disconnected"}
        assert restored.sealed(name) == []
        assert "wrapped_key" not in restored.client.keys[f"ACCOUNT#test/platform/fca_{name}", ""]

    def test_its_verification_that_waited_ends_as_before(self, restored: Restored) -> None:
        assert restored.announced[restored.simulation.accepted["erased_waiting"]] == restored.verdict("erased_waiting")["outcome"]

    def test_without_the_mark_the_data_stays_unreadable_but_is_not_deleted(self) -> None:
        """What the step is for: the destroyed key alone keeps the data unreadable, and no reader decrypts it."""
        without = Restored(erase_again=False, read_again=False)
        assert without.sealed("erased_later")
        assert "wrapped_key" not in without.client.keys["ACCOUNT#test/platform/fca_erased_later", ""]
        with inside(without.simulation):
            assert owners(without.simulation, "fca_erased_later") == (410, "account-erased")


class TestPaidSince:
    def test_no_refresh_is_paid_for_again(self, restored: Restored) -> None:
        assert set(restored.paid.values()) == {1}
        assert dict(restored.simulation.simulator.initiated_refreshes()) == restored.paid


class TestVerifications:
    def test_verdict_of_before_is_as_it_was(self, restored: Restored) -> None:
        id_ = restored.simulation.accepted["done"]
        then = restored.then[f"VERIFICATION#{id_}", "VERIFICATION"]
        assert restored.simulation.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"]["verdict"] == then["verdict"]

    def test_verdicts_since_are_kept(self, restored: Restored) -> None:
        assert restored.copied["verdicts"] == 3
        assert restored.copied["audit entries"] > 3

    def test_one_that_got_its_verdict_since_has_the_same(self, restored: Restored) -> None:
        id_ = restored.simulation.accepted["waiting"]
        assert "verdict" not in restored.then[f"VERIFICATION#{id_}", "VERIFICATION"]
        assert restored.announced[id_] == restored.verdict("waiting")["outcome"] == "match"

    def test_one_that_was_asked_for_since_has_its_verdict_when_it_is_asked_for_again(self, restored: Restored) -> None:
        id_ = restored.simulation.accepted["lost"]
        assert (f"VERIFICATION#{id_}", "VERIFICATION") not in restored.then
        assert restored.verdict("lost")["outcome"] == "match"

    def test_without_the_verdicts_since_each_gets_one_again(self) -> None:
        again = Restored(verdicts=False)
        assert again.verdict("waiting")["outcome"] == again.verdict("lost")["outcome"] == "match"
        # What it rests on was erased since.
        assert again.verdict("erased_waiting")["reasons"] == ["ACCOUNT_DISCONNECTED"]
        assert dict(again.simulation.simulator.initiated_refreshes()) == again.paid

    def test_change_of_status_since_is_seen_again(self, restored: Restored) -> None:
        assert restored.account("inactive")["status"] == {"S": "inactive"}
        id_ = restored.simulation.accepted["inactive"]
        assert restored.simulation.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"]["stale"] == {"S": "ACCOUNT_INACTIVE"}

    def test_nothing_is_left_running_or_unfinished(self, restored: Restored) -> None:
        simulation = restored.simulation
        assert [one.name for one in simulation.workflows.executions.values() if one.status == "RUNNING"] == []
        assert {item["open_kind"]["S"] for item in simulation.dynamodb.items.values() if "open_kind" in item} == set()

    def test_nothing_is_announced_otherwise_than_before(self, restored: Restored) -> None:
        outcomes: dict[str, set[str]] = {}
        for detail in restored._verdicts():
            outcomes.setdefault(detail["verification"], set()).add(detail["outcome"])
        assert all(len(each) == 1 for each in outcomes.values())


def test_audit_entries_since_are_copied_once() -> None:
    old, new = FakeDynamoDB(), FakeDynamoDB()
    client = Both(old, new)
    at = 1_800_000_000.0
    for number, day in enumerate(("2027-01-14", "2027-01-15")):
        sk = {"S": f"{(int(at) + number) * 1000:015}#a"}
        old.put_item(TableName="old", Item={"pk": {"S": f"AUDIT#{day}"}, "sk": sk, "action": {"S": "owners.read"}})
    old.put_item(TableName="old", Item={"pk": {"S": "SECRET#ids"}, "sk": {"S": "SECRET"}, "secret": {"B": b"s"}})
    clock = lambda: at + 60.0  # noqa: E731

    def carried(*, apply: bool) -> int:
        return data.carry_over(client, "old", "new", at, verdicts=False, apply=apply, clock=clock)["audit entries"]

    assert (carried(apply=False), new.items) == (1, {})
    assert carried(apply=True) == 1
    assert {pk for pk, _ in new.items} == {"AUDIT#2027-01-15", "SECRET#ids"}
    assert carried(apply=True) == 0


class TestLostKeys:
    @pytest.fixture(scope="class")
    @staticmethod
    def lost() -> dict[str, Any]:
        simulation = Simulation(0, options=Options(retry_base_seconds=30, settle_seconds=60.0, cooldown_seconds=60.0))
        client, clock = Operator(simulation), lambda: simulation.scheduler.now
        kept: dict[str, Any] = {"simulation": simulation}
        with inside(simulation):
            for name in ("done", "waiting", "erased"):
                simulation.simulator.link("single_owner", id=f"fca_{name}")
            simulation.reconcile_every(900, 60)
            for name in ("done", "erased"):
                simulation.at(60, lambda name=name: simulation.verify(name, f"fca_{name}"))  # type: ignore[misc]
            simulation.at(600, lambda: simulation.erase("fca_erased"))
            simulation.at(HOURS - 20, lambda: simulation.verify("waiting", "fca_waiting"))
            simulation.run(HOURS)
            kept["paid"] = dict(simulation.simulator.initiated_refreshes())
            client.keys.clear()
            found = data.lost_with_the_keys(client, "table", "keys", {}, clock)
            data.expire(client, "table", found, clock)
            data.write_tombstones(client, "table", "keys", clock)
            for ref in data.accounts_to_read(client, "table"):
                simulation.sqs.send_message(QueueUrl=EVENTS_QUEUE, MessageBody=json.dumps(ref.as_dict()))
            simulation.run(12 * HOURS)
            kept["owners"] = {name: owners(simulation, f"fca_{name}")[0] for name in ("done", "erased")}
            kept["again"] = data.lost_with_the_keys(client, "table", "keys", {k[0]: data.plain(v) for k, v in client.keys.items()}, clock)
        kept["found"] = found
        return kept

    def test_says_what_is_lost(self, lost: dict[str, Any]) -> None:
        found = lost["found"]
        assert found.owners == [AccountRef("fca_done")]
        assert (found.claims, found.waiting, found.tombstones) == (2, 1, 1)

    def test_owners_are_stored_again_without_a_refresh(self, lost: dict[str, Any]) -> None:
        assert lost["owners"] == {"done": 200, "erased": 410}
        assert dict(lost["simulation"].simulator.initiated_refreshes()) == lost["paid"]

    def test_erased_account_gets_no_new_key(self, lost: dict[str, Any]) -> None:
        tombstone = lost["simulation"].dynamodb.keys["ACCOUNT#test/platform/fca_erased", ""]
        assert "erased_ms" in tombstone
        assert "wrapped_key" not in tombstone

    def test_verification_whose_claim_is_lost_ends(self, lost: dict[str, Any]) -> None:
        simulation = lost["simulation"]
        item = simulation.dynamodb.items[f"VERIFICATION#{simulation.accepted['waiting']}", "VERIFICATION"]
        verdict = json.loads(item["verdict"]["S"])
        assert (verdict["outcome"], verdict["reasons"]) == ("not_verifiable", ["CLAIM_ERASED"])

    def test_nothing_is_left_that_cant_be_read(self, lost: dict[str, Any]) -> None:
        assert lost["again"].rows == []
        # Only a snapshot that can't be decrypted may be stored again.
        assert [one for one in lost["simulation"].violations if not one.endswith("a snapshot changed")] == []
