"""Strict models that HTTP bodies and lines of a batch's manifest share: ids, texts, claims."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from titleholder.domain.accounts import ACCOUNT_ID

MAX_AGE_LIMIT = 366 * 86_400

AccountId = Annotated[str, StringConstraints(pattern=f"^{ACCOUNT_ID.pattern}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00-\x08\x0e-\x1f\x7f]+$")]
MaxAge = Annotated[int, Field(ge=0, le=MAX_AGE_LIMIT, description="Seconds. Owners that were fetched longer ago are fetched again.")]

_FIELD_NAME = re.compile(r"[a-z0-9_]+|[A-Z][A-Za-z]*-[A-Za-z-]+")


def bad_field(place: Sequence[Any]) -> str:
    """The dotted name of an invalid field, from pydantic's location of the error."""
    # For unions, pydantic adds type names to `loc`: drop everything that is not a field name or an index.
    parts = [str(part) for part in place]
    return ".".join([part for part in parts if _FIELD_NAME.fullmatch(part)] or parts)


class Strict(BaseModel):
    """A model that refuses unknown fields and converts nothing."""

    # Built when first used, because a cold start needs the models of one route. pydantic must cache no strings, because they may be claims.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, cache_strings="none")


class Address(Strict):
    """A postal address in parts."""

    line1: Text | None = None
    line2: Text | None = None
    city: Text | None = None
    state: Text | None = None
    postal_code: Text | None = None
    country: Text | None = None


class Claim(Strict):
    """Who the user says owns the account. At least one of `name`, `given`, `family` and `business_name` is needed."""

    type: Literal["person", "business"] | None = None
    name: Text | None = None
    given: Text | None = None
    middle: Text | None = None
    family: Text | None = None
    suffix: Text | None = None
    business_name: Text | None = None
    aka: Annotated[list[Text], Field(max_length=20)] | None = Field(default=None, description="Other names of the same claimant.")
    email: Text | None = None
    phone: Text | None = None
    address: Address | Text | None = None

    @model_validator(mode="after")
    def _named(self) -> Claim:
        if not (self.name or self.given or self.family or self.business_name):
            raise ValueError("a claim needs a name, a given or family name, or a business_name")
        return self

    def as_dict(self) -> dict[str, Any]:
        """The claim as the matcher takes it, without missing fields."""
        return self.model_dump(exclude_none=True)
