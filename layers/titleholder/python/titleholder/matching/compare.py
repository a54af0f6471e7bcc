"""Compares a claim with one owner, field by field. The name limits what the other fields can do to the score."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from titleholder.matching import account
from titleholder.matching.judged import CEILINGS, CONTEXT_REASONS, MATCH, MOST_FOR_REVIEW, SCRIPTS_DIFFER, Judged
from titleholder.matching.names import Memo, compare_given
from titleholder.matching.parties import Party
from titleholder.matching.result import NO_CONTACTS, FieldMatch, Match, absent
from titleholder.matching.text import MAX_CHARS, apart, is_latin, mixes_scripts, scripts
from titleholder.matching.titles import Title, claimed_party, is_placeholder, read_claim, read_title

MAX_ALIASES = 20
# The highest score of a person and a business of the same name: for review at most.
MOST_ACROSS_KINDS = 62.0
# The highest score of a claim that names several parties, or contradicts itself.
MOST_SEVERAL = 49.0


class _Claimed(NamedTuple):
    title: Title
    kind: str  # "person", "business" or "either"
    alias: bool
    several: bool  # the text names several parties
    transcribed: bool
    text: str


class Claim(NamedTuple):
    """A claim, read once for all owners."""

    names: tuple[_Claimed, ...]
    contradicts: bool
    fields: Mapping[str, Any]


class Owner(NamedTuple):
    """An owner's name, read once for all the names of a claim."""

    title: Title
    transcribed: bool
    mixed: bool


def _text(value: object) -> str:
    # One character more than is read, to recognise a longer text.
    return str(value).strip()[: MAX_CHARS + 1] if value else ""


# Markers that join a second party to the first in a claim, or show that the claimant acts for another party.
_SEVERAL = frozenset(("AND", "JOINT", "TTEE", "AKA", "FBO", "CUST", "POD", "CARE", "SON", "EXEC", "MINOR"))


# Those of these markers that can be words of a business's name: Quimby & Rutledge LLP, Guardian Insurance.
_TRADES = frozenset(("AND", "CARE", "EXEC", "CUST", "MINOR"))


def _several(title: Title, kind: str) -> bool:
    """Return whether a claimed name names more than one party."""
    found = title.markers & _SEVERAL
    if not found:
        return False
    if found <= _TRADES and (kind == "business" or (title.business and kind != "person")):
        return False
    if title.trusts and found <= {"AND", "TTEE"}:
        return "TTEE" in found and "AND" in found
    if found == {"CUST"} and title.words[0] in ("guardianship", "conservatorship"):
        return False
    return not (found == {"TTEE"} and len(title.parties) == 1)


def _claimed(text: str, kind: str, alias: bool) -> _Claimed:
    title = read_claim(text)
    return _Claimed(title, kind, alias, _several(title, kind), scripts(text), text)


_PARTS = ("given", "middle", "family", "suffix")


def _told(parts: list[object]) -> _Claimed | None:
    """Read a name that comes in parts."""
    given, _, family, _ = parts
    if not (given or family):
        return None
    title = claimed_party(*parts)
    if not title.words:
        return None
    return _Claimed(title, "person", False, bool(title.markers & _SEVERAL), scripts(f"{given}{family}"), f"{given or ''} {family or ''}")


def read(claim: Mapping[str, Any]) -> Claim:
    """Read a claim's names."""
    declared = claim.get("type")
    kind = declared if declared in ("person", "business") else "either"
    out: list[_Claimed] = []
    told = None
    if claim.get("given") or claim.get("family"):
        told = _told([None if not (part := claim.get(key)) or is_placeholder(part, name=True) else part for key in _PARTS])
        if told is not None:
            out.append(told)
    business = _text(claim.get("business_name"))
    if business and not is_placeholder(business):
        out.append(_claimed(business, "business", False))
    else:
        business = ""
    text = _text(claim.get("name"))
    free = None
    if text and not is_placeholder(text):
        free = _claimed(text, kind, False)
        out.append(free)
    contradicts = False
    if told and business:
        contradicts = True
    elif free is not None and (told or business):
        other = told or out[0]
        contradicts = bool(free.title.words) and _judge(other, Owner(free.title, free.transcribed, False), Memo()).score < MATCH
    aliases = claim.get("aka") or ()
    if isinstance(aliases, str):
        aliases = (aliases,)
    if isinstance(aliases, list | tuple):
        out.extend(_claimed(text, kind, True) for alias in aliases[:MAX_ALIASES] if (text := _text(alias)) and not is_placeholder(text))
    return Claim(tuple(c for c in out if c.title.words), contradicts, claim)


def read_owner(owner: Mapping[str, Any]) -> Owner:
    """Read an owner's name."""
    text = _text(owner.get("name"))
    if not text or is_placeholder(text):
        return Owner(read_title(""), False, False)
    return Owner(read_title(text), scripts(text), mixes_scripts(text))


