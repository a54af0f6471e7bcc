"""Functions get the template's `RecursiveLoop`. MiniStack stops loops as AWS does, but accepts this setting only by an API call."""

from __future__ import annotations

from typing import Any

from ministack.services import lambda_svc

from local.aws.shims._cloudformation import after_deployment


def apply() -> None:
    after_deployment("AWS::Lambda::Function", configure)


def configure(name: str, props: dict[str, Any]) -> None:
    lambda_svc._functions[name]["recursive_loop"] = props.get("RecursiveLoop", "Terminate")
