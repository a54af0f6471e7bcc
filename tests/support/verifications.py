"""What tests of verifications over HTTP share: a customer with linked accounts, requests, the end of a workflow."""

from __future__ import annotations

from typing import Any

from tests.support.sandbox import CLAIM, Answer, Sandbox

OTHER = {"name": "SOMEBODY ELSE", "email": None, "phone": None, "raw_address": None}


def customer(sandbox: Sandbox, stripe: Any, *scenarios: str | dict[str, Any], session: bool = False) -> str:
    """A customer with linked accounts fca_0, fca_1, ...; or the session that linked them."""
    id = str(stripe.customers.create({}).id)
    params: Any = {"account_holder": {"type": "customer", "customer": id}, "permissions": ["ownership"]}
    linking = str(stripe.financial_connections.sessions.create(params).id)
    accounts = [{"scenario": kind} if isinstance(kind, str) else kind for kind in scenarios]
    numbered = [{**account, "id": f"fca_{number}"} for number, account in enumerate(accounts)]
    sandbox.simulator.complete(linking, accounts=numbered)
    return linking if session else id


def post(sandbox: Sandbox, key: str | None = None, **body: Any) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    return sandbox.http("POST", "/verifications", {"claim": dict(CLAIM), **body}, **headers)


def get(sandbox: Sandbox, id: str) -> Any:
    return sandbox.http("GET", f"/verifications/{id}").json


def heads(sandbox: Sandbox) -> list[Any]:
    return [item for item in sandbox.items() if item["sk"]["S"] == "VERIFICATION"]


def work(sandbox: Sandbox, id: str, outcome: dict[str, Any] | None = None) -> None:
    """Let the verification's workflow end: with fresh owners, or as `outcome` says."""
    verification = sandbox.store.verifications.get(id)
    if outcome is None:
        token = sandbox.enter(verification)
        sandbox.settle()
        sandbox.wait(6)
        sandbox.settle()
        outcome = sandbox.outcome(token)
    sandbox.function("complete_verification")({"verification": id, "refresh": outcome})
