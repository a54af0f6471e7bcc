"""The pictures of the documents show what is there now, are small, and have a text for those who do not see them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import draw_bench, draw_demo

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs").glob("*.png"))
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_picture_is_small_and_shown_with_a_text(picture: Path) -> None:
    assert picture.stat().st_size < 150_000
    texts = [
        text
        for document in DOCUMENTS
        for text, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", document.read_text())
        if (document.parent / target).resolve() == picture
    ]
    assert texts
    assert [text for text in texts if len(text) < 15] == []


def test_plot_shows_the_figures_of_the_page() -> None:
    """`python -m tools.draw_bench` draws it anew."""
    page = draw_bench.SPEED.read_text()
    assert draw_bench.digest(draw_bench.bars(page), draw_bench.costs(page)).encode() in draw_bench.PICTURE.read_bytes()


def test_figure_is_drawn_as_a_share_of_its_limit() -> None:
    page = """
| figure | value | limit |
| --- | --- | --- |
| size of `api` (with layers) | 15 MB | 20 MB |
| a million | $141.50 (75 of it transitions) | $1,415 |
| rate : bare | 0.5 | at least 0.6 |
| sizes of others | 36 to 61 MB | |
| webhooks | 3 lost | none lost |

text
"""
    assert draw_bench.bars(page) == [
        draw_bench.Bar("size of api", "15 MB, at most 20 MB", 0.75, True),
        draw_bench.Bar("a million", "$141.50, at most $1,415", 0.1, True),
        draw_bench.Bar("rate : bare", "0.5, at least 0.6", 1.2, False),
    ]


def test_picture_of_the_demo_shows_its_page() -> None:
    """`python -m tools.draw_demo` draws it anew."""
    assert draw_demo.digest().encode() in draw_demo.PICTURE.read_bytes()
