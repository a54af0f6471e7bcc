"""Manifests: however a file is cut, its records come out as if it had been read in one go; bad lines are named, never repeated."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.sandbox import PERSONAL
from titleholder.batches import manifests
from titleholder.batches.manifests import (
    BOM,
    COLUMNS,
    LONGEST_RECORD_BYTES,
    Format,
    Piece,
    Record,
    Reject,
    Row,
    check,
    cut,
    examine,
    header,
    parse,
    records,
    rejects,
)
from titleholder.errors import ManifestError

CELLS = st.text(st.sampled_from('ab é,"\n\r|;'), max_size=8)
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=30)
LINES = st.lists(st.text(st.sampled_from('{}":ab \\é'), max_size=12), max_size=30)
ANYTHING = st.text(st.sampled_from('""",,\n\n\rab é'), max_size=80).map(str.encode)
"""Mostly no CSV: quotes that nothing closes, or that something follows."""


def csv_file(rows: Sequence[Sequence[str]], ending: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=ending).writerows(rows)
    return text.getvalue().encode()


def pieces(data: bytes, size: int, format_: Format) -> list[Piece]:
    longest = manifests.LONGEST_RECORD_BYTES
    return [
        Piece.from_dict(json.loads(json.dumps(examine(data[at : at + size], format_, ahead, first=not at).as_dict())))
        for at in range(0, len(data), size)
        for ahead in [data[at + size : at + size + longest]]
    ]


def by_ranges(data: bytes, size: int, format_: Format, *, guesses: bool = True) -> list[Record]:
    """Every record, each range read by itself. Without `guesses` each piece is looked at again once its first record is known."""
    longest, looked = manifests.LONGEST_RECORD_BYTES, pieces(data, size, format_)

    def look(start: int, end: int, entry: int) -> Piece:
        return examine(data[start:end], format_, data[end : end + longest], first=not start, entry=entry)

    if not guesses:
        looked = [Piece(each.bytes, each.lines, each.skip, {}) for each in looked]
    ranges = list(cut(looked, look))
    assert [each.start for each in ranges[1:]] == [each.end for each in ranges[:-1]]
    assert [each.number for each in ranges] == list(range(len(ranges)))
    assert (ranges[0].start, ranges[-1].end) == (0, len(data)) if data else not ranges
    assert [each.lines for each in ranges] == [data[each.start : each.end].count(b"\n") for each in ranges]
    return [record for each in ranges for record in records([data[each.start : each.end]], format_, each.line)]


def slowly(data: bytes, longest: int) -> Iterator[Record]:
    """The records of a CSV file, byte by byte: what the patterns are held against."""
    at, line = 0, 1
    while at < len(data):
        end, state = at, "field"
        while True:
            byte = data[end : end + 1]
            if state == "quoted":
                state = "closed" if byte == b'"' else state if byte else "bad"
            elif byte in (b"\n", b""):
                break
            elif state == "return" and byte != b"\r":
                state = "bad"
            elif byte == b",":
                state = "field"
            elif byte == b"\r":
                state = "return"
            elif state == "field":
                state = "quoted" if byte == b'"' else "plain"
            elif state == "closed":
                state = "quoted" if byte == b'"' else "bad"
            if state == "bad":
                break
            end += 1
        end += data[end : end + 1] == b"\n" and state != "bad"
        if state == "bad" or end - at > longest:
            end = data.find(b"\n", at) + 1 or len(data)
        record = Record(line, data[at:end] if end - at <= longest else None)
        yield record
        at, line = end, line + record.lines


@settings(max_examples=500)
@given(data=ANYTHING, size=st.integers(1, 60), longest=st.sampled_from([3, 10, 30, 1000]))
@example(data=b'a,"b\nc\n', size=4, longest=1000)
@example(data=b'a\n"b\nc"x\nd\n', size=3, longest=1000)
@example(data=b"aaaaaaaaaaaaaa\nb\n", size=2, longest=3)
def test_anything_cut_anywhere_gives_the_records_of_the_whole(data: bytes, size: int, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "LONGEST_RECORD_BYTES", longest)
        expected = list(slowly(data, longest))
        assert list(records([data], "csv")) == expected
        assert list(records([data[at : at + size] for at in range(0, len(data), size)], "csv")) == expected
        assert by_ranges(data, size, "csv") == expected
        assert by_ranges(data, size, "csv", guesses=False) == expected


