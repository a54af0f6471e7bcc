"""The audit log: entries are written before the effect and before the answer. If that fails, there is neither."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.functions import http_event
from tests.support.reviews import ANNE, BOB, TENANT, decide, deps
from tests.support.reviews import verified as close_match
from tests.support.sandbox import CLAIM, PERSONAL, Answer, Moment, Sandbox, client
from titleholder.domain.accounts import AccountRef
from titleholder.services import comparisons
from titleholder.services.audit import actor
from tools import export_audit
from tools.export_audit import entries

pytestmark = pytest.mark.slow

ROLE = "arn:aws:sts::123456789012:assumed-role/back-end/session"


def call(sandbox: Sandbox, method: str, path: str, body: object = None, *, authorizer: dict[str, object] | None = None) -> Answer:
    event = http_event(method, path, body)
    event["requestContext"]["authorizer"] = {"iam": {"userArn": ROLE}} if authorizer is None else authorizer
    return Answer.of(sandbox.function("api")(event))


def record(sandbox: Sandbox) -> list[dict[str, str]]:
    kept = sorted((item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#")), key=lambda item: item["sk"]["S"])
    return [{name: next(iter(value.values())) for name, value in item.items()} for item in kept]


def refuse_the_record(moment: Moment) -> None:
    if moment.operation == "put_item" and moment.arguments["Item"]["pk"]["S"].startswith("AUDIT#"):
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "no"}}, "PutItem")


def verified(sandbox: Sandbox) -> str:
    account = sandbox.link("fresh").account
    assert call(sandbox, "POST", "/verifications", {"account": account, "claim": dict(CLAIM)}).status == 200
    return account


def states(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [(entry["action"], entry["state"]) for entry in record(sandbox)]


def test_caller_action_and_ids_are_kept_until_the_retention_ends(sandbox: Sandbox) -> None:
    account = verified(sandbox)
    sandbox.wait(1)
    call(sandbox, "GET", f"/accounts/{account}/owners")
    asked, done, read = record(sandbox)
    assert [(entry["action"], entry["state"]) for entry in (asked, done, read)] == [
        ("verification.requested", "requested"), ("verification.requested", "done"), ("owners.read", "done"),
    ]  # fmt: skip
    assert asked["entry"] == done["entry"] != read["entry"]
    assert "verification" not in asked
    assert done["verification"].startswith("ver_")
    assert read["snapshot"].startswith("fcaowns_")
    for entry in (asked, done, read):
        assert (entry["actor"], entry["account"], entry["mode"]) == (ROLE, account, "test")
        assert int(entry["expires_at"]) == int(entry["at_ms"]) // 1000 + 2557 * 86_400
    assert (asked["pk"], asked["at_ms"]) == (f"AUDIT#2027-01-15#{asked['entry'][-1]}", "1800000000000")


class Effects:
    """Everything that callers can have done, each on something that is there."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.old = sandbox.link("old", id="fca_old", customer="cus_1")
        self.fresh = sandbox.link("fresh", id="fca_fresh", customer="cus_1")
        sandbox.http("POST", "/verifications", {"account": "fca_fresh", "claim": dict(CLAIM)})
        self.waiting = sandbox.http("POST", "/verifications", {"account": "fca_old", "claim": dict(CLAIM)}).json["id"]
        batch = sandbox.http("POST", "/batches", {"format": "jsonl"}).json
        client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{batch['id']}", Body=b"{}")
        self.batch = batch["id"]
        # The order of entries of the same millisecond is not defined.
        sandbox.wait(1)
        self.routes: dict[str, tuple[str, str, Any]] = {
            "verification.requested": ("POST", "/verifications", {"account": "fca_old", "claim": dict(CLAIM)}),
            "verification.requested of a customer": ("POST", "/verifications", {"customer": "cus_1", "claim": dict(CLAIM)}),
            "verification.cancelled": ("DELETE", f"/verifications/{self.waiting}", None),
            "refresh.requested": ("POST", "/accounts/fca_old/refreshes", {"max_age": 0}),
            "account.erased": ("DELETE", "/accounts/fca_fresh", None),
            "customer.created": ("POST", "/customers", {"email": "someone@example.com"}),
            "session.created": ("POST", "/sessions", {"via": "financial_connections", "customer": "cus_1"}),
            "batch.created": ("POST", "/batches", {"format": "jsonl"}),
            "batch.started": ("POST", f"/batches/{self.batch}/start", None),
            "batch.stopped": ("DELETE", f"/batches/{self.batch}", None),
        }

    def call(self, name: str) -> Answer:
        return self.sandbox.http(*self.routes[name])

    def traces(self) -> Any:
        """All that an effect could leave behind: in the table, at Stripe, in workflows and on the bus."""
        changes = [call for call in self.sandbox.stripe_calls() if call.startswith("POST")]
        keys = client("dynamodb").scan(TableName="titleholder-keys")["Items"]
        workflows = (len(self.sandbox.tokens.started), len(self.sandbox.tokens.stopped))
        return (changes, self.sandbox.items(but=("AUDIT#", "PACE#")), keys, workflows, len(self.sandbox.published()))


