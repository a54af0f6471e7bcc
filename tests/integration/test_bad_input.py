"""Hostile requests of every kind for every route that the document has: each is refused with a problem, none changes anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import Client, TestResponse

from local import openapi
from tests.support.gateway import Gateway
from tests.support.samples import prepare
from tests.support.sandbox import Sandbox
from titleholder.web import problems

DOCUMENT = json.loads(openapi.DOCUMENT.read_text())
OPERATIONS = {f"{method.upper()} {path}": operation for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()}
OURS = {key: operation for key, operation in OPERATIONS.items() if operation["security"]}
WITH_BODY = [key for key, operation in OURS.items() if "requestBody" in operation]
WITH_ID = [key for key in OURS if "{" in key]
WITH_CURSOR = [key for key, operation in OURS.items() if any(p["name"] == "cursor" for p in operation.get("parameters", ()))]
OF_ACCOUNTS = [key for key in WITH_ID if "{account}" in key]
OTHER_KINDS = (
    "fca_", "fca_a b", "FCA_try1", "cus_try1", "acct_try1", "ver_try1", f"ver_{'0' * 31}", "fcaowns_1", "seti_1", "pi_1", "pm_1", "cs_1",
    "0", "-1", "null", "undefined", "..", "%00", "a%2Fb", "fca_%0A", "fca_try1%20", "fca_" + "x" * 5000, "fca_é", "fca_😀", "{account}",
)  # fmt: skip

ALSO_TAKEN = {"/sessions/{session}": ("seti", "pi", "pm", "cs")}
"""Routes that take ids of several kinds, and their beginnings."""


class UnchangedDeployment:
    """One deployment for all tests of this file, because no call of theirs changes it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.gateway = Gateway(lambda folder, event: sandbox.function(folder)(event))
        self.client = Client(self.gateway)

    def call(self, key: str, path: str | None = None, body: bytes | None = None, **headers: str) -> TestResponse:
        """A call that has to be refused, and to leave everything as it was."""
        before = self.sandbox.items()
        method, template = key.split()
        answer = self.client.open(
            path or example_path(template), method=method, data=body, headers={"Content-Type": "application/json", **headers}
        )
        assert not self.gateway.failures
        assert 400 <= answer.status_code < 500, (answer.status_code, answer.get_data(as_text=True))
        assert str(answer.status_code) in OPERATIONS[key]["responses"]
        if answer.content_type == problems.CONTENT_TYPE:
            assert answer.json is not None
            assert problems.statuses()[answer.json["type"].removeprefix("urn:titleholder:problem:")] == answer.status_code
        changed = [item for item in self.sandbox.items() if item not in before]
        assert not changed
        return answer


def example_path(template: str) -> str:
    for methods in (DOCUMENT["paths"][template],):
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    template = template.replace("{" + parameter["name"] + "}", parameter["example"])
    return template


def example_body(key: str) -> dict[str, Any]:
    examples = OPERATIONS[key]["requestBody"]["content"]["application/json"]["examples"]
    value: dict[str, Any] = next(iter(examples.values()))["value"]
    return value


@pytest.fixture(scope="module")
def deployment() -> Iterator[UnchangedDeployment]:
    """A deployment with an account of another connected account and one of live mode."""
    with Sandbox.open() as sandbox:
        prepare(sandbox)
        sandbox.link("single_owner", id="fca_foreign", stripe_account="acct_other")
        sandbox.link("single_owner", id="fca_live", livemode=True)
        yield UnchangedDeployment(sandbox)


