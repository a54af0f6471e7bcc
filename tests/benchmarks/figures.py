"""What a benchmark found: figures with their goals, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One measured number. `goal`: what it has to be at most or at least, if anything; `of`: what a ratio or a count relates to."""

    topic: str
    name: str
    value: float
    unit: str
    goal: tuple[Literal["<=", ">="], float] | None = None
    of: str = ""

    @property
    def kept(self) -> bool:
        if self.goal is None:
            return True
        sign, limit = self.goal
        return self.value <= limit if sign == "<=" else self.value >= limit

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "goal": None if self.goal is None else " ".join(map(str, self.goal)), "kept": self.kept}


def table(figures: Sequence[Figure]) -> str:
    """One line a figure."""
    rows = [("topic", "figure", "value", "goal", "")]
    for figure in figures:
        goal = "" if figure.goal is None else f"{figure.goal[0]} {figure.goal[1]:g}{'' if figure.kept else '  MISSED'}"
        rows.append((figure.topic, figure.name, f"{short(figure.value)} {figure.unit}".strip(), goal, figure.of))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]).rstrip() for row in rows
    )


def short(value: float) -> str:
    """A number with three digits, or as many as it has before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
