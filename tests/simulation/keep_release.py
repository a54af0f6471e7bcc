"""Keeps what the present release stores, queues and passes on, so that later releases are held to it.

    python -m tests.simulation.keep_release 0.2.0

It runs schedules of faults, and writes `tests/fixtures/releases/<version>.json`, and beside it the workflows' definitions and the answers
of the OpenAPI document. A version that is kept is never written again.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from local import openapi, openapi_releases
from tests.simulation.queues import FakeSQS
from tests.simulation.schedules import simulate
from tests.simulation.simulated_stack import SimulatedStack
from tests.support.fakes.dynamodb import FakeDynamoDB
from tests.support.functions import ROOT
from tests.support.releases import QUEUES, Schemas, definitions_of, item_schema, path_of, telling

SEEDS = 60


class Recorder:
    """The first sample of each set of fields, by schema."""

    def __init__(self) -> None:
        self.samples: dict[str, dict[frozenset[str], dict[str, Any]]] = {}

    def note(self, schema: str, sample: dict[str, Any]) -> None:
        self.samples.setdefault(schema, {}).setdefault(frozenset(sample), dict(sample))

    @property
    def schemas(self) -> Schemas:
        return {schema: telling(samples.values()) for schema, samples in sorted(self.samples.items())}


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record what simulations store, queue and pass on."""
    recorder = Recorder()
    store, send, task = FakeDynamoDB._store, FakeSQS.send_message, SimulatedStack._task

    def stored(self: FakeDynamoDB, table: str, item: dict[str, Any]) -> None:
        recorder.note(item_schema(item, keys=table.endswith("keys")), item)
        store(self, table, item)

    def sent(self: FakeSQS, **request: Any) -> Any:
        body = json.loads(request["MessageBody"])
        if request["QueueUrl"] in QUEUES and isinstance(body, dict):
            recorder.note(f"message {QUEUES[request['QueueUrl']]}", body)
        return send(self, **request)

    def called(self: SimulatedStack, function: str, payload: Any) -> Any:
        step = f" {payload['step']}" if "step" in payload else ""
        recorder.note(f"task {'complete_verification' if 'verification' in payload else 'run_batch_step'}{step}", payload)
        return task(self, function, payload)

    with (
        patch.object(FakeDynamoDB, "_store", stored),
        patch.object(FakeSQS, "send_message", sent),
        patch.object(SimulatedStack, "_task", called),
    ):
        yield recorder


def _text(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode()


def main() -> int:
    parser = argparse.ArgumentParser(prog="keep_release", description="Keep what the present release stores, queues and passes on.")
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many schedules to run (default: {SEEDS})")
    options = parser.parse_args()
    path = path_of(options.version)
    if path.exists():
        sys.exit(f"error: {path} is kept already. What a release wrote does not change.")
    with recording() as recorder:
        for seed in range(options.seeds):
            simulate(seed)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(recorder.schemas, indent=1, sort_keys=True, default=_text) + "\n")
    definitions = {
        name: json.loads((ROOT / "statemachines" / f"{name}.asl.json").read_text()) for name in ("verify_account", "verify_batch")
    }
    definitions_of(options.version).write_text(json.dumps(definitions, indent=1) + "\n")
    answers = openapi_releases.to_keep(json.loads(openapi.DOCUMENT.read_text()))
    (openapi_releases.KEPT / f"{options.version}.json").write_text(json.dumps(answers, indent=1) + "\n")
    print(f"{path}: {len(recorder.schemas)} schemas, {sum(map(len, recorder.schemas.values()))} samples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
