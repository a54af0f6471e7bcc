"""Nobody learns from an answer whether an id that is not theirs exists."""

from __future__ import annotations

import pytest

from tests.support.world import CLAIM, Answer, Sandbox


def alike(one: Answer, other: Answer) -> bool:
    return (one.status, one.json, one.content_type) == (other.status, other.json, other.content_type)


@pytest.mark.parametrize("path", ["/accounts/{}", "/accounts/{}/owners", "/accounts/{}/snapshots"])
@pytest.mark.parametrize("asker", [{}, {"Stripe_Account": "acct_other"}])
def test_account_of_another_connected_account_is_answered_as_one_that_does_not_exist(
    sandbox: Sandbox, path: str, asker: dict[str, str]
) -> None:
    ref = sandbox.link("fresh", stripe_account="acct_owner")
    body = {"account": ref.account, "claim": dict(CLAIM)}
    assert sandbox.http("POST", "/verifications", body, Stripe_Account="acct_owner").status == 200
    theirs = sandbox.http("GET", path.format(ref.account), **asker)
    unknown = sandbox.http("GET", path.format("fca_" + "9" * (len(ref.account) - 4)), **asker)
    assert (theirs.status, theirs.json) == (unknown.status, {**unknown.json, **{k: v for k, v in theirs.json.items() if k == "account"}})
    assert "owners" not in theirs.json
    assert not theirs.json.get("snapshots")


def test_verifying_anothers_account_is_refused_as_one_that_does_not_exist(sandbox: Sandbox) -> None:
    ref = sandbox.link("fresh", stripe_account="acct_owner")
    answers = [
        sandbox.http("POST", "/verifications", {"account": account, "claim": dict(CLAIM)}, Stripe_Account="acct_other")
        for account in (ref.account, "fca_unknown")
    ]
    assert answers[0].status == 404
    assert alike(*answers)
