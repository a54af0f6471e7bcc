"""The matcher's version and its table of weights."""

MATCHER_VERSION = "0.2"

NAME_WEIGHTS: dict[str, float] = {
    "BASE": -3.0,
    "G_SAME": 3.0, "G_INITIALS": 1.5, "G_INITIAL": 1.5, "G_INITIAL_DIFFERS": -4.0, "G_SCRIPT": -2.0, "G_DIFFERS": -5.0,
    "G_DIFFERS_SAME_INITIAL": -4.0, "G_SPELLING": 2.5, "G_NICKNAME": 2.5, "G_COUSIN": 0.5, "G_OTHER": -2.0, "G_TYPO": 2.0,
    "G_TYPO_SHORT": 1.0, "G_SOUND": 1.5, "G_PREFIX": 1.5, "G_TYPO_2": 1.0, "G_TYPO_2_SHORT": -0.5, "G_ALIKE": 0.0, "G_ALIKE_LESS": -1.0,
    "G_MISSING": -1.0, "G_GLUED": 2.5, "G_MIDDLE": 1.0, "G_MIDDLE_INITIAL": 2.0, "G_MIDDLE_FORM": 0.5,
    "F_SAME": 3.0, "F_GLUED": 3.0, "F_PARTICLE": 2.5, "F_INITIAL": 0.0, "F_DIFFERS": -5.0, "F_SCRIPT": -2.0, "F_PART": 2.0, "F_PART_EACH": 1.0,
    "F_SOUND": 2.0, "F_SOUND_FAR": 0.5, "F_TYPO": 2.0, "F_TYPO_SHORT": 1.0, "F_CUT": 1.0, "F_TYPO_2": 1.0, "F_TYPO_2_SHORT": -1.0,
    "F_PART_ALIKE": 0.5, "F_ALIKE": -0.5, "F_ALIKE_LESS": -2.0, "F_MISSING": -1.0, "F_MAIDEN": 0.0,
    "M_NONE": 0.0, "M_ONE": 0.0, "M_SAME": 1.5, "M_INITIAL": 0.8, "M_FORM": 0.8, "M_INITIAL_DIFFERS": -2.0, "M_DIFFERS": -3.0, "M_USED": 0.0,
    "S_NONE": 0.0, "S_SAME": 0.5, "S_ONE": -0.3, "S_NEAR": -0.5, "S_CONFLICT": -3.0,
    "O_SAME": 0.0, "O_SWAPPED": -0.5,
    "C_PLAIN": 0.0, "C_HOUSE": -1.0, "C_BENEFICIARY": -4.0,
}  # fmt: skip

BUSINESS_WEIGHTS: dict[str, float] = {
    "BASE": -2.0,
    "B_SAME": 5.5, "B_GLUED": 5.0, "B_ORDER": 4.5, "B_TYPO": 4.0, "B_ACRONYM": 3.0, "B_PART": 2.5, "B_MOST": 1.5, "B_HALF": -1.0, "B_LITTLE": -3.0,
    "B_DIFFERS": -5.0,
    "E_NONE": 0.0, "E_PLAIN": 0.5, "E_TELLING": -1.0, "E_VAGUE": -2.0,
    "H_SAME": 0.0, "H_DIFFERS": -1.0,
    "L_NONE": 0.0, "L_SAME": 0.2, "L_ONE": 0.0, "L_CONFLICT": -1.0,
    "N_NONE": 0.0, "N_SAME": 0.5, "N_ONE": -1.0, "N_DIFFER": -4.0,
}  # fmt: skip

CONTACT_WEIGHTS: dict[str, float] = {
    "A_SAME": 3.0, "A_NEAR": 2.0, "A_PART": 0.0, "A_DIFFERS": -0.7, "A_TOWN": 0.7, "A_TOWN_DIFFERS": -0.7,
    "P_SAME": 3.0, "P_DIFFERS": -0.5, "M_SAME_BOX": 3.0, "M_NEAR_BOX": 1.5, "M_OTHER_BOX": -0.5,
}  # fmt: skip

# Log-odds and the score they are worth, rising.
NAME_KNOTS: tuple[tuple[float, float], ...] = ((-12.0, 5.0), (-8.0, 30.0), (-5.0, 45.0), (-2.0, 56.0), (0.2, 70.0), (3.0, 86.0), (5.0, 89.0))
BUSINESS_KNOTS: tuple[tuple[float, float], ...] = ((-8.0, 5.0), (-4.0, 35.0), (-1.5, 55.0), (0.2, 70.0), (2.0, 85.0), (4.0, 89.0))
