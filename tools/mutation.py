"""Mutation testing: whether the unit tests of the pure modules notice a change of their code.

    python -m tools.mutation --sample 200 --seed 1 --only 'domain.*'

mutmut makes the mutants and runs, for each, the unit tests that reach the changed function, in a fork of one process. It changes what is
inside functions; constants of a module are not changed. The modules of the matcher have thousands of mutants, so of those a sample is
drawn; the others are tried completely. A survivor has to be listed with its reason in `tests/mutation/survivors.toml`: one that is not
listed fails the run.

An interrupted run is continued if neither the sources nor the tests have changed since. The mutants with the cheapest tests are tried
first, as many at once as there are processors. `--patience` is for a machine that is busy with other work: how many times longer than
without a mutant its tests may take.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from local.command import CommandError, interruptible

ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / "build" / "mutation"
BEGUN = STAGE / "begun.json"
"""The mutants that a run tries. mutmut stores the result of each beside it."""

SURVIVORS = ROOT / "tests" / "mutation" / "survivors.toml"
LEAST_SCORE = 0.95
"""The least score of each module that is tried completely, and of the matcher's modules together. It may only rise."""

WHOLE = {
    "domain.rate": "tests/unit/test_rate_limiter.py",
    "domain.refresh_policy": "tests/unit/test_refresh_policy.py",
    "domain.reviews": "tests/unit/test_reviews.py",
    "services.rate_limiter": "tests/unit/test_rate_limiter.py",
    "stripe_api.signatures": "tests/unit/test_signatures.py",
}
"""Modules of which every mutant is tried, and their tests."""

SAMPLED = "matching."
MATCHER_TESTS = "tests/unit/matching"
WITHOUT = ("matching.nicknames", "matching.weights")
"""Modules that hold data."""

PROGRESS_SECONDS = 60

KILLED = (1, 3, 24, -24, 36, 152)
"""mutmut's codes for a test run that failed and for one that did not end in time."""

NOT_RUN = (None, 255)
"""Its codes for tests that were not run, or that pytest did not find."""

CONFIGURATION = """\
[mutmut]
source_paths = src/titleholder
only_mutate =
    {modules}
do_not_mutate =
    {without}
pytest_add_cli_args_test_selection =
    {tests}
pytest_add_cli_args =
    --noconftest
    -pno:cacheprovider
    -p_hypothesis_pytestplugin
    -ptests.mutation.cheap_first
    --hypothesis-profile=ci
    --ignore=tests/unit/matching/test_properties.py
process_isolation = forkserver
timeout_multiplier = {patience}
use_git_change_detection = false
"""
"""Hypothesis's profile repeats the same examples in every run and stores none. A fork server is used, because a fork of a process that has
run tests would inherit what they left in caches. The matcher's properties take seconds, and start interpreters. No fixture of a conftest.py
is needed."""

Change = tuple[str, str, str]
"""A function with its module, such as `domain.rate.increased`; the lines before and after. Unlike mutmut's numbers, it survives edits."""


@dataclass(frozen=True)
class Mutant:
    name: str
    module: str
    change: Change


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", default="200", help="how many mutants of the matcher to try, or all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--only", default="*", help="modules, such as domain.* or matching.names")
    parser.add_argument("--patience", type=int, default=4, help="how many times longer than without a mutant its tests may take")
    options = parser.parse_args()

    if options.sample != "all" and not (options.sample.isdigit() and int(options.sample)):
        raise CommandError(f"--sample: {options.sample} is neither a whole number above 0 nor all")
    modules = [module for module in _modules() if fnmatch(module, options.only)]
    if not modules:
        raise CommandError(f"There is no module {options.only}.")
    of = fingerprint(modules, options.sample, options.seed)
    if (known := _begun(of)) is None:
        _stage(modules, options.patience)
        known = _make_mutants(modules)
    matcher = [mutant for mutant in known if mutant.module.startswith(SAMPLED)]
    sample = matcher if options.sample == "all" else drawn(matcher, int(options.sample), options.seed)
    chosen = [mutant for mutant in known if not mutant.module.startswith(SAMPLED)] + sample
    print(f"{len(chosen)} mutants, among them {len(sample)} of the matcher's {len(matcher)} (seed {options.seed}).", flush=True)
    if not BEGUN.exists():
        _leave_only(chosen)
        BEGUN.write_text(json.dumps({"fingerprint": of, "known": [[mutant.name, mutant.module, mutant.change] for mutant in known]}))
    survivors = _try(chosen)

    reasons = _listed()
    red = _report_scores(chosen, survivors, reasons)
    if sample and len(sample) < len(matcher):
        killed = len(sample) - sum(mutant.module.startswith(SAMPLED) for mutant in survivors)
        low, high = interval(killed, len(sample))
        print(f"Of all the matcher's mutants, {low:.1%} to {high:.1%} would be killed (95 % confidence).")
    red += [f"New survivor {mutant.name}:\n{_entry(mutant)}" for mutant in survivors if mutant.change not in reasons]
    made, alive = {mutant.change for mutant in known}, {mutant.change for mutant in survivors}
    for change in reasons:
        if change not in made and any(change[0].startswith(f"{module}.") for module in modules):
            red.append(f"Listed, but no mutant any more: {change}")
    for change in {mutant.change for mutant in chosen} & reasons.keys() - alive:
        print(f"Listed, but killed: {change}")
    if red:
        raise SystemExit("\n" + "\n".join(red))


