"""The record of who asked for what: written before the answer, or there is no answer."""

from __future__ import annotations

from datetime import date

import pytest
from botocore.exceptions import ClientError

from tests.support.functions import http_event
from tests.support.world import CLAIM, Answer, Moment, Sandbox, client
from titleholder.audit import actor
from tools.export_audit import entries

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


def test_caller_action_and_ids_are_kept_until_the_retention_ends(sandbox: Sandbox) -> None:
    account = verified(sandbox)
    sandbox.wait(1)
    call(sandbox, "GET", f"/accounts/{account}/owners")
    asked, read = record(sandbox)
    assert (asked["action"], read["action"]) == ("verification.requested", "owners.read")
    assert asked["verification"].startswith("ver_")
    assert read["snapshot"].startswith("fcaowns_")
    for entry in (asked, read):
        assert (entry["actor"], entry["account"], entry["mode"]) == (ROLE, account, "test")
        assert int(entry["expires_at"]) == int(entry["at_ms"]) // 1000 + 2557 * 86_400
    assert (asked["pk"], asked["at_ms"]) == ("AUDIT#2027-01-15", "1800000000000")


def test_owners_are_not_handed_out_when_the_record_cannot_be_written(sandbox: Sandbox) -> None:
    account = verified(sandbox)
    sandbox.taps.append(refuse_the_record)
    answer = call(sandbox, "GET", f"/accounts/{account}/owners")
    assert (answer.status, answer.problem) == (500, "internal-error")
    assert "owners" not in answer.json


def test_what_was_refused_is_not_recorded_as_done(sandbox: Sandbox) -> None:
    assert call(sandbox, "GET", "/accounts/fca_unknown/owners").status == 404
    assert call(sandbox, "POST", "/verifications", {"account": "fca_1", "claim": {"name": 1}}).status == 422
    assert record(sandbox) == []


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
    assert [(entry["at"], entry["action"], entry["actor"]) for entry in exported] == [
        ("2027-01-15T08:00:00.000+00:00", "verification.requested", ROLE),
        ("2027-01-16T08:00:00.000+00:00", "owners.read", ROLE),
    ]
