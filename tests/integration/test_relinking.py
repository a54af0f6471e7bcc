"""Relinking over HTTP: the request to Stripe, its possible results, what can't be relinked, and each call's API version."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from local.stripe_simulator.options import GA_VERSION, PREVIEW_VERSION
from tests.support.sandbox import CLAIM, PREVIEW_OPERATIONS, Answer, Sandbox
from tests.support.stripe_client import CheckedHTTPClient

ACCOUNTS = "/v1/financial_connections/accounts"
SESSIONS = "/v1/financial_connections/sessions"


@pytest.fixture(autouse=True)
def _switched_on(sandbox: Sandbox) -> None:
    sandbox.cold_start(STRIPE_PREVIEW_VERSION=PREVIEW_VERSION)


@pytest.fixture
def wire(sandbox: Sandbox) -> CheckedHTTPClient:
    """Every request to Stripe from now on."""
    checked = CheckedHTTPClient(sandbox.http_client)
    sandbox.http_client = checked  # type: ignore[assignment]
    sandbox.cold_start()
    return checked


def link(sandbox: Sandbox, scenario: str = "inactive", **options: Any) -> str:
    return sandbox.link(scenario, **{"customer": "cus_1", "permissions": ["balances", "ownership"], **options}).account


def relink(sandbox: Sandbox, account: str, key: str | None = None, headers: dict[str, str] | None = None, **body: Any) -> Answer:
    given = {"Idempotency-Key": key} if key else {}
    return sandbox.http(
        "POST", "/sessions", {"via": "financial_connections", "relink": {"account": account}, **body}, **given, **(headers or {})
    )


def found(sandbox: Sandbox, session: str) -> Any:
    answer = sandbox.http("GET", f"/sessions/{session}")
    assert answer.status == 200, answer
    return answer.json


def sent(wire: CheckedHTTPClient) -> dict[str, str]:
    return dict(parse_qsl(next(body for method, target, body, *_ in reversed(wire.exchanges) if (method, target) == ("post", SESSIONS))))


def versions(sandbox: Sandbox) -> dict[str, set[str]]:
    """By operation, the API versions of its calls."""
    seen: dict[str, set[str]] = {}
    for entry in sandbox.simulator.requests():
        seen.setdefault(entry["operation"], set()).add(entry["version"])
    return seen


# -- what is asked for -----------------------------------------------------------------------------------------------------------------


def test_inactive_account_is_relinked_and_verified(sandbox: Sandbox) -> None:
    account = link(sandbox)
    made = relink(sandbox, account)
    assert made.status == 201, made
    assert made.json["relink"] == {"account": account, "authorization": account.replace("fca_", "fcauth_")}
    assert (made.json["customer"], made.json["permissions"]) == ("cus_1", ["balances", "ownership"])
    assert (made.json["next"], bool(made.json["client_secret"])) == ("stripe.collectFinancialConnectionsAccounts", True)
    before = found(sandbox, made.json["id"])
    assert (before["relink"]["status"], before["accounts"], before["empty_reason"]) == ("pending", [], "not_linked_yet")
    sandbox.simulator.complete_relink(made.json["id"])
    sandbox.settle()
    after = found(sandbox, made.json["id"])
    assert after["relink"] == {
        "account": account,
        "authorization": made.json["relink"]["authorization"],
        "status": "succeeded",
        "relinked_account": account,
        "failure_reason": None,
    }
    assert [(one["account"], one["status"]) for one in after["accounts"]] == [(account, "active")]
    assert sandbox.http("GET", f"/accounts/{account}").json["status"] == "active"
    assert sandbox.http("POST", "/verifications", {"session": made.json["id"], "claim": dict(CLAIM)}).status == 202


def test_end_user_is_asked_for_the_present_permissions_ownership_and_the_added_ones(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    account = link(sandbox, "permission_missing", permissions=["balances"])
    present = sandbox.simulator.state(account)["account"]["permissions"]
    made = relink(sandbox, account, permissions=["transactions"], prefetch=["ownership"], return_url="myapp://back")
    assert made.json["permissions"] == sorted({*present, "ownership", "transactions"})
    params = sent(wire)
    assert params["relink_options[account]"] == account
    assert params["relink_options[authorization]"] == made.json["relink"]["authorization"]
    assert (params["prefetch[0]"], params["return_url"], params["manual_entry[mode]"]) == ("ownership", "myapp://back", "disabled")
    assert (params["account_holder[type]"], params["account_holder[customer]"]) == ("customer", "cus_1")


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [(["balances", "ownership"], (None, None)), (["ownership", "payment_method"], ("1", "all"))],
)
def test_account_that_is_paid_with_has_to_support_payments_after_the_relinking(
    sandbox: Sandbox, wire: CheckedHTTPClient, permissions: list[str], expected: tuple[str | None, str | None]
) -> None:
    relink(sandbox, link(sandbox, permissions=permissions))
    params = sent(wire)
    assert (params.get("limits[accounts]"), params.get("filters[require_payment_method_support]")) == expected


@pytest.mark.parametrize("grant", ["union", "replace"])
def test_permission_is_added_by_relinking_whatever_stripe_does_with_the_others(sandbox: Sandbox, grant: Any) -> None:
    account = link(sandbox, "permission_missing")
    refused = sandbox.http("POST", f"/accounts/{account}/refreshes")
    assert refused.problem == "permission-missing"
    made = relink(sandbox, account).json
    sandbox.simulator.complete_relink(made["id"], grant=grant)
    assert found(sandbox, made["id"])["accounts"][0]["permissions"] == ["balances", "payment_method", "ownership"] or grant == "replace"
    assert "ownership" in sandbox.http("GET", f"/accounts/{account}").json["permissions"]
    assert sandbox.http("POST", f"/accounts/{account}/refreshes").status == 202


def test_expiring_account_is_relinked_before_it_expires(sandbox: Sandbox) -> None:
    account = link(sandbox, "single_owner")
    sandbox.simulator.expire(account, sandbox.clock.now + 86_400)
    sandbox.simulator.complete_relink(relink(sandbox, account).json["id"])
    sandbox.wait(2 * 86_400)
    sandbox.settle()
    assert sandbox.http("GET", f"/accounts/{account}").json["status"] == "active"


def test_account_of_a_connected_account_is_relinked_for_its_holder(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    params = {"via": "financial_connections", "connected_account": "acct_9"}
    first = sandbox.http("POST", "/sessions", params).json["id"]
    [account] = sandbox.simulator.complete(first)["accounts"]
    made = relink(sandbox, account, connected_account="acct_9")
    assert (made.status, made.json["connected_account"]) == (201, "acct_9")
    assert (sent(wire)["account_holder[type]"], sent(wire)["account_holder[account]"]) == ("account", "acct_9")
    assert sent(wire)["limits[accounts]"] == "1"


def test_account_of_a_customer_account_is_relinked_for_it(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    sandbox.simulator.add_customer_account("acct_v2")
    account = link(sandbox, customer=None, customer_account="acct_v2")
    made = relink(sandbox, account, customer_account="acct_v2")
    assert (made.status, made.json["customer_account"], made.json["customer"]) == (201, "acct_v2", None)
    assert (sent(wire)["account_holder[type]"], sent(wire)["account_holder[customer_account]"]) == ("customer", "acct_v2")


def test_account_without_a_holder_is_relinked_without_one(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    made = relink(sandbox, link(sandbox, customer=None))
    assert made.status == 201, made
    assert not [name for name in sent(wire) if name.startswith("account_holder")]


# -- what comes of it ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_another_account_may_be_chosen_and_is_the_one_that_is_verified(sandbox: Sandbox, outcome: Any) -> None:
    account = link(sandbox)
    made = relink(sandbox, account).json["id"]
    [other] = sandbox.simulator.complete_relink(made, outcome=outcome, account={"scenario": "joint"})["accounts"]
    result = found(sandbox, made)
    assert [one["account"] for one in result["accounts"]] == [other]
    assert (result["relink"]["status"], result["relink"].get("relinked_account")) == (outcome, None)
    assert sandbox.http("GET", f"/accounts/{account}").json["status"] == "inactive"
    answer = sandbox.http("POST", "/verifications", {"session": made, "claim": dict(CLAIM)})
    assert answer.status == 202
    assert len(sandbox.http("GET", f"/verifications?account={other}").json["verifications"]) == 1


@pytest.mark.parametrize("reason", ["no_account", "no_authorization", "other"])
def test_failure_says_why(sandbox: Sandbox, reason: str) -> None:
    made = relink(sandbox, link(sandbox)).json["id"]
    sandbox.simulator.complete_relink(made, outcome="failed", failure_reason=reason)
    result = found(sandbox, made)
    assert (result["relink"]["status"], result["relink"]["failure_reason"], result["accounts"]) == ("failed", reason, [])


def test_end_user_may_leave(sandbox: Sandbox) -> None:
    made = relink(sandbox, link(sandbox)).json["id"]
    sandbox.simulator.complete_relink(made, outcome="cancelled")
    assert (found(sandbox, made)["relink"]["status"], found(sandbox, made)["accounts"]) == ("cancelled", [])
    assert sandbox.http("POST", "/verifications", {"session": made, "claim": dict(CLAIM)}).problem == "no-linked-account"


@pytest.mark.parametrize(("outcome", "remedy"), [(None, "retry"), ("failed", "relink"), ("cancelled", "relink")])
def test_session_that_relinked_nothing_says_what_to_do_next(sandbox: Sandbox, outcome: Any, remedy: str) -> None:
    made = relink(sandbox, link(sandbox), "k").json["id"]
    if outcome is not None:
        sandbox.simulator.complete_relink(made, outcome=outcome)
    answer = sandbox.http("POST", "/verifications", {"session": made, "claim": dict(CLAIM)})
    assert (answer.problem, answer.json["reason"], answer.json["remedy"]) == ("no-linked-account", "not_linked_yet", remedy)
    assert (outcome is None) == ("POST /sessions" not in answer.json["detail"])


@pytest.mark.parametrize("outcome", [None, "failed", "cancelled"])
def test_instructions_do_not_say_that_a_relinking_succeeds(sandbox: Sandbox, outcome: Any) -> None:
    account = link(sandbox)
    made = relink(sandbox, account, "k").json
    if outcome is not None:
        sandbox.simulator.complete_relink(made["id"], outcome=outcome)
    shown = relink(sandbox, account, "k").json
    assert shown["next"] == "stripe.collectFinancialConnectionsAccounts"
    assert "linked." not in shown["instructions"]
    assert "relink.status" in shown["instructions"]


def test_relinking_that_stripe_failed_succeeds_when_it_is_repeated(sandbox: Sandbox) -> None:
    account = link(sandbox)
    sandbox.simulator.fail_api("server_error", method="POST", path=SESSIONS, times=1)
    assert [relink(sandbox, account, "k").status for _ in range(2)] == [503, 201]


def answered(sandbox: Sandbox, change: Any) -> None:
    """Change each Financial Connections Session in Stripe's answers."""
    inner = sandbox.http_client.request

    def request(method: str, url: str, headers: Any, post_data: Any = None, **more: Any) -> Any:
        answer, status, answer_headers = inner(method, url, headers, post_data, **more)
        shown = json.loads(answer)
        if method == "get" and shown.get("object") == "financial_connections.session":
            change(shown)
        return json.dumps(shown), status, answer_headers

    sandbox.http_client.request = request  # type: ignore[method-assign]


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("shown", ["all", "more", "none"])
def test_accounts_are_those_of_the_session_whether_or_not_lists_have_them(sandbox: Sandbox, listed: bool, shown: str) -> None:
    account = link(sandbox)
    made = relink(sandbox, account).json["id"]
    sandbox.simulator.complete_relink(made, listed=listed)
    changes = {
        "all": lambda session: None,
        "more": lambda session: session["accounts"].update(has_more=True),
        "none": lambda session: session["accounts"].update(data=[]),
    }
    answered(sandbox, changes[shown])
    assert [one["account"] for one in found(sandbox, made)["accounts"]] == [account]