def _modules() -> list[str]:
    found = (f"matching.{path.stem}" for path in sorted((PACKAGE / "matching").glob("*.py")) if path.stem != "__init__")
    return [*WHOLE, *(module for module in found if module not in WITHOUT)]


def fingerprint(modules: Iterable[str], *options: object) -> str:
    """A digest of everything that a run's results depend on: sources, tests, and what is tried."""
    modules = list(modules)
    files = {*PACKAGE.rglob("*.py"), Path(__file__), ROOT / "requirements-mutation.txt"}
    for tests in {ROOT / WHOLE.get(module, MATCHER_TESTS) for module in modules}:
        files |= {path for path in tests.rglob("*") if path.is_file() and path.suffix != ".pyc"} if tests.is_dir() else {tests}
    found = hashlib.sha256(repr((modules, options)).encode())
    for path in sorted(files):
        found.update(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _begun(of: str) -> list[Mutant] | None:
    """The mutants of an interrupted run, if it tried the same."""
    if not BEGUN.exists():
        return None
    begun = json.loads(BEGUN.read_text())
    if begun["fingerprint"] != of:
        return None
    os.chdir(STAGE)
    return [Mutant(name, module, (change[0], change[1], change[2])) for name, module, change in begun["known"]]


PACKAGE = ROOT / "layers" / "titleholder" / "python" / "titleholder"
STAGED = {"src": "layers/titleholder/python", "tests": "tests", "pyproject.toml": "pyproject.toml"}


def _stage(modules: list[str], patience: int) -> None:
    """Lay out the sources as mutmut expects them: it takes a module's name from its path below `src`."""
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(parents=True)
    for name, target in STAGED.items():
        (STAGE / name).symlink_to(ROOT / target)
    tests = sorted({WHOLE.get(module, MATCHER_TESTS) for module in modules})
    paths, without = ("\n    ".join(f"src/titleholder/{module.replace('.', '/')}.py" for module in some) for some in (modules, WITHOUT))
    (STAGE / "setup.cfg").write_text(CONFIGURATION.format(modules=paths, without=without, tests="\n    ".join(tests), patience=patience))


def _make_mutants(modules: list[str]) -> list[Mutant]:
    os.chdir(STAGE)
    from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants
    from mutmut.mutation.data import MutantLineSpans, SourceFileMutationData
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    with (STAGE / "log").open("w") as log, redirect_stdout(log):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(os.cpu_count() or 1)
    found = []
    for path in walk_mutatable_files():
        spans = MutantLineSpans.load(path)
        data = SourceFileMutationData(path=path)
        data.load()
        if spans is None:
            continue
        lines = (Path("mutants") / path).read_text().splitlines()
        for name in data.exit_code_by_key:
            module, _, short = name.removeprefix("titleholder.").rpartition(".")
            function, class_name = orig_function_and_class_names_from_key(name)
            versions = []
            for version in (short.rpartition("_")[0] + "_orig", short):
                span = spans.span_by_function_name[version]
                versions.append([line.strip().replace(version, function) for line in lines[span.start - 1 : span.end]])
            found.append(Mutant(name, module, (".".join(filter(None, (module, class_name, function))), *difference(*versions))))
    return found


def difference(before: list[str], after: list[str]) -> tuple[str, str]:
    """The lines in which two versions of a function differ."""
    while before and after and before[0] == after[0]:
        before, after = before[1:], after[1:]
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    return "\n".join(before), "\n".join(after)


def drawn(mutants: Iterable[Mutant], count: int, seed: int) -> list[Mutant]:
    """A sample that the seed determines. A change of other code does not move a mutant into or out of the sample."""
    return sorted(mutants, key=lambda mutant: hashlib.sha256(f"{seed}{mutant.change}".encode()).digest())[:count]


def _leave_only(chosen: list[Mutant]) -> None:
    """Remove the other mutants from mutmut's output: thousands of functions, whose memory every fork would copy."""
    names = {mutant.name.rpartition(".")[2] for mutant in chosen}
    functions = {name.rpartition("_")[0] for name in names}
    for path in (STAGE / "mutants" / "src").rglob("*.spans"):
        source = path.with_suffix("")
        lines = source.read_text().splitlines(keepends=True)
        for name, (first, last) in json.loads(path.read_text())["spans"].items():
            if name not in names and not name.endswith("_orig"):
                lines[first - 1 : last] = [""] * (last - first + 1)
        kept = []
        for line in lines:
            registered, called = re.match(r"mutants_\w+\['(x\w+)'\] = ", line), re.match(r" *@_mutmut_mutated\(mutants_(\w+)", line)
            if (not registered or registered[1] in names) and (not called or called[1] in functions):
                kept.append(line)
        source.write_text("".join(kept))


def _try(chosen: list[Mutant]) -> list[Mutant]:
    """The mutants that survive."""
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(os.cpu_count() or 1)]
    untried = [mutant.name for mutant in chosen if _codes()[mutant.name] in NOT_RUN]
    failed = False
    if untried:
        with (STAGE / "log").open("a") as log:
            environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            run = subprocess.Popen(
                [*command, *untried], cwd=STAGE, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            # Ended by SIGTERM, Python would leave mutmut running.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
            try:
                while run.poll() is None:
                    _show_progress(chosen)
                    with suppress(subprocess.TimeoutExpired):
                        run.wait(PROGRESS_SECONDS)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGTERM)
                failed = run.wait() != 0
    codes = _codes()
    untried = [mutant.name for mutant in chosen if codes[mutant.name] in NOT_RUN]
    if failed or untried:
        print((STAGE / "log").read_text()[-4000:])
        raise SystemExit(f"mutmut did not try {len(untried)} mutants, such as {untried[:3]}. Its output is above.")
    return [mutant for mutant in chosen if codes[mutant.name] not in KILLED]


