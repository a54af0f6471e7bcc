"""Manifests: however a file is cut, its records come out as if it had been read in one go; bad lines are named, never repeated."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.world import PERSONAL
from titleholder import manifests
from titleholder.errors import ManifestError
from titleholder.manifests import COLUMNS, LONGEST_RECORD_BYTES, Format, Record, Reject, Row, cut, examine, header, parse, records

CELLS = st.text(st.sampled_from('ab é,"\n\r|;'), max_size=8)
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=30)
LINES = st.lists(st.text(st.sampled_from('{}":ab \\é'), max_size=12), max_size=30)


def csv_file(rows: Sequence[Sequence[str]], ending: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=ending).writerows(rows)
    return text.getvalue().encode()


def pieces(data: bytes, size: int, format_: Format) -> list[manifests.Piece]:
    return [examine(data[at : at + size], format_) for at in range(0, len(data), size)]


def by_ranges(data: bytes, size: int, format_: Format) -> list[Record]:
    """Every record, each range read by itself."""
    ranges = list(cut(pieces(data, size, format_)))
    assert [each.start for each in ranges[1:]] == [each.end for each in ranges[:-1]]
    assert [each.number for each in ranges] == list(range(len(ranges)))
    assert (ranges[0].start, ranges[-1].end) == (0, len(data)) if data else not ranges
    return [record for each in ranges for record in records([data[each.start : each.end]], format_, each.line)]


@settings(max_examples=150)
@given(rows=ROWS, size=st.integers(1, 60), ending=st.sampled_from(["\n", "\r\n"]))
def test_csv_cut_anywhere_gives_the_records_and_lines_of_the_whole(rows: list[list[str]], size: int, ending: str) -> None:
    data = csv_file(rows, ending)
    found = by_ranges(data, size, "csv")
    assert [next(csv.reader([(record.data or b"").decode().rstrip("\r\n")], strict=True)) for record in found] == rows
    lines = [1]
    for record in found:
        lines.append(lines[-1] + (record.data or b"").count(b"\n"))
    assert [record.line for record in found] == lines[:-1]


@settings(max_examples=150)
@given(lines=LINES, size=st.integers(1, 40), last=st.booleans())
def test_json_lines_cut_anywhere_are_the_lines_of_the_whole(lines: list[str], size: int, last: bool) -> None:
    data = "\n".join(lines).encode() + (b"\n" if last and lines else b"")
    whole = data.split(b"\n")[: -1 if data.endswith(b"\n") or not data else None]
    found = by_ranges(data, size, "jsonl")
    assert [(record.line, (record.data or b"").rstrip(b"\n")) for record in found] == list(enumerate(whole, 1))


@given(rows=ROWS, sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_records_do_not_depend_on_how_the_stream_comes(rows: list[list[str]], sizes: list[int]) -> None:
    data, at = csv_file(rows), 0
    blocks: list[bytes] = []
    while at < len(data):
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(data[at : at + size])
        at += size
    assert list(records(blocks, "csv")) == list(records([data], "csv"))


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_record_that_is_too_long_is_given_up_and_the_next_one_is_not(format_: Format) -> None:
    data = b'"' + b"x\n" * LONGEST_RECORD_BYTES + b'"\nb\n' if format_ == "csv" else b"x" * (LONGEST_RECORD_BYTES + 1) + b"\nb\n"
    found = list(records((data[at : at + 1000] for at in range(0, len(data), 1000)), format_))
    assert [record.data for record in found] == [None, b"b\n"]
    rejected = parse(found[0], ["account"] if format_ == "csv" else None)
    assert isinstance(rejected, Reject)
    assert "64 KiB" in rejected.reason


def test_short_manifest_is_cut_small_and_a_long_one_into_no_more_pieces_than_can_be_looked_through() -> None:
    assert [manifests.piece_bytes(size) for size in (1, 700_000, 100_000_000)] == [64 * 1024] * 3
    assert manifests.piece_bytes(1024**3) == 1024**3 // 2000 + 1
    assert manifests.piece_bytes(manifests.LARGEST_BYTES) == 1024**2


def test_quote_that_is_never_closed_is_told_with_where_to_look() -> None:
    good = examine(b"a,b\n" * 10, "csv")
    lost = [examine(b'c,"d\n' + b"x" * (1024**2), "csv"), *[examine(b"x\n" * 512 * 1024, "csv")] * 70]
    with pytest.raises(ManifestError, match="After line 12 "):
        list(cut([good, good, *lost]))


# -- headers and rows --------------------------------------------------------------------------------------------------------------------


def test_header_may_have_a_byte_order_mark_spaces_and_capitals() -> None:
    assert header('\ufeffAccount, NAME ,"postal_code"\r\n'.encode()) == ["account", "name", "postal_code"]


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (b"account,account,name", "twice"),
        (b"name,email", "no column account"),
        (b"account,address,city", "one or the other"),
        (b"\xff\xfea", "UTF-8"),
        (b'"account', "CSV"),
        (b"", "place 1|no column"),
    ],
)
def test_wrong_header_is_told(row: bytes, word: str) -> None:
    with pytest.raises(ManifestError, match=word):
        header(row)


def test_claim_in_place_of_the_header_is_not_repeated() -> None:
    with pytest.raises(ManifestError) as refused:
        header(b"fca_1,Margaret Testerman,margaret@example.com")
    assert not [word for word in PERSONAL if word in str(refused.value).lower()]


def json_line(data: Any) -> Row | Reject | None:
    return parse(Record(7, json.dumps(data).encode()), None)


def csv_line(columns: Sequence[str], text: str) -> Row | Reject | None:
    return parse(Record(7, text.encode()), columns)


def test_json_line_is_a_row() -> None:
    row = json_line({"account": "fca_1", "reference": "loan-1", "max_age": 60, "claim": {"name": "Ana", "address": {"city": "Bonn"}}})
    assert isinstance(row, Row)
    assert (row.account, row.reference, row.max_age) == ("fca_1", "loan-1", 60)
    assert row.claim.as_dict() == {"name": "Ana", "address": {"city": "Bonn"}}


def test_csv_line_is_the_same_row() -> None:
    columns = ["account", "reference", "max_age", "name", "aka", "email", "line1", "city"]
    row = csv_line(columns, 'fca_1,loan-1,60,"Testerman, ""Maggie""\nAnne",A|B,,"1 Main St",Bonn\r\n')
    assert isinstance(row, Row)
    assert row.claim.as_dict() == {
        "name": 'Testerman, "Maggie"\nAnne', "aka": ["A", "B"], "address": {"line1": "1 Main St", "city": "Bonn"},
    }  # fmt: skip
    assert row.max_age == 60


def test_every_documented_column_is_taken() -> None:
    columns = [name for name in COLUMNS if name != "address"]
    values = {"account": "fca_1", "stripe_account": "acct_1", "max_age": "5", "type": "person"}
    row = csv_line(columns, ",".join(values.get(name, f"x-{name.replace('_', '-')}") for name in columns))
    assert isinstance(row, Row)
    assert set(row.claim.as_dict()) | {"line1"} >= {"given", "aka", "business_name", "address"}


@pytest.mark.parametrize("blank", ["", " \r\n", "\n"])
def test_blank_lines_are_nothing(blank: str) -> None:
    assert parse(Record(3, blank.encode()), None) is None
    assert csv_line(["account"], blank) is None


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (b"{not json", None),
        (b"[1]", None),
        (b"\xff{}", None),
        (b"[" * 5000, None),
        (b'{"account": "fca_1"}', "claim"),
        (b'{"account": "ba_1", "claim": {"name": "x"}}', "account"),
        (b'{"account": "fca_1", "claim": {"name": ""}}', "claim.name"),
        (b'{"account": "fca_1", "claim": {"name": "\\ud800"}}', "claim.name"),
        (b'{"account": "fca_1", "claim": {}}', "claim"),
        (b'{"account": "fca_1", "claim": {"name": "x"}, "max_age": "60"}', "max_age"),
        (b'{"account": "fca_1", "claim": {"name": "x"}, "reference": "Ana Testerman"}', "reference"),
        (b'{"account": "fca_1", "claim": {"name": "x", "Margaret": 1}}', "claim"),
        (b'{"account": "fca_1", "claim": {"name": "x"}, "margaret": 1}', None),
    ],
)
def test_bad_json_line_is_told_by_line_and_column(line: bytes, column: str | None) -> None:
    rejected = parse(Record(7, line), None)
    assert isinstance(rejected, Reject), rejected
    assert (rejected.line, rejected.column) == (7, column)
    assert rejected.reason


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("fca_1,x", None),
        ("fca_1,x,y,z", None),
        ('fca_1,5" pipe,1\nfca_2,6" pipe,1\n', None),
        ('fca_1,"x"y,', None),
        ("ba_1,x,1", "account"),
        ("fca_1,,1", "claim"),
        ("fca_1,x,soon", "max_age"),
        ("fca_1,x,99999999999", "max_age"),
    ],
)
def test_bad_csv_line_is_told_by_line_and_column(text: str, column: str | None) -> None:
    rejected = csv_line(["account", "name", "max_age"], text)
    assert isinstance(rejected, Reject), rejected
    assert (rejected.line, rejected.column) == (7, column)


@given(st.dictionaries(st.sampled_from(["account", "claim", "max_age", "Testerman"]), st.recursive(
    st.sampled_from(["Margaret Testerman", "margaret@example.com", 5, None]),
    lambda inner: st.dictionaries(st.sampled_from(["name", "address", "Quillfeather", "phone"]), inner) | st.lists(inner), max_leaves=6,
)))  # fmt: skip
def test_reject_never_repeats_what_the_line_holds(data: dict[str, Any]) -> None:
    rejected = json_line(data)
    if isinstance(rejected, Reject):
        assert not [word for word in PERSONAL if word in json.dumps(rejected.as_dict()).lower()]
