"""Who asked for what is recorded, by ids alone, and the record cannot be changed."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from local.aws.emulator import REGION
from tests.e2e.stack_driver import TRAIL, StackDriver
from tools.permissions import TESTER, Roles


def entries(driver: StackDriver, account: str) -> list[dict[str, str]]:
    kept = [item for (pk, _), item in sorted(driver.table().items()) if pk.startswith("AUDIT#")]
    plain = [{name: next(iter(value.values())) for name, value in item.items()} for item in kept]
    return [entry for entry in plain if entry.get("account") == account]


def test_verification_and_reading_of_owners_are_recorded_with_their_caller(driver: StackDriver) -> None:
    account = driver.link("single_owner")
    verification = driver.accepted(account)
    verdict = driver.verdict(verification)
    driver.http.call("GET", f"/accounts/{account}/owners")
    found = entries(driver, account)
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
def test_function_may_not_change_the_record(driver: StackDriver, operation: str) -> None:
    driver.verdict(driver.accepted(account := driver.link("single_owner")))
    entry = next(entry for entry in entries(driver, account) if entry["action"] == "verification.requested")
    dynamodb = as_role(driver, Roles(driver, TRAIL).functions["Api"]).client(
        "dynamodb", endpoint_url=driver.stack.aws.endpoint, region_name=REGION
    )
    request: dict[str, Any] = {"TableName": driver.stack.outputs["TableName"], "Key": {name: {"S": entry[name]} for name in ("pk", "sk")}}
    if operation == "update_item":
        request |= {"UpdateExpression": "SET actor = :nobody", "ExpressionAttributeValues": {":nobody": {"S": "nobody"}}}
    with pytest.raises(dynamodb.exceptions.ClientError, match="explicit deny"):
        getattr(dynamodb, operation)(**request)
    assert entry in entries(driver, account)


def as_role(driver: StackDriver, role: str) -> boto3.Session:
    """A session with a function's rights."""
    iam, sts = driver.stack.client("iam"), driver.stack.client("sts")
    found = iam.get_role(RoleName=role)["Role"]
    given = sts.assume_role(RoleArn=found["Arn"], RoleSessionName=TESTER)["Credentials"]

    return boto3.Session(
        aws_access_key_id=given["AccessKeyId"], aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"]
    )  # fmt: skip
