"""Compares a claimed address, in parts or one line, with the one line a bank gives."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from titleholder.matching.result import FieldMatch
from titleholder.matching.text import closeness, fold_to_end, within_two
from titleholder.matching.words import word_set

# Abbreviations of the postal service's Publication 28, appendix C, and spellings people use for them: https://pe.usps.com/text/pub28/
_TYPES = {
    "aly": "alley allee ally", "anx": "annex", "arc": "arcade", "ave": "avenue av aven avenu avn avnue avnu ave", "byu": "bayou",
    "bch": "beach", "bnd": "bend", "blf": "bluff", "blvd": "boulevard boul boulv bvd blv bl", "br": "branch brnch", "brg": "bridge",
    "brk": "brook", "byp": "bypass", "cp": "camp", "cyn": "canyon", "cpe": "cape", "cswy": "causeway",
    "ctr": "center centre cen cent cntr", "cir": "circle circ crcl circl", "clf": "cliff", "clb": "club", "cmn": "common commons",
    "cor": "corner", "crse": "course", "ct": "court crt", "cv": "cove", "crk": "creek", "cres": "crescent crsent crsnt cr crescnt",
    "xing": "crossing", "dl": "dale", "dm": "dam", "dv": "divide", "dr": "drive driv drv", "est": "estate estates ests",
    "expy": "expressway expwy", "ext": "extension", "fall": "falls", "fry": "ferry", "fld": "field fields", "flt": "flat flats",
    "frst": "forest", "frg": "forge", "frk": "fork", "ft": "fort", "fwy": "freeway", "gdn": "garden gardens gdns", "gtwy": "gateway",
    "gln": "glen", "grn": "green", "grv": "grove", "hbr": "harbor harbour", "hvn": "haven", "hts": "heights ht",
    "hwy": "highway hiway hway highwy", "hl": "hill", "hls": "hills", "holw": "hollow", "inlt": "inlet", "is": "island",
    "isle": "isles", "jct": "junction", "knl": "knoll knls knolls", "lk": "lake", "lks": "lakes", "lndg": "landing", "ln": "lane",
    "lgt": "light", "lf": "loaf", "lck": "lock", "ldg": "lodge", "loop": "loops", "mall": "mall", "mnr": "manor",
    "mdw": "meadow meadows mdws", "mews": "mews", "ml": "mill", "msn": "mission", "mtwy": "motorway", "mt": "mount",
    "mtn": "mountain", "nck": "neck", "orch": "orchard", "oval": "ovl", "park": "prk pk parks",
    "pkwy": "parkway pkway pky parkwy pwky", "pass": "pass", "path": "paths", "pike": "pikes", "pne": "pine", "pl": "place",
    "pln": "plain", "plz": "plaza", "pt": "point", "prt": "port", "pr": "prairie", "radl": "radial", "rnch": "ranch",
    "rpd": "rapid rapids", "rst": "rest", "rdg": "ridge", "riv": "river", "rd": "road roa", "rte": "route rt", "row": "row",
    "run": "run", "shr": "shore shores", "skwy": "skyway", "spg": "spring springs spgs", "spur": "spurs", "sq": "square squ",
    "sta": "station", "strm": "stream", "st": "street str strt saint", "smt": "summit", "ter": "terrace terr tce",
    "trwy": "throughway", "trce": "trace", "trak": "track", "trl": "trail", "tunl": "tunnel", "tpke": "turnpike", "un": "union",
    "vly": "valley", "via": "viaduct", "vw": "view", "vlg": "village vllg vill villag", "vl": "ville", "vis": "vista",
    "walk": "walks", "way": "wy", "wl": "well wells", "cct": "circuit", "cl": "close", "esp": "esplanade", "gr": "grange",
}  # fmt: skip
_DIRECTIONS = {
    "n": "north no nth", "s": "south so sth", "e": "east", "w": "west", "ne": "northeast northeastern", "nw": "northwest",
    "se": "southeast", "sw": "southwest",
}  # fmt: skip
_OTHERS = {
    "mlk": "martinlutherking", "jr": "junior", "doctor": "dr", "county": "co", "cnty": "co", "saint": "st", "sainte": "ste",
    "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th", "sixth": "6th", "seventh": "7th", "eighth": "8th",
    "ninth": "9th", "tenth": "10th", "eleventh": "11th", "twelfth": "12th",
}  # fmt: skip
_STATES = {
    "alabama": "al", "alaska": "ak", "arizona": "az", "arkansas": "ar", "california": "ca", "colorado": "co", "connecticut": "ct",
    "delaware": "de", "florida": "fl", "georgia": "ga", "hawaii": "hi", "idaho": "id", "illinois": "il", "indiana": "in", "iowa": "ia",
    "kansas": "ks", "kentucky": "ky", "louisiana": "la", "maine": "me", "maryland": "md", "massachusetts": "ma", "michigan": "mi",
    "minnesota": "mn", "mississippi": "ms", "missouri": "mo", "montana": "mt", "nebraska": "ne", "nevada": "nv", "newhampshire": "nh",
    "newjersey": "nj", "newmexico": "nm", "newyork": "ny", "northcarolina": "nc", "northdakota": "nd", "ohio": "oh", "oklahoma": "ok",
    "oregon": "or", "pennsylvania": "pa", "rhodeisland": "ri", "southcarolina": "sc", "southdakota": "sd", "tennessee": "tn",
    "texas": "tx", "utah": "ut", "vermont": "vt", "virginia": "va", "washington": "wa", "westvirginia": "wv", "wisconsin": "wi",
    "wyoming": "wy", "districtofcolumbia": "dc", "puertorico": "pr",
}  # fmt: skip
_CODES = frozenset(_STATES.values()) | word_set("gu vi as mp nsw vic qld act tas nt sa on qc bc ab mb sk ns nb nl")
_COUNTRIES = word_set("usa us unitedstates america uk gb unitedkingdom canada ca australia au")
_UNITS = word_set(
    "apt apartment aptmnt apmt unit un ste suite rm room fl floor bldg building trlr trailer lot spc space ph penthouse dept slip"
    " pier hngr hangar no number num flat flr box"
)
_TABLE = {word: short for table in (_TYPES, _DIRECTIONS) for short, words in table.items() for word in (*words.split(), short)}
_TABLE.update(_OTHERS)
_TYPE = frozenset(_TYPES)
_DIRECTION = frozenset(_DIRECTIONS)
# Kinds of street that may follow another such word, as in "Park Avenue". The other kinds more often begin the town's name there.
_USUAL = word_set("st ave rd dr ln ct blvd way pl cir ter pkwy hwy trl mall vlg sq loop path run walk plz trce xing cres")
_NUMBERED = word_set("hwy rte rd")
_NUMBER_SIGNS = word_set("no number num")
# The highest score of the same street and number in another place.
MOST_ELSEWHERE = 69.0
# Streets that are less alike are not one street with a typing error.
ONE_STREET = 0.8
# Postal codes have no more letters in a row.
LONGEST_LETTERS = 3
_TOKEN = re.compile(r"#\s*[a-z0-9-]+|[a-z]?\d+[a-z]?(?:-\d*[a-z]?\d*)+|[^\W_]+(?:'[^\W_]+)*|,")
_BOX = re.compile(
    r"\b(?:p\.? ?o\.?|post office|postal) *(?:box|bx|b)\b\.? *#? *([a-z0-9-]+)|\bpob\b\.? *#?([a-z0-9-]+)|^box +(\d[a-z0-9-]*)"
)
_SPLIT_DIRECTION = re.compile(r"\b(n|s|north|south)[ .-]+(e|w|east|west)\b\.?(?![^\W_])")
_SIGN = re.compile(r"#\s*(?=(?:apartment|apt|unit|suite|ste|no)\b)")
_NO_LETTER = re.compile(r"[\W_]+")
MANY_TOKENS = 61
_ZIP = re.compile(r"^\d{5}(?:-?\d{4})?$")
_ORDINAL = re.compile(r"^\d+(?:st|nd|rd|th)$")


class Address(NamedTuple):
    """An address split into its parts. A part that is missing is empty."""

    number: str
    street: tuple[str, ...]
    kind: str
    directions: frozenset[str]
    unit: str
    box: str
    city: tuple[str, ...]
    state: str
    code: str
    tail: tuple[str, ...]  # words after the street that may be the town
    fraction: str = ""  # of the house number: 1/2
    words: tuple[str, ...] = ()  # all words after the number, where the whole address is in one line


def _names_a_highway(rest: list[str], index: int) -> bool:
    """Return whether the words after a road's kind are its number or letter."""
    following = rest[index + 1 : index + 3]
    if following and following[0] in _NUMBER_SIGNS:
        following = following[1:]
    if not following:
        return False
    kind, name = _TABLE.get(rest[index], rest[index]), following[0]
    if kind == "rd" and not (index and _TABLE.get(rest[index - 1], rest[index - 1]) in ("co", "state", "us", "farm")):
        return False
    return name[0].isdigit() or (len(name) < 3 and name.isalpha() and kind == "rd")


