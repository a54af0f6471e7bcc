"""The repair of an account that a verification waits for."""

from __future__ import annotations

from titleholder.domain import refresh_policy, refresh_requests, remedies
from titleholder.domain.remedies import Remedy
from titleholder.domain.verifications import Verification
from titleholder.store import Store


def awaited_repair(store: Store, verification: Verification, now: float) -> Remedy | None:
    """The remedy that repairs the account, if the verification waits for that; else None."""
    if verification.verdict is not None or not verification.waits_if_inactive:
        return None
    account = store.accounts.get(verification.ref)
    if not refresh_requests.waits_for_repair(account, verification.need, now):
        return None
    return remedies.for_reason(refresh_policy.INACTIVE, account.state, now=now)
