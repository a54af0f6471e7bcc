"""What a caller is answered while the records of idempotent requests can't be written."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.functions import context
from titleholder.aws.idempotency import Idempotency, Request
from titleholder.errors import TableBusyError
from titleholder.store.patience import TRIES, PatientClient


class Client:
    """Throttles calls of `operation`."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self.throttled = 0

    def __getattr__(self, operation: str) -> Any:
        def call(**_: Any) -> Any:
            if operation == self._operation:
                self.throttled += 1
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, operation)
            return {}

        return call


@pytest.mark.parametrize(("operation", "effects"), [("put_item", 0), ("update_item", 1)])
def test_throttled_record_is_a_busy_table_and_the_effect_is_made_at_most_once(operation: str, effects: int) -> None:
    client, made = Client(operation), list[str | None]()

    def effect(key: str | None) -> dict[str, str]:
        made.append(key)
        return {"id": "cus_1"}

    patient = PatientClient(client, clock=lambda: 0.0, sleep=lambda seconds: None)
    request = Request("POST /customers", "test", None, "key", {})
    with pytest.raises(TableBusyError):
        Idempotency(patient, "table").once(request, effect, context("linking"))
    assert (len(made), client.throttled) == (effects, TRIES)
