"""The deployed artefacts: they are small, have their bytecode, and lack nothing that is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from local.aws import build, runtime
from local.aws.paths import BUILD, ROOT
from tests.support.layers import OPERATIONS
from tests.support.template import folder, resources, template

UNCHECKED = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
"""How a compiled module begins that is never compared with its source (PEP 552)."""

LARGEST_RECEIVER = 25 * 1024 * 1024
FUNCTIONS = resources("AWS::Serverless::Function")
LAYERS = resources("AWS::Serverless::LayerVersion")


def layer(name: str) -> Path:
    """The unpacked layer."""
    assert template()["Resources"][name]["Metadata"]["BuildMethod"] == "makefile"
    return runtime.unpacked(build.run_makefile(ROOT / LAYERS[name]["ContentUri"], name), BUILD)


def layers_of(function: str) -> list[Path]:
    return [layer(reference["Ref"]) for reference in FUNCTIONS[function]["Layers"]]


def python(code: str, *paths: Path) -> str:
    """What an interpreter prints that imports from these layers and the standard library only."""
    environment = {"PYTHONPATH": os.pathsep.join(str(path / "python") for path in paths), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_receiver_with_its_layers_is_small_and_has_neither_stripe_nor_pydantic() -> None:
    paths = layers_of("ReceiveWebhook")
    archive = zipfile.ZipFile(BytesIO(build.run_makefile(ROOT / "functions", "ReceiveWebhook")))
    assert sum(entry.file_size for entry in archive.infolist()) + sum(map(size, paths)) <= LARGEST_RECEIVER
    packages = {entry.name for path in paths for entry in (path / "python").iterdir()}
    assert {"aws_lambda_powertools", "botocore", "titleholder"} <= packages
    assert not {"stripe", "pydantic", "pydantic_core", "requests", "aws_xray_sdk"} & packages


@pytest.mark.parametrize("name", LAYERS)
def test_every_module_of_a_layer_has_bytecode_that_ignores_dates(name: str) -> None:
    sources = list((layer(name) / "python").rglob("*.py"))
    assert sources
    for source in sources:
        compiled = Path(importlib.util.cache_from_source(str(source)))
        assert compiled.read_bytes()[:8] == UNCHECKED, source


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_its_sources_and_their_bytecode(name: str) -> None:
    archive = zipfile.ZipFile(BytesIO(build.run_makefile(ROOT / "functions", name)))
    sources = {path.name for path in (ROOT / "functions" / folder(name)).iterdir() if path.is_file()}
    compiled = {f"__pycache__/{Path(source).stem}.{sys.implementation.cache_tag}.pyc" for source in sources if source.endswith(".py")}
    # Where it was fetched, the desk has its library beside it: tests/integration/test_desk_build.py.
    library = {"oauth4webapi.js", "oauth4webapi.LICENSE.md"} if name == "Desk" else set()
    assert set(archive.namelist()) - library == sources | compiled
    for entry in compiled:
        assert archive.read(entry)[:8] == UNCHECKED


def test_core_layer_runs_on_either_processor() -> None:
    assert not [path for path in layer("CoreLayer").rglob("*") if path.suffix in (".so", ".pyd")]


def test_package_brings_nothing_but_itself() -> None:
    assert [path.name for path in (layer("TitleholderLayer") / "python").iterdir()] == ["titleholder"]


CLIENTS = f"""
import boto3, json
session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b")

def show(shape, path=()):
    if shape is None or shape.name in path:
        return shape and shape.name
    path, inner = (*path, shape.name), None
    if shape.type_name == "structure":
        inner = [sorted(shape.required_members), {{name: show(member, path) for name, member in shape.members.items()}}]
    elif shape.type_name == "list":
        inner = show(shape.member, path)
    elif shape.type_name == "map":
        inner = [show(shape.key, path), show(shape.value, path)]
    return [shape.name, shape.type_name, shape.serialization, inner]

out = {{}}
for service, operations in {OPERATIONS!r}.items():
    for region in ("us-east-1", "eu-central-1", "ap-southeast-4", "us-gov-west-1", "cn-north-1", "aws-global"):
        client = session.client(service, region_name=region)
        meta, signer = client.meta, client._request_signer
        out[f"{{service}} {{region}}"] = [meta.endpoint_url, meta.region_name, meta.partition, signer.signing_name, signer.region_name]
    for name in operations.split():
        operation = client.meta.service_model.operation_model(name)
        out[f"{{service}} {{name}}"] = [operation.http, show(operation.input_shape), show(operation.output_shape),
            sorted(error.name for error in operation.error_shapes)]
out["paginators"] = [session.client("dynamodb", region_name="us-east-1").can_paginate("query")]
out["partitions"] = session.get_available_partitions()
print(json.dumps(out))
"""


def test_pruned_aws_sdk_has_the_endpoints_of_the_whole_one_and_the_operations_that_are_used() -> None:
    pruned = json.loads(python(CLIENTS, layer("CoreLayer")))
    whole = json.loads(subprocess.run([sys.executable, "-c", CLIENTS], capture_output=True, text=True, timeout=120, check=True).stdout)
    assert pruned == whole


STRIPE = """
import importlib, pkgutil, stripe
names = [module.name for module in pkgutil.walk_packages(stripe.__path__, "stripe.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_stripes_sdk_needs_nothing_that_was_left_out() -> None:
    assert int(python(STRIPE, layer("CoreLayer"), layer("StripeLayer"))) > 300


ENCRYPTION = """
from titleholder.aws.encryption import AccountCipher
from titleholder.domain.accounts import AccountRef

class KMS:
    def generate_data_key(self, **_): return {"Plaintext": bytes(32), "CiphertextBlob": b"wrapped"}

cipher, ref = AccountCipher(KMS(), "key", lambda: 0.0), AccountRef("fca_1")
key = cipher.new_key(ref)
print(cipher.decrypt(ref, key, "CLAIM#1", cipher.encrypt(ref, key, "CLAIM#1", {"name": "A"})).reveal())
"""


def test_encryption_needs_nothing_that_was_left_out() -> None:
    assert python(ENCRYPTION, *(layer(name) for name in ("CoreLayer", "VaultLayer", "TitleholderLayer"))) == "{'name': 'A'}\n"
