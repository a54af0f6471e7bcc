"""Judges requests to Stripe and answers of the simulator by Stripe's OpenAPI documents.

The environment variable STRIPE_OPENAPI names the document of the stable version; that of the preview version is beside it, or named by
STRIPE_OPENAPI_PREVIEW. The header `Stripe-Version` of a request chooses the document that judges it and its answer.
`stripe_supplement.json` holds what we call and both documents lack, and where Stripe's SDKs contradict them.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from jsonschema import Draft202012Validator

from tests.support import judges

VARIABLE = "STRIPE_OPENAPI"
PREVIEW_VARIABLE = "STRIPE_OPENAPI_PREVIEW"
PREVIEW_FILE = "stripe_openapi_preview.json"
SUPPLEMENT = Path(__file__).with_name("stripe_supplement.json")
NONE = "none"
"""The value of STRIPE_OPENAPI if there is no document: nothing is judged, even where judges are required."""

FORM, JSON = "application/x-www-form-urlencoded", "application/json"

Json = dict[str, Any]
Source = Literal["stripe", "supplement"]


@cache
def from_environment() -> Judge | None:
    """The judge, or None when the variable is not set. Raises OSError if a named file does not exist."""
    named = os.environ.get(VARIABLE)
    if not named or named == NONE:
        return None
    beside = Path(named).with_name(PREVIEW_FILE)
    preview = os.environ.get(PREVIEW_VARIABLE) or (beside if beside.exists() else None)
    return Judge(_read(named), None if preview is None else _read(preview), _read(SUPPLEMENT))


def required() -> Judge:
    """The judge, for a test that does nothing else but to ask it."""
    judge = from_environment()
    how = f"the variable {VARIABLE} does not name it, so no request to Stripe and no answer of the simulator is judged"
    judges.require("Stripe's OpenAPI document", judge is not None, how, waived=os.environ.get(VARIABLE) == NONE)
    assert judge is not None
    return judge


def _read(path: str | Path) -> StripeOpenAPI:
    return StripeOpenAPI(json.loads(Path(path).read_text()))


class Judge:
    """Chooses the document by the version of the request: None is the version that the account has without the header, the stable one.

    Each check returns where the operation is described, None if nowhere: it is then unchecked. Raises AssertionError naming what does not
    fit, also for a stable version other than the document's. There is one preview document, which judges every preview version.
    """

    def __init__(self, stable: StripeOpenAPI, preview: StripeOpenAPI | None = None, supplement: StripeOpenAPI | None = None) -> None:
        self.stable = stable
        self.preview = preview
        self.supplement = supplement

    def validate_request(self, method: str, target: str, body: str = "", version: str | None = None) -> Source | None:
        """`target` is the path with its query, `body` the form-encoded body, or JSON where the operation takes that.

        What Stripe's document refuses may fit the supplement, which holds where Stripe's SDKs contradict the document.
        """
        refused: AssertionError | None = None
        for source, document in self._documents(version):
            try:
                if document.validate_request(method, target, body):
                    return source
            except AssertionError as error:
                refused = refused or error
        if refused is not None:
            raise refused
        return None

    def validate_response(self, method: str, target: str, status: int, body: str | bytes, version: str | None = None) -> Source | None:
        for source, document in self._documents(version):
            if document.validate_response(method, target, status, body):
                return source
        return None

    def validate_event(self, event: Json) -> None:
        """A snapshot event as a webhook delivers it, with its account; or a thin event."""
        if event.get("object") == "v2.core.event":
            self.stable.validate("v2.core.event_notification", event)
        else:
            self.stable.validate("event", event)
            self.stable.validate(event["data"]["object"]["object"], event["data"]["object"])

    def _documents(self, version: str | None) -> Iterator[tuple[Source, StripeOpenAPI]]:
        preview = version is not None and version.endswith(".preview")
        if not preview and version not in (None, self.stable.version):
            raise AssertionError(f"Stripe-Version {version} is not that of Stripe's document, {self.stable.version}")
        document = self.preview if preview else self.stable
        if document is not None:
            yield "stripe", document
        if self.supplement is not None:
            yield "supplement", self.supplement


@dataclass
class Tally:
    """What was found of requests, or of answers."""

    fitting: int = 0
    not_fitting: int = 0
    unchecked: int = 0

    def __str__(self) -> str:
        return f"{self.fitting} fitting, {self.not_fitting} not fitting, {self.unchecked} unchecked"


class Ledger:
    """Every request that our code sent to Stripe in a run of the tests, and its answer, judged where the documents are named.

    `unchecked` counts the operations that no document describes, by method and path, and `supplement` those that only ours does.
    `violations` says what did not fit.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.requests = Tally()
        self.answers = Tally()
        self.versions: Counter[str] = Counter()
        self.unchecked: Counter[str] = Counter()
        self.supplement: Counter[str] = Counter()
        self.violations: list[str] = []
        self._outcomes: dict[tuple[str, ...], Source | AssertionError | None] = {}

    @property
    def clean(self) -> bool:
        """Whether every request and answer was judged, and fits."""
        return not self.violations and not self.unchecked

    def note(self, method: str, target: str, body: str, version: str | None = None) -> None:
        """Judge a request. `version`: its Stripe-Version."""
        judge = from_environment()
        if judge is None:
            return
        self.sent += 1
        self.versions[version or "no version"] += 1
        # Requests differ in ids and numbers, which are all of one kind; so do answers.
        key = ("request", method.upper(), _VARYING.sub("0", target), _VARYING.sub("0", body), version or "")
        if key not in self._outcomes:
            self._outcomes[key] = _outcome(lambda: judge.validate_request(method, target, body, version))
        outcome = self._outcomes[key]
        self._count(self.requests, outcome)
        if outcome is None:
            self.unchecked[_operation(method, target)] += 1
        elif outcome == "supplement":
            self.supplement[_operation(method, target)] += 1

    def note_answer(self, method: str, target: str, status: int, body: str | bytes, version: str | None = None) -> None:
        """Judge the answer to a request of that version."""
        judge = from_environment()
        if judge is None or not status:
            return
        text = body.decode() if isinstance(body, bytes) else body
        key = ("answer", method.upper(), _VARYING.sub("0", urlsplit(target).path), str(status), _VARYING.sub("0", text), version or "")
        if key not in self._outcomes:
            self._outcomes[key] = _outcome(lambda: judge.validate_response(method, target, status, text, version))
        self._count(self.answers, self._outcomes[key])

    def _count(self, tally: Tally, outcome: Source | AssertionError | None) -> None:
        if outcome is None:
            tally.unchecked += 1
        elif isinstance(outcome, AssertionError):
            tally.not_fitting += 1
            self.violations.append(str(outcome))
        else:
            tally.fitting += 1

    def state(self) -> Json:
        """The figures as JSON, for another process to `add`."""
        return {
            "sent": self.sent,
            "requests": vars(self.requests),
            "answers": vars(self.answers),
            "versions": dict(self.versions),
            "unchecked": dict(self.unchecked),
            "supplement": dict(self.supplement),
            "violations": self.violations,
        }

    def add(self, state: Json) -> None:
        """Add the figures of another process."""
        self.sent += state["sent"]
        for mine, theirs in ((self.requests, state["requests"]), (self.answers, state["answers"])):
            for name, count in theirs.items():
                setattr(mine, name, getattr(mine, name) + count)
        self.versions.update(state["versions"])
        self.unchecked.update(state["unchecked"])
        self.supplement.update(state["supplement"])
        self.violations += state["violations"]

    def summary(self) -> str:
        return "\n".join(
            [
                f"{self.sent} requests sent to Stripe: {self.requests}",
                f"answers of the simulator: {self.answers}",
                f"versions: {_listed(self.versions)}",
                f"judged by our supplement: {_listed(self.supplement)}",
                f"unchecked: {_listed(self.unchecked)}",
            ]
        )


