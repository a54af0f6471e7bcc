"""The policies in docs/iam: what the deployer may do covers what CloudFormation's registry says the stack's resources need, and the
operator and the person on call may do what the commands of their pages do."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import cfnlint
import pytest
from botocore import xform_name

from tests.support.resolved import ACCOUNT, resolved
from tests.support.template import ROOT, deployed

REGION, STACK, API = "eu-west-1", "titleholder", "a1b2c3d4e5"
LARGEST = 6144
"""Characters of a managed policy, without white space."""

NOT_NEEDED = {
    "codedeploy:*": "functions are not deployed gradually",
    "ec2:*": "functions are in no VPC",
    "elasticfilesystem:*": "functions have no file system",
    "s3files:*": "functions have no file system",
    "lambda:PassCapacityProvider": "functions have no capacity provider",
    "lambda:AssociateRuntimeAlias": "not an action of IAM's tables",
    "firehose:*": "logs go to no stream",
    "s3tables:*": "the bucket has no table of metadata",
    "kinesis:*": "tables have no stream to Kinesis",
    "iam:CreateServiceLinkedRole": "tables have no replicas",
    "iam:AttachUserPolicy": "managed policies are attached to roles only",
    "iam:AttachGroupPolicy": "managed policies are attached to roles only",
    "iam:DetachUserPolicy": "managed policies are attached to roles only",
    "iam:DetachGroupPolicy": "managed policies are attached to roles only",
    "iam:PutRolePermissionsBoundary": "roles have no permissions boundary",
    "dynamodb:*Item": "only for an import of data, and replicas",
    "dynamodb:Scan": "only for replicas",
    "dynamodb:Query": "only for replicas",
    "dynamodb:*TableReplica": "tables have no replicas",
    "dynamodb:ImportTable": "nothing is imported",
    "dynamodb:*KinesisStreamingDestination": "tables have no stream to Kinesis",
    "dynamodb:UpdateContributorInsights": "tables have no contributor insights",
    "logs:*IndexPolic*": "log groups have no index",
    "logs:*DataProtectionPolicy": "log groups have no data protection policy",
    "logs:PutBearerTokenAuthentication": "log groups take no bearer tokens",
    "logs:PutLogGroupDeletionProtection": "log groups have no deletion protection",
    "logs:DeleteResourcePolicy": "the stack has no resource policy of logs",
    "logs:CreateLogStream": "only for an import of data",
    "logs:DescribeLogStreams": "only for an import of data",
    "logs:PutLogEvents": "only for an import of data",
}
"""Actions that the registry lists for properties that the template does not set."""

DATA = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "s3:GetObject", "secretsmanager:GetSecretValue", "lambda:InvokeFunction"]


def policy(name: str, stack: str = STACK) -> dict[str, Any]:
    """A policy with its placeholders filled in."""
    text = (ROOT / "docs" / "iam" / f"{name}.json").read_text()
    for placeholder, value in {"ACCOUNT_ID": ACCOUNT, "API_ID": API, "REGION": REGION, "STACK": stack}.items():
        text = text.replace(placeholder, value)
    found: dict[str, Any] = json.loads(text)
    return found


def statements(name: str, action: str, stack: str = STACK, effect: str = "Allow") -> list[dict[str, Any]]:
    """The statements that allow an action."""
    return [
        each
        for each in policy(name, stack)["Statement"]
        if each["Effect"] == effect and any(fnmatchcase(action.lower(), one.lower()) for one in listed(each["Action"]))
    ]


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def allows(name: str, action: str, arn: str, stack: str = STACK) -> bool:
    allowed, denied = (
        any(fnmatchcase(arn, pattern) for statement in statements(file, action, stack, effect) for pattern in listed(statement["Resource"]))
        for file, effect in ((name, "Allow"), ("deployer-limits", "Deny"))
    )
    return allowed and not denied


@cache
def registry() -> dict[str, set[str]]:
    """What CloudFormation needs to create, read, update and delete a resource of each type, as its registry says."""
    folder = Path(cfnlint.__file__).parent / "data" / "schemas" / "resources"
    wanted = sorted({resource["Type"] for resource in deployed().values()})
    found: dict[str, set[str]] = {}
    for path in folder.glob("*.json"):
        text = path.read_text()
        if not any(f'"{type_}"' in text for type_ in wanted):
            continue
        schema = json.loads(text)
        if schema["typeName"] in wanted:
            handlers = schema.get("handlers", {})
            actions = {
                action for name in ("create", "read", "update", "delete") for action in handlers.get(name, {}).get("permissions", ())
            }
            found.setdefault(schema["typeName"], set()).update(actions)
    return found


def test_the_registry_knows_every_type_of_the_template() -> None:
    assert set(registry()) == {resource["Type"] for resource in deployed().values()}
    assert [type_ for type_, actions in registry().items() if not actions] == []


def test_deployer_may_do_what_cloudformation_needs_for_every_resource() -> None:
    missing = {
        f"{type_}: {action}"
        for type_, actions in registry().items()
        for action in actions
        if not any(fnmatchcase(action, pattern) for pattern in NOT_NEEDED) and not statements("deployer", action)
    }
    assert missing == set()


def test_no_action_is_left_out_that_no_resource_needs() -> None:
    needed = {action for actions in registry().values() for action in actions if not statements("deployer", action)}
    assert [pattern for pattern in NOT_NEEDED if not any(fnmatchcase(action, pattern) for action in needed)] == []


NAMES = {
    "AWS::DynamoDB::Table": ("dynamodb:CreateTable", "arn:aws:dynamodb:{region}:{account}:table/{TableName}"),
    "AWS::Events::EventBus": ("events:CreateEventBus", "arn:aws:events:{region}:{account}:event-bus/{Name}"),
    "AWS::Events::Rule": ("events:PutRule", "arn:aws:events:{region}:{account}:rule/stripe/{Name}"),
    "AWS::Lambda::LayerVersion": ("lambda:PublishLayerVersion", "arn:aws:lambda:{region}:{account}:layer:{LayerName}"),
    "AWS::Logs::LogGroup": ("logs:CreateLogGroup", "arn:aws:logs:{region}:{account}:log-group:{LogGroupName}:log-stream:"),
    "AWS::S3::Bucket": ("s3:CreateBucket", "arn:aws:s3:::{BucketName}"),
    "AWS::SQS::Queue": ("sqs:CreateQueue", "arn:aws:sqs:{region}:{account}:{QueueName}"),
    "AWS::SNS::Topic": ("sns:CreateTopic", "arn:aws:sns:{region}:{account}:{TopicName}"),
    "AWS::StepFunctions::StateMachine": ("states:CreateStateMachine", "arn:aws:states:{region}:{account}:stateMachine:{StateMachineName}"),
    "AWS::KMS::Alias": ("kms:CreateAlias", "arn:aws:kms:{region}:{account}:{AliasName}"),
    "AWS::CloudWatch::Dashboard": ("cloudwatch:PutDashboard", "arn:aws:cloudwatch::{account}:dashboard/{DashboardName}"),
    # Named by CloudFormation after the stack.
    "AWS::IAM::Role": ("iam:CreateRole", "arn:aws:iam::{account}:role/{stack}-{id}-1A2B3C"),
    "AWS::IAM::ManagedPolicy": ("iam:CreatePolicy", "arn:aws:iam::{account}:policy/{stack}-{id}-1A2B3C"),
    "AWS::Lambda::Function": ("lambda:CreateFunction", "arn:aws:lambda:{region}:{account}:function:{stack}-{id}-1A2B3C"),
    "AWS::CloudWatch::Alarm": ("cloudwatch:PutMetricAlarm", "arn:aws:cloudwatch:{region}:{account}:alarm:{stack}-{id}-1A2B3C"),
    "AWS::Scheduler::Schedule": ("scheduler:CreateSchedule", "arn:aws:scheduler:{region}:{account}:schedule/default/{stack}-{id}-1A2B3C"),
}


STACKS = sorted(
    {profile["global"]["parameters"]["stack_name"] for name, profile in tomllib.loads((ROOT / "samconfig.toml").read_text()).items()
     if name != "version"}
)  # fmt: skip


@cache
def made(stack: str) -> list[tuple[str, str]]:
    """What the deployer does to make a stack's named resources: action and ARN."""
    everything = {"StripeMode": "live", "SnapStart": "true", "ServeDocs": "true", "StripeEventBus": "stripe"}
    everything |= {"JwtIssuer": "https://issuer.example.com", "DeskClientId": "desk"}
    found = []
    for id_, resource in resolved(everything, stack=stack, region=REGION).items():
        if resource["Type"] in NAMES:
            action, pattern = NAMES[resource["Type"]]
            texts = {key: value for key, value in resource.get("Properties", {}).items() if isinstance(value, str)}
            arn = pattern.format(**{**texts, "region": REGION, "account": ACCOUNT, "stack": stack, "id": id_})
            found.append((action, arn))
    return found


