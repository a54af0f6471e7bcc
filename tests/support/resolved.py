"""The template as CloudFormation would deploy it: SAM's transform, conditions and references worked out for a stack and its parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from tests.support.template import deployed, template

ACCOUNT = "123456789012"
NOTHING = object()


class RuleError(Exception):
    """The template's Rules refuse the parameters' values."""


def resolved(
    parameters: Mapping[str, str] | None = None, *, stack: str = "titleholder", region: str = "eu-west-1", partition: str = "aws"
) -> dict[str, dict[str, Any]]:
    """The resources of a stack, by logical id. A reference to a resource becomes `<logical id>` or `<logical id.attribute>`.

    Raises RuleError.
    """
    return _resolved(tuple(sorted((parameters or {}).items())), stack, region, partition)


@cache
def _resolved(parameters: tuple[tuple[str, str], ...], stack: str, region: str, partition: str) -> dict[str, dict[str, Any]]:
    names: dict[str, Any] = {
        name: one["Default"].split(",") if one["Type"] == "CommaDelimitedList" else str(one["Default"])
        for name, one in template()["Parameters"].items()
    }
    for name, value in parameters:
        names[name] = value.split(",") if template()["Parameters"][name]["Type"] == "CommaDelimitedList" else value
    names |= {"AWS::StackName": stack, "AWS::Region": region, "AWS::Partition": partition, "AWS::AccountId": ACCOUNT}
    names |= {"AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": NOTHING, "AWS::StackId": f"arn:{partition}:cloudformation:{stack}"}
    conditions = template()["Conditions"]

    def holds(part: Any) -> bool:
        if not isinstance(part, dict):
            return bool(part)
        [(function, value)] = part.items()
        match function:
            case "Condition":
                return holds(conditions[value])
            case "Fn::Equals":
                left, right = map(work_out, value)
                return str(left) == str(right)
            case "Fn::Not":
                return not holds(value[0])
            case "Fn::And":
                return all(map(holds, value))
            case "Fn::Or":
                return any(map(holds, value))
        raise AssertionError(f"{function} is not known here.")

    def reference(name: str) -> Any:
        return names.get(name, f"<{name}>")

    def substituted(text: str, own: Mapping[str, Any]) -> str:
        values = {name: work_out(value) for name, value in own.items()}
        return re.sub(r"\${([^!}]+)}", lambda found: str(values.get(found[1], reference(found[1]))), text)

    def work_out(part: Any) -> Any:
        if isinstance(part, list):
            return [value for value in map(work_out, part) if value is not NOTHING]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            [(function, value)] = part.items()
            match function:
                case "Ref":
                    return reference(value)
                case "Fn::GetAtt":
                    return f"<{'.'.join(value) if isinstance(value, list) else value}>"
                case "Fn::Sub":
                    return substituted(*value) if isinstance(value, list) else substituted(value, {})
                case "Fn::If":
                    return work_out(value[1] if holds({"Condition": value[0]}) else value[2])
                case "Fn::Join":
                    return value[0].join(map(str, work_out(value[1])))
                case "Fn::Split":
                    return work_out(value[1]).split(value[0])
                case "Fn::Select":
                    return work_out(value[1])[int(value[0])]
        return {name: found for name, value in part.items() if (found := work_out(value)) is not NOTHING}

    for rule in template().get("Rules", {}).values():
        if holds(rule.get("RuleCondition", True)):
            for assertion in rule["Assertions"]:
                if not holds(assertion["Assert"]):
                    raise RuleError(assertion["AssertDescription"])
    chosen = json.loads(json.dumps(deployed()))
    return {name: work_out(one) for name, one in chosen.items() if holds({"Condition": one["Condition"]} if "Condition" in one else True)}
