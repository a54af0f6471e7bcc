"""No claim and no owner makes the matcher raise, however odd both are. MATCHER_PAIRS=n, FUZZ_SEED=n."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from tests.support.hostile_pairs import pairs
from titleholder import matching
from titleholder.domain import owner_changes
from titleholder.errors import UnexpectedError
from titleholder.matching.explanations import SENTENCES

pytestmark = pytest.mark.slow

PAIRS = int(os.environ.get("MATCHER_PAIRS", "10000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CHUNK = 5_000
# Seconds of processor time for one claim against the owners of one account: some ten times what the slowest of a million pairs takes.
LONGEST = 1.0
OUTCOMES = ("match", "close_match", "no_match", "not_verifiable")


def failures(seed: int, count: int) -> tuple[Counter[str], float, str]:
    """Count exceptions and invalid verdicts of the matcher. Returns them, and the time (seconds) and the pair of the longest comparison."""
    found: Counter[str] = Counter()
    matching.decide({"name": "Jane Doe", "phone": "555-0101"}, [{"name": "JOHN DOE", "phone": "555-0102"}])  # loads what is loaded late
    longest, where = 0.0, ""
    for number, (claim, owners) in enumerate(pairs(seed, count)):
        began = time.process_time()
        try:
            verdict = matching.decide(claim, owners)
            if (took := time.process_time() - began) > longest:
                longest, where = took, f"pair {number} of seed {seed}"
            if verdict.outcome not in OUTCOMES or not set(verdict.reasons) <= set(SENTENCES):
                found[f"{verdict.outcome} for {verdict.reasons}"] += 1
            json.dumps(verdict.as_dict(), allow_nan=False)
        except Exception as error:
            found[f"decide: {UnexpectedError.of(error)}"] += 1
    return found, longest, where


def test_no_claim_and_owner_make_the_matcher_raise() -> None:
    chunks = range(0, PAIRS, CHUNK)
    seeds, counts = [SEED * 1_000_003 + at for at in chunks], [min(CHUNK, PAIRS - at) for at in chunks]
    found: Counter[str] = Counter()
    slowest: list[tuple[float, str]] = []
    with ProcessPoolExecutor(2) as pool:
        for counted, longest, where in pool.map(failures, seeds, counts):
            found += counted
            slowest.append((longest, where))
    longest, where = max(slowest)
    print(f"{PAIRS:,} pairs, {found.total()} failures; the slowest took {longest * 1000:.1f} ms of processor time ({where})")
    assert not found, f"{found.total()} of {PAIRS} pairs: {found.most_common(20)}"
    assert longest < LONGEST, f"{longest} s for {where}"


def _texts(owner: dict[str, Any]) -> dict[str, str | None]:
    """The owner as the gateway lets it through."""
    return {name: value if isinstance(value, str) else None for name, value in owner.items()}


def test_no_owners_make_the_search_for_changes_raise() -> None:
    for (_, before), (_, after) in zip(pairs(SEED, 300), pairs(SEED + 1, 300), strict=True):
        owner_changes.between([_texts(owner) for owner in before], [_texts(owner) for owner in after])


@pytest.mark.parametrize(
    ("claim", "owner"),
    [
        ({"name": "Jane Doe", "address": {"postal_code": "a9"}}, {"name": "Jane Doe", "raw_address": "-"}),
        ({"name": "Jane Doe", "address": {"postal_code": "-"}}, {"name": "Jane Doe", "raw_address": "-"}),
        ({"name": "Jane Doe", "address": "-"}, {"name": "Jane Doe", "raw_address": "a9"}),
    ],
)
def test_postal_code_beside_an_address_of_nothing_says_nothing(claim: dict[str, Any], owner: dict[str, Any]) -> None:
    assert matching.decide(claim, [owner]).outcome == "match"
