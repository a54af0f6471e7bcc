"""The simulator's own settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

GA_VERSION = "2026-10-28.endive"
PREVIEW_VERSION = "2026-09-30.preview"


@dataclass
class Options:
    """The simulator's own settings. docs/reference/simulator.md is written from this text.

    settle_seconds: seconds until a refresh settles. Stripe publishes no time.
    cooldown_seconds: seconds after a settled refresh until the next one is allowed. Stripe publishes no time.
    old_snapshot_seconds: the age in seconds of the owners of scenarios that start `old`.
    retry_base_seconds: after how many seconds a delivery that was refused is sent again; then after twice as many, and so on.
    retry_limit: how often a delivery that was refused is sent again.
    delivery_delay_seconds: seconds from an event to its delivery.
    rate_limit: calls a second for each operation of one Stripe account. null: no limit.
    global_rate_limit: calls a second for all operations of one Stripe account together. null: no limit.
    idempotency_seconds: seconds for which an idempotency key is known.
    live_registered: false refuses Financial Connections in live mode with 403.
    api_keys: the only keys that are accepted. null: all well-formed ones.
    denied: operations that are forbidden, by key: `{"sk_test_1": ["POST /v1/..."]}`.
    revoked: connected accounts that have revoked the platform's access. Calls with their `Stripe-Account` are answered 403.
    own_account: the account of every key, whose objects are the platform's.
    organization: the organization that the key's account is a member of.
    foreign: accounts of the organization that the keys may not use.
    thin_created: how `GET /v2/core/events` takes the times in `created`: as Unix `seconds`, as Stripe's document says, or as ISO 8601
        `text`, as its SDKs say.
    list_all_thin_events: whether `GET /v2/core/events` lists thin events that no destination takes, which is not documented.
    unavailable_payment_methods: payment methods that the Stripe account can't accept, such as `us_bank_account` without ACH Direct Debit.
    api_version: the version of requests without `Stripe-Version`, and of events.
    preview_version: a preview version that the simulator accepts too.
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
