"""Manifests: where a large file may be cut, which lines it has, and what each claims. Pure; nothing here holds more than one range.

A file is cut in two steps, so that nobody reads all of it. First every piece is looked at by itself: how many quotes and lines it has, and
where it could be cut if the quotes before it are even, and if they are odd. Then the pieces' parities are added up, and say which holds.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from titleholder.errors import ManifestError
from titleholder.http_models import AccountId, Claim, MaxAge, Strict, bad_field

Format = Literal["jsonl", "csv"]

LARGEST_BYTES = 10 * 1024**3
SMALLEST_PIECE_BYTES = 64 * 1024
LARGEST_PIECE_BYTES = 1024**2
"""What is looked at by itself, and then, about, imported by itself: small, so that the pieces of a short manifest are imported side by
side; larger where there would be too many of them to look through; bounded, for it bounds the memory that a step takes."""

PIECES = 2000

LONGEST_RECORD_BYTES = 64 * 1024
"""As for the body of an HTTP request."""

LONGEST_RANGE_BYTES = 64 * 1024**2
"""A range without any safe line end in so many bytes is no manifest, and no function could read it in time."""

AKA_SEPARATOR = "|"
BOM = b"\xef\xbb\xbf"

ADDRESS_COLUMNS = ("line1", "line2", "city", "state", "postal_code", "country")
CLAIM_COLUMNS = ("type", "name", "given", "middle", "family", "suffix", "business_name", "aka", "email", "phone", "address")
COLUMNS = ("account", "stripe_account", "reference", "max_age", *CLAIM_COLUMNS, *ADDRESS_COLUMNS)


class Row(Strict):
    """One line of a manifest. `reference` is the caller's own name for it, given back in the results; it must not be personal data."""

    account: AccountId
    stripe_account: Annotated[str, StringConstraints(pattern=r"^acct_[A-Za-z0-9_]{1,120}$")] | None = None
    reference: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,100}$")] | None = Field(
        default=None, description="The caller's own name for the line. Not encrypted: no personal data."
    )
    max_age: MaxAge | None = None
    claim: Claim


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that can't be taken. `column` names a field; neither it nor `reason` repeats what the line holds."""

    line: int
    column: str | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"line": self.line, "column": self.column, "reason": self.reason}


# -- cutting -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """What one piece of the file shows by itself: its length, its quotes and line ends.

    `even` and `odd`: the first place to cut, right after a line end with an even (odd) number of the piece's quotes before it: how many
    bytes, and how many line ends, lie before that place. None if the piece has no such line end.
    """

    bytes: int
    quotes: int
    lines: int
    even: tuple[int, int] | None
    odd: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `start` to `end` (exclusive) of the manifest, which begin with its line number `line` (from 1) and hold whole records."""

    number: int
    start: int
    end: int
    line: int


