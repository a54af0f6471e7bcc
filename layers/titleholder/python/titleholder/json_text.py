"""Reads JSON strictly, and says where a text is no such JSON: line, column and what is expected there, never what stands there.

Strict: no name twice in an object, no NaN or Infinity, at most so many levels.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_MOST_DIGITS = 4300
"""As Python's own limit for text that becomes an integer."""

_EXPECTED = (
    ("Expecting property name", "a name in double quotes is expected"),
    ("Expecting ':'", "a colon is expected"),
    ("Expecting ','", "a comma or the end of the object or array is expected"),
    ("Illegal trailing comma", "another entry is expected after the comma"),
    ("Extra data", "the end is expected, because the JSON value is complete"),
    ("Unterminated string", "the string that begins here needs a closing double quote"),
    ("Invalid control character", "a control character in a string has to be escaped"),
    ("Invalid \\u", "four hexadecimal digits are expected after \\u"),
    ("Invalid \\", 'one of " \\ / b f n r t u is expected after the backslash'),
    ("Unexpected UTF-8 BOM", "the text must not begin with a byte order mark"),
)
"""The beginnings of what Python's parser says, whose words differ between its versions, and what we say."""
_ANY_VALUE = "a value is expected: an object, an array, a string in double quotes, a number, true, false or null"


class JsonTextError(Exception):
    """A text is not strict JSON. `line` and `column` count from 1. `name`: the one that is repeated, if that is the mistake."""

    def __init__(self, line: int, column: int, what: str, name: str | None = None) -> None:
        super().__init__(f"line {line}, column {column}: {what}")
        self.line = line
        self.column = column
        self.what = what
        self.name = name


class _RefusedError(Exception):
    pass


def loads(text: str, max_depth: int) -> Any:
    """The value of a JSON text. Raises JsonTextError."""
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_constant=_constant)
    except json.JSONDecodeError as error:
        # The error shows the text, so it is no cause of the one that is raised.
        raise _error(text, error.pos, error.msg, max_depth) from None
    except (_RefusedError, ValueError, RecursionError):
        raise _error(text, len(text), "", max_depth) from None
    if _deep(data, max_depth):
        raise _error(text, len(text), "", max_depth)
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RefusedError
    return found


def _constant(_: str) -> NoReturn:
    raise _RefusedError


def _deep(data: Any, left: int) -> bool:
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return left == 0 or any(_deep(child, left - 1) for child in children)


def _error(text: str, place: int, said: str, max_depth: int) -> JsonTextError:
    """What is wrong first: what Python's parser found at `place`, or what it accepts and we do not before that."""
    at, what, name = place, next((words for begin, words in _EXPECTED if said.startswith(begin)), _ANY_VALUE), None
    levels: list[set[str] | None] = []
    before = ""
    for match in _TOKEN.finditer(text, 0, place):
        part = match[0]
        found: str | None = None
        if part in "{[":
            levels.append(set() if part == "{" else None)
            if len(levels) > max_depth:
                found = f"the text nests deeper than {max_depth} levels"
        elif part in "}]":
            if levels:
                levels.pop()
        elif part[0] == '"':
            names = levels[-1] if levels else None
            if names is not None and before in ("{", ","):
                key = _text(part)
                if key in names:
                    found, name = "this object names the same field twice", key
                names.add(key)
        elif part.lstrip("-") in ("NaN", "Infinity"):
            found = "NaN and Infinity are not JSON: a number is expected"
        elif len(part) > _MOST_DIGITS:
            found = "the number has too many digits"
        if found is not None:
            at, what = match.start(), found
            break
        before = part
    begin = text.rfind("\n", 0, at) + 1
    return JsonTextError(text.count("\n", 0, at) + 1, at - begin + 1, what, name)


def _text(token: str) -> str:
    try:
        return str(json.loads(token))
    except ValueError:
        return token
