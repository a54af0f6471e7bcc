"""Scores names that the account of words leaves open: compares every reading of two names part by part, by levels with weights."""

from collections.abc import Iterator
from typing import NamedTuple

from titleholder.matching.judged import Judged
from titleholder.matching.names import Memo, compare_family, compare_given
from titleholder.matching.parties import Party
from titleholder.matching.scale import REASONS, scale
from titleholder.matching.text import MAX_WORDS, within_two
from titleholder.matching.weights import NAME_WEIGHTS
from titleholder.matching.words import BINDING, JOINERS, PARTICLES


class Reading(NamedTuple):
    """One way to read a name: forenames, surname, generation, and the order that it assumes."""

    fore: tuple[str, ...]
    family: tuple[str, ...]
    generation: str
    layout: str  # "given": according to the source; "fl": given name first; "lf": surname first by guess; "one": a single word
    context: str  # the party's


MANY_READINGS = 36


def _readings_of(party: Party, memo: Memo) -> list[Reading]:
    found = memo.read.get(id(party))
    if found is None:
        found = memo.read[id(party)] = party, readings(party)
    readings_: list[Reading] = found[1]
    return readings_


def _tail(tokens: tuple[str, ...]) -> tuple[str, ...]:
    return tokens[_bind(tokens, len(tokens) - 1) :]


def _bind(tokens: tuple[str, ...], start: int) -> int:
    """Move the start of a surname back over the particles before it."""
    while start > 1 and (tokens[start - 1] in BINDING or (tokens[start - 1] in JOINERS and start > 2)):
        start -= 2 if tokens[start - 1] in JOINERS else 1
    if start > 2 and tokens[start - 2] == "de" and tokens[start - 1] in ("la", "las", "los", "lo"):
        start -= 2
    return start


def readings(party: Party) -> list[Reading]:
    """Return the readings of a party's words."""
    words, context = party.words[:MAX_WORDS], party.context
    if party.family or party.given:
        cut = len(party.words) - party.family
        return [Reading(party.words[:cut][:8], party.words[cut:][:8], party.generation, "given", context)]
    if party.lent:
        return [Reading(words, family, party.generation, "fl", context) for family in party.lent]
    out: list[Reading] = []
    if party.comma:
        head, rest = words[: party.comma], words[party.comma :]
        if len(head) <= 4 and not (party.title and len(head) > 1):
            out.append(Reading(rest[:8], head, party.generation, "given", context))
        if len(head) > 2 or party.title:
            out.extend(_plain(head, party.generation, context))
    else:
        out = _plain(words, party.generation, context)
    if len(party.aside) == 1 and len(party.aside[0]) > 1:
        alias = [r._replace(fore=(party.aside[0], *r.fore[1:]), context="alias") for r in out[:3] if r.fore]
        out.extend(alias)
    return out


def _plain(t: tuple[str, ...], generation: str, context: str) -> list[Reading]:
    n = len(t)
    if n == 1:
        return [Reading((), t, generation, "one", context)]
    tail = _tail(t)
    out = [Reading(t[: n - len(tail)], tail, generation, "fl", context)]
    lead = 1
    while lead < n - 1 and (t[lead - 1] in BINDING or t[lead] in JOINERS):
        lead += 1
    if n > 2 and len(tail) < n - 1:
        size = n - _bind(t, n - len(tail) - 1)
        out.append(Reading(t[: n - size], t[n - size :], generation, "fl2", context))
    out.append(Reading(t[lead:], t[:lead], generation, "lf", context))
    if n > 2 and lead + 1 < n:
        out.append(Reading(t[lead + 1 :], t[: lead + 1], generation, "lf2", context))
    return out


_SOFT_GIVEN = frozenset(("G_SAME", "G_SPELLING", "G_NICKNAME", "G_TYPO", "G_SOUND"))


