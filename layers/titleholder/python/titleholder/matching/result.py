"""The shapes a comparison answers with: one score per field, one overall, and the reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Missing = Literal["claim", "bank", "both"]

FIELDS: tuple[str, ...] = ("name", "address", "phone", "email")


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """How one field of a claim compares with the same field of an owner.

    Attributes
    ----------
    score
        0 to 100, or ``None`` when either side lacks the field.
    missing
        Who lacks it: ``"claim"``, ``"bank"``, ``"both"``, or ``None``.
    reasons
        Stable codes for every loss of points, the weightiest first.
    """

    score: float | None
    missing: Missing | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """How a claim compares with one owner.

    Attributes
    ----------
    score
        0 to 100 overall. The name gates it: no other field lifts a wrong name.
    fields
        Always the keys ``name``, ``address``, ``phone`` and ``email``.
    reasons
        Stable codes, the weightiest first, without repetition.
    """

    score: float
    fields: Mapping[str, FieldMatch]
    reasons: tuple[str, ...]


def absent(claimed: bool, held: bool) -> FieldMatch:
    """Return the result for a field that at least one side lacks (``claimed``/``held``: which side has it)."""
    missing: Missing = "bank" if claimed else "claim" if held else "both"
    return FieldMatch(None, missing, ())
