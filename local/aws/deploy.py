"""Deploys the template to the emulator. As `sam package` does, it replaces the artefacts' paths and nothing else.

python -m local.aws.deploy --endpoint http://127.0.0.1:4566 --stack titleholder [Name=Value ...]
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.aws import build
from local.aws.emulator import REGION, client
from local.aws.paths import BUILD
from local.command import CommandError

BUCKET = "sam-artefacts"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
LARGEST_INLINE_TEMPLATE = 51_200
ARTEFACTS = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Serverless::StateMachine": "DefinitionUri",
}


class DeployError(CommandError):
    """The stack was not deployed. The message names each resource that failed and why."""


def deploy(
    template: Path,
    endpoint: str,
    stack: str,
    parameters: Mapping[str, str],
    *,
    var: Path = BUILD,
    timeout: float = 300.0,
) -> dict[str, str]:
    """Create the stack, or update it to the current template and code, and return its outputs.

    Without a change nothing happens. An update replaces the running environments of changed functions. `var`: folder that keeps built
    artefacts. `timeout`: seconds. Raises `DeployError`, or `build.BuildError` before anything is deployed.
    """
    s3, cloudformation = client("s3", endpoint), client("cloudformation", endpoint)
    _make_bucket(s3)
    body = json.dumps(package(template, _uploader(s3), var), separators=(",", ":"), default=str)
    request: dict[str, Any] = {
        "StackName": stack,
        "Capabilities": CAPABILITIES,
        "Parameters": [{"ParameterKey": name, "ParameterValue": str(value)} for name, value in parameters.items()],
    }
    if len(body.encode()) > LARGEST_INLINE_TEMPLATE:
        key = _uploader(s3)(body.encode(), "template").removeprefix(f"s3://{BUCKET}/")
        request["TemplateURL"] = f"https://s3.{REGION}.amazonaws.com/{BUCKET}/{key}"
    else:
        request["TemplateBody"] = body
    if _describe(cloudformation, stack):
        try:
            cloudformation.update_stack(**request)
        except cloudformation.exceptions.ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise DeployError(str(error)) from None
    else:
        try:
            cloudformation.create_stack(**request)
        except cloudformation.exceptions.ClientError as error:
            raise DeployError(str(error)) from None
    found = _settled(cloudformation, stack, timeout)
    if found is None or found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise DeployError(_failures(cloudformation, stack, found))
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def delete(endpoint: str, stack: str, *, timeout: float = 300.0) -> None:
    """Delete the stack and its resources. Raises `DeployError` if a resource cannot be deleted."""
    cloudformation = client("cloudformation", endpoint)
    if not _describe(cloudformation, stack):
        return
    cloudformation.delete_stack(StackName=stack)
    found = _settled(cloudformation, stack, timeout)
    if found is not None and found["StackStatus"] != "DELETE_COMPLETE":
        raise DeployError(_failures(cloudformation, stack, found))


def package(template: Path, upload: Callable[[bytes, str], str], var: Path = BUILD) -> dict[str, Any]:
    """The template with each local artefact built and uploaded. `upload` takes bytes and a suffix, and returns the artefact's URI.

    Raises `build.BuildError`.
    """
    from samtranslator.yaml_helper import yaml_parse

    content: dict[str, Any] = yaml_parse(template.read_text(encoding="utf-8"))

    def uploaded(uri: str, build_method: str | None, target: str) -> str:
        path = template.parent / uri
        if not path.exists():
            raise build.BuildError(f"{path} does not exist")
        if path.is_file():
            return upload(path.read_bytes(), path.suffix.lstrip("."))
        return upload(build.run_makefile(path, target, var) if build_method == "makefile" else build.zip_folder(path), "zip")

    # Each function has its own artefact, also where Globals give all of them the same folder.
    shared_code = content.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    for name, resource in content["Resources"].items():
        if artefact := ARTEFACTS.get(resource["Type"]):
            uri = resource["Properties"].get(artefact, shared_code if artefact == "CodeUri" else None)
            if isinstance(uri, str) and not uri.startswith("s3://"):
                resource["Properties"][artefact] = uploaded(uri, resource.get("Metadata", {}).get("BuildMethod"), name)
    return content


def http_api_url(endpoint: str, api_id: str) -> str:
    """The base URL of an HTTP API at the emulator: as on AWS, the default stage is not part of it."""
    return f"{endpoint}/_aws/execute-api/{api_id}"


def _make_bucket(s3: Any) -> None:
    # In this region, creating one's own bucket again succeeds.
    s3.create_bucket(Bucket=BUCKET)


def _uploader(s3: Any) -> Callable[[bytes, str], str]:
    def upload(data: bytes, suffix: str) -> str:
        # Named by its contents, so that an unchanged artefact keeps its URI and the update finds no change.
        key = f"{hashlib.sha256(data).hexdigest()[:40]}.{suffix}"
        s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        return f"s3://{BUCKET}/{key}"

    return upload


def _describe(cloudformation: Any, stack: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except cloudformation.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def _settled(cloudformation: Any, stack: str, timeout: float) -> dict[str, Any] | None:
    deadline = time.monotonic() + timeout
    while True:
        found = _describe(cloudformation, stack)
        if found is None or not found["StackStatus"].endswith("_IN_PROGRESS"):
            return found
        if time.monotonic() > deadline:
            raise DeployError(f"{stack} is {found['StackStatus']} after {timeout:g} s")
        time.sleep(0.1)


def _failures(cloudformation: Any, stack: str, found: dict[str, Any] | None) -> str:
    lines = [f"{stack} is {found['StackStatus'] if found else 'gone'}"]
    if found:
        if reason := found.get("StackStatusReason"):
            lines.append(reason)
        events = cloudformation.describe_stack_events(StackName=found["StackId"])["StackEvents"]
        lines += [
            f"{event['LogicalResourceId']} ({event.get('ResourceType')}): {event.get('ResourceStatusReason')}"
            for event in reversed(events)
            if "FAILED" in event["ResourceStatus"]
        ]
    return "\n  ".join(lines)
