"""Strict models that HTTP bodies and lines of a batch's manifest share: ids, texts, claims; and how both read JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from titleholder.domain.accounts import ACCOUNT_ID

MAX_AGE_LIMIT = 366 * 86_400

_WORDS: dict[str, str] = {}
OURS = "titleholder"
"""The type of the errors that validators of this project raise."""


def worded(pattern: str, words: str, **limits: Any) -> StringConstraints:
    """The constraint that a text has the form `pattern`. `words` say what is wrong with one that has not."""
    _WORDS[pattern] = words
    return StringConstraints(pattern=pattern, **limits)


def words_of(pattern: str) -> str:
    """What is wrong with a text that has not the form `pattern`, which `worded` made."""
    return _WORDS.get(pattern, "not of the documented form")


def refused(words: str) -> PydanticCustomError:
    """The error for validators to raise. `words` are shown to callers, so they must not hold a value."""
    return PydanticCustomError(OURS, "{words}", {"words": words})


class JsonTextError(Exception):
    """A text is not strict JSON: at `line` and `column` (from 1). `name`: the field that is named twice, if that is the mistake."""

    def __init__(self, line: int, column: int, what: str, name: str | None) -> None:
        super().__init__(f"line {line}, column {column}: {what}")
        self.column = column
        self.what = what
        self.name = name


class _RefusedError(Exception):
    pass


def read_json(text: str, max_depth: int) -> Any:
    """The value of a JSON text in which no object names a field twice and nothing is NaN, and that nests at most `max_depth` levels.

    Raises JsonTextError.
    """
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
        if not _deep(data, max_depth):
            return data
        place, said = len(text), ""
    except json.JSONDecodeError as error:
        place, said = error.pos, error.msg
    except (_RefusedError, ValueError, RecursionError):
        place, said = len(text), ""
    from titleholder import json_text  # loaded only for a text that is refused

    raise JsonTextError(*json_text.find(text, place, said, max_depth))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RefusedError
    return found


def _refuse(_: str) -> NoReturn:
    raise _RefusedError


def _deep(data: Any, left: int) -> bool:
    if not isinstance(data, dict | list):
        return False
    return left == 0 or any(_deep(child, left - 1) for child in (data.values() if isinstance(data, dict) else data))


AccountId = Annotated[str, worded(f"^{ACCOUNT_ID.pattern}$", "not the id of a Financial Connections account (fca_...)")]
Text = Annotated[
    str,
    worded(
        r"^[^\x00-\x08\x0e-\x1f\x7f]+$", "contains a control character", strip_whitespace=True, min_length=1, max_length=1000,
    ),
]  # fmt: skip
MaxAge = Annotated[int, Field(ge=0, le=MAX_AGE_LIMIT)]


class Strict(BaseModel):
    """A model that refuses unknown fields and converts nothing."""

    # Built when first used, because a cold start needs the models of one route. pydantic must cache no strings, because they may be claims.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, cache_strings="none")


class Address(Strict):
    """A postal address in parts."""

    line1: Text | None = None
    """The street and number."""
    line2: Text | None = None
    """The apartment, unit or floor."""
    city: Text | None = None
    """The town or city."""
    state: Text | None = None
    """The state or region, as a code or a name."""
    postal_code: Text | None = None
    """The ZIP or postal code."""
    country: Text | None = None
    """The country, as a code or a name."""


class Claim(Strict):
    """Who the user says owns the account. At least one of `name`, `given`, `family` and `business_name` is needed."""

    type: Literal["person", "business"] | None = None
    """Whether the claimant is a person or a business. Without it, the words of the names decide how they are read."""
    name: Text | None = None
    """The full name."""
    given: Text | None = None
    """The given name, of a name in parts."""
    middle: Text | None = None
    """The middle name, of a name in parts."""
    family: Text | None = None
    """The surname, of a name in parts."""
    suffix: Text | None = None
    """The generational suffix, such as `Jr.`, of a name in parts."""
    business_name: Text | None = None
    """The name of the business."""
    aka: Annotated[list[Text], Field(max_length=20)] | None = None
    """Other names of the same claimant."""
    email: Text | None = None
    """The e-mail address."""
    phone: Text | None = None
    """The phone number, in any usual form. Without a country code it is taken for a number of the United States. It can also match a
    foreign number by its national digits."""
    address: Address | Text | None = None
    """The postal address, as one text or in parts."""

    @model_validator(mode="after")
    def _named(self) -> Claim:
        if not (self.name or self.given or self.family or self.business_name):
            raise refused("needs `name`, `given`, `family` or `business_name`")
        return self

    def as_dict(self) -> dict[str, Any]:
        """The claim as the matcher takes it, without missing fields."""
        return self.model_dump(exclude_none=True)
