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
    """The resources that SAM makes of the template, those too that nobody wrote down, such as roles."""
    written = deepcopy(template())
    for resource in written["Resources"].values():
        for place in {"CodeUri", "ContentUri", "DefinitionUri"} & set(resource.get("Properties", {})):
            resource["Properties"][place] = "s3://artefacts/one"
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    # Policies are written down in full, so there are none to be looked up by their names.
    made: dict[str, dict[str, Any]] = transform(written, {}, SimpleNamespace(load=dict))["Resources"]
    return made


def resources(type_: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type, by logical id."""
    return {name: resource.get("Properties", {}) for name, resource in template()["Resources"].items() if resource["Type"] == type_}


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
    """What `create_table` takes to make a table as it is deployed, but for its name and its encryption."""
    table = resources("AWS::DynamoDB::Table")[name]
    names = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    return {name: table[name] for name in names if name in table}