def test_other_account_of_the_authorization_is_kept_though_lists_by_the_session_lack_it(sandbox: Sandbox) -> None:
    first = sandbox.http("POST", "/sessions", {"via": "financial_connections", "connected_account": "acct_9", "limits": {"accounts": 2}})
    account, other = sandbox.simulator.complete(first.json["id"], accounts=[{}, {}])["accounts"]
    made = relink(sandbox, account).json["id"]
    sandbox.simulator.complete_relink(made, account=other, listed=False)
    answered(sandbox, lambda session: session["accounts"].update(has_more=True))
    assert [one["account"] for one in found(sandbox, made)["accounts"]] == [other]


def test_unknown_values_of_the_preview_are_passed_on(sandbox: Sandbox) -> None:
    made = relink(sandbox, link(sandbox)).json["id"]
    answered(sandbox, lambda session: session.update(status="postponed", relink_result={"failure_reason": "bank_closed", "more": 1}))
    result = found(sandbox, made)["relink"]
    assert (result["status"], result["failure_reason"]) == ("postponed", "bank_closed")


def test_session_is_read_as_any_other_after_relinking_was_switched_off(sandbox: Sandbox) -> None:
    account = link(sandbox)
    made = relink(sandbox, account).json["id"]
    sandbox.simulator.complete_relink(made)
    sandbox.cold_start(STRIPE_PREVIEW_VERSION="")
    result = found(sandbox, made)
    assert (result["relink"], [one["account"] for one in result["accounts"]]) == (None, [account])


