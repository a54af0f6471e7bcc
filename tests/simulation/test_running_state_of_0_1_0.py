"""The stored and running state of release 0.1.0 continues under today's code: items, messages, workflow executions in progress.

The fixture's README says what it holds and how it was made.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aws_lambda_powertools.utilities.idempotency import base as idempotency_base
from aws_lambda_powertools.utilities.idempotency.persistence import base as record_base
from aws_lambda_powertools.utilities.idempotency.persistence import datarecord, dynamodb

from local.stripe_simulator.options import Options
from tests.simulation.application import inside
from tests.simulation.deployment import EVENTS_QUEUE, REFRESH_QUEUE
from tests.simulation.handlers import Context, http_event
from tests.simulation.simulation import Simulation
from tools import export_audit

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "release_0_1_0"
HOURS = 3600.0
SEALED = ("SNAPSHOT#", "HISTORY#", "CLAIM#")
ERASED = ("fca_erased", "fca_erased_waiting", "fca_erasing")
STOPPED = "batch_stopped"
CHANGES_WITH_TIME = ("age", "observed_at", "per_second", "estimated_end")
TEXTS_FOR_PEOPLE = ("title", "detail")
"""Of problems. Callers compare `type` and `status`."""
NOT_COMPARED = (*CHANGES_WITH_TIME, *TEXTS_FOR_PEOPLE)


def kept(name: str) -> Any:
    return json.loads((FIXTURE / f"{name}.json").read_text())


def typed(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item in DynamoDB's form. The fixture has binary attributes in base64."""
    return {name: {"B": base64.b64decode(value["B"])} if "B" in value else value for name, value in item.items()}


def load() -> Simulation:
    """Today's simulation with everything in it that 0.1.0 left."""
    callers, stripe, queues, definitions = kept("callers"), kept("stripe"), kept("queues"), kept("definitions")
    simulation = Simulation(0, options=Options(retry_base_seconds=30, settle_seconds=60.0, cooldown_seconds=3600.0), begin=callers["cut"])
    replay(simulation, stripe)
    simulation.scheduler.now = callers["cut"]
    for table in ("table", "keys"):
        for item in kept(table):
            simulation.dynamodb.put_item(TableName=table, Item=typed(item))
    for key, body in kept("bucket").items():
        simulation.s3.put_object(Bucket="bucket", Key=key, Body=body.encode())
    for message in queues["messages"]:
        delay = max(0, round(message["visible_at"] - callers["cut"]))
        simulation.sqs.send_message(QueueUrl=message["queue"], MessageBody=json.dumps(message["body"]), DelaySeconds=delay)
    for execution in kept("executions"):
        simulation.workflows.resume(execution, definitions[execution["machine"]])
    return simulation


def replay(simulation: Simulation, stripe: Mapping[str, Any]) -> None:
    """Repeat the actions at Stripe, at the same times. The events of that time are not delivered, as if they had been lost."""
    simulation.simulator.use_ids(stripe["ids"])
    simulation.simulator.fail_webhooks("drop", times=None)
    for call in stripe["calls"]:
        simulation.scheduler.now = call["at"]
        if call["call"] == "POST":
            simulation.simulator.handle("POST", call["target"], call["headers"], call["body"].encode())
        else:
            getattr(simulation.simulator, call["call"])(*call["args"], **call["with"])
    simulation.scheduler.now = kept("callers")["cut"]
    simulation.simulator.states()
    simulation.simulator.clear_faults()


