"""One way to compare a name: its score, the reasons for every point that is missing, and what else may change it."""

from typing import NamedTuple

MOST_FOR_REVIEW = 69.0
MATCH = 70.0
# The highest score of a name that has such a role on the account.
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
    compared: bool = True  # False: the names have no script in common

    def capped(self, ceiling: float, reason: str) -> "Judged":
        """Return the same comparison with an upper limit for the score, and the reason for it."""
        reasons = (reason, *(r for r in self.reasons if r != reason))
        lift = "none" if ceiling < 70 else self.lift
        return self._replace(score=min(self.score, ceiling), reasons=reasons, ceiling=min(self.ceiling, ceiling), lift=lift)

    def noted(self, reason: str) -> "Judged":
        """Return the same comparison with one more reason."""
        return self._replace(reasons=tuple(dict.fromkeys((*self.reasons, reason))))


# Names that cannot be compared say neither that the parties are the same nor that they are not.
SCRIPTS_DIFFER = Judged(47.11, -2.0, ("SCRIPT_DIFFERS",), True, False, 49.0, lift="none", compared=False)
