"""The review desk: its page answers with all of its files, and people can sign in at their issuer from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from tools.smoke.report import Line, failed, ok, unchecked
from tools.smoke.stack import Deployed

CORS = "allow the page's origin at the issuer (CORS): docs/edge.md#what-the-issuer-has-to-do"
BUILD = "npm fetches it: run `python -m tools.fetch_npm oauth4webapi`, then build and deploy again"
TIMEOUT_SECONDS = 10


def page(stack: Deployed) -> Iterator[Line]:
    """The page and its files answer, and the issuer's configuration fits the page's settings and its policy. No person is signed in."""
    if not stack.parameters.get("DeskClientId"):
        return
    if stack.needs_certificate:
        yield unchecked("review desk", *(stack.out_of_reach or ("", "")))
        return
    answer = stack.fetch("/desk")
    policy = answer.headers.get("Content-Security-Policy", "")
    found = re.search(r'id="settings">(.*?)</script>', answer.text, re.DOTALL)
    if answer.status_code != 200 or not policy or not found:
        yield failed("page of the review desk", f"answered {answer.status_code}", "the log of the function Desk has the reason")
        return
    settings = json.loads(found[1])
    yield from _files(stack, settings, answer.text)
    yield from _issuer(stack, settings, policy)


def _files(stack: Deployed, settings: Mapping[str, Any], text: str) -> Iterator[Line]:
    about = "page of the review desk"
    if "oauth4webapi.js" not in settings["files"]:
        yield failed(about, "it was built without its sign-in library", BUILD)
        return
    addresses = sorted({*settings["files"].values(), *re.findall(r'(?:href|src)="(desk/[^"]+)"', text)})
    missing = [address for address in addresses if stack.fetch(f"/{address}").status_code != 200]
    if missing:
        yield failed(about, f"{', '.join(missing)} cannot be read", "deploy the stack again")
    else:
        yield ok(about, f"200, and its {len(addresses)} files")


def _issuer(stack: Deployed, settings: Mapping[str, Any], policy: str) -> Iterator[Line]:
    about, issuer = "issuer of people", str(settings["issuer"])
    origin = _origin(stack.api_url)
    try:
        answer = requests.get(
            f"{issuer.rstrip('/')}/.well-known/openid-configuration", headers={"Origin": origin}, timeout=TIMEOUT_SECONDS
        )  # fmt: skip
        configuration = answer.json()
        token_endpoint = str(configuration["token_endpoint"])
    except (requests.RequestException, ValueError, KeyError):
        yield failed(about, f"{issuer} has no configuration with a token endpoint", "check ReviewIssuer, or JwtIssuer without one")
        return
    if configuration.get("issuer") != issuer:
        yield failed(about, f"it calls itself {configuration.get('issuer')}", "write ReviewIssuer so, to the last character")
        return
    if "S256" not in configuration.get("code_challenge_methods_supported", ["S256"]):
        yield failed(about, "it knows no PKCE with S256", "use an issuer that does")
        return
    if _origin(token_endpoint) not in policy:
        yield failed(about, f"the page may not call {token_endpoint}", f"deploy with DeskSignInOrigins={_origin(token_endpoint)}")
        return
    # A code that the issuer never gave. What counts is whether a browser would show the refusal to the page.
    code = {"grant_type": "authorization_code", "code": "smoke", "code_verifier": "s" * 43}
    code |= {"client_id": settings["client_id"], "redirect_uri": f"{stack.api_url}/desk"}
    refused = requests.post(token_endpoint, code, headers={"Origin": origin}, timeout=TIMEOUT_SECONDS)
    closed = [what for what, said in (("configuration", answer), ("token endpoint", refused)) if not _open_to(said, origin)]
    if closed:
        yield failed(about, f"browsers hide its {' and its '.join(closed)} from {origin}", CORS)
    else:
        yield ok(about, f"{issuer}, which the page may call")


def _open_to(answer: requests.Response, origin: str) -> bool:
    return answer.headers.get("Access-Control-Allow-Origin") in (origin, "*")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
