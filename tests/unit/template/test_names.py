"""No resource of a stack has a name that a resource of another stack in the same account and region would have too."""

from __future__ import annotations

from functools import cache
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.support.resolved import resolved

EVERYTHING = {
    "StripeEventBus": "stripe", "JwtIssuer": "https://issuer.example.com", "ServeDocs": "true", "SnapStart": "true",
    "ReviewIssuer": "https://people.example.com", "ReviewAudience": "desk", "DeskClientId": "desk",
    "DomainName": "titleholder.example.com", "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/" + "0" * 36,
}  # fmt: skip
"""With these parameters every resource exists."""

FIRST_RELEASE = {
    "Table": "titleholder",
    "KeysTable": "titleholder-keys",
    "KeyAlias": "alias/titleholder-table",
    "VaultKeyAlias": "alias/titleholder-vault",
    "Bucket": "titleholder-batches-123456789012-eu-west-1",
    "Bus": "titleholder",
    "RefreshQueue": "titleholder-refresh",
    "RefreshDeadLetterQueue": "titleholder-refresh-dead",
    "EventsQueue": "titleholder-events",
    "EventsDeadLetterQueue": "titleholder-events-dead",
    "AsyncDeadLetterQueue": "titleholder-async-dead",
    "VerifyAccount": "titleholder-verify-account",
    "VerifyBatch": "titleholder-verify-batch",
}

BY_PARAMETER = {"AWS::ApiGatewayV2::DomainName"}
"""Named by a parameter, whose value belongs to one stack."""


def names(resource: dict[str, Any]) -> dict[str, str]:
    """The properties that identify a resource and that a template may choose, after AWS's own schema of its type."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource["Type"]).schema
    read_only, chosen = set(schema.get("readOnlyProperties", ())), set(schema["primaryIdentifier"])
    chosen |= {path for path in schema.get("createOnlyProperties", ()) if path.endswith(("Name", "Id", "Arn"))}
    chosen |= {"/properties/Name"} & {f"/properties/{name}" for name in schema["properties"]}
    keys = {path.removeprefix("/properties/") for path in chosen - read_only}
    return {key: str(value) for key, value in resource.get("Properties", {}).items() if key in keys}


@cache
def of(stack: str) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """The resources of a stack that have a name, each with it."""
    found = {name: (one, names(one)) for name, one in resolved(EVERYTHING, stack=stack).items() if one["Type"] not in BY_PARAMETER}
    return {name: (one, identity) for name, (one, identity) in found.items() if identity}


def same_names(stack: str, other: str) -> dict[str, str]:
    """The resources of one stack whose name a resource of the other has, each with the name. What is in a parent has none of its own."""
    theirs = {(one["Type"], str(identity)) for one, identity in of(other).values()}
    return {
        name: str(identity)
        for name, (one, identity) in of(stack).items()
        if (one["Type"], str(identity)) in theirs and not any(value.startswith("<") for value in identity.values())
    }


def test_two_stacks_may_exist_in_an_account_and_region() -> None:
    assert same_names("titleholder", "titleholder-live") == {}


def test_only_a_stack_called_after_the_keys_of_another_one_would_collide_with_it() -> None:
    """docs/deploying.md says so. The names of tables cannot change any more."""
    suffixes = {
        value.removeprefix("titleholder-")
        for one, identity in of("titleholder").values()
        for value in identity.values()
        if value.startswith("titleholder-")
    }
    assert "refresh" in suffixes
    assert {suffix for suffix in suffixes if same_names("titleholder", f"titleholder-{suffix}")} == {"keys"}


def test_names_of_what_holds_data_are_those_of_the_first_release() -> None:
    found = {name: value for name, (_, identity) in of("titleholder").items() for value in identity.values()}
    assert {name: found[name] for name in FIRST_RELEASE} == FIRST_RELEASE


def test_names_are_looked_for_where_aws_has_them() -> None:
    """The rule above would hold for a resource whose names it does not see."""
    layers = [identity for one, identity in of("one").values() if one["Type"] == "AWS::Lambda::LayerVersion"]
    assert {"LayerName": "one-core"} in layers
    assert names({"Type": "AWS::Scheduler::Schedule", "Properties": {"Name": "ReconcileOften"}}) == {"Name": "ReconcileOften"}
    assert names({"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "refresh"}}) == {"QueueName": "refresh"}
    assert names({"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": "late"}}) == {"AlarmName": "late"}
    assert names({"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardName": "all"}}) == {"DashboardName": "all"}
    assert names({"Type": "AWS::Logs::QueryDefinition", "Properties": {"Name": "slow"}}) == {"Name": "slow"}
    assert names({"Type": "AWS::IAM::Role", "Properties": {"RoleName": "api"}}) == {"RoleName": "api"}
    assert names({"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "api"}}) == {"FunctionName": "api"}
