"""Trains the matcher's weights for people's names and contacts from labelled pairs, and cross-validates them.

    python tools/matching/train.py PAIRS [--write] [--folds 5] [--ridge 3.0]

PAIRS is a file of JSON lines with ``kind``, ``claimed``, ``owner``, ``match``, ``source`` and ``tags``; it stays where it is. The model
is a logistic regression over the levels at which names agree (Fellegi and Sunter's table of weights, fitted jointly), with a ridge
towards hand-set weights, so that a level that is rare in the pairs keeps the weight that was set by hand. Folds are grouped by entity:
pairs that share a name on either side, directly or through other pairs, are in the same fold. Everything is deterministic under the seed.
"""

import argparse
import collections
import itertools
import json
import math
import pathlib
import random
import re
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "layers" / "titleholder" / "python"), str(ROOT)]

from local.command import interruptible, readable  # noqa: E402
from titleholder.matching import compare, contacts, names, ranking, weights  # noqa: E402
from titleholder.matching.text import fold  # noqa: E402

SEED = 20250101
ROUNDS = 3

# The weights before any pair is seen, set by hand as a bank's clerk would judge. The fit is pulled towards them.
PRIOR: dict[str, float] = {
    "BASE": -3.0,
    "G_SAME": 3.0, "G_INITIALS": 1.5, "G_INITIAL": 1.5, "G_INITIAL_DIFFERS": -4.0, "G_SCRIPT": -2.0, "G_DIFFERS": -5.0,
    "G_DIFFERS_SAME_INITIAL": -4.0, "G_SPELLING": 2.5, "G_NICKNAME": 2.5, "G_COUSIN": 0.5,
    "G_NICKNAME_TYPO": 1.5, "G_BYNAME": -1.0, "G_OTHER": -2.0, "G_TYPO": 2.0,
    "G_TYPO_FIRST": 0.5,
    "G_TYPO_SHORT": 1.0, "G_SOUND": 1.5, "G_PREFIX": 1.5, "G_TYPO_2": 1.0, "G_TYPO_2_SHORT": -0.5, "G_ALIKE": 0.0, "G_ALIKE_LESS": -1.0,
    "G_MISSING": -1.0, "G_GLUED": 2.5, "G_MIDDLE": 1.0, "G_MIDDLE_INITIAL": 2.0, "G_MIDDLE_FORM": 0.5,
    "F_SAME": 3.0, "F_GLUED": 3.0, "F_PARTICLE": 2.5, "F_INITIAL": 0.0, "F_DIFFERS": -4.5, "F_SCRIPT": -2.0, "F_PART": 2.0,
    "F_PART_EACH": 1.0,
    "F_SOUND": 2.0, "F_SOUND_FAR": 0.5, "F_TYPO": 2.0, "F_TYPO_SHORT": 1.0, "F_CUT": 1.0,
    "F_CUT_EARLY": -0.5, "F_TYPO_2": 1.0, "F_TYPO_2_SHORT": -1.0,
    "F_PART_ALIKE": 0.5, "F_ALIKE": -0.5, "F_ALIKE_LESS": -2.0, "F_MISSING": -1.0, "F_MAIDEN": 0.0, "F_FORM": 2.0, "F_NEAR": 0.0,
    "M_NONE": 0.0, "M_ONE": 0.0, "M_ONE_INITIAL": 0.0, "M_SAME": 1.5, "M_INITIAL": 0.8, "M_FORM": 0.8, "M_INITIAL_DIFFERS": -3.0,
    "M_DIFFERS": -4.0, "M_USED": 0.0,
    "S_NONE": 0.0, "S_SAME": 0.5, "S_ONE": -0.3, "S_NEAR": -0.5, "S_CONFLICT": -3.0,
    "O_SAME": 0.0, "O_SWAPPED": -0.3,
    "C_PLAIN": 0.0, "C_JOINT": 0.0, "C_SHARED": -0.3, "C_TRUST": 0.0, "C_BENEFIT": -0.5, "C_HOUSE": -1.0, "C_BENEFICIARY": -4.0,
    "C_CUSTODIAN": 0.0, "C_MINOR": -0.5, "C_ESTATE": -0.5, "C_ALIAS": -0.3, "C_GLUED": 0.0,
    "C_EXECUTOR": -0.5, "C_PARENT": -1.0, "C_HARD_TRUST": 0.0,
    "X_BOTH_FUZZY": -0.5, "X_BOTH_DIFFER": 0.0, "X_SWAPPED_FUZZY": -0.5, "X_INITIAL_FUZZY": -1.0, "X_MIDDLE_HELPS": -0.3,
    "X_MIDDLE_HURTS": 0.0,
    "A_SAME": 3.0, "A_NEAR": 2.0, "A_PART": 0.0, "A_DIFFERS": -0.7, "A_TOWN": 0.7, "A_TOWN_DIFFERS": -0.7,
    "P_SAME": 3.0, "P_DIFFERS": -0.5, "E_SAME_BOX": 3.0, "E_NEAR_BOX": 1.5, "E_OTHER_BOX": -0.5,
}  # fmt: skip


