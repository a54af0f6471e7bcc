"""Checks the fields of a command to the simulator. The error for an unknown field names the most similar known one."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union

Hints = Mapping[str, Any]

OWNER: Hints = {
    "name": str | None, "email": str | None, "phone": str | None, "raw_address": str | None, "refreshed_at": int | None, "id": str,
}  # fmt: skip
"""The fields of an owner, as the bank gives them. `refreshed_at` is in Unix seconds. `id`: instead of a new one."""

DETAILS: Hints = dict.fromkeys(
    (
        "account_holder", "account_numbers", "authorization", "balance", "balance_refresh", "category", "created", "display_name",
        "institution_name", "last4", "livemode", "ownership", "ownership_refresh", "permissions", "status", "status_details", "subcategory",
        "subscriptions", "supported_payment_method_types", "transaction_refresh",
    ),
    Any,
)  # fmt: skip
"""The fields of Stripe's account object that a command may set. Their values are shown as they are given."""

LINKED: Hints = {
    "scenario": str, "id": str | None, "policy": Mapping[str, Any] | None, "owners": Sequence[Mapping[str, Any]] | None,
    "details": Mapping[str, Any] | None,
}  # fmt: skip
"""What an end user links: the fields of an account in `complete` and `relink`."""


def hints(cls: type) -> Hints:
    """The fields of a dataclass with their types."""
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


_HINTS: dict[type, Hints] = {}


def check(given: object, known: Hints, place: str = "", required: Iterable[str] = ()) -> None:
    """Raise ValueError for a field that is unknown or lacks, or for a value of another type. `place`: where the fields are."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{place or 'the body'}: is no object; its fields are {', '.join(known)}")
    for name in given:
        if name not in known:
            raise ValueError(f"{_at(place, name)}: {no_such('field', name, known)}")
    for name in required:
        if name not in given:
            raise ValueError(f"{_at(place, name)}: is missing")
    for name, value in given.items():
        if not fits(value, known[name]):
            raise ValueError(f"{_at(place, name)}: has to be {described(known[name])}")


def check_owners(owners: Sequence[Any] | None) -> None:
    for number, owner in enumerate(owners or ()):
        check(owner, OWNER, f"owners[{number}]")


def no_such(kind: str, name: object, known: Iterable[str]) -> str:
    """The error for an unknown name, with the most similar known one."""
    listed = list(known)
    near = difflib.get_close_matches(str(name), listed, 1)
    return f"no such {kind}. {f'Did you mean {near[0]}? ' if near else ''}Known: {', '.join(listed)}"


def fits(value: object, hint: Any) -> bool:
    """Whether a value from JSON, or from Python, is of that type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is Literal:
        return value in arguments
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    items = [each for each in arguments if each is not Ellipsis]
    listed = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    return listed and all(fits(each, items[0]) for each in typing.cast(Iterable[object], value))


def described(hint: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return "anything"
    if origin in (Union, types.UnionType):
        # The lists last: "a text or a list of texts".
        return " or ".join(described(each) for each in sorted(arguments, key=_last))
    if origin is Literal:
        return " or ".join(map(str, arguments)) if len(arguments) < 3 else f"one of {', '.join(map(str, arguments))}"
    names: Mapping[Any, str] = {type(None): "null", float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    if hint in names:
        return names[hint]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "an object"
    [item] = [each for each in arguments if each is not Ellipsis]
    plural = {str: "texts"}.get(item)
    return f"a list of {plural}" if plural else f"a list, each {described(item)}"


def _last(hint: Any) -> int:
    """Lists are named after single values, and null is named last."""
    return 2 if hint is type(None) else 1 if isinstance(typing.get_origin(hint), type) else 0


def _at(place: str, name: object) -> str:
    return f"{place}.{name}" if place else str(name)