class Run:
    """The fixture, run to its end under today's code, with further requests of callers."""

    def __init__(self) -> None:
        self.callers = kept("callers")
        self.ids: dict[str, str] = {one["name"]: one["id"] for one in self.callers["verifications"]} | self.callers["others"]
        self.simulation = simulation = load()
        self.before = {key: dict(item) for key, item in simulation.dynamodb.items.items()}
        self.refreshes_before = simulation.simulator.initiated_refreshes()
        self.repeated: dict[str, Any] = {}
        self.reads: list[tuple[dict[str, Any], Any]] = []
        with inside(simulation), powertools_clock(simulation):
            self._go_on()

    def _go_on(self) -> None:
        simulation = self.simulation
        simulation.reconcile_every(900, 24)
        for at, act in (
            (0.2, self._read),
            (0.5, self._ask_again),
            (2.0, self._resend),
            (5.0, self._repeat),
            (60.0, self._redrive),
            (70.0, self._batches),
        ):
            simulation.scheduler.spawn(act, at)
        simulation.run(6 * HOURS)
        self.without_verdict = [item["account"]["S"] for _, _, item in self.verifications() if "verdict" not in item]
        simulation.scheduler.spawn(self._look)
        simulation.scheduler.spawn(partial(self._repeat, "late"))
        simulation.run(HOURS)

    def http(self, function: str, method: str, path: str, body: Any = None, tenant: str | None = None, key: str | None = None) -> Any:
        """The status and what was answered."""
        headers = {"content-type": "application/json"}
        headers |= {"stripe-account": tenant} if tenant else {}
        headers |= {"idempotency-key": key} if key else {}
        path, _, query = path.partition("?")
        event = http_event(method, path, headers, json.dumps(body))
        event["queryStringParameters"] = dict(part.split("=") for part in query.split("&")) if query else {}
        answer = self.simulation._invoke(function, event | {"rawQueryString": query})
        return answer["statusCode"], json.loads(answer["body"])

    def _read(self) -> None:
        for read in self.callers["reads"]:
            function = "batches" if read["path"].startswith("/batches") else "api"
            self.reads.append((read, self.http(function, "GET", read["path"], None, read["stripe_account"])[1]))

    def _ask_again(self) -> None:
        """Request fresh owners while the lease of a worker that died still runs."""
        self.asked = self.http("start_refresh", "POST", "/accounts/fca_call_before/refreshes", {})

    def _resend(self) -> None:
        """Let Stripe retry the deliveries that 0.1.0 did not accept."""
        for (_, sk), item in self.before.items():
            if sk == "EVENT" and item["account"]["S"] == "fca_event_resent" and not item["processed"]["BOOL"]:
                self.simulation.simulator.resend(item["id"]["S"])
        self.simulation.stripe_moved()

    def _repeat(self, when: str = "soon") -> None:
        """Repeat the callers' requests with the Idempotency-Keys that they used before."""
        for one in self.callers["verifications"]:
            if one["name"] == "wait_policy":
                continue  # Its policy has the version of the built-in one, which is refused since 0.2.0.
            if (one["name"] == "wait_no_workflow") == (when == "late"):
                status, answer = self.http("api", "POST", "/verifications", one["body"], one["stripe_account"], one["name"])
                self.repeated[one["name"]] = answer["id"] if status in (200, 202) else answer
        if when == "late":
            return
        for name, path, body in (
            ("batch_done", "/batches", {"format": "jsonl", "scope": "batch_done"}),
            ("customer", "/customers", {"email": "someone@example.com"}),
        ):
            function = "batches" if path == "/batches" else "linking"
            key = {"customer": "customer-key"}.get(name, name)
            self.repeated[name] = self.http(function, "POST", path, body, None, key)[1].get("id")

    def _redrive(self) -> None:
        for dead_letters, bodies in kept("queues")["dead_letters"].items():
            for body in bodies:
                self.simulation.sqs.send_message(QueueUrl=dead_letters.removesuffix("-dead"), MessageBody=json.dumps(body))

    def _batches(self) -> None:
        """One batch waited for its start. One was stopped, which this release ends when it is stopped again."""
        self.http("batches", "POST", f"/batches/{self.ids['batch_uploaded']}/start", {})
        self.http("batches", "DELETE", f"/batches/{self.ids[STOPPED]}")

    def _look(self) -> None:
        self._read()
        self.batches = {
            name: self.http("batches", "GET", f"/batches/{id_}")[1] for name, id_ in self.ids.items() if name.startswith("batch_")
        }
        self.owners_of_erased = [self.http("api", "GET", f"/accounts/{account}/owners") for account in ERASED if account != ERASED[1]]

    @property
    def items(self) -> dict[tuple[str, str], dict[str, Any]]:
        return self.simulation.dynamodb.items

    def verifications(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Of each of the fixture: id, item then, item now."""
        for (pk, sk), item in self.before.items():
            if sk == "VERIFICATION" and "members" not in item:
                yield item["verification"]["S"], item, self.items[pk, sk]


@pytest.fixture(scope="module")
def run() -> Run:
    return Run()


def powertools_clock(simulation: Simulation) -> Any:
    """Let Powertools' idempotency utility, which reads the machine's clock, use the simulation's time."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.datetime.fromtimestamp(simulation.scheduler.now, tz)

    patch = pytest.MonkeyPatch.context()
    modules = (idempotency_base, record_base, datarecord, dynamodb)

    class Patched:
        def __enter__(self) -> None:
            patched = patch.__enter__()
            for module in modules:
                patched.setattr(module, "dt", SimpleNamespace(datetime=Clock, timedelta=datetime.timedelta))
            patched.setattr(Context, "get_remaining_time_in_millis", lambda self: 45_000, raising=False)

        def __exit__(self, *error: Any) -> None:
            patch.__exit__(*error)

    return Patched()


def verdict(item: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(item["verdict"]["S"])
    return found


class TestTheFixture:
    def test_fixture_holds_verifications_in_the_middle_of_their_way(self, run: Run) -> None:
        waiting = [item for _, item, _ in run.verifications() if "verdict" not in item]
        states = Counter(execution.get("state") for execution in kept("executions"))
        assert len(waiting) >= 35
        assert states["RequestRefresh"] >= 20
        assert states["WaitForCooldown"] >= 2
        assert {states[each] for each in ("Verify", "Import", "WaitForCooldowns")} <= {1, 2}

    def test_fixture_is_small(self) -> None:
        assert sum(path.stat().st_size for path in FIXTURE.glob("*.json")) < 400_000


class TestVerifications:
    def test_each_ends_in_a_verdict(self, run: Run) -> None:
        assert run.without_verdict == []

    def test_verdicts_are_what_the_accounts_lead_to(self, run: Run) -> None:
        ended = {item["account"]["S"]: verdict(item) for _, before, item in run.verifications() if "verdict" not in before}
        others = {account: each["reasons"] for account, each in ended.items() if each["outcome"] not in ("match", "close_match")}
        assert others == {
            "fca_never": ["REFRESH_TIMED_OUT"],
            "fca_erasing": ["ACCOUNT_DISCONNECTED"],
            "fca_policy": ["MIDDLE_DIFFERS"],
            "fca_stopped_0": ["BATCH_STOPPED"],
            "fca_prefetch_failing": ["REFRESH_FAILED"],
        }

    def test_verdicts_of_0_1_0_are_unchanged(self, run: Run) -> None:
        given = [(before, item) for _, before, item in run.verifications() if "verdict" in before]
        assert {verdict(before)["outcome"] for before, _ in given} == {"match", "close_match", "no_match", "not_verifiable"}
        for before, item in given:
            assert (item["verdict"], item["completed_ms"]) == (before["verdict"], before["completed_ms"])

    def test_each_new_verdict_is_announced_once(self, run: Run) -> None:
        announced = [detail for kind, detail in run.simulation.events_bus.announced if kind == "VerificationCompleted"]
        different = Counter(detail["verification"] for detail in {json.dumps(each, sort_keys=True): each for each in announced}.values())
        new = {id_ for id_, before, _ in run.verifications() if "verdict" not in before}
        assert set(different) >= new | {run.ids["wait_unannounced"]}
        assert set(different.values()) == {1}

    def test_nothing_is_left_running_or_waiting(self, run: Run) -> None:
        verdicts = {id_ for id_, _, item in run.verifications() if "verdict" in item}
        assert [execution.name for execution in run.simulation.workflows.executions.values() if execution.status == "RUNNING"] == []
        assert [pk for (pk, sk) in run.items if sk.startswith("WAITER#") and sk.removeprefix("WAITER#") not in verdicts] == []
        assert [item["account"]["S"] for item in run.items.values() if "processed" in item and not item["processed"]["BOOL"]] == []
        assert run.simulation.sqs.dead == {}

    def test_no_promise_is_broken_on_the_way(self, run: Run) -> None:
        assert run.simulation.violations == []


class TestMoney:
    def test_no_refresh_is_paid_for_that_0_1_0_had_paid_for(self, run: Run) -> None:
        after = run.simulation.simulator.initiated_refreshes()
        paid = {account: count for account, count in run.refreshes_before.items() if count}
        assert len(paid) >= 25
        assert {account: after[account] for account in paid} == paid

    def test_no_refresh_is_paid_for_twice(self, run: Run) -> None:
        started = Counter(run.simulation.simulator.initiated_refreshes()) - Counter(run.refreshes_before)
        assert set(started) >= {"fca_cooling", "fca_queued", "fca_burst_0", "fca_call_before", "fca_cooling_0", "fca_uploaded_0"}
        assert set(started.values()) == {1}

    def test_lease_of_0_1_0_is_kept(self, run: Run) -> None:
        assert (run.asked[0], run.asked[1]["status"]) == (200, "pending")


class TestCallers:
    def test_keys_of_0_1_0_find_what_they_made(self, run: Run) -> None:
        made = {one["name"]: one["id"] for one in run.callers["verifications"] if one["id"] and one["name"] != "wait_policy"}
        assert {name: id_ for name, id_ in run.repeated.items() if name in made} == made
        assert f"VERIFICATION#{run.repeated['wait_no_workflow']}" in {pk for pk, _ in run.before}
        assert run.repeated["batch_done"] == run.ids["batch_done"]
        assert run.repeated["customer"] == run.ids["customer"]

    def test_what_0_1_0_answered_is_read_unchanged(self, run: Run) -> None:
        assert len(run.reads) >= 20
        first, last = run.reads[: len(run.reads) // 2], run.reads[len(run.reads) // 2 :]
        for read, answer in first:
            assert shown(answer, like=read["answer"]) == without_ages(read["answer"]), read["path"]
        for read, answer in last:
            if read["answer"].get("state") == "verifying":
                continue  # This batch went on.
            if read["path"] == f"/verifications/{run.ids['done_erasing']}":
                answer["stale"] = None  # Its account's erasure, begun by 0.1.0, was ended since.
            assert shown(answer, like=read["answer"]) == without_ages(read["answer"]), read["path"]


def without_ages(value: Any) -> Any:
    if isinstance(value, list):
        return [without_ages(each) for each in value]
    if isinstance(value, dict):
        return {name: without_ages(each) for name, each in value.items() if name not in NOT_COMPARED}
    return value


def shown(value: Any, like: Any) -> Any:
    """The fields of `value` that `like` has, because later releases may add fields."""
    if isinstance(value, list) and isinstance(like, list) and len(value) == len(like):
        return [shown(each, model) for each, model in zip(value, like, strict=True)]
    if isinstance(value, dict) and isinstance(like, dict):
        return {name: shown(each, like[name]) for name, each in value.items() if name in like and name not in NOT_COMPARED}
    return value


class TestErasure:
    def test_what_was_erased_stays_unreadable(self, run: Run) -> None:
        keys = [pk for pk, _ in run.simulation.dynamodb.keys if pk.rpartition("/")[2] in ERASED]
        assert len(keys) == len(ERASED)
        for pk in keys:
            assert "wrapped_key" not in run.simulation.dynamodb.keys[pk, ""]
            assert [sk for key, sk in run.items if key == pk and sk.startswith(SEALED)] == []
            assert "erasure_ended_ms" in run.items[pk, "ACCOUNT"]
        assert [(status, answer["type"].rpartition(":")[2]) for status, answer in run.owners_of_erased] == [(410, "account-erased")] * 2


class TestBatches:
    def test_batch_counts_add_up(self, run: Run) -> None:
        assert {name: shown["state"] for name, shown in run.batches.items()} == {
            "batch_done": "completed",
            "batch_again": "completed",
            "batch_stopped": "stopped",
            "batch_failed": "failed",
            "batch_cooling": "completed",
            "batch_running": "completed",
            "batch_importing": "completed",
            "batch_queued": "completed",
            "batch_uploaded": "completed",
        }
        for name, shown in run.batches.items():
            assert sum(shown["done"].values()) == shown["imported"] - shown["duplicates"], (name, shown)
            assert (shown["waiting"], shown["cooling_down"]) == (0, None), (name, shown)
        assert {name: shown["imported"] for name, shown in run.batches.items() if shown["imported"]} == {
            "batch_done": 3, "batch_again": 3, "batch_stopped": 1, "batch_cooling": 3, "batch_running": 6, "batch_importing": 2,
            "batch_queued": 2, "batch_uploaded": 1,
        }  # fmt: skip

    def test_results_name_each_line_once(self, run: Run) -> None:
        for name, shown in run.batches.items():
            if shown["imported"]:
                lines = [row["line"] for row in run.simulation.s3.lines(f"batches/{run.ids[name]}/results.jsonl")]
                assert len(lines) == len(set(lines)) == shown["imported"], name


class TestAudit:
    def test_entries_of_0_1_0_are_still_exported(self, run: Run) -> None:
        then = [item for (pk, _), item in run.before.items() if pk.startswith("AUDIT#")]
        assert len(then) >= 50
        day = datetime.date(2026, 11, 2)
        exported = list(export_audit.entries(Paginating(run.simulation.dynamodb.query), "table", day, day))
        for item in then:
            entry = {name: str(next(iter(value.values()))) for name, value in item.items()}
            at = datetime.datetime.fromtimestamp(int(entry["at_ms"]) / 1000, datetime.UTC).isoformat(timespec="milliseconds")
            ids = {name: value for name, value in entry.items() if name not in ("pk", "sk", "expires_at", "at_ms")}
            assert {"at": at, "state": "done", **ids} in exported


class Paginating:
    """A client whose paginator has one page."""

    def __init__(self, query: Callable[..., Any]) -> None:
        self._query = query

    def get_paginator(self, name: str) -> Any:
        return SimpleNamespace(paginate=lambda **request: [self._query(**request)])


def test_consumers_are_those_of_the_fixture() -> None:
    assert {message["queue"] for message in kept("queues")["messages"]} == {REFRESH_QUEUE, EVENTS_QUEUE}
