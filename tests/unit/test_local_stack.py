"""The files in which shells and programs find the stack that `make up` started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from local import desk, stack
from local.aws.paths import ROOT


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


def test_shell_finds_the_stack_of_the_desk_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "stack.env"
    with desk.variables(running(simulated=True), path):
        assert path.read_text() == "API=http://127.0.0.1:4566/_aws/execute-api/a\nSIMULATOR=http://127.0.0.1:12111\n"
    assert not path.exists()


def test_desk_names_the_routes_that_take_a_persons_token() -> None:
    resources = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Resources"].values()
    routes = [each["Properties"] for each in resources if each["Type"] == "AWS::ApiGatewayV2::Route"]
    tokens = [route["RouteKey"] for route in routes if "ReviewByJwt" in str(route.get("AuthorizationType"))]
    assert sorted(desk.PEOPLES_ROUTES) == sorted(tokens)
    assert all(f"  {route}" in desk.CREDENTIALS for route in tokens)


@pytest.mark.parametrize(
    ("reviewers", "said"), [(0, "none (for reviews: make down, then make up REVIEWERS=1)"), (1, "one reviewer"), (2, "two reviewers")]
)
def test_description_says_whether_close_matches_open_reviews(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reviewers: int, said: str
) -> None:
    stack.write_state(running(simulated=True), tmp_path / "stack.json", reviewers)
    stack._describe(json.loads((tmp_path / "stack.json").read_text()))
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Reviews ")]
    assert line.endswith(said)


def test_description_names_the_time_after_which_a_lost_webhook_is_healed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack.write_state(running(simulated=True), tmp_path / "stack.json")
    stack._describe(json.loads((tmp_path / "stack.json").read_text()))
    assert f"asks again after {stack.SETTLE_TIMEOUT_SECONDS} s" in capsys.readouterr().out
    page = (Path(__file__).parents[2] / "docs" / "local-stack.md").read_text()
    assert f"{stack.SETTLE_TIMEOUT_SECONDS} seconds in a stack of `make up`" in " ".join(page.split())