_SAME = Judged(100.0, 9.0, (), False, False, 100.0)
_STRANGER = Judged(0.0, -20.0, ("NAME_DIFFERS",), True, False, 100.0)


def _is_same(mine: _Claimed, held: Title) -> bool:
    """Return whether two names are the same text, apart from capitals and punctuation, and mean the same party."""
    a = mine.title
    if a.words != held.words or not a.full or not held.full or a.trusts or held.trusts:
        return False
    if mine.kind == "business" or a.business:
        return True
    if not a.parties and not held.parties:
        return a.markers == held.markers
    if len(a.parties) != 1 or len(held.parties) != 1 or mine.several:
        return a.markers == held.markers and not mine.several and bool(held.trade)
    x, y = a.parties[0], held.parties[0]
    if x.context != y.context or (y.comma and not x.comma) or y.title != x.title or x.generation != y.generation:
        return False
    return (len(a.words) > 1 and any(len(w) > 1 for w in x.words)) or not is_latin(x.words[0])


def _judge(mine: _Claimed, owner: Owner, memo: Memo) -> Judged:
    """Return the best of the ways in which one claimed name may be compared with the owner's."""
    name, held = mine.title, owner.title
    found: list[Judged] = []
    memo.reads(name.words + held.words)
    if _is_same(mine, held):
        found.append(_SAME)
    elif mine.kind != "person" and name.trusts and held.trusts:
        from titleholder.matching import trusts

        for one in name.trusts:
            for other in held.trusts:
                person = None
                if one.party and other.party:
                    person = _judge_party(one.party, name, other.party, held, memo)
                found.append(trusts.compare(one, other, person, memo))
    else:
        if mine.kind == "business" or (mine.kind == "either" and (name.business or held.business)):
            found.extend(_as_businesses(mine, owner))
        if mine.kind == "person" or (mine.kind == "either" and not (name.business and held.business)):
            found.extend(_as_people(mine, owner, memo))
    if not found:
        return _STRANGER
    best = max(found, key=lambda judged: (judged.score, judged.log_odds))
    if not (name.full and held.full):
        # The names may differ where they were not read.
        best = (best.capped(MOST_FOR_REVIEW, "WORDS_LEFT_OVER") if best.score > MOST_FOR_REVIEW else best)._replace(lift="none")
    if mine.several:
        best = best.capped(MOST_SEVERAL, "CLAIM_NAMES_SEVERAL")
    if owner.mixed or mixes_scripts(mine.text):
        best = best.capped(MOST_FOR_REVIEW, "SCRIPT_DIFFERS")
    return best.capped(97.0, "ALSO_KNOWN_AS") if mine.alias else best


def _as_people(mine: _Claimed, owner: Owner, memo: Memo) -> list[Judged]:
    name, held = mine.title, owner.title
    found = []
    person, other = (name, held) if held.business or mine.kind == "person" else (held, name)
    across = other.business and not other.trade
    parties = name.parties[:1] if not mine.several else name.parties[:4]
    for one in parties:
        every = [_judge_party(one, name, party, held, memo) for party in held.parties]
        if len(held.parties) > 1 and every and all(j.wrong for j in every):
            # The given name of one joint owner with the surname of another is the name of neither.
            every = [j.capped(MOST_SEVERAL, "JOINT_OWNER") if j.score > MOST_SEVERAL else j for j in every]
        for judged in every:
            found.append(judged.capped(MOST_ACROSS_KINDS, "BUSINESS_VS_PERSON") if across else judged)
    if across:
        found.extend(_person_in_business(person, other, memo))
    return found


# A wife's titles before her husband's name.
_WIVES = frozenset(("mrs", "mme", "sra"))


def _judge_party(mine: Party, claim: Title, held: Party, title: Title, memo: Memo) -> Judged:
    """Compare a claimed person with one party of a title by the account of words, and if that is not clean, by the likeliest reading."""
    settled = account.settle(mine, claim, held, title, memo)
    best = _combine(mine, held, settled, memo)
    if best.score < MATCH and (held.aside or mine.aside):
        for alias in _by_alias(mine, held):
            other = account.settle(*alias[:1], claim, alias[1], title, memo)
            if other.clean:
                judged = _combine(*alias, other, memo).capped(92.0, "NICKNAME")
                best = max(best, judged, key=lambda j: j.score)
    elif held.aside or mine.aside:
        best = _check_asides(best, mine, held, memo)
    context = held.context
    if mine.context == "estate" and context == "estate":
        best = best.capped(99.0, "ESTATE")
    elif (capacity := mine.context if mine.context in ("estate", "minor") else context) in CEILINGS:
        ceiling, reason = CEILINGS[capacity], CONTEXT_REASONS[capacity]
        if mine.context != context or context in ("beneficiary", "minor"):
            best = best.capped(ceiling, reason) if best.score > ceiling or ceiling < MATCH else best.noted(reason)
    if held.title in _WIVES and mine.title not in _WIVES and best.score >= MATCH:
        first = held.words[held.comma] if held.comma < len(held.words) else held.words[0]
        known = memo.look_up(first)
        if known.gender == "m" and known.given > 1:
            best = best.capped(MOST_FOR_REVIEW, "SPOUSE_TITLE")._replace(lift="none")
    return best


