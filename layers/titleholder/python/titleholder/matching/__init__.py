"""Compares who the user says owns an account with who the bank says owns it. Pure: no I/O but its list of names, no clock."""

from typing import TYPE_CHECKING, Any

from titleholder.matching.version import MATCHER_VERSION

if TYPE_CHECKING:
    from titleholder.matching.compare import match
    from titleholder.matching.explanations import explain
    from titleholder.matching.policy import DEFAULT_POLICY, Policy, PolicyError
    from titleholder.matching.result import FieldMatch, Match
    from titleholder.matching.verdict import Verdict, decide

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

# Imported when first used: reading a policy loads no comparison, and comparing names loads nothing else.
_LATER = {
    "FieldMatch": "result",
    "Match": "result",
    "match": "compare",
    "explain": "explanations",
    "DEFAULT_POLICY": "policy",
    "Policy": "policy",
    "PolicyError": "policy",
    "Verdict": "verdict",
    "decide": "verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value
