"""docs/deploying.md: what it says of names and of overriding parameters."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import botocore.session
import pytest

from local.openapi import gateway_routes
from tests.support.template import ROOT, template

GUIDE = (ROOT / "docs" / "deploying.md").read_text()
LONGEST_BUCKET_NAME = 63


def test_longest_name_of_a_stack_fits_into_the_buckets_name_in_every_region() -> None:
    [longest] = {int(number) for number in re.findall(r"at most \*{0,2}(\d+) characters", GUIDE)}
    regions = botocore.session.get_session().get_available_regions("s3")
    name = template()["Resources"]["Bucket"]["Properties"]["BucketName"]["Fn::Sub"]
    rest = name.replace("${AWS::StackName}", "").replace("${AWS::AccountId}", "1" * 12).replace("${AWS::Region}", max(regions, key=len))
    assert len(rest) + longest == LONGEST_BUCKET_NAME


def test_nobody_is_asked_to_replace_a_profiles_parameters() -> None:
    """`sam deploy --parameter-overrides` replaces the whole list in samconfig.toml."""
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        code = "\n".join(re.findall(r"^ *```sh\n(.*?)^ *```", document.read_text(), re.M | re.S))
        assert not re.search(r"sam (deploy|build).*--parameter-overrides", code), document.name


def test_secrets_are_named_as_the_profiles_name_them() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    given = dict(each.split("=", 1) for each in config["live"]["deploy"]["parameters"]["parameter_overrides"])
    names = [template()["Parameters"][name]["Default"] for name in ("StripeApiKeySecretName", "StripeWebhookSecretName")]
    for name in (*names, given["StripeApiKeySecretName"], given["StripeWebhookSecretName"]):
        assert name in GUIDE


def blocks(document: str) -> list[str]:
    """The blocks of shell commands of a document."""
    text = (ROOT / "docs" / document).read_text()
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```", text, re.M | re.S)
    return [re.sub(r"\\\n *", " ", block) for _, language, block in found if language in ("", "sh")]


@pytest.mark.parametrize("document", ["deploying.md", "edge.md", "recovery.md", "upgrading.md"])
def test_commands_use_variables_that_an_earlier_command_has_set(document: str) -> None:
    known: set[str] = set()
    unknown = []
    for line in "".join(blocks(document)).splitlines():
        # `A=1 command "$A"` and `A=1 B=$A` would use the A of before.
        used = set(re.findall(r"(?<!\\)\$\{?([A-Za-z_]\w*)", line))
        loops = set(re.findall(r"\bfor (\w+) in", line))
        unknown += [f"{name}: {line}" for name in sorted(used - known - loops)]
        known |= loops | set(re.findall(r"(?:^|\s|;)([A-Za-z_]\w*)=", line))
    assert unknown == []


def test_commands_of_the_checklist_run_one_after_the_other_in_a_fresh_checkout(tmp_path: Path) -> None:
    """With an AWS CLI, a SAM CLI and a make that do nothing. bash ends at a variable that is not set and a folder that is not there."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "iam").symlink_to(ROOT / "docs" / "iam")
    nothing = "aws() { echo 123456789012; }; sam() { :; }; make() { :; }"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([nothing, *blocks("deploying.md")])], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    made = {path.name: json.loads(path.read_text()) for path in (tmp_path / "build").iterdir()}
    assert set(made) == {"deployer.json", "deployer-limits.json", "on-call.json", "operator.json", "caller.json", "smoke.json"}
    # A back end may neither see names of the review desk nor decide.
    assert [statement["Sid"] for statement in made["caller.json"]["Statement"]] == ["Read", "Verify", "Erase"]
    assert not re.search(r"ACCOUNT_ID|API_ID|REGION|STACK", json.dumps(made))


def test_every_command_goes_to_the_region_that_was_chosen() -> None:
    """boto3 and with it the SAM CLI read AWS_DEFAULT_REGION, the AWS CLI AWS_REGION first."""
    first, *_ = blocks("deploying.md")
    assert 'export AWS_REGION="$REGION" AWS_DEFAULT_REGION="$REGION"' in first
    rest = "".join(blocks("deploying.md"))
    assert set(re.findall(r"(?:--region |\bREGION=)([^\s;]+)", rest)) <= {'"$REGION"', "eu-central-1"}
    assert rest.count("eu-central-1") == 1


def test_commands_may_be_repeated_for_another_stack() -> None:
    """The steps are taken once for each stack, so only the first block names one."""
    commands = re.sub(r" #.*", "", "".join(blocks("deploying.md")[1:]))
    assert re.findall(r".*titleholder.*", commands) == []


def test_no_document_has_a_parameter_taken_out_of_the_profile() -> None:
    """The SAM CLI keeps a stack's value of a parameter that the profile does not name."""
    name = r"`(?:" + "|".join(template()["Parameters"]) + r")\b[^`]*`"
    verbs = r"\b(?:remov|delet|omitt?|dropp?)(?:e|es|ing|ed|s)?\b"
    wrong = []
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")):
        text = " ".join(path.read_text().split())
        wrong += [
            f"{path.name}: {found[0]}"
            for found in re.finditer(rf"{verbs} (?:the |a )?(?:line |parameter )?(?:with |of )?{name}", text, re.I)
        ]
    assert wrong == []


def test_pool_of_cognito_gets_one_resource_server_with_every_scope_of_the_routes() -> None:
    """A pool refuses a second resource server with the same identifier."""
    commands = "".join(blocks("edge.md"))
    [made] = re.findall(r"create-resource-server .*", commands)
    scopes = set(re.findall(r"ScopeName=(\w+)", made))
    assert scopes == {scope for route in gateway_routes().values() for scope in route.scopes}
    granted = {name: set(re.findall(r"titleholder/(\w+)", line)) for name, line in re.findall(r"--client-name ([\w-]+)(.*)", commands)}
    assert granted == {"back-end": {"read", "verify", "erase"}, "desk": {"review", "support"}}
