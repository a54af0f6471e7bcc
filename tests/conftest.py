"""What the whole run shows: every request that our code sent to Stripe fits Stripe's document, where STRIPE_OPENAPI names one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stripe_openapi import LEDGER


def pytest_sessionfinish(session: pytest.Session) -> None:
    if LEDGER.violations:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if LEDGER.sent:
        terminalreporter.section("requests to Stripe")
        terminalreporter.line(LEDGER.summary())
        for violation in sorted(set(LEDGER.violations)):
            terminalreporter.line(violation)
