"""The logs have the fields that saved queries read (tests/unit/template/test_queries.py checks their names against the source)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.logs import STANDARD, logged
from tests.support.sandbox import CLAIM, Moment, Sandbox
from tests.support.verdicts import run
from tests.unit.template.test_queries import BUILT_IN, QUERIES, access_log, fields, messages

NEVER_BY_A_FUNCTION = access_log() | BUILT_IN
ELSEWHERE = {"error"}
"""Fields of messages that tests of their own cause: `error` names an exception in the matcher, or one left to reconcile."""


@pytest.fixture
def lines(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The log lines that operators look for: of verifications, failed requests, refused webhooks, refusals by Stripe."""
    run(sandbox, sandbox.link())
    sandbox.http("POST", "/verifications", {"account": sandbox.link("failing").account, "claim": dict(CLAIM), "max_age": 0})
    sandbox.http("GET", "/accounts/fca_unknown")
    sandbox.http("POST", "/webhooks/stripe", {}, function="receive_webhook")

    def fail(moment: Moment) -> None:
        raise RuntimeError("Zebulon")

    sandbox.taps.append(fail)
    sandbox.http("GET", f"/verifications/ver_{'0' * 32}")
    sandbox.taps.clear()
    sandbox.simulator.configure(api_keys=frozenset({"sk_test_other"}))
    sandbox.http("GET", f"/accounts/{sandbox.link().account}")
    return sandbox.log_lines()


def test_lines_have_no_fields_but_those_that_the_source_gives_them(lines: list[dict[str, Any]]) -> None:
    assert len({line["message"] for line in lines}) > 6
    for line in lines:
        assert set(line) <= logged()[line["message"]] | STANDARD, line["message"]


@pytest.mark.parametrize("name", QUERIES)
def test_saved_query_finds_lines_with_its_fields(name: str, lines: list[dict[str, Any]]) -> None:
    query = QUERIES[name]["QueryString"]
    found = [line for line in lines if not messages(query) or line["message"] in messages(query)]
    assert found
    wanted = fields(query) - NEVER_BY_A_FUNCTION - ELSEWHERE
    # `stripe_code` is there where Stripe's error has a code, which a refused key has not.
    assert wanted - set().union(*found) <= {"stripe_code"}
