"""Puts comparisons on the published scale of 0 to 100 and names the reasons for every point that is missing."""

from typing import NamedTuple

from titleholder.matching import businesses
from titleholder.matching import names as names_module
from titleholder.matching.weights import BUSINESS_KNOTS, NAME_KNOTS

_REASON = {
    "G_SCRIPT": "SCRIPT_DIFFERS", "F_SCRIPT": "SCRIPT_DIFFERS", "G_DIFFERS": "GIVEN_NAME_DIFFERS",
    "G_DIFFERS_SAME_INITIAL": "GIVEN_NAME_DIFFERS",
    "G_INITIAL_DIFFERS": "GIVEN_NAME_DIFFERS", "G_OTHER": "GIVEN_NAME_DIFFERS", "G_ALIKE": "GIVEN_NAME_SIMILAR",
    "G_ALIKE_LESS": "GIVEN_NAME_SIMILAR",
    "G_TYPO_2_SHORT": "GIVEN_NAME_SIMILAR", "G_BYNAME": "NICKNAME", "G_NICKNAME": "NICKNAME", "G_COUSIN": "NICKNAME",
    "G_NICKNAME_TYPO": "NICKNAME",
    "G_SPELLING": "SPELLING_VARIANT",
    "G_SOUND": "SPELLING_VARIANT", "G_TYPO": "TYPO", "G_TYPO_FIRST": "TYPO", "G_TYPO_SHORT": "TYPO", "G_TYPO_2": "TYPO",
    "G_PREFIX": "TRUNCATED", "G_INITIAL": "INITIALS_ONLY",
    "G_INITIALS": "INITIALS_ONLY", "G_MISSING": "GIVEN_NAME_MISSING", "G_GLUED": "GLUED", "G_MIDDLE": "MIDDLE_AS_GIVEN",
    "G_MIDDLE_INITIAL": "MIDDLE_AS_GIVEN", "G_MIDDLE_FORM": "MIDDLE_AS_GIVEN",
    "F_DIFFERS": "SURNAME_DIFFERS", "F_ALIKE": "SURNAME_SIMILAR", "F_ALIKE_LESS": "SURNAME_SIMILAR", "F_TYPO_2_SHORT": "SURNAME_SIMILAR",
    "F_SOUND_FAR": "SURNAME_SIMILAR", "F_PART_ALIKE": "SURNAME_SIMILAR", "F_TYPO": "TYPO", "F_TYPO_SHORT": "TYPO", "F_TYPO_2": "TYPO",
    "F_SOUND": "SPELLING_VARIANT", "F_FORM": "SPELLING_VARIANT", "F_NEAR": "SURNAME_SIMILAR", "F_CUT": "TRUNCATED",
    "F_CUT_EARLY": "SURNAME_SIMILAR",
    "F_PART": "SURNAME_IN_PART", "F_PART_EACH": "SURNAME_IN_PART",
    "F_INITIAL": "INITIALS_ONLY",
    "F_MISSING": "SURNAME_MISSING", "F_MAIDEN": "MAIDEN_NAME_LIKELY", "F_GLUED": "GLUED",
    "M_DIFFERS": "MIDDLE_DIFFERS", "M_INITIAL_DIFFERS": "MIDDLE_DIFFERS", "M_ONE": "MIDDLE_OMITTED", "M_ONE_INITIAL": "MIDDLE_OMITTED",
    "M_INITIAL": "MIDDLE_INITIAL", "M_FORM": "SPELLING_VARIANT",
    "S_ONE": "GENERATIONAL_SUFFIX_DIFFERS", "S_NEAR": "GENERATIONAL_SUFFIX_DIFFERS", "S_CONFLICT": "GENERATIONAL_SUFFIX_CONFLICT",
    "O_SWAPPED": "SURNAME_FIRST",
    "C_JOINT": "JOINT_OWNER", "C_SHARED": "JOINT_OWNER", "C_TRUST": "TRUST", "C_HOUSE": "TRUST", "C_BENEFIT": "TRUST",
    "C_BENEFICIARY": "BENEFICIARY_ONLY", "C_MINOR": "MINOR_ACCOUNT", "C_CUSTODIAN": "MINOR_ACCOUNT", "C_ESTATE": "ESTATE",
    "C_ALIAS": "ALSO_KNOWN_AS", "C_HARD_TRUST": "TRUST", "C_EXECUTOR": "SIGNER_ONLY", "C_PARENT": "PARENT_OF_OWNER",
    "C_GLUED": "GLUED",
    "B_GLUED": "GLUED", "B_ORDER": "SURNAME_FIRST", "B_TYPO": "TYPO", "B_ACRONYM": "BUSINESS_ABBREVIATED",
    "B_PART": "BUSINESS_WORDS_MISSING",
    "B_MOST": "BUSINESS_NAME_DIFFERS", "B_HALF": "BUSINESS_NAME_DIFFERS", "B_LITTLE": "BUSINESS_NAME_DIFFERS",
    "B_DIFFERS": "BUSINESS_NAME_DIFFERS",
    "L_ONE": "LEGAL_FORM_DIFFERS", "L_CONFLICT": "LEGAL_FORM_CONFLICT", "N_ONE": "BUSINESS_NUMBER_DIFFERS",
    "N_DIFFER": "BUSINESS_NUMBER_DIFFERS",
}  # fmt: skip