EFFECTS = (
    "verification.requested", "verification.requested of a customer", "verification.cancelled", "refresh.requested", "account.erased",
    "customer.created", "session.created", "batch.created", "batch.started", "batch.stopped",
)  # fmt: skip


@pytest.mark.parametrize("name", EFFECTS)
class TestEffects:
    def test_effect_is_recorded_before_it_begins_and_after_it_ended(self, sandbox: Sandbox, name: str) -> None:
        effects = Effects(sandbox)
        before, known = effects.traces(), len(record(sandbox))
        seen: list[Any] = []

        def look(moment: Moment) -> None:
            if moment.when == "after" and not seen and effects.traces() != before:
                seen.append(states(sandbox)[known:])

        sandbox.taps.append(look)
        assert effects.call(name).status < 300
        sandbox.taps.clear()
        action = name.partition(" ")[0]
        assert seen[0] == [(action, "requested")]
        requested, done = record(sandbox)[known:]
        assert [requested["state"], done["state"]] == ["requested", "done"]
        assert requested["entry"] == done["entry"]
        assert {item: done[item] for item in requested if item not in ("pk", "sk", "at_ms", "state")} == {
            item: value for item, value in requested.items() if item not in ("pk", "sk", "at_ms", "state")
        }  # fmt: skip

    def test_effect_does_not_happen_when_it_cannot_be_recorded(self, sandbox: Sandbox, name: str) -> None:
        effects = Effects(sandbox)
        before, known = effects.traces(), record(sandbox)
        sandbox.taps.append(refuse_the_record)
        answer = effects.call(name)
        assert (answer.status, answer.problem) == (503, "audit-unavailable")
        assert answer.headers["retry-after"]
        assert effects.traces() == before
        assert record(sandbox) == known

    def test_crash_in_between_leaves_the_first_entry(self, sandbox: Sandbox, name: str) -> None:
        effects = Effects(sandbox)
        before, known = effects.traces(), len(record(sandbox))

        def die(moment: Moment) -> None:
            if moment.when == "after" and effects.traces() != before:
                sandbox.taps.clear()
                raise Died

        sandbox.taps.append(die)
        with pytest.raises(Died):
            effects.call(name)
        assert states(sandbox)[known:] == [(name.partition(" ")[0], "requested")]

    def test_effect_is_not_answered_when_its_end_cannot_be_recorded(self, sandbox: Sandbox, name: str) -> None:
        effects = Effects(sandbox)
        known = len(record(sandbox))
        sandbox.taps.append(refuse_the_second_entry)
        answer = effects.call(name)
        assert (answer.status, answer.problem) == (503, "audit-unavailable")
        assert states(sandbox)[known:] == [(name.partition(" ")[0], "requested")]


class Died(BaseException):
    """An environment that ended."""


def refuse_the_second_entry(moment: Moment) -> None:
    if moment.operation == "put_item" and moment.arguments["Item"]["sk"]["S"].endswith("#after"):
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "no"}}, "PutItem")


@pytest.mark.parametrize(
    ("fault", "failure"),
    [("rate_limit", "StripeRateLimitedError"), ("hang", "StripeUnansweredError"), ("server_error", "StripeServerError")],
)
def test_refresh_that_failed_or_whose_answer_was_lost_is_recorded(sandbox: Sandbox, fault: str, failure: str) -> None:
    sandbox.link("old", id="fca_1")
    sandbox.simulator.fail_api(fault, path="/v1/financial_connections/accounts/{account}/refresh", effect="after", times=None)
    assert sandbox.http("POST", "/accounts/fca_1/refreshes", {"max_age": 0}).status == 503
    requested, failed = record(sandbox)
    assert (requested["state"], failed["state"], failed["failure"]) == ("requested", "failed", failure)
    assert sandbox.refreshes(AccountRef("fca_1")) == (fault != "rate_limit")


