"""Compares phone numbers as people and banks write them."""

import re

from titleholder.matching.result import FieldMatch
from titleholder.matching.text import fold
from titleholder.matching.words import word_set

_KEYS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_EXTENSION = re.compile(r"(?:;?\s*ext(?:ensi[oó]n|n)?\.?[:=]?|\bx|#|;isub=|,|~)\s*\.?(\d{1,7})\s*$")
_CONTEXT = re.compile(r";?phone-context=([^;]*)")
_PARAMETER = re.compile(r";(?:isub|ext|phone-context)=[^;]*")
# A country's code can be told only from the beginning of a number that says it has one.
_CALLING = word_set(
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92"
    " 93 94 95 98 211 212 213 216 218 220 221 234 254 255 256 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 380 381"
    " 385 386 387 389 420 421 423 800 852 853 855 880 886 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 992"
    " 993 994 995 996 998"
)


def _parse(value: object) -> tuple[str, str, str]:
    """Return calling code (or an empty text), national digits, extension."""
    text = fold(value).strip()
    if text.startswith("tel:"):
        text = text[4:]
    extension = ""
    context = _CONTEXT.search(text)
    prefix = context[1].strip() if context else ""
    found = re.search(r";ext=(\d+)", text)
    if found:
        extension = found[1]
    text = _PARAMETER.sub("", text)
    found = _EXTENSION.search(text)
    if found and len(re.sub(r"\D", "", text[: found.start()])) > 6:
        extension, text = found[1], text[: found.start()]
    text = text.strip()
    international = text.startswith(("+", "(+"))
    letters = re.sub(r"[^0-9a-z]", "", text)
    digits = letters.translate(_KEYS) if any(c.isdigit() for c in letters) else ""
    if prefix.startswith("+") and not international:
        digits = re.sub(r"\D", "", prefix) + digits.lstrip("0")
        international = True
    if not international:
        for exit_code in ("011", "00"):
            if digits.startswith(exit_code) and len(digits) > len(exit_code) + 8:
                digits, international = digits[len(exit_code) :], True
                break
    if international:
        for size in (1, 2, 3):
            if digits[:size] in _CALLING:
                return digits[:size], digits[size:].lstrip("0"), extension
        return "", digits, extension
    if len(digits) == 11 and digits[0] == "1":
        return "1", digits[1:], extension
    return "", digits, extension


def compare(claimed: object, held: object) -> FieldMatch | None:
    """Return how two phone numbers compare, or ``None`` when either has no digits.

    100: the same number; 85: with and without an extension; 75: one lacks its area code; below 70: another number.
    """
    code_a, a, extension_a = _parse(claimed)
    code_b, b, extension_b = _parse(held)
    if not a or not b:
        return None
    differs = FieldMatch(0.0, None, ("PHONE_DIFFERS",))
    if code_a and code_b and code_a != code_b:
        return differs
    if a != b:
        short, long = sorted((a.lstrip("0"), b.lstrip("0")), key=len)
        if short == long or (len(short) >= 9 and long.endswith(short) and len(long) - len(short) <= 3):
            pass
        elif len(short) >= 6 and long.endswith(short) and len(long) - len(short) <= 4:
            return FieldMatch(75.0, None, ("PHONE_PARTIAL",))
        else:
            return differs
    if extension_a != extension_b:
        if extension_a and extension_b:
            return FieldMatch(60.0, None, ("PHONE_EXTENSION_DIFFERS",))
        return FieldMatch(85.0, None, ("PHONE_EXTENSION_DIFFERS",))
    return FieldMatch(100.0)
