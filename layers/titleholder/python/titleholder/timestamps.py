"""Times as they are stored and sent: Unix seconds in code, whole milliseconds in stored items."""

from __future__ import annotations

from typing import Any

DAY = 86_400


def to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def from_ms(milliseconds: Any) -> float:
    return int(milliseconds) / 1000
