"""Our own rules for the alarms in template.yaml: whom they notify, what they watch, and that a quiet stack raises none."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.functions import ROOT
from tests.support.metrics import SOURCES, emitted, exists
from tests.support.template import functions, made_of, resources, target, template

ALARMS = resources("AWS::CloudWatch::Alarm")
QUEUES = resources("AWS::SQS::Queue")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
MOST_METRICS = 10
"""How many metrics AWS lets an alarm retrieve."""


def watched(alarm: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Namespace, name and dimensions of each metric that an alarm watches, those of conditional resources included."""
    for query in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}]):
        query = query["Fn::If"][1] if "Fn::If" in query else query
        if "MetricStat" in query:
            metric = query["MetricStat"]["Metric"]
            yield metric["Namespace"], metric["MetricName"], {each["Name"]: each["Value"] for each in metric.get("Dimensions", ())}


def expressions(alarm: Mapping[str, Any]) -> dict[str, str]:
    return {query["Id"]: query["Expression"] for query in alarm.get("Metrics", ()) if "Expression" in query}


def watching(namespace: str, name: str) -> set[str]:
    """The resources whose metric of this name raises an alarm."""
    found = [dimensions for alarm in ALARMS.values() for at, metric, dimensions in watched(alarm) if (at, metric) == (namespace, name)]
    values = [value for dimensions in found for value in dimensions.values() if isinstance(value, dict)]
    return {target(value) for value in values if not {"Fn::If", "Fn::Sub"} & set(value)}