def piece_bytes(size: int) -> int:
    """How long the pieces of a manifest of `size` bytes are: the smallest that make no more than `PIECES`, as far as is allowed."""
    return min(LARGEST_PIECE_BYTES, max(SMALLEST_PIECE_BYTES, -(-size // PIECES)))


def examine(piece: bytes, format_: Format) -> Piece:
    """Look at one piece. In JSON Lines quotes have no say in where a line ends, and are not counted."""
    lines = piece.count(b"\n")
    if format_ == "jsonl":
        first = piece.find(b"\n")
        return Piece(len(piece), 0, lines, None if first < 0 else (first + 1, 1), None)
    cuts: dict[bool, tuple[int, int]] = {}
    begin = number = quotes = 0
    while len(cuts) < 2 and (end := piece.find(b"\n", begin)) >= 0:
        quotes += piece.count(b'"', begin, end)
        number += 1
        cuts.setdefault(quotes % 2 == 1, (end + 1, number))
        begin = end + 1
    return Piece(len(piece), piece.count(b'"'), lines, cuts.get(False), cuts.get(True))


def cut(pieces: Iterable[Piece]) -> Iterator[Range]:
    """The ranges of a whole file, given its pieces in order: one for each piece that has a safe line end.

    Raises ManifestError where a line, or a quoted text, has no end.
    """
    number = start = offset = lines = 0
    line, odd = 1, False
    for piece in pieces:
        place = piece.odd if odd else piece.even
        if offset and place:
            end = offset + place[0]
            yield Range(number, start, end, line)
            number, start, line = number + 1, end, lines + place[1] + 1
        offset, lines, odd = offset + piece.bytes, lines + piece.lines, odd ^ (piece.quotes % 2 == 1)
        if offset - start > LONGEST_RANGE_BYTES:
            raise ManifestError(f"After line {line} a quote is opened and not closed, or a line has no end.")
    if offset > start:
        yield Range(number, start, offset, line)


# -- reading -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in the file, from its physical line `line` on. `data` is None if it is longer than a record may be."""

    line: int
    data: bytes | None


def records(blocks: Iterable[bytes], format_: Format, line: int = 1) -> Iterator[Record]:
    """Split a stream into records without holding more than one of them; a CSV record may have line ends within quotes."""
    begin, parts, size, odd = line, [b""], 0, False
    for block in blocks:
        at = 0
        while at < len(block):
            end = block.find(b"\n", at) + 1
            part = block[at : end or len(block)]
            at += len(part)
            size += len(part)
            if size <= LONGEST_RECORD_BYTES:
                parts.append(part)
            else:
                parts.clear()
            odd ^= format_ == "csv" and part.count(b'"') % 2 == 1
            if end:
                line += 1
                if not odd:
                    yield Record(begin, b"".join(parts) if size <= LONGEST_RECORD_BYTES else None)
                    begin, parts, size = line, [], 0
    if size:
        yield Record(begin, b"".join(parts) if size <= LONGEST_RECORD_BYTES else None)


def header(record: bytes) -> list[str]:
    """The columns that a CSV manifest's first record names. Raises ManifestError."""
    try:
        names = [name.strip().lower() for name in _fields(record.removeprefix(BOM).decode())]
    except (ValueError, csv.Error):
        raise ManifestError("The header row is not CSV in UTF-8.") from None
    if unknown := [number for number, name in enumerate(names, 1) if name not in COLUMNS]:
        # A file without a header would have its first claim repeated here, so the columns are numbered, not named.
        places = ", ".join(map(str, unknown))
        raise ManifestError(f"The header row names columns that are not known, in place {places}. Known are: {', '.join(COLUMNS)}.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ManifestError(f"The header row names a column twice: {', '.join(twice)}.")
    if "account" not in names:
        raise ManifestError("The header row has no column account.")
    if "address" in names and set(names) & set(ADDRESS_COLUMNS):
        raise ManifestError("The header row has the column address and columns of its parts: one or the other.")
    return names


def parse(record: Record, columns: Sequence[str] | None) -> Row | Reject | None:
    """A record's row; what is wrong with it; or None if it is blank. `columns` None: JSON Lines."""
    if record.data is None:
        reason = f"longer than {LONGEST_RECORD_BYTES // 1024} KiB" + (", or a quote that is not closed" if columns else "")
        return Reject(record.line, None, reason)
    try:
        text = record.data.removeprefix(BOM if record.line == 1 else b"").decode()
    except UnicodeDecodeError:
        return Reject(record.line, None, "not UTF-8")
    if not text.strip():
        return None
    try:
        data = json.loads(text) if columns is None else _nested(_fields(text), columns)
    except _RowError as error:
        return Reject(record.line, error.column, error.reason)
    except (ValueError, RecursionError):
        return Reject(record.line, None, "not JSON")
    except csv.Error:
        return Reject(record.line, None, "not CSV: a quote within a field must be doubled, and the field quoted")
    if not isinstance(data, dict):
        return Reject(record.line, None, "not a JSON object")
    try:
        return Row.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place, reason = first["loc"], first["msg"]
    if first["type"] == "extra_forbidden":
        # A field that nobody knows may be called anything, even a person's name.
        place, reason = place[:-1], "a field here is not known"
    column = bad_field(place)
    return Reject(record.line, (column.rpartition(".")[2] if columns else column) or None, reason)


class _RowError(Exception):
    def __init__(self, column: str | None, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


def _fields(text: str) -> list[str]:
    return next(csv.reader([text.rstrip("\r\n")], strict=True), [])


def _nested(cells: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """A CSV row in the shape of a JSON line; empty cells are fields that are not given."""
    if len(cells) != len(columns):
        raise _RowError(None, f"{len(cells)} columns, where the header row has {len(columns)}")
    given: dict[str, Any] = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if cell.strip()}
    if "max_age" in given:
        if not (given["max_age"].isascii() and given["max_age"].isdigit() and len(given["max_age"]) <= 12):
            raise _RowError("max_age", "not a whole number of seconds")
        given["max_age"] = int(given["max_age"])
    if "aka" in given:
        given["aka"] = [name for name in given["aka"].split(AKA_SEPARATOR) if name.strip()]
    claim: dict[str, Any] = {name: given.pop(name) for name in CLAIM_COLUMNS if name in given}
    parts: Mapping[str, str] = {name: given.pop(name) for name in ADDRESS_COLUMNS if name in given}
    if parts:
        claim["address"] = parts
    return given | {"claim": claim}
