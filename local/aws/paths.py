"""Where the embedded AWS keeps its files: all of them under one folder, `build/` unless told otherwise."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
