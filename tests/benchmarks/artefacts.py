"""How large each function is with its layers; where the built artefacts are."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from local.aws import build, runtime
from local.aws.paths import BUILD, ROOT
from tests.benchmarks.figures import Figure
from tests.support.template import folder, resources

FUNCTIONS = resources("AWS::Serverless::Function")
LAYERS = resources("AWS::Serverless::LayerVersion")
MEGABYTE = 1024 * 1024
NAMES = {folder(name): name for name in FUNCTIONS}
"""Logical ids by folder."""


@cache
def layer(name: str) -> Path:
    """The unpacked layer, read-only."""
    return runtime.unpacked(build.run_makefile(ROOT / LAYERS[name]["ContentUri"], name), BUILD)


@cache
def code(function: str) -> Path:
    """The unpacked code of a function (its folder's name), read-only."""
    return runtime.unpacked(build.run_makefile(ROOT / "functions", NAMES[function]), BUILD)


def paths(function: str) -> list[Path]:
    """The folders on the function's path: its code, then its layers."""
    return [code(function), *(layer(reference["Ref"]) / "python" for reference in FUNCTIONS[NAMES[function]]["Layers"])]


def size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def measure() -> list[Figure]:
    figures = []
    for function, name in sorted(NAMES.items()):
        total = size(code(function)) + sum(size(layer(reference["Ref"])) for reference in FUNCTIONS[name]["Layers"])
        goal = ("<=", 25.0) if function == "receive_webhook" else None
        figures.append(Figure("size", function, total / MEGABYTE, "MB", goal, "unzipped, with its layers and bytecode"))
    return figures
