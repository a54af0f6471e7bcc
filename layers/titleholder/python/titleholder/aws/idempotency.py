"""Idempotent requests: repeating one with the same Idempotency-Key and body has no second effect and gets the same answer.

Powertools' utility keeps one record for each key, in our table, for a day: `pk` IDEMPOTENCY#<digest of scope and key>. The record has the
ids that the effect made and a digest of the body, but neither the key itself nor any content of a request or of Stripe's answers. The
answer to a repeated request is built from the ids. These are the only items that Powertools writes; `store` writes all others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)

from titleholder.domain.accounts import Mode
from titleholder.errors import IdempotencyConflictError, IdempotencyInProgressError, TableBusyError

RETENTION_SECONDS = 86_400
"""How long records are kept: as long as Stripe keeps its idempotency keys."""

Ids = dict[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """One POST. A key counts within its mode, connected account and route. Without a `key` no record is kept."""

    route: str
    mode: Mode
    stripe_account: str | None
    key: str | None
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """A digest that is stored instead of the key, because callers may put anything into a key."""
        return _digest([self.route, self.mode, self.stripe_account, self.key])

    @property
    def body_digest(self) -> str:
        """A digest of the body and the key. Without the key it would show that two bodies are equal, or confirm a guessed body."""
        return _digest([self.route, self.mode, self.stripe_account, self.key, dict(self.body)])


class Idempotency:
    """The records, in `table`, through a boto3 DynamoDB client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def once(self, request: Request, effect: Callable[[str | None], Ids], context: Any) -> Ids:
        """The ids that `effect` makes, or that it made for the first of these requests.

        `effect` is given an idempotency key for Stripe, so that what Stripe executed before a crash here is not repeated. If it raises, no
        record is kept. `context` is Lambda's: after the invocation's timeout, a request that is still recorded as running counts as
        crashed.

        Raises:
            IdempotencyConflictError: the key was used with another body.
            IdempotencyInProgressError: the first request still runs.
            TableBusyError: the record can't be written. The effect may have taken place, and is not repeated for this key.
        """
        if request.key is None:
            return effect(None)
        records = DynamoDBPersistenceLayer(
            table_name=self._table,
            key_attr="pk",
            static_pk_value=f"IDEMPOTENCY#{request.name}",
            sort_key_attr="sk",
            expiry_attr="expires_at",
            boto3_client=self._client,
        )
        config = IdempotencyConfig(
            event_key_jmespath="name",
            payload_validation_jmespath="body",
            raise_on_no_idempotency_key=True,
            expires_after_seconds=RETENTION_SECONDS,
            hash_function="sha256",
            lambda_context=context,
        )

        @idempotent_function(data_keyword_argument="data", persistence_store=records, config=config, key_prefix="IDEMPOTENCY")  # type: ignore[untyped-decorator]
        def run(*, data: Mapping[str, str]) -> Ids:
            return effect(f"titleholder-{request.name}")

        try:
            ids: Ids = run(data={"name": request.name, "body": request.body_digest})
        except IdempotencyValidationError:
            raise IdempotencyConflictError(
                "This Idempotency-Key was used before with another request. Send a new key, or the earlier request unchanged."
            ) from None
        except IdempotencyAlreadyInProgressError:
            raise IdempotencyInProgressError(
                "The first request with this key is still running. Send the same request again in a few seconds."
            ) from None
        except IdempotencyPersistenceLayerError as error:
            if isinstance(error.__cause__, TableBusyError):
                raise error.__cause__ from None
            raise
        return ids


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
