"""Makes the OpenAPI document from what the routes are made of: handlers' types, the template's routes and scopes, the sample events.

python -m local.openapi            write functions/docs/openapi.json
python -m local.openapi --check    exit with 1 if it is not what the code says now
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from samtranslator.yaml_helper import yaml_parse

from local.aws.paths import ROOT
from titleholder.domain import accounts
from titleholder.web import problems
from titleholder.web import resolver as http_api

DOCUMENT = ROOT / "functions" / "docs" / "openapi.json"
EVENTS = ROOT / "events"
FUNCTIONS = ROOT / "functions"
SCHEMA = "#/components/schemas/{model}"
REFUSED_SAMPLES = ("invalid", "unsigned")
"""Last words in the names of sample events that show a refusal: no examples of how to call."""

DESCRIPTION = """Does this bank account belong to the person or business that says so?

Times are ISO 8601 in UTC, scores 0 to 100. Every error is `application/problem+json` with a stable `type` and, for bad fields, `errors[]`;
what API Gateway refuses by itself (401, 403, 429) is `{"message": ...}`. Calls are signed for IAM with Signature Version 4 (service
`execute-api`), unless the stack was deployed with a JWT issuer: then they bear a token with the operation's scope."""

# What Stripe's deliveries look like is Stripe's to say; the function that takes them loads no pydantic, so it is described here.
WEBHOOK: dict[str, Any] = {
    "operationId": "receive_webhook",
    "summary": "Stripe's deliveries",
    "description": "Public: what proves a delivery is its signature. 200 once the event is safe, also for duplicates and unknown types.",
    "parameters": [
        {
            "name": "Stripe-Signature", "in": "header", "required": True,
            "description": "Stripe's signature over the body and the time.", "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "description": "A snapshot or a thin event, as Stripe sends it."}}},
    },
}  # fmt: skip
WEBHOOK_ANSWER = {
    "type": "object", "properties": {"received": {"const": True}}, "required": ["received"], "additionalProperties": False,
}  # fmt: skip
WEBHOOK_PROBLEMS = ("invalid-signature", "malformed-event")
WEBHOOK_ROUTE = "POST /webhooks/stripe"

OPEN: dict[str, dict[str, Any]] = {
    "GET /docs": {"operationId": "docs", "summary": "This interface, to read and to try", "answer": ("text/html", {"type": "string"})},
    "GET /openapi.json": {"operationId": "openapi", "summary": "This document", "answer": ("application/json", {"type": "object"})},
}
"""Routes that exist only where the stack was deployed with `ServeDocs`."""

MESSAGE = {
    "type": "object",
    "description": "What API Gateway itself says.",
    "properties": {"message": {"type": "string"}},
    "required": ["message"],
}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `type` is stable; what to do about each is in docs/problems.md.",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:titleholder:problem:[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Each field that is wrong, and why.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["field", "detail"],
                "additionalProperties": False,
            },
        },
        "reason": {"type": "string", "description": "The reason code, where the account can't be refreshed."},
        "retry_at": {"type": "string", "format": "date-time", "description": "When a cooldown ends."},
    },
    "required": ["type", "title", "status", "detail"],
}
RETRY_AFTER = {"description": "Seconds after which to try again.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
STRIPE_ACCOUNT = {
    "name": "Stripe-Account",
    "in": "header",
    "required": False,
    "description": "The connected account that this is about; without it, the platform's own.",
    "schema": {"type": "string", "pattern": f"^{accounts.CONNECTED_ACCOUNT_ID.pattern}$"},
}
SECURITY_SCHEMES = {
    "iam": {
        "type": "apiKey", "in": "header", "name": "Authorization", "x-amazon-apigateway-authtype": "awsSigv4",
        "description": "AWS Signature Version 4, service execute-api. The caller needs execute-api:Invoke.",
    },
    "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Where the stack was deployed with a JWT issuer."},
}  # fmt: skip


class OpenApiError(Exception):
    """The document can't be made; the message says what a route lacks."""


class Gateway(NamedTuple):
    """A route as the template has it. `scopes` are those of a JWT; a public route has none."""

    key: str
    scopes: list[str]
    public: bool


