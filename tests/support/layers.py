"""The contents of the deployed layers."""

from __future__ import annotations

import runpy

from local.aws.paths import ROOT

OPERATIONS: dict[str, str] = runpy.run_path(str(ROOT / "layers/core/prune.py"))["OPERATIONS"]
"""The operations that the deployed AWS SDK knows, by service."""
