"""What the parameters of the edge and of capacity do to the deployed resources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.resolved import resolved
from tests.support.template import template

ACM = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
DOMAIN = {"DomainName": "titleholder.example.com", "CertificateArn": ACM}


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


def test_capacity_is_reserved_for_deliveries_only_if_that_is_asked_for() -> None:
    assert "ReservedConcurrentExecutions" not in properties("ReceiveWebhook")
    assert properties("ReceiveWebhook", ReceiveWebhookReserve="20")["ReservedConcurrentExecutions"] == "20"


def test_table_and_its_index_are_prepared_together_because_an_index_that_lags_behind_throttles_its_table() -> None:
    assert "WarmThroughput" not in properties("Table")
    table = properties("Table", WarmReadUnits="12000", WarmWriteUnits="8000")
    warm = {"ReadUnitsPerSecond": "12000", "WriteUnitsPerSecond": "8000"}
    assert [table["WarmThroughput"], *(index["WarmThroughput"] for index in table["GlobalSecondaryIndexes"])] == [warm, warm]
