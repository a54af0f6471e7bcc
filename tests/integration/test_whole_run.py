"""A run by several workers reports as one by a single process does: one ledger, one summary, and red when one worker finds something."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.functions import ROOT
from tests.support.whole_run import INDEPENDENT, ONE_STACK, OTHER_STACK, unit

pytestmark = pytest.mark.slow

DOCUMENT = {
    "info": {"version": "2026-10-28.endive"},
    "paths": {
        "/v1/customers": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": {"email": {"type": "string"}}}}
                    }
                },
                "responses": {"default": {"content": {"application/json": {"schema": {"type": "object", "properties": {"id": {}}}}}}},
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
    LEDGER.note("POST", {path!r}, {body!r}, {version!r})
    LEDGER.note_answer("POST", {path!r}, 200, {answer!r}, {version!r})
"""


class Sent(NamedTuple):
    """A request to Stripe and its answer."""

    body: str = "email=a"
    path: str = "/v1/customers"
    version: str | None = None
    answer: str = '{"id": "cus_1"}'


GOOD = Sent()


def run(folder: Path, requests: list[Sent], *options: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of one file for each request to Stripe. Two workers begin two files."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "stripe.json").write_text(json.dumps(DOCUMENT))
    for number, sent in enumerate(requests):
        (folder / f"test_{number}.py").write_text(TEST.format(**sent._asdict()))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", "--rootdir", str(folder), "-c", "/dev/null"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"STRIPE_OPENAPI": str(folder / "stripe.json"), "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run([*command, *options, str(folder)], env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("bad", "found", "said"),
    [
        (Sent(body="e_mail=a"), "requests sent to Stripe: 2 fitting, 1 not fitting, 0 unchecked", "'e_mail' was unexpected"),
        (Sent(path="/v1/charges"), "requests sent to Stripe: 2 fitting, 0 not fitting, 1 unchecked", "unchecked: 1 POST /v1/charges"),
        (Sent(version="2026-09-30.endive"), "requests sent to Stripe: 2 fitting, 1 not fitting, 0 unchecked", "Stripe-Version 2026-09-30"),
        (Sent(version="2026-09-30.preview"), "requests sent to Stripe: 2 fitting, 0 not fitting, 1 unchecked", "1 POST /v1/customers"),
        (Sent(answer='{"ID": "cus_1"}'), "answers of the simulator: 2 fitting, 1 not fitting, 0 unchecked", "'ID' was unexpected"),
    ],
    ids=["parameter", "operation", "version", "operation of another version", "answer"],
)
def test_what_a_worker_finds_turns_the_run_red(tmp_path: Path, bad: Sent, found: str, said: str) -> None:
    done = run(tmp_path, [GOOD, bad, GOOD], "-n", "2")
    assert "3 passed" in done.stdout
    assert found in done.stdout
    assert said in done.stdout
    assert done.returncode == 1


def test_run_by_workers_adds_their_ledgers_and_ends_with_one_summary(tmp_path: Path) -> None:
    done = run(tmp_path, [GOOD] * 4, "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 requests sent to Stripe: 4 fitting, 0 not fitting, 0 unchecked" in done.stdout
    assert "answers of the simulator: 4 fitting, 0 not fitting, 0 unchecked" in done.stdout
    assert set(re.findall(r"^gw\d$", done.stdout, re.MULTILINE)) == {"gw0", "gw1"}
    assert re.fullmatch(r"=+ 4 passed in [0-9.]+s =+", done.stdout.splitlines()[-1])


def test_single_process_reports_the_same(tmp_path: Path) -> None:
    done = run(tmp_path, [GOOD, Sent(body="e_mail=a")])
    assert "2 requests sent to Stripe: 1 fitting, 1 not fitting, 0 unchecked" in done.stdout
    assert "the only process" in done.stdout
    assert re.fullmatch(r"=+ 2 passed in [0-9.]+s =+", done.stdout.splitlines()[-1])
    assert done.returncode == 1


PACKAGE = {
    "often.py": "def often():\n    return 1\n",
    "seldom.py": "def seldom(this):\n    if this:\n        return 1\n    return 2\n",
    "never.py": "def never():\n    return 1\n",
}
RUNS = {
    "test_a.py": "from often import often\ndef test_a(): often()\n",
    "test_b.py": "from seldom import seldom\ndef test_b(): seldom(1)\n",
}


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="make test measures with Python 3.12 and newer")
@pytest.mark.parametrize(("limit", "code"), [(60, 0), (70, 1)])
def test_run_says_which_lines_no_worker_ran_and_fails_below_the_limit(tmp_path: Path, limit: int, code: int) -> None:
    (tmp_path / "code").mkdir()
    for name, text in {**{f"code/{name}": text for name, text in PACKAGE.items()}, **RUNS}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(tmp_path / 'code')!r})\n{CONFTEST}")
    settings = tmp_path / "coverage.toml"
    settings.write_text(f'[tool.coverage.run]\nsource = ["{tmp_path}/code"]\ncore = "sysmon"\n')
    options = ["-n", "2", "-p", "pytest_cov", "--cov", f"--cov-config={settings}", "--cov-report=", f"--cov-fail-under={limit}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", "--rootdir", str(tmp_path), "-c", "/dev/null"]
    done = subprocess.run(
        [*command, *options, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "62.5 % of 8 lines. Below 90 %: 2 files\n  0.0 % of code/never.py: not 1-2\n 75.0 % of code/seldom.py: not 4\n" in done.stdout, (
        done.stdout
    )
    assert re.fullmatch(r"=+ 2 passed in [0-9.]+s =+", done.stdout.splitlines()[-1])


def test_tests_of_a_stack_share_a_worker_and_begin_before_the_others() -> None:
    assert all((ROOT / path).exists() for path in (*ONE_STACK, *OTHER_STACK, *INDEPENDENT))
    first, second = unit("tests/e2e/test_http.py::test_a"), unit("tests/e2e/test_webhooks.py::TestB::test_b[c]")
    assert first == second
    assert unit("tests/e2e/test_canary.py::test_a")[1] != first[1]
    assert max(first[0], unit("tests/e2e/test_canary.py::test_a")[0]) < unit("tests/unit/test_refresh_policy.py::test_a")[0]
    assert unit("tests/simulation/test_simulation.py::test_a")[1] != unit("tests/simulation/test_simulation.py::test_b")[1]
