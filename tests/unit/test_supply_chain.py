"""Deployed packages are pinned with hashes, in the one version that is tested, and their licences allow use in a closed service."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

import pytest

from tests.support.functions import ROOT
from tools import sbom

LAYERS = sorted(path.parent for path in ROOT.glob("layers/*/requirements.txt"))
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([0-9][^\s;\\]*)", re.MULTILINE)

# Licences that a closed service can keep to by naming them. The MPL's condition concerns changes to its own files, and none is changed.
FREE = {
    "apache 2.0", "apache license 2.0", "apache license, version 2.0", "apache software license", "apache-2.0",
    "bsd license", "bsd-2-clause", "bsd-3-clause", "mit", "mit license", "mit no attribution license (mit-0)", "mit-0",
    "mozilla public license 2.0 (mpl 2.0)", "psf-2.0",
}  # fmt: skip


def pins(path: Path) -> dict[str, str]:
    """Version by package."""
    return {name.lower().replace("_", "-"): release for name, release in PIN.findall(path.read_text())}


NPM = tomllib.loads((ROOT / "tools/npm.toml").read_text())
DEPLOYED = {name: release for layer in LAYERS for name, release in pins(layer / "requirements.txt").items()}


def test_there_is_something_to_look_at() -> None:
    assert LAYERS
    assert {"aws-lambda-powertools", "boto3", "botocore", "pydantic", "stripe"} <= set(DEPLOYED)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
class TestLayer:
    def test_pins_every_package_with_its_hashes(self, layer: Path) -> None:
        text = re.sub(r"\\\n", " ", (layer / "requirements.txt").read_text())
        lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert lines
        for line in lines:
            assert PIN.match(line), line
            assert "--hash=sha256:" in line, line.partition(" ")[0]

    def test_layer_holds_what_was_asked_for(self, layer: Path) -> None:
        assert pins(layer / "requirements.in").items() <= pins(layer / "requirements.txt").items(), "run `make lock`"

    def test_layer_names_no_place_to_fetch_from(self, layer: Path) -> None:
        for name in ("requirements.in", "requirements.txt"):
            assert not re.search(r"://|^\s*-{1,2}(i|f|index|extra|find|trusted)", (layer / name).read_text(), re.MULTILINE)


def test_a_package_has_one_version_in_all_layers() -> None:
    assert all(pins(layer / "requirements.txt").items() <= DEPLOYED.items() for layer in LAYERS)


@pytest.mark.parametrize("package", sorted(DEPLOYED))
def test_tests_run_with_the_version_that_is_deployed(package: str) -> None:
    assert version(package) == DEPLOYED[package]


@pytest.mark.parametrize("package", sorted(DEPLOYED))
def test_licence_lets_a_closed_service_use_it(package: str) -> None:
    found = licences(package)
    assert found, "no licence is declared"
    assert found <= FREE


def licences(package: str) -> set[str]:
    """What a package declares, in lower case: an SPDX expression, or failing that its classifiers or free text."""
    try:
        about = metadata(package)
    except PackageNotFoundError:
        pytest.fail(f"{package} is not installed: run `make setup`")
    if expression := about.get("License-Expression"):
        return {part.strip("() ").lower() for part in re.split(r"\bOR\b|\bAND\b", expression)}
    classified = {line.rpartition("::")[2].strip().lower() for line in about.get_all("Classifier", []) if line.startswith("License ::")}
    return classified - {"osi approved", "dual license"} or {about.get("License", "").strip().lower()} - {""}


def test_every_package_from_npm_is_pinned_by_version_and_hash() -> None:
    for tool, packages in NPM.items():
        assert tool in packages
        for name, pin in packages.items():
            assert re.fullmatch(r"\d+\.\d+\.\d+", pin["version"]), name
            assert len(base64.b64decode(pin["integrity"].removeprefix("sha512-"), validate=True)) == 64, name


def test_a_deployed_package_from_npm_is_free_to_be_used_in_a_closed_service() -> None:
    licences_ = {name: pin["licence"].lower() for packages in NPM.values() for name, pin in packages.items() if "licence" in pin}
    assert set(licences_) == {"oauth4webapi"}
    assert set(licences_.values()) <= FREE


def test_the_bill_of_materials_lists_what_the_functions_take_from_npm() -> None:
    [library] = sbom.from_npm()
    pin = NPM["oauth4webapi"]["oauth4webapi"]
    assert library["purl"] == f"pkg:npm/oauth4webapi@{pin['version']}"
    assert base64.b64encode(bytes.fromhex(library["hashes"][0]["content"])).decode() == pin["integrity"].removeprefix("sha512-")


def test_the_lock_file_of_the_local_issuer_pins_hashes_and_names_no_place_to_fetch_from() -> None:
    packages = json.loads((ROOT / "local/issuer/package-lock.json").read_text())["packages"]
    asked = json.loads((ROOT / "local/issuer/package.json").read_text())["dependencies"]
    assert packages.pop("")["dependencies"] == asked
    assert {packages[f"node_modules/{name}"]["version"] for name in asked} == set(asked.values())
    for name, package in packages.items():
        assert len(base64.b64decode(package["integrity"].removeprefix("sha512-"), validate=True)) == 64, name
        assert "resolved" not in package, name
        assert "hasInstallScript" not in package, name
