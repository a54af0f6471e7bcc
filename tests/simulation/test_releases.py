"""Today's code reads what kept releases stored, queued and passed on, also without each field that is not always there.

This fails when a field is required that an earlier release does not write. The samples are those of tests/support/releases.py; a new
release is kept by `make keep-release`.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any
from unittest.mock import MagicMock, patch

import pytest

from local.stripe_simulator.options import Options
from tests.simulation.application import inside
from tests.simulation.deployment import ENVIRONMENT, REFRESH_QUEUE
from tests.simulation.schedules import crash_at
from tests.simulation.simulation import Simulation
from tests.support.data_model import row_kinds
from tests.support.fakes.dynamodb import FakeDynamoDB
from tests.support.functions import ROOT, load
from tests.support.releases import KEYS, Sample, kept_definitions, kept_releases, requires, telling, without_each_optional_field
from titleholder.domain.accounts import AccountRef
from titleholder.domain.reviews import Review, ReviewDecision
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import DigestedClaim, Verification
from titleholder.errors import AccountErasedError, TitleholderError
from titleholder.services import refreshes
from titleholder.store import Store
from titleholder.store.sealed import part_sks
from titleholder.store.table import plain
from titleholder.store.verifications import VerificationListing
from tools import export_audit

RELEASES = kept_releases()
NOW = 1_000_000.0
"""Before anything expires."""

NOT_READ = {
    "Expiry": "only whether it exists",
    "Event, aside": "only whether it exists",
    "Answer to a repeatable request": "by Powertools alone",
}
"""Kinds of items whose attributes today's code does not read, and why."""


OUTCOMES = {
    "single_owner": "match", "fresh": "match", "cooling_down": "match", "failing": "REFRESH_FAILED", "inactive": "ACCOUNT_INACTIVE",
    "disconnected": "ACCOUNT_DISCONNECTED", "permission_missing": "PERMISSION_MISSING", "never_answering": "REFRESH_TIMED_OUT",
}  # fmt: skip
"""By scenario, how a verification ends."""


class Reader:
    """Repositories over a table that holds one item."""

    def __init__(self, sample: Sample, *, keys: bool = False) -> None:
        self.client = FakeDynamoDB()
        self.client.put_item(TableName="keys" if keys else "table", Item=sample)
        self.item = plain(sample)
        for part in part_sks(self.item):
            self.client.put_item(TableName="table", Item={**sample, "sk": {"S": part}, "owners": {"B": b"o"}})
        self.pk, self.sk = self.item["pk"], self.item.get("sk", "")
        self.store = Store(self.client, "table", keys_table="keys", cipher=lambda: NoCipher(), clock=lambda: NOW)  # type: ignore[arg-type, return-value]

    @property
    def ref(self) -> AccountRef:
        mode, connected, account = self.pk.removeprefix("ACCOUNT#").split("/")
        return AccountRef(account, mode, None if connected == "platform" else connected)

    def with_key(self) -> Reader:
        self.client.put_item(TableName="keys", Item={"pk": {"S": self.pk}, "wrapped_key": {"B": b"k"}, "made_ms": {"N": "1"}})
        return self


class NoCipher:
    """Decrypts everything to an empty list, and encrypts to nothing."""

    def decrypt(self, *_: Any) -> Sensitive[Any]:
        return Sensitive([])

    def encrypt(self, *_: Any) -> bytes:
        return b""

    def digest(self, *_: Any) -> str:
        return "d" * 64

    def new_key(self, *_: Any) -> bytes:
        return b"k"


def read_digests(one: Reader) -> None:
    claims = one.store.claims
    claims.check(DigestedClaim(Sensitive({}), b"k", "d", ["n"], one.item))
    claims._count_part(one.ref, one.item, {}, 0)


def read_verification(one: Reader) -> None:
    found = one.store.verifications.find(one.pk.removeprefix("VERIFICATION#"))
    if isinstance(found, Verification):
        one.store.verifications.is_wanted(found.id)


