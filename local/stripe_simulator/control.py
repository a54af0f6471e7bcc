"""The control interface under /_simulator/: the methods of `Simulator` as JSON over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from local.stripe_simulator.core import Simulator
from local.stripe_simulator.scenarios import SCENARIOS
from local.stripe_simulator.wire import Json, Response, to_bytes

PREFIX = "/_simulator/"

Action = Callable[[Simulator, str, Json], Any]


def _done(result: None) -> Json:
    return {"done": True}


# Keyed by method and path; {id} is one path segment. GETs take their arguments from the query, the others from a JSON body.
ROUTES: dict[tuple[str, str], Action] = {
    ("GET", "scenarios"): lambda sim, _, args: {name: scenario.title for name, scenario in SCENARIOS.items()},
    ("POST", "reset"): lambda sim, _, args: _done(sim.reset(**args)),
    ("POST", "accounts"): lambda sim, _, args: sim.link(**args),
    ("GET", "accounts"): lambda sim, _, args: sim.states(),
    ("GET", "accounts/{id}"): lambda sim, id, args: sim.state(id, **args),
    ("POST", "accounts/{id}"): lambda sim, id, args: sim.change(id, **args),
    ("POST", "accounts/{id}/deactivate"): lambda sim, id, args: sim.deactivate(id, **args),
    ("POST", "accounts/{id}/reactivate"): lambda sim, id, args: sim.reactivate(id, **args),
    ("POST", "accounts/{id}/expire"): lambda sim, id, args: sim.expire(id, **args),
    ("POST", "complete/{id}"): lambda sim, id, args: sim.complete(id, **args),
    ("POST", "customer_accounts/{id}"): lambda sim, id, args: _done(sim.add_customer_account(id, **args)),
    ("DELETE", "customers/{id}"): lambda sim, id, args: _done(sim.delete_customer(id, **args)),
    ("POST", "relink/{id}"): lambda sim, id, args: sim.complete_relink(id, **args),
    ("POST", "endpoints"): lambda sim, _, args: {"id": sim.add_endpoint(**args)},
    ("DELETE", "endpoints/{id}"): lambda sim, id, args: _done(sim.remove_endpoint(id)),
    ("POST", "options"): lambda sim, _, args: sim.configure(**args),
    ("POST", "faults/api"): lambda sim, _, args: _done(sim.fail_api(**args)),
    ("POST", "faults/webhooks"): lambda sim, _, args: _done(sim.fail_webhooks(**args)),
    ("DELETE", "faults"): lambda sim, _, args: _done(sim.clear_faults()),
    ("POST", "events/thin"): lambda sim, _, args: {"id": sim.send_thin(**args)},
    ("POST", "events/{id}/resend"): lambda sim, id, args: {"deliveries": sim.resend(id)},
    ("GET", "requests"): lambda sim, _, args: sim.requests(),
    ("GET", "requests/counts"): lambda sim, _, args: sim.request_counts(),
    ("GET", "refreshes"): lambda sim, _, args: sim.initiated_refreshes(),
    ("GET", "deliveries"): lambda sim, _, args: sim.deliveries(),
}


def handle(simulator: Simulator, method: str, target: str, body: bytes) -> Response:
    """Answer a request whose `target` begins with `PREFIX`: 200 with the result, 400 for wrong arguments, 404 for an unknown object."""
    path, _, query = target.removeprefix(PREFIX).partition("?")
    try:
        action, id = _route(method, path)
        return _json(200, action(simulator, id, _arguments(method, query, body)))
    except KeyError as error:
        return _json(404, {"error": f"not found: {error.args[0]}"})
    except (TypeError, ValueError) as error:
        return _json(400, {"error": str(error)})


def _route(method: str, path: str) -> tuple[Action, str]:
    parts = path.split("/")
    for (wanted, template), action in ROUTES.items():
        pieces = template.split("/")
        if (
            wanted == method
            and len(pieces) == len(parts)
            and all(piece in ("{id}", part) for piece, part in zip(pieces, parts, strict=True))
        ):
            return action, next((part for piece, part in zip(pieces, parts, strict=True) if piece == "{id}"), "")
    raise KeyError(f"{method} {PREFIX}{path}")


def _arguments(method: str, query: str, body: bytes) -> Json:
    if method == "GET":
        return {name: value == "true" if value in ("true", "false") else value for name, value in parse_qsl(query)}
    arguments = json.loads(body) if body else {}
    if not isinstance(arguments, dict):
        raise ValueError("the body must be a JSON object")
    return arguments


def _json(status: int, value: Any) -> Response:
    return Response(status, {"Content-Type": "application/json"}, to_bytes(value))
