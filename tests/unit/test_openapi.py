"""The OpenAPI document: what is committed is what the code says, and it says all that a caller has to know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from local import openapi, openapi_releases, tour
from tests.support.earlier_answers import answers_of
from tests.support.functions import ROOT
from titleholder.domain import timeline
from titleholder.matching import explanations
from titleholder.matching.policy import DEFAULT_POLICY
from titleholder.web import models, problems

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
        assert len(OPERATIONS[key]["description"]) > 20

    def test_operation_has_a_tag_that_the_document_describes(self, key: str) -> None:
        [tag] = OPERATIONS[key]["tags"]
        assert tag in [each["name"] for each in COMMITTED["tags"] if each["description"]]

    def test_parameters_have_limits_and_an_example(self, key: str) -> None:
        for parameter in OPERATIONS[key].get("parameters", ()):
            schema = parameter["schema"]
            if "$ref" in schema:
                schema = COMMITTED["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert {"pattern", "maximum", "enum", "maxLength", "const"} & set(schema) or schema["type"] in ("boolean",) or key in PUBLIC
            assert parameter["in"] != "path" or "example" in parameter, parameter
            # /docs sends examples, and a key that two requests share is answered with a conflict.
            assert parameter["name"] != "Idempotency-Key" or "example" not in parameter

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


# -- what generators and readers need -------------------------------------------------------------------------------------------------

SCHEMAS: dict[str, Any] = COMMITTED["components"]["schemas"]
STRICT = openapi.strict(COMMITTED)
TIME = re.compile(r"(_at|_until|_end|^at|^until|_date|_created|^deadline|^estimated_end)$")
UNITS = re.compile(r"seconds|cents|bytes|0 to 100|how many|position|version|a second|three digits", re.IGNORECASE)
"""What the description of a number says of its unit."""


def _properties() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, schema in SCHEMAS.items():
        for key, value in schema.get("properties", {}).items():
            yield name, key, value


def _kinds(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema, and what it may be."""
    yield schema
    for part in schema.get("anyOf", ()):
        yield from _kinds(part)


def test_every_schema_property_and_parameter_is_described() -> None:
    assert [name for name, schema in SCHEMAS.items() if not schema.get("description")] == []
    assert [(name, key) for name, key, value in _properties() if len(value.get("description", "")) < 8] == []
    parameters = [(key, each) for key, operation in OPERATIONS.items() for each in operation.get("parameters", ())]
    assert [(key, each["name"]) for key, each in parameters if len(each.get("description", "")) < 8] == []


def test_every_description_is_a_sentence() -> None:
    assert [(name, key, value["description"]) for name, key, value in _properties() if not value["description"].endswith((".", ")"))] == []


def test_every_time_is_a_date_time_and_every_number_has_a_format_and_a_unit() -> None:
    for name, key, value in _properties():
        for kind in _kinds(value):
            if kind.get("type") == "string":
                assert (kind.get("format") == "date-time") == bool(TIME.search(key)), (name, key)
            if kind.get("type") in ("integer", "number"):
                assert kind["format"] in ("int32", "int64", "double"), (name, key)
                assert UNITS.search(value["description"]), (name, key, value["description"])


def test_answers_have_no_closed_lists_of_values() -> None:
    """A client that is generated from an enumeration fails at a value of a later release."""
    asked = _reachable([media["schema"] for op in OPERATIONS.values() for media in op.get("requestBody", {}).get("content", {}).values()])
    answered = _reachable(
        [media["schema"] for op in OPERATIONS.values() for answer in op["responses"].values() for media in answer["content"].values()]
    )
    assert asked & answered == set()
    assert [
        name for name in answered if '"enum"' in json.dumps(SCHEMAS[name]) or '"additionalProperties": false' in json.dumps(SCHEMAS[name])
    ] == []
    assert {"Verdict", "TimelineStep", "Problem"} <= answered


def _reachable(schemas: list[Any]) -> set[str]:
    """The names of the schemas that these refer to."""
    found: set[str] = set()
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schemas)))
    while wanted - found:
        found |= wanted
        wanted |= set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps([SCHEMAS[name] for name in wanted])))
    return found


def test_known_reasons_and_kinds_of_steps_are_those_of_the_code() -> None:
    assert set(SCHEMAS["Verdict"]["properties"]["reasons"]["items"]["x-known-values"]) == set(explanations.SENTENCES)
    assert set(SCHEMAS["TimelineStep"]["properties"]["kind"]["x-known-values"]) == set(timeline.KINDS)
    assert SCHEMAS["Verdict"]["properties"]["outcome"]["x-known-values"] == list(get_args(models.Outcome))


