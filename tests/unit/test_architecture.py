"""The layers of docs/architecture.md: what each package may import, no import cycles, and a table of places that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers" / "titleholder" / "python" / "titleholder"
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text()

ALWAYS = {"errors", "timestamps"}
ALLOWED = {
    "matching": set(),
    "domain": {"matching"},
    "stripe_api": {"domain", "observability"},
    "aws": {"domain", "observability"},
    "store": {"domain"},
    "services": {"matching", "domain", "stripe_api", "aws", "store", "observability"},
    "batches": {"matching", "domain", "aws", "store", "services", "schemas", "field_errors", "observability"},
    "web": {"matching", "domain", "schemas", "field_errors", "settings", "observability"},
    "schemas": {"matching", "domain", "json_text"},
    "json_text": set(),
    "field_errors": {"schemas"},
    "settings": {"domain"},
    "observability": set(),
    "timestamps": set(),
    "errors": set(),
    "cold_start": set(),
    "bootstrap": {"domain", "stripe_api", "aws", "store", "services", "batches", "settings", "observability"},
}
"""The packages and modules that each may import, besides `ALWAYS` and itself."""

HOMES = {
    "stripe": {"stripe_api"},
    "boto3": {"aws", "bootstrap", "batches/bucket.py", "store/table.py"},
    "botocore": {"aws", "bootstrap", "batches/bucket.py", "store/table.py"},
    "aws_encryption_sdk": {"aws"},
}
"""The packages and modules that alone import a third party's package."""


def modules(folder: Path, prefix: str = "") -> dict[str, Path]:
    """The modules below a folder by their dotted names, which begin with `prefix`."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [*([prefix] if prefix else []), *path.relative_to(folder).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """The dotted names that a module imports, without those for types alone; without those inside functions unless `lazy`."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if types_only or (not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            skipped.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> str | None:
    """The package or module directly below `titleholder` that a dotted name lies in."""
    parts = name.split(".")
    return parts[1] if parts[0] == "titleholder" and len(parts) > 1 else None


MODULES = modules(PACKAGE.parent)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "titleholder"])
def test_layer_imports_only_what_it_may(module: str) -> None:
    own = layer(module)
    assert own is not None
    wrong = {name for name in imports(MODULES[module]) if layer(name) not in {None, own, *ALWAYS, *ALLOWED[own]}}
    assert not wrong


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("titleholder.matching")])
def test_matching_loads_third_parties_only_when_they_are_needed(module: str) -> None:
    heavy = {"phonenumbers", "phonenumberslite", "pydantic", "aws_lambda_powertools"}
    assert not {name.partition(".")[0] for name in imports(MODULES[module], lazy=False)} & heavy


@pytest.mark.parametrize("module", list(MODULES))
def test_third_party_has_one_home(module: str) -> None:
    place = MODULES[module].relative_to(PACKAGE).as_posix()
    for name in imports(MODULES[module]):
        homes = HOMES.get(name.partition(".")[0])
        assert homes is None or place in homes or layer(module) in homes, f"{place} imports {name}"


@pytest.mark.parametrize("known", [MODULES, modules(ROOT / "local", "local")], ids=["package", "local"])
def test_no_import_cycle(known: dict[str, Path]) -> None:
    """Counts imports inside functions too, because a cycle that is only hidden is one all the same. Imports for types alone do not run."""
    graph = {name: {nearest(imported, known) for imported in imports(path)} - {name, None} for name, path in known.items()}
    assert any(graph.values())
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def nearest(name: str, known: dict[str, Path]) -> str | None:
    """The module that an imported name is, or lies in."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


ROWS = re.findall(r"^\| ([^|]+?) \| ((?:`[^`|]+`(?:, )?)+) \|", DOCUMENT, re.MULTILINE)


def test_document_says_where_twelve_changes_go() -> None:
    assert len(ROWS) >= 12


@pytest.mark.parametrize(("change", "places"), ROWS, ids=[change for change, _ in ROWS])
def test_place_of_a_change_exists(change: str, places: str) -> None:
    for place in re.findall(r"`([^`]+)`", places):
        path = PACKAGE / place.removeprefix("T/") if place.startswith("T/") else ROOT / place
        assert path.exists(), place


@pytest.mark.parametrize("package", sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()))
def test_document_names_every_package(package: str) -> None:
    assert f"`{package}/`" in DOCUMENT