_VARYING = re.compile(r"(?<=_)[A-Za-z0-9]{20,}|(?<=req_)[A-Za-z0-9]{14}|[0-9]+")
"""Ids, by the simulator's lengths of them, and numbers."""


def _operation(method: str, target: str) -> str:
    """The operation of a request without its ids, so that few lines count many requests."""
    path = urlsplit(target).path
    return f"{method.upper()} {'/'.join('{id}' if '_' in part and any(c.isdigit() for c in part) else part for part in path.split('/'))}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def _outcome(check: Any) -> Source | AssertionError | None:
    try:
        found: Source | None = check()
        return found
    except AssertionError as error:
        return error


LEDGER = Ledger()


class StripeOpenAPI:
    """One document. Both checks return whether it describes the operation, and raise AssertionError naming what does not fit.

    Unlike the document itself, the check refuses fields that it does not list, unless the schema says that fields were left out. Of a
    resource that was left out (`x-pruned-ref`) only an id fits, because an object could not be judged.
    """

    def __init__(self, document: Json) -> None:
        self.version: str = document["info"]["version"]
        self._paths = document["paths"]
        self.schemas: Json = document["components"]["schemas"]
        self._schemas = {"components": {"schemas": _convert(self.schemas)}}
        self._validators: dict[tuple[str, ...], tuple[Json, Draft202012Validator]] = {}

    def validate_request(self, method: str, target: str, body: str = "") -> bool:
        """`target` is the path with its query. `body` is form-encoded, or JSON where the operation takes that."""
        url = urlsplit(target)
        template, operation = self._operation(method, url.path)
        if operation is None:
            return False
        query = [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
        schema = {
            "type": "object",
            "properties": {parameter["name"]: parameter["schema"] for parameter in query},
            "required": [parameter["name"] for parameter in query if parameter.get("required")],
        }
        self._check(f"{method} {url.path} query", (method, template, "query"), schema, _form(url.query))
        content = operation.get("requestBody", {}).get("content", {})
        if JSON in content:
            self._check(f"{method} {url.path} body", (method, template, "body"), content[JSON]["schema"], _json(body or "{}"))
        else:
            form = content.get(FORM, {"schema": {"type": "object", "properties": {}}})["schema"]
            self._check(f"{method} {url.path} body", (method, template, "body"), form, _form(body))
        return True

    def validate_response(self, method: str, target: str, status: int, body: str | bytes) -> bool:
        path = urlsplit(target).path
        template, operation = self._operation(method, path)
        if operation is None:
            return False
        code = str(status) if str(status) in operation["responses"] else "default"
        schema = operation["responses"][code]["content"][JSON]["schema"]
        self._check(f"answer {status} to {method} {path}", (method, template, code), schema, _documented(_json(body)))
        return True

    def validate(self, name: str, value: Any) -> None:
        """Check a value by the schema of this name."""
        self._check(name, (name,), {"$ref": f"#/components/schemas/{name}"}, _documented(value))

    def operations(self) -> dict[str, Json]:
        """Every operation, by method and path: for comparison with what the simulator takes."""
        return {f"{method.upper()} {path}": operation for path, methods in self._paths.items() for method, operation in methods.items()}

    def _operation(self, method: str, path: str) -> tuple[str, Json | None]:
        parts = unquote(path).split("/")
        # A literal path goes before one with a placeholder.
        for template in sorted(self._paths, key=lambda template: template.count("{")):
            wanted = template.split("/")
            if len(wanted) == len(parts) and all(want.startswith("{") or want == part for want, part in zip(wanted, parts, strict=True)):
                found: Json | None = self._paths[template].get(method.lower())
                if found is not None:
                    return template, found
        return "", None

    def _check(self, what: str, key: tuple[str, ...], schema: Json, value: Any) -> None:
        """`key` names the schema. A value from a form (`_Form`) gets its types from the schema first."""
        if key not in self._validators:
            converted = _convert(schema)
            self._validators[key] = converted, Draft202012Validator(converted | self._schemas)
        converted, validator = self._validators[key]
        if isinstance(value, _Form):
            value = _typed(dict(value), converted, self._schemas)
        errors = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]
        if errors:
            raise AssertionError(f"{what} does not fit Stripe's document: " + "; ".join(errors))


def _convert(node: Any) -> Any:
    """OpenAPI 3.0 to JSON Schema: `nullable`, objects closed where their fields are listed in full, ids for resources left out."""
    if isinstance(node, list):
        return [_convert(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "x-pruned-ref" in node:
        return {"type": ["string", "null"]}
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


def _documented(node: Any) -> Any:
    """An answer without the `error` of its refreshes, which Stripe shows on request only and whose shape it publishes nowhere."""
    if isinstance(node, list):
        return [_documented(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {name: _documented(value) for name, value in node.items() if name != "error" or "last_attempted_at" not in node}


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise AssertionError(f"a body that is not JSON: {text[:40]!r}") from None


class _Form(dict[str, Any]):
    """What a form says: texts, and hashes of them."""


def _form(text: str) -> _Form:
    """Nested hashes from bracketed names. A list stays a hash with numbers as keys until the schema is known."""
    root = _Form()
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    except ValueError as error:
        raise AssertionError(f"a body that is no form: {error}") from None
    for name, value in pairs:
        *parents, last = name.replace("]", "").split("[")
        node: Json = root
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
    if kind == "array" and isinstance(value, dict) and all(key.isdigit() for key in value):
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
