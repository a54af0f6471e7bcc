"""The review desk's page in a real browser: what it weighs, and how soon there is something to see.

The page is what its function serves, over an API on this machine that answers at once. A browser that has nothing of the page in its cache
opens it, with a processor that is slowed down to a quarter.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.benchmarks.figures import Figure
from tests.support import desk_api, judges
from tests.support.functions import load
from tools.fetch_npm import fetch

ROUNDS = 5
SLOWED = 4
KB = 1024
CLICK = """() => new Promise((done) => {
  const began = performance.now();
  const look = () => document.querySelector("#decision #form") ? done(performance.now() - began) : requestAnimationFrame(look);
  document.querySelector("#rows a").click();
  look();
})"""


def measure() -> list[Figure]:
    chromium = next(filter(None, map(shutil.which, judges.CHROMIUM)), None)
    if chromium is None:
        sys.exit(f"{judges.MISSING}Chromium: Debian: apt-get install chromium")
    library = fetch("oauth4webapi") / "oauth4webapi" / "build" / "index.js"
    with tempfile.TemporaryDirectory() as folder, desk_api.running(Path(folder), library=library) as api, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=judges.CHROMIUM_ARGUMENTS)
        rounds = [_round(browser, api.url) for _ in range(ROUNDS)]
        browser.close()
    paint, click = (statistics.median(column) for column in zip(*rounds, strict=True))
    page = load("desk").module
    files = {**page.FILES, "oauth4webapi.js": page.File.of("", library.read_bytes())}
    weight = len(page.PAGE.packed) + sum(len(file.packed) for file in files.values())
    return [
        Figure("page", "page and files, packed", weight / KB, "KB", ("<=", 60)),
        Figure("page", "first contentful paint", paint, "ms", ("<=", 1000), f"cold cache, processor slowed {SLOWED} times"),
        Figure("page", "review after a click", click, "ms", ("<=", 300), f"the API answers at once, processor slowed {SLOWED} times"),
    ]


def _round(browser: Browser, url: str) -> tuple[float, float]:
    """Milliseconds until something is seen, and until a review is seen after a click."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
    page.goto(f"{url}/desk")
    page.locator("#rows a").first.wait_for()
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    click = page.evaluate(CLICK)
    context.close()
    return paint, click
