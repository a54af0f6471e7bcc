"""docs/batches.md has every field and state of a batch."""

from __future__ import annotations

import re
from typing import get_args, get_type_hints

from titleholder.web.models import Batch
from tools.reference import ROOT

PAGE = (ROOT / "docs" / "batches.md").read_text()


def first_column(title: str) -> list[str]:
    """The names in the first column of the table of the section "Progress" whose first heading is `title`."""
    [rows] = re.findall(rf"^\| {title} \| mean\w+ \|\n\| --- \| --- \|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [name for row in rows.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_progress_has_every_field_and_no_other() -> None:
    assert sorted(first_column("field")) == sorted(Batch.model_fields)


def test_progress_has_every_state_and_no_other() -> None:
    assert sorted(first_column("state")) == sorted(get_args(get_type_hints(Batch)["state"]))
