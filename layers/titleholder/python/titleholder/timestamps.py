"""Times as text and as integers. Inside the code a time is a float of Unix seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

DAY_SECONDS = 86_400


def iso_seconds(seconds: float) -> str:
    """Unix seconds as the ISO 8601 text that workflows and answers use, to the second: `2026-11-27T09:00:00Z`."""
    return _iso(seconds, "seconds")


def iso_or_none(seconds: float | None) -> str | None:
    """As `iso_seconds`; None for None."""
    return None if seconds is None else iso_seconds(seconds)


def iso_milliseconds(seconds: float) -> str:
    """Unix seconds as ISO 8601 text to the millisecond: `2026-11-27T09:00:00.000Z`."""
    return _iso(seconds, "milliseconds")


def from_iso(text: str) -> float:
    """Unix seconds of ISO 8601 text. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


def utc_day(seconds: float) -> str:
    """The UTC day of Unix seconds: `2026-11-27`."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def to_milliseconds(seconds: float) -> int:
    """Unix milliseconds, as items of the table store a time."""
    return round(seconds * 1000)


def from_milliseconds(milliseconds: Any) -> float:
    """Unix seconds of stored milliseconds."""
    return int(milliseconds) / 1000


def _iso(seconds: float, timespec: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
