"""Has asl-validator (npm, pinned in npm.toml) judge the workflows' definitions: its schema and paths of the Amazon States Language.

python -m tools.asl [FILE ...]          by default statemachines/*.asl.json
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local.aws.paths import ROOT
from local.command import interruptible, readable
from tools.fetch_npm import FetchError, fetch

PROGRAM = "asl-validator/dist/bin/asl-validator.js"


def judge(files: Sequence[Path], node: str = "node") -> str:
    """What asl-validator finds wrong, or "" if nothing. Raises `FetchError` where it, or Node, cannot be had."""
    program = fetch("asl-validator") / PROGRAM
    with tempfile.TemporaryDirectory() as folder:
        filled = []
        for file in files:
            # CloudFormation fills in the template's substitutions like this.
            text = file.read_text().replace("${Partition}", "aws")
            filled.append(Path(folder, file.name))
            filled[-1].write_text(re.sub(r"\$\{(\w+)\}", r"arn:aws:any:us-east-1:123456789012:\1", text))
        command = [node, str(program), *(argument for file in filled for argument in ("--json-path", file.name))]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        except FileNotFoundError:
            raise FetchError("node is not on the PATH, so asl-validator cannot run (Debian: apt-get install nodejs npm)") from None
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.asl", description="Judge the workflows' definitions.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    files = parser.parse_args().files or sorted((ROOT / "statemachines").glob("*.asl.json"))
    found = judge([readable(file) for file in files])
    if found:
        sys.exit(found)
    print(f"asl-validator finds nothing wrong with {', '.join(file.name for file in files)}")


if __name__ == "__main__":
    sys.exit(interruptible(main))