def read_list(one: Reader) -> None:
    one.store.verifications.page(VerificationListing(one.pk), 10)


def read_audit(one: Reader) -> None:
    list(export_audit.rows([dict(one.client.items[one.pk, one.sk])]))


def read_pace(one: Reader) -> None:
    bucket = one.pk.removeprefix("PACE#")
    one.store.rate_limits.reserve(bucket, 25.0, NOW)
    one.store.rate_limits.next_try(bucket, "single", 25.0, NOW)
    one.store.rate_limits.backoff(bucket)
    one.store.rate_limits.count_call(NOW)


def read_batch(one: Reader) -> None:
    """The attributes that each state of a batch needs are read by the steps and the life cycle, through this."""
    one.store.batches.get(one.pk.removeprefix("BATCH#"))


def read_key(one: Reader) -> None:
    one.client.put_item(TableName="table", Item={"pk": {"S": one.pk}, "sk": {"S": "CLAIM#v"}, "claim": {"B": b"c"}})
    try:
        one.store.claims.get(one.ref, "v")
    except AccountErasedError:
        assert "wrapped_key" not in one.item


def read_note(one: Reader) -> None:
    _, verification, version = one.sk.split("#")
    made = ReviewDecision("caller", NOW, "approve", "OTHER", None, noted=True)
    review = Review(one.ref, verification, "closed", int(version), NOW, "rule", (made,) * (int(version) - 1))
    assert one.with_key().store.reviews.notes(review)


def read_counting_line(one: Reader) -> Any:
    return one.store.verifications.counting_line(one.pk.removeprefix("VERIFICATION#"), one.sk.removeprefix("BATCH#"), 0, 0)


ADDED_SINCE: set[str] = {"Counting line", "Note", "Review", "Step"}
"""Row kinds of `ITEMS` that the latest kept release did not have."""

ITEMS: Mapping[str, Callable[[Reader], Any]] = {
    "Account": lambda one: one.store.accounts.get(one.ref),
    "Snapshot": lambda one: one.with_key().store.snapshots.get(one.ref, one.sk.partition("#")[2]),
    "History": lambda one: one.store.snapshots.page(one.ref, 10),
    "Claim": lambda one: one.with_key().store.claims.get(one.ref, one.sk.partition("#")[2]),
    "Review": lambda one: one.store.reviews.get(one.ref, one.sk.partition("#")[2]),
    "Note": read_note,
    "Step": lambda one: one.store.steps.of_verification(one.pk.removeprefix("VERIFICATION#")),
    "Digests of claims": read_digests,
    "Waiter": lambda one: list(one.store.waiters.of_account(one.ref)),
    "Verification list": read_list,
    "Counting line": read_counting_line,
    "Verification": read_verification,
    "Event": lambda one: one.store.events.get(one.pk.removeprefix("EVENT#")),
    "Connected account": lambda one: one.store.connected_accounts.list_all(one.pk.removeprefix("CONNECTED#")),  # type: ignore[arg-type]
    "Audit entry": read_audit,
    "Batch": read_batch,
    "Batch range": lambda one: list(one.store.batches.ranges(one.pk.removeprefix("BATCH#"))),
    "Batch counts": lambda one: one.store.batches.counts(one.pk.removeprefix("BATCH#")),
    "Rate limit": read_pace,
    "Cursor of reconcile": lambda one: one.store.open_work.get_cursor(one.pk.removeprefix("RECONCILE#")),
    "Secret of ids": lambda one: one.store.verifications.id_secret(),
    "Data key": read_key,
}
"""By row kind, what reads its rows."""


WITHOUT_AWS = (TitleholderError, KeyError, TypeError, ValueError, AttributeError, AssertionError)
"""What a function may raise if nothing behind it exists."""


