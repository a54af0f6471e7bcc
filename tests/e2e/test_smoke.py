"""The smoke test says what works in a deployed stack, names what was broken, pays for nothing and leaves nothing that stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from local.aws.emulator import REGION
from local.stack import API_KEY_SECRET, STACK, WEBHOOK_SECRET_SECRET
from tests.e2e.iam_user import EmulatorSession, policy, user
from tests.e2e.stack_driver import StackDriver
from tools.smoke import edge, flows, keys, permissions, settings, stack
from tools.smoke.__main__ import checks, smoke
from tools.smoke.report import Check, Line, run
from tools.smoke.stack import DAY_SECONDS, Deployed

Break = Callable[[StackDriver, Deployed], Callable[[], Any]]
UNCHECKED = {"table titleholder, warm throughput", "right to resume", "functions", "recursion"}
"""MiniStack has no warm throughput. It asks for the rights to change a function's concurrency and recursion where they are read, and for a
right on * where SimulatePrincipalPolicy takes a role."""


@pytest.fixture(scope="module")
def deployed(driver: StackDriver) -> Deployed:
    return stack.find(STACK, REGION, session=EmulatorSession(driver), patience=100)


def objects(driver: StackDriver) -> list[str]:
    found = driver.stack.client("s3").list_objects_v2(Bucket=driver.stack.outputs["BucketName"]).get("Contents", ())
    return [each["Key"] for each in found]


def keys_table(driver: StackDriver) -> list[Any]:
    return list(driver.stack.client("dynamodb").scan(TableName=f"{STACK}-keys")["Items"])


def subscribe(driver: StackDriver, deployed: Deployed) -> None:
    """Subscribe to the topics of the alarms, as the operator does."""
    for topic in deployed.of_type("AWS::SNS::Topic").values():
        driver.stack.client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:000000000000:{STACK}-events-dead"
        )


def test_with_its_policy_checks_everything_pays_for_nothing_and_leaves_only_what_expires(
    idle_driver: StackDriver, deployed: Deployed
) -> None:
    subscribe(idle_driver, deployed)
    before, calls, sealed, files = idle_driver.table(), len(idle_driver.exchanges), keys_table(idle_driver), objects(idle_driver)
    said: list[str] = []
    with user(idle_driver, "smoke", policy(idle_driver, "smoke")) as session:
        lines = smoke(stack.find(STACK, REGION, session=session, patience=100), said.append)
    assert [str(line) for line in lines if line.state == "FAILED"] == []
    assert {line.about for line in lines if line.state == "could not be checked"} == UNCHECKED
    again = [line for check in (permissions.resuming, settings.functions, settings.recursion) for line in found_by(check, deployed)]
    assert [str(line) for line in again if line.state != "ok"] == []
    assert {line.about for line in lines} > {
        "route POST /verifications", "unsigned call", "forged webhook", "signed webhook", "events queue", "refresh queue",
        "workflow verify_account", "workflow verify_batch", "presigned upload", "right to resume, proved for a child of verify_batch",
    }  # fmt: skip
    after = idle_driver.table()
    made = {key: item for key, item in after.items() if before.get(key) != item}
    assert {key for key in before if key not in after} == set()
    kept = {key for key, item in made.items() if not key[0].startswith("AUDIT#") and not _expires_soon(item)}
    assert kept == set()
    assert not any(key[0] == "SECRET#ids" for key in made)
    assert {exchange.method for exchange in idle_driver.exchanges[calls:]} == {"GET"}
    assert (keys_table(idle_driver), objects(idle_driver)) == (sealed, files)
    held = (idle_driver.stack.webhook_secret, idle_driver.stack.api_key)
    assert not any(secret in text for secret in held for text in said)


def test_finds_no_fault_in_the_embedded_stack_as_make_up_leaves_it(idle_driver: StackDriver) -> None:
    embedded = stack.find(STACK, REGION, session=EmulatorSession(idle_driver), patience=100, local=True)
    with broken(idle_driver, embedded, no_subscription):
        # The workflows are the same with and without a subscription.
        lines = run([check for check in checks(embedded) if not check.name.startswith("workflow")], lambda _: None)
    assert [str(line) for line in lines if line.state == "FAILED"] == []
    [line] = [line for line in lines if line.about.startswith("alarm topic")]
    assert (line.state, line.todo) == ("could not be checked", "")


def test_where_a_rule_listens_to_the_bus_no_verdict_is_announced(driver: StackDriver, announcement_queue: str) -> None:
    deployed = stack.find(STACK, REGION, session=EmulatorSession(driver), patience=100)
    lines = found_by(flows.verify_account, deployed)
    assert [line.state for line in lines] == ["ok"] * 3
    assert lines[-1].found.startswith("RequestRefresh -> Outcome -> WaitForCooldown; stopped")
    found = driver.stack.client("sqs").receive_message(QueueUrl=announcement_queue, WaitTimeSeconds=1)
    assert "Messages" not in found


def test_without_a_right_says_what_could_not_be_checked(driver: StackDriver) -> None:
    with user(driver, "stranger", policy(driver, "smoke", "ReadSettings")) as session:
        deployed = stack.find(STACK, REGION, session=session)
        [line] = found_by(settings.alarms, deployed)
    assert (line.state, line.todo) == ("could not be checked", "give yourself the policy for the smoke test in docs/deploying.md")


def _expires_soon(item: dict[str, Any]) -> bool:
    return bool(item.get("smoke", {}).get("BOOL")) and int(item["expires_at"]["N"]) <= time.time() + DAY_SECONDS


# -- what is broken, and which check names it --------------------------------------------------------------------------------------------


def no_alarm_action(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    # An alarm over one metric: the emulator's answer about metric math can't be put back.
    cloudwatch, name = driver.stack.client("cloudwatch"), deployed.physical("RefreshDeadLetterAlarm")
    [alarm] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    read_only = ("AlarmArn", "AlarmConfigurationUpdatedTimestamp", "StateValue", "StateReason", "StateUpdatedTimestamp", "StateReasonData")
    # MiniStack describes an alarm of several metrics with an empty name, which it does not take.
    kept = {key: value for key, value in alarm.items() if key not in read_only and value != ""}
    cloudwatch.put_metric_alarm(**{**kept, "AlarmActions": []})
    return lambda: cloudwatch.put_metric_alarm(**kept)


def alarm_deleted(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    cloudwatch, restore = driver.stack.client("cloudwatch"), no_alarm_action(driver, deployed)
    cloudwatch.delete_alarms(AlarmNames=[deployed.physical("RefreshDeadLetterAlarm")])
    return restore


def alarm_actions_disabled(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    cloudwatch, names = driver.stack.client("cloudwatch"), [deployed.physical("RefreshDeadLetterAlarm")]
    cloudwatch.disable_alarm_actions(AlarmNames=names)
    return lambda: cloudwatch.enable_alarm_actions(AlarmNames=names)


def no_subscription(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    sns = driver.stack.client("sns")
    for topic in deployed.of_type("AWS::SNS::Topic").values():
        for each in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
            sns.unsubscribe(SubscriptionArn=each["SubscriptionArn"])
    return lambda: subscribe(driver, deployed)


def no_dashboard(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    cloudwatch, [name] = driver.stack.client("cloudwatch"), deployed.of_type("AWS::CloudWatch::Dashboard").values()
    body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
    cloudwatch.delete_dashboards(DashboardNames=[name])
    return lambda: cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body)


def key_disabled(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    kms, id_ = driver.stack.client("kms"), deployed.physical("VaultKey")
    kms.disable_key(KeyId=id_)
    return lambda: kms.enable_key(KeyId=id_)


def key_to_be_deleted(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    kms, id_ = driver.stack.client("kms"), deployed.physical("Key")
    kms.schedule_key_deletion(KeyId=id_, PendingWindowInDays=7)

    def restore() -> None:
        kms.cancel_key_deletion(KeyId=id_)
        kms.enable_key(KeyId=id_)

    return restore


def mapping_disabled(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    lambda_ = driver.stack.client("lambda")
    [found] = lambda_.list_event_source_mappings(FunctionName=deployed.physical("FetchOwners"))["EventSourceMappings"]
    lambda_.update_event_source_mapping(UUID=found["UUID"], Enabled=False)
    return lambda: lambda_.update_event_source_mapping(UUID=found["UUID"], Enabled=True)


def dead_letter(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    sqs, url = driver.stack.client("sqs"), deployed.outputs["RefreshDeadLetterQueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    return lambda: sqs.purge_queue(QueueUrl=url)


def _without(driver: StackDriver, deployed: Deployed, role: str, action: str) -> Callable[[], Any]:
    """Take an action away from a role's own policies."""
    iam, name = driver.stack.client("iam"), deployed.physical(role)
    restore = []
    for own in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=own)["PolicyDocument"]
        rest = [
            {**statement, "Action": [each for each in _list(statement["Action"]) if each != action]} for statement in document["Statement"]
        ]
        changed = {**document, "Statement": [statement for statement in rest if statement["Action"]]}
        iam.put_role_policy(RoleName=name, PolicyName=own, PolicyDocument=json.dumps(changed))
        restore.append({"RoleName": name, "PolicyName": own, "PolicyDocument": json.dumps(document)})
    return lambda: [iam.put_role_policy(**each) for each in restore]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def no_right_to_resume(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    return _without(driver, deployed, "StartRefreshRole", "states:SendTaskSuccess")


def no_right_to_send(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    return _without(driver, deployed, "VerifyAccountRole", "sqs:SendMessage")


def resumes_only_single_verifications(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    """The form of the ARN that has to be proved: a role that names the state machines alone may not resume the children of a map."""
    iam, name = driver.stack.client("iam"), deployed.physical("FetchOwnersRole")
    restore = _without(driver, deployed, "FetchOwnersRole", "states:SendTaskSuccess")
    arns = [deployed.outputs["StateMachineArn"], deployed.outputs["BatchStateMachineArn"]]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "states:SendTaskSuccess", "Resource": arns}]}
    iam.put_role_policy(RoleName=name, PolicyName="narrow", PolicyDocument=json.dumps(document))

    def back() -> None:
        iam.delete_role_policy(RoleName=name, PolicyName="narrow")
        restore()

    return back


