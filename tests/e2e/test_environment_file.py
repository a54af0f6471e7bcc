"""`events/env.json` gives a function under `sam local` what the same function has in the embedded stack."""

from __future__ import annotations

import json
import re

import pytest

from local.aws.paths import ROOT
from local.ports import AWS_PORT, STRIPE_PORT
from local.stack import STACK
from tests.e2e.stack_driver import StackDriver

ENVIRONMENTS = json.loads((ROOT / "events" / "env.json").read_text())
OPTIONAL = ("ReceiveEvent", "Desk")
HERE = re.compile(r"http://(127\.0\.0\.1|localhost):(\d+)")
# `make up` waits longer for webhooks than these tests do and opens no reviews, and a key's ARN is drawn when the stack is made.
# BEGUN is what a test of permissions restarts functions by.
DIFFERENT = ("SETTLE_TIMEOUT_SECONDS", "TABLE_KEY_ID", "REVIEWERS_NEEDED", "BEGUN")


@pytest.mark.parametrize("function", [name for name in ENVIRONMENTS if name not in OPTIONAL])
def test_function_has_the_same_environment(driver: StackDriver, function: str) -> None:
    name = driver.stack.client("cloudformation").describe_stack_resource(StackName=STACK, LogicalResourceId=function)
    physical = name["StackResourceDetail"]["PhysicalResourceId"]
    deployed = driver.stack.client("lambda").get_function_configuration(FunctionName=physical)["Environment"]["Variables"]
    ports = {str(driver.stack.aws.port): AWS_PORT, driver.stack.stripe_url.rpartition(":")[2]: STRIPE_PORT}
    expected = {
        key: HERE.sub(lambda found: f"http://host.docker.internal:{ports[found[2]]}", value)
        for key, value in deployed.items()
        if key not in DIFFERENT
    }
    assert {key: value for key, value in ENVIRONMENTS[function].items() if key not in DIFFERENT} == expected
