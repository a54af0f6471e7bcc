"""docs/http.md has every route once, and commands in any page are signed by any curl as AWS signs them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "http.md").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "local").rglob("*.md")]


def without_names(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def test_table_of_routes_has_every_route_once() -> None:
    interface = json.loads((ROOT / "functions" / "docs" / "openapi.json").read_text())
    served = [f"{method.upper()} {without_names(path)}" for path, methods in interface["paths"].items() for method in methods]
    [table] = re.findall(r"^\| route \| does \|\n(.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    named = [without_names(route) for row in table.splitlines()[1:] for route in re.findall(r"`([A-Z]+ /[^`]*)`", row.split(" | ")[0])]
    assert sorted(named) == sorted(served)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_signed_commands_have_query_parameters_in_the_order_in_which_aws_signs_them(document: Path) -> None:
    """curl 7.88 signs them as they are written (curl issue 9717). AWS sorts them by name."""
    blocks = "\n".join(re.findall(r"^ *```(?:sh)?\n(.*?)^ *```", document.read_text(), re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    for query in re.findall(r"""titleholder [^\n]*?\$API/[^"'?\s]*\?([^"'\s]*)""", blocks):
        assert all("=" in parameter for parameter in query.split("&")), query
        names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
        assert names == sorted(names), query


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_whose_commands_call_the_interface_says_where_the_caller_is_defined(document: Path) -> None:
    text = document.read_text()
    blocks = "\n".join(re.findall(r"^ *```(?:sh)?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL))
    if re.search(r"^\s*titleholder ", blocks, re.MULTILINE):
        assert "titleholder() {" in blocks or "(http.md#setting-up)" in text
