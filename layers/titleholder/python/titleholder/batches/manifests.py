"""Manifests: finds places to cut a large file, splits it into records, and reads their claims. Pure; needs memory for one range at most.

A JSON Lines record is a line. A CSV record is a line, or several lines if a quoted field contains line breaks. One pattern (`_FIELD`)
defines a field. Everything that reads CSV is built from it: the search for places to cut, the split into records, and the reading of cells.
A quote opens a quoted field only at the field's beginning; anywhere else it is a character. If a quoted field is not closed properly within
the longest record, its first line alone is a record (which is rejected), and reading continues with the next line.

A file is cut in two steps, so that no step reads all of it. First every piece is examined on its own, which gives guesses: places where its
first record could begin, and for each of them the place where the first record after the piece would begin. Then the guesses are followed
from the first piece to the last, which shows which of them are right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from titleholder.errors import ManifestError
from titleholder.schemas import AccountId, Claim, JsonTextError, MaxAge, Strict, read_json, worded

Format = Literal["jsonl", "csv"]

LARGEST_BYTES = 10 * 1024**3
SMALLEST_PIECE_BYTES = 64 * 1024
LARGEST_PIECE_BYTES = 1024**2
"""The largest piece. Each piece is examined on its own, and later imported on its own, with about the same bounds. Small pieces let a short
manifest be imported in parallel, and larger ones keep their number low in a long one. The limit bounds the memory that a step needs."""

PIECES = 2000

LONGEST_RECORD_BYTES = 64 * 1024
"""The same limit as for the body of an HTTP request."""

DEEPEST = 32
"""How many levels a JSON line may nest: as many as the body of an HTTP request."""

LONGEST_RANGE_BYTES = 64 * 1024**2
"""A file without a line end within this many bytes is not a manifest, and no function could read it in time."""

AKA_SEPARATOR = "|"
BOM = b"\xef\xbb\xbf"

ADDRESS_COLUMNS = ("line1", "line2", "city", "state", "postal_code", "country")
CLAIM_COLUMNS = ("type", "name", "given", "middle", "family", "suffix", "business_name", "aka", "email", "phone", "address")
COLUMNS = ("account", "stripe_account", "reference", "max_age", *CLAIM_COLUMNS, *ADDRESS_COLUMNS)


class Row(Strict):
    """One line of a manifest. `reference` is the caller's own name for it, given back in the results; it must not be personal data."""

    account: AccountId
    stripe_account: Annotated[str, worded(r"^acct_[A-Za-z0-9_]{1,120}$", "not the id of a connected account (acct_...)")] | None = None
    reference: Annotated[str, worded(r"^[A-Za-z0-9._:/-]{1,100}$", "may have 1 to 100 letters, digits and . _ : / -")] | None = Field(
        default=None, description="The caller's own name for the line. Not encrypted: no personal data."
    )
    max_age: MaxAge | None = None
    claim: Claim


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that can't be imported. `column` names a field. Neither `column` nor `reason` repeats the line's content."""

    line: int
    column: str | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"line": self.line, "column": self.column, "reason": self.reason}


# -- what a record is --------------------------------------------------------------------------------------------------------------------

_FIELD = r'(?:"[^"]*+(?:""[^"]*+)*+"|(?!")[^,\r\n]*+)'
"""A field of CSV: quoted, with doubled quotes inside; or unquoted, without a quote at its beginning and without commas and line ends."""

_REST = rf"(?:,(?:{_FIELD},)*+{_FIELD})?+\r*+(?:\n|\Z)"
"""What follows a field up to the record's end."""

_RECORD = re.compile(f"{_FIELD}{_REST}".encode())
_TAILS = (re.compile(f"[^,\\r\\n]*+{_REST}".encode()), re.compile(f'"?+[^"]*+(?:""[^"]*+)*+"{_REST}'.encode()))
"""The rest of a record that began earlier: within an unquoted field, and within a quoted one."""

_CELL = re.compile(_FIELD)
_LINE = re.compile(r"\r*+(?:\n|\Z)")