# -- what can't be relinked, and what is refused ---------------------------------------------------------------------------------------


def unavailable(answer: Answer) -> str:
    assert (answer.status, answer.problem, answer.json["remedy"]) == (409, "relink-not-available", "link_again"), answer
    return str(answer.json["reason"])


def test_relinking_is_not_available_unless_it_is_switched_on(sandbox: Sandbox) -> None:
    account = link(sandbox)
    sandbox.cold_start(STRIPE_PREVIEW_VERSION="")
    assert unavailable(relink(sandbox, account)) == "switched_off"
    assert sandbox.stripe_calls() == []


def test_account_that_stripe_says_can_not_be_repaired_is_refused(sandbox: Sandbox) -> None:
    account = link(sandbox, "single_owner")
    sandbox.simulator.deactivate(account, cause="account_closed")
    assert unavailable(relink(sandbox, account)) == "not_repairable"


def test_disconnected_account_is_refused(sandbox: Sandbox) -> None:
    assert unavailable(relink(sandbox, link(sandbox, "disconnected"))) == "account_disconnected"


def test_account_without_an_authorization_is_refused(sandbox: Sandbox) -> None:
    assert unavailable(relink(sandbox, link(sandbox, details={"authorization": None}))) == "no_authorization"


def test_account_of_a_deleted_customer_is_refused(sandbox: Sandbox) -> None:
    account = link(sandbox)
    sandbox.simulator.delete_customer("cus_1")
    assert unavailable(relink(sandbox, account)) == "gone"


