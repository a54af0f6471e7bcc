"""Writes policies and resources as CloudFormation would make them from the template, for linters.

    python -m tools.policies

build/policies: one file for each policy of a role, managed policy, key, table, bucket, topic or queue, named after the resource; and those
of docs/iam for callers, operators and the smoke test.
build/deployed.json: the resources of a stack with the longest name in the region with the longest name. Of the template itself, cfn-lint
judges only names that are written down whole.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from botocore.session import Session

from local.aws.paths import BUILD, ROOT
from local.command import interruptible, no_arguments
from tests.support.resolved import ACCOUNT, resolved

FOLDER = BUILD / "policies"
EVERYTHING = {
    "StripeEventBus": "stripe",
    "JwtIssuer": "https://issuer.example.com",
    "ServeDocs": "true",
    "SnapStart": "true",
    "StripeMode": "live",
}
"""Parameters with which each resource that has a policy exists."""

ARNS = {
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{{region}}:{ACCOUNT}:table/{{TableName}}",
    "AWS::Events::EventBus": f"arn:aws:events:{{region}}:{ACCOUNT}:event-bus/{{Name}}",
    "AWS::KMS::Key": f"arn:aws:kms:{{region}}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012",
    "AWS::Lambda::Function": f"arn:aws:lambda:{{region}}:{ACCOUNT}:function:{{id}}",
    "AWS::S3::Bucket": "arn:aws:s3:::{BucketName}",
    "AWS::SNS::Topic": f"arn:aws:sns:{{region}}:{ACCOUNT}:{{TopicName}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{{region}}:{ACCOUNT}:{{QueueName}}",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{{region}}:{ACCOUNT}:stateMachine:{{StateMachineName}}",
}


def policies(stack: str = "titleholder", region: str = "eu-west-1") -> Iterator[tuple[str, dict[str, Any]]]:
    """The policies of a stack: name and document."""
    resources = resolved(EVERYTHING, stack=stack, region=region)

    def arn(found: re.Match[str]) -> str:
        resource = resources[found[1]]
        pattern = ARNS.get(resource["Type"], found[0])
        names = {name: value for name, value in resource["Properties"].items() if isinstance(value, str)}
        return pattern.format(region=region, id=f"{stack}-{found[1]}-ABCDEFGHIJKL"[:64], **names)

    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        documents = [properties[key] for key in ("PolicyDocument", "KeyPolicy") if key in properties]
        documents += [policy["PolicyDocument"] for policy in properties.get("Policies", ()) if isinstance(policy, dict)]
        if "ResourcePolicy" in properties:
            documents.append(properties["ResourcePolicy"]["PolicyDocument"])
        for number, document in enumerate(documents):
            text = re.sub(r"<(\w+)(?:\.Arn)?>", arn, json.dumps(document))
            yield f"{name}-{number}" if number else name, json.loads(text)


def deployed(stack: str, region: str) -> dict[str, Any]:
    """A template of a stack's resources, in which only references to other resources are left."""
    resources = resolved(EVERYTHING, stack=stack, region=region)

    def referring(part: Any) -> Any:
        if isinstance(part, list):
            return [referring(one) for one in part]
        if isinstance(part, dict):
            return {name: referring(one) for name, one in part.items()}
        if not isinstance(part, str) or not re.search(r"<\w+(\.\w+)?>", part):
            return part
        if found := re.fullmatch(r"<(\w+)>", part):
            return {"Ref": found[1]}
        if found := re.fullmatch(r"<(\w+)\.([\w.]+)>", part):
            return {"Fn::GetAtt": [found[1], found[2]]}
        # InputTransformer has placeholders of the same form.
        named = re.sub(r"<((\w+)(\.\w+)?)>", lambda found: f"${{{found[1]}}}" if found[2] in resources else found[0], part)
        return part if named == part else {"Fn::Sub": named}

    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {name: {"Type": one["Type"], "Properties": referring(one.get("Properties", {}))} for name, one in resources.items()},
    }


def main() -> None:
    no_arguments("tools.policies", "Write the stack's policies to build/policies.")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    longest = max(Session().get_available_regions("lambda"), key=len)
    (BUILD / "deployed.json").write_text(json.dumps(deployed("t" * 27, longest), indent=1))
    for name, document in policies():
        (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    # Not the deployer's: its wildcards also cover actions that need other resources.
    for name in ("caller", "operator", "smoke"):
        text = (ROOT / "docs" / "iam" / f"{name}.json").read_text()
        for placeholder, value in {"ACCOUNT_ID": ACCOUNT, "REGION": "eu-west-1", "STACK": "titleholder", "API_ID": "a1b2c3d4e5"}.items():
            text = text.replace(placeholder, value)
        (FOLDER / f"{name}.json").write_text(text)


if __name__ == "__main__":
    sys.exit(interruptible(main))
