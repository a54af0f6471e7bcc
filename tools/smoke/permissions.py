"""Whether the roles still allow what the deployed template says, and whether workers may resume both kinds of workflow."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tools.smoke.report import Line, failed, ok, unchecked
from tools.smoke.stack import Deployed

RESUME = "states:SendTaskSuccess"
Allowed = Counter[str]


def roles(stack: Deployed) -> Iterator[Line]:
    """Each role allows the actions that the deployed template gives it."""
    body = stack.client("cloudformation").get_template(StackName=stack.name, TemplateStage="Processed")["TemplateBody"]
    template = json.loads(body) if isinstance(body, str) else body
    good = 0
    for logical, physical in stack.of_type("AWS::IAM::Role").items():
        about = f"role {logical}"
        declared = template["Resources"].get(logical, {}).get("Properties")
        if declared is None:
            continue
        try:
            actual = _actual(stack, physical)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchEntity", "NoSuchEntityException"):
                raise
            yield failed(about, "it does not exist", "deploy the stack again")
            continue
        missing = _declared(template, declared) - actual
        if missing:
            yield failed(
                about, f"it lacks {', '.join(sorted(missing))}", "it was removed by hand: deploy the stack again, or add it to the role"
            )
        else:
            good += 1
    if good:
        yield ok("roles", f"{good} allow every action of the deployed template")


def _declared(template: Mapping[str, Any], role: Mapping[str, Any]) -> Allowed:
    documents = [policy["PolicyDocument"] for policy in role.get("Policies", ()) if "PolicyDocument" in policy]
    attached: Allowed = Counter()
    for managed in role.get("ManagedPolicyArns", ()):
        if isinstance(managed, Mapping) and "Ref" in managed:
            documents.append(template["Resources"][managed["Ref"]]["Properties"]["PolicyDocument"])
        else:
            attached[_policy_name(managed)] += 1
    return _actions(documents) + attached


def _policy_name(arn: Any) -> str:
    """The name of one of AWS's policies, such as AWSXrayWriteOnlyAccess; `arn` may be a `Fn::Sub`."""
    return str(arn["Fn::Sub"] if isinstance(arn, Mapping) else arn).rpartition("/")[2]


def _actual(stack: Deployed, role: str) -> Allowed:
    iam = stack.client("iam")
    names = [name for page in iam.get_paginator("list_role_policies").paginate(RoleName=role) for name in page["PolicyNames"]]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    own, aws = set(stack.of_type("AWS::IAM::ManagedPolicy").values()), Allowed()
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for arn in [each["PolicyArn"] for each in page["AttachedPolicies"]]:
            if arn not in own:
                aws[_policy_name(arn)] += 1
                continue
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            documents.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
    return _actions(documents) + aws


def _actions(documents: list[Mapping[str, Any]]) -> Allowed:
    """How many statements allow each action."""
    found: Allowed = Counter()
    for document in documents:
        for statement in _list(document["Statement"]):
            # A condition may leave a statement out.
            if isinstance(statement, Mapping) and statement.get("Effect") == "Allow":
                found.update(str(action) for action in _list(statement["Action"]))
    return found


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def resuming(stack: Deployed) -> Iterator[Line]:
    """IAM's simulator says that each role that resumes workflows may resume verify_account, and children of verify_batch's map."""
    targets = {"verify_account": stack.outputs["StateMachineArn"], "a child of verify_batch": stack.map_child()}
    # Found by the roles' policies, so that a role that a later release adds is checked, too.
    holders = [name for name in stack.functions if RESUME in _actual_of(stack, name)]
    if not holders:
        yield failed(RESUME, "no function may resume a workflow, so every paid refresh is lost", "deploy the stack again")
        return
    for target, arn in targets.items():
        refused = []
        for function in holders:
            role = f"arn:{arn.split(':')[1]}:iam::{stack.account}:role/{stack.physical(f'{function}Role')}"
            answer = stack.client("iam").simulate_principal_policy(PolicySourceArn=role, ActionNames=[RESUME], ResourceArns=[arn])
            if any(each["EvalDecision"] != "allowed" for each in answer["EvaluationResults"]):
                refused.append(function)
        about = f"right to resume {target}"
        if refused:
            yield failed(about, f"{', '.join(refused)} may not: IAM refuses {RESUME} on {arn}", f"allow {RESUME} on * in those roles")
        else:
            yield ok(about, f"IAM's simulator allows it to {', '.join(holders)}")


def _actual_of(stack: Deployed, function: str) -> Allowed:
    role = stack.physical(f"{function}Role")
    return _actual(stack, role) if role else Counter()


def caller(stack: Deployed) -> Iterator[Line]:
    """The identity that runs the smoke test, because the findings depend on it."""
    try:
        arn = stack.client("sts").get_caller_identity()["Arn"]
    except ClientError:
        yield unchecked("caller", "STS does not say who you are")
        return
    yield ok("caller", f"{arn}, stack {stack.name} in {stack.region}, {stack.description['StackStatus']}")
