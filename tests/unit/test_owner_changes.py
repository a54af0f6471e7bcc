"""What changed from one snapshot's owners to the next: by kind and position, for any order and spelling."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titleholder import matching
from titleholder.domain import owner_changes, owner_names
from titleholder.domain.owner_changes import Change, are_others, between, have_changed
from titleholder.domain.snapshots import MAX_OWNERS, SnapshotSummary
from titleholder.matching.text import fold

ANNE = {"id": "o1", "name": "MARGARET ANNE TESTERMAN", "email": "m@example.com", "phone": "+1 555 555 0101",
        "raw_address": "100 EXAMPLE ST APT 4, SPRINGFIELD, IL 62701"}  # fmt: skip
BOB = {"id": "o2", "name": "ROBERT SAMPLEWELL", "email": "b@example.com", "phone": "+1 555 555 0102",
       "raw_address": "7 SAMPLE ROAD, SPRINGFIELD, IL 62701"}  # fmt: skip
ELSEWHERE = "9 OTHER AVE, PORTLAND, OR 97201"


def new(owner: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The owner as a later snapshot has it: maybe under another id."""
    return {**owner, "id": f"{owner['id']}-later", **changed}


CASES: dict[str, tuple[list[Any], list[Any], list[Change]]] = {
    "nothing": ([ANNE, BOB], [new(ANNE), new(BOB)], []),
    "another order": ([ANNE, BOB], [new(BOB), new(ANNE)], []),
    "another spelling": (
        [ANNE],
        [new(ANNE, name="Margaret  Anne Testerman.", phone="(555) 555-0101", raw_address="100 Example Street #4 Springfield IL 62701")],
        [],
    ),
    "added": ([ANNE], [new(BOB), new(ANNE)], [Change("owner_added", None, 0)]),
    "removed": ([ANNE, BOB], [new(BOB)], [Change("owner_removed", 0, None)]),
    "replaced": ([ANNE], [new(BOB)], [Change("owner_removed", 0, None), Change("owner_added", None, 0)]),
    "replaced by a relative who lives there": (
        [ANNE], [new(ANNE, name="HAROLD TESTERMAN", email=None, phone=None)],
        [Change("owner_removed", 0, None), Change("owner_added", None, 0)],
    ),
    "renamed, the name much the same": ([BOB, ANNE], [new(BOB), new(ANNE, name="MARGARET TESTERMAN")], [Change("owner_renamed", 1, 1)]),
    "renamed, told by the e-mail": ([ANNE], [new(ANNE, name="PEGGY CANARY", phone=None)], [Change("owner_renamed", 0, 0)]),
    "renamed, told by the phone": ([ANNE], [new(ANNE, name="PEGGY CANARY", email=None)], [Change("owner_renamed", 0, 0)]),
    "renamed, told by Stripe's id": ([ANNE], [{"id": "o1", "name": "PEGGY CANARY"}], [Change("owner_renamed", 0, 0)]),
    "moved": ([ANNE, BOB], [new(ANNE), new(BOB, raw_address=ELSEWHERE)], [Change("owner_moved", 1, 1)]),
    "moved within the house": (
        [ANNE], [new(ANNE, raw_address="100 EXAMPLE ST APT 5, SPRINGFIELD, IL 62701")], [Change("owner_moved", 0, 0)]
    ),
    "other e-mail": ([ANNE], [new(ANNE, email="x@example.com")], [Change("contact_changed", 0, 0)]),
    "other phone": ([ANNE], [new(ANNE, phone="+1 555 555 0199")], [Change("contact_changed", 0, 0)]),
    "other phone and e-mail are one change": (
        [ANNE], [new(ANNE, phone="+1 555 555 0199", email="x@example.com")], [Change("contact_changed", 0, 0)]
    ),
    "several of one owner": (
        [ANNE], [new(ANNE, name="MARGARET TESTERMAN", raw_address=ELSEWHERE, email="x@example.com")],
        [Change("owner_renamed", 0, 0), Change("owner_moved", 0, 0), Change("contact_changed", 0, 0)],
    ),
    "what the bank no longer gives has not changed": ([ANNE], [new(ANNE, phone=None, email="", raw_address=None)], []),
    "nor what it gives for the first time": ([{"id": "x", "name": ANNE["name"]}], [new(ANNE)], []),
    "a name that the bank no longer gives is no other name": ([ANNE], [{**ANNE, "name": None}], []),
    "told by the e-mail alone": ([ANNE], [new(ANNE, name="", phone=None)], []),
    "a placeholder is no name": ([ANNE], [{**ANNE, "name": "N/A"}], []),
    "without its name, and moved": (
        [ANNE], [{**ANNE, "name": None, "raw_address": ELSEWHERE}], [Change("owner_renamed", 0, 0), Change("owner_moved", 0, 0)]
    ),
    "without its name, and another phone": (
        [ANNE], [{**ANNE, "name": "UNKNOWN", "phone": "+1 555 555 0199"}], [Change("owner_renamed", 0, 0), Change("contact_changed", 0, 0)]
    ),
    "without its name, and unknown": (
        [ANNE], [{"id": "other", "name": None}], [Change("owner_removed", 0, None), Change("owner_added", None, 0)]
    ),
    "a name after none may be another owner's": ([{**ANNE, "name": None}], [ANNE], [Change("owner_renamed", 0, 0)]),
    "a name after a placeholder, too": ([{**ANNE, "name": "N/A"}], [ANNE], [Change("owner_renamed", 0, 0)]),
    "no name in either": (
        [{**ANNE, "name": "N/A", "phone": "+1 555 555 0199"}], [{**ANNE, "name": None}], [Change("contact_changed", 0, 0)]
    ),
    "two of one name": ([ANNE, new(ANNE)], [ANNE], [Change("owner_removed", 1, None)]),
    "no owners": ([], [], []),
    "no names": ([{"name": None}, {"name": ""}], [{"name": ""}, {"name": None}], []),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "found"), CASES.values(), ids=CASES.keys())