_FRACTIONS = {"½": " 1/2 ", "¼": " 1/4 ", "¾": " 3/4 ", "⅓": " 1/3 ", "⅔": " 2/3 "}
_FRACTION = re.compile(r"(?<=\d) +([1-7]) ?/ ?([2-8])\b")
# Roads with a number, in the spellings of Publication 28 (232, 24) and in common ones. All spellings of a road get the same short word.
_ROADS = (
    (
        re.compile(
            r"\b(?:county (?:road|rd|rte|route|hwy|highway)|co(?:unty)? (?:rd|road|hwy|highway|rte)|cnty (?:rd|road|hwy)|cr|ctyrd)\b"
        ),
        "cr",
    ),
    (re.compile(r"\b(?:farm (?:to|2) market(?: (?:road|rd))?|farm market(?: (?:road|rd))?|fm(?: (?:road|rd))?)\b"), "fm"),
    (re.compile(r"\b(?:ranch to market(?: (?:road|rd))?|ranch (?:road|rd)|rm(?= ?\d{3,}))\b"), "rm"),
    (re.compile(r"\b(?:(?:u ?s|united states) (?:hwy|highway|rte|route|rt)|us(?= \d))\b"), "ushwy"),
    (re.compile(r"\b(?:state (?:route|rte|rt|road|rd|highway|hwy)|st (?:rt|rte|hwy|highway)|sr|sh(?= \d))\b"), "hwy"),
    (re.compile(r"\b(?:interstate(?: highway)?|ih|i(?=[ -]\d))\b"), "i"),
    (re.compile(r"\b(?:rural (?:route|rte|rt)|r ?r|rfd|r ?d(?= ?# ?\d))\b"), "rr"),
    (re.compile(r"\b(?:highway contract(?: (?:route|rte))?|h ?c(?: ?r)?|star (?:route|rte))(?= ?#? ?\d)"), "hc"),
    (re.compile(r"\b(?:highway|hiway|hway|highwy|hwy)\b"), "hwy"),
)
# Every text that one of the patterns above can change contains one of these.
_ROAD_SIGN = re.compile(
    r"\b(?:co(?:unty)?|cnty|cr|ctyrd|farm|fm|ranch|rm|u ?s|united|state|st (?:rt|rte|hwy|highway)|sr|sh|interstate|ih|i|rural|r ?r|rfd"
    r"|r ?d|h ?c|star"
    r"|hwy|highway|hiway|hway|highwy)\b"
)
_ROAD_NUMBER = re.compile(r"\b(cr|fm|rm|ushwy|hwy|i|rr|hc)[ -]*(?:#|no|number|num)?[ -]*(\d+[a-z]?|[a-z]\d+)\b")
_ROAD_LETTER = re.compile(r"\bcr[ -]*(?:#|no|number|num)?[ -]*([a-z]{1,2})(?=$| ?,| +[a-z])")
_ROUTE_BOX = re.compile(r"\b((?:rr|hc)\d+[a-z]?),? +(?:box|bx) *#? *([a-z0-9-]+)")
_NUMBER_WORDS = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
    "eleven": "11",
    "twelve": "12", "fifteen": "15", "twenty": "20",
}  # fmt: skip
_SPELLED = re.compile(r"^(" + "|".join(_NUMBER_WORDS) + r")\b(?= +[a-z])")
_CARE_OF = re.compile(r"^\s*(?:c/o|care of|attn:?|attention)\b[^,\n\d]*(?:,|\n|(?= \d)|$)")
_UNIT_FIRST = re.compile(
    r"^((?:apt|apartment|unit|suite|ste|room|rm|flat|floor|fl|lot|spc|space|bldg|building"
    r"|#)[ .]*#? *[a-z]?\d*[a-z]?(?: ?-? ?\d+)?) *,+ *(?=\d)"
)


