"""Compares a claim with one owner, field by field, and lets the name gate the rest."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from titleholder.matching import businesses, names
from titleholder.matching.memory import forgetful
from titleholder.matching.names import Name, Trust, claimed, read
from titleholder.matching.result import FieldMatch, Match, absent
from titleholder.matching.scale import Judged, business_field, person_field, scale
from titleholder.matching.text import MAX_CHARS
from titleholder.matching.weights import CONTACT_WEIGHTS

MAX_ALIASES = 20
# A person and a business of the same name are worth a look, and no more.
MOST_ACROSS_KINDS = 62.0


class _Claimed(NamedTuple):
    name: Name
    kind: str  # "person", "business" or "either"
    alias: bool


def _text(value: object) -> str:
    return str(value)[:MAX_CHARS].strip() if value else ""


def _claimed_names(claim: Mapping[str, Any]) -> list[_Claimed]:
    declared = claim.get("type")
    kind = declared if declared in ("person", "business") else "either"
    out = []
    if claim.get("given") or claim.get("family"):
        name = claimed(claim.get("given"), claim.get("middle"), claim.get("family"), claim.get("suffix"))
        if name.words:
            out.append(_Claimed(name, "person", False))
    if text := _text(claim.get("business_name")):
        out.append(_Claimed(read(text), "business", False))
    if text := _text(claim.get("name")):
        out.append(_Claimed(read(text), kind, False))
    aliases = claim.get("aka") or ()
    if isinstance(aliases, str):
        aliases = (aliases,)
    if isinstance(aliases, list | tuple):
        out.extend(_Claimed(read(text), kind, True) for alias in aliases[:MAX_ALIASES] if (text := _text(alias)))
    return [c for c in out if c.name.words]


_SAME = Judged(100.0, 9.0, (), False, False, 100.0)


def _judge(mine: _Claimed, held: Name) -> Judged | None:
    """Return the best of the ways in which one claimed name may be compared with the owner's."""
    name = mine.name
    found: list[Judged] = []
    if name.plain == held.plain:
        found.append(_SAME)
    elif mine.kind != "person" and name.trusts and held.trusts:
        found.extend(_as_trusts(one, other) for one in name.trusts for other in held.trusts)
    else:
        if mine.kind == "business" or (mine.kind == "either" and (name.business or held.business)):
            found.extend(_as_businesses(mine, held))
        if mine.kind == "person" or (mine.kind == "either" and not (name.business and held.business)):
            person, other = (name, held) if held.business or mine.kind == "person" else (held, name)
            across = other.business and not other.trade
            if compared := names.compare(name, held):
                judged = person_field(compared)
                found.append(judged.capped(MOST_ACROSS_KINDS, "BUSINESS_VS_PERSON") if across else judged)
            if across:
                found.extend(_person_in_business(person, other))
    if not found:
        return None
    best = max(found, key=lambda judged: judged.score)
    return best.capped(97.0, "ALSO_KNOWN_AS") if mine.alias else best


def _as_trusts(mine: Trust, held: Trust) -> Judged:
    """Compare two trusts by their own names: whom they are called after, then the kind, then the number."""
    judged = Judged(20.0, -8.0, ("BUSINESS_NAME_DIFFERS", "TRUST"), True, False, 49.0)
    if sorted(mine.after) == sorted(held.after):
        judged = Judged(99.0, 8.0, ("TRUST",), False, False, 100.0)
    elif mine.readings and held.readings:
        sides = (Name(trust.readings, trust.after, False, (), "") for trust in (mine, held))
        if compared := names.compare(*sides):
            judged = person_field(compared)
            if mine.grantors != held.grantors:
                # A couple's trust is not that of one of them.
                judged = judged.capped(69.0, "BUSINESS_WORDS_MISSING")
    else:
        house, other = (mine.after, held) if not mine.readings else (held.after, mine)
        families = {names.compare_family(house, r.family) for r in other.readings} or {names.compare_family(house, other.after)}
        if other.readings and "F_SAME" in families:
            judged = Judged(62.0, -1.0, ("GIVEN_NAME_MISSING", "TRUST"), False, False, 62.0)
        elif not other.readings and families & {"F_SOUND", "F_TYPO"}:
            judged = Judged(91.0, 4.0, ("TYPO", "TRUST"), False, False, 100.0)
    if mine.number != held.number:
        judged = judged.capped(69.0 if not mine.number or not held.number else 45.0, "BUSINESS_NUMBER_DIFFERS")
    if mine.kind != held.kind:
        judged = judged.capped(69.0, "LEGAL_FORM_CONFLICT") if mine.kind and held.kind else judged.capped(97.0, "LEGAL_FORM_DIFFERS")
    return judged


