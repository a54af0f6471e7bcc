"""What operators search the logs with, saved queries and the runbook's commands: the fields and messages that they name exist."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import get_session

from local.aws.shims import log_filter
from tests.support.functions import ROOT
from tests.support.logs import STANDARD, logged
from tests.support.metrics import DOCUMENTED, NAMESPACE, emitted
from tests.support.template import resources, target, template

QUERIES = resources("AWS::Logs::QueryDefinition")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", RUNBOOK, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS if "resource()" not in block for line in block.strip().splitlines()]
HELPERS = dict(re.findall(r"^(\w+)\(\) { (.*) }$", RUNBOOK, re.MULTILINE))
WORDS = {
    "fields", "filter", "stats", "sort", "limit", "asc", "desc", "by", "as", "in", "not", "and", "or", "like", "ispresent", "count",
    "latest", "earliest", "min", "max",
}  # fmt: skip
"""Words of the query language that the queries use."""

BUILT_IN = {"@timestamp", "@log"}
OF_PLATFORM = {"record.status"}
"""Fields of the lines that Lambda itself logs as JSON about each invocation."""

GLOBAL_OPTIONS = {"query", "output", "max-items"}
"""Options of the AWS CLI that are no parameters of an operation."""

RENAMED = {"endpoint": "notification-endpoint"}
"""Parameters of `sns subscribe` that the AWS CLI calls otherwise, because `--endpoint-url` is one of its own options."""


def bare(query: str) -> str:
    """A query without its comments, texts and patterns."""
    return re.sub(r'"[^"]*"|/[^/\n]*/', "", re.sub(r"^#.*$", "", query, flags=re.MULTILINE))


def fields(query: str) -> set[str]:
    """The fields that a query reads. What it calls `as` something is a name of its own."""
    text = bare(query)
    own = set(re.findall(r"\bas (\w+)", text))
    return {word for word in re.findall(r"@?[A-Za-z_]\w*", text) if word not in WORDS | own}


def messages(query: str) -> set[str]:
    return set(re.findall(r'"([^"]*)"', "".join(re.findall(r'message (?:=|in) (?:\[[^\]]*\]|"[^"]*")', query))))


def access_log() -> set[str]:
    """The fields of API Gateway's access log."""
    (stage,) = resources("AWS::ApiGatewayV2::Stage").values()
    return set(re.findall(r'"(\w+)":"\$context', stage["AccessLogSettings"]["Format"]))


def groups() -> dict[str, str]:
    """The functions' log groups by the last part of their names."""
    found = {name: str(group["LogGroupName"]) for name, group in resources("AWS::Logs::LogGroup").items()}
    return {re.search(r"/(\w+)'}", path)[1]: name for name, path in found.items() if "'/titleholder/" in path}  # type: ignore[index]


@pytest.mark.parametrize("name", QUERIES)
class TestSavedQuery:
    def test_query_is_in_a_folder_with_the_stacks_name(self, name: str) -> None:
        assert re.fullmatch(r"titleholder/\$\{AWS::StackName\}/\d [a-zA-Z ]+", QUERIES[name]["Name"]["Fn::Sub"])

    def test_query_reads_log_groups_that_always_exist(self, name: str) -> None:
        read = [target(group) for group in QUERIES[name]["LogGroupNames"]]
        assert read
        assert set(read) <= set(resources("AWS::Logs::LogGroup"))
        assert not [group for group in read if "Condition" in template()["Resources"][group]]

    def test_query_reads_fields_that_the_logs_have(self, name: str) -> None:
        query = QUERIES[name]["QueryString"]
        about = messages(query) or set(logged())
        known = set().union(*(logged()[message] for message in about)) | STANDARD | BUILT_IN
        if "HttpLogs" in map(target, QUERIES[name]["LogGroupNames"]):
            known |= access_log()
        assert fields(query) <= known

    def test_query_filters_for_messages_that_are_logged(self, name: str) -> None:
        assert messages(QUERIES[name]["QueryString"]) <= set(logged())

    def test_query_uses_commands_of_the_query_language(self, name: str) -> None:
        lines = [line for line in QUERIES[name]["QueryString"].splitlines() if not line.startswith("#")]
        assert lines[0].startswith("fields ")
        assert {re.match(r"\| (\w+) ", line)[1] for line in lines[1:]} <= {"filter", "stats", "sort", "limit"}  # type: ignore[index]

    def test_query_is_documented(self, name: str) -> None:
        assert f"| `{QUERIES[name]['Name']['Fn::Sub'].rpartition('/')[2]}` |" in (ROOT / "docs" / "operations.md").read_text()


