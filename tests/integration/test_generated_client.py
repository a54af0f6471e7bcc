"""A client that openapi-python-client generates from the OpenAPI document: its size, its names, and what it makes of a later release."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from local import openapi, openapi_releases, openapi_values
from tests.support import generated_client
from tests.support.earlier_answers import answers_of
from tests.support.generated_client import GeneratorError, classes, generated, run

pytestmark = pytest.mark.slow

MOST_CLASSES = 90
"""457 when each route had problems of its own."""

READ = """
import json, sys
from titleholder_client import models
kind, data = json.load(sys.stdin)
read = getattr(models, kind).from_dict(data)
parts = [read.requested_at, read.verdict, read.verdict.fields, read.timeline, read.timeline.steps[-1]]
print(json.dumps([read.to_dict(), [type(part).__name__ for part in parts]]))
"""


def read(kind: str, data: Any) -> tuple[Any, list[str]]:
    """A verification as the client's class reads and writes it, and the classes of its parts."""
    made, types = json.loads(run(READ, data=[kind, data]))
    return made, types


def recorded(key: str, name: str) -> Any:
    return json.loads(json.dumps(openapi_values.answers()[key][name]["value"]))


def test_client_has_few_classes_with_names_that_say_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    names = classes(generated())
    with capsys.disabled():
        print(f"\ngenerated client: {len(names)} classes")
    assert len(names) <= MOST_CLASSES
    assert {"Problem", "Verification", "Verdict", "Policy", "Claim"} <= set(names)
    # The generator makes such names of schemas that have none.
    assert not [name for name in names if re.search(r"Type\d|Item$|Response|Body", name)]


def test_client_reads_a_reason_a_kind_of_step_an_outcome_and_a_field_of_a_later_release() -> None:
    answer = recorded("GET /verifications/{verification} 200", "match")
    answer["verdict"] |= {"reasons": ["REASON_OF_TOMORROW"], "outcome": "maybe_match", "remedy": "write_a_letter", "field_of_tomorrow": 1}
    answer["verdict"]["fields"]["iban"] = {"score": 1.0, "missing": None, "reasons": []}
    answer["timeline"]["steps"].append({"at": "2027-01-15T08:00:00.120Z", "kind": "step_of_tomorrow", "by": "moon", "phase": "full"})
    answer |= {"state": "sleeping", "waiting_for": "the_moon", "field_of_tomorrow": {"a": [1]}}
    made, types = read("Verification", answer)
    # A generated class keeps what it cannot read as a dictionary.
    assert types == ["datetime", "Verdict", "FieldScores", "Timeline", "TimelineStep"]
    assert made["verdict"]["reasons"] == ["REASON_OF_TOMORROW"]
    assert made["verdict"]["outcome"] == "maybe_match"
    assert made["verdict"]["field_of_tomorrow"] == 1
    assert made["timeline"]["steps"][-1]["kind"] == "step_of_tomorrow"
    assert made["timeline"]["steps"][-1]["phase"] == "full"
    assert made["field_of_tomorrow"] == {"a": [1]}


@pytest.mark.parametrize("more", [{}, {"type": "urn:titleholder:problem:problem-of-tomorrow", "remedy": "sleep", "moon": "full"}])
def test_client_reads_every_problem(more: dict[str, Any]) -> None:
    problems = [example["value"] | more for example in json.loads(openapi.DOCUMENT.read_text())["components"]["examples"].values()]
    program = "import json, sys; from titleholder_client.models import Problem\n"
    program += "print(json.dumps([Problem.from_dict(one).to_dict()['type'] for one in json.load(sys.stdin)]))"
    assert json.loads(run(program, data=problems)) == [problem["type"] for problem in problems]


PARSE = """
import importlib, json, pkgutil, sys
import httpx
from titleholder_client import Client, api
found = {}
for module in pkgutil.walk_packages(api.__path__, api.__name__ + "."):
    if not module.ispkg:
        found[module.name.rpartition(".")[2]] = importlib.import_module(module.name)
client, read = Client(base_url="http://x"), []
for operation, status, answer in json.load(sys.stdin):
    try:
        parsed = found[operation]._parse_response(client=client, response=httpx.Response(status, json=answer))
        read.append(type(parsed).__name__)
    except Exception as error:
        read.append(f"{operation} {status}: {error!r}")
print(json.dumps(read))
"""
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in json.loads(openapi.DOCUMENT.read_text())["paths"].items()
    for method, operation in methods.items()
}


def parsed(answers: list[tuple[str, int, Any]]) -> list[str]:
    """The class as which the client reads each answer of an operation with a status, or the error."""
    made: list[str] = json.loads(run(PARSE, data=answers))
    return made


def test_client_reads_an_error_of_the_gateway_from_every_operation() -> None:
    statuses = (400, 401, 403, 404, 413, 429, 500, 503)
    answers = [(each["operationId"], status, {"message": "No"}) for each in OPERATIONS.values() for status in statuses]
    read = parsed(answers)
    documented = [str(status) in each["responses"] for each in OPERATIONS.values() for status in statuses]
    # A status that the document lacks is read as nothing.
    expected = ["GatewayMessage" if known else "NoneType" for known in documented]
    assert [(answer, kind) for answer, kind, right in zip(answers, read, expected, strict=True) if kind != right] == []


def test_client_reads_a_problem_of_the_statuses_that_the_gateway_may_also_give() -> None:
    problems = {str(each["value"]["status"]): each["value"] for each in openapi.document()["components"]["examples"].values()}
    answers = [
        (each["operationId"], int(status), problems[status])
        for each in OPERATIONS.values()
        for status, answer in each["responses"].items()
        if "x-problem-types" in answer
    ]
    assert set(parsed(answers)) == {"Problem"}


@pytest.mark.parametrize("release", openapi_releases.kept())
def test_client_reads_answers_of_an_earlier_release(release: str) -> None:
    found = list(answers_of(release))
    assert len({route for route, *_ in found}) > 10
    read = parsed([(OPERATIONS[route]["operationId"], int(status), value) for route, status, _, value in found])
    assert [kind for kind in read if ": " in kind or kind in ("NoneType", "dict")] == []


def test_generator_that_complains_fails(tmp_path: Any) -> None:
    document = json.loads(openapi.DOCUMENT.read_text())
    document["paths"]["/docs"]["get"]["responses"]["200"]["content"] = {"*/*": {"schema": {"type": "string"}}}
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    with pytest.raises(GeneratorError, match="Unsupported content_type"):
        generated_client.generate(tmp_path / "openapi.json", tmp_path / "client")