class _TooLongError(ValueError):
    """A text that is not read to its end could differ from another one there."""


def _folded(value: object) -> str:
    text = str(value)
    if not text.isascii():
        for sign, written in _FRACTIONS.items():
            if sign in text:
                text = text.replace(sign, written)
    return _fold(text)


def _fold(text: str) -> str:
    folded, whole = fold_to_end(text)
    if not whole:
        raise _TooLongError
    return folded


def _text(value: object) -> str:
    text = _folded(value).replace(".", " ")
    if "#" in text:
        text = _SIGN.sub("", text)
    if text[:1].isalpha():
        text = _SPELLED.sub(lambda found: _NUMBER_WORDS[found[1]], text)
    if _ROAD_SIGN.search(text):
        for pattern, short in _ROADS:
            text = pattern.sub(short, text)
        text = _ROAD_LETTER.sub(r"cr\1", _ROAD_NUMBER.sub(r"\1\2", text))
    if not (" e" in text or " w" in text or "-e" in text or "-w" in text):
        return text
    return _SPLIT_DIRECTION.sub(lambda m: m[1][0] + m[2][0], text)


def _tokens(text: str) -> list[str]:
    found: list[str] = _TOKEN.findall(text)
    if len(found) > MANY_TOKENS:
        raise _TooLongError
    return [item.replace("'", "") for item in found] if "'" in text else found


def _joined(text: str) -> str:
    """Return the letters and digits of a text, folded."""
    folded = _fold(text)
    return folded if folded.isalnum() else _NO_LETTER.sub("", folded)


def _may_have_box(text: str) -> bool:
    """Return whether `_BOX` can find anything. A cheap check, because most addresses have no post office box."""
    return "b" in text and ("po" in text or "p o" in text or "p.o" in text or "p. o" in text or text.startswith("box"))