def test_erased_account_is_gone_also_while_stripe_has_not_disconnected_it(sandbox: Sandbox) -> None:
    account = link(sandbox, "fresh")
    assert sandbox.http("POST", "/verifications", {"account": account, "claim": dict(CLAIM)}).status == 200
    sandbox.simulator.fail_api("server_error", path=f"{ACCOUNTS}/{{account}}/disconnect", times=None)
    assert sandbox.http("DELETE", f"/accounts/{account}").json["disconnected"] is False
    assert relink(sandbox, account).problem == "account-erased"


def test_account_of_another_tenant_does_not_exist(sandbox: Sandbox) -> None:
    account = link(sandbox, stripe_account="acct_1")
    assert relink(sandbox, account).problem == "account-not-found"
    assert relink(sandbox, account, headers={"Stripe-Account": "acct_2"}).problem == "account-not-found"
    made = relink(sandbox, account, headers={"Stripe-Account": "acct_1"})
    assert (made.status, made.json["stripe_account"]) == (201, "acct_1")
    assert sandbox.http("GET", f"/sessions/{made.json['id']}").problem == "session-not-found"


FIELDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "another customer": ({"customer": "cus_2"}, {"customer"}),
    "a holder of another kind": ({"customer_account": "acct_2"}, {"customer_account"}),
    "another connected account": ({"connected_account": "acct_2"}, {"connected_account"}),
    "limits": ({"limits": {"accounts": 1}}, {"limits"}),
    "filters": ({"filters": {"country": "US"}}, {"filters"}),
    "manual entry": ({"manual_entry": {"mode": "automatic"}}, {"manual_entry"}),
    "prefetch of what is not asked for": ({"prefetch": ["ownership", "transactions"]}, {"prefetch.1"}),
    "another kind of session": ({"via": "setup_intent", "customer": "cus_1"}, {"relink"}),
    "an amount": ({"amount": 500}, {"amount"}),
    "no account": ({"relink": {}}, {"relink.account"}),
    "an id of another kind": ({"relink": {"account": "fcauth_1"}}, {"relink.account"}),
    "an authorization": ({"relink": {"account": "fca_1", "authorization": "fcauth_1"}}, {"relink.authorization"}),
}


