"""The review desk's screens in a real browser, over an API that the test scripts: how they look, read and behave in each state.

The pictures in `build/desk/` and those of docs/reviews.md come from here, with invented names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import APIResponse, Browser, Page, Route, expect

from tests.support import desk_api
from tests.support.desk_api import HOUR, OTHER, YOU, Answer, DeskApi, verification
from tests.support.desk_browser import FAILED_REQUEST, WATCH, screenshot
from titleholder.errors import CallerUnknownError

pytestmark = pytest.mark.slow
AXE = Axe()
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], "resultTypes": ["violations"]}
FIRST, SECOND, THIRD, FOURTH, FIFTH, PROPOSED = (verification(number) for number in (1, 2, 3, 4, 5, 9))
BUSY = Answer(503, "table-busy", "The table is busy.")

Open = Callable[..., Page]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DeskApi]:
    with desk_api.running(tmp_path) as running:
        yield running


@pytest.fixture
def open_page(api: DeskApi, browser: Browser) -> Iterator[Open]:
    """Opens the page in a new browser. It may report no failures except those that the test lets the API answer."""
    contexts, complaints = [], []

    def note(text: str) -> None:
        if not FAILED_REQUEST.match(text):
            complaints.append(text)

    def make(fragment: str = "#/", *, clock: bool = False, **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "timezone_id": "UTC", "reduced_motion": "reduce", **options}
        )
        context.set_default_timeout(5_000)
        context.add_init_script(WATCH)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: note(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if clock:
            page.clock.install()
        page.goto(f"{api.url}/desk{fragment}")
        page.locator("#rows a, .nothing, #decision, .notice[role=alert]").first.wait_for()
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def calls(api: DeskApi, part: str) -> int:
    return sum(part in path for _, path, _ in api.calls)


def said(page: Page, text: str) -> None:
    """What the live region holds."""
    expect(page.locator("#said")).to_contain_text(text)


def fill_in(page: Page, decision: str = "approve", reason: str = "CHANGED_NAME_DOCUMENTED", note: str = "") -> None:
    page.locator(f"#{decision}").check()
    page.locator("#reason").select_option(reason)
    page.locator("#note").fill(note)


def hide_tab(page: Page, hidden: bool) -> None:
    page.evaluate(
        "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_each_screen_is_accessible_and_scrolls_in_one_direction(width: int, scheme: str, api: DeskApi, open_page: Open) -> None:
    api.open = "100+"
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        page.evaluate("scrollTo(0, 0)")
        screenshot(page, f"{name}-{width}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        results = AXE.run(page, options=RULES).response["violations"]
        found[name] = [f"{one['id']}: {node['html'][:120]}" for one in results for node in one["nodes"]]

    page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    look("queue")
    page.locator("#start").click()
    page.locator("#show").wait_for()
    look("detail")
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    page.locator("summary").click()
    fill_in(page)
    page.locator("#check").click()
    look("detail-revealed")
    api.close(FIRST, "rejected", "DIFFERENT_PERSON")
    page.locator("#note").fill("The passport names both middle names.")
    page.locator("#check").click()
    page.locator("#confirm").click()
    page.locator("#kept").wait_for()
    page.locator("#way", has_text="rejected").wait_for()
    look("taken")
    api.close(SECOND, "expired", "ACCOUNT_DISCONNECTED")
    page.goto(f"{api.url}/desk#/{SECOND}")
    page.locator("#decision .notice", has_text="Closed automatically").wait_for()
    look("expired")
    api.rows = []
    api.open = None
    page.goto(f"{api.url}/desk#/")
    page.locator(".nothing").wait_for()
    look("empty")
    api.answers["/reviews"] = [BUSY] * 8
    page.locator("#refresh").click()
    page.locator("main .notice[role=alert]").wait_for()
    page.locator("main").focus()
    page.evaluate("globalThis.endSession()")
    look("error")
    assert {name: violations for name, violations in found.items() if violations} == {}


def test_narrow_screen_keeps_labels_whole_and_paper_gets_no_names(api: DeskApi, open_page: Open) -> None:
    page = open_page(viewport={"width": 320, "height": 800})
    height = "(nodes) => nodes.map((node) => node.getBoundingClientRect().height)"
    assert max(page.locator(".tabs a").evaluate_all(height)) < 45
    page.locator(f"#rows a[href='#/{FIRST}']").click()
    page.locator("#show").click()
    tops = [page.locator(id).evaluate("(node) => node.getBoundingClientRect().top") for id in ("#keep", "#hide")]
    assert tops[0] == tops[1]
    assert page.locator("#back").evaluate_all(height)[0] >= 24
    # What waits has an empty dot.
    dot = "(node) => getComputedStyle(node, '::before').backgroundColor"
    assert page.locator(".way .now").evaluate(dot) == "rgba(0, 0, 0, 0)"
    page.emulate_media(media="print")
    for shown in (".value >> nth=0", "#note", "#hide", "#reference"):
        expect(page.locator(shown)).to_be_hidden()


def test_nothing_personal_is_asked_for_before_a_click_and_all_of_it_goes(api: DeskApi, open_page: Open) -> None:
    page = open_page(clock=True)
    page.locator(f"#rows a[href='#/{FIRST}']").click()
    page.locator("#show").wait_for()
    assert calls(api, "/comparison") == 0

    def shown() -> bool:
        return "Testerman" in page.content()

    assert not shown()
    page.keyboard.press("v")
    page.locator("#keep").wait_for()
    assert shown()
    page.clock.fast_forward("04:10")
    said(page, "Names are hidden in one minute")
    page.locator("#keep").click()
    page.clock.fast_forward("04:50")
    assert shown()
    page.locator("#hide").focus()
    page.clock.fast_forward("00:11")
    expect(page.locator("#show")).to_be_focused()
    assert not shown()
    page.keyboard.press("v")
    page.locator("#keep").wait_for()
    page.keyboard.press("v")
    expect(page.locator("#keep")).to_have_count(0)
    assert not shown()
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    hide_tab(page, True)
    before = calls(api, "/timeline")
    page.clock.fast_forward("01:01")
    assert not shown()
    # A hidden tab asks for nothing. It is updated when the reviewer comes back.
    assert calls(api, "/timeline") == before
    hide_tab(page, False)
    # Browsers let the timers of hidden tabs sleep.
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    page.evaluate("globalThis.setTimeout = () => 0")
    hide_tab(page, True)
    page.evaluate("(() => { const now = Date.now; Date.now = () => now() + 61_000; })()")
    hide_tab(page, False)
    assert not shown()
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert not shown()
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    page.keyboard.press("Escape")
    page.locator("#rows").wait_for()
    assert not shown()
    assert calls(api, "/comparison") == 6
    kept = page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, document.title, location.href])")
    assert "Testerman" not in kept
    assert page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage), document.cookie]") == [[], [], ""]


def test_names_go_when_the_session_ends(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}")
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    page.locator("#note").fill("typed")
    page.evaluate("globalThis.endSession()")
    expect(page.get_by_role("alert")).to_contain_text("Your session has ended")
    assert "Testerman" not in page.content()
    page.locator("#again").click()
    expect(page.locator("#again")).to_have_count(0)
    assert page.locator("#note").input_value() == "typed"


def test_decision_is_checked_confirmed_and_followed_by_the_next_review(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}")
    page.locator("#check").click()
    expect(page.locator("#decision-wrong")).to_have_text("Choose approve or reject.")
    page.locator("#reject").check()
    assert [option.get_attribute("value") for option in page.locator("#reason option").all()] == [
        "", "DIFFERENT_PERSON", "RELATIVE", "BUSINESS_UNRELATED", "EVIDENCE_LACKING", "SUSPECTED_FRAUD", "OTHER",
    ]  # fmt: skip
    page.locator("#reason").select_option("OTHER")
    page.locator("#reference").fill("has a blank")
    page.locator("#check").click()
    expect(page.locator("#reference")).to_be_focused()
    expect(page.locator("#note-wrong")).to_have_text("Say in a note what the reason is.")
    page.locator("#reference").fill("CASE-1")
    page.locator("#note").fill("  Two people of one name.  ")
    page.locator("#check").click()
    # A second press of Enter would have fallen on the button.
    expect(page.locator("#confirm-box")).to_be_focused()
    expect(page.locator("#confirm-what")).to_have_text("Reject: Another reason, which the note says. Final answer: no match.")
    expect(page.locator("#check")).to_be_hidden()
    page.locator("#note").type("!")
    expect(page.locator("#confirm")).to_have_count(0)
    expect(page.locator("#check")).to_be_visible()
    page.keyboard.press("Control+Enter")
    page.locator("#confirm").wait_for()
    page.keyboard.press("Control+Enter")
    page.wait_for_url(f"**#/{SECOND}")
    said(page, "Rejected")
    expect(page.locator("#title")).to_be_focused()
    expect(page.locator("main")).to_contain_text("Final answer: no match.")
    sent = next(body for method, path, body in api.calls if path.endswith("/decisions"))
    assert sent == {"version": 1, "decision": "reject", "reason": "OTHER", "reference": "CASE-1", "note": "Two people of one name.  !"}


def test_next_passes_over_what_another_reviewer_has_just_opened(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{SECOND}")
    page.locator("#show").wait_for()
    page.keyboard.press("n")
    page.wait_for_url(f"**#/{FOURTH}")
    page.goto(f"{api.url}/desk#/{THIRD}")
    expect(page.locator("#notices")).to_contain_text("Another reviewer had the names shown 2 min ago.")


@pytest.mark.parametrize("how", ["asked again after 30 seconds", "asked again on focus", "told on confirming"])
def test_decision_of_another_reviewer_is_said_and_what_was_typed_is_kept(how: str, api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}", clock=True)
    fill_in(page, note="The passport names both.")
    page.locator("#note").focus()
    if how.startswith("told"):
        page.locator("#check").click()
    before = calls(api, "/timeline")
    api.close(FIRST, "rejected", "DIFFERENT_PERSON")
    if how.endswith("seconds"):
        page.clock.fast_forward("00:30")
    elif how.endswith("focus"):
        page.clock.fast_forward("00:10")
        page.evaluate("dispatchEvent(new Event('focus'))")
    else:
        page.locator("#confirm").click()
    expect(page.locator("#decision .notice")).to_contain_text("rejected this at")
    expect(page.locator("#decision .notice")).to_contain_text(": the account belongs to another person.")
    said(page, "Another reviewer")
    assert page.locator("#kept").input_value() == "The passport names both."
    page.locator("#copy").click()
    assert page.evaluate("getSelection().toString() || document.activeElement.value") == "The passport names both."
    if not how.startswith("told"):
        assert calls(api, "/timeline") == before + 1
        page.clock.fast_forward("05:00")
        # A closed review stays closed, so that it is not asked about.
        assert calls(api, "/timeline") == before + 1


def test_failed_queue_and_failed_review_can_be_tried_again(api: DeskApi, open_page: Open) -> None:
    api.answers["/reviews"] = [BUSY] * 4
    page = open_page()
    page.get_by_role("button", name="Try again").click()
    page.locator("#rows a").first.wait_for()
    assert calls(api, "/reviews") <= 6
    api.answers["/timeline"] = [BUSY] * 3
    page.locator("#rows a").first.click()
    page.get_by_role("button", name="Try again").click()
    page.locator("#show").wait_for()
    api.answers["/comparison"] = [Answer(503, "audit-unavailable", "The request cannot be recorded.")]
    page.locator("#show").click()
    expect(page.locator("#comparison [role=alert]")).to_contain_text("The request cannot be recorded.")
    # A look is recorded each time, so the page does not look again by itself.
    assert calls(api, "/comparison") == 1
    page.locator("#comparison").get_by_role("button", name="Try again").click()
    page.locator("#keep").wait_for()


def test_checks_of_an_open_review_end_after_three_failures(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}", clock=True)
    before = calls(api, "/timeline")
    api.answers["/timeline"] = [BUSY] * 10
    for _ in range(6):
        page.clock.fast_forward("00:30")
        page.wait_for_timeout(50)
    expect(page.locator("#notices")).to_contain_text("Not checked for changes since")
    assert calls(api, "/timeline") == before + 3
    api.answers.clear()
    page.locator("#recheck").click()
    expect(page.locator("#recheck")).to_have_count(0)


def test_erased_account_is_said_without_a_button(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}")
    page.locator("#note").fill("Typed before.")
    api.answers["/comparison"] = [Answer(410, "account-erased", "The account was erased.")]
    page.locator("#show").click()
    expect(page.locator("#comparison")).to_contain_text("The account was erased. Names can no longer be read.")
    expect(page.locator("#show, #form")).to_have_count(0)
    assert page.locator("#kept").input_value() == "Typed before."


def test_support_sees_the_timeline_and_no_button_that_it_may_not_use(api: DeskApi, open_page: Open) -> None:
    api.may = []
    page = open_page(f"#/{FIRST}")
    expect(page.locator("#way")).to_contain_text("Cooling down until")
    expect(page.locator("#show, #form, #check, #withdraw")).to_have_count(0)
    expect(page.locator("#comparison")).to_contain_text("Your sign-in shows the timeline of a verification, not names.")
    for key in "var":
        page.keyboard.press(key)
    assert calls(api, "/comparison") == 0


def test_person_whom_the_token_does_not_name_reads_what_the_operator_has_to_change(api: DeskApi, open_page: Open) -> None:
    api.may, api.you, api.caller_unknown = [], "unknown", str(CallerUnknownError())
    page = open_page(f"#/{FIRST}")
    expect(page.locator("#comparison")).to_contain_text(
        "Your sign-in does not say who you are, so it shows no names. Inform the people who set up the desk: The token has no subject "
        "(`sub`), so its caller is unknown. Have the issuer put a subject into each access token."
    )
    expect(page.locator("#decision")).to_contain_text("Your sign-in does not say who you are, so it does not allow deciding.")
    expect(page.locator("#comparison")).not_to_contain_text("shows the timeline of a verification")
    expect(page.locator("#show, #form, #check, #withdraw")).to_have_count(0)
    for key in "var":
        page.keyboard.press(key)
    assert calls(api, "/comparison") == 0
    # The issuer was corrected.
    api.caller_unknown = None
    other_person(page, api, ["reveal", "decide"])
    expect(page.locator("#show")).to_be_visible()
    expect(page.locator("main")).not_to_contain_text("does not say who you are")


def test_proposal_is_withdrawn_by_its_reviewer_and_confirmed_by_another_one(api: DeskApi, open_page: Open) -> None:
    page = open_page("#/proposed")
    page.locator("#rows a").click()
    expect(page.locator("#decision")).to_contain_text("proposed to approve this at")
    expect(page.locator("#decision")).to_contain_text("You are the second reviewer.")
    fill_in(page)
    page.locator("#check").click()
    expect(page.locator("#confirm-what")).to_contain_text("Final answer: match.")
    api.reviews[PROPOSED]["decisions"] = [DeskApi.decision("approve", "CONTACT_CONFIRMED", YOU, HOUR)]
    page = open_page(f"#/{PROPOSED}")
    expect(page.locator("#decision")).to_contain_text("You proposed to approve this")
    expect(page.locator("#form")).to_have_count(0)
    page.locator("#withdraw").click()
    page.locator("#form").wait_for()
    assert api.reviews[PROPOSED]["state"] == "open"
    # An approval of a verdict no_match is always a proposal.
    page.goto(f"{api.url}/desk#/{verification(6)}")
    page.locator("#form").wait_for()
    fill_in(page)
    page.locator("#check").click()
    expect(page.locator("#confirm-what")).to_contain_text("This is a proposal: another reviewer has to confirm it.")


def test_with_two_reviewers_an_approval_is_a_proposal_and_a_rejection_is_final(api: DeskApi, open_page: Open) -> None:
    page = open_page()

    def for_two(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"reviewers_needed":0', '"reviewers_needed":2'))

    page.route("**/desk", for_two)
    page.goto(f"{api.url}/desk#/{FIRST}")
    page.reload()
    page.locator("#form").wait_for()
    for decision, reason, effect in (
        ("approve", "CHANGED_NAME_DOCUMENTED", "This is a proposal: another reviewer has to confirm it."),
        ("reject", "RELATIVE", "Final answer: no match."),
    ):
        fill_in(page, decision, reason)
        page.locator("#check").click()
        expect(page.locator("#confirm-what")).to_contain_text(effect)


def test_approval_is_a_proposal_where_two_were_needed_when_the_review_was_opened(api: DeskApi, open_page: Open) -> None:
    api.reviews[FIRST]["reviewers_needed"] = 2
    page = open_page(f"#/{FIRST}")
    fill_in(page)
    page.locator("#check").click()
    expect(page.locator("#confirm-what")).to_contain_text("This is a proposal: another reviewer has to confirm it.")


def test_review_that_changed_and_still_waits_keeps_the_form(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}", clock=True)
    fill_in(page, note="Both documents.")
    page.locator("#note").focus()
    page.keyboard.press("ArrowLeft")
    api.reviews[FIRST] |= {"state": "proposed", "version": 2, "decisions": [DeskApi.decision("approve", "CONTACT_CONFIRMED", OTHER)]}
    page.clock.fast_forward("00:30")
    expect(page.locator("#decision .notice")).to_contain_text("You are the second reviewer.")
    assert page.locator("#note").input_value() == "Both documents."
    assert page.locator("#reason").input_value() == "CHANGED_NAME_DOCUMENTED"
    expect(page.locator("#note")).to_be_focused()
    assert page.evaluate("document.activeElement.selectionStart") == len("Both documents.") - 1


def test_long_queue_grows_by_pages_of_fifty(api: DeskApi, open_page: Open) -> None:
    api.rows = [desk_api.close_match(number, 90_000 - number, 60.0, "TYPO") for number in range(100, 220)]
    page = open_page()
    assert page.locator("#rows tr").count() == 50
    page.locator("#more").click()
    expect(page.locator("#rows tr")).to_have_count(100)
    expect(page.locator("#rows a").nth(50)).to_be_focused()
    page.locator("#more").click()
    expect(page.locator("#rows tr")).to_have_count(120)
    expect(page.locator("#more")).to_have_count(0)
    assert len(set(page.locator("#rows a").evaluate_all("(links) => links.map((link) => link.href)"))) == 120


def test_queue_is_filtered_by_reason_and_an_id_leads_to_its_verification(api: DeskApi, open_page: Open) -> None:
    page = open_page()
    page.locator("#reason-filter").select_option("TRUST")
    expect(page.locator("#rows tr")).to_have_count(1)
    expect(page.locator("#reason-filter")).to_be_focused()
    page.locator("#reason-filter").select_option("PO_BOX_DIFFERS")
    expect(page.locator(".nothing")).to_contain_text("Nothing with this reason waits")
    page.locator("#goto").fill("ver_1")
    page.keyboard.press("Enter")
    expect(page.locator("#goto-wrong")).to_contain_text("Not an id.")
    page.locator("#goto").fill(f" {verification(50)} ")
    page.keyboard.press("Enter")
    expect(page.locator("#decision")).to_contain_text("This verification has no review.")
    expect(page.locator("#show")).to_have_count(0)
    page.goto(f"{api.url}/desk#/acct_1TestConnected")
    page.locator("#rows a").first.wait_for()
    expect(page.locator("main")).to_contain_text("acct_1TestConnected")


def test_letters_do_nothing_in_fields_with_modifiers_or_when_switched_off(api: DeskApi, open_page: Open) -> None:
    page = open_page()
    page.locator("#goto").focus()
    page.keyboard.type("jkn?")
    assert page.locator("#goto").input_value() == "jkn?"
    page.locator("h1").focus()
    page.keyboard.press("Control+j")
    page.keyboard.press("Alt+n")
    page.keyboard.press("Meta+n")
    assert page.evaluate("location.hash") in ("#/", "")
    page.keyboard.press("j")
    expect(page.locator("#rows a").first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator("#rows a").nth(1)).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("#shortcuts").uncheck()
    page.locator("#rows a").first.focus()
    for key in "jkn?var":
        page.keyboard.press(key)
    expect(page.locator("#rows a").first).to_be_focused()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("({ ...localStorage })") == {"shortcuts": "off"}
    page.keyboard.press("Enter")
    page.wait_for_url(f"**#/{FIRST}")
    page.locator("#show").wait_for()
    for key in "varn?":
        page.keyboard.press(key)
    assert calls(api, "/comparison") == 0
    expect(page.locator("#form :checked")).to_have_count(1)
    assert page.evaluate("location.hash") == f"#/{FIRST}"


def test_names_are_not_called_the_same_beside_a_reason_that_says_otherwise(api: DeskApi, open_page: Open) -> None:
    same = "are the same apart from capitals"
    api.rows[0]["reasons"] = ["BUSINESS_VS_PERSON", "NORMALISED"]
    api.rows[1]["reasons"] = ["NORMALISED", "PHONE_DIFFERS"]
    page = open_page()
    rows = page.locator("#rows tr")
    expect(rows.nth(0)).to_contain_text("One side names a person and the other a business")
    expect(rows.nth(0)).not_to_contain_text("more")
    expect(rows.nth(1)).to_contain_text(f"{same}, accents, punctuation or a title and 1 more")
    page.goto(f"{api.url}/desk#/{FIRST}")
    expect(page.locator("#why li")).to_have_text(["One side names a person and the other a business. BUSINESS_VS_PERSON"])
    page.goto(f"{api.url}/desk#/{SECOND}")
    expect(page.locator("#why li")).to_contain_text([same, "The phone numbers differ."])


def test_hostile_text_is_shown_as_text(api: DeskApi, open_page: Open) -> None:
    hostile = '<img src=x onerror=alert(1)></script>"><svg onload=alert(1)> \u202eEVIL\u202c\u200b\u2066\ufeff\u00ad ' + "W" * 1000
    api.comparison["fields"][0] |= {
        "claim": [{"text": "مارغريت "}, {"text": hostile, "differs": True}],
        "bank": [{"text": "مارغريت ", "differs": True}, {"text": hostile, "differs": True}],
    }
    api.comparison["fields"][0]["other_claimed"] = [[{"text": hostile}]]
    api.comparison["other_owners"] = [hostile]
    api.comparison["notes"] = [{"version": 2, "note": hostile}]
    api.comparison |= {"newest": False, "may_name_owner": False}
    page = open_page(f"#/{FIRST}", viewport={"width": 320, "height": 800})
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    page.locator("summary").click()
    text = page.locator("#comparison").inner_text()
    assert text.count("<img src=x onerror=alert(1)>") == 5
    assert "Notes of earlier decisions:" in text
    assert "The bank has given newer owners since." in text
    assert "Do not tell the name on the account." in text
    for box in ("U+202E", "U+202C", "U+200B", "U+2066", "U+FEFF", "U+00AD"):
        assert text.count(box) == 5
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\ufeff\u00ad]", page.locator("#comparison").inner_text())
    assert page.locator("main img, main svg, main script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    # The hidden word before a part does not make a right-to-left name a left-to-right one.
    directions = page.locator("#comparison tbody .value").evaluate_all("(nodes) => nodes.map((node) => getComputedStyle(node).direction)")
    assert directions[:4] == ["rtl", "ltr", "rtl", "ltr"]


def test_differing_parts_are_marked_in_forced_colours_and_for_ears(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}", forced_colors="active")
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    mark = page.locator("mark").first
    assert mark.inner_text().split() == ["differs:", "Anne"]
    style = mark.evaluate(
        "(node) => { const s = getComputedStyle(node); return [s.borderTopStyle, s.textDecorationLine, s.textDecorationStyle]; }"
    )
    assert style == ["solid", "underline", "wavy"]
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    assert "⟦" in mark.evaluate("(node) => getComputedStyle(node, '::before').content")
    expect(page.locator("tr.differs [data-label=Result]").first).to_contain_text("differs")
    screenshot(page, "detail-revealed-1280-forced")


# -- what goes wrong on the way ---------------------------------------------------------------------------------------------------------


def lose_answers(page: Page, times: int) -> list[Route]:
    """Let decisions reach the API, and lose the first answers on the way back."""
    sent: list[Route] = []

    def lose(route: Route) -> None:
        sent.append(route)
        answer = route.fetch()
        if len(sent) <= times:
            route.abort()
        else:
            route.fulfill(response=answer)

    page.route("**/decisions", lose)
    return sent


def other_person(page: Page, api: DeskApi, may: list[str]) -> None:
    """Let the session end, and another person sign in."""
    page.evaluate("globalThis.endSession()")
    api.you, api.may = OTHER, may
    page.locator("#again").click()
    expect(page.locator("#again")).to_have_count(0)


def test_window_for_signing_in_that_was_closed_can_be_opened_again(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}")
    page.locator("#note").fill("typed")
    page.evaluate("globalThis.closing = true; globalThis.endSession()")
    page.locator("#again").click()
    # The window was closed, which the page cannot notice.
    page.locator("#again").click()
    assert page.evaluate("globalThis.windows.length") == 2
    expect(page.locator("#ended")).to_have_text("Your session has ended. What you typed is kept. ")
    page.evaluate("globalThis.signedIn()")
    said(page, "You are signed in again.")
    expect(page.locator("#again")).to_have_count(0)
    assert page.locator("#note").input_value() == "typed"


def test_key_that_is_held_down_is_one_press(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}")
    fill_in(page)
    page.locator("#note").focus()
    page.keyboard.down("Control")
    for _ in range(4):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    page.keyboard.up("Control")
    expect(page.locator("#confirm")).to_be_visible()
    assert calls(api, "/decisions") == 0
    page.locator("#title").focus()
    for key in "vn":
        for _ in range(6):
            page.keyboard.down(key)
            page.wait_for_timeout(20)
        page.keyboard.up(key)
    page.wait_for_url(f"**#/{SECOND}")
    assert calls(api, "/comparison") == 1
    page.locator("#show").focus()
    for _ in range(4):
        page.keyboard.down("Enter")
        page.wait_for_timeout(20)
    page.keyboard.up("Enter")
    assert calls(api, "/comparison") == 2
    # Back in the queue, the focus is on a link that the same key would follow.
    page.locator("#back").focus()
    for _ in range(4):
        page.keyboard.down("Enter")
        page.wait_for_timeout(60)
    page.keyboard.up("Enter")
    expect(page.locator("#rows")).to_be_visible()


def test_own_decision_whose_answers_were_lost_is_a_success(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}", clock=True)
    fill_in(page, "reject", "OTHER", "My own note.")
    page.locator("#check").click()
    sent = lose_answers(page, 2)
    page.locator("#confirm").click()
    expect(page.locator("#sending")).to_be_visible()
    # A check of the review at this moment does not touch the panel.
    page.clock.fast_forward("00:31")
    page.clock.fast_forward("00:02")
    page.clock.fast_forward("00:02")
    page.wait_for_url(f"**#/{SECOND}")
    said(page, "Rejected")
    assert len(sent) == 3
    page.goto(f"{api.url}/desk#/{FIRST}")
    expect(page.locator("#decision .notice")).to_contain_text("You rejected this")
    expect(page.locator("#kept")).to_have_count(0)


def test_decision_of_which_nothing_is_known_is_found_by_the_next_check(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}", clock=True)
    fill_in(page, "reject", "OTHER", "My own note.")
    page.locator("#check").click()
    lose_answers(page, 3)
    page.locator("#confirm").click()
    for _ in range(3):
        page.clock.fast_forward("00:02")
        page.wait_for_timeout(50)
    expect(page.locator("#failed [role=alert]")).to_contain_text("It is not known whether the decision was stored.")
    expect(page.locator("#failed [role=alert]")).to_be_focused()
    page.clock.fast_forward("00:31")
    expect(page.locator("#decision .notice")).to_contain_text("You rejected this")
    expect(page.locator("#kept")).to_have_count(0)


def test_decision_that_fails_after_its_reviewer_moved_on_is_said(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}", clock=True)
    fill_in(page, note="Kept.")
    page.locator("#check").click()
    api.answers["/decisions"] = [BUSY] * 3
    page.locator("#confirm").focus()
    page.keyboard.press("Enter")
    said(page, "Sending")
    # The button keeps the focus while presses have no effect.
    expect(page.locator("#confirm")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    page.wait_for_url(f"**#/{SECOND}")
    page.clock.fast_forward("00:01")
    page.wait_for_timeout(100)
    page.clock.fast_forward("00:01")
    expect(page.locator("#late [role=alert]")).to_contain_text("Your decision about ver_6b86…3f57 failed. The API could not answer (503).")
    assert calls(api, "/decisions") == 3
    page.locator("#late a").click()
    expect(page.locator("#note")).to_have_value("Kept.")
    expect(page.locator("#late [role=alert]")).to_have_count(0)


def test_other_person_who_signs_in_again_gets_a_desk_of_their_own(api: DeskApi, open_page: Open) -> None:
    api.reviews[FIRST] |= {"state": "proposed", "version": 2, "decisions": [DeskApi.decision("approve", "CONTACT_CONFIRMED", YOU, HOUR)]}
    page = open_page(f"#/{FIRST}")
    expect(page.locator("#withdraw")).to_be_visible()
    other_person(page, api, ["reveal", "decide"])
    expect(page.locator("#decision")).to_contain_text("You are the second reviewer.")
    expect(page.locator("#who")).to_contain_text("reviewer-b71c")
    page.locator("#note").fill("Of the second one.")
    api.you = YOU
    page.evaluate("globalThis.endSession()")
    page.locator("#again").click()
    expect(page.locator("#withdraw")).to_be_visible()
    expect(page.locator("#kept")).to_have_count(0)
    other_person(page, api, [])
    expect(page.locator("#comparison")).to_contain_text("Your sign-in shows the timeline of a verification, not names.")
    expect(page.locator("#form, #withdraw, #show")).to_have_count(0)


def test_next_begins_again_at_the_end_and_looks_at_the_queue_as_it_is_now(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{verification(8)}", clock=True)
    page.locator("#show").wait_for()
    page.keyboard.press("n")
    page.wait_for_url(f"**#/{FIRST}")
    page.locator("#show").wait_for()
    # The list is older than 20 seconds, and another reviewer has opened the next one since.
    api.rows[1]["seen"] = {"by_you": False, "at": DeskApi.decision("approve", None, YOU)["at"]}
    page.clock.fast_forward("00:21")
    page.keyboard.press("n")
    page.wait_for_url(f"**#/{FOURTH}")
    for row in api.rows:
        row["seen"] = {"by_you": False, "at": DeskApi.decision("approve", None, YOU)["at"]}
    page.locator("#show").wait_for()
    page.clock.fast_forward("00:21")
    page.keyboard.press("n")
    page.wait_for_url(f"**#/{FIRST}")
    expect(page.locator(".notice.good")).to_contain_text("This is the oldest of them.")
    expect(page.locator("#notices")).to_contain_text("Another reviewer had the names shown")
    api.rows = api.rows[:1]
    page.clock.fast_forward("00:21")
    page.keyboard.press("n")
    page.locator("#rows").wait_for()
    expect(page.locator("main")).to_contain_text("Nothing else waits in this list.")


def test_last_decision_is_still_said_when_the_queue_is_there(api: DeskApi, open_page: Open) -> None:
    api.rows = api.rows[:1]
    page = open_page(f"#/{FIRST}")
    fill_in(page)
    page.locator("#check").click()
    page.locator("#confirm").click()
    page.locator(".nothing").wait_for()
    expect(page.locator("main > .notice.good")).to_contain_text("Approved ver_6b86…3f57. Final answer: match. See it")
    said(page, "Nothing else waits in this list.")


def test_id_that_is_being_typed_stays_when_the_queue_arrives(api: DeskApi, open_page: Open) -> None:
    page = open_page()
    api.slow.clear()
    page.locator("#reason-filter").select_option("TRUST")
    page.locator("#goto").fill("ver_0123")
    page.keyboard.press("ArrowLeft")
    api.slow.set()
    expect(page.locator("#rows tr")).to_have_count(1)
    assert page.locator("#goto").input_value() == "ver_0123"


def test_answer_to_a_question_that_was_replaced_draws_nothing(api: DeskApi, open_page: Open) -> None:
    api.rows = [desk_api.close_match(number, 90_000 - number, 60.0, "TYPO") for number in range(100, 220)] + [api.rows[-1]]
    page = open_page()
    held: list[Route] = []
    page.route("**/reviews?*limit=50*", lambda route: held.append(route))
    for fragment in ("#/proposed", "#/") * 2:
        page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
        page.wait_for_timeout(50)
    held[1].continue_()
    page.wait_for_timeout(200)
    expect(page.locator("#list")).to_have_text("Loading the queue…")
    held[3].continue_()
    expect(page.locator("#rows tr")).to_have_count(50)
    page.locator("#more").click()
    page.wait_for_timeout(50)
    page.locator("#reason-filter").select_option("TRUST")
    page.wait_for_timeout(50)
    held[4].continue_()
    held[5].continue_()
    expect(page.locator(".nothing")).to_contain_text("Nothing with this reason waits")
    expect(page.locator("#rows")).to_have_count(0)


def test_older_answer_does_not_undo_a_newer_version(api: DeskApi, open_page: Open) -> None:
    api.reviews[FIRST] |= {"state": "proposed", "version": 2, "decisions": [DeskApi.decision("approve", "CONTACT_CONFIRMED", YOU, HOUR)]}
    page = open_page(f"#/{FIRST}", clock=True)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/timeline", lambda route: route.continue_() if held else held.append((route, route.fetch())))
    page.clock.fast_forward("00:31")
    page.wait_for_timeout(100)
    assert len(held) == 1
    page.locator("#withdraw").click()
    page.locator("#form").wait_for()
    page.wait_for_timeout(100)
    held[0][0].fulfill(response=held[0][1])
    page.wait_for_timeout(200)
    expect(page.locator("#form")).to_have_count(1)
    expect(page.locator("#withdraw")).to_have_count(0)


def test_check_that_fails_is_said_with_the_time_of_the_last_one_that_worked(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}", clock=True)
    began = page.evaluate("new Date().toTimeString().slice(0, 5)")
    api.answers["/timeline"] = [BUSY] * 10
    for _ in range(6):
        page.clock.fast_forward("00:30")
        page.wait_for_timeout(50)
    expect(page.locator("#notices")).to_contain_text(f"Not checked for changes since {began}.")
    page.clock.fast_forward("10:00")
    page.locator("#recheck").click()
    expect(page.locator("#notices")).to_contain_text("did not work: The API could not answer (503).")
    expect(page.locator("#notices")).to_contain_text(f"Not checked for changes since {began}.")
    expect(page.locator("#recheck")).to_be_focused()


def test_nothing_is_repeated_before_the_time_that_the_api_asks_for(api: DeskApi, open_page: Open) -> None:
    page = open_page(clock=True)
    before = calls(api, "/reviews")
    api.answers["/reviews"] = [Answer(429, "too-many-requests", "Slow down.", {"retry-after": "30"})] * 2
    page.locator("#reason-filter").select_option("TRUST")
    again = page.get_by_role("button", name="Try again")
    expect(again).to_have_attribute("aria-disabled", "true")
    expect(page.locator("main .notice[role=alert]")).to_contain_text("Wait 30 s before you try again.")
    again.dispatch_event("click")
    page.clock.fast_forward("00:29")
    assert calls(api, "/reviews") == before + 2
    page.clock.fast_forward("00:02")
    again.click()
    expect(page.locator("#rows tr")).to_have_count(1)


def test_place_in_a_long_queue_is_kept(api: DeskApi, open_page: Open) -> None:
    api.rows = [desk_api.close_match(number, 90_000 - number, 60.0, "TYPO") for number in range(100, 220)]
    api.reviews = {row["verification"]: api._review(row) for row in api.rows}
    page = open_page()
    page.locator("#more").click()
    expect(page.locator("#rows tr")).to_have_count(100)
    link = page.locator("#rows a").nth(70)
    id = link.get_attribute("id")
    link.click()
    page.locator("#show").wait_for()
    page.keyboard.press("Escape")
    expect(page.locator(f"#{id}")).to_be_focused()
    expect(page.locator("#list:not([aria-busy]) tbody tr")).to_have_count(100)
    expect(page.locator(f"#{id}")).to_be_focused()


def test_draft_is_kept_while_another_review_is_open_and_leaving_warns(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}")
    fill_in(page, note="Half a thought.")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("n")
    page.wait_for_url(f"**#/{SECOND}")
    page.locator("#form").wait_for()
    page.evaluate(f"location.hash = '#/{FIRST}'")
    expect(page.locator("#note")).to_have_value("Half a thought.")
    assert page.evaluate("dispatchEvent(new Event('beforeunload', { cancelable: true }))") is False
    page.locator("#note").fill("")
    assert page.evaluate("dispatchEvent(new Event('beforeunload', { cancelable: true }))") is True


def test_answer_of_something_that_is_not_the_api_is_said(api: DeskApi, open_page: Open) -> None:
    page = open_page(clock=True)
    page.route("**/reviews?*", lambda route: route.fulfill(status=200, content_type="text/html", body="<h1>Sign in to the network</h1>"))
    page.locator("#reason-filter").select_option("TRUST")
    page.clock.fast_forward("00:01")
    page.wait_for_timeout(100)
    page.clock.fast_forward("00:02")
    expect(page.locator("main .notice[role=alert]")).to_contain_text("The answer is not from the API.")


def test_timeline_says_what_is_missing_and_calls_name_the_connected_account(api: DeskApi, open_page: Open) -> None:
    api.recorded, api.left_out = False, 7
    api.steps = [{"at": DeskApi.decision("approve", None, YOU)["at"], "kind": "trouble", "reason": "STRIPE_UNAVAILABLE"}]
    page = open_page(f"#/acct_1TestConnected/{FIRST}")
    page.locator("#way time").first.wait_for()
    expect(page.locator("#way")).to_contain_text("Steps may be missing.")
    expect(page.locator("#way")).to_contain_text("7 more steps are not shown")
    expect(page.locator("#way")).to_contain_text(
        "Stripe could not be asked: the account's data could not be reached in time; it is tried again"
    )
    expect(page.locator("#way")).to_contain_text("Continued: Stripe reported the result")
    expect(page.locator("#way")).to_contain_text("Stripe's event arrived: financial_connections.account.refreshed_ownership (evt_")
    page.locator("#show").click()
    page.locator("#keep").wait_for()
    assert set(api.tenants) == {"acct_1TestConnected"}


def test_signing_out_takes_everything_off_the_screen(api: DeskApi, open_page: Open) -> None:
    page = open_page(f"#/{FIRST}")
    page.locator("#note").fill("Saw the passport.")
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#signout").click()
    expect(page.locator("h1")).to_have_text("You are signed out of the desk")
    expect(page.locator("h1")).to_be_focused()
    assert page.locator("textarea").count() == 0
    page.keyboard.press("n")
    page.evaluate(f"location.hash = '#/{SECOND}'")
    assert calls(api, "/timeline") == 1
