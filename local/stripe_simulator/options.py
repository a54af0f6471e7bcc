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

    settle_seconds: seconds until a refresh settles. Stripe does not publish this time.
    cooldown_seconds: seconds after a settled refresh until the next one is allowed. Stripe does not publish this time.
    old_snapshot_seconds: how many seconds old the owners are in scenarios that start with old owners.
    retry_base_seconds: after how many seconds a refused delivery is sent again. Each further pause is twice as long.
    retry_limit: how often a refused delivery is sent again.
    delivery_delay_seconds: seconds from an event to its delivery.
    rate_limit: limit of calls a second for each operation of one Stripe account. null: no limit.
    global_rate_limit: limit of calls a second for all operations of one Stripe account together. null: no limit.
    idempotency_seconds: for how many seconds an idempotency key is remembered.
    live_registered: with `false`, calls to Financial Connections in live mode are answered 403.
    api_keys: the only API keys that are accepted. null: all well-formed ones.
    denied: which operations each API key may not call, such as `{"sk_test_1": ["POST /v1/..."]}`.
    revoked: connected accounts that have revoked the platform's access. Calls that name one of them in `Stripe-Account` are answered 403.
    own_account: the Stripe account of every API key. This account is the platform.
    organization: the organization that the platform is a member of.
    foreign: other Stripe accounts of the organization. No API key may use them.
    thin_created: the form of the times in the parameter `created` of `GET /v2/core/events`. `seconds`: Unix seconds, as in Stripe's API
        document. `text`: ISO 8601, as in Stripe's SDKs.
    list_all_thin_events: whether `GET /v2/core/events` also lists thin events that no event destination takes. Stripe does not document
        this.
    unavailable_payment_methods: payment methods that the Stripe account can't accept, such as `us_bank_account` without ACH Direct Debit.
    api_version: the API version of events, and of requests without the header `Stripe-Version`.
    preview_version: the preview version that the simulator accepts too.
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