def _compare_fore(a: tuple[str, ...], b: tuple[str, ...], memo: Memo) -> tuple[str, str]:
    """Return the levels of the given and of the middle names."""
    if not a or not b:
        return "G_MISSING", "M_NONE"
    given = compare_given(a[0], b[0], memo)
    more_a, more_b = a[1:], b[1:]
    if given != "G_SAME":
        if more_b and len(a[0]) > 2 and a[0] == b[0] + more_b[0]:
            given, more_b = "G_GLUED", more_b[1:]
        elif more_a and len(b[0]) > 2 and b[0] == a[0] + more_a[0]:
            given, more_a = "G_GLUED", more_a[1:]
    if given in _WRONG_GIVEN:
        crossed = ""
        for mine, theirs in ((a, b), (b, a)):
            for middle in mine[1:3]:
                if len(middle) > 1 and len(theirs[0]) > 1:
                    level = compare_given(middle, theirs[0], memo)
                    if level in _SOFT_GIVEN:
                        first = len(mine[0]) == 1
                        if level == "G_SAME":
                            crossed = "G_MIDDLE_INITIAL" if first else "G_MIDDLE"
                        elif not crossed:
                            crossed = "G_MIDDLE_FORM"
        if crossed:
            return crossed, "M_USED"
    middle = _compare_middle(more_a, more_b, memo)
    # Members of a family often share a middle initial, so it says nothing if the given name is another one.
    if given in _DIFFERENT_GIVEN and middle in ("M_SAME", "M_INITIAL", "M_FORM"):
        middle = "M_USED"
    return given, middle


def _compare_middle(a: tuple[str, ...], b: tuple[str, ...], memo: Memo) -> str:
    if not a or not b:
        if not a and not b:
            return "M_NONE"
        return "M_ONE_INITIAL" if all(len(t) == 1 for t in a or b) else "M_ONE"
    if a == b:
        return "M_SAME"
    best = "M_DIFFERS"
    for x in a[:4]:
        for y in b[:4]:
            if x == y:
                return "M_SAME"
            if len(x) == 1 or len(y) == 1:
                if x[0] == y[0]:
                    best = "M_INITIAL"
                elif best == "M_DIFFERS":
                    best = "M_INITIAL_DIFFERS"
            elif best != "M_INITIAL" and compare_given(x, y, memo) in (
                "G_SPELLING",
                "G_NICKNAME",
                "G_TYPO",
                "G_SOUND",
                "G_TYPO_2",
                "G_PREFIX",
                "G_TYPO_SHORT",
            ):
                best = "M_FORM"
    return best


def _compare_generation(a: str, b: str) -> str:
    if a == b:
        return "S_SAME" if a else "S_NONE"
    if not a or not b:
        return "S_ONE"
    # Jr. and II are used for the same man.
    return "S_NEAR" if {a, b} == {"2", "ii"} else "S_CONFLICT"


_FINE_MIDDLE = frozenset(("M_NONE", "M_SAME", "M_INITIAL"))
_CONTEXT_RANK = {
    name: rank for rank, name in enumerate(("plain", "joint", "shared", "alias", "trade", "trust", "benefit", "custodian", "minor",
                                            "estate", "executor", "parent", "hard_trust", "house", "beneficiary"))
}  # fmt: skip
_WIDE = frozenset(("fl2", "lf2"))
# A middle name must not count as a part of the surname, if the rest of the surname agrees without it.
_PARTS = frozenset(("F_PART", "F_PART_EACH", "F_PART_ALIKE"))


class Comparison(NamedTuple):
    """The levels of the best pair of readings, and their log-odds."""

    log_odds: float
    levels: tuple[str, ...]  # given, family, middle, generation, order, context, then combinations


_FUZZY_GIVEN = frozenset(
    ("G_TYPO", "G_TYPO_SHORT", "G_TYPO_2", "G_TYPO_2_SHORT", "G_ALIKE", "G_ALIKE_LESS", "G_SOUND", "G_PREFIX", "G_OTHER", "G_COUSIN",
     "G_TYPO_FIRST",
     "G_MIDDLE_FORM", "G_MIDDLE")
)  # fmt: skip
_FUZZY_FAMILY = frozenset(
    (
        "F_TYPO",
        "F_TYPO_SHORT",
        "F_TYPO_2",
        "F_TYPO_2_SHORT",
        "F_ALIKE",
        "F_ALIKE_LESS",
        "F_SOUND_FAR",
        "F_PART_ALIKE",
        "F_CUT",
        "F_CUT_EARLY",
    )
)
_WRONG_FAMILY = frozenset(("F_DIFFERS", "F_ALIKE_LESS", "F_SCRIPT"))
_DIFFERENT_GIVEN = frozenset(("G_DIFFERS", "G_DIFFERS_SAME_INITIAL", "G_INITIAL_DIFFERS", "G_SCRIPT"))


