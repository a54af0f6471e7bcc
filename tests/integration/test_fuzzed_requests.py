"""Every operation of the OpenAPI document is called with what its schema allows and with what not: no answer is outside the document.

`FUZZ_EXAMPLES` says how many cases of each kind an operation gets, `FUZZ_SEED` which. The gateway is in process, AWS is moto, Stripe the
simulator.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local import openapi
from tests.support.gateway import Gateway
from tests.support.samples import prepare
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance,
]  # fmt: skip
ID = re.compile(r"(fca|ver|acct|cus|fcsess|seti|pi|pm|cs|bat|fcaowns)_\w+")
LARGE = ("GET /docs",)
"""The page is 1.7 MB and takes no parameter: one case is enough."""

DOCUMENT = {**openapi.strict(json.loads(openapi.DOCUMENT.read_text())), "servers": [{"url": "/"}]}
"""The document in which known values are the only ones: this release answers no others."""
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
CASES = [
    (label, mode)
    for label, operation in OPERATIONS.items()
    for mode in GenerationMode
    # A call that takes nothing can't be wrong.
    if mode is GenerationMode.POSITIVE or {"parameters", "requestBody"} & set(operation.definition.raw)
]


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """How often each answer came; printed at the end."""
    counts: Counter[str] = Counter()
    yield counts
    print(f"\nfuzzed: {len(OPERATIONS)} operations, {counts.total()} cases, answers {dict(sorted(counts.items()))}")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """HTTP access to the handlers of one sandbox."""
    with Sandbox.open() as sandbox:
        prepare(sandbox)
        yield Gateway(lambda folder, event: sandbox.function(folder)(event))


@pytest.mark.parametrize(("label", "mode"), CASES, ids=lambda part: getattr(part, "value", part))
def test_answers_are_as_documented(gateway: Gateway, tally: Counter[str], label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]
    known = _known(operation.definition.raw)
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS

    @seed(SEED)
    @settings(
        max_examples=1 if label in LARGE else EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), there=st.booleans())
    def run(case: Any, there: bool) -> None:
        if there and mode is GenerationMode.POSITIVE:
            # Ids that are there, else hardly a call would get past 404.
            case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
            if isinstance(case.body, dict):
                case.body = {name: known.get(name, value) for name, value in case.body.items()}
        response = case.call(app=gateway, headers={"Accept-Encoding": "identity"})
        tally[str(response.status_code)] += 1
        case.validate_response(response, checks=checks)

    run()
    assert not gateway.failures


def _known(operation: dict[str, Any]) -> dict[str, str]:
    """The ids in the document's examples, which are those of the sample events."""
    found = {parameter["name"]: parameter["example"] for parameter in operation.get("parameters", ()) if "example" in parameter}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        for example in media.get("examples", {}).values():
            found |= {name: value for name, value in example["value"].items() if isinstance(value, str) and ID.fullmatch(value)}
    return found