def test_changes(before: list[Any], after: list[Any], found: list[Change]) -> None:
    assert between(before, after) == found


SAME_NAMES = [
    ("José Lee", "JOSE LEE"), ("Dr. Ann Lee", "Ann Lee"), ("Ann Lee", "Mrs. Ann Lee"), ("Prof. Dr. Ann Lee", "Ann Lee"),
    ("Ann Lee, MD", "Ann Lee"), ("LEE, ANN", "Ann Lee"), ("Lee, Ann", "LEE ANN"), ("Ann-Marie Lee", "Ann Marie Lee"),
    ("O’Neil Bob", "ONeil Bob"), ("Æsop Møller", "Aesop Moller"), ("Иван Петров", "Ivan Petrov"), ("Ann Lee Jr.", "Ann Lee, Jr"),
    ("Dr. Ann Lee & Bob Lee", "Ann Lee and Bob Lee"), ("Café Olé, L.L.C.", "CAFE OLE LLC"), ("Acme & Sons", "Acme and Sons"),
    ("Estate of José Lee", "Estate of Jose Lee"),
]  # fmt: skip
OTHER_NAMES = [
    ("Ann Lee", "Ann Lee Jr"), ("Ann Lee Sr", "Ann Lee Jr"), ("Mrs. John Smith", "John Smith"), ("Mr. John Smith", "Mrs. John Smith"),
    ("Robert Lee", "Bob Lee"), ("Jon Lee", "John Lee"), ("Ann Alee", "Anna Lee"), ("Ann Lee", "Lee Ann"), ("Ann M Lee", "Ann Lee"),
    ("Ann Lee", "Ann Lee-Garcia"), ("Ann Lee", "Ann Lee & Bob Lee"), ("Ann Lee", "Estate of Ann Lee"), ("Ann Lee", "Ann Lee TTEE"),
    ("Ann Lee", "Ann Lee POD Bob Lee"), ("Ann Lee", "Ann Lee (minor)"), ("Ann Lee", "Ann (Bob Garcia) Lee"), ("Acme LLC", "Acme Inc"),
    ("Acme LLC", "Acme"), ("Acme LLC", "Acme LLC dba Foo"), ("Lee Trust dtd 1/2/2019", "Lee Trust dtd 1/2/2020"), ("Lee", "Lee Trust"),
    ("Mr & Mrs John Smith", "Mrs John Smith"), ("Ann Lee", "\u0410nn Lee"), ("李 晨", "李 娜"),
    (f"Jos\u00e9 {'a' * 45}", f"Jose {'a' * 44}b"), (f"Jos\u00e9 {'Lee ' * 100}", f"Jose {'Lee ' * 99} Ray"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME_NAMES)
def test_another_spelling_is_no_other_name(one: str, other: str) -> None:
    for before, after in ((one, other), (other, one)):
        assert between([{"id": "1", "name": before}], [{"id": "1", "name": after}]) == []
        assert between([{"name": before}, ANNE], [ANNE, {"name": after}]) == []


@pytest.mark.parametrize(("one", "other"), OTHER_NAMES)
def test_another_name_is_no_spelling(one: str, other: str) -> None:
    for before, after in ((one, other), (other, one)):
        assert between([{"id": "1", "name": before}], [{"id": "1", "name": after}]) == [Change("owner_renamed", 0, 0)]


WORDS = st.sampled_from([
    "Ann", "José", "Jose", "Lee", "Ray", "Garcia", "John", "Smith", "Dr.", "Mr.", "Mrs.", "Mrs", "Jr.", "Sr.", "II", "MD", "&", "and", ",",
    ".", "-", "'", "(", ")", "Estate", "of", "Trust", "TTEE", "POD", "LLC", "Acme", "NA", "O", "O'", "de", "la",
])  # fmt: skip
WRITTEN_NAMES = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)


