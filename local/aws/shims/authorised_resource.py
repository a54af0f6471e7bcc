"""IAM evaluates the resources and conditions that AWS evaluates: an alias's key, an encryption context."""

from __future__ import annotations

import base64
import json
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region
from ministack.services import kms

original_resource_arn = iam_actions.extract_resource_arn
original_context = iam_actions.request_tag_context


def apply() -> None:
    iam_actions.extract_resource_arn = resource_arn
    iam_actions.request_tag_context = condition_keys


def resource_arn(service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any) -> str:
    found = str(original_resource_arn(service, method, path, headers, body, *rest))
    if service == "kms" and ":alias/" in found:
        key = kms._resolve_key(found)
        return str(key["Arn"]) if key else found
    if service == "sqs" and (source := _parameters(body).get("SourceArn")):
        # IAM evaluates the moving of messages at the queue that they are moved from.
        return str(source)
    if service == "dynamodb":
        parameters = _parameters(body)
        if table := parameters.get("SourceTableName"):
            return f"arn:aws:dynamodb:{get_region()}:{get_account_id()}:table/{table}"
        return str(parameters.get("ResourceArn") or found)
    if service == "monitoring" and found == "*" and (name := _parameters(body).get("DashboardName")):
        # Dashboards belong to no region.
        return f"arn:aws:cloudwatch::{get_account_id()}:dashboard/{name}"
    return found


def _parameters(body: bytes) -> dict[str, Any]:
    """The parameters of a call in JSON."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def condition_keys(service: str, action: str, body: bytes, *rest: Any) -> dict[str, Any]:
    """The condition keys of a request, by name."""
    found = dict(original_context(service, action, body, *rest))
    if service == "kms":
        parameters = _parameters(body)
        found |= {f"kms:EncryptionContext:{name}": value for name, value in (parameters.get("EncryptionContext") or {}).items()}
        found["kms:ResourceAliases"] = _aliases_of(parameters)
    return found


def _aliases_of(parameters: dict[str, Any]) -> list[str]:
    """The aliases of the key that a call to KMS uses. A ciphertext begins with the id of its key."""
    key = kms._resolve_key(parameters.get("KeyId", ""))
    if key is None and isinstance(parameters.get("CiphertextBlob"), str):
        key = kms._resolve_key(base64.b64decode(parameters["CiphertextBlob"])[:36].decode(errors="ignore"))
    return ["alias/" + arn.partition(":alias/")[2] for arn, id_ in kms._aliases.items() if key and id_ == key["KeyId"]]