def _parse(line1: str, line2: str, city: str, state: str, code: str, whole: bool) -> Address:
    text, line2 = _lines(line1, line2)
    box = ""
    fraction = ""
    if "/" in text and (part := _FRACTION.search(text)):
        fraction = f"{part[1]}/{part[2]}"
        text = text[: part.start()] + " " + text[part.end() :]
    if ("box" in text or "bx" in text) and (routed := _ROUTE_BOX.search(text)):
        # A rural route is the street, and the box the house.
        text = f"{routed[2]} {routed[1]}{text[routed.end() :]}"
    found = _BOX.search(text) if _may_have_box(text) else None
    second = _text(line2) if line2 else ""
    if found is None and second and _may_have_box(second):
        found = _BOX.search(second)
    if found:
        box = next(g for g in found.groups() if g)
        text = _BOX.sub(" ", text)
        if second:
            # Read again, because without the box the rest may be a road's number.
            second = _text(_BOX.sub(" ", second))
    tokens = _tokens(text)
    zipped = _joined(code) if code else ""
    region = _state(state)
    if whole:
        tokens, region, zipped = _cut_end(tokens, region, zipped)
    if not whole:
        tokens = [t for t in tokens if t != ","]
    unit = ""
    if second:
        unit = _unit_of(_tokens(second), alone=True)
    tokens, inner = _take_unit(tokens)
    unit = unit or inner
    number = ""
    start = 0
    for index, item in enumerate(tokens[:4]):
        if item[0].isdigit() and not _ORDINAL.match(item) and (index == 0 or not whole or tokens[index - 1] == "," or index < 3):
            following = tokens[index + 1] if index + 1 < len(tokens) else ""
            if index and (
                tokens[index - 1] in ("rd", "hwy", "route", "rte", "road", "county", "co", "highway", "sr", "fm", "us") or not following
            ):
                continue
            number, start = item, index + 1
            break
    rest = tokens[start:]
    street: list[str] = []
    kind = ""
    directions: set[str] = set()
    tail: list[str] = []
    comma = False
    for index, item in enumerate(rest):
        if item == ",":
            comma = comma or bool(street)
            if comma:
                tail = [t for t in rest[index + 1 :] if t != ","]
                break
            continue
        short = _TABLE.get(item, item)
        if short in _DIRECTION and len(rest) > 1:
            # If the street has no other name, a direction is its name: "North Ave".
            follows = _TABLE.get(rest[index + 1], rest[index + 1]) if index + 1 < len(rest) else ""
            if street or (follows and follows not in _TYPE and follows != ","):
                directions.add(short)
                continue
        if short in _NUMBERED and _names_a_highway(rest, index):
            # "Highway 99", "County Road Y": the number or letter is the street's name.
            street.append(rest[index + 1] if rest[index + 1] not in _NUMBER_SIGNS else rest[index + 2])
            kind = short
            after = [t for t in rest[index + (2 if rest[index + 1] not in _NUMBER_SIGNS else 3) :] if t != ","]
            while after and _TABLE.get(after[0], after[0]) in _DIRECTION:
                directions.add(_TABLE[after.pop(0)])
            tail = after if whole else []
            break
        if short in _TYPE and street:
            kind = short
            if whole:
                # Later words are the town, unless another kind of street follows immediately.
                after = [t for t in rest[index + 1 :] if t != ","]
                while after and _TABLE.get(after[0], after[0]) in _DIRECTION and (len(after) == 1 or rest[index + 1] != ","):
                    directions.add(_TABLE[after.pop(0)])
                if after and _TABLE.get(after[0], after[0]) in _USUAL and rest[index + 1] != ",":
                    street.append(short)
                    kind = _TABLE[after.pop(0)]
                    while after and _TABLE.get(after[0], after[0]) in _DIRECTION:
                        directions.add(_TABLE[after.pop(0)])
                tail = after
                break
            remaining = [_TABLE.get(t, t) for t in rest[index + 1 :] if t != ","]
            if all(t in _DIRECTION for t in remaining):
                directions.update(remaining)
                break
            street.append(short)
            continue
        street.append(short)
    town = tuple(t for t in _tokens(_text(city)) if t != ",") if city else ()
    words = tuple(t for t in rest if t != ",") if whole else ()
    return Address(
        _number(number), tuple(street), kind, frozenset(directions), unit, box, town, region, zipped, tuple(tail), fraction, words
    )


_NUMBER_FIRST = re.compile(r"\s*\d")


