"""What is published on the bus has the shape of the samples in docs/reference/events.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.batches import Batch, linked, manifest
from tests.support.reviews import CLOSE, decide, verified
from tests.support.sandbox import CLAIM, Sandbox
from tools.reference.events import KINDS, complaints, samples


@pytest.fixture
def reviewing() -> Iterator[Sandbox]:
    with Sandbox.open(REVIEWERS_NEEDED="1") as sandbox:
        yield sandbox


def take_every_way(sandbox: Sandbox) -> None:
    """Publish an event of each type."""
    ref = sandbox.link()
    review = verified(sandbox, CLOSE, ref)
    decide(review, "approve")
    sandbox.simulator.deactivate(ref.account)
    sandbox.settle()
    sandbox.simulator.reactivate(ref.account)
    sandbox.settle()
    sandbox.simulator.expire(ref.account, sandbox.clock() + 86_400)
    sandbox.settle()
    sandbox.wait(3600)
    sandbox.simulator.change(ref.account, owners=[{"name": "ANNA EXAMPLETON"}])
    sandbox.deps.stripe.refresh(ref, "key-1")
    sandbox.wait(6)
    sandbox.settle()
    batch = Batch(sandbox, manifest([*linked(sandbox, 1, "fresh"), "fca_unheard"]) + b"{}\n")
    batch.start()
    batch.run(batch.imported())
    gone = sandbox.http("POST", "/verifications", {"account": "fca_gone", "claim": dict(CLAIM)})
    assert gone.status in (202, 404)


@pytest.mark.slow
def test_every_type_of_event_has_the_fields_of_its_samples(reviewing: Sandbox) -> None:
    take_every_way(reviewing)
    announced: dict[str, list[dict[str, Any]]] = {}
    for kind, detail in reviewing.announced:
        announced.setdefault(kind, []).append(detail)
    assert set(announced) == set(KINDS)
    for kind, details in announced.items():
        assert [said for detail in details for said in complaints(kind, detail)] == []
        sampled = [sample["detail"] for sample in samples().values() if sample["detail-type"] == kind]
        optional = {name for name, field in KINDS[kind].fields.items() if not field.always}
        assert any(set(detail) - optional == set(sample) - optional for detail in details for sample in sampled)
        for field in set(KINDS[kind].fields) - optional:
            assert all(field in detail for detail in details)


def test_verification_of_several_accounts_publishes_an_event_for_each_member_and_none_of_its_own(reviewing: Sandbox) -> None:
    for account in ("fca_a", "fca_b"):
        reviewing.link("fresh", id=account, customer="cus_1")
        reviewing.http("POST", f"/accounts/{account}/refreshes", {"max_age": 3600})
    group = reviewing.http("POST", "/verifications", {"customer": "cus_1", "claim": dict(CLAIM)}).json
    assert group["state"] == "completed"
    published = [(kind, detail["verification"]) for kind, detail in reviewing.announced]
    assert sorted(published) == sorted(("VerificationCompleted", member["verification"]) for member in group["members"])
