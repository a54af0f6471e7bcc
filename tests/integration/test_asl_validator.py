"""asl-validator, which other people wrote, judges the workflows' definitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.aws.paths import ROOT
from tests.support import judges
from tools import asl
from tools.fetch_npm import FetchError

FILES = sorted((ROOT / "statemachines").glob("*.asl.json"))


pytestmark = pytest.mark.slow


def judged(files: list[Path]) -> str:
    try:
        return asl.judge(files)
    except FetchError as error:
        judges.require("asl-validator", False, str(error))
        raise


def test_definitions_are_valid() -> None:
    assert judged(FILES) == ""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda states: states["Outcome"].update(Default="Nowhere"),
        lambda states: states["WaitForCooldown"].update(TimestampPath="$.refresh..["),
    ],
    ids=["unknown state", "broken path"],
)
def test_spoilt_definition_is_found(spoil: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    definition = json.loads((ROOT / "statemachines/verify_account.asl.json").read_text())
    spoil(definition["States"])
    (tmp_path / "spoilt.asl.json").write_text(json.dumps(definition))
    assert "spoilt.asl.json" in judged([tmp_path / "spoilt.asl.json"])
