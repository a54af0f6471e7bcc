"""Checks requests and answers against Stripe's OpenAPI document, named by the environment variable STRIPE_OPENAPI."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from jsonschema import Draft202012Validator

VARIABLE = "STRIPE_OPENAPI"
UNNAMED = f"{VARIABLE} does not name Stripe's OpenAPI document (spec3.json)"

Json = dict[str, Any]


@cache
def from_environment() -> StripeOpenAPI | None:
    """The checker, or None when the variable is not set. Raises OSError if the file does not exist."""
    path = os.environ.get(VARIABLE)
    return StripeOpenAPI(json.loads(Path(path).read_text())) if path else None


class Ledger:
    """Every request that our code sent to Stripe in a run of the tests, checked against the document where one is named.

    `sent` counts them all, `unknown` those of operations that the document lacks, by method and path; `violations` says what did not fit.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.checked = 0
        self.unknown: Counter[str] = Counter()
        self.violations: list[str] = []
        self._outcomes: dict[tuple[str, str, str], bool | str] = {}

    def note(self, method: str, target: str, body: str) -> None:
        document = from_environment()
        if document is None:
            return
        self.sent += 1
        request = (method.upper(), target, body)
        if request not in self._outcomes:
            try:
                self._outcomes[request] = document.validate_request(*request)
            except AssertionError as error:
                self._outcomes[request] = str(error)
        outcome = self._outcomes[request]
        if outcome is True:
            self.checked += 1
        elif outcome is False:
            self.unknown[f"{method.upper()} {'/'.join(urlsplit(target).path.split('/')[:3])}"] += 1
        else:
            self.violations.append(outcome)

    def state(self) -> Json:
        """The figures as JSON, for another process to `add`."""
        return {"sent": self.sent, "checked": self.checked, "unknown": dict(self.unknown), "violations": self.violations}

    def add(self, state: Json) -> None:
        """Add the figures of another process."""
        self.sent += state["sent"]
        self.checked += state["checked"]
        self.unknown.update(state["unknown"])
        self.violations += state["violations"]

    def summary(self) -> str:
        unknown = ", ".join(f"{count} {operation}" for operation, count in sorted(self.unknown.items())) or "none"
        return f"{self.sent} requests sent to Stripe, {self.checked} fit its document, {len(self.violations)} do not; not in it: {unknown}"


LEDGER = Ledger()


class StripeOpenAPI:
    """Both checks return whether the document knows the operation, and raise AssertionError naming what does not fit.

    Stripe's published document and any extract of it will do. Unlike the document itself, the check refuses fields it does
    not list, unless the schema says that fields were left out.
    """

    def __init__(self, document: Json) -> None:
        self._paths = document["paths"]
        self._schemas = {"components": {"schemas": _convert(document["components"]["schemas"])}}
        self._validators: dict[str, Draft202012Validator] = {}

    def validate_request(self, method: str, target: str, body: str = "") -> bool:
        """`target` is the path with its query, `body` the form-encoded body."""
        url = urlsplit(target)
        operation = self._operation(method, url.path)
        if operation is None:
            return False
        query = [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
        schema = {
            "type": "object",
            "properties": {parameter["name"]: parameter["schema"] for parameter in query},
            "required": [parameter["name"] for parameter in query if parameter.get("required")],
            "additionalProperties": False,
        }
        self._check(f"{method} {url.path} query", schema, _typed(_nested(url.query), _convert(schema), self._schemas))
        content = operation.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded", {})
        if body:
            form = content["schema"]
            self._check(f"{method} {url.path} body", form, _typed(_nested(body), _convert(form), self._schemas))
        return True

    def validate_response(self, method: str, target: str, status: int, body: str | bytes) -> bool:
        path = urlsplit(target).path
        operation = self._operation(method, path)
        if operation is None:
            return False
        answer = operation["responses"].get(str(status), operation["responses"]["default"])
        self._check(f"{method} {path} {status}", answer["content"]["application/json"]["schema"], json.loads(body))
        return True

    def validate_event(self, event: Json) -> None:
        """A snapshot event as a webhook delivers it, with its account."""
        self._check("event", {"$ref": "#/components/schemas/event"}, event)
        self._check("event object", {"$ref": "#/components/schemas/financial_connections.account"}, event["data"]["object"])

    def _operation(self, method: str, path: str) -> Json | None:
        parts = unquote(path).split("/")
        # A literal path goes before one with a placeholder.
        for template in sorted(self._paths, key=lambda template: template.count("{")):
            wanted = template.split("/")
            if len(wanted) == len(parts) and all(want.startswith("{") or want == part for want, part in zip(wanted, parts, strict=True)):
                found: Json | None = self._paths[template].get(method.lower())
                if found is not None:
                    return found
        return None

    def _check(self, what: str, schema: Json, value: Any) -> None:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = Draft202012Validator(_convert(schema) | self._schemas)
        errors = [f"{error.json_path}: {error.message[:300]}" for error in self._validators[key].iter_errors(value)]
        if errors:
            raise AssertionError(f"{what} does not fit Stripe's document: " + "; ".join(errors))


def _convert(node: Any) -> Any:
    """OpenAPI 3.0 to JSON Schema: `nullable`, and objects closed where their fields are listed in full."""
    if isinstance(node, list):
        return [_convert(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {name: _convert(value) for name, value in node.items()}
    if (
        isinstance(node.get("properties"), dict)
        and "type" in node
        and "additionalProperties" not in node
        and "x-pruned-properties" not in node
    ):
        result["additionalProperties"] = False
    if result.pop("nullable", False) is True:
        result = {"anyOf": [result, {"type": "null"}]}
    return result


def _nested(text: str) -> Json:
    """Nested hashes from bracketed names. A list stays a hash with numbers as keys until the schema is known."""
    root: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        *parents, last = name.replace("]", "").split("[")
        node = root
        for key in parents:
            node = node.setdefault(key or str(len(node)), {})
        node[last or str(len(node))] = value
    return root


def _typed(value: Any, schema: Json, root: Json) -> Any:
    """Form values with the schema's types. A value that fits no variant stays text, which the check then reports."""
    if "$ref" in schema:
        schema = root["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    for variant in schema.get("anyOf", ()):
        typed = _typed(value, variant, root)
        if Draft202012Validator(variant | root).is_valid(typed):
            return typed
    kind = schema.get("type")
    if kind == "array" and isinstance(value, dict):
        return [_typed(item, schema.get("items", {}), root) for item in value.values()]
    if kind == "object" and isinstance(value, dict):
        properties: Mapping[str, Json] = schema.get("properties", {})
        return {name: _typed(item, properties.get(name, {}), root) for name, item in value.items()}
    if isinstance(value, str):
        if kind == "integer" and value.lstrip("-").isdigit():
            return int(value)
        if kind == "boolean" and value in ("true", "false"):
            return value == "true"
    return value
