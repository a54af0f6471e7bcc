"""A warm function remembers no personal data of earlier requests: an erasure could not reach what it remembers."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from tests.support.reachable import texts
from tests.support.sandbox import CLAIM, Sandbox
from titleholder import matching
from titleholder.web import models

pytestmark = pytest.mark.slow

WORDS = ("testerman", "quillfeather", "5550101")
OWNER = {
    "name": "QUILLFEATHER TESTERMAN JR",
    "raw_address": "5550101 Example Street",
    "phone": "+1 5550101",
    "email": "testerman@example.com",
}


def remembered(sandbox: Sandbox | None = None) -> list[str]:
    """Personal data that can be reached from what outlives an invocation."""
    gc.collect()
    return texts([] if sandbox is None else [vars(function.module) for function in sandbox.functions.values()], WORDS)


def test_functions_forget_claims_and_owners_when_they_have_answered(sandbox: Sandbox) -> None:
    ref = sandbox.link("paged_owners")
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM), "max_age": 0})
    assert answer.status == 202
    assert not remembered(sandbox)
    token = sandbox.enter(sandbox.store.verifications.get(answer.json["id"]))
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    sandbox.settle()
    assert not remembered(sandbox)
    sandbox.function("complete_verification")({"verification": answer.json["id"], "refresh": sandbox.outcome(token)})
    assert not remembered(sandbox)
    assert "owners" in sandbox.http("GET", f"/accounts/{ref.account}/owners").json
    assert not remembered(sandbox)
    assert sandbox.http("POST", "/customers", {"email": "testerman@example.com"}).status == 201
    assert sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": 5550101}}).status == 422
    assert not remembered(sandbox)


@pytest.mark.parametrize(
    "name",
    ["Quillfeather Testerman", "Testerman Holdings LLC", "The Quillfeather Family Trust"],
    ids=["person", "business", "trust"],
)
def test_the_matcher_forgets_what_it_compared(name: str) -> None:
    claim: dict[str, Any] = {**CLAIM, "name": name, "given": "Quillfeather", "family": "Testerman"}
    matching.decide(claim, [OWNER, {**OWNER, "name": "TESTERMAN HOLDINGS INC"}])
    assert not remembered()
    matching.match(claim, OWNER)
    assert not remembered()


def test_the_matcher_forgets_also_when_it_fails() -> None:
    with pytest.raises(AttributeError):
        matching.decide({**CLAIM}, [OWNER, None])  # type: ignore[list-item]
    assert not remembered()


def test_no_text_of_a_claim_is_shared_between_requests() -> None:
    """pydantic keeps copies of short texts in memory that the garbage collector does not show."""
    one, other = (models.Claim.model_validate(json.loads(json.dumps({**CLAIM, "name": " Quillfeather "}))) for _ in range(2))
    assert one == other
    assert one.name is not other.name
    assert one.email is not other.email
