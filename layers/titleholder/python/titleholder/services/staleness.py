"""Verdicts that no longer hold because their account is no longer active: marked, and announced."""

from __future__ import annotations

from titleholder.aws.event_publisher import EventPublisher
from titleholder.domain.accounts import AccountRef
from titleholder.store import Store


def mark(store: Store, bus: EventPublisher, ref: AccountRef, reason: str, now: float) -> int:
    """Mark every verdict of a dead account as stale; returns how many were not before. May announce one twice, never none."""
    return sum(mark_one(store, bus, ref, verification, reason, now) for verification in store.verifications.ids_of(ref))


def mark_one(store: Store, bus: EventPublisher, ref: AccountRef, verification: str, reason: str, now: float) -> bool:
    """Mark one verdict as stale, if there is one that rests on owners and is not marked yet."""
    found = store.verifications.get(verification)
    if found.verdict is None or found.verdict["outcome"] == "not_verifiable" or found.stale is not None:
        return False
    # Announced first: after a crash in between it is announced again, where the other order would lose it.
    bus.publish("VerificationStale", {"verification": verification, **ref.as_dict(), "reason": reason})
    return store.verifications.mark_stale(verification, reason, now)
