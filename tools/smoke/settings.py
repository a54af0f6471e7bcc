"""The stack's settings: alarms, dashboard, keys, tables, queues, functions, limits of the account."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tools.smoke.report import Line, absences, failed, ok, unchecked
from tools.smoke.stack import Deployed

RECURSIVE = ("StartRefresh", "FetchOwners")
"""Functions that send messages to the queue that they consume."""

SPARE_CONCURRENCY = 10
QUOTA = "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 --desired-value 1000"
REDEPLOY = "it was changed by hand: deploy the stack again, or set it back"


def alarms(stack: Deployed) -> Iterator[Line]:
    """Each alarm exists, is enabled, has an action that reaches a subscriber, and does not fire."""
    expected = stack.of_type("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    found: dict[str, Any] = {}
    names = list(expected.values())
    for begin in range(0, len(names), 100):
        answer = stack.client("cloudwatch").describe_alarms(
            AlarmNames=names[begin : begin + 100], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        found |= {each["AlarmName"]: each for each in [*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())]}
    good = 0
    for logical, name in expected.items():
        alarm, about = found.get(name), f"alarm {logical}"
        if alarm is None:
            yield failed(about, "it does not exist", REDEPLOY)
        elif not alarm["AlarmActions"]:
            yield failed(
                about, "it has no action, so it notifies no one", "deploy the stack again, with AlarmTopicArn for a topic of your own"
            )
        elif not alarm["ActionsEnabled"]:
            yield failed(about, "its actions are disabled", f"aws cloudwatch enable-alarm-actions --alarm-names {name}")
        elif alarm["StateValue"] == "ALARM":
            yield _firing(stack, about, alarm, f"see docs/runbook.md#{logical.lower()}")
        else:
            good += 1
    if good:
        yield ok("alarms", f"{good} exist, have an action and do not fire")
    topics = {action for alarm in found.values() for action in alarm["AlarmActions"] if ":sns:" in action}
    for topic in sorted(topics):
        yield _topic(stack, topic)


def _firing(stack: Deployed, about: str, alarm: Mapping[str, Any], runbook: str) -> Line:
    """An alarm that fires. One that missing data raises says nothing about a stack that is younger than the time that it evaluates."""
    periods = [alarm.get("Period") or 0, *(each.get("MetricStat", {}).get("Period", 0) for each in alarm.get("Metrics", ()))]
    evaluated = max(periods) * alarm.get("EvaluationPeriods", 0)
    if alarm.get("TreatMissingData") != "breaching" or stack.age >= evaluated:
        return failed(about, "it fires now", runbook)
    age, left = int(stack.age // 60), math.ceil((evaluated - stack.age) / 60)
    return unchecked(
        about,
        f"it fires because it has too little data: it evaluates {evaluated // 60} min, and the stack is {age} min old",
        f"repeat in {left} min; if it still fires, {runbook}",
    )


def _topic(stack: Deployed, topic: str) -> Line:
    about = f"alarm topic {topic.rpartition(':')[2]}"
    try:
        found = stack.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NotFound", "NotFoundException"):
            return failed(about, "it does not exist", "deploy the stack with the ARN of an existing topic in AlarmTopicArn, or none")
        raise
    confirmed = [each for each in found if str(each.get("SubscriptionArn", "")).startswith("arn:")]
    subscribe = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint you@example.com"
    if not found and stack.local:
        return unchecked(about, "it has no subscribers. An embedded stack notifies no one by e-mail")
    if not found:
        return failed(about, "it has no subscribers", f"{subscribe}; then confirm the subscription")
    if not confirmed:
        return failed(about, "no subscription is confirmed", "open the link in the message that SNS sent")
    return ok(about, f"{len(confirmed)} confirmed subscriptions")


def dashboard(stack: Deployed) -> Iterator[Line]:
    names = stack.of_type("AWS::CloudWatch::Dashboard")
    if not names:
        yield failed("dashboard", "the stack has none", "deploy the stack from this release")
    for name in names.values():
        try:
            body = json.loads(stack.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ResourceNotFound", "ResourceNotFoundException"):
                raise
            yield failed("dashboard", f"{name} does not exist", REDEPLOY)
        else:
            yield ok("dashboard", f"{name} with {len(body.get('widgets', ()))} widgets")


def kms_keys(stack: Deployed) -> Iterator[Line]:
    lines: list[Line] = []
    for logical, id_ in stack.of_type("AWS::KMS::Key").items():
        about = f"KMS key {logical}"
        with absences(about, lines):
            state = stack.client("kms").describe_key(KeyId=id_)["KeyMetadata"]["KeyState"]
            enable = f"aws kms enable-key --key-id {id_}"
            if state == "Enabled":
                lines.append(ok(about, "enabled"))
            elif state == "PendingDeletion":
                lines.append(failed(about, "it will be DELETED", f"aws kms cancel-key-deletion --key-id {id_}; {enable}"))
            else:
                lines.append(failed(about, f"it is {state}", enable))
    yield from lines


def tables(stack: Deployed) -> Iterator[Line]:
    dynamodb, name = stack.client("dynamodb"), stack.outputs["TableName"]
    yield from _backups(stack, name)
    about = "expiry of items"
    expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if expiry.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") and expiry.get("AttributeName") == "expires_at":
        yield ok(about, "on, by expires_at")
    else:
        command = f"aws dynamodb update-time-to-live --table-name {name} --time-to-live-specification Enabled=true,AttributeName=expires_at"
        yield failed(about, "off, so personal data is kept for longer than it may be", command)
    keys = stack.physical("KeysTable")
    for table in (name, *([keys] if keys else ())):
        found = dynamodb.describe_table(TableName=table)["Table"]
        yield _protection(stack, table, found)
        if found["TableStatus"] not in ("ACTIVE", "UPDATING"):
            yield failed(f"table {table}", f"it is {found['TableStatus']}", "see docs/recovery.md")
        elif found.get("SSEDescription", {}).get("Status", "ENABLED") not in ("ENABLED", "UPDATING"):
            yield failed(f"table {table}", "its KMS key cannot be used", "see the lines about KMS keys")
        else:
            yield from _throughput(stack, table, found, checked=table == name)


def _backups(stack: Deployed, name: str) -> Iterator[Line]:
    for table, wanted, about in (
        (name, True, "point-in-time recovery"),
        (stack.physical("KeysTable"), False, "no backups of the keys table"),
    ):
        if table is None:
            continue
        found = stack.client("dynamodb").describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        on = found.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") == "ENABLED"
        change = f"--table-name {table} --point-in-time-recovery-specification PointInTimeRecoveryEnabled={str(wanted).lower()}"
        if on == wanted:
            yield ok(about, "on" if wanted else "none: a restored key would bring erased data back")
        else:
            yield failed(about, "on" if on else "off", f"aws dynamodb update-continuous-backups {change}")


def _protection(stack: Deployed, table: str, found: dict[str, Any]) -> Line:
    """In live mode `off` is for the stack's first deployment only."""
    about = f"deletion protection of {table}"
    if found.get("DeletionProtectionEnabled"):
        return ok(about, "on")
    if stack.mode == "live" or stack.parameters.get("DeletionProtection") == "on":
        change = f"aws dynamodb update-table --table-name {table} --deletion-protection-enabled"
        return failed(about, "off, so everyone who may delete tables can delete its data", f"deploy with the profile live; {change}")
    return ok(about, "off, as in test mode")


