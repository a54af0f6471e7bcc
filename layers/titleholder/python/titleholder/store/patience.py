"""Repeats calls that DynamoDB refuses temporarily: throttled calls, and calls that conflict with another writer's transaction.

botocore repeats a throttled call three times (after up to 1, 2 and 4 seconds), but never a cancelled transaction, a call that conflicts
with another writer's transaction, or the keys that a BatchGetItem left unprocessed.
"""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from titleholder.errors import TableBusyError, error_response

TRIES = 20
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""The longest pause after the first try, and after any. The limit doubles with each try; a pause is a random part of it (full jitter)."""

PATIENCE_SECONDS = 10.0
"""How long after its first try a call may be tried again. botocore's own pauses count too."""

RESERVE_SECONDS = 16.0
"""No further try begins if less time is left in the invocation, because the call and what follows it (an audit entry, a requeued message)
may each take botocore's own seven seconds of pauses.
"""

THROTTLED = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})
BUSY = THROTTLED | {"TransactionConflictException", "TransactionInProgressException"}
"""Codes with which DynamoDB refuses a call that can succeed unchanged a moment later."""

THROTTLED_PARTS = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"})
BUSY_PARTS = THROTTLED_PARTS | {"TransactionConflict"}
"""The same for the parts of a cancelled transaction. The other codes (ConditionalCheckFailed, ItemCollectionSizeLimitExceeded,
ValidationError) come again at every try.
"""

OPERATIONS = frozenset({"get_item", "put_item", "update_item", "delete_item", "query"})


system_jitter = random.SystemRandom().random
"""The system's random numbers, because processes that start from one snapshot (SnapStart) share the state of Python's own generator."""


class PatientClient:
    """A boto3 DynamoDB client whose calls are repeated while the table is busy. After the last try they raise TableBusyError.

    `clock`: Unix seconds. `jitter`: a random number from 0 to 1. `time_left`: seconds until the function has to have answered.
    `on_throttled` is called for each throttled try of a transaction.
    """

    def __init__(
        self,
        client: Any,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = system_jitter,
        time_left: Callable[[], float] = lambda: math.inf,
        on_throttled: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._time_left = time_left
        self._on_throttled = on_throttled

    @property
    def once(self) -> Any:
        """The client itself, for a call that must not wait for a busy table."""
        return self._client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return partial(self._repeat, found) if name in OPERATIONS else found

    def transact_write_items(self, **request: Any) -> Any:
        """All tries have the same token: if a try took effect and its answer was lost, DynamoDB answers the next one as a success."""
        return self._repeat(self._client.transact_write_items, **{"ClientRequestToken": str(uuid.uuid4()), **request})

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        """All of the items in one answer: keys that DynamoDB left unprocessed are asked for again."""
        found: dict[str, list[Any]] = {}
        wanted, pauses = RequestItems, _Pauses(self)
        while True:
            page = self._repeat(self._client.batch_get_item, RequestItems=wanted)
            for table, items in page["Responses"].items():
                found.setdefault(table, []).extend(items)
            wanted = page.get("UnprocessedKeys") or {}
            if not wanted:
                return {"Responses": found}
            if any(page["Responses"].values()):
                pauses = _Pauses(self)
            pauses.wait()

    def _repeat(self, call: Callable[..., Any], **request: Any) -> Any:
        pauses = _Pauses(self)
        while True:
            try:
                return call(**request)
            except Exception as error:
                if not self._is_busy(error):
                    raise
                pauses.wait()

    def _is_busy(self, error: Exception) -> bool:
        """Whether the same call can succeed a moment later."""
        response = error_response(error)
        if response is None:
            return False
        if response["Error"]["Code"] != "TransactionCanceledException":
            return response["Error"]["Code"] in BUSY
        codes = {reason.get("Code", "None") for reason in response["CancellationReasons"]} - {"None"}
        if codes & THROTTLED_PARTS:
            self._on_throttled()
        return bool(codes) and codes <= BUSY_PARTS


class _Pauses:
    """The pauses between the tries of one call."""

    def __init__(self, client: PatientClient) -> None:
        self._client = client
        self._begun = client._clock()
        self._number = 0

    def wait(self) -> None:
        """Wait until the next try. Raises TableBusyError if there is no time for one."""
        client = self._client
        pause = client._jitter() * min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self._number)
        self._number += 1
        late = client._clock() + pause > self._begun + PATIENCE_SECONDS
        if self._number == TRIES or late or client._time_left() - pause < RESERVE_SECONDS:
            raise TableBusyError from None
        client._sleep(pause)
