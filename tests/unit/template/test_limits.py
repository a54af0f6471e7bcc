"""Limits of AWS that neither the emulator nor the linter enforces, kept for the longest names and values that the parameters allow."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest
from botocore.session import Session
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.support.functions import ROOT
from tests.support.resolved import resolved
from tests.support.template import deployed, functions, resources, template, variables
from tests.unit.template.test_names import EVERYTHING
from tests.unit.template.test_parameters import SETTINGS
from tools.policies import policies

STACK_NAME = re.compile(r"[a-z][a-z0-9-]{0,26}(?<!-keys)(?<!^default)")
"""docs/deploying.md: the bucket's name is made of the stack's, and has at most 63 characters, none of them a capital letter."""

LONGEST = "t" * 27
REGION = max(Session().get_available_regions("lambda"), key=len)
PROFILES: list[dict[str, Any]] = [commands for commands in SETTINGS.values() if isinstance(commands, dict)]
LIMITS = {
    ("AWS::SQS::Queue", "QueueName"): 80,
    ("AWS::DynamoDB::Table", "TableName"): 255,
    ("AWS::ApiGatewayV2::Api", "Name"): 128,
    ("AWS::Logs::QueryDefinition", "Name"): 255,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
}
"""The lengths of names where AWS's schema of the type has none, or a wrong one."""

RESERVED = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
}  # fmt: skip
"""Environment variables that Lambda sets, and that a function may not define."""


@cache
def longest() -> dict[str, dict[str, Any]]:
    return resolved(EVERYTHING, stack=LONGEST, region=REGION)


def made(type_: str) -> dict[str, dict[str, Any]]:
    return {name: one["Properties"] for name, one in longest().items() if one["Type"] == type_}


# ---- the template ------------------------------------------------------------------------------------------------------------------------


def test_template_fits_cloudformation() -> None:
    assert len(deployed()) <= 500
    assert len(template()["Parameters"]) <= 200
    assert len(template()["Outputs"]) <= 200
    assert len(template()["Description"].encode()) <= 1024
    assert all(len(output["Description"]) <= 1024 for output in template()["Outputs"].values())
    assert len(json.dumps(deployed(), indent=2)) < 1_000_000
    assert all(re.fullmatch("[A-Za-z0-9]{1,255}", name) for name in [*deployed(), *template()["Parameters"], *template()["Outputs"]])


def test_template_that_is_too_long_for_a_request_is_deployed_by_way_of_a_bucket() -> None:
    assert (ROOT / "template.yaml").stat().st_size > 51_200
    deployments = [
        commands["deploy"]["parameters"] for commands in SETTINGS.values() if isinstance(commands, dict) and "deploy" in commands
    ]
    assert deployments
    assert all(settings["resolve_s3"] is True for settings in deployments)


def test_deployment_needs_no_right_to_name_roles() -> None:
    """CloudFormation asks for CAPABILITY_NAMED_IAM where a role or policy has a name of the template's, and such names collide."""
    for one in longest().values():
        if one["Type"].startswith("AWS::IAM::"):
            assert not {"RoleName", "ManagedPolicyName", "UserName", "GroupName"} & set(one["Properties"])
    assert {profile["deploy"]["parameters"]["capabilities"] for profile in PROFILES if "deploy" in profile} == {"CAPABILITY_IAM"}


def test_stack_may_be_in_another_partition_of_aws() -> None:
    found = json.dumps(resolved({"StripeEventBus": "stripe", "ServeDocs": "true"}, region="us-gov-west-1", partition="aws-us-gov"))
    assert "arn:aws-us-gov:" in found
    # AWS's own policies are named by SAM, by the region in which it runs.
    assert not re.search("arn:aws:(?!iam::aws:policy/)", found)


