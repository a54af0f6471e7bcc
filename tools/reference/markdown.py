"""Pieces of Markdown: tables, lists of names, values."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 140


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. A `|` in a cell is escaped; a cell without text stays empty."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    return f"`{text}`"


def codes(names: Iterable[str], last: str = ", ") -> str:
    """Names in code type, with commas between them, and `last` before the last one."""
    shown = [code(name) for name in names]
    return last.join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def value(of: Any) -> str:
    """A value as JSON in code type."""
    return code(json.dumps(of, ensure_ascii=False))


def prose(text: str) -> str:
    """Paragraphs and lists in lines of equal width. Tables, headings and code stay as they are."""
    parts = re.split(r"(^```.*?^```$)", text.strip(), flags=re.MULTILINE | re.DOTALL)
    return "\n\n".join(part if part.startswith("```") else _paragraphs(part) for part in parts if part.strip())


def _paragraphs(text: str) -> str:
    return "\n\n".join(part if part.startswith(("|", "#")) else _wrapped(part) for part in text.strip().split("\n\n"))


def _wrapped(paragraph: str) -> str:
    # Code stays on one line.
    whole = re.sub(r"`[^`\n]+`", lambda found: found[0].replace(" ", "\0"), paragraph)
    items = re.split(r"\n(?=- )", whole)
    return "\n".join(
        textwrap.fill(
            re.sub(r"[ \n]+", " ", item.strip()), WIDTH, subsequent_indent="  " if item.startswith("- ") else "", break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    ).replace("\0", " ")  # fmt: skip


def page(title: str, *parts: str) -> str:
    """A whole page, with the note that it is generated."""
    note = "<!-- Written by `make reference` from the code. Change tools/reference or the code, then run it again. -->"
    return "\n\n".join([note, f"# {title}", *(prose(part) for part in parts)]) + "\n"
