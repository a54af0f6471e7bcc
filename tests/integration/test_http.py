"""The HTTP routes: what a caller gets, and that bad input is answered by a problem that names each field and changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.functions import http_event
from tests.support.sandbox import CLAIM, Answer, Sandbox
from titleholder import matching
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.services import account_sync, verifications
from titleholder.web.resolver import MAX_BODY_BYTES

REFRESH = "/v1/financial_connections/accounts/{account}/refresh"


def verify(sandbox: Sandbox, body: Any = None, key: str | None = None, **headers: str) -> Answer:
    if key is not None:
        headers["Idempotency-Key"] = key
    return sandbox.http("POST", "/verifications", request() if body is None else body, **headers)


def request(**changes: Any) -> dict[str, Any]:
    return {"account": "fca_1", "claim": dict(CLAIM), **changes}


def claim(**changes: Any) -> dict[str, Any]:
    return request(claim={**CLAIM, **changes})


def assert_untouched(sandbox: Sandbox) -> None:
    assert sandbox.items(but=["PACE#", "AUDIT#"]) == []
    assert sandbox.stripe_calls() == []
    assert sandbox.tokens.started == []
    assert sandbox.messages(sandbox.refresh_queue) == []


UNREADABLE: dict[str, tuple[Any, int, str]] = {
    "broken": ('{"account": "fca_1", "claim": ', 400, "malformed-json"),
    "empty text": (" ", 400, "malformed-json"),
    "single quotes": ("{'account': 'fca_1'}", 400, "malformed-json"),
    "a list": ("[]", 400, "malformed-json"),
    "null": ("null", 400, "malformed-json"),
    "a text": ('"fca_1"', 400, "malformed-json"),
    "huge number": ('{"max_age": 1' + "0" * 5000 + "}", 400, "malformed-json"),
    "deep": ('{"claim": ' + "[" * 100 + "]" * 100 + "}", 400, "malformed-json"),
    "very deep": ("[" * 30_000, 400, "malformed-json"),
    "deep objects": ('{"a":' * 5000 + "1" + "}" * 5000, 400, "malformed-json"),
    "not UTF-8": (b'{"account": "\xff\xfe"}', 400, "malformed-body"),
    "surrogate bytes": (b'{"account": "\xed\xa0\x80"}', 400, "malformed-body"),
    "too large": (json.dumps({"account": "fca_1", "claim": {"name": "x" * MAX_BODY_BYTES}}), 413, "body-too-large"),
}

BAD: dict[str, tuple[dict[str, Any], set[str]]] = {
    "no fields": ({}, {"account", "claim"}),
    "account missing": ({"claim": dict(CLAIM)}, {"account"}),
    "claim missing": ({"account": "fca_1"}, {"claim"}),
    "unknown field": (request(acount="fca_1"), {"acount"}),
    "unknown field named as a part of a request": (request(body=1, path=2, query=3, header=4), {"body", "path", "query", "header"}),
    "unknown field of the claim": (claim(ssn="Canary"), {"claim.ssn"}),
    "unknown field of the address": (claim(address={"zip": "Canary"}), {"claim.address.zip"}),
    "account of another kind": (request(account="ba_1"), {"account"}),
    "account with a path in it": (request(account="fca_1/../fca_2"), {"account"}),
    "account with a line end": (request(account="fca_1\n"), {"account"}),
    "account with other digits": (request(account="fca_١"), {"account"}),
    "account too long": (request(account="fca_" + "x" * 121), {"account"}),
    "account empty": (request(account=""), {"account"}),
    "account a number": (request(account=1), {"account"}),
    "account null": (request(account=None), {"account"}),
    "claim a text": (request(claim="Canary"), {"claim"}),
    "claim a list": (request(claim=["Canary"]), {"claim"}),
    "claim null": (request(claim=None), {"claim"}),
    "claim empty": (request(claim={}), {"claim"}),
    "claim without a name": (request(claim={"email": "canary@example.com"}), {"claim"}),
    "name a number": (claim(name=1), {"claim.name"}),
    "name blank": (claim(name="  "), {"claim.name"}),
    "name too long": (claim(name="Canary" * 200), {"claim.name"}),
    "name with a NUL": (claim(name="Canary\x00"), {"claim.name"}),
    "name with half a surrogate pair": (claim(name="Canary\ud800"), {"claim.name"}),
    "aka a text": (claim(aka="Canary"), {"claim.aka"}),
    "aka too many": (claim(aka=["Canary"] * 21), {"claim.aka"}),
    "aka with a number": (claim(aka=["Canary", 1]), {"claim.aka.1"}),
    "type unknown": (claim(type="Canary"), {"claim.type"}),
    "several at once": (
        request(account=1, claim={"name": 2, "email": 3, "canary": 4}),
        {"account", "claim.name", "claim.email", "claim.canary"},
    ),
    "max_age negative": (request(max_age=-1), {"max_age"}),
    "max_age too large": (request(max_age=10**9), {"max_age"}),
    "max_age a text": (request(max_age="60"), {"max_age"}),
    "max_age a fraction": (request(max_age=1.5), {"max_age"}),
    "max_age a truth": (request(max_age=True), {"max_age"}),
    "policy a list": (request(policy=[]), {"policy"}),
    "policy unknown entry": (request(policy={"canary": 1}), {"policy.canary"}),
    "policy out of range": (request(policy={"version": "2", "match_threshold": 101}), {"policy.match_threshold"}),
    "policy with half a surrogate pair": (request(policy={"version": "Canary\ud800"}), {"policy"}),
    "policy without a version": (request(policy={"match_threshold": 90}), {"policy.version"}),
    "changed policy with the default's version": (
        request(policy={"version": "2025-1", "match_threshold": 0, "close_match_threshold": 0}),
        {"policy.version"},
    ),
}


class TestBadInput:
    @pytest.mark.parametrize(("body", "status", "problem"), UNREADABLE.values(), ids=UNREADABLE.keys())
    def test_body_that_cannot_be_read(self, sandbox: Sandbox, body: Any, status: int, problem: str) -> None:
        answer = verify(sandbox, body)
        assert (answer.status, answer.problem) == (status, problem)
        assert_untouched(sandbox)

    @pytest.mark.parametrize(("body", "fields"), BAD.values(), ids=BAD.keys())
    def test_each_bad_field_is_named_and_no_value_repeated(self, sandbox: Sandbox, body: dict[str, Any], fields: set[str]) -> None:
        answer = verify(sandbox, body)
        assert (answer.status, answer.problem) == (422, "invalid-request")
        named = set(answer.bad_fields)
        assert fields <= named
        assert "Canary" not in answer.text
        assert_untouched(sandbox)

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/json-seq", ""])
    def test_other_content_type(self, sandbox: Sandbox, kind: str) -> None:
        answer = verify(sandbox, Content_Type=kind)
        assert (answer.status, answer.problem) == (415, "unsupported-media-type")
        assert_untouched(sandbox)

    @pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
    def test_json_content_type(self, sandbox: Sandbox, kind: str) -> None:
        sandbox.link(id="fca_1")
        assert verify(sandbox, Content_Type=kind).status == 202

    def test_largest_body(self, sandbox: Sandbox) -> None:
        answer = verify(sandbox, json.dumps(request()).ljust(MAX_BODY_BYTES))
        assert answer.status == 404
        assert verify(sandbox, json.dumps(request()).ljust(MAX_BODY_BYTES + 1)).status == 413

    def test_no_body(self, sandbox: Sandbox) -> None:
        event = http_event("POST", "/verifications", None, {"content-type": "application/json"})
        answer = Answer.of(sandbox.function("api")(event))
        assert (answer.status, answer.problem) == (422, "invalid-request")
        assert_untouched(sandbox)

    def test_text_that_is_not_base64_though_said_to_be(self, sandbox: Sandbox) -> None:
        event = http_event("POST", "/verifications", "x") | {"isBase64Encoded": True}
        assert Answer.of(sandbox.function("api")(event)).problem == "malformed-body"

    @pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
    def test_idempotency_key_of_the_wrong_shape(self, sandbox: Sandbox, key: str) -> None:
        answer = verify(sandbox, key=key)
        assert (answer.status, answer.bad_fields) == (422, {"idempotency-key"})
        assert_untouched(sandbox)

    @pytest.mark.parametrize("connected", ["fca_1", "acct_/x", "acct_", "acct_1 "])
    def test_connected_account_of_the_wrong_shape(self, sandbox: Sandbox, connected: str) -> None:
        answer = verify(sandbox, Stripe_Account=connected)
        assert (answer.status, answer.bad_fields) == (422, {"Stripe-Account"})
        assert_untouched(sandbox)

    @pytest.mark.parametrize(
        ("method", "path", "field"),
        [
            ("GET", "/verifications/ver_1", "verification"),
            ("GET", "/verifications/ver_" + "G" * 32, "verification"),
            ("GET", "/verifications/fca_1", "verification"),
            ("GET", "/accounts/acct_1", "account"),
            ("GET", "/accounts/fca_1%00", "account"),
            ("GET", "/accounts/cus_1/owners", "account"),
            ("GET", "/accounts/fca_1/owners?snapshot=x", "snapshot"),
            ("POST", "/accounts/cus_1/refreshes", "account"),
        ],
    )
    def test_id_of_the_wrong_shape(self, sandbox: Sandbox, method: str, path: str, field: str) -> None:
        answer = sandbox.http(method, path)
        assert (answer.status, answer.problem, answer.bad_fields) == (422, "invalid-request", {field})
        assert_untouched(sandbox)

    @pytest.mark.parametrize(
        ("method", "path", "problem"),
        [
            ("GET", "/verifications/ver_" + "0" * 32, "verification-not-found"),
            ("GET", "/accounts/fca_1/owners", "snapshot-not-found"),
            ("GET", "/accounts/fca_1/owners?snapshot=fcaowns_1", "snapshot-not-found"),
            ("GET", "/nowhere", "route-not-found"),
            ("GET", "/accounts/fca_1/owners/x", "route-not-found"),
            ("DELETE", "/verifications", "route-not-found"),
        ],
    )
    def test_what_is_not_there(self, sandbox: Sandbox, method: str, path: str, problem: str) -> None:
        answer = sandbox.http(method, path)
        assert (answer.status, answer.problem) == (404, problem)
        assert_untouched(sandbox)

    def test_owners_that_are_not_stored_may_be_those_of_a_mistyped_account(self, sandbox: Sandbox) -> None:
        detail = sandbox.http("GET", "/accounts/fca_nobody/owners").json["detail"]
        assert "Verify the account, or request a refresh" in detail
        assert "account-not-found" in detail

    def test_account_unknown_to_stripe(self, sandbox: Sandbox) -> None:
        for method, path, body in (
            ("POST", "/verifications", request()),
            ("GET", "/accounts/fca_1", None),
            ("POST", "/accounts/fca_1/refreshes", None),
            # A mistyped id must not look like an erasure that was done.
            ("DELETE", "/accounts/fca_1", None),
        ):
            answer = sandbox.http(method, path, body)
            assert (answer.status, answer.problem) == (404, "account-not-found")
        assert sandbox.items(but=["PACE#", "AUDIT#"]) == []
        assert sandbox.tokens.started == []

    @pytest.mark.parametrize("body", [{"max_age": -1}, {"max_age": "1"}, {"age": 1}, {"max_age": 1, "features": ["Canary"]}])
    def test_refresh_with_bad_fields(self, sandbox: Sandbox, body: dict[str, Any]) -> None:
        answer = sandbox.http("POST", "/accounts/fca_1/refreshes", body)
        assert (answer.status, answer.problem) == (422, "invalid-request")
        assert "Canary" not in answer.text
        assert_untouched(sandbox)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["fca_1", "\ud800", "\x00", "ver_1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
PARTS = st.dictionaries(st.sampled_from(["account", "claim", "max_age", "policy", "x"]), JSON, max_size=4)
CLAIMS = st.dictionaries(st.sampled_from(["name", "aka", "address", "type", "email", "phone", "business_name"]), JSON, max_size=5)
POLICIES = st.dictionaries(
    st.sampled_from(["version", "match_threshold", "close_match_threshold", "required_fields", "field_thresholds", "never_close"]), JSON
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(max_size=50),
        PARTS.map(json.dumps),
        st.builds(
            lambda parts, claim: json.dumps({**parts, "account": "fca_1", "claim": {"name": "Quillfeather", **claim}}), PARTS, CLAIMS
        ),
        st.builds(lambda policy: json.dumps(request(policy={"version": "7", **policy})), POLICIES),
    )
)
def test_no_body_makes_the_server_fail(sandbox: Sandbox, body: str) -> None:
    if sandbox.store.accounts.get(AccountRef("fca_1")).snapshot is None:
        account_sync.sync_account(sandbox.deps, sandbox.link("fresh", id="fca_1"))
    answer = Answer.of(sandbox.function("api")(http_event("POST", "/verifications", body or " ")))
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert answer.problem


class TestVerifications:
    def test_verification_is_accepted_and_starts_its_workflow_once(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        answer = verify(sandbox)
        assert (answer.status, answer.content_type) == (202, "application/json")
        assert (answer.json["state"], answer.json["verdict"], answer.json["account"]) == ("waiting", None, "fca_1")
        assert [execution["name"] for execution in sandbox.tokens.started] == [answer.json["id"]]
        assert sandbox.http("GET", f"/verifications/{answer.json['id']}").json == answer.json

    def test_verification_is_answered_at_once_by_a_fresh_snapshot(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh", id="fca_1")
        answer = verify(sandbox)
        assert (answer.status, answer.json["state"], answer.json["verdict"]["outcome"]) == (200, "completed", "match")
        assert sandbox.tokens.started == []
        assert sandbox.refreshes(ref) == 0
        assert len(sandbox.published()) == 1

    def test_second_one_of_a_fresh_account_asks_stripe_nothing(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        verify(sandbox)
        calls = len(sandbox.stripe_calls())
        assert verify(sandbox).status == 200
        assert len(sandbox.stripe_calls()) == calls

    def test_snapshot_older_than_max_age_is_not_enough(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        sandbox.wait(3600)
        assert verify(sandbox, request(max_age=3600)).status == 200
        assert verify(sandbox, request(max_age=3000)).status == 202

    def test_policy_counts(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        strict = {"version": "strict", "required_fields": ["email"], "field_thresholds": {"email": 100}}
        answer = verify(sandbox, request(claim={"name": CLAIM["name"], "email": "other@example.net"}, policy=strict))
        assert (answer.json["verdict"]["outcome"], answer.json["verdict"]["policy_version"]) == ("no_match", "strict")

    def test_stored_policy_that_is_refused_today_is_still_read_and_completed(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending", id="fca_1", owners=[{"name": "SOMEBODY ELSE"}])
        policy = matching.Policy.from_dict({"version": "2025-1", "match_threshold": 0, "close_match_threshold": 0})
        new = verifications.NewVerification(ref, Sensitive(dict(CLAIM)), max_age=0, policy=policy)
        made = verifications.create(sandbox.deps, new, max_wait=3600)
        assert sandbox.http("GET", f"/verifications/{made.id}").json["state"] == "waiting"
        sandbox.wait(6)
        sandbox.settle()
        sandbox.function("complete_verification")(
            {"verification": made.id, "refresh": {"outcome": "ready", "snapshot": sandbox.store.accounts.get(ref).snapshot}}
        )
        verdict = sandbox.http("GET", f"/verifications/{made.id}").json["verdict"]
        assert (verdict["outcome"], verdict["policy_version"]) == ("match", "2025-1")

    def test_connected_account_is_carried_through(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1", stripe_account="acct_1")
        assert verify(sandbox).status == 404
        answer = verify(sandbox, Stripe_Account="acct_1")
        assert (answer.status, answer.json["stripe_account"]) == (202, "acct_1")
        assert sandbox.tokens.started[0]["input"]["ref"] == {"account": "fca_1", "mode": "test", "stripe_account": "acct_1"}

    def test_stripes_outage_loses_no_verification(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        sandbox.simulator.fail_api("server_error", times=None)
        assert verify(sandbox).status == 202
        assert len(sandbox.tokens.started) == 1

    def test_refused_api_key_is_reported_at_once(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        sandbox.simulator.configure(api_keys=frozenset({"sk_test_other"}))
        answer = verify(sandbox)
        assert (answer.status, answer.problem) == (502, "stripe-credentials-refused")
        assert "StripeApiKeySecretName" in answer.json["detail"]
        assert sandbox.items(but=["PACE#", "AUDIT#"]) == []

    def test_live_key_in_a_test_stack_is_reported_at_once(self, sandbox: Sandbox) -> None:
        sandbox.set_secret("api-key", "sk_live_canary")
        answer = verify(sandbox)
        assert (answer.status, answer.problem) == (500, "misconfigured")
        assert_untouched(sandbox)

    def test_unexpected_failure_is_a_500_without_its_message(self, sandbox: Sandbox) -> None:
        def fail(moment: Any) -> None:
            if moment.operation == "get_item":
                raise RuntimeError("Canary in the message")

        sandbox.taps.append(fail)
        answer = verify(sandbox)
        assert (answer.status, answer.problem) == (500, "internal-error")
        assert "Canary" not in answer.text


class TestIdempotency:
    def test_same_key_and_body_give_the_same_answer(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        first = verify(sandbox, key="key-1")
        sandbox.wait(60)
        again = verify(sandbox, json.dumps(request(), indent=2, sort_keys=True), key="key-1")
        assert (first.status, first.text) == (again.status, again.text)
        assert len({execution["name"] for execution in sandbox.tokens.started}) == 1

    def test_completed_one_is_given_with_its_verdict(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        first = verify(sandbox, key="key-1")
        assert verify(sandbox, key="key-1").text == first.text
        # The caller may not have got the first answer, nor the bus the announcement: both are the same again.
        first_event, second_event = sandbox.published()
        assert first_event["detail"] == second_event["detail"]

    @pytest.mark.parametrize(
        "other", [claim(name="Somebody Else"), request(max_age=1), request(policy={"version": "2"}), request(account="fca_2")],
        ids=["claim", "max_age", "policy", "account"],
    )  # fmt: skip
    def test_same_key_with_another_body_is_refused_and_changes_nothing(self, sandbox: Sandbox, other: dict[str, Any]) -> None:
        sandbox.link(id="fca_1")
        account_sync.sync_account(sandbox.deps, sandbox.link(id="fca_2"))
        verify(sandbox, key="key-1")
        before = (sandbox.items(but=["AUDIT#"]), len(sandbox.tokens.started))
        answer = verify(sandbox, other, key="key-1")
        assert (answer.status, answer.problem) == (422, "idempotency-conflict")
        assert (sandbox.items(but=["AUDIT#"]), len(sandbox.tokens.started)) == before

    def test_other_key_is_another_verification(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        assert verify(sandbox, key="key-1").json["id"] != verify(sandbox, key="key-2").json["id"]

    def test_no_key_is_another_verification_each_time(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        assert verify(sandbox).json["id"] != verify(sandbox).json["id"]

    def test_keys_of_connected_accounts_do_not_mix(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        sandbox.link(id="fca_1", stripe_account="acct_1")
        assert verify(sandbox, key="k").json["id"] != verify(sandbox, key="k", Stripe_Account="acct_1").json["id"]

    def test_workflow_that_was_not_started_is_started_by_the_retry(self, sandbox: Sandbox) -> None:
        def fail(moment: Any) -> None:
            if (moment.operation, moment.when) == ("start_execution", "before"):
                sandbox.taps.clear()
                raise RuntimeError

        sandbox.link(id="fca_1")
        sandbox.taps.append(fail)
        assert verify(sandbox, key="key-1").status == 500
        answer = verify(sandbox, key="key-1")
        assert answer.status == 202
        assert [execution["name"] for execution in sandbox.tokens.started] == [answer.json["id"]]


class TestAccounts:
    def test_shows_what_stripe_has_now(self, sandbox: Sandbox) -> None:
        sandbox.link("failing_with_reason", id="fca_1")
        assert sandbox.http("GET", "/accounts/fca_1").json["ownership_refresh"] is None
        sandbox.http("POST", "/accounts/fca_1/refreshes")
        sandbox.wait(6)
        shown = sandbox.http("GET", "/accounts/fca_1").json
        assert shown["status"] == "active"
        assert shown["ownership_refresh"]["status"] == "failed"
        assert shown["ownership_refresh"]["error"] == {"cause": "institution_unavailable", "recommended_action": "retry_later"}
        assert shown["next_refresh_available_at"] == "2027-01-15T08:01:05Z"
        assert shown["snapshot"] is None

    def test_null_permissions(self, sandbox: Sandbox) -> None:
        sandbox.link("permissions_null", id="fca_1")
        assert sandbox.http("GET", "/accounts/fca_1").json["permissions"] is None

    def test_owners_of_the_newest_and_of_an_older_snapshot(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh", id="fca_1", owners=[{"name": "FIRST"}])
        account_sync.sync_account(sandbox.deps, ref)
        older = sandbox.store.accounts.get(ref).snapshot
        sandbox.wait(120)
        sandbox.simulator.change("fca_1", owners=[{"name": "SECOND"}])
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)
        account_sync.sync_account(sandbox.deps, ref)
        answer = sandbox.http("GET", "/accounts/fca_1/owners")
        assert [owner["name"] for owner in answer.json["owners"]] == ["SECOND"]
        assert answer.headers["cache-control"] == "no-store"
        assert [owner["name"] for owner in sandbox.http("GET", f"/accounts/fca_1/owners?snapshot={older}").json["owners"]] == ["FIRST"]

    @pytest.mark.parametrize("fault", ["server_error", "drop", "hang", "conflict", "rate_limit"])
    def test_stripes_outage_is_a_503_that_says_when_to_come_again(self, sandbox: Sandbox, fault: str) -> None:
        sandbox.link(id="fca_1")
        sandbox.simulator.fail_api(fault, times=None)
        answer = sandbox.http("GET", "/accounts/fca_1")
        assert answer.status == 503
        assert answer.problem in ("stripe-unavailable", "stripe-rate-limited")
        assert int(answer.headers["retry-after"]) > 0


class TestRefreshes:
    def test_started(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(id="fca_1")
        answer = sandbox.http("POST", "/accounts/fca_1/refreshes")
        assert (answer.status, answer.json["status"]) == (202, "started")
        assert sandbox.refreshes(ref) == 1

    def test_already_pending(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(id="fca_1")
        sandbox.http("POST", "/accounts/fca_1/refreshes")
        answer = sandbox.http("POST", "/accounts/fca_1/refreshes", {"max_age": 0})
        assert (answer.status, answer.json["status"]) == (200, "pending")
        assert sandbox.refreshes(ref) == 1

    def test_already_fresh(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh", id="fca_1")
        answer = sandbox.http("POST", "/accounts/fca_1/refreshes")
        assert (answer.status, answer.json["status"], answer.json["snapshot"]) == (200, "fresh", sandbox.store.accounts.get(ref).snapshot)
        assert sandbox.refreshes(ref) == 0

    def test_cooling_down_says_until_when(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("cooling_down", id="fca_1")
        sandbox.wait(5)
        answer = sandbox.http("POST", "/accounts/fca_1/refreshes")
        assert (answer.status, answer.problem) == (409, "cooling-down")
        assert (answer.headers["retry-after"], answer.json["retry_at"]) == ("15", "2027-01-15T08:00:20Z")
        assert sandbox.refreshes(ref) == 0
        sandbox.wait(15)
        assert sandbox.http("POST", "/accounts/fca_1/refreshes").status == 202

    def test_fresh_but_not_fresh_enough_is_cooling_down(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        sandbox.wait(30)
        assert sandbox.http("POST", "/accounts/fca_1/refreshes", {"max_age": 0}).problem == "cooling-down"

    @pytest.mark.parametrize(
        ("scenario", "problem"),
        [
            ("inactive", "account-inactive"),
            ("disconnected", "account-disconnected"),
            ("permission_missing", "permission-missing"),
            ("permissions_null", "permission-missing"),
            ("no_next_refresh", "refresh-unavailable"),
        ],
    )
    def test_not_refreshable(self, sandbox: Sandbox, scenario: str, problem: str) -> None:
        ref = sandbox.link(scenario, id="fca_1")
        answer = sandbox.http("POST", "/accounts/fca_1/refreshes")
        assert (answer.status, answer.problem) == (409, problem)
        assert answer.json["reason"]
        assert sandbox.refreshes(ref) == 0

    def test_too_many_at_once_are_told_when_to_come_again_and_take_no_slots(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        answers = [sandbox.http("POST", "/accounts/fca_1/refreshes") for _ in range(28)]
        late = answers[-1]
        assert (late.status, late.problem) == (429, "rate-limit-exceeded")
        # A caller takes only slots that are free now, at 25 a second: one at once, and five within the next 0.2 s.
        assert [answer.status for answer in answers] == [202] + 5 * [200] + 22 * [429]
        sandbox.wait(int(late.headers["retry-after"]))
        assert [sandbox.http("POST", "/accounts/fca_1/refreshes").status for _ in range(7)] == 6 * [200] + [429]
