"""The workflow `verify_account` at Step Functions: starting it, and waking it by its task token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from titleholder.domain.verifications import Verification
from titleholder.errors import reraise_unless

_GONE = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")
GIVEN_UP = "RefreshTimedOut"
"""The error with which a worker ends the waiting of an execution; the state machines catch it and do not retry."""

_NOT_RUNNING = ("ExecutionDoesNotExist", "ValidationException")
"""How StopExecution may refuse one that never began, or has ended."""


class Workflow:
    """The state machine `state_machine_arn`, through a boto3 Step Functions client."""

    def __init__(
        self, client: Any, state_machine_arn: str = "", settle_timeout_seconds: int = 900, max_wait_seconds: int = 7 * 86_400
    ) -> None:
        self._client = client
        self._arn = state_machine_arn
        self.settle_timeout = settle_timeout_seconds
        self._longest_wait = longest_wait(max_wait_seconds, settle_timeout_seconds)

    def start(self, verification: Verification) -> None:
        """Start the verification's execution, which bears its id as name; one that was started before is left alone."""
        execution = {
            "verification": verification.id,
            "ref": verification.ref.as_dict(),
            "not_before": verification.need.not_before,
            "requested_at": verification.requested_at,
            "deadline": verification.deadline,
            "settle_timeout": self.settle_timeout,
            "longest_wait": self._longest_wait,
            "priority": "single",
            "refresh": {"resume_at": None},
        }
        try:
            self._client.start_execution(stateMachineArn=self._arn, name=verification.id, input=json.dumps(execution))
        except Exception as error:
            reraise_unless(error, "ExecutionAlreadyExists")

    def status(self, verification: str) -> str | None:
        """The status of the verification's execution, such as RUNNING or FAILED; None if there never was one."""
        arn = self._arn.replace(":stateMachine:", ":execution:") + f":{verification}"
        try:
            return str(self._client.describe_execution(executionArn=arn)["status"])
        except Exception as error:
            reraise_unless(error, "ExecutionDoesNotExist")
            return None

    def stop(self, verification: str) -> None:
        """Stop the verification's execution; one that has ended or never was is no error."""
        arn = self._arn.replace(":stateMachine:", ":execution:") + f":{verification}"
        try:
            self._client.stop_execution(executionArn=arn, error="Cancelled")
        except Exception as error:
            reraise_unless(error, *_NOT_RUNNING)

    def wake(self, task_token: str, outcome: Mapping[str, Any]) -> bool:
        """Give a paused execution its outcome; False if it does not wait for this token (any longer)."""
        try:
            self._client.send_task_success(taskToken=task_token, output=json.dumps(outcome))
        except Exception as error:
            reraise_unless(error, *_GONE)
            return False
        return True

    def heartbeat(self, task_token: str) -> bool:
        """Tell a paused execution that its request is being worked on; False if it does not wait for this token (any longer)."""
        try:
            self._client.send_task_heartbeat(taskToken=task_token)
        except Exception as error:
            reraise_unless(error, *_GONE)
            return False
        return True

    def give_up(self, task_token: str) -> bool:
        """Have a paused execution end without data; False if it does not wait for this token (any longer)."""
        try:
            self._client.send_task_failure(taskToken=task_token, error=GIVEN_UP, cause="")
        except Exception as error:
            reraise_unless(error, *_GONE)
            return False
        return True


def longest_wait(max_wait_seconds: int, settle_timeout_seconds: int) -> int:
    """After how many seconds a task that is still worked on ends: later than any worker would end it at the verification's deadline."""
    return max_wait_seconds + 4 * settle_timeout_seconds


class BatchWorkflow:
    """The state machine `verify_batch`. Each run of a batch is an execution of its own: the next one goes on where the last one failed."""

    def __init__(self, client: Any, state_machine_arn: str = "") -> None:
        self._client = client
        self._arn = state_machine_arn

    def start(self, batch: str, run: int, inputs: Mapping[str, Any]) -> None:
        """Start a run; one that was started before is left alone."""
        execution = {"batch": batch, **inputs}
        try:
            self._client.start_execution(stateMachineArn=self._arn, name=f"{batch}-{run}", input=json.dumps(execution))
        except Exception as error:
            reraise_unless(error, "ExecutionAlreadyExists")

    def status(self, batch: str, run: int) -> str | None:
        """The status of a run, such as RUNNING or FAILED; None if it was never started."""
        try:
            return str(self._client.describe_execution(executionArn=self._execution(batch, run))["status"])
        except Exception as error:
            reraise_unless(error, "ExecutionDoesNotExist")
            return None

    def stop(self, batch: str, run: int) -> None:
        """Stop a run with all its children; one that has ended, or never began, is left alone."""
        try:
            self._client.stop_execution(executionArn=self._execution(batch, run), error="Stopped", cause="The batch was stopped.")
        except Exception as error:
            reraise_unless(error, *_NOT_RUNNING)

    def _execution(self, batch: str, run: int) -> str:
        return self._arn.replace(":stateMachine:", ":execution:") + f":{batch}-{run}"