@given(data=ANYTHING)
def test_every_physical_line_belongs_to_a_record_and_what_splits_agrees_with_what_reads(data: bytes) -> None:
    found = list(records([data], "csv"))
    assert b"".join(record.data or b"" for record in found) == data
    assert sum(record.lines for record in found) == data.count(b"\n") + (not data.endswith(b"\n") if data else 0)
    for record in found:
        if record.lines > 1:
            # One that takes several lines is one by its quotes: the reader finds no fault with them.
            rejected = parse(record, ["account"])
            assert not isinstance(rejected, Reject) or "quote" not in rejected.reason


STRAY = [b'5" pipe', b'"5 pipe', b'"5" pipe', b'5 pipe"', b'"', b'a"b"c', b' "a"', b'"a"b"', b'""a', b"a\rb"]


@pytest.mark.parametrize("stray", STRAY)
@pytest.mark.parametrize("place", [3, 998])
def test_stray_quote_costs_no_other_line(stray: bytes, place: int) -> None:
    lines = [b"fca_%d,Margaret" % number for number in range(1000)]
    lines[500] = b'fca_500,"Testerman, ""Maggie"" Margaret"'
    lines[place] = b"fca_3," + stray
    data = b"\n".join(lines) + b"\n"
    for found in (list(records([data], "csv")), by_ranges(data, 4096, "csv")):
        taken = [parse(record, ["account", "name"]) for record in found]
        assert [record.line for record in found] == list(range(1, 1001))
        assert all(isinstance(row, Row) for number, row in enumerate(taken) if number != place)
        reject = taken[place]
        assert isinstance(reject, Row | Reject)
        if isinstance(reject, Reject):
            assert (reject.line, "quote" in reject.reason) == (place + 1, True)


def test_quote_within_a_field_that_is_not_quoted_is_a_character() -> None:
    row = csv_line(["account", "name"], 'fca_1,Robert "Bob" 5" Smith\n')
    assert isinstance(row, Row)
    assert row.claim.name == 'Robert "Bob" 5" Smith'


def test_rejected_record_of_several_lines_is_a_reject_for_each_of_them() -> None:
    [record] = records([b'ba_1,"Margaret\n\nTesterman"\n'], "csv", 5)
    rejected = parse(record, ["account", "name"])
    assert isinstance(rejected, Reject)
    assert [(each.line, each.column) for each in rejects(record, rejected)] == [(5, "account"), (6, None), (7, None)]


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
def test_line_that_is_too_long_is_given_up_and_the_next_one_is_not(format_: Format) -> None:
    data = b"x" * (LONGEST_RECORD_BYTES + 1) + b"\nb\n"
    found = list(records((data[at : at + 1000] for at in range(0, len(data), 1000)), format_))
    assert [(record.line, record.data) for record in found] == [(1, None), (2, b"b\n")]
    rejected = parse(found[0], ["account"] if format_ == "csv" else None)
    assert isinstance(rejected, Reject)
    assert "64 KiB" in rejected.reason


def test_of_a_quoted_field_that_is_too_long_the_first_line_is_given_up_and_the_others_are_read() -> None:
    data = b'a,"\n' + b"fca_1,x\n" * LONGEST_RECORD_BYTES + b'"\n'
    found = list(records((data[at : at + 100_000] for at in range(0, len(data), 100_000)), "csv"))
    assert len(found) == LONGEST_RECORD_BYTES + 2
    rejected = parse(found[0], ["account", "name"])
    assert isinstance(rejected, Reject)
    assert (rejected.line, "64 KiB" in rejected.reason) == (1, True)
    assert by_ranges(data, 2**16, "csv") == found


