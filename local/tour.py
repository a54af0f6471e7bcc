"""Calls every route on an embedded stack, links accounts in every kind of session, and prints each answer.

    python -m local.tour

STRIPE_API_BASE (with STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET) replaces the simulator by another server. That server needs the simulator's
control interface, which links the accounts. An account is relinked with the simulator's preview version. STRIPE_PREVIEW_VERSION names
that of another server; without it no account is relinked there. With STRIPE_OPENAPI, which names Stripe's OpenAPI document, every request
that reaches the simulator and every answer of it is judged by that document.

Exits with 1 if a route is not called, an answer is not as expected, or a request does not fit the document.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from local import openapi
from local.client import Answer, Client
from local.command import CommandError, interruptible, no_arguments
from local.sign_event import signed
from local.stack import Inputs, Stack, running
from local.stripe_simulator.options import Options
from local.stripe_simulator.server import SimulatorServer
from local.stripe_simulator.wire import CaseInsensitive, Response

WIDTH = 110
TIMEOUT_SECONDS = 60
MARGARET = {"name": "Margaret Testerman", "phone": "+1 555 555 0101"}
V2 = "acct_tourcustomer"
"""An account of Accounts v2 with the customer configuration."""
PAYEE = "acct_tourpayee"
"""A connected account that gets payouts."""
PAGE = "https://shop.example.com/linked?session={CHECKOUT_SESSION_ID}"

Found = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call. `path` and `body` may use values of earlier answers (`{account}`). `keep`: names of values to keep, with their places.

    `before`: a control route of the simulator that is called first. `preview`: the call needs a preview version of Stripe's API.
    """

    route: str
    path: str
    status: int | tuple[int, ...]
    body: Any = None
    keep: Mapping[str, str] | None = None
    before: str | None = None
    preview: bool = False
    until: Callable[[Any], bool] | None = None
    key: str | None = None


def _linking(name: str, via: str, **body: Any) -> list[Call]:
    """A session, in which the end user links an account, and what was linked."""
    return [
        Call("POST /sessions", "/sessions", 201, {"via": via, **body}, {name: "id"}),
        Call(
            "GET /sessions/{session}", f"/sessions/{{{name}}}", 200, keep={f"{name}_account": "accounts.0.account"},
            until=lambda body: body["accounts"],
        ),
    ]  # fmt: skip


def _verifying(field: str, value: str, *, listed: bool = True) -> list[Call]:
    """The verification of all accounts of a session, payment method or holder, and the list of a holder's verifications."""
    made = Call("POST /verifications", "/verifications", (200, 202), {field: value, "claim": MARGARET}, {f"{field}_verification": "id"})
    read = Call(
        "GET /verifications/{verification}",
        f"/verifications/{{{field}_verification}}",
        200,
        until=lambda body: body["state"] == "completed",
    )
    page = Call("GET /verifications", f"/verifications?{field}={value}", 200, until=lambda body: body["verifications"])
    return [made, read, *([page] if listed else [])]


def _relinking(account: str) -> list[Call]:
    """An account becomes inactive. The end user relinks it, and it is verified again."""
    return [
        Call(
            "POST /sessions",
            "/sessions",
            201,
            {"via": "financial_connections", "relink": {"account": account}},
            {"relink": "id"},
            before=f"accounts/{account}/deactivate",
            preview=True,
        ),
        Call(
            "GET /sessions/{session}",
            "/sessions/{relink}",
            200,
            preview=True,
            until=lambda body: body["relink"]["status"] == "succeeded" and body["accounts"][0]["status"] == "active",
        ),
        Call(
            "POST /verifications", "/verifications", (200, 202), {"account": account, "claim": MARGARET}, {"repaired": "id"}, preview=True
        ),
        Call(
            "GET /verifications/{verification}",
            "/verifications/{repaired}",
            200,
            preview=True,
            until=lambda body: body["state"] == "completed" and body["verdict"]["outcome"] == "match",
        ),
    ]


