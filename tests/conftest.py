"""For every test: one report of the whole run, and a mark for tests that start a stack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.aws.emulator import Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# What tests share asserts as well, and should say what it found.
pytest.register_assert_rewrite("tests.support", "tests.e2e")

pytest_plugins = ["tests.support.judges", "tests.support.whole_run"]

MARKS = {"e2e": "e2e", "integration/local_aws": "emulator"}
"""By folder. A test elsewhere that starts the embedded AWS has the mark `emulator` in its file."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.parent.relative_to(Path(__file__).parent).as_posix()
        if folder in MARKS:
            item.add_marker(MARKS[folder])


@pytest.fixture(autouse=True, scope="session")
def _emulator_needs_a_mark(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that starts the embedded AWS unmarked, because `make check` leaves out what is marked and must not start one."""
    marked = {item.nodeid for item in request.session.items if {mark.name for mark in item.iter_markers()} & set(MARKS.values())}
    start = Emulator.start

    def start_for_a_marked_test(self: Emulator) -> None:
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        assert test in marked, f"{test} starts the embedded AWS and lacks the mark `emulator`"
        start(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Emulator, "start", start_for_a_marked_test)
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, one for all tests of a worker, because Playwright runs only once in a process."""
    # Most runs need no browser.
    from playwright.sync_api import sync_playwright

    from tests.support import judges

    chromium = judges.require_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=judges.CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
