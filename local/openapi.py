"""Writes functions/docs/openapi.json from the code.

    python -m local.openapi

Powertools makes the document from the handlers' signatures and models. This module adds what a signature does not say: answers and problems
(`resolver.openapi_responses`), scopes (template.yaml), examples (events/), and the answers of API Gateway itself.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.event_handler.openapi.models import Server
from samtranslator.yaml_helper import yaml_parse

from local.aws.paths import ROOT
from titleholder import __version__
from titleholder.domain import accounts
from titleholder.web import problems, resolver

DOCUMENT = ROOT / "functions" / "docs" / "openapi.json"
EVENTS = ROOT / "events"
FUNCTIONS = ROOT / "functions"
SCHEMAS = "#/components/schemas/"
REFUSED_SAMPLES = ("invalid", "unsigned")
"""A sample event whose name ends in one of these shows a refusal, so it is no example."""

DESCRIPTION = """Does this bank account belong to the person or business that claims it?

Times are ISO 8601 in UTC, scores 0 to 100. Every error is `application/problem+json` with a stable `type` and, for bad fields, `errors[]`.
Errors of API Gateway itself (401, 403, 429) are `{"message": ...}`. Calls are signed for IAM with Signature Version 4 (service
`execute-api`). If the stack was deployed with a JWT issuer, they have a bearer token with the operation's scope instead."""

MESSAGE = {
    "type": "object",
    "description": "An answer of API Gateway itself.",
    "properties": {"message": {"type": "string"}},
    "required": ["message"],
}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `type` is stable. docs/problems.md says what to do about each.",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:titleholder:problem:[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Each wrong field, with the reason.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["field", "detail"],
                "additionalProperties": False,
            },
        },
        "reason": {"type": "string", "description": "The reason code, if the account cannot be refreshed."},
        "retry_at": {"type": "string", "format": "date-time", "description": "When a cooldown ends."},
    },
    "required": ["type", "title", "status", "detail"],
}
RETRY_AFTER = {"description": "Seconds until the next attempt.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
STRIPE_ACCOUNT = {
    "name": "Stripe-Account",
    "in": "header",
    "required": False,
    "description": "The connected account of the request. Without it, the request is about the platform itself.",
    "schema": {"type": "string", "pattern": f"^{accounts.CONNECTED_ACCOUNT_ID.pattern}$"},
}
SECURITY_SCHEMES: dict[str, Any] = {
    "iam": {
        "type": "apiKey", "in": "header", "name": "Authorization", "x-amazon-apigateway-authtype": "awsSigv4",
        "description": "AWS Signature Version 4, service execute-api. The caller needs execute-api:Invoke.",
    },
    "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "If the stack was deployed with a JWT issuer."},
    "people": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "If the stack was deployed with an issuer of people's tokens (ReviewIssuer) or with a JWT issuer.",
    },
}  # fmt: skip
GATEWAY_ANSWERS = {
    401: "API Gateway: no valid token.",
    403: "API Gateway: no signature, no permission, or a token without the scope.",
    429: "API Gateway: too many calls of this route.",
    500: "API Gateway: the function failed.",
    503: "API Gateway: the function did not answer in time.",
}
PUBLIC_GATEWAY_STATUSES = (429, 500, 503)


class OpenApiError(Exception):
    """The document cannot be made. The message names the route and what it lacks."""


class Gateway(NamedTuple):
    """A route of the template. `scopes`: of which a JWT needs one, without the stack's JwtScopePrefix; a public route has none.

    `people`: whether people's tokens are for it where the stack has a ReviewIssuer. `condition`: of the template, with which it exists.
    """

    key: str
    scopes: list[str]
    public: bool
    people: bool
    condition: str | None


