"""Building: the same contents give the same bytes, and what is missing is named."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from local.aws import build


def folder(root: Path) -> Path:
    (root / "package" / "__pycache__").mkdir(parents=True)
    (root / "package" / "__pycache__" / "module.pyc").write_bytes(b"compiled")
    (root / "package" / "module.py").write_text("x = 1\n")
    (root / "app.py").write_text("import package\n")
    return root


def test_same_contents_give_the_same_bytes_whatever_their_dates(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a"), folder(tmp_path / "b")
    os.utime(second / "app.py", (1, 1))
    assert build.zip_folder(first) == build.zip_folder(second)
    (second / "app.py").write_text("import package as p\n")
    assert build.zip_folder(first) != build.zip_folder(second)


def test_zip_holds_the_sources_and_no_compiled_modules(tmp_path: Path) -> None:
    archive = zipfile.ZipFile(io.BytesIO(build.zip_folder(folder(tmp_path), "python/")))
    assert archive.namelist() == ["python/app.py", "python/package/module.py"]


def test_empty_folder_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="no file"):
        build.zip_folder(tmp_path)


def test_layer_without_a_list_of_packages_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match=r"requirements\.txt is missing"):
        build.third_party_layer(tmp_path, tmp_path)


def test_layer_with_an_unknown_package_says_what_pip_says(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("./no-such-folder\n")
    with pytest.raises(build.BuildError, match="no-such-folder"):
        build.third_party_layer(tmp_path, tmp_path / "var")


def test_layer_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    (tmp_path / "requirements.txt").write_text(f"{wheel}\n")
    first = build.third_party_layer(tmp_path, tmp_path / "var")
    assert "python/tiny.py" in zipfile.ZipFile(io.BytesIO(first)).namelist()
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("built again"))
    assert build.third_party_layer(tmp_path, tmp_path / "var") == first


MAKEFILE = """
build-One:
\techo made >> "$(HERE)/log"
\techo "x = 1" > "$(ARTIFACTS_DIR)/app.py"
\t"$(PYTHON)" -m compileall -q "$(ARTIFACTS_DIR)"
build-Bad:
\t@echo "no such thing" >&2; exit 3
"""


def test_what_a_makefile_made_is_kept_until_its_folder_changes(tmp_path: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    (root / "Makefile").write_text(f"HERE = {tmp_path}\n{MAKEFILE}")
    first = build.made(root, "One", tmp_path / "var")
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert "app.py" in names
    assert any(name.endswith(".pyc") for name in names)
    assert build.made(root, "One", tmp_path / "var") == first
    assert (tmp_path / "log").read_text() == "made\n"
    (root / "more.py").write_text("")
    build.made(root, "One", tmp_path / "var")
    assert (tmp_path / "log").read_text() == "made\nmade\n"


def test_makefile_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    with pytest.raises(build.BuildError, match="no such thing"):
        build.made(tmp_path, "Bad", tmp_path / "var")
