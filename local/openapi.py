"""Writes functions/docs/openapi.json from the code.

    python -m local.openapi

Powertools makes the document from the handlers' signatures and models. This module adds what a signature does not say: answers and problems
(`resolver.openapi_responses`), scopes (template.yaml), the answers of API Gateway itself, descriptions of fields (the text below each field
of a model), known values (`local/openapi_values.py`), and examples of requests (events/) and of answers (`local/openapi_examples.json`).
None of that is imported by a function.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.event_handler.openapi.models import Server
from pydantic import BaseModel
from samtranslator.yaml_helper import yaml_parse

from local import openapi_releases as releases
from local import openapi_values as values
from local.aws.paths import ROOT
from local.command import CommandError, interruptible, no_arguments
from titleholder import __version__
from titleholder import schemas as schemas_module
from titleholder.domain import accounts
from titleholder.schemas import Strict
from titleholder.web import linking_models, models, problems, resolver, review_models, timeline_models

DOCUMENT = ROOT / "functions" / "docs" / "openapi.json"
EVENTS = ROOT / "events"
FUNCTIONS = ROOT / "functions"
SCHEMAS = "#/components/schemas/"
REFUSED_SAMPLES = ("invalid", "unsigned")
"""A sample event whose name ends in one of these shows a refusal, so it is no example."""

DESCRIPTION = """Does this bank account belong to the person or business that claims it?

Times are ISO 8601 in UTC, scores 0 to 100. Every error is `application/problem+json` with a stable `type` and, for bad fields, `errors[]`.
Errors of API Gateway itself (400, 401, 403, 404, 413, 429, 500, 503) are `{"message": ...}`. Calls are signed for IAM with Signature
Version 4 (service `execute-api`). If the stack was deployed with a JWT issuer, they have a bearer token with the operation's scope instead.

Later releases may add fields to answers, and values to the known values of a field (`x-known-values`). Clients must accept both. Answers of
the release in `x-optional-in`, and of earlier ones, may lack the field."""

RETRY_AFTER = {"description": "Seconds until the next attempt.", "schema": {"type": "string", "pattern": "^[0-9]+$"}, "example": "5"}
STRIPE_ACCOUNT = {
    "name": "Stripe-Account",
    "in": "header",
    "required": False,
    "description": "The connected account of the request (`acct_...`). Without it, the request is about the platform itself.",
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
TAGS = {
    "accounts": "Accounts, their owners and snapshots, refreshes, and erasure.",
    "batches": "Many verifications from one file.",
    "customers": "Stripe Customers.",
    "desk": "The page on which people review.",
    "docs": "This document, and a page that shows it.",
    "reviews": "Reviews that wait for a person.",
    "sessions": "Having accounts linked and relinked.",
    "verifications": "Verifications, their timelines and their reviews.",
    "webhooks": "Stripe's deliveries.",
}
ANSWERS = {200: "Success.", 201: "Created.", 202: "Accepted."}
GATEWAY_ANSWERS = {
    400: "API Gateway: the request is malformed.",
    401: "API Gateway: no valid token.",
    403: "API Gateway: no signature, no permission, or a token without the scope.",
    404: "API Gateway: the stack has no such route.",
    413: "API Gateway: the body is too large.",
    429: "API Gateway: too many calls of this route.",
    500: "API Gateway: the function failed.",
    503: "API Gateway: the function did not answer in time.",
}
GATEWAY_MESSAGES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 413: "Request Entity Too Large", 429: "Too Many Requests",
    500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
GATEWAY_STATUSES = (401, 403, 404, 429, 500, 503)
"""API Gateway may give these answers on every route that needs authorisation. The others are added where the function has that status."""
PUBLIC_GATEWAY_STATUSES = (404, 429, 500, 503)


class OpenApiError(CommandError):
    """The document cannot be made. The message names the route and what it lacks."""


class Gateway(NamedTuple):
    """A route of the template. `scopes`: a JWT needs one of them. They are without the stack's JwtScopePrefix; a public route has none.

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
    "name": "file", "in": "path", "required": True, "description": "The name of the file.", "example": "desk.js",
    "schema": {"type": "string", "maxLength": 100},
}  # fmt: skip
DESK_FILES = {"text/javascript": "export {}", "text/css": "body {}", "image/svg+xml": "<svg></svg>"}
DELIVERY = {"type": "object", "description": "A snapshot or a thin event, as Stripe sends it."}
THIS = {"type": "object", "description": "An OpenAPI document."}
RECEIVED = {
    "type": "object", "description": "Stripe's event is stored.", "required": ["received"],
    "properties": {"received": {"type": "boolean", "description": "Always true."}},
}  # fmt: skip


def _answer(description: str, schema: Mapping[str, Any], examples: Mapping[str, Any]) -> dict[int, Any]:
    """The answer 200, with an example for each media type."""
    return {200: {"description": description, "content": {kind: {"schema": schema, "example": value} for kind, value in examples.items()}}}