def _combine(mine: Party, held: Party, settled: account.Account, memo: Memo) -> Judged:
    """Combine the account and, if it is not clean, the likeliest reading into one judgement."""
    a, b = mine.generation, held.generation
    conflict = bool(a and b and a != b and {a, b} != {"2", "ii"})
    if settled.clean and not conflict and settled.score >= 90:
        score, reasons = settled.score, settled.reasons
        if a != b:
            score = min(score - 1.0, 97.0) if score < 98 else 97.0 if not (a and b) else 95.0
            reasons = (*reasons, "GENERATIONAL_SUFFIX_DIFFERS")
        return Judged(_finer(score, mine, held, memo), 6.0, reasons or ("NORMALISED",), False, False, 100.0)
    if apart(_every_word(mine), _every_word(held)):
        # Contradicting generations are another's name in every script.
        return SCRIPTS_DIFFER.capped(49.0, "GENERATIONAL_SUFFIX_CONFLICT") if conflict else SCRIPTS_DIFFER
    from titleholder.matching import ranking

    if settled.stranger and not conflict:
        return ranking.NOTHING_ALIKE
    compared = ranking.compare(mine, held, memo)
    if compared is None:
        return _STRANGER if not settled.clean else Judged(settled.score, 2.0, settled.reasons, False, False, 89.0)
    judged = ranking.person_field(compared)
    if conflict:
        return judged.capped(49.0 if judged.wrong else 59.0, "GENERATIONAL_SUFFIX_CONFLICT")._replace(
            wrong=True, surname_only=False, lift="none"
        )
    if settled.clean:
        # The account gives the band, the weights give the place in it.
        low, high = max(MATCH, settled.score - 4.0), min(settled.score + 4.0, account.MOST_FUZZY)
        score = min(max(judged.score, low), high)
        reasons = tuple(dict.fromkeys((*settled.reasons, *(judged.reasons if not judged.wrong else ()))))
        return Judged(round(score, 2), max(judged.log_odds, 1.0), reasons or ("TYPO",), False, False, account.MOST_FUZZY)
    most = settled.ceiling
    if most == MOST_FOR_REVIEW and not (set(mine.words) <= set(held.words) or set(held.words) <= set(mine.words)):
        # If both names have extra words, they are less likely one person's than if only one name has some.
        most -= 1.0
    if judged.score > most:
        judged = judged._replace(score=most, reasons=tuple(dict.fromkeys((*settled.reasons, *judged.reasons))))
    lift = settled.lift
    ceiling = account.MOST_FUZZY if lift != "none" and settled.ceiling >= account.SIMILAR_WORDS else settled.ceiling
    if settled.reasons and not judged.wrong:
        judged = judged._replace(reasons=tuple(dict.fromkeys((*settled.reasons, *judged.reasons))))
    return judged._replace(ceiling=min(judged.ceiling, ceiling), lift=lift)


def _every_word(party: Party) -> tuple[str, ...]:
    return (*party.words, *party.aside, *(word for family in party.lent for word in family))


def _finer(score: float, mine: Party, held: Party, memo: Memo) -> float:
    """Rank names within the band of names that differ by one step. If two rare surnames agree, they are more surely one person's."""
    if score >= 95:
        return score
    common = memo.look_up(mine.words[-1]).surname
    return round(score - common * 0.04 if score > 93 else score + (9 - common) * 0.05, 2)


def _related(word: str, others: tuple[str, ...], memo: Memo) -> bool:
    return any(word == o or compare_given(word, o, memo) in ("G_NICKNAME", "G_SPELLING", "G_COUSIN", "G_INITIAL") for o in others)


def _check_asides(best: Judged, mine: Party, held: Party, memo: Memo) -> Judged:
    """Lower the score for words in brackets that only one side has, or that differ."""
    a, b = mine.aside, held.aside
    if a and b:
        return best if a == b else best.capped(MOST_FOR_REVIEW, "WORDS_LEFT_OVER")._replace(lift="none")
    aside = a or b
    if all(_related(word, (*mine.words, *held.words), memo) for word in aside):
        return best
    if len(aside) == 1 and (memo.look_up(aside[0]).given > 0 or not memo.look_up(aside[0]).cultures) and aside[0].isalpha():
        return best.capped(92.0, "NICKNAME")
    return best.capped(MOST_FOR_REVIEW, "WORDS_LEFT_OVER")._replace(lift="none")


