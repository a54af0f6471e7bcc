"""A judge that is missing is said loudly, or fails the run; a tool from npm is used only if it is the one that was pinned."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.functions import ROOT
from tools.fetch_npm import FetchError, fetch

TESTS = """
import pytest
from tests.support import judges

@pytest.fixture
def engine():
    try:
        raise OSError("not found")
    except OSError:
        judges.require("The engine", False, "install it")

@pytest.mark.parametrize("number", range(3))
def test_by_the_engine(engine, number):
    raise AssertionError("not judged")

def test_in_a_browser():
    judges.require_program("A browser", ("no-such-program",), "no-such-package")

def test_by_a_document():
    judges.require("The document", False, "none is here", waived=True)

def test_by_a_judge_that_is_there():
    judges.require("Python", True, "")
"""


def run(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.support.judges", "tests.support.whole_run"]\n')
    (folder / "test_a.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-ra",
        "-p",
        "no:cacheprovider",
        "-p",
        "xdist",
        "--rootdir",
        str(folder),
        "-c",
        "/dev/null",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "REQUIRE_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | variables
    return subprocess.run([*command, *options, str(folder)], env=environment, capture_output=True, text=True, timeout=120, check=False)


SAID = [
    "JUDGE MISSING: A browser: no-such-program is not on the PATH (Debian: apt-get install no-such-package) [1 test not judged]",
    "JUDGE MISSING: The document: none is here [1 test not judged]",
    "JUDGE MISSING: The engine: install it [3 tests not judged]",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "counts", "status"),
    [({}, "1 passed, 5 skipped", 0), ({"REQUIRE_JUDGES": "1"}, "1 failed, 1 passed, 1 skipped, 3 errors", 1)],
    ids=["wanted", "required"],
)
def test_missing_judge_that_workers_find_is_said_or_fails_the_run(
    tmp_path: Path, variables: dict[str, str], counts: str, status: int
) -> None:
    done = run(tmp_path, "-n", "2", **variables)
    lines = done.stdout.splitlines()
    assert done.returncode == status, done.stdout + done.stderr
    assert [line for line in lines if line.endswith("not judged]")] == SAID
    assert any(re.fullmatch(r"!+ JUDGE MISSING !+", line) for line in lines)
    assert re.fullmatch(rf"{counts} in [0-9.]+s", lines[-1])


# -- tools from npm ----------------------------------------------------------------------------------------------------------------------


def archive(text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        member = tarfile.TarInfo("package/tool.js")
        member.size = len(text)
        opened.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def pinned(folder: Path, content: bytes) -> Path:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    (folder / "npm.toml").write_text(f'[tool]\n"@maker/tool" = {{ version = "1.2.3", integrity = "sha512-{digest}" }}\n')
    return folder / "npm.toml"


def npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let the PATH have only a shell and an `npm` that is this script."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/bin:/usr/bin")


PACKS = 'echo "$@" >> {folder}/asked; cp {folder}/sent "$7/maker-tool-1.2.3.tgz"'


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the registry sends."""
    npm(tmp_path, monkeypatch, PACKS.format(folder=tmp_path))
    return tmp_path / "sent"


def test_tool_is_fetched_once(tmp_path: Path, registry: Path) -> None:
    registry.write_bytes(archive("content"))
    pins = pinned(tmp_path, archive("content"))
    for _ in range(2):
        assert (fetch("tool", pins, tmp_path / "npm") / "@maker/tool/tool.js").read_text() == "content"
    assert len((tmp_path / "asked").read_text().splitlines()) == 1


def test_tool_that_is_not_the_pinned_one_is_refused_and_not_kept(tmp_path: Path, registry: Path) -> None:
    registry.write_bytes(archive("other"))
    with pytest.raises(FetchError, match=r"@maker/tool@1.2.3 is not what npm.toml pins: sha512-"):
        fetch("tool", pinned(tmp_path, archive("content")), tmp_path / "npm")
    assert not list((tmp_path / "npm").rglob("*.tgz"))


def test_tool_is_checked_at_every_use(tmp_path: Path, registry: Path) -> None:
    registry.write_bytes(archive("content"))
    pins = pinned(tmp_path, archive("content"))
    fetch("tool", pins, tmp_path / "npm")
    (tmp_path / "npm/archives/maker-tool-1.2.3.tgz").write_bytes(archive("changed"))
    with pytest.raises(FetchError, match="is not what"):
        fetch("tool", pins, tmp_path / "npm")


def test_other_pins_unpack_anew(tmp_path: Path, registry: Path) -> None:
    for content in ("content", "newer"):
        registry.write_bytes(archive(content))
        (tmp_path / "npm/archives/maker-tool-1.2.3.tgz").unlink(missing_ok=True)
        assert (fetch("tool", pinned(tmp_path, archive(content)), tmp_path / "npm") / "@maker/tool/tool.js").read_text() == content


def test_fetching_says_why_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = pinned(tmp_path, archive("content"))
    npm(tmp_path, monkeypatch, "echo no network >&2; exit 3")
    with pytest.raises(FetchError, match=r"`npm pack @maker/tool@1\.2\.3` ended with status 3: no network"):
        fetch("tool", pins, tmp_path / "npm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"npm is not on the PATH, so @maker/tool@1\.2\.3 cannot be fetched"):
        fetch("tool", pins, tmp_path / "npm")
