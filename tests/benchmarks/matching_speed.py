"""Measures the matcher beside two peers in one process, and its import: ``python tests/benchmarks/matching_speed.py``."""

import importlib.util
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Literal

PACKAGE = pathlib.Path(__file__).parents[2] / "layers" / "titleholder" / "python"
sys.path[:0] = [str(PACKAGE), str(pathlib.Path(__file__).parents[2])]

from tests.benchmarks.figures import Figure  # noqa: E402
from titleholder.matching import match  # noqa: E402

Side = dict[str, object]
SEED = 7
ROUNDS = 5
_GIVEN = """
James Mary Robert Patricia John Jennifer Michael Linda
David Elizabeth William Barbara Richard Susan Joseph Jessica Li Ana José
Zoë
"""
_FAMILY = """
Smith Johnson Williams Brown Jones Garcia Miller Davis
Rodriguez Martinez Hernandez Lopez Gonzalez Wilson O'Brien De-la-Cruz
Nguyen
"""
GIVEN, FAMILY = _GIVEN.split(), _FAMILY.split()
# Milliseconds and pairs a second of processor time. The ratio to the standard library's string measure hardly depends on the machine or on
# what else runs there: 0.125 to 0.129 was measured.
LIMITS = {"names": 5_000, "names : difflib": 0.11, "import names": 40, "import with contacts": 80}


def pairs(count: int) -> list[tuple[Side, Side]]:
    """Return claims and owners as banks write them: order, capitals, initials, typing errors, joint titles, other people."""
    chance = random.Random(SEED)
    out: list[tuple[Side, Side]] = []
    for number in range(count):
        given, middle = chance.choice(GIVEN), chance.choice(GIVEN)
        family = chance.choice(FAMILY) + chance.choice(["", "", "s", "son", "ez"])
        other = chance.choice(GIVEN)
        typo = family[:-2] + family[-1] + family[-2]
        title = chance.choice(
            [
                f"{given} {family}", f"{family.upper()} {given.upper()} {middle[0]}", f"{family.upper()}, {given.upper()}",
                f"{given[0]} {family}",
                f"{given} {typo}", f"{other} {family}", f"{given} {chance.choice(FAMILY)}",
                f"{given.upper()} & {other.upper()} {family.upper()}",
                f"{given.upper()} {family.upper()} TTEE {family.upper()} FAMILY TRUST",
            ]
        )  # fmt: skip
        claim: Side = {"given": given, "middle": middle, "family": family}
        owner: Side = {"name": title, "raw_address": f"{number} Main Street Apt {number % 9}, Springfield, IL 62701"}
        out.append((claim, owner))
    return out


def plain(claim: Side) -> str:
    """Return a claim's name as one text, as the peers take it."""
    return " ".join(str(claim[k]) for k in ("given", "middle", "family"))


def peers() -> list[tuple[str, Callable[[Side, Side], float]]]:
    """Return string measures to compare with: the installed ones, and last the standard library's."""
    out: list[tuple[str, Callable[[Side, Side], float]]] = []
    if importlib.util.find_spec("rapidfuzz"):
        from rapidfuzz import fuzz

        out.append(("rapidfuzz token_sort", lambda c, o: fuzz.token_sort_ratio(plain(c).lower(), str(o["name"]).lower())))
    if importlib.util.find_spec("jellyfish"):
        import jellyfish

        out.append(("jellyfish Jaro-Winkler", lambda c, o: jellyfish.jaro_winkler_similarity(plain(c).lower(), str(o["name"]).lower())))
    out.append(("difflib ratio", lambda c, o: SequenceMatcher(None, plain(c).lower(), str(o["name"]).lower()).ratio()))
    return out


def rate(compare: Callable[[Side, Side], object], sample: list[tuple[Side, Side]]) -> float:
    """Return pairs a second of processor time, the best of some rounds: what others run on the machine at the time is not ours."""
    speeds = []
    size = len(sample) // ROUNDS
    for start in range(0, size * ROUNDS, size):
        part = sample[start : start + size]
        began = time.process_time()
        for claim, owner in part:
            compare(claim, owner)
        speeds.append(len(part) / (time.process_time() - began))
    return max(speeds)


def import_milliseconds(code: str) -> float:
    """Return the processor time a fresh interpreter needs for ``code``, the least of some runs, with byte-code as in a layer."""
    with tempfile.TemporaryDirectory() as cache:
        program = f"import sys,time;sys.path.insert(0,{str(PACKAGE)!r});t=time.process_time();{code};print((time.process_time()-t)*1000)"
        # The standard library keeps its own byte-code; ours is compiled into a place that is thrown away.
        compiled = pathlib.Path(cache) / "python"
        subprocess.run(["cp", "-r", str(PACKAGE), str(compiled)], check=True)
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(compiled / "titleholder")], check=True)
        program = program.replace(str(PACKAGE), str(compiled))
        command = [sys.executable, "-c", program]
        times = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(7)]
    return min(times)


def measure() -> list[Figure]:
    """The same for the common table."""
    sample = [(claim, {"name": owner["name"]}) for claim, owner in pairs(10_000)]
    ours = rate(match, sample)
    figures = [Figure("matching", "names", ours, "pairs/s", (">=", float(LIMITS["names"])), "processor time, best of five rounds")]
    for name, compare in peers():
        goal: tuple[Literal[">="], float] | None = (">=", LIMITS["names : difflib"]) if name.startswith("difflib") else None
        figures.append(Figure("matching", f"names : {name}", ours / rate(compare, sample), "", goal))
    alone = import_milliseconds("from titleholder.matching import match")
    figures.append(Figure("matching", "import, names alone", alone, "ms", ("<=", float(LIMITS["import names"]))))
    return figures


def main() -> int:
    """Print the table; return 1 when a limit is missed."""
    sample = pairs(10_000)
    names_only = [(claim, {"name": owner["name"]}) for claim, owner in sample]
    ours = rate(match, names_only)
    print(f"{'matcher':28s} {'pairs/s':>10s} {'ours : theirs':>14s}")
    print(f"{'titleholder, names':28s} {ours:10,.0f} {'1':>14s}")
    addressed = [
        ({**claim, "address": f"{index} Main St #{index % 9}, Springfield, IL 62701"}, owner) for index, (claim, owner) in enumerate(sample)
    ]
    with_address = rate(match, addressed)
    print(f"{'titleholder, with address':28s} {with_address:10,.0f} {with_address / ours:14.2f}")
    ratio = 0.0
    for name, compare in peers():
        speed = rate(compare, names_only)
        ratio = ours / speed
        print(f"{name:28s} {speed:10,.0f} {ours / speed:14.3f}")
    alone = import_milliseconds("from titleholder.matching import match")
    everything = import_milliseconds("from titleholder.matching import match;from titleholder.matching import addresses, phones, emails")
    empty = import_milliseconds("import re, typing")
    print(f"{'import, names alone':28s} {alone:7.1f} ms (limit {LIMITS['import names']}; re and typing alone {empty:.1f})")
    print(f"{'import, with contacts':28s} {everything:7.1f} ms (limit {LIMITS['import with contacts']})")
    late = any(
        (
            ours < LIMITS["names"],
            ratio < LIMITS["names : difflib"],
            alone > LIMITS["import names"],
            everything > LIMITS["import with contacts"],
        )
    )
    print("limits: " + ("missed" if late else "kept"))
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
