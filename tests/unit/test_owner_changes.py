"""What changed from one snapshot's owners to the next: by kind and position, for any order and spelling."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titleholder.domain import owner_changes
from titleholder.domain.owner_changes import Change, are_others, between, have_changed
from titleholder.domain.snapshots import MAX_OWNERS, SnapshotSummary

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
    "two of one name": ([ANNE, new(ANNE)], [ANNE], [Change("owner_removed", 1, None)]),
    "no owners": ([], [], []),
    "no names": ([{"name": None}, {"name": ""}], [{"name": ""}, {"name": None}], []),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "found"), CASES.values(), ids=CASES.keys())
def test_changes(before: list[Any], after: list[Any], found: list[Change]) -> None:
    assert between(before, after) == found


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
