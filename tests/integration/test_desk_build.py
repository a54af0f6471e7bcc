"""The package of the desk: with its sign-in library where npm is, and without it, said loudly by the build and the page, where it is not."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from local.aws import build
from tests.support import judges
from tests.support.functions import ROOT
from tools.fetch_npm import FetchError, fetch

PROGRAMS = ("make", "sh", "bash", "dirname", "sed", "find", "cp", "mkdir", "printf", "tr", "echo")


@pytest.fixture
def library() -> Path:
    try:
        return fetch("oauth4webapi") / "oauth4webapi"
    except FetchError as error:
        judges.require("oauth4webapi from npm", False, str(error))
        raise


def made(folder: Path, checkout: Path = ROOT, **environment: str) -> tuple[Path, str]:
    """The artefact of the desk, and what its build complained about. Nothing is downloaded."""
    command = ["make", "-s", "-C", str(checkout / "functions"), "build-Desk", f"ARTIFACTS_DIR={folder}", f"PYTHON={sys.executable}"]
    done = subprocess.run([*command, "FETCH=--offline"], capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return folder, done.stderr


@pytest.fixture
def without_npm(tmp_path: Path) -> tuple[Path, str]:
    """Made in a checkout that has fetched nothing, by a PATH without npm."""
    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    for name in ("functions", "tools", "local"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    programs.mkdir()
    for program in PROGRAMS:
        if found := shutil.which(program):
            (programs / program).symlink_to(found)
    command = ["make", "-s", "-C", str(checkout / "functions"), "build-Desk", f"ARTIFACTS_DIR={tmp_path / 'made'}"]
    done = subprocess.run(
        [*command, f"PYTHON={sys.executable}"], capture_output=True, text=True, check=True, env={**os.environ, "PATH": str(programs)}
    )
    return tmp_path / "made", done.stderr


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The function of an artefact, as Lambda imports it."""
    monkeypatch.setenv("DESK_ISSUER", "https://issuer.example.com")
    monkeypatch.setenv("DESK_CLIENT_ID", "desk")
    spec = importlib.util.spec_from_file_location("packaged_desk", folder / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "packaged_desk", module)
    spec.loader.exec_module(module)
    return module


def asked(desk: ModuleType, file: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = desk.handler({"headers": {}, "pathParameters": {"file": file} if file else None}, None)
    return answer


def test_the_package_holds_the_pinned_library_unchanged_with_its_licence(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, complaints = made(tmp_path / "made")
    assert complaints == ""
    served = base64.b64decode(asked(loaded(folder, monkeypatch), "oauth4webapi.js")["body"])
    assert served == (library / "build/index.js").read_bytes()
    assert len(gzip.compress(served)) < 20_000
    assert (folder / "oauth4webapi.LICENSE.md").read_text().startswith("The MIT License")
    assert json.loads((library / "package.json").read_text())["license"] == "MIT"


def test_a_build_without_npm_succeeds_and_says_loudly_what_is_missing(
    without_npm: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, complaints = without_npm
    assert "npm is not on the PATH, so oauth4webapi@" in complaints
    assert "*** The review desk is built WITHOUT its sign-in library, so no person can sign in there. ***" in complaints
    desk = loaded(folder, monkeypatch)
    assert asked(desk, "oauth4webapi.js")["statusCode"] == 404
    page = base64.b64decode(asked(desk)["body"]).decode()
    settings = json.loads(page.partition('id="settings">')[2].partition("</script>")[0])
    # By this the page knows that it has to say so (`test_desk_sign_in.py`).
    assert set(settings["files"]) == {"desk.js", "sign_in.js"}


def test_the_embedded_stack_keeps_no_package_that_lacks_something(tmp_path: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    (root / "Makefile").write_text('build-One:\n\techo "x = 1" > "$(ARTIFACTS_DIR)/app.py"\n\techo "*** incomplete ***" >&2\n')
    assert build.run_makefile(root, "One", tmp_path / "var")
    assert not list((tmp_path / "var").rglob("*.zip"))
