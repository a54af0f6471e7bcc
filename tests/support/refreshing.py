"""What tests of refreshes share: a waiter, its request, and the workflow's answer."""

from __future__ import annotations

from typing import Any

from tests.support.sandbox import CLAIM, Sandbox
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import Verification, Waiter
from titleholder.services import refreshes
from titleholder.services.refreshes import RefreshRequest

REFRESH = "/v1/financial_connections/accounts/{account}/refresh"


READ = "/v1/financial_connections/accounts/{account}"


def wait_for(sandbox: Sandbox, ref: AccountRef, verification: str = "ver_1", **waiting: Any) -> Waiter:
    """A waiter, and the verification that it waits for."""
    waiter = sandbox.waiter(verification, **waiting)
    need = waiter.need
    kept = Verification(
        verification, ref, "digest", {"version": "1"}, int(need.requested_at - need.not_before), need.requested_at, need.deadline, "request"
    )
    sandbox.store.verifications.create(kept, sandbox.store.claims.digest(ref, Sensitive(CLAIM)))
    return waiter


def serve(sandbox: Sandbox, ref: AccountRef, verification: str = "ver_1", **waiting: Any) -> Any:
    return refreshes.handle_request(sandbox.deps, RefreshRequest(ref, wait_for(sandbox, ref, verification, **waiting)))


def outcome(sandbox: Sandbox, verification: str = "ver_1", turn: str = "1") -> dict[str, Any] | None:
    return sandbox.outcome(f"token-of-{verification}-{turn}")


def waiting(sandbox: Sandbox, ref: AccountRef) -> set[str]:
    return {waiter.verification for waiter in sandbox.store.waiters.of_account(ref)}