def _codes() -> dict[str, int | None]:
    """mutmut's code for each mutant."""
    codes: dict[str, int | None] = {}
    for meta in (STAGE / "mutants" / "src").rglob("*.meta"):
        with suppress(ValueError):  # It is being written.
            codes.update(json.loads(meta.read_text())["exit_code_by_key"])
    return codes


def _show_progress(chosen: list[Mutant]) -> None:
    codes = _codes()
    tried = [codes[mutant.name] for mutant in chosen if codes.get(mutant.name) not in NOT_RUN]
    print(f"{len(tried)} of {len(chosen)} are tried, {sum(code not in KILLED for code in tried)} survive.", flush=True)


def _listed() -> dict[Change, bool]:
    """Whether a listed survivor is equivalent, by change."""
    entries = tomllib.loads(SURVIVORS.read_text()).get("survivor", [])
    return {(entry["function"], entry["before"], entry["after"]): entry.get("equivalent", True) for entry in entries}


def _report_scores(chosen: list[Mutant], survivors: list[Mutant], reasons: dict[Change, bool]) -> list[str]:
    """Print the table. Return what is too low: an equivalent mutant counts neither as killed nor as tried."""
    tried, alive = (Counter(mutant.module for mutant in mutants) for mutants in (chosen, survivors))
    equivalent = Counter(mutant.module for mutant in survivors if reasons.get(mutant.change))
    groups = {module: [module] for module in sorted(tried)}
    groups["matching"] = [module for module in groups if module.startswith(SAMPLED)]
    red = []
    print(f"\n{'module':24}{'mutants':>8}{'killed':>8}{'score':>8}{'equivalent':>12}{'score without':>15}")
    for label, modules in groups.items():
        total, lived, even = (sum(counts[module] for module in modules) for counts in (tried, alive, equivalent))
        if not total:
            continue
        score = (total - lived) / max(1, total - even)
        print(f"{label:24}{total:8}{total - lived:8}{(total - lived) / total:8.1%}{even:12}{score:15.1%}")
        if score < LEAST_SCORE and not label.startswith(SAMPLED):
            red.append(f"{label}: less than {LEAST_SCORE:.0%} are killed.")
    return red


def interval(killed: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a share."""
    z, share = 1.96, killed / total
    centre, half = share + z * z / (2 * total), z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (centre - half) / (1 + z * z / total), (centre + half) / (1 + z * z / total)


def _entry(mutant: Mutant) -> str:
    """What to add to the list."""
    parts = zip(("function", "before", "after"), mutant.change, strict=True)
    return "\n".join(["[[survivor]]", *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in parts), 'reason = ""', ""])


if __name__ == "__main__":
    sys.exit(interruptible(main))
