"""A deployed stack for the recovery commands: its parameters and resources, and what this checkout's template says about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.command import CommandError

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
_ABSENT = object()


class RecoveryError(CommandError):
    """The procedure cannot go on. The message says why, and what to do."""


Clients = Callable[[str], Any]
"""Gives the boto3 client of a service."""


@cache
def load_template(path: Path = TEMPLATE) -> dict[str, Any]:
    from samtranslator.yaml_helper import yaml_parse

    parsed: dict[str, Any] = yaml_parse(path.read_text(encoding="utf-8"))
    return parsed


@dataclass
class Deployed:
    """`account`: the AWS account's id. `parameters`: those that the stack was deployed with; the template's defaults fill the gaps.

    `resources`: physical ids by logical id. Empty for a stack that does not exist.
    """

    name: str
    region: str
    account: str
    clients: Clients
    parameters: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    tags: list[dict[str, str]] = field(default_factory=list)
    template: Mapping[str, Any] = field(default_factory=load_template)
    partition: str = "aws"

    @classmethod
    def find(cls, name: str, region: str, clients: Clients) -> Deployed:
        """The stack `name`. Raises `RecoveryError` if there is none in this region and account, or it is another kind of stack."""
        identity = clients("sts").get_caller_identity()
        account, partition = identity["Account"], identity["Arn"].split(":")[1]
        cloudformation = clients("cloudformation")
        try:
            found = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise RecoveryError(f"There is no stack {name} in region {region} of the AWS account {account}.") from None
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        resources = {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "") for page in pages for each in page["StackResourceSummaries"]
        }
        if not {"Table", "KeysTable", "VerifyAccount"} <= set(resources):
            raise RecoveryError(
                f"The stack {name} in region {region} is no stack of Titleholder: it has no Table, KeysTable and VerifyAccount."
            )
        return cls(
            name, region, account, clients,
            parameters={each["ParameterKey"]: each.get("ParameterValue", "") for each in found.get("Parameters", [])},
            resources=resources,
            outputs={each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])},
            tags=list(found.get("Tags", [])),
            partition=partition,
        )  # fmt: skip

    @property
    def data_table(self) -> str:
        """The table that the stack's functions use."""
        return self.parameters.get("DataTableName") or self.own_table

    @property
    def own_table(self) -> str:
        """The table that the stack made."""
        return str(self.properties("Table")["TableName"])

    @property
    def keys_table(self) -> str:
        return str(self.properties("KeysTable")["TableName"])

    def table_arn(self, name: str) -> str:
        return f"arn:{self.partition}:dynamodb:{self.region}:{self.account}:table/{name}"

    def properties(self, logical_id: str) -> dict[str, Any]:
        """The properties of a resource of the template as CloudFormation resolves them, except `Fn::GetAtt`."""
        resolved: dict[str, Any] = self.resolve(self.template["Resources"][logical_id]["Properties"])
        return resolved

    @cached_property
    def _values(self) -> dict[str, Any]:
        given = {name: str(self.parameters.get(name, each.get("Default", ""))) for name, each in self.template["Parameters"].items()}
        lists = {name for name, each in self.template["Parameters"].items() if each["Type"] == "CommaDelimitedList"}
        return {
            **{name: value.split(",") if name in lists else value for name, value in given.items()},
            "AWS::StackName": self.name, "AWS::Region": self.region, "AWS::AccountId": self.account, "AWS::Partition": self.partition,
            "AWS::URLSuffix": "amazonaws.com",
        }  # fmt: skip

    def resolve(self, value: Any) -> Any:
        """A part of the template with references to parameters and conditions resolved. References to resources stay as they are."""
        found = self._resolve(value)
        return None if found is _ABSENT else found

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(self._resolve, value) if each is not _ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, argument)] = value.items()
            match name:
                case "Ref" if argument == "AWS::NoValue":
                    return _ABSENT
                case "Ref":
                    return self._values.get(argument, value)
                case "Fn::If":
                    return self._resolve(argument[1] if self._holds({"Condition": argument[0]}) else argument[2])
                case "Fn::Sub" if isinstance(argument, str):
                    return self._substitute(argument)
                case "Fn::Join":
                    return argument[0].join(map(str, self._resolve(argument[1])))
        kept = {name: self._resolve(each) for name, each in value.items()}
        return {name: each for name, each in kept.items() if each is not _ABSENT}

    def _substitute(self, text: str) -> Any:
        for name, value in self._values.items():
            text = text.replace(f"${{{name}}}", str(value))
        return {"Fn::Sub": text} if "${" in text else text

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            condition = {"Condition": condition}
        [(name, argument)] = condition.items()
        match name:
            case "Condition":
                return self._holds(self.template["Conditions"][argument])
            case "Fn::Equals":
                first, second = map(self._resolve, argument)
                return bool(first == second)
            case "Fn::Not":
                return not self._holds(argument[0])
            case "Fn::And":
                return all(map(self._holds, argument))
            case "Fn::Or":
                return any(map(self._holds, argument))
        raise RecoveryError(f"The template has a condition that this tool does not know: {name}.")


def table_exists(dynamodb: Any, name: str) -> dict[str, Any] | None:
    """The description of a table, or None if there is none of this name."""
    try:
        description: dict[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    return description
