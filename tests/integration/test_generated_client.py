"""A client that openapi-python-client generates from the OpenAPI document: its size, its names, and what it makes of a later release."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from local import openapi, openapi_values
from tests.support import generated_client
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


def test_generator_that_complains_fails(tmp_path: Any) -> None:
    document = json.loads(openapi.DOCUMENT.read_text())
    document["paths"]["/docs"]["get"]["responses"]["200"]["content"] = {"*/*": {"schema": {"type": "string"}}}
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    with pytest.raises(GeneratorError, match="Unsupported content_type"):
        generated_client.generate(tmp_path / "openapi.json", tmp_path / "client")
