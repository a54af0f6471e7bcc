"""The row kinds of docs/data-model.md, read from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.functions import ROOT

DOCUMENT = (ROOT / "docs" / "data-model.md").read_text()
ALWAYS = frozenset({"pk", "sk", "expires_at"})


@dataclass(frozen=True)
class RowKind:
    """One section: the keys of its rows as pairs of patterns, and the attributes that they may have."""

    name: str
    keys: tuple[tuple[str, str], ...]
    attributes: frozenset[str]

    def has(self, pk: str, sk: str) -> bool:
        return any(re.fullmatch(_regex(one), pk) and re.fullmatch(_regex(other), sk) for one, other in self.keys)


def row_kinds(heading: str = "## The table `<stack>`") -> Iterator[RowKind]:
    unfinished = frozenset(_attributes(section("## Unfinished work")))
    for part in section(heading).split("\n### ")[1:]:
        name, _, text = part.partition("\n")
        keys = re.findall(r"`([A-Z][^`]*)` /\s`([^`]+)`", text) or [(key, "") for key in re.findall(r"^`([A-Z][^`]*)`", text, re.M)]
        yield RowKind(name, tuple(keys), frozenset(_attributes(text)) | ALWAYS | unfinished)


def section(heading: str) -> str:
    """The text below a heading, up to the next one of its level."""
    text = DOCUMENT.partition(f"\n{heading}\n")[2]
    assert text, heading
    return text.partition("\n## ")[0]


def without_number(attribute: str) -> str:
    """The name without a number at its end: `count3` and `count15` are one name."""
    return re.sub(r"\d+$", "", attribute)


def _attributes(text: str) -> Iterator[str]:
    for row in re.findall(r"^\| (`[^|]*) \|", text, re.M):
        yield from (without_number(name) for name in re.findall(r"`([^`]+)`", row))


def _regex(pattern: str) -> str:
    def one(match: re.Match[str]) -> str:
        digits = re.search(r"(\d+) digits", match[0])
        return rf"\d{{{digits[1]}}}" if digits else "[^#]+"

    return re.sub(r"<[^>]*>", one, pattern)