def test_policy_has_the_entries_of_the_matchers_policy_with_their_defaults() -> None:
    properties = SCHEMAS["Policy"]["properties"]
    assert {name: value["default"] for name, value in properties.items()} == DEFAULT_POLICY.as_dict()
    assert SCHEMAS["NewVerification"]["properties"]["policy"]["anyOf"][0] == {"$ref": "#/components/schemas/Policy"}


@pytest.mark.parametrize("key", OPERATIONS)
def test_every_answer_has_examples_that_its_schema_allows(key: str) -> None:
    """By the strict document, in which known values are the only ones."""
    for status, answer in STRICT["paths"][key.split()[1]][key.split()[0].lower()]["responses"].items():
        for kind, media in answer["content"].items():
            examples = [_resolved(example)["value"] for example in media.get("examples", {}).values()] or [media["example"]]
            for example in examples:
                errors = [error.message for error in _validator(media["schema"]).iter_errors(example)]
                assert errors == [], (status, kind, example, "after a change of an answer's fields: make openapi EXAMPLES=1")


# -- answers of earlier releases -------------------------------------------------------------------------------------------------------

EARLIER = [pytest.param(release, *answer, id=" ".join(answer[:3])) for release in openapi_releases.kept() for answer in answers_of(release)]


@pytest.mark.parametrize(("release", "route", "status", "name", "value"), EARLIER)
def test_answer_of_an_earlier_release_is_allowed(release: str, route: str, status: str, name: str, value: Any) -> None:
    schema = OPERATIONS[route]["responses"][status]["content"]["application/json"]["schema"]
    whole = {**schema, "components": {"schemas": SCHEMAS}}
    assert [error.message for error in Draft202012Validator(whole).iter_errors(value)] == []


def test_newer_fields_are_missing_from_the_answers_of_an_earlier_release() -> None:
    found = {(route, status, name): value for route, status, name, value in answers_of("0.2.0")}
    verification = found["GET /verifications/{verification}", "200", "match"]
    assert "verdict" in verification
    assert not {"final", "review", "timeline"} & verification.keys()
    assert "remedy" not in verification["verdict"]
    assert not {"results_so_far", "results_at"} & found["GET /batches/{id}", "200", "completed"].keys()


def test_field_that_a_kept_release_always_has_is_required_and_others_are_marked() -> None:
    verification = SCHEMAS["Verification"]
    assert {"id", "account", "state", "verdict"} <= set(verification["required"])
    assert {name for name, value in verification["properties"].items() if "x-optional-in" in value} == {
        "waiting_for", "remedy", "review", "final",
    }  # fmt: skip
    for name, schema in SCHEMAS.items():
        marked = {key for key, value in schema.get("properties", {}).items() if "x-optional-in" in value}
        assert not marked & set(schema.get("required", ())), name


def test_release_is_kept_with_all_fields_that_it_always_answers() -> None:
    kept = openapi_releases.to_keep(COMMITTED)
    assert {"final", "results_at"} <= {
        *kept["components"]["schemas"]["Verification"]["required"],
        *kept["components"]["schemas"]["Batch"]["required"],
    }
    assert "x-optional-in" not in json.dumps(kept)
    assert STRICT["components"]["schemas"]["Batch"]["required"][-1] == list(SCHEMAS["Batch"]["properties"])[-1]


def test_every_problem_has_an_example_of_its_type_and_status() -> None:
    for type_, example in COMMITTED["components"]["examples"].items():
        assert example["value"]["type"] == f"urn:titleholder:problem:{type_}"
        assert example["value"]["status"] == problems.statuses()[type_]


def test_example_with_a_value_that_is_not_known_would_be_noticed() -> None:
    wrong = {"outcome": "maybe", "by": "verdict", "at": "2027-01-15T08:00:00Z"}
    assert [error.message for error in _validator({"$ref": "#/components/schemas/FinalAnswer"}).iter_errors(wrong)] != []


def _resolved(example: Mapping[str, Any]) -> Any:
    return COMMITTED["components"]["examples"][example["$ref"].rpartition("/")[2]] if "$ref" in example else example


def _validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    whole = {**schema, "components": {"schemas": STRICT["components"]["schemas"]}}
    return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("key", CALLED)
def test_callers_sign_or_have_the_scope_that_the_gateway_requires(key: str) -> None:
    route = openapi.gateway_routes()[openapi.shape(key)]
    scheme = "people" if route.people else "jwt"
    assert CALLED[key]["security"] == [{"iam": []}, *({scheme: [scope]} for scope in route.scopes)]


def test_route_that_does_not_say_what_it_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
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
