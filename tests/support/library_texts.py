"""The texts with which libraries describe bad input, collected from the libraries themselves: none of them may reach a caller."""

from __future__ import annotations

import ast
import inspect
import json.decoder
import json.scanner
import re
from collections.abc import Iterator
from functools import cache

import botocore.exceptions
from pydantic_core import _pydantic_core

MARKS = (
    "Traceback (most recent call last)", "pydantic.dev", "For further information", "HTTPConnectionPool", "HTTPSConnectionPool",
    "Max retries exceeded", "[Errno", "NewConnectionError", "An error occurred (", "JSON decode error", "Unable to parse", "codec can't",
    "object has no attribute", "int() argument", "could not convert", "integer string conversion", "KeyError", "ValueError", "TypeError",
    "AttributeError", "AssertionError", "type=", "input_value", "Request req_", "communicating with Stripe", "PydanticUndefined",
)  # fmt: skip
"""What exceptions of Python, of HTTP clients, of the AWS SDK and of Stripe's show, wherever they are raised."""

C_SCANNER = ("Illegal trailing comma", "Invalid control character", "Extra data", "Expecting")


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    found = [(text, re.compile(re.escape(text))) for text in (*MARKS, *C_SCANNER)]
    found += [(text, _pattern(text)) for text in _templates() if len(re.findall(r"[A-Za-z']+", re.sub(r"\{.*?\}", "", text))) >= 2]
    # A type of one word, such as `missing`, is a word of everyday language too.
    found += [(name, re.compile(rf"\b{name}\b")) for name in _types() if "_" in name]
    found.append(("position", re.compile(r"line \d+ column \d+|\(char \d+\)")))
    return tuple(found)


def _types() -> list[str]:
    return [str(error["type"]) for error in _pydantic_core.list_all_errors()]


def _templates() -> Iterator[str]:
    for error in _pydantic_core.list_all_errors():
        yield error["message_template_python"]
        yield error.get("message_template_json") or error["message_template_python"]
    for module in (json.decoder, json.scanner):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "JSONDecodeError":
                yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))
    for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass):
        template = getattr(kind, "fmt", "")
        # Templates of a few words around values would match anything.
        if len(re.findall(r"[A-Za-z']+", re.sub(r"\{.*?\}", "", template))) >= 4:
            yield template


def _pattern(template: str) -> re.Pattern[str]:
    parts = [re.escape(part.strip()) for part in re.split(r"\{[^}]*\}", template) if part.strip()]
    return re.compile(".*".join(parts), re.DOTALL | re.IGNORECASE)


def found_in(text: str) -> list[str]:
    """The texts of libraries that `text` repeats."""
    return [name for name, pattern in _patterns() if pattern.search(text)]