def _lines(line1: str, line2: str) -> tuple[str, str]:
    """Return the line with the street, then the other line, both folded. A person, a building or the unit may be on the first line."""
    text = _folded(line1).strip()
    if text[:1] in ("c", "a"):
        text = _CARE_OF.sub("", text)
    text = text.strip(" ,")
    if unit := _UNIT_FIRST.match(text):
        rest = text[unit.end() :]
        street, comma, place = rest.partition(",")
        text = f"{street} {unit[1]}{comma}{place}"
    elif line2 and _NUMBER_FIRST.match(line2) and not _NUMBER_FIRST.match(text) and not _BOX.search(text):
        first = _tokens(_text(text))
        if first and (first[0] in _UNITS or first[0].startswith("#")):
            return _text(f"{line2} {text}"), ""
        if not any(c.isdigit() for c in text) and (not any(t in _TYPE for t in map(_short, first)) or not text):
            return _text(line2), ""
    return _text(text), line2


def usual_word(word: str) -> str:
    """Return the form in which a folded word of an address is compared: the postal service's abbreviation if there is one."""
    return _TABLE.get(word) or _STATES.get(word, word)


def _short(token: str) -> str:
    return _TABLE.get(token, token)


def _number(item: str) -> str:
    return item.lstrip("0") or item


def _state(text: str) -> str:
    if not text:
        return ""
    joined = _joined(text)
    return _STATES.get(joined, joined)


_FIVE_DIGITS = re.compile(r"\d{5}")
_CANADIAN_START, _CANADIAN_END = re.compile(r"[a-z]\d[a-z]"), re.compile(r"\d[a-z]\d")
_CANADIAN = re.compile(r"[a-z]\d[a-z]\d[a-z]\d")
_BRITISH_START, _BRITISH_END = re.compile(r"[a-z]{1,2}\d{1,2}[a-z]?"), re.compile(r"\d[a-z]{2}")


def _cut_end(tokens: list[str], region: str, code: str) -> tuple[list[str], str, str]:
    """Remove country, postal code and state from the end of a line, and return them."""
    tokens = list(tokens)
    while tokens and tokens[-1] == ",":
        tokens.pop()
    if len(tokens) > 3 and tokens[-1] in _COUNTRIES and tokens[-1] != "ca":
        tokens.pop()
    elif len(tokens) > 4 and tokens[-2:] == ["united", "states"]:
        del tokens[-2:]
    while tokens and tokens[-1] == ",":
        tokens.pop()
    if len(tokens) > 1 or (tokens and _ZIP.match(tokens[-1])):
        last = tokens[-1] if tokens else ""
        if _ZIP.match(last) or (last.isdigit() and len(last) in (4, 6, 9) and len(tokens) > 2):
            code = code or last.replace("-", "")
            tokens.pop()
            if tokens and last.isdigit() and len(last) == 4 and _FIVE_DIGITS.fullmatch(tokens[-1]):
                code = tokens.pop() + last
        elif _CANADIAN_END.fullmatch(last) and len(tokens) > 1 and _CANADIAN_START.fullmatch(tokens[-2]):
            code = code or tokens[-2] + last
            del tokens[-2:]
        elif _CANADIAN.fullmatch(last):
            code = code or tokens.pop()
        elif _BRITISH_END.fullmatch(last) and len(tokens) > 2 and _BRITISH_START.fullmatch(tokens[-2]):
            code = code or tokens[-2] + last
            del tokens[-2:]
    while tokens and tokens[-1] == ",":
        tokens.pop()
    for size in (3, 2, 1):
        if len(tokens) >= size:
            name = "".join(tokens[-size:])
            if (name in _STATES and len(tokens) > size) or (size == 1 and name in _CODES):
                region = region or _STATES.get(name, name)
                del tokens[-size:]
                break
    while tokens and tokens[-1] == ",":
        tokens.pop()
    return tokens, region, code


def _unit_of(tokens: list[str], alone: bool) -> str:
    kept = [t.lstrip("# ") for t in tokens if t not in _UNITS and t != ","]
    if alone and not any(t in _UNITS or t.startswith("#") or any(c.isdigit() for c in t) for t in tokens):
        # A property's name or a second line of the street, as in "Willow Lodge", is not a unit.
        return "".join(kept) if len(kept) == 1 and len(kept[0]) == 1 else ""
    return "".join(kept).replace("-", "")


def _take_unit(tokens: list[str]) -> tuple[list[str], str]:
    if _UNITS.isdisjoint(tokens) and "#" not in "".join(tokens):
        return tokens, ""
    for index, item in enumerate(tokens):
        if index and item.startswith("#"):
            kept = tokens[index].lstrip("# ").replace("-", "")
            end = index + 1
            start = index
            while start > 1 and tokens[start - 1] in _UNITS:
                start -= 1
            return [*tokens[:start], *tokens[end:]], kept
        if index > 1 and item in _UNITS and item not in ("no", "un", "box"):
            end = index + 1
            parts: list[str] = []
            while end < len(tokens) and len(parts) < 4:
                following = tokens[end]
                if following in _UNITS or following in ("number", "no"):
                    end += 1
                elif (
                    any(c.isdigit() for c in following)
                    or following.startswith("#")
                    or (len(following) == 1 and following.isalpha() and not parts)
                ):
                    parts.append(following.lstrip("# "))
                    end += 1
                elif following == "," and end + 1 < len(tokens) and tokens[end + 1] in _UNITS:
                    end += 1
                else:
                    break
            if parts:
                return [*tokens[:index], ",", *tokens[end:]], "".join(parts).replace("-", "")
            before = tokens[index - 1]
            if (
                item in ("fl", "floor", "flr")
                and index > 2
                and (_ORDINAL.match(before) or before in ("ground", "second", "third", "first"))
            ):
                return [*tokens[: index - 1], ",", *tokens[index + 1 :]], before
    return tokens, ""


