"""The review desk as people use it: the real page in a real browser, a real issuer, the real template on the embedded stack.

Each visitor's browser is watched: see `tests/support/desk_browser.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import requests
from playwright.sync_api import Response, Route, expect

from local.aws.emulator import REGION
from local.client import Client
from local.desk import CloseMatch, Desk, verified
from local.stack import STACK
from local.stripe_simulator.scenarios import owner
from tests.e2e.stack_driver import eventually
from tests.support.desk_browser import Visit, Visitor, token_for
from tools.smoke import desk as smoke
from tools.smoke.stack import find

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {issuer}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
CANARY = CloseMatch(
    "Words that occur nowhere else",
    {"name": "Quillon Anne Brandywhistle", "email": "quillon@claimed.example.com"},
    (owner("QUILLON LOUISE BRANDYWHISTLE", "quillon@banked.example.com"), owner("OTTOLINE FENNIMANTLE")),
    "MIDDLE_DIFFERS",
    scenario="fresh",
)
CANARY_WORDS = ("quillon", "brandywhistle", "fennimantle", "claimed.example", "banked.example")


def new_account() -> str:
    return f"fca_{secrets.token_hex(8)}"


def waiting(desk: Desk, case: CloseMatch = CANARY) -> str:
    """The id of a new verification whose review is open."""
    return str(verified(desk.stack, new_account(), case)["id"])


def verification(desk: Desk, id_: str) -> Any:
    """What a back end reads, which signs by IAM."""
    return Client(desk.stack.api_url).call("GET", f"/verifications/{id_}").body


def final(desk: Desk, id_: str) -> dict[str, Any] | None:
    """The answer that a back end acts on, without its time."""
    found = verification(desk, id_)["final"]
    return found and {name: found[name] for name in ("outcome", "by")}


def audit_entries(desk: Desk, id_: str) -> list[str]:
    """The actions that the audit holds about a verification."""
    pages = desk.stack.client("dynamodb").get_paginator("scan").paginate(TableName=desk.stack.outputs["TableName"], ConsistentRead=True)
    entries = [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith("AUDIT#") and id_ in str(item)]
    return [entry["action"]["S"] for entry in entries]


def bodies(visitor: Visitor) -> list[tuple[str, str]]:
    """The addresses and bodies of the API's answers from now on."""
    found: list[tuple[str, str]] = []

    def note(response: Response) -> None:
        if response.url.startswith(visitor.desk.stack.api_url) and response.request.resource_type == "fetch":
            found.append((f"{response.request.method} {response.url.removeprefix(visitor.desk.stack.api_url)}", response.text()))

    visitor.page.on("response", note)
    return found


def fill_in(visitor: Visitor, decision: str, reason: str, note: str = "") -> None:
    page = visitor.page
    page.locator(f"#{decision}").check()
    page.locator("#reason").select_option(reason)
    if note:
        page.locator("#note").fill(note)
    page.locator("#check").click()


def decide(visitor: Visitor, decision: str, reason: str, note: str = "") -> None:
    fill_in(visitor, decision, reason, note)
    visitor.page.locator("#confirm").click()


def has_canary(text: object) -> bool:
    return any(word in str(text).lower() for word in CANARY_WORDS)


def test_smoke_test_finds_that_page_and_issuer_fit_together(desk: Desk) -> None:
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    local = SimpleNamespace(client=partial(session.client, endpoint_url=desk.stack.aws.endpoint), get_credentials=session.get_credentials)
    lines = [str(line) for line in smoke.page(find(STACK, REGION, session=local))]
    assert [line.split()[0] for line in lines] == ["ok", "ok"], lines


# -- journeys ----------------------------------------------------------------------------------------------------------------------------


def test_a_reviewer_decides_the_oldest_close_match_and_the_back_end_reads_the_answer(desk: Desk, visit: Visit) -> None:
    ada = visit("ada")
    page = ada.open()
    rows = page.locator("#rows tr")
    expect(rows.first).to_be_visible()
    assert rows.count() >= 10
    page.get_by_role("button", name="Start with the oldest").click()
    page.wait_for_url("**/desk#/ver_*")
    id_ = page.url.rpartition("/")[2]
    assert verification(desk, id_)["review"] == "open"
    page.locator("#show").click()
    expect(page.locator("#keep")).to_be_visible()
    fill_in(ada, "approve", "NAME_VARIANT_CONFIRMED")
    # Nothing is decided before the second step.
    assert final(desk, id_) is None
    page.locator("#confirm").click()
    # The next one is open, and a live region says what was done.
    page.wait_for_url(lambda url: "#/ver_" in url and not url.endswith(id_))
    expect(page.locator("#said")).to_contain_text("Final answer: match")
    found = verification(desk, id_)
    assert (found["review"], found["verdict"]["outcome"]) == ("closed", "close_match")
    assert final(desk, id_) == {"outcome": "match", "by": "review"}