def test_repeated_request_is_recorded_again(sandbox: Sandbox) -> None:
    Effects(sandbox)
    known = len(record(sandbox))
    for _ in range(2):
        sandbox.wait(1)
        assert sandbox.http("POST", "/customers", {"email": "someone@example.com"}, idempotency_key="k").status == 201
    entries_ = record(sandbox)[known:]
    assert [entry["state"] for entry in entries_] == ["requested", "done"] * 2
    assert len({entry["entry"] for entry in entries_}) == 2
    assert len({entry["customer"] for entry in entries_ if entry["state"] == "done"}) == 1


class TestRefreshOfAWorkflow:
    def asked(self, sandbox: Sandbox) -> tuple[AccountRef, str, int]:
        ref = sandbox.link("old", id="fca_1")
        id_ = sandbox.http("POST", "/verifications", {"account": "fca_1", "claim": dict(CLAIM), "max_age": 0}).json["id"]
        sandbox.enter(sandbox.store.verifications.get(id_))
        sandbox.wait(1)
        return ref, id_, len(record(sandbox))

    def test_refresh_of_a_workflow_is_recorded_once_for_each_attempt_with_its_verification(self, sandbox: Sandbox) -> None:
        ref, id_, known = self.asked(sandbox)
        sandbox.consume(sandbox.refresh_queue)
        sandbox.enter(sandbox.store.verifications.get(id_), retry=1)
        sandbox.consume(sandbox.refresh_queue)
        requested, done = record(sandbox)[known:]
        for entry in (requested, done):
            assert (entry["actor"], entry["action"], entry["account"]) == (id_, "refresh.requested", "fca_1")
        assert (requested["state"], done["state"], done["result"]) == ("requested", "done", "started")
        assert requested["attempt"] == done["attempt"]
        assert sandbox.refreshes(ref) == 1

    def test_refresh_of_a_workflow_is_not_paid_for_while_it_cannot_be_recorded(self, sandbox: Sandbox) -> None:
        ref, _, known = self.asked(sandbox)
        sandbox.taps.append(refuse_the_record)
        assert len(sandbox.consume(sandbox.refresh_queue)) == 1
        assert sandbox.refreshes(ref) == 0
        sandbox.taps.clear()
        sandbox.wait(200)
        sandbox.consume(sandbox.refresh_queue)
        assert sandbox.refreshes(ref) == 1
        assert [entry["state"] for entry in record(sandbox)[known:]] == ["requested", "done"]

    def test_refresh_of_a_workflow_whose_end_cannot_be_recorded_is_not_paid_for_twice(self, sandbox: Sandbox) -> None:
        ref, _, known = self.asked(sandbox)
        sandbox.taps.append(refuse_the_second_entry)
        sandbox.consume(sandbox.refresh_queue)
        sandbox.taps.clear()
        sandbox.wait(200)
        sandbox.consume(sandbox.refresh_queue)
        assert sandbox.refreshes(ref) == 1
        assert record(sandbox)[known]["state"] == "requested"


@pytest.mark.parametrize("holder", [{"customer": "cus_1"}, {"customer_account": "acct_1"}, {"connected_account": "acct_1"}])
def test_record_names_the_holder_of_accounts_wherever_there_is_one(sandbox: Sandbox, holder: dict[str, str]) -> None:
    sandbox.link("fresh", id="fca_1", **holder)
    [(name, id_)] = holder.items()
    for method, path, body in (
        ("POST", "/sessions", {"via": "financial_connections", **holder}),
        ("POST", "/verifications", {**holder, "claim": dict(CLAIM)}),
        ("GET", f"/accounts?{name}={id_}", None),
        ("GET", f"/verifications?{name}={id_}", None),
    ):
        known = len(record(sandbox))
        assert sandbox.http(method, path, body).status < 300
        entries = record(sandbox)[known:]
        named = [{key: entry[key] for key in ("customer", "customer_account", "connected_account") if key in entry} for entry in entries]
        assert named == [holder] * len(entries), (path, named)


