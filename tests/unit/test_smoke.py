"""The smoke test's command line and lines: what it says where it cannot begin, and what exceptions become."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError, EndpointConnectionError

from local import stack as local_stack
from tools.smoke import desk, edge, settings
from tools.smoke.__main__ import main
from tools.smoke.report import Check, Line, SmokeError, failed, ok, run, unchecked
from tools.smoke.stack import REQUIRED_OUTPUTS, Answer, Deployed, find


def refusal(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


class Session:
    """A session whose CloudFormation answers with one stack, or raises."""

    def __init__(self, answer: Any, credentials: Any = "some") -> None:
        self._answer, self._credentials = answer, credentials

    def get_credentials(self) -> Any:
        return self._credentials

    def client(self, *_: Any, **__: Any) -> Any:
        pages = SimpleNamespace(paginate=lambda **_: [{"StackResourceSummaries": []}])
        return SimpleNamespace(describe_stacks=self._describe, get_paginator=lambda _: pages)

    def _describe(self, **_: Any) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return {"Stacks": [self._answer]}


def described(status: str = "CREATE_COMPLETE", outputs: frozenset[str] = frozenset(REQUIRED_OUTPUTS)) -> dict[str, Any]:
    return {"StackStatus": status, "Outputs": [{"OutputKey": name, "OutputValue": "x"} for name in outputs]}


CANNOT_BEGIN: dict[str, tuple[Session, str]] = {
    "no credentials": (Session(described(), credentials=None), "there are no AWS credentials"),
    "no such stack": (Session(refusal("ValidationError", "Stack x does not exist")), "no stack titleholder in the region eu-west-1"),
    "expired credentials": (Session(refusal("ExpiredToken")), "have expired"),
    "unknown credentials": (Session(refusal("InvalidClientTokenId")), "does not accept these credentials"),
    "no right": (Session(refusal("AccessDenied")), "docs/deploying.md"),
    "no such region": (Session(EndpointConnectionError(endpoint_url="https://cloudformation.eu-wset-1.amazonaws.com")), "check REGION"),
    "another stack": (Session(described(outputs=frozenset({"Url"}))), "is not a Titleholder stack"),
    "being created": (Session(described("CREATE_IN_PROGRESS")), "still being changed (CREATE_IN_PROGRESS)"),
    "being updated": (Session(described("UPDATE_IN_PROGRESS")), "still being changed"),
    "rolled back": (Session(described("ROLLBACK_COMPLETE")), "is ROLLBACK_COMPLETE, so it is not usable"),
    "half deleted": (Session(described("DELETE_FAILED")), "is DELETE_FAILED"),
}  # fmt: skip


@pytest.mark.parametrize("case", CANNOT_BEGIN)
def test_says_why_it_cannot_begin(case: str) -> None:
    session, why = CANNOT_BEGIN[case]
    with pytest.raises(SmokeError) as raised:
        find("titleholder", "eu-west-1", session=session)
    assert why in str(raised.value)


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_stack_that_is_deployed_is_found(status: str) -> None:
    assert find("titleholder", "eu-west-1", session=Session(described(status))).name == "titleholder"


@pytest.mark.parametrize(
    ("arguments", "missing"), [([], "STACK"), (["--stack", "titleholder"], "REGION"), (["--region", "eu-west-1"], "STACK")]
)
def test_missing_variable_is_named(arguments: list[str], missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert f"error: {missing} is missing: make smoke STACK=" in capsys.readouterr().err


def test_embedded_stack_that_was_killed_is_not_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    state = tmp_path / "stack.json"
    state.write_text(json.dumps({"pid": ended.pid, "aws_url": "http://127.0.0.1:1"}))
    monkeypatch.setattr(local_stack, "STATE", state)
    assert main(["--local", "--stack", "titleholder", "--region", "us-east-1"]) == 2
    assert capsys.readouterr().err == "error: no embedded stack is running: start one with `make up`\n"


class Topics:
    """SNS with topics without subscribers."""

    def client(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(list_subscriptions_by_topic=lambda **_: {"Subscriptions": []})


@pytest.mark.parametrize(("local", "state"), [(False, "FAILED"), (True, "could not be checked")])
def test_topic_without_subscription_is_a_fault_where_it_has_to_notify(local: bool, state: str) -> None:
    line = settings._topic(
        Deployed("titleholder", "eu-west-1", Topics(), {}, {}, local=local), "arn:aws:sns:eu-west-1:1:titleholder-alarms"
    )
    assert (line.state, "aws sns" in line.todo) == (state, not local)


class Alarms:
    """CloudWatch with one alarm, which fires. It evaluates three periods of 15 minutes."""

    def __init__(self, **changed: Any) -> None:
        stat = {"Metric": {"MetricName": "ReconcileCompleted"}, "Period": 900, "Stat": "Sum"}
        metrics = [{"Id": "watched", "Expression": "FILL(completed, 0)"}, {"Id": "completed", "MetricStat": stat}]
        alarm = {"AlarmName": "a1", "AlarmActions": ["a"], "ActionsEnabled": True, "EvaluationPeriods": 3, "TreatMissingData": "breaching"}
        self.alarm = {**alarm, "StateValue": "ALARM", "Metrics": metrics, **changed}

    def client(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(describe_alarms=lambda **_: {"MetricAlarms": [self.alarm]})


@pytest.mark.parametrize(
    ("minutes", "changed", "state"),
    [
        (0, {}, "could not be checked"),
        (44, {}, "could not be checked"),
        (46, {}, "FAILED"),
        (1, {"StateValue": "OK"}, "ok"),
        # Missing data does not raise these alarms, so they have seen what they look for.
        (1, {"TreatMissingData": "notBreaching"}, "FAILED"),
        (1, {"TreatMissingData": "notBreaching", "Metrics": [], "Period": 60, "EvaluationPeriods": 1}, "FAILED"),
        (4, {"Metrics": [], "Period": 300, "EvaluationPeriods": 1}, "could not be checked"),
        (6, {"Metrics": [], "Period": 300, "EvaluationPeriods": 1}, "FAILED"),
        (1, {"AlarmActions": []}, "FAILED"),
        (1, {"ActionsEnabled": False}, "FAILED"),
    ],
)
def test_alarm_that_fires_because_the_stack_is_younger_than_its_data_could_not_be_checked(
    minutes: int, changed: dict[str, Any], state: str
) -> None:
    description = {"CreationTime": datetime.now(UTC) - timedelta(minutes=minutes)}
    resources = {"ReconcileMissingAlarm": ("AWS::CloudWatch::Alarm", "a1")}
    [line] = settings.alarms(Deployed("titleholder", "eu-west-1", Alarms(**changed), description, resources))
    assert line.state == state, line


def test_alarm_that_could_not_be_checked_says_when_it_can_be() -> None:
    description = {"CreationTime": datetime.now(UTC) - timedelta(minutes=5, seconds=30)}
    resources = {"ReconcileMissingAlarm": ("AWS::CloudWatch::Alarm", "a1")}
    [line] = settings.alarms(Deployed("titleholder", "eu-west-1", Alarms(), description, resources))
    assert (line.found, line.todo) == (
        "it fires because it has too little data: it evaluates 45 min, and the stack is 5 min old",
        "repeat in 40 min; if it still fires, see docs/runbook.md#reconcilemissingalarm",
    )


def raising(error: Exception) -> Any:
    def find_() -> Any:
        raise error

    return find_


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (refusal("AccessDeniedException"), "could not be checked"), (refusal("UnknownOperationException"), "could not be checked"),
        (refusal("ThrottlingException"), "could not be checked"), (refusal("ResourceNotFoundException"), "FAILED"),
        (requests.ConnectionError(), "FAILED"), (EndpointConnectionError(endpoint_url="https://x"), "FAILED"),
    ],
)  # fmt: skip
def test_exception_becomes_a_line(error: Exception, state: str) -> None:
    [line] = Check("alarms", raising(error)).lines()
    assert (line.state, line.about) == (state, "alarms")


def test_lines_keep_the_order_of_the_checks_and_say_what_to_do() -> None:
    said: list[str] = []
    lines = [[ok("a", "fine")], [failed("b", "is gone", "make it")], [unchecked("c", "unknown")]]
    found = run([Check("check", each.copy) for each in lines], said.append)
    assert found == [line for each in lines for line in each]
    assert said == ["ok                    a: fine", "FAILED                b: is gone  -> make it", "could not be checked  c: unknown"]


def test_line_names_its_state_first() -> None:
    assert {str(Line(state, "x")).split("  ")[0] for state in ("ok", "FAILED", "could not be checked")} == {
        "ok",
        "FAILED",
        "could not be checked",
    }


class Tables:
    """DynamoDB with two tables that are in order."""

    def __init__(self, protected: bool) -> None:
        self.described = {"TableStatus": "ACTIVE", "DeletionProtectionEnabled": protected}

    def client(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(
            describe_table=lambda **_: {"Table": self.described},
            describe_time_to_live=lambda **_: {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}},
            describe_continuous_backups=lambda **_: {"ContinuousBackupsDescription": {}},
        )


@pytest.mark.parametrize(
    ("parameters", "protected", "failing"),
    [
        ({"StripeMode": "live", "DeletionProtection": "auto"}, True, False),
        ({"StripeMode": "live", "DeletionProtection": "auto"}, False, True),
        # The profile `live-first` was deployed, and `live` never was.
        ({"StripeMode": "live", "DeletionProtection": "off"}, False, True),
        ({"StripeMode": "live"}, False, True),
        ({"StripeMode": "test", "DeletionProtection": "on"}, False, True),
        ({"StripeMode": "test", "DeletionProtection": "auto"}, False, False),
    ],
)  # fmt: skip
def test_tables_that_should_be_protected_from_deletion_and_are_not_are_named(
    parameters: dict[str, str], protected: bool, failing: bool
) -> None:
    description = {
        "Outputs": [{"OutputKey": "TableName", "OutputValue": "restored"}],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    }
    resources = {"KeysTable": ("AWS::DynamoDB::Table", "titleholder-keys")}
    deployed = Deployed("titleholder", "eu-west-1", Tables(protected), description, resources)
    lines = [line for line in settings.tables(deployed) if line.about.startswith("deletion protection")]
    named = ["deletion protection of restored", "deletion protection of titleholder-keys"]
    assert [line.about for line in lines if line.state == "FAILED"] == (named if failing else [])
    assert [line.about for line in lines] == named


TOKENS = {"JwtIssuer": "https://issuer.example.com"}


@pytest.mark.parametrize(
    ("route", "parameters", "body", "state"),
    [
        ("POST /verifications/{verification}/comparison", TOKENS, {"message": "Forbidden"}, "could not be checked"),
        ("POST /verifications/{verification}/comparison", {}, {"message": "Forbidden"}, "FAILED"),
        ("GET /reviews", TOKENS, {"message": "Forbidden"}, "FAILED"),
        ("POST /verifications/{verification}/comparison", TOKENS, {"type": "urn:titleholder:problem:x"}, "FAILED"),
    ],
)  # fmt: skip
def test_token_of_the_smoke_test_needs_no_scope_of_reviewers(
    monkeypatch: pytest.MonkeyPatch, route: str, parameters: dict[str, str], body: dict[str, str], state: str
) -> None:
    named = {"StripeMode": "test", **parameters}.items()
    description = {"Outputs": [], "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in named]}
    deployed = Deployed("titleholder", "eu-west-1", None, description, {}, token="a.b.c")
    monkeypatch.setattr(Deployed, "call", lambda *_, **__: Answer(403, body))
    assert edge._route(deployed, route).state == state


IAM = {"AuthorizationType": "AWS_IAM"}
TOKEN = {"AuthorizationType": "JWT", "AuthorizerId": "a1b2c3", "AuthorizationScopes": ["titleholder/read"]}
WITH_TOKENS = {"JwtIssuer": "https://issuer.example.com", "JwtScopePrefix": "titleholder/"}
QUEUE = {**TOKEN, "RouteKey": "GET /reviews", "AuthorizationScopes": ["titleholder/review", "titleholder/read", "titleholder/support"]}
PEOPLE = {"ReviewIssuer": "https://people.example.com", "JwtScopePrefix": "titleholder/"}


@pytest.mark.parametrize(
    ("parameters", "route", "failing"),
    [
        ({}, IAM, False),
        ({}, {**IAM, "AuthorizationScopes": []}, False),
        ({}, {"AuthorizationType": "NONE"}, True),
        # Left of a stack whose callers sent tokens.
        ({}, TOKEN, True),
        ({}, {**IAM, "AuthorizerId": "a1b2c3"}, True),
        ({}, {**IAM, "AuthorizationScopes": ["read"]}, True),
        (WITH_TOKENS, TOKEN, False),
        (WITH_TOKENS, IAM, True),
        (WITH_TOKENS, {**TOKEN, "AuthorizationScopes": []}, True),
        (WITH_TOKENS, {**TOKEN, "AuthorizationScopes": ["read"]}, True),
        (WITH_TOKENS, {**TOKEN, "AuthorizerId": "d4e5f6"}, True),
        (WITH_TOKENS, QUEUE, False),
        (WITH_TOKENS, {**QUEUE, "AuthorizationScopes": ["titleholder/read"]}, True),
        (PEOPLE, IAM, False),
        (PEOPLE, {**QUEUE, "AuthorizerId": "d4e5f6"}, False),
        (PEOPLE, {**IAM, "RouteKey": "GET /reviews"}, True),
        ({**PEOPLE, **WITH_TOKENS}, {**QUEUE, "AuthorizerId": "d4e5f6"}, False),
        # Back ends' tokens would open the desk.
        ({**PEOPLE, **WITH_TOKENS}, QUEUE, True),
    ],
)  # fmt: skip
def test_route_that_is_not_authorised_as_the_parameters_say_is_named(
    parameters: dict[str, str], route: dict[str, Any], failing: bool
) -> None:
    keys = ("POST /webhooks/stripe", "GET /docs", "GET /openapi.json", "GET /desk")
    public = [{"RouteKey": key, "AuthorizationType": "NONE"} for key in keys]
    route = {"RouteKey": "GET /verifications/{id}", **route}
    pages = SimpleNamespace(paginate=lambda **_: [{"Items": public}, {"Items": [route]}])
    session = SimpleNamespace(client=lambda *_, **__: SimpleNamespace(get_paginator=lambda _: pages))
    description = {
        "Outputs": [{"OutputKey": "HttpApiId", "OutputValue": "a1b2c3d4e5"}],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    }
    resources = {
        name: ("AWS::ApiGatewayV2::Authorizer", id_) for name, id_ in (("JwtAuthorizer", "a1b2c3"), ("ReviewAuthorizer", "d4e5f6"))
    }
    [line] = edge.authorisation(Deployed("titleholder", "eu-west-1", session, description, resources))
    assert (line.state == "FAILED", line.about) == (failing, "authorisation of routes")
    assert (route["RouteKey"] in line.found) is failing


PEOPLES_ISSUER = "https://login.example.com/people"
PAGE = '<link href="desk/desk.css?v=1"><script type="application/json" id="settings">{}</script>'
CONFIGURATION = {"issuer": PEOPLES_ISSUER, "token_endpoint": "https://tokens.example.com/token"}


@pytest.mark.parametrize(
    ("page", "configuration", "closed", "found"),
    [
        ({}, {}, "", "which the page may call"),
        ({"files": {"desk.js": "desk/desk.js?v=1"}}, {}, "", "built without its sign-in library"),
        ({"files": {"oauth4webapi.js": "desk/oauth4webapi.js?v=gone"}}, {}, "", "cannot be read"),
        ({}, {"issuer": f"{PEOPLES_ISSUER}/"}, "", "calls itself https://login.example.com/people/"),
        ({}, {"token_endpoint": "https://elsewhere.example.com/token"}, "", "may not call https://elsewhere.example.com/token"),
        ({}, {"code_challenge_methods_supported": ["plain"]}, "", "no PKCE"),
        ({}, {}, "configuration", "hide its configuration from https://api.example.com"),
        ({}, {}, "token", "hide its token endpoint from https://api.example.com"),
    ],
)
def test_review_desk_without_a_way_to_sign_in_is_named(
    page: dict[str, Any], configuration: dict[str, Any], closed: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`closed`: what a browser would hide from the page."""
    told = {"issuer": PEOPLES_ISSUER, "client_id": "desk", "files": {"oauth4webapi.js": "desk/oauth4webapi.js?v=1"}, **page}

    def answer(status: int, text: str = "", *, open_: bool = True) -> Any:
        headers = {"Access-Control-Allow-Origin": "https://api.example.com"} if open_ else {}
        headers["Content-Security-Policy"] = "connect-src 'self' https://login.example.com https://tokens.example.com"
        return SimpleNamespace(status_code=status, text=text, headers=headers, json=lambda: {**CONFIGURATION, **configuration})

    monkeypatch.setattr(
        Deployed, "fetch", lambda _, path: answer(200 if path == "/desk" or path.endswith("v=1") else 404, PAGE.format(json.dumps(told)))
    )
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer(200, open_=closed != "configuration"))
    monkeypatch.setattr(requests, "post", lambda *_, **__: answer(400, open_=closed != "token"))
    description = {"Parameters": [{"ParameterKey": "DeskClientId", "ParameterValue": "desk"}]}
    deployed = Deployed("titleholder", "eu-west-1", None, description, {})
    deployed.__dict__["api_url"] = "https://api.example.com"
    lines = [str(line) for line in desk.page(deployed)]
    assert any(found in line for line in lines), lines
    assert any("FAILED" in line for line in lines) is (found != "which the page may call")


def test_stack_without_a_review_desk_has_no_lines_about_one() -> None:
    assert list(desk.page(Deployed("titleholder", "eu-west-1", None, {"Parameters": []}, {}))) == []