def test_the_page_asks_the_api_and_the_issuer_alone_under_the_policy_that_it_says(desk: Desk, visit: Visit) -> None:
    ada = visit("ada")
    with ada.page.expect_response(desk.url) as answered:
        ada.open()
    assert answered.value.headers["content-security-policy"] == POLICY.format(issuer=desk.issuer.url)
    assert ada.hosts == {desk.url.split("/")[2], desk.issuer.url.split("/")[2]}


def test_names_reach_the_browser_only_when_they_are_asked_for_and_the_look_is_recorded(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    ada = visit("ada")
    answers = bodies(ada)
    page = ada.open(f"#/{id_}")
    expect(page.locator("#show")).to_be_visible()
    expect(page.locator("#way li").first).to_be_visible()
    timeline, comparison = f"GET /verifications/{id_}/timeline", f"POST /verifications/{id_}/comparison"
    ada.wait_until(lambda: timeline in dict(answers))
    assert {route for route, _ in answers if id_ in route} == {timeline}
    assert not has_canary([body for _, body in answers])
    assert not has_canary(page.content())
    assert "comparison.read" not in audit_entries(desk, id_)
    page.locator("#show").click()
    expect(page.locator("#comparison")).to_contain_text("LOUISE")
    ada.wait_until(lambda: comparison in dict(answers))
    assert [route for route, body in answers if has_canary(body)] == [comparison]
    assert audit_entries(desk, id_).count("comparison.read") == 1


def logged(desk: Desk) -> list[str]:
    """All that the stack's functions have logged."""
    logs = desk.stack.client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    pages = logs.get_paginator("filter_log_events")
    return [event["message"] for group in groups for page in pages.paginate(logGroupName=group) for event in page["events"]]


def test_names_are_nowhere_but_on_the_screen_and_a_reload_hides_them(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    ada = visit("ada")
    addresses: list[str] = []
    ada.page.on("framenavigated", lambda frame: addresses.append(frame.url))
    page = ada.open(f"#/{id_}")
    with page.expect_response("**/comparison") as answered:
        page.locator("#show").click()
    assert "no-store" in answered.value.headers["cache-control"]
    expect(page.locator("#comparison")).to_contain_text("LOUISE")
    kept = page.evaluate(
        "[document.title, location.href, JSON.stringify(history.state), JSON.stringify(localStorage), JSON.stringify(sessionStorage)]"
    )
    assert not has_canary([*kept, *addresses, *ada.requests])
    page.reload()
    expect(page.locator("#show")).to_be_visible()
    assert not has_canary(page.content())
    # A function's lines come after its answer.
    eventually(lambda: any(id_ in line for line in logged(desk)))
    assert not has_canary(logged(desk))


def test_no_token_is_stored_and_nothing_else_but_a_preference(desk: Desk, visit: Visit) -> None:
    ada = visit("ada")
    page = ada.open()
    expect(page.locator("#rows tr").first).to_be_visible()
    page.get_by_label("Shortcuts").click()
    assert page.evaluate("[Object.keys(localStorage), sessionStorage.length, document.cookie]") == [["shortcuts"], 0, ""]
    host = desk.url.split("/")[2].split(":")[0]
    assert [cookie for cookie in ada.context.cookies() if cookie["domain"] == host] == []


# -- who may do what ---------------------------------------------------------------------------------------------------------------------


def test_support_sees_the_queue_and_the_way_but_no_names_and_decides_nothing(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    sam = visit("sam")
    page = sam.open()
    expect(page.locator("#rows tr").first).to_be_visible()
    page.goto(f"{desk.url}#/{id_}")
    expect(page.locator("#way li").first).to_be_visible()
    expect(page.locator("#show")).to_have_count(0)
    expect(page.locator("#form")).to_have_count(0)


def test_a_person_without_the_scopes_of_the_desk_is_told_so(desk: Desk, visit: Visit) -> None:
    rita = visit("rita")
    rita.open(signed_in=False)
    expect(rita.page.get_by_role("alert")).to_contain_text("Your sign-in has no access to this desk.")
    expect(rita.page.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize(("name", "scope"), [("sam", "support"), ("rita", "read")])
def test_a_token_that_may_not_review_gets_no_names_and_decides_nothing(desk: Desk, name: str, scope: str) -> None:
    id_ = waiting(desk)
    headers = {"Authorization": f"Bearer {token_for(desk, name, scope)}"}
    api = desk.stack.api_url
    assert requests.get(f"{api}/reviews", headers=headers, timeout=30).status_code == 200
    assert requests.get(f"{api}/verifications/{id_}/timeline", headers=headers, timeout=30).status_code == 200
    assert requests.post(f"{api}/verifications/{id_}/comparison", headers=headers, timeout=30).status_code == 403
    decision = {"version": 1, "decision": "reject", "reason": "RELATIVE"}
    assert requests.post(f"{api}/verifications/{id_}/review/decisions", json=decision, headers=headers, timeout=30).status_code == 403
    assert verification(desk, id_)["review"] == "open"


def test_a_foreign_page_changes_nothing_because_no_cookie_counts(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    ada = visit("ada")
    ada.open()
    address = f"{desk.stack.api_url}/verifications/{id_}/review/decisions"
    body = '{"version": 1, "decision": "reject", "reason": "RELATIVE"}'
    # Cookies as a site on the API's host could have set them.
    ada.context.add_cookies([{"name": "session", "value": "x", "url": desk.stack.api_url}])
    cookies = {cookie["name"]: cookie["value"] for cookie in ada.context.cookies()}
    assert "session" in cookies
    assert requests.post(address, body, headers={"Content-Type": "application/json"}, cookies=cookies, timeout=30).status_code == 401
    # 403: the icon of the page that the answer to a form is.
    ada.expected_failures |= {"401", "403"}
    other = ada.context.new_page()
    other.goto(f"{desk.issuer.url}/session/end/success")
    with other.expect_response(address) as answered:
        other.evaluate("([url, body]) => void fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include', body})", [address, body])
    assert answered.value.status == 401
    with other.expect_response(address) as answered:
        other.evaluate(
            """(url) => {
              const form = document.createElement("form");
              Object.assign(form, {method: "post", action: url, enctype: "text/plain"});
              document.body.append(form);
              form.submit();
            }""",
            address,
        )
    assert answered.value.status == 401
    assert verification(desk, id_)["review"] == "open"


# -- sessions ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_tokens(desk: Desk) -> Iterator[int]:
    seconds = 3
    desk.issuer.limit_access_tokens(seconds)
    yield seconds
    desk.issuer.limit_access_tokens(600)


def test_a_token_that_ends_while_a_note_is_typed_is_renewed_unseen(desk: Desk, visit: Visit, short_tokens: int) -> None:
    id_ = waiting(desk)
    ada = visit("ada")
    tokens: list[str] = []
    ada.page.on("request", lambda request: tokens.append(request.headers.get("authorization", "")))
    page = ada.open(f"#/{id_}")
    page.locator("#approve").check()
    page.locator("#reason").select_option("OTHER")
    page.locator("#note").press_sequentially("Seen the pass")
    first = next(filter(None, tokens))
    eventually(lambda: requests.get(f"{desk.stack.api_url}/reviews", headers={"Authorization": first}, timeout=30).status_code == 401)
    page.locator("#note").press_sequentially("port.")
    expect(page.locator("#note")).to_have_value("Seen the passport.")
    page.locator("#check").click()
    page.locator("#confirm").click()
    expect(page.locator("#said")).to_contain_text("Final answer: match")
    assert final(desk, id_) == {"outcome": "match", "by": "review"}
    assert ada.token_requests >= 2
    assert len(ada.context.pages) == 1


def test_a_session_that_ended_is_begun_again_in_a_pop_up_and_nothing_typed_is_lost(desk: Desk, visit: Visit, short_tokens: int) -> None:
    id_ = waiting(desk)
    ada = visit("ada")
    page = ada.open(f"#/{id_}")
    fill_in(ada, "reject", "OTHER", "Seen no passport.")
    # Signing out at the issuer in another tab ends the refresh token too.
    other = ada.context.new_page()
    other.goto(f"{desk.issuer.url}/session/end?client_id=titleholder-desk")
    other.get_by_text("You are signed out.").wait_for()
    other.close()
    ada.expected_failures |= {"400", "401"}
    page.wait_for_timeout(short_tokens * 1000)
    page.locator("#confirm").click()
    with ada.context.expect_page() as opened:
        page.locator("#again").click()
    with opened.value.expect_event("close"):
        ada.enter_password(opened.value)
    expect(page.locator("#again")).to_have_count(0)
    assert final(desk, id_) is None
    expect(page.locator("#note")).to_have_value("Seen no passport.")
    if not page.locator("#confirm").is_enabled():
        page.locator("#check").click()
    page.locator("#confirm").click()
    expect(page.locator("#said")).to_contain_text("Final answer: no match")
    assert final(desk, id_) == {"outcome": "no_match", "by": "review"}


def test_a_window_for_signing_in_that_was_closed_can_be_opened_again(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    ada = visit("ada")
    page = ada.open(f"#/{id_}")
    page.locator("#note").fill("Seen no passport.")
    ada.expected_failures |= {"400", "401"}
    page.route("**/timeline", lambda route: route.fulfill(status=401, json={}))
    other = ada.context.new_page()
    other.goto(f"{desk.issuer.url}/session/end?client_id=titleholder-desk")
    other.get_by_text("You are signed out.").wait_for()
    other.close()
    page.evaluate("location.hash += ''; dispatchEvent(new Event('hashchange'))")
    with ada.context.expect_page() as opened:
        page.locator("#again").click()
    opened.value.get_by_label("Password").wait_for()
    opened.value.close()
    page.unroute("**/timeline")
    with ada.context.expect_page() as opened:
        page.locator("#again").click()
    with opened.value.expect_event("close"):
        ada.enter_password(opened.value)
    expect(page.locator("#again")).to_have_count(0)
    expect(page.locator("#note")).to_have_value("Seen no passport.")


def test_signing_out_leaves_nothing_on_the_screen_of_any_tab(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    ada = visit("ada")
    page = ada.open(f"#/{id_}")
    page.locator("#note").fill("Seen the passport.")
    other = ada.context.new_page()
    other.goto(f"{desk.url}#/{id_}")
    other.locator("#show").click()
    expect(other.locator("#comparison")).to_contain_text("LOUISE")
    held: list[Route] = []
    page.route("**/token/revocation", lambda route: held.append(route))
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Sign out").click()
    # While the issuer has not answered, too.
    ada.wait_until(lambda: held)
    assert (page.locator("#note").count(), page.locator("h1").inner_text()) == (0, "Signing you out…")
    expect(other.locator("main")).to_contain_text("You signed out in another tab.")
    assert not has_canary(other.content())
    held[0].continue_()
    expect(page.get_by_label("Password")).to_be_visible()


def test_who_signs_out_has_to_give_a_password_to_come_back(desk: Desk, visit: Visit) -> None:
    ada = visit("ada")
    page = ada.open()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()


# -- two reviewers -----------------------------------------------------------------------------------------------------------------------


def test_second_of_two_reviewers_at_one_review_is_informed_and_keeps_the_note(desk: Desk, visit: Visit) -> None:
    id_ = waiting(desk)
    ada, ben = visit("ada"), visit("ben")
    ada.open(f"#/{id_}")
    ben.open(f"#/{id_}")
    fill_in(ben, "approve", "OTHER", "I saw the passport.")
    decide(ada, "reject", "DIFFERENT_PERSON")
    expect(ada.page.locator("#said")).to_contain_text("Final answer: no match")
    ben.expected_failures |= {"409"}
    ben.page.locator("#confirm").click()
    expect(ben.page.locator("#decision")).to_contain_text("rejected this")
    expect(ben.page.locator("#kept")).to_have_value("I saw the passport.")
    assert final(desk, id_) == {"outcome": "no_match", "by": "review"}
    assert audit_entries(desk, id_).count("review.decided") == 1


def test_two_people_are_needed_to_approve_what_the_rule_called_no_match(desk: Desk, visit: Visit) -> None:
    assert desk.stack.stripe is not None
    account = new_account()
    desk.stack.stripe.simulator.link("fresh", id=account, owners=CANARY.owners)
    back_end = Client(desk.stack.api_url)
    id_ = back_end.call("POST", "/verifications", {"account": account, "claim": {"name": "Oliver Placeholder"}}).body["id"]
    assert eventually(lambda: verification(desk, id_)["verdict"])["outcome"] == "no_match"
    assert back_end.call("POST", f"/verifications/{id_}/review", {}).status in (200, 201)
    ada, ben = visit("ada"), visit("ben")
    ada.open(f"#/{id_}")
    decide(ada, "approve", "CHANGED_NAME_DOCUMENTED")
    expect(ada.page.locator("#said")).to_contain_text("Another reviewer has to confirm it")
    assert (verification(desk, id_)["review"], final(desk, id_)) == ("proposed", None)
    ada.page.goto(f"{desk.url}#/{id_}")
    expect(ada.page.locator("#withdraw")).to_be_visible()
    ben.open("#/proposed")
    ben.page.locator(f'a[href$="{id_}"]').first.click()
    decide(ben, "approve", "CHANGED_NAME_DOCUMENTED")
    expect(ben.page.locator("#said")).to_contain_text("Final answer: match")
    assert final(desk, id_) == {"outcome": "match", "by": "review"}
