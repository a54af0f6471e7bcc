"""Who may call: by IAM only with a signature, by JWT only with a token of the right issuer, audience, time and scope.

The cases are made of the template's routes, so that a new one is covered.
"""

from __future__ import annotations

import re
import time
from functools import partial
from types import SimpleNamespace

import boto3
import jwt
import pytest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import rsa

from local import openapi
from local.aws.emulator import REGION
from local.client import Answer, Client
from local.stack import STACK, Stack
from tests.e2e import iam_user
from tests.e2e.issuer import ACCOUNT, ACCOUNT_CLAIM, APP_CLIENT, AUDIENCE, DESK, SCOPE_PREFIX, Issuer
from tests.e2e.stack_driver import StackDriver
from tools.smoke import edge
from tools.smoke.stack import find

ROUTES = {route.key: route for route in openapi.gateway_routes().values()}
GUARDED = {key: route.scopes for key, route in ROUTES.items() if not route.public}
PUBLIC = [key for key, route in ROUTES.items() if route.public]
SCOPES = {"read", "verify", "erase", "review", "support"}
OF_BACK_ENDS = sorted({scope for key, route in ROUTES.items() if not route.people for scope in route.scopes})
PROBLEM = "application/problem+json"


def call(url: str, route: str, token: str | None = None, credentials: Credentials | None = None) -> Answer:
    """The route, with ids of the right length that nothing has and a body without effect. Signed only with `credentials`."""
    method, path = route.split()
    path = re.sub(r"\{[^}]*\}", "x", path)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return Client(url, credentials).call(method, path, {} if method == "POST" else None, headers=headers, signed=credentials is not None)


@pytest.mark.parametrize("route", GUARDED)
def test_by_iam_a_call_without_a_right_signature_is_refused_and_changes_nothing(idle_driver: StackDriver, route: str) -> None:
    before, calls = idle_driver.table(), len(idle_driver.exchanges)
    assert call(idle_driver.stack.api_url, route).status == 403
    assert call(idle_driver.stack.api_url, route, "a.b.c").status == 403
    assert call(idle_driver.stack.api_url, route, credentials=Credentials("test", "wrong")).status == 403
    assert idle_driver.table() == before
    assert len(idle_driver.exchanges) == calls


@pytest.mark.parametrize("scope", sorted(SCOPES))
def test_by_iam_the_policy_for_callers_allows_the_routes_of_a_scope_and_no_others(driver: StackDriver, scope: str) -> None:
    with iam_user.user(driver, f"caller-{scope}", iam_user.policy(driver, "caller", scope.title())) as session:
        client = Client(driver.stack.api_url, session.get_credentials())
        answers = {}
        for route in GUARDED:
            method, path = route.split()
            answers[route] = client.call(method, re.sub(r"\{[^}]*\}", "x", path), {} if method == "POST" else None).status
    assert {route for route, status in answers.items() if status != 403} == {route for route, scopes in GUARDED.items() if scope in scopes}


def test_only_the_webhook_the_documentation_and_the_page_are_public(driver: StackDriver) -> None:
    assert set(PUBLIC) == {"POST /webhooks/stripe", "GET /docs", "GET /openapi.json", "GET /desk", "GET /desk/{file}"}
    assert [call(driver.stack.api_url, route).status for route in ("POST /webhooks/stripe", "GET /openapi.json")] == [400, 200]