@cache
def gateway_routes() -> dict[str, Gateway]:
    """The template's routes by their `shape`."""
    found = {}
    for resource in yaml_parse((ROOT / "template.yaml").read_text())["Resources"].values():
        if resource["Type"] != "AWS::ApiGatewayV2::Route":
            continue
        route = resource["Properties"]
        condition, prefixed = route.get("AuthorizationScopes", {}).get("Fn::If", [None, []])[:2]
        scopes = [scope["Fn::Sub"].removeprefix("${JwtScopePrefix}") for scope in prefixed]
        public = route.get("AuthorizationType", "NONE") == "NONE"
        found[shape(route["RouteKey"])] = Gateway(route["RouteKey"], scopes, public, condition == "ReviewByJwt", resource.get("Condition"))
    return found


def shape(route: str) -> str:
    """`GET /a/{b}` as `GET /a/{}`: the template and a handler may name a parameter differently."""
    return re.sub(r"\{[^}]*\}", "{}", route)


# -- public routes: their functions load no pydantic, so they have no resolver ----------------------------------------------------------

public = APIGatewayHttpResolver()

SIGNATURE = {
    "name": "Stripe-Signature", "in": "header", "required": True,
    "description": "Stripe's signature over the body and the time.", "schema": {"type": "string"},
}  # fmt: skip
DESK_FILE = {
    "name": "file", "in": "path", "required": True, "description": "Its name.", "example": "desk.js",
    "schema": {"type": "string", "maxLength": 100},
}  # fmt: skip
DELIVERY = {"type": "object", "description": "A snapshot or a thin event, as Stripe sends it."}
RECEIVED = {"type": "object", "properties": {"received": {"const": True}}, "required": ["received"], "additionalProperties": False}


def _answer(description: str, schema: Mapping[str, Any], media_type: str = "application/json") -> dict[int, Any]:
    return {200: {"description": description, "content": {media_type: {"schema": schema}}}}


@public.post(
    "/webhooks/stripe",
    responses=_answer("The event is stored.", RECEIVED),
    openapi_extensions={
        "parameters": [SIGNATURE], "requestBody": {"required": True, "content": {"application/json": {"schema": DELIVERY}}},
    },
)  # fmt: skip
@resolver.openapi_responses({}, "invalid-signature", "malformed-event")
def receive_webhook() -> None:
    """Stripe's webhook deliveries

    Public, because the signature authenticates a delivery. 200 once the event is stored, also for duplicates and unknown types.
    """


@public.get("/docs", tags=["docs"], responses=_answer("Interactive documentation", {"type": "string"}, "text/html"))
@resolver.openapi_responses({})
def docs() -> None:
    """Interactive documentation

    Exists only if the stack was deployed with ServeDocs.
    """


@public.get("/openapi.json", tags=["docs"], responses=_answer("This document", {"type": "object"}))
@resolver.openapi_responses({})
def openapi() -> None:
    """This document

    Exists only if the stack was deployed with ServeDocs.
    """


@public.get("/desk", tags=["desk"], responses=_answer("The page", {"type": "string"}, "text/html"))
@resolver.openapi_responses({})
def desk() -> None:
    """The page of the review desk

    Exists only if the stack was deployed with DeskClientId. The page signs people in and calls the other routes with their tokens.
    """


@public.get(
    "/desk/<file>", tags=["desk"], responses=_answer("The file", {"type": "string"}, "*/*"),
    openapi_extensions={"parameters": [DESK_FILE]},
)  # fmt: skip
@resolver.openapi_responses({}, "route-not-found")
def desk_file() -> None:
    """A script, style or image of the page

    Exists only if the stack was deployed with DeskClientId.
    """


# -- the document ----------------------------------------------------------------------------------------------------------------------


@cache
def resolvers() -> dict[str, APIGatewayHttpResolver]:
    """Every function's resolver, by the function's folder."""
    found: dict[str, APIGatewayHttpResolver] = {}
    for path in sorted(FUNCTIONS.glob("*/*.py")):
        if "resolver.resolver(" not in path.read_text():
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
        found[path.parent.name] = next(value for value in vars(module).values() if isinstance(value, APIGatewayHttpResolver))
    return found


