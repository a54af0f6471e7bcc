"""The examples in the OpenAPI document are what the routes answer now."""

from __future__ import annotations

import contextlib
import io
import json

import pytest

from local import openapi_values
from tests.support.example_answers import record

pytestmark = pytest.mark.slow


def test_examples_of_the_document_are_what_the_routes_answer() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        answers = record()
    assert json.loads(openapi_values.ANSWERS.read_text()) == answers, "make openapi EXAMPLES=1 records them anew"