@pytest.mark.parametrize("stack", STACKS)
def test_deployer_may_do_it_with_the_names_that_the_resources_get(stack: str) -> None:
    assert [each for each in made(stack) if not allows("deployer", *each, stack)] == []


@pytest.mark.parametrize(("stack", "other"), [(one, other) for one in STACKS for other in STACKS if one != other])
def test_deployer_of_one_stack_may_not_change_or_delete_another(stack: str, other: str) -> None:
    """Names of one stack may begin with the other's name: `titleholder-*` is also what `titleholder-live-*` matches."""
    assert [each for each in made(other) if allows("deployer", *each, stack)] == []


@pytest.mark.parametrize("action", DATA)
def test_deployer_may_not_read_data(action: str) -> None:
    for arn in (
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{STACK}", f"arn:aws:s3:::{STACK}-batches-{ACCOUNT}-{REGION}/batches/bat_1/results.csv",
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{STACK}/stripe-api-key-AbCdEf",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}-Api-1A2B3C",
    ):  # fmt: skip
        assert not allows("deployer", action, arn)
    assert all("aws:CalledVia" in json.dumps(each) for each in statements("deployer", "kms:Decrypt"))


@pytest.mark.parametrize("name", ["deployer", "deployer-limits", "caller", "on-call", "operator", "smoke"])
def test_policy_fits_into_a_managed_policy_with_the_longest_name_of_a_stack(name: str) -> None:
    text = json.dumps(policy(name, "a" * 27), separators=(",", ":"))
    assert len(text) <= LARGEST
    assert not any(placeholder in text for placeholder in ("ACCOUNT_ID", "API_ID", "REGION", "STACK"))


