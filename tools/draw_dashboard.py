"""Draws the layout of the dashboard in template.yaml, without data: docs/dashboard.png, or the file that is named.

python -m tools.draw_dashboard [FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from local.command import interruptible, writable

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "dashboard.png"
COLUMNS = 24
INCHES_A_COLUMN, INCHES_A_ROW = 0.72, 0.36
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


def dashboard() -> dict[str, Any]:
    """The dashboard's body. Each reference in it is replaced by the name or the default of what it refers to."""
    from samtranslator.yaml_helper import yaml_parse

    template = yaml_parse((ROOT / "template.yaml").read_text())
    defaults = {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()} | {"AWS::StackName": "titleholder"}
    body, _ = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    found: dict[str, Any] = json.loads(re.sub(r"\${([\w:.]+)}", lambda name: defaults.get(name[1], name[1].removesuffix(".Arn")), body))
    return found


def digest(body: dict[str, Any]) -> str:
    """What the picture keeps of the body that it shows, so that a test notices an old picture."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def lines(properties: dict[str, Any]) -> list[str]:
    """What a graph shows: the label and statistic of each visible row, and its horizontal lines."""
    shown = []
    for row in properties["metrics"]:
        options = row[-1]
        if options.get("visible", True):
            stat = "expression" if "expression" in options else options.get("stat", properties.get("stat"))
            shown.append(options["label"] if str(stat) in options["label"] else f"{options['label']} ({stat})")
    return shown + [f"-- {line['label']}: {line['value']}" for line in properties.get("annotations", {}).get("horizontal", ())]


def draw(body: dict[str, Any]) -> bytes:
    """The picture, as PNG with few colours."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle
    from PIL import Image, PngImagePlugin

    rows = max(widget["y"] + widget["height"] for widget in body["widgets"])
    figure = pyplot.figure(figsize=(COLUMNS * INCHES_A_COLUMN, rows * INCHES_A_ROW), dpi=75)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, COLUMNS), ylim=(rows, 0))
    axes.axis("off")

    def write(x: float, y: float, text: str, **style: Any) -> None:
        axes.text(x, y, text, va="top", **{"fontsize": 9, **style})

    for widget in body["widgets"]:
        x, y, width, height, properties = (widget[name] for name in ("x", "y", "width", "height", "properties"))
        axes.add_patch(Rectangle((x + 0.06, y + 0.1), width - 0.12, height - 0.2, facecolor="#fafafa", edgecolor="#999999"))
        left, top = x + 0.2, y + 0.3
        if widget["type"] == "text":
            title, _, rest = properties["markdown"].partition("\n")
            write(left, top, title.removeprefix("# "), fontsize=13, weight="bold")
            write(left, top + 0.85, rest)
            continue
        write(left, top, "\n".join(textwrap.wrap(properties["title"], int(width * 6.5))), weight="bold", fontsize=10)
        if widget["type"] == "alarm":
            for number, name in enumerate(properties["alarms"]):
                column, row = divmod(number, 11)
                at = (left + column * width / 3.05, top + 0.85 + row * 0.42)
                axes.add_patch(Rectangle((at[0], at[1] + 0.05), 0.12, 0.24, facecolor="#2ca02c", edgecolor="none"))
                write(at[0] + 0.17, at[1], name.removesuffix("Alarm"), fontsize=6.5)
            continue
        shown = lines(properties)
        step = min(0.5, (height - 1.6) / max(len(shown), 1))
        top += 1.3 if len(properties["title"]) > width * 6.5 else 0.85
        for number, line in enumerate(shown):
            at, single = top + number * step, properties["view"] == "singleValue"
            colour = "#555555" if line.startswith("--") else COLOURS[number % len(COLOURS)]
            write(left, at, "#" if single else "-" * 2 if line.startswith("--") else "\u2014", color=colour, weight="bold", fontsize=8)
            write(left + 0.3, at, line.removeprefix("-- "), fontsize=8, color="#333333")
    made = io.BytesIO()
    figure.savefig(made, format="png")
    pyplot.close(figure)
    small = io.BytesIO()
    about = PngImagePlugin.PngInfo()
    about.add_text("body", digest(body))
    picture = Image.open(made).convert("RGB").quantize(48, method=Image.Quantize.FASTOCTREE)
    picture.save(small, format="PNG", optimize=True, pnginfo=about)
    return small.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.draw_dashboard", description="Draw the dashboard as the template describes it.")
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, metavar="FILE")
    picture = writable(parser.parse_args().picture)
    picture.write_bytes(draw(dashboard()))
    print(f"{picture}: {picture.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(interruptible(main))
