"""Judges that other people wrote: programs and documents that a test compares our work with, and that a machine may lack.

A test asks for its judge with `require`. Where the judge is missing, the test is skipped and the run ends with a line that says so; with
REQUIRE_JUDGES=1 the test fails. As a pytest plugin, this module prints those lines, also what workers of pytest-xdist found missing.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

VARIABLE = "REQUIRE_JUDGES"
MISSING = "JUDGE MISSING: "
REQUIRED = f" ({VARIABLE} is set)"


def require(name: str, found: bool, how: str, *, waived: bool = False) -> None:
    """End the running test unless its judge `name` was found. `how` says how it is installed.

    `waived`: the run does without this judge on purpose, so it does not fail, but says so.
    """
    if found:
        return
    text = f"{MISSING}{name}: {how}"
    if os.environ.get(VARIABLE, "0") not in ("", "0") and not waived:
        pytest.fail(text + REQUIRED, pytrace=False)
    pytest.skip(text)


def require_program(name: str, programs: tuple[str, ...], package: str) -> str:
    """The path of the first of `programs` that is on the PATH. `package` is Debian's name of its package."""
    path = next(filter(None, map(shutil.which, programs)), None)
    require(name, path is not None, f"{' or '.join(programs)} is not on the PATH (Debian: apt-get install {package})")
    assert path is not None
    return path


CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
"""For Chromium as root, and in a container with little shared memory."""


def require_chromium(*, whole: bool = False) -> str:
    """The path of Chromium. `whole`: with what the window brings, such as a cache of pages for the way back.

    Otherwise the program without a window is preferred. A page costs it less than half of the processor time.
    """
    return require_program("Chromium", CHROMIUM if whole else ("chromium-headless-shell", *CHROMIUM), "chromium")


def missing(reports: list[Any]) -> dict[str, int]:
    """What the reports of tests say is missing, with the number of tests that it would have judged."""
    found: dict[str, int] = {}
    for report in reports:
        text = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        # The text of a failure may follow that of the exception that it came from.
        for line in {line.removesuffix(REQUIRED) for line in text.splitlines() if line.startswith(MISSING)}:
            found[line] = found.get(line, 0) + 1
    return found


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for kind in ("skipped", "failed", "error") for report in terminalreporter.getreports(kind)]
    found = missing(reports)
    if found:
        terminalreporter.section("JUDGE MISSING", sep="!", red=True, bold=True)
    for line, tests in sorted(found.items()):
        terminalreporter.line(f"{line} [{tests} test{'s' * (tests > 1)} not judged]", red=True, bold=True)