OPERATIONS = {"Invoke": "lambda:InvokeFunction", "HeadBucket": "s3:ListBucket"}
"""Operations that another action than the one of their name allows."""

BY_DYNAMODB = ["BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem"]
"""What DynamoDB asks of who restores a table, on the new table."""

BY_A_KEY_OF_ONES_OWN = ["CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"]
"""What DynamoDB asks of who makes or restores a table that such a key encrypts."""


def called_by_the_recovery_commands() -> set[tuple[str, frozenset[str]]]:
    """AWS operations that the source of tools/recovery calls: each with the actions, one of which it needs."""
    session = botocore.session.get_session()
    sources = [path.read_text() for path in (ROOT / "tools" / "recovery").glob("*.py")]
    services = {name for source in sources for name in re.findall(r"clients\(\"(\w+)\"\)", source)}
    known: dict[str, set[str]] = {}
    for service in services:
        for operation in session.get_service_model(service).operation_names:
            known.setdefault(xform_name(operation), set()).add(OPERATIONS.get(operation, f"{service}:{operation}"))
    found = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name = node.func.attr
        if name == "get_paginator":
            assert isinstance(node.args[0], ast.Constant)
            name = str(node.args[0].value)
        if name in known:
            # A client is called like its service, or the operation is of one service only.
            receiver = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            actions = {action for action in known[name] if action.startswith(f"{receiver}:")} or known[name]
            found.add((name, frozenset(actions)))
    return found


