"""AWS behaviours that MiniStack lacks and template.yaml or the tests need, one module each.

They replace its private functions before it serves. `original_...` is always MiniStack's own function.
"""

from __future__ import annotations

import os
from pathlib import Path

from local.aws.shims import (
    authorised_resource,
    event_bus,
    function_recursion,
    http_api_body,
    http_api_cors,
    http_api_errors,
    http_api_signature,
    http_api_stage,
    lambda_runtime,
    log_filter,
    metric_math_alarm,
    query_definition,
    queue_batch_response,
    queue_redrive,
    secure_transport,
    signatures,
    table_engine,
    table_policy,
    table_restore,
    table_settings,
    template_parameters,
    trail,
    workflow_distributed_map,
    workflow_execution,
    workflow_paths,
    workflow_task,
)


def apply_all(var: Path, region: str, trail_file: Path | None = None) -> None:
    """Apply every shim.

    `var`: folder for the Lambda runtime and unpacked code. `region`: the only one that is served. `trail_file`: file that records IAM's
    decisions.
    """
    event_bus.apply()
    function_recursion.apply()
    http_api_body.apply()
    http_api_cors.apply()
    http_api_errors.apply()
    http_api_signature.apply()
    http_api_stage.apply()
    secure_transport.apply()
    signatures.apply(region)
    table_restore.apply()
    table_settings.apply()
    template_parameters.apply()
    metric_math_alarm.apply()
    query_definition.apply()
    table_policy.apply()
    table_engine.apply(os.environ.get(table_engine.VARIABLE))
    queue_batch_response.apply()
    queue_redrive.apply()
    lambda_runtime.apply(var)
    log_filter.apply()
    workflow_execution.apply()
    workflow_paths.apply()
    workflow_task.apply()
    authorised_resource.apply()
    trail.apply(trail_file)
    workflow_distributed_map.apply()