def _by_alias(mine: Party, held: Party) -> list[tuple[Party, Party]]:
    """Return the parties with the given name replaced by the name in brackets."""
    out = []
    if len(held.aside) == 1 and not held.lent:
        at = held.comma if held.comma else 0
        out.append((mine, held._replace(words=(*held.words[:at], held.aside[0], *held.words[at + 1 :]))))
    if len(mine.aside) == 1:
        out.append((mine._replace(words=(mine.aside[0], *mine.words[1:])), held))
    return out


def _as_businesses(mine: _Claimed, owner: Owner) -> list[Judged]:
    name, held = mine.title, owner.title
    from titleholder.matching import businesses

    transcribed = mine.transcribed or owner.transcribed
    found = [
        businesses.on_the_scale(businesses.compare(one, other, 0 if held.trade else held.length, transcribed), trade=bool(index or number))
        for index, one in enumerate((name.legal, *name.trade))
        for number, other in enumerate((held.legal, *held.trade))
        if one and other
    ]
    if mine.kind == "business":
        parts = businesses.take_apart(name.words)
        marked = bool(parts.forms) or name.business
        across = marked and not (held.business or held.trade) and businesses.like_a_person(held.words)
    else:
        person, other_side = (name, held) if held.business else (held, name)
        across = not person.business and other_side.business and not person.trade and businesses.like_a_person(person.words)
    if across:
        found = [judged.capped(MOST_ACROSS_KINDS, "BUSINESS_VS_PERSON") for judged in found]
        person, other_side = (name, held) if held.business else (held, name)
        found.extend(_person_in_business(person, other_side, Memo()))
    return found


def _person_in_business(person: Title, business: Title, memo: Memo) -> list[Judged]:
    """Compare a person with the person's name in a business's name: maybe a sole trader, but not surely the same account holder."""
    from titleholder.matching import businesses

    bare = businesses.without_marks(business.words)
    if not bare or bare == business.words or not person.parties:
        return []
    inner = read_title(" ".join(bare))
    if not inner.parties:
        return []
    judged = _judge_party(person.parties[0], person, inner.parties[0], inner, memo)
    return [judged.capped(MOST_ACROSS_KINDS, "BUSINESS_VS_PERSON")]


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
    return compare(read(claim), owner)


def compare(claim: Claim, owner: Mapping[str, Any], memos: dict[bool, Memo] | None = None) -> Match:
    """Compare a claim that was read with one owner. ``memos``: an empty dict, shared by the comparisons with all owners of one account."""
    if memos is None:
        memos = {}
    held = read_owner(owner)
    fields = NO_CONTACTS
    mine = claim.fields
    if (
        mine.get("address") or mine.get("phone") or mine.get("email")
        or owner.get("raw_address") or owner.get("phone") or owner.get("email")
    ):  # fmt: skip
        from titleholder.matching.contacts import compare_contacts

        fields = compare_contacts(mine, owner)
    if not claim.names or not held.title.words:
        scores = [f.score for f in fields.values() if f.score is not None]
        mean = round(sum(scores) / len(scores), 2) if scores else 0.0
        return _match(mean, absent(bool(claim.names), bool(held.title.words)), fields, "")
    best: Judged | None = None
    for one in claim.names:
        strict = one.transcribed and held.transcribed
        memo = memos.get(strict)
        if memo is None:
            memo = memos[strict] = Memo(strict)
        judged = _judge(one, held, memo)
        # If the claim has names in two scripts, the one in the owner's script counts.
        if best is None or (judged.compared, judged.score, judged.log_odds) > (best.compared, best.score, best.log_odds):
            best = judged
    assert best is not None  # noqa: S101 there is a name
    for memo in memos.values():
        memo.next_owner()
    if claim.contradicts:
        best = best.capped(MOST_FOR_REVIEW, "CLAIM_CONTRADICTS_ITSELF")._replace(lift="none")
    score, contact = best.score, ""
    if fields is not NO_CONTACTS:
        from titleholder.matching.contacts import overall

        score, contact = overall(best, fields)
    return _match(score, FieldMatch(best.score, None, best.reasons), fields, contact)


def _match(overall: float, name: FieldMatch, fields: Mapping[str, FieldMatch], contact: str) -> Match:
    every = {"name": name, **fields}
    reasons = name.reasons
    for field in fields.values():
        reasons += field.reasons
    if contact:
        reasons += (contact,)
    return Match(overall, MappingProxyType(every), tuple(dict.fromkeys(reasons)))
