"""Records that the tests of the store write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from titleholder.domain.accounts import AccountRef, AccountState, OwnershipRefresh
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.domain.verifications import Verification
from titleholder.store import Store

NOW = 1_800_000_000.0
REF = AccountRef("fca_1")
CONNECTED = AccountRef("fca_1", stripe_account="acct_1")
VERIFICATION = Verification("ver_1", REF, "digest", {"version": "1"}, 60, NOW, NOW + 3600.5, "request")


def state(status: str | None, attempted_at: int = 100, *, account: str = "active", **more: Any) -> AccountState:
    """An account with a refresh of this status."""
    refresh = None if status is None else OwnershipRefresh(status, attempted_at, **more)
    return AccountState(account, ("ownership",), refresh)


def put_newest(store: Store, ref: AccountRef, snapshot: Snapshot, now: float) -> None:
    store.snapshots.put(ref, snapshot, now)
    store.accounts.set_newest_snapshot(ref, snapshot)


def create_verification(store: Store, verification: Verification, claim: Mapping[str, Any]) -> Verification:
    digested = store.claims.digest(verification.ref, Sensitive(claim))
    return store.verifications.create(replace(verification, claim_digest=digested.digest), digested)
