"""A client that is generated from the OpenAPI document, as docs/client.md says, verifies an account on the stack."""

from __future__ import annotations

from pathlib import Path

from local.stack import write_state
from tests.e2e.stack_driver import StackDriver
from tests.e2e.test_snippets import blocks
from tests.support.generated_client import run

PROGRAM = "import os; os.environ['ACCOUNT'] = {account!r}\n{block}"


def test_generated_client_signs_and_verifies_an_account(driver: StackDriver, tmp_path: Path) -> None:
    [block] = blocks("docs/client.md", "python")
    (tmp_path / "build").mkdir()
    write_state(driver.stack, tmp_path / "build" / "stack.json")
    printed = run(PROGRAM.format(account=driver.link("single_owner"), block=block), cwd=tmp_path)
    outcome, score, _ = printed.split(maxsplit=2)
    assert outcome == "match"
    assert 90 <= float(score) <= 100


def test_generated_client_reads_a_refusal_of_the_gateway_and_a_problem(driver: StackDriver, tmp_path: Path) -> None:
    [block] = blocks("docs/client.md", "python")
    (tmp_path / "build").mkdir()
    write_state(driver.stack, tmp_path / "build" / "stack.json")
    setting_up, _, _ = block.partition("claim = Claim(")
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
