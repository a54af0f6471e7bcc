"""README.md is short, leads to every page, and shows what `make demo` prints."""

from __future__ import annotations

import re
from pathlib import Path

from local.demo import CASES
from tools.reference import readme

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
    assert readme.render() == README, "run `make reference`"


def test_readme_says_how_many_accounts_the_demo_verifies() -> None:
    assert f"verifies {len(CASES)} accounts" in section("Try it")