def _as_businesses(mine: _Claimed, held: Name) -> list[Judged]:
    parts = businesses.take_apart(mine.name.words)
    found = [
        business_field(businesses.levels(businesses.take_apart(one), businesses.take_apart(other)), trade=bool(index or number))
        for index, one in enumerate((mine.name.words, *mine.name.trade))
        for number, other in enumerate((held.words, *held.trade))
        if one and other
    ]
    if mine.kind == "business":
        across = bool(parts.forms) and not (held.business or held.trade) and businesses.like_a_person(held.words)
    else:
        person, other = (mine.name, held) if held.business else (held, mine.name)
        across = not person.business and other.business and not person.trade and businesses.like_a_person(person.words)
    if across:
        return [judged.capped(MOST_ACROSS_KINDS, "BUSINESS_VS_PERSON") for judged in found]
    return found


def _person_in_business(person: Name, business: Name) -> list[Judged]:
    """Compare a person with the name in a business's: a sole trader, perhaps, but not surely the same account holder."""
    bare = businesses.without_marks(business.words)
    if not bare or bare == business.words:
        return []
    compared = names.compare(person, read(" ".join(bare)))
    return [person_field(compared).capped(MOST_ACROSS_KINDS, "BUSINESS_VS_PERSON")] if compared else []


def _contacts(claim: Mapping[str, Any], owner: Mapping[str, Any]) -> dict[str, FieldMatch]:
    fields: dict[str, FieldMatch] = {}
    for field, key in (("address", "raw_address"), ("phone", "phone"), ("email", "email")):
        mine, theirs = claim.get(field), owner.get(key)
        if isinstance(mine, Mapping):
            mine = mine if any(mine.get(k) for k in ("line1", "line2", "city", "state", "postal_code")) else None
        elif mine is not None:
            mine = str(mine).strip()
        theirs = str(theirs).strip() if theirs else None
        if not mine or not theirs:
            fields[field] = absent(bool(mine), bool(theirs))
            continue
        compared: FieldMatch | None
        if field == "address":
            from titleholder.matching import addresses

            compared = addresses.compare(mine, theirs)
        elif field == "phone":
            from titleholder.matching import phones

            compared = phones.compare(mine, theirs)
        else:
            from titleholder.matching import emails

            compared = emails.compare(mine, theirs)
        fields[field] = compared if compared is not None else absent(False, False)
    return fields


def contact_levels(fields: Mapping[str, FieldMatch]) -> tuple[str, ...]:
    """Return the levels at which address, phone and e-mail agree; nothing for what is missing."""
    out = []
    address, phone, email = fields["address"], fields["phone"], fields["email"]
    if address.score is not None:
        if "CITY_ONLY" in address.reasons:
            out.append("A_TOWN" if address.score >= 50 else "A_TOWN_DIFFERS")
        else:
            out.append(
                "A_SAME" if address.score >= 90 else "A_NEAR" if address.score >= 70 else "A_PART" if address.score >= 45 else "A_DIFFERS"
            )
    if phone.score is not None:
        out.append("P_SAME" if phone.score >= 70 else "P_DIFFERS")
    if email.score is not None:
        out.append("E_SAME_BOX" if email.score >= 70 else "E_NEAR_BOX" if email.score >= 40 else "E_OTHER_BOX")
    return tuple(out)


