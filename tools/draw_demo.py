"""Draws the demo's page: docs/demo.png, from rows of a real run that are kept in tests/fixtures/demo.json.

    python -m tools.draw_demo [--keep]

`--keep` takes these rows again, from build/demo.json, which `make demo` leaves.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from local import demo_page
from local.command import interruptible

ROOT = Path(__file__).resolve().parents[1]
MADE, KEPT, PICTURE = ROOT / "build" / "demo.json", ROOT / "tests" / "fixtures" / "demo.json", ROOT / "docs" / "demo.png"
ACCOUNTS = (
    "fca_single", "fca_jointline", "fca_business", "fca_soletrader", "fca_trust", "fca_partial", "fca_noowners", "fca_paged",
    "fca_nickname", "fca_relative", "fca_cooling", "fca_prefetch", "fca_fresh", "fca_inactive", "fca_lost", "fca_never", "fca_relinked",
    "fca_expiring",
)  # fmt: skip
SHOWN, OPENED = ("fca_nickname", "fca_relative", "fca_cooling", "fca_relinked"), "fca_cooling"
WIDTH, COLOURS = 1280, 64
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def keep() -> None:
    rows = [row for row in json.loads(MADE.read_text()) if row["account"] in ACCOUNTS]
    KEPT.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def rows() -> list[dict[str, Any]]:
    """The rows that the picture shows."""
    return [row for row in json.loads(KEPT.read_text()) if row["account"] in SHOWN]


def digest() -> str:
    """What the picture keeps of the rows and of the page's form, so that a test notices an old picture."""
    made = json.dumps(rows(), sort_keys=True) + demo_page.TEMPLATE.read_text()
    return hashlib.sha256(made.encode()).hexdigest()


def draw(browser: str) -> bytes:
    """The picture, as PNG with few colours."""
    from PIL import Image, PngImagePlugin
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as chromium:
        page = chromium.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.set_content(demo_page.page(rows()))
        page.get_by_role("row").filter(has_text=OPENED).locator("summary").click()
        page.evaluate("document.activeElement.blur()")
        taken = page.screenshot(full_page=True)
    small = io.BytesIO()
    about = PngImagePlugin.PngInfo()
    about.add_text("shown", digest())
    picture = Image.open(io.BytesIO(taken)).convert("RGB").quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
    picture.save(small, format="PNG", optimize=True, pnginfo=about)
    return small.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.draw_demo", description="Draw docs/demo.png.")
    parser.add_argument("--keep", action="store_true", help="take the rows anew from build/demo.json, which make demo leaves")
    if parser.parse_args().keep:
        keep()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"None of {', '.join(BROWSERS)} was found. Install Chromium to draw {PICTURE.relative_to(ROOT)}.")
    PICTURE.write_bytes(draw(browser))
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(interruptible(main))
