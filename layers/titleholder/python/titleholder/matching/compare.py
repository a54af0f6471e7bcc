"""Compares a claim with one owner, field by field, and lets the name gate the rest."""

import re
import unicodedata
from types import MappingProxyType
from typing import Any

from titleholder.matching.result import FieldMatch, Match, absent

_WORD = re.compile(r"[^\W_]+")


def _fold(value: object) -> str:
    text = unicodedata.normalize("NFKD", str(value)[:2000]).casefold()
    return "".join(c for c in text if not unicodedata.combining(c))


def _tokens(value: object) -> list[str]:
    return _WORD.findall(_fold(value))[:40] if value else []


def _claimed_names(claim: dict[str, Any]) -> list[str]:
    names = [" ".join(str(claim[k]) for k in ("given", "middle", "family", "suffix") if claim.get(k))]
    names += [str(claim[k]) for k in ("name", "business_name") if claim.get(k)]
    names += [str(a) for a in claim.get("aka") or []]
    return [n for n in names if n.strip()]


def _name(a: str, b: str) -> float:
    left, right = _tokens(a), _tokens(b)
    if not left or not right:
        return 0.0
    if left == right:
        return 100.0
    if sorted(left) == sorted(right):
        return 99.0
    small, large = sorted((set(left), set(right)), key=len)
    if len(small) > 1 and small <= large:
        return 92.0
    return 60.0 * len(small & large) / len(small)


def _address(claimed: Any, held: Any) -> float:
    if isinstance(claimed, dict):
        claimed = " ".join(str(v) for k, v in claimed.items() if v and k != "country")
    left, right = set(_tokens(claimed)), set(_tokens(held))
    return 100.0 * len(left & right) / len(left | right) if left | right else 0.0


def match(claim: dict[str, Any], owner: dict[str, Any]) -> Match:
    """Compare a claim with one owner."""
    names = _claimed_names(claim)
    held = str(owner.get("name") or "")
    fields: dict[str, FieldMatch] = {}
    if names and held.strip():
        score = max(_name(n, held) for n in names)
        fields["name"] = FieldMatch(score, None, () if score >= 99 else ("NAME_DIFFERS",))
    else:
        fields["name"] = absent(bool(names), bool(held.strip()))
    for field, key, other in (("address", "address", "raw_address"), ("phone", "phone", "phone"), ("email", "email", "email")):
        mine, theirs = claim.get(key), owner.get(other)
        if not mine or not theirs:
            fields[field] = absent(bool(mine), bool(theirs))
        elif field == "address":
            fields[field] = FieldMatch(_address(mine, theirs))
        elif field == "phone":
            same = re.sub(r"\D", "", str(mine))[-10:] == re.sub(r"\D", "", str(theirs))[-10:]
            fields[field] = FieldMatch(100.0 if same else 0.0, None, () if same else ("PHONE_DIFFERS",))
        else:
            same = str(mine).strip().casefold() == str(theirs).strip().casefold()
            fields[field] = FieldMatch(100.0 if same else 0.0, None, () if same else ("EMAIL_DIFFERS",))
    name = fields["name"].score
    others = [f.score for f in fields.values() if f.score is not None]
    overall = name if name is not None else (sum(others) / len(others) if others else 0.0)
    reasons = tuple(dict.fromkeys(r for f in fields.values() for r in f.reasons))
    return Match(overall, MappingProxyType(fields), reasons)
