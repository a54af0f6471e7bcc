"""IAM users of the embedded stack with the policies in docs/iam, and boto3 sessions for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from local.aws.emulator import ACCOUNT, REGION
from local.stack import STACK
from tests.e2e.stack_driver import StackDriver
from tests.support.template import ROOT


class EmulatorSession:
    """A boto3 session whose clients call the emulator, with the key of a user, or with the emulator's own."""

    def __init__(self, driver: StackDriver, key: str = "test", secret: str = "test") -> None:
        self._endpoint = driver.stack.aws.endpoint
        self._session = boto3.session.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=REGION)

    def client(self, service: str, **options: Any) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint, **options)

    def get_credentials(self) -> Any:
        return self._session.get_credentials()


def policy(driver: StackDriver, name: str, *sids: str) -> str:
    """A policy as JSON, with its placeholders filled in; only the statements `sids` of it, if any are named."""
    text = (ROOT / "docs" / "iam" / f"{name}.json").read_text()
    values = {"ACCOUNT_ID": ACCOUNT, "API_ID": driver.stack.outputs["HttpApiId"], "REGION": REGION, "STACK": STACK}
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    document = json.loads(text)
    kept = [each for each in document["Statement"] if not sids or each["Sid"] in sids]
    return json.dumps({**document, "Statement": kept})


@contextmanager
def user(driver: StackDriver, name: str, document: str) -> Iterator[EmulatorSession]:
    """The session of an IAM user with one policy."""
    iam = driver.stack.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        yield EmulatorSession(driver, key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="policy")
        iam.delete_user(UserName=name)