@settings(deadline=None, max_examples=400)
@given(WRITTEN_NAMES, st.lists(WORDS, max_size=2), st.integers(0, 6))
def test_names_that_count_as_one_are_one_for_the_matcher(one: str, put_in: list[str], at: int) -> None:
    words = one.split()
    other = " ".join([*words[:at], *put_in, *words[at + len(put_in) :]])
    first, second = owner_names.reading(one), owner_names.reading(other)
    if first is None or first != second or owner_names.plain(fold(one)) == owner_names.plain(fold(other)):
        return  # Punctuation and accents alone never make another name.
    matched = scores(one, other)
    # A name without a surname has 92. Where a role limits the score, it limits it for the same text, too.
    itself = [score for name in (one, other) for score, _ in scores(name, name)]
    assert min(score for score, _ in matched) >= min(92.0, *itself), (one, other, matched)


def scores(one: str, other: str) -> list[tuple[float, tuple[str, ...]]]:
    """What the matcher says of two names, whichever is the claim."""
    found = (matching.match({"name": claimed}, {"name": held}).fields["name"] for claimed, held in ((one, other), (other, one)))
    return [(field.score if field.score is not None else 100.0, tuple(field.reasons)) for field in found]


def test_many_owners_are_found_by_another_spelling() -> None:
    before = [{"name": f"José Lee{chr(97 + number % 26) * (1 + number // 26)}"} for number in range(300)]
    assert between(before, [{"name": owner["name"].replace("é", "e")} for owner in reversed(before)]) == []


def test_many_owners_are_compared_by_equal_names_alone() -> None:
    before = [{"name": f"OWNER NUMBER{number}"} for number in range(300)]
    assert between(before, [*reversed(before[1:]), {"name": "SOMEBODY ELSE"}]) == [
        Change("owner_removed", 0, None), Change("owner_added", None, 299),
    ]  # fmt: skip


TEXTS = st.sampled_from(["Margaret Testerman", "M TESTERMAN", "Robert Samplewell", "Bob Samplewell", "Acme LLC", "李 晨", "?"]) | st.text(
    max_size=12
)
VALUES = st.none() | st.sampled_from(["canary@example.com", "+1 555 555 0101", "555-0102", ELSEWHERE]) | st.text(max_size=8)
OWNERS = st.lists(
    st.fixed_dictionaries({"name": TEXTS}, optional={"id": VALUES, "email": VALUES, "phone": VALUES, "raw_address": VALUES}), max_size=5
)


@settings(deadline=None)
@given(OWNERS, OWNERS)
def test_every_owner_is_accounted_for_without_personal_data(before: list[Any], after: list[Any]) -> None:
    found = between(before, after)
    removed = [change.before for change in found if change.kind == "owner_removed"]
    added = [change.after for change in found if change.kind == "owner_added"]
    assert len(before) - len(removed) == len(after) - len(added)
    assert len(set(found)) == len(found)
    pairs = {(change.before, change.after) for change in found if change.kind not in ("owner_added", "owner_removed")}
    assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs)
    assert not {old for old, _ in pairs} & set(removed)
    assert not {new for _, new in pairs} & set(added)
    for change in found:
        assert change.before is None or change.before in range(len(before))
        assert change.after is None or change.after in range(len(after))
        assert set(change.as_dict()) == {"kind", "before", "after"}
        json.dumps(change.as_dict())


@settings(deadline=None)
@given(OWNERS, st.randoms(use_true_random=False))
def test_the_same_owners_in_any_order_are_no_change(owners: list[Any], random: Any) -> None:
    shuffled = [dict(owner) for owner in owners]
    random.shuffle(shuffled)
    without_ids = [{**owner, "id": None} for owner in owners], [{**owner, "id": None} for owner in shuffled]
    assert between(*without_ids) == []


