"""The simulator's own settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

GA_VERSION = "2026-10-28.endive"
PREVIEW_VERSION = "2026-09-30.preview"


@dataclass
class Options:
    """Times in seconds. Stripe publishes neither how long a refresh takes nor how long a cooldown is.

    rate_limit, global_rate_limit: calls a second for one operation, and for all, of one Stripe account; None is no limit.
    retry_base_seconds, retry_limit: a refused delivery is sent again after base, 2 x base, 4 x base ..., at most `retry_limit` times.
    live_registered: false refuses Financial Connections in live mode with 403.
    api_keys: the only keys accepted, all well-formed ones when None. denied: operations ("POST /v1/...") forbidden to a key.
    revoked: connected accounts that have revoked the platform's access: every call under their Stripe-Account header is answered 403.
    old_snapshot_seconds: the age of the "old" snapshots.
    own_account: the account of every key, whose objects are the platform's. organization: the path of the organization that it is a member
    of. foreign: accounts of the organization that the keys may not use.
    thin_created: how GET /v2/core/events takes the times in `created`: as Unix seconds, as Stripe's document says, or as ISO 8601 text, as
    its SDKs say. list_all_thin_events: whether it lists thin events that no destination takes, which is not documented.
    unavailable_payment_methods: payment methods that the Stripe account can't accept, such as us_bank_account without ACH Direct Debit.
    api_version: the version of requests without Stripe-Version, and of events. preview_version: the other one that is answered.
    """

    settle_seconds: float = 1.0
    cooldown_seconds: float = 3600.0
    old_snapshot_seconds: float = 45 * 86400.0
    retry_base_seconds: float = 5.0
    retry_limit: int = 8
    delivery_delay_seconds: float = 0.0
    rate_limit: int | None = None
    global_rate_limit: int | None = None
    idempotency_seconds: float = 86400.0
    live_registered: bool = True
    api_keys: frozenset[str] | None = None
    denied: Mapping[str, frozenset[str]] = field(default_factory=dict)
    revoked: Sequence[str] = ()
    own_account: str = "acct_simulated"
    organization: str = "org_simulated"
    foreign: Sequence[str] = ()
    thin_created: Literal["seconds", "text"] = "seconds"
    list_all_thin_events: bool = False
    unavailable_payment_methods: Sequence[str] = ()
    api_version: str = GA_VERSION
    preview_version: str = PREVIEW_VERSION
