"""A pytest plugin for mutation testing: examples run before properties, because an example notices most mutants in less time."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: hasattr(getattr(item, "obj", None), "hypothesis"))
