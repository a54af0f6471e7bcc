"""A sandbox for tests of batches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sandbox import Sandbox
from titleholder.batches import steps


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox whose batches are imported by one writer, and that does not search for personal data at its end."""
    # Two writers at once break a table of moto. The embedded stack's table takes them.
    monkeypatch.setattr(steps, "WRITERS", 1)
    with Sandbox.open() as sandbox:
        yield sandbox
