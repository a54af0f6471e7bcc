"""Says what is deployed: a CycloneDX bill of materials of the layers' packages and of those from npm, and their licences.

    build/scan/bin/python -m tools.sbom

Installs the layers' locked requirements into an environment of their own, where hashes are checked, and has `cyclonedx-py` describe it.
What `npm.toml` gives a licence is deployed too, and is added from there.
Writes `build/sbom.cdx.json` and `build/licences.txt`.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

from local.command import interruptible, no_arguments

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
SBOM = BUILD / "sbom.cdx.json"
NPM = Path(__file__).with_name("npm.toml")
LICENCES = BUILD / "licences.txt"


def main() -> None:
    no_arguments("tools.sbom", "Say what is deployed.")
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
    bill = json.loads(SBOM.read_text())
    components = bill["components"] = [*bill["components"], *from_npm()]
    SBOM.write_text(json.dumps(bill, indent=2) + "\n")
    LICENCES.write_text("".join(f"{part['name']}=={part['version']}  {_licence(part)}\n" for part in components))
    print(LICENCES.read_text(), end="")
    print(f"{len(components)} packages; {SBOM.relative_to(ROOT)} describes them.")
    shutil.rmtree(home)


def from_npm() -> list[dict[str, Any]]:
    """The components that the functions' Makefile takes from npm."""
    pins = {name: pin for packages in tomllib.loads(NPM.read_text()).values() for name, pin in packages.items() if "licence" in pin}
    return [
        {
            "bom-ref": f"pkg:npm/{name}@{pin['version']}",
            "type": "library",
            "name": name,
            "version": pin["version"],
            "purl": f"pkg:npm/{name}@{pin['version']}",
            "licenses": [{"license": {"id": pin["licence"], "acknowledgement": "declared"}}],
            "hashes": [{"alg": "SHA-512", "content": base64.b64decode(pin["integrity"].removeprefix("sha512-")).hex()}],
        }
        for name, pin in pins.items()
    ]


def _licence(component: dict[str, Any]) -> str:
    found = [entry.get("expression") or entry["license"].get("id") or entry["license"]["name"] for entry in component.get("licenses", ())]
    return " / ".join(found) or "none declared"


if __name__ == "__main__":
    sys.exit(interruptible(main))
