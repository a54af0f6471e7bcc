"""AWS commands in any document: that AWS takes them, and that they mean what is in use."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from tests.support.template import ROOT, functions, template

DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
CLI_WAITS_SECONDS = 60
"""How long the AWS CLI waits for an answer by default, before it calls again (seconds)."""


def commands(document: Path) -> list[str]:
    """The commands in a document: lines of blocks of code, and `code` in lines of text."""
    text = document.read_text()
    fenced = r"^ *```\w*\n(.*?)^ *```"
    blocks = "\n".join(re.findall(fenced, text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    inline = re.findall(r"`([^`]+)`", re.sub(fenced, "", text, flags=re.MULTILINE | re.DOTALL))
    return [" ".join(line.split()) for line in [*blocks.splitlines(), *inline]]


@cache
def takes_no_alias() -> set[str]:
    """KMS's operations whose `KeyId` is a key's id or ARN, by AWS's own description of them: as the AWS CLI calls them."""
    model = botocore.session.get_session().get_service_model("kms")
    found = set()
    for name in model.operation_names:
        shape = model.operation_model(name).input_shape
        key = shape.members.get("KeyId") if shape else None
        if key is not None and "alias" not in key.documentation.lower():
            found.add(xform_name(name, "-"))
    return found


def test_kms_takes_an_alias_where_it_only_uses_or_describes_a_key() -> None:
    assert {"cancel-key-deletion", "enable-key", "create-grant"} <= takes_no_alias()
    assert not {"describe-key", "encrypt", "decrypt", "generate-data-key"} & takes_no_alias()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
class TestDocument:
    def test_names_a_kms_key_by_its_alias_only_where_kms_takes_one(self, document: Path) -> None:
        given = [found for line in commands(document) for found in re.findall(r"aws kms ([\w-]+)[^;&|]*--key-id[ =]\"?alias/", line)]
        assert [operation for operation in given if operation in takes_no_alias()] == []

    def test_asks_the_stack_for_the_table_in_use_not_for_its_own(self, document: Path) -> None:
        """After a restore the functions use the table that `DataTableName` names."""
        assert [line for line in commands(document) if re.search(r"\$\(resource \"?Table\"?\)", line)] == []

    def test_waits_for_a_function_as_long_as_it_may_run(self, document: Path) -> None:
        """Otherwise the AWS CLI invokes it again after a minute, while it still runs."""
        default = template()["Globals"]["Function"]["Timeout"]
        for line in commands(document):
            for name in re.findall(r"aws lambda invoke\b.*?\$\(resource (\w+)\)", line):
                if functions()[name].get("Timeout", default) >= CLI_WAITS_SECONDS:
                    assert re.search(r"--cli-read-timeout 0\b|--invocation-type Event\b", line), line