READS = {
    "account.read": "/accounts/fca_fresh",
    "accounts.listed": "/accounts?customer=cus_1",
    "batch.read": "/batches/{batch}",
    "owners.read": "/accounts/fca_fresh/owners",
    "session.read": "/sessions/{session}",
    "snapshots.listed": "/accounts/fca_fresh/snapshots",
    "verification.read": "/verifications/{verification}",
    "verifications.listed": "/verifications?account=fca_fresh",
}


@pytest.mark.parametrize("action", READS)
class TestReads:
    def path(self, sandbox: Sandbox, action: str) -> str:
        effects = Effects(sandbox)
        session = sandbox.http("POST", "/sessions", {"via": "financial_connections", "customer": "cus_1"}).json["id"]
        return READS[action].format(batch=effects.batch, session=session, verification=effects.waiting)

    def test_read_is_recorded(self, sandbox: Sandbox, action: str) -> None:
        path = self.path(sandbox, action)
        sandbox.wait(1)
        known = len(record(sandbox))
        assert sandbox.http("GET", path).status == 200
        [entry] = record(sandbox)[known:]
        assert (entry["action"], entry["state"]) == (action, "done")

    def test_read_is_not_answered_when_it_cannot_be_recorded(self, sandbox: Sandbox, action: str) -> None:
        path = self.path(sandbox, action)
        sandbox.taps.append(refuse_the_record)
        answer = sandbox.http("GET", path)
        assert (answer.status, answer.problem) == (503, "audit-unavailable")
        assert set(answer.json) == {"type", "title", "status", "detail"}


@pytest.mark.parametrize("how", ["event", "reading", "reconcile"])
def test_erasure_without_a_caller_is_recorded_first_or_does_not_happen(sandbox: Sandbox, how: str) -> None:
    ref = sandbox.link("fresh", id="fca_1")
    sandbox.http("POST", "/verifications", {"account": "fca_1", "claim": dict(CLAIM)})
    sandbox.simulator.change("fca_1", action="disconnect")
    if how == "reconcile":
        sandbox.store.erasures.begin(ref, sandbox.clock())
        sandbox.wait(3600)

    def learn() -> None:
        if how == "event":
            sandbox.settle()
        elif how == "reading":
            sandbox.http("GET", "/accounts/fca_1")
        else:
            sandbox.function("reconcile")({})

    def left() -> bool:
        return any(item["sk"]["S"].startswith("SNAPSHOT#") for item in sandbox.items())

    known = len(record(sandbox))
    sandbox.taps.append(refuse_the_record)
    with contextlib.suppress(Exception):
        learn()
    assert left()
    sandbox.taps.clear()
    sandbox.wait(3600)
    learn()
    assert not left()
    erased = [entry for entry in record(sandbox)[known:] if entry["action"] == "account.erased"]
    assert [entry["state"] for entry in erased] == ["requested", "done"]
    assert {entry["actor"] for entry in erased} == {"reconcile" if how == "reconcile" else "stripe"}


def test_entry_that_is_sent_again_because_its_answer_was_lost_is_no_error(sandbox: Sandbox) -> None:
    for _ in range(2):
        sandbox.store.audit.append("1", {"actor": "a", "state": "done"}, sandbox.clock(), 2_000_000_000)
    assert len(record(sandbox)) == 1
    with pytest.raises(RuntimeError):
        sandbox.store.audit.append("1", {"actor": "b", "state": "done"}, sandbox.clock(), 2_000_000_000)


def test_what_was_refused_is_not_recorded_as_done(sandbox: Sandbox) -> None:
    assert call(sandbox, "GET", "/accounts/fca_unknown/owners").status == 404
    assert call(sandbox, "POST", "/verifications", {"account": "fca_1", "claim": {"name": 1}}).status == 422
    assert record(sandbox) == []
    assert call(sandbox, "POST", "/verifications", {"account": "fca_unknown", "claim": dict(CLAIM)}).status == 404
    assert states(sandbox) == [("verification.requested", "requested"), ("verification.requested", "failed")]


@pytest.mark.parametrize(
    ("authorizer", "expected"),
    [
        ({"iam": {"userArn": ROLE, "userId": "AROA:session"}}, ROLE),
        ({"jwt": {"claims": {"iss": "https://issuer.test", "sub": "client-7"}, "scopes": None}}, "https://issuer.test#client-7"),
        ({"jwt": {"claims": {}}}, "unknown"),
        ({"iam": None}, "unknown"),
        (None, "unknown"),
    ],
)
def test_caller_is_the_principal_or_the_subject(authorizer: object, expected: str) -> None:
    assert actor({"requestContext": {"authorizer": authorizer}}) == expected


