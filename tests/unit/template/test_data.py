"""Our own rules for what stores or carries data in template.yaml: tables, bucket, queues, event rule, logs."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
import yaml

from tests.support.functions import ROOT
from tests.support.resolved import resolved
from tests.support.template import consumed, functions, made_of, resources, target, template
from titleholder.aws import queue_consumer

FUNCTIONS = functions()
QUEUES = resources("AWS::SQS::Queue")


def test_table_is_encrypted_with_the_stacks_key_backed_up_and_expires_items() -> None:
    table = resources("AWS::DynamoDB::Table")["Table"]
    assert table["SSESpecification"]["SSEType"] == "KMS"
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_index_of_unfinished_work_contains_no_personal_data() -> None:
    table = resources("AWS::DynamoDB::Table")["Table"]
    for index in table.get("GlobalSecondaryIndexes", ()):
        projected = {"pk", "sk", *(key["AttributeName"] for key in index["KeySchema"]), *index["Projection"].get("NonKeyAttributes", ())}
        assert index["Projection"]["ProjectionType"] != "ALL"
        assert not projected & {"claim", "owners", "verdict", "task_token"}


@pytest.mark.parametrize(
    ("parameters", "protected"),
    [
        ({"StripeMode": "live"}, True),
        ({"StripeMode": "test"}, False),
        # Of a stack that cannot be made, CloudFormation deletes what it has made, which protection would prevent.
        ({"StripeMode": "live", "DeletionProtection": "off"}, False),
        ({"StripeMode": "test", "DeletionProtection": "on"}, True),
    ],
)
def test_tables_of_live_mode_cannot_be_deleted_by_mistake(parameters: dict[str, str], protected: bool) -> None:
    tables = [one for one in resolved(parameters).values() if one["Type"] == "AWS::DynamoDB::Table"]
    assert [table["Properties"]["DeletionProtectionEnabled"] for table in tables] == [protected] * 2


def test_what_cannot_be_made_again_outlives_the_stack_but_not_a_failed_creation() -> None:
    """Without their aliases, nothing would show which of an account's keys a deleted stack's data needs.

    AlarmKey encrypts only messages that are under way.
    """
    kept = {"AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::KMS::Alias", "AWS::S3::Bucket"}
    for name, resource in template()["Resources"].items():
        assert (resource.get("DeletionPolicy") == "RetainExceptOnCreate") == (resource["Type"] in kept and name != "AlarmKey"), name


def test_no_principal_may_change_audit_entries_or_the_secret_of_ids() -> None:
    (statement,) = resources("AWS::DynamoDB::Table")["Table"]["ResourcePolicy"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    changing = {"UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLUpdate", "PartiQLDelete"}
    assert set(statement["Action"]) == {f"dynamodb:{action}" for action in changing}
    assert statement["Condition"] == {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["AUDIT#*", "SECRET#*"]}}


def test_bucket_is_encrypted_private_tls_only_and_expires_objects() -> None:
    (bucket,) = resources("AWS::S3::Bucket").values()
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert rules["manifests"]["ExpirationInDays"] <= 3
    assert rules["uploads"]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] <= 3
    # Work files are kept for longer than the longest wait.
    assert rules["batches"]["ExpirationInDays"] * 86_400 > template()["Parameters"]["MaxWaitSeconds"]["MaxValue"]
    # A deleted manifest does not survive as an old version.
    assert "VersioningConfiguration" not in bucket
    (policy,) = resources("AWS::S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_buckets_are_closed_and_encrypted() -> None:
    for bucket in resources("AWS::S3::Bucket").values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["BucketEncryption"]


@pytest.mark.parametrize(("function", "queue"), consumed())
class TestConsumedQueue:
    def test_hides_a_message_for_six_times_its_consumers_timeout(self, function: str, queue: str) -> None:
        """As AWS advises: Lambda tries a throttled message again while it is hidden."""
        [event] = [each for each in FUNCTIONS[function]["Events"].values() if each["Type"] == "SQS"]
        window = event["Properties"].get("MaximumBatchingWindowInSeconds", 0)
        assert QUEUES[queue]["VisibilityTimeout"] >= 6 * FUNCTIONS[function]["Timeout"] + window

    def test_consumed_queue_has_a_dead_letter_queue_with_a_longer_retention(self, function: str, queue: str) -> None:
        redrive = QUEUES[queue]["RedrivePolicy"]
        dead = QUEUES[target(redrive["deadLetterTargetArn"])]
        assert dead["MessageRetentionPeriod"] > QUEUES[queue]["MessageRetentionPeriod"]

    def test_lets_the_function_dead_letter_a_message_with_its_reason_before_sqs_does(self, function: str, queue: str) -> None:
        assert QUEUES[queue]["RedrivePolicy"]["maxReceiveCount"] > queue_consumer.MOST_RECEIVES_WITHOUT_AWS > queue_consumer.MOST_RECEIVES
        # A message that is received while the function is throttled counts as received, without having been tried.
        assert 20 <= QUEUES[queue]["RedrivePolicy"]["maxReceiveCount"] <= 1000

    def test_consumed_queue_has_failures_reported_for_each_message(self, function: str, queue: str) -> None:
        (event,) = [event for event in FUNCTIONS[function]["Events"].values() if event["Type"] == "SQS"]
        assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_queues_are_encrypted() -> None:
    assert all(queue.get("SqsManagedSseEnabled") or queue.get("KmsMasterKeyId") for queue in QUEUES.values())


@pytest.mark.parametrize("kind", ["AWS::SQS::Queue", "AWS::S3::Bucket"])
def test_queues_and_buckets_are_reached_over_tls_only(kind: str) -> None:
    policies = [*resources("AWS::SQS::QueuePolicy").values(), *resources("AWS::S3::BucketPolicy").values()]
    kept = set()
    for policy in policies:
        denied = [statement for statement in policy["PolicyDocument"]["Statement"] if statement.get("Effect") == "Deny"]
        if any(
            statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}} and statement["Principal"] == "*" for statement in denied
        ):
            kept |= {target(reference) for reference in policy.get("Queues", [policy.get("Bucket")])}
    assert set(resources(kind)) <= kept


def test_queue_has_one_policy_because_a_second_would_replace_the_first() -> None:
    named = [target(reference) for policy in resources("AWS::SQS::QueuePolicy").values() for reference in policy["Queues"]]
    assert sorted(named) == sorted(QUEUES)


def test_rule_passes_on_ids_only_and_stores_no_event_that_it_could_not_deliver() -> None:
    """A failure destination stores the function's input. A dead-letter queue of the rule would store the whole event."""
    rules = made_of("AWS::Events::Rule")
    targets = [each for rule in rules.values() for each in rule["Targets"]]
    assert targets
    for each in targets:
        assert "DeadLetterConfig" not in each
        # tests/unit/test_stripe_events.py checks the values.
        assert set(each["InputTransformer"]["InputPathsMap"].values()) <= {"$.source"} | {
            f"$.detail.{name}"
            for name in (
                "id", "object", "type", "livemode", "created", "account", "context", "related_object.id", "snapshot_event",
                "data.object.id", "data.object.object",
            )
        }  # fmt: skip
        assert not re.search(r"<aws\.events\.", each["InputTransformer"]["InputTemplate"])


