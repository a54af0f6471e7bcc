"""A pytest plugin with which every sandbox and every embedded stack of a run has its tables in Amazon's own DynamoDB engine.

    python -m pytest -p tests.amazons_dynamodb tests/e2e/test_concurrency.py

Where the engine cannot run, each test misses its judge.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

VARIABLE = "DYNAMODB_ENGINE"
"""Names the engine to `local/aws/shims/table_engine.py` and to `tests/support/sandbox.py`."""


@pytest.fixture(scope="session", autouse=True)
def _amazons_dynamodb() -> Iterator[None]:
    # Not before tests/conftest.py has registered the modules whose assertions pytest rewrites.
    from tests.support import dynamodb_local

    with dynamodb_local.required() as engine, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, engine.endpoint)
        yield
