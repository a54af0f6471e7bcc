"""Files for people who adopt or change the project: checks before a commit, GitHub's workflow, editors' settings, metadata."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml
from pre_commit.clientlib import load_config

from tests.support.functions import ROOT
from titleholder import __version__

README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"
FULL_COMMIT = re.compile(r"^[\w-]+/[\w-]+@[0-9a-f]{40}$")


def steps() -> list[dict[str, Any]]:
    return [step for job in yaml.safe_load(WORKFLOW.read_text())["jobs"].values() for step in job["steps"]]


def tracked() -> list[str]:
    """The text files of the repository. A folder without Git has none."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
    return [name for name in listed if not name.endswith((".png", ".svg", "__init__.py", "py.typed")) and (ROOT / name).is_file()]


def test_workflow_runs_the_commands_of_the_readme() -> None:
    commands = re.findall(r"^(make (?:demo|test|check))\b", README, re.MULTILINE)
    assert {"make demo", "make test"} <= set(commands)
    assert set(commands) <= {step.get("run") for step in steps()}


def test_workflow_may_only_read_and_its_actions_cannot_change() -> None:
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {"contents": "read"}
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert [name for name in used if not FULL_COMMIT.match(name)] == []


def test_checks_before_a_commit_are_those_of_make_lint() -> None:
    [local] = load_config(ROOT / ".pre-commit-config.yaml")["repos"]
    run = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in local["hooks"]}
    body = "".join(re.findall(r"^(?:types|style): .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE))
    assert run == set(re.findall(r"\$\(BIN\)/(\S+)", body))


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_targets_that_a_page_names_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text())) - targets == set()


def test_metadata_names_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    assert re.search(rf"^## {re.escape(__version__)} \(", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert (ROOT / project["readme"]).is_file()


def test_files_are_as_editors_are_told_to_write_them() -> None:
    wrong = []
    for name in tracked():
        text = (ROOT / name).read_bytes()
        try:
            lines = text.decode("utf-8").split("\n")
        except UnicodeDecodeError:
            wrong.append(f"{name}: not UTF-8")
            continue
        made = name.endswith("Makefile")
        wrong += [f"{name}: no newline at the end"] if text and lines[-1] else []
        wrong += [
            f"{name}:{number}" for number, line in enumerate(lines, 1) if line != line.rstrip() or (line.startswith("\t") and not made)
        ]
    assert wrong == []
