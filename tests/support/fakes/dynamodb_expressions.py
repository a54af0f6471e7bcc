"""DynamoDB's expression language, as far as `titleholder.store` uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Expression = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
_NOTHING = {"N": "0"}

_TOKENS = re.compile(
    r"\s*(attribute_exists|attribute_not_exists|begins_with|(?:AND|OR|NOT|IN)\b|<=|>=|<>|[()=<>,+]|[:#]?[A-Za-z_][A-Za-z0-9_]*)"
)


class NamedAttributes(Mapping[str, Any]):
    """An item whose attributes may be asked for by their placeholders."""

    def __init__(self, item: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._item, self._names = item, names

    def __getitem__(self, path: str) -> Any:
        return self._item[attribute_name(path, self._names)]

    def __iter__(self) -> Any:
        return iter(self._item)

    def __len__(self) -> int:
        return len(self._item)


def attribute_name(path: str, names: Mapping[str, str]) -> str:
    return names[path] if path.startswith("#") else path


def plain(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return int(content) if kind == "N" else content


def holds(condition: str, item: Mapping[str, Any] | None, names: Mapping[str, str], values: Mapping[str, Any]) -> bool:
    return not condition or bool(_condition(condition)(NamedAttributes(item or {}, names), values))


class _Parser:
    """A recursive-descent parser for the used part of the expression language."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKENS.findall(text)
        if "".join(self.tokens) != re.sub(r"\s", "", text):
            raise ValueError(f"not understood: {text}")

    def take(self, *wanted: str) -> str | None:
        if self.tokens and (not wanted or self.tokens[0] in wanted):
            return str(self.tokens.pop(0))
        return None

    def either(self) -> Expression:
        left = self.both()
        while self.take("OR"):
            left = _or(left, self.both())
        return left

    def both(self) -> Expression:
        left = self.one()
        while self.take("AND"):
            left = _and(left, self.one())
        return left

    def one(self) -> Expression:
        if self.take("NOT"):
            inner = self.one()
            return lambda item, values: not inner(item, values)
        if self.take("("):
            inner = self.either()
            self.take(")")
            return inner
        if function := self.take("attribute_exists", "attribute_not_exists"):
            self.take("(")
            path = self.take() or ""
            self.take(")")
            wanted = function == "attribute_exists"
            return lambda item, values: _has(item, path) == wanted
        if self.take("begins_with"):
            self.take("(")
            path = self.take() or ""
            self.take(",")
            prefix = self.take() or ""
            self.take(")")
            return lambda item, values: _has(item, path) and plain(item[path]).startswith(plain(values[prefix]))
        left, operator = self.take() or "", self.take("=", "<", "<=", ">", ">=", "<>", "IN") or ""
        if operator == "IN":
            among = self._list()
            return lambda item, values: any(_compare("=", _value(left, item, values), values[name]) for name in among)
        right = self.take() or ""
        return lambda item, values: _compare(operator, _value(left, item, values), _value(right, item, values))

    def _list(self) -> list[str]:
        self.take("(")
        among = [self.take() or ""]
        while self.take(","):
            among.append(self.take() or "")
        self.take(")")
        return among


def _or(left: Expression, right: Expression) -> Expression:
    return lambda item, values: left(item, values) or right(item, values)


def _and(left: Expression, right: Expression) -> Expression:
    return lambda item, values: left(item, values) and right(item, values)


def _has(item: Mapping[str, Any], path: str) -> bool:
    try:
        item[path]
    except KeyError:
        return False
    return True


def _value(token: str, item: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    if token.startswith(":"):
        return values[token]
    return item[token] if _has(item, token) else None


def _compare(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None or left.keys() != right.keys():
        return operator == "<>"
    a, b = plain(left), plain(right)
    return bool({"=": a == b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "<>": a != b}[operator])


@cache
def _condition(text: str) -> Expression:
    parser = _Parser(text)
    expression = parser.either()
    if parser.tokens:
        raise ValueError(f"not understood: {text}")
    return expression


@cache
def parsed_update(text: str) -> tuple[list[tuple[str, Expression]], list[str]]:
    if text.startswith("ADD "):
        path, value = text.removeprefix("ADD ").split()
        return [(path, _sum(f"{path} + {value}", missing=_NOTHING))], []
    sets_text, _, removes_text = f" {text}".partition(" REMOVE ")
    sets: list[tuple[str, Expression]] = []
    for clause in sets_text.removeprefix(" SET ").split(", ") if sets_text else []:
        path, _, value = clause.partition(" = ")
        sets.append((path, _sum(value)))
    return sets, [path for path in removes_text.split(", ") if path]


def _sum(text: str, missing: Mapping[str, Any] | None = None) -> Expression:
    """The value of a term or of a sum. None if an attribute does not exist or is no number; `missing` takes the place of one that does not
    exist.
    """
    terms = text.split(" + ")
    if len(terms) == 1:
        return lambda item, values: _value(text, item, values)

    def added(item: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
        numbers = [_value(term, item, values) or missing for term in terms]
        return {"N": str(sum(map(plain, numbers)))} if all(number and "N" in number for number in numbers) else None  # type: ignore[arg-type, operator]

    return added
