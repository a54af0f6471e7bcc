"""What is wrong with the fields of a request, or of a line of a manifest, in words of this project. Loaded once something is wrong.

No sentence shows a value or comes from pydantic: values may be personal data, and pydantic's sentences are about Python.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from titleholder.schemas import OURS, words_of

FEW = 20
"""Up to this many known fields or choices are all named."""
NEAR = 0.75
"""How alike two names have to be for one to be suggested for the other (1: equal)."""

_KINDS = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""The types of errors about a value of another kind, and what is expected."""

_SENTENCES = {
    "missing": "required, but missing",
    "finite_number": "must be a whole number",
    "string_unicode": "must be Unicode: it contains half of a surrogate pair",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "invalid_key": "must have names that are Unicode strings",
}
"""The other types of errors, and what is said, with pydantic's context."""

_OTHER_NAMES = {
    "firstname": "given", "givenname": "given", "forename": "given", "lastname": "family", "surname": "family", "familyname": "family",
    "middlename": "middle", "fullname": "name", "company": "business_name", "companyname": "business_name", "zip": "postal_code",
    "zipcode": "postal_code", "postcode": "postal_code", "street": "line1", "street1": "line1", "street2": "line2", "address1": "line1",
    "address2": "line2", "mail": "email", "telephone": "phone", "mobile": "phone", "alias": "aka", "aliases": "aka",
}  # fmt: skip
"""What other interfaces call our fields, in lower case and without separators."""


class _Error(NamedTuple):
    field: str
    detail: str
    kind: str | None
    """What is expected, if the value is of another kind."""


def explain(errors: Sequence[Mapping[str, Any]], root: Any, data: Any, begin: Sequence[str] = ()) -> list[dict[str, str]]:
    """Each invalid field with what is expected of it.

    `errors`: pydantic's. `root`: the annotation of the whole value `data`; locations count from there, and names begin with `begin`.
    """
    found = [_error(error, root, data, begin) for error in errors]
    shown: dict[str, str] = {}
    for error in found:
        if error.kind is None:
            shown.setdefault(error.field, error.detail)
    for error in found:
        # Of several kinds that a field may have, the errors of the one that was meant say more than that the others do not fit.
        if error.field not in shown and not any(other.startswith(error.field + ".") for other in shown):
            kinds = dict.fromkeys(other.kind for other in found if other.field == error.field and other.kind)
            shown[error.field] = f"must be {' or '.join(kinds)}"
    return [{"field": field, "detail": detail} for field, detail in shown.items()]


def unknown(what: str, name: str, known: Sequence[str], elsewhere: Mapping[str, Sequence[str]] | None = None) -> str:
    """What is said of an unknown name. `elsewhere`: the names that other objects know, by how these objects are called."""
    if near := nearest(name, known):
        return f"unknown {what}; did you mean `{near}`?"
    for place, names in (elsewhere or {}).items():
        if (near := nearest(name, names)) is not None:
            return f"unknown {what}; did you mean `{place}.{near}`?"
    if not known:
        return f"unknown {what}; none is known here"
    return f"unknown {what}; known {'is' if len(known) == 1 else 'are'} {_listed(known)}" if len(known) <= FEW else f"unknown {what}"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that `name` most likely was meant to be; None if none is near enough."""
    plain = {_plain(each): each for each in known}
    wanted = _plain(name)
    if (other := _OTHER_NAMES.get(wanted)) in known and wanted not in plain:
        return other
    found = get_close_matches(wanted, plain, 1, NEAR)
    return plain[found[0]] if found else None


def choices(value: Any, known: Sequence[str]) -> str:
    """What is said of a value that is none of `known`, the one that is most like it first."""
    if len(known) == 1:
        return f"must be `{known[0]}`"
    if isinstance(value, str) and len(value) <= 100:
        known = sorted(known, key=lambda each: -SequenceMatcher(None, _plain(value), _plain(each)).ratio())
    return f"must be one of {_listed(known[:FEW])}{' and others' if len(known) > FEW else ''}"


def _error(error: Mapping[str, Any], root: Any, data: Any, begin: Sequence[str]) -> _Error:
    type_, context = str(error["type"]), error.get("ctx") or {}
    *way, last = [*_followed(root, error.get("loc", ()))] or [_Step("", root, root)]
    names = [*begin, *(step.name for step in [*way, last] if step.name)]
    field, detail = ".".join(names), ""
    if type_ == "extra_forbidden":
        detail = _unknown_field(last)
        # A name that is none may be anything, and is not repeated.
        field = field if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", last.name) else ".".join(names[:-1])
    elif type_ == "literal_error":
        detail = choices(_value(data, [step.name for step in [*way, last] if step.name]), _literals(last.annotation))
    elif type_ == "string_pattern_mismatch":
        detail = words_of(str(context.get("pattern")))
    elif type_ == OURS:
        detail = str(error["msg"])
    elif type_ in ("string_too_short", "too_short") and context.get("min_length") == 1:
        detail = "must not be empty"
    elif type_ in _SENTENCES:
        detail = _SENTENCES[type_].format(**context)
    kind = _KINDS.get(type_)
    return _Error(field or "body", detail or "is not valid", kind)


class _Step(NamedTuple):
    """A step on the way to a field: its name or index ("" for the arm of a union), what it is in, and what it may be."""

    name: str
    within: Any
    annotation: Any


def _followed(root: Any, location: Sequence[Any]) -> Iterator[_Step]:
    here = root
    for part in location:
        arms = _arms(here)
        if len(arms) > 1:
            # pydantic adds the names of union's arms to locations. They are no fields.
            here = next((arm for arm in arms if getattr(arm, "__name__", None) == part), None)
            yield _Step("", None, here)
            continue
        within = arms[0] if arms else None
        here = _entry(within, part)
        yield _Step(str(part), within, here)


def _entry(annotation: Any, part: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return None if field is None else field.annotation
    return get_args(annotation)[0] if get_origin(annotation) is list else None


def _arms(annotation: Any) -> list[Any]:
    """What a value may be, without null and without constraints."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for arm in get_args(annotation) if arm is not type(None) for inner in _arms(arm)]
    return [] if annotation is None else [annotation]


def _unknown_field(step: _Step) -> str:
    if not (isinstance(step.within, type) and issubclass(step.within, BaseModel)):
        return "unknown field"
    fields = step.within.model_fields
    inner = {name: _models(field.annotation) for name, field in fields.items()}
    elsewhere = {name: list(model.model_fields) for name, models in inner.items() for model in models}
    return unknown("field", step.name, list(fields), elsewhere)


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [arm for arm in _arms(annotation) if isinstance(arm, type) and issubclass(arm, BaseModel)]


def _literals(annotation: Any) -> list[str]:
    return [str(value) for arm in _arms(annotation) if get_origin(arm) is Literal for value in get_args(arm)]


def _value(data: Any, names: Sequence[str]) -> Any:
    for name in names:
        if isinstance(data, Mapping):
            data = data.get(name)
        elif isinstance(data, list) and name.isdigit() and int(name) < len(data):
            data = data[int(name)]
        else:
            return None
    return data


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name[:100].lower())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
