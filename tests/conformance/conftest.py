"""Adds the conformance report to the end of a test run that covered the corpus."""

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the report when conformance tests ran."""
    ran = [r for reports in terminalreporter.stats.values() for r in reports if "tests/conformance/" in getattr(r, "nodeid", "")]
    if ran:
        from tests.conformance.report import render

        terminalreporter.section("matching: conformance by class")
        terminalreporter.write_line(render())