# ---- names -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", ["titleholder", LONGEST])
def test_names_and_descriptions_fit_aws_for_the_longest_stack_name_in_the_region_with_the_longest_name(stack: str) -> None:
    wrong = []
    for name, one in resolved(EVERYTHING, stack=stack, region=REGION).items():
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", one["Type"]).schema
        for key, value in one.get("Properties", {}).items():
            rule = schema["properties"].get(key, {})
            if isinstance(value, str) and "<" not in value:
                limit = LIMITS.get((one["Type"], key), rule.get("maxLength", 1_000_000))
                if len(value) > limit or not re.search(rule.get("pattern", ""), value):
                    wrong.append((name, key, value))
    assert wrong == []


@pytest.mark.parametrize("stack", [LONGEST + "t", "Titleholder"])
def test_longer_or_capital_stack_name_would_not_fit(stack: str) -> None:
    assert not STACK_NAME.fullmatch(stack)
    bucket = resolved(EVERYTHING, stack=stack, region=REGION)["Bucket"]["Properties"]["BucketName"]
    assert len(bucket) > 63 or bucket != bucket.lower()


@pytest.mark.parametrize(
    "stack",
    [
        LONGEST,
        *(
            commands["global"]["parameters"]["stack_name"]
            for commands in SETTINGS.values()
            if isinstance(commands, dict) and "global" in commands
        ),
    ],
)
def test_stack_names_of_the_settings_fit(stack: str) -> None:
    assert STACK_NAME.fullmatch(stack)


def test_no_two_log_groups_have_one_name() -> None:
    names = [group["LogGroupName"] for group in made("AWS::Logs::LogGroup").values()]
    assert len(set(names)) == len(names)
    # Lambda makes /aws/lambda/<function> by itself where a function has no group of its own.
    assert not [name for name in names if name.startswith("/aws/lambda/")]


# ---- functions ---------------------------------------------------------------------------------------------------------------------------


def most(parameter: str) -> int:
    """The length of a parameter's longest value."""
    limits = template()["Parameters"][parameter]
    if "AllowedValues" in limits:
        return max(len(str(value)) for value in limits["AllowedValues"])
    if "MaxValue" in limits:
        return len(str(limits["MaxValue"]))
    width = re._parser.parse(limits["AllowedPattern"]).getwidth()[1]  # type: ignore[attr-defined]
    return min(width, limits.get("MaxLength", 1_000_000))


@pytest.mark.parametrize("name", [name for name, one in template()["Parameters"].items() if one["Type"] == "String"])
def test_longest_value_of_a_parameter_is_known(name: str) -> None:
    assert most(name) <= 1000


@pytest.mark.parametrize("name", functions())
def test_environment_fits_lambda_with_the_longest_values(name: str) -> None:
    size = 0
    for variable, value in variables(functions()[name]).items():
        named = set(re.findall(r'"Ref": "(\w+)"', json.dumps(value))) & set(template()["Parameters"])
        # Names and URLs of the stack's own resources.
        size += len(variable) + max([most(one) for one in named] or [len(LONGEST) + 120])
    assert size <= 4096


@pytest.mark.parametrize("name", functions())
def test_function_sets_no_variable_of_lambda(name: str) -> None:
    found = variables(functions()[name])
    assert not RESERVED & set(found)
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]+", variable) for variable in found)


@pytest.mark.parametrize("name", functions())
def test_function_fits_lambda(name: str) -> None:
    function = functions()[name]
    assert len(function["Description"]) <= 256
    assert len(function.get("Layers", ())) <= 5
    assert 128 <= function["MemorySize"] <= 10_240
    assert 1 <= function["Timeout"] <= 900
    for event in function.get("Events", {}).values():
        if event["Type"] == "SQS":
            assert 2 <= event["Properties"]["ScalingConfig"]["MaximumConcurrency"] <= 1000


# ---- permissions -------------------------------------------------------------------------------------------------------------------------


def size(document: Any) -> int:
    """As IAM counts: without white space."""
    return len(re.sub(r"\s", "", json.dumps(document)))


def test_policies_fit_iam() -> None:
    documents = dict(policies(LONGEST, REGION))
    for name, role in made("AWS::IAM::Role").items():
        assert sum(size(document) for key, document in documents.items() if key.partition("-")[0] == name) <= 10_240, name
        assert len(role.get("ManagedPolicyArns", ())) <= 10
        assert size(role["AssumeRolePolicyDocument"]) <= 2_048
    for name in made("AWS::IAM::ManagedPolicy"):
        assert size(documents[name]) <= 6_144, name
    assert all(size(document) <= 20_480 for document in documents.values())


