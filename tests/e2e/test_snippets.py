"""The snippets of README.md and of pages in docs, unchanged, against the stack. Nothing is set elsewhere."""

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


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code of one language in a page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


@pytest.fixture
def checkout(driver: StackDriver, tmp_path: Path) -> Path:
    """A folder with what `make up` leaves in a checkout, for this stack."""
    (tmp_path / "build").mkdir()
    write_state(driver.stack, tmp_path / "build" / "stack.json")
    return tmp_path


def ran(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command that finds only the folder and the programs on the PATH."""
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)


def test_shell_blocks_of_the_http_page_run_one_after_the_other(checkout: Path) -> None:
    done = ran(checkout, "bash", "-euo", "pipefail", "-c", "".join(blocks("docs/http.md", "sh")))
    assert (done.returncode, done.stderr) == (0, "")
    verdict, accounts, summary, owners, state, cancelled, importing, line = done.stdout.splitlines()
    assert "'outcome': 'match'" in verdict
    assert "'account': 'fca_" in accounts
    assert "'any': True" in summary
    assert "'name': 'MARGARET ANNE TESTERMAN'" in owners
    assert state == "waiting"
    assert "'reasons': ['CANCELLED']" in cancelled
    assert importing == "importing"
    result = json.loads(line)
    assert (result["reference"], result["outcome"]) == ("payout-1", "match")


def test_shell_blocks_of_the_http_page_show_the_answer_to_a_wrong_key(checkout: Path) -> None:
    setting_up, verify, *_ = blocks("docs/http.md", "sh")
    assert setting_up.count("SECRET=test") == 1
    done = ran(checkout, "bash", "-euo", "pipefail", "-c", setting_up.replace("SECRET=test", "SECRET=wrong") + verify)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "{'message': 'Forbidden'}\n")


def test_python_blocks_of_the_http_page_run_one_after_the_other(
    driver: StackDriver, checkout: Path, announcement_queue: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    scope: dict[str, Any] = {}
    exec("".join(blocks("docs/http.md", "python")), scope)
    verified, collected = capsys.readouterr().out.splitlines()
    assert verified.startswith("match [")
    assert collected in ("waiting", "completed")
    # The handler of the event takes what is announced.
    for claim, said in (({"name": "Margaret Testerman"}, "approve"), ({"name": "Oliver Placeholder"}, "ask one of 1 owners")):
        verification = driver.accepted(driver.link("single_owner"), claim)
        driver.verdict(verification)
        while (event := driver.received(announcement_queue))["detail"].get("verification") != verification:
            pass
        assert scope["handler"](json.loads(json.dumps(event)), None) == said


def readme(language: str) -> str:
    """README.md's block that verifies an account."""
    [code] = [block for block in blocks("README.md", language) if "/verifications" in block]
    return code


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


def test_webhook_is_lost_or_arrives_twice_by_the_commands_of_the_page_on_the_local_stack(checkout: Path) -> None:
    lost, twice = [block for block in blocks("docs/local-stack.md", "sh") if "lost_webhook" in block or '"duplicate"' in block]
    done = ran(checkout, "bash", "-euo", "pipefail", "-c", lost + twice)
    assert (done.returncode, done.stderr) == (0, "")
    steps = [line.split(maxsplit=1)[1].strip() for line in done.stdout.splitlines()[:5]]
    assert steps == ["requested", "refresh_started", "owners_fetched", "woken time_out", "verdict"]
    # The webhook that arrives twice: the event's id and the answer to each delivery, then the number of paid refreshes.
    first, second, refreshes = done.stdout.splitlines()[5:]
    assert first == second
    assert first.startswith("evt_")
    assert first.endswith(" 200")
    assert refreshes == "1"


def test_close_match_is_reviewed_by_the_commands_of_the_page_on_the_local_stack(checkout: Path) -> None:
    [code] = [block for block in blocks("docs/local-stack.md", "sh") if "/comparison" in block]
    done = ran(checkout, "bash", "-euo", "pipefail", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    waiting, fields, final = done.stdout.splitlines()
    # Other tests open reviews, too.
    assert waiting.rstrip("+").isdigit()
    assert "FAMILY REVOCABLE TRUST" in fields
    assert "'outcome': 'match', 'by': 'review'" in final


def test_faults_of_the_simulator_s_page_do_what_it_says(checkout: Path) -> None:
    code = "".join(blocks("docs/reference/simulator.md", "sh"))
    done = ran(checkout, "bash", "-euo", "pipefail", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    lost_answer, paid, lost_webhook, paid_too = done.stdout.splitlines()
    assert "verdict" in lost_answer.split()
    assert "time_out" not in lost_answer
    assert lost_webhook.split() == ["requested", "refresh_started", "owners_fetched", "time_out", "verdict"]
    assert (paid, paid_too) == ("1", "1")
