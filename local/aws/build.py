"""Builds the template's artefacts without the SAM CLI: zips with the same bytes for the same contents.

An artefact with the `BuildMethod` makefile is made by its own Makefile, as by `sam build`, but with the interpreter in use. Any other
folder is zipped as it is, without the caches of Python and its tools.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from local.aws.paths import BUILD, ROOT
from local.aws.runtime import exclusively
from local.command import CommandError

SKIPPED = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


class BuildError(CommandError):
    """An artefact cannot be built. The message says which one and why."""


def zip_folder(root: Path, *, bytecode: bool = False) -> bytes:
    """The files under `root` as a zip, with compiled modules only if `bytecode`. Raises `BuildError` for an empty folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for parent, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in SKIPPED or (bytecode and name == "__pycache__"))
            for name in sorted(files):
                if name.endswith(".pyc") and not bytecode:
                    continue
                path = Path(parent, name)
                entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), (1980, 1, 1, 0, 0, 0))
                entry.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
        if not archive.namelist():
            raise BuildError(f"{root} holds no file to deploy")
    return buffer.getvalue()


def run_makefile(root: Path, target: str, var: Path = BUILD) -> bytes:
    """The result of the target `build-<target>` of `root/Makefile`, as a zip. It is kept under `var` until the folder's contents change.

    Nothing is downloaded from npm: `make desk` fetches the library of the review desk first. An artefact that lacks something is not kept.
    Its Makefile says so in a line of the error output that begins with `***`. Raises `BuildError` with make's error output when it fails.
    """
    archive = var.resolve() / "artefacts" / f"{target}-{_identity(root)}.zip"
    with exclusively(archive):
        if not archive.exists():
            target_folder = archive.with_suffix(".partial")
            shutil.rmtree(target_folder, ignore_errors=True)
            target_folder.mkdir()
            command = ["make", "-s", "-C", str(root), f"build-{target}", f"ARTIFACTS_DIR={target_folder}", f"PYTHON={sys.executable}"]
            command.append("FETCH=--offline")
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BuildError(f"{root} cannot be built:\n{done.stderr.strip()}")
            partial = archive.with_suffix(".tmp")
            packed = zip_folder(target_folder, bytecode=True)
            shutil.rmtree(target_folder)
            if "\n*** " in f"\n{done.stderr}":
                return packed
            partial.write_bytes(packed)
            partial.rename(archive)
    return archive.read_bytes()


def _identity(root: Path) -> str:
    """A digest of a folder's contents, the interpreter's version and the packages that are pinned for npm."""
    digest = hashlib.sha256(sys.version.encode() + (ROOT / "tools" / "npm.toml").read_bytes())
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
