"""The files in which shells and programs find the stack that `make up` started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local import stack


def running(simulated: bool) -> Any:
    """What is read of a running stack."""
    return SimpleNamespace(
        api_url="http://127.0.0.1:4566/_aws/execute-api/a", webhook_url="http://127.0.0.1:4566/_aws/execute-api/a/webhooks/stripe",
        stripe_url="http://127.0.0.1:12111", webhook_secret="whsec_a", aws=SimpleNamespace(endpoint="http://127.0.0.1:4566"),
        stripe=SimpleNamespace(url="http://127.0.0.1:12111") if simulated else None,
    )  # fmt: skip


@pytest.mark.parametrize("simulated", [True, False])
def test_shell_finds_the_urls(tmp_path: Path, simulated: bool) -> None:
    stack.write_state(running(simulated), tmp_path / "stack.json")
    shell = ["bash", "-euc", '. ./stack.env; echo "$API ${SIMULATOR:-none}"']
    said = subprocess.run(shell, cwd=tmp_path, env={}, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["http://127.0.0.1:4566/_aws/execute-api/a", "http://127.0.0.1:12111" if simulated else "none"]


def test_files_of_a_stack_that_has_ended_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stack.json"
    monkeypatch.setattr(stack, "STATE", path)
    stack.write_state(running(simulated=True), path)
    assert stack.running_state() is not None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": ended.pid}))
    assert stack.running_state() is None
    assert list(tmp_path.iterdir()) == []


def test_description_names_the_time_after_which_a_lost_webhook_is_healed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack.write_state(running(simulated=True), tmp_path / "stack.json")
    stack._describe(json.loads((tmp_path / "stack.json").read_text()))
    assert f"asks again after {stack.SETTLE_TIMEOUT_SECONDS} s" in capsys.readouterr().out
    page = (Path(__file__).parents[2] / "docs" / "local-stack.md").read_text()
    assert f"{stack.SETTLE_TIMEOUT_SECONDS} seconds in a stack of `make up`" in " ".join(page.split())
