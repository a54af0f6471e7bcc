"""IAM knows which state machine a task token belongs to: `states:SendTask...` is checked against its ARN, where MiniStack takes `*`."""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions

from local.aws.shims import workflow_task

bare = iam_actions.extract_resource_arn


def apply() -> None:
    iam_actions.extract_resource_arn = resource_arn


def resource_arn(service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any) -> str:
    found = str(bare(service, method, path, headers, body, *rest))
    if service != "states" or found != "*":
        return found
    try:
        token = json.loads(body or b"{}").get("taskToken")
    except ValueError:
        return found
    return workflow_task.state_machine(token) or found