def _overall(name: Judged, fields: Mapping[str, FieldMatch]) -> tuple[float, str]:
    """Return the overall score and the reason contacts give for it, if any.

    Contacts speak only about a name that may be the owner's: they lift a near name up to, but not into, the band of good ones, and they
    make a good one less sure. A wrong name stays what it is.
    """
    levels = contact_levels(fields)
    if not levels:
        return name.score, ""
    evidence = sum(CONTACT_WEIGHTS[level] for level in levels)
    if name.surname_only and name.score >= 44 and ("A_SAME" in levels or "A_NEAR" in levels):
        # Still no match, but of all wrong names the likeliest to be a new one of the same person: a relative at home shares the surname.
        # The order of the words is no matter then.
        return round(max(58.0, min(name.score + 8.0, 66.0)), 2), "CONTACT_AGREES"
    if name.wrong or name.doubtful:
        if evidence < 0:
            # Nothing but a part of the name speaks for the same person.
            loss = 15.0 if name.doubtful else 8.0 if "A_DIFFERS" in levels else 4.0
            return max(0.0, round(name.score - loss, 2)), "CONTACT_DIFFERS"
        if name.wrong:
            return name.score, ""
    if evidence >= 0:
        if name.score >= 90 or name.score < 35:
            return name.score, ""
        lifted = max(name.score, min(scale(name.log_odds + evidence), 89.0, name.ceiling))
        return lifted, "CONTACT_AGREES" if lifted > name.score else ""
    if name.score >= 90:
        # People move and change numbers: an exact name stays a match, a little less sure.
        return round(max(name.score + 2.0 * evidence, 70.0 + (name.score - 90) * 1.5), 2), "CONTACT_DIFFERS"
    return min(name.score, scale(name.log_odds + evidence)), "CONTACT_DIFFERS"


@forgetful
def match(claim: dict[str, Any], owner: dict[str, Any]) -> Match:
    """Compare a claim with one owner.

    Parameters
    ----------
    claim
        Any of ``given``, ``middle``, ``family``, ``suffix``, ``name``, ``business_name``, ``aka`` (a list of names), ``address`` (a mapping
        of ``line1``, ``line2``, ``city``, ``state``, ``postal_code``, ``country``, or one line), ``phone``, ``email`` and ``type``
        (``"person"`` or ``"business"``).
    owner
        Any of ``name``, ``raw_address``, ``phone``, ``email``, as Stripe's ``account_owner`` has them.

    Returns
    -------
    Match
        The score is the name's, moved by the other fields as far as the name allows; without a name on both sides it is the mean of the
        other fields, and 0 without those.
    """
    return compare(claim, owner)


def compare(claim: dict[str, Any], owner: dict[str, Any]) -> Match:
    """As `match`, for a caller that compares the same claim with several owners and is `forgetful` itself."""
    held = read(_text(owner.get("name")))
    mine = _claimed_names(claim)
    fields = _contacts(claim, owner)
    if not mine or not held.words:
        scores = [f.score for f in fields.values() if f.score is not None]
        overall = round(sum(scores) / len(scores), 2) if scores else 0.0
        return _match(overall, absent(bool(mine), bool(held.words)), fields, "")
    best: Judged | None = None
    for one in mine:
        judged = _judge(one, held)
        if judged is not None and (best is None or (judged.score, judged.log_odds) > (best.score, best.log_odds)):
            best = judged
    if best is None:
        best = Judged(0.0, -20.0, ("NAME_DIFFERS",), True, False, 100.0)
    overall, contact = _overall(best, fields)
    return _match(overall, FieldMatch(best.score, None, best.reasons), fields, contact)


def _match(overall: float, name: FieldMatch, fields: dict[str, FieldMatch], contact: str) -> Match:
    every = {"name": name, **fields}
    reasons = dict.fromkeys(reason for field in every.values() for reason in field.reasons)
    if contact:
        reasons[contact] = None
    return Match(overall, MappingProxyType(every), tuple(reasons))