class Noting(dict[str, Any]):
    """A message that notes which of its fields were required and missing."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.missing: list[str] = []

    def __missing__(self, name: str) -> Any:
        self.missing.append(name)
        raise KeyError(name)


def read_refresh(sample: Sample) -> list[str]:
    message = Noting(sample)
    refreshes.RefreshRequest.from_message(message, "id")
    return message.missing + _handled("start_refresh", "_process", message, "id")


def _handled(function: str, name: str, message: Noting, *more: Any) -> list[str]:
    """The keys that a function misses in a message. Other failures are ignored, because AWS and Stripe are missing here."""
    module = load(function).module
    with patch.object(module, "application", MagicMock()), contextlib.suppress(*WITHOUT_AWS):
        getattr(module, name)(message, *more)
    return message.missing


def read_task(function: str) -> Callable[[Sample], list[str]]:
    def read(sample: Sample) -> list[str]:
        module, message = load(function).module, Noting(sample)
        with patch.object(module, "application", MagicMock()), contextlib.suppress(*WITHOUT_AWS):
            module.handler.__wrapped__(message, None)
        return message.missing

    return read


MESSAGES: Mapping[str, Callable[[Sample], list[str]]] = {
    "refresh": read_refresh,
    "events": lambda sample: _handled("fetch_owners", "_process", Noting(sample), "id"),
}


def read(schema: str, sample: Sample) -> None:
    """Read a sample as today's code does. Raises what the code raises for a missing field."""
    kind, _, name = schema.partition(" ")
    if kind == "item":
        if name not in NOT_READ:
            ITEMS[name.partition(",")[0]](Reader(sample, keys=name == "Data key"))
        return
    missing = MESSAGES[name](sample) if kind == "message" else read_task(name.split()[0])(sample)
    assert missing == [], missing


def cases() -> Iterator[Any]:
    for version, schemas in RELEASES.items():
        for schema in schemas:
            yield pytest.param(version, schema, id=f"{version} {schema}")


@pytest.mark.parametrize(("version", "schema"), list(cases()))
def test_what_a_release_wrote_is_read(version: str, schema: str) -> None:
    for sample in RELEASES[version][schema]:
        read(schema, sample)


@pytest.mark.parametrize(("version", "schema"), list(cases()))
def test_it_is_read_without_each_field_that_is_not_always_there(version: str, schema: str) -> None:
    for sample in without_each_optional_field(RELEASES[version][schema]):
        try:
            read(schema, sample)
        except (KeyError, AssertionError) as error:
            raise AssertionError(f"required, but not always there: {error!r} of {sorted(sample)}") from error


def test_every_row_kind_of_the_data_model_is_read_here() -> None:
    kinds = {kind.name for heading in ("## The table `<stack>`", "## The table `<stack>-keys`") for kind in row_kinds(heading)}
    assert kinds == set(ITEMS) | {name for name in NOT_READ if "," not in name}


def test_latest_release_is_kept_whole() -> None:
    """What an upgrade meets: each row kind that a simulation stores, both queues, the input of each function that workflows call."""
    latest = RELEASES[list(RELEASES)[-1]]
    kept = {schema.partition(" ")[2].partition(",")[0] for schema in latest if schema.startswith("item ")}
    assert set(ITEMS) - kept == ADDED_SINCE
    assert {f"message {name}" for name in MESSAGES} <= set(latest)
    steps = set(re.findall(r'case "([a-z]+)"', (ROOT / "functions/run_batch_step/app.py").read_text()))
    assert {schema for schema in latest if schema.startswith("task run")} == {f"task run_batch_step {step}" for step in steps}
    assert "task complete_verification" in latest


