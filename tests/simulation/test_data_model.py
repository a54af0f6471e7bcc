"""docs/data-model.md names what is stored: by release 0.1.0, whose items must go on working, and by today's code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.schedules import simulate
from tests.support.data_model import ALWAYS, row_kinds, section, without_number
from tests.support.fakes.dynamodb import FakeDynamoDB
from tests.support.functions import ROOT
from tests.support.template import template
from titleholder.services.rate_limiter import Kind

FIXTURE = ROOT / "tests" / "fixtures" / "release_0_1_0"
PACKAGE = ROOT / "layers" / "titleholder" / "python" / "titleholder"
HEADINGS = {False: "## The table `<stack>`", True: "## The table `<stack>-keys`"}
NOT_IN_CODE = {"data", "validation", "in_progress_expiration"} | {f"{kind.value}_ms" for kind in Kind}
"""Attributes that Powertools writes, or whose names are composed."""


def kept(name: str) -> Any:
    return json.loads((FIXTURE / name).read_text())


def unknown(item: Mapping[str, Any], *, keys: bool = False) -> set[str]:
    """What the document does not say of an item: its kind, or attributes."""
    pk, sk = item["pk"]["S"], item.get("sk", {"S": ""})["S"]
    found = [kind for kind in row_kinds(HEADINGS[keys]) if kind.has(pk, sk)]
    if len(found) != 1:
        return {f"{pk.partition('#')[0]} / {sk}: {[kind.name for kind in found]}"}
    return {f"{found[0].name}: {name}" for name in item if without_number(name) not in found[0].attributes}


@pytest.mark.parametrize(("file", "keys"), [("table.json", False), ("keys.json", True)])
def test_document_names_every_attribute_that_release_0_1_0_stored(file: str, keys: bool) -> None:
    items = kept(file)
    assert items
    assert not set().union(*(unknown(item, keys=keys) for item in items))


@pytest.mark.parametrize("seed", range(6))
def test_document_names_every_attribute_that_the_simulation_stores(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: set[str] = set()
    store = FakeDynamoDB._store

    def _store(self: FakeDynamoDB, table: str, item: dict[str, Any]) -> None:
        missing.update(unknown(item, keys=table.endswith("keys")))
        store(self, table, item)

    monkeypatch.setattr(FakeDynamoDB, "_store", _store)
    simulate(seed)
    assert not missing


def test_code_knows_every_attribute_of_the_document() -> None:
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    named = set().union(*(kind.attributes for heading in HEADINGS.values() for kind in row_kinds(heading)))
    assert not {name for name in named - ALWAYS - NOT_IN_CODE if not re.search(rf"\b{name}\b", code)}


def test_document_names_every_field_of_the_messages_that_release_0_1_0_left() -> None:
    named = set(re.findall(r"`([a-z_]+)`", section("## Queue messages")))
    assert not {field for message in kept("queues.json")["messages"] for field in message["body"]} - named


def test_document_names_every_key_of_the_workflows_that_release_0_1_0_left_running() -> None:
    named = set(re.findall(r"`([a-z_]+)", section("## Workflows")))
    inputs = [execution["input"] for execution in kept("executions.json") if "input" in execution]
    assert inputs
    assert not set().union(*inputs) - named


def test_documented_logical_ids_are_in_the_template() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", section("## Template"), re.M)
    ids = {name for row in rows for name in re.findall(r"`([A-Za-z]+)`", row)}
    assert len(ids) > 20
    assert not ids - set(template()["Resources"])


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`T/([a-z_/]+\.py)`", Path(ROOT / "docs/data-model.md").read_text()))))
def test_documented_module_exists(path: str) -> None:
    assert (PACKAGE / path).exists()