def _routes() -> Iterator[Route]:
    for app in [*resolvers().values(), public]:
        yield from [*app._static_routes, *app._dynamic_routes]


def document() -> dict[str, Any]:
    """The OpenAPI document. Raises `OpenApiError` for a route without a description of its answers."""
    whole = APIGatewayHttpResolver()
    whole._dynamic_routes = [_described(route) for route in _routes()]
    made: dict[str, Any] = json.loads(
        whole.get_openapi_json_schema(
            title="Titleholder", version=__version__, description=DESCRIPTION, security_schemes=SECURITY_SCHEMES,
            servers=[Server(url=".", description="The stack that serves this document")],
        )
    )  # fmt: skip
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            _complete(operation, f"{method.upper()} {path}")
    schemas = {name: schema for name, schema in made["components"]["schemas"].items() if "Validation" not in name}
    made["components"]["schemas"] = dict(sorted({**schemas, "Problem": PROBLEM, "Message": MESSAGE}.items()))
    made["paths"] = dict(sorted(made["paths"].items()))
    return {**_untitled(made), "info": made["info"]}


def _described(route: Route) -> Route:
    """A copy of the route with what the handler's signature does not say."""
    takes_body = route.body_field is not None
    route = copy.copy(route)
    route._dependant = None  # Computed for `body_field`, before the models of the answers are known.
    where = f"{route.method} {route.openapi_path}"
    known: resolver.Documented | None = getattr(route.func, "documented", None)
    if known is None:
        raise OpenApiError(f"{where} needs @resolver.openapi_responses(...): what it answers, which problems it has")
    summary, _, more = inspect.cleandoc(route.func.__doc__ or "").partition("\n\n")
    if not summary:
        raise OpenApiError(f"{where}: its docstring becomes the summary, and there is none")
    gateway = gateway_routes()[shape(where)]
    types = list(known.problems)
    if not gateway.public:
        types += [*problems.OF_EVERY_ROUTE, *(problems.OF_EVERY_BODY if takes_body else ())]
    if known.asks_stripe:
        types += problems.OF_STRIPE
    for status, model in sorted(known.answers.items()):
        text = " ".join(inspect.cleandoc(model.__doc__ or "").split())
        route.responses = {**(route.responses or {}), status: {"description": text, "content": {"application/json": {"model": model}}}}
    route.responses = {**(route.responses or {}), **_refusals(types, where)}
    route.responses |= _gateway_answers(route.responses, PUBLIC_GATEWAY_STATUSES if gateway.public else GATEWAY_ANSWERS)
    route.operation_id = route.func.__name__
    route.summary = " ".join(summary.split()).removesuffix(".")
    route.description = more or None
    route.tags = route.tags or [where.split("/")[1]]
    # One of the scopes is enough, and one entry of OpenAPI's would need all that it lists.
    scheme = "people" if gateway.people else "jwt"
    security = [] if gateway.public else [{"iam": []}, *({scheme: [scope]} for scope in gateway.scopes)]
    route.openapi_extensions = {**(route.openapi_extensions or {}), "security": security}
    return route


def _refusals(types: list[str], where: str) -> dict[int, Any]:
    """The problems by status, each status with the types that it may have."""
    statuses = problems.statuses()
    if unknown := set(types) - set(statuses):
        raise OpenApiError(f"{where}: problems.py knows no {sorted(unknown)}")
    made: dict[int, Any] = {}
    for status in sorted({statuses[type_] for type_ in types}):
        its = [type_ for type_ in dict.fromkeys(types) if statuses[type_] == status]
        kinds = {"type": "object", "properties": {"type": {"enum": [f"urn:titleholder:problem:{type_}" for type_ in its]}}}
        made[status] = {
            "description": ", ".join(f"`{type_}`" for type_ in its),
            "content": {problems.CONTENT_TYPE: {"schema": {"allOf": [{"$ref": f"{SCHEMAS}Problem"}, kinds]}}},
        }
        if status in (409, 429, 503):
            made[status]["headers"] = {"Retry-After": RETRY_AFTER}
    return made


