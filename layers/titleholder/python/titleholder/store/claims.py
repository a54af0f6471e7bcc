"""Claims, and how many different ones were made about an account within 24 hours.

Rows, both under ACCOUNT#<ref>: a claim (encrypted), CLAIM#<verification id>; the claims of the last 24 hours, as digests, DIGESTS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from titleholder.domain import claim_limit
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.domain.verifications import DigestedClaim, Verification
from titleholder.errors import AccountErasedError, ClaimLimitExceededError
from titleholder.store.sealed import SealedItems
from titleholder.store.snapshots import opened_snapshot, snapshot_sk
from titleholder.store.table import InconsistentItemsError, Item, Table, account_pk
from titleholder.timestamps import DAY_SECONDS

DIGESTS = "DIGESTS"
DIGEST_CHARS = 24
"""How many of a digest's 64 characters are stored, because one item holds up to a thousand digests."""

SPARE_TRIES = 6
"""How many tries a claim has in addition to those that can fail because another claim was counted."""


class Claims:
    """`per_day`: how many different claims about one account are accepted within 24 hours."""

    def __init__(self, table: Table, sealed: SealedItems, clock: Callable[[], float], retention_seconds: int, per_day: int) -> None:
        self._table = table
        self._sealed = sealed
        self._clock = clock
        self._retention_seconds = retention_seconds
        self._per_day = per_day

    def digest(self, ref: AccountRef, claim: Sensitive[Mapping[str, Any]]) -> DigestedClaim:
        """A claim about an account with its digests, and with the key that encrypts it."""
        try:
            wrapped, counted = self._sealed.key_and_item(ref, DIGESTS)
        except AccountErasedError:
            return DigestedClaim(claim, None, None)
        names = [self._sealed.digest(ref, wrapped, one)[:DIGEST_CHARS] for one in claim_limit.one_by_one(claim.reveal())]
        return DigestedClaim(claim, wrapped, self._sealed.digest(ref, wrapped, claim.reveal()), names, counted)

    def check(self, claim: DigestedClaim) -> None:
        """Raises ClaimLimitExceededError if the claim may not be made just now. `put` counts it."""
        if claim.wrapped is not None:
            claim_limit.count(_counted(claim.counted), claim.names, int(self._clock()), self._per_day)

    def put(self, verification: Verification, claim: DigestedClaim, head: Sequence[Item]) -> Item | None:
        """Store a verification's claim together with `head`, its other items, and count the claim in the same transaction if it is not
        counted yet. Returns the first of `head` if it exists already.

        Raises:
            AccountErasedError: the account was erased.
            ClaimLimitExceededError: too many different claims about the account, and the first of `head` does not exist.
        """
        ref, wrapped, sk = verification.ref, claim.wrapped, claim_sk(verification.id)
        if wrapped is None:
            raise AccountErasedError
        # Keep the claim at least until the verification's deadline, even if claim retention is shorter.
        expires_at = max(int(verification.requested_at) + self._retention_seconds, int(verification.deadline) + 7 * DAY_SECONDS)
        sealed = self._sealed.encrypt(ref, wrapped, sk, dict(claim.claim.reveal()))
        items = [*head, {"pk": account_pk(ref), "sk": sk, "claim": sealed, "expires_at": expires_at}]
        counted, unchanged = claim.counted, 0
        # A try fails only if another claim was counted meanwhile, which happens no more often than the limit allows.
        for _ in range(self._per_day + SPARE_TRIES):
            now = int(self._clock())
            try:
                digests = claim_limit.count(_counted(counted), claim.names, now, self._per_day)
            except ClaimLimitExceededError:
                if (kept := self._table.get(head[0]["pk"], head[0]["sk"])) is not None:
                    return kept
                raise
            counting = [] if digests is None else [self._count_part(ref, counted, digests, now)]
            kept = self._sealed.put_all(items, ref, wrapped, beside=counting)
            if kept is None or kept:
                return kept
            seen, counted = counted, self._table.get(account_pk(ref), DIGESTS)
            # The count may be unchanged because the account was erased since. The next try then finds the key destroyed.
            unchanged += counted == seen
            if unchanged == SPARE_TRIES:
                raise InconsistentItemsError
        raise RuntimeError("The claims counted for an account changed during every attempt to add one.")

    def get(self, ref: AccountRef, verification: str) -> Sensitive[dict[str, Any]] | None:
        """The claim, or None if it has expired. Raises AccountErasedError."""
        sk = claim_sk(verification)
        found = self._sealed.decrypt(ref, {sk: "claim"}).get(sk)
        return None if found is None else found[1]

    def get_with_snapshot(self, ref: AccountRef, verification: str, snapshot: str) -> tuple[Sensitive[dict[str, Any]], Snapshot] | None:
        """A claim and a snapshot, read in one call; None if the claim has expired.

        Raises SnapshotNotFoundError (also for an expired snapshot), AccountErasedError.
        """
        claim, owners = claim_sk(verification), snapshot_sk(snapshot)
        found = self._sealed.decrypt(ref, {claim: "claim", owners: "owners"})
        return (found[claim][1], opened_snapshot(found.get(owners))) if claim in found else None

    def kept(self, verifications: Sequence[tuple[AccountRef, str]]) -> set[str]:
        """The verifications among those given, each with its account, whose claims are stored and have not expired."""
        keys = [(account_pk(ref), claim_sk(verification)) for ref, verification in verifications]
        return {item["sk"].removeprefix("CLAIM#") for item in self._table.get_all(keys) if self._table.is_live(item)}

    def _count_part(self, ref: AccountRef, seen: Mapping[str, Any] | None, digests: Mapping[str, int], now: int) -> Item:
        """The part of a transaction that stores the counted digests, if they are still as in `seen`."""
        item = {
            "pk": account_pk(ref),
            "sk": DIGESTS,
            "digests": digests,
            "changes": 1 if seen is None else seen["changes"] + 1,
            "expires_at": now + claim_limit.WINDOW_SECONDS,
        }
        if seen is None:
            return self._table.put_part(item, condition="attribute_not_exists(pk)")
        return self._table.put_part(item, condition="changes = :changes", values={":changes": seen["changes"]})


def claim_sk(verification: str) -> str:
    return f"CLAIM#{verification}"


def _counted(item: Mapping[str, Any] | None) -> Mapping[str, int]:
    return {} if item is None else item["digests"]
