"""Reviews: opened with the verdict, decided once, recorded and announced."""

from __future__ import annotations

import pytest

from tests.support.reviews import decide, verified
from tests.support.sandbox import Sandbox


@pytest.fixture
def reviewing(sandbox: Sandbox) -> Sandbox:
    """A deployment where one reviewer decides."""
    sandbox.cold_start(REVIEWERS_NEEDED="1")
    return sandbox


class TestOpening:
    def test_close_match_has_its_review(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        assert verification.verdict is not None
        assert verification.verdict["outcome"] == "close_match"
        review = reviewing.store.reviews.get(verification.ref, verification.id)
        assert (review.state, review.version, review.opened_by, review.decisions) == ("open", 1, "rule", ())
        assert verification.review == "open"

    def test_decision_closes_it(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        review, final = decide(verification, "approve", note="canary note")
        assert (review.state, review.version, review.resolution) == ("closed", 2, "approved")
        assert final is not None
        assert (final.outcome, final.by) == ("match", "review")
