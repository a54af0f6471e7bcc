"""Mutation testing continues where it was interrupted, and starts again for what has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import mutation

MUTANT = mutation.Mutant("titleholder.domain.rate.x_increased__mutmut_1", "domain.rate", ("domain.rate.increased", "a + b", "a - b"))


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that broke off."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mutation, "STAGE", tmp_path)
    monkeypatch.setattr(mutation, "BEGUN", tmp_path / "begun.json")
    known = [[MUTANT.name, MUTANT.module, MUTANT.change]]
    (tmp_path / "begun.json").write_text(json.dumps({"fingerprint": "of this run", "known": known}))
    return tmp_path


def test_run_of_the_same_mutants_goes_on(begun: Path) -> None:
    assert mutation._begun("of this run") == [MUTANT]


@pytest.mark.usefixtures("begun")
def test_run_of_others_begins_anew() -> None:
    assert mutation._begun("of another") is None


def test_nothing_was_begun(begun: Path) -> None:
    (begun / "begun.json").unlink()
    assert mutation._begun("of this run") is None


def test_results_are_read_from_what_mutmut_wrote_so_far(begun: Path) -> None:
    folder = begun / "mutants" / "src"
    folder.mkdir(parents=True)
    (folder / "rate.py.meta").write_text(json.dumps({"exit_code_by_key": {MUTANT.name: 1, "other": None}}))
    (folder / "half.py.meta").write_text('{"exit_code_by')
    assert mutation._codes() == {MUTANT.name: 1, "other": None}


def test_fingerprint_changes_with_what_the_results_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("package/domain/rate.py", "tests/unit/test_rate_limiter.py", "requirements-mutation.txt", "tools/mutation.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a")
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    monkeypatch.setattr(mutation, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(mutation, "__file__", str(tmp_path / "tools/mutation.py"))
    seen = {mutation.fingerprint(["domain.rate"], "200", 1)}
    assert mutation.fingerprint(["domain.rate"], "200", 1) in seen
    seen |= {mutation.fingerprint(["domain.rate"], "200", 2), mutation.fingerprint(["services.rate_limiter"], "200", 1)}
    for name in ("package/domain/rate.py", "tests/unit/test_rate_limiter.py", "requirements-mutation.txt", "tools/mutation.py"):
        (tmp_path / name).write_text("b")
        seen.add(mutation.fingerprint(["domain.rate"], "200", 1))
    assert len(seen) == 7
    (tmp_path / "tests/unit/test_other.py").write_text("of another module")
    assert mutation.fingerprint(["domain.rate"], "200", 1) in seen
