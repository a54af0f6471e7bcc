"""The state machines `verify_account` and `verify_batch` at AWS Step Functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from titleholder.domain.verifications import Verification
from titleholder.errors import reraise_unless

GIVEN_UP = "RefreshTimedOut"
"""The error with which a worker ends a waiting execution. The state machines catch it and do not retry."""


class _StateMachine:
    """A state machine, through a boto3 Step Functions client."""

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    def _start(self, name: str, inputs: Mapping[str, Any]) -> None:
        """Start an execution. Does nothing if one of this name was started before."""
        try:
            self._client.start_execution(stateMachineArn=self._arn, name=name, input=json.dumps(inputs))
        except Exception as error:
            reraise_unless(error, "ExecutionAlreadyExists")

    def _status(self, name: str) -> str | None:
        """An execution's status, such as RUNNING or FAILED; None if it was never started."""
        try:
            return str(self._client.describe_execution(executionArn=self._execution(name))["status"])
        except Exception as error:
            reraise_unless(error, "ExecutionDoesNotExist")
            return None

    def _stop(self, name: str, **reason: str) -> None:
        """Stop an execution with its children. Does nothing if it has ended or was never started."""
        try:
            self._client.stop_execution(executionArn=self._execution(name), **reason)
        except Exception as error:
            # StopExecution refuses with either code.
            reraise_unless(error, "ExecutionDoesNotExist", "ValidationException")

    def _execution(self, name: str) -> str:
        return self._arn.replace(":stateMachine:", ":execution:") + f":{name}"


class Workflow(_StateMachine):
    """The state machine `verify_account`. An execution is named after its verification."""

    def __init__(
        self, client: Any, state_machine_arn: str = "", settle_timeout_seconds: int = 900, max_wait_seconds: int = 7 * 86_400
    ) -> None:
        super().__init__(client, state_machine_arn)
        self.settle_timeout = settle_timeout_seconds
        self._longest_wait = longest_wait(max_wait_seconds, settle_timeout_seconds)

    def start(self, verification: Verification) -> None:
        """Start the verification's execution. Does nothing if it was started before."""
        self._start(
            verification.id,
            {
                "verification": verification.id,
                "ref": verification.ref.as_dict(),
                "not_before": verification.need.not_before,
                "requested_at": verification.requested_at,
                "deadline": verification.deadline,
                "settle_timeout": self.settle_timeout,
                "longest_wait": self._longest_wait,
                "priority": "single",
                "refresh": {"resume_at": None},
            },
        )

    def status(self, verification: str) -> str | None:
        """The status of the verification's execution, such as RUNNING or FAILED; None if it was never started."""
        return self._status(verification)

    def stop(self, verification: str) -> None:
        """Stop the verification's execution. Does nothing if it has ended or was never started."""
        self._stop(verification, error="Cancelled")

    def resume(self, task_token: str, outcome: Mapping[str, Any]) -> bool:
        """Resume a paused execution with its outcome. False if it does not wait, or no longer waits, for this token."""
        return self._answered(self._client.send_task_success, taskToken=task_token, output=json.dumps(outcome))

    def heartbeat(self, task_token: str) -> bool:
        """Report to a paused execution that its request is in progress. False if it does not wait, or no longer waits, for this token."""
        return self._answered(self._client.send_task_heartbeat, taskToken=task_token)

    def give_up(self, task_token: str) -> bool:
        """End a paused execution without data. False if it does not wait, or no longer waits, for this token."""
        return self._answered(self._client.send_task_failure, taskToken=task_token, error=GIVEN_UP, cause="")

    @staticmethod
    def _answered(call: Callable[..., Any], **arguments: str) -> bool:
        try:
            call(**arguments)
        except Exception as error:
            reraise_unless(error, "TaskTimedOut", "TaskDoesNotExist", "InvalidToken")
            return False
        return True


def longest_wait(max_wait_seconds: int, settle_timeout_seconds: int) -> int:
    """The timeout (seconds) of a task with heartbeats. It ends after the verification's deadline, at which a worker ends the task."""
    return max_wait_seconds + 4 * settle_timeout_seconds


class BatchWorkflow(_StateMachine):
    """The state machine `verify_batch`. Each run of a batch is an execution of its own; a later run continues where the former failed."""

    def start(self, batch: str, run: int, inputs: Mapping[str, Any]) -> None:
        """Start a run. Does nothing if it was started before."""
        self._start(f"{batch}-{run}", {"batch": batch, **inputs})

    def status(self, batch: str, run: int) -> str | None:
        """The status of a run, such as RUNNING or FAILED; None if it was never started."""
        return self._status(f"{batch}-{run}")

    def stop(self, batch: str, run: int) -> None:
        """Stop a run with all its children. Does nothing if it has ended or was never started."""
        self._stop(f"{batch}-{run}", error="Stopped", cause="The batch was stopped.")
