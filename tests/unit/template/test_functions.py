"""Our own rules for the functions in template.yaml: logs, environment, timeouts, SnapStart."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.functions import FUNCTIONS as FOLDER
from tests.support.template import consumed, folder, functions, made_of, resources, several, statements, target, template, variables
from titleholder.domain.refresh_policy import LEASE_SECONDS
from titleholder.settings import Settings
from titleholder.stripe_api import gateway

FUNCTIONS = functions()
CALLING_STRIPE = sorted(name for name, function in FUNCTIONS.items() if "STRIPE_API_KEY_SECRET_NAME" in variables(function))
SNAPPED = [name for name, function in FUNCTIONS.items() if "SnapStart" in function]


@pytest.mark.parametrize("name", FUNCTIONS)
class TestFunction:
    def test_function_has_its_own_log_group_with_a_retention(self, name: str) -> None:
        group = target(FUNCTIONS[name]["LoggingConfig"]["LogGroup"])
        assert resources("AWS::Logs::LogGroup")[group]["RetentionInDays"]
        users = [other for other, function in FUNCTIONS.items() if target(function["LoggingConfig"]["LogGroup"]) == group]
        assert users == [name]

    def test_logs_json_and_is_traced(self, name: str) -> None:
        assert FUNCTIONS[name]["LoggingConfig"]["LogFormat"] == "JSON"
        assert FUNCTIONS[name]["Tracing"] == "Active"

    def test_never_logs_events(self, name: str) -> None:
        assert variables(FUNCTIONS[name])["POWERTOOLS_LOGGER_LOG_EVENT"] == "false"

    def test_function_may_do_named_actions_on_named_resources_only(self, name: str) -> None:
        for statement in statements(FUNCTIONS[name]):
            assert statement["Effect"] == "Allow"
            # By AWS's reference these actions have no resource, and a call needs a task token.
            answers_tasks = {action.startswith("states:SendTask") for action in several(statement["Action"])}
            assert several(statement["Resource"]) == ["*"] if answers_tasks == {True} else "*" not in several(statement["Resource"])
            assert not [action for action in several(statement["Action"]) if "*" in action]

    def test_function_is_in_the_folder_of_its_name(self, name: str) -> None:
        assert FUNCTIONS[name]["CodeUri"] == "functions"
        assert (FOLDER / folder(name) / "app.py").is_file()

    def test_function_is_built_by_the_makefile_because_that_ships_bytecode(self, name: str) -> None:
        assert template()["Resources"][name]["Metadata"]["BuildMethod"] == "makefile"

    def test_function_holds_no_secret_in_its_environment(self, name: str) -> None:
        for variable, value in variables(FUNCTIONS[name]).items():
            assert "SECRET" not in variable or variable.endswith("_SECRET_NAME")
            assert not str(value).startswith(("sk_", "rk_", "whsec_"))

    def test_function_can_read_its_settings_from_its_environment(self, name: str) -> None:
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
        numbers |= {"CLAIMS_PER_ACCOUNT_PER_DAY": "100", "WAITING_CALLS": "5"}
        numbers |= {"REVIEWERS_NEEDED": "2", "REVIEW_EXPIRY_DAYS": "30"}
        numbers |= {"STRIPE_API_BASE": "", "AWS_ENDPOINT_URL": "", "STRIPE_PREVIEW_VERSION": "2026-09-30.preview"}
        given = {variable: numbers.get(variable, "x") for variable in variables(FUNCTIONS[name])}
        assert Settings.from_environment(given).table == "x"

    def test_function_has_a_failure_destination_if_it_is_called_asynchronously(self, name: str) -> None:
        kinds = {event["Type"] for event in FUNCTIONS[name].get("Events", {}).values()}
        if kinds & {"Schedule", "ScheduleV2", "EventBridgeRule", "S3", "SNS"}:
            [configuration] = [each for each in made_of("AWS::Lambda::EventInvokeConfig").values() if target(each["FunctionName"]) == name]
            destination = target(configuration["DestinationConfig"]["OnFailure"]["Destination"])
            assert destination in resources("AWS::SQS::Queue")
            # Lambda sends with the function's role.
            assert [
                one for one in statements(FUNCTIONS[name]) if one["Action"] == "sqs:SendMessage" and destination in str(one["Resource"])
            ]


@pytest.mark.parametrize(
    ("action", "needed"),
    [
        ("states:StartExecution", {"SETTLE_TIMEOUT_SECONDS", "MAX_WAIT_SECONDS"}),
        # A heartbeat ends the wait in the queue before the settle timeout starts, so the function needs the timeout.
        ("states:SendTaskHeartbeat", {"SETTLE_TIMEOUT_SECONDS"}),
    ],
)
def test_function_that_starts_workflows_or_sends_their_heartbeats_knows_their_times(action: str, needed: set[str]) -> None:
    found = {name for name, properties in FUNCTIONS.items() if action in str(statements(properties))}
    assert found
    assert {name for name in found if not needed <= variables(FUNCTIONS[name]).keys()} == set()


def calls_itself(name: str) -> bool:
    """Whether a function's messages may come back to it, by its own queue or through other functions."""
    sends = {
        one: {
            target(resource)
            for each in statements(properties)
            if "sqs:SendMessage" in each["Action"]
            for resource in several(each["Resource"])
        }
        for one, properties in FUNCTIONS.items()
    }
    calls = {one: {consumer for consumer, queue in consumed() if queue in queues} for one, queues in sends.items()}
    reached: set[str] = set()
    ahead = set(calls[name])
    while ahead - reached:
        reached |= ahead
        ahead = set().union(*(calls[one] for one in reached))
    return name in reached


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_whose_messages_come_back_to_it_is_not_stopped_by_lambda_as_an_endless_loop(name: str) -> None:
    """Lambda moves a message to the dead-letter queue after 16 passes of a chain, unless the function may recurse."""
    assert FUNCTIONS[name].get("RecursiveLoop", "Terminate") == ("Allow" if calls_itself(name) else "Terminate")


