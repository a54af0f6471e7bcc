"""The snippets of docs/http.md, as they stand there, against the stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

import pytest

from local.aws.paths import ROOT
from tests.e2e.stack_driver import StackDriver

SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "docs" / "http.md").read_text(), re.M | re.S))
END_USER = "# Its client_secret goes to your page, where the end user links an account. Then:"


def snippet(section: str, language: str) -> str:
    [code] = re.findall(rf"^```{language}\n(.*?)^```", SECTIONS[section], re.M | re.S)
    return str(code)


def shell(driver: StackDriver, code: str, **variables: str) -> str:
    """What the code prints. It fails the test if a command fails."""
    script = f"set -euo pipefail\n{snippet('Setting up', 'sh')}\n{code}"
    environment = {"PATH": os.environ["PATH"], "API": driver.stack.api_url, "SIMULATOR": driver.stack.stripe_url, **variables}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def python(driver: StackDriver, code: str, **variables: str) -> dict[str, Any]:
    """The names that the code leaves behind."""
    scope: dict[str, Any] = {}
    before = dict(os.environ)
    os.environ.update(API=driver.stack.api_url, **variables)
    try:
        exec(f"{snippet('Setting up', 'python')}\n{code}", scope)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return scope


def linked_in_between(code: str, command: str) -> str:
    """The code with what the end user does, where it says so."""
    assert code.count(END_USER) == 1
    return code.replace(END_USER, command)


VERIFY, COLLECT, HEAR = list(SECTIONS)[2:5]
# Owners are there already, so that no verification goes on behind later tests.
COMPLETE = '{"accounts": [{"scenario": "fresh"}]}'


def test_account_is_verified_by_curl(driver: StackDriver) -> None:
    assert "'outcome': 'match'" in shell(driver, snippet(VERIFY, "sh"), ACCOUNT=driver.link("single_owner"))


def test_account_is_verified_by_python(driver: StackDriver, capsys: pytest.CaptureFixture[str]) -> None:
    python(driver, snippet(VERIFY, "python"), ACCOUNT=driver.link("single_owner"))
    assert capsys.readouterr().out.startswith("match")


def test_account_is_collected_and_verified_by_curl(driver: StackDriver) -> None:
    code = linked_in_between(snippet(COLLECT, "sh"), f"""curl -sf "$SIMULATOR/_simulator/complete/$session" -d '{COMPLETE}' > /dev/null""")
    assert shell(driver, code).strip() in ("waiting", "completed")


def test_account_is_collected_and_verified_by_python(driver: StackDriver, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"{driver.stack.stripe_url}/_simulator/complete/"
    code = linked_in_between(snippet(COLLECT, "python"), f"assert requests.post({url!r} + session, data={COMPLETE!r}, timeout=9).ok")
    python(driver, code)
    assert capsys.readouterr().out.strip() in ("waiting", "completed")


def test_owners_are_read_by_curl(driver: StackDriver) -> None:
    account = driver.link("fresh")
    # Not at once where 429s of earlier tests still slow the stack's calls.
    driver.verdict(driver.request(account).body["id"])
    assert "'name': 'MARGARET ANNE TESTERMAN'" in shell(driver, snippet(HEAR, "sh"), ACCOUNT=account)


def test_handler_of_the_event_takes_what_is_announced(driver: StackDriver, announcement_queue: str) -> None:
    scope = python(driver, snippet(HEAR, "python"))
    for claim, said in (({"name": "Margaret Testerman"}, "approve"), ({"name": "Oliver Placeholder"}, "ask one of 1 owners")):
        verification = driver.accepted(driver.link("single_owner"), claim)
        driver.verdict(verification)
        while (event := driver.received(announcement_queue))["detail"].get("verification") != verification:
            pass
        assert scope["handler"](json.loads(json.dumps(event)), None) == said
