"""Deployment: the services have the settings of the template, and an update changes only what changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from local.aws.deploy import DeployError, delete, deploy

from .conftest import APP, STACK, Stack


def test_table_has_the_settings_of_the_template(stack: Stack) -> None:
    dynamodb = stack.client("dynamodb")
    ttl = dynamodb.describe_time_to_live(TableName=stack["Table"])["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    backups = dynamodb.describe_continuous_backups(TableName=stack["Table"])["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    encryption = dynamodb.describe_table(TableName=stack["Table"])["Table"]["SSEDescription"]
    assert (encryption["Status"], encryption["SSEType"], encryption["KMSMasterKeyArn"]) == ("ENABLED", "KMS", stack["KeyArn"])


def test_key_alias_leads_to_a_key_that_encrypts(stack: Stack) -> None:
    kms = stack.client("kms")
    assert kms.describe_key(KeyId=stack["KeyAlias"])["KeyMetadata"]["Arn"] == stack["KeyArn"]
    sealed = kms.encrypt(KeyId=stack["KeyAlias"], Plaintext=b"secret")["CiphertextBlob"]
    assert b"secret" not in sealed
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"secret"


def test_each_function_has_a_role_of_its_own(stack: Stack) -> None:
    functions = stack.client("lambda").list_functions()["Functions"]
    assert len({function["Role"] for function in functions}) == len(functions) == 4


def test_consumer_keeps_its_scaling_and_failure_reporting(stack: Stack) -> None:
    [mapping] = stack.client("lambda").list_event_source_mappings(EventSourceArn=stack["WorkArn"])["EventSourceMappings"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_resources_without_an_effect_here_are_part_of_the_stack(stack: Stack) -> None:
    resources = stack.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    states = {resource["LogicalResourceId"]: resource["ResourceStatus"] for resource in resources}
    assert states["Nightly"] == states["Alarm"] == states["MathAlarm"] == states["Query"] == "CREATE_COMPLETE"


def test_alarm_on_metric_math_is_kept_with_its_action_and_is_never_evaluated(stack: Stack) -> None:
    cloudwatch = stack.client("cloudwatch")
    cloudwatch.put_metric_data(Namespace="Own", MetricData=[{"MetricName": name, "Value": 1.0} for name in ("Failed", "All")])
    (alarm,) = [each for each in cloudwatch.describe_alarms()["MetricAlarms"] if "MathAlarm" in each["AlarmName"]]
    assert alarm["AlarmActions"] == ["arn:aws:sns:us-east-1:000000000000:own"]
    assert (alarm["StateValue"], alarm["Threshold"]) == ("INSUFFICIENT_DATA", 5.0)


def test_deploying_again_without_a_change_does_nothing(stack: Stack) -> None:
    cloudformation = stack.client("cloudformation")
    before = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    pid = stack.invoke("ApiFunction", {})["pid"]
    assert deploy(APP / "template.yaml", stack.aws.endpoint, STACK, {"Architecture": "x86_64"}) == stack.outputs
    after = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    assert after.get("LastUpdatedTime") == before.get("LastUpdatedTime")
    assert stack.invoke("ApiFunction", {})["pid"] == pid


def test_changed_code_and_parameters_take_effect_and_the_rest_stays(stack: Stack, tmp_path: Path) -> None:
    second = "changing"
    app = shutil.copytree(APP, tmp_path / "app")
    template = app / "template.yaml"
    outputs = deploy(template, stack.aws.endpoint, second, {"Architecture": "x86_64"})
    changed = Stack(stack.aws, outputs)
    try:
        before = changed.invoke("ApiFunction", {})
        changed.client("dynamodb").put_item(TableName=changed["Table"], Item={"pk": {"S": "kept"}})
        (app / "api" / "origin.py").write_text('ORIGIN = "new code"\n')
        (app / "shared" / "python" / "shared.py").write_text('ORIGIN = "new layer"\n')
        assert deploy(template, stack.aws.endpoint, second, {"Architecture": "x86_64", "Greeting": "welcome"})["Table"] == changed["Table"]
        after = changed.invoke("ApiFunction", {})
        assert (before["origin"], before["shared"], before["greeting"]) == ("code", "layer", "hello")
        assert (after["origin"], after["shared"], after["greeting"]) == ("new code", "new layer", "welcome")
        assert changed.item("kept")
    finally:
        delete(stack.aws.endpoint, second)
    assert changed["Table"] not in stack.client("dynamodb").list_tables()["TableNames"]


def test_failed_deployment_names_the_resource_and_the_reason(stack: Stack, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    bad = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 99_999_999}}
    template.write_text(json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": {"TooLong": bad}}))
    with pytest.raises(DeployError, match=r"TooLong \(AWS::SQS::Queue\): .*VisibilityTimeout"):
        deploy(template, stack.aws.endpoint, "bad", {})
    delete(stack.aws.endpoint, "bad")


@pytest.mark.parametrize("protected", [False, True])
def test_stack_that_could_not_be_made_is_rolled_back_unless_a_table_is_protected(stack: Stack, tmp_path: Path, protected: bool) -> None:
    """Why a live stack is first deployed without protection."""
    name = f"rolled-back-{protected}".lower()
    keys = {
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    }
    table = {"TableName": name, "BillingMode": "PAY_PER_REQUEST", "DeletionProtectionEnabled": protected, **keys}
    kept = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
    bad = {"Type": "AWS::SQS::Queue", "DependsOn": "Data", "Properties": {"VisibilityTimeout": 99_999_999}}
    template = tmp_path / "template.yaml"
    resources = {"Data": {"Type": "AWS::DynamoDB::Table", **kept, "Properties": table}, "TooLong": bad}
    template.write_text(json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": resources}))
    with pytest.raises(DeployError, match=f"{name} is {'ROLLBACK_FAILED' if protected else 'ROLLBACK_COMPLETE'}"):
        deploy(template, stack.aws.endpoint, name, {})
    delete(stack.aws.endpoint, name)
    # A deletion, unlike a rollback, keeps what is to be retained: the next creation under this name would find the table in its way.
    assert (name in stack.client("dynamodb").list_tables()["TableNames"]) is protected


def test_parameter_that_the_template_does_not_have_is_refused_before_anything_is_changed(stack: Stack) -> None:
    cloudformation = stack.client("cloudformation")
    for name in ("unmade", STACK):
        with pytest.raises(DeployError, match=r"Parameters: \[Nope, Greetin\] do not exist in the template"):
            deploy(APP / "template.yaml", stack.aws.endpoint, name, {"Architecture": "x86_64", "Nope": "1", "Greetin": "welcome"})
    stacks = [one["StackName"] for one in cloudformation.describe_stacks()["Stacks"]]
    assert "unmade" not in stacks
