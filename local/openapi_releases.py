"""Which fields of answers the stacks of earlier releases may lack, so that a generated client can read those answers too.

`make keep-release` keeps the answers of each release's OpenAPI document in tests/fixtures/releases/openapi. A field that a kept answer does
not always have is not required in the present document, and has `x-optional-in`, the newest release whose answers may lack it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from local.aws.paths import ROOT

KEPT = ROOT / "tests" / "fixtures" / "releases" / "openapi"
MARK = "x-optional-in"

Schema = dict[str, Any]


@cache
def kept() -> Mapping[str, dict[str, Any]]:
    """The kept documents by release, the oldest first."""
    paths = sorted(KEPT.glob("*.json"), key=lambda path: [int(part) for part in path.stem.split(".")])
    return {path.stem: json.loads(path.read_text()) for path in paths}


def to_keep(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a document that says which fields the answers of its release have."""
    document = required_again(document)
    schemas = {name: _bare(schema) for name, schema in document["components"]["schemas"].items()}
    answers: dict[str, Any] = {}
    for route, status, content in _answers(document):
        media = {kind: {"schema": _bare(value["schema"])} for kind, value in content.items()}
        path, method = route
        answers.setdefault(path, {}).setdefault(method, {"responses": {}})["responses"][status] = {"content": media}
    return {"paths": answers, "components": {"schemas": schemas}}


def relax(document: dict[str, Any]) -> None:
    """Leave the fields that a kept release may lack out of `required`, and mark them."""
    for release, old in kept().items():  # The newest last, so that its name stays.
        before = {(route, status): content for route, status, content in _answers(old)}
        seen: set[tuple[int, int]] = set()
        for route, status, content in _answers(document):
            for kind, media in content.items():
                if kind in before.get((route, status), {}):
                    _relax(media["schema"], before[route, status][kind]["schema"], document, old, release, seen)


def required_again(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of this release alone: what `relax` left out is required."""
    made: dict[str, Any] = json.loads(json.dumps(document))
    for schema in made["components"]["schemas"].values():
        marked = [name for name, value in schema.get("properties", {}).items() if value.pop(MARK, None)]
        if marked:
            schema["required"] = [name for name in schema["properties"] if name in {*marked, *schema.get("required", ())}]
    return made


def options(schema: Schema, document: Mapping[str, Any]) -> Iterator[Schema]:
    """What a value may be by the schema, without references."""
    if "$ref" in schema:
        yield from options(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    elif "anyOf" in schema:
        for part in schema["anyOf"]:
            yield from options(part, document)
    else:
        yield schema


def nearest(names: Mapping[str, Any], schemas: list[Schema]) -> Schema | None:
    """The object that has most of the names; None if none has any. Schemas have other names in other releases."""
    best = max(schemas, key=lambda schema: len(names.keys() & schema.get("properties", {}).keys()), default=None)
    return best if best and names.keys() & best.get("properties", {}).keys() else None


def _relax(
    new: Schema, old: Schema, document: Mapping[str, Any], before: Mapping[str, Any], release: str, seen: set[tuple[int, int]]
) -> None:
    known = list(options(old, before))
    for schema in options(new, document):
        properties = schema.get("properties", {})
        was = nearest(properties, known) if properties else None
        if was is not None and "required" in schema and (id(schema), id(was)) not in seen:
            seen.add((id(schema), id(was)))
            for name, value in properties.items():
                if (name in schema["required"] or MARK in value) and name not in was.get("required", ()):
                    schema["required"] = [each for each in schema["required"] if each != name]
                    value[MARK] = release
                if name in was["properties"]:
                    _relax(value, was["properties"][name], document, before, release, seen)
        for part in ("items", "additionalProperties"):
            for one in known:
                if isinstance(schema.get(part), dict) and isinstance(one.get(part), dict):
                    _relax(schema[part], one[part], document, before, release, seen)


def _answers(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str, dict[str, Any]]]:
    """Route, status and contents of each answer."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                yield (path, method), status, answer.get("content", {})


def _bare(schema: Any, *, properties: bool = False) -> Any:
    """Only what says which fields there are."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if properties:
        return {name: _bare(value) for name, value in schema.items()}
    wanted = {"$ref", "additionalProperties", "anyOf", "items", "properties", "required", "type"}
    return {key: _bare(value, properties=key == "properties") for key, value in schema.items() if key in wanted}
