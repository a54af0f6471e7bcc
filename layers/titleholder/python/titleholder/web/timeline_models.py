"""Answers about the timeline of a verification. Times are ISO 8601 in UTC, to the millisecond where this stack measured them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from titleholder.timestamps import iso_milliseconds, iso_or_none

if TYPE_CHECKING:
    from titleholder.domain import timeline
    from titleholder.domain.verifications import Step as DomainStep

_SECONDS = ("attempted_at", "resume_at", "deadline", "event_created")
"""Whole seconds, most of them of Stripe's clock."""


def _of_some(description: str) -> Any:
    """A field that only steps of some kinds have."""
    return Field(default=None, description=description, exclude_if=lambda value: value is None)


class Step(BaseModel):
    """Something that happened to a verification. Its kind says which other fields it has. More kinds may be added."""

    model_config = ConfigDict(defer_build=True)

    at: str
    kind: str = Field(description="What happened, such as `refresh_started`: see docs/http.md.")
    deadline: str | None = _of_some("Of `requested`: when the verification ends at the latest.")
    batch: str | None = _of_some("Of `requested` and `batch_stopped`: the batch that works on the verification.")
    attempted_at: str | None = _of_some("Which refresh of the account: Stripe's `last_attempted_at`.")
    resume_at: str | None = _of_some("Of `cooldown_began`: when Stripe allows the next refresh.")
    by: str | None = _of_some(
        "What brought the answer that was waited for: `webhook`, `reading` (the account was read for another request), `time_out` (asked "
        "again when the time for a webhook was over) or `reconcile`. Of `review_opened`: `rule` or `manual`. Of a decision: the reviewer."
    )
    event: str | None = _of_some("The id of the event of Stripe that brought it.")
    event_type: str | None = _of_some("The event's type.")
    event_created: str | None = _of_some("When Stripe made the event. The `at` of a `webhook` is when it was received.")
    snapshot: str | None = _of_some("The snapshot of owners.")
    changes: list[str] | None = _of_some("Of `owners_changed`: the kinds of the changes.")
    outcome: str | None = _of_some("Of `verdict`: the verdict. Of `woken`: `ready`, `not_verifiable` or `gave_up`.")
    score: float | None = _of_some("Of `verdict`.")
    reasons: list[str] | None = _of_some("Of `verdict`: its reason codes.")
    reason: str | None = _of_some("A reason code.")
    decision: str | None = _of_some("Of `proposed` and `decided`: `approve` or `reject`.")
    resolution: str | None = _of_some("Of `decided`: `approved` or `rejected`.")

    @classmethod
    def of(cls, step: DomainStep) -> Step:
        about = {name: iso_or_none(value) if name in _SECONDS else value for name, value in step.about.items()}
        return cls.model_validate({"at": iso_milliseconds(step.at), "kind": step.kind, **about})


class Timeline(BaseModel):
    """What happened to a verification, in order of time, in ids and codes."""

    model_config = ConfigDict(defer_build=True)

    recorded: bool = Field(
        description="False if an earlier release handled a part of it, or if steps have expired: then steps may be missing."
    )
    steps: list[Step] = Field(description="Of a longer timeline the first 50 and the last 50 steps.")
    left_out: int = Field(description="How many steps in the middle are left out.")

    @classmethod
    def of(cls, found: timeline.Timeline) -> Timeline:
        return cls(recorded=found.recorded, steps=[Step.of(step) for step in found.steps], left_out=found.left_out)
