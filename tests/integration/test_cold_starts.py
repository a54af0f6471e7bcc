"""Each function loads at its cold start, in its own interpreter, only modules that it needs itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.functions import FUNCTIONS, ROOT

pytestmark = pytest.mark.slow

PACKAGE = ROOT / "layers/titleholder/python/titleholder"
LIST = """
import importlib.util, sys
sys.path.insert(0, sys.argv[2])
sys.path.insert(0, sys.argv[1])
spec = importlib.util.spec_from_file_location("app", sys.argv[1] + "/app.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import gc
assert gc.isenabled() and gc.get_freeze_count() > 10_000
from titleholder.bootstrap import application
for name in sys.argv[3:]:
    part = getattr(application(), name)
    if name == "dependencies":
        part()
clients = {f"client of {each.__name__}" for each in sys.modules["botocore.client"].BaseClient.__subclasses__()}
print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules} | set(sys.modules) | clients)))
"""
PARTS = {
    "receive_webhook": ("webhook_receiver",),
    "complete_verification": ("store", "event_publisher", "cipher"),
    "start_refresh": ("queues", "rate_limits", "dependencies"),
    "fetch_owners": ("queues", "rate_limits", "dependencies", "cipher"),
    "api": ("dependencies", "cipher"),
    "review": ("review_dependencies",),
}
"""The parts of the application that the first event of a function has made."""


@cache
def loaded(function: str, kind: str = "on-demand", *parts: str) -> frozenset[str]:
    """The modules that a cold start loads and the clients it makes, up to its first call of a service (where no `parts` are named)."""
    command = [sys.executable, "-c", LIST, str(FUNCTIONS / function), str(PACKAGE.parent), *(parts or PARTS.get(function, ()))]
    environment = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_INITIALIZATION_TYPE": kind}
    if kind == "on-demand":
        environment |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment)
    return frozenset(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("function", "unwanted"),
    [
        ("receive_webhook", "stripe"),
        ("receive_webhook", "aws_encryption_sdk"),
        ("receive_webhook", "pydantic"),
        ("receive_webhook", "requests"),
        ("receive_webhook", "titleholder.matching"),
        ("receive_webhook", "titleholder.services.refreshes"),
        ("receive_webhook", "titleholder.store.accounts"),
        ("receive_webhook", "titleholder.store.sealed"),
        ("complete_verification", "stripe"),
        ("complete_verification", "pydantic"),
        ("start_refresh", "pydantic"),
        ("fetch_owners", "pydantic"),
        ("api", "aws_lambda_powertools.utilities.idempotency"),
        # Only a request that is refused needs them.
        ("api", "titleholder.field_errors"),
        ("api", "titleholder.json_text"),
        ("linking", "difflib"),
        ("review", "stripe"),
        ("review", "requests"),
        ("review", "titleholder.services.refreshes"),
        ("review", "aws_encryption_sdk"),
        # Only a comparison needs them.
        ("review", "titleholder.matching.names"),
        ("review", "difflib"),
    ],
)
def test_function_does_not_load(function: str, unwanted: str) -> None:
    assert "titleholder.bootstrap" in loaded(function)
    assert unwanted not in loaded(function)


@pytest.mark.parametrize(
    ("function", "budget"),
    [
        ("receive_webhook", 460),
        ("complete_verification", 604),
        ("start_refresh", 672),
        ("fetch_owners", 776),
        ("api", 882),
        ("review", 660),
    ],
)
def test_cold_start_loads_no_more_modules_than_its_budget(function: str, budget: int) -> None:
    assert sum(" " not in name for name in loaded(function)) <= budget


HANDLERS = sorted(path for path in FUNCTIONS.glob("*/app.py") if "@observed" in path.read_text())


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda path: path.parent.name)
def test_handler_looks_for_no_garbage_while_it_loads(handler: Path) -> None:
    body = ast.parse(handler.read_text()).body
    first = next(each for each in body if isinstance(each, ast.Import | ast.ImportFrom) and getattr(each, "module", "") != "__future__")
    assert isinstance(first, ast.Import)
    assert [alias.name for alias in first.names] == ["titleholder.cold_start"]
    assert loaded(handler.parent.name)  # Itself it asserts that collecting goes on afterwards.


@pytest.mark.parametrize(
    ("function", "needed"),
    [
        ("api", "aws_encryption_sdk"),
        ("api", "client of DynamoDB"),
        ("api", "titleholder.store.claims"),
        ("linking", "titleholder.aws.workflows"),
        ("review", "aws_encryption_sdk"),
        ("review", "titleholder.services.comparisons"),
    ],
)
def test_snapshot_holds_what_a_first_event_needs(function: str, needed: str) -> None:
    """Taken without credentials, which come with the start from it."""
    assert needed not in loaded(function, "on-demand", "clock")
    assert needed in loaded(function, "snap-start", "clock")