_WRONG_GIVEN = frozenset(("G_DIFFERS", "G_DIFFERS_SAME_INITIAL", "G_INITIAL_DIFFERS", "G_OTHER", "G_SCRIPT"))
_WRONG_FAMILY = frozenset(("F_DIFFERS", "F_ALIKE_LESS", "F_SCRIPT"))
_SAME_FAMILY = frozenset(("F_SAME", "F_GLUED", "F_PARTICLE"))
_NEAR_FAMILY = _SAME_FAMILY | {"F_PART", "F_PART_EACH", "F_SOUND", "F_FORM", "F_TYPO"}
_ONE_STEP_GIVEN = frozenset(("G_NICKNAME", "G_SPELLING", "G_TYPO", "G_SOUND", "G_GLUED"))
_ONE_STEP_FAMILY = frozenset(("F_TYPO", "F_SOUND", "F_FORM", "F_PART"))
# What one step away is worth: a typing error as vendors publish it; another spelling more; a nickname less, for families share those.
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
# The most that a name can score that appears in such a place on the account.
CEILINGS = {
    "beneficiary": 45.0, "house": 62.0, "minor": 69.0, "estate": 69.0, "benefit": 69.0, "executor": 69.0, "parent": 69.0,
    "hard_trust": 69.0,
    "alias": 97.0, "joint": 99.0, "shared": 99.0, "trust": 99.0, "custodian": 99.0,
}  # fmt: skip
CONTEXT_REASONS = {
    "beneficiary": "BENEFICIARY_ONLY", "house": "TRUST", "minor": "MINOR_ACCOUNT", "estate": "ESTATE", "benefit": "BENEFICIARY_ONLY",
    "executor": "SIGNER_ONLY", "parent": "PARENT_OF_OWNER", "hard_trust": "TRUST", "alias": "ALSO_KNOWN_AS", "joint": "JOINT_OWNER",
    "shared": "JOINT_OWNER", "trust": "TRUST", "custodian": "MINOR_ACCOUNT",
}  # fmt: skip


class Judged(NamedTuple):
    """One way to compare a name, on the scale."""

    score: float
    log_odds: float
    reasons: tuple[str, ...]
    wrong: bool  # another person's or business's name: nothing else may lift it
    surname_only: bool  # wrong, but the given name is the same, as after a marriage
    ceiling: float
    doubtful: bool = False  # no other's name for sure, but the given name is only alike
    lift: str = "any"  # which contacts may lift it above the band for review: "any", "mailbox" (an e-mail or a phone), or "none"

    def capped(self, ceiling: float, reason: str) -> "Judged":
        """Return the same comparison with a ceiling and the reason for it."""
        reasons = (reason, *(r for r in self.reasons if r != reason))
        lift = "none" if ceiling < 70 else self.lift
        return self._replace(score=min(self.score, ceiling), reasons=reasons, ceiling=min(self.ceiling, ceiling), lift=lift)

    def noted(self, reason: str) -> "Judged":
        """Return the same comparison with a reason more."""
        return self._replace(reasons=tuple(dict.fromkeys((*self.reasons, reason))))


def _interpolate(knots: tuple[tuple[float, float], ...], log_odds: float) -> float:
    before, low = knots[0]
    if log_odds <= before:
        return low
    for at, score in knots:
        if log_odds < at:
            return round(low + (score - low) * (log_odds - before) / (at - before), 2)
        before, low = at, score
    return low


def scale(log_odds: float) -> float:
    """Return log-odds of a person's name, or of a name and contacts, as a score from 0 to 89."""
    return _interpolate(NAME_KNOTS, log_odds)


def person_field(compared: names_module.Comparison) -> Judged:
    """Put a comparison of two people's names on the scale.

    The bands are those of https://plaid.com/docs/identity/interpreting-identity-match/: 100 the same, 99 the same after
    normalising, 95 to 98 with a generational suffix on one side, 90 to 94 one typing error, one nickname or a part of a double
    surname; what needs more than one such step scores at most 89, and a name whose given name or surname is another one at most
    59.
    """
    given, family, middle, generation, _, _ = compared.levels[:6]
    score = scale(compared.log_odds)
    reasons = [code for level in compared.levels[:6] if (code := _REASON.get(level))]
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


def business_field(found: "businesses.Compared", trade: bool) -> Judged:
    """Put a comparison of two businesses' names on the scale.

    100 the same, 99 the same words, 95 to 98 apart from the legal form, 90 to 94 a typing error; words that are left over are for review if
    any business may use them, and otherwise another business's.
    """
    log_odds = businesses.log_odds(found.levels)
    reasons = [code for level in found.levels if (code := _REASON.get(level))]
    if trade:
        reasons.append("DOING_BUSINESS_AS")
    score = _interpolate(BUSINESS_KNOTS, log_odds) if found.band is None else found.band
    score, ceiling = min(score, found.ceiling), 89.0 if found.ceiling == 69 and found.lift != "none" else found.ceiling
    if trade:
        score, ceiling = min(score, 98.0), min(ceiling, 98.0)
    reasons.extend(code for code in found.reasons if code not in reasons)
    if not reasons:
        reasons.append("NORMALISED")
    # Contacts may lift a name that only lacks a word any business may use.
    return Judged(score, log_odds, tuple(dict.fromkeys(reasons)), found.ceiling < 50, False, ceiling, lift=found.lift)
