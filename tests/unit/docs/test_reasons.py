"""docs/reference/reasons.md has every reason that the code can give, with a sentence and what to do."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from typing import get_args

import pytest

from titleholder.domain import reviews
from titleholder.domain.remedies import BY_REASON
from titleholder.matching import DEFAULT_POLICY, MATCHER_VERSION
from titleholder.matching.explanations import SENTENCES, explain
from titleholder.services import linked_accounts, relinking
from tools.reference import FOLDER, ROOT
from tools.reference.reasons import COMPARED, NOT_GIVEN, REMEDIES, WITHOUT_A_COMPARISON, Compared, verdict_reasons

PACKAGE = ROOT / "layers" / "titleholder" / "python" / "titleholder"
PAGE = (FOLDER / "reasons.md").read_text()

OTHER_CODES = {
    # A reviewer's reasons, and why a review ended without one.
    *reviews.SENTENCES, *reviews.CLOSED_SENTENCES,
    # What a word of an account's title says of the name beside it, and how two words agree.
    "BASE", "CARE", "CUST", "DATED", "EXEC", "JOINT", "MINOR", "TTEE", "HARD", "NEAR", "SIMILAR", "WEAK",
    # The codes of other schemes, the names of attributes, and those of Unicode, AWS, environment variables and keys in the table.
    "AWS_ENDPOINT_URL", "ANNM", "CMTC", "MBAM", "MTCH", "NMTC", "NOAP", "DEFAULT_POLICY", "MATCHER_VERSION", "NFKC", "NFKD", "RUNNING",
    "SUCCEEDED", "VERIFICATION",
}  # fmt: skip
"""Texts in capital letters that are no reasons of a verdict. A text that is in neither list makes the test below fail."""


@cache
def codes_in_the_code() -> set[str]:
    """Every text in capital letters in the packages that make verdicts, apart from the table of sentences itself."""
    paths = [path for folder in ("matching", "domain", "services", "batches") for path in (PACKAGE / folder).glob("*.py")]
    trees = [ast.parse(path.read_text()) for path in paths if path.name != "explanations.py"]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if re.fullmatch(r"[A-Z]{2,}(_[A-Z0-9]+)*", text) and len(text) > 3}


def listed(section: str) -> set[str]:
    """The codes in the tables of a section."""
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| (?:`[a-z-]+` \| )?`(\w+)`(?: \*)? \|", text, re.MULTILINE))


def test_every_reason_that_the_code_can_give_has_a_sentence() -> None:
    assert codes_in_the_code() - OTHER_CODES - set(SENTENCES) == set()


def test_every_sentence_is_of_a_reason_that_the_code_can_give() -> None:
    assert set(SENTENCES) - codes_in_the_code() == {"COUNTRY_DIFFERS"}


def test_page_has_every_reason_with_what_to_do_and_no_other() -> None:
    assert set(verdict_reasons()) == set(SENTENCES)
    assert all(todo for reason, todo in verdict_reasons().items() if reason not in NOT_GIVEN)
    assert listed("No comparison") == set(BY_REASON) | set(REMEDIES)
    assert listed("Comparisons") == set(SENTENCES) - set(BY_REASON) - set(NOT_GIVEN)
    assert set(WITHOUT_A_COMPARISON) == set(BY_REASON)


@pytest.mark.parametrize(("reason", "example"), [each for group in COMPARED.values() for each in group.items()], ids=lambda each: str(each))
def test_example_of_a_reason_has_that_reason(reason: str, example: Compared) -> None:
    verdict = example.verdict()
    assert reason in (verdict["fields"][example.field] if example.field else verdict)["reasons"]


@pytest.mark.parametrize("reason", NOT_GIVEN)
def test_reason_that_is_never_given_is_given_nowhere(reason: str) -> None:
    """A policy may name it. If the matcher begins to give it, it needs an example."""
    given = [path.name for path in (PACKAGE / "matching").glob("*.py") if f'"{reason}"' in path.read_text()]
    assert set(given) <= {"explanations.py", "account.py"}
    assert '_LOW["GIVEN_NAMES_SWAPPED"]' in (PACKAGE / "matching" / "account.py").read_text()


def test_reasons_of_recorded_verdicts_are_on_the_page() -> None:
    lines = (ROOT / "tests" / "unit" / "matching" / "recorded_verdicts.jsonl").read_text().splitlines()
    codes = {code for line in lines for code in re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)*\b", json.loads(line)["verdict"])}
    assert len(codes) > 50
    assert codes <= listed("Comparisons") | listed("No comparison")


def test_reasons_of_reviews_problems_and_marks_are_on_the_page() -> None:
    assert listed("Reviews") == {*reviews.SENTENCES, *get_args(reviews.ClosedReason)}
    assert listed("Problems") == {*get_args(linked_accounts.EmptyReason), *relinking.REASONS}
    assert listed("Verdicts that no longer hold") == {"ACCOUNT_INACTIVE", "ACCOUNT_DISCONNECTED"}


def test_reasons_of_another_party_are_marked() -> None:
    assert set(re.findall(r"^\| `(\w+)` \* \|", PAGE, re.MULTILINE)) == set(DEFAULT_POLICY.never_close)


def test_sentences_of_the_page_are_those_that_explain_gives() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)`(?: \*)? \| ([^|]+) \|", PAGE.split("## Verdicts that no longer")[0], re.MULTILINE))
    assert rows == {reason: explain(reason) for reason in SENTENCES if reason not in NOT_GIVEN}
    assert f"matcher {MATCHER_VERSION};" in PAGE
