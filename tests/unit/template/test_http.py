"""Our own rules for the HTTP API in template.yaml: authorisation, scopes, throttling, origins, the access log, URLs as parameters."""

from __future__ import annotations

import json
import re

import pytest

from tests.support import urls
from tests.support.template import resources, template

ROUTES = resources("AWS::ApiGatewayV2::Route")
DOCS = {"GET /docs", "GET /openapi.json"}
PAGE = {"GET /desk", "GET /desk/{file}"}
PUBLIC = {"POST /webhooks/stripe", *DOCS, *PAGE}
DESK = {
    "GET /reviews": ["read", "review", "support"],
    "GET /verifications/{id}/timeline": ["read", "review", "support"],
    "POST /verifications/{id}/comparison": ["review"],
    "POST /verifications/{id}/review/decisions": ["review"],
}
"""The routes that people call, with their scopes. A token needs one of them."""

NOTHING = {"Ref": "AWS::NoValue"}


def test_only_webhook_deliveries_the_documentation_and_the_page_need_no_authorisation() -> None:
    public = {route["RouteKey"] for route in ROUTES.values() if route.get("AuthorizationType", "NONE") == "NONE"}
    assert public == PUBLIC
    for route in ROUTES.values():
        if route["RouteKey"] not in public:
            condition = "ReviewByJwt" if route["RouteKey"] in DESK else "UseJwt"
            assert route["AuthorizationType"] == {"Fn::If": [condition, "JWT", "AWS_IAM"]}


@pytest.mark.parametrize(("condition", "routes"), [("HasDocs", DOCS), ("HasDesk", PAGE)])
def test_documentation_and_page_exist_only_with_their_parameters(condition: str, routes: set[str]) -> None:
    conditions = {
        resource["Properties"]["RouteKey"]: resource.get("Condition")
        for name, resource in template()["Resources"].items()
        if name in ROUTES
    }
    assert {key for key, named in conditions.items() if named} == DOCS | PAGE
    assert {key for key, named in conditions.items() if named == condition} == routes


def test_documentation_is_off_by_default() -> None:
    assert template()["Parameters"]["ServeDocs"]["Default"] == "false"
    assert template()["Conditions"]["HasDocs"] == {"Fn::Equals": [{"Ref": "ServeDocs"}, "true"]}


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route["RouteKey"] not in PUBLIC])
def test_token_needs_a_scope_for_the_route(name: str) -> None:
    key = ROUTES[name]["RouteKey"]
    scopes = DESK.get(key) or ["read" if key.startswith("GET ") else "erase" if key == "DELETE /accounts/{account}" else "verify"]
    asked = [{"Fn::Sub": f"${{JwtScopePrefix}}{scope}"} for scope in scopes]
    own = {"Fn::If": ["UseJwt", {"Ref": "JwtAuthorizer"}, NOTHING]}
    if key in DESK:
        assert ROUTES[name]["AuthorizationScopes"] == {"Fn::If": ["ReviewByJwt", asked, NOTHING]}
        assert ROUTES[name]["AuthorizerId"] == {"Fn::If": ["UseReviewJwt", {"Ref": "ReviewAuthorizer"}, own]}
    else:
        assert ROUTES[name]["AuthorizationScopes"] == {"Fn::If": ["UseJwt", asked, NOTHING]}
        assert ROUTES[name]["AuthorizerId"] == own


def test_names_are_shown_by_a_request_that_is_no_get_and_needs_the_scope_of_reviewers() -> None:
    """The scope `read` allows every GET of a back end, so the comparison is a POST, which a back end's token does not allow."""
    assert {key for key, scopes in DESK.items() if scopes == ["review"]} == {key for key in DESK if key.startswith("POST ")}


@pytest.mark.parametrize("key", [route["RouteKey"] for route in ROUTES.values()])
def test_route_is_throttled_by_a_parameter(key: str) -> None:
    (stage,) = resources("AWS::ApiGatewayV2::Stage").values()
    kind = "WebhooksPerSecond" if key == "POST /webhooks/stripe" else "ReadsPerSecond" if key.startswith("GET ") else "WritesPerSecond"
    limits = stage["RouteSettings"].get(key, stage["DefaultRouteSettings"])
    assert limits == {"ThrottlingBurstLimit": {"Ref": kind}, "ThrottlingRateLimit": {"Ref": kind}}


def test_stage_depends_on_the_routes_that_it_limits() -> None:
    (resource,) = [resource for resource in template()["Resources"].values() if resource["Type"] == "AWS::ApiGatewayV2::Stage"]
    limited = {name for name, route in ROUTES.items() if route["RouteKey"] in resource["Properties"]["RouteSettings"]}
    assert limited <= set(resource["DependsOn"]) <= set(ROUTES)
    assert len(limited) == len(resource["Properties"]["RouteSettings"])


def test_only_pages_of_named_origins_may_call_from_a_browser() -> None:
    (api,) = resources("AWS::ApiGatewayV2::Api").values()
    condition, allowed, otherwise = api["CorsConfiguration"]["Fn::If"]
    assert (condition, otherwise) == ("HasCorsOrigins", {"Ref": "AWS::NoValue"})
    assert allowed["AllowOrigins"] == {"Ref": "CorsOrigins"}
    assert template()["Parameters"]["CorsOrigins"]["Default"] == ""


