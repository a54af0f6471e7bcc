"""What the parameters of the edge and of capacity do to the deployed resources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.resolved import resolved
from tests.support.template import template

ACM = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
DOMAIN = {"DomainName": "titleholder.example.com", "CertificateArn": ACM}
PEOPLE = {"ReviewIssuer": "https://login.example.com/people", "ReviewAudience": "desk,support"}
BACK_ENDS = {"JwtIssuer": "https://login.example.com/machines"}
OF_PEOPLE = ["ListReviews", "GetTimeline", "PostComparison", "PostDecision"]
PAGE = {"Desk", "DeskRole", "DeskLogs", "DeskIntegration", "DeskPermission", "GetDesk", "GetDeskFile"}


def properties(name: str, **parameters: str) -> dict[str, Any]:
    found: dict[str, Any] = resolved(parameters)[name]["Properties"]
    return found


def test_without_a_host_name_there_is_only_api_gateways_own() -> None:
    assert not {"Domain", "DomainMapping"} & set(resolved())
    assert properties("HttpApi")["DisableExecuteApiEndpoint"] == "false"


def test_host_name_leads_to_the_stage_under_tls_of_today() -> None:
    domain = properties("Domain", **DOMAIN)
    assert domain["DomainName"] == "titleholder.example.com"
    assert domain["DomainNameConfigurations"] == [{"CertificateArn": ACM, "EndpointType": "REGIONAL", "SecurityPolicy": "TLS_1_2"}]
    assert "MutualTlsAuthentication" not in domain
    assert properties("DomainMapping", **DOMAIN) == {"ApiId": "<HttpApi>", "DomainName": "<Domain>", "Stage": "<HttpStage>"}
    assert properties("HttpApi", **DOMAIN, DisableExecuteApiEndpoint="true")["DisableExecuteApiEndpoint"] == "true"


def test_client_certificates_are_asked_for_by_the_host_name() -> None:
    domain = properties("Domain", **DOMAIN, TruststoreUri="s3://certificates/truststore.pem")
    assert domain["MutualTlsAuthentication"] == {"TruststoreUri": "s3://certificates/truststore.pem"}


def test_stripe_is_given_a_url_that_asks_for_no_client_certificate() -> None:
    condition, own, otherwise = template()["Outputs"]["WebhookUrl"]["Value"]["Fn::If"]
    assert template()["Conditions"][condition] == {"Fn::And": [{"Condition": "HasDomain"}, {"Fn::Not": [{"Condition": "HasTruststore"}]}]}
    assert own == {"Fn::Sub": "https://${DomainName}/webhooks/stripe"}
    assert otherwise == {"Fn::Sub": "${HttpApi.ApiEndpoint}/webhooks/stripe"}


@pytest.mark.parametrize(("prefix", "scope"), [("", "verify"), ("titleholder/", "titleholder/verify"), ("https://api.example.com/", None)])
def test_scopes_have_the_prefix(prefix: str, scope: str | None) -> None:
    route = properties("PostVerifications", JwtIssuer="https://issuer.example.com", JwtScopePrefix=prefix)
    assert route["AuthorizationScopes"] == [scope or f"{prefix}verify"]
    assert "AuthorizationScopes" not in properties("PostVerifications", JwtScopePrefix=prefix)


@pytest.mark.parametrize("parameters", [{}, BACK_ENDS, PEOPLE, {**PEOPLE, **BACK_ENDS}])
def test_without_a_client_id_no_page_is_deployed(parameters: dict[str, str]) -> None:
    assert not PAGE & set(resolved(parameters))
    assert ("ReviewAuthorizer" in resolved(parameters)) == ("ReviewIssuer" in parameters)


@pytest.mark.parametrize("parameters", [BACK_ENDS, PEOPLE, {**PEOPLE, **BACK_ENDS}])
def test_page_is_deployed_with_the_issuer_that_its_tokens_come_from(parameters: dict[str, str]) -> None:
    made = resolved({**parameters, "DeskClientId": "desk", "DeskSignInOrigins": "https://a.example.com"})
    assert set(made) >= PAGE
    found = made["Desk"]["Properties"]["Environment"]["Variables"]
    assert found["DESK_ISSUER"] == (parameters.get("ReviewIssuer") or parameters["JwtIssuer"])
    assert (found["DESK_CLIENT_ID"], found["DESK_SIGN_IN_ORIGINS"]) == ("desk", "https://a.example.com")


def test_page_may_do_nothing_in_aws() -> None:
    role = properties("DeskRole", **PEOPLE, DeskClientId="desk")
    assert "Policies" not in role
    assert {arn.rpartition("/")[2] for arn in role["ManagedPolicyArns"]} == {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"}


def authorisation(name: str, parameters: dict[str, str]) -> tuple[str, str | None, list[str] | None]:
    """A route's type, authorizer and scopes."""
    route = properties(name, **parameters)
    return route["AuthorizationType"], route.get("AuthorizerId"), route.get("AuthorizationScopes")


@pytest.mark.parametrize("name", OF_PEOPLE)
def test_people_are_authorised_by_their_issuer_and_without_one_as_all_callers(name: str) -> None:
    asked = authorisation(name, PEOPLE)[2]
    assert asked is not None
    assert authorisation(name, {}) == ("AWS_IAM", None, None)
    assert authorisation(name, BACK_ENDS) == ("JWT", "<JwtAuthorizer>", asked)
    assert authorisation(name, PEOPLE) == authorisation(name, {**PEOPLE, **BACK_ENDS}) == ("JWT", "<ReviewAuthorizer>", asked)


@pytest.mark.parametrize("name", ["PostReview", "PostVerifications", "GetOwners", "DeleteAccount"])
def test_back_ends_keep_their_authorisation_beside_the_issuer_of_people(name: str) -> None:
    assert authorisation(name, PEOPLE) == authorisation(name, {}) == ("AWS_IAM", None, None)
    assert authorisation(name, {**PEOPLE, **BACK_ENDS}) == authorisation(name, BACK_ENDS)
    assert authorisation(name, BACK_ENDS)[:2] == ("JWT", "<JwtAuthorizer>")


def test_audiences_of_people_are_a_list() -> None:
    configuration = properties("ReviewAuthorizer", **PEOPLE)["JwtConfiguration"]
    assert configuration == {"Issuer": PEOPLE["ReviewIssuer"], "Audience": ["desk", "support"]}


def test_scopes_of_people_have_the_prefix() -> None:
    assert authorisation("PostDecision", {**PEOPLE, "JwtScopePrefix": "titleholder/"})[2] == ["titleholder/review"]
    assert properties("Review", JwtScopePrefix="titleholder/")["Environment"]["Variables"]["JWT_SCOPE_PREFIX"] == "titleholder/"


def test_capacity_is_reserved_for_deliveries_only_if_that_is_asked_for() -> None:
    assert "ReservedConcurrentExecutions" not in properties("ReceiveWebhook")
    assert properties("ReceiveWebhook", ReceiveWebhookReserve="20")["ReservedConcurrentExecutions"] == "20"


def test_table_and_its_index_are_prepared_together_because_an_index_that_lags_behind_throttles_its_table() -> None:
    assert "WarmThroughput" not in properties("Table")
    table = properties("Table", WarmReadUnits="12000", WarmWriteUnits="8000")
    warm = {"ReadUnitsPerSecond": "12000", "WriteUnitsPerSecond": "8000"}
    assert [table["WarmThroughput"], *(index["WarmThroughput"] for index in table["GlobalSecondaryIndexes"])] == [warm, warm]
