"""Answers of earlier releases: the recorded answers of this release, with only the fields that the earlier release always had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from local import openapi_releases, openapi_values


def answers_of(release: str) -> Iterator[tuple[str, str, str, Any]]:
    """Route (`GET /accounts`), status, name and value of each answer that the release could give."""
    kept = openapi_releases.kept()[release]
    for key, examples in openapi_values.answers().items():
        if key == "problems":
            continue
        route, _, status = key.rpartition(" ")
        method, _, path = route.partition(" ")
        answer = kept["paths"].get(path, {}).get(method.lower(), {}).get("responses", {}).get(status)
        if answer is not None:
            for name, example in examples.items():
                yield route, status, name, _without_newer(example["value"], answer["content"]["application/json"]["schema"], kept)


def _without_newer(value: Any, schema: dict[str, Any], kept: Mapping[str, Any]) -> Any:
    known = list(openapi_releases.options(schema, kept))
    if isinstance(value, list):
        items: dict[str, Any] = next((one["items"] for one in known if "items" in one), {})
        return [_without_newer(part, items, kept) for part in value]
    if not isinstance(value, dict):
        return value
    was = openapi_releases.nearest(value, known)
    if was is not None:
        fields = {name: was["properties"][name] for name in was.get("required", ()) if name in value}
        return {name: _without_newer(value[name], field, kept) for name, field in fields.items()}
    values: dict[str, Any] = next((one["additionalProperties"] for one in known if isinstance(one.get("additionalProperties"), dict)), {})
    return {name: _without_newer(part, values, kept) for name, part in value.items()}
