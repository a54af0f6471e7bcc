"""Puts a function's parts together from its environment: the only place where clients of outside systems are made, each once.

Imports of what not every function uses stand inside the functions here, so that none pays for another's.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from titleholder.aws.event_publisher import EventPublisher
from titleholder.aws.queues import Queues
from titleholder.aws.secrets import API_KEY, SIGNING_SECRET, SecretApiKeys, SecretValues
from titleholder.errors import ConfigurationError
from titleholder.services.webhooks import WebhookReceiver
from titleholder.settings import Settings
from titleholder.store import Retention, Store
from titleholder.timestamps import DAY_SECONDS

if TYPE_CHECKING:
    from botocore.session import Session

    from titleholder.aws.encryption import AccountCipher
    from titleholder.aws.idempotency import Idempotency
    from titleholder.aws_json import Keys
    from titleholder.batches.bucket import BatchBucket
    from titleholder.batches.lifecycle import BatchDependencies
    from titleholder.batches.steps import BatchStepContext
    from titleholder.services.audit import Audit
    from titleholder.services.context import Dependencies
    from titleholder.services.rate_limiter import RateLimiter, StripeRateLimits


@cache
def settings() -> Settings:
    """The function's settings. Raises ConfigurationError."""
    return Settings.from_environment()


@cache
def _session() -> Session:
    """One for all clients: they share its credentials and what it has read of its own data."""
    from botocore.session import get_session

    return get_session()


@cache
def _client(service: str) -> Any:
    """A client for what is called here, without the SDK's where that suffices."""
    from titleholder import aws_json

    endpoint = aws_json.serves(service, os.environ)
    return _sdk_client(service) if endpoint is None else aws_json.Client(service, endpoint, _aws_keys())


@cache
def _sdk_client(service: str) -> Any:
    from botocore.config import Config

    config = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4})
    # Links to files under a KMS key have to be signed with version 4, which S3's client does only where told to.
    if service == "s3":
        config = config.merge(Config(signature_version="s3v4"))
    return _session().create_client(service, config=config)


@cache
def _aws_keys() -> Callable[[], Keys]:
    """Credentials from the environment; from wherever the AWS SDK finds them, and as fresh as it keeps them, if there are none."""
    from titleholder.aws_json import Keys

    if found := Keys.of(os.environ):
        return lambda: found
    # Made now, so that a snapshot of this process holds it; read later, for a snapshot must hold no credentials.
    session = _session()

    def keys() -> Keys:
        credentials = session.get_credentials()
        if credentials is None:
            raise ConfigurationError("There are no AWS credentials.")
        frozen: Keys = credentials.get_frozen_credentials()
        return frozen

    return keys


@cache
def store() -> Store:
    chosen = settings()
    keep = Retention(snapshots=chosen.snapshot_retention_days * DAY_SECONDS, claims=chosen.claim_retention_days * DAY_SECONDS)
    return Store(
        _client("dynamodb"), chosen.table, keys_table=chosen.keys_table, vault=cipher, clock=clock, retention=keep, new_secret=new_secret,
        claims_per_day=chosen.claims_per_account_per_day,
    )  # fmt: skip


@cache
def cipher() -> AccountCipher:
    """What claims and owners are sealed with."""
    # The Encryption SDK's own KMS provider is not used here, and its import would bring all of boto3: a tenth of a cold start.
    unused: Any = ModuleType("aws_encryption_sdk.key_providers.kms")
    unused.DiscoveryAwsKmsMasterKeyProvider = unused.KMSMasterKeyProviderConfig = unused.StrictAwsKmsMasterKeyProvider = None
    sys.modules.setdefault(unused.__name__, unused)
    from titleholder.aws.encryption import AccountCipher

    return AccountCipher(_client("kms"), settings().vault_key, clock)


@cache
def queues() -> Queues:
    return Queues(_client("sqs"), refresh_url=settings().refresh_queue_url, events_url=settings().events_queue_url)


def prepare(*parts: Callable[[], Any]) -> None:
    """Put parts together before the first event, where Lambda then takes a snapshot to start from; elsewhere each comes when it is used.

    For a handler's last line. Nothing here calls a service, so the snapshot holds neither credentials, secrets nor connections.
    """
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        for part in parts:
            part()


def clock() -> float:
    """Now, in Unix seconds."""
    return time.time()


def sleep(seconds: float) -> None:
    """Wait, which costs: only where a caller asked for it."""
    time.sleep(seconds)


def new_secret() -> bytes:
    """Random bytes that nobody can guess."""
    return secrets.token_bytes(32)


@cache
def event_publisher() -> EventPublisher:
    return EventPublisher(_client("events"), settings().event_bus)


@cache
def audit() -> Audit:
    """The record of who asked for what."""
    from titleholder.services.audit import Audit

    return Audit(store(), settings().audit_retention_days, clock)


@cache
def webhook_receiver() -> WebhookReceiver:
    """What the webhook receiver works with."""
    secrets = SecretValues(_client("secretsmanager"), settings().webhook_secret, SIGNING_SECRET, wall=clock)
    return WebhookReceiver(store=store(), queues=queues(), secrets=secrets, mode=settings().mode, clock=clock)


@cache
def batch_bucket() -> BatchBucket:
    from titleholder.batches.bucket import BatchBucket

    return BatchBucket(_sdk_client("s3"), settings().batch_bucket)


@cache
def batch_dependencies() -> BatchDependencies:
    """What the HTTP routes of batches work with."""
    from titleholder.aws.workflows import BatchWorkflow
    from titleholder.batches.lifecycle import BatchDependencies

    return BatchDependencies(store(), batch_bucket(), BatchWorkflow(_client("stepfunctions"), settings().batch_state_machine_arn), clock)


def batch_step_context() -> BatchStepContext:
    """What the steps of `verify_batch` work with."""
    from titleholder.batches.steps import BatchStepContext

    return BatchStepContext(store(), batch_bucket(), event_publisher(), clock(), settings().max_wait_seconds)


@cache
def rate_limits() -> StripeRateLimits:
    """The lines that calls to Stripe stand in."""
    from titleholder.services.rate_limiter import StripeRateLimits

    return StripeRateLimits(store(), settings().stripe_calls_per_second, clock, settings().stripe_calls_per_second_in_all)


def dependencies(limiter: RateLimiter | None = None) -> Dependencies:
    """What functions that talk to Stripe work with in one invocation. Without `limiter`, for a caller that waits for the answer."""
    shared = _dependencies()
    return replace(shared, stripe=shared.stripe.limited_by(rate_limits().limiter() if limiter is None else limiter))


@cache
def _dependencies() -> Dependencies:
    from titleholder.aws.workflows import Workflow
    from titleholder.services.context import Dependencies
    from titleholder.stripe_api.gateway import StripeGateway

    chosen = settings()
    keys = SecretApiKeys(SecretValues(_client("secretsmanager"), chosen.api_key_secret, API_KEY, wall=clock))
    return Dependencies(
        store=store(),
        stripe=StripeGateway(keys, chosen.mode, chosen.stripe_api_base, limiter=rate_limits().limiter()),
        workflow=Workflow(_client("stepfunctions"), chosen.state_machine_arn, chosen.settle_timeout_seconds, chosen.max_wait_seconds),
        queues=queues(),
        bus=event_publisher(),
        audit=audit(),
        clock=clock,
        new_key=lambda: f"titleholder-{uuid.uuid4()}",
    )


@cache
def idempotency() -> Idempotency:
    """The records of what callers may repeat."""
    from titleholder.aws.idempotency import Idempotency

    return Idempotency(_sdk_client("dynamodb"), settings().table)
