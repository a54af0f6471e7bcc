"""docs/reference/events.md has every type of event on the bus, each with samples that fit, and rules that AWS takes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from cfnlint.api import lint_all

from titleholder.aws.event_publisher import SOURCE
from tools.reference import FOLDER, ROOT
from tools.reference.events import KINDS, RULE_COMMANDS, RULE_TEMPLATE, SAMPLES, complaints, samples

PAGE = (FOLDER / "events.md").read_text()
PACKAGE = ROOT / "layers" / "titleholder" / "python" / "titleholder"


def published() -> set[str]:
    """The detail types of the events on the bus, by the calls that make them."""
    texts = "".join(path.read_text() for folder in ("services", "batches") for path in (PACKAGE / folder).glob("*.py"))
    return set(re.findall(r"""(?:bus\.publish|Announcement)\(\s*"(\w+)\"""", texts))


def test_page_has_every_type_that_is_published_and_no_other() -> None:
    assert set(KINDS) == published()
    assert re.findall(r"^## ([A-Z]\w+)$", PAGE, re.MULTILINE) == list(KINDS)


def test_every_type_has_a_sample_and_the_page_shows_each_sample() -> None:
    assert {sample["detail-type"] for sample in samples().values()} == set(KINDS)
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    assert sorted(shown, key=lambda sample: sample["id"]) == sorted(samples().values(), key=lambda sample: sample["id"])


@pytest.mark.parametrize("name", [path.stem for path in sorted(SAMPLES.iterdir())])
class TestSample:
    def test_is_an_event_as_eventbridge_delivers_it(self, name: str) -> None:
        sample = samples()[name]
        assert set(sample) == {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}
        assert (sample["source"], sample["detail-type"]) == (SOURCE, name.partition(".")[0])

    def test_fits_the_description_of_its_type(self, name: str) -> None:
        sample = samples()[name]
        assert list(complaints(sample["detail-type"], sample["detail"])) == []

    def test_names_none_but_invented_ids(self, name: str) -> None:
        assert not re.search(r"TESTERMAN|example\.com", (SAMPLES / f"{name}.json").read_text(), re.IGNORECASE)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mode": None}, "mode is a NoneType"), ({"colour": "red"}, "colour is described nowhere"), ({"score": "99"}, "score is a str"),
        ({"score": True}, "score is a bool"), ({"verification": ...}, "no verification"),
    ],
)  # fmt: skip
def test_event_that_does_not_fit_its_description_is_noticed(change: dict[str, Any], complaint: str) -> None:
    detail = {name: value for name, value in (samples()["VerificationCompleted"]["detail"] | change).items() if value is not ...}
    assert complaint in " ".join(complaints("VerificationCompleted", detail))


def test_event_that_no_page_describes_is_noticed() -> None:
    assert list(complaints("VerificationForgotten", {})) == ["VerificationForgotten is described nowhere"]


def test_rule_of_the_page_is_a_template_that_cloudformation_takes() -> None:
    assert f"```yaml\n{RULE_TEMPLATE.strip()}\n```" in PAGE
    assert [str(found) for found in lint_all(RULE_TEMPLATE) if not found.rule.id.startswith("I")] == []


def commands(text: str) -> list[list[str]]:
    """The calls of the AWS CLI in a block of shell commands: service, operation, options with values."""
    text = re.sub(r"^allowed\(\).*?^}\n", "", text.replace("\\\n", " "), flags=re.MULTILINE | re.DOTALL)
    calls = [found.rstrip(')"') for found in re.findall(r"aws (.+?)(?=\)\"?$|$)", text, re.MULTILINE)]
    return [shlex.split(call + ('"' if call.count('"') % 2 else "")) for call in calls]


def test_commands_of_the_page_have_options_that_aws_knows() -> None:
    assert f"```sh\n{RULE_COMMANDS.strip()}\n```" in PAGE
    found = commands(RULE_COMMANDS)
    assert len(found) == 9
    for service, operation, *options in found:
        model = botocore.session.get_session().get_service_model(service)
        [name] = [each for each in model.operation_names if xform_name(each, "-") == operation]
        known = {f"--{xform_name(member, '-')}" for member in model.operation_model(name).input_shape.members}
        assert {option for option in options if option.startswith("--")} <= known | {"--query", "--output"}


def test_samples_are_no_events_that_call_a_function() -> None:
    """`events/` has those samples. Each of them is given to its handler."""
    assert {path.name for path in Path(ROOT / "events").iterdir() if path.is_dir()} == {"bus"}
