"""Where a text is not strict JSON: line, column and what is expected there, the same on every version of Python, and never its content."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titleholder.schemas import JsonTextError, read_json

DEEPEST = 32
A_VALUE = "a value is expected: an object, an array, a string in double quotes, a number, true, false or null"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"line 1, column 1: {A_VALUE}"),
        ('{"a": tru}', f"line 1, column 7: {A_VALUE}"),
        ('{\n  "a": 1,\n  "b" 2\n}', "line 3, column 7: a colon is expected"),
        ('{"a": [1 2]}', "line 1, column 10: a comma or the end of the object or array is expected"),
        ("{'a': 1}", "line 1, column 2: a name in double quotes is expected"),
        ('{"a": 1,}', "line 1, column 8: another entry is expected after the comma"),
        ('{"a": [1,\n]}', "line 1, column 9: another entry is expected after the comma"),
        ('{"a": 1} x', "line 1, column 10: the end is expected, because the JSON value is complete"),
        ('{"a": "x', "line 1, column 7: the string that begins here needs a closing double quote"),
        ('{"a": "x\ny"}', "line 1, column 9: a control character in a string has to be escaped"),
        ('{"a": "\\x"}', 'line 1, column 8: one of " \\ / b f n r t u is expected after the backslash'),
        ('{"a": 1, "b": {"c": 1,\n"c": 2}}', "line 2, column 1: this object names the same field twice"),
        ('{"a": 1, "\\u0061": 2}', "line 1, column 10: this object names the same field twice"),
        ('{"a": ["a", "a"], "b": {"a": 1}, "a": 1}', "line 1, column 34: this object names the same field twice"),
        ('{"a": -Infinity}', "line 1, column 7: NaN and Infinity are not JSON: a number is expected"),
        ('{"a": ' + "1" * 5000 + "}", "line 1, column 7: the number has too many digits"),
        ('{"a":' * 40 + "1" + "}" * 40, "line 1, column 161: the text nests deeper than 32 levels"),
        ("[" * 30_000, "line 1, column 33: the text nests deeper than 32 levels"),
        ("[" * 33 + "]" * 33, "line 1, column 33: the text nests deeper than 32 levels"),
        ("[" * 33 + "1" + "]" * 33, "line 1, column 33: the text nests deeper than 32 levels"),
        ('{"a": [NaN1]}', "line 1, column 8: NaN and Infinity are not JSON: a number is expected"),
        ('{"a": [' + "1" * 5000 + "x]}", "line 1, column 8: the number has too many digits"),
        ('{"a": [1.' + "1" * 5000 + ', 1e5, "b":', "line 1, column 5020: a comma or the end of the object or array is expected"),
    ],
)
def test_mistake_is_reported_with_its_place_and_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(JsonTextError) as caught:
        read_json(text, DEEPEST)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["Infinity LLC", "Nan NaN", "x" * 5000, "1" * 5000, "{" * 40, '{\\"b\\":1,\\"b\\":2}', ",]", '\\"a\\":1,'])
@pytest.mark.parametrize(
    ("broken", "column", "what"),
    [
        ('\t"}', 0, "a control character in a string has to be escaped"),
        ('\n"}', 0, "a control character in a string has to be escaped"),
        ('\\x"}', 0, 'one of " \\ / b f n r t u is expected after the backslash'),
        ("", 7, "the string that begins here needs a closing double quote"),
        ("\\", 7, "the string that begins here needs a closing double quote"),
        ('\\"', 7, "the string that begins here needs a closing double quote"),
    ],
)
def test_text_of_a_broken_string_is_not_read_as_json(text: str, broken: str, column: int, what: str) -> None:
    with pytest.raises(JsonTextError) as caught:
        read_json('{"a": "' + text + broken, DEEPEST)
    assert str(caught.value) == f"line 1, column {column or len(text) + 8}: {what}"


@pytest.mark.parametrize("inner", ["1", '"x"', "null", "[]", "{}"])
def test_depth_counts_objects_and_arrays_only(inner: str) -> None:
    levels = DEEPEST - (inner in ("[]", "{}"))
    read_json("[" * levels + inner + "]" * levels, DEEPEST)
    with pytest.raises(JsonTextError, match=f"column {DEEPEST + 1}: the text nests deeper than 32 levels"):
        read_json("[" * (levels + 1) + inner + "]" * (levels + 1), DEEPEST)


SMALL, FACTOR = 5_000, 8


def cost(text: str) -> float:
    """The least processor seconds of three refusals."""
    seconds = []
    for _ in range(3):
        begin = time.thread_time()
        with pytest.raises(JsonTextError):
            read_json(text, DEEPEST)
        seconds.append(time.thread_time() - begin)
    return min(seconds)


@pytest.mark.parametrize(
    ("begin", "repeated", "end"),
    [
        ('{"a":"', '\\"', '\t"}'),
        ('{"a":"', '\\"', '\\x"}'),
        ('{"a":"', '\\"', '\\u12"}'),
        ('{"a":"', '\\"', ""),
        ('{"a":"', "\\\\", "\\"),
        ('{"a":"', "\\\\", '\t"}'),
        ('{"a":"', "x", '\t"}'),
        ('{"a":"', "{[", '\t"}'),
        ('{"a":"', '\\",', '\t"}'),
        ("", "[", ""),
        ("", '{"a":', ""),
        ("[", "[],", "x]"),
        ("[", '"",', "x]"),
        ('{"a":[', "{},", "x]"),
        ('{"a":', "1", "}"),
        ('{"a":-1.', "1", ",}"),
        ('{"a":', " ", "x}"),
        ('{"a":', "\n", "x}"),
        ("{", '"\\"":1,', "}"),
        ("", "x", ""),
        ("", '"', ""),
        ("", "-", ""),
        ("[", '"\\",', "]"),
        ("[NaN", '"\\"', "]"),
    ],
)  # fmt: skip
def test_cost_of_refusing_grows_no_faster_than_the_text(begin: str, repeated: str, end: str) -> None:
    small, large = (begin + repeated * (size // len(repeated)) + end for size in (SMALL, SMALL * FACTOR))
    # Work that grows with the square of the size would take 64 times as long. Times below 0.2 ms are too short to compare.
    assert cost(large) < 2.5 * FACTOR * max(cost(small), 0.000_2)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert read_json(json.dumps(value), DEEPEST) == value


@given(VALUES, st.integers(0), st.text(max_size=3))
def test_every_text_is_read_or_refused_with_a_place_in_it(value: Any, at: int, noise: str) -> None:
    text = json.dumps(value)
    at %= len(text) + 1
    text = text[:at] + noise + text[at:]
    refused = None
    try:
        read_json(text, DEEPEST)
    except JsonTextError as error:
        refused = error
    if refused is not None:
        line = int(str(refused).split(",")[0].removeprefix("line "))
        assert 1 <= refused.column <= len(text.split("\n")[line - 1]) + 1
