"""Verifications: taking a claim, and bringing it to exactly one verdict."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titleholder import matching
from titleholder.accounts import AccountRef
from titleholder.errors import PaceExceededError, StripeCredentialsError, StripeError
from titleholder.masked import Masked
from titleholder.store import Verification
from titleholder.verdicts import complete

if TYPE_CHECKING:
    from titleholder.ownership import World

DEFAULT_MAX_AGE_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class NewVerification:
    """What a caller asks for. `claim` as for `titleholder.matching.match`, `max_age` in seconds."""

    ref: AccountRef
    claim: Masked[Mapping[str, Any]]
    max_age: int = DEFAULT_MAX_AGE_SECONDS
    policy: matching.Policy = matching.DEFAULT_POLICY


def create(world: World, new: NewVerification, *, max_wait: int, idempotency_key: str | None = None) -> Verification:
    """Accept a verification: answer it at once if a fresh snapshot is there, else start its workflow.

    The same idempotency key with the same request gives the verification that the first call made.

    Raises:
        AccountNotFoundError: Stripe knows no such account. Nothing was written.
        StripeCredentialsError: Stripe refused the key, so no verification can succeed. Nothing was written.
        IdempotencyConflictError: the key was used with another request.
    """
    from titleholder import ownership  # loads Stripe's SDK, which who only names verifications does not need

    now = world.clock()
    request = digest({"ref": new.ref.as_dict(), "claim": new.claim.reveal(), "max_age": new.max_age, "policy": new.policy.as_dict()})
    verification = Verification(
        id=verification_id(new.ref, idempotency_key),
        ref=new.ref,
        claim_digest=digest(new.claim.reveal()),
        policy=new.policy.as_dict(),
        max_age=new.max_age,
        requested_at=now,
        deadline=now + max_wait,
        request_digest=request,
    )
    stored = world.store.get_account(new.ref)
    if stored.state is None:
        try:
            ownership.settle(world, new.ref, ownership.read(world, new.ref, stored), stored)
        except StripeCredentialsError:
            raise
        except (StripeError, PaceExceededError):
            pass  # Stripe can't be asked just now: the workflow asks again until it has an answer.
        stored = world.store.get_account(new.ref)
    verification = world.store.create_verification(verification, new.claim)
    if verification.verdict is not None:
        # Whoever asks again may do so because the first answer never came: what it would have announced is announced again.
        return complete(world.store, world.bus, verification.id, {}, now=world.clock())
    if stored.snapshot and stored.snapshot_attempted_at is not None and verification.need.accepts(stored.snapshot_attempted_at):
        return complete(world.store, world.bus, verification.id, {"outcome": "ready", "snapshot": stored.snapshot}, now=world.clock())
    world.workflow.start(verification)
    return verification


def verification_id(ref: AccountRef, idempotency_key: str | None) -> str:
    """A new id; the same one for the same key, so that a repeated request meets the first one's verification."""
    if idempotency_key is None:
        return f"ver_{uuid.uuid4().hex}"
    scope = f"{ref.mode}/{ref.stripe_account or 'platform'}/{idempotency_key}"
    return f"ver_{hashlib.sha256(scope.encode()).hexdigest()[:32]}"


def digest(data: Mapping[str, Any]) -> str:
    """A digest of JSON data that does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(dict(data), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
