"""A pytest plugin for runs by several workers (pytest-xdist): one report of their results, and which worker runs which test.

Each worker notes the requests that it sends to Stripe (`LEDGER`). When it ends it hands its ledger to the process that started the workers.
That process adds the ledgers up and fails the run for a request or an answer that does not fit Stripe's document, or that no document
describes.

Where pytest-cov measures, it adds up which lines the workers ran and fails the run below the limit (`make test`). This plugin prints the
files of which many lines did not run.

A test that prints totals gives them to the fixture `record_property` under the name `TOTALS`, because pytest hides what workers print.
"""

from __future__ import annotations

import os.path
from typing import Any

import pytest

from tests.support import dynamodb_local
from tests.support.stripe_openapi import LEDGER

TOTALS = "totals"
"""Name of a property whose value, a list of a title and lines, is printed below the tests."""

LEDGER_OF_WORKER = "requests to Stripe"

FEW = 90
"""Per cent of its lines below which a file is named."""

# -- what was found ----------------------------------------------------------------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[LEDGER_OF_WORKER] = LEDGER.state()
    elif not LEDGER.clean:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Take over what a worker found. xdist itself fails the run for a worker that crashed."""
    found = getattr(node, "workeroutput", {}).get(LEDGER_OF_WORKER)
    if found is not None:
        LEDGER.add(found)
    elif error is None:
        LEDGER.violations.append(f"{node.gateway.id} ended without its ledger")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == TOTALS and report.when == "call":
                title, *lines = value
                terminalreporter.section(title)
                terminalreporter.write("".join(f"{line}\n" for line in lines))
    if LEDGER.sent or LEDGER.violations:
        terminalreporter.section("requests to Stripe")
        for line in LEDGER.summary().splitlines():
            terminalreporter.line(line)
        for violation in sorted(set(LEDGER.violations)):
            terminalreporter.line(violation)
    measured = getattr(terminalreporter.config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    if measured is not None:
        terminalreporter.section("lines that the tests ran")
        for line in covered(measured.cov):
            terminalreporter.line(line)


def covered(measured: Any) -> list[str]:
    """The total of a `coverage.Coverage`, and each file of which less than `FEW` per cent of the lines ran, with the lines that did not."""
    lines, ran, low = 0, 0, []
    for file in sorted(measured.get_data().measured_files()):
        _, statements, _, missing, text = measured.analysis2(file)
        lines += len(statements)
        ran += len(statements) - len(missing)
        if statements and (share := 100 * (1 - len(missing) / len(statements))) < FEW:
            low.append(f"{share:5.1f} % of {os.path.relpath(file)}: not {text}")
    return [f"{100 * ran / (lines or 1):.1f} % of {lines} lines. Below {FEW} %: {len(low) or 'no'} files", *low]


# -- which worker runs what --------------------------------------------------------------------------------------------------------------

ONE_STACK = ("tests/e2e/", "tests/integration/local_aws/")
"""Folders whose tests share a stack."""
OTHER_STACK = ("tests/e2e/test_canary.py", "tests/e2e/test_permissions.py")
"""Files that take as long as the rest of their folder, so they get another stack."""
DESK = "tests/e2e/test_desk"
"""How the names of files begin whose tests share the desk's stack and its browser."""
INDEPENDENT = (
    "tests/simulation/test_simulation.py", "tests/simulation/test_isolation.py", "tests/simulation/test_lost_and_found.py",
    "tests/unit/test_matcher_fuzz.py", "tests/unit/test_shortlist.py",
)  # fmt: skip
"""Files whose tests take seconds each and share no fixture."""


def unit(nodeid: str) -> tuple[int, str]:
    """When a test begins, as a rank, and its unit: one worker runs all tests of a unit.

    Tests with a stack begin first, because they wait most of their time, and other workers use the processor meanwhile. The shortest come
    last, so that all workers end at about the same time.
    """
    path = nodeid.partition("::")[0]
    if dynamodb_local.NAME in nodeid:
        return 2, dynamodb_local.NAME
    if path in OTHER_STACK:
        return 0, "another stack"
    if path.startswith(DESK):
        return 0, DESK
    for folder in ONE_STACK:
        if path.startswith(folder):
            return 1, folder
    if path in INDEPENDENT:
        return 3, nodeid
    return (2 if path.startswith("tests/simulation/") else 4 if path.startswith("tests/integration/") else 5), path


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: unit(item.nodeid)[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByUnit(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)[1]

    config.option.loadscopereorder = False
    return ByUnit(config, log)
