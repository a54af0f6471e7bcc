"""The OpenAPI document: what is committed is what the code says, and it says all that a caller has to know."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from local import openapi, tour
from tests.support.functions import ROOT
from titleholder.web import problems

COMMITTED: dict[str, Any] = json.loads(openapi.DOCUMENT.read_text())
OPERATIONS = {
    f"{method.upper()} {path}": operation for path, methods in COMMITTED["paths"].items() for method, operation in methods.items()
}
CALLED = {key: operation for key, operation in OPERATIONS.items() if operation["security"]}
PUBLIC = {"POST /webhooks/stripe", "GET /docs", "GET /openapi.json", "GET /desk", "GET /desk/{file}"}


def test_committed_document_is_what_the_code_says() -> None:
    assert openapi.DOCUMENT.read_text() == openapi.text(), "make openapi writes it anew"


def test_document_is_valid() -> None:
    assert COMMITTED["openapi"].startswith("3.1")
    validate(COMMITTED)


def test_every_route_of_the_template_is_in_the_document_and_the_reverse() -> None:
    assert {openapi.shape(key) for key in OPERATIONS} == set(openapi.gateway_routes())


def test_tour_calls_every_route_of_the_template_but_the_page() -> None:
    routes = {key for key, route in openapi.gateway_routes().items() if route.condition != "HasDesk"}
    assert {openapi.shape(call.route) for call in tour.CALLS} == routes


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)


def test_what_needs_no_authorisation_is_public_at_the_gateway_and_the_reverse() -> None:
    assert set(OPERATIONS) - set(CALLED) == PUBLIC
    assert {route.key for route in openapi.gateway_routes().values() if route.public} == PUBLIC


@pytest.mark.parametrize("key", OPERATIONS)
class TestOperation:
    def test_operation_says_in_a_line_what_it_does(self, key: str) -> None:
        assert 5 < len(OPERATIONS[key]["summary"]) < 160

    def test_parameters_have_limits_and_an_example(self, key: str) -> None:
        for parameter in OPERATIONS[key].get("parameters", ()):
            schema = parameter["schema"]
            if "$ref" in schema:
                schema = COMMITTED["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert {"pattern", "maximum", "enum", "maxLength", "const"} & set(schema) or schema["type"] in ("boolean",) or key in PUBLIC
            assert parameter["in"] != "path" or "example" in parameter, parameter

    def test_body_has_an_example(self, key: str) -> None:
        if "requestBody" in OPERATIONS[key]:
            assert OPERATIONS[key]["requestBody"]["content"]["application/json"]["examples"]

    def test_succeeds_with_a_schema(self, key: str) -> None:
        good = {status: answer for status, answer in OPERATIONS[key]["responses"].items() if status.startswith("2")}
        assert good
        assert all(answer["content"] or status == "204" for status, answer in good.items())

    def test_every_refusal_is_a_problem_of_known_type_or_the_gateways(self, key: str) -> None:
        statuses = problems.statuses()
        for status, answer in OPERATIONS[key]["responses"].items():
            if not status.startswith(("4", "5")):
                continue
            assert set(answer["content"]) <= {problems.CONTENT_TYPE, "application/json"}
            types = answer.get("x-problem-types", [])
            assert bool(types) == (problems.CONTENT_TYPE in answer["content"])
            for type_ in types:
                assert statuses[type_] == int(status)
                assert f"`{type_}`" in answer["description"]


@pytest.mark.parametrize("key", CALLED)
def test_callers_sign_or_bear_the_scope_that_the_gateway_asks_for(key: str) -> None:
    route = openapi.gateway_routes()[openapi.shape(key)]
    scheme = "people" if route.people else "jwt"
    assert CALLED[key]["security"] == [{"iam": []}, *({scheme: [scope]} for scope in route.scopes)]


def test_route_that_does_not_say_what_it_answers_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    [route] = openapi.resolvers()["start_refresh"]._dynamic_routes
    monkeypatch.delattr(route.func, "documented")
    with pytest.raises(openapi.OpenApiError, match=r"POST /accounts/\{account\}/refreshes needs @resolver.openapi_responses"):
        openapi.document()


# -- the catalogue of problems ---------------------------------------------------------------------------------------------------------

CATALOGUE = (ROOT / "docs" / "problems.md").read_text()
ROWS = {row[1]: (int(row[2]), row[3]) for row in re.finditer(r"^\| `([a-z-]+)` \| (\d+) \| (.+?) \|$", CATALOGUE, re.M)}
MADE_HERE = re.compile(r"""(?:bad_request\(\s*HTTPStatus\.\w+,|Problem\(\s*\d+,)\s*"([a-z-]+)""")


def test_catalogue_has_every_problem_with_its_status() -> None:
    assert {type_: status for type_, (status, _) in ROWS.items()} == problems.statuses()


@pytest.mark.parametrize("type_", ROWS)
def test_catalogue_says_what_to_do(type_: str) -> None:
    assert len(ROWS[type_][1]) > 15


def test_every_problem_in_the_document_is_in_the_catalogue() -> None:
    for operation in OPERATIONS.values():
        for answer in operation["responses"].values():
            assert set(answer.get("x-problem-types", ())) <= set(ROWS)


def test_no_problem_is_made_that_the_catalogue_lacks() -> None:
    package = ROOT / "layers/titleholder/python/titleholder"
    made = {name for root in (package, ROOT / "functions") for path in root.rglob("*.py") for name in MADE_HERE.findall(path.read_text())}
    assert "malformed-json" in made
    assert made <= set(ROWS)