def parse(value: object) -> Address | None:
    """Split an address into its parts: a mapping with ``line1`` to ``country``, or one line of text. ``None`` if it is missing."""
    try:
        found = _taken_apart(value)
    except _TooLongError:
        return None
    return found if found and any(found) else None


def is_missing(value: object) -> bool:
    """Return whether an address is empty, or too long to be read."""
    return parse(value) is None


def _taken_apart(value: object) -> Address | None:
    if isinstance(value, Mapping):
        parts = [str(value.get(k) or "").strip() for k in ("line1", "line2", "city", "state", "postal_code")]
        if not any(parts):
            return None
        line1, line2, city, state, code = parts
        # Some forms put the whole address into the first line.
        whole = not (city or state) and (len(line1.split()) > 4 or not (line2 or code or line1[:1].isdigit()))
        return _parse(line1, line2, city, state, code, whole)
    text = str(value or "").strip()
    return _parse(text, "", "", "", "", True) if text else None


def compare(claimed: object, held: object) -> FieldMatch | None:
    """Return how two addresses compare, or ``None`` when either is missing, or if they have no part in common that can be compared.

    98 to 100: all parts are the same after folding the postal service's abbreviations; from 70: a small difference; below: another house.
    """
    a, b = parse(claimed), parse(held)
    if a is None or b is None:
        return None
    return _compare(a, b)


def _no_line(a: Address) -> bool:
    """Return whether an address has neither street nor box."""
    return not (a.street or a.number or a.box)


def _only_code(a: Address) -> bool:
    return bool(a.code) and _no_line(a)


def _only_town(a: Address) -> bool:
    if a.number or a.box or a.code:
        return False
    return bool(a.city) or (bool(a.street) and not a.kind and not any(c.isdigit() for word in a.words for c in word))


def _town(a: Address) -> list[str]:
    """Return the words of an address that may be its town, abbreviated. Without a comma they include the street."""
    if a.city:
        return [_short(word) for word in a.city]
    # No town has a digit, and a street has at least one word.
    start = max((at + 1 for at, word in enumerate(a.words) if any(c.isdigit() for c in word)), default=1 if a.number else 0)
    words = [_short(word) for word in (a.tail if a.kind and a.number else a.words[start:])]
    return [] if start and _DIRECTION.union(_TYPE).issuperset(words) else words


def _written(a: Address) -> list[str]:
    """Return the words of an address in one line, abbreviated as by the postal service."""
    return [_short(word) for word in a.words]


def _is_place_of(place: Address, other: Address) -> bool:
    """Return whether an address in one line is only the town of another address."""
    if not place.words or place.number or place.box or _no_line(other):
        return False
    words = _written(place)
    if other.city:
        return words == _town(other)
    rest = _written(other)
    return (
        bool(other.number or other.box)
        and len(words) < len(rest) + bool(other.box)
        and rest[-len(words) :] == words
        and words[-1] not in _TYPE
    )


def _may_be_town(a: Address) -> bool:
    """Return whether an address has only its town, or words that may be only this. Some towns end like a street: Forest Park."""
    if a.city:
        return _no_line(a)
    if not a.words or a.number or a.box or a.unit or (a.tail and not a.kind) or any(c.isdigit() for word in a.words for c in word):
        return False
    return _USUAL.isdisjoint(_short(word) for word in a.words[1:])


def _is_line_alone(a: Address) -> bool:
    """Return whether an address has a street or a box, and no town."""
    if a.city or a.tail or not (a.number or a.box or a.kind in _USUAL):
        return False
    # If a box has no street, or a street has no kind, the town follows immediately.
    return not a.words or bool(a.kind) or len(a.street) <= bool(a.number)


def _is_state_of(place: Address, other: Address) -> bool:
    """Return whether an address in one line is only the name of another address's state."""
    return not (place.number or place.box or place.state) and _STATES.get("".join(place.words), "-") == other.state


_OTHER_STATE = FieldMatch(20.0, None, ("CITY_ONLY", "STATE_DIFFERS"))


def _states_differ(a: Address, b: Address) -> bool:
    return bool(a.state and b.state) and a.state != b.state and {a.state, b.state} <= _CODES