# Banks cut names off at some twenty to forty characters. A shorter name was not cut: Maria Tere is not Maria Teresa.
SHORTEST_CUT = 14


def _width(reading: Reading) -> int:
    return sum(map(len, reading.fore)) + sum(map(len, reading.family))


_NOTHING_ALIKE = ("G_DIFFERS", "F_DIFFERS", "M_USED", "S_NONE", "O_SAME", "C_PLAIN", "X_BOTH_DIFFER")


def _maiden(a: Reading, b: Reading) -> bool:
    """Return whether one surname is the other's middle name, as for a person who took a surname in marriage and kept the old one."""
    return bool(a.family) and len(a.family[-1]) > 2 and a.family[-1] not in PARTICLES and a.family[-1] in b.fore[1:]


def compare_readings(a: Reading, b: Reading, memo: Memo) -> tuple[str, ...]:
    """Return the levels at which two readings agree."""
    family = compare_family(a.family, b.family, memo)
    given, middle = _compare_fore(a.fore, b.fore, memo)
    if family == "F_DIFFERS" and given in _DIFFERENT_GIVEN:
        return _NOTHING_ALIKE
    if family == "F_CUT" and min(_width(a), _width(b)) < SHORTEST_CUT:
        family = "F_CUT_EARLY"
    if family in _WRONG_FAMILY and given in _SOFT_GIVEN and "lf" not in (a.layout[:2], b.layout[:2]) and (_maiden(a, b) or _maiden(b, a)):
        family, middle = "F_MAIDEN", "M_USED"
    swapped = (a.layout[0] == "l") != (b.layout[0] == "l")
    levels = [given, family, middle, _compare_generation(a.generation, b.generation), "O_SWAPPED" if swapped else "O_SAME"]
    context = a.context if _CONTEXT_RANK.get(a.context, 9) > _CONTEXT_RANK.get(b.context, 9) else b.context
    levels.append("C_" + context.upper())
    levels.extend(combinations(levels))
    return tuple(levels)


def combinations(levels: list[str]) -> list[str]:
    """Return levels for combinations that say more than their levels alone."""
    given, family, middle, _, order, _ = levels[:6]
    out = []
    if given in _FUZZY_GIVEN and family in _FUZZY_FAMILY:
        out.append("X_BOTH_FUZZY")
    if family in _WRONG_FAMILY and given in _DIFFERENT_GIVEN:
        out.append("X_BOTH_DIFFER")
    if order == "O_SWAPPED" and (
        given not in ("G_SAME", "G_INITIAL", "G_NICKNAME", "G_SPELLING") or family not in ("F_SAME", "F_GLUED", "F_PARTICLE")
    ):
        out.append("X_SWAPPED_FUZZY")
    if given in ("G_INITIAL", "G_INITIALS", "G_MISSING") and family != "F_SAME":
        out.append("X_INITIAL_FUZZY")
    if middle in ("M_SAME", "M_INITIAL") and given not in ("G_SAME", "G_SPELLING", "G_NICKNAME"):
        out.append("X_MIDDLE_HELPS")
    if middle in ("M_DIFFERS", "M_INITIAL_DIFFERS") and (given != "G_SAME" or family != "F_SAME"):
        out.append("X_MIDDLE_HURTS")
    return out


def log_odds(levels: tuple[str, ...]) -> float:
    """Sum the weights of levels."""
    total = NAME_WEIGHTS["BASE"]
    weight = NAME_WEIGHTS.get
    for level in levels:
        total += weight(level, 0.0)
    return total


def _may_be_wide(wide: Reading, other: Reading) -> bool:
    """Return whether a surname of several words is compared with another such surname, or with one word that is all of it."""
    if len(other.family) > 1:
        return True
    if not other.family:
        return False
    whole = other.family[0]
    return len(wide.family[0]) > 1 and whole[:2] == wide.family[0][:2] and within_two("".join(wide.family), whole) < 2