@pytest.mark.parametrize("key", WITH_BODY)
class TestBody:
    def test_body_of_six_megabytes(self, deployment: UnchangedDeployment, key: str) -> None:
        assert deployment.call(key, body=json.dumps({"x": "y" * (6 * 1024 * 1024)}).encode()).status_code == 413

    @pytest.mark.parametrize("depth", [33, 1_000, 30_000])
    def test_nested_deep(self, deployment: UnchangedDeployment, key: str, depth: int) -> None:
        for opening, closing in ((b'{"claim":', b"}"), (b"[", b"]")):
            answer = deployment.call(key, body=b'{"x":' + opening * depth + b"1" + closing * depth + b"}")
            assert answer.status_code in (400, 413)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"1",
            b'"x"',
            b"{",
            b'{"a":1,}',
            b"{'a':1}",
            b"\xff\xfe{}",
            b'{"a":NaN}',
            b"\xef\xbb\xbf{}",
            b"{}" * 2,
            b"\x00",
        ],
    )
    def test_body_that_is_no_json_object(self, deployment: UnchangedDeployment, key: str, body: bytes) -> None:
        if body == b"" and not OPERATIONS[key]["requestBody"].get("required"):
            pytest.skip("this body may be left out")
        assert deployment.call(key, body=body).status_code in (400, 422)

    def test_body_that_names_a_field_twice(self, deployment: UnchangedDeployment, key: str) -> None:
        text = json.dumps(example_body(key) or {"unknown": 1})
        name = next(iter(json.loads(text)))
        answer = deployment.call(key, body=f'{{"{name}": null, {text[1:]}'.encode())
        assert answer.status_code == 400

    @pytest.mark.parametrize("bad", ['"\\u0000"', '"x\\u0000y"', '"\\ud800"', '"x\\udfff"', "1e400", "-0.5", "[[]]", '{"a": {}}'])
    def test_body_with_a_bad_value_in_any_place(self, deployment: UnchangedDeployment, key: str, bad: str) -> None:
        for name in example_body(key):
            text = json.dumps({**example_body(key), name: "@@"}).replace('"@@"', bad)
            assert deployment.call(key, body=text.encode()).status_code in (400, 422)

    def test_body_with_an_unknown_field(self, deployment: UnchangedDeployment, key: str) -> None:
        answer = deployment.call(key, body=json.dumps({**example_body(key), "__proto__": {}}).encode())
        assert answer.status_code == 422

    def test_body_of_another_media_type(self, deployment: UnchangedDeployment, key: str) -> None:
        answer = deployment.call(key, body=json.dumps(example_body(key)).encode(), **{"Content-Type": "application/xml"})
        assert answer.status_code == 415


@pytest.mark.parametrize("key", WITH_ID)
def test_id_of_another_kind(deployment: UnchangedDeployment, key: str) -> None:
    template = key.split()[1]
    before, _, rest = template.partition("{")
    after = rest.partition("}")[2]
    body = json.dumps(example_body(key)).encode() if key in WITH_BODY else None
    for id_ in OTHER_KINDS:
        if id_.partition("_")[0] in ALSO_TAKEN.get(template, ()):
            continue
        shown = id_ if "%" in id_ else quote(id_, safe="{}")
        assert deployment.call(key, before + shown + after, body=body).status_code in (404, 422), id_


@pytest.mark.parametrize("key", OF_ACCOUNTS)
class TestAccount:
    def test_account_of_a_connected_account_is_not_the_platforms(self, deployment: UnchangedDeployment, key: str) -> None:
        answer = deployment.client.open(key.split()[1].replace("{account}", "fca_foreign"), method=key.split()[0])
        assert answer.status_code == 404 or _empty(answer), answer.get_data(as_text=True)

    def test_account_of_the_other_mode_is_not_there(self, deployment: UnchangedDeployment, key: str) -> None:
        answer = deployment.client.open(key.split()[1].replace("{account}", "fca_live"), method=key.split()[0])
        assert answer.status_code == 404 or _empty(answer), answer.get_data(as_text=True)

    def test_account_of_a_malformed_connected_account(self, deployment: UnchangedDeployment, key: str) -> None:
        for header in ("", " ", "acct_", "fca_try1", "acct_a,acct_b", "acct_" + "x" * 500):
            answer = deployment.call(key, **{"Stripe-Account": header})
            assert answer.status_code == 422
            assert answer.json is not None
            assert answer.json["errors"][0]["field"] == "Stripe-Account"


def _empty(answer: TestResponse) -> bool:
    """A list of what is stored of an account that this scope knows nothing of."""
    return answer.status_code == 200 and answer.json is not None and answer.json.get("snapshots") == []


@pytest.mark.parametrize("key", WITH_CURSOR)
@pytest.mark.parametrize("cursor", ["x", "%00", "e30", "eyJhIjoxfQ", "A" * 500, "../../etc", "0"])
def test_cursor_that_was_made_up(deployment: UnchangedDeployment, key: str, cursor: str) -> None:
    path = example_path(key.split()[1])
    required = [p for p in OPERATIONS[key].get("parameters", ()) if p["in"] == "query" and p["required"]]
    query = "".join(f"&{p['name']}={p['example']}" for p in required)
    answer = deployment.call(key, f"{path}?cursor={cursor}{query}")
    assert answer.status_code == 422
