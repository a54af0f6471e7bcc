"""Draws how much of its limit each benchmark figure takes: docs/bench.png, from the table and the costs in docs/speed.md.

    python -m tools.draw_bench [FILE]

`make bench` draws build/bench.png in the same form, from what it has just measured.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from local.command import interruptible, writable

ROOT = Path(__file__).resolve().parents[1]
SPEED, PICTURE = ROOT / "docs" / "speed.md", ROOT / "docs" / "bench.png"
KEPT, MISSED, OTHER = "#3b7a57", "#b03a2e", "#4a6fa5"
NUMBER = r"\d[\d,]*(?:\.\d+)?"


@dataclass(frozen=True)
class Bar:
    """A figure beside its limit. `share`: the figure's share of the limit. With more than 1 the figure misses its limit."""

    name: str
    text: str
    share: float
    kept: bool


def bars(page: str) -> list[Bar]:
    """The figures that have a limit, by the table in docs/speed.md."""
    table = page.split("| figure | value | limit |\n| --- | --- | --- |\n")[1].split("\n\n")[0]
    found = []
    for line in table.splitlines():
        name, value, limit = (cell.strip() for cell in line.strip("|").split("|"))
        least = limit.startswith("at least ")
        reached, allowed = (re.search(NUMBER, cell) for cell in (value, limit))
        if reached is None or allowed is None:
            continue
        ours, most = (float(number[0].replace(",", "")) for number in (reached, allowed))
        share = most / ours if least else ours / most
        what = re.sub(r" \(.*?\)$", "", name).replace("`", "")
        found.append(Bar(what, f"{re.sub(r' [(].*', '', value)}, {limit if least else f'at most {limit}'}", share, share <= 1))
    return found


def costs(page: str) -> dict[str, float]:
    """Dollars for a million verifications beside Stripe's charge, by service, and those for all."""
    table = page.split("| service | counted for each | dollars |\n| --- | --- | --- |\n")[1].split("\n\n")[0]
    return {name: float(dollars) for name, dollars in re.findall(r"^\| ([^|]+?) \|.*\| ([\d.]+) \|$", table, re.MULTILINE)}


def digest(shown: Sequence[Bar], dollars: Mapping[str, float]) -> str:
    """What the picture keeps of the figures that it shows, so that a test notices an old picture."""
    return hashlib.sha256(json.dumps([[asdict(bar) for bar in shown], dict(dollars)], sort_keys=True).encode()).hexdigest()


def draw(shown: Sequence[Bar], dollars: Mapping[str, float] = MappingProxyType({})) -> bytes:
    """The picture, as PNG with few colours. Without `dollars` it has one part."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from PIL import Image, PngImagePlugin

    heights = [len(shown) + 1.6, *([len(dollars) + 1.6] if dollars else [])]
    figure, parts = pyplot.subplots(
        len(heights), 1, figsize=(9.5, 0.36 * sum(heights) + 0.4), dpi=100, height_ratios=heights, squeeze=False, layout="constrained"
    )
    limits = parts[0][0]
    # A figure that misses its limit by far would leave no room for the others.
    shares = [min(bar.share, 2) for bar in shown]
    limits.barh([bar.name for bar in shown], shares, color=[KEPT if bar.kept else MISSED for bar in shown])
    limits.axvline(1, color="black", linewidth=1)
    limits.set(xlim=(0, 1.42 * max([1, *shares])), title="Share of its limit that each figure takes")
    limits.set_xticks([0, 0.5, 1], ["0", "half of the limit", "the limit"])
    for number, (share, bar) in enumerate(zip(shares, shown, strict=True)):
        limits.text(max(1, share) + 0.02, number, bar.text, va="center", fontsize=8.5, parse_math=False)
    limits.invert_yaxis()
    if dollars:
        money = parts[1][0]
        parts_of_all = {name: value for name, value in dollars.items() if name != "all"}
        money.barh(list(parts_of_all), list(parts_of_all.values()), color=OTHER)
        money.set(
            xlim=(0, 1.2 * max(parts_of_all.values())),
            title=f"Dollars that AWS charges for a million verifications: {dollars['all']:.2f}",
        )
        for number, value in enumerate(parts_of_all.values()):
            money.text(value, number, f" {value:.2f}", va="center", fontsize=8.5)
        money.invert_yaxis()
    for part in parts.flat:
        part.spines[["top", "right"]].set_visible(False)
        part.title.set(fontsize=11, weight="bold")
    made = io.BytesIO()
    figure.savefig(made, format="png")
    pyplot.close(figure)
    small = io.BytesIO()
    about = PngImagePlugin.PngInfo()
    about.add_text("figures", digest(shown, dollars))
    picture = Image.open(made).convert("RGB").quantize(32, method=Image.Quantize.FASTOCTREE)
    picture.save(small, format="PNG", optimize=True, pnginfo=about)
    return small.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.draw_bench", description="Draw the benchmark's figures for the documents.")
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, metavar="FILE")
    picture = writable(parser.parse_args().picture)
    page = SPEED.read_text()
    picture.write_bytes(draw(bars(page), costs(page)))
    print(f"{picture}: {picture.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(interruptible(main))
