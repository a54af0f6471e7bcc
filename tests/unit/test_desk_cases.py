"""The close matches of the desk on a developer's machine: each is one by the matcher, and no two are of a kind."""

from __future__ import annotations

from local.desk import CLOSE_MATCHES
from titleholder.matching import decide


def test_every_case_is_a_close_match_with_the_reason_of_its_kind() -> None:
    for account, case in CLOSE_MATCHES.items():
        verdict = decide(case.claim, case.owners)
        assert (account, verdict.outcome) == (account, "close_match")
        assert case.reason in verdict.reasons, account


def test_no_two_cases_have_the_same_reasons() -> None:
    reasons = {frozenset(decide(case.claim, case.owners).reasons) for case in CLOSE_MATCHES.values()}
    assert len(reasons) == len(CLOSE_MATCHES) == 12
