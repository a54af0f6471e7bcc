"""Thousands of verdicts do not change, nor does what the matcher's modules pass to each other for them.

Code invents the pairs, so only a number and two digests are stored for each. Most pairs were chosen because they notice a change of the
matcher that those before them do not. A failure prints the pair and what is new; the same command at an earlier commit prints the old:

    python -m tests.unit.matching.test_generated_verdicts 1234 5678.9

A change of the matcher that means to change verdicts writes the digests again:

    python -m tests.unit.matching.test_generated_verdicts

If only the second digest differs, no verdict changed: the modules exchange something else than before.
"""

from __future__ import annotations

import hashlib
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.unit.matching.generated_pairs import pair
from tests.unit.matching.test_recorded_verdicts import summary
from titleholder.matching import account, addresses, businesses, compare, decide, mappings, ranking, romanisation, trusts
from titleholder.matching.names import Memo

DIGESTS = Path(__file__).with_name("generated_verdicts.txt")
"""A pair a line: its number, the digest of its verdict and that of the steps to it."""

KNOWN = {name: digests for name, *digests in map(str.split, DIGESTS.read_text().splitlines())}
NAMES = list(KNOWN)
TOGETHER = 50


def answer(name: str) -> str:
    """A verdict, and how the mappings say it."""
    claim, owners, policy = pair(name)
    verdict = decide(claim, owners, policy)
    others = (
        mappings.as_plaid(verdict),
        mappings.as_confirmation_of_payee(verdict, claim.get("type", "person")),
        mappings.as_verification_of_payee(verdict),
        mappings.as_stripe_ownership_match(verdict),
    )
    return "\n".join((summary(verdict), *map(repr, others)))


def steps(name: str) -> str:
    """What the modules answer that a verdict is made of, a line each."""
    claim, owners, _ = pair(name)
    mine = compare.read(claim)
    found: list[Any] = [mine.names, mine.contradicts]
    for owner in owners[:1]:
        read, memo = compare.read_owner(owner), Memo()
        held = read.title
        found += [read, addresses.parse(claim.get("address")), addresses.parse(owner.get("raw_address"))]
        for one in mine.names[:1]:
            title = one.title
            memo.reads(title.words + held.words)
            for a, b in product(title.parties[:2], held.parties[:3]):
                compared = ranking.compare(a, b, memo)
                found += [account.settle(a, title, b, held, memo), compared, compared and ranking.person_field(compared)]
            if title.business or held.business or one.kind == "business":
                found.append(businesses.compare(title.legal, held.legal, held.length) if title.legal and held.legal else None)
            found += [trusts.compare(a, b, None, memo) for a, b in product(title.trusts, held.trusts)]
            for x, y in product(title.words[:3], held.words[:3]):
                known = memo.look_up(x), memo.look_up(y)
                found += [romanisation.one_original(x, y, *known), romanisation.other_syllable(x, y, *known)] if x != y else []
    return "\n".join(map(_told, found))


def _told(value: object) -> str:
    """A value as text that is the same in each process: sets are sorted."""
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_told, value))})"
    return repr(value)


def digests(name: str) -> list[str]:
    return [hashlib.blake2b(text.encode(), digest_size=5).hexdigest() for text in (answer(name), steps(name))]


def described(name: str) -> str:
    claim, owners, policy = pair(name)
    lines = json.dumps(claim, ensure_ascii=False), *(json.dumps(owner, ensure_ascii=False) for owner in owners)
    return "\n".join((f"Pair {name} by policy {policy.version}:", *lines, answer(name), steps(name)))


@pytest.mark.parametrize("first", range(0, len(NAMES), TOGETHER), ids=lambda first: f"line {first + 1}")
def test_verdict_and_the_steps_to_it_have_the_recorded_digests(first: int) -> None:
    changed = [name for name in NAMES[first : first + TOGETHER] if digests(name) != KNOWN[name]]
    assert not changed, "\n\n".join((f"Of {len(changed)} pairs something changed:", *map(described, changed[:3])))


def write(chosen: list[str]) -> None:
    DIGESTS.write_text("".join(f"{' '.join((name, *digests(name)))}\n" for name in chosen))


if __name__ == "__main__":
    if sys.argv[1:]:
        print("\n\n".join(map(described, sys.argv[1:])))
    else:
        write(NAMES)
