"""Makes the pictures of docs/reviews.md from those that tests/integration/test_desk_screens.py leaves in build/desk.

`make pictures` runs both.

python -m tools.draw_desk
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.command import interruptible, no_arguments

if TYPE_CHECKING:
    from PIL.Image import Image

ROOT = Path(__file__).resolve().parents[1]
TAKEN, KEPT = ROOT / "build" / "desk", ROOT / "docs"
WIDE = ("queue", "detail-revealed", "taken", "expired")
NARROW = (("queue", 0), ("detail-revealed", 572), ("error", 0))
"""The pictures side by side. The number: how many pixels of its top are cut off."""
WIDTH, HEIGHT, GAP, COLOURS = 320, 900, 20, 64


def narrow() -> Image:
    from PIL import Image

    whole = Image.new("RGB", (len(NARROW) * (WIDTH + GAP) - GAP, HEIGHT), "white")
    for number, (name, top) in enumerate(NARROW):
        with Image.open(TAKEN / f"{name}-{WIDTH}-dark.png") as taken:
            part = taken.convert("RGB").crop((0, top, WIDTH, min(taken.height, top + HEIGHT)))
        whole.paste(part, (number * (WIDTH + GAP), 0))
    return whole


def keep(picture: Image, name: str) -> None:
    picture.convert("RGB").quantize(COLOURS).save(KEPT / f"desk-{name}.png", optimize=True)


def main() -> None:
    no_arguments("tools.draw_desk", "Draw the pictures of the desk's guide.")
    from PIL import Image

    for name in WIDE:
        with Image.open(TAKEN / f"{name}-1280-light.png") as taken:
            keep(taken, name)
    keep(narrow(), "narrow-dark")


if __name__ == "__main__":
    sys.exit(interruptible(main))