def test_access_log_contains_what_failed_and_neither_path_query_nor_caller() -> None:
    for stage in resources("AWS::ApiGatewayV2::Stage").values():
        log = json.loads(stage["AccessLogSettings"]["Format"])
        assert set(log.values()) == {
            f"$context.{name}"
            for name in (
                "requestId", "requestTimeEpoch", "routeKey", "status", "protocol", "responseLatency", "responseLength", "error.message",
                "error.responseType", "authorizer.error", "integrationErrorMessage", "integration.integrationStatus", "integration.latency",
            )
        }  # fmt: skip


class TestUrlParameters:
    """CloudFormation refuses these values before it deploys. It matches the whole value, or each value of a list."""

    def accepts(self, parameter: str, value: str) -> bool:
        return re.fullmatch(template()["Parameters"][parameter]["AllowedPattern"], value) is not None

    def test_each_has_a_pattern_and_an_error_message(self) -> None:
        named = {name for name in template()["Parameters"] if re.search("Url|Base$|Issuer$|Origins", name)}
        assert named == {"StripeApiBase", "JwtIssuer", "ReviewIssuer", "CorsOrigins", "DeskSignInOrigins", "AwsEndpointUrl"}
        assert all("ConstraintDescription" in template()["Parameters"][name] for name in named - {"AwsEndpointUrl"})

    @pytest.mark.parametrize("parameter", ["StripeApiBase", "JwtIssuer", "ReviewIssuer"])
    @pytest.mark.parametrize(
        "url", ["", *urls.HERE, *urls.HTTPS, "https://login.example.com/realms/one/", "https://cognito-idp.eu-west-1.amazonaws.com/eu_1"]
    )
    def test_https_url_or_url_of_the_local_machine_is_accepted(self, parameter: str, url: str) -> None:
        assert self.accepts(parameter, url)

    @pytest.mark.parametrize("parameter", ["StripeApiBase", "JwtIssuer", "ReviewIssuer"])
    @pytest.mark.parametrize("url", [*urls.PUBLIC, *urls.WRONG])
    def test_plain_http_url_and_anything_but_a_url_is_refused(self, parameter: str, url: str) -> None:
        assert not self.accepts(parameter, url)

    @pytest.mark.parametrize("url", urls.ELSEWHERE)
    def test_private_plain_http_server_is_accepted_for_stripe_alone_and_checked_by_the_settings(self, url: str) -> None:
        assert self.accepts("StripeApiBase", url)
        assert not self.accepts("JwtIssuer", url)
        assert not self.accepts("ReviewIssuer", url)

    @pytest.mark.parametrize("parameter", ["JwtIssuer", "ReviewIssuer", "DeskSignInOrigins"])
    @pytest.mark.parametrize(
        "host", ["*", "*.example.com", "a;script-src *", "a;b", "'unsafe-inline'", 'a"b', "<a>", "a,b", "a'b", "é.example"]
    )
    def test_host_that_would_change_the_pages_security_policy_is_refused(self, parameter: str, host: str) -> None:
        assert not self.accepts(parameter, f"https://{host}")

    @pytest.mark.parametrize("rest", ["/a?b=c", "/a#b", "/a;b", "/a'b", '/a"b', "/<a>", "/a,b", "/a b", "/*"])
    def test_issuer_of_people_has_a_plain_path(self, rest: str) -> None:
        assert not self.accepts("ReviewIssuer", f"https://login.example.com{rest}")

    @pytest.mark.parametrize("parameter", ["CorsOrigins", "DeskSignInOrigins"])
    @pytest.mark.parametrize(
        "origin", ["", "https://app.example.com", "https://app.example.com:8443", "http://localhost:3000", "http://127.0.0.1:5173"]
    )
    def test_origin_is_accepted(self, parameter: str, origin: str) -> None:
        assert self.accepts(parameter, origin)

    def test_several_origins_are_accepted_with_commas_between_them(self) -> None:
        assert self.accepts("DeskSignInOrigins", "https://a.example.com,https://b.example.com:8443,http://localhost:3000")
        for wrong in (
            ",",
            "https://a.example.com,",
            "https://a.example.com, https://b.example.com",
            "https://a.example.com https://b.example.com",
        ):
            assert not self.accepts("DeskSignInOrigins", wrong)

    @pytest.mark.parametrize("parameter", ["CorsOrigins", "DeskSignInOrigins"])
    @pytest.mark.parametrize(
        "origin",
        ["*", "https://*", "http://*", "https://*.example.com", "https://app.example.com/", "https://app.example.com/page", "null",
         "http://app.example.com", "http://localhost.example.com", "https://a@b.example.com", "app.example.com", "https://", "https://a b"],
    )  # fmt: skip
    def test_wildcard_path_and_plain_http_are_refused_as_origin(self, parameter: str, origin: str) -> None:
        assert not self.accepts(parameter, origin)
