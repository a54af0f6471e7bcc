"""The result of a comparison: one score for each field, one overall, and the reasons."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Missing = Literal["claim", "bank", "both"]

FIELDS: tuple[str, ...] = ("name", "address", "phone", "email")
# The fields besides the name, with Stripe's names.
CONTACTS = (("address", "raw_address"), ("phone", "phone"), ("email", "email"))


class FieldMatch(NamedTuple):
    """How one field of a claim compares with the same field of an owner.

    Attributes
    ----------
    score
        0 to 100, or ``None`` when either side lacks the field.
    missing
        Which side lacks it: ``"claim"``, ``"bank"``, ``"both"``, or ``None``. A placeholder counts as missing on its own side. If two
        addresses have no part in common, each side lacks what the other has.
    reasons
        Stable codes for every loss of points, the weightiest first.
    """

    score: float | None
    missing: Missing | None = None
    reasons: tuple[str, ...] = ()


class Match(NamedTuple):
    """How a claim compares with one owner.

    Attributes
    ----------
    score
        0 to 100 overall. The name limits it: no other field raises the score of a wrong name.
    fields
        Always the keys ``name``, ``address``, ``phone`` and ``email``.
    reasons
        Stable codes, the weightiest first, without repetition.
    """

    score: float
    fields: Mapping[str, FieldMatch]
    reasons: tuple[str, ...]


_ABSENT: Mapping[tuple[bool, bool], FieldMatch] = MappingProxyType(
    {
        (True, False): FieldMatch(None, "bank"),
        (False, True): FieldMatch(None, "claim"),
        (False, False): FieldMatch(None, "both"),
    }
)


def absent(claimed: bool, held: bool) -> FieldMatch:
    """Return the result for a field that at least one side lacks (``claimed``/``held``: which side has it)."""
    return _ABSENT[claimed, held]


NO_CONTACTS: Mapping[str, FieldMatch] = MappingProxyType({field: absent(False, False) for field, _ in CONTACTS})