def _compare_places(a: Address, b: Address) -> FieldMatch | None:
    """Compare towns and states if one side has nothing else; ``None`` if there is nothing to compare."""
    if _states_differ(a, b):
        return _OTHER_STATE
    if _is_state_of(a, b) or _is_state_of(b, a):
        return None
    if a.number or a.box:
        a, b = b, a
    mine, theirs = _town(a), _town(b)
    if not mine or not theirs:
        return None
    x, y, size = "".join(mine), "".join(theirs), len(mine)
    if b.number or b.box or b.kind:
        # The street may be among the words before the town.
        tail = [_short(word) for word in b.tail]
        if (theirs[-size:] == mine and (b.number or b.box)) or any(tail[at : at + size] == mine for at in range(len(tail))):
            y = x
        elif b.number:
            y = "".join(theirs[-size:])
    if x == y and not (a.city or a.state or b.state or b.number or b.box):
        return FieldMatch(100.0)
    if x == y:
        return FieldMatch(65.0, None, ("CITY_ONLY",))
    if within_two(x, y) <= 2 or closeness(x, y) > 0.9:
        return FieldMatch(60.0, None, ("CITY_ONLY",))
    return FieldMatch(20.0, None, ("CITY_ONLY", "CITY_DIFFERS"))


def _compare(a: Address, b: Address) -> FieldMatch | None:
    if any(_may_be_town(x) and _is_line_alone(y) for x, y in ((a, b), (b, a))) and _street(a, b)[0] < ONE_STREET:
        # One side has only the town, and the other only the street.
        if a.code and b.code:
            return _codes(a.code, b.code)
        return _OTHER_STATE if _states_differ(a, b) else None
    if _only_code(a) or _only_code(b) or (_bare_code(a) and _bare_code(b)):
        x, y = a.code or _bare_code(a), b.code or _bare_code(b)
        if x and y:
            return _codes(x, y)
        return _compare_places(a, b)
    if _no_line(a) or _no_line(b) or (_only_town(b) and not a.box and (a.city or a.words)) or _is_place_of(a, b) or _is_place_of(b, a):
        return _codes(a.code, b.code) if a.code and b.code else _compare_places(a, b)
    reasons: list[str] = []
    score = 100.0
    if a.box or b.box:
        if a.box and b.box:
            if a.box.lstrip("0") != b.box.lstrip("0"):
                return FieldMatch(25.0, None, ("PO_BOX_DIFFERS",))
            if not (a.number and b.number):
                return _place(a, b, score, reasons)
        elif not (a.number and b.number):
            return FieldMatch(20.0, None, ("PO_BOX_DIFFERS",))
    street, window = _street(a, b)
    if (a.street or b.street) and a.fraction != b.fraction:
        reasons.append("HOUSE_NUMBER_DIFFERS")
        if a.fraction and b.fraction:
            return _place(a, b, 60.0, reasons)
        score = 88.0
    if a.number and b.number:
        if a.number != b.number:
            if _range(a.number, b.number):
                score = 85.0
            else:
                edits = within_two(a.number, b.number)
                reasons.append("HOUSE_NUMBER_DIFFERS")
                score = 45.0 if edits == 1 and len(a.number) > 3 else 35.0
    elif a.number or b.number:
        reasons.append("HOUSE_NUMBER_MISSING")
        score = 78.0 if street >= 0.9 else 60.0
    if street < 0.6:
        reasons.insert(0, "STREET_DIFFERS")
        score = min(score, 25.0) * (0.5 + street / 2)
        return FieldMatch(round(score, 2), None, tuple(reasons))
    if street < 1:
        reasons.append("STREET_SIMILAR")
        score -= 5.0 if street >= 0.93 else 10.0 if street >= 0.85 else 18.0 if street >= 0.75 else 28.0
    kinds = {a.kind, b.kind} - {""}
    if len(kinds) == 2 and within_two(a.kind, b.kind) > 1:
        reasons.append("STREET_TYPE_DIFFERS")
        score -= 12.0 if street == 1 else 8.0
    if a.directions != b.directions:
        if a.directions and b.directions and _contradict(a.directions, b.directions):
            # North Main Street is not South Main Street.
            reasons.append("DIRECTION_DIFFERS")
            score = min(score - 22.0, MOST_ELSEWHERE)
        else:
            score -= 2.0
    if a.unit != b.unit:
        if a.unit and b.unit:
            if a.unit not in b.unit and b.unit not in a.unit:
                reasons.append("UNIT_DIFFERS")
                score -= 35.0
            else:
                score -= 3.0
        else:
            absent = a.unit or b.unit
            other = b if a.unit else a
            if absent not in other.tail and absent not in window:
                reasons.append("UNIT_MISSING")
                score -= 5.0
    return _place(a, b, score, reasons)


def _contradict(a: frozenset[str], b: frozenset[str]) -> bool:
    """Return whether two sets of directions exclude each other. A set may include the direction in a town's name."""
    if a & b:
        return False
    x, y = set("".join(a)), set("".join(b))
    return not x & y or ("n" in x and "s" in y) or ("s" in x and "n" in y) or ("e" in x and "w" in y) or ("w" in x and "e" in y)


