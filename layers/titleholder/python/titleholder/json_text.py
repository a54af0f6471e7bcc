"""Says where a text is not strict JSON, and what is expected there, never what is there. Loaded once a text is refused."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_TOKEN = re.compile(r'(?P<string>"(?:[^"\\]++|\\.)*+")|(?P<open>")|[{}\[\],:]|[^\s{}\[\],:"]++', re.DOTALL)
"""Possessive, so that no text is read more than twice. `open` begins a string that does not end."""
_INTEGER = re.compile(r"-?+([0-9]++)(?!\.[0-9]|[eE][-+]?[0-9])")
_MOST_DIGITS = 4300
"""As Python's own limit for text that becomes an integer."""

_AFTER_COMMA = "another entry is expected after the comma"
_EXPECTED = (
    ("Expecting property name", "a name in double quotes is expected"),
    ("Expecting ':'", "a colon is expected"),
    ("Expecting ','", "a comma or the end of the object or array is expected"),
    ("Illegal trailing comma", _AFTER_COMMA),
    ("Extra data", "the end is expected, because the JSON value is complete"),
    ("Unterminated string", "the string that begins here needs a closing double quote"),
    ("Invalid control character", "a control character in a string has to be escaped"),
    ("Invalid \\u", "four hexadecimal digits are expected after \\u"),
    ("Invalid \\", 'one of " \\ / b f n r t u is expected after the backslash'),
    ("Unexpected UTF-8 BOM", "the text must not begin with a byte order mark"),
)
"""The beginnings of what Python's parser says, whose words differ between its versions, and what we say."""
_ANY_VALUE = "a value is expected: an object, an array, a string in double quotes, a number, true, false or null"


class Mistake(NamedTuple):
    """What is wrong at one place of a text. Line and column count from 1. `name`: the one that is repeated, if that is the mistake."""

    line: int
    column: int
    what: str
    name: str | None = None


def find(text: str, place: int, said: str, max_depth: int) -> Mistake:
    """The first mistake of a text that is not strict JSON: what Python's parser said of `place`, or what it accepts before that."""
    at, what, name = place, next((words for begin, words in _EXPECTED if said.startswith(begin)), _ANY_VALUE), None
    levels: list[set[str] | None] = []
    before, last = "", 0
    for match in _TOKEN.finditer(text, 0, place):
        if match["open"]:
            # The mistake is in this string, or its end is missing. What follows is text, not JSON.
            break
        part = match[0]
        found: str | None = None
        if part in "{[":
            levels.append(set() if part == "{" else None)
            if len(levels) > max_depth:
                found = f"the text nests deeper than {max_depth} levels"
        elif part in "}]":
            if levels:
                levels.pop()
        elif match["string"]:
            names = levels[-1] if levels else None
            if names is not None and before in ("{", ","):
                key = _text(part)
                if key in names:
                    found, name = "this object names the same field twice", key
                names.add(key)
        elif part.startswith(("NaN", "Infinity", "-Infinity")):
            found = "NaN and Infinity are not JSON: a number is expected"
        elif (integer := _INTEGER.match(part)) and len(integer[1]) > _MOST_DIGITS:
            found = "the number has too many digits"
        if found is not None:
            at, what = match.start(), found
            break
        before, last = part, match.start()
    else:
        if before == "," and said.startswith("Expecting") and text[place : place + 1] in ("}", "]"):
            # Python 3.13 says this itself, of the comma.
            at, what = last, _AFTER_COMMA
    begin = text.rfind("\n", 0, at) + 1
    return Mistake(text.count("\n", 0, at) + 1, at - begin + 1, what, name)


def _text(token: str) -> str:
    try:
        return str(json.loads(token))
    except ValueError:
        return token