def _gateway_answers(answers: Mapping[int, Any], statuses: Iterable[int]) -> dict[int, Any]:
    """API Gateway's own answers, merged with the function's answers of the same status."""
    made = {}
    for status in statuses:
        known = answers.get(status, {})
        content = {**known.get("content", {}), "application/json": {"schema": {"$ref": f"{SCHEMAS}Message"}}}
        described = "; ".join(part for part in (known.get("description"), GATEWAY_ANSWERS[status]) if part)
        made[status] = {**known, "description": described, "content": content}
    return made


def _complete(operation: dict[str, Any], where: str) -> None:
    """Add examples from the sample events, and the header that every authorised route takes."""
    shown = samples().get(shape(where), [])
    if not operation["security"]:
        shown = shown[:1]  # One of Stripe's deliveries is enough.
    else:
        parameters = [_parameter(parameter, shown[0] if shown else {}) for parameter in operation.get("parameters", ())]
        known = any(parameter["name"] == STRIPE_ACCOUNT["name"] for parameter in parameters)
        operation["parameters"] = parameters if known else [*parameters, STRIPE_ACCOUNT]
    examples = {sample["sample"]: {"value": json.loads(sample["body"])} for sample in shown if sample.get("body")}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        media["schema"] = _without_null(media["schema"])
        if examples:
            media["examples"] = examples


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without its null: an optional parameter or body is left out, never null."""
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    options: list[dict[str, Any]] = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return rest | options[0]
    return rest | ({"anyOf": options} if options else {})


def _parameter(parameter: Mapping[str, Any], sample: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter with an example from the sample event. A header's name gets its usual spelling."""
    schema, place, name = _without_null(parameter["schema"]), parameter["in"], str(parameter["name"])
    made = {"name": name.title() if place == "header" else name, "in": place, "required": bool(parameter.get("required")), "schema": schema}
    if described := parameter.get("description") or schema.pop("description", None):
        made["description"] = described
    values: Mapping[str, str] = {
        "path": sample.get("by_position", {}),
        "query": sample.get("queryStringParameters") or {},
        "header": {key.lower(): value for key, value in (sample.get("headers") or {}).items()},
    }[place]
    found = values.get(name.lower() if place == "header" else name)
    if found is not None:
        made["example"] = int(found) if schema.get("type") == "integer" else found
    return made


@cache
def samples() -> dict[str, list[dict[str, Any]]]:
    """The sample events of each route by its `shape`, the simplest first."""
    handlers = {shape(key): key for key in (f"{route.method} {route.openapi_path}" for route in _routes())}
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(EVENTS.glob("*.json"), key=lambda path: (len(path.stem), path.stem)):
        event = json.loads(path.read_text())
        if "routeKey" not in event or path.stem.rpartition(".")[2] in REFUSED_SAMPLES:
            continue
        key = shape(event["routeKey"])
        # Parameters are matched by position, because the template may name them differently.
        pairs = zip(handlers[key].split("/")[1:], event["rawPath"].split("/")[1:], strict=True)
        event["by_position"] = {name[1:-1]: value for name, value in pairs if name.startswith("{")}
        found.setdefault(key, []).append({**event, "sample": path.stem})
    return found


def _untitled(made: Any) -> Any:
    """Without the titles that pydantic makes of names. A property named `title` stays."""
    if isinstance(made, list):
        return [_untitled(part) for part in made]
    if not isinstance(made, dict):
        return made
    return {key: _untitled(value) for key, value in made.items() if not (key == "title" and isinstance(value, str))}


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    DOCUMENT.write_text(text())
    print(f"{sum(map(len, document()['paths'].values()))} operations in {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
