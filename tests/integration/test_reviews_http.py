"""The routes for reviews: the answers for each caller, every refusal, and that only comparisons have personal data."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.functions import http_event
from tests.support.reviews import CLOSE, WRONG
from tests.support.sandbox import CLAIM, PERSONAL, Answer, Moment, Sandbox, client
from tests.support.verifications import customer
from titleholder.domain import reviews
from titleholder.services import review_queue
from titleholder.web import cursors
from titleholder.web.review_models import Comparison

pytestmark = pytest.mark.slow

ISSUER = "https://idp.example"
NOTE = "Quillfeather canary"
"""Personal data, as a reviewer may write it."""


class Caller:
    """Calls the function as API Gateway does for a person with a token, or for a signed call (`token` False)."""

    def __init__(self, sandbox: Sandbox, who: str, scope: str = "review", *, token: bool = True, claims: Any = None) -> None:
        self._sandbox = sandbox
        self.name = f"{ISSUER}#{who}" if token else f"arn:aws:sts::123456789012:assumed-role/back-end/{who}"
        known = {"iss": ISSUER, "sub": who, "scope": scope, **(claims or {})}
        self._authorizer = {"jwt": {"claims": known, "scopes": None}} if token else {"iam": {"userArn": self.name}}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        event = http_event(method, path, body, headers)
        event["requestContext"]["authorizer"] = self._authorizer
        answer = Answer.of(self._sandbox.function("review")(event))
        assert answer.headers["cache-control"] == "no-store"
        if not path.endswith("/comparison"):
            assert not [word for word in PERSONAL if word in answer.text.lower()]
        return answer

    def queue(self, query: str = "", **headers: str) -> Any:
        answer = self.call("GET", f"/reviews?{query}".rstrip("?"), **headers)
        assert answer.status == 200, answer
        return answer.json

    def listed(self, query: str = "", **headers: str) -> list[str]:
        return [one["verification"] for one in self.queue(query, **headers)["reviews"]]

    def decide(self, verification: str, decision: str = "approve", reason: str | None = "", *, version: Any = 1, **more: Any) -> Answer:
        """`reason`: empty for a usual one, None for none."""
        usual = {"approve": "NAME_VARIANT_CONFIRMED", "reject": "DIFFERENT_PERSON"}.get(decision)
        given = usual if reason == "" else reason
        body = {"version": version, "decision": decision, **({} if given is None else {"reason": given}), **more}
        return self.call("POST", f"/verifications/{verification}/review/decisions", body)

    def open(self, verification: str, body: Any = None) -> Answer:
        return self.call("POST", f"/verifications/{verification}/review", body)

    def compare(self, verification: str, **headers: str) -> Answer:
        return self.call("POST", f"/verifications/{verification}/comparison", **headers)


@pytest.fixture
def desk(sandbox: Sandbox) -> Sandbox:
    """A deployment where one reviewer decides, with a linked account."""
    sandbox.cold_start(REVIEWERS_NEEDED="1")
    sandbox.link("fresh", id="fca_1")
    return sandbox


@pytest.fixture
def two(desk: Sandbox) -> Sandbox:
    """A deployment where two reviewers decide, with a linked account."""
    desk.cold_start(REVIEWERS_NEEDED="2")
    return desk


@pytest.fixture
def anne(sandbox: Sandbox) -> Caller:
    return Caller(sandbox, "anne")


@pytest.fixture
def bob(sandbox: Sandbox) -> Caller:
    return Caller(sandbox, "bob")


def verify(sandbox: Sandbox, claim: Any = CLOSE, account: str = "fca_1", **headers: str) -> str:
    """A verification that has its verdict at once. Returns its id."""
    sandbox.wait(1)
    answer = sandbox.http("POST", "/verifications", {"account": account, "claim": dict(claim)}, **headers)
    assert answer.status == 200, answer
    return str(answer.json["id"])


def audited(sandbox: Sandbox, action: str) -> list[dict[str, str]]:
    entries = [item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#") and item["action"]["S"] == action]
    return [{name: value["S"] for name, value in entry.items() if "S" in value} for entry in sorted(entries, key=lambda e: e["sk"]["S"])]


BAD: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, {"version", "decision"}),
    "unknown field": ({"version": 1, "decision": "reject", "reason": "RELATIVE", "comment": "Canary"}, {"comment"}),
    "version a text": ({"version": "Canary", "decision": "reject", "reason": "RELATIVE"}, {"version"}),
    "version zero": ({"version": 0, "decision": "reject", "reason": "RELATIVE"}, {"version"}),
    "version a truth": ({"version": True, "decision": "reject", "reason": "RELATIVE"}, {"version"}),
    "decision unknown": ({"version": 1, "decision": "Canary", "reason": "RELATIVE"}, {"decision"}),
    "unknown field and reason of the other decision": (
        {"version": 1, "decision": "approve", "reason": "RELATIVE", "refernce": "C"},
        {"refernce", "reason"},
    ),
    "unknown field and no note": ({"version": 1, "decision": "approve", "reason": "OTHER", "refernce": "C"}, {"refernce", "note"}),
    "reason a list": ({"version": 1, "decision": "approve", "reason": ["RELATIVE"]}, {"reason"}),
    "version zero and no reason": ({"version": 0, "decision": "approve"}, {"version", "reason"}),
    "no reason": ({"version": 1, "decision": "approve"}, {"reason"}),
    "reason unknown": ({"version": 1, "decision": "approve", "reason": "CANARY"}, {"reason"}),
    "reason of the other decision": ({"version": 1, "decision": "approve", "reason": "RELATIVE"}, {"reason"}),
    "reason of the other decision, too": ({"version": 1, "decision": "reject", "reason": "CONTACT_CONFIRMED"}, {"reason"}),
    "OTHER without a note": ({"version": 1, "decision": "approve", "reason": "OTHER"}, {"note"}),
    "OTHER with a blank note": ({"version": 1, "decision": "approve", "reason": "OTHER", "note": "  "}, {"note"}),
    "note too long": ({"version": 1, "decision": "approve", "reason": "OTHER", "note": "Canary" * 167}, {"note"}),
    "note with a control character": ({"version": 1, "decision": "approve", "reason": "OTHER", "note": "Canary\x07"}, {"note"}),
    "note with half a surrogate pair": ({"version": 1, "decision": "approve", "reason": "OTHER", "note": "Canary\ud800"}, {"note"}),
    "reference with a blank": ({"version": 1, "decision": "reject", "reason": "RELATIVE", "reference": "Mr Canary"}, {"reference"}),
    "reference with a line end": ({"version": 1, "decision": "reject", "reason": "RELATIVE", "reference": "Canary\n"}, {"reference"}),
    "reference empty": ({"version": 1, "decision": "reject", "reason": "RELATIVE", "reference": ""}, {"reference"}),
    "reference too long": ({"version": 1, "decision": "reject", "reason": "RELATIVE", "reference": "C" * 65}, {"reference"}),
    "withdrawal with a reason": ({"version": 1, "decision": "withdraw", "reason": "OTHER"}, {"reason"}),
    "withdrawal with a note": ({"version": 1, "decision": "withdraw", "note": "Canary"}, {"note"}),
    "withdrawal with a reference": ({"version": 1, "decision": "withdraw", "reference": "Canary"}, {"reference"}),
}


class TestQueue:
    def test_close_match_waits_for_a_reviewer_at_once(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        verdict = desk.http("GET", f"/verifications/{id_}").json["verdict"]
        assert verdict["reasons"][0] == "MIDDLE_DIFFERS"
        desk.wait(90)
        assert anne.queue() == {
            "reviews": [
                {
                    "verification": id_,
                    "account": "fca_1",
                    "stripe_account": None,
                    "state": "open",
                    "version": 1,
                    "opened_by": "rule",
                    "opened_at": "2027-01-15T08:00:01Z",
                    "age": 90,
                    "outcome": "close_match",
                    "score": verdict["score"],
                    "reasons": verdict["reasons"],
                    "seen": None,
                }
            ],
            "open": "1",
            "you": f"{ISSUER}#anne",
            "may": ["reveal", "decide"],
            "caller_unknown": None,
            "next_cursor": None,
        }
        [entry] = audited(desk, "reviews.listed")
        assert (entry["actor"], entry["verifications"], entry["state"]) == (f"{ISSUER}#anne", id_, "done")

    def test_other_verdicts_open_no_review(self, desk: Sandbox, anne: Caller) -> None:
        verify(desk, CLAIM)
        verify(desk, WRONG)
        assert anne.queue()["reviews"] == []

    def test_without_reviewers_nothing_is_written(self, sandbox: Sandbox, anne: Caller) -> None:
        sandbox.link("fresh", id="fca_1")
        id_ = verify(sandbox)
        before = sandbox.items(but=["AUDIT#"])
        assert anne.queue()["reviews"] == []
        assert anne.open(id_).problem == "nothing-to-review"
        assert [anne.decide(id_).problem, anne.compare(id_).problem] == ["review-not-found"] * 2
        assert sandbox.items(but=["AUDIT#"]) == before
        assert not [item for item in before if item["sk"]["S"].startswith(("REVIEW#", "NOTE#")) or "review" in item]

    def test_oldest_is_first_in_every_page(self, desk: Sandbox, anne: Caller) -> None:
        ids = [verify(desk) for _ in range(5)]
        for limit in (1, 2, 5, 50):
            found, cursor = list[str](), ""
            while cursor is not None:
                page = anne.queue(f"limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
                found += [one["verification"] for one in page["reviews"]]
                cursor = page["next_cursor"]
                assert page["open"] == "5"
            assert found == ids

    def test_closed_reviews_leave_it(self, desk: Sandbox, anne: Caller) -> None:
        ids = [verify(desk) for _ in range(3)]
        assert anne.decide(ids[1]).status == 200
        assert anne.listed() == [ids[0], ids[2]]

    def test_proposals_are_a_list_of_their_own(self, two: Sandbox, anne: Caller, bob: Caller) -> None:
        one, other = verify(two), verify(two)
        assert anne.decide(other).json["state"] == "proposed"
        assert (bob.listed(), bob.listed("state=open"), bob.listed("state=proposed")) == ([one], [one], [other])
        [shown] = bob.queue("state=proposed")["reviews"]
        assert (shown["state"], shown["version"], shown["opened_at"]) == ("proposed", 2, "2027-01-15T08:00:02Z")

    def test_list_by_reason_and_by_batch(self, desk: Sandbox, anne: Caller) -> None:
        middle, business = verify(desk), verify(desk, {"name": "Testerman Holdings LLC"})
        batch = "bat_" + "1" * 32
        client("dynamodb").update_item(
            TableName="titleholder", Key={"pk": {"S": f"VERIFICATION#{business}"}, "sk": {"S": "VERIFICATION"}},
            UpdateExpression="SET #batch = :batch", ExpressionAttributeNames={"#batch": "batch"},
            ExpressionAttributeValues={":batch": {"S": batch}},
        )  # fmt: skip
        assert anne.listed("reason=MIDDLE_DIFFERS") == [middle]
        assert anne.listed("reason=BUSINESS_VS_PERSON") == [business]
        assert anne.listed(f"batch={batch}") == [business]
        assert anne.listed(f"batch={batch}&reason=MIDDLE_DIFFERS") == []
        # What waits is counted without filters.
        assert anne.queue(f"batch={batch}")["open"] == "2"

    def test_filtered_page_that_looked_through_enough_says_that_there_is_more(
        self, desk: Sandbox, anne: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(review_queue, "MOST_LOOKED_AT", 2)
        _, _, wanted = verify(desk), verify(desk), verify(desk, {"name": "Testerman Holdings LLC"})
        page, found = anne.queue("reason=BUSINESS_VS_PERSON"), list[str]()
        assert page["reviews"] == []
        while page["next_cursor"] is not None:
            page = anne.queue(f"reason=BUSINESS_VS_PERSON&cursor={page['next_cursor']}")
            found += [one["verification"] for one in page["reviews"]]
        assert found == [wanted]

    def test_who_has_seen_it(self, desk: Sandbox, anne: Caller, bob: Caller) -> None:
        id_ = verify(desk)
        assert anne.compare(id_).status == 200
        seen = [caller.queue()["reviews"][0]["seen"] for caller in (anne, bob)]
        assert seen == [{"by_you": True, "at": "2027-01-15T08:00:01Z"}, {"by_you": False, "at": "2027-01-15T08:00:01Z"}]
        assert [caller.call("GET", f"/verifications/{id_}/timeline").json["review"]["seen"] for caller in (anne, bob)] == seen

    @pytest.mark.parametrize(
        ("scope", "claims", "may"),
        [
            ("review", {}, True),
            ("read review", {}, True),
            ("", {"scp": "[read review]"}, True),
            ("", {"scp": "[read,review]"}, True),
            ("support", {}, False),
            ("read", {}, False),
            ("preview", {}, False),
            ("titleholder/review", {}, False),
        ],
    )
    def test_what_a_token_may_do(self, desk: Sandbox, scope: str, claims: Any, may: bool) -> None:
        assert Caller(desk, "carl", scope, claims=claims).queue()["may"] == (["reveal", "decide"] if may else [])

    def test_what_a_token_may_do_where_scopes_have_a_prefix(self, desk: Sandbox) -> None:
        desk.cold_start(JWT_SCOPE_PREFIX="titleholder/")
        assert Caller(desk, "carl", "titleholder/review").queue()["may"] == ["reveal", "decide"]
        assert Caller(desk, "carl", "review").queue()["may"] == []

    def test_signed_call_may_do_what_its_policy_allows(self, desk: Sandbox) -> None:
        carl = Caller(desk, "carl", token=False)
        page = carl.queue()
        assert (page["you"], page["may"], page["caller_unknown"]) == (carl.name, ["reveal", "decide"], None)

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"),
            ("limit=51", "limit"),
            ("state=closed", "state"),
            ("reason=Canary", "reason"),
            ("batch=bat_1", "batch"),
            ("cursor=%20", "cursor"),
        ],
    )
    def test_parameters_that_are_wrong(self, desk: Sandbox, anne: Caller, query: str, field: str) -> None:
        answer = anne.call("GET", f"/reviews?{query}")
        assert (answer.status, answer.problem, answer.bad_fields) == (422, "invalid-request", {field})

    def test_cursor_of_another_list(self, desk: Sandbox, anne: Caller) -> None:
        for _ in range(2):
            verify(desk)
        cursor = anne.queue("limit=1")["next_cursor"]
        assert len(anne.listed(f"cursor={cursor}")) == 1
        list_ = {"list": "reviews", "mode": "test", "stripe_account": None, "state": "open", "reason": None, "batch": None}
        forged = [cursors.encode(list_, text) for text in ("", "#", "x#", "1", "1#ver_1", "-1#", "9999999999999999#", "1#ver_" + "g" * 32)]
        for query, headers in [
            (f"state=proposed&cursor={cursor}", {}),
            (f"reason=MIDDLE_DIFFERS&cursor={cursor}", {}),
            (f"cursor={cursor}", {"Stripe_Account": "acct_1"}),
            ("cursor=abc", {}),
            *((f"cursor={one}", {}) for one in forged),
        ]:
            answer = anne.call("GET", f"/reviews?{query}", **headers)
            assert (answer.status, answer.problem) == (422, "invalid-cursor"), query

    def test_nothing_is_listed_without_a_record(self, desk: Sandbox, anne: Caller) -> None:
        verify(desk)
        desk.taps.append(refuse_the_record)
        answer = anne.call("GET", "/reviews")
        assert (answer.status, answer.problem) == (503, "audit-unavailable")
        assert "ver_" not in answer.text


def refuse_the_record(moment: Moment) -> None:
    if moment.operation == "put_item" and moment.when == "before" and moment.arguments["Item"]["pk"]["S"].startswith("AUDIT#"):
        raise RuntimeError("refused")


class TestDecision:
    def test_approval(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        desk.wait(5)
        answer = anne.decide(id_, "approve", "CHANGED_NAME_DOCUMENTED", reference="CASE-4711", note=NOTE)
        assert answer.status == 200
        assert answer.json == {
            "verification": id_,
            "state": "closed",
            "version": 2,
            "opened_by": "rule",
            "opened_at": "2027-01-15T08:00:01Z",
            "closed_at": "2027-01-15T08:00:06Z",
            "resolution": "approved",
            "closed_reason": None,
            "reviewers_needed": 1,
            "final": {"outcome": "match", "by": "review", "at": "2027-01-15T08:00:06Z"},
            "decisions": [
                {
                    "by": f"{ISSUER}#anne",
                    "at": "2027-01-15T08:00:06Z",
                    "decision": "approve",
                    "reason": "CHANGED_NAME_DOCUMENTED",
                    "reference": "CASE-4711",
                    "noted": True,
                }
            ],
        }

    def test_rejection(self, desk: Sandbox, anne: Caller) -> None:
        found = anne.decide(verify(desk), "reject").json
        assert (found["resolution"], found["final"]["outcome"], found["final"]["by"]) == ("rejected", "no_match", "review")

    def test_repeated_decision_is_answered_as_the_first(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        first = anne.decide(id_, note=NOTE)
        desk.wait(60)
        assert anne.decide(id_, note=NOTE).json == first.json
        assert len(audited(desk, "review.decided")) == 1

    def test_later_decision_is_told_the_first(self, desk: Sandbox, anne: Caller, bob: Caller) -> None:
        id_ = verify(desk)
        anne.decide(id_, "reject")
        for answer in (bob.decide(id_), anne.decide(id_), bob.decide(id_, "reject"), bob.decide(id_, version=2)):
            assert (answer.status, answer.problem) == (409, "review-closed")
            review = answer.json["review"]
            assert (review["state"], review["version"], review["resolution"]) == ("closed", 2, "rejected")
            assert [(made["by"], made["reason"]) for made in review["decisions"]] == [(f"{ISSUER}#anne", "DIFFERENT_PERSON")]

    def test_four_eyes(self, two: Sandbox, anne: Caller, bob: Caller) -> None:
        id_ = verify(two)
        proposed = anne.decide(id_)
        assert (proposed.status, proposed.json["state"], proposed.json["final"]) == (200, "proposed", None)
        stale = bob.decide(id_)
        assert (stale.status, stale.problem, stale.json["review"]["version"]) == (409, "review-changed", 2)
        own = anne.decide(id_, version=2)
        assert (own.status, own.problem, own.json["review"]["state"]) == (403, "second-reviewer-needed", "proposed")
        confirmed = bob.decide(id_, version=2)
        assert (confirmed.status, confirmed.json["resolution"], confirmed.json["final"]["outcome"]) == (200, "approved", "match")

    def test_withdrawal(self, two: Sandbox, anne: Caller, bob: Caller) -> None:
        id_ = verify(two)
        early = anne.decide(id_, "withdraw")
        assert (early.status, early.problem) == (409, "nothing-to-withdraw")
        anne.decide(id_)
        assert bob.decide(id_, "withdraw", version=2).problem == "nothing-to-withdraw"
        withdrawn = anne.decide(id_, "withdraw", version=2)
        assert (withdrawn.status, withdrawn.json["state"], withdrawn.json["version"]) == (200, "open", 3)
        assert anne.listed() == [id_]

    def test_note_is_nowhere_but_sealed_in_the_table(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        anne.decide(id_, "approve", "OTHER", note=NOTE)
        assert [item["sk"]["S"] for item in desk.items() if item["sk"]["S"].startswith("NOTE#")] == [f"NOTE#{id_}#2"]
        assert NOTE.lower() not in str(desk.items()).lower()

    def test_each_bad_field_is_named_and_no_value_repeated(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        before = desk.items()
        for name, (body, fields) in BAD.items():
            answer = anne.call("POST", f"/verifications/{id_}/review/decisions", body)
            assert (answer.status, answer.problem) == (422, "invalid-request"), name
            assert fields <= answer.bad_fields, name
            assert "Canary" not in answer.text, name
        assert desk.items() == before

    def test_longest_note_and_reference_are_taken(self, desk: Sandbox, anne: Caller) -> None:
        note = "é" * 998 + "\n."
        assert anne.decide(verify(desk), "approve", "OTHER", note=note, reference="A" * 64).status == 200

    @pytest.mark.parametrize(
        ("decision", "reason"),
        [("approve", reason) for reason in reviews.APPROVE_REASONS] + [("reject", reason) for reason in reviews.REJECT_REASONS],
    )
    def test_every_reason(self, desk: Sandbox, anne: Caller, decision: str, reason: str) -> None:
        assert anne.decide(verify(desk), decision, reason, note="Seen.").status == 200


class TestOpeningByHand:
    def test_match_can_be_reviewed(self, desk: Sandbox, anne: Caller) -> None:
        backend = Caller(desk, "back-end", token=False)
        id_ = verify(desk, CLAIM)
        opened = backend.open(id_)
        assert (opened.status, opened.json["state"], opened.json["opened_by"], opened.json["final"]) == (200, "open", "manual", None)
        desk.wait(5)
        assert backend.open(id_, {}).json == opened.json
        assert [one["opened_by"] for one in anne.queue()["reviews"]] == ["manual"]
        assert [entry["actor"] for entry in audited(desk, "review.opened")] == [backend.name]
        assert anne.decide(id_, "reject").json["final"]["outcome"] == "no_match"

    def test_approval_of_no_match_needs_two(self, desk: Sandbox, anne: Caller, bob: Caller) -> None:
        id_ = verify(desk, WRONG)
        assert anne.open(id_).status == 200
        assert anne.decide(id_).json["state"] == "proposed"
        assert bob.decide(id_, version=2).json["final"]["outcome"] == "match"

    def test_reviewed_verification_is_not_reviewed_again(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        anne.decide(id_)
        answer = anne.open(id_)
        assert (answer.status, answer.problem, answer.json["review"]["resolution"]) == (409, "review-closed", "approved")

    def test_nothing_to_compare(self, desk: Sandbox, anne: Caller) -> None:
        desk.link("single_owner", id="fca_2")
        waiting = desk.http("POST", "/verifications", {"account": "fca_2", "claim": CLOSE}).json["id"]
        assert anne.open(waiting).problem == "nothing-to-review"
        desk.http("DELETE", f"/verifications/{waiting}")
        answer = anne.open(waiting)
        assert (answer.status, answer.problem) == (409, "nothing-to-review")

    def test_body_has_no_fields(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        for path in ("review", "comparison"):
            answer = anne.call("POST", f"/verifications/{id_}/{path}", {"note": "Canary"})
            assert (answer.status, answer.bad_fields) == (422, {"note"})
            assert "Canary" not in answer.text


class TestComparison:
    def test_names_are_shown_once_that_is_recorded(self, desk: Sandbox, anne: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        id_ = verify(desk)
        recorded: list[int] = []
        original = Comparison.of

        def watched(found: Any) -> Comparison:
            recorded.append(len(audited(desk, "comparison.read")))
            return original(found)

        monkeypatch.setattr(Comparison, "of", watched)
        answer = anne.compare(id_)
        assert recorded == [1]
        name = answer.json["fields"][0]
        assert [part for part in name["claim"] if part["differs"]] == [{"text": "Louise", "differs": True}]
        assert "".join(part["text"] for part in name["bank"]) == "MARGARET ANNE TESTERMAN"

    def test_without_a_record_no_name_is_shown(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        desk.taps.append(refuse_the_record)
        answer = anne.compare(id_)
        assert (answer.status, answer.problem) == (503, "audit-unavailable")
        assert not [word for word in PERSONAL if word in answer.text.lower()]

    def test_verification_without_a_review_has_none(self, desk: Sandbox, anne: Caller) -> None:
        answer = anne.compare(verify(desk, CLAIM))
        assert (answer.status, answer.problem) == (404, "review-not-found")

    def test_decided_review_has_none(self, desk: Sandbox, anne: Caller) -> None:
        id_ = verify(desk)
        anne.decide(id_)
        answer = anne.compare(id_)
        assert (answer.status, answer.problem, answer.json["review"]["resolution"]) == (409, "review-closed", "approved")


class TestWhatIsGone:
    def test_account_was_erased(self, desk: Sandbox, anne: Caller) -> None:
        id_, other = verify(desk), verify(desk, CLAIM)
        anne.decide(id_, note=NOTE)
        still_open = verify(desk)
        assert desk.http("DELETE", "/accounts/fca_1").status == 200
        for answer in (anne.compare(id_), anne.compare(still_open), anne.open(other)):
            assert (answer.status, answer.problem) == (410, "account-erased")
        ended = anne.decide(still_open)
        assert (ended.status, ended.json["review"]["closed_reason"]) == (409, "ACCOUNT_DISCONNECTED")
        assert anne.queue()["reviews"] == []
        # The decision is still shown.
        assert anne.decide(id_, "reject").json["review"]["decisions"][0]["reason"] == "NAME_VARIANT_CONFIRMED"

    def test_claim_was_erased(self, desk: Sandbox, anne: Caller) -> None:
        id_, other = verify(desk), verify(desk, CLAIM)
        for item in desk.items():
            if item["sk"]["S"].startswith("CLAIM#"):
                client("dynamodb").delete_item(TableName="titleholder", Key={"pk": item["pk"], "sk": item["sk"]})
        assert (anne.decide(id_).status, anne.decide(id_).problem) == (410, "claim-erased")
        for answer in (anne.open(other), anne.compare(id_)):
            assert (answer.status, answer.problem) == (410, "claim-erased")
        # To look at it has ended the review.
        assert anne.decide(id_).json["review"]["closed_reason"] == "CLAIM_ERASED"

    def test_owners_were_erased(self, desk: Sandbox, anne: Caller) -> None:
        id_, other = verify(desk), verify(desk, CLAIM)
        for item in desk.items():
            if item["sk"]["S"].startswith(("SNAPSHOT#", "HISTORY#")):
                client("dynamodb").delete_item(TableName="titleholder", Key={"pk": item["pk"], "sk": item["sk"]})
        for answer in (anne.decide(id_), anne.open(other), anne.compare(id_), anne.compare(id_)):
            assert (answer.status, answer.problem) == (410, "owners-erased")
        assert anne.decide(id_).json["review"]["closed_reason"] == "OWNERS_ERASED"


class TestTokenWithoutASubject:
    @pytest.mark.parametrize("subject", [None, "", " "])
    def test_it_reveals_and_decides_nothing(self, desk: Sandbox, anne: Caller, subject: Any) -> None:
        id_, other = verify(desk), verify(desk, CLAIM)
        stranger = Caller(desk, "stranger", claims={"sub": subject})
        before = desk.items()
        refusals = [stranger.compare(id_), stranger.decide(id_), stranger.open(other)]
        for answer in refusals:
            assert (answer.status, answer.problem) == (403, "caller-unknown")
            assert not [word for word in PERSONAL if word in answer.text.lower()]
        assert desk.items() == before
        page = stranger.queue()
        assert (page["may"], page["you"]) == ([], "unknown")
        assert {page["caller_unknown"]} == {answer.json["detail"] for answer in refusals}
        assert anne.decide(id_).status == 200

    def test_nor_does_a_call_without_authorisation(self, desk: Sandbox) -> None:
        id_ = verify(desk)
        assert desk.http("POST", f"/verifications/{id_}/comparison").problem == "caller-unknown"


class TestTenants:
    ROUTES = ("comparison", "review", "review/decisions", "timeline")

    def answers(self, caller: Caller, id_: str, **headers: str) -> list[Answer]:
        decision = {"version": 1, "decision": "reject", "reason": "RELATIVE"}
        return [
            caller.call("GET" if route == "timeline" else "POST", f"/verifications/{id_}/{route}", body, **headers)
            for route, body in zip(self.ROUTES, ({}, {}, decision, None), strict=True)
        ]

    def test_verification_of_another_tenant_is_answered_as_one_that_does_not_exist(self, desk: Sandbox, anne: Caller) -> None:
        desk.link("fresh", id="fca_1", stripe_account="acct_1")
        ours, theirs = verify(desk), verify(desk, Stripe_Account="acct_1")
        assert anne.listed() == [ours]
        assert anne.listed(Stripe_Account="acct_1") == [theirs]
        assert anne.listed(Stripe_Account="acct_2") == []
        before = desk.items(but=["AUDIT#"])
        unknown = self.answers(anne, "ver_" + "0" * 32)
        assert [(answer.status, answer.problem) for answer in unknown] == [(404, "verification-not-found")] * 4
        for id_, headers in ((theirs, {}), (ours, {"Stripe_Account": "acct_1"}), (ours, {"Stripe_Account": "acct_2"})):
            assert [answer.text for answer in self.answers(anne, id_, **headers)] == [answer.text for answer in unknown]
        assert desk.items(but=["AUDIT#"]) == before
        assert anne.decide(ours).status == 200

    def test_verification_of_several_accounts_has_no_review(self, desk: Sandbox, anne: Caller, stripe: Any) -> None:
        id_ = desk.http("POST", "/verifications", {"customer": customer(desk, stripe, "single_owner"), "claim": CLOSE}).json["id"]
        assert {answer.problem for answer in self.answers(anne, id_)} == {"verification-not-found"}

    def test_token_for_one_connected_account(self, desk: Sandbox) -> None:
        desk.link("fresh", id="fca_1", stripe_account="acct_1")
        ours, theirs = verify(desk), verify(desk, Stripe_Account="acct_1")
        desk.cold_start(JWT_ACCOUNT_CLAIM="account")
        carl = Caller(desk, "carl", claims={"account": "acct_1"})
        assert carl.listed() == [theirs]
        assert carl.compare(ours).problem == "verification-not-found"
        assert carl.compare(theirs).status == 200
        for caller, headers in ((carl, {"Stripe_Account": "acct_2"}), (Caller(desk, "dora"), {})):
            answer = caller.call("GET", "/reviews", **headers)
            assert (answer.status, answer.problem) == (403, "connected-account-forbidden")
