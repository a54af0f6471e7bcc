"""README.md's sample of what `make demo` prints, from the kept rows of a real run."""

from __future__ import annotations

import json
import re
from pathlib import Path

from local.demo_table import lines

ROOT = Path(__file__).parents[2]
README, KEPT = ROOT / "README.md", ROOT / "tests" / "fixtures" / "demo.json"
WIDTH = 120
SAMPLE = re.compile(r"(?<=^`make demo` prints, for example:\n\n```\n).*?(?=\n```$)", re.MULTILINE | re.DOTALL)


def render() -> str:
    """README.md with its sample made anew. The sample's accounts stay the same."""
    text = README.read_text()
    kept = {row["account"]: row for row in json.loads(KEPT.read_text())}
    [sample] = SAMPLE.findall(text)
    rows = [kept[account] for account in re.findall(r"^(fca_\w+)", sample, re.MULTILINE)]
    made = "\n".join(lines(rows, WIDTH)).rstrip()
    return SAMPLE.sub(lambda _: made, text)
