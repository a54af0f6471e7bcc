"""Verifications, groups of them, the claims they are about, and the workflows that wait for owners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from titleholder.domain.accounts import AccountRef, Mode
from titleholder.domain.refresh_policy import FreshnessRequirement
from titleholder.domain.sensitive import Sensitive

if TYPE_CHECKING:
    from titleholder.domain.reviews import Final, ReviewState


@dataclass(frozen=True, slots=True)
class Verification:
    """A verification without its claim. `verdict` is None until it has ended. Times are Unix seconds.

    `claim_digest` is None if the account had been erased before; `request_digest` covers everything else in the request.
    `batch` and `line`: the batch that works on it, and the line of that batch's manifest. `waits_if_inactive`: it waits until an inactive
    account is repaired, instead of ending. `stale`: why its account is no longer active, as of the observation `stale_seen` of the account
    (see `refresh_policy.observation`). `stale_unannounced`: that has yet to be announced. `stale_at`, `stale_lifted_at`: when it was last
    marked as stale, and when such a mark was last lifted. `review`: the state of its review, if it has one. `reviewed`: the decision in
    that review (see `reviews.final`). `recorded`: its steps are recorded for its timeline.
    """

    id: str
    ref: AccountRef
    claim_digest: str | None
    policy: Mapping[str, Any]
    max_age: int
    requested_at: float
    deadline: float
    request_digest: str
    group: str | None = None
    verdict: Mapping[str, Any] | None = None
    completed_at: float | None = None
    stale: str | None = None
    stale_seen: str | None = None
    stale_unannounced: bool = False
    batch: str | None = None
    line: int | None = None
    waits_if_inactive: bool = False
    review: ReviewState | None = None
    reviewed: Final | None = None
    stale_at: float | None = None
    stale_lifted_at: float | None = None
    recorded: bool = True

    @property
    def need(self) -> FreshnessRequirement:
        return FreshnessRequirement(not_before=self.requested_at - self.max_age, requested_at=self.requested_at, deadline=self.deadline)


@dataclass(frozen=True, slots=True)
class Group:
    """One claim against all accounts of a target: a `kind` (payment_method, session, or one of `HOLDERS`) and its id. `members` are ids."""

    id: str
    mode: Mode
    stripe_account: str | None
    kind: str
    target: str
    members: Sequence[str]
    requested_at: float
    request_digest: str


@dataclass(frozen=True, slots=True)
class DigestedClaim:
    """A claim with its account's wrapped key, and its digest under that key. Both are None if the account was erased.

    `names`: the digests under which the claim counts, one for each of its names. `counted`: the item of counted claims as last read.
    """

    claim: Sensitive[Mapping[str, Any]]
    wrapped: bytes | None = field(repr=False)
    digest: str | None
    names: Sequence[str] = ()
    counted: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class IdSecret:
    """The secret from which ids of verifications are derived. `made_at` (Unix seconds): when this release was first used."""

    value: bytes = field(repr=False)
    made_at: float


@dataclass(frozen=True, slots=True)
class Waiter:
    """A paused workflow. A token with a later `token_version` replaces an earlier token of the same verification.

    `token_version`: when the workflow entered the paused state, `#`, and the number of the state's retry.
    `joined_at`: when it began to wait for the refresh that `need.joined` names, by our clock (Unix seconds).
    `error`: why it has no answer yet; the verdict's reason if it gets none. `awaits_repair`: it waits for an inactive account to become
    active again, and for no refresh.
    """

    verification: str
    task_token: str = field(repr=False)
    token_version: str
    need: FreshnessRequirement
    error: str | None = None
    joined_at: float | None = None
    awaits_repair: bool = False

    @property
    def wait(self) -> str:
        """What the versions of all tokens of one wait begin with: when the workflow entered the paused state."""
        return self.token_version.partition("#")[0]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a verification `at` a time (Unix seconds). `kind`: one of `timeline.KINDS`. `about`: ids, codes, and times
    in Unix seconds; no personal data.
    """

    at: float
    kind: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trigger:
    """What brought the answer that a paused workflow waited for.

    `webhook`: an event that Stripe delivered, with its id, its type, its time as Stripe's text, and when it was received, if these are
    stored. `reading`: a reading of the account for another request. `time_out`: the workflow asked again. `reconcile`: `reconcile` had the
    account read, maybe for an event that it found in a list.
    """

    by: Literal["webhook", "reading", "time_out", "reconcile"]
    event: str | None = None
    event_type: str | None = None
    event_created: str | None = None
    received_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("by", "event", "event_type", "event_created", "received_at")}
        return {name: value for name, value in values.items() if value is not None}


READING, TIME_OUT, RECONCILE = Trigger("reading"), Trigger("time_out"), Trigger("reconcile")
