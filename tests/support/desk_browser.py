"""The review desk in a real browser: people who sign in at a real issuer, and all that their browsers complained about.

A test asks for the fixture `visit` and gets a `Visitor` for a name: `ada` and `ben` review, `sam` supports, `rita` reads. At its end, the
test fails for a host that is neither the API's nor the issuer's, an uncaught error, a message of the console, or a violation of the page's
Content-Security-Policy. A test that provokes an error says so: `visitor.expected_failures`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from local import desk as local_desk
from local.aws.paths import BUILD
from local.desk import USERS, Desk
from local.issuer import CLIENT_ID, SCOPE_PREFIX, IssuerError
from local.stripe_simulator.options import Options
from tests.support import judges
from tools.fetch_npm import FetchError

SCREENSHOTS = BUILD / "desk"
FAILED_REQUEST = re.compile(r"Failed to load resource: (?:the server responded with a status of (\d+)|net::(\w+))")
WATCH = """
addEventListener("securitypolicyviolation", (event) => console.error(`CSP ${event.effectiveDirective} ${event.blockedURI}`), true);
"""

Visit = Callable[..., "Visitor"]


class Visitor:
    """One person with a browser of their own, that is without anything that another one's browser keeps.

    `expected_failures`: status codes, or names of network errors, that the test provokes.
    """

    def __init__(self, desk: Desk, context: BrowserContext, name: str) -> None:
        self.desk = desk
        self.context = context
        self.user = next(user for user in USERS if user.name == name)
        self.hosts: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.failures: list[str] = []
        self.expected_failures: set[str] = set()
        context.add_init_script(WATCH)
        context.on("request", lambda request: self._note_request(request.method, request.url))
        context.on("console", self._note_message)
        context.on("weberror", lambda error: self.failures.append(f"uncaught: {error.error}"))
        context.set_default_timeout(30_000)
        self.page = context.new_page()

    def open(self, fragment: str = "", *, signed_in: bool = True) -> Page:
        """Open the desk's page, and sign in if the issuer asks for it. `signed_in`: whether the issuer lets this person in."""
        before = self.token_requests
        self.page.goto(self.desk.url + fragment, wait_until="commit")
        self.wait_until(lambda: self.token_requests > before or "/sign-in/" in self.page.url)
        if "/sign-in/" in self.page.url:
            self.enter_password(self.page)
        self.wait_until(lambda: self.page.url.startswith(self.desk.url) and (self.token_requests > before or not signed_in))
        return self.page

    @property
    def token_requests(self) -> int:
        """How often this browser has asked the issuer for tokens."""
        return self.requests.count(("POST", f"{self.desk.issuer.url}/token"))

    def wait_until(self, probe: Callable[[], Any], within: float = 30) -> Any:
        """The first true value of `probe`, while the browser goes on. Fails if there is none `within` that many seconds."""
        end = time.monotonic() + within
        while not (value := probe()):
            assert time.monotonic() < end, f"nothing within {within} s, at {self.page.url}"
            self.page.wait_for_timeout(25)
        return value

    def enter_password(self, page: Page) -> None:
        """Fill in the issuer's form, on the page or in a pop-up."""
        page.get_by_label("User").fill(self.user.name)
        page.get_by_label("Password").fill(self.user.password)
        page.get_by_role("button", name="Sign in").click()

    def check(self) -> None:
        """Fail if anything happened in this browser that should not have happened."""
        own = {self.desk.url.split("/")[2], self.desk.issuer.url.split("/")[2]}
        assert self.hosts <= own, f"other hosts were asked: {self.hosts - own}"
        assert self.failures == []

    def _note_request(self, method: str, url: str) -> None:
        self.requests.append((method, url))
        if url.startswith("http"):
            self.hosts.add(url.split("/")[2])

    def _note_message(self, message: ConsoleMessage) -> None:
        failed = FAILED_REQUEST.match(message.text)
        if failed and set(failed.groups()) & self.expected_failures:
            return
        if message.type in ("error", "warning"):
            self.failures.append(f"{message.type}: {message.text} ({message.location.get('url')})")


def token_for(desk: Desk, name: str, scope: str) -> str:
    """An access token of a person, by the authorization code as the page gets it. `scope`: without its prefix."""
    user = next(user for user in USERS if user.name == name)
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "client_id": CLIENT_ID, "redirect_uri": desk.url, "response_type": "code", "scope": SCOPE_PREFIX + scope,
        "state": secrets.token_urlsafe(32), "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    with requests.Session() as session:
        form = session.get(f"{desk.issuer.url}/auth", params=asked, timeout=30)
        given = session.post(form.url, {"user": user.name, "password": user.password}, timeout=30, allow_redirects=False)
        back = session.get(urljoin(form.url, given.headers["Location"]), timeout=30, allow_redirects=False)
        code = parse_qs(urlsplit(back.headers["Location"]).query)["code"][0]
        proof = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": desk.url,
            "client_id": CLIENT_ID,
            "code_verifier": verifier,
        }
        return str(session.post(f"{desk.issuer.url}/token", proof, timeout=30).json()["access_token"])


@pytest.fixture(scope="session")
def desk() -> Iterator[Desk]:
    """The desk of `make desk`, with its twelve close matches. Tests that decide link accounts of their own."""
    judges.require_chromium()
    try:
        local_desk.prepare()
    except (IssuerError, FetchError) as error:
        judges.require("oidc-provider and oauth4webapi from npm", False, str(error))
    with local_desk.running_desk(options=Options(settle_seconds=0.3, cooldown_seconds=3600.0)) as desk:
        local_desk.seed(desk.stack)
        yield desk


@pytest.fixture
def visit(desk: Desk, browser: Browser) -> Iterator[Visit]:
    """Makes visitors. Further arguments are those of a browser's context, such as `viewport` and `color_scheme`."""
    visitors: list[Visitor] = []

    def make(name: str, **options: Any) -> Visitor:
        visitors.append(Visitor(desk, browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}), name))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.context.close()
    for visitor in visitors:
        visitor.check()


def screenshot(page: Page, name: str) -> Path:
    """Keep a picture of a page as `build/desk/<name>.png`."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