@cache
def gateway_routes() -> dict[str, Gateway]:
    """The template's routes by their shape: method and path, with `{}` for each parameter, whatever it is called."""
    found = {}
    for resource in yaml_parse((ROOT / "template.yaml").read_text())["Resources"].values():
        if resource["Type"] != "AWS::ApiGatewayV2::Route":
            continue
        route = resource["Properties"]
        scopes = route.get("AuthorizationScopes", {}).get("Fn::If", [None, []])[1]
        found[shape(route["RouteKey"])] = Gateway(route["RouteKey"], scopes, route.get("AuthorizationType", "NONE") == "NONE")
    return found


def shape(route: str) -> str:
    """`GET /a/{b}` as `GET /a/{}`."""
    return re.sub(r"\{[^}]*\}", "{}", route)


@cache
def resolvers() -> dict[str, APIGatewayHttpResolver]:
    """Every function's resolver, by the function's folder."""
    found: dict[str, APIGatewayHttpResolver] = {}
    for path in sorted(FUNCTIONS.glob("*/*.py")):
        if "http_api.resolver(" not in path.read_text():
            continue
        sys.path.insert(0, str(path.parent))
        try:
            spec = importlib.util.spec_from_file_location(f"openapi_{path.parent.name}_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        finally:
            sys.path.pop(0)
        for value in vars(module).values():
            if isinstance(value, APIGatewayHttpResolver):
                found[path.parent.name] = value
    return found


def document() -> dict[str, Any]:
    """The OpenAPI document. Raises `OpenApiError` for a route that does not say what it answers."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Problem": PROBLEM, "Message": MESSAGE}
    models: set[type[BaseModel]] = set()
    for name, resolver in resolvers().items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = json.loads(resolver.get_openapi_json_schema(title=name, version="1"))
        used = {name: schema for name, schema in made.get("components", {}).get("schemas", {}).items() if "Validation" not in name}
        for model, schema in used.items():
            if schemas.setdefault(model, schema) != schema:
                raise OpenApiError(f"{name}: there are two models of the name {model}")
        for route in [*resolver._static_routes, *resolver._dynamic_routes]:
            known: http_api.Documented | None = getattr(route.func, "documented", None)
            where = f"{route.method} {route.openapi_path}"
            if known is None:
                raise OpenApiError(f"functions/{name}: {where} needs @http_api.documented(...): what it answers, which problems it has")
            models |= {model for model in known.answers.values() if model is not None}
            generated = made["paths"][route.openapi_path][route.method.lower()]
            paths.setdefault(route.openapi_path, {})[route.method.lower()] = _operation(where, route.func, generated, known)
    definitions = models_json_schema([(model, "serialization") for model in sorted(models, key=str)], ref_template=SCHEMA)[1]
    for model, schema in definitions.get("$defs", {}).items():
        if schemas.setdefault(model, schema) != schema and _untitled(schemas[model]) != _untitled(schema):
            raise OpenApiError(f"there are two models of the name {model}, or one that is both asked for and answered with other defaults")
    paths["/webhooks/stripe"] = {"post": _webhook()}
    for key, described in OPEN.items():
        if shape(key) in gateway_routes():
            method, path = key.split()
            paths[path] = {method.lower(): _open(described)}
    made = {
        "openapi": "3.1.0",
        "info": {"title": "Titleholder", "version": "1", "description": DESCRIPTION},
        "servers": [{"url": ".", "description": "The stack that serves this document"}],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items())), "securitySchemes": SECURITY_SCHEMES},
    }
    result: dict[str, Any] = _untitled(made)
    result["info"]["title"] = "Titleholder"
    return result


def _operation(where: str, func: Any, generated: Mapping[str, Any], known: http_api.Documented) -> dict[str, Any]:
    text = inspect.cleandoc(func.__doc__ or "")
    if not text:
        raise OpenApiError(f"{where}: its docstring becomes the summary, and there is none")
    summary, _, more = text.partition("\n\n")
    gateway = gateway_routes().get(shape(where))
    operation: dict[str, Any] = {"operationId": func.__name__, "summary": " ".join(summary.split()).removesuffix(".")}
    if more:
        operation["description"] = more
    operation["tags"] = [where.split("/")[1].partition("?")[0]]
    sample = samples().get(shape(where), [{}])[0]
    parameters = [_parameter(parameter, sample) for parameter in generated.get("parameters", ())]
    if not any(parameter["name"].lower() == "stripe-account" for parameter in parameters):
        parameters.append(STRIPE_ACCOUNT)
    if parameters:
        operation["parameters"] = parameters
    body = generated.get("requestBody")
    if body:
        operation["requestBody"] = _body(body, where)
    types = [*known.problems, *problems.OF_EVERY_ROUTE, *(problems.OF_EVERY_BODY if body else ())]
    if known.asks_stripe:
        types += problems.OF_STRIPE
    operation["responses"] = {
        **{str(status): _answer(status, model) for status, model in sorted(known.answers.items())},
        **_refusals(types, where),
    }
    operation["responses"] |= _gateways(operation["responses"])
    operation["security"] = [{"iam": []}, {"jwt": list(gateway.scopes if gateway else [])}]
    return operation


def _parameter(parameter: Mapping[str, Any], sample: Mapping[str, Any]) -> dict[str, Any]:
    """One that may be left out is left out: null is for bodies. Examples come from the sample event."""
    schema = {**parameter["schema"]}
    options = [option for option in schema.pop("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        schema |= options[0]
    elif options:
        schema["anyOf"] = options
    place, name = parameter["in"], str(parameter["name"])
    shown = "-".join(word.capitalize() for word in name.split("-")) if place == "header" else name
    made = {"name": shown, "in": place, "required": bool(parameter.get("required")), "schema": schema}
    if described := parameter.get("description") or schema.pop("description", None):
        made["description"] = described
    values: Mapping[str, str] = {}
    if place == "path":
        values = sample.get("by_position", {})
    elif place == "query":
        values = sample.get("queryStringParameters") or {}
    elif place == "header":
        values = {key.lower(): value for key, value in (sample.get("headers") or {}).items()}
    found = values.get(name.lower() if place == "header" else name)
    if found is not None:
        made["example"] = int(found) if schema.get("type") == "integer" else found
    return made


def _body(body: Mapping[str, Any], where: str) -> dict[str, Any]:
    content = {kind: {**media} for kind, media in body["content"].items()}
    examples = {sample["sample"]: {"value": json.loads(sample["body"])} for sample in samples().get(shape(where), ()) if sample.get("body")}
    for media in content.values():
        options = [option for option in media["schema"].get("anyOf", ()) if option.get("type") != "null"]
        if len(options) == 1:
            media["schema"] = options[0]
        if examples:
            media["examples"] = examples
    return {**body, "content": content}


@cache
def samples() -> dict[str, list[dict[str, Any]]]:
    """The sample events of each route by its shape, the plainest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(EVENTS.glob("*.json"), key=lambda path: (len(path.stem), path.stem)):
        event = json.loads(path.read_text())
        if "routeKey" not in event or path.stem.rpartition(".")[2] in REFUSED_SAMPLES:
            continue
        names = event["routeKey"].split("/")
        actual = event["rawPath"].split("/")
        values = [value for name, value in zip(names[1:], actual[1:], strict=True) if name.startswith("{")]
        handler = next((key for key in _handler_paths() if shape(key) == shape(event["routeKey"])), event["routeKey"])
        # The template may call a parameter otherwise than the handler does; where it stands is what counts.
        event["by_position"] = dict(zip(re.findall(r"\{([^}]*)\}", handler), values, strict=True))
        event["sample"] = path.stem
        found.setdefault(shape(event["routeKey"]), []).append(event)
    return found


def _handler_paths() -> Iterator[str]:
    for resolver in resolvers().values():
        for route in [*resolver._static_routes, *resolver._dynamic_routes]:
            yield f"{route.method} {route.openapi_path}"


def _answer(status: int, model: type[BaseModel] | None) -> dict[str, Any]:
    if model is None:
        return {"description": "Done; no body."}
    text = " ".join(inspect.cleandoc(model.__doc__ or "").split())
    return {
        "description": text or "The answer.",
        "content": {"application/json": {"schema": {"$ref": SCHEMA.format(model=model.__name__)}}},
    }


def _refusals(types: list[str], where: str) -> dict[str, Any]:
    """The problems by status, each with the types that it may bear."""
    statuses = problems.statuses()
    if unknown := set(types) - set(statuses):
        raise OpenApiError(f"{where}: problems.py knows no {sorted(unknown)}")
    by_status: dict[int, list[str]] = {}
    for type_ in dict.fromkeys(types):
        by_status.setdefault(statuses[type_], []).append(type_)
    return {str(status): _problem(status, by_status[status]) for status in sorted(by_status)}


def _problem(status: int, types: list[str]) -> dict[str, Any]:
    kinds = {"type": "object", "properties": {"type": {"enum": [f"urn:titleholder:problem:{type_}" for type_ in types]}}}
    answer: dict[str, Any] = {
        "description": ", ".join(f"`{type_}`" for type_ in types),
        "content": {problems.CONTENT_TYPE: {"schema": {"allOf": [{"$ref": SCHEMA.format(model="Problem")}, kinds]}}},
    }
    if status in (409, 429, 503):
        answer["headers"] = {"Retry-After": RETRY_AFTER}
    return answer


def _gateways(answers: Mapping[str, Any]) -> dict[str, Any]:
    """What API Gateway answers by itself, beside what the function answers with the same status."""
    said = {
        "401": "API Gateway: no valid token.",
        "403": "API Gateway: not signed, or the caller has no right, or the token lacks the scope.",
        "429": "API Gateway: too many calls of this route.",
        "500": "API Gateway: the function failed.",
        "503": "API Gateway: the function did not answer in time.",
    }
    made = {}
    for status, text in said.items():
        known = answers.get(status, {})
        content = {**known.get("content", {}), "application/json": {"schema": {"$ref": SCHEMA.format(model="Message")}}}
        described = "; ".join(part for part in (known.get("description"), text) if part)
        made[status] = {**known, "description": described, "content": content}
    return made


def _webhook() -> dict[str, Any]:
    answers = {
        "200": {"description": "The event is safe.", "content": {"application/json": {"schema": WEBHOOK_ANSWER}}},
        **_refusals(list(WEBHOOK_PROBLEMS), WEBHOOK_ROUTE),
    }
    gateways = {status: answer for status, answer in _gateways(answers).items() if status in ("429", "500", "503")}
    sample = samples()[WEBHOOK_ROUTE][0]
    body = {**WEBHOOK["requestBody"]}
    content = {
        kind: {**media, "examples": {sample["sample"]: {"value": json.loads(sample["body"])}}} for kind, media in body["content"].items()
    }
    return {**WEBHOOK, "tags": ["webhooks"], "requestBody": {**body, "content": content}, "responses": answers | gateways, "security": []}


def _open(described: Mapping[str, Any]) -> dict[str, Any]:
    kind, schema = described["answer"]
    answers = {"200": {"description": described["summary"], "content": {kind: {"schema": schema}}}}
    gateways = {status: answer for status, answer in _gateways(answers).items() if status in ("429", "500", "503")}
    return {
        "operationId": described["operationId"], "summary": described["summary"], "tags": ["docs"],
        "description": "There only where the stack was deployed with ServeDocs.", "responses": answers | gateways, "security": [],
    }  # fmt: skip


def _untitled(made: Any) -> Any:
    """Without the titles that pydantic makes of names; a property that is called title stays."""
    if isinstance(made, list):
        return [_untitled(part) for part in made]
    if not isinstance(made, dict):
        return made
    return {key: _untitled(value) for key, value in made.items() if not (key == "title" and isinstance(value, str))}


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="local.openapi", description="The OpenAPI document, from the code.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--to", type=Path, default=DOCUMENT)
    options = parser.parse_args()
    if options.check:
        if options.to.read_text() != text():
            print("The OpenAPI document is not what the code says now: make openapi")
            return 1
        return 0
    options.to.write_text(text())
    print(f"{sum(len(methods) for methods in document()['paths'].values())} operations in {options.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
