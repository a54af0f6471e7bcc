"""Our own rules for resources that a deployment must keep: the table that DataTableName names, and those with data or waiting work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.support.resolved import resolved
from tests.support.template import deployed, template

REGION = "us-east-1"
OTHER = "titleholder-restored"
STATEFUL = {
    "AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::KMS::Alias", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::Events::EventBus",
    "AWS::StepFunctions::StateMachine", "AWS::ApiGatewayV2::Api",
}  # fmt: skip
"""Types whose replacement loses data, waiting work, or the address that callers and Stripe know."""

KEPT = {name: one for name, one in deployed().items() if one["Type"] in STATEFUL and name != "AlarmKey"}
"""AlarmKey encrypts only messages that are under way, so another one does as well."""


def texts(value: Any) -> Iterator[str]:
    """Every text in a part of the template."""
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


class TestDataTableName:
    def test_nothing_but_the_stacks_own_table_mentions_it_when_another_one_is_named(self) -> None:
        mentioned = {
            name
            for name, one in resolved({"DataTableName": OTHER}).items()
            for text in texts(one.get("Properties", {}))
            if text.startswith("<Table") or "<Table>" in text or "<Table." in text
        }
        assert mentioned == set()

    def test_what_uses_the_table_uses_the_named_one(self) -> None:
        own, other = json.dumps(resolved()), json.dumps(resolved({"DataTableName": OTHER}))
        assert own.count("<Table.Arn>") > 40
        # Tables are used with an index, too.
        assert other.count(f"table/{OTHER}") == own.count("<Table.Arn>")
        assert other.count(f'"TABLE_NAME": "{OTHER}"') == own.count('"TABLE_NAME": "<Table>"') >= 10

    def test_outputs_name_the_table_that_is_used(self) -> None:
        assert template()["Outputs"]["TableName"]["Value"] == {"Fn::If": ["HasDataTable", {"Ref": "DataTableName"}, {"Ref": "Table"}]}
        others = {name for name, one in template()["Outputs"].items() if "'Table'" in str(one["Value"]) or "${Table" in str(one["Value"])}
        assert others == {"TableName"}

    def test_stacks_own_table_is_kept_as_it_is(self) -> None:
        assert resolved({"DataTableName": OTHER})["Table"] == resolved()["Table"]


@pytest.mark.parametrize("name", KEPT)
class TestStatefulResource:
    def test_exists_whatever_the_parameters_are(self, name: str) -> None:
        assert "Condition" not in KEPT[name]

    def test_change_of_a_parameter_never_replaces_it(self, name: str) -> None:
        """CloudFormation replaces a resource when a property changes that its schema calls create-only."""
        for path in create_only(KEPT[name]["Type"]):
            for value in at(KEPT[name].get("Properties", {}), path):
                assert changing(value) == set(), (name, path)


def create_only(type_: str) -> list[list[str]]:
    """The paths of the properties whose change replaces a resource, by the schema of its type that cfn-lint carries."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, type_).schema
    paths = [*schema.get("createOnlyProperties", []), *schema.get("conditionalCreateOnlyProperties", [])]
    return [path.removeprefix("/properties/").split("/") for path in paths]


def at(value: Any, path: list[str]) -> list[Any]:
    """The values at a path of a schema, in which * is every entry of a list."""
    if not path:
        return [value]
    if isinstance(value, dict) and "Fn::If" in value:
        return [value]
    if path[0] in ("*", "items"):
        return [found for each in value for found in at(each, path[1:])] if isinstance(value, list) else []
    return at(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


def changing(value: Any) -> set[str]:
    """The parts of a value that an update of the stack may change: parameters, conditions, and resources that may be replaced."""
    found: set[str] = set()
    if isinstance(value, dict):
        if "Ref" in value:
            found |= {value["Ref"]} - {"AWS::StackName", "AWS::Region", "AWS::AccountId", "AWS::Partition", *KEPT}
        if "Fn::If" in value:
            found.add(value["Fn::If"][0])
        if "Fn::GetAtt" in value:
            found |= {value["Fn::GetAtt"][0]} - set(KEPT)
        text = value.get("Fn::Sub")
        for part in (text if isinstance(text, str) else text[0] if text else "").split("${")[1:]:
            found |= changing({"Ref": part.partition("}")[0].partition(".")[0]})
        return found | set().union(*(changing(each) for each in value.values() if not isinstance(each, str)), set())
    return set().union(*map(changing, value)) if isinstance(value, list) else set()


def test_rule_notices_a_name_that_a_parameter_changes() -> None:
    assert changing({"Ref": "Stage"}) == {"Stage"}
    assert changing({"Fn::Sub": "${AWS::StackName}-${Stage}"}) == {"Stage"}
    assert changing({"Fn::If": ["HasDataTable", "a", {"Ref": "AWS::StackName"}]}) == {"HasDataTable"}
    assert changing({"Fn::Sub": "${AWS::StackName}-keys"}) == set()


def test_every_type_has_properties_that_replace_it() -> None:
    """Otherwise the rule above would hold for lack of schemas."""
    assert {type_ for type_ in STATEFUL if not create_only(type_)} <= {"AWS::KMS::Key", "AWS::ApiGatewayV2::Api"}
    assert [name for name, one in KEPT.items() if one["Type"] == "AWS::SQS::Queue" and at(one["Properties"], ["QueueName"])]


def test_every_resource_with_data_is_retained() -> None:
    data = {"AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::S3::Bucket"}
    for name, one in KEPT.items():
        if one["Type"] in data:
            assert one["DeletionPolicy"] in ("Retain", "RetainExceptOnCreate"), name
            assert one["UpdateReplacePolicy"] == "Retain", name
