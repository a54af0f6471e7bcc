"""Who asked for what is recorded, by ids alone, and nobody changes the record."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from local.aws.emulator import REGION
from tests.e2e.bench import Bench
from tests.e2e.conftest import TRAIL
from tools.permissions import TESTER, Roles


def entries(bench: Bench, account: str) -> list[dict[str, str]]:
    kept = [item for (pk, _), item in sorted(bench.table().items()) if pk.startswith("AUDIT#")]
    plain = [{name: next(iter(value.values())) for name, value in item.items()} for item in kept]
    return [entry for entry in plain if entry.get("account") == account]


def test_verification_and_reading_of_owners_are_recorded_with_their_caller(bench: Bench) -> None:
    account = bench.link("single_owner")
    verification = bench.accepted(account)
    verdict = bench.verdict(verification)
    bench.http.call("GET", f"/accounts/{account}/owners")
    found = entries(bench, account)
    asked, done = (entry for entry in found if entry["action"] == "verification.requested")
    assert (asked["state"], done["state"], done["verification"]) == ("requested", "done", verification)
    # The refresh that the verification's workflow asked for.
    started, ended = (entry for entry in found if entry["action"] == "refresh.requested")
    assert (started["actor"], started["state"], ended["result"]) == (verification, "requested", "started")
    [read] = [entry for entry in found if entry["action"] == "owners.read"]
    assert read["snapshot"] == verdict["snapshot"]
    for entry in (asked, done, read):
        assert entry["actor"].startswith("arn:aws:iam::")
        assert entry["request"]
        assert set(entry) <= {
            "pk", "sk", "entry", "state", "actor", "action", "request", "account", "mode", "verification", "snapshot", "at_ms",
            "expires_at",
        }  # fmt: skip


@pytest.mark.parametrize("operation", ["update_item", "delete_item"])
def test_function_may_not_change_the_record(bench: Bench, operation: str) -> None:
    bench.verdict(bench.accepted(account := bench.link("single_owner")))
    entry = next(entry for entry in entries(bench, account) if entry["action"] == "verification.requested")
    dynamodb = as_role(bench, Roles(bench, TRAIL).functions["Api"]).client(
        "dynamodb", endpoint_url=bench.stack.aws.endpoint, region_name=REGION
    )
    request: dict[str, Any] = {"TableName": bench.stack.outputs["TableName"], "Key": {name: {"S": entry[name]} for name in ("pk", "sk")}}
    if operation == "update_item":
        request |= {"UpdateExpression": "SET actor = :nobody", "ExpressionAttributeValues": {":nobody": {"S": "nobody"}}}
    with pytest.raises(dynamodb.exceptions.ClientError, match="explicit deny"):
        getattr(dynamodb, operation)(**request)
    assert entry in entries(bench, account)


def as_role(bench: Bench, role: str) -> boto3.Session:
    """A session with a function's rights."""
    iam, sts = bench.stack.client("iam"), bench.stack.client("sts")
    found = iam.get_role(RoleName=role)["Role"]
    given = sts.assume_role(RoleArn=found["Arn"], RoleSessionName=TESTER)["Credentials"]

    return boto3.Session(
        aws_access_key_id=given["AccessKeyId"], aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"]
    )  # fmt: skip
