"""A client that openapi-python-client generates from the OpenAPI document, in an environment of its own.

    python -m tests.support.generated_client

writes it to build/titleholder_client (`make client`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local import openapi
from local.aws.paths import BUILD
from tests.support import judges

ENVIRONMENT = BUILD / "client"
PYTHON = ENVIRONMENT / "bin" / "python"
NAME = "titleholder_client"
COMPLAINT = re.compile(r"WARNING|ERROR|Unsupported|Skipping|omitted|unexpected", re.IGNORECASE)


class GeneratorError(Exception):
    """The generator failed, or complained about the document."""


def generated(document: Path = openapi.DOCUMENT) -> Path:
    """The folder that holds the package `titleholder_client`. It is generated once for each content of the document."""
    judges.require("openapi-python-client", PYTHON.exists(), "make build/client/.ready")
    folder = ENVIRONMENT / "generated" / hashlib.sha256(document.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            generate(document, Path(made) / NAME)
            try:
                Path(made).rename(folder)
            except OSError:  # Another worker was first.
                assert folder.exists()
            else:
                Path(made).mkdir()
    return folder


def generate(document: Path, target: Path) -> None:
    """Generate the package. Raises `GeneratorError` for everything that the generator leaves out or warns about."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as settings:
        settings.write("post_hooks: []\n")  # They only make the code prettier.
        settings.flush()
        command = [str(ENVIRONMENT / "bin" / "openapi-python-client"), "generate", "--path", str(document), "--meta", "none"]
        options = ["--output-path", str(target), "--config", settings.name, "--fail-on-warning", "--overwrite"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    if done.returncode or COMPLAINT.search(said):
        raise GeneratorError(said)


def classes(folder: Path) -> list[str]:
    """The names of the model classes."""
    found = (re.findall(r"^class (\w+)", path.read_text(), re.M) for path in sorted((folder / NAME / "models").glob("*.py")))
    return [name for names in found for name in names]


def run(program: str, arguments: Sequence[str] = (), *, cwd: Path | None = None, data: Any = None) -> str:
    """Run a program that imports the client, as its user would. Returns what it prints."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(generated())}
    done = subprocess.run(
        [str(PYTHON), "-c", program, *arguments], cwd=cwd, env=environment, input=json.dumps(data), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def main() -> None:
    target = BUILD / NAME
    shutil.rmtree(target, ignore_errors=True)
    generate(openapi.DOCUMENT, target)
    print(f"{target.relative_to(BUILD.parent)}: {len(classes(BUILD))} classes of models")


if __name__ == "__main__":
    main()