def _named(name: str) -> dict[str, str]:
    return {"$ref": f"{SCHEMAS}{name}"}


@public.post(
    "/webhooks/stripe",
    responses=_answer("The event is stored.", _named("DeliveryReceived"), {"application/json": {"received": True}}),
    openapi_extensions={
        "parameters": [SIGNATURE], "requestBody": {"required": True, "content": {"application/json": {"schema": _named("StripeEvent")}}},
    },
)  # fmt: skip
@resolver.openapi_responses({}, "invalid-signature", "malformed-event")
def receive_webhook() -> None:
    """Stripe's webhook deliveries

    Public, because the signature authenticates a delivery. 200 once the event is stored, also for duplicates and unknown types.
    """


@public.get(
    "/docs", tags=["docs"], responses=_answer("Interactive documentation", {"type": "string"}, {"text/html": "<!DOCTYPE html>..."}),
)  # fmt: skip
@resolver.openapi_responses({})
def get_docs_page() -> None:
    """Interactive documentation

    Exists only if the stack was deployed with ServeDocs.
    """


@public.get(
    "/openapi.json", tags=["docs"],
    responses=_answer("This document", _named("OpenAPIDocument"), {"application/json": {"openapi": "3.1.0", "paths": {}}}),
)  # fmt: skip
@resolver.openapi_responses({})
def get_openapi_document() -> None:
    """This document

    Exists only if the stack was deployed with ServeDocs.
    """


@public.get("/desk", tags=["desk"], responses=_answer("The page", {"type": "string"}, {"text/html": "<!DOCTYPE html>..."}))
@resolver.openapi_responses({})
def get_desk_page() -> None:
    """The page of the review desk

    Exists only if the stack was deployed with DeskClientId. The page signs people in and calls the other routes with their tokens.
    """


@public.get(
    "/desk/<file>", tags=["desk"], responses=_answer("The file", {"type": "string"}, DESK_FILES),
    openapi_extensions={"parameters": [DESK_FILE]},
)  # fmt: skip
@resolver.openapi_responses({}, "route-not-found")
def get_desk_file() -> None:
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
    found = made["components"]["schemas"]
    schemas = {name: _schema(name, schema) for name, schema in found.items() if "Validation" not in name}
    schemas |= {"DeliveryReceived": RECEIVED, "StripeEvent": DELIVERY, "OpenAPIDocument": THIS, **values.SCHEMAS}
    schemas["ProblemReview"] = _without(schemas["Review"], "final")
    schemas = {name: values.with_formats(schema) for name, schema in schemas.items()}
    schemas |= values.hoisted(schemas, made["paths"])
    made["components"]["schemas"] = dict(sorted(schemas.items()))
    releases.relax(made)
    made["components"]["examples"] = {type_: _problem_example(type_) for type_ in sorted(problems.statuses())}
    made["paths"] = dict(sorted(made["paths"].items()))
    made["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    return {**_untitled(made), "info": made["info"]}


def strict(made: Mapping[str, Any]) -> dict[str, Any]:
    """The document for judging this release.

    Known values are all values, an error has one of the types that its route names, and an answer has the fields that an earlier one lacks.
    """
    judged: dict[str, Any] = values.closed(releases.required_again(made))
    for methods in judged["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                types = [f"urn:titleholder:problem:{type_}" for type_ in answer.get("x-problem-types", ())]
                content = answer.get("content", {})
                if types:
                    kinds = {"type": "object", "properties": {"type": {"enum": types}}}
                    content[problems.CONTENT_TYPE]["schema"] = {"allOf": [_named("Problem"), kinds]}
                    if "application/json" in content:
                        content["application/json"]["schema"] = _named("GatewayMessage")
    return judged


@cache
def _models() -> Mapping[str, type[BaseModel]]:
    """The models of bodies and answers by name."""
    modules = (schemas_module, models, linking_models, review_models, timeline_models)
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, BaseModel)
    }


