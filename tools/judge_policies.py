"""Lets Parliament judge the policies in build/policies by AWS's own tables, and compares its findings with the answers in .parliament.yaml.

    build/scan/bin/python -m tools.judge_policies

Needs the environment of `make scan`. Exits with 1 if a finding has no answer, or if an answer has no finding.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from local.command import interruptible, no_arguments

ROOT = Path(__file__).parents[1]


def findings(folder: Path) -> list[tuple[str, str, str]]:
    """Issue, policy and detail of each finding."""
    from parliament import analyze_policy_string, enhance_finding

    found = []
    for path in sorted(folder.glob("*.json")):
        for finding in map(enhance_finding, analyze_policy_string(path.read_text(), str(path)).findings):
            found.append((str(finding.issue), path.stem, " ".join(str(finding.detail).split())))
    return found


def main() -> int:
    no_arguments("tools.judge_policies", "Judge the policies in build/policies by AWS's tables.")
    answers: list[dict[str, Any]] = yaml.safe_load((ROOT / ".parliament.yaml").read_text())
    policies = sorted((ROOT / "build" / "policies").glob("*.json"))
    used: set[int] = set()
    unanswered = []
    for issue, policy, detail in findings(ROOT / "build" / "policies"):
        fitting = [
            number
            for number, answer in enumerate(answers)
            if answer["issue"] == issue and re.fullmatch(answer["policy"], policy) and re.fullmatch(answer["detail"], detail)
        ]
        used.update(fitting)
        if not fitting:
            unanswered.append(f"{policy}: {issue} {detail[:300]}")
    unused = [
        f".parliament.yaml: no finding fits {answer['issue']} of {answer['policy']}" for at, answer in enumerate(answers) if at not in used
    ]
    print(*unanswered, *unused, sep="\n")
    print(f"parliament: {len(policies)} policies, {len(unanswered)} findings without an answer, {len(used)} answers used")
    return 1 if unanswered or unused or not policies else 0


if __name__ == "__main__":
    sys.exit(interruptible(main))