def _end(pattern: re.Pattern[bytes], data: bytes, begin: int, *, ended: bool) -> int | None:
    """Where the record ends that matches `pattern` from `begin` on; None if none matches within the longest record.

    `ended`: nothing follows after `data`.
    """
    found = pattern.match(data, begin, min(len(data), begin + LONGEST_RECORD_BYTES))
    if found is None or found.end() == begin:
        return None
    whole = data[found.end() - 1] == ord("\n") or (ended and found.end() == len(data))
    return found.end() if whole else None


def _following(data: bytes, begin: int, format_: Format, *, ended: bool) -> int | None:
    """Where the record after the one at `begin` begins; None if that is after the end of `data`, after the next line end."""
    end = _end(_RECORD, data, begin, ended=ended) if format_ == "csv" else None
    return end or data.find(b"\n", begin) + 1 or (len(data) if ended else None)


# -- cutting -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """What one piece of the file shows on its own: its length, and how many line ends it has.

    `skip`: the place after its first line end, None without one. `ways`: for each place where a record may begin, how many line ends come
    before it, and where the first record after the piece then begins (counted from the piece's end; None: after the next line end).
    """

    bytes: int
    lines: int
    skip: int | None
    ways: Mapping[int, tuple[int, int | None]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "lines": self.lines, "skip": self.skip, "ways": [[at, *way] for at, way in self.ways.items()]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Piece:
        return cls(data["bytes"], data["lines"], data["skip"], {at: (lines, exit_) for at, lines, exit_ in data["ways"]})


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `start` to `end` (exclusive) of the manifest. They begin with its line number `line` (from 1) and contain whole records.

    `lines`: how many line ends they contain.
    """

    number: int
    start: int
    end: int
    line: int
    lines: int


def piece_bytes(size: int) -> int:
    """How many bytes the pieces of a manifest of `size` bytes have: as few as possible for at most `PIECES` pieces, within the limits."""
    return min(LARGEST_PIECE_BYTES, max(SMALLEST_PIECE_BYTES, -(-size // PIECES)))


def examine(piece: bytes, format_: Format, ahead: bytes, *, first: bool, entry: int | None = None) -> Piece:
    """Examine one piece. `ahead`: the `LONGEST_RECORD_BYTES` after it, or as many as there are. `first`: it begins the file.

    `entry`: the place where a record is known to begin. Without it, the places are tried where a record begins if the piece itself begins
    between two records, within an unquoted field, or within a quoted field.
    """
    data, ended = piece + ahead, len(ahead) < LONGEST_RECORD_BYTES
    skip = piece.find(b"\n") + 1 or None
    places: list[int | None] = [entry]
    if entry is None:
        places = [0, skip, *(_end(tail, data, 0, ended=ended) for tail in _TAILS if format_ == "csv" and not first)]
    entries = {place for place in places if place is not None and place < len(piece)}
    if format_ == "jsonl":
        return Piece(len(piece), piece.count(b"\n"), skip, {place: (piece.count(b"\n", 0, place), None) for place in entries})
    # The chains of records from all these places are followed in parallel. They soon meet, and are the same from there on.
    chains: dict[int, list[int]] = {place: [place] for place in entries}
    exits: dict[int, int | None] = {}
    while chains:
        at = min(chains)
        chain = chains.pop(at)
        if at >= len(piece):
            exits |= dict.fromkeys(chain, at - len(piece))
            continue
        begin = len(BOM) if first and at == 0 and piece.startswith(BOM) else at
        following = _following(data, begin, format_, ended=ended)
        if following is None:
            exits |= dict.fromkeys(chain)
        else:
            chains.setdefault(following, []).extend(chain)
    ways = {place: (piece.count(b"\n", 0, place), exits[place]) for place in sorted(entries)}
    return Piece(len(piece), piece.count(b"\n"), skip, ways)


def cut(pieces: Iterable[Piece], look: Callable[[int, int, int], Piece]) -> Iterator[Range]:
    """The ranges of a whole file, given its pieces in order: one for each piece in which a record begins.

    `look(start, end, entry)` examines the piece between these bytes again, with a record that begins at `entry`. It is needed for the few
    pieces for which that was not among the guesses. Raises ManifestError if a line has no end.
    """
    number = start = offset = lines = begun = 0
    line = 1
    at: int | None = 0
    for piece in pieces:
        end = offset + piece.bytes
        if at is None and piece.skip is not None:
            at = offset + piece.skip
        if at is not None and at < end:
            entry = at - offset
            way = piece.ways.get(entry) or look(offset, end, entry).ways[entry]
            if at > start:
                yield Range(number, start, at, line, lines + way[0] - begun)
                number, start, begun = number + 1, at, lines + way[0]
                line = begun + 1
            at = None if way[1] is None else end + way[1]
        offset, lines = end, lines + piece.lines
        if offset - start > LONGEST_RANGE_BYTES:
            raise ManifestError(f"After line {line} there is a line without an end.")
    if offset > start:
        yield Range(number, start, offset, line, lines - begun)


# -- reading -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it is in the file, from its physical line `line` on. `data` is None if its line is longer than a record may be."""

    line: int
    data: bytes | None

    @property
    def lines(self) -> int:
        """How many physical lines it takes."""
        return 1 if self.data is None else self.data.count(b"\n") + (not self.data.endswith(b"\n"))


def records(blocks: Iterable[bytes], format_: Format, line: int = 1) -> Iterator[Record]:
    """Split a stream into records, with little more than one of them in memory. A byte order mark at the beginning is left out."""
    source, data, at, ended = iter(blocks), b"", 0, False
    while True:
        if not ended and len(data) - at <= LONGEST_RECORD_BYTES:
            data, at, ended = _filled(data[at:], source)
            if line == 1 and data.startswith(BOM):
                at = len(BOM)
        if at == len(data):
            return
        following = _following(data, at, format_, ended=ended)
        if following is None:
            # The line is longer than a record may be, so only find its end.
            while (data := next(source, b"")) and not (following := data.find(b"\n") + 1):
                pass
            yield Record(line, None)
            line += 1
        else:
            record = Record(line, data[at:following] if following - at <= LONGEST_RECORD_BYTES else None)
            yield record
            line += record.lines
        at = following or 0


def _filled(data: bytes, source: Iterator[bytes]) -> tuple[bytes, int, bool]:
    """`data` with the blocks that follow, until it is longer than any record; where to continue (0); and whether nothing more follows."""
    parts, size = [data], len(data)
    while size <= LONGEST_RECORD_BYTES:
        block = next(source, None)
        if block is None:
            return b"".join(parts), 0, True
        parts.append(block)
        size += len(block)
    return b"".join(parts), 0, False


def check(head: bytes) -> None:
    """Raises ManifestError if a file that begins with `head` (`LONGEST_RECORD_BYTES` of it) is not text that can be split into lines."""
    begin = head[:1000]
    # In UTF-16, every other byte of English text is zero. A few zeros only mean a few bad lines.
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")) or begin.count(0) * 4 > len(begin):
        raise ManifestError("The manifest is not UTF-8, but UTF-16 or no text at all. Save it as UTF-8 (in Excel: CSV UTF-8).")
    if b"\r" in head.rstrip(b"\r") and b"\n" not in head:
        raise ManifestError(_CARRIAGE_RETURNS)


_CARRIAGE_RETURNS = "The lines end with a carriage return alone. Save the file with line feeds, or carriage returns and line feeds (CR LF)."
_MOST_PLACES = 20
"""How many wrong places of the header row are named."""
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def header(record: bytes) -> list[str]:
    """The columns that a CSV manifest's first record names. Raises ManifestError."""
    try:
        text = record.removeprefix(BOM).decode()
    except ValueError:
        raise ManifestError("The header row is not UTF-8. Save the file as UTF-8 (in Excel: CSV UTF-8).") from None
    _check_separator(text)
    try:
        names = [name.strip().lower() for name in _cells(text)]
    except _RowError as error:
        raise ManifestError(f"The header row is not CSV: {error.reason}.") from None
    named = len(names)
    while named and not names[named - 1]:
        named -= 1
    if named < len(names):
        raise ManifestError(
            f"The header row has {named} names, and {len(names) - named} empty cells after them. "
            "Delete the empty columns at the right, in all rows, and save the file again."
        )
    if empty := [number for number, name in enumerate(names, 1) if not name]:
        raise ManifestError(f"The header row has an empty cell in place {_places(empty)}. Name that column, or delete it in all rows.")
    if unknown := [number for number, name in enumerate(names, 1) if name not in COLUMNS]:
        from titleholder import field_errors  # loaded only for manifests that are refused

        # A file without a header would have its first claim repeated here, so the columns are numbered, not named.
        near = {number: field_errors.nearest(names[number - 1], COLUMNS) for number in unknown[:_MOST_PLACES]}
        places = _places(unknown, {number: f" (did you mean `{name}`?)" for number, name in near.items() if name})
        raise ManifestError(f"The header row names columns that are not known, in place {places}. Known are: {', '.join(COLUMNS)}.")
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        raise ManifestError(f"The header row names a column twice: {', '.join(twice)}.")
    if "account" not in names:
        raise ManifestError("The header row has no column account.")
    if "address" in names and set(names) & set(ADDRESS_COLUMNS):
        raise ManifestError("The header row has the column address and columns of its parts: one or the other.")
    return names


def _places(numbers: Sequence[int], notes: Mapping[int, str] | None = None) -> str:
    """The first places, each with its note, and how many others there are: a batch stores this text, and a header may have thousands."""
    shown = ", ".join(f"{number}{(notes or {}).get(number, '')}" for number in numbers[:_MOST_PLACES])
    others = len(numbers) - _MOST_PLACES
    return shown if others <= 0 else f"{shown} and {others} other{'s' if others > 1 else ''}"


def _check_separator(text: str) -> None:
    """Raises ManifestError for a first line that is not a header row, but is recognised as something else."""
    if not text.strip():
        raise ManifestError("The first line is empty. The header row has to be the first line: delete the lines before it.")
    if text.strip().strip('"').lower().startswith("sep="):
        raise ManifestError("The first line is Excel's sep= line. Delete it, so that the header row is the first line; separate by commas.")
    if text.lstrip().startswith(("{", "[")):
        raise ManifestError("The manifest looks like JSON. Create the batch with the format jsonl, one object a line.")
    for mark, name in _SEPARATORS.items():
        cells = [cell.strip().strip('"').lower() for cell in text.split(mark)]
        if len(cells) > 1 and ("account" in cells or "," not in text):
            raise ManifestError(
                f"The columns are separated by {name}. Save the file with commas between the columns. "
                "Excel takes the list separator of the system's regional settings; LibreOffice asks for it."
            )


def parse(record: Record, columns: Sequence[str] | None) -> Row | Reject | None:
    """A record's row; a reject that says what is wrong with it; or None if it is blank. `columns` None: JSON Lines."""
    if record.data is None:
        return Reject(record.line, None, f"longer than {LONGEST_RECORD_BYTES // 1024} KiB")
    try:
        text = record.data.removeprefix(BOM if record.line == 1 else b"").decode()
    except UnicodeDecodeError:
        return Reject(record.line, None, "not UTF-8")
    if not text.strip():
        return None
    try:
        if columns is None:
            given = read_json(text, DEEPEST)
            data = _without_empty(given)
        else:
            cells = _cells(text)
            if not any(cell.strip() for cell in cells):
                return None  # Spreadsheets write an empty row like this.
            data = given = _nested(cells, columns)
    except _RowError as error:
        return Reject(record.line, error.column or _column(columns, error.place), error.reason)
    except JsonTextError as error:
        known = error.name if error.name in (*COLUMNS, "claim") else None
        return Reject(record.line, known, f"not JSON: at character {error.column} {error.what}")
    if not isinstance(data, dict):
        return Reject(record.line, None, "not a JSON object")
    try:
        return Row.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
    from titleholder import field_errors  # loaded only for lines that are rejected

    # An unknown field may have any name, even a person's. So its object and its place there are named instead.
    (found,) = field_errors.explain([first], Row, given, repeat=False).errors
    field = found["field"]
    if first["type"] == "extra_forbidden":
        what, mark, rest = found["detail"].partition(";")
        where = "the line's object" if field == "body" else f"`{field}`"
        found["detail"] = f"{what} in {where}{mark}{rest}"
    if columns is not None:
        # The name of the column: the last part that is not a position in a list.
        field = [part for part in field.split(".") if not part.isdigit()][-1]
    return Reject(record.line, field if field and field != "body" else None, found["detail"])


def _column(columns: Sequence[str] | None, place: int | None) -> str | None:
    return None if columns is None or place is None or place >= len(columns) else columns[place]


def rejects(record: Record, rejected: Reject) -> Iterator[Reject]:
    """A reject for each physical line of a rejected record, so that every line of a manifest is accounted for."""
    yield rejected
    for line in range(record.line + 1, record.line + record.lines):
        yield Reject(line, None, f"in a quoted field of the record that begins on line {record.line}, which is rejected")


class _RowError(Exception):
    """`place`: the position of the wrong cell, if its column is not known yet."""

    def __init__(self, column: str | None, reason: str, place: int | None = None) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason
        self.place = place


def _cells(text: str) -> list[str]:
    """The cells of one CSV record. Raises _RowError."""
    cells: list[str] = []
    at = 0
    while True:
        found = _CELL.match(text, at)
        if found is None:
            raise _RowError(None, f"a quote is opened and not closed within {LONGEST_RECORD_BYTES // 1024} KiB", len(cells))
        cell = found[0]
        cells.append(cell[1:-1].replace('""', '"') if cell.startswith('"') else cell)
        at = found.end()
        if _LINE.fullmatch(text, at):
            return cells
        if text[at] != ",":
            quoted = cell.startswith('"')
            raise _RowError(
                None,
                "a quote within a quoted field must be doubled" if quoted else "a carriage return within a field must be quoted",
                len(cells) - 1,
            )
        at += 1


def _without_empty(data: Any) -> Any:
    """A JSON line without its empty optional fields, because an empty field counts as not given, as in CSV."""
    if not isinstance(data, dict):
        return data
    found = _given(data, ("stripe_account", "reference", "max_age"))
    if isinstance(claim := found.get("claim"), dict):
        claim = dict(claim)
        if isinstance(claim.get("aka"), list):
            claim["aka"] = [name for name in claim["aka"] if not _is_empty(name)]
        if isinstance(claim.get("address"), dict):
            claim["address"] = _given(claim["address"], ADDRESS_COLUMNS)
        found["claim"] = _given(claim, CLAIM_COLUMNS)
    return found


def _given(data: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names or not _is_empty(value)}


def _is_empty(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else value in ([], {})


def _nested(cells: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """A CSV row in the form of a JSON line. Empty cells are fields that are not given."""
    if len(cells) != len(columns):
        raise _RowError(None, f"{len(cells)} columns, where the header row has {len(columns)}")
    given: dict[str, Any] = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if cell.strip()}
    if "max_age" in given:
        if not (given["max_age"].isascii() and given["max_age"].isdigit() and len(given["max_age"]) <= 12):
            raise _RowError("max_age", "not a whole number of seconds")
        given["max_age"] = int(given["max_age"])
    if "aka" in given:
        given["aka"] = [name for name in given["aka"].split(AKA_SEPARATOR) if name.strip()]
        if not given["aka"]:
            del given["aka"]
    claim: dict[str, Any] = {name: given.pop(name) for name in CLAIM_COLUMNS if name in given}
    parts: Mapping[str, str] = {name: given.pop(name) for name in ADDRESS_COLUMNS if name in given}
    if parts:
        claim["address"] = parts
    return given | {"claim": claim}