def every_comparison(mine: Party, held: Party, memo: Memo) -> Iterator[tuple[str, ...]]:
    """Yield the levels for every pair of readings of two names that makes sense."""
    a, b = _readings_of(mine, memo), _readings_of(held, memo)
    glued = _compare_glued(mine, a, held, b)
    if glued is not None:
        yield glued
    for x in a[:MANY_READINGS]:
        for y in b[:MANY_READINGS]:
            # A second word belongs to a surname only if the other surname has several words, too; else it is a middle name.
            # Two names in the same order have the given name first, unless both sources say otherwise. Otherwise Mark Smith and Mary Smith
            # would be two spellings of one surname.
            if x.layout[0] == "l" and y.layout[0] == "l" and not (x.family == y.family and x.fore[:1] == y.fore[:1]):
                continue
            if (y.layout in _WIDE and not _may_be_wide(y, x)) or (x.layout in _WIDE and not _may_be_wide(x, y)):
                continue
            levels = compare_readings(x, y, memo)
            if (x.layout in _WIDE or y.layout in _WIDE) and levels[1] in _PARTS:
                continue
            yield levels


def compare(mine: Party, held: Party, memo: Memo) -> Comparison | None:
    """Return the best comparison over all readings of two names, or ``None`` when either has none."""
    best: Comparison | None = None
    for levels in every_comparison(mine, held, memo):
        total = log_odds(levels)
        # Readings with equal evidence are ordered by their levels, so that the result does not depend on the order of the sides.
        if best is None or total > best.log_odds or (total == best.log_odds and levels > best.levels):
            best = Comparison(total, levels)
            if levels[:2] == ("G_SAME", "F_SAME") and levels[2] in _FINE_MIDDLE and levels[4:6] == ("O_SAME", "C_PLAIN"):
                break
    return best


def _compare_glued(mine: Party, a: list[Reading], held: Party, b: list[Reading]) -> tuple[str, ...] | None:
    """Compare two names if one of them is written as a single word."""
    if (len(mine.words) == 1) == (len(held.words) == 1):
        return None
    one, many = (mine, b) if len(mine.words) == 1 else (held, a)
    word = one.words[0]
    if len(word) < 6:
        return None
    for reading in many[:4]:
        fore, family = reading.fore, "".join(reading.family)
        if not fore or not family or (len(fore[0]) == 1 and len(fore) == 1):
            continue
        initials = "".join(f[0] for f in fore[1:2])
        for whole in (fore[0] + family, family + fore[0], fore[0] + initials + family, "".join(fore) + family, family + "".join(fore)):
            if whole == word:
                return "G_SAME", "F_SAME", "M_ONE", "S_NONE", "O_SAME", "C_GLUED"
            if len(word) > 8 and within_two(whole, word) == 1:
                return "G_SAME", "F_TYPO", "M_ONE", "S_NONE", "O_SAME", "C_GLUED"
            if len(word) > 9 and len(word) > len(fore[0]) + 2 and whole.startswith(word):
                return "G_SAME", "F_CUT", "M_ONE", "S_NONE", "O_SAME", "C_GLUED"
    return None


_WRONG_GIVEN = frozenset(("G_DIFFERS", "G_DIFFERS_SAME_INITIAL", "G_INITIAL_DIFFERS", "G_OTHER", "G_SCRIPT"))
_SAME_FAMILY = frozenset(("F_SAME", "F_GLUED", "F_PARTICLE"))
_NEAR_FAMILY = _SAME_FAMILY | {"F_PART", "F_PART_EACH", "F_SOUND", "F_FORM", "F_TYPO"}
_ONE_STEP_GIVEN = frozenset(("G_NICKNAME", "G_SPELLING", "G_TYPO", "G_SOUND", "G_GLUED"))
_ONE_STEP_FAMILY = frozenset(("F_TYPO", "F_SOUND", "F_FORM", "F_PART"))
# The scores of names that differ by one step: for a typing error as vendors publish it; higher for another spelling; lower for a nickname,
# because relatives share nicknames.
_ONE_STEP = {
    "G_TYPO": 91.0,
    "F_TYPO": 91.0,
    "G_SOUND": 92.0,
    "F_SOUND": 92.0,
    "F_FORM": 92.0,
    "F_PART": 92.0,
    "G_NICKNAME": 90.0,
    "G_SPELLING": 94.0,
    "G_GLUED": 94.0,
}
_DOUBTFUL_FAMILY = frozenset(("F_ALIKE", "F_CUT_EARLY", "F_TYPO_2_SHORT", "F_NEAR"))
_KEPT_GIVEN = _ONE_STEP_GIVEN | {"G_SAME", "G_TYPO_SHORT", "G_TYPO_2"}
_DOUBTFUL_GIVEN = frozenset(("G_ALIKE", "G_ALIKE_LESS", "G_BYNAME"))
_GOOD_MIDDLE = frozenset(("M_NONE", "M_ONE", "M_ONE_INITIAL", "M_SAME", "M_INITIAL", "M_USED"))
_OTHER_MIDDLE = frozenset(("M_DIFFERS", "M_INITIAL_DIFFERS"))


