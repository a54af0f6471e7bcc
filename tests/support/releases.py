"""What kept releases stored, queued and passed on: samples by schema, and the fields that may be missing from them.

A schema is a row kind of docs/data-model.md (with the form that a row has), a queue's message, or the input of a function that a workflow
calls. Of each release the samples are kept that show which fields exist, and which of them may be there without which others.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.data_model import row_kinds
from tests.support.functions import ROOT

FIXTURES = ROOT / "tests" / "fixtures"
HEADINGS = {False: "## The table `<stack>`", True: "## The table `<stack>-keys`"}
KEYS = frozenset({"pk", "sk"})
QUEUES = {"https://queue/refresh": "refresh", "https://queue/events": "events"}

Sample = dict[str, Any]
Schemas = dict[str, list[Sample]]


@cache
def kept_releases() -> dict[str, Schemas]:
    """The samples of each kept release, by its version."""
    found = {"0.1.0": _first_release()}
    for path in sorted((FIXTURES / "releases").glob("*.json")):
        found[path.stem] = {schema: [_binary(sample) for sample in samples] for schema, samples in json.loads(path.read_text()).items()}
    return found


def without_each_optional_field(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Each sample without one field that is not always there, and without the fields that are never there without it."""
    samples = list(samples)
    for sample in samples:
        for field in sorted(set(sample) - KEYS):
            gone = {other for other in sample if other == field or requires(samples, other, field)}
            if gone < set(sample) - KEYS:
                yield {name: value for name, value in sample.items() if name not in gone}


def requires(samples: Iterable[Sample], one: str, other: str) -> bool:
    """Whether no sample has the field `one` without `other`."""
    return one not in KEYS and all(other in sample for sample in samples if one in sample)


def telling(samples: Iterable[Sample]) -> list[Sample]:
    """As few of the samples as show the same about which fields are there without which others."""
    distinct: dict[frozenset[str], Sample] = {}
    for sample in samples:
        distinct.setdefault(frozenset(sample), sample)
    names = set().union(*distinct) if distinct else set()
    pairs = {(has, lacks) for has in names for lacks in {*names, ""} - {has}}
    shown: set[tuple[str, str]] = set()
    chosen: list[Sample] = []
    for fields, sample in sorted(distinct.items(), key=lambda entry: (len(entry[0]), sorted(entry[0]))):
        news = {(has, lacks) for has, lacks in pairs if has in fields and lacks not in fields} - shown
        if news:
            shown |= news
            chosen.append(sample)
    return chosen


def item_schema(item: Mapping[str, Any], *, keys: bool) -> str:
    """The schema of an item in DynamoDB's form: its row kind, and which of the kind's forms it has."""
    pk, sk = item["pk"]["S"], item.get("sk", {"S": ""})["S"]
    [kind] = [kind.name for kind in row_kinds(HEADINGS[keys]) if kind.has(pk, sk)]
    forms = {"part": "#PART#" in sk, "in parts": "parts" in item, "group": "members" in item, "aside": sk.startswith("ASIDE#")}
    return ", ".join([f"item {kind}", *(form for form, has in forms.items() if has)])


def _first_release() -> Schemas:
    folder = FIXTURES / "release_0_1_0"
    found: Schemas = {}
    for file, keys in (("table", False), ("keys", True)):
        for item in json.loads((folder / f"{file}.json").read_text()):
            found.setdefault(item_schema(item, keys=keys), []).append(_binary(item))
    queues = json.loads((folder / "queues.json").read_text())
    bodies = [(message["queue"], message["body"]) for message in queues["messages"]]
    bodies += [(queue.removesuffix("-dead"), body) for queue, dead in queues["dead_letters"].items() for body in dead]
    for queue, body in bodies:
        found.setdefault(f"message {QUEUES[queue]}", []).append(body)
    return {schema: telling(samples) for schema, samples in found.items()}


def _binary(sample: Sample) -> Sample:
    """A sample with its binary attributes, which are kept in base64."""
    return {
        name: {"B": base64.b64decode(value["B"])} if isinstance(value, dict) and isinstance(value.get("B"), str) else value
        for name, value in sample.items()
    }


@cache
def kept_definitions() -> dict[str, dict[str, Any]]:
    """The definitions of the workflows `verify_account` and `verify_batch` of each kept release, by its version.

    Step Functions runs an execution to its end with the definition that it was started with.
    """
    first = json.loads((FIXTURES / "release_0_1_0" / "definitions.json").read_text())
    found = {"0.1.0": {name.replace("-", "_"): definition for name, definition in first.items()}}
    for path in sorted((FIXTURES / "releases" / "definitions").glob("*.json")):
        found[path.stem] = json.loads(path.read_text())
    return found


def path_of(version: str) -> Path:
    return FIXTURES / "releases" / f"{version}.json"


def definitions_of(version: str) -> Path:
    return FIXTURES / "releases" / "definitions" / f"{version}.json"