def _bare_code(a: Address) -> str:
    """Return the one or two words of an address that may be the postal code of another country."""
    word = a.number + "".join(a.street)
    few = not a.kind and not a.city and len(a.street) + bool(a.number) <= 2
    # "12 Broadway" is a street.
    letters = any(len(part) > LONGEST_LETTERS and part.isalpha() for part in a.street)
    return word if few and not letters and not a.code and any(c.isdigit() for c in word) else ""


def _codes(a: str, b: str) -> FieldMatch:
    """Compare only postal codes, with the bands of https://docs.flinks.com/guides/connect/field-match-guide."""
    if a == b or (a.isdigit() and b.isdigit() and len(a) > 4 and len(b) > 4 and a[:5] == b[:5]):
        return FieldMatch(100.0, None, ("POSTAL_CODE_ONLY",))
    edits = within_two(a, b)
    score = 55.0 if edits == 2 and a[0] == b[0] else 20.0
    if edits == 1:
        score = 72.0 if len(a) == len(b) else 85.0
    return FieldMatch(score, None, ("POSTAL_CODE_ONLY", "POSTAL_CODE_DIFFERS"))


def _place(a: Address, b: Address, score: float, reasons: list[str]) -> FieldMatch:
    code = ""
    if a.code and b.code:
        same = a.code[:5] == b.code[:5] if a.code.isdigit() and b.code.isdigit() else a.code == b.code
        code = "same" if same else "near" if within_two(a.code[:6], b.code[:6]) < 3 else "differs"
    if a.state and b.state and a.state != b.state and within_two(a.state, b.state) > 0 and a.state in _CODES and b.state in _CODES:
        reasons.append("STATE_DIFFERS")
        score = min(score - (8.0 if code == "same" else 20.0), MOST_ELSEWHERE)
    town = True
    if (a.city or a.tail) and (b.tail or b.city):
        mine, theirs = "".join(a.city or a.tail), "".join(b.city or b.tail)
        town = mine in theirs or theirs.endswith(mine) or _town_alike(mine, theirs)
        if not town:
            reasons.append("CITY_DIFFERS")
            score -= 2.0 if code == "same" else 10.0
    if code == "near":
        reasons.append("POSTAL_CODE_DIFFERS")
        score -= 4.0
    elif code == "differs":
        reasons.append("POSTAL_CODE_DIFFERS")
        score -= 8.0 if town else 18.0
    if not town and code in ("near", "differs"):
        score = min(score, MOST_ELSEWHERE - 5.0)
    return FieldMatch(max(0.0, round(score, 2)), None, tuple(reasons))


def _town_alike(a: str, b: str) -> bool:
    return within_two(a, b) < 3 or within_two(a, b[-len(a) :]) < 3 or closeness(a, b) > 0.85


def _range(a: str, b: str) -> bool:
    x, y = a.split("-"), b.split("-")
    return (len(x) > 1 or len(y) > 1) and (x[0] == y[0] or a.replace("-", "") == b.replace("-", ""))


def _street(a: Address, b: Address) -> tuple[float, tuple[str, ...]]:
    """Return how alike the streets are, 0 to 1, and the words of the second that were compared."""
    if not a.street or not b.street:
        return (1.0 if not a.street and not b.street else 0.7), ()
    if a.street == b.street:
        return 1.0, b.street
    best = 0.0
    x = "".join(a.street)
    # Without a comma between street and town, the street's end is found by trying.
    words = (*b.street, *b.tail) if len(b.street) < len(a.street) else b.street
    size = len(a.street)
    chosen: tuple[str, ...] = b.street
    for count in {size - 1, size, size + 1, len(b.street)}:
        if not 0 < count <= len(words):
            continue
        for begin in (0, 1) if len(words) > count else (0,):
            window = words[begin : begin + count]
            y = "".join(window)
            if x == y:
                return 0.99 if begin else 1.0, window
            short = min(len(x), len(y))
            edits = within_two(x, y)
            digits_differ = _digits(x) != _digits(y)
            if edits == 1 and short > 3 and not digits_differ:
                value = 0.93
            elif edits == 2 and short > 4 and not digits_differ:
                value = 0.86
            elif digits_differ:
                value = 0.3
            else:
                alike = closeness(x, y)
                value = 0.75 if alike > 0.92 else 0.65 if alike > 0.86 else alike * 0.6
            if begin:
                value -= 0.03
            if value > best:
                best, chosen = value, window
    if best < 0.8:
        core_a, core_b = {t for t in a.street if len(t) > 2 and t not in _TYPE}, {t for t in b.street if len(t) > 2 and t not in _TYPE}
        if core_a and core_b and (core_a <= core_b or core_b <= core_a):
            return 0.85, b.street
    return best, chosen


def _digits(text: str) -> str:
    return "" if text.isalpha() else "".join(c for c in text if c.isdigit())
