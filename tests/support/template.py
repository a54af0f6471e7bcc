"""template.yaml as data."""

from __future__ import annotations

import os
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]


@cache
def template() -> dict[str, Any]:
    """The template, with CloudFormation's short forms spelled out (`{"Ref": ...}`, `{"Fn::GetAtt": [...]}`)."""
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed


@cache
def deployed() -> dict[str, dict[str, Any]]:
    """The resources that SAM makes of the template, including those that it adds, such as roles."""
    written = deepcopy(template())
    written["Globals"]["Function"]["CodeUri"] = "s3://artefacts/one"
    for resource in written["Resources"].values():
        for place in {"CodeUri", "ContentUri", "DefinitionUri"} & set(resource.get("Properties", {})):
            resource["Properties"][place] = "s3://artefacts/one"
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    # The template names no AWS-managed policy, so the loader of their ARNs finds none.
    made: dict[str, dict[str, Any]] = transform(written, {}, SimpleNamespace(load=dict))["Resources"]
    return made


def resources(type_: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type, by logical id."""
    return {name: resource.get("Properties", {}) for name, resource in template()["Resources"].items() if resource["Type"] == type_}


def made_of(type_: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type that SAM makes of the template, by logical id."""
    return {name: resource["Properties"] for name, resource in deployed().items() if resource["Type"] == type_}


@cache
def functions() -> dict[str, dict[str, Any]]:
    """The properties of each function, including those that it has from Globals, by logical id."""
    return {name: _merged(template()["Globals"]["Function"], own) for name, own in resources("AWS::Serverless::Function").items()}


def variables(function: dict[str, Any]) -> dict[str, Any]:
    """A function's environment variables."""
    found: dict[str, Any] = function["Environment"]["Variables"]
    return found


def statements(properties: dict[str, Any]) -> list[dict[str, Any]]:
    """The permissions of a function or workflow: the statements of its own policy and of the managed policies that it names."""
    managed = resources("AWS::IAM::ManagedPolicy")
    documents = [managed[each["Ref"]]["PolicyDocument"] if "Ref" in each else each for each in properties["Policies"]]
    return [statement for document in documents for statement in document["Statement"]]


def consumed() -> list[tuple[str, str]]:
    """Which function consumes which queue."""
    return [
        (name, target(event["Properties"]["Queue"]))
        for name, function in functions().items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "SQS"
    ]


def target(reference: Any) -> str:
    """The logical id that a Ref or GetAtt names."""
    if "Ref" in reference:
        return str(reference["Ref"])
    attribute = reference["Fn::GetAtt"]
    return str(attribute[0] if isinstance(attribute, list) else attribute.partition(".")[0])


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def called_by(route: dict[str, Any]) -> str:
    """The function that a route calls; with SnapStart, its published version."""
    integration = resources("AWS::ApiGatewayV2::Integration")[route["Target"]["Fn::Sub"].partition("${")[2].removesuffix("}")]
    uri = integration["IntegrationUri"]["Fn::Sub"]
    if isinstance(uri, list):
        return str(uri[1]["Function"]["Fn::If"][-1]["Fn::GetAtt"][0])
    [function] = re.findall(r"functions/\${(\w+)\.Arn}/", uri)
    return str(function)


def folder(function: str) -> str:
    """The folder under functions/ that functions/Makefile makes the artefact of a function (logical id) from."""
    named = re.search(rf"^build-{function}: FOLDER = (\w+)$", (ROOT / "functions" / "Makefile").read_text(), re.MULTILINE)
    if named:
        return named[1]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", function).lower()


def table_schema(name: str = "Table") -> dict[str, Any]:
    """The arguments of `create_table` for a table as it is deployed, without its name, its encryption and its warm units."""
    table = resources("AWS::DynamoDB::Table")[name]
    names = ("BillingMode", "AttributeDefinitions", "KeySchema")
    index_names = ("IndexName", "KeySchema", "Projection")
    indexes = [{name: index[name] for name in index_names} for index in table.get("GlobalSecondaryIndexes", ())]
    return {name: table[name] for name in names} | ({"GlobalSecondaryIndexes": indexes} if indexes else {})


def _merged(shared: Any, own: Any) -> Any:
    """A value from Globals with a resource's own value, merged as SAM does it."""
    if isinstance(shared, dict) and isinstance(own, dict):
        return {**shared, **{name: _merged(shared.get(name), value) for name, value in own.items()}}
    return [*shared, *own] if isinstance(shared, list) and isinstance(own, list) else own