def test_record_is_exported_in_order(sandbox: Sandbox) -> None:
    account = verified(sandbox)
    sandbox.wait(86_400)
    call(sandbox, "GET", f"/accounts/{account}/owners")
    exported = list(entries(client("dynamodb"), "titleholder", date(2027, 1, 15), date(2027, 1, 16)))
    assert [(entry["at"], entry["action"], entry["state"], entry["actor"]) for entry in exported] == [
        ("2027-01-15T08:00:00.000+00:00", "verification.requested", "requested", ROLE),
        ("2027-01-15T08:00:00.000+00:00", "verification.requested", "done", ROLE),
        ("2027-01-16T08:00:00.000+00:00", "owners.read", "done", ROLE),
    ]


def test_export_alone_says_who_looked_at_and_decided_what_and_why_in_a_month(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_audit, "boto3", SimpleNamespace(client=client))
    sandbox.cold_start(REVIEWERS_NEEDED="2")
    sandbox.wait(datetime(2027, 10, 31, 23, 0, tzinfo=UTC).timestamp() - sandbox.clock.now)
    before = close_match(sandbox)
    comparisons.compare(deps(), TENANT, before.id, ANNE)
    sandbox.wait(2 * 3600)
    approved, rejected = close_match(sandbox), close_match(sandbox)
    for verification, by in ((approved, ANNE), (approved, BOB), (rejected, BOB)):
        sandbox.wait(60)
        comparisons.compare(deps(), TENANT, verification.id, by)
    decide(approved, "approve", "CHANGED_NAME_DOCUMENTED", by=ANNE, reference="CASE-4711", note="A canary note")
    sandbox.wait(28 * 86_400)
    decide(approved, "approve", "OTHER", by=BOB, version=2, note="Another canary note")
    decide(rejected, "reject", "RELATIVE", by=BOB)
    sandbox.wait(3 * 86_400)
    decide(before, "reject", "DIFFERENT_PERSON", by=BOB)
    capsys.readouterr()

    month = ["--table", "titleholder", "--from", "2027-11-01", "--to", "2027-11-30"]
    export_audit.main([*month, "--action", "comparison.read", "--action", "review."])
    printed = capsys.readouterr().out
    found = [json.loads(line) for line in printed.splitlines()]
    assert [(line["at"][:10], line["actor"], line["action"], line["verification"]) for line in found if "read" in line["action"]] == [
        ("2027-11-01", ANNE.actor, "comparison.read", approved.id),
        ("2027-11-01", BOB.actor, "comparison.read", approved.id),
        ("2027-11-01", BOB.actor, "comparison.read", rejected.id),
    ]
    decided = [line for line in found if line["action"] == "review.decided"]
    said = ("actor", "verification", "account", "version", "decision", "reason")
    assert sorted((line["at"][:10], *(line[name] for name in said), line.get("reference")) for line in decided) == sorted(
        [
            ("2027-11-01", ANNE.actor, approved.id, approved.ref.account, "2", "approve", "CHANGED_NAME_DOCUMENTED", "CASE-4711"),
            ("2027-11-29", BOB.actor, approved.id, approved.ref.account, "3", "approve", "OTHER", None),
            ("2027-11-29", BOB.actor, rejected.id, rejected.ref.account, "2", "reject", "RELATIVE", None),
        ]
    )
    assert len(found) == len(decided) + 3
    assert not [word for word in PERSONAL if word in printed.lower()]


def test_entry_of_an_earlier_release_is_exported_as_done(sandbox: Sandbox) -> None:
    old = {"actor": ROLE, "action": "owners.read", "request": "r", "account": "fca_1", "mode": "test"}
    key = {"pk": {"S": "AUDIT#2027-01-15"}, "sk": {"S": "001800000000000#1"}, "at_ms": {"N": "1800000000000"}}
    client("dynamodb").put_item(TableName="titleholder", Item={**key, **{name: {"S": value} for name, value in old.items()}})
    [entry] = entries(client("dynamodb"), "titleholder", date(2027, 1, 15), date(2027, 1, 15))
    assert entry == {"at": "2027-01-15T08:00:00.000+00:00", "state": "done", **old}