def route_missing(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    gateway, api = driver.stack.client("apigatewayv2"), deployed.outputs["HttpApiId"]
    found = next(each for each in gateway.get_routes(ApiId=api)["Items"] if each["RouteKey"] == "GET /batches/{id}")
    gateway.delete_route(ApiId=api, RouteId=found["RouteId"])
    kept = {key: found[key] for key in ("RouteKey", "Target", "AuthorizationType")}
    return lambda: gateway.create_route(ApiId=api, **kept)


def route_public(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    gateway, api = driver.stack.client("apigatewayv2"), deployed.outputs["HttpApiId"]
    id_ = next(each["RouteId"] for each in gateway.get_routes(ApiId=api)["Items"] if each["RouteKey"] == "GET /verifications/{id}")
    gateway.update_route(ApiId=api, RouteId=id_, AuthorizationType="NONE")
    return lambda: gateway.update_route(ApiId=api, RouteId=id_, AuthorizationType="AWS_IAM")


def limits_lost(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    gateway, api = driver.stack.client("apigatewayv2"), deployed.outputs["HttpApiId"]
    kept = gateway.get_stage(ApiId=api, StageName="$default")["DefaultRouteSettings"]
    gateway.update_stage(ApiId=api, StageName="$default", DefaultRouteSettings={"ThrottlingRateLimit": 1.0, "ThrottlingBurstLimit": 1})
    return lambda: gateway.update_stage(ApiId=api, StageName="$default", DefaultRouteSettings=kept)


def no_backups(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    return _backups(driver, STACK, on=False)


def backups_of_keys(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    return _backups(driver, f"{STACK}-keys", on=True)


def _backups(driver: StackDriver, table: str, *, on: bool) -> Callable[[], Any]:
    dynamodb = driver.stack.client("dynamodb")

    def turn(on: bool) -> None:
        dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on})

    turn(on)
    return lambda: turn(not on)


def no_expiry(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    dynamodb = driver.stack.client("dynamodb")

    def turn(on: bool) -> None:
        dynamodb.update_time_to_live(TableName=STACK, TimeToLiveSpecification={"Enabled": on, "AttributeName": "expires_at"})

    turn(False)
    return lambda: turn(True)


def log_group_deleted(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    logs, name = driver.stack.client("logs"), deployed.physical("DocsLogs")
    logs.delete_log_group(logGroupName=name)

    def restore() -> None:
        logs.create_log_group(logGroupName=name)
        logs.put_retention_policy(logGroupName=name, retentionInDays=30)

    return restore


def recursion_stopped(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    lambda_, name = driver.stack.client("lambda"), deployed.physical("StartRefresh")
    lambda_.put_function_recursion_config(FunctionName=name, RecursiveLoop="Terminate")
    return lambda: lambda_.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")


def never_runs(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    lambda_, name = driver.stack.client("lambda"), deployed.physical("Reconcile")
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    return lambda: lambda_.delete_function_concurrency(FunctionName=name)


def no_schedule(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    scheduler = driver.stack.client("scheduler")
    found = next(each for each in scheduler.list_schedules()["Schedules"] if "Reconcile" in each["Target"]["Arn"])
    kept = scheduler.get_schedule(Name=found["Name"], GroupName=found["GroupName"])
    wanted = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target", "State")
    kept = {key: kept[key] for key in wanted if key in kept}
    scheduler.update_schedule(**{**kept, "State": "DISABLED"})
    return lambda: scheduler.update_schedule(**kept)


def rule_disabled(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    events, [id_] = driver.stack.client("events"), deployed.of_type("AWS::Events::Rule").values()
    rule = {"Name": id_.rpartition("|")[2], "EventBusName": deployed.parameters["StripeEventBus"]}
    events.disable_rule(**rule)
    return partial(events.enable_rule, **rule)


def may_not_log(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    iam, policy_ = driver.stack.client("iam"), "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    attachment = {"RoleName": deployed.physical("DocsRole"), "PolicyArn": policy_}
    iam.detach_role_policy(**attachment)
    return partial(iam.attach_role_policy, **attachment)


def _secret(driver: StackDriver, name: str, text: str) -> Callable[[], Any]:
    manager = driver.stack.client("secretsmanager")
    kept = manager.get_secret_value(SecretId=name)["SecretString"]
    manager.put_secret_value(SecretId=name, SecretString=text)
    # Twice, so that the broken value is not the previous version either.
    return lambda: [manager.put_secret_value(SecretId=name, SecretString=kept) for _ in range(2)]


def placeholder_secret(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    return _secret(driver, WEBHOOK_SECRET_SECRET, "replace me")


def key_of_other_mode(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    return _secret(driver, API_KEY_SECRET, "rk_live_" + "x" * 24)


def key_unknown_to_stripe(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    driver.sim.configure(api_keys=["sk_test_another"])
    return lambda: driver.sim.configure(api_keys=None)


def key_may_not_read_events(driver: StackDriver, deployed: Deployed) -> Callable[[], Any]:
    driver.sim.configure(denied={driver.stack.api_key: ["GET /v1/events"]})
    return lambda: driver.sim.configure(denied={})


BROKEN: dict[Break, tuple[Callable[[Deployed], Any], str]] = {
    no_alarm_action: (settings.alarms, "alarm RefreshDeadLetterAlarm"),
    alarm_deleted: (settings.alarms, "alarm RefreshDeadLetterAlarm"),
    alarm_actions_disabled: (settings.alarms, "alarm RefreshDeadLetterAlarm"),
    no_subscription: (settings.alarms, "alarm topic"),
    no_dashboard: (settings.dashboard, "dashboard"),
    recursion_stopped: (settings.recursion, "recursion of StartRefresh"),
    key_disabled: (settings.kms_keys, "KMS key VaultKey"),
    key_to_be_deleted: (settings.kms_keys, "KMS key Key"),
    mapping_disabled: (settings.queues, "EventsQueue"),
    dead_letter: (settings.queues, "RefreshDeadLetterQueue"),
    no_right_to_resume: (permissions.roles, "role StartRefreshRole"),
    may_not_log: (permissions.roles, "role DocsRole"),
    rule_disabled: (settings.rules, "rule ReceiveEventFromStripe"),
    no_right_to_send: (permissions.roles, "role VerifyAccountRole"),
    resumes_only_single_verifications: (permissions.resuming, "right to resume a child of verify_batch"),
    route_missing: (edge.routes, "route GET /batches/{id}"),
    route_public: (edge.refusals, "unsigned call"),
    limits_lost: (settings.throttling, "limits of routes"),
    no_backups: (settings.tables, "point-in-time recovery"),
    backups_of_keys: (settings.tables, "no backups of the keys table"),
    no_expiry: (settings.tables, "expiry of items"),
    log_group_deleted: (settings.logs, "log group"),
    never_runs: (settings.functions, "function Reconcile"),
    no_schedule: (settings.schedule, "schedule of reconcile"),
    placeholder_secret: (lambda deployed: keys.checks(deployed)["webhook's signing secret"](), "webhook's signing secret"),
    key_of_other_mode: (lambda deployed: keys.checks(deployed)["Stripe's API key"](), "mode of Stripe's key"),
    key_may_not_read_events: (keys.stripe, "Stripe's key reads /v1/events"),
}


@contextmanager
def broken(driver: StackDriver, deployed: Deployed, how: Break) -> Iterator[None]:
    restore = how(driver, deployed)
    try:
        yield
    finally:
        restore()


def found_by(check: Callable[[Deployed], Any], deployed: Deployed) -> list[Line]:
    return list(Check("check", lambda: check(deployed)).lines())


@pytest.mark.parametrize("how", BROKEN, ids=lambda how: how.__name__)
def test_names_what_is_broken_and_nothing_else(driver: StackDriver, deployed: Deployed, how: Break) -> None:
    check, about = BROKEN[how]
    with broken(driver, deployed, how):
        lines = found_by(check, deployed)
    healthy = [line for line in found_by(check, deployed) if line.state == "FAILED"]
    named, *more = [line for line in lines if line.state == "FAILED" and line not in healthy]
    assert named.about.startswith(about)
    assert named.todo
    # A route that is public takes every wrong call.
    assert not more or how is route_public