@cache
def _field_texts(model: type[BaseModel]) -> Mapping[str, str]:
    """The text below each field in the model's source, also of the models that it extends."""
    texts: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not (issubclass(kind, BaseModel) and kind.__module__.startswith("titleholder.")):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in pairwise(body.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                assert isinstance(text.value, ast.Constant)
                texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


def _annotations(model: type[BaseModel]) -> Mapping[str, str]:
    """The annotations of the model's fields as they are written."""
    kinds = [kind for kind in reversed(model.__mro__) if kind.__module__.startswith("titleholder.")]
    return {name: str(text) for kind in kinds for name, text in inspect.get_annotations(kind).items()}


def _schema(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A model's schema with descriptions of its fields. That of an answer is open to what later releases add."""
    model = _models()[name]
    made = {**schema, "description": " ".join(inspect.cleandoc(model.__doc__ or "").split())}
    fields = model.model_fields
    if "properties" in made:
        texts, annotations = _field_texts(model), _annotations(model)
        made["properties"] = {
            key: {**values.annotated(copy.deepcopy(value), annotations[key]), "description": texts.get(key, "")}
            for key, value in made["properties"].items()
        }
    if not issubclass(model, Strict):
        made = values.opened(made)
        # An answer has all its fields, except those that its model leaves out if they have no value.
        if required := [key for key in made.get("properties", {}) if fields[key].exclude_if is None]:
            made["required"] = required
    return made


def _without(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    properties = {key: value for key, value in schema["properties"].items() if key != name}
    return {**schema, "properties": properties, "required": [key for key in schema["required"] if key != name]}


def _problem_example(type_: str) -> dict[str, Any]:
    return {"summary": type_, "value": values.problem_example(type_)}


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
        text = f"{ANSWERS[status]} " + " ".join(inspect.cleandoc(model.__doc__ or "").split())
        route.responses = {**(route.responses or {}), status: {"description": text, "content": {"application/json": {"model": model}}}}
    route.responses = {**(route.responses or {}), **_refusals(types, where)}
    always = PUBLIC_GATEWAY_STATUSES if gateway.public else GATEWAY_STATUSES
    route.responses |= _gateway_answers(route.responses, sorted({*always, *(route.responses.keys() & GATEWAY_ANSWERS)}))
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
        made[status] = {
            "description": "Problems: " + ", ".join(f"`{type_}`" for type_ in its) + ".",
            "content": {
                problems.CONTENT_TYPE: {
                    "schema": _named("Problem"),
                    "examples": {type_: {"$ref": f"#/components/examples/{type_}"} for type_ in its},
                }
            },
            "x-problem-types": its,
        }
        if status in (409, 429, 503):
            made[status]["headers"] = {"Retry-After": RETRY_AFTER}
    return made


def _gateway_answers(answers: Mapping[int, Any], statuses: Iterable[int]) -> dict[int, Any]:
    """API Gateway's own answers, merged with the function's answers of the same status.

    Where both may come, the schema is either of them for both media types, because generated clients use one schema for each status.
    """
    made = {}
    for status in statuses:
        known = answers.get(status, {})
        content = copy.deepcopy(known.get("content", {}))
        for media in content.values():
            media["schema"] = _named("Refusal")
        content["application/json"] = {
            "schema": _named("Refusal" if content else "GatewayMessage"), "example": {"message": GATEWAY_MESSAGES[status]},
        }  # fmt: skip
        described = " ".join(part for part in (known.get("description"), GATEWAY_ANSWERS[status]) if part)
        made[status] = {**known, "description": described, "content": content}
    return made


def _complete(operation: dict[str, Any], where: str) -> None:
    """Add examples from the sample events, and the header that every authorised route takes."""
    shown = samples().get(shape(where), [])
    if not operation["security"]:
        shown = shown[:1]  # One of Stripe's deliveries is enough.
    else:
        parameters = [
            _parameter(operation["operationId"], parameter, shown[0] if shown else {}) for parameter in operation.get("parameters", ())
        ]
        known = any(parameter["name"] == STRIPE_ACCOUNT["name"] for parameter in parameters)
        operation["parameters"] = parameters if known else [*parameters, STRIPE_ACCOUNT]
    examples = {sample["sample"]: {"value": json.loads(sample["body"])} for sample in shown if sample.get("body")}
    for status, answer in operation["responses"].items():
        for media in answer["content"].values():
            if status.startswith("2") and (recorded := values.answers().get(f"{where} {status}")):
                media["examples"] = recorded
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


def _parameter(operation: str, parameter: Mapping[str, Any], sample: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter with an example from the sample event. A header's name gets its usual spelling."""
    schema, place, name = _without_null(parameter["schema"]), parameter["in"], str(parameter["name"])
    name = name.title() if place == "header" else name
    described = parameter.get("description") or values.PARAMETERS.get(f"{operation} {name}") or values.PARAMETERS.get(name, "")
    made = {"name": name, "in": place, "required": bool(parameter.get("required")), "description": described, "schema": schema}
    sent: Mapping[str, str] = {
        "path": sample.get("by_position", {}),
        "query": sample.get("queryStringParameters") or {},
        "header": {key.lower(): value for key, value in (sample.get("headers") or {}).items()},
    }[place]
    found = sent.get(name.lower() if place == "header" else name)
    if found is not None and name != "Idempotency-Key":  # /docs would send the example with every body, and get a conflict.
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
    """Without the titles that pydantic makes of names. A property named `title` stays, and so do examples."""
    if isinstance(made, list):
        return [_untitled(part) for part in made]
    if not isinstance(made, dict):
        return made
    return {
        key: value if key in ("value", "example") else _untitled(value)
        for key, value in made.items()
        if not (key == "title" and isinstance(value, str))
    }


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    no_arguments("local.openapi", "Write the OpenAPI document anew.")
    DOCUMENT.write_text(text())
    print(f"{sum(map(len, document()['paths'].values()))} operations in {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(interruptible(main))
