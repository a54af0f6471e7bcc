"""What tests of verdicts share: an accepted verification, its fetched owners, its end."""

from __future__ import annotations

from typing import Any

from tests.support.sandbox import CLAIM, Sandbox
from titleholder.domain.accounts import AccountRef
from titleholder.domain.verifications import Verification


def accept(sandbox: Sandbox, ref: AccountRef, claim: Any = CLAIM) -> Verification:
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(claim), "max_age": 0})
    assert answer.status == 202, answer
    return sandbox.store.verifications.get(answer.json["id"])


def fetch(sandbox: Sandbox, ref: AccountRef, event: str = "evt_1") -> None:
    sandbox.send(sandbox.events_queue, {"event": event, **ref.as_dict()})
    assert sandbox.consume(sandbox.events_queue) == []


def finish(sandbox: Sandbox, verification: Verification, outcome: Any) -> dict[str, Any]:
    """What the workflow does at its end; the verdict as a caller sees it."""
    sandbox.function("complete_verification")({"verification": verification.id, "refresh": outcome})
    verdict: dict[str, Any] = sandbox.http("GET", f"/verifications/{verification.id}").json["verdict"]
    return verdict


def run(sandbox: Sandbox, ref: AccountRef, claim: Any = CLAIM) -> dict[str, Any]:
    """The ordinary way of one verification, to its verdict."""
    sandbox.wait(2)
    verification = accept(sandbox, ref, claim)
    token = sandbox.enter(verification)
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    sandbox.settle()
    return finish(sandbox, verification, sandbox.outcome(token))


def owners(sandbox: Sandbox, ref: AccountRef) -> list[str]:
    account = sandbox.store.accounts.get(ref)
    assert account.snapshot is not None
    return [owner["name"] for owner in sandbox.store.snapshots.get(ref, account.snapshot).owners.reveal()]


def start(sandbox: Sandbox, ref: AccountRef) -> str:
    """A verification whose refresh is under way; its workflow's token."""
    sandbox.wait(2)
    token = sandbox.enter(accept_for(sandbox, ref))
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    return token


def accept_for(sandbox: Sandbox, ref: AccountRef) -> Verification:
    headers = {} if ref.stripe_account is None else {"Stripe_Account": ref.stripe_account}
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM), "max_age": 0}, **headers)
    return sandbox.store.verifications.get(answer.json["id"])
