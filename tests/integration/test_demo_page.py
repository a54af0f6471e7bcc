"""The demo's page in a real browser, made from rows of a real run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from local import demo_page

pytestmark = pytest.mark.slow
AXE = Axe()
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], "resultTypes": ["violations"]}
ROWS = json.loads((Path(__file__).parents[1] / "fixtures" / "demo.json").read_text())
# One of each verdict, and of each wait.
SHOWN = [
    row for row in ROWS if row["account"] in ("fca_single", "fca_trust", "fca_relative", "fca_cooling", "fca_inactive", "fca_relinked")
]


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page, opened from a file. The test fails if it asks for anything else, or if the browser complains."""
    file = tmp_path / "demo.html"
    file.write_text(demo_page.page(SHOWN, {"fca_trust": ["verdict close_match, expected match"]}))
    context = browser.new_context()
    context.set_default_timeout(5_000)
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert complaints == []


def test_page_is_accessible_and_fits_wide_and_light_and_narrow_and_dark(page: Page) -> None:
    page.locator("summary").first.click()
    found = {}
    for width, scheme in ((1400, "light"), (360, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        results = AXE.run(page, options=RULES).response["violations"]
        found[width, scheme] = [f"{one['id']}: {node['html'][:120]}" for one in results for node in one["nodes"]]
    assert {size: violations for size, violations in found.items() if violations} == {}


def test_row_is_a_row_for_a_screen_reader_and_its_steps_open_by_keyboard(page: Page) -> None:
    for width in (1400, 360):
        page.set_viewport_size({"width": width, "height": 900})
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="fca_cooling"))
        expect(row.get_by_role("cell")).to_have_count(5)
    expect(row.get_by_role("img", name="waits for the cooldown")).to_be_visible()
    expect(row.get_by_role("listitem").filter(has_text="Cooldown over")).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.locator("summary").first).to_be_focused()
    row.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(row.get_by_role("listitem").filter(has_text="Cooldown over")).to_be_visible()
