"""A change of the matcher is not released under the version of another one, because each verdict stores the version that gave it.

The digest covers what decides a verdict: code without comments and docstrings, and the list of names. After a change:

    python -m tests.unit.matching.test_version
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from pathlib import Path

from titleholder import matching
from titleholder.matching import MATCHER_VERSION

RECORD = Path(__file__).with_name("matcher_digest.txt")
PACKAGE = Path(matching.__file__).parent
NOT_IN_VERDICTS = {"__init__.py", "explanations.py", "mappings.py", "version.py"}


def code(text: str) -> str:
    """A module without comments, docstrings and white space."""
    lines = text.splitlines()
    comments = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT]
    for token in comments:
        row, column = token.start
        lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for row in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[row] = ""
    return "".join("".join(lines).split())


def digest() -> str:
    found = hashlib.sha256()
    for path in sorted(PACKAGE.glob("*")):
        if path.suffix == ".py" and path.name not in NOT_IN_VERDICTS:
            found.update(f"{path.name}\n{code(path.read_text())}\n".encode())
        elif path.suffix == ".txt":
            found.update(path.read_bytes())
    return found.hexdigest()[:32]


def test_matcher_is_the_one_that_was_recorded_with_its_version() -> None:
    assert RECORD.read_text().split() == [MATCHER_VERSION, digest()], (
        "The matcher has changed. If a verdict may change for any pair, and MATCHER_VERSION is a release's, raise it (CONTRIBUTING.md, "
        "Conventions). Then run python -m tests.unit.matching.test_version"
    )


def test_words_of_comments_and_docstrings_are_not_in_the_digest() -> None:
    plain = 'A = {"bob": "robert"}\n\ndef f(): return f"# {A}"\n'
    spoken = '"""A module."""\n\nA = {"bob": "robert"}  # names\n"""What A is."""\n\ndef f():\n    """Says so."""\n    return f"# {A}"\n'
    assert code(plain) == code(spoken)
    assert code(plain) != code(plain.replace("bob", "rob"))


if __name__ == "__main__":
    RECORD.write_text(f"{MATCHER_VERSION} {digest()}\n")