def test_every_policy_has_a_version() -> None:
    """Without one, IAM reads a policy as of 2008, in which variables are plain text."""
    assert [name for name, document in policies() if document["Version"] != "2012-10-17"] == []
    assert [name for name, role in made("AWS::IAM::Role").items() if role["AssumeRolePolicyDocument"]["Version"] != "2012-10-17"] == []


# ---- HTTP API, events, queues, workflows -------------------------------------------------------------------------------------------------


def test_scopes_fit_api_gateway_with_the_longest_prefix() -> None:
    routes = resolved({**EVERYTHING, "JwtScopePrefix": "p" * most("JwtScopePrefix")})
    scopes = [
        route["Properties"].get("AuthorizationScopes", []) for route in routes.values() if route["Type"] == "AWS::ApiGatewayV2::Route"
    ]
    assert any(scopes)
    assert all(len(each) <= 10 and all(1 <= len(scope) <= 64 for scope in each) for each in scopes)


def test_http_api_fits_api_gateway() -> None:
    assert len(resources("AWS::ApiGatewayV2::Route")) <= 300
    assert len(resources("AWS::ApiGatewayV2::Integration")) <= 300
    for stage in made("AWS::ApiGatewayV2::Stage").values():
        assert len(stage["AccessLogSettings"]["Format"]) <= 3072
        json.loads(stage["AccessLogSettings"]["Format"])


def test_rules_fit_eventbridge() -> None:
    for rule in made("AWS::Events::Rule").values():
        assert len(json.dumps(rule["EventPattern"])) <= 2048
        assert len(rule["Targets"]) <= 5
        for each in rule["Targets"]:
            assert len(each["Id"]) <= 64
            assert len(each["InputTransformer"]["InputPathsMap"]) <= 100
            assert len(each["InputTransformer"]["InputTemplate"]) <= 8192
            assert all(len(path) <= 256 for path in each["InputTransformer"]["InputPathsMap"].values())


def test_queues_fit_sqs() -> None:
    queues = made("AWS::SQS::Queue")
    for queue in queues.values():
        assert 0 <= queue.get("VisibilityTimeout", 30) <= 43_200
        assert 60 <= queue["MessageRetentionPeriod"] <= 1_209_600
        if "RedrivePolicy" in queue:
            dead = queue["RedrivePolicy"]["deadLetterTargetArn"].strip("<>").partition(".")[0]
            assert "RedrivePolicy" not in queues[dead]
            assert queue.get("FifoQueue", False) == queues[dead].get("FifoQueue", False)


def test_workflows_fit_step_functions() -> None:
    for machine in resources("AWS::Serverless::StateMachine").values():
        text = (ROOT / machine["DefinitionUri"]).read_text()
        # Each substitution is at most an ARN.
        assert len(text.encode()) + 300 * text.count("${") < 1_048_576
        assert all(len(name) <= 80 for name in re.findall(r'"(\w+)": \{\s*"Type"', text))


def test_alarms_fit_cloudwatch() -> None:
    for name, alarm in made("AWS::CloudWatch::Alarm").items():
        assert 0 < len(alarm["AlarmDescription"]) <= 1024, name
        assert len(alarm.get("Metrics", ())) <= 10, name
        assert len(alarm["AlarmActions"]) <= 5, name
        assert len(alarm.get("Dimensions", ())) <= 30, name
        periods = {each["MetricStat"]["Period"] for each in alarm.get("Metrics", ()) if "MetricStat" in each} | {alarm.get("Period", 60)}
        assert all(period in (10, 20, 30) or period % 60 == 0 for period in periods), name
        # An alarm looks back for a day at most, or a week with periods of an hour or more.
        assert max(periods) * alarm["EvaluationPeriods"] <= (604_800 if max(periods) >= 3600 else 86_400), name
