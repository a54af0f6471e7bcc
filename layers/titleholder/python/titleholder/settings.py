"""The environment of a function, read once and typed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from titleholder.domain.accounts import Mode
from titleholder.errors import ConfigurationError

MAX_STRIPE_RATE = 100.0
_PREVIEW_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.preview")
_THIS_MACHINE = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1|host\.docker\.internal")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\x00-\x20]+)(:[0-9]{1,5})?")
"""The host and port of a URL. `urlsplit` alone is not enough: it takes `[::1].example.com` for `::1`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Names of resources and the deployment's parameters. A name is empty in functions that do not need it."""

    mode: Mode
    table: str
    keys_table: str
    vault_key: str
    table_key: str
    refresh_queue_url: str
    events_queue_url: str
    refresh_dead_letter_url: str
    events_dead_letter_url: str
    event_bus: str
    state_machine_arn: str
    api_key_secret: str
    webhook_secret: str
    stripe_api_base: str | None
    stripe_preview_version: str | None
    stripe_calls_per_second: float
    stripe_calls_per_second_in_all: float
    batch_bucket: str
    batch_state_machine_arn: str
    batch_concurrency: int
    settle_timeout_seconds: int
    max_wait_seconds: int
    snapshot_retention_days: int
    claim_retention_days: int
    audit_retention_days: int
    jwt_account_claim: str
    claims_per_account_per_day: int
    waiting_calls: int
    reviewers_needed: int
    review_expiry_days: int
    jwt_scope_prefix: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises ConfigurationError naming the variable that is wrong."""

        def number(name: str, default: float, low: float, high: float) -> float:
            text = environment.get(name) or str(default)
            try:
                value = float(text)
            except ValueError:
                value = float("nan")
            if not low <= value <= high:
                raise ConfigurationError(f"{name} must be a number from {low:g} to {high:g}.")
            return value

        def url(name: str) -> str | None:
            text = environment.get(name) or ""
            try:
                parts = urlsplit(text)
                scheme, host = parts.scheme, (parts.hostname or "") if _HOST_AND_PORT.fullmatch(parts.netloc) else ""
            except ValueError:
                scheme, host = "", ""
            # Plain http would expose Stripe's key and the owners on the network.
            plain = bool(environment.get("AWS_ENDPOINT_URL")) or _THIS_MACHINE.fullmatch(host)
            if text and (not host or re.search(r"[\s@\\]", text) or not (scheme == "https" or (scheme == "http" and plain))):
                raise ConfigurationError(
                    f"{name} must be an https URL. Plain http is accepted for localhost, 127.x.x.x, [::1] and host.docker.internal, "
                    "and for other hosts only where AWS_ENDPOINT_URL (the parameter AwsEndpointUrl) is set."
                )
            return text or None

        mode = environment.get("STRIPE_MODE", "test")
        if mode not in ("test", "live"):
            raise ConfigurationError("STRIPE_MODE must be test or live.")
        preview_version = environment.get("STRIPE_PREVIEW_VERSION") or None
        if preview_version is not None and not _PREVIEW_VERSION.fullmatch(preview_version):
            raise ConfigurationError(
                "STRIPE_PREVIEW_VERSION must be a preview version of Stripe's API, such as 2026-09-30.preview, or empty."
            )
        return cls(
            mode="live" if mode == "live" else "test",
            table=environment.get("TABLE_NAME", ""),
            keys_table=environment.get("KEYS_TABLE_NAME", ""),
            vault_key=environment.get("VAULT_KEY_ID", ""),
            table_key=environment.get("TABLE_KEY_ID", ""),
            refresh_queue_url=environment.get("REFRESH_QUEUE_URL", ""),
            events_queue_url=environment.get("EVENTS_QUEUE_URL", ""),
            refresh_dead_letter_url=environment.get("REFRESH_DEAD_LETTER_URL", ""),
            events_dead_letter_url=environment.get("EVENTS_DEAD_LETTER_URL", ""),
            event_bus=environment.get("EVENT_BUS_NAME", ""),
            state_machine_arn=environment.get("STATE_MACHINE_ARN", ""),
            api_key_secret=environment.get("STRIPE_API_KEY_SECRET_NAME", ""),
            webhook_secret=environment.get("STRIPE_WEBHOOK_SECRET_NAME", ""),
            stripe_api_base=url("STRIPE_API_BASE"),
            stripe_preview_version=preview_version,
            stripe_calls_per_second=number("STRIPE_CALLS_PER_SECOND", 25, 0.1, MAX_STRIPE_RATE),
            stripe_calls_per_second_in_all=number("STRIPE_CALLS_PER_SECOND_IN_ALL", 100, 0.4, MAX_STRIPE_RATE),
            batch_bucket=environment.get("BATCH_BUCKET", ""),
            batch_state_machine_arn=environment.get("BATCH_STATE_MACHINE_ARN", ""),
            batch_concurrency=int(number("BATCH_CONCURRENCY", 2000, 1, 10_000)),
            settle_timeout_seconds=int(number("SETTLE_TIMEOUT_SECONDS", 900, 1, 86_400)),
            claims_per_account_per_day=int(number("CLAIMS_PER_ACCOUNT_PER_DAY", 100, 1, 1000)),
            waiting_calls=int(number("WAITING_CALLS", 5, 0, 1000)),
            jwt_account_claim=environment.get("JWT_ACCOUNT_CLAIM", ""),
            jwt_scope_prefix=environment.get("JWT_SCOPE_PREFIX", ""),
            reviewers_needed=int(number("REVIEWERS_NEEDED", 0, 0, 2)),
            review_expiry_days=int(number("REVIEW_EXPIRY_DAYS", 30, 1, 365)),
            audit_retention_days=int(number("AUDIT_RETENTION_DAYS", 2557, 1, 36_500)),
            max_wait_seconds=int(number("MAX_WAIT_SECONDS", 7 * 86_400, 60, 90 * 86_400)),
            snapshot_retention_days=int(number("SNAPSHOT_RETENTION_DAYS", 400, 1, 3650)),
            claim_retention_days=int(number("CLAIM_RETENTION_DAYS", 400, 1, 3650)),
        )
