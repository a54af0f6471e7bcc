"""The matcher answers what vendors and schemes publish, and the report of it counts right."""

import pytest

from tests.conformance.cases import CASES, Case
from tests.conformance.report import judge, render


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.group}: {c.claim} / {c.owner}")
def test_published_example_gets_the_published_outcome_and_band(case: Case) -> None:
    verdict, conforms, in_band = judge(case)
    assert conforms, verdict.as_dict()
    assert in_band, (verdict.fields[case.field_name], case.band)


def test_every_case_names_its_source() -> None:
    assert all(case.source.startswith("https://") or case.source.startswith("our own") for case in CASES)
    published = [case for case in CASES if case.source.startswith("https://")]
    assert len(published) >= 50


def test_report_counts_no_false_accept_and_no_false_reject() -> None:
    summary = next(line for line in render().splitlines() if line.startswith("all "))
    assert summary.split()[-2:] == ["0", "0"]
