"""Which judges `.ci/run` has, and which documents of Stripe. It runs in a folder of its own, with a `make` that says what it got."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from local.stripe_simulator.options import PREVIEW_VERSION
from tests.support.functions import ROOT
from titleholder.stripe_api.gateway import API_VERSION

pytestmark = pytest.mark.slow

GA, PREVIEW = f"stripe_openapi_{API_VERSION[:10]}.json", "stripe_openapi_preview.json"
NEEDED = (".ci/run", "layers/titleholder/python/titleholder/stripe_api/gateway.py", "local/stripe_simulator/options.py")
MAKE = 'echo "made $1, judges required: $REQUIRE_JUDGES, judged by ${STRIPE_OPENAPI:-nothing} and ${STRIPE_OPENAPI_PREVIEW:-nothing}"'
INSTALLED = ("java", "npm", "chromium", "chromium-headless-shell", "unshare")


class Checkout:
    """A checkout beside `shared`, which does not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.reference = folder / "shared" / "reference"
        for name in NEEDED:
            (folder / "main" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "main" / name)
        (folder / "bin").mkdir()
        self._path = f"{folder / 'bin'}:{os.environ['PATH']}"
        for name in INSTALLED:
            self.program(name)
        self.program("make", MAKE)

    def program(self, name: str, script: str = "") -> None:
        path = self._folder / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def document(self, path: Path, version: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"openapi": "3.0.0", "info": {"version": version}}))
        return path

    def shared(self) -> tuple[Path, Path]:
        """The reference with both documents."""
        return self.document(self.reference / GA, API_VERSION), self.document(self.reference / PREVIEW, PREVIEW_VERSION)

    def without(self, name: str) -> None:
        """Let the PATH lack the program `name`, and hold no more than `.ci/run` itself needs."""
        (self._folder / "bin" / name).unlink()
        for tool in ("bash", "sh", "sed", "realpath", "dirname", "id", "python3"):
            (self._folder / "bin" / tool).symlink_to(shutil.which(tool) or tool)
        self._path = str(self._folder / "bin")

    def run(self, **environment: Path) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STRIPE_")}
        inherited["PATH"] = self._path
        given = {name: str(path) for name, path in environment.items()}
        command = ["bash", str(self._folder / "main" / ".ci" / "run")]
        return subprocess.run(command, env=inherited | given, cwd=self._folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def judged_by(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    assert done.returncode == 0, done.stderr
    ga, _, preview = done.stdout.strip().removeprefix("made test, judges required: 1, judged by ").partition(" and ")
    return ga, preview


def test_documents_of_the_reference_judge(checkout: Checkout) -> None:
    ga, preview = checkout.shared()
    done = checkout.run()
    assert judged_by(done) == (str(ga), str(preview))
    assert done.stderr == ""


def test_checkout_without_a_reference_runs_unjudged(checkout: Checkout) -> None:
    assert judged_by(checkout.run()) == ("none", "nothing")


def test_documents_that_are_named_already_are_kept_where_they_are_of_the_right_version(checkout: Checkout, tmp_path: Path) -> None:
    ga, preview = checkout.document(tmp_path / "ga.json", API_VERSION), checkout.document(tmp_path / "preview.json", PREVIEW_VERSION)
    for _ in range(2):
        done = checkout.run(STRIPE_OPENAPI=ga, STRIPE_OPENAPI_PREVIEW=preview)
        assert (judged_by(done), done.stderr) == ((str(ga), str(preview)), "")
        checkout.shared()


def test_document_of_another_version_is_overridden_and_said_so(checkout: Checkout, tmp_path: Path) -> None:
    old = checkout.document(tmp_path / "old.json", "2026-09-30.endive")
    ga, preview = checkout.shared()
    done = checkout.run(STRIPE_OPENAPI=old, STRIPE_OPENAPI_PREVIEW=old)
    assert judged_by(done) == (str(ga), str(preview))
    assert f"STRIPE_OPENAPI={old} is not Stripe's document of version {API_VERSION}" in done.stderr
    assert f"STRIPE_OPENAPI_PREVIEW={old} is not Stripe's document of version {PREVIEW_VERSION}" in done.stderr


def test_document_of_another_version_does_not_judge_where_there_is_no_other(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.run(STRIPE_OPENAPI=checkout.document(tmp_path / "old.json", "2026-09-30.endive"))
    assert judged_by(done) == ("none", "nothing")
    assert "is not used" in done.stderr


@pytest.mark.parametrize("content", ["[]", None])
def test_named_file_that_is_no_document_is_not_used(checkout: Checkout, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "named.json"
    if content is not None:
        path.write_text(content)
    ga, _ = checkout.shared()
    done = checkout.run(STRIPE_OPENAPI=path)
    assert judged_by(done)[0] == str(ga)
    assert "is not used" in done.stderr


@pytest.mark.parametrize("name", [GA, PREVIEW])
@pytest.mark.parametrize("fault", ["missing", "of another version", "unreadable"])
def test_reference_without_a_document_stops_the_run(checkout: Checkout, name: str, fault: str) -> None:
    checkout.shared()
    path = checkout.reference / name
    if fault == "missing":
        path.unlink()
    elif fault == "unreadable":
        path.write_text("{")
    else:
        checkout.document(path, "2026-09-30.endive")
    done = checkout.run()
    assert done.returncode == 1
    assert "made" not in done.stdout
    assert name in done.stderr
    assert "***" in done.stderr


@pytest.mark.parametrize(
    ("program", "package"),
    [
        ("java", "default-jre-headless"),
        ("npm", "npm"),
        ("chromium", "chromium"),
        ("chromium-headless-shell", "chromium-headless-shell"),
        ("unshare", "util-linux"),
    ],
)
def test_judge_that_is_missing_is_installed_where_the_machine_can(checkout: Checkout, tmp_path: Path, program: str, package: str) -> None:
    checkout.without(program)
    checkout.program("apt-get", f'echo "$@" >> {tmp_path}/installed')
    checkout.program("id", "echo 0")
    done = checkout.run()
    assert (tmp_path / "installed").read_text().splitlines() == ["-qq update", f"-qq install -y --no-install-recommends {package}"]
    assert judged_by(done) == ("none", "nothing")
    assert "***" not in done.stderr


@pytest.mark.parametrize("able", ["no installer", "no right", "no package"])
def test_judge_that_cannot_be_installed_is_named(checkout: Checkout, able: str) -> None:
    checkout.without("java")
    if able != "no installer":
        checkout.program("apt-get", "exit 100")
    checkout.program("id", "echo 1000" if able == "no right" else "echo 0")
    done = checkout.run()
    assert judged_by(done) == ("none", "nothing")
    assert "*** MISSING, and not to be installed here: default-jre-headless." in done.stderr


@pytest.mark.parametrize("able", ["no installer", "no right", "no package"])
def test_browser_that_is_only_faster_is_not_missed(checkout: Checkout, able: str) -> None:
    checkout.without("chromium-headless-shell")
    if able != "no installer":
        checkout.program("apt-get", "exit 100")
    checkout.program("id", "echo 1000" if able == "no right" else "echo 0")
    done = checkout.run()
    assert judged_by(done) == ("none", "nothing")
    assert "***" not in done.stderr
