"""The HTTP resolver that all routes share: limits on bodies, the tenant, and one mapping of errors to answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_plus

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import BaseRouter
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from titleholder.domain.accounts import CONNECTED_ACCOUNT_ID, Tenant
from titleholder.errors import AwsUnavailableError, ConnectedAccountForbiddenError, TitleholderError, is_aws_unavailable, unreached
from titleholder.observability import logger
from titleholder.schemas import JsonTextError, read_json
from titleholder.settings import Settings
from titleholder.web import problems
from titleholder.web.problems import Problem

if TYPE_CHECKING:
    from pydantic import BaseModel

    from titleholder.matching import Policy, PolicyError

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 32
_BODY_METHODS = ("POST", "PUT", "PATCH")
_Route = TypeVar("_Route", bound=Callable[..., Any])


class InvalidFieldError(Exception):
    """A field with a valid type but an invalid value."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Documented:
    """What a route's signature does not show. `answers`: each status's model (None: no body). `problems`: types beyond the common ones."""

    answers: Mapping[int, Any]
    problems: tuple[str, ...]
    asks_stripe: bool


def openapi_responses(answers: Mapping[int, Any], *problems: str, asks_stripe: bool = False) -> Callable[[_Route], _Route]:
    """Describe a route's answers for the OpenAPI document. Place it below the route's own decorator; it has no effect at run time.

    `asks_stripe` adds the problems of calls to Stripe.
    """

    def mark(route: _Route) -> _Route:
        route.documented = Documented(answers, problems, asks_stripe)  # type: ignore[attr-defined]
        return route

    return mark


def resolver() -> APIGatewayHttpResolver:
    """A resolver for routes of the HTTP API. It answers every error with a problem document."""
    app = APIGatewayHttpResolver(enable_validation=True)

    app.use(middlewares=[_refuse_unknown_parameters])

    @app.exception_handler(RequestValidationError)  # type: ignore[untyped-decorator]
    def _invalid(error: RequestValidationError) -> Response[str]:
        return respond(problems.invalid(*_field_errors(app, error.errors())))

    @app.exception_handler(InvalidFieldError)  # type: ignore[untyped-decorator]
    def _invalid_field(error: InvalidFieldError) -> Response[str]:
        return respond(problems.invalid([{"field": error.field, "detail": error.detail}]))

    @app.exception_handler(TitleholderError)  # type: ignore[untyped-decorator]
    def _known(error: TitleholderError) -> Response[str]:
        problem = problems.problem_for(error)
        logger.warning("request refused", extra={"problem": problem.type, "status": problem.status, "reason": str(error)})
        return respond(problem)

    @app.exception_handler(Exception)  # type: ignore[untyped-decorator]
    def _unexpected(error: Exception) -> Response[str]:
        # Log only its type and place, because its message may quote the request.
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        silent = {"reason": hint} if (hint := unreached(error)) else {}
        logger.error("request failed", extra={"error_type": type(error).__name__, "where": where, **silent})
        return respond(problems.problem_for(AwsUnavailableError.of(error)) if is_aws_unavailable(error) else problems.unexpected())

    @app.not_found
    def _no_route(_: NotFoundError) -> Response[str]:
        return respond(
            problems.bad_request(
                HTTPStatus.NOT_FOUND,
                "route-not-found",
                "There is no such route. Compare the path with the list of routes in docs/http.md; ids are sent unencoded.",
            )
        )

    return app


