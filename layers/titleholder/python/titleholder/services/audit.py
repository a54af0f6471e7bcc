"""The audit log: an append-only record of callers, actions and ids, without personal data of account holders.

An effect has two entries under one id: `requested` is written before it, `done` or `failed` after it. A crash in between leaves the first.
A read has one entry, `done`, which is written before the data is returned. If the first entry cannot be written, the effect does not take
place. If any entry cannot be written, no data is returned.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from titleholder.domain.accounts import AccountRef
from titleholder.errors import AuditUnavailableError, TitleholderError, UnexpectedError, unreached
from titleholder.observability import logger
from titleholder.store import Store
from titleholder.timestamps import DAY_SECONDS

Effect = Literal[
    "verification.requested",
    "verification.cancelled",
    "refresh.requested",
    "account.erased",
    "account.disconnected",
    "customer.created",
    "session.created",
    "batch.created",
    "batch.started",
    "batch.stopped",
    "review.opened",
    "review.decided",
    "review.expired",
]
Read = Literal[
    "account.read",
    "accounts.listed",
    "batch.read",
    "comparison.read",
    "owners.read",
    "reviews.listed",
    "session.read",
    "snapshots.listed",
    "timeline.read",
    "verification.read",
    "verifications.listed",
]


@dataclass(frozen=True, slots=True)
class By:
    """Who asked: the caller of an HTTP request (`request` is its id), or a part of the system that acts without one.

    `actor` is then the id of a verification (its own entry names who asked for it), `stripe` (it disconnected the account), or `reconcile`.
    """

    actor: str
    request: str = ""

    @classmethod
    def caller(cls, event: Mapping[str, Any]) -> By:
        """The caller of an HTTP request."""
        return cls(actor(event), str(event.get("requestContext", {}).get("requestId", "")))

    @property
    def is_known(self) -> bool:
        """False for a caller without an identity, because two such callers can't be distinguished."""
        return self.actor != UNKNOWN


UNKNOWN = "unknown"
STRIPE = By("stripe")
RECONCILE = By("reconcile")


@dataclass(slots=True)
class Entry:
    """An effect that is under way. `note` adds to its second entry."""

    noted: dict[str, str] = field(default_factory=dict)

    def note(self, **ids: str | None) -> None:
        """Add ids that are known only now, or how the effect ended. None is left out."""
        self.noted |= {name: id_ for name, id_ in ids.items() if id_ is not None}


@dataclass(frozen=True, slots=True)
class Audit:
    """Writes the audit log, which is kept for `retention_days`. `clock`: Unix seconds."""

    store: Store
    retention_days: int
    clock: Callable[[], float]

    @contextmanager
    def effect(self, by: By, action: Effect, ref: AccountRef | None = None, /, **ids: str | None) -> Iterator[Entry]:
        """Record an effect before and after the `with` block that brings it about. `ids`: of what it affects; None is left out.

        Raises AuditUnavailableError: an entry could not be written. If it was the first one, the block did not run.
        """
        id_, about, entry = uuid.uuid4().hex, _about(by, action, ref, ids), Entry()
        self._append(id_, {**about, "state": "requested"}, "Nothing was done.")
        try:
            yield entry
        except Exception as error:
            # A failed call may have taken effect all the same. The error's name shows which kind it was.
            noted = {**entry.noted, "state": "failed", "failure": type(error).__name__}
            # If this entry is refused, that is logged, the first entry stays, and the caller gets the first failure.
            with suppress(AuditUnavailableError):
                self._append(id_, {**about, **noted}, "", after=True)
            raise
        self._append(id_, {**about, **entry.noted, "state": "done"}, "The request may have been carried out.", after=True)

    def read(self, by: By, action: Read, ref: AccountRef | None = None, /, **ids: str | None) -> None:
        """Record that data is read, just before it is returned. Raises AuditUnavailableError."""
        self._append(uuid.uuid4().hex, {**_about(by, action, ref, ids), "state": "done"}, "Nothing is returned.")

    def record(self, id_: str, at: float, by: By, action: Effect, ref: AccountRef, /, **ids: str | None) -> None:
        """Record an effect of the time `at` (Unix seconds) whose caller and reason were stored with it. None in `ids` is left out.

        `id_` is the same at each try, so that repeating this adds no entry. Raises AuditUnavailableError.
        """
        self._append(id_, {**_about(by, action, ref, ids), "state": "done"}, "The request was carried out.", at=at)

    def _append(self, id_: str, entry: dict[str, str], outcome: str, *, after: bool = False, at: float | None = None) -> None:
        now = self.clock() if at is None else at
        try:
            self.store.audit.append(id_, entry, now, int(now) + self.retention_days * DAY_SECONDS, after=after)
        except Exception as error:
            reason = str(error) if isinstance(error, TitleholderError) else str(UnexpectedError.of(error))
            logger.error("audit entry refused", extra={"action": entry["action"], "state": entry["state"], "reason": reason})
            silent = f" {hint}" if os.environ.get("AWS_ENDPOINT_URL") and (hint := unreached(error)) else " Try again later."
            raise AuditUnavailableError(f"The audit entry cannot be written. {outcome}{silent}") from None


def _about(by: By, action: str, ref: AccountRef | None, ids: Mapping[str, str | None]) -> dict[str, str]:
    about = {"actor": by.actor, "action": action, "request": by.request, **(ref.as_dict() if ref else {})}
    return about | {name: id_ for name, id_ in ids.items() if id_ is not None}


def actor(event: Mapping[str, Any]) -> str:
    """Who calls: the ARN of an IAM principal, or issuer and subject of a JSON web token; `unknown` without either."""
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if arn := (authorizer.get("iam") or {}).get("userArn"):
        return str(arn)
    claims = (authorizer.get("jwt") or {}).get("claims") or {}
    if subject := str(claims.get("sub") or "").strip():
        return f"{claims.get('iss', '')}#{subject}"
    return UNKNOWN
