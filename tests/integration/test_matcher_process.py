"""The matcher in an interpreter of its own."""

import subprocess
import sys


def test_two_people_names_load_no_module_that_they_do_not_need() -> None:
    code = (
        "import sys; from titleholder.matching import match; match({'given': 'Jane', 'family': 'Doe'}, {'name': 'JANE DOE'});"
        "print(sorted(m for m in sys.modules if m.rpartition('.')[2] in "
        "('addresses', 'phones', 'emails', 'contacts', 'businesses', 'trusts', 'capacities', 'syllables', 'ranking', 'scale', 'weights',"
        "'policy', 'verdict', 'dataclasses', 'inspect', 'json')))"
    )
    path = next(p for p in sys.path if p.replace("\\", "/").endswith("layers/titleholder/python"))
    out = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_the_same_input_gives_the_same_answer_with_any_hash_seed() -> None:
    code = (
        "from titleholder.matching import decide;"
        "print(decide({'given':'Jane','family':'Doe','address':'12 Elm St #4, Reno'},"
        "[{'name':'DOE JANE & JOHN TTEE','raw_address':'12 ELM STREET UNIT 4 RENO NV'}]).as_dict())"
    )
    path = next(p for p in sys.path if p.replace("\\", "/").endswith("layers/titleholder/python"))
    answers = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(answers) == 1
