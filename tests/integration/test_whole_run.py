"""A run by several workers reports as one by a single process does: one ledger, one summary, and red when one worker finds something."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.functions import ROOT
from tests.support.whole_run import INDEPENDENT, ONE_STACK, OTHER_STACK, unit

pytestmark = pytest.mark.slow

DOCUMENT = {
    "paths": {
        "/v1/customers": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": {"email": {"type": "string"}}}}
                    }
                }
            }
        }
    },
    "components": {"schemas": {}},
}
CONFTEST = 'pytest_plugins = ["tests.support.whole_run"]\n'
TEST = """
import os
from tests.support.stripe_openapi import LEDGER
def test_sends(record_property):
    record_property("totals", ["sent by", os.environ.get("PYTEST_XDIST_WORKER", "the only process")])
    LEDGER.note("POST", "/v1/customers", {body!r})
"""
GOOD, BAD = "email=a", "e_mail=a"


def run(folder: Path, bodies: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of one file for each request to Stripe; two files are begun by two workers."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "stripe.json").write_text(json.dumps(DOCUMENT))
    for number, body in enumerate(bodies):
        (folder / f"test_{number}.py").write_text(TEST.format(body=body))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", "--rootdir", str(folder), "-c", "/dev/null"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"STRIPE_OPENAPI": str(folder / "stripe.json"), "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run([*command, *options, str(folder)], env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_request_of_a_worker_that_does_not_fit_turns_the_run_red(tmp_path: Path) -> None:
    done = run(tmp_path, [GOOD, BAD, GOOD], "-n", "2")
    assert "3 passed" in done.stdout
    assert "3 requests sent to Stripe, 2 fit its document, 1 do not" in done.stdout
    assert "'e_mail' was unexpected" in done.stdout
    assert done.returncode == 1


def test_run_by_workers_adds_their_ledgers_and_ends_with_one_summary(tmp_path: Path) -> None:
    done = run(tmp_path, [GOOD] * 4, "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 requests sent to Stripe, 4 fit its document, 0 do not; not in it: none" in done.stdout
    assert set(re.findall(r"^gw\d$", done.stdout, re.MULTILINE)) == {"gw0", "gw1"}
    assert re.fullmatch(r"=+ 4 passed in [0-9.]+s =+", done.stdout.splitlines()[-1])


def test_single_process_reports_the_same(tmp_path: Path) -> None:
    done = run(tmp_path, [GOOD, BAD])
    assert "2 requests sent to Stripe, 1 fit its document, 1 do not; not in it: none" in done.stdout
    assert "the only process" in done.stdout
    assert re.fullmatch(r"=+ 2 passed in [0-9.]+s =+", done.stdout.splitlines()[-1])
    assert done.returncode == 1


def test_tests_of_a_stack_share_a_worker_and_begin_before_the_others() -> None:
    assert all((ROOT / path).exists() for path in (*ONE_STACK, *OTHER_STACK, *INDEPENDENT))
    first, second = unit("tests/e2e/test_http.py::test_a"), unit("tests/e2e/test_webhooks.py::TestB::test_b[c]")
    assert first == second
    assert unit("tests/e2e/test_canary.py::test_a")[1] != first[1]
    assert max(first[0], unit("tests/e2e/test_canary.py::test_a")[0]) < unit("tests/unit/test_refresh_policy.py::test_a")[0]
    assert unit("tests/simulation/test_simulation.py::test_a")[1] != unit("tests/simulation/test_simulation.py::test_b")[1]
