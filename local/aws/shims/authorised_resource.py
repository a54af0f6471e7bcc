"""IAM checks what AWS checks: the state machine that a task token belongs to, the key behind an alias, a key's encryption context."""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions
from ministack.services import kms

from local.aws.shims import workflow_task

bare = iam_actions.extract_resource_arn
bare_context = iam_actions.request_tag_context


def apply() -> None:
    iam_actions.extract_resource_arn = resource_arn
    iam_actions.request_tag_context = condition_keys


def resource_arn(service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any) -> str:
    found = str(bare(service, method, path, headers, body, *rest))
    if service == "kms" and ":alias/" in found:
        key = kms._resolve_key(found)
        return str(key["Arn"]) if key else found
    if service != "states" or found != "*":
        return found
    try:
        token = json.loads(body or b"{}").get("taskToken")
    except ValueError:
        return found
    return workflow_task.state_machine(token) or found


def condition_keys(service: str, action: str, body: bytes, *rest: Any) -> dict[str, Any]:
    """The condition keys that a request brings with it, by name."""
    found = dict(bare_context(service, action, body, *rest))
    if service == "kms":
        try:
            context = json.loads(body or b"{}").get("EncryptionContext") or {}
        except ValueError:
            return found
        found |= {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
    return found
