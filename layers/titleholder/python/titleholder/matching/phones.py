"""Compares phone numbers as people and banks write them; `phonenumbers` reads them."""

import re
from typing import NamedTuple

from titleholder.matching.result import FieldMatch
from titleholder.matching.text import fold_to_end

# Numbers without a country code are taken for American ones. They can still match a foreign number by its national digits.
HOME = "US"
MANY_NUMBERS = 4
MAX_CHARS = 250
# Separators between two numbers in one text.
_SEVERAL = re.compile(r"\bor\b|\band\b|[/;|&\n]|,(?=\s*[+(]?\d[\d ().-]{5})")
# The end that some programs add to a phone number because they take it for an amount.
_DECIMAL = re.compile(r"(?<=\d{7})\.0+$")
_LABEL = re.compile(r"^\W*(?:tel|phone|ph|mobile|cell|home|work|office|fax|main|direct)(?:ephone)?\W*(?=[+(\d])")
_TRAILING = re.compile(
    r"[\s(\[,-]*(?<![^\W\d_])(?:work|home|cell|cellular|mobile|mob|office|fax|main|day|evening|daytime|direct|primary|landline|tel)\.?[)\]\s]*$"
)
_EXTENSION = re.compile(r"(?:(?<=\d)\s*x|[\s,;]*(?:ext(?:ensi[oó]n|n)?\.?[:=]?|#|~)|,)\s*\.?(\d{1,7})\s*$")
_SHORTEST = 5


class _Written(NamedTuple):
    """The text of a number that is no placeholder: without label and extension, the extension, and the digits."""

    text: str
    extension: str
    digits: str


class Number(NamedTuple):
    """The parts of a number: the country code (empty if it is not given), the national digits, and the extension."""

    code: str
    national: str
    extension: str


def _is_placeholder(digits: str) -> bool:
    """Return whether digits are only a placeholder: too few, all the same, or counting up."""
    return len(digits) < _SHORTEST or len(set(digits)) == 1 or (len(digits) > 8 and digits in "12345678901234567890")


def _written(text: str) -> _Written | None:
    text = _DECIMAL.sub("", text.strip())
    text = _TRAILING.sub("", _LABEL.sub("", text))
    extension = ""
    if "phone-context" not in text and (found := _EXTENSION.search(text)) and len(re.sub(r"\D", "", text[: found.start()])) > 6:
        extension, text = found[1], text[: found.start()]
    text = re.sub(r"^\s*\(?\s*00(?=[1-9])", "+", text)
    digits = re.sub(r"\D", "", text.partition(";")[0])
    letters = any(c.isalpha() for c in text.partition(";")[0])
    if _is_placeholder(digits.lstrip("0") or digits) and not (letters and len(digits) > 3):
        return None
    return _Written(text, extension, digits)


def _parse(written: _Written) -> Number | None:
    import phonenumbers

    text, extension, digits = written
    says = text.lstrip(" (").startswith("+") or "phone-context=+" in text
    if "phone-context" in text and not says:
        # The context is a domain, which names no country.
        return Number("", digits.lstrip("0"), extension)
    try:
        parsed = phonenumbers.parse(text, HOME)
    except phonenumbers.NumberParseException:
        return Number("", digits.lstrip("0"), extension) if len(digits) >= _SHORTEST else None
    national = str(parsed.national_number)
    code = str(parsed.country_code)
    extension = extension or parsed.extension or ""
    if not says and not phonenumbers.is_possible_number(parsed):
        # Not an American number, so it is that of another country without its code.
        return Number("", digits.lstrip("0"), extension)
    if not says and code == "1" and len(national) < 10:
        return Number("", digits, extension)
    if not says and digits.startswith("0") and not digits.startswith("011"):
        return Number("", digits.lstrip("0"), extension)
    return Number(code, national, extension)


def _pieces(value: object) -> list[_Written]:
    text, whole = fold_to_end(str(value).strip())
    if not whole or len(text) > MAX_CHARS:
        return []
    if "phone-context" in text or ";ext=" in text or ";isub" in text:
        pieces = [re.sub(r";isub=[^;]*", "", text)]
    else:
        pieces = _SEVERAL.split(text)
        if sum(len(re.sub(r"\D", "", piece)) >= 7 for piece in pieces) < 2:
            pieces = [text]
    return [written for piece in pieces[:MANY_NUMBERS] if (written := _written(piece))]


def _numbers(value: object) -> list[Number]:
    return [number for written in _pieces(value) if (number := _parse(written))]


def is_missing(value: object) -> bool:
    """Return whether a text has no digits that can be a number, or is too long to be read."""
    # A text with this many digits is a number in any case, so that `phonenumbers` need not be loaded.
    return not any(len(written.digits) >= _SHORTEST or _parse(written) for written in _pieces(value))


def compare(claimed: object, held: object) -> FieldMatch | None:
    """Return how two phone numbers compare, or ``None`` when either is missing.

    100: the same number; 85: with and without an extension; 75: one lacks its area code; below 70: another number. If a text has several
    numbers, the best one counts.
    """
    mine = _numbers(claimed)
    theirs = mine if claimed == held else _numbers(held)
    if not mine or not theirs:
        return None
    return max((_compare(a, b) for a in mine for b in theirs), key=lambda found: found.score or 0.0)


def _compare(a: Number, b: Number) -> FieldMatch:
    differs = FieldMatch(0.0, None, ("PHONE_DIFFERS",))
    if a.code and b.code and a.code != b.code:
        return differs
    if a.national != b.national:
        short, long = sorted((a.national.lstrip("0"), b.national.lstrip("0")), key=len)
        if short == long or (len(short) >= 9 and long.endswith(short) and len(long) - len(short) <= 3):
            pass
        elif len(short) >= 6 and long.endswith(short) and len(long) - len(short) <= 4:
            return FieldMatch(75.0, None, ("PHONE_PARTIAL",))
        else:
            return differs
    if a.extension != b.extension:
        if a.extension and b.extension:
            return FieldMatch(60.0, None, ("PHONE_EXTENSION_DIFFERS",))
        return FieldMatch(85.0, None, ("PHONE_EXTENSION_DIFFERS",))
    return FieldMatch(100.0)
