"""The store on four tables: the contract holds on all of them, so that what the simulation shows is true of DynamoDB.

One of them is Amazon's own engine.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local.aws.emulator import REGION, Emulator
from tests.simulation.table_load import TableLoad
from tests.support import dynamodb_local
from tests.support.fakes.dynamodb import FakeDynamoDB
from tests.support.fakes.kms import FakeKMS
from tests.support.fast_moto import fast_moto
from tests.support.sandbox import client
from tests.support.stored import NOW
from tests.support.template import table_schema
from titleholder.aws.encryption import AccountCipher
from titleholder.bootstrap import aws_clients
from titleholder.store import Store
from titleholder.store.patience import PatientClient

SCHEMAS = {"ttt": "Table", "ttt-keys": "KeysTable"}


@pytest.fixture(scope="session")
def aws() -> Iterator[Emulator]:
    with Emulator() as aws:
        yield aws


@pytest.fixture(scope="session")
def emulated(aws: Emulator) -> tuple[Any, Any]:
    """Clients of the embedded AWS: one that may make tables, and the one that the functions have."""
    with patch.dict("os.environ", {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_DEFAULT_REGION": REGION}):
        return aws.client("dynamodb"), aws_clients()("dynamodb")


@pytest.fixture(scope="session")
def amazon() -> Iterator[tuple[Any, Any]]:
    """The same clients of Amazon's own engine."""
    with dynamodb_local.required() as engine:
        with patch.dict("os.environ", {"AWS_ENDPOINT_URL": engine.endpoint, "AWS_DEFAULT_REGION": REGION}):
            clients = engine.client(), aws_clients()("dynamodb")
        yield clients


@pytest.fixture(
    params=[
        "moto",
        "the simulation's table",
        "the simulation's table, busy",
        pytest.param("the embedded AWS, by the functions' client", marks=pytest.mark.emulator),
        pytest.param(dynamodb_local.NAME, marks=pytest.mark.slow),
    ]
)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "the simulation's table":
        yield store_on(FakeDynamoDB())
    elif request.param == "the simulation's table, busy":
        busy = FakeDynamoDB()
        busy.load = TableLoad(0, lambda: NOW, Counter(), throttled=0.4, unprocessed=0.5, outages=())
        yield store_on(PatientClient(busy, clock=lambda: NOW, sleep=lambda seconds: None))
    elif request.param == "moto":
        with mock_aws(), fast_moto():
            for table, schema in SCHEMAS.items():
                client("dynamodb").create_table(TableName=table, **table_schema(schema))
            yield store_on(client("dynamodb"))
    else:
        tables, functions = request.getfixturevalue("amazon" if request.param == dynamodb_local.NAME else "emulated")
        for table, schema in SCHEMAS.items():
            with contextlib.suppress(ClientError):
                tables.delete_table(TableName=table)
            tables.create_table(TableName=table, **table_schema(schema))
        # The functions' client finds its credentials at its first call.
        with patch.dict("os.environ", {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}):
            yield store_on(functions)


def store_on(dynamodb: Any) -> Store:
    cipher = AccountCipher(FakeKMS(), "key", lambda: NOW)
    return Store(dynamodb, "ttt", keys_table="ttt-keys", cipher=lambda: cipher, clock=lambda: NOW)
