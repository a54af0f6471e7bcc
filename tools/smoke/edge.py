"""The HTTP interface: every route answers, callers without the right signature are refused, webhooks are verified."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.openapi import DOCUMENT, gateway_routes, shape
from titleholder.stripe_api import signatures
from tools.smoke import keys
from tools.smoke.report import Line, eventually, failed, ok, unchecked
from tools.smoke.stack import Answer, Deployed

WEBHOOK = "POST /webhooks/stripe"
DOCS = ("GET /docs", "GET /openapi.json")
PAGE = ("GET /desk", "GET /desk/{file}")
NEVER_EXPECTED = (401, 403, 413, 415, 429, 500, 502, 503, 504)
NO_IDS = ("DELETE /accounts/{account}", "POST /accounts/{account}/refreshes")
QUERIES = {"GET /accounts": "?customer={customer}", "GET /verifications": "?account={account}"}
LOGS = "the function's log group (/titleholder/<stack>/...) has the reason"


def documented() -> dict[str, str]:
    """The routes of the OpenAPI document by their shape: `GET /a/{}` -> `GET /a/{b}`."""
    paths = json.loads(DOCUMENT.read_text())["paths"]
    routes = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    return {shape(route): route for route in routes}


def routes(stack: Deployed) -> Iterator[Line]:
    """Call every route with unknown ids or an empty body. The answers are problems such as 404 and 422, or 200. Nothing is changed."""
    pages = stack.client("apigatewayv2").get_paginator("get_routes").paginate(ApiId=stack.outputs["HttpApiId"])
    deployed = {shape(route["RouteKey"]) for page in pages for route in page["Items"]}
    left_out: tuple[str, ...] = () if stack.parameters.get("ServeDocs") == "true" else DOCS
    left_out += () if stack.parameters.get("DeskClientId") else PAGE
    wanted = {key: route for key, route in documented().items() if route not in left_out}
    for key in sorted(wanted.keys() - deployed):
        yield failed(f"route {wanted[key]}", "the stack does not have it", "deploy the stack from this release")
    for key in sorted(deployed - set(documented())):
        yield failed(
            f"route {key}", "it is not in the OpenAPI document of this checkout", "run the smoke test of the release that is deployed"
        )
    if stack.out_of_reach:
        yield unchecked("routes", *stack.out_of_reach)
        wanted = {key: route for key, route in wanted.items() if route in DOCS}
    for route in sorted(route for route in wanted.values() if stack.by_peoples_token(route)):
        yield unchecked(f"route {route}", "people call it with a token of ReviewIssuer", "sign in to the review desk")
    # The page has a check of its own.
    called = sorted(
        route for key, route in wanted.items() if key in deployed and route not in (WEBHOOK, *PAGE) and not stack.by_peoples_token(route)
    )
    with ThreadPoolExecutor(8) as pool:
        yield from pool.map(lambda route: _route(stack, route), called)


def _route(stack: Deployed, route: str) -> Line:
    method, path = route.split()
    if route in DOCS:
        answer = stack.send(method, path)
        return ok(f"route {route}", "200") if answer.status == 200 else _refused(route, answer)
    # Ids of the right form, so that the function asks the table or Stripe. Not where an unknown id would already have an effect.
    ids = {} if route in NO_IDS else _ids(stack)
    path = re.sub(r"\{([^}]*)\}", lambda name: ids.get(name[1], "smoke"), path) + QUERIES.get(route, "").format(**_ids(stack))
    answer = stack.call(method, path, {} if method == "POST" else None)
    kind = str(answer.body.get("type", "")) if isinstance(answer.body, dict) else ""
    if kind.startswith("urn:titleholder:problem:") and answer.status not in NEVER_EXPECTED:
        return ok(f"route {route}", f"{answer.status} {kind.rpartition(':')[2]}")
    if method == "GET" and answer.status == 200:
        return ok(f"route {route}", "200")
    if answer.status == 403 and not kind and stack.by_token and gateway_routes()[shape(route)].scopes == ["review"]:
        # API Gateway's refusal. No machine should have this scope, so the smoke test's token need not have it either.
        return unchecked(f"route {route}", "the token lacks the scope review, which only people should have", "call it as a reviewer")
    return _refused(route, answer)


def _ids(stack: Deployed) -> dict[str, str]:
    """Ids that nothing has."""
    mark = stack.mark
    return {
        "account": stack.ref.account, "verification": f"ver_{mark:0<32}", "id": f"bat_{mark:0<32}", "session": f"fcsess_smoke{mark}",
        "customer": f"cus_smoke{mark}",
    }  # fmt: skip


def _refused(route: str, answer: Answer) -> Line:
    about, body = f"route {route}", answer.body if isinstance(answer.body, dict) else {}
    told = str(body.get("type") or body.get("message") or "no explanation")
    if answer.status in (401, 403):
        return failed(about, f"{answer.status} {told}", "your identity needs execute-api:Invoke on this route, or the token its scope")
    if answer.status == 404:
        return failed(about, f"404 {told}", "API Gateway does not know the route: deploy the stack again")
    if answer.status in (500, 503):
        return failed(about, f"{answer.status} {told}", f"the function fails or may not be invoked; {LOGS}")
    return failed(about, f"{answer.status} {told}", LOGS)


def authorisation(stack: Deployed) -> Iterator[Line]:
    """Each route requires either a signature, or its issuer's token with a scope of this stack, as the parameters say."""
    about, prefix, wrong = "authorisation of routes", stack.parameters.get("JwtScopePrefix", ""), list[str]()
    pages = stack.client("apigatewayv2").get_paginator("get_routes").paginate(ApiId=stack.outputs["HttpApiId"])
    for route in (each for page in pages for each in page["Items"]):
        known = gateway_routes().get(shape(route["RouteKey"]))
        # The check `routes` reports a route that this release does not have.
        if known is None or known.public:
            continue
        type_, scopes = route.get("AuthorizationType"), list(route.get("AuthorizationScopes") or ())
        people = stack.by_peoples_token(known.key)
        if people or stack.by_token:
            # CloudFormation's id of an authorizer may have the API's in it.
            its = (stack.physical("ReviewAuthorizer" if people else "JwtAuthorizer") or "").split("|")
            good = (
                type_ == "JWT" and sorted(scopes) == sorted(f"{prefix}{scope}" for scope in known.scopes) and route["AuthorizerId"] in its
            )
        else:
            good = type_ == "AWS_IAM" and not scopes and not route.get("AuthorizerId")
        if not good:
            wrong.append(f"{route['RouteKey']} has {type_}, authorizer {route.get('AuthorizerId')}, scopes {scopes}")
    wanted = f"JWT with scopes after '{prefix}'" if stack.by_token else "AWS_IAM, without authorizer and scopes"
    if stack.parameters.get("ReviewIssuer"):
        wanted += "; those of the review desk JWT, of ReviewIssuer"
    if wrong:
        yield failed(
            about, f"{'; '.join(wrong)} instead of {wanted}", "deploy again, or correct the routes: docs/edge.md#callers-with-tokens"
        )
    else:
        yield ok(about, wanted)


