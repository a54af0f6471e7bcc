"""The package of the desk holds its sign-in library. Without npm it does not, which the build, the page and `make desk` say."""

from __future__ import annotations

import base64
import contextlib
import gzip
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route, expect

from local.aws import build
from local.aws.emulator import HOST
from local.desk import ISSUER_PORT
from tests.support import judges
from tests.support.functions import ROOT
from tools.fetch_npm import FetchError, fetch

pytestmark = pytest.mark.slow

PROGRAMS = ("make", "sh", "bash", "dirname", "sed", "find", "cp", "mkdir", "printf", "tr", "echo")


@pytest.fixture
def library() -> Path:
    try:
        return fetch("oauth4webapi") / "oauth4webapi"
    except FetchError as error:
        judges.require("oauth4webapi from npm", False, str(error))
        raise


def made(folder: Path, checkout: Path, *options: str, path: str = os.environ["PATH"]) -> tuple[Path, str]:
    """The artefact of the desk, and what its build complained about."""
    command = ["make", "-s", "-C", str(checkout / "functions"), "build-Desk", f"ARTIFACTS_DIR={folder}", f"PYTHON={sys.executable}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path})
    # SAM shows the output, and the embedded stack looks at the error output.
    assert done.stdout == done.stderr
    return folder, done.stderr


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH without npm and Node.js."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in PROGRAMS:
        if found := shutil.which(program):
            (programs / program).symlink_to(found)
    return str(programs)


@pytest.fixture
def without_npm(tmp_path: Path, path: str) -> tuple[Path, str]:
    """The artefact that is made without npm, in a checkout that has fetched nothing, and what its build complained about."""
    checkout = tmp_path / "checkout"
    for name in ("functions", "tools", "local"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    return made(tmp_path / "made", checkout, path=path)


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
    folder, complaints = made(tmp_path / "made", ROOT, "FETCH=--offline")
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
    assert set(settings["files"]) == {"desk.js", "sign_in.js"}


def test_a_page_without_the_library_says_so(without_npm: tuple[Path, str], browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = loaded(without_npm[0], monkeypatch)
    page = browser.new_page()

    def fulfil(route: Route) -> None:
        file = urlsplit(route.request.url).path.removeprefix("/desk").removeprefix("/")
        answer = asked(desk, file or None)
        route.fulfill(status=answer["statusCode"], headers=answer["headers"], body=base64.b64decode(answer["body"]))

    page.route("https://desk.example.com/**", fulfil)
    page.goto("https://desk.example.com/desk")
    expect(page.get_by_role("heading", name="The desk cannot sign you in")).to_be_visible()
    expect(page.locator("main")).to_contain_text("This build lacks the library for signing in")
    page.close()


def refusal(**environment: str) -> str:
    """Why `make desk` does not start."""
    command = [sys.executable, "-m", "local.desk"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_make_desk_says_which_program_is_missing_before_it_starts_anything(path: str) -> None:
    assert "npm and node must be on the PATH (Debian: apt-get install nodejs npm)" in refusal(PATH=path)


def test_make_desk_says_which_port_is_in_use_before_it_starts_anything(library: Path) -> None:
    judges.require_program("Node.js", ("node",), "nodejs")
    with socket.socket() as other:
        # Where another process has it already, the answer is the same.
        with contextlib.suppress(OSError):
            other.bind((HOST, ISSUER_PORT))
            other.listen()
        assert f"port {ISSUER_PORT} of {HOST} cannot be used" in refusal()


def test_the_embedded_stack_keeps_no_package_that_lacks_something(tmp_path: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    (root / "Makefile").write_text('build-One:\n\techo "x = 1" > "$(ARTIFACTS_DIR)/app.py"\n\techo "*** incomplete ***" >&2\n')
    assert build.run_makefile(root, "One", tmp_path / "var")
    assert not list((tmp_path / "var").rglob("*.zip"))
