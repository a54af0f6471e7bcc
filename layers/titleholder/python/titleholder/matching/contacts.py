"""Compares addresses, phones and e-mails, each with its own module, and adjusts the name's score by them as far as the name allows."""

from collections.abc import Callable, Mapping
from typing import Any

from titleholder.matching.judged import MATCH, MOST_FOR_REVIEW, Judged
from titleholder.matching.result import CONTACTS, FieldMatch, absent
from titleholder.matching.scale import scale
from titleholder.matching.titles import is_placeholder
from titleholder.matching.weights import CONTACT_WEIGHTS


def compare_contacts(claim: Mapping[str, Any], owner: Mapping[str, Any]) -> dict[str, FieldMatch]:
    """Return how address, phone and e-mail of a claim compare with an owner's."""
    fields: dict[str, FieldMatch] = {}
    for field, key in CONTACTS:
        mine, theirs = claim.get(field), owner.get(key)
        if mine is None:
            pass
        elif not isinstance(mine, str) and isinstance(mine, Mapping):
            mine = mine if any(not is_placeholder(mine.get(k) or "") for k in ("line1", "line2", "city", "state", "postal_code")) else None
        else:
            mine = str(mine).strip()
            mine = None if is_placeholder(mine) else mine
        theirs = str(theirs).strip() if theirs else None
        theirs = None if theirs and is_placeholder(theirs) else theirs
        compared = None
        if mine or theirs:
            compare, is_missing = _functions(field)
            compared = compare(mine, theirs) if mine and theirs else None
            if compared is None:
                mine, theirs = mine and not is_missing(mine), theirs and not is_missing(theirs)
        if compared is None:
            # If no side's text is missing, each address lacks the parts that the other has.
            compared = absent(bool(mine and not theirs), bool(theirs and not mine))
        fields[field] = compared
    return fields


def _functions(field: str) -> tuple[Callable[[object, object], FieldMatch | None], Callable[[object], bool]]:
    """Return how a field is compared, and how one recognises a text that has no value. Modules are loaded when they are first needed."""
    if field == "address":
        from titleholder.matching import addresses

        return addresses.compare, addresses.is_missing
    if field == "phone":
        from titleholder.matching import phones

        return phones.compare, phones.is_missing
    from titleholder.matching import emails

    return emails.compare, emails.is_missing


def contact_levels(fields: Mapping[str, FieldMatch]) -> tuple[str, ...]:
    """Return the levels at which address, phone and e-mail agree. A missing field has none."""
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


def overall(name: Judged, fields: Mapping[str, FieldMatch]) -> tuple[float, str]:
    """Return the overall score and the reason contacts give for it, if any.

    Contacts count only for a name that may be the owner's. They raise the score of a near name up to, but not into, the band of good names,
    and lower that of a good name. A wrong name stays wrong.
    """
    levels = contact_levels(fields)
    if not levels:
        return name.score, ""
    evidence = sum(CONTACT_WEIGHTS[level] for level in levels)
    if name.surname_only and name.score >= 44 and name.score < MATCH and ("A_SAME" in levels or "A_NEAR" in levels):
        # Still no match, but of all wrong names the most likely to be a new name of the same person, because a relative at the same address
        # would share the surname. The order of the words does not matter then.
        return round(max(58.0, min(name.score + 8.0, 66.0)), 2), "CONTACT_AGREES"
    if name.wrong or name.doubtful:
        if evidence < 0:
            # Only a part of the name speaks for the same person.
            loss = 15.0 if name.doubtful else 8.0 if "A_DIFFERS" in levels else 4.0
            return max(0.0, round(name.score - loss, 2)), "CONTACT_DIFFERS"
        if name.wrong:
            return name.score, ""
    if evidence >= 0:
        if name.score >= 90 or name.score < 35:
            return name.score, ""
        ceiling = min(name.ceiling, 89.0)
        if name.lift == "none":
            ceiling = min(ceiling, max(name.score, MOST_FOR_REVIEW))
        elif name.lift == "mailbox":
            # People in one house share its address, so only a personal contact may raise the score of another surname.
            if "P_SAME" in levels or "E_SAME_BOX" in levels:
                return max(name.score, min(75.0 if name.score >= 50 else name.score, ceiling)), "CONTACT_AGREES"
            ceiling = min(ceiling, MOST_FOR_REVIEW)
        lifted = max(name.score, min(scale(name.log_odds + evidence), ceiling))
        return lifted, "CONTACT_AGREES" if lifted > name.score else ""
    if name.score >= 90:
        # People move and change numbers, so an exact name stays a match, with a slightly lower score.
        return round(max(name.score + 2.0 * evidence, 70.0 + (name.score - 90) * 1.5), 2), "CONTACT_DIFFERS"
    return min(name.score, scale(name.log_odds + evidence)), "CONTACT_DIFFERS"
