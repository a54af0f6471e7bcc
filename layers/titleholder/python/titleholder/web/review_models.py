"""Bodies and answers of the routes of reviews. Times are ISO 8601 in UTC, scores 0 to 100."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from titleholder.domain import differences
from titleholder.matching import explanations
from titleholder.timestamps import iso_seconds
from titleholder.web.models import Shown


class Part(Shown):
    """A piece of a text. Joined, the parts are the text; one of more than 1,000 characters is cut and ends with an ellipsis."""

    text: str
    differs: bool = False

    @classmethod
    def all_of(cls, parts: Sequence[differences.Part]) -> list[Part]:
        return [cls(text=part.text, differs=part.differs) for part in parts]


class ComparedField(Shown):
    """One field of the claim beside the same field of the owner. `claim` and `bank` are null if the field agrees fully, or is missing."""

    field: Literal["name", "address", "phone", "email"]
    score: float | None
    missing: Literal["claim", "bank", "both"] | None = None
    same: bool = Field(description="Whether the field agrees fully. It is then not shown.")
    reasons: list[str]
    sentences: list[str] = Field(description="What the reasons mean.")
    claim: list[Part] | None = None
    bank: list[Part] | None = None
    other_claimed: list[list[Part]] = Field(
        default=[], description="Other names in the claim, the one that is most like the owner's first. `claim` is the most like of all."
    )

    @classmethod
    def of(cls, found: differences.ComparedField) -> ComparedField:
        return cls.model_validate(
            {
                "field": found.name,
                "score": found.score,
                "missing": found.missing,
                "same": found.same,
                "reasons": list(found.reasons),
                "sentences": [explanations.SENTENCES[code] for code in found.reasons if code in explanations.SENTENCES],
                "claim": None if found.claim is None else Part.all_of(found.claim),
                "bank": None if found.bank is None else Part.all_of(found.bank),
                "other_claimed": [Part.all_of(other) for other in found.other_claimed],
            }
        )


class Comparison(Shown):
    """The claim of a verification beside the owner that its verdict is about."""

    verification: str
    snapshot: str
    refreshed_at: str
    newest: bool = Field(description="Whether no later snapshot of the account's owners is stored.")
    owner_position: int = Field(description="The position of the owner in the snapshot, from 0.")
    fields: list[ComparedField]
    other_owners: list[str] = Field(
        description="Names of the account's other owners, at most 10, without their contacts. Empty if the name agrees fully."
    )
    other_owner_count: int = Field(description="How many other owners the account has.")
    may_tell: list[str] = Field(description="What the claimant may be told.")
    may_name_owner: bool = Field(
        description="Whether the claimant may be told the name on the account, where that is permitted: for a close match only."
    )

    @classmethod
    def of(cls, found: differences.Comparison) -> Comparison:
        return cls(
            verification=found.verification,
            snapshot=found.snapshot,
            refreshed_at=iso_seconds(found.attempted_at),
            newest=found.newest,
            owner_position=found.owner_position,
            fields=[ComparedField.of(one) for one in found.fields],
            other_owners=list(found.other_owners),
            other_owner_count=found.other_owner_count,
            may_tell=list(found.may_tell),
            may_name_owner=found.may_name_owner,
        )
