"""Chooses the owners that a claim is compared with in full, so that every comparison ends in time. Pure.

The time of a comparison grows with the product of the words on both sides, so a claim of twenty long names against hundreds of owners could
take minutes. The work is estimated first. If it fits, as it does for every claim and account of usual size, all owners are compared.
Otherwise only the owners whose names are most like one of the claim's names are compared, as many as fit. Leaving an owner out can only
lower the score.

The result depends on the claim and the owners alone, never on the clock, so a verdict can be repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MAX_WORK = 50_000
"""The most units of work in one comparison. A unit is the comparison of two names of three words each: 30 to 70 microseconds."""

NAMES = ("name", "business_name")
PARTS = ("given", "middle", "family", "suffix")
CONTACTS = (("address", "raw_address"), ("phone", "phone"), ("email", "email"))
MOST_CHARACTERS = 600
MOST_WORDS = 24
MOST_ALIASES = 20
"""The matcher reads no more characters and words of a text, and no more aliases."""

_WORD = re.compile(r"[^\W_]+|[&+/;|,]")
_GRAM_CHARACTERS = 150

Texts = Mapping[str, Any]


def positions(claim: Texts, owners: Sequence[Texts], most: float | None = None) -> list[int]:
    """The positions of the owners to compare, rising. At least two if there are two, because a sole owner is compared differently."""
    names = _names(claim)
    most = MAX_WORK if most is None else most
    costs = _costs(claim, names, owners)
    if sum(costs) <= most:
        return list(range(len(owners)))
    claimed = [_grams(name) for name in names]
    likeness = [max((_alike(mine, held) for mine in claimed), default=0.0) for held in (_grams(_text(owner, "name")) for owner in owners)]
    chosen: list[int] = []
    for position in sorted(range(len(owners)), key=lambda at: (-likeness[at], at)):
        most -= costs[position]
        if most < 0 and len(chosen) > 1:
            break
        chosen.append(position)
    return sorted(chosen)


def _costs(claim: Texts, names: Sequence[str], owners: Sequence[Texts]) -> list[float]:
    """The estimated work of each owner's comparison, in units."""
    claimed = sum(_weight(name) for name in names)
    contacts = [(_letters(_text(claim, mine)), theirs) for mine, theirs in CONTACTS if claim.get(mine)]
    return [
        1 + _length(held := _text(owner, "name")) + claimed * _weight(held)
        + sum(((letters + _letters(text)) / 384) ** 2 for letters, theirs in contacts if (text := _text(owner, theirs)))
        for owner in owners
    ]  # fmt: skip


def _weight(name: str) -> float:
    """A name's share in the work of a comparison: by the number of ways to read it, and the length of its words. 1 for three words."""
    words = min(max(len(_WORD.findall(name)), 3), MOST_WORDS)
    return float((words / 3) ** 1.2 * max(1.0, len(name) / words / 10) ** 0.5)


def _length(text: str) -> float:
    """The estimated work of splitting a text into words."""
    return len(text) / (600 if text.isascii() else 20)


def _letters(text: str) -> int:
    """Roughly how many letters a text has after folding."""
    return len(text) if text.isascii() else 2 * len(text)


def _names(claim: Texts) -> list[str]:
    """All names of a claim, as texts."""
    found = [_text(claim, name) for name in NAMES]
    found.append(" ".join(_text(claim, part) for part in PARTS if claim.get(part)))
    aliases = claim.get("aka") or ()
    aliases = (aliases,) if isinstance(aliases, str) else aliases if isinstance(aliases, list | tuple) else ()
    found.extend(str(alias)[:MOST_CHARACTERS] for alias in aliases[:MOST_ALIASES])
    return [name for name in found if name.strip()]


def _text(of: Texts, name: str) -> str:
    value = of.get(name)
    if isinstance(value, Mapping):
        value = " ".join(str(part) for part in value.values())
    return "" if value is None else str(value)[:MOST_CHARACTERS]


def _grams(name: str) -> frozenset[str]:
    """The pairs of letters in each word of a name, where the word's beginning and end count as letters."""
    from titleholder.matching.text import fold

    padded = (f"^{word}$" for word in _WORD.findall(fold(name[:_GRAM_CHARACTERS])[: 2 * _GRAM_CHARACTERS]))
    return frozenset(word[at : at + 2] for word in padded for at in range(len(word) - 1))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of letter pairs that two names have in common, 0 to 1. The shorter name counts more: joint owners may share a line."""
    common = len(one & other)
    return common / (min(len(one), len(other)) + 0.25 * max(len(one), len(other))) if common else 0.0
