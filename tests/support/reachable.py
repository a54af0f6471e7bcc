"""Finds texts in the memory of a warm function: in every object that can be reached from its modules."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

OURS = ("titleholder", "aws_lambda_powertools")
"""Packages whose objects outlive an invocation."""

FOREIGN = ("local", "tests", "moto", "botocore", "boto3", "responses", "unittest", "_pytest")
"""Packages that simulate AWS, Stripe and the callers. Their objects are not in the function's memory."""


def texts(functions: Iterable[Any], words: Sequence[str]) -> list[str]:
    """Every text or bytes in memory that holds one of `words` (lower case). `functions`: handlers or other objects to begin with."""
    return [text for text in _strings(functions) if any(word in text.lower() for word in words)]


def _strings(functions: Iterable[Any]) -> Iterator[str]:
    foreign = {id(vars(module)) for name, module in list(sys.modules.items()) if name.partition(".")[0] not in OURS}
    todo: list[Any] = [vars(module) for name, module in list(sys.modules.items()) if name.partition(".")[0] in OURS]
    todo += functions
    seen: set[int] = set()
    while todo:
        found = todo.pop()
        if id(found) in seen or id(found) in foreign:
            continue
        seen.add(id(found))
        if isinstance(found, str):
            yield found
        elif isinstance(found, bytes | bytearray):
            yield bytes(found).decode("utf-8", "replace")
        elif isinstance(found, ModuleType) or str(getattr(type(found), "__module__", "")).partition(".")[0] in FOREIGN:
            continue
        else:
            todo += gc.get_referents(found)
