"""The snippets of README.md and docs/http.md, as they stand there, against the stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.aws.paths import ROOT
from local.stack import write_state
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


def readme(language: str) -> str:
    """README.md's block that verifies an account."""
    [section] = re.findall(r"^## One verified account\n(.*?)(?=^## )", (ROOT / "README.md").read_text(), re.M | re.S)
    [code] = re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
    return str(code)


@pytest.fixture
def checkout(driver: StackDriver, tmp_path: Path) -> Path:
    """A folder with what `make up` leaves in a checkout, for this stack."""
    (tmp_path / "build").mkdir()
    write_state(driver.stack, tmp_path / "build" / "stack.json")
    return tmp_path


def ran(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command that finds nothing but the folder and the programs on the PATH."""
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)


def test_readme_verifies_an_account_by_curl_and_the_commands_may_be_run_again(checkout: Path) -> None:
    answers = []
    for _ in range(2):
        done = ran(checkout, "bash", "-euo", "pipefail", "-c", readme("sh"))
        assert (done.returncode, done.stderr) == (0, "")
        answers.append(json.loads(done.stdout))
    assert answers[0]["id"] == answers[1]["id"]
    assert answers[1]["verdict"]["outcome"] == "match"


def test_readme_verifies_an_account_by_python(checkout: Path) -> None:
    done = ran(checkout, sys.executable, "-c", readme("python"))
    assert done.stdout.startswith("match ["), done


def test_readme_shows_the_answer_to_a_wrong_key(checkout: Path) -> None:
    code = readme("python")
    assert code.count('Credentials("test", "test")') == 1
    done = ran(checkout, sys.executable, "-c", code.replace('"test", "test"', '"test", "wrong"'))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("POST /verifications: 403 ")


def test_lost_webhook_is_healed_by_the_commands_of_the_page_on_the_local_stack(checkout: Path) -> None:
    text = (ROOT / "docs" / "local-stack.md").read_text()
    [code] = re.findall(r"^## Watch a lost webhook being healed\n.*?^```sh\n(.*?)^```", text, re.M | re.S)
    done = ran(checkout, "bash", "-euo", "pipefail", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    steps = [line.split(maxsplit=1)[1].strip() for line in done.stdout.splitlines()]
    assert steps == ["requested", "refresh_started", "owners_fetched", "woken time_out", "verdict"]
