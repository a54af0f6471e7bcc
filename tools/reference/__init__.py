"""The pages of docs/reference, which are written from the code: `make reference`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