def _throughput(stack: Deployed, table: str, found: dict[str, Any], *, checked: bool) -> Iterator[Line]:
    about, warm = f"table {table}", found.get("WarmThroughput") or {}
    wanted = int(float(stack.parameters.get("WarmWriteUnits") or 0)) if checked else 0
    if not warm.get("WriteUnitsPerSecond"):
        yield unchecked(f"{about}, warm throughput", "DescribeTable does not say it here") if checked else ok(about, "active")
    elif int(warm.get("WriteUnitsPerSecond", 0)) < wanted:
        yield failed(
            about, f"it takes {warm['WriteUnitsPerSecond']} write units at once, WarmWriteUnits is {wanted}", "wait, or deploy again"
        )
    else:
        yield ok(
            about, f"active; takes {warm.get('ReadUnitsPerSecond')} read and {warm.get('WriteUnitsPerSecond')} write units a second at once"
        )


def logs(stack: Deployed) -> Iterator[Line]:
    expected, found = stack.of_type("AWS::Logs::LogGroup"), dict[str, Any]()
    for name in expected.values():
        for group in stack.client("logs").describe_log_groups(logGroupNamePrefix=name).get("logGroups", ()):
            found[group["logGroupName"]] = group
    bad = 0
    for logical, name in expected.items():
        group, about = found.get(name), f"log group {name}"
        if group is None:
            bad += 1
            yield failed(about, f"it does not exist, so {logical.removesuffix('Logs')} cannot log", REDEPLOY)
        elif "retentionInDays" not in group:
            bad += 1
            yield failed(about, "it keeps its lines forever", REDEPLOY)
    if not bad:
        yield ok("log groups", f"{len(expected)} exist and delete old lines")


