"""`if_inactive` of `POST /verifications`: what it accepts, what it shows, and that it is a part of the request."""

from __future__ import annotations

from typing import Any

import pytest

from local.stripe_simulator.options import PREVIEW_VERSION
from tests.support.sandbox import Sandbox
from tests.support.verifications import customer, get, heads, post

WAITS = {"waiting_for": "repair", "remedy": "link_again"}


def shown(answer: Any) -> dict[str, Any]:
    return {name: answer[name] for name in WAITS if answer.get(name) is not None}


def test_caller_is_told_what_is_waited_for(sandbox: Sandbox) -> None:
    ref = sandbox.link("inactive")
    accepted = post(sandbox, account=ref.account, if_inactive="wait")
    assert (accepted.status, accepted.json["state"], shown(accepted.json)) == (202, "waiting", WAITS)
    assert shown(get(sandbox, accepted.json["id"])) == WAITS
    listed = sandbox.http("GET", f"/verifications?account={ref.account}").json["verifications"]
    assert [shown(one) for one in listed] == [WAITS]


def test_remedy_is_a_relink_where_stripe_names_the_authorization(sandbox: Sandbox) -> None:
    sandbox.cold_start(STRIPE_PREVIEW_VERSION=PREVIEW_VERSION)
    ref = sandbox.link("inactive")
    assert shown(post(sandbox, account=ref.account, if_inactive="wait").json) == {**WAITS, "remedy": "relink"}


def test_account_that_nothing_repairs_is_not_waited_for(sandbox: Sandbox) -> None:
    sandbox.cold_start(STRIPE_PREVIEW_VERSION=PREVIEW_VERSION)
    ref = sandbox.link()
    sandbox.simulator.deactivate(ref.account, cause="account_closed", action="none")
    accepted = post(sandbox, account=ref.account, if_inactive="wait").json
    assert shown(accepted) == {}
    token = sandbox.enter(sandbox.store.verifications.get(accepted["id"]))
    sandbox.settle()
    assert sandbox.outcome(token) == {"outcome": "not_verifiable", "reason": "ACCOUNT_INACTIVE"}


@pytest.mark.parametrize("wish", [{}, {"if_inactive": "refuse"}], ids=["nothing", "refuse"])
def test_nothing_is_waited_for_without_the_wish(sandbox: Sandbox, wish: dict[str, str]) -> None:
    ref = sandbox.link("inactive")
    accepted = post(sandbox, account=ref.account, **wish).json
    assert shown(accepted) == {}
    assert "if_inactive" not in heads(sandbox)[0]
    token = sandbox.enter(sandbox.store.verifications.get(accepted["id"]))
    sandbox.settle()
    assert sandbox.outcome(token) == {"outcome": "not_verifiable", "reason": "ACCOUNT_INACTIVE"}


def test_active_account_is_verified_as_ever(sandbox: Sandbox) -> None:
    ref = sandbox.link()
    accepted = post(sandbox, account=ref.account, if_inactive="wait").json
    assert shown(accepted) == {}
    token = sandbox.enter(sandbox.store.verifications.get(accepted["id"]))
    sandbox.settle()
    sandbox.wait(6)
    sandbox.settle()
    assert (sandbox.outcome(token) or {})["outcome"] == "ready"


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [("wait", "wait", 202), ("wait", "refuse", 422), ("refuse", "wait", 422), (None, "wait", 422), (None, "refuse", 202)],
)
@pytest.mark.parametrize("of", ["account", "customer"])
def test_wish_is_a_part_of_the_request_only_if_it_is_to_wait(
    sandbox: Sandbox, stripe: Any, of: str, first: str | None, second: str | None, status: int
) -> None:
    asked = {"account": sandbox.link("inactive").account} if of == "account" else {"customer": customer(sandbox, stripe, "inactive")}
    answers = [post(sandbox, "key", **asked, **({"if_inactive": wish} if wish else {})) for wish in (first, second)]
    assert [answer.status for answer in answers] == [202, status]
    assert status == 422 or answers[0].json["id"] == answers[1].json["id"]


def test_each_account_of_a_customer_waits_for_its_own_repair(sandbox: Sandbox, stripe: Any) -> None:
    accepted = post(sandbox, customer=customer(sandbox, stripe, "inactive", "single_owner", "inactive"), if_inactive="wait").json
    for member in accepted["members"]:
        sandbox.enter(sandbox.store.verifications.get(member["verification"]))
    sandbox.settle()
    assert [shown(member) for member in get(sandbox, accepted["id"])["members"]] == [WAITS, {}, WAITS]


@pytest.mark.parametrize("wrong", ["Wait", "", True, None, 7])
def test_other_values_are_refused(sandbox: Sandbox, wrong: Any) -> None:
    answer = post(sandbox, account=sandbox.link().account, if_inactive=wrong)
    assert (answer.status, answer.bad_fields) == (422, {"if_inactive"})


def test_batch_does_not_take_the_wish(sandbox: Sandbox) -> None:
    answer = sandbox.http("POST", "/batches", {"format": "jsonl", "if_inactive": "wait"})
    assert (answer.status, answer.bad_fields) == (422, {"if_inactive"})