@pytest.mark.parametrize("name", FIELDS)
def test_field_that_contradicts_the_relinking_is_named(sandbox: Sandbox, name: str) -> None:
    body, fields = FIELDS[name]
    answer = relink(sandbox, link(sandbox), **body)
    assert (answer.status, answer.problem, answer.bad_fields) == (422, "invalid-request", fields), answer


def test_holder_may_be_named(sandbox: Sandbox) -> None:
    assert relink(sandbox, link(sandbox), customer="cus_1").status == 201


# -- repetition, and the record --------------------------------------------------------------------------------------------------------


def test_repeated_request_makes_one_session_and_gets_the_same_answer(sandbox: Sandbox) -> None:
    account = link(sandbox)
    first = relink(sandbox, account, "relink-1")
    again = relink(sandbox, account, "relink-1")
    assert (again.status, again.json) == (201, first.json)
    sandbox.simulator.complete_relink(first.json["id"], grant="replace")
    assert relink(sandbox, account, "relink-1").json["id"] == first.json["id"]
    assert sandbox.simulator.request_counts()["operations"][f"POST {SESSIONS}"] == 1
    assert relink(sandbox, account, "relink-1", permissions=["transactions"]).problem == "idempotency-conflict"


def test_refusal_leaves_no_record_of_the_key(sandbox: Sandbox) -> None:
    account = link(sandbox, "single_owner")
    sandbox.simulator.deactivate(account, action="none")
    assert unavailable(relink(sandbox, account, "relink-1")) == "not_repairable"
    sandbox.simulator.reactivate(account)
    assert relink(sandbox, account, "relink-1").status == 201


