"""People at the review desk, on a stack whose back ends sign for IAM: both at once, each on their own routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import boto3
import pytest

from local import openapi
from local.aws.emulator import REGION
from local.client import Answer, Client
from local.stack import STACK, Stack, running
from tests.e2e.issuer import APP_CLIENT, AUDIENCE, DESK, SCOPE_PREFIX, Issuer
from tools.smoke import desk, edge
from tools.smoke.stack import find

OF_PEOPLE = {route.key: route.scopes for route in openapi.gateway_routes().values() if route.people}
OF_BACK_ENDS = [route.key for route in openapi.gateway_routes().values() if not route.people and not route.public]
COMPARISON, DECISIONS = "POST /verifications/{id}/comparison", "POST /verifications/{id}/review/decisions"
QUEUE, TIMELINE = "GET /reviews", "GET /verifications/{id}/timeline"


@pytest.fixture(scope="module")
def stack(people: Issuer) -> Iterator[Stack]:
    """Back ends sign for IAM, people have tokens, and the page is deployed."""
    parameters = {
        "ReviewIssuer": people.url,
        "ReviewAudience": f"{DESK},{APP_CLIENT}",
        "JwtScopePrefix": SCOPE_PREFIX,
        "DeskClientId": "desk",
        "DeskSignInOrigins": "https://login.example.com",
        "ReviewersNeeded": "1",
    }
    with running(parameters=parameters) as stack:
        yield stack


def call(stack: Stack, route: str, token: str | None = None, *, signed: bool = False, **headers: str) -> Answer:
    """The route, with ids that nothing has and a body without effect."""
    method, path = route.split()
    path = re.sub(r"\{[^}]*\}", "x", path)
    sent = {**({} if token is None else {"Authorization": f"Bearer {token}"}), **headers}
    return Client(stack.api_url).call(method, path, {} if method == "POST" else None, headers=sent, signed=signed)


def passed(answer: Answer) -> bool:
    """Whether API Gateway let the call pass. Then the function refuses it, because the request is invalid."""
    return answer.status in (200, 404, 409, 422) and "application/" in answer.headers["Content-Type"]


def test_back_ends_sign_and_people_have_tokens_on_one_stack(stack: Stack, people: Issuer) -> None:
    assert passed(call(stack, "GET /verifications/{id}", signed=True))
    assert passed(call(stack, QUEUE, people.token("review")))


def test_close_match_waits_for_a_person_at_once(stack: Stack, people: Issuer) -> None:
    assert stack.stripe is not None
    account = stack.stripe.simulator.link("fresh")["id"]
    claim = {"name": "Margaret Louise Testerman"}
    made = Client(stack.api_url).call("POST", "/verifications", {"account": account, "claim": claim})
    assert (made.status, made.body["verdict"]["outcome"]) == (200, "close_match")
    token = people.token("", scope=f"{SCOPE_PREFIX}review")
    found = call(stack, QUEUE, token).body
    assert [review["verification"] for review in found["reviews"]] == [made.body["id"]]
    assert (found["you"].partition("#")[0], found["may"]) == (people.url, ["reveal", "decide"])
    assert call(stack, QUEUE, people.token("", scope=f"{SCOPE_PREFIX}support")).body["may"] == []

    def post(path: str, body: object, token: str = token) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        return Client(stack.api_url).call("POST", f"/verifications/{made.body['id']}/{path}", body, headers=headers, signed=False)

    nameless = people.token("review", sub=None)
    refused, page = post("comparison", None, nameless), call(stack, QUEUE, nameless).body
    assert (refused.status, page["may"], page["caller_unknown"]) == (403, [], refused.body["detail"])
    assert (found["caller_unknown"], "no subject" in refused.body["detail"]) == (None, True)
    shown = post("comparison", None)
    assert (shown.status, shown.headers["Cache-Control"]) == (200, "no-store")
    decided = post("review/decisions", {"version": 1, "decision": "approve", "reason": "NAME_VARIANT_CONFIRMED"})
    assert (decided.status, decided.body["decisions"][0]["by"]) == (200, found["you"])
    assert call(stack, QUEUE, token).body["reviews"] == []
    assert Client(stack.api_url).call("GET", f"/verifications/{made.body['id']}").body["final"]["outcome"] == "match"


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("review", {QUEUE, TIMELINE, COMPARISON, DECISIONS}),
        ("support", {QUEUE, TIMELINE}),
        ("read", {QUEUE, TIMELINE}),
        ("verify erase", set()),
        ("", set()),
    ],
)
def test_scope_of_a_person_opens_its_routes_and_no_others(stack: Stack, people: Issuer, scope: str, allowed: set[str]) -> None:
    answers = {route: call(stack, route, people.token(scope)) for route in OF_PEOPLE}
    assert {route for route, answer in answers.items() if passed(answer)} == allowed
    assert {answer.status for route, answer in answers.items() if route not in allowed} <= {403}


@pytest.mark.parametrize("scope", ["review", "other/review", f"{SCOPE_PREFIX}{SCOPE_PREFIX}review", f"{SCOPE_PREFIX}/review"])
def test_scope_without_the_prefix_of_the_stack_opens_nothing(stack: Stack, people: Issuer, scope: str) -> None:
    for route in OF_PEOPLE:
        assert call(stack, route, people.token("", scope=scope)).status == 403
        assert passed(call(stack, route, people.token("", scope=f"{scope} {SCOPE_PREFIX}review")))


@pytest.mark.parametrize("route", OF_BACK_ENDS)
def test_persons_token_opens_no_route_of_back_ends(stack: Stack, people: Issuer, route: str) -> None:
    """Among them the owners of any account, and to open a review by hand."""
    assert {"GET /accounts/{account}/owners", "POST /verifications/{id}/review"} <= set(OF_BACK_ENDS)
    assert call(stack, route, people.token("review support read verify erase")).status == 403


@pytest.mark.parametrize("route", OF_PEOPLE)
def test_back_ends_signature_opens_no_route_of_people(stack: Stack, route: str) -> None:
    assert call(stack, route, signed=True).status == 401


@pytest.mark.parametrize("route", [COMPARISON, DECISIONS])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_foreign_page_changes_nothing_because_no_cookie_is_read(stack: Stack, people: Issuer, route: str, kind: str) -> None:
    """A browser adds cookies to what a foreign page sends, and no bearer token."""
    token = people.token("review")
    headers = {"Cookie": f"session={token}; Authorization=Bearer {token}", "Origin": "https://foreign.example.com", "Content-Type": kind}
    answer = call(stack, route, None, **headers)
    assert answer.status == 401
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        pytest.param({"aud": None, "client_id": APP_CLIENT, "token_use": "access", "username": "reviewer"}, 200, id="Cognito"),
        pytest.param({"aud": None, "client_id": "another"}, 401, id="Cognito, another app client"),
        pytest.param({"aud": [DESK, "https://example.eu.auth0.com/userinfo"], "azp": "client"}, 200, id="Auth0"),
        pytest.param({"scope": "openid", "permissions": ["titleholder/review"]}, 403, id="Auth0, permissions without scopes"),
        pytest.param({"scope": None, "scp": f"openid {SCOPE_PREFIX}support", "ver": "2.0", "tid": "a-tenant"}, 200, id="Entra"),
        pytest.param({"scope": None, "roles": ["titleholder/review"]}, 403, id="Entra, an application's own token"),
        pytest.param({"aud": AUDIENCE}, 401, id="of another audience"),
        pytest.param({"exp": 1_700_000_000, "iat": 1_699_999_000}, 401, id="expired"),
    ],
)
def test_form_of_a_token_of_an_issuer_in_use(stack: Stack, people: Issuer, claims: dict[str, object], status: int) -> None:
    answer = call(stack, QUEUE, people.token("review", **claims))
    assert passed(answer) if status == 200 else answer.status == status


def test_smoke_test_says_that_people_cannot_sign_in_at_an_issuer_that_only_signs_tokens(stack: Stack) -> None:
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    local = SimpleNamespace(client=partial(session.client, endpoint_url=stack.aws.endpoint), get_credentials=session.get_credentials)
    found = find(STACK, REGION, session=local)
    assert [(line.state, line.about) for line in desk.page(found)][-1] == ("FAILED", "issuer of people")
    assert {line.state for line in edge.authorisation(found)} == {line.state for line in edge.refusals(found)} == {"ok"}


def test_page_needs_no_token(stack: Stack) -> None:
    answer = call(stack, "GET /desk")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "https://login.example.com" in policy
