"""The control interface under /_simulator/: the methods of `Simulator` as JSON over HTTP."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from local.stripe_simulator import commands
from local.stripe_simulator.core import Simulator
from local.stripe_simulator.deliveries import WebhookFault
from local.stripe_simulator.faults import ApiFault
from local.stripe_simulator.options import Options
from local.stripe_simulator.scenarios import SCENARIOS
from local.stripe_simulator.wire import Json, Response, to_bytes

PREFIX = "/_simulator/"


@dataclass(frozen=True, eq=False)
class Route:
    """A command. `{id}` in `path` is one segment. GETs take their arguments from the query, the others from a JSON body.

    does: what it does. call: the method that does it. fields: a dataclass whose fields are the arguments, if they are not the method's own.
    key: the name that the method's result has in the answer; None answers the result itself, or {"done": true} for no result.
    example: the arguments of a call.
    """

    method: str
    path: str
    does: str
    call: Callable[..., Any]
    fields: type | None = None
    key: str | None = None
    example: Mapping[str, Any] | None = None

    @property
    def named(self) -> str:
        return f"{self.method} {self.path}"


def _scenarios(simulator: Simulator) -> Json:
    return {name: scenario.title for name, scenario in SCENARIOS.items()}


ROUTES = (
    Route("GET", "scenarios", "Lists the scenarios with their titles.", _scenarios),
    Route(
        "POST", "accounts", "Links an account of a scenario, and returns its state.", Simulator.link,
        example={"scenario": "joint", "id": "fca_1", "policy": {"settle_seconds": 2}, "owners": [{"name": "ANY NAME"}]},
    ),
    Route("GET", "accounts", "Returns the state of every account.", Simulator.states),
    Route("GET", "accounts/{id}", "Returns the state of an account, with all its refreshes.", Simulator.state),
    Route(
        "POST", "accounts/{id}", "Changes an account, and returns its state. `action` is `deactivate`, `reactivate`, `disconnect`, "
        "`prefetch` (starts a prefetch of `features`) or `update_account_numbers`. New `owners` appear when the next refresh "
        "settles. A new `outcome` in `policy` does not change a pending refresh.",
        Simulator.change,
        example={"owners": [{"name": "ANOTHER NAME"}]},
    ),
    Route(
        "POST", "accounts/{id}/deactivate", "Makes an account inactive, because Stripe loses access to it. If the account is inactive "
        "already, only the cause and the action change, and no event is sent.",
        Simulator.deactivate, example={"cause": "account_closed", "action": "none"},
    ),
    Route("POST", "accounts/{id}/reactivate", "Makes an inactive account active again.", Simulator.reactivate, example={}),
    Route(
        "POST", "accounts/{id}/expire", "Announces that an account will become inactive at the time `at` (Unix seconds), and makes it "
        "inactive then.", Simulator.expire, example={"at": 1900000000, "cause": "access_expired", "action": "relink_required"},
    ),
    Route(
        "POST", "complete/{id}", "Completes a session, intent or Checkout Session as an end user does. With `manual`, the user types in "
        "the account's numbers, and no account is linked.",
        Simulator.complete, example={"accounts": [{"scenario": "business", "id": "fca_2"}]},
    ),
    Route(
        "POST", "relink/{id}", "Completes a session for relinking as an end user does: [relinking.md](../relinking.md#in-the-simulator).",
        Simulator.complete_relink, example={"outcome": "failed", "failure_reason": "no_account"},
    ),
    Route(
        "POST", "customer_accounts/{id}", "Registers an account of Stripe's Accounts v2 as a `customer_account`.",
        Simulator.add_customer_account, example={"stripe_account": "acct_1"},
    ),
    Route("DELETE", "customers/{id}", "Deletes a customer, as Stripe's dashboard can.", Simulator.delete_customer, example={}),
    Route(
        "POST", "endpoints", "Adds a webhook endpoint, or replaces the one with this `id`. If `secret` is a list, each of the secrets "
        "signs every delivery, as Stripe does while a secret is rolled.", Simulator.add_endpoint, key="id",
        example={"url": "http://127.0.0.1:3000/webhooks/stripe", "secret": "whsec_local", "types": ["*"]},
    ),
    Route("DELETE", "endpoints/{id}", "Removes an endpoint and its pending deliveries.", Simulator.remove_endpoint),
    Route(
        "POST", "faults/api", "Makes API calls fail: [below](#faults-of-api-calls).", Simulator.fail_api, ApiFault,
        example={"kind": "server_error", "effect": "after", "account": "fca_1", "times": 2},
    ),
    Route(
        "POST", "faults/webhooks", "Makes deliveries fail: [below](#faults-of-webhooks).", Simulator.fail_webhooks, WebhookFault,
        example={"kind": "duplicate", "account": "fca_1", "copies": 2, "seconds": 1},
    ),
    Route("DELETE", "faults", "Ends all faults.", Simulator.clear_faults),
    Route(
        "POST", "options", "Changes [options](#options), and returns all of them except `api_keys` and `denied`.",
        Simulator.configure, Options,
        example={"settle_seconds": 0.1, "rate_limit": 25},
    ),
    Route("POST", "events/{id}/resend", "Sends an event again, as Stripe's dashboard can.", Simulator.resend, key="deliveries"),
    Route(
        "POST", "events/thin", "Sends a thin event of any type and shape.", Simulator.send_thin, key="id",
        example={"type": "v1.balance.changed", "related_object": {"type": "balance", "url": "/v1/balance"}},
    ),
    Route(
        "GET", "refreshes", "Returns for each account how many refreshes of owners were started by API calls. Stripe charges for each.",
        Simulator.initiated_refreshes,
    ),
    Route("GET", "requests", "Returns the log of API calls, without bodies.", Simulator.requests),
    Route(
        "GET", "requests/counts", "Returns the numbers of API calls by operation, by account and by status, and the most within a second.",
        Simulator.request_counts,
    ),
    Route("GET", "deliveries", "Returns the log of webhook deliveries, without bodies.", Simulator.deliveries),
    Route(
        "POST", "reset", "Removes everything except the options and the endpoints. With `endpoints: true`, removes the endpoints too.",
        Simulator.reset,
        example={"endpoints": False},
    ),
)  # fmt: skip


@cache
def arguments_of(route: Route) -> tuple[commands.Hints, tuple[str, ...]]:
    """The fields of a route with their types, and which of them are required."""
    if route.fields is not None:
        # Options are all optional: those that are left out stay as they are.
        required = [each.name for each in fields(route.fields) if each.default is MISSING and each.default_factory is MISSING]
        return commands.hints(route.fields), tuple(required)
    own = list(inspect.signature(route.call, eval_str=True).parameters.values())[2 if "{id}" in route.path else 1 :]
    return {each.name: each.annotation for each in own}, tuple(each.name for each in own if each.default is each.empty)


def handle(simulator: Simulator, method: str, target: str, body: bytes) -> Response:
    """Answer a request whose `target` begins with `PREFIX`: 200 with the result, 400 for wrong arguments, 404 for an unknown object."""
    path, _, query = target.removeprefix(PREFIX).partition("?")
    try:
        route, id = _route(method, path)
        given = _arguments(method, query, body)
        commands.check(given, *_known(route))
        result = route.call(simulator, *((id,) if "{id}" in route.path else ()), **given)
        return _json(200, {route.key: result} if route.key else {"done": True} if result is None else result)
    except KeyError as error:
        return _json(404, {"error": f"not found: {error.args[0]}"})
    except (TypeError, ValueError) as error:
        return _json(400, {"error": str(error)})


def _known(route: Route) -> tuple[commands.Hints, str, tuple[str, ...]]:
    known, required = arguments_of(route)
    return known, "", required


def _route(method: str, path: str) -> tuple[Route, str]:
    parts = path.split("/")
    for route in ROUTES:
        pieces = route.path.split("/")
        if (
            route.method == method
            and len(pieces) == len(parts)
            and all(piece in ("{id}", part) for piece, part in zip(pieces, parts, strict=True))
        ):
            return route, next((part for piece, part in zip(pieces, parts, strict=True) if piece == "{id}"), "")
    raise KeyError(f"{method} {PREFIX}{path}: {commands.no_such('route', f'{method} {path}', (route.named for route in ROUTES))}")


def _arguments(method: str, query: str, body: bytes) -> Json:
    if method == "GET":
        return {name: value == "true" if value in ("true", "false") else value for name, value in parse_qsl(query)}
    arguments = json.loads(body) if body else {}
    if not isinstance(arguments, dict):
        raise ValueError("the body must be a JSON object")
    return arguments


def _json(status: int, value: Any) -> Response:
    return Response(status, {"Content-Type": "application/json"}, to_bytes(value))
