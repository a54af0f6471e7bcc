"""A sandbox for each test. After every test, personal data may be only in the table and in HTTP answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.sandbox import API_KEY, PERSONAL, Sandbox
from tests.support.stripe_client import client


@pytest.fixture
def sandbox(capsys: pytest.CaptureFixture[str]) -> Iterator[Sandbox]:
    """A deployment over moto and the Stripe simulator.

    At its end, personal data may be in the table and in HTTP answers only: not in logs, output, queues, workflows or events.
    """
    with Sandbox.open() as sandbox:
        yield sandbox
        captured = capsys.readouterr()
        seen = (sandbox.outside_the_table() + captured.out + captured.err).lower()
    assert not [word for word in PERSONAL if word in seen]


@pytest.fixture
def stripe(sandbox: Sandbox) -> Any:
    """Stripe's SDK over the sandbox's Stripe simulator, as a caller's back end has it."""
    return client(sandbox.http_client, API_KEY).v1
