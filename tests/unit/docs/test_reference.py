"""The pages of docs/reference are what the code says now."""

from __future__ import annotations

import pytest

from tools.reference import FOLDER
from tools.reference.pages import PAGES


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_generator_writes_from_the_code(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text() == PAGES[name](), "run `make reference`"
