"""The smoke test's own work also shows faults: a message that no function receives, a workflow that is never resumed.

Each takes as long as the smoke test's patience, and functions are refused calls, so that this is a part of `make test-deep` with a stack of
its own: SMOKE_AT_WORK=1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from local.aws.emulator import REGION
from local.stack import STACK, running
from local.stripe_simulator.options import Options
from tests.e2e.iam_user import EmulatorSession
from tests.e2e.stack_driver import StackDriver
from tests.e2e.test_smoke import Break, broken, found_by, mapping_disabled, no_right_to_resume
from tools.smoke import edge, flows, stack
from tools.smoke.stack import Deployed

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.environ.get("SMOKE_AT_WORK"), reason="a part of make test-deep"),
]
PATIENCE = 30.0


@pytest.fixture(scope="module")
def own_driver() -> Iterator[StackDriver]:
    with running(options=Options(settle_seconds=0.3)) as own:
        driver = StackDriver(own)
        driver.verdict(driver.accepted(driver.link("single_owner")), within=60)
        yield driver


@pytest.fixture
def deployed(own_driver: StackDriver) -> Deployed:
    return stack.find(STACK, REGION, session=EmulatorSession(own_driver), patience=PATIENCE)


def may_resume(driver: StackDriver, deployed: Deployed, arns: list[str]) -> Callable[[], Any]:
    """StartRefresh may resume executions of these state machines only."""
    iam, name = driver.stack.client("iam"), deployed.physical("StartRefreshRole")
    restore = no_right_to_resume(driver, deployed)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "states:SendTaskSuccess", "Resource": arns}]}
    iam.put_role_policy(RoleName=name, PolicyName="narrow", PolicyDocument=json.dumps(document))

    def back() -> None:
        iam.delete_role_policy(RoleName=name, PolicyName="narrow")
        restore()

    return back


def may_resume_no_child(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    return may_resume(driver, deployed, [deployed.outputs["StateMachineArn"], deployed.outputs["BatchStateMachineArn"]])


def receiver_has_another_secret(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    lambda_, manager, name = driver.stack.client("lambda"), driver.stack.client("secretsmanager"), deployed.physical("ReceiveWebhook")
    manager.create_secret(Name="another", SecretString="whsec_" + "a" * 32)
    kept = lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    wrong = {**kept, **{key: "titleholder/stripe-api-key" for key in kept if key.endswith("WEBHOOK_SECRET_NAME")}}
    lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": wrong})
    return partial(lambda_.update_function_configuration, FunctionName=name, Environment={"Variables": kept})


def refresh_mapping_disabled(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    lambda_ = driver.stack.client("lambda")
    [found] = lambda_.list_event_source_mappings(FunctionName=deployed.physical("StartRefresh"))["EventSourceMappings"]
    lambda_.update_event_source_mapping(UUID=found["UUID"], Enabled=False)
    return lambda: lambda_.update_event_source_mapping(UUID=found["UUID"], Enabled=True)


BROKEN: dict[Break, tuple[Callable[[Deployed], Any], str]] = {
    mapping_disabled: (edge.webhook, "events queue"),
    refresh_mapping_disabled: (flows.verify_account, "workflow verify_account"),
    receiver_has_another_secret: (edge.webhook, "signed webhook"),
    no_right_to_resume: (flows.verify_account, "workflow verify_account"),
    may_resume_no_child: (flows.verify_batch, "right to resume, proved for a child of verify_batch"),
}


@pytest.mark.parametrize("how", BROKEN, ids=lambda how: how.__name__)
def test_work_that_does_not_get_done_is_named(own_driver: StackDriver, deployed: Deployed, how: Break) -> None:
    check, about = BROKEN[how]
    with broken(own_driver, deployed, how):
        lines = found_by(check, deployed)
    named = next(line for line in lines if line.state == "FAILED")
    assert named.about == about
    assert named.todo