# Reference levels, and levels without a weight: a missing field neither helps nor hurts, and a guessed order never helps. Whether another
# given name or another surname weighs more is also set by hand, because in the pairs it only shows how a source chose its strangers. A
# surname changes with a marriage, a given name hardly ever.
FIXED = frozenset(
    ("M_NONE", "M_ONE", "M_ONE_INITIAL", "M_USED", "S_NONE", "O_SAME", "O_SWAPPED", "X_SWAPPED_FUZZY", "C_PLAIN", "X_BOTH_DIFFER",
     "G_DIFFERS", "G_DIFFERS_SAME_INITIAL", "G_INITIAL_DIFFERS", "F_DIFFERS")
)  # fmt: skip


# A closer level never counts for less: of two neighbouring levels, the left one has at least the weight of the right one. If typing errors
# have more weight than equal names in some set of pairs, that is an artefact of the set. It would rank Mark Smiht above Mark Smith.
RISING = (
    "G_SAME G_SPELLING G_NICKNAME G_COUSIN G_BYNAME G_DIFFERS", "G_NICKNAME G_NICKNAME_TYPO G_COUSIN", "G_SAME G_GLUED",
    "G_SAME G_TYPO G_TYPO_SHORT G_TYPO_FIRST G_ALIKE", "G_TYPO G_TYPO_2 G_TYPO_2_SHORT G_ALIKE G_ALIKE_LESS G_OTHER G_DIFFERS",
    "G_SPELLING G_SOUND G_ALIKE", "G_SAME G_PREFIX G_ALIKE", "G_OTHER G_DIFFERS_SAME_INITIAL G_DIFFERS",
    "G_SAME G_INITIAL G_MISSING G_INITIAL_DIFFERS", "G_INITIAL G_INITIALS", "G_SAME G_MIDDLE_INITIAL G_MIDDLE G_MIDDLE_FORM G_DIFFERS",
    "F_SAME F_GLUED F_PARTICLE", "F_SAME F_FORM F_NEAR F_DIFFERS", "F_SAME F_TYPO F_TYPO_SHORT F_TYPO_2_SHORT",
    "F_TYPO F_TYPO_2 F_TYPO_2_SHORT F_ALIKE F_ALIKE_LESS F_DIFFERS",
    "F_SAME F_SOUND F_SOUND_FAR F_ALIKE", "F_SAME F_PART F_PART_EACH F_PART_ALIKE F_ALIKE_LESS", "F_SAME F_CUT F_CUT_EARLY F_DIFFERS",
    "M_SAME M_INITIAL M_NONE", "M_SAME M_FORM M_NONE M_INITIAL_DIFFERS M_DIFFERS", "S_SAME S_NONE S_ONE S_CONFLICT", "S_NEAR S_CONFLICT",
    "A_SAME A_NEAR A_PART A_DIFFERS", "A_SAME A_TOWN A_TOWN_DIFFERS", "E_SAME_BOX E_NEAR_BOX E_OTHER_BOX", "P_SAME P_DIFFERS",
)  # fmt: skip
PAIRS_RISING = tuple(pair for chain in RISING for pair in itertools.pairwise(chain.split()))
# The share of the hand-set gap that is kept for any pairs.
KEPT = 0.25
# The penalty for breaking that rule: large enough that the remaining error is lost in rounding.
FIRM = 1e4