def test_functions_that_requeue_their_messages_are_found() -> None:
    assert {name for name in FUNCTIONS if calls_itself(name)} == {"StartRefresh", "FetchOwners"}


def test_every_function_is_deployed() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/app.py")}
    assert folders == {folder(name) for name in FUNCTIONS}


@pytest.mark.parametrize("name", CALLING_STRIPE)
def test_function_that_calls_stripe_knows_the_preview_version(name: str) -> None:
    assert variables(FUNCTIONS[name])["STRIPE_PREVIEW_VERSION"] == {"Ref": "StripePreviewVersion"}


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        ("", True),
        ("2026-09-30.preview", True),
        ("2026-10-28.endive", False),
        ("2026-09-30", False),
        ("preview", False),
        ("2026-09-30.preview; financial_connections_ownership_match_api_preview=v1", False),
    ],
)
def test_preview_version_is_a_date_with_the_word_preview_or_empty(version: str, accepted: bool) -> None:
    parameter = template()["Parameters"]["StripePreviewVersion"]
    assert parameter["Default"] == ""
    assert bool(re.fullmatch(parameter["AllowedPattern"], version)) == accepted


@pytest.mark.parametrize("name", CALLING_STRIPE)
def test_function_that_calls_stripe_has_a_timeout_longer_than_the_slowest_call(name: str) -> None:
    assert FUNCTIONS[name]["Timeout"] > gateway.LONGEST_CALL_SECONDS


def test_lease_is_longer_than_the_slowest_call_and_shorter_than_the_timeout_of_start_refresh() -> None:
    assert gateway.LONGEST_CALL_SECONDS < LEASE_SECONDS < FUNCTIONS["StartRefresh"]["Timeout"]


def test_guessing_of_owners_is_limited_and_raises_an_alarm() -> None:
    limit = template()["Parameters"]["ClaimsPerAccountPerDay"]
    assert (limit["Default"], limit["MinValue"]) == (100, 1)
    alarm = resources("AWS::CloudWatch::Alarm")["ClaimLimitAlarm"]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["Statistic"]) == ("ClaimLimitExceeded", 0, "Sum")
    for name in ("Api", "ImportManifest"):
        assert variables(FUNCTIONS[name])["CLAIMS_PER_ACCOUNT_PER_DAY"] == {"Ref": "ClaimsPerAccountPerDay"}


def parameters(value: Any) -> set[str]:
    """The parameters that a part of the template refers to."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return {value["Ref"]} & set(template()["Parameters"])
        return set().union(*map(parameters, value.values()))
    return set().union(*map(parameters, value)) if isinstance(value, list) else set()


class TestSnapStart:
    def test_snap_start_is_for_functions_that_callers_wait_for_and_off_by_default(self) -> None:
        assert set(SNAPPED) == {"Api", "Collect", "Review"}
        assert template()["Parameters"]["SnapStart"]["Default"] == "false"

    @pytest.mark.parametrize("name", SNAPPED)
    def test_snap_start_takes_effect_with_every_change_of_code_layers_and_parameters(self, name: str) -> None:
        """SAM publishes no version when only a parameter's value changes, so the version's description has to include each parameter."""
        function = FUNCTIONS[name]
        assert function["AutoPublishAliasAllProperties"] is True
        assert all(layer["PublishLambdaVersion"] is True for layer in resources("AWS::Serverless::LayerVersion").values())
        emulators = {"AwsEndpointUrl", "StripeApiBase", "Architecture"}
        assert parameters(function["VersionDescription"]) == parameters([variables(function), {"Ref": "SnapStart"}]) - emulators

    @pytest.mark.parametrize("name", SNAPPED)
    def test_describes_a_version_within_the_length_that_aws_allows(self, name: str) -> None:
        longest = {"Stage": 16, "StripeMode": 4, "StripeApiKeySecretName": 64, "SnapStart": 5, "StripeCallsPerSecond": 6}
        longest |= {"DataTableName": 50, "JwtAccountClaim": 48, "JwtScopePrefix": 56, "StripePreviewVersion": len("2026-09-30")}
        longest |= {"ReviewersNeeded": 1}
        separator, parts = FUNCTIONS[name]["VersionDescription"]["Fn::Join"]
        named = [one for part in parts for one in parameters(part)]
        limits = [longest.get(one) or len(str(template()["Parameters"][one]["MaxValue"])) for one in named]
        assert len(separator.join("x" * limit for limit in limits)) <= 256

    @pytest.mark.parametrize("name", SNAPPED)
    def test_snap_start_makes_routes_call_the_published_version(self, name: str) -> None:
        [integration] = [
            each["IntegrationUri"] for route, each in resources("AWS::ApiGatewayV2::Integration").items() if route == f"{name}Integration"
        ]
        alias, itself = {"Ref": f"{name}.Alias"}, {"Fn::GetAtt": [name, "Arn"]}
        assert integration["Fn::Sub"][1] == {"Function": {"Fn::If": ["UseSnapStart", alias, itself]}}
        permission = resources("AWS::Lambda::Permission")[f"{name}Permission"]["FunctionName"]
        assert permission == {"Fn::If": ["UseSnapStart", alias, {"Ref": name}]}

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_deletes_old_versions_because_snapshots_cost_money(self, name: str) -> None:
        assert (name in SNAPPED) == (FUNCTIONS[name].get("VersionDeletionPolicy") == "Delete")
