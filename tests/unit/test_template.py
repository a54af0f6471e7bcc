"""Our own lint rules for template.yaml: logs that end, dead letters that are noticed, times that fit into each other, one public route."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.support import rights, urls
from tests.support.functions import FUNCTIONS, ROOT
from tests.support.template import called_by, deployed, folder, resources, template
from titleholder import store
from titleholder.aws import queue_consumer
from titleholder.domain.refresh_policy import LEASE_SECONDS
from titleholder.settings import Settings
from titleholder.stripe_api import gateway

GLOBALS = template()["Globals"]["Function"]
NAMED = resources("AWS::Serverless::Function")
QUEUES = resources("AWS::SQS::Queue")
ALARMS = resources("AWS::CloudWatch::Alarm")
ROUTES = resources("AWS::ApiGatewayV2::Route")
ROUTE_RESOURCES = {name: resource for name, resource in template()["Resources"].items() if name in ROUTES}
DOCS = {"GET /docs", "GET /openapi.json"}
PUBLIC = {"POST /webhooks/stripe", *DOCS}
SLOW = {name for name, function in NAMED.items() if "STRIPE_API_KEY_SECRET_NAME" in function.get("Environment", {}).get("Variables", {})}


def target(reference: Any) -> str:
    """The logical id that a Ref or GetAtt names."""
    if "Ref" in reference:
        return str(reference["Ref"])
    attribute = reference["Fn::GetAtt"]
    return str(attribute[0] if isinstance(attribute, list) else attribute.partition(".")[0])


def timeout(function: dict[str, Any]) -> int:
    return int(function.get("Timeout", GLOBALS["Timeout"]))


def variables(function: dict[str, Any]) -> dict[str, Any]:
    return {**GLOBALS["Environment"]["Variables"], **function.get("Environment", {}).get("Variables", {})}


def consumed() -> list[tuple[str, str]]:
    """Which function consumes which queue."""
    return [
        (name, target(event["Properties"]["Queue"]))
        for name, function in NAMED.items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "SQS"
    ]


@pytest.mark.parametrize("name", NAMED)
class TestFunction:
    def test_has_a_log_group_of_its_own_that_forgets(self, name: str) -> None:
        group = target(NAMED[name]["LoggingConfig"]["LogGroup"])
        assert resources("AWS::Logs::LogGroup")[group]["RetentionInDays"]
        users = [other for other, function in NAMED.items() if target(function["LoggingConfig"]["LogGroup"]) == group]
        assert users == [name]

    def test_logs_json_and_is_traced(self, name: str) -> None:
        assert NAMED[name]["LoggingConfig"]["LogFormat"] == "JSON"
        assert NAMED[name].get("Tracing", GLOBALS["Tracing"]) == "Active"

    def test_never_logs_events(self, name: str) -> None:
        assert variables(NAMED[name])["POWERTOOLS_LOGGER_LOG_EVENT"] == "false"

    def test_has_rights_of_its_own_that_name_what_they_are_for(self, name: str) -> None:
        for policy in NAMED[name]["Policies"]:
            for statement in policy["Statement"]:
                assert statement["Resource"] != "*"
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not [action for action in actions if action.endswith("*")]

    def test_stands_in_its_folder(self, name: str) -> None:
        assert NAMED[name]["CodeUri"] == "functions"
        assert (FUNCTIONS / folder(name) / "app.py").is_file()

    def test_is_built_by_its_makefile_which_ships_bytecode(self, name: str) -> None:
        assert template()["Resources"][name]["Metadata"]["BuildMethod"] == "makefile"

    def test_holds_no_secret_in_its_environment(self, name: str) -> None:
        for variable, value in variables(NAMED[name]).items():
            assert "SECRET" not in variable or variable.endswith("_SECRET_NAME")
            assert not str(value).startswith(("sk_", "rk_", "whsec_"))

    def test_understands_its_environment(self, name: str) -> None:
        numbers = {
            "STRIPE_CALLS_PER_SECOND": "25",
            "STRIPE_CALLS_PER_SECOND_IN_ALL": "100",
            "SETTLE_TIMEOUT_SECONDS": "900",
            "MAX_WAIT_SECONDS": "604800",
            "STRIPE_MODE": "test",
        }
        numbers |= {"SNAPSHOT_RETENTION_DAYS": "400", "CLAIM_RETENTION_DAYS": "400"}
        numbers["AUDIT_RETENTION_DAYS"] = "2557"
        numbers["BATCH_CONCURRENCY"] = "2000"
        numbers["CLAIMS_PER_ACCOUNT_PER_DAY"] = "100"
        numbers |= {"STRIPE_API_BASE": "", "AWS_ENDPOINT_URL": ""}
        given = {variable: numbers.get(variable, "x") for variable in variables(NAMED[name])}
        assert Settings.from_environment(given).table == "x"

    def test_that_is_called_asynchronously_has_a_failure_destination(self, name: str) -> None:
        kinds = {event["Type"] for event in NAMED[name].get("Events", {}).values()}
        if kinds & {"Schedule", "ScheduleV2", "EventBridgeRule", "S3", "SNS"}:
            destination = NAMED[name]["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"]
            assert target(destination) in QUEUES


@pytest.mark.parametrize(
    ("action", "needed"),
    [
        ("states:StartExecution", {"SETTLE_TIMEOUT_SECONDS", "MAX_WAIT_SECONDS"}),
        # A heartbeat keeps the time in the queue out of the settle timeout, so it has to know it.
        ("states:SendTaskHeartbeat", {"SETTLE_TIMEOUT_SECONDS"}),
    ],
)
def test_function_that_starts_or_holds_workflows_knows_their_times(action: str, needed: set[str]) -> None:
    found = {name for name, properties in NAMED.items() if action in str(properties["Policies"])}
    assert found
    assert {name for name in found if not needed <= variables(NAMED[name]).keys()} == set()


def test_every_function_is_deployed() -> None:
    folders = {path.parent.name for path in FUNCTIONS.glob("*/app.py")}
    assert folders == {folder(name) for name in NAMED}


@pytest.mark.parametrize("name", sorted(SLOW))
def test_function_that_calls_stripe_outlives_the_slowest_call(name: str) -> None:
    assert timeout(NAMED[name]) > gateway.LONGEST_CALL_SECONDS


def test_lease_is_longer_than_the_slowest_call_and_shorter_than_the_function_lives() -> None:
    assert gateway.LONGEST_CALL_SECONDS < LEASE_SECONDS < timeout(NAMED["StartRefresh"])


@pytest.mark.parametrize(("function", "queue"), consumed())
class TestConsumedQueue:
    def test_hides_a_message_for_longer_than_its_consumer_may_take(self, function: str, queue: str) -> None:
        assert timeout(NAMED[function]) < QUEUES[queue]["VisibilityTimeout"]

    def test_has_a_dead_letter_queue_that_keeps_longer_than_itself(self, function: str, queue: str) -> None:
        redrive = QUEUES[queue]["RedrivePolicy"]
        dead = QUEUES[target(redrive["deadLetterTargetArn"])]
        assert dead["MessageRetentionPeriod"] > QUEUES[queue]["MessageRetentionPeriod"]

    def test_lets_the_function_bury_a_message_with_its_reason_before_the_queue_does(self, function: str, queue: str) -> None:
        assert QUEUES[queue]["RedrivePolicy"]["maxReceiveCount"] > queue_consumer.MOST_RECEIVES

    def test_failures_of_a_batch_are_told_one_by_one(self, function: str, queue: str) -> None:
        (event,) = [event for event in NAMED[function]["Events"].values() if event["Type"] == "SQS"]
        assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_every_dead_letter_is_noticed() -> None:
    dead = {target(queue["RedrivePolicy"]["deadLetterTargetArn"]) for queue in QUEUES.values() if "RedrivePolicy" in queue}
    dead |= {name for name in QUEUES if "DeadLetter" in name}
    for name in dead:
        alarms = [
            alarm
            for alarm in ALARMS.values()
            if any(dimension["Name"] == "QueueName" and target(dimension["Value"]) == name for dimension in alarm["Dimensions"])
        ]
        (alarm,) = alarms
        assert (alarm["Threshold"], alarm["ComparisonOperator"], alarm["MetricName"]) == (
            0, "GreaterThanThreshold", "ApproximateNumberOfMessagesVisible",
        )  # fmt: skip


def test_rule_hands_on_ids_only_and_keeps_no_event_that_it_could_not_deliver() -> None:
    """A failure destination keeps what the function was given; a dead-letter queue of the rule would keep the whole event."""
    rules = made_of("AWS::Events::Rule")
    targets = [each for rule in rules.values() for each in rule["Targets"]]
    assert targets
    for each in targets:
        assert "DeadLetterConfig" not in each
        # What is picked of it: tests/unit/test_stripe_events.py.
        assert set(each["InputTransformer"]["InputPathsMap"].values()) <= {"$.source"} | {
            f"$.detail.{name}"
            for name in (
                "id", "object", "type", "livemode", "created", "account", "context", "related_object.id", "data.object.id",
                "data.object.object",
            )
        }  # fmt: skip
        assert not re.search(r"<aws\.events\.", each["InputTransformer"]["InputTemplate"])


def test_event_that_the_rule_could_not_deliver_is_noticed() -> None:
    (rule,) = made_of("AWS::Events::Rule").values()
    (alarm,) = [alarm for alarm in ALARMS.values() if alarm["MetricName"] == "FailedInvocations"]
    # A custom bus's metrics have both dimensions.
    assert {each["Name"]: each["Value"] for each in alarm["Dimensions"]} == {"EventBusName": rule["EventBusName"], "RuleName": rule["Name"]}


@pytest.mark.parametrize("metric", ["EventMalformed", "SecretUnusable"])
def test_what_an_operator_has_to_see_at_once_raises_an_alarm(metric: str) -> None:
    (alarm,) = [alarm for alarm in ALARMS.values() if alarm["MetricName"] == metric]
    assert (alarm["Namespace"], alarm["Statistic"], alarm["Threshold"]) == ("Titleholder", "Sum", 0)


def test_queues_are_encrypted() -> None:
    assert all(queue.get("SqsManagedSseEnabled") or queue.get("KmsMasterKeyId") for queue in QUEUES.values())


def test_failed_workflow_is_noticed() -> None:
    assert any(alarm["MetricName"] == "ExecutionsFailed" for alarm in ALARMS.values())


def test_bucket_is_encrypted_private_tls_only_and_forgets() -> None:
    (bucket,) = resources("AWS::S3::Bucket").values()
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert rules["manifests"]["ExpirationInDays"] <= 3
    assert rules["uploads"]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] <= 3
    # Work files outlast the longest wait.
    assert rules["batches"]["ExpirationInDays"] * 86_400 > template()["Parameters"]["MaxWaitSeconds"]["MaxValue"]
    # A manifest that was deleted is gone.
    assert "VersioningConfiguration" not in bucket
    (policy,) = resources("AWS::S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_whoever_wakes_workflows_may_wake_the_children_of_batches() -> None:
    woken = [
        statement["Resource"]
        for function in NAMED.values()
        for policy in function["Policies"]
        for statement in policy["Statement"]
        if "states:SendTaskSuccess" in statement["Action"]
    ]
    assert woken.count({"Ref": "VerifyAccount"}) == len(woken) / 2
    # Only children wait, and they bear their Map's label behind the workflow's name.
    assert woken.count({"Fn::Sub": "${VerifyBatch}/*"}) == len(woken) / 2


def test_only_stripes_deliveries_come_in_unauthorised() -> None:
    public = {route["RouteKey"] for route in ROUTES.values() if route.get("AuthorizationType", "NONE") == "NONE"}
    assert public == {"POST /webhooks/stripe", *DOCS}
    for route in ROUTES.values():
        if route["RouteKey"] not in public:
            assert route["AuthorizationType"] == {"Fn::If": ["UseJwt", "JWT", "AWS_IAM"]}


def test_documentation_exists_only_where_it_was_asked_for() -> None:
    assert template()["Parameters"]["ServeDocs"]["Default"] == "false"
    assert template()["Conditions"]["HasDocs"] == {"Fn::Equals": [{"Ref": "ServeDocs"}, "true"]}
    conditions = {resource["Properties"]["RouteKey"]: resource.get("Condition") for resource in ROUTE_RESOURCES.values()}
    assert {key for key, condition in conditions.items() if condition} == DOCS
    assert {conditions[key] for key in DOCS} == {"HasDocs"}


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route["RouteKey"] not in PUBLIC])
def test_token_needs_the_scope_of_what_the_route_does(name: str) -> None:
    method, path = ROUTES[name]["RouteKey"].split()
    scope = "read" if method == "GET" else "erase" if (method, path) == ("DELETE", "/accounts/{account}") else "verify"
    assert ROUTES[name]["AuthorizationScopes"] == {"Fn::If": ["UseJwt", [scope], {"Ref": "AWS::NoValue"}]}
    assert ROUTES[name]["AuthorizerId"] == {"Fn::If": ["UseJwt", {"Ref": "JwtAuthorizer"}, {"Ref": "AWS::NoValue"}]}


@pytest.mark.parametrize("key", [route["RouteKey"] for route in ROUTES.values()])
def test_route_is_throttled_by_a_parameter(key: str) -> None:
    (stage,) = resources("AWS::ApiGatewayV2::Stage").values()
    kind = "WebhooksPerSecond" if key == "POST /webhooks/stripe" else "ReadsPerSecond" if key.startswith("GET ") else "WritesPerSecond"
    limits = stage["RouteSettings"].get(key, stage["DefaultRouteSettings"])
    assert limits == {"ThrottlingBurstLimit": {"Ref": kind}, "ThrottlingRateLimit": {"Ref": kind}}


def test_stage_waits_for_the_routes_that_it_limits() -> None:
    (resource,) = [resource for resource in template()["Resources"].values() if resource["Type"] == "AWS::ApiGatewayV2::Stage"]
    limited = {name for name, route in ROUTES.items() if route["RouteKey"] in resource["Properties"]["RouteSettings"]}
    assert limited <= set(resource["DependsOn"]) <= set(ROUTES)
    assert len(limited) == len(resource["Properties"]["RouteSettings"])


def test_browsers_of_other_origins_may_call_only_where_they_are_named() -> None:
    (api,) = resources("AWS::ApiGatewayV2::Api").values()
    condition, allowed, otherwise = api["CorsConfiguration"]["Fn::If"]
    assert (condition, otherwise) == ("HasCorsOrigins", {"Ref": "AWS::NoValue"})
    assert allowed["AllowOrigins"] == {"Ref": "CorsOrigins"}
    assert template()["Parameters"]["CorsOrigins"]["Default"] == ""


class TestUrlParameters:
    """What CloudFormation refuses before it deploys. It matches the whole value, or each value of a list."""

    def takes(self, parameter: str, value: str) -> bool:
        return re.fullmatch(template()["Parameters"][parameter]["AllowedPattern"], value) is not None

    def test_each_has_a_pattern_and_says_what_it_takes(self) -> None:
        named = {name for name in template()["Parameters"] if re.search("Url|Base$|Issuer|Origins", name)}
        assert named == {"StripeApiBase", "JwtIssuer", "CorsOrigins", "AwsEndpointUrl"}
        assert all("ConstraintDescription" in template()["Parameters"][name] for name in named - {"AwsEndpointUrl"})

    @pytest.mark.parametrize("parameter", ["StripeApiBase", "JwtIssuer"])
    @pytest.mark.parametrize(
        "url", ["", *urls.HERE, *urls.HTTPS, "https://login.example.com/realms/one/", "https://cognito-idp.eu-west-1.amazonaws.com/eu_1"]
    )
    def test_url_of_this_machine_or_over_tls_is_taken(self, parameter: str, url: str) -> None:
        assert self.takes(parameter, url)

    @pytest.mark.parametrize("parameter", ["StripeApiBase", "JwtIssuer"])
    @pytest.mark.parametrize("url", [*urls.PUBLIC, *urls.WRONG])
    def test_url_over_plain_http_or_none_is_refused(self, parameter: str, url: str) -> None:
        assert not self.takes(parameter, url)

    @pytest.mark.parametrize("url", urls.ELSEWHERE)
    def test_server_beside_an_emulator_is_left_to_the_settings(self, url: str) -> None:
        assert self.takes("StripeApiBase", url)
        assert not self.takes("JwtIssuer", url)

    @pytest.mark.parametrize(
        "origin", ["", "https://app.example.com", "https://app.example.com:8443", "http://localhost:3000", "http://127.0.0.1:5173"]
    )
    def test_origin_is_taken(self, origin: str) -> None:
        assert self.takes("CorsOrigins", origin)

    @pytest.mark.parametrize(
        "origin",
        ["*", "https://*", "http://*", "https://*.example.com", "https://app.example.com/", "https://app.example.com/page", "null",
         "http://app.example.com", "http://localhost.example.com", "https://a@b.example.com", "app.example.com", "https://", "https://a b"],
    )  # fmt: skip
    def test_origin_that_any_page_or_none_may_have_is_refused(self, origin: str) -> None:
        assert not self.takes("CorsOrigins", origin)


def test_table_is_encrypted_by_a_key_of_the_customers_backed_up_and_forgets() -> None:
    table = resources("AWS::DynamoDB::Table")["Table"]
    assert table["SSESpecification"]["SSEType"] == "KMS"
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_index_of_what_is_not_finished_bears_no_personal_data() -> None:
    table = resources("AWS::DynamoDB::Table")["Table"]
    for index in table.get("GlobalSecondaryIndexes", ()):
        projected = {"pk", "sk", *(key["AttributeName"] for key in index["KeySchema"]), *index["Projection"].get("NonKeyAttributes", ())}
        assert index["Projection"]["ProjectionType"] != "ALL"
        assert not projected & {"claim", "owners", "verdict", "task_token"}


def test_workflows_of_the_template_exist_and_get_what_they_name() -> None:
    for machine in resources("AWS::Serverless::StateMachine").values():
        text = (ROOT / machine["DefinitionUri"]).read_text()
        for name in machine.get("DefinitionSubstitutions", {}):
            assert "${" + name + "}" in text
        assert json.loads(text)["StartAt"]


def test_access_log_holds_neither_body_nor_query() -> None:
    for stage in resources("AWS::ApiGatewayV2::Stage").values():
        log = stage["AccessLogSettings"]["Format"]
        assert not any(word in log for word in ("path", "query", "header", "authorizer", "body"))


def test_every_finding_that_is_passed_over_has_its_reason_beside_it() -> None:
    for name, resource in template()["Resources"].items():
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", ()):
            assert set(skip) == {"id", "comment"}, name
            assert len(skip["comment"]) > 15, name


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


def test_queue_has_one_policy_since_a_second_would_replace_the_first() -> None:
    named = [target(reference) for policy in resources("AWS::SQS::QueuePolicy").values() for reference in policy["Queues"]]
    assert sorted(named) == sorted(QUEUES)


def test_buckets_are_closed_and_encrypted() -> None:
    for bucket in resources("AWS::S3::Bucket").values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["BucketEncryption"]


def test_log_groups_are_encrypted_by_the_customers_key() -> None:
    for group in resources("AWS::Logs::LogGroup").values():
        assert target(group["KmsKeyId"]) == "Key"
        assert group["RetentionInDays"]


def test_tables_of_live_mode_cannot_be_deleted_by_mistake() -> None:
    assert template()["Conditions"]["IsLive"] == {"Fn::Equals": [{"Ref": "StripeMode"}, "live"]}
    for name, table in resources("AWS::DynamoDB::Table").items():
        assert table["DeletionProtectionEnabled"] == {"Fn::If": ["IsLive", True, False]}
        assert template()["Resources"][name]["DeletionPolicy"].startswith("Retain")


def test_nobody_may_change_the_record_of_who_asked_for_what_or_the_secret_of_ids() -> None:
    (statement,) = resources("AWS::DynamoDB::Table")["Table"]["ResourcePolicy"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    changing = {"UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLUpdate", "PartiQLDelete"}
    assert set(statement["Action"]) == {f"dynamodb:{action}" for action in changing}
    assert statement["Condition"] == {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["AUDIT#*", "SECRET#*"]}}


class TestRightsOnTheTables:
    """Each function touches the kinds of items that are its own; the calls of all other tests are held against this too."""

    KINDS = frozenset(re.findall(r"\| ([A-Z]+)#", store.__doc__ or ""))

    def rights(self, name: str) -> set[tuple[str, str]]:
        """Action and kind of item, on the table."""
        return {
            (action, pattern.removesuffix("#*"))
            for actions, where, patterns in rights.statements(folder(name))
            if "Table" in where
            for action in actions
            for pattern in patterns or ["everything"]
        }

    @pytest.mark.parametrize("name", NAMED)
    def test_are_by_kind_of_item(self, name: str) -> None:
        assert {kind for _, kind in self.rights(name)} <= self.KINDS
        actions = {action for action, _ in self.rights(name)}
        assert actions <= {"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem"}

    @pytest.mark.parametrize("name", ["ReceiveWebhook", "ReceiveEvent"])
    def test_of_what_takes_in_events_are_to_put_events(self, name: str) -> None:
        assert self.rights(name) == {("PutItem", "EVENT")}

    @pytest.mark.parametrize("name", NAMED)
    def test_over_the_record_are_to_add_to_it(self, name: str) -> None:
        assert {action for action, kind in self.rights(name) if kind == "AUDIT"} <= {"PutItem"}
        assert {action for action, kind in self.rights(name) if kind == "SECRET"} <= {"GetItem", "PutItem"}

    @pytest.mark.parametrize("name", NAMED)
    def test_do_not_reach_a_verdict_but_by_updating_it(self, name: str) -> None:
        assert ("DeleteItem", "VERIFICATION") not in self.rights(name)

    def test_are_judged_as_iam_does(self) -> None:
        assert rights.allowed("receive_webhook", "PutItem", "Table", "EVENT")
        assert not rights.allowed("receive_webhook", "PutItem", "Table", "VERIFICATION")
        assert not rights.allowed("receive_webhook", "GetItem", "Table", "EVENT")
        assert not rights.allowed("receive_webhook", "PutItem", "KeysTable", "EVENT")
        assert rights.allowed("reconcile", "Query", "Table/index/open", "")


def test_guessing_of_owners_is_limited_and_watched() -> None:
    limit = template()["Parameters"]["ClaimsPerAccountPerDay"]
    assert (limit["Default"], limit["MinValue"]) == (100, 1)
    alarm = ALARMS["ClaimLimitAlarm"]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["Statistic"]) == ("ClaimLimitExceeded", 0, "Sum")
    for name in ("Api", "ImportManifest"):
        assert variables(NAMED[name])["CLAIMS_PER_ACCOUNT_PER_DAY"] == {"Ref": "ClaimsPerAccountPerDay"}


def test_reading_of_owners_is_watched() -> None:
    assert any(alarm["MetricName"] == "OwnersRead" for alarm in ALARMS.values())


def test_a_failure_of_the_matcher_raises_an_alarm_at_once() -> None:
    alarm = ALARMS["MatcherFailedAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"], alarm["Period"]) == ("Titleholder", "MatcherFailed", 0, 60)
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "titleholder"}]


def made_of(type_: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type that SAM makes of the template, by logical id."""
    return {name: resource["Properties"] for name, resource in deployed().items() if resource["Type"] == type_}