CALLS = [
    Call("GET /docs", "/docs", 200),
    Call("GET /openapi.json", "/openapi.json", 200),
    Call(
        "POST /customers",
        "/customers",
        201,
        {"email": "margaret.testerman@example.com", "phone": "+1 555 555 0101"},
        {"customer": "id"},
        key="tour-customer",
    ),
    *_linking("session", "financial_connections", customer="{customer}"),
    *_linking("setup", "setup_intent", customer="{customer}", prefetch=["ownership"], manual_entry={"mode": "disabled"}),
    *_linking("payment", "payment_intent", customer="{customer}", amount=1500, filters={"account_subcategories": ["checking"]}),
    *_linking("checkout", "checkout_session", customer="{customer}", return_url=PAGE),
    *_linking("checkout_payment", "checkout_session", customer="{customer}", return_url=PAGE, amount=2500, description="Rent"),
    *_linking("v2_session", "financial_connections", customer_account=V2, permissions=["balances"], limits={"accounts": 2}),
    *_linking("v2_setup", "setup_intent", customer_account=V2),
    *_linking("v2_payment", "payment_intent", customer_account=V2, amount=1500),
    *_linking("v2_checkout", "checkout_session", customer_account=V2, return_url=PAGE),
    *_linking("payout", "financial_connections", connected_account=PAYEE),
    Call("GET /sessions/{session}", "/sessions/{setup}", 200, keep={"method": "payment_method"}),
    Call("GET /accounts", "/accounts?customer={customer}&limit=3", 200),
    Call("GET /accounts", f"/accounts?customer_account={V2}", 200),
    Call("GET /accounts", f"/accounts?connected_account={PAYEE}", 200),
    Call("GET /accounts", "/accounts?session={session}", 200, keep={"account": "accounts.0.account"}),
    *_relinking("{setup_account}"),
    *_verifying("customer_account", V2),
    *_verifying("connected_account", PAYEE),
    *_verifying("payment_method", "{method}", listed=False),
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
    Call("GET /verifications/{id}/timeline", "/verifications/{verification}/timeline", 200),
    Call("POST /verifications/{id}/review", "/verifications/{verification}/review", 200),
    Call("GET /reviews", "/reviews", 200, until=lambda body: body["reviews"]),
    Call("POST /verifications/{id}/comparison", "/verifications/{verification}/comparison", 200),
    Call(
        "POST /verifications/{id}/review/decisions",
        "/verifications/{verification}/review/decisions",
        200,
        {"version": 1, "decision": "reject", "reason": "SUSPECTED_FRAUD"},
    ),
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


def tour(stack: Stack, say: Callable[[str], None], *, preview: bool) -> list[str]:
    """Make the calls and print each with its answer. Returns what is not as expected.

    `preview`: make those that need a preview version, too.
    """
    client, found, wrong = Client(stack.api_url), Found(), list[str]()
    called = set()
    # Another server than the simulator may know any account as a customer, and lack this.
    _control(stack, f"customer_accounts/{V2}", {}, needed=stack.stripe is not None)
    for call in CALLS:
        if call.preview and not preview:
            continue
        called.add(openapi.shape(call.route))
        if call.before is not None:
            _control(stack, _filled(call.before, found), {})
        answer = _make(client, stack, call, found)
        path = _filled(call.path, found)
        say(f"{call.route.split()[0]:6} {path:58} {answer.status}  {_short(answer)}")
        expected = call.status if isinstance(call.status, tuple) else (call.status,)
        if answer.status not in expected:
            wrong.append(f"{call.route}: {answer.status}, expected {call.status}")
            # Later calls need this one's answer.
            break
        if call.until is not None and not call.until(answer.body):
            wrong.append(f"{call.route}: not as expected after {TIMEOUT_SECONDS} s")
            break
        for name, place in (call.keep or {}).items():
            found[name] = _at(answer.body, place)
        if call.route == "POST /sessions":
            # An end user does this in Stripe's dialogue.
            linked = {"accounts": [{"scenario": "single_owner"}]}
            _control(stack, f"{'relink' if call.preview else 'complete'}/{answer.body['id']}", {} if call.preview else linked)
        if call.route == "POST /batches":
            manifest = json.dumps({"account": found["account"], "claim": MARGARET}).encode()
            requests.put(found["slot"], manifest, timeout=30).raise_for_status()
    # The page of the review desk is not deployed here: it needs an issuer that people sign in at.
    wanted = {key for key, route in openapi.gateway_routes().items() if route.condition != "HasDesk"}
    if not wrong and (missing := wanted - called):
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


def _control(stack: Stack, path: str, body: Any, *, needed: bool = True) -> None:
    answer = requests.post(f"{stack.stripe_url}/_simulator/{path}", json=body, timeout=30)
    if answer.status_code != 200 and needed:
        raise CommandError(f"{stack.stripe_url} lacks the simulator's control interface: {answer.status_code} {answer.text[:200]}")


def _judged(server: SimulatorServer | None) -> Any:
    """Have every request that reaches the simulator judged. Returns the ledger, or why there is none."""
    if server is None:
        return "another server than the simulator answers"
    if os.environ.get("STRIPE_OPENAPI", "none") in ("", "none"):
        return "STRIPE_OPENAPI does not name Stripe's OpenAPI document"
    try:
        # Only a clone of the repository with the development requirements has it.
        from tests.support.stripe_openapi import Ledger
    except ImportError as error:
        return f"the judge of the tests is missing ({error})"
    ledger, handle, lock = Ledger(), server.simulator.handle, threading.Lock()

    def judged(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        version = CaseInsensitive(headers).get("Stripe-Version")
        response = handle(method, target, headers, body)
        with lock:
            ledger.note(method, target, body.decode(), version)
            ledger.note_answer(method, target, response.status, response.body, version)
        return response

    server.simulator.handle = judged  # type: ignore[method-assign]
    return ledger


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
    no_arguments("local.tour", "Call every route on an embedded stack.")
    inputs = Inputs.read(os.environ)
    print(f"Stripe: {inputs.stripe_api_base or 'the simulator'}", flush=True)
    with running(
        parameters={"SettleTimeoutSeconds": "5", "StripePreviewVersion": inputs.preview_version, "ReviewersNeeded": "1"},
        options=Options(settle_seconds=0.5),
        stripe_api_base=inputs.stripe_api_base, api_key=inputs.api_key, webhook_secret=inputs.webhook_secret,
    ) as stack:  # fmt: skip
        judged = _judged(stack.stripe)
        wrong = tour(stack, lambda text: print(text, flush=True), preview=bool(inputs.preview_version))
    if isinstance(judged, str):
        print(f"\nRequests to Stripe were not judged: {judged}")
    else:
        print(f"\n{judged.summary()}")
        wrong += judged.violations
        wrong += [f"no document of Stripe's describes {operation}" for operation in judged.unchecked]
    for text in wrong:
        print(f"NOT AS EXPECTED  {text}")
    if not wrong:
        calls = [call for call in CALLS if inputs.preview_version or not call.preview]
        print(f"\n{len(calls)} calls, all answered as expected. They called all routes of the template but those of the desk's page.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(interruptible(main))
