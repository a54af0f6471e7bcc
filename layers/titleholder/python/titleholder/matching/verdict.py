"""Turns the comparisons of one claim with all owners of an account into a single verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from titleholder.matching.compare import compare, read
from titleholder.matching.names import Memo
from titleholder.matching.policy import DEFAULT_POLICY, Policy
from titleholder.matching.result import FIELDS, FieldMatch, Match
from titleholder.matching.version import MATCHER_VERSION


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one claim against one account. It has no personal data.

    Attributes
    ----------
    outcome
        ``match``, ``close_match``, ``no_match`` or ``not_verifiable``.
    score
        The best owner's overall score, 0 to 100, or ``None`` when nothing could be compared.
    fields
        The best owner's scores by field: always ``name``, ``address``, ``phone``, ``email``.
    reasons
        Stable codes, the weightiest first. `titleholder.matching.explain` says each in a sentence.
    owner_position
        0-based position of the best owner, or ``None`` when there is none.
    matcher_version, policy_version
        With these, the snapshot and the claim, the verdict can be repeated.
    """

    outcome: str
    score: float | None
    fields: Mapping[str, FieldMatch]
    reasons: tuple[str, ...]
    owner_position: int | None
    matcher_version: str
    policy_version: str

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data."""
        return {
            "outcome": self.outcome,
            "score": self.score,
            "fields": {
                name: {"score": field.score, "missing": field.missing, "reasons": list(field.reasons)}
                for name, field in self.fields.items()
            },
            "reasons": list(self.reasons),
            "owner_position": self.owner_position,
            "matcher_version": self.matcher_version,
            "policy_version": self.policy_version,
        }


_NOTHING: Mapping[str, FieldMatch] = MappingProxyType({name: FieldMatch(None, "bank") for name in FIELDS})


def decide(claim: dict[str, Any], owners: Sequence[dict[str, Any]], policy: Policy = DEFAULT_POLICY) -> Verdict:
    """Compare a claim with every owner of an account and judge the best one.

    Parameters
    ----------
    claim
        As for `titleholder.matching.match`.
    owners
        All owners the bank gave, in the bank's order. An empty sequence gives ``not_verifiable`` with ``NO_OWNERS``.
    policy
        Thresholds and required fields.
    """
    best: Match | None = None
    position: int | None = None
    mine = read(claim)
    memos: dict[bool, Memo] = {}
    for index, owner in enumerate(owners):
        candidate = compare(mine, owner, memos)
        if best is None or _rank(candidate) > _rank(best):
            best, position = candidate, index
    if best is None:
        return _verdict("not_verifiable", None, _NOTHING, ("NO_OWNERS",), None, policy)
    name = best.fields["name"]
    if name.score is None:
        return _verdict("not_verifiable", None, best.fields, ("NAME_MISSING", *best.reasons), position, policy)
    reasons = best.reasons
    if len(owners) > 1 and "JOINT_OWNER" not in reasons:
        reasons = (*reasons, "JOINT_OWNER")
    outcome = _outcome(best, policy)
    if outcome != "no_match":
        for required in policy.required_fields:
            field = best.fields[required]
            if field.score is None:
                return _verdict("not_verifiable", best.score, best.fields, ("REQUIRED_FIELD_MISSING", *reasons), position, policy)
        for required in policy.required_fields:
            field = best.fields[required]
            if (
                required != "name"
                and field.score is not None
                and field.score < policy.field_thresholds.get(required, policy.match_threshold)
            ):
                return _verdict("no_match", best.score, best.fields, ("REQUIRED_FIELD_DIFFERS", *reasons), position, policy)
    return _verdict(outcome, best.score, best.fields, reasons, position, policy)


def _rank(candidate: Match) -> tuple[bool, float, float]:
    name = candidate.fields["name"].score
    return name is not None, candidate.score, name or 0.0


def _outcome(best: Match, policy: Policy) -> str:
    if best.score >= policy.match_threshold:
        return "match"
    if best.score >= policy.close_match_threshold and not any(code in best.reasons for code in policy.never_close):
        return "close_match"
    return "no_match"


def _verdict(
    outcome: str,
    score: float | None,
    fields: Mapping[str, FieldMatch],
    reasons: tuple[str, ...],
    position: int | None,
    policy: Policy,
) -> Verdict:
    return Verdict(outcome, score, fields, reasons, position, MATCHER_VERSION, policy.version)
