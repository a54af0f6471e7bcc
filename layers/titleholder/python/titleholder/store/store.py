"""The tables of a stack, by repository."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from titleholder.store.patience import PatientClient
from titleholder.store.table import Table
from titleholder.timestamps import DAY_SECONDS

if TYPE_CHECKING:
    from titleholder.aws.encryption import AccountCipher
    from titleholder.store.accounts import Accounts
    from titleholder.store.audit import AuditLog
    from titleholder.store.batches import Batches
    from titleholder.store.claims import Claims
    from titleholder.store.connected_accounts import ConnectedAccounts
    from titleholder.store.erasures import Erasures
    from titleholder.store.events import Events
    from titleholder.store.open_work import OpenWork
    from titleholder.store.rate_limits import RateLimits
    from titleholder.store.review_queue import ReviewQueue
    from titleholder.store.reviews import Reviews
    from titleholder.store.sealed import SealedItems
    from titleholder.store.snapshots import Snapshots
    from titleholder.store.steps import Steps
    from titleholder.store.verifications import Verifications
    from titleholder.store.waiters import Waiters


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many seconds personal data is kept."""

    snapshots: int = 400 * DAY_SECONDS
    claims: int = 400 * DAY_SECONDS


class Store:
    """The repositories of the table `table` and of the table of keys. `client`: a boto3 DynamoDB client or a PatientClient.

    Each repository is imported when it is first used, so that a function loads only those that it needs.

    `cipher` is called only when something is encrypted or decrypted. `clock`: Unix seconds, by which items expire.
    `new_secret` makes 32 random bytes or more. `claims_per_day`: how many different claims about one account are accepted within 24 hours.
    `reviewers_needed`: how many reviewers approve a close match; 0 for no reviews.
    """

    def __init__(
        self,
        client: Any,
        table: str,
        *,
        keys_table: str,
        cipher: Callable[[], AccountCipher],
        clock: Callable[[], float],
        retention: Retention = Retention(),  # immutable
        new_secret: Callable[[], bytes] = secrets.token_bytes,
        claims_per_day: int = 100,
        reviewers_needed: int = 0,
    ) -> None:
        patient = client if isinstance(client, PatientClient) else PatientClient(client, clock=clock)
        self.table = Table(patient, table, clock=clock)
        self._keys = Table(patient, keys_table, clock=clock)
        self._cipher = cipher
        self._clock = clock
        self._retention = retention
        self._new_secret = new_secret
        self._claims_per_day = claims_per_day
        self.reviewers_needed = reviewers_needed

    def load(self) -> Store:
        """Make every repository now, so that a snapshot of the process (SnapStart) holds them. Returns the store."""
        for name, part in vars(Store).items():
            if isinstance(part, cached_property):
                getattr(self, name)
        return self

    @cached_property
    def accounts(self) -> Accounts:
        from titleholder.store.accounts import Accounts

        return Accounts(self.table)

    @cached_property
    def audit(self) -> AuditLog:
        from titleholder.store.audit import AuditLog

        return AuditLog(self.table)

    @cached_property
    def batches(self) -> Batches:
        from titleholder.store.batches import Batches

        return Batches(self.table)

    @cached_property
    def claims(self) -> Claims:
        from titleholder.store.claims import Claims

        return Claims(self.table, self._sealed, self._clock, self._retention.claims, self._claims_per_day)

    @cached_property
    def connected_accounts(self) -> ConnectedAccounts:
        from titleholder.store.connected_accounts import ConnectedAccounts

        return ConnectedAccounts(self.table)

    @cached_property
    def erasures(self) -> Erasures:
        from titleholder.store.erasures import Erasures

        return Erasures(self.table, self._sealed)

    @cached_property
    def events(self) -> Events:
        from titleholder.store.events import Events

        return Events(self.table)

    @cached_property
    def open_work(self) -> OpenWork:
        from titleholder.store.open_work import OpenWork

        return OpenWork(self.table)

    @cached_property
    def rate_limits(self) -> RateLimits:
        from titleholder.store.rate_limits import RateLimits

        return RateLimits(self.table)

    @cached_property
    def review_queue(self) -> ReviewQueue:
        from titleholder.store.review_queue import ReviewQueue

        return ReviewQueue(self.table)

    @cached_property
    def reviews(self) -> Reviews:
        from titleholder.store.reviews import Reviews

        return Reviews(self.table, self._sealed, lambda: self.verifications)

    @cached_property
    def snapshots(self) -> Snapshots:
        from titleholder.store.snapshots import Snapshots

        return Snapshots(self.table, self._sealed, self._retention.snapshots)

    @cached_property
    def steps(self) -> Steps:
        from titleholder.store.steps import Steps

        return Steps(self.table, self._retention.claims)

    @cached_property
    def verifications(self) -> Verifications:
        from titleholder.store.verifications import Verifications

        return Verifications(self.table, lambda: self.claims, self._clock, self._new_secret)

    @cached_property
    def waiters(self) -> Waiters:
        from titleholder.store.waiters import Waiters

        return Waiters(self.table)

    @cached_property
    def _sealed(self) -> SealedItems:
        from titleholder.store.sealed import SealedItems

        return SealedItems(self.table, self._keys, self._cipher, self._clock)