def refusals(stack: Deployed) -> Iterator[Line]:
    """Calls without the right credentials are refused."""
    if stack.needs_certificate:
        yield unchecked("calls without a right", *(stack.out_of_reach or ("", "")))
        return
    path, other = "/verifications/smoke", "eu-west-1" if stack.region != "eu-west-1" else "eu-west-2"
    todo = "the route must refuse such calls: check AuthorizationType of the routes, and deploy the stack again"
    refused = (401,) if stack.by_token else (403,)
    calls: dict[str, dict[str, str]] = {"unsigned call": {}, "call with an invalid token": {"Authorization": "Bearer a.b.c"}}
    if not stack.by_token:
        calls["call signed with a wrong secret"] = stack.signature("GET", path, spoilt=True)
        calls["call signed for another region"] = stack.signature("GET", path, region=other)
    for name, headers in calls.items():
        status = stack.send("GET", path, headers=headers).status
        yield ok(name, f"refused ({status})") if status in refused else failed(name, f"answered {status} instead of a refusal", todo)
    if stack.parameters.get("ReviewIssuer"):
        # As a back end calls: it may not look at names or decide.
        name, status = "call of a back end to the review desk", stack.call("POST", f"{path}/comparison", {}).status
        yield ok(name, f"refused ({status})") if status == 401 else failed(name, f"answered {status} instead of a refusal", todo)