def test_there_is_a_query_for_each_of_the_five_commonest_questions() -> None:
    assert len(QUERIES) == 5


def test_fields_of_a_query_are_found() -> None:
    query = '# about: x\nfields @timestamp, a_b\n| filter message = "c d" and status like /^[45]/\n| stats count(*) as times by `where`'
    assert fields(query) == {"@timestamp", "a_b", "message", "status", "where"}
    assert messages(query) == {"c d"}


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("log ")])
def test_runbook_looks_for_messages_and_fields_that_a_function_logs(command: str) -> None:
    _, group, pattern, *seconds = shlex.split(command)
    assert group in groups()
    assert re.fullmatch(r"{ \$.* }", pattern)
    log_filter.matcher(pattern)  # Raises an error if the embedded logs do not know this form of pattern.
    said = re.search(r'\$\.message = "([^"]*)"', pattern)
    about = [message for message in logged() if said and re.fullmatch(re.escape(said[1]).replace(r"\*", ".*"), message)]
    assert bool(said) == bool(about), "no function logs this message"
    known = set().union(*(logged()[message] for message in about)) | STANDARD | (set() if said else OF_PLATFORM)
    assert set(re.findall(r"\$\.([\w.]+)", pattern)) <= known
    assert all(each.isdecimal() for each in seconds)


def aws_commands() -> list[str]:
    """The runbook's commands, those in other commands and in its sentences included."""
    inner = [command for line in [*COMMANDS, *HELPERS.values()] for command in re.findall(r"(?:^|\$\(|\| )(aws [a-z][^\n]*)", line)]
    return [*inner, *re.findall(r"`(aws [^`]+)`", RUNBOOK)]


@cache
def parameters(service: str, operation: str) -> set[str]:
    """The options of a command of the AWS CLI, which is made of the same description of the services."""
    model = get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(names[operation]).input_shape
    found = {xform_name(member, "-") for member in (shape.members if shape else ())}
    return {RENAMED.get(name, name) for name in found} if (service, operation) == ("sns", "subscribe") else found


@pytest.mark.parametrize("command", aws_commands())
def test_command_of_the_runbook_has_an_operation_and_options_that_exist(command: str) -> None:
    _, service, operation, *rest = shlex.split(re.sub(r"\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", "VALUE", command))
    options = [word.removeprefix("--") for word in rest if word.startswith("--")]
    assert set(options) <= parameters(service, operation) | GLOBAL_OPTIONS


@pytest.mark.parametrize("kind", ["resource", "output"])
def test_runbook_names_resources_and_outputs_that_exist(kind: str) -> None:
    named = set(re.findall(rf"(?<!-)\b{kind} (\w+)", "\n".join([*COMMANDS, *aws_commands()])))
    assert named
    assert named <= set(template()["Resources" if kind == "resource" else "Outputs"])


def test_helpers_of_the_runbook_are_defined() -> None:
    used = set(re.findall(r"(?:^|\$\()(log|resource|output|ago)\b", "\n".join(COMMANDS), re.MULTILINE))
    assert used == {"log", "resource", "output", "ago"} == set(HELPERS)


def test_helpers_of_the_runbook_are_defined_before_they_are_used() -> None:
    before = RUNBOOK.partition("resource() {")[0]
    assert re.findall(r"\$\((?:output|resource|ago) |^log ", before, re.MULTILINE) == []


def test_secrets_of_the_pages_for_operators_are_those_of_the_stack_that_the_reader_named() -> None:
    """A live stack has its own secrets, so a command with the names of the stack `titleholder` would change the wrong one."""
    for page in ("runbook", "operations", "recovery"):
        assert re.findall(r"titleholder(?:-live)?/stripe-\S*", (ROOT / "docs" / f"{page}.md").read_text()) == [], page


def test_metrics_that_the_runbook_reads_exist() -> None:
    found: list[tuple[Any, ...]] = re.findall(r"--namespace (\S+) --metric-name (\S+)", "\n".join(COMMANDS))
    assert found
    for namespace, name in found:
        documented = set().union(*(names for (at, _), names in DOCUMENTED.items() if at == namespace))
        assert name in (emitted() if namespace == NAMESPACE else documented)