def functions(stack: Deployed) -> Iterator[Line]:
    """Each function can be invoked, and its concurrency is not cut off."""
    lambda_, lines, good = stack.client("lambda"), list[Line](), list[str]()
    for logical, name in stack.functions.items():
        about = f"function {logical}"
        with absences(about, lines):
            found = lambda_.get_function_configuration(FunctionName=name)
            reserved = lambda_.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
            why = found.get("LastUpdateStatusReason") or found.get("StateReason")
            if found.get("State", "Active") not in ("Active", "Inactive") or found.get("LastUpdateStatus", "Successful") == "Failed":
                lines.append(failed(about, f"{found.get('State')}, {why}", "deploy again"))
            elif reserved == 0:
                free = f"aws lambda delete-function-concurrency --function-name {name}"
                lines.append(failed(about, "its reserved concurrency is 0, so it never runs", free))
            else:
                good.append(str(found.get("LastModified", "")))
    yield from lines
    if good:
        yield ok("functions", f"{len(good)} are active; the last one was changed at {max(good)}")


def recursion(stack: Deployed) -> Iterator[Line]:
    """Lambda does not stop the functions that send messages to the queue that they consume."""
    for logical in RECURSIVE:
        consumer = stack.physical(logical)
        if consumer is None:
            continue
        loop = stack.client("lambda").get_function_recursion_config(FunctionName=consumer).get("RecursiveLoop")
        if loop == "Allow":
            yield ok(f"recursion of {logical}", "allowed: it sends messages to its own queue")
        else:
            change = f"aws lambda put-function-recursion-config --function-name {consumer} --recursive-loop Allow"
            yield failed(f"recursion of {logical}", f"{loop}: Lambda sends its requeued messages to the dead-letter queue", change)


def versions(stack: Deployed) -> Iterator[Line]:
    """With SnapStart, callers use published versions, which are ready."""
    if stack.parameters.get("SnapStart") != "true":
        return
    for logical in stack.of_type("AWS::Lambda::Alias"):
        function = logical.removesuffix("Aliaslive")
        name, about = stack.physical(function), f"published version of {function}"
        if name is None:
            continue
        version = stack.client("lambda").get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        found = stack.client("lambda").get_function_configuration(FunctionName=name, Qualifier=version)
        if found.get("State", "Active") != "Active":
            yield failed(about, f"version {version} is {found['State']}: {found.get('StateReason')}", "wait for it, or deploy again")
        else:
            yield ok(about, f"version {version}; SnapStart {found.get('SnapStart', {}).get('OptimizationStatus', 'unknown')}")


def queues(stack: Deployed) -> Iterator[Line]:
    """Messages are taken from both queues, are not redelivered while they are processed, and none is dead."""
    for logical, function in (("RefreshQueue", "StartRefresh"), ("EventsQueue", "FetchOwners")):
        url, consumer = stack.physical(logical), stack.physical(function)
        if url is None or consumer is None:
            yield failed(logical, "the stack does not have it", REDEPLOY)
            continue
        attributes = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        mappings = stack.client("lambda").list_event_source_mappings(FunctionName=consumer)["EventSourceMappings"]
        found = next((each for each in mappings if each.get("EventSourceArn") == attributes["QueueArn"]), None)
        timeout = stack.client("lambda").get_function_configuration(FunctionName=consumer)["Timeout"]
        if found is None:
            yield failed(logical, f"{function} does not take its messages", REDEPLOY)
        elif found.get("State") not in ("Enabled", "Enabling"):
            enable = f"aws lambda update-event-source-mapping --uuid {found['UUID']} --enabled"
            yield failed(logical, f"its event source is {found.get('State')}, so no message is processed", enable)
        elif "RedrivePolicy" not in attributes:
            yield failed(logical, "it has no dead-letter queue", REDEPLOY)
        elif int(attributes["VisibilityTimeout"]) < timeout:
            yield failed(logical, f"messages are redelivered after {attributes['VisibilityTimeout']} s, while they are processed", REDEPLOY)
        else:
            waiting = attributes.get("ApproximateNumberOfMessages", "0")
            most = found.get("ScalingConfig", {}).get("MaximumConcurrency", "any number of")
            yield ok(logical, f"{function} takes its messages, {most} at once; {waiting} wait")
    for logical, url in stack.of_type("AWS::SQS::Queue").items():
        if "DeadLetter" in logical:
            attributes = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])[
                "Attributes"
            ]
            dead = int(attributes["ApproximateNumberOfMessages"])
            yield ok(logical, "empty") if not dead else failed(logical, f"{dead} messages", "see docs/operations.md, Dead letters")


