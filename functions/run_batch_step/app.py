"""The steps of the workflow `verify_batch`: import the manifest, collect the verifications still open, write the results."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from titleholder.batches import steps
from titleholder.bootstrap import application
from titleholder.observability import logger, observed


@observed
def handler(event: dict[str, Any], _: Any) -> Any:
    """Takes `{step, batch, ...}` with only ids and numbers. Returns what the workflow needs for its next state."""
    context, batch, step = application().batch_step_context(), event["batch"], event["step"]
    logger.append_keys(batch=batch, step=step)
    answer: Any = None
    match step:
        case "plan":
            answer = steps.plan(context, batch)
        case "scan":
            steps.scan(context, batch, event["block"])
        case "cut":
            answer = steps.cut(context, batch, len(event["blocks"]))
        case "import":
            steps.import_range(context, batch, event["range"])
        case "imported":
            answer = steps.imported(context, batch)
        case "collect":
            steps.collect(context, batch, event["range"], event["pass"], event["since"])
        case "tally":
            answer = steps.tally(context, batch, event["pass"])
        case "summarise":
            answer = steps.summarise(context, batch)
        case _:
            raise ValueError("There is no such step.")
    logger.info("step done", extra={"range": event.get("range", {}).get("number")})
    return answer
