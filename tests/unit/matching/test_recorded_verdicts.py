"""Verdicts do not change unnoticed: invented claims and owners of every kind, each with the verdict that the matcher gives.

A change of the matcher that means to change verdicts writes them again, and the difference shows which, and how:

    python -m tests.unit.matching.test_recorded_verdicts
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from titleholder.matching import Verdict, decide

RECORD = Path(__file__).with_name("recorded_verdicts.jsonl")
"""One pair a line, sorted by kind: `people`, `titles` of accounts, `trusts`, `businesses`, `scripts` other than Latin, `contacts`."""

LINES = [json.loads(line) for line in RECORD.read_text().splitlines()]
TOGETHER = 20


def summary(verdict: Verdict) -> str:
    """All that a verdict says, in one line, without the fields that both sides lack."""
    fields = (
        f"{name} {' '.join((str(field.score if field.missing is None else f'missing in {field.missing}'), *field.reasons))}"
        for name, field in verdict.fields.items()
        if field.missing != "both"
    )
    return "; ".join((f"{verdict.outcome} {verdict.score} by owner {verdict.owner_position}", *fields, " ".join(verdict.reasons)))


@pytest.mark.parametrize("first", range(0, len(LINES), TOGETHER), ids=lambda first: f"line {first + 1}: {LINES[first]['kind']}")
def test_verdict_is_the_recorded_one(first: int) -> None:
    lines = LINES[first : first + TOGETHER]
    assert [summary(decide(line["claim"], line["owners"])) for line in lines] == [line["verdict"] for line in lines]


def write(lines: list[dict[str, Any]]) -> None:
    RECORD.write_text(
        "".join(
            json.dumps({**line, "verdict": summary(decide(line["claim"], line["owners"]))}, ensure_ascii=False) + "\n" for line in lines
        )
    )


if __name__ == "__main__":
    write(LINES)
