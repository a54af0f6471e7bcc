"""CloudFormation's `Ref` of a secret is its ARN, and a generated secret keeps to the characters that it was told to use."""

from __future__ import annotations

import json
import secrets
import string
from typing import Any

CLASSES = {
    "ExcludeLowercase": string.ascii_lowercase,
    "ExcludeUppercase": string.ascii_uppercase,
    "ExcludeNumbers": string.digits,
    "ExcludePunctuation": string.punctuation,
}


def apply() -> None:
    from ministack.services.cloudformation import provisioners

    handler = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create_named, update_named, delete_named = handler["create"], handler["update"], handler["delete"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
        _, attributes = create_named(logical_id, props, stack)
        return attributes["Arn"], attributes

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, logical_id: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        name, attributes = update_named(_name(physical_id), old, new, stack, logical_id)
        return (physical_id if name == _name(physical_id) else attributes["Arn"]), attributes

    def delete(physical_id: str, props: dict[str, Any]) -> Any:
        return delete_named(_name(physical_id), props)

    handler.update(create=create, update=update, delete=delete)
    provisioners._sm_secret_string = secret_string


def secret_string(props: dict[str, Any]) -> str:
    """The value of a new secret with these template properties."""
    rule = props.get("GenerateSecretString")
    if not rule or props.get("SecretString"):
        return str(props.get("SecretString", ""))
    characters = "".join(members for option, members in CLASSES.items() if not _true(rule, option)) + (
        " " if _true(rule, "IncludeSpace") else ""
    )
    characters = "".join(c for c in characters if c not in rule.get("ExcludeCharacters", ""))
    value = "".join(secrets.choice(characters) for _ in range(int(rule.get("PasswordLength", 32))))
    if not rule.get("SecretStringTemplate"):
        return value
    return json.dumps(json.loads(rule["SecretStringTemplate"]) | {rule.get("GenerateStringKey", "password"): value})


def _true(rule: dict[str, Any], option: str) -> bool:
    return str(rule.get(option, "")).lower() == "true"


def _name(physical_id: str) -> str:
    return physical_id.split(":secret:", 1)[1].rsplit("-", 1)[0] if physical_id.startswith("arn:") else physical_id
