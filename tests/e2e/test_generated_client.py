"""A client that is generated from the OpenAPI document, as docs/client.md says, verifies an account on the stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.stack import write_state
from tests.e2e.stack_driver import StackDriver
from tests.e2e.test_snippets import blocks
from tests.support.generated_client import PYTHON, generated, run


@pytest.fixture
def block(driver: StackDriver, tmp_path: Path) -> str:
    """The page's program. The folder has what `make up` leaves in a checkout."""
    [found] = blocks("docs/client.md", "python")
    (tmp_path / "build").mkdir()
    write_state(driver.stack, tmp_path / "build" / "stack.json")
    return found


def test_generated_client_signs_and_verifies_an_account(block: str, tmp_path: Path) -> None:
    outcome, score, _ = run(block, cwd=tmp_path).split(maxsplit=2)
    assert outcome == "match"
    assert 90 <= float(score) <= 100


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('Credentials("test", "test")', 'Credentials("test", "wrong")', "API Gateway: Forbidden"),
        ("NewVerification(account=account", "NewVerification(account='fca'", "urn:titleholder:problem:invalid-request: "),
        ("found = checked(create", "new.claim.name = 'x' * 2000; found = checked(create", "[{'field': 'claim.name'"),
    ],
)
def test_program_of_the_page_says_why_a_call_is_refused(block: str, tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert block.count(right) == 1
    with pytest.raises(AssertionError) as caught:
        run(block.replace(right, wrong), cwd=tmp_path)
    last = str(caught.value).splitlines()[0]
    assert said in last
    assert "Traceback" not in str(caught.value).partition("assert ")[0]


def test_program_of_the_page_type_checks(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("".join(blocks("docs/client.md", "python")))
    command = [sys.executable, "-m", "mypy", "--config-file=", "--cache-dir=.cache", "--python-executable", str(PYTHON)]
    options = ["--ignore-missing-imports", "--follow-imports=silent", "program.py"]
    environment = {"PATH": os.environ["PATH"], "MYPYPATH": str(generated())}
    done = subprocess.run([*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_generated_client_reads_a_refusal_of_the_gateway_and_a_problem(block: str, tmp_path: Path) -> None:
    setting_up, found, _ = block.partition("\naccount = ")
    assert found
    calls = """
from titleholder_client.api.accounts import get_owners
from titleholder_client.models import GatewayMessage
problem = get_owners.sync("fca_unknown", client=client)
print(type(problem).__name__, problem.type_, problem.status)
auth.signer.credentials.secret_key = "wrong"
print(get_owners.sync("fca_unknown", client=client))
"""
    problem, refusal = run(setting_up + calls, cwd=tmp_path).splitlines()
    assert problem == "Problem urn:titleholder:problem:snapshot-not-found 404"
    assert refusal.startswith("GatewayMessage(message='Forbidden'")
