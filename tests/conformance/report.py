"""Prints how the matcher answers the conformance corpus, class by class: ``python -m tests.conformance.report``."""

import pathlib
import sys
from collections import defaultdict

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "layers" / "titleholder" / "python"))

from tests.conformance.cases import CASES, NO, YES, Case
from titleholder.matching import Verdict, decide


def judge(case: Case) -> tuple[Verdict, bool, bool]:
    """Return the verdict for a case, whether the outcome conforms, and whether the score lies in the published band."""
    verdict = decide(case.claim_dict, case.owners)
    score = verdict.fields[case.field_name].score
    in_band = case.band is None or (score is not None and case.band[0] <= score <= case.band[1])
    return verdict, verdict.outcome in case.outcomes, in_band


def render() -> str:
    """Return the report: cases, conforming outcomes, scores in band, false accepts and false rejects by class."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    failures = []
    for case in CASES:
        verdict, conforms, in_band = judge(case)
        row = rows[case.group]
        row[0] += 1
        row[1] += conforms
        row[2] += in_band
        row[3] += verdict.outcome == YES and YES not in case.outcomes
        row[4] += verdict.outcome == NO and NO not in case.outcomes
        if not (conforms and in_band):
            score = verdict.fields[case.field_name].score
            failures.append(f"  {case.claim} / {case.owner}: {verdict.outcome} {score}, expected {case.expect} {case.band}")
    lines = [f"{'class':24s} {'cases':>5s} {'outcome':>8s} {'in band':>8s} {'false accepts':>14s} {'false rejects':>14s}"]
    for group in sorted(rows):
        count, conforming, banded, accepts, rejects = rows[group]
        lines.append(f"{group:24s} {count:5d} {conforming:8d} {banded:8d} {accepts:14d} {rejects:14d}")
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines.append(f"{'all':24s} {total[0]:5d} {total[1]:8d} {total[2]:8d} {total[3]:14d} {total[4]:14d}")
    lines.append(f"vendors contradict one another, or us, in {sum(bool(c.disagreement) for c in CASES)} cases:")
    lines.extend(f"  {c.claim} / {c.owner}: {c.disagreement}" for c in CASES if c.disagreement)
    if failures:
        lines.append("not conforming:")
        lines.extend(failures)
    return "\n".join(lines)


if __name__ == "__main__":
    print(render())
