"""Messages about bad input on every route, in manifests and by webhooks: in our own words, and never with the value."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import Client, TestResponse

from local import openapi
from tests.support.functions import http_event
from tests.support.gateway import Gateway
from tests.support.library_texts import found_in
from tests.support.samples import prepare
from tests.support.sandbox import SIGNING_SECRET, Sandbox, client
from titleholder.batches import manifests
from titleholder.batches.manifests import Record, Reject
from titleholder.stripe_api.signatures import sign

DOCUMENT = json.loads(openapi.DOCUMENT.read_text())
OPERATIONS = {f"{method.upper()} {path}": operation for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()}
OURS = {key: operation for key, operation in OPERATIONS.items() if operation["security"]}
WITH_BODY = [key for key, operation in OURS.items() if "requestBody" in operation]

CANARY = "Quillfeather"
"""In every bad text, so that an answer which quotes a value is seen."""

MISTAKES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "negative": -1,
    "fraction": 1.5,
    "huge": 10**30,
    "nothing": "",
    "space": " ",
    "text": f"{CANARY}!",
    "long": CANARY * 300,
    "control": f"{CANARY}\x00",
    "surrogate": f"{CANARY}\ud800",
    "date": f"2026-13-45 {CANARY}",
    "array": [],
    "nulls": [None],
    "numbers": [1] * 3,
    "many": [CANARY] * 2000,
    "object": {},
    "unknown": {CANARY: CANARY},
    "nested": {"a": {"b": [CANARY]}},
}  # fmt: skip
BROKEN = [
    "", " ", "{", "[", '{"', '{"a', '{"a"', '{"a":', '{"a": 1', '{"a": 1,', '{"a": 1,}', '{"a": [1,]}', '{"a": [1 2]}', '{"a" 1}',
    "{'a': 1}", '{a: 1}', '{"a": tru}', '{"a": NaN}', '{"a": -Infinity}', '{"a": "\x01"}', '{"a": "\\x"}', '{"a": "\\u12"}', "{} {}",
    "null", "[]", "1", '"x"', "﻿{}", '{"a": 1, "a": 2}', '{"a": {"b": 1, "b": 2}}', '{"a": 01}', '{"a": 1.}', '{"a": .5}', "{" * 5,
    '{"a":' * 40 + "1" + "}" * 40,
    '{"a": ' + "1" * 5000 + "}", "name=x&y=z", "<a/>", '{"a": "' + CANARY, '{"a": 1} ' + CANARY, CANARY,
]  # fmt: skip
PARAMETERS = ("", " ", f"{CANARY}!", "x" * 2000, "0", "-1", "1.5", "9" * 30, "maybe", "null", "[]", "a,b", "%00", "%ff", "2026-13-45")


class Judge:
    """Calls routes, and judges every answer to bad input."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.gateway = Gateway(lambda folder, event: sandbox.function(folder)(event))
        self.client = Client(self.gateway)

    def call(self, key: str, path: str | None = None, body: str | None = None, query: str = "", **headers: str) -> TestResponse:
        method, template = key.split()
        data = None if body is None else body.encode(errors="surrogatepass")
        sent = {"Content-Type": "application/json", **headers}
        answer = self.client.open(f"{path or example_path(template)}?{query}", method=method, data=data, headers=sent)
        assert not self.gateway.failures
        assert answer.status_code < 500, answer.get_data(as_text=True)
        if answer.status_code >= 400:
            judge(answer.get_data(as_text=True))
            judge_fields(answer.json or {})
        return answer


def judge(text: str) -> None:
    """An answer, or another text for people, about bad input."""
    assert not found_in(text), text
    assert CANARY.lower() not in text.lower(), text


def judge_fields(problem: Mapping[str, Any]) -> None:
    for error in problem.get("errors", ()):
        assert set(error) == {"field", "detail"}
        assert error["detail"] != "is not valid", error
        assert error["detail"].strip(), error


def example_path(template: str) -> str:
    for operation in DOCUMENT["paths"][template].values():
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                template = template.replace("{" + parameter["name"] + "}", parameter["example"])
    return template


def example_body(key: str) -> dict[str, Any]:
    value: dict[str, Any] = next(iter(OPERATIONS[key]["requestBody"]["content"]["application/json"]["examples"].values()))["value"]
    return value


