"""Building: the same contents give the same bytes, and a failure says what is missing."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from local.aws import build
from local.aws.paths import ROOT


def folder(root: Path) -> Path:
    (root / "package" / "__pycache__").mkdir(parents=True)
    (root / "package" / "__pycache__" / "module.pyc").write_bytes(b"compiled")
    (root / "package" / "module.py").write_text("x = 1\n")
    (root / "app.py").write_text("import package\n")
    return root


def test_same_contents_with_other_dates_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a"), folder(tmp_path / "b")
    os.utime(second / "app.py", (1, 1))
    assert build.zip_folder(first) == build.zip_folder(second)
    (second / "app.py").write_text("import package as p\n")
    assert build.zip_folder(first) != build.zip_folder(second)


def test_zip_holds_the_sources_and_no_compiled_modules(tmp_path: Path) -> None:
    archive = zipfile.ZipFile(io.BytesIO(build.zip_folder(folder(tmp_path))))
    assert archive.namelist() == ["app.py", "package/module.py"]


def test_empty_folder_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="no file"):
        build.zip_folder(tmp_path)


MAKEFILE = """
build-One:
\techo made >> "$(HERE)/log"
\techo "x = 1" > "$(ARTIFACTS_DIR)/app.py"
\t"$(PYTHON)" -m compileall -q "$(ARTIFACTS_DIR)"
build-Warned: build-One
\t@echo "WARNING: Location 'file:///nowhere/' is ignored" >&2
build-Incomplete: build-One
\t@printf '\\n*** built WITHOUT its library ***\\n' >&2
build-Bad:
\t@echo "no such thing" >&2; exit 3
"""


def test_what_a_makefile_made_is_kept_until_its_folder_changes(tmp_path: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    (root / "Makefile").write_text(f"HERE = {tmp_path}\n{MAKEFILE}")
    first = build.run_makefile(root, "One", tmp_path / "var")
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert "app.py" in names
    assert any(name.endswith(".pyc") for name in names)
    assert build.run_makefile(root, "One", tmp_path / "var") == first
    assert (tmp_path / "log").read_text() == "made\n"
    (root / "more.py").write_text("")
    build.run_makefile(root, "One", tmp_path / "var")
    assert (tmp_path / "log").read_text() == "made\nmade\n"


@pytest.mark.parametrize(("target", "made"), [("Warned", 1), ("Incomplete", 2)])
def test_artefact_is_made_again_if_something_is_missing_but_not_because_a_tool_warned(tmp_path: Path, target: str, made: int) -> None:
    root = tmp_path / "code"
    root.mkdir()
    (root / "Makefile").write_text(f"HERE = {tmp_path}\n{MAKEFILE}")
    first = build.run_makefile(root, target, tmp_path / "var")
    assert build.run_makefile(root, target, tmp_path / "var") == first
    assert (tmp_path / "log").read_text() == "made\n" * made


def test_makefile_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    with pytest.raises(build.BuildError, match="no such thing"):
        build.run_makefile(tmp_path, "Bad", tmp_path / "var")


class TestFolderWithABlankInItsName:
    """A checkout may be in any folder, and make's own functions split names at blanks."""

    @pytest.fixture(params=["a b", "two  blanks", "it's (a)"])
    def checkout(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        root = tmp_path / str(request.param)
        for name in ("functions", "layers"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        return root

    def test_what_needs_no_packages_is_built(self, checkout: Path) -> None:
        layer = zipfile.ZipFile(io.BytesIO(build.run_makefile(checkout / "layers" / "titleholder", "TitleholderLayer", checkout / "build")))
        assert "python/titleholder/bootstrap.py" in layer.namelist()
        function = zipfile.ZipFile(io.BytesIO(build.run_makefile(checkout / "functions", "ReceiveWebhook", checkout / "build")))
        assert "app.py" in function.namelist()

    @pytest.mark.parametrize("as_sam_does", [False, True])
    @pytest.mark.parametrize(("layer", "target"), [("core", "CoreLayer"), ("stripe", "StripeLayer"), ("crypto", "VaultLayer")])
    def test_packages_are_taken_from_the_list_beside_the_makefile(self, checkout: Path, layer: str, target: str, as_sam_does: bool) -> None:
        """Every command is replaced by one that records its arguments, because packages are not installed here."""
        folder, noted = checkout / "layers" / layer, checkout / "noted"
        python = checkout / "python"
        python.write_text(
            f'#!/bin/sh\nprintf \'%s\\n\' "$@" "PIP=$PIP_CONFIG_FILE" >> {shlex.quote(str(noted))}\nmkdir -p "$ARTIFACTS/python"\n'
        )
        python.chmod(0o755)
        artefacts = checkout / "made here"
        place = folder if layer == "core" else folder / "arm64"
        command = ["make", "-s", f"build-{target}", f"ARTIFACTS_DIR={artefacts}", f"PYTHON={python}"]
        command += ["--makefile", str(folder / "Makefile")] if as_sam_does else ["-C", str(folder)]
        environment = {**os.environ, "ARTIFACTS": str(artefacts)}
        subprocess.run(command, check=True, cwd=place if as_sam_does else None, env=environment, capture_output=True)
        given = noted.read_text().splitlines()
        listed = Path(given[given.index("-r") + 1])
        assert (folder / listed).resolve() == folder / "requirements.txt"
        # The folder in which SAM runs make chooses the processor of the wheels.
        assert (f"PIP={place / 'pip.conf'}" in given) == (as_sam_does and layer != "core")