def test_short_manifest_is_cut_small_and_a_long_one_into_no_more_pieces_than_can_be_looked_through() -> None:
    assert [manifests.piece_bytes(size) for size in (1, 700_000, 100_000_000)] == [64 * 1024] * 3
    assert manifests.piece_bytes(1024**3) == 1024**3 // 2000 + 1
    assert manifests.piece_bytes(manifests.LARGEST_BYTES) == 1024**2


def test_line_without_an_end_is_reported_with_its_place() -> None:
    good = examine(b"a,b\n" * 10, "csv", b"x" * LONGEST_RECORD_BYTES, first=True)
    lost = [examine(b"x" * 1024**2, "csv", b"x" * LONGEST_RECORD_BYTES, first=False)] * 66
    with pytest.raises(ManifestError, match="After line 11 "):
        list(cut([good, *lost], lambda *_: pytest.fail("nothing is to be looked at again")))


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
        (b'"account" x,name', "CSV"),
        (b"", "first line is empty"),
        (b"  \r\n", "first line is empty"),
        (b"account;name\n", "semicolons.*commas"),
        (b'"account";"name, first"\n', "semicolons.*commas"),
        (b"Konto;Name\n", "semicolons.*commas"),
        (b"account\tname\n", "tabs.*commas"),
        (b"account|name\n", "vertical bars.*commas"),
        (b"sep=;\r\n", "sep=.*Delete it"),
        (b'"sep=,"\n', "sep=.*Delete it"),
        (b"\xef\xbb\xbfSEP=,\n", "sep=.*Delete it"),
        (b"account,name,,\n", "2 names, and 2 empty cells.*Delete"),
        (b"account,,name\n", "place 2. Name that column"),
        (b'{"account": "fca_1"}\n', "jsonl"),
        (b"account,name\rfca_1,x\r", "carriage return"),
    ],
)
def test_wrong_header_is_reported(row: bytes, word: str) -> None:
    with pytest.raises(ManifestError, match=word):
        header(row)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        ("account,name\n".encode("utf-16"), "UTF-16"),
        ("account,name\n".encode("utf-16-be"), "UTF-16"),
        ("account,name\n".encode("utf-16-le"), "UTF-16"),
        (b"\xfe\xff\0a", "UTF-16"),
        (b'{"account": "fca_1"}\r{}\r', "carriage return"),
    ],
)
def test_file_that_can_not_be_split_into_lines_is_refused_with_what_to_do(head: bytes, word: str) -> None:
    with pytest.raises(ManifestError, match=word):
        check(head)


@pytest.mark.parametrize("head", [b"", b"a,b", b"a,b\r\n", b"a,b\r", BOM + b"a,b\n", b'"a\rb"\n', b"a\0b,c\n"])
def test_file_that_can_be_split_into_lines_is_let_pass(head: bytes) -> None:
    check(head)


def test_byte_order_mark_before_a_quoted_header_opens_the_field() -> None:
    data = BOM + b'"account","na\nme"\nfca_1,x\n'
    assert [record.line for record in records([data], "csv")] == [1, 3]
    assert by_ranges(data, 5, "csv") == list(records([data], "csv"))


def test_claim_in_place_of_the_header_is_not_repeated() -> None:
    with pytest.raises(ManifestError) as refused:
        header(b"fca_1,Margaret Testerman,margaret@example.com")
    assert not [word for word in PERSONAL if word in str(refused.value).lower()]


@pytest.mark.parametrize(
    ("row", "begin"),
    [
        (",".join(["ak"] * 21_000), "The header row names columns that are not known, in place 1 (did you mean `aka`?), 2 (did"),
        (",".join(["x"] * 21_000), "The header row names columns that are not known, in place 1, 2, 3"),
        ("," * 21_000 + "account", "The header row has an empty cell in place 1, 2, 3"),
    ],
)
def test_header_with_thousands_of_wrong_places_names_the_first_twenty(row: str, begin: str) -> None:
    with pytest.raises(ManifestError) as refused:
        header(row.encode())
    said = str(refused.value)
    assert said.startswith(begin)
    assert ", 20" in said
    assert " and 20980 others. " in said
    assert len(said) < 1_000


