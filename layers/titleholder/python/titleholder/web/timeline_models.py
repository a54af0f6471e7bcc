"""Answers about the timeline of a verification, and the types of texts that all answers share.

Times are ISO 8601 in UTC, to the millisecond where this stack measured them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from titleholder.timestamps import iso_milliseconds, iso_or_none

if TYPE_CHECKING:
    from titleholder.domain import timeline
    from titleholder.domain.verifications import Step as DomainStep

_SECONDS = ("attempted_at", "resume_at", "deadline", "event_created")
"""Whole seconds, most of them of Stripe's clock."""


# The OpenAPI document gives these texts a format or known values, by these names (`local/openapi_values.py`). pydantic does not know them,
# so that a cold start pays nothing for them.
Timestamp = str
ReasonCode = str
StepKind = str


def _of_some() -> Any:
    """A field that only steps of some kinds have."""
    return Field(default=None, exclude_if=lambda value: value is None)


class TimelineStep(BaseModel):
    """Something that happened to a verification. Its kind says which other fields it has."""

    model_config = ConfigDict(defer_build=True)

    at: Timestamp
    """When it happened, by this stack's clock."""
    kind: StepKind
    """What happened. docs/http.md explains each kind."""
    deadline: Timestamp | None = _of_some()
    """Of `requested`: when the verification ends at the latest."""
    batch: str | None = _of_some()
    """Of `requested` and `batch_stopped`: the batch that works on the verification."""
    attempted_at: Timestamp | None = _of_some()
    """Which refresh of the account: Stripe's `last_attempted_at`."""
    resume_at: Timestamp | None = _of_some()
    """Of `cooldown_began`: when Stripe allows the next refresh."""
    by: str | None = _of_some()
    """What brought the answer that the verification waited for: `webhook`, `reading` (the account was read for another request, or for an
    event that did not report the answer), `time_out` (the account was read again when the time for a webhook was over) or `reconcile`.
    Of `review_opened`: `rule` or `manual`. Of a decision: the reviewer."""
    event: str | None = _of_some()
    """The id of the event of Stripe that brought the answer. With `reading`: of the event for which the account was read, if it was one."""
    event_type: str | None = _of_some()
    """The type of that event."""
    event_created: Timestamp | None = _of_some()
    """When Stripe made that event. The `at` of a `webhook` is when it was received."""
    snapshot: str | None = _of_some()
    """The snapshot of owners (`fcaowns_...`)."""
    changes: list[str] | None = _of_some()
    """Of `owners_changed`: the kinds of the changes."""
    outcome: str | None = _of_some()
    """Of `verdict`: the outcome of the verdict. Of `woken`: `ready`, `not_verifiable` or `gave_up`."""
    score: float | None = _of_some()
    """Of `verdict`: its score, from 0 to 100."""
    reasons: list[ReasonCode] | None = _of_some()
    """Of `verdict`: its reasons."""
    reason: str | None = _of_some()
    """Of a decision: the reason that the reviewer gave. Of other steps: why it happened."""
    decision: str | None = _of_some()
    """Of `proposed` and `decided`: `approve` or `reject`."""
    resolution: str | None = _of_some()
    """Of `decided`: `approved` or `rejected`."""

    @classmethod
    def of(cls, step: DomainStep) -> TimelineStep:
        about = {name: iso_or_none(value) if name in _SECONDS else value for name, value in step.about.items()}
        return cls.model_validate({"at": iso_milliseconds(step.at), "kind": step.kind, **about})


class Timeline(BaseModel):
    """What happened to a verification, in order of time, in ids and codes."""

    model_config = ConfigDict(defer_build=True)

    recorded: bool
    """False if steps may be missing, because an earlier release handled a part of the verification, or because steps have expired."""
    steps: list[TimelineStep]
    """The steps. Of a longer timeline the first 50 and the last 50."""
    left_out: int
    """How many steps in the middle are left out."""

    @classmethod
    def of(cls, found: timeline.Timeline) -> Timeline:
        return cls(recorded=found.recorded, steps=[TimelineStep.of(step) for step in found.steps], left_out=found.left_out)