def webhook(stack: Deployed) -> Iterator[Line]:
    """A forged delivery is refused. A signed one is stored, and its event comes through the events queue to FetchOwners.

    The event names an account of an organization that is not this stack's. FetchOwners asks Stripe which account the key has, which is
    free, and sets the event aside, so that nothing else happens.
    """
    if stack.needs_certificate:
        yield unchecked("webhook", *(stack.out_of_reach or ("", "")))
        return
    now = int(time.time())
    forged = _delivery(stack, _event(stack, f"evt_smoke{stack.mark}forged", now, "smoke.test"), "whsec_forged" + "0" * 24, now)
    if forged.status == 400:
        yield ok("forged webhook", "refused (400)")
    else:
        todo = "the receiver must refuse what Stripe did not sign: check the function ReceiveWebhook" if forged.status < 500 else LOGS
        yield failed("forged webhook", f"answered {forged.status}", todo)
    held = keys.signing_secrets(stack)
    if not held:
        yield unchecked("signed webhook", "there is no usable signing secret", "see the line about the webhook's signing secret")
        return
    # If Stripe would refuse FetchOwners' call, the event would end in the dead-letter queue. So then its type is one that is ignored.
    asks = keys.reads_own_account(stack)
    event = _event(stack, f"evt_smoke{stack.mark}", now, "financial_connections.account.refreshed_ownership" if asks else "smoke.test")
    for number, secret in enumerate(held):
        name = "signed webhook" if len(held) == 1 else f"signed webhook, secret {number + 1} of {len(held)}"
        answer = _delivery(stack, event, secret, now)
        if answer.status == 200:
            yield ok(name, "accepted (200)")
        elif answer.status == 400:
            yield failed(
                name, "refused (400)", "the receiver has other secrets than Secrets Manager has now: wait five minutes, then repeat"
            )
        else:
            yield failed(name, f"answered {answer.status}", LOGS)
            return
    yield _queued(stack, f"EVENT#evt_smoke{stack.mark}", asks)


def _queued(stack: Deployed, pk: str, asks: bool) -> Line:
    """How the event was processed. It is marked as the smoke test's."""
    about = "events queue"

    def stored() -> dict[str, Any]:
        return stack.store.table.get(pk, "EVENT") or {}

    done = asks and eventually(lambda: stored().get("aside"), stack.patience)
    found = stored()
    stack.mark_item(pk, "EVENT")
    if not found:
        return failed(about, "the event is not in the table", f"the webhook was answered with 200, so check TableName; {LOGS}")
    if not asks:
        return unchecked(about, "the event is stored; it was not queued, because Stripe's key may not read its own account")
    if done:
        return ok(about, "the event went through it to FetchOwners, which asked Stripe for the key's own account and set the event aside")
    todo = "check that the event source FetchOwnersEvents is enabled, and the log of fetch_owners"
    return failed(about, f"the event is stored, but FetchOwners has not processed it within {stack.patience:g} s", todo)


def _event(stack: Deployed, id_: str, now: int, type_: str) -> bytes:
    about = {"object": "financial_connections.account", "id": stack.ref.account}
    event = {
        "id": id_, "object": "event", "type": type_, "livemode": stack.mode == "live",
        "created": now, "context": f"org_smoke{stack.mark}/acct_smoke{stack.mark}", "data": {"object": about},
    }  # fmt: skip
    return json.dumps(event).encode()


def _delivery(stack: Deployed, body: bytes, secret: str, now: int) -> Answer:
    return stack.send("POST", WEBHOOK.split()[1], body, headers={"Stripe-Signature": signatures.sign(body, secret, now)})
