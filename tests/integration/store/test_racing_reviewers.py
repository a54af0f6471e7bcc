"""Two reviewers decide about the same review at once: one of them decides, and the other one is shown what was decided."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from tests.support import dynamodb_local
from tests.support.interleave import Interleaving
from tests.support.reviews import ANNE, BOB, TENANT
from tests.support.sandbox import CLAIM, Sandbox
from tests.support.stored import create_verification, put_newest
from titleholder import bootstrap
from titleholder.domain.accounts import AccountRef
from titleholder.domain.reviews import DecisionRequest, Review
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.domain.verifications import Verification
from titleholder.errors import AccountErasedError, ReviewChangedError, ReviewClosedError
from titleholder.services import reviews
from titleholder.services.audit import Audit, By
from titleholder.services.reviews import ReviewDependencies
from titleholder.store import Store
from titleholder.store.audit import partitions
from titleholder.timestamps import utc_day

ROUNDS = int(os.environ.get("REVIEW_ROUNDS", "200"))
NOW = 1_800_000_000.0
VERDICT = {"outcome": "close_match", "score": 62.0, "reasons": ["MIDDLE_DIFFERS"], "snapshot": "fcaowns_1"}
APPROVE, REJECT = DecisionRequest(1, "approve", "CONTACT_CONFIRMED"), DecisionRequest(1, "reject", "OTHER", note=Sensitive("why"))
PAIRS = list(product((APPROVE, REJECT), (APPROVE, REJECT)))

Callers = Sequence[Callable[[], Any]]


def waiting(deps: ReviewDependencies, number: int = 0) -> Verification:
    """A verification whose review waits, of an account of its own: moto copies what an account has at every transaction."""
    now, id = deps.clock(), f"ver_{number}"
    made = Verification(id, AccountRef(f"fca_{number}"), None, {"version": "1"}, 60, now, now + 60, "request")
    create_verification(deps.store, made, CLAIM)
    put_newest(deps.store, made.ref, Snapshot("fcaowns_1", int(now), int(now), Sensitive([])), now)
    assert deps.store.verifications.complete(id, VERDICT, now, review=Review(made.ref, id, "open", 1, now, "rule"))
    return deps.store.verifications.get(id)


def decide(deps: ReviewDependencies, id: str, request: DecisionRequest, by: By) -> Any:
    """What a reviewer gets: the review, or the error."""
    try:
        return reviews.decide(deps, TENANT, id, request, by)[0]
    except (ReviewChangedError, ReviewClosedError, AccountErasedError) as error:
        return error


def decided(deps: ReviewDependencies, on: str) -> Counter[tuple[str, str, str]]:
    """The audit entries of decisions: how many each version of each verification has, with its decision."""
    entries = (item for pk in partitions(on) for item in deps.store.table.query(pk, "0"))
    return Counter(
        (item["verification"], item["version"], item["decision"]) for item in entries if item["action"] == "review.decided"
    )  # fmt: skip


def race(
    deps: ReviewDependencies, at_once: Callable[[int, Callers], list[Any]], published: Callable[[], list[Any]], rounds: int
) -> Counter[str]:
    """Let two reviewers decide at once, in many rounds. Returns how often each resolution won."""
    won: Counter[str] = Counter()
    for number in range(rounds):
        id, (annes, bobs) = f"ver_{number}", PAIRS[number % len(PAIRS)]
        before = waiting(deps, number)
        head = deps.store.table.get(f"VERIFICATION#{id}", "VERIFICATION")
        results = at_once(number, [lambda: decide(deps, id, annes, ANNE), lambda: decide(deps, id, bobs, BOB)])  # noqa: B023
        [winner] = [result for result in results if isinstance(result, Review)]
        [loser] = [result for result in results if not isinstance(result, Review)]
        assert isinstance(loser, ReviewClosedError)
        assert loser.review == winner.as_dict()
        assert (winner.version, len(winner.decisions)) == (2, 1)
        kept = deps.store.reviews.get(before.ref, id)
        assert kept == replace(winner, unfinished=False)
        after = deps.store.table.get(f"VERIFICATION#{id}", "VERIFICATION")
        assert head is not None
        said = {"review": "closed", "final": "match" if winner.resolution == "approved" else "no_match", "final_ms": NOW * 1000}
        assert after == {**head, **said}, "nothing but the review has changed, and the verdict is byte for byte the same"
        won[f"{winner.resolution} by {winner.decisions[0].by.rpartition('#')[2]}"] += 1
    entries = decided(deps, utc_day(NOW))
    assert len(entries) == rounds
    assert set(entries.values()) == {1}
    events = published()
    assert Counter(event["verification"] for event in events) == Counter(f"ver_{number}" for number in range(rounds))
    return won


class Bus:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.published: list[Any] = []

    def publish(self, detail_type: str, detail: Any) -> None:
        assert detail_type == "VerificationReviewed"
        self.published.append(dict(detail))


@pytest.mark.slow
@pytest.mark.parametrize("store", [dynamodb_local.NAME], indirect=True)
def test_one_of_two_reviewers_decides_on_amazons_engine(store: Store) -> None:
    def at_once(number: int, callers: Callers) -> list[Any]:
        barrier = threading.Barrier(len(callers))

        def start(caller: Callable[[], Any]) -> Any:
            barrier.wait()
            return caller()

        with ThreadPoolExecutor(len(callers)) as pool:
            return list(pool.map(start, callers))

    bus: Any = Bus()
    deps = ReviewDependencies(store, bus, Audit(store, 1, lambda: NOW), lambda: NOW)
    race(deps, at_once, lambda: bus.published, ROUNDS)


@pytest.mark.slow
def test_one_of_two_reviewers_decides_whichever_call_comes_first(sandbox: Sandbox) -> None:
    def at_once(seed: int, callers: Callers) -> list[Any]:
        interleaving = Interleaving(seed)
        sandbox.taps.append(interleaving.tap)
        results = interleaving.run(callers)
        sandbox.taps.clear()
        return results

    deps = bootstrap.application().review_dependencies
    published = lambda: [event["detail"] for event in sandbox.published() if event["detail-type"] == "VerificationReviewed"]  # noqa: E731
    won = race(deps, at_once, published, ROUNDS // 4)
    assert len(won) == 4, "each reviewer wins with each decision"
    assert sandbox.stripe_calls() == []
