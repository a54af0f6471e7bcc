"""The commands of docs/recovery.md and docs/upgrading.md can be given: to AWS's API as boto3 knows it, to this project's tools, to make."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name

from local import rehearse
from tests.support.functions import ROOT
from tests.support.resolved import resolved
from tools.recovery import __main__ as recovery
from tools.recovery.stack import load_template

DOCUMENTS = ("docs/recovery.md", "docs/upgrading.md")
TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}
GLOBAL = {"region", "query", "output", "profile", "endpoint-url", "no-cli-pager"}
VARIABLES = {"$STACK": "titleholder", "$REGION": "eu-west-1"}


def commands(first: str) -> Iterator[Any]:
    """The commands of the documents that begin with a word: in blocks of code, and in lines of text."""
    for name, text in TEXTS.items():
        blocks = "\n".join(re.findall(r"^ *```\n(.*?)^ *```", text, re.S | re.M))
        lines = [line.strip() for line in blocks.splitlines()] + re.findall(r"`(" + re.escape(first) + r" [^`]+)`", text)
        for line in lines:
            if line.startswith(f"{first} "):
                for variable, value in VARIABLES.items():
                    line = line.replace(variable, value)
                yield pytest.param(shlex.split(line)[len(first.split()) :], id=f"{name}: {line[:90]}")


@cache
def service(name: str) -> Any:
    return boto3.client(name, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


def options(words: list[str]) -> set[str]:
    return {word.removeprefix("--") for word in words if word.startswith("--")}


@pytest.mark.parametrize("words", list(commands("aws")))
def test_command_of_aws_is_one_of_its_api(words: list[str]) -> None:
    client, action = service(words[0]), words[1]
    if action == "wait":
        assert words[2].replace("-", "_") in client.waiter_names
        assert {"stack-name", "change-set-name"} >= options(words) - GLOBAL
        return
    operations = {xform_name(operation, "-"): operation for operation in client.meta.service_model.operation_names}
    assert action in operations
    shape = client.meta.service_model.operation_model(operations[action]).input_shape
    known = {xform_name(member, "-"): member for member in shape.members}
    given = options(words) - GLOBAL
    # A switch is given as `--name` or `--no-name`.
    switches = {f"no-{name}" for name, member in known.items() if shape.members[member].type_name == "boolean"}
    assert given <= set(known) | switches
    assert {name for name, member in known.items() if member in shape.required_members} <= given


@pytest.mark.parametrize("words", list(commands(".venv/bin/python -m tools.recovery")))
def test_recovery_command_is_understood(words: list[str]) -> None:
    if "--help" not in words:
        assert recovery.parser().parse_args(words).command


def test_documents_name_each_procedure_that_is_rehearsed() -> None:
    text = "".join(TEXTS.values())
    assert [name for name in rehearse.PROCEDURES if f"`{name}`" not in text] == []


def test_each_recovery_command_is_described() -> None:
    [commands] = [action.choices for action in recovery.parser()._actions if action.dest == "command"]
    described = re.findall(r'tools\.recovery --stack "\$STACK" --region "\$REGION" ([a-z-]+)', TEXTS["docs/recovery.md"])
    assert set(described) - {"--help"} == set(commands)  # type: ignore[arg-type]


@pytest.mark.parametrize("heading", [part.partition("\n")[0] for part in TEXTS["docs/recovery.md"].split("\n## ")[2:]])
def test_procedure_says_who_what_is_lost_and_how_to_see_that_it_worked(heading: str) -> None:
    section = TEXTS["docs/recovery.md"].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for word in ("**When**", "**Who**", "**How to see that it worked**"):
        assert word in section, word
    assert "lost" in section


def test_command_for_a_deleted_vault_key_has_the_key_and_its_alias_made_anew_and_changes_nothing_else(tmp_path: Path) -> None:
    [command] = re.findall(r"^ *(sed .*)$", TEXTS["docs/recovery.md"], re.MULTILINE)
    before = load_template()["Resources"]
    for name in ("template.yaml", "tools/recovery/importing.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    text = (tmp_path / "template.yaml").read_text()
    after = load_template(tmp_path / "template.yaml")["Resources"]
    made = set(after) - set(before)
    assert set(before) - set(after) == {"VaultKey", "VaultKeyAlias"}
    assert sorted(after[name]["Type"] for name in made) == ["AWS::KMS::Alias", "AWS::KMS::Key"]
    # What is left differs in references only, of which none leads to the old names. Functions name the new key itself: with a value that
    # is as it was, Lambda would refuse to publish a version, and with it the deployment.
    assert (
        re.sub(r"VaultKey\d", "VaultKey", text.replace("VAULT_KEY_ID: !Ref VaultKey2", "VAULT_KEY_ID: !Ref VaultKeyAlias"))
        == (ROOT / "template.yaml").read_text()
    )
    assert not re.search(r"VaultKey(?!\d)", text)
    [alias] = [after[name] for name in made if after[name]["Type"] == "AWS::KMS::Alias"]
    assert alias == {
        **before["VaultKeyAlias"],
        "Properties": {**before["VaultKeyAlias"]["Properties"], "TargetKeyId": {"Ref": "VaultKey2"}},
    }
    tool = (tmp_path / "tools/recovery/importing.py").read_text()
    assert 'found["VaultKey2"]' in tool
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["importing.py", "template.yaml"]


def test_log_groups_that_came_back_are_looked_for_under_the_prefixes_of_all_of_them() -> None:
    prefixes = [
        prefix.replace("$STACK", "titleholder") for prefix in re.findall(r'--log-group-name-prefix "([^"]+)"', TEXTS["docs/recovery.md"])
    ]
    names = [one["Properties"]["LogGroupName"] for one in resolved().values() if one["Type"] == "AWS::Logs::LogGroup"]
    assert names
    assert [name for name in names if not name.startswith(tuple(prefixes))] == []
