"""A verification that waits for the repair of its account, on the embedded stack."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.stack_driver import StackDriver, eventually

WAITED = ["RequestRefresh", "Outcome", "WaitForRepair"]


def waits(driver: StackDriver, verification: str) -> Any:
    """What a caller sees of a verification while its workflow waits for a repair."""
    eventually(
        lambda: any(event.get("stateEnteredEventDetails", {}).get("name") == "WaitForRepair" for event in driver.history(verification))
    )
    return driver.verification(verification)


def test_repair_that_stripe_announces_goes_on_with_the_verification(driver: StackDriver) -> None:
    account = driver.link("inactive")
    verification = driver.accepted(account, if_inactive="wait")
    shown = waits(driver, verification)
    assert (shown["state"], shown["waiting_for"], driver.refreshes(account)) == ("waiting", "repair", 0)
    driver.sim.reactivate(account)
    assert driver.verdict(verification)["outcome"] == "match"
    assert driver.states(verification) == [*WAITED, "RequestRefresh", "Outcome", "VerifyOwners"]
    assert driver.transitions(verification) == 6
    assert driver.refreshes(account) == 1


def test_wait_is_cancelled(driver: StackDriver) -> None:
    verification = driver.accepted(driver.link("inactive"), if_inactive="wait")
    waits(driver, verification)
    assert driver.http.call("DELETE", f"/verifications/{verification}").status == 200
    assert driver.verdict(verification)["reasons"] == ["CANCELLED"]
    eventually(lambda: driver.history(verification)[-1]["type"] == "ExecutionAborted")


def test_account_that_is_not_repaired_is_inactive_at_the_deadline(driver: StackDriver) -> None:
    verification = driver.accepted(driver.link("inactive"), if_inactive="wait")
    waits(driver, verification)
    states = driver.stack.client("stepfunctions")
    machine = driver.stack.outputs["StateMachineArn"]
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{verification}"
    given = json.loads(states.describe_execution(executionArn=execution)["input"])
    states.stop_execution(executionArn=execution)
    # The same execution, except for an earlier deadline.
    other = f"{verification}-again"
    states.start_execution(stateMachineArn=machine, name=other, input=json.dumps({**given, "deadline": time.time() + 4}))
    verdict = driver.verdict(verification)
    assert (verdict["reasons"], verdict["remedy"]) == (["ACCOUNT_INACTIVE"], "link_again")
    assert driver.states(other) == [*WAITED, "NotVerifiable"]
    assert driver.transitions(other) == 4
