"""The demo's page: one file without scripts that shows each verification with its claim, owner, verdict, reasons and timeline."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from local.demo_table import LEGEND, NOT_ENDED, SAME, Row, count, excluded, happened, owner, party, scores, seconds
from titleholder.matching import explain
from titleholder.matching.explanations import shown

TEMPLATE = Path(__file__).with_name("demo_page.html")
PHASES = {
    "refresh_started": "refresh",
    "refresh_joined": "refresh",
    "cooldown_began": "cooldown",
    "repair_wait_began": "repair",
}
"""What a verification waits for from such a step on."""
PHASE_WORDS = {
    "refresh": "waits for Stripe's refresh",
    "cooldown": "waits for the cooldown",
    "repair": "waits for the account's repair",
    "work": "is in queues, the workflow or functions",
}
COLUMNS = {name: LEGEND[name] for name in ("claim", "owner", "verdict", "score")} | {
    "why": "what each reason says, the most important one first, and the scores of the fields"
}
CONTACTS = (("address", "raw_address"), ("phone", "phone"), ("email", "email"))
CONTINUED = {
    "webhook": "Continued: Stripe reported the result",
    "reading": "Continued: the account was read for another request or event",
    "time_out": "Continued to ask again, because no event of Stripe came in time",
    "reconcile": "Continued by the scheduled check",
}
STEPS = {
    "requested": "Requested",
    "refresh_started": "Refresh started",
    "refresh_joined": "Joined a refresh that was under way",
    "cooldown_began": "Cooling down until {resume_at}",
    "cooldown_over": "Cooldown over",
    "repair_wait_began": "Waits for the account to be repaired",
    "repair_wait_over": "The wait for a repair is over",
    "trouble": "Stripe could not be asked{why}; it is tried again",
    "webhook": "Stripe's event arrived: {event_type} ({event})",
    "owners_fetched": "Owners fetched",
    "woken": "{continued}",
    "cancelled": "Cancelled",
    "verdict": "Verdict: {outcome}{score}",
    "stale": "The verdict no longer holds{why}",
    "stale_lifted": "The verdict holds again",
    "owners_changed": "The bank named other owners or contacts",
    "newer_owners": "The bank gave newer owners",
}
"""The same words as on the review desk."""


def page(rows: Sequence[Row], problems: Mapping[str, Sequence[str]] | None = None) -> str:
    """The page. `problems`: what is not as expected, by account."""
    problems = problems or {}
    counts = Counter(row["verdict"] for row in rows)
    good = len(rows) - sum(row["account"] in problems for row in rows)
    return Template(TEMPLATE.read_text()).substitute(
        summary=escape(
            f"{len(rows)} verifications, {good} as expected: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        ),
        phases="".join(f'<li><span class="key {phase}"></span>{escape(words)}</li>' for phase, words in PHASE_WORDS.items()),
        legend="".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in COLUMNS.items()),
        rows="\n".join(_row(row, problems.get(row["account"], ())) for row in rows),
    )


def _row(row: Row, problems: Sequence[str]) -> str:
    score = "" if row["score"] is None else f' <span class="score">{row["score"]:g}</span>'
    wrong = "".join(f'<p class="wrong">Not as expected: {escape(problem)}</p>' for problem in problems)
    cells = {
        "Claim": _claim(row["claim"]),
        "Owner": _owner(row),
        "Verdict": f'<span class="verdict {escape(row["verdict"])}">{escape(row["verdict"])}</span>{score}{wrong}',
        "Why": _why(row),
        "Timeline": _timeline(row),
    }
    return (
        f'<tr role="row"><th role="rowheader" scope="row"><code>{escape(row["account"])}</code><p>{escape(row["about"])}</p></th>'
        + "".join(f'<td role="cell" data-label="{label}"><div>{text}</div></td>' for label, text in cells.items())
        + "</tr>"
    )


def _claim(claim: Mapping[str, Any]) -> str:
    address = claim.get("address") or {}
    contacts = [", ".join(str(part) for part in address.values()), claim.get("phone"), claim.get("email")]
    return _party(party(claim), contacts)


def _owner(row: Row) -> str:
    named = re.sub(r" (?=[^(]*\)$)", "\N{NO-BREAK SPACE}", owner(row))
    contacts = row["owners"][row["owner_position"] or 0] if row["owners"] else {}
    return _party(named, [contacts.get(stripe) for _, stripe in CONTACTS])


def _party(name: str, contacts: Sequence[str | None]) -> str:
    return f"<b>{escape(name)}</b>" + "".join(f"<p>{escape(contact).replace('@', '@<wbr>')}</p>" for contact in contacts if contact)


def _why(row: Row) -> str:
    """The reasons, each with its sentence, the rule that decided where the score alone did not, and the scores of the fields."""
    if row["verdict"] == "none":
        return f"<p>{NOT_ENDED}</p>"
    reasons = "".join(f"<li>{escape(explain(reason))} <code>{escape(reason)}</code></li>" for reason in shown(row["reasons"]))
    found = f"<ul>{reasons}</ul>" if reasons else f"<p>{SAME}</p>"
    if row["score"] is None:
        return found
    if reason := excluded(row):
        found += f"<p>By the default policy, a verdict with <code>{escape(reason)}</code> is never close_match.</p>"
    return found + f'<p class="scores">Scores: {escape(scores(row, codes=False))}.</p>'


def _timeline(row: Row) -> str:
    """The steps as a strip in which each wait has its colour, and as a list."""
    steps = row["timeline"]["steps"]
    began = next(_seconds(step["at"]) for step in steps if step["kind"] == "requested")
    at = [_seconds(step["at"]) - began for step in steps]
    ended = max(at[-1], 0.001)
    phases = _phases([step["kind"] for step in steps], at)
    bars = "".join(
        f'<rect class="{phase}" x="{100 * start / ended:.2f}%" y="5" width="{100 * (end - start) / ended:.2f}%" height="12"/>'
        for phase, start, end in phases
    )
    dots = "".join(f'<circle cx="{100 * moment / ended:.2f}%" cy="11" r="4"/>' for moment in at if moment >= 0)
    listed = "".join(
        f'<li><span class="at">{_offset(moment)}</span> <span>{_words(step, began)}</span></li>'
        for step, moment in zip(steps, at, strict=True)
    )
    sums: dict[str, float] = {}
    for phase, start, end in phases:
        sums[phase] = sums.get(phase, 0) + end - start
    spoken = "; ".join(f"{PHASE_WORDS[phase]} {length:.1f} s" for phase, length in sums.items() if length >= 0.05) or "answered at once"
    took = seconds(row["timeline"])
    verdict_at = "" if took is None else f"; verdict after {took:.1f}\N{NO-BREAK SPACE}s"
    return (
        f'<p>{escape(happened(row))}{verdict_at}</p><svg class="strip" role="img" aria-label="{escape(spoken)}">{bars}{dots}</svg>'
        f'<details><summary>{len(steps)} steps<span class="unseen"> of {escape(row["account"])}</span></summary><ol>{listed}</ol>'
        f"<p>{count(row['state_transitions'], 'state transition')}, {count(row['stripe_calls'], 'call')} to Stripe</p></details>"
    )


def _phases(kinds: Sequence[str], at: Sequence[float]) -> list[tuple[str, float, float]]:
    """What the verification waited for, from when to when (seconds from the request), until its last step."""
    found: list[tuple[str, float, float]] = []
    phase = "work"
    for kind, start, end in zip(kinds, at, at[1:], strict=False):
        if start < 0:
            continue
        # These do not end a wait.
        if kind not in ("trouble", "webhook", "owners_fetched"):
            phase = PHASES.get(kind, "work")
        if found and found[-1][0] == phase:
            found[-1] = (phase, found[-1][1], end)
        else:
            found.append((phase, start, end))
    return found


def _words(step: Mapping[str, Any], began: float) -> str:
    """What happened at a step."""
    kind, reason = step["kind"], step.get("reason")
    score = step.get("score")
    if kind not in STEPS:
        return escape(kind.replace("_", " ").capitalize())
    return STEPS[kind].format(
        resume_at=_offset(_seconds(step["resume_at"]) - began) if step.get("resume_at") else "later",
        why=f": {escape(_clause(reason))}" if reason else "",
        event=f"<code>{escape(str(step.get('event') or ''))}</code>",
        event_type=f"<code>{escape(str(step.get('event_type') or 'type not known'))}</code>",
        continued=CONTINUED.get(str(step.get("by")), "Continued"),
        outcome=escape(str(step.get("outcome")).replace("_", " ")),
        score="" if score is None else f", score {round(score)}",
    )


def _clause(reason: str) -> str:
    """A reason's sentence as a part of another one."""
    sentence = explain(reason).rstrip(".")
    return sentence[0].lower() + sentence[1:]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _offset(seconds: float) -> str:
    sign = "\N{MINUS SIGN}" if seconds < 0 else "+"
    return f"{sign}{abs(seconds):.2f} s"
