"""The interpreter that functions run in: a virtual environment with the packages of Lambda's Python runtime and no others.

It is made once for a version and a list of packages, from the interpreter that runs the emulator. It runs every function, whichever version
the template's `Runtime` names, because a developer's machine may have another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("runtime-requirements.txt")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@contextlib.contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, so that only one process fills it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def interpreter(var: Path) -> Path:
    """The path of the functions' Python under `var`. Makes it if it is missing.

    Raises `subprocess.CalledProcessError` if its packages cannot be installed.
    """
    identity = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:8]
    home = var / "runtime" / f"{VERSION}-{identity}"
    python, complete = home / "bin" / "python", home / "complete"
    with exclusively(home):
        if not complete.exists():
            shutil.rmtree(home, ignore_errors=True)
            base = getattr(sys, "_base_executable", None) or sys.executable
            subprocess.run([base, "-m", "venv", "--without-pip", str(home)], check=True)
            command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*command, "-r", str(REQUIREMENTS)], check=True)
            complete.touch()
    return python


def unpacked(blob: bytes, var: Path) -> Path:
    """A read-only folder with the contents of the zip `blob`. The same bytes always give the same folder."""
    folder = var / "packages" / hashlib.sha256(blob).hexdigest()[:32]
    if folder.exists():
        return folder
    with exclusively(folder):
        if not folder.exists():
            partial = folder.with_name(folder.name + ".partial")
            _remove(partial)
            with zipfile.ZipFile(BytesIO(blob)) as archive:
                archive.extractall(partial)
            for parent, _, files in os.walk(partial):
                for name in files:
                    path = os.path.join(parent, name)
                    os.chmod(path, 0o555 if os.access(path, os.X_OK) and not os.path.islink(path) else 0o444)
            partial.rename(folder)
            for parent, _, _ in os.walk(folder, topdown=False):
                os.chmod(parent, 0o555)
    return folder


def _remove(folder: Path) -> None:
    if folder.exists():
        for parent, _, _ in os.walk(folder):
            os.chmod(parent, 0o755)
        shutil.rmtree(folder)
