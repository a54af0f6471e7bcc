"""What DynamoDB refuses as invalid, as far as the store could ask for it. Amazon's own engine refuses the same
(`tests/integration/store/test_rules.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from ministack.services._dynamodb_keywords import AWS_KEYWORDS

from tests.support.fakes.errors import refused

MOST_ITEM_BYTES = 400 * 1024
MOST_PARTS, MOST_TRANSACTION_BYTES = 100, 4 * 1024 * 1024
MOST_KEYS = 100
MOST_EXPRESSION_BYTES = 4096
MOST_OPERANDS = 100
"""Of IN."""
MOST_DIGITS = 38
KEY_BYTES = {"pk": 2048, "sk": 1024}
INDEX_KEYS = {"open_kind": "S", "open_since_ms": "N"}

_TOKENS = re.compile(r"[:#]?[A-Za-z_][A-Za-z0-9_]*|<=|>=|<>|[()=<>,+]|\S")
_WORDS = {"SET", "REMOVE", "ADD", "AND", "OR", "NOT", "IN", "attribute_exists", "attribute_not_exists", "begins_with"}


def invalid(why: str) -> Exception:
    return refused("DynamoDB", "ValidationException", why)


# -- keys and items ----------------------------------------------------------------------------------------------------------------------


def check_key(key: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """`names`: the attributes that the key consists of."""
    if key.keys() != set(names):
        raise invalid(f"the key consists of {', '.join(names)}, and not of {', '.join(key)}")
    _check_key_values(key, names)


def _check_key_values(item: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        text = item.get(name, {}).get("S")
        if not text or len(text) > KEY_BYTES[name] or len(text.encode()) > KEY_BYTES[name]:
            raise invalid(f"{name} is no text of 1 to {KEY_BYTES[name]} bytes")


def check_item(item: Mapping[str, Any], names: tuple[str, ...]) -> None:
    _check_key_values(item, names)
    for name, kind in INDEX_KEYS.items():
        if name in item and not item[name].get(kind):
            raise invalid(f"{name} is a key of an index, so it is not empty and of type {kind}")
    if "" in item:
        raise invalid("an attribute has no name")
    for value in item.values():
        _check_value(value)
    if size(item) > MOST_ITEM_BYTES:
        raise invalid(f"the item has more than {MOST_ITEM_BYTES} bytes")


def _check_value(value: Mapping[str, Any]) -> None:
    try:
        ((kind, content),) = value.items()
    except ValueError:
        raise invalid("a value has not exactly one type") from None
    if kind == "N":
        _check_number(content)
    elif kind == "M":
        for part in content.values():
            _check_value(part)
    elif kind == "L":
        for part in content:
            _check_value(part)
    elif kind in ("SS", "NS", "BS") and (not content or len(set(content)) < len(content)):
        raise invalid("a set is empty, or holds a value twice")


def _check_number(text: str) -> None:
    if len(text) <= MOST_DIGITS and text.isdigit():
        return
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise invalid("not a number") from None
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    if not number.is_finite() or len(digits) > MOST_DIGITS or (number and not -130 <= number.adjusted() <= 125):
        raise invalid("a number has more than 38 digits, or is too large or too small")


def size(item: Mapping[str, Any]) -> int:
    """The size of an item in bytes, about as DynamoDB counts it."""
    return sum(len(name) + _size(value) for name, value in item.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content) if content.isascii() else len(content.encode())
        case "B":
            return len(content)
        case "N":
            return len(content) // 2 + 1
        case "M":
            return 3 + sum(1 + len(name) + _size(part) for name, part in content.items())
        case "L":
            return 3 + sum(1 + _size(part) for part in content)
        case "SS" | "NS" | "BS":
            return sum(map(len, content))
    return 1


# -- expressions -------------------------------------------------------------------------------------------------------------------------


def check_expressions(
    *expressions: str, names: Mapping[str, str] | None = None, values: Mapping[str, Any] | None = None, keys: tuple[str, ...] = ()
) -> None:
    """`names` and `values`: the values of the placeholders in all expressions. `keys`: attributes that an update may not change."""
    for given in (names, values):
        if given is not None and not given:
            raise invalid("an empty mapping of placeholders")
    why = _fault(expressions, frozenset((names or {}).items()), frozenset(values or ()), keys)
    if why:
        raise invalid(f"{why}: {' | '.join(filter(None, expressions))}")


@cache
def _fault(expressions: tuple[str, ...], names: frozenset[tuple[str, str]], values: frozenset[str], keys: tuple[str, ...]) -> str | None:
    used = set[str]()
    for expression in filter(None, expressions):
        tokens = _TOKENS.findall(expression)
        used |= {token for token in tokens if token[0] in ":#"}
        if why := _fault_of_one(expression, tokens, dict(names), keys):
            return why
    given = {name for name, _ in names} | values
    if used != given:
        return f"placeholders that are used or defined, and not both: {', '.join(sorted(used ^ given))}"
    return None


def _fault_of_one(expression: str, tokens: Sequence[str], names: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    if len(expression.encode()) > MOST_EXPRESSION_BYTES:
        return f"more than {MOST_EXPRESSION_BYTES} bytes"
    if unknown := [token for token in tokens if not re.match(r"[A-Za-z_:#()=<>,+]", token)]:
        return f"not understood: {unknown[0]}"
    if reserved := [token for token in tokens if token.upper() in AWS_KEYWORDS and token not in _WORDS]:
        return f"a reserved word without a placeholder: {reserved[0]}"
    if _redundant_parentheses(tokens):
        return "redundant parentheses"
    for before, operator, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if operator in ("=", "<>", "<", "<=", ">", ">=") and before == after and tokens[0] not in ("SET", "ADD", "REMOVE"):
            return f"compared with itself: {before}"
    for operands in re.findall(r"\bIN \(([^)]*)\)", expression):
        if operands.count(",") >= MOST_OPERANDS:
            return f"more than {MOST_OPERANDS} operands"
    if tokens[0] in ("SET", "ADD", "REMOVE"):
        changed = [names.get(path, path) for path in _changed(expression)]
        if len(set(changed)) < len(changed):
            return "an attribute is changed twice"
        if set(changed) & set(keys):
            return "an attribute of the key is changed"
    return None


def _changed(update: str) -> list[str]:
    """The attributes that an update sets, adds to or removes."""
    sets, _, removes = f" {update}".partition(" REMOVE ")
    clauses = sets.strip().removeprefix("SET ").removeprefix("ADD ").split(", ") if sets.strip() else []
    return [clause.split()[0] for clause in clauses] + [path for path in removes.split(", ") if path]


def _redundant_parentheses(tokens: Sequence[str]) -> bool:
    open_, closed = list[int](), dict[int, int]()
    for place, token in enumerate(tokens):
        if token == "(":
            open_.append(place)
        elif token == ")" and open_:
            closed[open_.pop()] = place
    return any(closed.get(begin + 1) == end - 1 for begin, end in closed.items())
