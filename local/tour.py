"""Calls every route once on an embedded stack and prints each answer.

    python -m local.tour

STRIPE_API_BASE (with STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET) replaces the simulator by another server. That server needs the simulator's
control interface, which links the account. Exits with 1 if a route is not called or an answer is not as expected.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from local import openapi
from local.client import Answer, Client
from local.sign_event import signed
from local.stack import Stack, running
from local.stripe_simulator.options import Options

WIDTH = 110
TIMEOUT_SECONDS = 60
MARGARET = {"name": "Margaret Testerman", "phone": "+1 555 555 0101"}

Found = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call. `path` and `body` may use values of earlier answers (`{account}`). `keep`: names of values to keep, with their places."""

    route: str
    path: str
    status: int | tuple[int, ...]
    body: Any = None
    keep: Mapping[str, str] | None = None
    until: Callable[[Any], bool] | None = None
    key: str | None = None


CALLS = [
    Call("GET /docs", "/docs", 200),
    Call("GET /openapi.json", "/openapi.json", 200),
    Call("POST /customers", "/customers", 201, {"email": "margaret.testerman@example.com"}, {"customer": "id"}, key="tour-customer"),
    Call("POST /sessions", "/sessions", 201, {"via": "financial_connections", "customer": "{customer}"}, {"session": "id"}),
    Call(
        "GET /sessions/{session}", "/sessions/{session}", 200, keep={"account": "accounts.0.account"}, until=lambda body: body["accounts"]
    ),
    Call("GET /accounts", "/accounts?customer={customer}", 200),
    Call("GET /accounts/{account}", "/accounts/{account}", 200),
    Call(
        "POST /verifications",
        "/verifications",
        (200, 202),
        {"account": "{account}", "claim": MARGARET},
        {"verification": "id"},
        key="tour-1",
    ),
    Call("GET /verifications/{verification}", "/verifications/{verification}", 200, until=lambda body: body["state"] == "completed"),
    Call("GET /verifications", "/verifications?account={account}&verdict=match", 200),
    # The verification already has its verdict.
    Call("DELETE /verifications/{verification}", "/verifications/{verification}", 409),
    Call("POST /accounts/{account}/refreshes", "/accounts/{account}/refreshes", 200, {"max_age": 3600}),
    Call("GET /accounts/{account}/owners", "/accounts/{account}/owners", 200),
    Call("GET /accounts/{account}/snapshots", "/accounts/{account}/snapshots", 200),
    Call("POST /batches", "/batches", 201, {"format": "jsonl"}, {"batch": "id", "slot": "upload.urls.0"}, key="tour-batch"),
    Call("POST /batches/{id}/start", "/batches/{batch}/start", 202),
    Call("GET /batches/{id}", "/batches/{batch}", 200, until=lambda body: body["state"] == "completed"),
    # A batch that has ended cannot be stopped.
    Call("DELETE /batches/{id}", "/batches/{batch}", 409),
    Call("DELETE /accounts/{account}", "/accounts/{account}", 200),
    Call("POST /webhooks/stripe", "/webhooks/stripe", 200),
]
"""In this order, because each may use values of earlier answers."""


def tour(stack: Stack, say: Callable[[str], None]) -> list[str]:
    """Make the calls and print each with its answer. Returns what is not as expected."""
    client, found, wrong = Client(stack.api_url), Found(), list[str]()
    called = set()
    for call in CALLS:
        called.add(openapi.shape(call.route))
        answer = _make(client, stack, call, found)
        path = _filled(call.path, found)
        say(f"{call.route.split()[0]:6} {path:58} {answer.status}  {_short(answer)}")
        expected = call.status if isinstance(call.status, tuple) else (call.status,)
        if answer.status not in expected:
            wrong.append(f"{call.route}: {answer.status}, expected {call.status}")
            # Later calls need this one's answer.
            break
        for name, place in (call.keep or {}).items():
            found[name] = _at(answer.body, place)
        if call.route == "POST /sessions":
            # An end user does this in Stripe's dialogue.
            _control(stack, f"complete/{found['session']}", {"accounts": [{"scenario": "single_owner"}]})
        if call.route == "POST /batches":
            manifest = json.dumps({"account": found["account"], "claim": MARGARET}).encode()
            requests.put(found["slot"], manifest, timeout=30).raise_for_status()
    if not wrong and (missing := set(openapi.gateway_routes()) - called):
        wrong.append(f"not called: {', '.join(sorted(missing))}")
    return wrong


def _make(client: Client, stack: Stack, call: Call, found: Found) -> Answer:
    method, path = call.route.split()[0], _filled(call.path, found)
    if call.route == "POST /webhooks/stripe":
        return _delivery(client, stack)
    body = json.loads(_filled(json.dumps(call.body), found)) if call.body is not None else None
    headers = {"Idempotency-Key": f"{call.key}-{os.getpid()}"} if call.key else {}
    end = time.monotonic() + TIMEOUT_SECONDS
    while True:
        answer = client.call(method, path, body, headers=headers)
        if call.until is None or answer.status != 200 or call.until(answer.body) or time.monotonic() > end:
            return answer
        time.sleep(0.3)


def _delivery(client: Client, stack: Stack) -> Answer:
    """Send a webhook delivery with Stripe's signature."""
    sample = json.loads((openapi.EVENTS / "receive_webhook.unknown_type.json").read_text())
    event = signed(sample, stack.webhook_secret, int(time.time()))
    headers = {"Content-Type": "application/json", "Stripe-Signature": event["headers"]["stripe-signature"]}
    return client.call("POST", "/webhooks/stripe", raw=event["body"].encode(), headers=headers, signed=False)


def _control(stack: Stack, path: str, body: Any) -> None:
    answer = requests.post(f"{stack.stripe_url}/_simulator/{path}", json=body, timeout=30)
    if answer.status_code != 200:
        raise SystemExit(f"{stack.stripe_url} lacks the simulator's control interface: {answer.status_code} {answer.text[:200]}")


def _filled(text: str, found: Found) -> str:
    for name, value in found.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def _at(body: Any, place: str) -> Any:
    for part in place.split("."):
        body = body[int(part)] if part.isdigit() else body[part]
    return body


def _short(answer: Answer) -> str:
    if answer.body is None:
        return f"{answer.headers.get('Content-Type', 'no body')}"
    text = json.dumps(answer.body)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4]} ..."


def main() -> int:
    base = os.environ.get("STRIPE_API_BASE") or None
    secret = os.environ.get("STRIPE_WEBHOOK_SECRET") or None
    key = os.environ.get("STRIPE_API_KEY") or "sk_test_titleholder_local"
    print(f"Stripe: {base or 'the simulator'}", flush=True)
    parameters, options = {"SettleTimeoutSeconds": "5"}, Options(settle_seconds=0.5)
    with running(parameters=parameters, options=options, stripe_api_base=base, api_key=key, webhook_secret=secret) as stack:
        wrong = tour(stack, lambda text: print(text, flush=True))
    for text in wrong:
        print(f"NOT AS EXPECTED  {text}")
    if not wrong:
        print(f"\n{len(CALLS)} calls, all answered as expected. The template has {len(openapi.gateway_routes())} routes.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