@pytest.mark.parametrize("route", GUARDED)
class TestToken:
    """The routes of the desk take tokens of people, whose issuer is another one; all others take those of back ends."""

    @pytest.fixture
    def good(self, issuer: Issuer, people: Issuer, route: str) -> Issuer:
        """The issuer of the tokens that the route takes."""
        return people if ROUTES[route].people else issuer

    def test_token_of_one_right_scope_is_accepted(self, by_token: Stack, good: Issuer, route: str) -> None:
        for scope in GUARDED[route]:
            answer = call(by_token.api_url, route, good.token(f"other {scope}"))
            # The request is invalid, so an answer from the function shows that API Gateway let it pass.
            assert answer.headers["Content-Type"].startswith(("application/problem+json", "application/json"))
            assert answer.status in (200, 404, 409, 422), answer

    def test_token_of_other_scopes_is_forbidden(self, by_token: Stack, good: Issuer, route: str) -> None:
        others = sorted(SCOPES - set(GUARDED[route]))
        assert call(by_token.api_url, route, good.token(" ".join(others))).status == 403
        assert call(by_token.api_url, route, good.token("")).status == 403
        assert call(by_token.api_url, route, good.token(f"{GUARDED[route][0]}ed")).status == 403

    def test_token_that_is_not_good_is_refused(self, by_token: Stack, issuer: Issuer, people: Issuer, good: Issuer, route: str) -> None:
        scope, now = GUARDED[route][0], int(time.time())
        other, audience = (issuer, DESK) if good is people else (people, AUDIENCE)
        issuer = good
        bad = {
            "of the other issuer of the same stack": other.token(scope),
            "of the other issuer, with this one's audience": other.token(scope, aud=audience),
            "none": None,
            "no token at all": "x",
            "another issuer's": issuer.token(scope, iss="https://issuer.example.com"),
            "another audience's": issuer.token(scope, aud="another"),
            "expired": issuer.token(scope, exp=now - 60, iat=now - 3600),
            "not yet good": issuer.token(scope, nbf=now + 600),
            "signed by another key": issuer.token(scope, key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
            "not signed": jwt.encode(
                {"iss": issuer.url, "aud": audience, "exp": now + 60, "scope": SCOPE_PREFIX + scope}, None, algorithm="none"
            ),
        }
        answers = {name: call(by_token.api_url, route, token).status for name, token in bad.items()}
        assert answers == dict.fromkeys(bad, 401)


@pytest.mark.parametrize("route", ["GET /accounts/{account}", "POST /verifications", "DELETE /accounts/{account}"])
def test_token_of_the_scope_without_the_prefix_or_with_another_one_is_forbidden(by_token: Stack, issuer: Issuer, route: str) -> None:
    [scope] = GUARDED[route]
    for wrong in (f"other/{scope}", f"{SCOPE_PREFIX}{SCOPE_PREFIX}{scope}", f"{SCOPE_PREFIX}/{scope}"):
        assert call(by_token.api_url, route, issuer.token(wrong)).status == 403
    assert call(by_token.api_url, route, issuer.token("", scope=scope)).status == 403


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": None, "client_id": APP_CLIENT, "token_use": "access", "version": 2}, id="Cognito"),
        pytest.param(
            {"aud": [AUDIENCE, "https://example.eu.auth0.com/userinfo"], "azp": "client", "gty": "client-credentials"}, id="Auth0"
        ),
        pytest.param(
            {"scope": None, "scp": f"openid {SCOPE_PREFIX}read", "ver": "2.0", "tid": "a-tenant"}, id="Entra, on behalf of a user"
        ),
    ],
)
def test_by_token_of_an_issuer_in_use_is_accepted(by_token: Stack, issuer: Issuer, claims: dict[str, object]) -> None:
    assert call(by_token.api_url, "GET /accounts/{account}", issuer.token("openid/x read", **claims)).status in (404, 422)


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        pytest.param({"aud": None, "client_id": "another"}, 401, id="Cognito, another app client"),
        pytest.param({"aud": "another", "client_id": APP_CLIENT}, 401, id="an app client counts only without an audience"),
        # API Gateway reads scopes, and neither permissions nor roles.
        pytest.param({"scope": "openid", "permissions": ["titleholder/read"]}, 403, id="Auth0, permissions without scopes"),
        pytest.param({"scope": None, "roles": ["titleholder/read"]}, 403, id="Entra, an application's own token"),
    ],
)
def test_by_token_of_an_issuer_in_use_that_lacks_what_is_needed_is_refused(
    by_token: Stack, issuer: Issuer, claims: dict[str, object], status: int
) -> None:
    assert call(by_token.api_url, "GET /accounts/{account}", issuer.token("read", **claims)).status == status


def test_by_token_the_smoke_test_calls_every_route_with_the_token(by_token: Stack, issuer: Issuer) -> None:
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    local = SimpleNamespace(client=partial(session.client, endpoint_url=by_token.aws.endpoint), get_credentials=session.get_credentials)
    with_token = find(STACK, REGION, session=local, token=issuer.token(" ".join(OF_BACK_ENDS)))
    lines = list(edge.routes(with_token))
    called = {openapi.shape(line.about.removeprefix("route ")): line.state for line in lines}
    assert {state for route, state in called.items() if not openapi.gateway_routes()[route].people} == {"ok"}
    # The token is a back end's, not a person's.
    people = {route for route, known in openapi.gateway_routes().items() if known.people}
    assert {route for route, state in called.items() if state == "could not be checked"} == people
    assert {"POST /verifications", "DELETE /accounts/{}"} < set(called)
    assert {line.state for line in edge.refusals(with_token)} == {"ok"}
    [line, *documentation] = edge.routes(find(STACK, REGION, session=local))
    assert (line.state, line.about) == ("could not be checked", "routes")
    assert {line.state for line in documentation} == {"ok"}


def test_by_token_a_signature_does_not_count(by_token: Stack) -> None:
    assert Client(by_token.api_url).call("GET", "/accounts/fca_1").status == 401


def test_by_token_a_verification_comes_to_its_verdict(by_token: Stack, issuer: Issuer) -> None:
    assert by_token.stripe is not None
    by_token.stripe.simulator.link("fresh", id="fca_token", stripe_account=ACCOUNT)
    headers = {"Authorization": f"Bearer {issuer.token('verify')}"}
    body = {"account": "fca_token", "claim": {"name": "Margaret Testerman"}}
    answer = Client(by_token.api_url).call("POST", "/verifications", body, headers=headers, signed=False)
    assert (answer.status, answer.body["verdict"]["outcome"], answer.body["stripe_account"]) == (200, "match", ACCOUNT)


@pytest.mark.parametrize("claims", [{ACCOUNT_CLAIM: "acct_other"}, {ACCOUNT_CLAIM: None}, {ACCOUNT_CLAIM: [ACCOUNT, "acct_other"]}])
def test_by_token_another_connected_account_is_forbidden(by_token: Stack, issuer: Issuer, claims: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {issuer.token('read', **claims)}", "Stripe-Account": ACCOUNT}
    answer = Client(by_token.api_url).call("GET", "/accounts/fca_token", headers=headers, signed=False)
    assert (answer.status, answer.body["type"]) == (403, "urn:titleholder:problem:connected-account-forbidden")
