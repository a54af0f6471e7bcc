"""Keeps some rows of the demo for tests and pictures: tests/fixtures/demo.json, from build/demo.json, which `make demo` leaves.

python -m tools.draw_demo --keep
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MADE, KEPT = ROOT / "build" / "demo.json", ROOT / "tests" / "fixtures" / "demo.json"
ACCOUNTS = (
    "fca_single", "fca_jointline", "fca_business", "fca_soletrader", "fca_trust", "fca_partial", "fca_noowners", "fca_paged",
    "fca_nickname", "fca_relative", "fca_cooling", "fca_prefetch", "fca_fresh", "fca_inactive", "fca_lost", "fca_never", "fca_relinked",
    "fca_expiring",
)  # fmt: skip


def keep() -> None:
    rows = [row for row in json.loads(MADE.read_text()) if row["account"] in ACCOUNTS]
    KEPT.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.draw_demo", description="Keeps some rows of the demo.")
    parser.add_argument("--keep", action="store_true", help="take the rows from build/demo.json")
    if parser.parse_args().keep:
        keep()


if __name__ == "__main__":
    main()