ROLES = made_of("AWS::IAM::Role")


class TestCallersOfFunctions:
    """API Gateway, EventBridge and the scheduler: the embedded AWS lets them call whatever they name."""

    def permitted(self, caller: str) -> dict[str, str]:
        """By function, on whose behalf this caller may call it."""
        found = {}
        for permission in made_of("AWS::Lambda::Permission").values():
            assert permission["Action"] == "lambda:InvokeFunction"
            if permission["Principal"] == caller:
                # With SnapStart, the function's published version: see TestSnapStart.
                name = target(permission["FunctionName"].get("Fn::If", [permission["FunctionName"]])[-1])
                assert name not in found
                found[name] = spelt(permission["SourceArn"])
        return found

    def test_api_gateway_may_call_a_function_for_its_routes_and_no_other(self) -> None:
        called: dict[str, list[str]] = {}
        for route in ROUTES.values():
            called.setdefault(called_by(route), []).append(route["RouteKey"].replace(" ", ""))
        permitted = self.permitted("apigateway.amazonaws.com")
        assert set(permitted) == set(called)
        for name, keys in called.items():
            api, _, rest = permitted[name].partition("/")
            assert api.endswith(":HttpApi")
            assert all(fnmatchcase(f"$default/{key}", rest) for key in keys), name

    def test_bus_may_call_the_function_that_its_rule_names(self) -> None:
        rules = made_of("AWS::Events::Rule")
        named = {target(each["Arn"]): f"{name}.Arn" for name, rule in rules.items() for each in rule["Targets"]}
        assert self.permitted("events.amazonaws.com") == named
        assert not [each for rule in rules.values() for each in rule["Targets"] if "RoleArn" in each]

    def test_nobody_else_may_call_any(self) -> None:
        assert {permission["Principal"] for permission in made_of("AWS::Lambda::Permission").values()} == {
            "apigateway.amazonaws.com",
            "events.amazonaws.com",
        }

    def test_scheduler_may_call_the_function_that_its_schedule_names_and_do_nothing_else(self) -> None:
        schedules = made_of("AWS::Scheduler::Schedule").values()
        for schedule in schedules:
            role = ROLES[target(schedule["Target"]["RoleArn"])]
            [policy] = role["Policies"]
            [statement] = policy["PolicyDocument"]["Statement"]
            assert (statement["Effect"], statement["Action"]) == ("Allow", "lambda:InvokeFunction")
            assert statement["Resource"] == schedule["Target"]["Arn"]
            assert "ManagedPolicyArns" not in role
            assert assumed_by(role) == {"scheduler.amazonaws.com"}
        assert schedules


