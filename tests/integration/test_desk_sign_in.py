"""How the desk's page signs people in: its module in a real browser, at a real issuer, without a stack."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from local import issuer as local_issuer
from local.desk import USERS
from local.issuer import CLIENT_ID, IssuerError, LocalIssuer
from tests.support import judges
from tests.support.functions import ROOT
from tools.fetch_npm import FetchError, fetch

pytestmark = pytest.mark.slow

USER = USERS[0]
PAGE = """<!DOCTYPE html><html lang="en"><head><title>page</title><link rel="icon" href="data:,">
<script type="module" src="files/page.js"></script></head><body><p id="state">starting</p><button>again</button>
<textarea></textarea></body></html>"""
SCRIPT = """
import { signIn } from "./sign_in.js";
const state = document.querySelector("#state");
try {
  const session = await signIn(SETTINGS);
  window.session = session;
  session.onEnded((elsewhere) => (state.textContent = elsewhere ? "signed out elsewhere" : "ended"));
  const given_up = (window.given_up = []);
  document.querySelector("button").onclick = () =>
    session.signInAgain().then(() => (state.textContent = "again"), (error) => given_up.push(error.code));
  state.textContent = "signed in";
} catch (error) {
  state.textContent = `${error.code}: ${error.message}`;
}
"""
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self' {issuer}; img-src data:; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


class Site:
    """Serves a page with the module. `library`: whether it has the sign-in library."""

    def __init__(self, issuer: LocalIssuer, library: Path) -> None:
        self.issuer = issuer
        self.library: Path | None = library
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, body = site.answer(urlsplit(self.path).path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Security-Policy", POLICY.format(issuer=issuer.url))
                self.send_header("Cross-Origin-Opener-Policy", "same-origin")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/page"

    def answer(self, path: str) -> tuple[str, bytes]:
        settings = {"issuer": self.issuer.url, "client_id": CLIENT_ID, "scope": "titleholder/review titleholder/support"}
        if path == "/page":
            return "text/html", PAGE.encode()
        if path == "/files/page.js":
            return "text/javascript", SCRIPT.replace("SETTINGS", json.dumps(settings)).encode()
        if path == "/files/sign_in.js":
            return "text/javascript", (ROOT / "functions/desk/sign_in.js").read_bytes()
        if path == "/files/oauth4webapi.js" and self.library:
            return "text/javascript", self.library.read_bytes()
        return "text/plain", b""


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    try:
        local_issuer.check_programs()
        with LocalIssuer(USERS) as issuer:
            yield issuer
    except IssuerError as error:
        judges.require("oidc-provider from npm", False, str(error))


@pytest.fixture(scope="module")
def library() -> Path:
    try:
        return fetch("oauth4webapi") / "oauth4webapi" / "build" / "index.js"
    except FetchError as error:
        judges.require("oauth4webapi from npm", False, str(error))
        raise


@pytest.fixture
def site(issuer: LocalIssuer, library: Path) -> Iterator[Site]:
    site = Site(issuer, library)
    threading.Thread(target=site.server.serve_forever, args=(0.05,), daemon=True).start()
    issuer.allow(site.url)
    issuer.limit_access_tokens(600)
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def enter_password(page: Page) -> None:
    page.get_by_label("User").fill(USER.name)
    page.get_by_label("Password").fill(USER.password)
    page.get_by_role("button", name="Sign in").click()


def sign_in(page: Page, site: Site, fragment: str = "") -> None:
    page.goto(site.url + fragment)
    page.wait_for_url("**/sign-in/**")
    enter_password(page)
    says(page, "signed in")


def hurry(page: Page) -> None:
    """Let time limits of a page pass fifty times as fast."""
    page.add_init_script("const timeout = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = (ms) => timeout(ms / 50);")


def own_clock(page: Page) -> None:
    """Give the documents of a page a clock that `pass_time` moves."""
    page.add_init_script("window.ahead = 0; const now = Date.now.bind(Date); Date.now = () => now() + window.ahead;")


def pass_time(page: Page, seconds: int) -> None:
    page.evaluate("(seconds) => { window.ahead += seconds * 1000; }", seconds)


def says(page: Page, text: str) -> None:
    expect(page.locator("#state")).to_contain_text(text, timeout=20_000)


def token_requests(page: Page) -> list[str]:
    """The kinds of the requests for tokens that this page makes from now on."""
    made: list[str] = []
    page.on("request", lambda request: made.append(parse_qs(request.post_data or "")["grant_type"][0]) if "/token" in request.url else None)
    return made


def test_a_person_signs_in_and_nothing_is_kept_but_in_memory(page: Page, site: Site, issuer: LocalIssuer) -> None:
    sign_in(page, site, "#/ver_1")
    assert page.url == f"{site.url}#/ver_1"
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    token = page.evaluate("session.token()")
    assert len(token.split(".")) == 3
    page.go_back(wait_until="commit")
    assert "code=" not in page.url


def test_a_reload_signs_in_again_without_a_password(page: Page, site: Site) -> None:
    sign_in(page, site)
    page.reload()
    says(page, "signed in")


def test_the_request_has_pkce_and_state_and_asks_for_no_id_token(page: Page, site: Site, issuer: LocalIssuer) -> None:
    with page.expect_request(f"{issuer.url}/auth**") as made:
        page.goto(site.url)
    asked = parse_qs(urlsplit(made.value.url).query)
    assert asked["scope"] == ["titleholder/review titleholder/support"]
    assert (asked["response_type"], asked["code_challenge_method"], asked["redirect_uri"]) == (["code"], ["S256"], [site.url])
    assert len(asked["state"][0]) >= 43
    assert len(asked["code_challenge"][0]) == 43


def test_a_refresh_token_is_asked_for_where_the_issuer_gives_none_by_itself(page: Page, site: Site, issuer: LocalIssuer) -> None:
    def lists_offline_access(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"scopes_supported": ["openid", "offline_access"]})

    page.route("**/.well-known/openid-configuration", lists_offline_access)
    with page.expect_request(f"{issuer.url}/auth**") as made:
        page.goto(site.url)
    assert parse_qs(urlsplit(made.value.url).query)["scope"] == ["titleholder/review titleholder/support offline_access"]


def test_tokens_are_renewed_before_they_end_and_refresh_tokens_are_used_once(page: Page, site: Site, issuer: LocalIssuer) -> None:
    issuer.limit_access_tokens(600)
    own_clock(page)
    sign_in(page, site)
    made = token_requests(page)
    first = page.evaluate("session.token()")
    pass_time(page, 530)
    assert page.evaluate("session.token()") == first
    pass_time(page, 15)
    # Callers that ask at once share one renewal.
    second = page.evaluate("Promise.all([session.token(), session.token()])")
    assert second[0] == second[1] != first
    pass_time(page, 545)
    assert page.evaluate("session.token()") not in (first, second[0])
    assert made == ["refresh_token", "refresh_token"]


def test_a_token_that_the_api_refused_is_renewed(page: Page, site: Site) -> None:
    sign_in(page, site)
    first = page.evaluate("session.token()")
    assert page.evaluate("(refused) => session.token(refused)", first) != first


def hang(route: Route) -> None:
    """Never answers."""


def break_off(route: Route) -> None:
    route.abort()


def too_many(route: Route) -> None:
    cors = {"Access-Control-Allow-Origin": "*"}
    route.fulfill(status=429, headers=cors, json={"error": "too_many_requests", "error_description": "Slow down."})


def busy(route: Route) -> None:
    cors = {"Access-Control-Allow-Origin": "*"}
    route.fulfill(status=503, headers=cors, json={"error": "invalid_grant"})


@pytest.mark.parametrize("answer", [hang, break_off, too_many, busy])
def test_an_issuer_that_does_not_answer_ends_no_session(answer: Any, page: Page, site: Site, issuer: LocalIssuer) -> None:
    issuer.limit_access_tokens(600)
    hurry(page)
    own_clock(page)
    sign_in(page, site)
    first = page.evaluate("session.token()")
    made = token_requests(page)
    page.route(f"{issuer.url}/token", answer)
    pass_time(page, 545)
    assert page.evaluate("session.token()") == first
    # The token is used for the rest of its life, and callers that need it do not wait for the issuer again.
    assert page.evaluate("session.token()") == first
    assert len(made) == 1
    pass_time(page, 60)
    assert page.evaluate("session.token().catch((error) => `${error.code}: ${error.message}`)") == (
        "issuer_unreachable: The sign-in service could not be reached."
    )
    page.unroute(f"{issuer.url}/token")
    assert page.evaluate("session.token()") != first
    says(page, "signed in")


def test_an_issuer_that_hangs_at_the_start_is_said(page: Page, site: Site, issuer: LocalIssuer) -> None:
    hurry(page)
    page.route("**/.well-known/openid-configuration", hang)
    page.goto(site.url)
    says(page, "issuer_unreachable: The sign-in service could not be reached.")


def test_tabs_renew_their_own_tokens_and_end_together_when_the_person_signs_out(page: Page, site: Site, issuer: LocalIssuer) -> None:
    sign_in(page, site)
    other = page.context.new_page()
    other.goto(site.url)
    says(other, "signed in")
    renew = "session.token().then((old) => session.token(old))"
    # A refresh token that was used once already would end the session.
    for _ in range(2):
        assert page.evaluate(renew) != other.evaluate(renew)
    page.evaluate("void session.signOut()")
    says(other, "signed out elsewhere")
    assert other.evaluate("session.token().catch((error) => error.code)") == "ended"
    page.get_by_label("Password").wait_for()


def signed_out_elsewhere(context: BrowserContext, issuer: LocalIssuer) -> None:
    """The person signs out at the issuer in another tab, which ends the refresh tokens too."""
    other = context.new_page()
    other.goto(f"{issuer.url}/session/end?client_id={CLIENT_ID}")
    other.get_by_text("You are signed out.").wait_for()
    other.close()


def test_an_ended_session_is_said_and_a_pop_up_begins_another_on_the_same_page(page: Page, site: Site, issuer: LocalIssuer) -> None:
    sign_in(page, site)
    page.evaluate("window.typed = 'a note'")
    old = page.evaluate("session.token()")
    signed_out_elsewhere(page.context, issuer)
    assert page.evaluate("(old) => session.token(old).catch((error) => error.code)", old) == "ended"
    says(page, "ended")
    assert page.evaluate("session.token().catch((error) => error.code)") == "ended"
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="again").click()
    pop_up = opened.value
    with pop_up.expect_event("close"):
        enter_password(pop_up)
    says(page, "again")
    assert page.evaluate("session.token()") != old
    assert page.evaluate("[window.typed, sessionStorage.length]") == ["a note", 0]


def test_a_pop_up_that_was_closed_can_be_opened_again_and_takes_its_own_answer_alone(page: Page, site: Site, issuer: LocalIssuer) -> None:
    sign_in(page, site)
    signed_out_elsewhere(page.context, issuer)
    page.evaluate("session.token().then((old) => session.token(old)).catch(() => {})")
    says(page, "ended")
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="again").click()
    opened.value.get_by_label("User").wait_for()
    opened.value.close()
    with page.context.expect_page() as opened:
        # A second press of the button follows at once.
        page.evaluate("const button = document.querySelector('button'); button.click(); button.click();")
    # The page's policy keeps Playwright from waiting for an expression.
    for _ in range(200):
        if page.evaluate("given_up.length") == 2:
            break
        page.wait_for_timeout(25)
    assert page.evaluate("given_up") == ["interrupted", "interrupted"]
    # A pop-up that another tab opened does not answer this one.
    other = page.context.new_page()
    other.goto(site.url.replace("/page", "/files/page.js"))
    other.evaluate("new BroadcastChannel('titleholder.sign_in').postMessage({answer: 'code=x&state=pop-up.other'})")
    enter_password(opened.value)
    says(page, "again")


def test_an_answer_that_this_tab_did_not_ask_for_is_refused(page: Page, site: Site) -> None:
    made = token_requests(page)
    for state in ("x" * 43, "pop-up." + "x" * 43):
        page.goto(f"{site.url}?code=stolen&state={state}")
        says(page, "interrupted")
        assert page.url == site.url
    assert made == []


def test_what_the_issuer_refuses_is_shown_and_the_next_try_asks_for_another_person(page: Page, site: Site, issuer: LocalIssuer) -> None:
    page.route(
        f"{issuer.url}/auth**",
        lambda route: route.fulfill(
            status=303,
            headers={
                "Location": f"{site.url}?error=access_denied&error_description=Not+for+you&iss={issuer.url}"
                f"&state={parse_qs(urlsplit(route.request.url).query)['state'][0]}"
            },
        ),
    )
    page.goto(site.url)
    says(page, "refused: Your sign-in has no access to this desk. Ask the person who manages access. (access_denied: Not for you)")
    page.unroute(f"{issuer.url}/auth**")
    with page.expect_request(f"{issuer.url}/auth**") as made:
        page.reload()
    # Otherwise the issuer would give the same answer without asking who it is.
    assert parse_qs(urlsplit(made.value.url).query)["prompt"] == ["login"]
    enter_password(page)
    says(page, "signed in")
    assert page.evaluate("sessionStorage.length") == 0


def test_signing_out_ends_the_session_here_and_at_the_issuer(page: Page, site: Site) -> None:
    sign_in(page, site)
    page.evaluate("void session.signOut()")
    # Back at the page, which asks for a password again.
    page.get_by_label("Password").wait_for()


def test_signing_out_does_not_wait_for_an_issuer_that_hangs(page: Page, site: Site, issuer: LocalIssuer) -> None:
    hurry(page)
    sign_in(page, site)
    page.route("**/token/revocation", hang)
    page.evaluate("void session.signOut()")
    page.get_by_label("Password").wait_for()


def test_the_way_back_after_signing_out_shows_nothing_that_was_typed(browser: Browser, site: Site, issuer: LocalIssuer) -> None:
    # Playwright switches the cache off that keeps whole pages for the way back.
    keeping = browser.browser_type.launch(
        executable_path=judges.require_chromium(whole=True),
        args=judges.CHROMIUM_ARGUMENTS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    try:
        page = keeping.new_page()
        page.set_default_timeout(20_000)
        sign_in(page, site)
        page.locator("textarea").fill("Seen the passport of a person.")
        # The issuer's own page after signing out, so that the way back is one step.
        page.route("**/session/end**", lambda route: route.fulfill(content_type="text/html", body="<title>out</title>You are signed out."))
        page.evaluate("addEventListener('pageshow', ({ persisted }) => persisted && console.log('kept'))")
        page.evaluate("void session.signOut()")
        page.get_by_text("You are signed out.").wait_for()
        with page.expect_console_message(lambda message: message.text == "kept"):
            page.go_back(wait_until="commit")
        says(page, "signed in")
        assert page.locator("textarea").input_value() == ""
    finally:
        keeping.close()


def test_a_library_that_cannot_be_loaded_is_not_called_missing(page: Page, site: Site) -> None:
    site.library = None
    page.goto(site.url)
    says(page, "not_loaded: A part of this page could not be loaded. Check your connection and reload the page.")