def schema(part: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of the document, without references and without the null that makes it optional."""
    while True:
        if "$ref" in part:
            part = DOCUMENT["components"]["schemas"][part["$ref"].rpartition("/")[2]]
        elif "anyOf" in part or "allOf" in part:
            # An object where the field may also be a text.
            arms = [schema(arm) for arm in part.get("anyOf", part.get("allOf", ())) if arm.get("type") != "null"]
            part = next((arm for arm in arms if "properties" in arm), arms[0])
        else:
            return dict(part)


def objects(part: Mapping[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every object in a body's schema: where it is, and its fields."""
    found = schema(part)
    if "properties" in found:
        yield place, found["properties"]
        for name, inner in found["properties"].items():
            yield from objects(inner, (*place, name))


def body_schema(key: str) -> dict[str, Any]:
    return schema(OPERATIONS[key]["requestBody"]["content"]["application/json"]["schema"])


def within(body: dict[str, Any], place: tuple[str, ...], changed: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `body` in which the object at `place` has other fields."""
    body = copy.deepcopy(body)
    here = body
    for name in place:
        if not isinstance(here.get(name), dict):
            here[name] = {}
        here = here[name]
    here.update(changed)
    if place[:1] == ("policy",) and len(place) > 1:
        # Without its version, a policy is refused before its entries are looked into.
        body["policy"].setdefault("version", "mine")
    return body


def mangled(name: str) -> str:
    """A name as it is mistyped: two letters exchanged."""
    return name[0] + name[2] + name[1] + name[3:] if name[1] != name[2] else name[:-1]


@pytest.fixture(scope="module")
def judged() -> Iterator[Judge]:
    with Sandbox.open() as sandbox:
        prepare(sandbox)
        yield Judge(sandbox)


@pytest.mark.parametrize("key", WITH_BODY)
class TestBody:
    def test_bad_value_is_refused_in_our_words(self, judged: Judge, key: str) -> None:
        for bad in MISTAKES.values():
            for place, fields in objects(body_schema(key)):
                changed = dict.fromkeys(fields, bad)
                judged.call(key, body=json.dumps(within(example_body(key), place, changed)))

    def test_missing_field_is_named(self, judged: Judge, key: str) -> None:
        for place, fields in objects(body_schema(key)):
            for missing in schema(OPERATIONS[key]["requestBody"]["content"]["application/json"]["schema"]).get("required", ()):
                body = {name: value for name, value in example_body(key).items() if name != missing}
                answer = judged.call(key, body=json.dumps(body))
                assert missing in {error["field"] for error in (answer.json or {})["errors"]}
            judged.call(key, body=json.dumps(within(example_body(key), place, dict.fromkeys(fields))))

    def test_text_that_is_no_json_object_is_refused_with_its_place(self, judged: Judge, key: str) -> None:
        for text in BROKEN:
            answer = judged.call(key, body=text)
            if (answer.json or {}).get("type", "").endswith("malformed-json") and text.startswith(("{", '{"')):
                assert "line 1, column" in (answer.json or {})["detail"]

    def test_unknown_field_is_answered_with_the_nearest_known_one(self, judged: Judge, key: str) -> None:
        for place, fields in objects(body_schema(key)):
            for name in fields:
                if len(name) < 4:
                    continue
                answer = judged.call(key, body=json.dumps(within(example_body(key), place, {mangled(name): 1})))
                field = ".".join([*place, mangled(name)])
                (detail,) = [error["detail"] for error in (answer.json or {})["errors"] if error["field"] == field]
                assert detail == f"unknown field; did you mean `{name}`?"

    def test_field_that_is_like_no_known_one_lists_them(self, judged: Judge, key: str) -> None:
        for place, fields in objects(body_schema(key)):
            answer = judged.call(key, body=json.dumps(within(example_body(key), place, {"zzqqj": 1})))
            (detail,) = [error["detail"] for error in (answer.json or {})["errors"] if error["field"].endswith("zzqqj")]
            assert "did you mean" not in detail
            assert all(f"`{name}`" in detail for name in fields)

    def test_wrong_choice_is_answered_with_the_choices(self, judged: Judge, key: str) -> None:
        for place, fields in objects(body_schema(key)):
            for name, part in fields.items():
                for choice in schema(part).get("enum", ()):
                    wrong = mangled(str(choice))
                    answer = judged.call(key, body=json.dumps(within(example_body(key), place, {name: wrong})))
                    field = ".".join([*place, name])
                    (detail,) = [error["detail"] for error in (answer.json or {})["errors"] if error["field"] == field]
                    assert detail.startswith((f"must be one of `{choice}`", f"must be `{choice}`"))

    def test_other_media_types_and_encodings(self, judged: Judge, key: str) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonl", ""):
            judged.call(key, body=json.dumps(example_body(key)), **{"Content-Type": kind})
        judged.call(key, body=json.dumps({**example_body(key), "x": "\ud800"}, ensure_ascii=False))


NAMES = ["Margaret Testerman", "Margaret", "Testerman_1980", "000123456789", "märgaret", "email Иванов", "x" * 65, "", "+1 555 0100", "a.b"]
"""Names of fields that may be personal data, or are none."""


@pytest.mark.parametrize("key", WITH_BODY)
def test_unknown_name_that_may_be_personal_data_is_not_repeated(judged: Judge, key: str) -> None:
    for place, _ in objects(body_schema(key)):
        body = within(example_body(key), place, dict.fromkeys(NAMES, 1))
        here = body
        for name in place:
            here = here[name]
        errors = (judged.call(key, body=json.dumps(body)).json or {})["errors"]
        found = [error for error in errors if "unknown field" in error["detail"]]
        assert {error["field"] for error in found} == {".".join(place) or "body"}
        places = [list(here).index(name) + 1 for name in NAMES]
        shown = [error["detail"].split(";")[0] for error in found]
        # A policy is refused for its first mistake.
        assert shown == [f"unknown field, number {each}" for each in places[: 1 if place[:1] == ("policy",) else None]]


@pytest.mark.parametrize("name", NAMES)
def test_unknown_query_parameter_that_may_be_personal_data_is_not_repeated(judged: Judge, name: str) -> None:
    answer = judged.call("GET /accounts/{account}", query=f"zzqqj=1&{quote(name)}=1")
    first, second = (answer.json or {})["errors"]
    assert first == {"field": "zzqqj", "detail": "unknown query parameter; none is known here"}
    assert second == {"field": "query", "detail": "unknown query parameter, number 2; none is known here"}


@pytest.mark.parametrize(
    ("place", "name", "meant"),
    [
        (("claim",), "address1", "address.line1"),
        (("claim",), "zip", "address.postal_code"),
        (("claim",), "firstName", "given"),
        (("claim",), "Business-Name", "business_name"),
        ((), "street2", "claim.address.line2"),
        ((), "e_mail", "claim.email"),
        ((), "maxAge", "max_age"),
        (("claim", "address"), "address1", "line1"),
    ],
)
def test_name_from_another_interface_is_answered_with_our_name(judged: Judge, place: tuple[str, ...], name: str, meant: str) -> None:
    key = "POST /verifications"
    answer = judged.call(key, body=json.dumps(within(example_body(key), place, {name: 1})))
    assert {"field": ".".join([*place, name]), "detail": f"unknown field; did you mean `{meant}`?"} in (answer.json or {})["errors"]


class TestManyErrors:
    """An answer names 50 fields and says how many more there are."""

    @pytest.mark.parametrize("key", ["POST /verifications", "POST /sessions"])
    def test_thousands_of_unknown_fields(self, judged: Judge, key: str) -> None:
        answer = judged.call(key, body=json.dumps({**example_body(key), **{f"f{number}": 1 for number in range(5_000)}}))
        assert len((answer.json or {})["errors"]) == 50
        assert (answer.json or {})["detail"].endswith("`errors` does not name 4950 more, because it has at most 50 entries.")
        assert len(answer.get_data()) < 20_000

    def test_fifty_unknown_fields_are_all_named(self, judged: Judge) -> None:
        key = "POST /verifications"
        answer = judged.call(key, body=json.dumps({**example_body(key), **{f"f{number}": 1 for number in range(50)}}))
        assert len((answer.json or {})["errors"]) == 50
        assert "more" not in (answer.json or {})["detail"]

    def test_hundreds_of_query_parameters_and_fields(self, judged: Judge) -> None:
        query = "&".join(f"q{number}=1" for number in range(400))
        answer = judged.call("GET /accounts/{account}", query=query)
        assert len((answer.json or {})["errors"]) == 50
        assert "does not name 350 more" in (answer.json or {})["detail"]
        body = json.dumps({f"f{number}": 1 for number in range(100)})
        answer = judged.call("POST /accounts/{account}/refreshes", body=body, query="&".join(f"q{number}=1" for number in range(40)))
        assert len((answer.json or {})["errors"]) == 50
        assert "does not name 90 more" in (answer.json or {})["detail"]


@pytest.mark.parametrize("key", OURS)
class TestParameters:
    def test_bad_parameter_is_refused_in_our_words(self, judged: Judge, key: str) -> None:
        given = OURS[key].get("parameters", ())
        for bad in PARAMETERS:
            shown = bad if bad.startswith("%") else quote(bad)
            for parameter in given:
                if parameter["in"] == "query":
                    judged.call(key, query=f"{parameter['name']}={shown}")
                elif parameter["in"] == "path" and bad.strip():
                    template = key.split()[1]
                    judged.call(key, path=template.replace("{" + parameter["name"] + "}", shown))
                elif parameter["in"] == "header" and bad.isprintable():
                    judged.call(key, **{parameter["name"]: bad})

    def test_unknown_query_parameter_is_answered_with_the_nearest_known_one(self, judged: Judge, key: str) -> None:
        known = [parameter["name"] for parameter in OURS[key].get("parameters", ()) if parameter["in"] == "query"]
        for name in known:
            answer = judged.call(key, query=f"{mangled(name)}=1")
            assert answer.status_code == 422
            assert {"field": mangled(name), "detail": f"unknown query parameter; did you mean `{name}`?"} in (answer.json or {})["errors"]
        answer = judged.call(key, query="zzqqj=1")
        (detail,) = [error["detail"] for error in (answer.json or {})["errors"] if error["field"] == "zzqqj"]
        assert all(f"`{name}`" in detail for name in known)


def test_parameters_of_a_request_that_is_signed_in_its_query_are_ignored(judged: Judge) -> None:
    signed = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-Signature=0"
    assert judged.call("GET /accounts/{account}", query=signed).status_code == 200


POLICIES: list[Any] = [
    {"version": "1", "match_treshold": 1}, {"match_threshold": 5}, {"version": "1", "match_threshold": CANARY}, {"version": 1},
    {"version": "1", "required_fields": [CANARY]}, {"version": "1", "required_fields": CANARY}, {"version": "1", "field_thresholds": []},
    {"version": "1", "field_thresholds": {CANARY: 1}}, {"version": "1", "never_close": [CANARY]},
    {"version": "1", "field_thresholds": {"phone": -1}},
    {"version": "1", "match_threshold": 1, "close_match_threshold": 2}, {CANARY: 1}, [], 1, CANARY,
]  # fmt: skip


@pytest.mark.parametrize("key", ["POST /verifications", "POST /batches"])
def test_bad_policy_is_refused_in_our_words(judged: Judge, key: str) -> None:
    for policy in POLICIES:
        answer = judged.call(key, body=json.dumps({**example_body(key), "policy": policy}))
        assert answer.status_code == 422
        assert (answer.json or {})["errors"][0]["field"].startswith("policy")


LINE: dict[str, Any] = {"account": "fca_1", "claim": {"name": "A"}}
ROW_OBJECTS: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("account", "stripe_account", "reference", "max_age", "claim"),
    ("claim",): manifests.CLAIM_COLUMNS,
    ("claim", "address"): manifests.ADDRESS_COLUMNS,
}


def reject(line: str, columns: list[str] | None = None) -> Reject | None:
    """What a manifest's line is rejected with; judged."""
    found = manifests.parse(Record(7, line.encode(errors="surrogatepass")), columns)
    if not isinstance(found, Reject):
        return None
    assert found.line == 7
    judge(f"{found.column} {found.reason}")
    assert found.reason != "is not valid"
    return found


class TestManifest:
    def test_bad_value_in_a_line_names_the_field(self) -> None:
        for bad in MISTAKES.values():
            for place, names in ROW_OBJECTS.items():
                for name in names:
                    found = reject(json.dumps(within(LINE, place, {name: bad})))
                    if found is not None and name in ("account", "reference", "max_age", "email", "phone"):
                        assert found.column == ".".join([*place, name])

    def test_missing_field_of_a_line_is_named(self) -> None:
        for missing in ("account", "claim"):
            found = reject(json.dumps({name: value for name, value in LINE.items() if name != missing}))
            assert found is not None
            assert found.column == missing

    def test_line_that_is_no_json_gives_the_place(self) -> None:
        for text in BROKEN:
            found = reject(text)
            if found is not None and text.startswith("{") and "JSON" in found.reason:
                assert "character" in found.reason

    def test_unknown_field_of_a_line_is_answered_with_the_nearest_known_one(self) -> None:
        for place, names in ROW_OBJECTS.items():
            for name in (name for name in names if len(name) >= 4):
                found = reject(json.dumps(within(LINE, place, {mangled(name): 1})))
                assert found is not None
                assert found.column == (".".join(place) or None)
                where = f"`{'.'.join(place)}`" if place else "the line's object"
                line = within(LINE, place, {mangled(name): 1})
                for part in place:
                    line = line[part]
                assert found.reason == f"unknown field, number {len(line)} in {where}; did you mean `{name}`?"

    def test_place_of_an_unknown_field_counts_the_empty_ones_before_it(self) -> None:
        found = reject('{"reference": "", "account": "fca_1", "claim": {"email": " ", "name": "Jane", "Jane Canary": 1}}')
        assert found is not None
        assert (found.column, found.reason.partition(";")[0]) == ("claim", "unknown field, number 3 in `claim`")

    def test_bad_cell_names_its_column(self) -> None:
        columns = ["account", "reference", "max_age", "type", "name", "aka", "email"]
        good = ["fca_1", "ref", "1", "person", "A", "B", "a@b.example"]
        for place, name in enumerate(columns):
            for bad in (f"{CANARY}!\x00", CANARY * 300, "-1 x"):
                found = reject(",".join([*good[:place], bad, *good[place + 1 :]]), columns)
                assert found is None or found.column == name
        assert reject(f'fca_1,"{CANARY}"x', ["account", "name"]).column == "name"  # type: ignore[union-attr]
        assert reject(f'fca_1,"{CANARY}', ["account", "name"]).column == "name"  # type: ignore[union-attr]

    @pytest.mark.parametrize("header", [b"acount,name", b"account,nmae", b"account,Name,adress", b"account;name", b"{", b"", b'account,"x'])
    def test_bad_header_is_refused_in_our_words(self, header: bytes) -> None:
        with pytest.raises(manifests.ManifestError) as caught:
            manifests.header(header)
        judge(str(caught.value))

    def test_unknown_column_is_answered_with_the_nearest_known_one(self) -> None:
        with pytest.raises(manifests.ManifestError, match=r"place 2 \(did you mean `name`\?\)"):
            manifests.header(b"account,nmae")


def test_bad_delivery_is_refused_in_our_words() -> None:
    with Sandbox.open() as sandbox:
        receive = sandbox.function("receive_webhook")
        for text in [
            *BROKEN,
            '{"id": 1}',
            '{"id": "evt_1"}',
            '{"id": "evt_1", "type": "\ud800"}',
            json.dumps({"id": CANARY, "type": CANARY}),
        ]:
            body = text.encode(errors="surrogatepass")
            for signature in (sign(body, SIGNING_SECRET, int(sandbox.clock())), CANARY, f"t={CANARY},v1=x", ""):
                answer = receive(http_event("POST", "/webhooks/stripe", body, {"Stripe-Signature": signature}))
                assert answer["statusCode"] in (200, 400)
                judge(answer["body"])


@pytest.mark.parametrize("queue", ["refresh", "events"])
def test_bad_message_goes_to_the_dead_letter_queue_with_a_reason_that_quotes_nothing(queue: str) -> None:
    with Sandbox.open() as sandbox:
        function = sandbox.function("start_refresh" if queue == "refresh" else "fetch_owners")
        dead = sandbox.refresh_dead if queue == "refresh" else sandbox.events_dead
        for body in (
            "{",
            CANARY,
            "[]",
            "{}",
            json.dumps({"ref": CANARY, "event": CANARY}),
            json.dumps({"task_token": 1, "account": CANARY}),
        ):
            record = {
                "messageId": "1", "receiptHandle": "1", "body": body, "eventSource": "aws:sqs", "messageAttributes": {},
                "attributes": {"ApproximateReceiveCount": "99"}, "awsRegion": "us-east-1", "eventSourceARN": "arn:aws:sqs:us-east-1:1:q",
            }  # fmt: skip
            function({"Records": [record]})
            letters = client("sqs").receive_message(QueueUrl=dead, MessageAttributeNames=["All"]).get("Messages", [])
            for letter in letters:
                reason = json.dumps(letter["MessageAttributes"])
                assert CANARY not in reason