class TestRoles:
    """All of them, as SAM makes them."""

    def test_each_is_of_one_service(self) -> None:
        kinds = {name: assumed_by(role) for name, role in ROLES.items()}
        machines = {f"{name}Role" for name in resources("AWS::Serverless::StateMachine")}
        functions = {f"{name}Role" for name in NAMED}
        assert {name for name, services in kinds.items() if services == {"lambda.amazonaws.com"}} == functions
        assert {name for name, services in kinds.items() if services == {"states.amazonaws.com"}} == machines
        assert {name for name in kinds if name not in functions | machines} == {"ReconcileOftenRole"}

    def test_what_aws_manages_is_for_logs_traces_and_queues_that_are_event_sources(self) -> None:
        consumers = {function for function, _ in consumed()}
        for name in NAMED:
            managed = {arn.rpartition("/")[2] for arn in ROLES[f"{name}Role"]["ManagedPolicyArns"]}
            more = {"AWSLambdaSQSQueueExecutionRole"} if name in consumers else set()
            assert managed == {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"} | more
        for name in resources("AWS::Serverless::StateMachine"):
            assert [arn.rpartition("/")[2] for arn in ROLES[f"{name}Role"]["ManagedPolicyArns"]] == ["AWSXrayWriteOnlyAccess"]

    def test_none_names_a_permission_twice(self) -> None:
        for name, role in ROLES.items():
            held = [
                (action, json.dumps(where), json.dumps(statement.get("Condition")))
                for policy in role.get("Policies", ())
                for statement in policy["PolicyDocument"]["Statement"]
                for action in several(statement["Action"])
                for where in several(statement["Resource"])
            ]
            assert len(set(held)) == len(held), name


def assumed_by(role: dict[str, Any]) -> set[str]:
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", ["sts:AssumeRole"])
    return set(statement["Principal"]["Service"])


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def spelt(resource: Any) -> str:
    """An ARN in which each reference stands as what it names."""
    if "Fn::GetAtt" in resource:
        return ".".join(resource["Fn::GetAtt"]) if isinstance(resource["Fn::GetAtt"], list) else str(resource["Fn::GetAtt"])
    return re.sub(r"\${([^}]+)}", lambda name: name[1], resource["Fn::Sub"] if "Fn::Sub" in resource else str(resource["Ref"]))


CHILDREN = {
    # A Distributed Map starts its children as executions of its workflow, and looks after them.
    ("states:StartExecution", "stateMachine:{name}"),
    ("states:DescribeExecution", "execution:{name}:one"),
    ("states:StopExecution", "execution:{name}:one"),
    ("states:DescribeExecution", "execution:{name}/Label:one"),
    ("states:StopExecution", "execution:{name}/Label:one"),
}
WRITTEN_IN_PARTS = ("s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload")


def calls(machine: dict[str, Any]) -> set[tuple[str, str]]:
    """The calls that a workflow's definition makes: action, and one resource that it is made on."""
    substitutions = machine["DefinitionSubstitutions"]
    name, found = spelt(machine["Name"]), set()

    def named(parameter: str) -> str:
        return target(substitutions[parameter.strip("${}")])

    def key(parameters: dict[str, Any], kind: str) -> str:
        pattern = re.fullmatch(r"States\.Format\('([^']*)'.*\)", parameters[f"{kind}.$"])
        assert pattern
        return f"{named(parameters['Bucket'])}.Arn/{pattern[1].replace('{}', 'one')}"

    def walk(part: Any) -> None:
        resource = part.get("Resource") if isinstance(part, dict) else None
        match resource and resource.rpartition(":::")[2]:
            case "sqs:sendMessage.waitForTaskToken":
                found.add(("sqs:SendMessage", f"{named(part['Parameters']['QueueUrl'])}.Arn"))
            case "lambda:invoke":
                found.add(("lambda:InvokeFunction", f"{named(part['Parameters']['FunctionName'])}.Arn"))
            case "s3:getObject":
                found.add(("s3:GetObject", key(part["Parameters"], "Key")))
            case "s3:listObjectsV2":
                found.add(("s3:ListBucket", f"{named(part['Parameters']['Bucket'])}.Arn"))
                assert part["ReaderConfig"]["Transformation"] == "LOAD_AND_FLATTEN"
                found.add(("s3:GetObject", key(part["Parameters"], "Prefix") + "000000.jsonl"))
            case "s3:putObject":
                found.update((action, key(part["Parameters"], "Prefix") + "/one/manifest.json") for action in WRITTEN_IN_PARTS)
            case None:
                pass
            case other:
                raise AssertionError(f"What {other} needs is not known here.")
        if isinstance(part, dict) and part.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
            prefix = "arn:AWS::Partition:states:AWS::Region:AWS::AccountId:"
            found.update((action, prefix + where.format(name=name)) for action, where in CHILDREN)
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            walk(inner)

    walk(json.loads((ROOT / machine["DefinitionUri"]).read_text()))
    if any(action.startswith("s3:") for action, _ in found):
        found.update({("kms:Decrypt", "Key.Arn"), ("kms:GenerateDataKey", "Key.Arn")})
    return found


@pytest.mark.parametrize("name", resources("AWS::Serverless::StateMachine"))
def test_workflow_may_do_what_its_definition_does_and_nothing_else(name: str) -> None:
    """The embedded AWS does not enforce the roles of state machines."""
    machine = resources("AWS::Serverless::StateMachine")[name]
    held = {
        (action, spelt(where))
        for policy in machine["Policies"]
        for statement in policy["Statement"]
        for action in several(statement["Action"])
        for where in several(statement["Resource"])
    }
    needed = calls(machine)
    for action, where in needed:
        assert any(action == may and fnmatchcase(where, pattern) for may, pattern in held), (action, where)
    for may, pattern in held:
        assert any(action == may and fnmatchcase(where, pattern) for action, where in needed), (may, pattern)


SNAPPED = [name for name, function in NAMED.items() if "SnapStart" in function]


def parameters(value: Any) -> set[str]:
    """The parameters that a part of the template refers to."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return {value["Ref"]} & set(template()["Parameters"])
        return set().union(*map(parameters, value.values()))
    return set().union(*map(parameters, value)) if isinstance(value, list) else set()


class TestSnapStart:
    def test_is_for_those_whom_callers_wait_for_and_off_unless_asked_for(self) -> None:
        assert set(SNAPPED) == {"Api", "Collect"}
        assert template()["Parameters"]["SnapStart"]["Default"] == "false"

    @pytest.mark.parametrize("name", SNAPPED)
    def test_takes_effect_with_every_change_of_code_layers_and_parameters(self, name: str) -> None:
        """SAM itself takes no notice of a parameter's new value, so what a version is described by makes it another version."""
        function = NAMED[name]
        assert function["AutoPublishAliasAllProperties"] is True
        assert all(layer["PublishLambdaVersion"] is True for layer in resources("AWS::Serverless::LayerVersion").values())
        emulators = {"AwsEndpointUrl", "StripeApiBase", "Architecture"}
        assert parameters(function["VersionDescription"]) == parameters([variables(function), {"Ref": "SnapStart"}]) - emulators

    @pytest.mark.parametrize("name", SNAPPED)
    def test_describes_a_version_within_what_aws_takes(self, name: str) -> None:
        longest = {"Stage": 16, "StripeMode": 4, "StripeApiKeySecretName": 128, "SnapStart": 5, "StripeCallsPerSecond": 6}
        longest["JwtAccountClaim"] = 48
        named = parameters(NAMED[name]["VersionDescription"])
        limits = [longest.get(one) or len(str(template()["Parameters"][one]["MaxValue"])) for one in named]
        assert sum(limits) + len(limits) <= 256

    @pytest.mark.parametrize("name", SNAPPED)
    def test_is_what_routes_call_then(self, name: str) -> None:
        [integration] = [
            each["IntegrationUri"] for route, each in resources("AWS::ApiGatewayV2::Integration").items() if route == f"{name}Integration"
        ]
        alias, itself = {"Ref": f"{name}.Alias"}, {"Fn::GetAtt": [name, "Arn"]}
        assert integration["Fn::Sub"][1] == {"Function": {"Fn::If": ["UseSnapStart", alias, itself]}}
        permission = resources("AWS::Lambda::Permission")[f"{name}Permission"]["FunctionName"]
        assert permission == {"Fn::If": ["UseSnapStart", alias, {"Ref": name}]}

    @pytest.mark.parametrize("name", NAMED)
    def test_old_versions_are_deleted_since_snapshots_cost(self, name: str) -> None:
        assert (name in SNAPPED) == (NAMED[name].get("VersionDeletionPolicy") == "Delete")
