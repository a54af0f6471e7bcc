"""Records IAM's decisions for the tests of permissions: a JSON line for each call of a role, with action, resource and decision."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator

_last = threading.local()


def apply(file: Path | None) -> None:
    """Record decisions in `file`; None records nothing."""
    if file is None:
        return
    trail = file.open("a", buffering=1)
    original_evaluate, original_enforce = iam_evaluator.evaluate, iam_evaluator.enforce

    def evaluate(context: Any, *policies: Any) -> Any:
        _last.context = context
        return original_evaluate(context, *policies)

    def enforce(*call: Any, **details: Any) -> Any:
        _last.context = None
        refused = original_enforce(*call, **details)
        # Users have no session.
        if _last.context is not None and ":assumed-role/" in _last.context.principal_arn:
            _, role, session = _last.context.principal_arn.split("/")
            about = {"action": _last.context.action, "resource": _last.context.resource_arn, "allowed": refused is None}
            if keys := _last.context.service_context.get("dynamodb:leadingkeys"):
                # Only the kinds: the rest of a key names an account.
                about["keys"] = sorted({key.partition("#")[0] for key in keys})
            trail.write(json.dumps({"role": role, "session": session, **about}) + "\n")
        return refused

    iam_evaluator.evaluate = evaluate
    iam_evaluator.enforce = enforce
