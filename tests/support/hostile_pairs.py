"""Draws odd claims and owners from a seed, within what callers, banks and Stripe can send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

NAMES = (
    "john", "JANE", "Robert", "bob", "mary ann", "smith", "O'Brien", "de la Cruz", "van der Berg", "Nguyen", "Testerman", "McDonald",
    "John Smith", "SMITH, JOHN Q", "John & Jane Smith", "Smith John or Mary", "Smith Family Trust", "Acme LLC", "The Acme Group, Inc.",
    "ACME 2", "J.D. Vance", "J R R", "Jr", "III", "Dr", "Mr", "MD", "a", "x", "li", "wu",
)  # fmt: skip
CONNECTORS = (
    " ", " & ", " and ", " or ", ", ", "; ", " / ", " dba ", " d/b/a ", " aka ", " fbo ", " pod ", " itf ", " c/o ", " ttee ", " trustee ",
    " tr ", " trust ", " trust dtd ", " u/a ", " under ", " utma ", " cust ", " estate of ", " jt ten ", " the ", " of ", " jr ", " iii ",
    "-", ".", "'", "\"", "(", ")", " revocable ", " irrev ", " llc ", " inc ", " co ", " 2 ", " 1/2/2003 ", "\t", "\n",
)  # fmt: skip
STREETS = (
    "12 Elm St", "100 EXAMPLE ST APT 4, SPRINGFIELD, IL 62701", "PO Box 12", "p.o. box", "box 9a", "Highway 99", "County Road Y", "rd no",
    "1-2-3", "12-", "-12", "#", "# 4", "#-", "Apt", "apt apt apt", "Unit #", "N", "North Ave", "n e st", "s w", "ny", "Reno NV", "89501",
    "62701-1234", "a9", "sw1a 1aa", "k1a 0b1", "k1a0b1", "1 2 Main", "2 4", "1st", "ground fl", "1st floor", "usa", "united states", "st",
    "ave ave ave", "hwy no", "hwy number", "rte #", "route 66 n", ",", ",,", "0", "000", "00-0", "12/34", "no", "number", "fl", "12 fl",
)  # fmt: skip
CONTACTS = (
    "+1 555 555 0101", "555-0101", "(555) 555-0101 x9", "+", "(+", "011", "00", "tel:", "tel:+1;ext=5", ";phone-context=+1", ";isub=",
    "ext",
    "x1", "#1", "1-800-FLOWERS", "+44 20 7946 0958", "0", "1", "+999999999999999999", "a@b", "a@", "@b", "@", "a+b@gmail.com",
    "a.b@googlemail.com", "+@yahoo.com", "-@yahoo.com", "mailto:a@b.c", "<a@b.c>", "a@b@c", ".@gmail.com", "a@.", "a@. ",
)  # fmt: skip
ODDITIES = (
    "", " ", "-", "--", ".", "...", ",", "_", "'", "''", "’", "\"\"", "()", "(", ")", "[]", "&", "&amp;", "/", "\\", "|", ";", "#", "@",
    "+", "%",
    "\x00", "\x1c", "\x85", "\u00a0", "\u00ad", "\u0301", "e\u0301\u0301\u0301", "\u200b", "\u200d", "\u202e", "\ufeff", "\ufffd", "\ud800",
    "\udfff", "\U000e0001", "\U0010ffff", "é", "ß", "ẞ", "İ", "ı", "ŉ", "ǅ", "ﬁ", "ﬃ", "ﷺ", "㎏", "½",
    "²", "①", "Ⅷ", "٣", "௧", "𝟙", "𝒜", "Ａ",
    "１２", "王", "王 小明", "李", "田中", "さくら", "김", "Ж", "Иван", "Й", "ё", "Ωμέγα", "ς", "שלום", "محمد", "ء", "ة",
    "ь", "ъ", "हिन्दी", "ก็",
    "👍🏽", "👨‍👩‍👧", "🇺🇸", "ʹ", "ʻ", "´", "·", "，", "、", "―", "null", "None", "N/A", "unknown", "0", "00", "1", "-1", "1e9",
    "nan", "true",
)  # fmt: skip
LONG = (3, 10, 40, 200, 700)
WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**30, [], [None], ["a", None, 3], [[]], {}, {"a": 1}, {"name": "x"}, (),
    b"",
    b"john", ["John Smith"], {"line1": "12 Elm St"}, {"line1": None}, {"line1": 5, "city": ["x"]}, {"postal_code": {}},
)  # fmt: skip
PARTS = ("line1", "line2", "city", "state", "postal_code", "country")
TYPES: tuple[Any, ...] = ("person", "business", None, "", "trust", 1, ["person"], {})
GROUPS = (NAMES, STREETS, CONTACTS, ODDITIES)


def text(rng: Random, likely: tuple[str, ...] = NAMES) -> str:
    """Draw one text: a usual one, an odd one, several of either joined, or a very long one."""
    draw = rng.random()
    if draw < 0.3:
        return rng.choice(likely)
    if draw < 0.45:
        return rng.choice(ODDITIES)
    if draw < 0.5:
        return "".join(
            chr(rng.choice((rng.randrange(128), rng.randrange(0x3000), rng.randrange(0x110000)))) for _ in range(rng.randint(1, 8))
        )
    if draw < 0.52:
        return (rng.choice(rng.choice(GROUPS)) + rng.choice(CONNECTORS)) * rng.choice(LONG)
    pieces = [rng.choice(rng.choice((likely, likely, ODDITIES, rng.choice(GROUPS)))) for _ in range(rng.choice((2, 2, 3, 3, 4, 6, 9)))]
    return "".join(piece + rng.choice((" ", " ", rng.choice(CONNECTORS))) for piece in pieces)


def claim(rng: Random) -> dict[str, Any]:
    """A claim of the fields that callers can send; one field in thirty has a type that every route refuses."""
    found: dict[str, Any] = {}
    if rng.random() < 0.6:
        found["name"] = text(rng)
    if rng.random() < 0.4:
        for part in ("given", "middle", "family", "suffix"):
            if rng.random() < 0.6:
                found[part] = text(rng)
    if rng.random() < 0.2:
        found["business_name"] = text(rng)
    if rng.random() < 0.2:
        found["aka"] = [text(rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
    if rng.random() < 0.6:
        found["address"] = text(rng, STREETS)
        if rng.random() < 0.5:
            found["address"] = {part: text(rng, STREETS) for part in PARTS if rng.random() < 0.4}
    for contact in ("phone", "email"):
        if rng.random() < 0.4:
            found[contact] = text(rng, CONTACTS)
    if rng.random() < 0.3:
        found["type"] = rng.choice(TYPES)
    return _broken(rng, found)


def owner(rng: Random, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """An owner as Stripe may send it; with `known`, often one that is similar to that claim."""
    found: dict[str, Any] = {"name": text(rng)}
    fields: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("raw_address", "address", STREETS), ("phone", "phone", CONTACTS), ("email", "email", CONTACTS)
    )  # fmt: skip
    for field, _, likely in fields:
        if rng.random() < 0.6:
            found[field] = text(rng, likely)
    if known is not None:
        for field, named, _ in (("name", "name", NAMES), *fields):
            if named in known and rng.random() < 0.3:
                found[field] = _twisted(rng, known[named])
    return _broken(rng, found)


def _twisted(rng: Random, value: Any) -> Any:
    """A value in another spelling."""
    if isinstance(value, dict):
        value = " ".join(str(part) for part in value.values())
    if not isinstance(value, str) or not value:
        return value
    at = rng.randrange(len(value))
    ways: tuple[Callable[[], str], ...] = (
        lambda: value, value.upper, value.swapcase, lambda: value[::-1], lambda: value[at:], lambda: value[:at],
        lambda: value[:at] + value[at + 1 :], lambda: value[:at] + rng.choice(ODDITIES) + value[at:],
        lambda: " ".join(reversed(value.split())),
    )  # fmt: skip
    return rng.choice(ways)()


def _broken(rng: Random, found: dict[str, Any]) -> dict[str, Any]:
    for name in list(found):
        if rng.random() < 0.03:
            found[name] = rng.choice(WRONG)
    return found


def pairs(seed: int, count: int) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Draw `count` claims, each with the owners of one account: mostly one owner."""
    rng = Random(seed)
    for _ in range(count):
        mine = claim(rng)
        yield mine, [owner(rng, mine) for _ in range(rng.choice((1, 1, 1, 1, 2, 3)))]


def allowed_over_http(data: dict[str, Any]) -> bool:
    """Whether JSON can hold the claim, so that the HTTP model decides about it (half a surrogate pair can't be stored)."""
    try:
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except (UnicodeEncodeError, ValueError, TypeError):
        return False
    return True
