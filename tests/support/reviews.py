"""What tests of reviews share: close matches, and reviewers."""

from __future__ import annotations

from typing import Any

from tests.support.sandbox import CLAIM, Sandbox
from tests.support.verdicts import run
from titleholder import bootstrap
from titleholder.domain.accounts import AccountRef, Tenant
from titleholder.domain.reviews import DecisionKind, DecisionRequest, Final, Review
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import Verification
from titleholder.services import reviews
from titleholder.services.audit import By
from titleholder.services.reviews import ReviewDependencies

CLOSE = {**CLAIM, "name": "Margaret Louise Testerman", "aka": []}
"""A claim that is a close match with the simulator's owner."""

WRONG = {"name": "Placeholder Provisions"}
"""A claim whose verdict is no_match."""

ANNE, BOB = By("https://idp.example#anne", "request-anne"), By("https://idp.example#bob", "request-bob")
TENANT = Tenant()


def deps() -> ReviewDependencies:
    return bootstrap.application().review_dependencies


def verified(sandbox: Sandbox, claim: Any = CLOSE, ref: AccountRef | None = None) -> Verification:
    """A verification with its verdict."""
    ref = ref or sandbox.link()
    run(sandbox, ref, claim)
    return sandbox.store.verifications.get(list(sandbox.store.verifications.ids_of(ref))[-1])


def decide(
    verification: Verification,
    decision: DecisionKind,
    reason: str | None = None,
    *,
    by: By = ANNE,
    version: int = 1,
    note: str | None = None,
    reference: str | None = None,
) -> tuple[Review, Final | None]:
    reason = reason or {"approve": "NAME_VARIANT_CONFIRMED", "reject": "DIFFERENT_PERSON"}.get(decision)
    sealed = None if note is None else Sensitive(note)
    return reviews.decide(deps(), TENANT, verification.id, DecisionRequest(version, decision, reason, reference, sealed), by)