def test_last_wrong_place_of_a_header_is_named_if_there_are_twenty() -> None:
    with pytest.raises(ManifestError, match=r"19, 20\. Known"):
        header(b",".join([b"x"] * 20))
    with pytest.raises(ManifestError, match=r"19, 20 and 1 other\. Known"):
        header(b",".join([b"x"] * 21))


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


@pytest.mark.parametrize("blank", [",\n", ', ,""\n', ",,,,\r\n"])
def test_row_of_empty_cells_is_blank(blank: str) -> None:
    assert csv_line(["account", "name", "email"], blank) is None


def test_empty_optional_field_is_missing_in_json_as_in_csv() -> None:
    empty = {"type": "", "name": "Ana", "email": " ", "aka": ["", "A"], "phone": "", "address": {"line1": "", "city": "Bonn"}}
    from_json = json_line({"account": "fca_1", "reference": "", "stripe_account": "", "max_age": "", "claim": empty})
    columns = ["account", "reference", "stripe_account", "max_age", "type", "name", "email", "aka", "phone", "line1", "city"]
    from_csv = csv_line(columns, "fca_1,,,,,Ana, ,|A,,,Bonn")
    assert isinstance(from_json, Row)
    assert from_json == from_csv
    assert from_json.claim.as_dict() == {"name": "Ana", "aka": ["A"], "address": {"city": "Bonn"}}
    nothing = json_line({"account": "fca_1", "claim": {"name": "Ana", "aka": [], "address": {"line1": ""}}})
    assert isinstance(nothing, Row)
    assert nothing.claim.as_dict() == {"name": "Ana"}
    assert nothing == csv_line(["account", "name", "aka", "line1"], "fca_1,Ana,|,")


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (b"{not json", None),
        (b"[1]", None),
        (b"\xff{}", None),
        (b"[" * 5000, None),
        (b'{"account": "fca_1"}', "claim"),
        (b'{"account": "ba_1", "claim": {"name": "x"}}', "account"),
        (b'{"account": "fca_1", "claim": {"name": ""}}', "claim"),
        (b'{"account": "fca_1", "account": "fca_2", "claim": {"name": "x"}}', "account"),
        (b'{"account": "fca_1", "claim": {"name": "x", "name": "x"}}', "name"),
        (b'{"account": "fca_1", "claim": {"name": "x"}, "margaret": 1, "margaret": 1}', None),
        (b'{"account": "fca_1", "claim": {"name": "x"}, "margaret": ""}', None),
        (b'{"account": "fca_1", "claim": {"name": "\\ud800"}}', "claim.name"),
        (b'{"account": "fca_1", "claim": {}}', "claim"),
        (b'{"account": "fca_1", "claim": {"name": "x"}, "max_age": "60"}', "max_age"),
        (b'{"account": "fca_1", "claim": {"name": "x"}, "reference": "Ana Testerman"}', "reference"),
        (b'{"account": "fca_1", "claim": {"name": "x", "Margaret": 1}}', "claim"),
        (b'{"account": "fca_1", "claim": {"name": "x"}, "margaret": 1}', None),
    ],
)
def test_bad_json_line_is_reported_with_line_and_column(line: bytes, column: str | None) -> None:
    rejected = parse(Record(7, line), None)
    assert isinstance(rejected, Reject), rejected
    assert (rejected.line, rejected.column) == (7, column)
    assert rejected.reason


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("fca_1,x", None),
        ("fca_1,x,y,z", None),
        ('fca_1,"5 pipe,1\n', "name"),
        ("fca_1,5\rpipe,1\n", "name"),
        ('fca_1,"x"y,', "name"),
        ("ba_1,x,1", "account"),
        ("fca_1,,1", "claim"),
        ("fca_1,x,soon", "max_age"),
        ("fca_1,x,99999999999", "max_age"),
    ],
)
def test_bad_csv_line_is_reported_with_line_and_column(text: str, column: str | None) -> None:
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