def test_kinds_are_those_of_the_answers() -> None:
    from titleholder.web.models import OwnerChange

    assert set(OwnerChange.model_fields["kind"].annotation.__args__) == set(owner_changes.Kind.__args__)  # type: ignore[union-attr,attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(("letters", "length"), [("a", 140), ("1 ", 290), ("ﷺ", 590)])
def test_the_most_owners_with_the_longest_texts_are_compared_in_bounded_time(letters: str, length: int) -> None:
    def owners(mark: str) -> list[dict[str, Any]]:
        text = f"{mark} {letters * (length // len(letters))}"
        return [
            {"id": str(number), "name": f"{text}{number}", "raw_address": f"{text}{number}", "phone": f"{text}{number}"}
            for number in range(MAX_OWNERS)
        ]

    before, after = owners("x"), owners("y")
    began = time.process_time()
    between(before, after)
    assert time.process_time() - began < 12


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["é ", "dr. é & ", "(é) ", "ﷺ ", "tr é "])
def test_the_most_names_are_read_in_bounded_time(letters: str) -> None:
    def owners(mark: str) -> list[dict[str, Any]]:
        text = f"{mark} {letters * (280 // len(letters))}"
        return [
            {"name": f"{text}{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}{chr(97 + number // 676)}"} for number in range(MAX_OWNERS)
        ]

    before, after = owners("x"), owners("y")
    began = time.process_time()
    between(before, after)
    assert time.process_time() - began < 12


OTHERS = {"owner_added": True, "owner_removed": True, "owner_renamed": True, "owner_moved": False, "contact_changed": False}


def summary(id_: str, since: str | None, *kinds: str, known: bool = True) -> SnapshotSummary:
    changes = [Change(kind, 0, 0).as_dict() for kind in kinds] if known else None  # type: ignore[arg-type]
    return SnapshotSummary(id_, 0, 0, 1, since=since, changes=changes)


@pytest.mark.parametrize(("kind", "others"), OTHERS.items())
def test_owners_are_others_when_one_was_added_removed_or_renamed(kind: str, others: bool) -> None:
    assert are_others([{"kind": kind, "before": 0, "after": 0}]) == others
    assert are_others([{"kind": "owner_moved"}, {"kind": kind}]) == others


def test_owners_are_taken_for_others_where_that_is_not_known() -> None:
    assert are_others(None)
    assert are_others([{"kind": "owner_moved"}] * owner_changes.MOST_CHANGES)
    assert not are_others([])


HISTORIES: dict[str, tuple[list[SnapshotSummary], bool]] = {
    "the newest": ([summary("seen", None, known=False), summary("first", None, known=False)], False),
    "nothing since": ([summary("new", "seen"), summary("seen", None, known=False)], False),
    "moved since": ([summary("new", "seen", "owner_moved", "contact_changed"), summary("seen", None, known=False)], False),
    "renamed since": ([summary("new", "seen", "owner_renamed"), summary("seen", None, known=False)], True),
    "renamed before the last": (
        [summary("new", "mid"), summary("mid", "seen", "owner_renamed"), summary("seen", None, known=False)], True,
    ),
    "renamed before": ([summary("new", "seen"), summary("seen", "first", "owner_renamed"), summary("first", None, known=False)], False),
    "not known": ([summary("new", None, known=False), summary("seen", None, known=False)], True),
    "one that was stored late": (
        [summary("new", "seen"), summary("late", None, known=False), summary("seen", None, known=False)], False,
    ),
    "stored beside another": ([summary("new", "first"), summary("seen", "first"), summary("first", None, known=False)], False),
    "renamed beside another": (
        [summary("new", "first", "owner_renamed"), summary("seen", "first"), summary("first", None, known=False)], True,
    ),
    "renamed to what it was beside another": (
        [summary("new", "first"), summary("seen", "first", "owner_renamed"), summary("first", None, known=False)], True,
    ),
    "one before is missing": ([summary("new", "gone"), summary("seen", None, known=False)], True),
    "missing itself": ([summary("new", None, known=False)], True),
    "none": ([], True),
    "a circle": ([summary("new", "new"), summary("seen", None, known=False)], True),
}  # fmt: skip


@pytest.mark.parametrize("case", HISTORIES)
def test_history_shows_whether_the_newest_owners_are_others(case: str) -> None:
    history, changed = HISTORIES[case]
    assert have_changed(history, "seen") == changed
