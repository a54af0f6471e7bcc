"""What the demo prints: for each verification a row with claim, owner, verdict and score, and lines that explain them; then a legend."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from titleholder.matching import DEFAULT_POLICY, explain
from titleholder.matching.explanations import shown
from titleholder.matching.result import FIELDS

Row = Mapping[str, Any]
"""A verification, as `build/demo.json` has it."""

WIDTH_OF_A_FILE = 100
NARROWEST, WIDEST = 44, 120
COLUMNS_OF_NAMES_FROM = 76
"""On a narrower terminal, claim and owner have lines of their own instead of columns."""
GAP = "  "
LABEL = 8
"""The width of the names of the lines below a row, with the gap."""

LEGEND = {
    "account": "the account at the simulated Stripe",
    "claim": "the name in the claim, which says who owns the account",
    "owner": "the name that the simulated bank has. Of several owners it is the one that is most like the claim, with its number. "
    "not read: Titleholder could not read it",
    "verdict": f"match from a score of {DEFAULT_POLICY.match_threshold:g}; close_match from {DEFAULT_POLICY.close_match_threshold:g}, "
    "unless a reason says that it is another person; no_match otherwise. not_verifiable: there was nothing to compare",
    "score": "0 to 100: the score of the name. Address, phone and email can change it, but never turn another person's name into a match",
    "about": "what the account is, and how the simulated bank and Stripe behave",
    "why": "what the most important reason says, then the score of each field with the codes of its reasons (docs/reference/reasons.md)",
    "how": "what happened, the seconds from request to verdict by the timeline, the state transitions of the workflow, and the calls to "
    "Stripe for it",
    "states": "the states of the workflow, if the verification waited for the account's repair",
    "status": "what Stripe says of an account that is expected to become inactive",
}
NOT_ENDED = "The verification has not ended in time."
SAME = "The names are the same."
HAPPENED = {
    "found fresh": "fresh owners were stored",
    "joined": "joined a refresh that was under way",
    "healed": "asked again because no webhook came",
    "gave up": "gave up after the last time limit",
    "refused by state": "the account allows no refresh",
}


def terminal_width() -> int:
    """The width of the terminal, between `NARROWEST` and `WIDEST`; `WIDTH_OF_A_FILE` if the output is no terminal."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDTH_OF_A_FILE, 24)).columns))


def party(fields: Mapping[str, Any]) -> str:
    """The name in a claim or of an owner."""
    if "business_name" in fields:
        return f"{fields['business_name']} (business)"
    return str(fields.get("name") or f"{fields['given']} {fields['family']}")


def owner(row: Row) -> str:
    """The name of the owner that was compared with the claim, or of the one that could have been."""
    owners, position = row["owners"], row["owner_position"]
    if not owners:
        return "none given"
    name = party(owners[position or 0])
    if position is None:
        return f"{name} (not read)"
    return f"{name} ({position + 1} of {len(owners)})" if len(owners) > 1 else name


def scores(row: Row, *, codes: bool = True) -> str:
    """The score of each field that was compared, with the `codes` of its reasons, and why the others were not compared."""
    fields = row["fields"]
    compared = [
        f"{name} {fields[name]['score']:g}" + (f" ({', '.join(fields[name]['reasons'])})" if codes and fields[name]["reasons"] else "")
        for name in FIELDS
        if fields[name]["score"] is not None
    ]
    missing = {
        where: [name for name in FIELDS if fields[name]["missing"] == side]
        for side, where in (("claim", "not in the claim"), ("bank", "not from the bank"), ("both", "on neither side"))
    }
    return "; ".join([", ".join(compared), *(f"{', '.join(names)} {where}" for where, names in missing.items() if names)])


def excluded(row: Row) -> str | None:
    """The reason that makes a score in the band of close matches a `no_match`."""
    if row["verdict"] != "no_match" or row["score"] < DEFAULT_POLICY.close_match_threshold:
        return None
    return next((reason for reason in row["reasons"] if reason in DEFAULT_POLICY.never_close), None)