def handle(app: APIGatewayHttpResolver, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request. A body that can't be read is refused before the resolver sees it."""
    refused = _unreadable(event)
    if refused is not None:
        return answer(refused)
    # The resolver compares the media type case-sensitively.
    headers = {name: value.lower() if name.lower() == "content-type" else value for name, value in (event.get("headers") or {}).items()}
    try:
        return app.resolve({**event, "headers": headers}, context)
    finally:
        # Otherwise the resolver keeps the request, and the claim in it, until the next one.
        BaseRouter.current_event = APIGatewayProxyEventV2({})
        app.context.clear()


def json_response(status: int, model: BaseModel, *, stored: bool = True) -> Response[Any]:
    """A model as a resolver's response. `stored` False: no cache may keep it, because it contains personal data."""
    headers = {} if stored else {"Cache-Control": "no-store"}
    return Response(status_code=status, content_type="application/json", body=model.model_dump_json(), headers=headers)


def respond(problem: Problem) -> Response[str]:
    """A problem as a resolver's response."""
    return Response(
        status_code=problem.status, content_type=problems.CONTENT_TYPE, body=json.dumps(problem.body()), headers=dict(problem.headers)
    )


def answer(problem: Problem) -> dict[str, Any]:
    """A problem as a Lambda proxy response."""
    headers = {"Content-Type": problems.CONTENT_TYPE, **problem.headers}
    return {"statusCode": problem.status, "headers": headers, "body": json.dumps(problem.body()), "isBase64Encoded": False}


def policy(data: Mapping[str, Any] | None) -> Policy:
    """The policy in a body; the default if `data` is None. Raises InvalidFieldError."""
    from titleholder import matching  # loaded only by functions that need it

    try:
        return matching.Policy.from_request(data or {})
    except matching.PolicyError as error:
        raise InvalidFieldError(*_policy_error(error, data or {})) from None


def _policy_error(error: PolicyError, data: Mapping[str, Any]) -> tuple[str, str]:
    """The field of the policy that is wrong, and what is expected of it."""
    field = "policy" if error.field == "policy" else f"policy.{error.field}"
    if error.unknown is None:
        return field, error.problem
    from titleholder import field_errors  # loaded only for a request that is refused

    if error.field in ("required_fields", "never_close"):
        few = len(error.known) <= field_errors.FEW or field_errors.nearest(error.unknown, error.known)
        return field, field_errors.unknown("entry", error.unknown, error.known).detail if few else error.problem
    within, given = (field, data["field_thresholds"]) if error.field == "field_thresholds" else ("policy", data)
    name, detail = field_errors.unknown("field", error.unknown, error.known, among=list(given))
    return within if name is None else f"{within}.{name}", detail


def tenant(event: Any, settings: Settings) -> Tenant:
    """The tenant that a request is about: the connected account that the header `Stripe-Account` names, without it the platform.

    `event`: the resolver's current event. If the stack names a claim of the token (`JwtAccountClaim`), the token's account is the tenant,
    and the header may only repeat it.

    Raises:
        InvalidFieldError: the header is not a connected account's id.
        ConnectedAccountForbiddenError: the token does not allow this tenant.
    """
    # An empty header is a caller's mistake. It must not select the platform's own accounts.
    named = event.headers.get("stripe-account")
    if named is not None and not CONNECTED_ACCOUNT_ID.fullmatch(named):
        raise InvalidFieldError("Stripe-Account", "not a connected account id (acct_...)")
    if not settings.jwt_account_claim:
        return Tenant(settings.mode, named)
    authorizer = event.raw_event.get("requestContext", {}).get("authorizer") or {}
    allowed = ((authorizer.get("jwt") or {}).get("claims") or {}).get(settings.jwt_account_claim)
    if not isinstance(allowed, str) or not CONNECTED_ACCOUNT_ID.fullmatch(allowed):
        raise ConnectedAccountForbiddenError(
            "The token names no connected account. Send a token for the connected account that the request is about."
        )
    if named not in (None, allowed):
        raise ConnectedAccountForbiddenError(
            "The token is for another connected account than the one in Stripe-Account. Send a token for that one."
        )
    return Tenant(settings.mode, allowed)


def the_one(given: Mapping[str, str | None]) -> tuple[str, str]:
    """The name and value of the one field that is given. Raises InvalidFieldError if none is given, or several are."""
    named = [(name, value) for name, value in given.items() if value is not None]
    if len(named) == 1:
        return named[0]
    *others, last = given
    raise InvalidFieldError(named[0][0] if named else next(iter(given)), f"exactly one of {', '.join(others)} and {last} is needed")


def check_connected_account(connected_account: str | None, whose: Tenant) -> None:
    """Refuse a connected account in the request of another connected account. Raises InvalidFieldError."""
    if connected_account is not None and whose.stripe_account not in (None, connected_account):
        raise InvalidFieldError("connected_account", "not the connected account of Stripe-Account")


def _unreadable(event: Mapping[str, Any]) -> Problem | None:
    body = event.get("body")
    if not body or event.get("requestContext", {}).get("http", {}).get("method") not in _BODY_METHODS:
        return None
    try:
        raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        text = raw.decode()
    except ValueError:
        return problems.bad_request(HTTPStatus.BAD_REQUEST, "malformed-body", "The body is not UTF-8 text. Send JSON in UTF-8.")
    if len(raw) > MAX_BODY_BYTES:
        return problems.bad_request(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "body-too-large",
            f"The body is larger than {MAX_BODY_BYTES // 1024} KiB, which is the limit.",
        )
    kind = next((value for name, value in event.get("headers", {}).items() if name.lower() == "content-type"), "application/json")
    if kind.split(";")[0].strip().lower() != "application/json":
        return problems.bad_request(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The body must be JSON, with the header Content-Type: application/json.",
        )
    try:
        data = read_json(text, MAX_DEPTH)
    except JsonTextError as error:
        return problems.bad_request(HTTPStatus.BAD_REQUEST, "malformed-json", f"The body is not valid JSON at {error}.")
    if not isinstance(data, dict):
        return problems.bad_request(
            HTTPStatus.BAD_REQUEST, "malformed-json", "The body is not a JSON object: at line 1, column 1, { is expected."
        )
    return None


def _refuse_unknown_parameters(app: APIGatewayHttpResolver, next_middleware: Any) -> Any:
    """A middleware that refuses a request with a query parameter that its route does not know."""
    unknown, more = _unknown_parameters(app)
    return respond(problems.invalid(unknown, more)) if unknown else next_middleware(app)


def _unknown_parameters(app: APIGatewayHttpResolver) -> tuple[list[dict[str, str]], int]:
    """The first unknown query parameters with what is said of them, and how many more there are."""
    known = [field.alias for field in app.context["_route"].dependant.query_params]
    # AWS adds these parameters to a request that is signed in its query.
    given = [name for name in app.current_event.query_string_parameters if not name.lower().startswith("x-amz-") and name not in known]
    if not given:
        return [], 0
    from titleholder import field_errors  # loaded only for a request that is refused

    among = [unquote_plus(part.partition("=")[0]) for part in (app.current_event.get("rawQueryString") or "").split("&")]
    found = []
    for each in given[: field_errors.MOST]:
        name, detail = field_errors.unknown("query parameter", each, known, among=among)
        found.append({"field": name or "query", "detail": detail})
    return found, len(given) - len(found)


def _field_errors(app: APIGatewayHttpResolver, errors: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, str]], int]:
    """Where values are wrong and why, and how many more are wrong; never the values, which may be personal data."""
    from titleholder import field_errors  # loaded only for a request that is refused

    dependant = app.context["_route"].dependant
    known = [*dependant.path_params, *dependant.query_params, *dependant.header_params]
    found, more = _unknown_parameters(app)
    for error in errors:
        part, *place = error.get("loc", ("body",))
        if part == "body":
            continue
        field = next(field for field in known if field.alias == place[0])
        given = app.context["_route_args"] if part == "path" else app.current_event.query_string_parameters
        wrong = {**error, "loc": place[1:]}
        found += field_errors.explain([wrong], field.field_info.annotation, given.get(field.alias), [field.alias]).errors
    in_body = [{**error, "loc": error["loc"][1:]} for error in errors if error.get("loc", ("body",))[0] == "body"]
    if in_body:
        body = dependant.body_params[0].field_info.annotation
        explained = field_errors.explain(in_body, body, app.current_event.json_body if app.current_event.body else None)
        found, more = found + explained.errors, more + explained.more
    return found[: field_errors.MOST], more + max(0, len(found) - field_errors.MOST)