def test_record_names_the_account_the_holder_and_the_session(sandbox: Sandbox) -> None:
    account = link(sandbox)
    made = relink(sandbox, account).json["id"]
    kept = sorted((item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#")), key=lambda item: item["sk"]["S"])
    asked, done = ({name: next(iter(value.values())) for name, value in item.items()} for item in kept)
    assert (asked["action"], asked["state"], asked["relink"]) == ("session.created", "requested", account)
    assert (done["state"], done["relink"], done["customer"], done["session"]) == ("done", account, "cus_1", made)


def test_relinking_takes_its_calls_from_the_rate_limit(sandbox: Sandbox) -> None:
    account = link(sandbox)
    sandbox.cold_start(STRIPE_CALLS_PER_SECOND="0.1")
    answers = [relink(sandbox, account) for _ in range(8)]
    assert answers[0].status == 201
    assert {answer.problem for answer in answers if answer.status != 201} == {"rate-limit-exceeded"}


# -- versions --------------------------------------------------------------------------------------------------------------------------


def whole_course(sandbox: Sandbox) -> None:
    """A verification with its refresh, reads over each route, several pages of owners, and an erasure."""
    account = link(sandbox, "paged_owners")
    verification = sandbox.http("POST", "/verifications", {"account": account, "claim": dict(CLAIM)})
    assert verification.status == 202
    assert sandbox.http("POST", f"/accounts/{account}/refreshes").status == 202
    sandbox.wait(6)
    sandbox.settle()
    owners = sandbox.http("GET", f"/accounts/{account}/owners")
    assert len(owners.json["owners"]) == 13
    sandbox.http("GET", f"/accounts/{account}")
    assert sandbox.http("GET", "/accounts?customer=cus_1").json["accounts"][0]["account"] == account
    made = sandbox.http("POST", "/sessions", {"via": "financial_connections", "customer": "cus_1"}).json["id"]
    sandbox.simulator.complete(made)
    assert len(found(sandbox, made)["accounts"]) == 1
    assert sandbox.http("DELETE", f"/accounts/{account}").status == 200


def test_no_preview_version_is_ever_sent_where_none_is_set(sandbox: Sandbox) -> None:
    sandbox.cold_start(STRIPE_PREVIEW_VERSION="")
    whole_course(sandbox)
    assert {version for each in versions(sandbox).values() for version in each} == {GA_VERSION}


def test_reads_have_the_preview_version_and_all_else_the_stable_one(sandbox: Sandbox) -> None:
    whole_course(sandbox)
    seen = versions(sandbox)
    reads = PREVIEW_OPERATIONS - {f"POST {SESSIONS}"}
    assert reads | {f"POST {ACCOUNTS}/{{account}}/refresh", f"POST {ACCOUNTS}/{{account}}/disconnect"} <= set(seen)
    assert {operation: sent for operation, sent in seen.items() if sent != {GA_VERSION}} == {read: {PREVIEW_VERSION} for read in reads}
    relink(sandbox, link(sandbox))
    assert versions(sandbox)[f"POST {SESSIONS}"] == {GA_VERSION, PREVIEW_VERSION}


class TestVersionThatStripeRefuses:
    @pytest.fixture(autouse=True)
    def _withdrawn(self, sandbox: Sandbox) -> None:
        sandbox.simulator.configure(preview_version="2027-01-01.preview")

    def test_verifications_go_on_with_the_stable_version(self, sandbox: Sandbox) -> None:
        whole_course(sandbox)
        refused = [entry for entry in sandbox.simulator.requests() if entry["version"] == PREVIEW_VERSION]
        assert [entry["status"] for entry in refused] == [400], "the version is tried once in a process"

    def test_relinking_is_not_available_and_the_operator_is_told(self, sandbox: Sandbox) -> None:
        account = link(sandbox)
        assert unavailable(relink(sandbox, account)) == "version_refused"
        assert unavailable(relink(sandbox, account)) == "version_refused"
        [line] = [line for line in sandbox.log_lines() if line["level"] == "ERROR"]
        assert (line["message"], line["version"]) == ("Stripe refuses the version that StripePreviewVersion names", PREVIEW_VERSION)

    def test_new_process_tries_the_version_again(self, sandbox: Sandbox) -> None:
        account = link(sandbox)
        assert unavailable(relink(sandbox, account)) == "version_refused"
        sandbox.simulator.configure(preview_version=PREVIEW_VERSION)
        sandbox.cold_start()
        assert relink(sandbox, account).status == 201


def test_missing_cursor_or_customer_is_no_sign_of_a_refused_version(sandbox: Sandbox) -> None:
    account = link(sandbox)
    for _ in range(2):
        sandbox.http("GET", "/accounts?customer=cus_unknown")
    assert relink(sandbox, account).status == 201


def test_call_that_either_version_refuses_is_refused_and_the_version_is_used_on(sandbox: Sandbox, wire: CheckedHTTPClient) -> None:
    account = link(sandbox)
    inner, fail = wire._inner, [2]

    class Refusing(CheckedHTTPClient):
        def request(self, method: str, url: str, headers: Any, post_data: Any = None, **more: Any) -> Any:
            if method == "get" and fail[0]:
                fail[0] -= 1
                return '{"error": {"type": "invalid_request_error", "message": "no"}}', 400, {}
            return inner.request(method, url, headers, post_data, **more)

    sandbox.http_client = Refusing(inner)  # type: ignore[assignment]
    sandbox.cold_start()
    assert relink(sandbox, account).problem == "stripe-refused"
    assert relink(sandbox, account).status == 201
