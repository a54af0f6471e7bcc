"""The workflow `verify_account` at Step Functions: starting it, and waking it by its task token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from titleholder.store import Verification

_GONE = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")


class Workflow:
    """The state machine `state_machine_arn`, through a boto3 Step Functions client."""

    def __init__(self, client: Any, state_machine_arn: str = "", settle_timeout_seconds: int = 900) -> None:
        self._client = client
        self._arn = state_machine_arn
        self._settle_timeout = settle_timeout_seconds

    def start(self, verification: Verification) -> None:
        """Start the verification's execution, which bears its id as name; one that was started before is left alone."""
        execution = {
            "verification": verification.id,
            "ref": verification.ref.as_dict(),
            "not_before": verification.need.not_before,
            "requested_at": verification.requested_at,
            "deadline": verification.deadline,
            "settle_timeout": self._settle_timeout,
            "refresh": {"resume_at": None},
        }
        try:
            self._client.start_execution(stateMachineArn=self._arn, name=verification.id, input=json.dumps(execution))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise

    def status(self, verification: str) -> str | None:
        """The status of the verification's execution, such as RUNNING or FAILED; None if there never was one."""
        arn = self._arn.replace(":stateMachine:", ":execution:") + f":{verification}"
        try:
            return str(self._client.describe_execution(executionArn=arn)["status"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            return None

    def wake(self, task_token: str, outcome: Mapping[str, Any]) -> bool:
        """Give a paused execution its outcome; False if it does not wait for this token (any longer)."""
        try:
            self._client.send_task_success(taskToken=task_token, output=json.dumps(outcome))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return False
        return True
