"""README.md is short, leads to every page, and shows what `make demo` prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

from local.demo import CASES
from local.demo_table import lines

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
MOST_WORDS = 900
SECTIONS = ["Try it", "How it works", "One verified account", "Deploying", "Limits", "Documentation"]


def section(name: str) -> str:
    """A section's text without its heading."""
    [text] = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return str(text)


def test_readme_has_at_most_900_words_everything_counted() -> None:
    assert len(README.split()) <= MOST_WORDS


def test_readme_goes_from_trying_to_deploying() -> None:
    assert re.findall(r"^## (.+)$", README, re.MULTILINE) == SECTIONS


def test_index_names_each_page_once() -> None:
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "reference").glob("*.md"),
        ROOT / "docs/decisions/README.md",
    ]
    expected = {path.relative_to(ROOT).as_posix() for path in pages} - {"README.md"} | {"local/stripe_simulator/README.md"}
    named = re.findall(r"\]\(([^)#]+)\)", section("Documentation"))
    assert sorted(named) == sorted(expected)


def test_sample_is_what_the_demo_prints() -> None:
    """After a change of the demo, take it anew from `make demo`, by the rows that `tools.draw_demo --keep` keeps."""
    [sample] = [code for language, code in re.findall(r"^```(\w*)\n(.*?)^```", section("Try it"), re.MULTILINE | re.DOTALL) if not language]
    kept = {row["account"]: row for row in json.loads((ROOT / "tests" / "fixtures" / "demo.json").read_text())}
    rows = [kept[account] for account in re.findall(r"^(fca_\w+)", sample, re.MULTILINE)]
    assert rows
    assert sample.rstrip() == "\n".join(lines(rows, width=120)).rstrip()


def test_readme_says_how_many_accounts_the_demo_verifies() -> None:
    assert f"verifies {len(CASES)} accounts" in section("Try it")