@pytest.mark.parametrize("name", ALARMS)
class TestAlarm:
    def test_alarm_notifies_the_topic_when_it_begins_and_when_it_ends(self, name: str) -> None:
        topic = [{"Fn::If": ["MakesAlarmTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}]
        assert ALARMS[name]["AlarmActions"] == topic
        assert ALARMS[name]["OKActions"] == topic
        assert ALARMS[name].get("ActionsEnabled", True) is True

    def test_alarm_says_what_happened(self, name: str) -> None:
        said = ALARMS[name]["AlarmDescription"]
        assert re.fullmatch(r"[^\n]{30,300}[.]", said)

    def test_alarm_watches_metrics_that_exist(self, name: str) -> None:
        metrics = list(watched(ALARMS[name]))
        assert 0 < len(metrics) <= MOST_METRICS
        assert [metric for metric in metrics if not exists(*metric)] == []

    def test_alarm_has_the_name_that_cloudformation_gives_it(self, name: str) -> None:
        # It begins with the stack's name. The topic's policy names alarms by that.
        assert "AlarmName" not in ALARMS[name]

    def test_alarm_has_a_section_in_the_runbook_with_all_that_an_operator_asks(self, name: str) -> None:
        section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
        assert section, f"docs/runbook.md lacks ## {name}"
        for part in ("**Means.**", "**How bad.**", "**Look.**", "**Do.**", "**Escalate.**"):
            assert part in section[1], part
        assert re.search(r"^(aws|log|output) ", section[1], re.MULTILINE), "no command"
        assert f"| [`{name}`](#{name.lower()}) |" in RUNBOOK, "no row in the table of thresholds"

    def test_alarm_evaluates_periods_that_cloudwatch_takes(self, name: str) -> None:
        alarm = ALARMS[name]
        stats = [query["Fn::If"][1] if "Fn::If" in query else query for query in alarm.get("Metrics", ())]
        periods = {query["MetricStat"]["Period"] for query in stats if "MetricStat" in query} or {alarm["Period"]}
        (period,) = periods
        assert period % 60 == 0
        # A day at most, or a week where a period lasts an hour or longer.
        assert period * alarm["EvaluationPeriods"] <= (604_800 if period >= 3600 else 86_400)
        assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]

    def test_expressions_of_an_alarm_name_its_metrics_only(self, name: str) -> None:
        queries = [query["Fn::If"][1] if "Fn::If" in query else query for query in ALARMS[name].get("Metrics", ())]
        if not queries:
            return
        ids = [query["Id"] for query in queries]
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch(r"[a-z][A-Za-z0-9_]*", id_) for id_ in ids)
        assert [query["Id"] for query in queries if query.get("ReturnData", True)] == ["watched"]
        for id_, expression in expressions(ALARMS[name]).items():
            used = set(re.findall(r"\b[a-z][A-Za-z0-9_]*\b", expression))
            assert used <= set(ids) - {id_}
            # AWS refuses a search in an alarm, whose metrics have to be known.
            assert "SEARCH" not in expression
        together = " ".join(expressions(ALARMS[name]).values())
        if "METRICS()" not in together:
            assert set(ids) - {"watched"} == set(re.findall(r"\b[a-z][A-Za-z0-9_]*\b", together))


def test_runbook_has_sections_of_alarms_that_exist_only() -> None:
    assert set(re.findall(r"^## (\w+Alarm)$", RUNBOOK, re.MULTILINE)) == set(ALARMS)


def test_only_a_run_of_reconcile_that_is_missing_raises_an_alarm_without_data() -> None:
    """In a quiet stack no metric has data, so an alarm about anything else must take that as good."""
    breaching = [name for name, alarm in ALARMS.items() if alarm["TreatMissingData"] != "notBreaching"]
    assert breaching == ["ReconcileMissingAlarm"]
    alarm, schedule = ALARMS["ReconcileMissingAlarm"], functions()["Reconcile"]["Events"]["Often"]["Properties"]["ScheduleExpression"]
    assert (alarm["TreatMissingData"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("breaching", "LessThanThreshold", 1)
    (period,) = {query["MetricStat"]["Period"] for query in alarm["Metrics"] if "MetricStat" in query}
    minutes = int(re.fullmatch(r"rate\((\d+) minutes\)", schedule)[1])  # type: ignore[index]
    assert period == 60 * minutes
    # One run may fail, or begin late.
    assert alarm["EvaluationPeriods"] == alarm.get("DatapointsToAlarm", 3) == 3


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_errors_and_throttles_of_every_function_raise_an_alarm(metric: str) -> None:
    assert watching("AWS/Lambda", metric) == set(functions())


def test_function_that_may_not_exist_is_watched_only_where_it_does() -> None:
    for alarm in ALARMS.values():
        for query in alarm.get("Metrics", ()):
            conditional = query.get("Fn::If")
            named = [value["Ref"] for _, _, dimensions in watched({"Metrics": [query]}) for value in dimensions.values() if "Ref" in value]
            for function in set(named) & set(functions()):
                condition = template()["Resources"][function].get("Condition")
                assert (conditional[0] if conditional else None) == condition, function
            assert not conditional or conditional[2] == {"Ref": "AWS::NoValue"}


def test_age_of_messages_in_every_queue_that_is_consumed_raises_an_alarm() -> None:
    consumed = {name for name, queue in QUEUES.items() if "RedrivePolicy" in queue}
    assert watching("AWS/SQS", "ApproximateAgeOfOldestMessage") == consumed
    # Age says nothing of a message that was received three times, so what was deleted is watched as well.
    assert watching("AWS/SQS", "NumberOfMessagesDeleted") == watching("AWS/SQS", "ApproximateNumberOfMessagesNotVisible") == consumed
    assert watching("AWS/SQS", "ApproximateNumberOfMessagesVisible") == set(QUEUES)


@pytest.mark.parametrize("metric", ["ExecutionsFailed", "ExecutionsTimedOut"])
def test_workflow_that_failed_or_timed_out_raises_an_alarm(metric: str) -> None:
    assert watching("AWS/States", metric) == set(resources("AWS::Serverless::StateMachine"))


@pytest.mark.parametrize("metric", ["ExecutionsFailed", "ExecutionsTimedOut"])
def test_children_of_a_map_that_tolerates_failures_raise_an_alarm(metric: str) -> None:
    """Step Functions counts them under the ARN of the state machine, a slash and the map's label, and nowhere else."""
    tolerant = {
        f"${{{name}}}/{state['Label']}"
        for name, machine in resources("AWS::Serverless::StateMachine").items()
        for state in json.loads((ROOT / machine["DefinitionUri"]).read_text())["States"].values()
        if state.get("ToleratedFailurePercentage")
    }
    assert tolerant
    for alarm in ("VerdictsBlockedAlarm", "WorkflowFailureAlarm"):
        found = [dimensions["StateMachineArn"] for _, name, dimensions in watched(ALARMS[alarm]) if name == metric]
        assert tolerant <= {value["Fn::Sub"] for value in found if "Fn::Sub" in value}


@pytest.mark.parametrize("metric", ["ReadThrottleEvents", "WriteThrottleEvents"])
def test_throttles_of_every_table_and_index_raise_an_alarm(metric: str) -> None:
    throttled = [
        (str(dimensions["TableName"]), dimensions.get("GlobalSecondaryIndexName"))
        for alarm in ALARMS.values()
        for namespace, name, dimensions in watched(alarm)
        if (namespace, name) == ("AWS/DynamoDB", metric)
    ]
    # The functions' table is the stack's own or the one that DataTableName names.
    used = {name: str(template()["Globals"]["Function"]["Environment"]["Variables"]["TABLE_NAME"]) for name in ("Table",)}
    for name, table in resources("AWS::DynamoDB::Table").items():
        indexes = [None, *(index["IndexName"] for index in table.get("GlobalSecondaryIndexes", ()))]
        assert {(used.get(name, str({"Ref": name})), index) for index in indexes} <= set(throttled)


def test_stack_without_reviews_has_no_alarm_about_them() -> None:
    about = [name for name, alarm in ALARMS.items() if any("Review" in metric for _, metric, _ in watched(alarm))]
    assert about == ["OldestReviewAlarm"]
    assert template()["Resources"]["OldestReviewAlarm"]["Condition"] == "HasReviews"
    assert template()["Conditions"]["HasReviews"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReviewersNeeded"}, "0"]}]}


def test_every_dead_letter_raises_an_alarm() -> None:
    dead = {target(queue["RedrivePolicy"]["deadLetterTargetArn"]) for queue in QUEUES.values() if "RedrivePolicy" in queue}
    dead |= {name for name in QUEUES if "DeadLetter" in name}
    for name in dead:
        (alarm,) = [
            alarm for alarm in ALARMS.values() if any(target(d.get("QueueName", {"Ref": ""})) == name for _, _, d in watched(alarm))
        ]
        assert (alarm["Threshold"], alarm["ComparisonOperator"], alarm["MetricName"]) == (
            0, "GreaterThanThreshold", "ApproximateNumberOfMessagesVisible",
        )  # fmt: skip


def test_event_that_the_rule_could_not_deliver_raises_an_alarm() -> None:
    (rule,) = made_of("AWS::Events::Rule").values()
    (dimensions,) = [d for alarm in ALARMS.values() for _, name, d in watched(alarm) if name == "FailedInvocations"]
    # The metrics of a custom bus have both dimensions.
    assert dimensions == {"EventBusName": rule["EventBusName"], "RuleName": rule["Name"]}


@pytest.mark.parametrize(
    "metric", ["EventMalformed", "SecretUnusable", "MatcherFailed", "KeyUnusable", "DisconnectionFailed", "ClaimLimitExceeded"]
)
def test_failure_that_needs_an_operator_at_once_raises_an_alarm(metric: str) -> None:
    (alarm,) = [alarm for alarm in ALARMS.values() if metric in {name for _, name, _ in watched(alarm)}]
    stats = [query["MetricStat"]["Stat"] for query in alarm.get("Metrics", ()) if "MetricStat" in query] or [alarm["Statistic"]]
    assert (stats, alarm["Threshold"]) == (["Sum"], 0)


@pytest.mark.parametrize(
    "metric",
    [
        "OwnersRead",
        "OldestReview",
        "SecondsAfterStripeAnswered",
        "VerificationUnanswered",
        "DeliveryRefused",
        "DeliveryAccepted",
        "RefreshesPaid",
    ],
)
def test_metric_is_watched(metric: str) -> None:
    assert any(name == metric for alarm in ALARMS.values() for _, name, _ in watched(alarm))


def test_no_metric_has_the_dimensions_of_another_by_accident() -> None:
    """`add_dimension` gives a dimension to every metric of the invocation, so that alarms on those would find nothing."""
    for folder in SOURCES:
        for path in folder.rglob("*.py"):
            calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            assert not [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "add_dimension"], path


def test_every_metric_that_the_code_emits_is_documented() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", text.partition("## Metrics")[2].partition("\n## ")[0], re.MULTILINE))
    assert documented == set(emitted())


class TestTopic:
    def test_topic_is_encrypted_with_a_key_that_cloudwatch_may_use(self) -> None:
        (topic,) = resources("AWS::SNS::Topic").values()
        key = resources("AWS::KMS::Key")[target(topic["KmsMasterKeyId"])]
        (service,) = [each for each in key["KeyPolicy"]["Statement"] if each["Principal"] == {"Service": "cloudwatch.amazonaws.com"}]
        assert set(service["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
        assert service["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}

    def test_topic_has_a_key_of_its_own_because_an_alarm_about_the_others_must_arrive(self) -> None:
        (topic,) = resources("AWS::SNS::Topic").values()
        tables = {target(table["SSESpecification"]["KMSMasterKeyId"]) for table in resources("AWS::DynamoDB::Table").values()}
        groups = {target(group["KmsKeyId"]) for group in resources("AWS::Logs::LogGroup").values() if "KmsKeyId" in group}
        assert target(topic["KmsMasterKeyId"]) not in tables | groups | {"VaultKey"}

    def test_log_that_tells_of_an_unusable_key_is_not_encrypted_with_it(self) -> None:
        """Metrics are made of log lines."""
        assert [name for name, group in resources("AWS::Logs::LogGroup").items() if "KmsKeyId" not in group] == ["ReconcileLogs"]

    def test_topic_takes_messages_of_this_stacks_alarms_only(self) -> None:
        (policy,) = resources("AWS::SNS::TopicPolicy").values()
        allowed, denied = policy["PolicyDocument"]["Statement"]
        assert (allowed["Effect"], allowed["Principal"], allowed["Action"]) == (
            "Allow", {"Service": "cloudwatch.amazonaws.com"}, "sns:Publish",
        )  # fmt: skip
        assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        assert allowed["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].endswith(":alarm:${AWS::StackName}-*")
        assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})

    def test_topic_is_made_only_where_no_other_is_named(self) -> None:
        for name in ("AlarmKey", "AlarmTopic", "AlarmTopicPolicy"):
            assert template()["Resources"][name]["Condition"] == "MakesAlarmTopic"
        assert template()["Conditions"]["MakesAlarmTopic"] == {"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}


class TestLogsOfWorkflows:
    @pytest.mark.parametrize("name", resources("AWS::Serverless::StateMachine"))
    def test_workflow_logs_errors_without_data(self, name: str) -> None:
        logging = resources("AWS::Serverless::StateMachine")[name]["Logging"]
        assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)
        (destination,) = logging["Destinations"]
        assert destination == {"CloudWatchLogsLogGroup": {"LogGroupArn": {"Fn::GetAtt": ["WorkflowLogs", "Arn"]}}}

    @pytest.mark.parametrize("name", resources("AWS::Serverless::StateMachine"))
    def test_role_of_a_workflow_may_deliver_logs(self, name: str) -> None:
        assert {"Ref": "WorkflowLogAccess"} in resources("AWS::Serverless::StateMachine")[name]["Policies"]
        (statement,) = resources("AWS::IAM::ManagedPolicy")["WorkflowLogAccess"]["PolicyDocument"]["Statement"]
        needed = ("Create", "Get", "Update", "Delete")
        assert {f"logs:{verb}LogDelivery" for verb in needed} <= set(statement["Action"])
        assert {"logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"} <= set(
            statement["Action"]
        )

    def test_log_group_is_under_the_prefix_that_saves_the_resource_policy(self) -> None:
        assert resources("AWS::Logs::LogGroup")["WorkflowLogs"]["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/")

    @pytest.mark.parametrize("name", resources("AWS::Logs::LogGroup"))
    def test_key_lets_the_service_encrypt_every_log_group(self, name: str) -> None:
        (statement,) = [each for each in resources("AWS::KMS::Key")["Key"]["KeyPolicy"]["Statement"] if each["Sid"] == "LogsOfThisStack"]
        patterns = [
            each["Fn::Sub"].partition(":log-group:")[2] for each in statement["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
        ]
        group = resources("AWS::Logs::LogGroup")[name]["LogGroupName"]["Fn::Sub"]
        assert any(group.startswith(pattern.removesuffix("*")) for pattern in patterns)
