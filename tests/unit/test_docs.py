"""The documents refer to what exists, and the index of decisions names each decision once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from titleholder import __version__
from titleholder.domain.remedies import BY_PROBLEM
from tools.reference.events import KINDS

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "local").rglob("*.md")]


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def index_rows() -> list[tuple[str, str, str, str, str]]:
    """Number, title, date and file of each decision, and which decisions replace it."""
    row = r"^\| (\d+) \| (.+) \| ([\d-]+) \| \[\w+\]\((\w+\.md)\)(?:, replaced (.+))? \|$"
    return re.findall(row, (DECISIONS / "README.md").read_text(), re.MULTILINE)


def test_index_names_each_decision_with_number_title_date_and_file() -> None:
    found = {
        (int(number), title, date, path.name)
        for path in DECISIONS.glob("*.md")
        for number, date, title in re.findall(r"^## (\d+) · ([\d-]+) · (.+)$", path.read_text(), re.MULTILINE)
    }
    index = [(int(number), title, date, name) for number, title, date, name, _ in index_rows()]
    assert set(index) == found
    assert [number for number, *_ in index] == list(range(1, len(index) + 1))


def test_index_names_the_decisions_that_others_replace() -> None:
    texts = "\n".join(path.read_text() for path in DECISIONS.glob("*.md"))
    found = {
        number: " ".join(match[1].split())
        for number, text in re.findall(r"^## (\d+) · (.+?)(?=^## |\Z)", texts, re.MULTILINE | re.DOTALL)
        if (match := re.search(r"\*Replaced\s+((?:in\s+part\s+)?by\s[^*:.]+)", text))
    }
    assert {number: by for number, *_, by in index_rows() if by} == found


def test_release_has_one_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert re.findall(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", changelog, re.MULTILINE)[0] == __version__
    assert json.loads((ROOT / "functions" / "docs" / "openapi.json").read_text())["info"]["version"] == __version__


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        linked = (document.parent / name).resolve() if name else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_paths_in_a_document_exist(document: Path) -> None:
    text = document.read_text()
    for path in re.findall(r"`((?:docs|tests|tools|local|functions|layers|statemachines|events)/[\w/.-]+\.\w+)`", text):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`(test_\w+\.py)`", text):
        assert any((ROOT / "tests").rglob(name)), name


HTML = [*re.findall(r"^```html\n(.*?)^```", "\n".join(path.read_text() for path in DOCUMENTS), re.MULTILINE | re.DOTALL)]


def breaks_bank_logins(html: str) -> str | None:
    """Why a page that opens the linking dialogue could not log in at banks that use OAuth."""
    for sandbox in re.findall(r"<iframe\b[^>]*?\ssandbox(?:=\"([^\"]*)\")?(?=[\s>])", html):
        if not {"allow-scripts", "allow-popups", "allow-popups-to-escape-sandbox"} <= set(sandbox.split()):
            return "the frame lets no window out of its sandbox"
    for tag in re.findall(r"<(?:meta|iframe|script|a)\b[^>]*>", html):
        if "no-referrer" in re.findall(r"(?:content|referrerpolicy)=\"([\w-]+)\"", tag):
            return "the page sends no Referer"
        if "cross-origin-opener-policy" in tag.lower() and "same-origin" in re.findall(r"content=\"([\w-]+)\"", tag):
            return "the page isolates its windows"
    return None


@pytest.mark.parametrize(
    "html",
    [
        '<iframe src="x" sandbox="allow-scripts allow-popups"></iframe>', '<iframe sandbox src="x"></iframe>',
        '<meta name="referrer" content="no-referrer">', '<meta http-equiv="Cross-Origin-Opener-Policy" content="same-origin">',
        '<iframe src="x" referrerpolicy="no-referrer"></iframe>',
    ],
)  # fmt: skip
def test_page_that_breaks_bank_logins_is_noticed(html: str) -> None:
    assert breaks_bank_logins(html)


def test_pages_in_the_documents_let_banks_log_in() -> None:
    assert [html for html in HTML if "<iframe" in html]
    assert [breaks_bank_logins(html) for html in HTML] == [None] * len(HTML)


def test_linking_page_has_stripes_checklist() -> None:
    text = (ROOT / "docs" / "linking.md").read_text()
    for word in ("Cross-Origin-Opener-Policy", "Referrer-Policy", "allow-popups-to-escape-sandbox", "Bank (OAuth)", "registration"):
        assert word in text


def test_remedies_of_conflicts_are_documented() -> None:
    problems = dict(re.findall(r"^\| `([a-z-]+)` \| \d+ \| ([^|]*)\|", (ROOT / "docs" / "problems.md").read_text(), re.MULTILINE))
    assert {type_: actions for type_, said in problems.items() if (actions := re.findall(r"`(\w+)`", said))} == {
        type_: list(actions) for type_, actions in BY_PROBLEM.items()
    }


def test_data_model_names_every_event_on_the_bus() -> None:
    text = (ROOT / "docs" / "data-model.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []
