"""Writes each policy of the template to build/policies, as CloudFormation would make it, for a linter of IAM policies.

    python -m tools.policies

One file for each policy of a role, managed policy, key, table, bucket, topic or queue, named after the resource in the template.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

from local.aws.paths import BUILD
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


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name, document in policies():
        (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
