"""The composition root: makes the parts of a function from its settings, a clock and clients of AWS services.

Modules that only some functions need are imported inside the methods, so that the other functions do not load them.
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from titleholder.aws.event_publisher import EventPublisher
from titleholder.aws.queues import Queues
from titleholder.aws.secrets import API_KEY, SIGNING_SECRET, SecretApiKeys, SecretValues
from titleholder.observability import tally, time_left
from titleholder.services.webhooks import WebhookReceiver
from titleholder.settings import Settings
from titleholder.store import Retention, Store
from titleholder.store.patience import PatientClient, system_jitter
from titleholder.timestamps import DAY_SECONDS

if TYPE_CHECKING:
    from titleholder.aws.encryption import AccountCipher
    from titleholder.aws.idempotency import Idempotency
    from titleholder.batches.bucket import BatchBucket
    from titleholder.batches.lifecycle import BatchDependencies
    from titleholder.batches.rows import BatchStepContext
    from titleholder.services.audit import Audit
    from titleholder.services.context import Dependencies
    from titleholder.services.contexts import Contexts
    from titleholder.services.rate_limiter import RateLimiter, StripeRateLimits
    from titleholder.services.reviews import ReviewDependencies


class Application:
    """The parts of a deployment, each made once, when it is first used.

    `client` makes a boto3 client for a service, and `stripe_http` the HTTP client of Stripe's SDK (None: the SDK's own). `clock` returns
    Unix seconds, `sleep` waits for seconds, `jitter` returns a random number from 0 to 1, `time_left` the seconds until the function must
    have answered, and `new_secret` 32 random bytes. `writers` makes an executor with the given number of threads (None: Python's own).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: Callable[[str], Any] | None = None,
        stripe_http: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = system_jitter,
        time_left: Callable[[], float] = time_left,
        new_secret: Callable[[], bytes] = lambda: secrets.token_bytes(32),
        writers: Callable[[int], Any] | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.sleep = sleep
        self._jitter = jitter
        self._time_left = time_left
        self._client = cache(client or aws_clients())
        self._stripe_http = stripe_http
        self._new_secret = new_secret
        self._writers = writers

    @cached_property
    def store(self) -> Store:
        keep = Retention(
            snapshots=self.settings.snapshot_retention_days * DAY_SECONDS, claims=self.settings.claim_retention_days * DAY_SECONDS
        )
        return Store(
            self._dynamodb,
            self.settings.table,
            keys_table=self.settings.keys_table,
            cipher=lambda: self.cipher,
            clock=self.clock,
            retention=keep,
            new_secret=self._new_secret,
            claims_per_day=self.settings.claims_per_account_per_day,
            reviewers_needed=self.settings.reviewers_needed,
        )

    @cached_property
    def _dynamodb(self) -> PatientClient:
        return PatientClient(
            self._client("dynamodb"),
            clock=self.clock,
            sleep=self.sleep,
            jitter=self._jitter,
            time_left=self._time_left,
            on_throttled=lambda: tally("TransactionsThrottled"),
        )

    @cached_property
    def cipher(self) -> AccountCipher:
        """Encrypts claims and owners."""
        from titleholder.aws.encryption import AccountCipher

        return AccountCipher(self._client("kms"), self.settings.vault_key, self.clock)

    def unusable_keys(self) -> Iterable[tuple[str, str]]:
        """The stack's KMS keys that can't be used, each with its state."""
        from titleholder.aws import keys

        return keys.unusable(self._client("kms"), filter(None, (self.settings.table_key, self.settings.vault_key)))

    @cached_property
    def queues(self) -> Queues:
        return Queues(self._client("sqs"), refresh_url=self.settings.refresh_queue_url, events_url=self.settings.events_queue_url)

    @cached_property
    def event_publisher(self) -> EventPublisher:
        return EventPublisher(self._client("events"), self.settings.event_bus)

    @cached_property
    def audit(self) -> Audit:
        """The audit log of callers, actions and ids."""
        from titleholder.services.audit import Audit

        return Audit(self.store, self.settings.audit_retention_days, self.clock)

    @cached_property
    def webhook_receiver(self) -> WebhookReceiver:
        secret = SecretValues(self._client("secretsmanager"), self.settings.webhook_secret, SIGNING_SECRET, self.clock)
        return WebhookReceiver(store=self.store, queues=self.queues, secrets=secret, mode=self.settings.mode, clock=self.clock)

    @cached_property
    def review_dependencies(self) -> ReviewDependencies:
        from titleholder.services.reviews import ReviewDependencies

        return ReviewDependencies(self.store, self.event_publisher, self.audit, self.clock)

    @cached_property
    def batch_bucket(self) -> BatchBucket:
        from titleholder.batches.bucket import BatchBucket

        return BatchBucket(self._client("s3"), self.settings.batch_bucket)

    @cached_property
    def batch_dependencies(self) -> BatchDependencies:
        """What the HTTP routes of batches need."""
        from titleholder.aws.workflows import BatchWorkflow
        from titleholder.batches.lifecycle import BatchDependencies

        workflow = BatchWorkflow(self._client("stepfunctions"), self.settings.batch_state_machine_arn)
        return BatchDependencies(self.store, self.batch_bucket, workflow, self.clock)

    def batch_step_context(self) -> BatchStepContext:
        """What a step of `verify_batch` needs. Made for each invocation, because it contains the present time."""
        from titleholder.batches.rows import BatchStepContext

        context = BatchStepContext(self.store, self.batch_bucket, self.event_publisher, self.clock(), self.settings.max_wait_seconds)
        return replace(context, writers=self._writers) if self._writers else context

    @cached_property
    def contexts(self) -> Contexts:
        from titleholder.services.contexts import Contexts

        return Contexts(self.store, self.settings.mode, self.clock)

    @cached_property
    def rate_limits(self) -> StripeRateLimits:
        from titleholder.services.rate_limiter import StripeRateLimits

        return StripeRateLimits(self.store, self.settings.stripe_calls_per_second, self.clock, self.settings.stripe_calls_per_second_in_all)

    def dependencies(self, limiter: RateLimiter | None = None) -> Dependencies:
        """What the services need in one invocation. `limiter`: that of the queue message; None for an HTTP caller, who waits."""
        shared = self._dependencies
        return replace(shared, stripe=shared.stripe.limited_by(self.rate_limits.limiter() if limiter is None else limiter))

    @cached_property
    def _dependencies(self) -> Dependencies:
        from titleholder.aws.workflows import Workflow
        from titleholder.services.context import Dependencies
        from titleholder.stripe_api.gateway import StripeGateway

        settings = self.settings
        keys = SecretApiKeys(SecretValues(self._client("secretsmanager"), settings.api_key_secret, API_KEY, self.clock))
        http = self._stripe_http() if self._stripe_http else None
        return Dependencies(
            store=self.store,
            stripe=StripeGateway(
                keys,
                settings.mode,
                settings.stripe_api_base,
                http,
                limiter=self.rate_limits.limiter(),
                preview_version=settings.stripe_preview_version,
                context_of=lambda connected: self.contexts.path(connected),
            ),
            workflow=Workflow(
                self._client("stepfunctions"), settings.state_machine_arn, settings.settle_timeout_seconds, settings.max_wait_seconds
            ),
            queues=self.queues,
            bus=self.event_publisher,
            audit=self.audit,
            clock=self.clock,
            new_key=lambda: f"titleholder-{uuid.uuid4()}",
        )

    @cached_property
    def idempotency(self) -> Idempotency:
        """The records of requests with an Idempotency-Key."""
        from titleholder.aws.idempotency import Idempotency

        return Idempotency(self._dynamodb, self.settings.table)


_current: Application | None = None


def application() -> Application:
    """The application that this process runs: the one given to `use`, or one made from the environment. Raises ConfigurationError."""
    global _current
    if _current is None:
        _current = Application(Settings.from_environment())
    return _current


def use(chosen: Application | None) -> None:
    """Set the application that this process runs. None: the next call of `application` makes one from the environment."""
    global _current
    _current = chosen


def prepare(make: Callable[[Application], Any]) -> None:
    """With SnapStart, make parts before Lambda takes its snapshot; otherwise do nothing.

    To be called in the last line of a handler's module. Nothing here calls a service, so the snapshot contains no credentials, secrets or
    connections.
    """
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        make(application())


def aws_clients() -> Callable[[str], Any]:
    """A function that makes a client of an AWS service. All clients share a session, with its credentials and the data that it loads."""

    @cache
    def session() -> Any:
        from botocore.session import get_session

        made = get_session()
        made.register_component("credential_provider", LateCredentials(made.get_component("credential_provider")))
        return made

    def client(service: str) -> Any:
        from botocore.config import Config

        for_s3: dict[str, Any] = {}
        if service == "s3":
            # Presigned URLs of files that are encrypted with KMS need this signature version. By default they name S3's global host. This
            # redirects requests for a new bucket to another host, where the signature is wrong, and does not serve newer regions. An
            # emulator has no host name for each bucket.
            elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            regional = {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
            for_s3 = {"signature_version": "s3v4", "s3": {"addressing_style": "path"} if elsewhere else regional}
        # Checking parameters and composing the SDK's user agent take a sixth of a call. Tests run every call with the checks.
        config = Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 4},
            parameter_validation=False,
            user_agent="titleholder",
            **for_s3,
        )
        # A session can make only one client at a time, and the threads of an import may need their first client at the same time.
        with lock:
            return session().create_client(service, config=config)

    lock = Lock()
    return client


class LateCredentials:
    """The SDK's credentials, resolved at the first call, not when a client is made, because a SnapStart snapshot must contain none."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def load_credentials(self) -> LateCredentials:
        return self

    @cached_property
    def _found(self) -> Any:
        return self._provider.load_credentials()

    def get_frozen_credentials(self) -> Any:
        """None if there are no credentials. The SDK then raises its own error."""
        return self._found and self._found.get_frozen_credentials()

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        return lambda: getattr(self._found, name, None)
