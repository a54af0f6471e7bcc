"""The webhook receiver through API Gateway: requests that are not Stripe's change nothing, and acknowledged events are not lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.functions import http_event
from tests.support.sandbox import API_KEY, SIGNING_SECRET, Answer, Moment, Sandbox, client
from titleholder import observability
from titleholder.aws.secrets import PREVIOUS_SECONDS, RELOAD_PAUSE_SECONDS
from titleholder.bootstrap import application
from titleholder.errors import UnexpectedError
from titleholder.services.webhooks import MAX_BODY_BYTES, METRICS
from titleholder.stripe_api import events as stripe_events
from titleholder.stripe_api.signatures import TOLERANCE_SECONDS, sign

TYPE = "financial_connections.account.refreshed_ownership"


def event(**changes: Any) -> bytes:
    about = {"id": "fca_1", "object": "financial_connections.account", "display_name": "Canary Checking"}
    return json.dumps(
        {"id": "evt_1", "object": "event", "created": 1_800_000_000, "livemode": False, "type": TYPE, "data": {"object": about}, **changes}
    ).encode()


def signed(sandbox: Sandbox, body: bytes, *, secret: str = SIGNING_SECRET, age: float = 0) -> str:
    return sign(body, secret, int(sandbox.clock.now - age))


def post(sandbox: Sandbox, body: bytes, signature: str | None, *, encoded: bool = False) -> Answer:
    headers = {"Content-Type": "application/json"} if signature is None else {"Stripe-Signature": signature}
    return Answer.of(sandbox.function("receive_webhook")(http_event("POST", "/webhooks/stripe", body, headers, encoded=encoded)))


def deliver(sandbox: Sandbox, body: bytes, **options: Any) -> Answer:
    return post(sandbox, body, signed(sandbox, body, **options))


def record(sandbox: Sandbox) -> dict[str, Any]:
    """The one event item."""
    (item,) = sandbox.items()
    assert item["pk"]["S"] == "EVENT#evt_1"
    return item


def assert_refused(sandbox: Sandbox, answer: Answer, problem: str = "invalid-signature") -> None:
    assert (answer.status, answer.problem) == (400, problem)
    assert sandbox.items() == []
    assert sandbox.messages(sandbox.events_queue) == []


REFUSED: dict[str, Callable[[Sandbox, bytes], str | None]] = {
    "missing": lambda sandbox, body: None,
    "empty": lambda sandbox, body: "",
    "malformed": lambda sandbox, body: "t=now;v1=yes",
    "without timestamp": lambda sandbox, body: signed(sandbox, body).partition(",")[2],
    "without signature": lambda sandbox, body: signed(sandbox, body).partition(",")[0],
    "of another scheme": lambda sandbox, body: signed(sandbox, body).replace("v1=", "v0="),
    "of another secret": lambda sandbox, body: signed(sandbox, body, secret="whsec_of_another"),
    "of another body": lambda sandbox, body: signed(sandbox, body + b" "),
    "old": lambda sandbox, body: signed(sandbox, body, age=TOLERANCE_SECONDS + 1),
    "of the future": lambda sandbox, body: signed(sandbox, body, age=-TOLERANCE_SECONDS - 1),
    "with its timestamp renewed": lambda sandbox, body: f"t={int(sandbox.clock.now)},{signed(sandbox, body, age=900).partition(',')[2]}",
    "not ASCII": lambda sandbox, body: "t=١٢٣,v1=" + "é" * 64,
    "by the API key": lambda sandbox, body: signed(sandbox, body, secret=API_KEY),
    "by the empty secret": lambda sandbox, body: signed(sandbox, body, secret=""),
}


class TestRefusedWithoutEffect:
    @pytest.mark.parametrize("encoded", [False, True], ids=["plain", "base64"])
    @pytest.mark.parametrize("header", REFUSED.values(), ids=REFUSED.keys())
    def test_signature(self, sandbox: Sandbox, header: Callable[[Sandbox, bytes], str | None], encoded: bool) -> None:
        body = event()
        assert_refused(sandbox, post(sandbox, body, header(sandbox, body), encoded=encoded))

    def test_replayed_delivery_is_refused_once_it_is_old(self, sandbox: Sandbox) -> None:
        body = event()
        header = signed(sandbox, body)
        assert post(sandbox, body, header).status == 200
        before = (sandbox.items(), sandbox.messages(sandbox.events_queue))
        sandbox.wait(TOLERANCE_SECONDS + 1)
        assert post(sandbox, body, header).problem == "invalid-signature"
        assert (sandbox.items(), sandbox.messages(sandbox.events_queue)) == before

    def test_every_delivery_when_no_secret_is_configured(self, sandbox: Sandbox) -> None:
        sandbox.delete_secret("webhook-secret")
        for secret in (SIGNING_SECRET, "", "None"):
            assert_refused(sandbox, deliver(sandbox, event(), secret=secret))
        assert "No webhook signing secret is configured" in sandbox.log.getvalue()
        assert "a secret does not exist, may not be read, or its current version holds no usable value" in sandbox.log.getvalue()

    @pytest.mark.parametrize(
        "value", [" ", "[]", '[""]', "{}", "[not json", ",", "test", "#", "whsec_", "whsec_test", "whsec_...", '{"a": "test"}']
    )
    def test_every_delivery_when_the_secret_holds_none(self, sandbox: Sandbox, value: str) -> None:
        sandbox.delete_secret("webhook-secret")
        client("secretsmanager").create_secret(Name="webhook-secret", SecretString=value)
        for secret in ("", value):
            assert_refused(sandbox, deliver(sandbox, event(), secret=secret))

    @pytest.mark.parametrize("body", [b"\xff\xfe{}", event() + b"\xe9", b"\xed\xa0\x80"])
    def test_body_that_is_not_utf8(self, sandbox: Sandbox, body: bytes) -> None:
        assert_refused(sandbox, deliver(sandbox, body), "malformed-event")

    @pytest.mark.parametrize("text", ["€", "a", "{}", "====", "\ud800"])
    def test_body_that_is_said_to_be_base64_and_is_not(self, sandbox: Sandbox, text: str) -> None:
        request = http_event("POST", "/webhooks/stripe", "", {"Stripe-Signature": signed(sandbox, b"")})
        answer = Answer.of(sandbox.function("receive_webhook")(request | {"body": text, "isBase64Encoded": True}))
        assert_refused(sandbox, answer, "malformed-event")

    @pytest.mark.parametrize("encoded", [False, True], ids=["plain", "base64"])
    def test_body_over_the_limit(self, sandbox: Sandbox, encoded: bool) -> None:
        def padded(size: int) -> bytes:
            bare = event(padding="")
            return event(padding="x" * (size - len(bare)))

        body = padded(MAX_BODY_BYTES + 1)
        assert len(body) == 256 * 1024 + 1
        assert_refused(sandbox, post(sandbox, body, signed(sandbox, body), encoded=encoded), "malformed-event")
        largest = padded(MAX_BODY_BYTES)
        assert post(sandbox, largest, signed(sandbox, largest), encoded=encoded).status == 200

    @pytest.mark.parametrize("request_", [{"body": None}, {}], ids=["null", "absent"])
    def test_no_body(self, sandbox: Sandbox, request_: dict[str, Any]) -> None:
        bare = http_event("POST", "/webhooks/stripe", None, {"Stripe-Signature": signed(sandbox, b"")})
        assert_refused(sandbox, Answer.of(sandbox.function("receive_webhook")(bare | request_)), "malformed-event")

    def test_no_headers(self, sandbox: Sandbox) -> None:
        bare = http_event("POST", "/webhooks/stripe", event())
        del bare["headers"]
        assert_refused(sandbox, Answer.of(sandbox.function("receive_webhook")(bare)))

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"null", b"{}", event(id="fca_1"), event(type=None), b"[" * 50_000, b'{"id":' + b"1" * 5000]
    )
    def test_signed_body_that_is_no_event(self, sandbox: Sandbox, body: bytes) -> None:
        assert_refused(sandbox, deliver(sandbox, body), "malformed-event")

    def test_answer_and_log_repeat_nothing_of_the_delivery(self, sandbox: Sandbox) -> None:
        header = signed(sandbox, event(), secret="whsec_of_another")
        answer = post(sandbox, event(), header)
        for secret in (header, header.rpartition("=")[2], "fca_1", SIGNING_SECRET):
            assert secret not in answer.text + sandbox.log.getvalue()


class TestAccepted:
    @pytest.mark.parametrize("encoded", [False, True], ids=["plain", "base64"])
    def test_event_is_recorded_and_queued_with_ids_only(self, sandbox: Sandbox, encoded: bool) -> None:
        body = event(account="acct_1")
        assert post(sandbox, body, signed(sandbox, body), encoded=encoded).status == 200
        assert sandbox.messages(sandbox.events_queue) == [
            {"event": "evt_1", "account": "fca_1", "mode": "test", "stripe_account": "acct_1"}
        ]
        assert "canary" not in str(record(sandbox)).lower()

    def test_raw_bytes_are_verified_and_not_what_json_makes_of_them(self, sandbox: Sandbox) -> None:
        body = b'{ "type":"x.y",\r\n "id" : "evt_1","note":"\\u00e9 \xc3\xa9 \xe2\x82\xac", "n": 1.0e2 }\n'
        assert deliver(sandbox, body).status == 200
        assert post(sandbox, body, signed(sandbox, body), encoded=True).status == 200

    @pytest.mark.parametrize("age", [TOLERANCE_SECONDS, -TOLERANCE_SECONDS])
    def test_clocks_may_differ_a_little(self, sandbox: Sandbox, age: int) -> None:
        assert deliver(sandbox, event(), age=age).status == 200

    def test_header_name_in_any_case(self, sandbox: Sandbox) -> None:
        request = http_event("POST", "/webhooks/stripe", event())
        request["headers"]["STRIPE-Signature"] = signed(sandbox, event())
        assert sandbox.function("receive_webhook")(request)["statusCode"] == 200

    @pytest.mark.parametrize("type_", ["payment_intent.succeeded", "never.heard.of.it", "financial_connections.account.refreshed_balance"])
    def test_unknown_type_is_recorded_and_not_processed(self, sandbox: Sandbox, type_: str) -> None:
        assert deliver(sandbox, event(type=type_)).status == 200
        assert record(sandbox)["type"]["S"] == type_
        assert record(sandbox)["processed"]["BOOL"] is True
        assert sandbox.messages(sandbox.events_queue) == []

    def test_duplicate_is_queued_again_only_while_it_waits(self, sandbox: Sandbox) -> None:
        assert deliver(sandbox, event()).status == 200
        assert deliver(sandbox, event()).status == 200
        assert len(sandbox.messages(sandbox.events_queue)) == 2
        sandbox.store.events.mark_processed("evt_1")
        assert deliver(sandbox, event()).status == 200
        assert len(sandbox.messages(sandbox.events_queue)) == 2
        assert record(sandbox)["processed"]["BOOL"] is True

    def test_duplicate_of_an_unknown_type_is_not_queued(self, sandbox: Sandbox) -> None:
        for _ in range(2):
            assert deliver(sandbox, event(type="x")).status == 200
        assert sandbox.messages(sandbox.events_queue) == []

    def test_thin_event(self, sandbox: Sandbox) -> None:
        body = event(
            object="v2.core.event",
            type="v1.financial_connections.account.ownership_refresh_failed",
            related_object={"id": "fca_1"},
            context=None,
        )
        assert deliver(sandbox, body).status == 200
        assert sandbox.messages(sandbox.events_queue) == [{"event": "evt_1", "account": "fca_1", "mode": "test"}]


SET_ASIDE = {
    "other_mode": [{"livemode": True}, {"livemode": True, "type": "x.y"}, {"livemode": True, "data": {}}],
    "other_context": [
        {"account": "org_1/acct_1"}, {"account": "org_1"}, {"account": ""}, {"account": {}}, {"context": "org_1"},
        {"account": "acct_1", "context": "org_1/acct_2"}, {"context": "acct_1/org_1"},
        {"object": "v2.core.event", "type": f"v1.{TYPE}", "context": "org_1", "related_object": {"id": "fca_1"}},
    ],
    "malformed": [
        {"data": None}, {"data": {"object": {"id": "cus_1"}}}, {"data": {"object": {"id": None}}}, {"data": []}, {"livemode": "no"},
        {"object": "v2.core.event", "type": f"v1.{TYPE}", "related_object": None}, {"type": f"v1.{TYPE}"},
    ],
}  # fmt: skip


class TestSetAside:
    """Genuine events that are not for this stack, or of no use: 200, stored under a key of their own, counted, no other effect."""

    @pytest.fixture
    def counted(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names of the metrics that are added from now on."""
        found: list[str] = []
        monkeypatch.setattr(observability.metrics, "add_metric", lambda *, name, **_: found.append(name))
        return found

    @pytest.mark.parametrize(
        ("way", "why", "changes"),
        [
            (way, why, changes)
            for way in ("webhook", "bus")
            for why, each in SET_ASIDE.items()
            for changes in each
            # On the bus, a field that the event lacks is an empty text.
            if (way, changes) != ("bus", {"account": ""})
        ],
    )
    def test_event_is_stored_and_counted(self, sandbox: Sandbox, counted: list[str], why: Any, changes: dict[str, Any], way: str) -> None:
        if way == "webhook":
            assert deliver(sandbox, event(**changes)).status == 200
        else:
            envelope = {"source": "aws.partner/stripe.com/ed_1", "detail": json.loads(event(**changes))}
            assert sandbox.function("receive_event")(envelope) == {"event": "evt_1", "state": why}
        (item,) = sandbox.items()
        assert (item["pk"]["S"], item["sk"]["S"]) == ("EVENT#evt_1", f"ASIDE#{why}")
        assert set(item) == {"pk", "sk", "id", "type", "created", "aside", "received_ms", "expires_at"}
        assert sandbox.messages(sandbox.events_queue) == []
        assert METRICS[why] in counted
        assert [name for name in counted if name in METRICS.values()] == [METRICS[why]]

    @pytest.mark.parametrize("changes", [each[0] for each in SET_ASIDE.values()])
    def test_event_does_not_keep_a_usable_one_of_its_id_from_its_effect(self, sandbox: Sandbox, changes: dict[str, Any]) -> None:
        for body in (event(**changes), event(), event(**changes)):
            assert deliver(sandbox, body).status == 200
        assert len(sandbox.messages(sandbox.events_queue)) == 1
        assert {item["sk"]["S"].partition("#")[0] for item in sandbox.items()} == {"EVENT", "ASIDE"}

    def test_event_that_a_list_shows_again_and_again_is_counted_once(self, sandbox: Sandbox, counted: list[str]) -> None:
        malformed = stripe_events.from_object(json.loads(event(data={})), "test")
        for _ in range(3):
            assert application().webhook_receiver.accept(malformed, listed=True)[1] == "malformed"
        assert counted == ["EventMalformed"]
        for _ in range(2):
            assert deliver(sandbox, event(data={})).status == 200
        assert counted.count("EventMalformed") == 3

    def test_event_of_an_account_that_is_known_here_wakes_no_workflow(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        calls: list[Moment] = []
        sandbox.taps.append(lambda moment: calls.append(moment) if moment.service in ("stripe", "stepfunctions", "sqs") else None)
        about = {"object": {"id": ref.account}}
        for changes in ({"livemode": True}, {"account": "org_1/acct_1"}, {"context": "org_1"}):
            assert deliver(sandbox, event(data=about, **changes)).status == 200
        sandbox.consume(sandbox.events_queue)
        assert calls == []

    def test_malformed_event_is_logged_as_an_error_without_its_content(self, sandbox: Sandbox) -> None:
        deliver(sandbox, event(data={"object": {"id": "Canary"}}))
        (line,) = [json.loads(line) for line in sandbox.log.getvalue().splitlines() if "event set aside" in line]
        assert (line["level"], line["event_id"], line["reason"]) == ("ERROR", "evt_1", "malformed")
        assert "canary" not in sandbox.log.getvalue().lower()


class TestAcknowledgedMeansSafe:
    def test_event_is_recorded_before_it_is_queued(self, sandbox: Sandbox) -> None:
        calls: list[str] = []
        sandbox.taps.append(lambda moment: calls.append(moment.operation) if moment.when == "after" else None)
        deliver(sandbox, event())
        assert calls.index("put_item") < calls.index("send_message")

    def test_failing_send_is_no_200_and_stripes_retry_queues_the_event(self, sandbox: Sandbox) -> None:
        def fail(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("send_message", "before"):
                raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": ""}}, "SendMessage")

        sandbox.taps.append(fail)
        with pytest.raises(UnexpectedError, match="ServiceUnavailable"):
            deliver(sandbox, event())
        assert record(sandbox)["processed"]["BOOL"] is False
        assert sandbox.messages(sandbox.events_queue) == []
        sandbox.taps.clear()
        assert deliver(sandbox, event()).status == 200
        assert len(sandbox.messages(sandbox.events_queue)) == 1

    @pytest.mark.parametrize("code", ["InternalServerError", "AccessDeniedException"])
    def test_outage_of_the_table_is_not_the_deliverys_fault(self, sandbox: Sandbox, code: str) -> None:
        """API Gateway answers an unhandled error with 500, which Stripe retries. Stripe would also retry a 400, but as our mistake."""

        def fail(moment: Moment) -> None:
            if moment.service == "dynamodb":
                raise ClientError({"Error": {"Code": code, "Message": ""}}, "PutItem")

        sandbox.taps.append(fail)
        with pytest.raises(UnexpectedError, match=code):
            deliver(sandbox, event())
        assert sandbox.messages(sandbox.events_queue) == []

    def test_busy_table_is_503_and_the_delivery_is_taken_when_it_comes_again(self, sandbox: Sandbox) -> None:
        def fail(moment: Moment) -> None:
            if moment.service == "dynamodb":
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "PutItem")

        sandbox.taps.append(fail)
        answer = deliver(sandbox, event())
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.json["type"] == "urn:titleholder:problem:table-busy"
        assert sandbox.messages(sandbox.events_queue) == []
        sandbox.taps.clear()
        assert deliver(sandbox, event()).status == 200
        assert len(sandbox.messages(sandbox.events_queue)) == 1

    def test_outage_of_the_secrets_lets_nothing_in(self, sandbox: Sandbox) -> None:
        def fail(moment: Moment) -> None:
            if moment.service == "secretsmanager":
                raise ClientError({"Error": {"Code": "InternalServiceError", "Message": ""}}, "GetSecretValue")

        sandbox.taps.append(fail)
        with pytest.raises(UnexpectedError, match="InternalServiceError"):
            deliver(sandbox, event())
        assert sandbox.items() == []


class TestSecrets:
    @pytest.mark.parametrize(
        "value",
        ["whsec_platform,whsec_connected", "whsec_platform whsec_connected", '["whsec_platform", "whsec_connected"]',
         '{"one": "whsec_platform", "two": "whsec_connected"}', "# platform\nwhsec_platform\n# connected accounts\nwhsec_connected"],
    )  # fmt: skip
    def test_several(self, sandbox: Sandbox, value: str) -> None:
        sandbox.set_secret("webhook-secret", value)
        for number, secret in enumerate(("whsec_platform", "whsec_connected")):
            assert deliver(sandbox, event(id=f"evt_{number}"), secret=secret).status == 200
        assert deliver(sandbox, event(id="evt_9"), secret=value).status == 400

    def test_rolled_one_and_its_successor_are_both_good(self, sandbox: Sandbox) -> None:
        sandbox.set_secret("webhook-secret", "whsec_the_new_one")
        assert deliver(sandbox, event(id="evt_1"), secret="whsec_the_new_one").status == 200
        assert deliver(sandbox, event(id="evt_2"), secret=SIGNING_SECRET).status == 200

    def test_rolled_one_ends_after_24_hours(self, sandbox: Sandbox) -> None:
        sandbox.set_secret("webhook-secret", "whsec_the_new_one")
        sandbox.wait(PREVIOUS_SECONDS - 60)
        assert deliver(sandbox, event(id="evt_1")).status == 200
        sandbox.wait(60)
        assert deliver(sandbox, event(id="evt_2")).status == 400
        sandbox.wait(30 * 86_400)
        assert deliver(sandbox, event(id="evt_3")).status == 400
        assert deliver(sandbox, event(id="evt_4"), secret="whsec_the_new_one").status == 200

    @pytest.mark.parametrize("word", ["test", "#", "platform:", "whsec_", "whsec_test", API_KEY])
    def test_word_beside_a_secret_is_none(self, sandbox: Sandbox, word: str) -> None:
        sandbox.set_secret("webhook-secret", f"{word} whsec_the_new_one")
        assert_refused(sandbox, deliver(sandbox, event(), secret=word))
        assert deliver(sandbox, event(), secret="whsec_the_new_one").status == 200

    def test_rolled_while_the_function_is_warm_is_loaded_once_when_none_matches(self, sandbox: Sandbox) -> None:
        loads: list[Moment] = []
        sandbox.taps.append(lambda moment: loads.append(moment) if (moment.service, moment.when) == ("secretsmanager", "before") else None)
        assert deliver(sandbox, event()).status == 200
        sandbox.set_secret("webhook-secret", "whsec_the_new_one")
        sandbox.wait(RELOAD_PAUSE_SECONDS + 1)
        loads.clear()
        assert deliver(sandbox, event(id="evt_2"), secret="whsec_the_new_one").status == 200
        assert len(loads) == 2  # the current version and the previous one

    def test_forged_deliveries_do_not_make_us_load_the_secret_each_time(self, sandbox: Sandbox) -> None:
        loads: list[Moment] = []
        sandbox.taps.append(lambda moment: loads.append(moment) if (moment.service, moment.when) == ("secretsmanager", "before") else None)
        for _ in range(20):
            assert deliver(sandbox, event(), secret="whsec_forged_by_us").status == 400
        assert len(loads) == 1

    def test_twice_rolled_one_is_refused(self, sandbox: Sandbox) -> None:
        for secret in ("whsec_the_new_one", "whsec_the_newest"):
            sandbox.set_secret("webhook-secret", secret)
        assert_refused(sandbox, deliver(sandbox, event()))


class TestEventBridge:
    """The second way in: the same processing, trust from the bus."""

    def envelope(self, detail: Any, source: str = "aws.partner/stripe.com/ed_1") -> dict[str, Any]:
        return {"version": "0", "source": source, "detail-type": TYPE, "detail": detail}

    def test_event_is_recorded_and_queued_as_by_webhook(self, sandbox: Sandbox) -> None:
        assert sandbox.function("receive_event")(self.envelope(json.loads(event()))) == {"event": "evt_1", "state": "new"}
        assert sandbox.messages(sandbox.events_queue) == [{"event": "evt_1", "account": "fca_1", "mode": "test"}]
        assert deliver(sandbox, event()).status == 200
        assert len(sandbox.items()) == 1

    @pytest.mark.parametrize(
        ("detail", "source"),
        [
            ({"id": "evt_1", "type": TYPE}, "titleholder"),
            ({"id": "evt_1", "type": TYPE}, ""),
            (None, "aws.partner/stripe.com/ed_1"),
            ({}, "aws.partner/stripe.com/ed_1"),
        ],
    )
    def test_what_is_not_stripes_event_is_refused_without_effect(self, sandbox: Sandbox, detail: Any, source: str) -> None:
        with pytest.raises(Exception, match="event"):
            sandbox.function("receive_event")(self.envelope(detail, source))
        assert sandbox.items() == []
        assert sandbox.messages(sandbox.events_queue) == []
