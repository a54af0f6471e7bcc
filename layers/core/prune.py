"""Removes unused parts from the layer: 400 AWS services, operations that are not called, documentation, boto3's resources.

python prune.py FOLDER    where the packages were installed
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPERATIONS = {
    "dynamodb": "BatchGetItem DeleteItem GetItem PutItem Query TransactWriteItems UpdateItem",
    "events": "PutEvents",
    "kms": "Decrypt DescribeKey GenerateDataKey",
    "s3": "CompleteMultipartUpload CreateMultipartUpload DeleteObjects GetObject HeadObject ListParts PutObject UploadPart",
    "secretsmanager": "GetSecretValue",
    "sqs": "ChangeMessageVisibility SendMessage",
    "stepfunctions": "DescribeExecution SendTaskFailure SendTaskHeartbeat SendTaskSuccess StartExecution StopExecution",
    "sts": "AssumeRole AssumeRoleWithWebIdentity",
}
"""The operations that functions call, by botocore's names. A client has no others. The SDK itself calls `sts` for some credentials."""

SERVICES = frozenset(OPERATIONS)

ENDPOINTS = SERVICES - {"stepfunctions"} | {"states"}
"""The same services by the names of their endpoints."""

MODELS = {"service-2.json", "endpoint-rule-set-1.json", "paginators-1.json", "waiters-2.json", "service-2.sdk-extras.json"}


def main(root: Path) -> None:
    data = root / "botocore" / "data"
    for entry in data.iterdir():
        if entry.is_dir() and entry.name not in SERVICES:
            shutil.rmtree(entry)
    for service in SERVICES:
        for file in [path for path in (data / service).rglob("*") if path.is_file()]:
            name = file.name.removesuffix(".gz")
            if name in MODELS:
                description = _without_documentation(_read(file))
                for parameter in description.get("clientContextParams", {}).values():
                    parameter["documentation"] = ""  # botocore reads this key.
                if name == "service-2.json":
                    _keep(description, OPERATIONS[service].split())
                _write(file.with_name(name), description)
            if name not in MODELS or name != file.name:
                file.unlink()
    endpoints = data / "endpoints.json"
    known = _read(endpoints)
    for partition in known["partitions"]:
        partition["services"] = {name: kept for name, kept in partition["services"].items() if name in ENDPOINTS}
    _write(endpoints, known)
    for unused in ("boto3/data", "boto3/examples", "bin"):
        shutil.rmtree(root / unused, ignore_errors=True)


def _keep(model: dict[str, Any], operations: list[str]) -> None:
    """Leave in a service's model only these operations and the shapes that they refer to."""
    model["operations"] = {name: model["operations"][name] for name in operations}
    shapes, todo = {}, list(_referred(model["operations"]))
    while todo:
        name = todo.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            todo += _referred(shapes[name])
    model["shapes"] = shapes


def _referred(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("shape"), str):
            yield value["shape"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _referred(part)


def _read(file: Path) -> Any:
    content = file.read_bytes()
    return json.loads(gzip.decompress(content) if file.suffix == ".gz" else content)


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")


def _without_documentation(value: Any) -> Any:
    """Removes documentation. botocore's `documentation` is a text; a field of that name is an object, which stays."""
    if isinstance(value, dict):
        kept = {name: part for name, part in value.items() if not (name == "documentation" and isinstance(part, str))}
        return {name: _without_documentation(part) for name, part in kept.items()}
    return [_without_documentation(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(Path(sys.argv[1]))