@cache
def run_of(version: str) -> Simulation:
    """Verifications of each kind and a batch, whose executions run with the definitions of a kept release under today's functions."""
    simulation = Simulation(0, options=Options(retry_base_seconds=30, settle_seconds=60.0, cooldown_seconds=3600.0))
    for name, prefix in (("verify_account", ""), ("verify_batch", "BATCH_")):
        text = json.dumps(kept_definitions()[version][name]).replace("${RefreshQueueUrl}", REFRESH_QUEUE)
        simulation.workflows._definitions[ENVIRONMENT[f"{prefix}STATE_MACHINE_ARN"]] = json.loads(text)
    with inside(simulation):
        for scenario in OUTCOMES:
            simulation.simulator.link(scenario, id=f"fca_{scenario}")
            simulation.at(30, partial(simulation.verify, scenario, f"fca_{scenario}"))
        for number in range(2):
            simulation.simulator.link("single_owner", id=f"fca_line{number}")
        simulation.at(60, lambda: simulation.batch(["fca_line0", "fca_line1"], 86_400, None, None))
        simulation.reconcile_every(900, 40)
        simulation.run(10 * 3600.0)
    return simulation


@pytest.mark.parametrize("version", kept_definitions())
class TestExecutionsOfARelease:
    """Step Functions runs an execution to its end with the definition that it was started with."""

    def test_each_verification_has_its_verdict(self, version: str) -> None:
        simulation, outcomes = run_of(version), {}
        for name, id_ in simulation.accepted.items():
            verdict = json.loads(simulation.dynamodb.items[f"VERIFICATION#{id_}", "VERIFICATION"]["verdict"]["S"])
            outcomes[name] = verdict["reasons"][0] if verdict["outcome"] == "not_verifiable" else verdict["outcome"]
        assert outcomes == OUTCOMES

    def test_no_execution_fails_or_is_left_running(self, version: str) -> None:
        simulation = run_of(version)
        assert {one.status for one in simulation.workflows.executions.values()} == {"SUCCEEDED"}
        # The fresh account's verification needs none, and the batch has one.
        assert sorted(name[:4] for name in simulation.workflows.executions) == ["bat_", *["ver_"] * (len(OUTCOMES) - 1)]
        assert simulation.violations == []


def test_what_the_simulation_stores_of_reviews_is_read() -> None:
    """Until a release is kept that has reviews."""
    samples: dict[str, list[Sample]] = {"Review": [], "Note": [], "Step": []}
    simulation = crash_at({})
    for (_, sk), item in simulation.dynamodb.items.items():
        kind = {"REVIEW": "Review", "NOTE": "Note", "WAY": "Step"}.get(sk.partition("#")[0])
        if kind is not None:
            samples[kind].append(item)
    for kind, items in samples.items():
        assert items, kind
        for item in items:
            ITEMS[kind](Reader(item))


class TestRule:
    """The rule itself, on invented samples."""

    SAMPLES: list[Sample] = [{"pk": 1, "a": 1}, {"pk": 1, "a": 1, "b": 1}, {"pk": 1, "a": 1, "b": 1, "c": 1}]  # noqa: RUF012

    def test_field_goes_with_those_that_are_never_there_without_it(self) -> None:
        assert requires(self.SAMPLES, "c", "b")
        assert not requires(self.SAMPLES, "b", "c")
        assert {frozenset(sample) - KEYS for sample in without_each_optional_field(self.SAMPLES)} == {frozenset("a"), frozenset("ab")}

    def test_samples_that_show_nothing_new_are_left_out(self) -> None:
        assert telling([*self.SAMPLES, {"pk": 2, "a": 2}, {"pk": 3, "a": 1, "b": 3}]) == self.SAMPLES

    def test_required_new_field_of_an_item_is_noticed(self) -> None:
        name = "item Waiter"
        with patch.dict(ITEMS, {"Waiter": lambda one: one.item["new"]}), pytest.raises(KeyError):  # type: ignore[dict-item]
            test_what_a_release_wrote_is_read("0.1.0", name)

    def test_required_new_field_of_a_message_is_noticed(self) -> None:
        def strict(message: Mapping[str, Any], *_: Any) -> None:
            message["new"]

        with patch.object(refreshes, "handle_message", lambda deps, message, id_: strict(message)), pytest.raises(AssertionError):
            test_what_a_release_wrote_is_read("0.1.0", "message refresh")
