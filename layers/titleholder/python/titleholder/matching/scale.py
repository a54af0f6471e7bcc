"""Converts log-odds to the published scale of 0 to 100, and names the reason for each level."""

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


def interpolate(knots: tuple[tuple[float, float], ...], log_odds: float) -> float:
    """Return the score for log-odds, linear between the knots (log-odds and score, rising), and constant outside of them."""
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