def person_field(compared: Comparison) -> Judged:
    """Return the score of a comparison of two people's names.

    The bands are those of https://plaid.com/docs/identity/interpreting-identity-match/. 100: the same; 99: the same after normalising;
    95 to 98: with a generational suffix on one side; 90 to 94: one typing error, one nickname or a part of a double surname. A name that
    needs more than one such step scores at most 89, and one with another given name or surname at most 59.
    """
    given, family, middle, generation, _, _ = compared.levels[:6]
    score = scale(compared.log_odds)
    reasons = [code for level in compared.levels[:6] if (code := REASONS.get(level))]
    other_given = given in _WRONG_GIVEN or (given in _DOUBTFUL_GIVEN and middle in _OTHER_MIDDLE)
    wrong = other_given or family in _WRONG_FAMILY or generation == "S_CONFLICT"
    ceiling = 100.0
    if wrong:
        ceiling = min(ceiling, 59.0)
        if other_given and family in _NEAR_FAMILY and given != "G_SCRIPT":
            reasons.insert(0, "RELATIVE_LIKELY")
        elif other_given and family in _WRONG_FAMILY:
            reasons.insert(0, "NAME_DIFFERS")
            ceiling = min(ceiling, 39.0)
    elif given in _DOUBTFUL_GIVEN:
        ceiling = min(ceiling, 69.0)
    elif given in ("G_SAME", "G_MIDDLE_INITIAL") and family in _SAME_FAMILY and middle in _GOOD_MIDDLE:
        if generation in ("S_ONE", "S_NEAR"):
            score = 97.0 if generation == "S_ONE" else 95.0
        elif given == "G_MIDDLE_INITIAL":
            score = max(score, 90.0)
        else:
            score = 98.0 if middle == "M_ONE" else 99.0
    elif middle in _GOOD_MIDDLE and (
        (given in _ONE_STEP_GIVEN and family in _SAME_FAMILY) or (given == "G_SAME" and family in _ONE_STEP_FAMILY)
    ):
        score = _ONE_STEP.get(given) or _ONE_STEP.get(family, 92.0)
        if generation in ("S_ONE", "S_NEAR"):
            score -= 1.0
    if family in _DOUBTFUL_FAMILY or middle in _OTHER_MIDDLE:
        score = min(score, 69.0)
    if not reasons:
        reasons.append("NORMALISED")
    kept = wrong and given in _KEPT_GIVEN and generation != "S_CONFLICT"
    doubtful = not wrong and given in _DOUBTFUL_GIVEN
    codes = tuple(dict.fromkeys(_ordered(reasons)))
    return Judged(min(round(score, 2), ceiling), compared.log_odds, codes, wrong, kept, ceiling, doubtful)


_LIGHT = frozenset(("MIDDLE_OMITTED", "MIDDLE_INITIAL", "SURNAME_FIRST", "NORMALISED", "GLUED", "JOINT_OWNER", "TRUST"))


def _ordered(reasons: list[str]) -> list[str]:
    return sorted(reasons, key=lambda code: code in _LIGHT)


NOTHING_ALIKE = person_field(Comparison(log_odds(_NOTHING_ALIKE), _NOTHING_ALIKE))
