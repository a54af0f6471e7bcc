"""Filter patterns of CloudWatch Logs for lines of JSON, such as `{ $.message = "call to Stripe*" && $.status >= 500 }`.

MiniStack takes each such pattern as one that every line fits. Without brackets, lists and `IS NULL`, which the runbook does not use.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

TERM = re.compile(r'\s*\$\.([\w.@-]+)\s*(!=|<=|>=|=|<|>)\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s*')
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
MISSING = object()


def apply() -> None:
    from ministack.services import cloudwatch_logs

    original_compile = cloudwatch_logs._compile_filter_pattern

    def compile_pattern(raw: str) -> Callable[[str], bool]:
        pattern = (raw or "").strip()
        return matcher(pattern) if pattern.startswith("{") else original_compile(raw)

    cloudwatch_logs._compile_filter_pattern = compile_pattern


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a line fits a pattern. Raises ValueError if the pattern has a form that is not known here."""
    alternatives = [[_term(term) for term in part.split("&&")] for part in pattern.strip().removeprefix("{").removesuffix("}").split("||")]

    def matches(line: str) -> bool:
        try:
            found = json.loads(line)
        except ValueError:
            return False
        return isinstance(found, dict) and any(all(fits(found) for fits in terms) for terms in alternatives)

    return matches


def _term(text: str) -> Callable[[Mapping[str, Any]], bool]:
    found = TERM.fullmatch(text)
    if found is None:
        raise ValueError(f"not a term of a filter pattern: {text.strip()}")
    path, sign, value = found[1].split("."), found[2], found[3].strip('"')

    def fits(line: Mapping[str, Any]) -> bool:
        at: Any = line
        for name in path:
            at = at.get(name, MISSING) if isinstance(at, dict) else MISSING
        if at is MISSING:
            return False
        if sign in ORDER:
            try:
                return bool(ORDER[sign](float(at), float(value)))
            except (TypeError, ValueError):
                return False
        text = at if isinstance(at, str) else json.dumps(at)
        return fnmatchcase(text, re.sub(r"([\[?])", r"[\1]", value)) == (sign == "=")

    return fits
