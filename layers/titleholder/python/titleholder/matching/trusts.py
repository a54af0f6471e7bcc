"""Compares trusts by their own names: the people that they are named after, their kinds, numbers and dates."""

from titleholder.matching.judged import Judged
from titleholder.matching.names import Memo, compare_family
from titleholder.matching.parties import Trust

# "Revocable" may be left out in one of two texts about the same trust.
_SOFT = frozenset(("revocable",))


def compare(mine: Trust, held: Trust, person: Judged | None, memo: Memo) -> Judged:
    """Return how two trusts compare. ``person``: the comparison of the people that they are named after; ``None`` if one is not."""
    judged = Judged(20.0, -8.0, ("BUSINESS_NAME_DIFFERS", "TRUST"), True, False, 49.0, lift="none")
    if sorted(mine.after) == sorted(held.after):
        judged = Judged(99.0, 8.0, ("TRUST",), False, False, 100.0)
    elif person is not None and mine.party and held.party:
        judged = person
    elif mine.grantors != held.grantors:
        if set(mine.after) <= set(held.after) or set(held.after) <= set(mine.after):
            # A couple's trust is not the trust of one of them.
            judged = Judged(62.0, -1.0, ("BUSINESS_WORDS_MISSING", "TRUST"), False, False, 62.0, lift="none")
    elif mine.grantors == held.grantors == 1:
        house, other = (mine.after, held) if not mine.party else (held.after, mine)
        if other.party is not None:
            if house[-1:] == other.after[-1:] or house == other.after[:1]:
                judged = Judged(62.0, -1.0, ("GIVEN_NAME_MISSING", "TRUST"), False, False, 62.0, lift="none")
        elif compare_family(house, other.after, memo) in ("F_SOUND", "F_TYPO", "F_FORM", "F_GLUED"):
            judged = Judged(91.0, 4.0, ("TYPO", "TRUST"), False, False, 100.0)
    if mine.number != held.number:
        judged = judged.capped(69.0 if not mine.number or not held.number else 45.0, "BUSINESS_NUMBER_DIFFERS")
    if mine.kinds - _SOFT != held.kinds - _SOFT:
        judged = judged.capped(69.0, "LEGAL_FORM_CONFLICT")
    elif mine.kinds != held.kinds:
        judged = judged.capped(97.0, "LEGAL_FORM_DIFFERS")
    if mine.date and held.date and not _same_date(mine.date, held.date):
        judged = judged.capped(49.0, "BUSINESS_NUMBER_DIFFERS")
    return judged


def _same_date(a: str, b: str) -> bool:
    """Return whether two dates agree. Each may be only a year."""
    return a == b or ((a.isdigit() or b.isdigit()) and a[:4] == b[:4])
