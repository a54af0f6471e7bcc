"""Which documents of Stripe `.ci/run` has the tests judge by. It runs in a folder of its own, with a `make` that only says what it got."""

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
MAKE = '#!/bin/sh\necho "made $1, judged by ${STRIPE_OPENAPI:-nothing} and ${STRIPE_OPENAPI_PREVIEW:-nothing}"\n'


class Checkout:
    """A checkout beside `shared`, which does not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.reference = folder / "shared" / "reference"
        for name in NEEDED:
            (folder / "main" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "main" / name)
        (folder / "bin").mkdir()
        for name, script in {"make": MAKE, "chromium": "#!/bin/sh\n"}.items():
            (folder / "bin" / name).write_text(script)
            (folder / "bin" / name).chmod(0o755)

    def document(self, path: Path, version: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"openapi": "3.0.0", "info": {"version": version}}))
        return path

    def shared(self) -> tuple[Path, Path]:
        """The reference with both documents."""
        return self.document(self.reference / GA, API_VERSION), self.document(self.reference / PREVIEW, PREVIEW_VERSION)

    def run(self, **environment: Path) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STRIPE_")}
        inherited["PATH"] = f"{self._folder / 'bin'}:{inherited['PATH']}"
        given = {name: str(path) for name, path in environment.items()}
        command = ["bash", str(self._folder / "main" / ".ci" / "run")]
        return subprocess.run(command, env=inherited | given, cwd=self._folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def judged_by(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    assert done.returncode == 0, done.stderr
    ga, _, preview = done.stdout.strip().removeprefix("made test, judged by ").partition(" and ")
    return ga, preview


def test_documents_of_the_reference_judge(checkout: Checkout) -> None:
    ga, preview = checkout.shared()
    done = checkout.run()
    assert judged_by(done) == (str(ga), str(preview))
    assert done.stderr == ""


def test_checkout_without_a_reference_runs_unjudged(checkout: Checkout) -> None:
    assert judged_by(checkout.run()) == ("nothing", "nothing")


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
    assert judged_by(done) == ("nothing", "nothing")
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
