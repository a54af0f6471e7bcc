"""Compares who the user says owns an account with who the bank says owns it. Pure: no I/O, no clock, no third-party code."""

from titleholder.matching.compare import match
from titleholder.matching.explanations import explain
from titleholder.matching.policy import DEFAULT_POLICY, Policy, PolicyError
from titleholder.matching.result import FieldMatch, Match
from titleholder.matching.verdict import Verdict, decide
from titleholder.matching.weights import MATCHER_VERSION

__all__ = [
    "DEFAULT_POLICY",
    "MATCHER_VERSION",
    "FieldMatch",
    "Match",
    "Policy",
    "PolicyError",
    "Verdict",
    "decide",
    "explain",
    "match",
]
