"""Who asked for what: an append-only record of callers, actions and ids, without personal data of account holders.

A record is written before what it is about is handed out. If it can't be written, nothing is handed out.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from titleholder.accounts import AccountRef
from titleholder.store import Store

DAY_SECONDS = 86_400

Action = Literal[
    "verification.requested",
    "verification.cancelled",
    "refresh.requested",
    "owners.read",
    "account.erased",
    "customer.created",
    "session.created",
    "batch.created",
    "batch.started",
    "batch.stopped",
]


@dataclass(frozen=True, slots=True)
class Audit:
    """The record, kept for `retention_days`."""

    store: Store
    retention_days: int

    def record(self, event: Mapping[str, Any], action: Action, now: float, ref: AccountRef | None = None, **ids: str | None) -> None:
        """Record that the caller of an HTTP request did something. `now`: Unix seconds. `ids`: of what it was done to, None for none."""
        request = str(event.get("requestContext", {}).get("requestId", ""))
        entry = {"actor": actor(event), "action": action, "request": request, **(ref.as_dict() if ref else {})}
        entry |= {name: id_ for name, id_ in ids.items() if id_ is not None}
        self.store.append_audit(uuid.uuid4().hex, entry, now, int(now) + self.retention_days * DAY_SECONDS)


def actor(event: Mapping[str, Any]) -> str:
    """Who calls: the ARN of an IAM principal, or issuer and subject of a JSON web token; `unknown` where nobody authorised the request."""
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if arn := (authorizer.get("iam") or {}).get("userArn"):
        return str(arn)
    claims = (authorizer.get("jwt") or {}).get("claims") or {}
    if subject := claims.get("sub"):
        return f"{claims.get('iss', '')}#{subject}"
    return "unknown"
