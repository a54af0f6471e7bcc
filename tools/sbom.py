"""Says what is deployed: a CycloneDX bill of materials of the layers' packages, and their licences.

    build/scan/bin/python -m tools.sbom

Installs the layers' locked requirements into an environment of their own, where hashes are checked, and has `cyclonedx-py` describe it.
Writes `build/sbom.cdx.json` and `build/licences.txt`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
SBOM = BUILD / "sbom.cdx.json"
LICENCES = BUILD / "licences.txt"


def main() -> None:
    home = BUILD / "deployed"
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    locked = [argument for path in sorted(ROOT.glob("layers/*/requirements.txt")) for argument in ("-r", str(path))]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-compile", "--require-hashes", *locked], check=True)
    cyclonedx = str(Path(sys.executable).with_name("cyclonedx-py"))
    options = ["--PEP-639", "--sv", "1.6", "--output-reproducible", "-o", str(SBOM)]
    subprocess.run([cyclonedx, "environment", str(python), *options], check=True)
    components = json.loads(SBOM.read_text())["components"]
    LICENCES.write_text("".join(f"{part['name']}=={part['version']}  {_licence(part)}\n" for part in components))
    print(LICENCES.read_text(), end="")
    print(f"{len(components)} packages; {SBOM.relative_to(ROOT)} describes them.")
    shutil.rmtree(home)


def _licence(component: dict[str, Any]) -> str:
    found = [entry.get("expression") or entry["license"].get("id") or entry["license"]["name"] for entry in component.get("licenses", ())]
    return " / ".join(found) or "none declared"


if __name__ == "__main__":
    main()
