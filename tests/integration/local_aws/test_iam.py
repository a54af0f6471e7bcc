"""With IAM enforced, a function may do what its role allows and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from local.aws.deploy import deploy
from local.aws.emulator import Emulator

from .conftest import APP, Stack


@pytest.fixture(scope="module")
def guarded() -> Iterator[Stack]:
    with Emulator() as aws:
        yield Stack(aws, deploy(APP / "template.yaml", aws.endpoint, "guarded", {"Architecture": "x86_64"}))


def take_rights(stack: Stack, function: str) -> None:
    iam = stack.client("iam")
    role = stack.client("lambda").get_function_configuration(FunctionName=stack[function])["Role"].rsplit("/", 1)[1]
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=policy)


def give_rights(stack: Stack, function: str, action: str, resource: str) -> None:
    role = stack.client("lambda").get_function_configuration(FunctionName=stack[function])["Role"].rsplit("/", 1)[1]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    stack.client("iam").put_role_policy(RoleName=role, PolicyName="given", PolicyDocument=json.dumps(document))


def test_function_is_denied_what_its_role_does_not_allow(guarded: Stack) -> None:
    read = {"routeKey": "GET /items", "pathParameters": {"id": "x"}}
    assert guarded.invoke("ApiFunction", read)["statusCode"] == 404
    take_rights(guarded, "ApiFunction")
    refusal = guarded.invoke("ApiFunction", read)
    assert "is not authorized to perform: dynamodb:GetItem" in refusal["errorMessage"]


def test_managed_policy_allows_what_it_says_until_it_is_detached(guarded: Stack) -> None:
    read = {"routeKey": "GET /items", "pathParameters": {"id": "x"}}
    take_rights(guarded, "ApiFunction")
    iam = guarded.client("iam")
    role = guarded.client("lambda").get_function_configuration(FunctionName=guarded["ApiFunction"])["Role"].rsplit("/", 1)[1]
    statement = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": f"arn:aws:dynamodb:*:*:table/{guarded['Table']}"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    policy = iam.create_policy(PolicyName="reading", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)
    assert guarded.invoke("ApiFunction", read)["statusCode"] == 404
    iam.detach_role_policy(RoleName=role, PolicyArn=policy)
    assert "is not authorized to perform: dynamodb:GetItem" in guarded.invoke("ApiFunction", read)["errorMessage"]


def test_token_is_accepted_only_from_a_role_that_may_answer_every_task(guarded: Stack) -> None:
    """AWS's reference lists no kind of resource for these actions, so only `*` is sure to allow them."""
    guarded.finished(guarded.execute("Workflow", {"order": "answer"}))  # The waker's cold start may outlast the task's time.
    assert guarded.finished(guarded.execute("Workflow", {"order": "answer"}))["status"] == "SUCCEEDED"
    take_rights(guarded, "WakerFunction")
    give_rights(guarded, "WakerFunction", "states:SendTaskSuccess", guarded["Workflow"])
    assert guarded.finished(guarded.execute("Workflow", {"order": "answer"}))["status"] == "FAILED"
