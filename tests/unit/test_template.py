"""Our own lint rules for template.yaml: logs that end, dead letters that are noticed, times that fit into each other, one public route."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.functions import FUNCTIONS, ROOT
from tests.support.template import folder, resources, template
from titleholder import batches, stripe_gateway
from titleholder.refresh import LEASE_SECONDS
from titleholder.settings import Settings

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
        numbers = {"STRIPE_CALLS_PER_SECOND": "25", "SETTLE_TIMEOUT_SECONDS": "900", "MAX_WAIT_SECONDS": "604800", "STRIPE_MODE": "test"}
        numbers |= {"SNAPSHOT_RETENTION_DAYS": "400", "CLAIM_RETENTION_DAYS": "400"}
        numbers["AUDIT_RETENTION_DAYS"] = "2557"
        numbers["BATCH_CONCURRENCY"] = "2000"
        given = {variable: numbers.get(variable, "x") for variable in variables(NAMED[name])}
        assert Settings.from_environment(given).table == "x"

    def test_that_is_called_asynchronously_has_a_failure_destination(self, name: str) -> None:
        kinds = {event["Type"] for event in NAMED[name].get("Events", {}).values()}
        if kinds & {"Schedule", "ScheduleV2", "EventBridgeRule", "S3", "SNS"}:
            destination = NAMED[name]["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"]
            assert target(destination) in QUEUES


def test_every_function_is_deployed() -> None:
    folders = {path.parent.name for path in FUNCTIONS.glob("*/app.py")}
    assert folders == {folder(name) for name in NAMED}


@pytest.mark.parametrize("name", sorted(SLOW))
def test_function_that_calls_stripe_outlives_the_slowest_call(name: str) -> None:
    assert timeout(NAMED[name]) > stripe_gateway.LONGEST_CALL_SECONDS


def test_lease_is_longer_than_the_slowest_call_and_shorter_than_the_function_lives() -> None:
    assert stripe_gateway.LONGEST_CALL_SECONDS < LEASE_SECONDS < timeout(NAMED["StartRefresh"])


@pytest.mark.parametrize(("function", "queue"), consumed())
class TestConsumedQueue:
    def test_hides_a_message_for_longer_than_its_consumer_may_take(self, function: str, queue: str) -> None:
        assert timeout(NAMED[function]) < QUEUES[queue]["VisibilityTimeout"]

    def test_has_a_dead_letter_queue_that_keeps_longer_than_itself(self, function: str, queue: str) -> None:
        redrive = QUEUES[queue]["RedrivePolicy"]
        dead = QUEUES[target(redrive["deadLetterTargetArn"])]
        assert dead["MessageRetentionPeriod"] > QUEUES[queue]["MessageRetentionPeriod"]

    def test_lets_the_function_bury_a_message_with_its_reason_before_the_queue_does(self, function: str, queue: str) -> None:
        assert QUEUES[queue]["RedrivePolicy"]["maxReceiveCount"] > batches.MOST_RECEIVES

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
            if any(isinstance(dimension["Value"], dict) and target(dimension["Value"]) == name for dimension in alarm["Dimensions"])
        ]
        (alarm,) = alarms
        assert (alarm["Threshold"], alarm["ComparisonOperator"], alarm["MetricName"]) == (
            0, "GreaterThanThreshold", "ApproximateNumberOfMessagesVisible",
        )  # fmt: skip


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
    assert woken.count([{"Ref": "VerifyBatch"}, {"Fn::Sub": "${VerifyBatch}/*"}]) == len(woken) / 2


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


def test_nobody_may_change_the_record_of_who_asked_for_what() -> None:
    (statement,) = resources("AWS::DynamoDB::Table")["Table"]["ResourcePolicy"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert {"dynamodb:UpdateItem", "dynamodb:DeleteItem"} <= set(statement["Action"])
    assert statement["Condition"] == {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["AUDIT#*"]}}


def test_reading_of_owners_is_watched() -> None:
    assert any(alarm["MetricName"] == "OwnersRead" for alarm in ALARMS.values())


TASKS = {
    "sqs:sendMessage.waitForTaskToken": {"sqs:SendMessage"},
    "lambda:invoke": {"lambda:InvokeFunction"},
    "s3:getObject": {"s3:GetObject"},
    "s3:listObjectsV2": {"s3:ListBucket"},
    # What a Distributed Map writes, it writes in parts.
    "s3:putObject": {"s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"},
}
DISTRIBUTED = {"states:StartExecution", "states:DescribeExecution", "states:StopExecution"}


@pytest.mark.parametrize("name", resources("AWS::Serverless::StateMachine"))
def test_workflow_may_do_what_its_definition_does_and_nothing_else(name: str) -> None:
    """The embedded AWS does not enforce the roles of state machines."""
    machine = resources("AWS::Serverless::StateMachine")[name]
    substitutions = machine["DefinitionSubstitutions"]
    needed: set[tuple[str, str]] = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict) and isinstance(part.get("Resource"), str):
            parameters = part["Parameters"]
            text = parameters.get("QueueUrl") or parameters.get("FunctionName") or parameters["Bucket"]
            where = target(substitutions[text.strip("${}")])
            needed.update((action, where) for action in TASKS[part["Resource"].rpartition(":::")[2]])
            if where == "Bucket":
                needed.update({("kms:Decrypt", "Key"), ("kms:GenerateDataKey", "Key")})
        if isinstance(part, dict) and part.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
            needed.update((action, name) for action in DISTRIBUTED)
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            walk(inner)

    def holder(resource: Any) -> str:
        if "Fn::Sub" not in resource:
            return target(resource)
        text = str(resource["Fn::Sub"])
        return name if ":states:" in text and machine["Name"]["Fn::Sub"] in text else text.removeprefix("${").partition(".")[0]

    walk(json.loads((ROOT / machine["DefinitionUri"]).read_text()))
    held = {
        (action, holder(where))
        for policy in machine["Policies"]
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        for where in ([statement["Resource"]] if isinstance(statement["Resource"], dict) else statement["Resource"])
    }
    assert held == needed


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
