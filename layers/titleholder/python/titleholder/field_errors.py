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
MOST = 50
"""How many invalid fields an answer names. A body could have thousands."""
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


class Explained(NamedTuple):
    """The first `MOST` invalid fields, each with what is expected of it, and how many more there are."""

    errors: list[dict[str, str]]
    more: int


class Unknown(NamedTuple):
    """What is said of an unknown name. `name`: the name itself, None if it is not repeated."""

    name: str | None
    detail: str


def explain(errors: Sequence[Mapping[str, Any]], root: Any, data: Any, begin: Sequence[str] = (), *, repeat: bool = True) -> Explained:
    """Each invalid field with what is expected of it.

    `errors`: pydantic's. `root`: the annotation of the whole value `data`; locations count from there, and names begin with `begin`.
    `repeat` False: no unknown name is repeated.
    """
    found: dict[tuple[str, ...], list[_Error]] = {}
    for error in errors:
        steps = list(_followed(root, error.get("loc", ())))
        names = tuple(step.name for step in steps if step.name is not None)
        found.setdefault(names, []).append(_Error(error, names, steps[-1] if steps else _Step(None, root, root)))
    within = {names[:length] for names in found for length in range(len(names))}
    shown = []
    for names, wrong in found.items():
        others = [error for error in wrong if error.kind is None]
        # Of several kinds that a field may have, the errors of the one that was meant say more than that the others do not fit.
        if others or names not in within:
            shown.append(others or wrong)
    return Explained([_explained(wrong, data, begin, repeat) for wrong in shown[:MOST]], max(0, len(shown) - MOST))


def unknown(
    what: str, name: str, known: Sequence[str], elsewhere: Mapping[str, Sequence[str]] | None = None, *, among: Sequence[str] = (),
    repeat: bool = True,
) -> Unknown:  # fmt: skip
    """What is said of an unknown name. `elsewhere`: the names that other objects know, by how these objects are called.

    A caller's name may be personal data. It is repeated only if it has the form of a field's name in lower case, or is near a known name.
    Otherwise its place in `among`, the names that the caller gave, is named.
    """
    near = _meant(name, known, elsewhere or {})
    named = repeat and re.fullmatch("[A-Za-z0-9_-]{1,64}" if near else "[a-z][a-z0-9_-]{0,63}", name) is not None
    said = f"unknown {what}" if named or name not in among else f"unknown {what}, number {among.index(name) + 1}"
    if near:
        said += f"; did you mean `{near}`?"
    elif not known:
        said += "; none is known here"
    elif len(known) <= FEW:
        said += f"; known {'is' if len(known) == 1 else 'are'} {_listed(known)}"
    return Unknown(name if named else None, said)


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that `name` most likely was meant to be; None if none is near enough."""
    return _same(name, known) or _similar(name, known)


def _meant(name: str, known: Sequence[str], elsewhere: Mapping[str, Sequence[str]]) -> str | None:
    for find in (_same, _similar):
        if near := find(name, known):
            return near
        for place, names in elsewhere.items():
            if near := find(name, names):
                return f"{place}.{near}"
    return None


def _same(name: str, known: Sequence[str]) -> str | None:
    """The known name that is written differently, or is called `name` by other interfaces."""
    wanted = _plain(name)
    written = next((each for each in known if _plain(each) == wanted), None)
    other = _OTHER_NAMES.get(wanted)
    return written or (other if other in known else None)


def _similar(name: str, known: Sequence[str]) -> str | None:
    plain = {_plain(each): each for each in known}
    found = get_close_matches(_plain(name), plain, 1, NEAR)
    return plain[found[0]] if found else None


def choices(value: Any, known: Sequence[str]) -> str:
    """What is said of a value that is none of `known`, the one that is most like it first."""
    if len(known) == 1:
        return f"must be `{known[0]}`"
    if isinstance(value, str) and len(value) <= 100:
        known = sorted(known, key=lambda each: -SequenceMatcher(None, _plain(value), _plain(each)).ratio())
    return f"must be one of {_listed(known[:FEW])}{' and others' if len(known) > FEW else ''}"


class _Step(NamedTuple):
    """A step on the way to a field: its name or index (None for the arm of a union), what it is in, and what it may be."""

    name: str | None
    within: Any
    annotation: Any


class _Error(NamedTuple):
    """One of pydantic's errors, the names on the way to its field, and the last step of this way."""

    error: Mapping[str, Any]
    names: tuple[str, ...]
    last: _Step

    @property
    def kind(self) -> str | None:
        """What is expected, if the value is of another kind."""
        return _KINDS.get(str(self.error["type"]))


def _explained(wrong: Sequence[_Error], data: Any, begin: Sequence[str], repeat: bool) -> dict[str, str]:
    """What is said of one field, which has these errors."""
    first, names = wrong[0], wrong[0].names
    if first.kind:
        detail = f"must be {' or '.join(dict.fromkeys(error.kind for error in wrong if error.kind))}"
    elif first.error["type"] == "extra_forbidden":
        given = _value(data, names[:-1])
        name, detail = _unknown_field(first.last, list(given) if isinstance(given, Mapping) else [], repeat)
        names = names if name is not None else names[:-1]
    else:
        detail = _detail(first, data)
    return {"field": ".".join([*begin, *names]) or "body", "detail": detail or "is not valid"}


def _detail(wrong: _Error, data: Any) -> str:
    type_, context = str(wrong.error["type"]), wrong.error.get("ctx") or {}
    if type_ == "literal_error":
        return choices(_value(data, wrong.names), _literals(wrong.last.annotation))
    if type_ == "string_pattern_mismatch":
        return words_of(str(context.get("pattern")))
    if type_ == OURS:
        return str(wrong.error["msg"])
    if type_ in ("string_too_short", "too_short") and context.get("min_length") == 1:
        return "must not be empty"
    return _SENTENCES[type_].format(**context) if type_ in _SENTENCES else ""


def _followed(root: Any, location: Sequence[Any]) -> Iterator[_Step]:
    here = root
    for part in location:
        arms = _arms(here)
        if len(arms) > 1:
            # pydantic adds the names of union's arms to locations. They are no fields.
            here = next((arm for arm in arms if getattr(arm, "__name__", None) == part), None)
            yield _Step(None, None, here)
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


def _unknown_field(step: _Step, among: Sequence[str], repeat: bool) -> Unknown:
    model = step.within if isinstance(step.within, type) and issubclass(step.within, BaseModel) else None
    known, elsewhere = (list(model.model_fields), dict(_inner(model))) if model else ([], {})
    return unknown("field", step.name or "", known, elsewhere, among=among, repeat=repeat)


def _inner(model: type[BaseModel]) -> Iterator[tuple[str, list[str]]]:
    """The names of the fields in each object within a model, by how the object is called."""
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield name, list(inner.model_fields)
            yield from ((f"{name}.{place}", names) for place, names in _inner(inner))


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
