"""Puts comparisons on the published scale of 0 to 100 and names the reasons for every point that is missing."""

from typing import NamedTuple

from titleholder.matching.weights import NAME_KNOTS

REASONS = {
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

MOST_FOR_REVIEW = 69.0
MATCH = 70.0
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


def interpolate(knots: tuple[tuple[float, float], ...], log_odds: float) -> float:
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
    return interpolate(NAME_KNOTS, log_odds)