def why(row: Row) -> str:
    """Why the verdict and the score are what they are."""
    if row["verdict"] == "none":
        return NOT_ENDED
    if row["score"] is None:
        return f"{explain(row['reasons'][0])} ({row['reasons'][0]})"
    found = [explain(shown(row["reasons"])[0]) if row["reasons"] else SAME]
    if reason := excluded(row):
        found.append(f"By the default policy, a verdict with {reason} is never close_match.")
    return " ".join([*found, f"Scores: {scores(row)}."])


def happened(row: Row) -> str:
    """What happened until the verdict."""
    return ", ".join(HAPPENED.get(each, each) for each in row["what"].split(", "))


def seconds(timeline: Mapping[str, Any]) -> float | None:
    """The seconds from the request to the verdict by a verification's timeline; None without a verdict."""
    at = {step["kind"]: datetime.fromisoformat(step["at"]).timestamp() for step in timeline["steps"]}
    return round(at["verdict"] - at["requested"], 1) if "verdict" in at else None


def how(row: Row) -> str:
    """What happened, with the figures."""
    steps, calls, took = row["state_transitions"], row["stripe_calls"], seconds(row["timeline"])
    time = "no verdict" if took is None else f"{took:.1f} s"
    return f"{happened(row)}: {time}, {count(steps, 'transition')}, {count(calls, 'call')}"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def lines(rows: Sequence[Row], width: int) -> Iterator[str]:
    """The table: for each verification a row, and the lines that explain it."""
    named = width >= COLUMNS_OF_NAMES_FROM
    head = ["account", "claim", "owner", "verdict", "score"] if named else ["account", "verdict", "score"]
    cells = [_cells(row, named) for row in rows]
    widths = [max(len(line[i]) for line in [head, *cells]) for i in range(len(head))]
    if named:
        # Claim and owner share what the others leave.
        room = width - sum(widths) - len(GAP) * (len(widths) - 1)
        if room < 0:
            both = widths[1] + widths[2] + room
            widths[1] = min(widths[1], max(both // 2, both - widths[2]))
            widths[2] = both - widths[1]
    yield from _row(head, widths)
    yield GAP.join("-" * each for each in widths)
    for row, line in zip(rows, cells, strict=True):
        yield from _row(line, widths)
        names = [] if named else [("claim", party(row["claim"])), ("owner", owner(row))]
        for label, text in [("about", row["about"]), *names, ("why", why(row)), ("how", how(row)), *_more(row)]:
            yield from _labelled(label, text, width)
        yield ""


def legend(width: int) -> Iterator[str]:
    """What each column and line of the table means."""
    for label, text in LEGEND.items():
        yield from _labelled(label, text, width, indent="", gap=9)


def _cells(row: Row, named: bool) -> list[str]:
    names = [party(row["claim"]), owner(row)] if named else []
    return [row["account"], *names, row["verdict"], "" if row["score"] is None else f"{row['score']:g}"]


def _row(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """A row of the table. A cell that is too long for its column is continued on the next line."""
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    for number in range(max(map(len, wrapped))):
        parts = [part[number] if number < len(part) else "" for part in wrapped]
        yield GAP.join(
            part.rjust(width) if i == len(parts) - 1 else part.ljust(width)
            for i, (part, width) in enumerate(zip(parts, widths, strict=True))
        ).rstrip()


def _labelled(label: str, text: str, width: int, indent: str = GAP, gap: int = LABEL) -> Iterable[str]:
    # No line begins with a number, which belongs to the word before it.
    found = textwrap.wrap(
        re.sub(r" (?=\d)", "\N{NO-BREAK SPACE}", text),
        width,
        initial_indent=f"{indent}{label:{gap}}",
        subsequent_indent=" " * (len(indent) + gap),
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in found]


def _more(row: Row) -> Iterator[tuple[str, str]]:
    """Lines that only some rows have."""
    if row["repairs"]:
        yield "states", " -> ".join(row["states"])
    if row["scenario"] == "expiring":
        details = row["status_details"] or {}
        yield "status", ", ".join(f"{name}: {value}" for name, value in details.items())
