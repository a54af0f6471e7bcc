"""Keeps a record of what IAM decided, as CloudTrail would: a JSON line for each call of a role, with action, resource and decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator

bare = iam_evaluator.evaluate


def apply(file: Path | None) -> None:
    """Without a file nothing is kept."""
    if file is None:
        return
    trail = file.open("a", buffering=1)

    def evaluate(context: Any, *policies: Any) -> Any:
        result = bare(context, *policies)
        decision = {
            "role": context.principal_arn.split("/")[1], "action": context.action, "resource": context.resource_arn,
            "allowed": result.decision == "Allow",
        }  # fmt: skip
        trail.write(json.dumps(decision) + "\n")
        return result

    iam_evaluator.evaluate = evaluate
