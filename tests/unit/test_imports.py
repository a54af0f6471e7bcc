"""What each module imports: each kind of I/O is in one package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.functions import ROOT

PACKAGE = ROOT / "layers/titleholder/python/titleholder"


def imported(path: Path) -> set[str]:
    """The modules a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_gateway_imports_stripe(module: Path) -> None:
    assert module.relative_to(PACKAGE).as_posix() == "stripe_api/gateway.py" or "stripe" not in {
        name.partition(".")[0] for name in imported(module)
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_store_speaks_dynamodb(module: Path) -> None:
    assert module.parent.name == "store" or not any("dynamodb" in name for name in imported(module))


@pytest.mark.parametrize("module", [path for path in MODULES if path.parent.name in ("domain", "matching")], ids=lambda path: path.stem)
def test_pure_modules_do_no_io(module: Path) -> None:
    foreign = {"boto3", "botocore", "stripe", "os", "time", "socket", "random", "subprocess", "pathlib", "logging", "aws_lambda_powertools"}
    assert not {name.partition(".")[0] for name in imported(module)} & foreign


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_package_imports_no_handler_and_nothing_that_is_not_deployed(module: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(module)} & {"app", "functions", "routes", "local", "tests"}
