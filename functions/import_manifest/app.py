"""The steps of the workflow `verify_batch`: cuts and imports a manifest, looks after what is left, writes the results."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Any

from titleholder import batch_steps, runtime
from titleholder.observability import logger, observed


@observed
def handler(event: dict[str, Any], context: Any) -> Any:
    """Takes `{step, batch, ...}`, ids and numbers only; answers what the workflow has to know next."""
    desk, batch, step = runtime.desk(), event["batch"], event["step"]
    logger.append_keys(batch=batch, step=step)
    answer: Any = None
    match step:
        case "plan":
            answer = batch_steps.plan(desk, batch)
        case "scan":
            batch_steps.scan(desk, batch, event["block"])
        case "cut":
            answer = batch_steps.cut(desk, batch, len(event["blocks"]))
        case "import":
            batch_steps.import_range(desk, batch, event["range"])
        case "imported":
            answer = batch_steps.imported(desk, batch)
        case "collect":
            batch_steps.collect(desk, batch, event["range"], event["pass"], event["since"])
        case "tally":
            answer = batch_steps.tally(desk, batch, event["pass"])
        case "summarise":
            answer = batch_steps.summarise(desk, batch)
        case _:
            raise ValueError("There is no such step.")
    logger.info("step done", extra={"range": event.get("range", {}).get("number")})
    return answer