def test_operator_may_call_what_the_recovery_commands_call() -> None:
    called = called_by_the_recovery_commands()
    assert {"restore_table_to_point_in_time", "create_table", "invoke", "decrypt", "head_bucket", "list_stack_resources"} <= {
        name for name, _ in called
    }
    assert [name for name, actions in sorted(called) if not any(statements("operator", action) for action in actions)] == []


def test_operator_or_deployer_may_give_each_command_of_the_procedures() -> None:
    given = re.findall(r"aws (dynamodb|kms|sqs|logs|events) ([a-z-]+)", (ROOT / "docs" / "recovery.md").read_text())
    actions = {f"{service}:{''.join(part.title() for part in command.split('-'))}" for service, command in given}
    assert [action for action in sorted(actions) if not statements("operator", action) and not statements("deployer", action)] == []
    for action in ("dynamodb:ListBackups", "dynamodb:RestoreTableFromBackup", "kms:CancelKeyDeletion", "kms:EnableKey"):
        assert statements("operator", action), action


@pytest.mark.parametrize("table", [STACK, f"{STACK}-restored"])
def test_operator_may_restore_the_table_beside_itself(table: str) -> None:
    arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"
    assert [action for action in BY_DYNAMODB if not allows("operator", f"dynamodb:{action}", arn)] == []
    assert allows("operator", "dynamodb:RestoreTableFromBackup", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{STACK}/backup/01-ab")


@pytest.mark.parametrize("name", ["on-call", "operator"])
def test_operator_of_a_stack_has_no_right_to_another_whose_name_begins_like_it(name: str) -> None:
    other = f"{STACK}-live"
    for statement in policy(name)["Statement"]:
        for pattern in listed(statement["Resource"]):
            for arn in (
                f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{other}/1", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{other}",
                f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{other}-keys", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{other}-events",
                f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{other}-Reconcile-1", f"arn:aws:s3:::{other}-batches-{ACCOUNT}-{REGION}",
                f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{other}/stripe-api-key-AbCdEf",
                f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{other}-verify-batch",
                f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/titleholder/{other}/api:*",
                f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{other}-RepairedAlarm-1A2B3C",
            ):  # fmt: skip
                assert pattern == "*" or not fnmatchcase(arn, pattern), statement["Sid"]


def test_operator_may_move_messages_of_each_queue() -> None:
    queues = [one["Properties"]["QueueName"] for one in resolved(stack=STACK, region=REGION).values() if one["Type"] == "AWS::SQS::Queue"]
    assert [name for name in queues if not allows("operator", "sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")] == []


def test_operator_may_have_dynamodb_use_the_key_of_the_tables() -> None:
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234"
    assert [action for action in BY_A_KEY_OF_ONES_OWN if not allows("operator", f"kms:{action}", arn)] == []


def test_operator_may_neither_delete_nor_restore_keys_nor_read_what_they_encrypt_elsewhere() -> None:
    for action in ("dynamodb:DeleteTable", "dynamodb:DeleteBackup", "kms:ScheduleKeyDeletion", "kms:DisableKey", "sqs:PurgeQueue"):
        assert statements("operator", action) == [], action
    keys = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{STACK}-keys"
    for action in ("RestoreTableToPointInTime", "RestoreTableFromBackup", "DeleteItem", "PutItem"):
        assert not allows("operator", f"dynamodb:{action}", keys), action
    # Keys are used through DynamoDB only. Exception: `import-files` uses the vault key to prove which key it is.
    for statement in statements("operator", "kms:Decrypt"):
        condition = json.dumps(statement["Condition"])
        assert "kms:ResourceAliases" in condition
        assert ("kms:ViaService" in condition) == (f"alias/{STACK}-table" in condition)


FOR_THE_CONSOLE = {
    "cloudwatch:GetDashboard", "cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "logs:DescribeLogGroups",
    "logs:DescribeQueryDefinitions", "logs:GetQueryResults", "logs:StartQuery", "logs:StopQuery",
}  # fmt: skip
"""What the console needs to show the dashboard and to run the saved queries."""

FOR_THE_AUDIT_EXPORT = {"dynamodb:Query", "kms:Decrypt"}


def commanded(page: str) -> set[str]:
    """The actions that a page's commands of the AWS CLI need."""
    prefixes = {"stepfunctions": "states", "service-quotas": "servicequotas", "s3api": "s3"}
    given = re.findall(r"(?<![\w-])aws ([a-z][a-z0-9-]*) (?!wait)([a-z][a-z-]+)", (ROOT / "docs" / f"{page}.md").read_text())
    found = {f"{prefixes.get(service, service)}:{''.join(part.title() for part in command.split('-'))}" for service, command in given}
    return {OPERATIONS.get(action.partition(":")[2], action) for action in found}


def test_person_on_call_may_give_each_command_of_the_runbook_and_nothing_else() -> None:
    allowed = {action for statement in policy("on-call")["Statement"] for action in listed(statement["Action"])}
    assert commanded("runbook") | FOR_THE_CONSOLE | FOR_THE_AUDIT_EXPORT == allowed


def test_person_on_call_has_rights_to_the_resources_by_the_names_that_they_get() -> None:
    everything = resolved({"StripeMode": "live", "StripeEventBus": "stripe"}, stack=STACK, region=REGION)
    for id_, resource in everything.items():
        properties, arn = resource.get("Properties", {}), f"{REGION}:{ACCOUNT}"
        match resource["Type"]:
            case "AWS::Logs::LogGroup":
                assert allows("on-call", "logs:FilterLogEvents", f"arn:aws:logs:{arn}:log-group:{properties['LogGroupName']}:*"), id_
            case "AWS::SQS::Queue":
                assert allows("on-call", "sqs:ReceiveMessage", f"arn:aws:sqs:{arn}:{properties['QueueName']}"), id_
            case "AWS::Events::Rule":
                assert allows("on-call", "events:DescribeRule", f"arn:aws:events:{arn}:rule/stripe/{properties['Name']}"), id_
            case "AWS::StepFunctions::StateMachine":
                name = properties["StateMachineName"]
                assert allows("on-call", "states:ListExecutions", f"arn:aws:states:{arn}:stateMachine:{name}"), id_
                assert allows("on-call", "states:GetExecutionHistory", f"arn:aws:states:{arn}:execution:{name}:ver_1"), id_


def test_person_on_call_may_replace_secrets_and_not_read_them() -> None:
    for name in ("stripe-api-key", "stripe-webhook-secret"):
        arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{STACK}/{name}-AbCdEf"
        assert allows("on-call", "secretsmanager:PutSecretValue", arn)
        assert not allows("on-call", "secretsmanager:GetSecretValue", arn)


def test_person_on_call_may_read_audit_entries_and_no_other_items() -> None:
    [statement] = statements("on-call", "dynamodb:Query")
    assert statement["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["AUDIT#*"]}}
    assert [action for action in ("GetItem", "BatchGetItem", "Scan") if statements("on-call", f"dynamodb:{action}")] == []


def test_deploying_says_who_gives_each_of_its_commands() -> None:
    text = (ROOT / "docs" / "deploying.md").read_text()
    administrators = set(re.findall(r"`([a-z]+:[A-Z]\w+)`", text.partition("### Who runs which command")[2].partition("\n## ")[0]))
    assert administrators
    may = {name: {action for action in commanded("deploying") if statements(name, action)} for name in ("deployer", "smoke", "on-call")}
    assert commanded("deploying") - set().union(*may.values()) == administrators - may["deployer"] == administrators
