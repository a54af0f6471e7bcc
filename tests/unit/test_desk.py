"""The function that serves the review desk's page: its headers, its files' addresses, and what its scripts must not contain."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.functions import FUNCTIONS, Function, http_event, load
from titleholder.errors import ConfigurationError

DESK = FUNCTIONS / "desk"
ENVIRONMENT = {
    "DESK_ISSUER": "https://idp.example.com/pool</script>",
    "DESK_CLIENT_ID": "desk",
    "DESK_SIGN_IN_ORIGINS": "https://login.example.com,https://other.example.com:8443",
    "JWT_SCOPE_PREFIX": "titleholder/",
    "REVIEWERS_NEEDED": "2",
    "STRIPE_MODE": "live",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self' https://idp.example.com https://login.example.com https://other.example.com:8443; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
LARGEST_LIBRARY = 19_000
"""oauth4webapi, packed. It is not in the repository."""
FORBIDDEN = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\(|\bstyle\s*=|\.style\b|javascript:")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Function:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return load("desk")


def get(desk: Function, path: str, **headers: str) -> tuple[dict[str, str], bytes]:
    event = http_event("GET", path, headers=headers)
    if "/desk/" in path:
        event["pathParameters"] = {"file": path.partition("?")[0].rpartition("/")[2]}
    answer = desk(event)
    assert answer["statusCode"] == 200
    return answer["headers"], base64.b64decode(answer["body"])


def settings(page: bytes) -> dict[str, Any]:
    found = re.search(rb'<script type="application/json" id="settings">(.*?)</script>', page)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_page_has_the_headers_of_a_page_that_shows_personal_data(desk: Function) -> None:
    headers, _ = get(desk, "/desk")
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert {"camera=()", "clipboard-read=()", "display-capture=()"} <= set(headers["Permissions-Policy"].split(", "))


def test_page_names_issuer_client_and_scopes_from_the_environment(desk: Function) -> None:
    found = settings(get(desk, "/desk")[1])
    assert (found["issuer"], found["client_id"]) == (ENVIRONMENT["DESK_ISSUER"], "desk")
    assert found["scope"] == "titleholder/review titleholder/support"
    assert (found["mode"], found["reviewers_needed"]) == ("live", 2)
    assert found["sentences"]["MIDDLE_DIFFERS"] == "The middle names differ."
    assert set(found["approve"]) & set(found["reject"]) == {"OTHER"}


def test_files_may_be_kept_for_ever_at_the_addresses_that_the_page_names(desk: Function) -> None:
    _, page = get(desk, "/desk")
    addresses = {*re.findall(r'(?:href|src)="(desk/[^"]+)"', page.decode()), *settings(page)["files"].values()}
    assert {address.partition("?")[0] for address in addresses} >= {"desk/desk.css", "desk/desk.svg", "desk/desk.js", "desk/sign_in.js"}
    for address in addresses:
        headers, body = get(desk, f"/{address}")
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert headers["X-Content-Type-Options"] == "nosniff"
        packed_headers, packed = get(desk, f"/{address}", accept_encoding="gzip, br")
        assert packed_headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed) == body == (DESK / address.partition("?")[0].removeprefix("desk/")).read_bytes()


def test_file_at_an_address_without_a_release_is_not_kept(desk: Function) -> None:
    assert get(desk, "/desk/desk.js")[0]["Cache-Control"] == "no-cache"


def test_page_of_another_release_gets_no_file_of_this_one(desk: Function) -> None:
    for query in ("v=0000000000000000", "v="):
        answer = desk(http_event("GET", f"/desk/desk.js?{query}") | {"pathParameters": {"file": "desk.js"}})
        assert (answer["statusCode"], answer["headers"]["Cache-Control"]) == (404, "no-store")


def test_files_that_are_not_the_pages_are_not_served(desk: Function) -> None:
    for name in ("app.py", "index.html", "../app.py", "%2e%2e%2fapp.py", "", "other.js"):
        answer = desk(http_event("GET", f"/desk/{name}") | {"pathParameters": {"file": name}})
        assert answer["statusCode"] == 404
        assert answer["headers"]["Cache-Control"] == "no-store"


def test_page_and_files_weigh_at_most_60_kb_packed(desk: Function) -> None:
    packed = len(get(desk, "/desk", accept_encoding="gzip")[1]) + sum(len(file.packed) for file in desk.module.FILES.values())
    assert packed + (0 if "oauth4webapi.js" in desk.module.FILES else LARGEST_LIBRARY) <= 60 * 1024
    assert len(desk.module.KINDS) == 5


@pytest.mark.parametrize("name", ["DESK_ISSUER", "DESK_SIGN_IN_ORIGINS"])
def test_address_that_would_change_the_policy_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "https://idp.example.com;script-src *")
    with pytest.raises(ConfigurationError):
        load("desk")


def test_reviewers_guide_lists_the_reasons_that_the_page_offers(desk: Function) -> None:
    text = (DESK.parents[1] / "docs" / "reviews.md").read_text()
    found = settings(get(desk, "/desk")[1])
    for decision in ("approve", "reject"):
        table = text.partition(f"| {decision} | if |\n")[2].partition("\n\n")[0]
        assert dict(re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", table, re.MULTILINE)) == found[decision]


@pytest.mark.parametrize("path", sorted([*DESK.glob("*.js"), DESK / "index.html", DESK / "desk.svg"]), ids=lambda path: path.name)
def test_scripts_make_no_elements_from_text_and_no_styles(path: Path) -> None:
    assert FORBIDDEN.findall(path.read_text()) == []