class Row:
    """One labelled pair of people: the levels of all readings, and those of the contacts."""

    __slots__ = ("contacts", "group", "label", "pair", "readings", "source")

    def __init__(self, label: bool, readings: list[tuple[str, ...]], contacts: tuple[str, ...], source: str, pair: dict[str, Any]) -> None:
        self.label, self.readings, self.contacts, self.source, self.pair = label, readings, contacts, source, pair
        self.group = 0

    @property
    def slice(self) -> str:
        """The part of the figures that the row counts for."""
        return "names" if self.pair["kind"] == "name" else "individuals"


def readings_of(claim: dict[str, Any], owner: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the distinct levels of all pairs of readings."""
    held = compare.read_owner(owner).title
    found: dict[tuple[str, ...], None] = {}
    memo = names.Memo()
    for one in compare.read(claim).names:
        for mine in one.title.parties[:1]:
            for party in held.parties:
                for levels in ranking.every_comparison(mine, party, memo):
                    found[levels] = None
    return list(found)


def load(path: str) -> list[Row]:
    """Read the pairs of people; group those that share a name or an owner."""
    rows: list[Row] = []
    keys: list[tuple[str, str]] = []
    for line in pathlib.Path(path).read_text(encoding="utf8").splitlines():
        pair = json.loads(line)
        if pair["kind"] not in ("name", "person") or "business" in pair["tags"] or pair.get("suite") == "stress":
            continue
        claim, owner = pair["claimed"], pair["owner"]
        if not owner.get("name"):
            continue
        readings = readings_of(claim, owner)
        if not readings:
            continue
        agreeing = contacts.contact_levels(contacts.compare_contacts(claim, owner)) if pair["kind"] == "person" else ()
        rows.append(Row(bool(pair["match"]), readings, agreeing, pair["source"], pair))
        mine = " ".join(str(claim.get(k) or "") for k in ("given", "middle", "family", "suffix", "name"))
        keys.append(
            (
                pair["source"] + ":" + re.sub(r"\W+", " ", fold(mine)).strip(),
                pair["source"] + ":" + re.sub(r"\W+", " ", fold(owner["name"])).strip(),
            )
        )
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[str, int] = {}
    for index, pair_keys in enumerate(keys):
        for key in pair_keys:
            if key in seen:
                parent[root(index)] = root(seen[key])
            else:
                seen[key] = index
    for index, row in enumerate(rows):
        row.group = root(index)
    return rows


def best(row: Row, table: dict[str, float]) -> tuple[str, ...]:
    """Return the levels of the reading that is the strongest evidence for a match."""
    return max(row.readings, key=lambda levels: sum(table.get(level, 0.0) for level in levels))


def active(row: Row, table: dict[str, float]) -> list[str]:
    """Return the levels of a row as the matcher would count them: contacts do not count for a wrong name."""
    levels = best(row, table)
    out = ["BASE", *levels]
    if not wrong(levels):
        out.extend(row.contacts)
    return out


def wrong(levels: tuple[str, ...]) -> bool:
    """Return whether the levels are those of another person's name."""
    return levels[0] in ("G_DIFFERS", "G_DIFFERS_SAME_INITIAL", "G_INITIAL_DIFFERS", "G_OTHER", "G_SCRIPT") or levels[1] in (
        "F_DIFFERS", "F_ALIKE_LESS", "F_SCRIPT",
    ) or levels[3] == "S_CONFLICT" or (
        levels[0] in ("G_ALIKE", "G_ALIKE_LESS", "G_BYNAME") and levels[2] in ("M_DIFFERS", "M_INITIAL_DIFFERS")
    )  # fmt: skip


def fit(rows: list[Row], ridge: float) -> dict[str, float]:
    """Fit the weights by Newton's method. Each row's best reading is chosen again between rounds."""
    table = dict(PRIOR)
    for _ in range(ROUNDS):
        samples = [(active(row, table), row.label) for row in rows]
        table = newton(samples, ridge)
    return table


def newton(samples: list[tuple[list[str], bool]], ridge: float) -> dict[str, float]:
    """Fit a logistic regression with a ridge towards `PRIOR`."""
    labels = sorted(set(PRIOR) | {level for levels, _ in samples for level in levels})
    index = {level: i for i, level in enumerate(labels)}
    counted = collections.Counter((tuple(sorted(index[level] for level in levels)), label) for levels, label in samples)
    prior = [PRIOR.get(level, 0.0) for level in labels]
    pull = [1e6 if level in FIXED else ridge for level in labels]
    w = list(prior)
    size = len(labels)
    rising = [(index[u], index[v], KEPT * max(0.0, PRIOR[u] - PRIOR[v])) for u, v in PAIRS_RISING]

    def loss(at: list[float]) -> float:
        total = 0.5 * sum(r * (x - y) ** 2 for r, x, y in zip(pull, at, prior, strict=True))
        total += 0.5 * FIRM * sum(max(0.0, at[j] - at[i] + gap) ** 2 for i, j, gap in rising)
        for (where, label), count in counted.items():
            z = sum(at[i] for i in where)
            z = -z if label else z
            total += count * (z + math.log1p(math.exp(-z)) if z > 0 else math.log1p(math.exp(z)))
        return total

    for _ in range(60):
        gradient = [pull[i] * (w[i] - prior[i]) for i in range(size)]
        hessian = [[0.0] * size for _ in range(size)]
        for i in range(size):
            hessian[i][i] = pull[i]
        for i, j, gap in rising:
            if (breach := w[j] - w[i] + gap) > 0:
                gradient[j] += FIRM * breach
                gradient[i] -= FIRM * breach
                hessian[i][i] += FIRM
                hessian[j][j] += FIRM
                hessian[i][j] -= FIRM
                hessian[j][i] -= FIRM
        for (where, label), count in counted.items():
            z = sum(w[i] for i in where)
            p = 1 / (1 + math.exp(-max(-30.0, min(30.0, z))))
            error = (p - label) * count
            curve = p * (1 - p) * count
            for i in where:
                gradient[i] += error
                row = hessian[i]
                for j in where:
                    row[j] += curve
        step = solve(hessian, gradient)
        before, length = loss(w), 1.0
        while length > 1e-4 and loss([a - length * b for a, b in zip(w, step, strict=True)]) > before:
            length /= 2
        w = [a - length * b for a, b in zip(w, step, strict=True)]
        if max(abs(s) for s in step) < 1e-5 or length <= 1e-4:
            break
    return dict(zip(labels, w, strict=True))


def solve(matrix: list[list[float]], vector: list[float]) -> list[float]:
    """Solve a symmetric positive definite system by elimination."""
    size = len(vector)
    m = [[*row, v] for row, v in zip(matrix, vector, strict=True)]
    for i in range(size):
        pivot = m[i][i]
        for k in range(i + 1, size):
            factor = m[k][i] / pivot
            if factor:
                row, base = m[k], m[i]
                for j in range(i, size + 1):
                    row[j] -= factor * base[j]
    out = [0.0] * size
    for i in range(size - 1, -1, -1):
        out[i] = (m[i][size] - sum(m[i][j] * out[j] for j in range(i + 1, size))) / m[i][i]
    return out


def predict(row: Row, table: dict[str, float]) -> float:
    """Return the log-odds of a row."""
    return sum(table.get(level, 0.0) for level in active(row, table))


def figures(scored: list[tuple[float, bool]]) -> str:
    """Return the area under the curve, the best F1 and the recall at 99.5 % precision."""
    scored = sorted(scored, key=lambda s: -s[0])
    positives = sum(label for _, label in scored)
    negatives = len(scored) - positives
    tp = fp = 0
    area = 0.0
    f1 = recall = 0.0
    i = 0
    while i < len(scored):
        j = i
        before = tp
        while j < len(scored) and scored[j][0] == scored[i][0]:
            tp += scored[j][1]
            fp += not scored[j][1]
            j += 1
        area += (j - i - (tp - before)) * (before + (tp - before) / 2)
        f1 = max(f1, 2 * tp / (positives + tp + fp))
        if tp / (tp + fp) >= 0.995:
            recall = max(recall, tp / positives)
        i = j
    return f"n={len(scored)} AUC={area / (positives * negatives):.4f} F1={f1:.4f} R@P99.5={recall:.3f}"


def use(table: dict[str, float]) -> None:
    """Make the matcher use the weights."""
    for target in (weights.NAME_WEIGHTS, weights.CONTACT_WEIGHTS):
        target.update(
            {key: value for key, value in table.items() if key in target or (target is weights.NAME_WEIGHTS and key[:2] not in _CONTACTS)}
        )


_CONTACTS = ("A_", "P_", "E_")


def report(title: str, scored: list[tuple[Row, float]]) -> None:
    """Print the figures of the whole, of names and individuals, and of each source."""
    print(f"{title:45s} {figures([(s, r.label) for r, s in scored])}")
    for part in ("names", "individuals"):
        chosen = [(r, s) for r, s in scored if r.slice == part]
        at = [(s >= 70, r.label, "household" in r.pair["tags"]) for r, s in chosen]
        positives, negatives = sum(y for _, y, _ in at), sum(not y for _, y, _ in at)
        recall = sum(x and y for x, y, _ in at) / max(1, positives)
        false = sum(x and not y for x, y, _ in at) / max(1, negatives)
        house = [x for x, y, h in at if h and not y]
        print(f"  {part:43s} {figures([(s, r.label) for r, s in chosen])} | at 70: recall {recall:.3f}, falsely matched {false:.4f},"
              f" of households {sum(house) / max(1, len(house)):.4f}")  # fmt: skip
    for source in sorted({r.source for r, _ in scored}):
        print(f"    {source:41s} {figures([(s, r.label) for r, s in scored if r.source == source])}")


def judged(rows: list[Row], table: dict[str, float]) -> list[tuple[Row, float]]:
    """Return the matcher's overall scores under the weights."""
    use(table)
    return [(row, compare.match(row.pair["claimed"], row.pair["owner"]).score) for row in rows]


def main() -> None:
    """Cross-validate, fit on everything, print, and write the weights if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--ridge", type=float, default=3.0)
    parser.add_argument("--write", action="store_true", help="put the fitted weights into the package")
    args = parser.parse_args()
    rows = load(str(readable(pathlib.Path(args.pairs))))
    groups = sorted({row.group for row in rows})
    random.Random(SEED).shuffle(groups)  # noqa: S311
    fold_of = {group: i % args.folds for i, group in enumerate(groups)}
    print(f"{len(rows)} pairs in {len(groups)} groups, {args.folds} folds, seed {SEED}, ridge {args.ridge}; figures of match().score")
    held_out: list[tuple[Row, float]] = []
    for number in range(args.folds):
        table = fit([row for row in rows if fold_of[row.group] != number], args.ridge)
        held_out.extend(judged([row for row in rows if fold_of[row.group] == number], table))
    report("fitted to the other folds", held_out)
    by_source: list[tuple[Row, float]] = []
    for source in sorted({row.source for row in rows}):
        table = fit([row for row in rows if row.source != source], args.ridge)
        by_source.extend(judged([row for row in rows if row.source == source], table))
    report("fitted to the other sources", by_source)
    report("set by hand", judged(rows, PRIOR))
    table = fit(rows, args.ridge)
    report("fitted to all pairs", judged(rows, table))
    counts = collections.Counter(level for row in rows for level in active(row, table))
    for level in sorted(table):
        print(f"{level:26s} {table[level]:7.2f} (by hand {PRIOR.get(level, 0.0):5.2f}) in {counts[level]} pairs")
    if args.write:
        write(table)


def write(table: dict[str, float]) -> None:
    """Put the weights into the package."""
    target = pathlib.Path(weights.__file__)
    text = target.read_text(encoding="utf8")
    contact = [k for k in table if k in weights.CONTACT_WEIGHTS]
    for name, keys in (("NAME_WEIGHTS", [k for k in table if k not in contact]), ("CONTACT_WEIGHTS", contact)):
        body = "".join(f'    "{key}": {table[key]:.2f},\n' for key in sorted(keys))
        start = text.index(f"{name}: dict[str, float] = {{")
        end = text.index("\n}", start)
        text = f"{text[:start]}{name}: dict[str, float] = {{\n{body.rstrip()}{text[end:]}"
    target.write_text(text, encoding="utf8")


if __name__ == "__main__":
    sys.exit(interruptible(main))
