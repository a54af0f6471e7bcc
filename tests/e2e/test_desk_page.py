"""The review desk's page with the real API: hostile names, use by keyboard only, changes by others, errors, and how much it loads.

How the screens look in each state is the subject of tests/integration/test_desk_screens.py.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
import requests
from playwright.sync_api import Page, Route, expect

from local.desk import CLOSE_MATCHES, Desk, verified
from tests.e2e.test_desk import decide, fill_in, final, new_account, waiting
from tests.support.desk_browser import Visit, token_for

HEAVIEST_KB = 60


@pytest.fixture
def interrupted() -> Callable[..., list[int]]:
    """Makes the next calls of a page fail at the network, or with a status. Returns the list that grows with each such call."""

    def make(page: Page, glob: str, times: int, status: int = 0) -> list[int]:
        made: list[int] = []

        def answer(route: Route) -> None:
            if len(made) >= times:
                route.continue_()
                return
            made.append(status)
            if not status:
                route.abort()
                return
            body = '{"type": "urn:titleholder:problem:table-busy", "detail": "The table is busy."}'
            route.fulfill(
                status=status, content_type="application/problem+json", headers={"apigw-requestid": "Kf3xQhk2IAMEVtg="}, body=body
            )

        page.route(glob, answer)
        return made

    return make


def test_hostile_names_of_the_bank_are_text_on_every_screen(desk: Desk, visit: Visit) -> None:
    ada = visit("ada", viewport={"width": 320, "height": 800})
    page = ada.open()
    page.locator("#rows tr").first.wait_for()
    page.evaluate("() => { globalThis.alert = () => { throw new Error('markup was run'); }; }")
    for name in ("fca_markup", "fca_hidden"):
        id_ = verified(desk.stack, new_account(), CLOSE_MATCHES[name])["id"]
        page.goto(f"{desk.url}#/{id_}")
        page.locator("#show").click()
        page.locator("#keep").wait_for()
        bank = page.locator("[data-label='At the bank'] .value").first.evaluate(
            """(node) => { const copy = node.cloneNode(true);
              copy.querySelectorAll(".unseen").forEach((one) => one.remove());
              return copy.textContent; }"""
        )
        assert bank == CLOSE_MATCHES[name].owners[0]["name"].replace("\u202e", "U+202E").replace("\u200b", "U+200B")
        assert page.locator("main img, main svg, main script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.locator("#hide").click()
    decide(ada, "reject", "DIFFERENT_PERSON")
    page.locator("#said", has_text="Rejected").wait_for(state="attached")
    assert "EDISPU" not in page.content()


def test_page_makes_no_markup_of_text_and_is_shown_in_no_frame(desk: Desk, visit: Visit) -> None:
    ada = visit("ada")
    page = ada.open()
    page.locator("#rows tr").first.wait_for()
    refused = page.evaluate(
        """() => [
          () => { document.body.innerHTML = "x"; },
          () => document.body.insertAdjacentHTML("beforeend", "x"),
          () => { document.createElement("script").text = "x"; },
        ].map((act) => { try { act(); return ""; } catch (error) { return error.name; } })"""
    )
    assert refused == ["TypeError"] * 3
    # Each is reported twice: by the browser, and by the listener of the harness.
    ada.wait_until(lambda: len(ada.failures) == 6)
    assert all("TrustedHTML" in line or "TrustedScript" in line or "require-trusted-types-for" in line for line in ada.failures)
    ada.failures.clear()
    other = ada.context.new_page()
    other.goto(f"{desk.issuer.url}/session/end/success")
    other.evaluate("(url) => { const frame = document.createElement('iframe'); frame.src = url; document.body.append(frame); }", desk.url)
    refused_frame = ada.wait_until(lambda: [line for line in ada.failures if "frame-ancestors" in line])
    assert all("desk.js" not in frame.content() for frame in other.frames[1:])
    assert ada.failures == refused_frame
    ada.failures.clear()


def test_review_is_decided_by_keys_alone_and_the_focus_is_always_seen(desk: Desk, visit: Visit) -> None:
    ada = visit("ada", viewport={"width": 1280, "height": 600})
    page = ada.open()
    page.locator("#rows tr").first.wait_for()
    keys = page.keyboard

    def focused() -> str:
        found = page.evaluate(
            """() => { const node = document.activeElement, box = node.getBoundingClientRect(), style = getComputedStyle(node);
              const x = Math.min(innerWidth - 1, Math.max(0, box.x + Math.min(box.width / 2, 20)));
              const above = document.elementFromPoint(x, Math.min(innerHeight - 1, Math.max(0, box.y + Math.min(box.height / 2, 10))));
              return { id: node.id || node.tagName, outline: style.outlineStyle, seen: box.bottom > 0 && box.top < innerHeight,
                       covered: !(above === node || node.contains(above) || above.contains(node)) }; }"""
        )
        assert found["id"] != "BODY", "the focus is lost"
        assert found["outline"] != "none", f"the focus is not seen on {found['id']}"
        assert found["seen"], f"{found['id']} is off the screen"
        assert not found["covered"], f"{found['id']} is under something"
        return str(found["id"])

    keys.press("j")
    first = page.evaluate("document.activeElement.hash")
    assert focused() == f"row-{first.removeprefix('#/')}"
    keys.press("Enter")
    page.locator("#show").wait_for()
    assert focused() == "title"
    keys.press("v")
    page.locator("#keep").wait_for()
    assert focused() == "comparison-title"
    keys.press("a")
    assert focused() == "approve"
    keys.press("Tab")
    assert focused() == "reason"
    keys.type("A document")
    keys.press("Tab")
    assert focused() == "reference"
    keys.type("CASE-4711")
    keys.press("Control+Enter")
    page.locator("#confirm").wait_for()
    assert focused() == "confirm-box"
    keys.press("Escape")
    assert focused() == "check"
    keys.press("Enter")
    page.locator("#confirm").wait_for()
    keys.press("Control+Enter")
    page.wait_for_url(lambda url: "#/ver_" in url and not url.endswith(first))
    page.locator("#show").wait_for()
    assert focused() == "title"
    expect(page.locator("#said")).to_contain_text("Final answer: match. The next review is open.")
    assert final(desk, first.removeprefix("#/")) == {"outcome": "match", "by": "review"}
    for _ in range(8):
        keys.press("Tab")
        focused()
    page_id = page.url.rpartition("/")[2]
    keys.press("Escape")
    page.locator("#rows").wait_for()
    assert focused() in ("title", f"row-{page_id}")


def test_decision_of_another_reviewer_is_said_within_30_seconds_and_the_note_is_kept(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    ada, ben = visit("ada"), visit("ben")
    ada.page.clock.install()
    page = ada.open(f"#/{id_}")
    fill_in(ada, "approve", "OTHER", "The passport names both.")
    page.locator("#note").focus()
    ben.open(f"#/{id_}")
    decide(ben, "reject", "DIFFERENT_PERSON")
    expect(ben.page.locator("#said")).to_contain_text("Final answer: no match")
    page.clock.fast_forward(30_000)
    expect(page.locator("#decision .notice")).to_contain_text("rejected this at")
    expect(page.locator("#said")).to_contain_text("Another reviewer")
    assert page.locator("#kept").input_value() == "The passport names both."


@pytest.mark.parametrize("status", [503, 429, 0])
def test_failure_is_shown_after_three_tries_and_the_decision_goes_through_later(
    status: int, desk: Desk, visit: Visit, interrupted: Callable[..., list[int]]
) -> None:
    id_ = waiting(desk)
    ada = visit("ada")
    ada.expected_failures |= {"503", "429", "ERR_FAILED"}
    page = ada.open(f"#/{id_}")
    fill_in(ada, "reject", "OTHER", "No document.")
    made = interrupted(page, "**/review/decisions", 3, status)
    page.locator("#confirm").click()
    alert = page.locator("#failed [role=alert]")
    expect(alert).to_contain_text({503: "The table is busy.", 429: "Too many requests", 0: "could not be reached"}[status])
    if status:
        expect(alert).to_contain_text("Request id Kf3xQhk2IAMEVtg=")
    assert len(made) == 3
    assert final(desk, id_) is None
    assert page.locator("#note").input_value() == "No document."
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator("#said")).to_contain_text("Final answer: no match")
    assert final(desk, id_) == {"outcome": "no_match", "by": "review"}


def test_page_weighs_60_kb_and_makes_six_requests_before_it_asks_the_api(desk: Desk, visit: Visit) -> None:
    ada = visit("ada")
    page = ada.open()
    page.locator("#rows tr").first.wait_for()
    own = [url for _, url in ada.requests if url.startswith(desk.stack.api_url)]
    last = max(number for number, url in enumerate(own) if url.partition("?")[0] == desk.url)
    first = next(number for number, url in enumerate(own) if "/reviews" in url)
    # Chromium without a window asks for no icon, so it is counted here.
    before = {*own[last:first], page.locator("link[rel=icon]").evaluate("(link) => link.href")}
    assert len(before) == 6
    sizes = {}
    for url in before:
        answer = requests.get(url, headers={"Accept-Encoding": "gzip"}, timeout=30, stream=True)
        packed = answer.raw.read(decode_content=False)
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed)
        sizes[url.partition("?")[0].rpartition("/")[2]] = len(packed)
    assert sum(sizes.values()) <= HEAVIEST_KB * 1024, sizes


def test_support_asks_for_no_names_even_by_key(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    sam = visit("sam")
    page = sam.open(f"#/{id_}")
    expect(page.locator("#comparison")).to_contain_text("not names")
    for key in "var":
        page.keyboard.press(key)
    assert not any("/comparison" in url for _, url in sam.requests)
    assert (
        requests.get(
            f"{desk.stack.api_url}/reviews", headers={"Authorization": f"Bearer {token_for(desk, 'sam', 'support')}"}, timeout=30
        ).json()["may"]
        == []
    )