@pytest.mark.parametrize("name", QUEUES)
def test_every_consumer_of_a_queue_is_under_the_rules_of_consumed_queues(name: str) -> None:
    """An event source mapping may be a resource of its own as well as an event of a function."""
    mapped = [each for each in made_of("AWS::Lambda::EventSourceMapping").values() if target(each["EventSourceArn"]) == name]
    assert len(mapped) == [queue for _, queue in consumed()].count(name)


def test_log_group_that_an_aws_service_writes_is_under_the_name_that_needs_no_policy_of_its_own() -> None:
    """CloudWatch Logs limits the policies of log groups to 5,120 characters in all; those under /aws/vendedlogs/ need none."""
    groups = resources("AWS::Logs::LogGroup")
    written = [target(stage["AccessLogSettings"]["DestinationArn"]) for stage in resources("AWS::ApiGatewayV2::Stage").values()]
    for machine in resources("AWS::Serverless::StateMachine").values():
        destinations = machine.get("Logging", {}).get("Destinations", ())
        written += [target(each["CloudWatchLogsLogGroup"]["LogGroupArn"]) for each in destinations]
    assert written
    for name in written:
        assert groups[name]["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/titleholder/${AWS::StackName}/")


def test_key_may_encrypt_every_log_group() -> None:
    """CloudWatch Logs refuses to make a log group whose key does not allow it."""
    found = resolved({"StripeEventBus": "stripe", "ServeDocs": "true"})
    [statement] = [each for each in found["Key"]["Properties"]["KeyPolicy"]["Statement"] if each["Sid"] == "LogsOfThisStack"]
    patterns = statement["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    for group in [one["Properties"] for one in found.values() if one["Type"] == "AWS::Logs::LogGroup"]:
        arn = f"arn:aws:logs:eu-west-1:123456789012:log-group:{group['LogGroupName']}"
        assert any(fnmatchcase(arn, pattern) for pattern in patterns)


def test_log_groups_are_encrypted_with_the_stacks_key_and_have_a_retention() -> None:
    for name, group in resources("AWS::Logs::LogGroup").items():
        # Its lines say that Key can't be used.
        assert target(group.get("KmsKeyId", {"Ref": ""})) == ("" if name == "ReconcileLogs" else "Key"), name
        assert group["RetentionInDays"]


def test_every_skipped_finding_of_checkov_has_its_reason() -> None:
    before = ""
    for line in (ROOT / ".checkov.yaml").read_text().splitlines():
        assert not line.strip().startswith("- ") or re.match(r"  # .{30,}\.$", before), line
        before = line
    for name, resource in template()["Resources"].items():
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", ()):
            assert set(skip) == {"id", "comment"}, name
            assert len(skip["comment"]) > 15, name


def test_every_answer_to_a_finding_of_parliament_has_its_reason() -> None:
    for answer in yaml.safe_load((ROOT / ".parliament.yaml").read_text()):
        assert set(answer) == {"issue", "policy", "detail", "reason"}
        assert len(answer["reason"]) > 30
        # An answer for every policy would hide what comes later.
        assert re.fullmatch(r"\w+(\|\w+)*", answer["policy"])