def concurrency(stack: Deployed) -> Iterator[Line]:
    """The account lets the stack run as many functions at once as it is set to."""
    about, lambda_ = "Lambda quota", stack.client("lambda")
    limit = lambda_.get_account_settings()["AccountLimit"]
    quota, left = int(limit["ConcurrentExecutions"]), int(limit["UnreservedConcurrentExecutions"])
    mappings = [
        each
        for name in map(stack.physical, RECURSIVE)
        if name is not None
        for each in lambda_.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    ]
    needed = sum(int(each.get("ScalingConfig", {}).get("MaximumConcurrency", 0)) for each in mappings)
    needed += int(float(stack.parameters.get("WaitingCalls") or 0)) + SPARE_CONCURRENCY
    told = f"{quota} executions at once in this account and region, {left} not reserved; this stack may use {needed} beside its callers"
    yield ok(about, told) if left >= needed else failed(about, told, f"{QUOTA} --region {stack.region}")


def throttling(stack: Deployed) -> Iterator[Line]:
    """API Gateway took the limits of the routes, which CloudFormation hands over as text."""
    about = "limits of routes"
    stage = stack.client("apigatewayv2").get_stage(ApiId=stack.outputs["HttpApiId"], StageName="$default")
    default, routes = stage.get("DefaultRouteSettings", {}), stage.get("RouteSettings", {})
    rates = {
        "DefaultRouteSettings": (default, "ReadsPerSecond"),
        **{key: (found, "WebhooksPerSecond" if "webhooks" in key else "WritesPerSecond") for key, found in routes.items()},
    }
    wrong = [
        f"{key}: {found.get('ThrottlingRateLimit')} instead of {stack.parameters[name]}"
        for key, (found, name) in rates.items()
        if float(found.get("ThrottlingRateLimit", -1)) != float(stack.parameters[name])
    ]
    if wrong:
        yield failed(about, "; ".join(wrong[:3]), REDEPLOY)
    else:
        yield ok(about, f"{stack.parameters['ReadsPerSecond']} reads a second, and {len(routes)} routes with limits of their own")


def rules(stack: Deployed) -> Iterator[Line]:
    """Where Stripe's events come by EventBridge, the rule that hands them on is enabled."""
    bus = stack.parameters.get("StripeEventBus")
    for logical, id_ in stack.of_type("AWS::Events::Rule").items() if bus else ():
        about, name, lines = f"rule {logical}", id_.rpartition("|")[2], list[Line]()
        with absences(about, lines):
            state = stack.client("events").describe_rule(Name=name, EventBusName=bus)["State"]
            enable = f"aws events enable-rule --name {name} --event-bus-name {bus}"
            lines.append(ok(about, "enabled") if state.startswith("ENABLED") else failed(about, f"it is {state}", enable))
        yield from lines


def schedule(stack: Deployed) -> Iterator[Line]:
    about = "schedule of reconcile"
    found = [each for each in stack.client("scheduler").list_schedules()["Schedules"] if _is_reconciles(stack, each)]
    if not found:
        yield failed(about, "no schedule invokes reconcile, so nothing that got lost is repaired", REDEPLOY)
    elif found[0]["State"] != "ENABLED":
        yield failed(about, "it is disabled, so nothing that got lost is repaired", REDEPLOY)
    else:
        yield ok(about, "enabled")


def _is_reconciles(stack: Deployed, schedule: dict[str, Any]) -> bool:
    return str(schedule.get("Target", {}).get("Arn", "")).endswith(f":function:{stack.physical('Reconcile')}")
