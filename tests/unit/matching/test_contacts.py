"""Addresses, phones and e-mails: the same house, the same line, the same mailbox."""

from itertools import combinations, product
from typing import Any

import pytest

from titleholder.matching import match
from titleholder.matching.addresses import compare as compare_addresses
from titleholder.matching.emails import compare as compare_emails
from titleholder.matching.phones import compare as compare_phones

CLAIM = {"line1": "123 North Main Street", "line2": "Apt 4B", "city": "Springfield", "state": "IL", "postal_code": "62701"}


@pytest.mark.parametrize(
    ("held", "low", "high", "reason"),
    [
        ("123 N MAIN ST APT 4B, SPRINGFIELD, IL 62701", 100, 100, None),
        ("123 N. Main St. #4B Springfield Illinois 62701-1234", 100, 100, None),
        ("123 N MAIN ST SPRINGFIELD IL 62701", 90, 99, "UNIT_MISSING"),
        ("123 N MAIN ST APT 9, SPRINGFIELD, IL 62701", 50, 69, "UNIT_DIFFERS"),
        ("123 N MIAN ST APT 4B, SPRINGFIELD, IL 62701", 90, 96, "STREET_SIMILAR"),
        ("125 N MAIN ST APT 4B, SPRINGFIELD, IL 62701", 0, 50, "HOUSE_NUMBER_DIFFERS"),
        ("123 OAK AVE, SPRINGFIELD, IL 62701", 0, 40, "STREET_DIFFERS"),
        ("123 S MAIN ST APT 4B, SPRINGFIELD, IL 62701", 60, 89, "DIRECTION_DIFFERS"),
        ("123 N MAIN ST APT 4B, SPRINGFIELD, MO 65806", 40, 75, "STATE_DIFFERS"),
        ("PO BOX 12, SPRINGFIELD, IL 62701", 0, 30, "PO_BOX_DIFFERS"),
        ("62701", 100, 100, "POSTAL_CODE_ONLY"),
    ],
)
def test_address_lands_in_its_band_with_its_reason(held: str, low: float, high: float, reason: str | None) -> None:
    field = compare_addresses(CLAIM, held)
    assert field is not None
    assert field.score is not None
    assert low <= field.score <= high, field
    assert (field.reasons == ()) if reason is None else (reason in field.reasons)


@pytest.mark.parametrize(
    ("claimed", "held", "score", "reasons"),
    [
        ("12 Elm St, Reno, NV 89501", "12 ELM ST RENO NV 89501 UNITED STATES", 100, ()),
        ("12 Highway No 99, Reno NV 89501", "12 HWY 99 RENO NV 89501", 100, ()),
        ("12 Co Rd Y, Reno NV 89501", "12 COUNTY ROAD Y RENO NV 89501", 100, ()),
        ("123 Main St Apt # 4, Reno NV 89501", "123 MAIN ST APT 4 RENO NV 89501", 100, ()),
        ("123 Main St Apt 4, Bldg 2, Reno NV 89501", "123 MAIN ST APT 4 BLDG 2 RENO NV 89501", 100, ()),
        ("123 Main St, Bldg C, Apt 9", "123 MAIN ST BLDG C APT 9", 100, ()),
        ("12 Avenue, Reno NV 89501", "12 AVE RENO NV 89501", 100, ()),
        # One digit of a number is a typing error only where there are many.
        ("123 Main St, Reno NV 89501", "124 MAIN ST RENO NV 89501", 35, ("HOUSE_NUMBER_DIFFERS",)),
        ("1234 Main St, Reno NV 89501", "1235 MAIN ST RENO NV 89501", 45, ("HOUSE_NUMBER_DIFFERS",)),
        ("123", "123", 100, ("POSTAL_CODE_ONLY",)),
        ("Elm St", "ELM ST", 100, ()),
    ],
)
def test_address_has_one_score_however_it_is_written(claimed: str, held: str, score: float, reasons: tuple[str, ...]) -> None:
    assert compare_addresses(claimed, held) == (score, None, reasons)


HOME = {"line1": "12 Larkspur Ln", "city": "Salt Lake City", "state": "UT", "postal_code": "84101"}
IN_FULL = "12 LARKSPUR LN SALT LAKE CITY UT 84101"
PLACES: list[tuple[Any, str, float | None]] = [
    ({"city": "Salt Lake City"}, "SALT LAKE CITY", 65.0),
    ({"city": "Salt Lake City", "state": "Utah"}, "SALT LAKE CITY UT", 65.0),
    ({"city": "Salt Lake City"}, IN_FULL, 65.0),
    ({"city": "Salt Lake City"}, "12 LARKSPUR LN, SALT LAKE CITY, UT 84101, USA", 65.0),
    ({"city": "Salt Lake City", "country": "US"}, "SALT LAKE CITY UT US", 65.0),
    ({"line2": "Apt 4", "city": "Salt Lake City"}, "12 LARKSPUR LN APT 4 SALT LAKE CITY UT", 65.0),
    ({"line1": "N/A", "city": "Reno"}, "RENO NV 89501", 65.0),
    ({"city": "Mount Vernon"}, "12 OAK ST, MT VERNON, NY 10550", 65.0),
    ({"city": "North Port"}, "NORTH PORT FL", 65.0),
    ({"city": "Forest Park"}, "FOREST PARK GA", 65.0),
    ({"city": "Reno"}, "PO BOX 12 RENO NV", 65.0),
    ({"city": "Reno"}, "12 BROADWAY RENO NV", 65.0),
    ({"city": "Washington"}, "NW OAK BLVD, NO. 3, WASHINGTON, DC", 65.0),
    (HOME, "SALT LAKE CITY", 65.0),
    ("Salt Lake City, UT", IN_FULL, 65.0),
    ({"line1": "Reno NV"}, "12 LARKSPUR LN RENO NV", 65.0),
    ("12 Old Broadway", "BROADWAY", 65.0),
    ({"city": "Salt Lake Citty"}, IN_FULL, 60.0),
    (HOME, "SALT LAKE CITY UT 84101", 100.0),
    (HOME, "UT 84101", 100.0),
    (HOME, "84101", 100.0),
    ({"postal_code": "84101"}, IN_FULL, 100.0),
    ({"postal_code": "84101"}, "84101-2233", 100.0),
    # Nothing in common that could differ
    ({"postal_code": "84101"}, "SALT LAKE CITY UT", None),
    ({"city": "Reno"}, "12 LARKSPUR LN", None),
    ({"city": "Reno", "state": "NV"}, "12 LARKSPUR LN, NV 89501", None),
    ({"city": "Reno"}, "W123N456 EAST US HWY101 E # 12", None),
    ({"state": "UT"}, IN_FULL, None),
    (HOME, "UT", None),
    ("Nevada", "RENO NEVADA", None),
    ("Washington", "WASHINGTON DC", 65.0),
    ({"line2": "Apt 4"}, "12 LARKSPUR LN APT 4", None),
    ("12 Elm St", "RENO NV 89501", None),
    ("PO Box 12", "RENO NV 89501", None),
    ("12 Elm St NV", "FOREST PARK NV 89501", None),
    # Only the postal code or the state in common
    ("12 Elm St 89501", "RENO NV 89501", 100.0),
    ("12 Elm St, NV 89501", "Reno 89501", 100.0),
    ("1012 AB", "1012 AB", 100.0),
    ("1012 AB", "9974 AB", 20.0),
    ("12 Elm St NV", "SALT LAKE CITY UT 84101", 20.0),
    # Another place
    ({"city": "Reno"}, IN_FULL, 20.0),
    ({"city": "Reno"}, "SALT LAKE CITY", 20.0),
    ({"city": "Lake City"}, "SALT LAKE CITY", 20.0),
    ({"state": "NV"}, IN_FULL, 20.0),
    ({"city": "Springfield", "state": "IL"}, "SPRINGFIELD MO", 20.0),
]


@pytest.mark.parametrize(("claimed", "held", "score"), PLACES, ids=lambda value: str(value)[:60])
def test_parts_of_an_address_compare_with_the_same_parts(claimed: Any, held: str, score: float | None) -> None:
    found = compare_addresses(claimed, held)
    assert (found and found.score) == score, found
    assert (found is not None and any(reason.endswith("_DIFFERS") for reason in found.reasons)) is (score == 20.0)


@pytest.mark.parametrize("country", ["USA", "US", "United States"])
def test_country_after_a_comma_hides_neither_code_nor_state(country: str) -> None:
    found = compare_addresses(HOME, f"12 Larkspur Ln, Reno, NV 84101, {country}")
    assert found is not None
    assert found.reasons == ("STATE_DIFFERS", "CITY_DIFFERS")


def test_country_of_a_phone_number_may_be_its_context() -> None:
    elsewhere = compare_phones("tel:2079460958;phone-context=+44", "+1 207 946 0958")
    assert elsewhere is not None
    assert elsewhere.score == 0


def test_post_office_boxes_compare_by_number() -> None:
    assert compare_addresses("P.O. Box 1298, Chicago IL 60611", "PO BOX 1298 CHICAGO IL 60611") == (100.0, None, ())
    other = compare_addresses("P.O. Box 1298, Chicago IL 60611", "PO BOX 1299 CHICAGO IL 60611")
    assert other is not None
    assert other.score == 25


def test_an_address_abroad_compares_by_number_street_and_code() -> None:
    field = compare_addresses(
        {"line1": "28 Chataway Crescent", "city": "Penshurst", "postal_code": "2558"}, "28 chataway cres, penshurst, nsw 2558"
    )
    assert field is not None
    assert field.score == 100


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("+1 (415) 555-0134", "4155550134", 100),
        ("0014155550134", "1-415-555-0134", 100),
        ("415-555-0134 x12", "(415) 555-0134", 85),
        ("555-0134 1", "call me", None),
        ("5550134", "+1 415 555 0134", 75),
        ("+44 415 555 0134", "+1 415 555 0134", 0),
        ("4155550134", "4155550143", 0),
        ("03 331 6005", "+64 3 331-6005", 100),
        ("1800 FLOWERS", "18003569377", 100),
    ],
)
def test_phone_numbers_compare_by_their_digits(one: str, other: str, score: float | None) -> None:
    field = compare_phones(one, other)
    assert (field.score if field else None) == score


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("Jane.Doe@Example.com", "jane.doe@example.com", 100),
        ("jane.doe@gmail.com", "janedoe@googlemail.com", 99),
        ("jane.doe@example.com", "janedoe@example.com", 50),
        ("jane+bank@example.com", "jane@example.com", 85),
        ("jane-bank@yahoo.com", "jane@yahoo.com", 85),
        ("jane@example.com", "john@example.com", 0),
        ("jane@example.com", "jane@example.org", 50),
    ],
)
def test_emails_compare_by_the_mailbox_they_reach(one: str, other: str, score: float) -> None:
    field = compare_emails(one, other)
    assert field is not None
    assert field.score is not None
    assert field.score == score if score >= 70 else field.score < 70


@pytest.mark.parametrize(
    ("field", "nothing"),
    [
        ("phone", "0000000000"),
        ("phone", "12"),
        ("phone", "call me"),
        ("phone", "N/A"),
        ("email", "test@test.com"),
        ("email", "no-email@none.com"),
        ("email", "N/A"),
        ("address", "-,-"),
        ("address", "# ,"),
        ("address", "N/A"),
    ],
)
def test_placeholder_is_missing_on_its_own_side(field: str, nothing: str) -> None:
    key = "raw_address" if field == "address" else field
    usual = {"address": "12 Elm St, Reno NV 89501", "phone": "415 555 0134", "email": "edgar@example.com"}[field]
    sides = ((nothing, usual), (usual, nothing), (nothing, nothing), (nothing, None), (None, nothing))
    found = [match({"name": "Edgar Colby", field: mine}, {"name": "EDGAR COLBY", key: theirs}).fields[field] for mine, theirs in sides]
    assert [(one.score, one.missing) for one in found] == [(None, side) for side in ("claim", "bank", "both", "both", "both")]


LINES = {"line1": "12 Elm St", "city": "Reno", "state": "NV", "postal_code": "89501"}


def _written(parts: tuple[str, ...], among: dict[str, str], comma: str) -> str:
    """Parts of an address in one line."""
    before, after = ([among[part] for part in parts if part in some] for some in (("line1", "city"), ("state", "postal_code")))
    return f"{comma} ".join([*before, " ".join(after)] if after else before)


@pytest.mark.parametrize(
    "among",
    [
        LINES,
        {**LINES, "city": "Salt Lake City", "state": "UT"},
        {**LINES, "city": "Forest Park", "state": "GA"},
        {**LINES, "city": "North Las Vegas"},
        {**LINES, "city": "St Paul", "state": "MN"},
        {**LINES, "line1": "310 NE Alder Blvd Apt 4"},
        {**LINES, "line1": "12 Broadway"},
        {**LINES, "line1": "PO Box 12"},
        {**LINES, "line1": "Elm Street"},
    ],
    ids=lambda among: f"{among['line1']}, {among['city']}",
)
def test_addresses_without_a_part_in_common_are_missing_on_both_sides(among: dict[str, str]) -> None:
    some = [parts for count in (1, 2, 3) for parts in combinations(among, count)]
    wrong = []
    for mine, theirs, comma in product(some, some, ("", ",")):
        held = _written(theirs, among, comma).upper()
        for claimed in (_written(mine, among, ""), _written(mine, among, ","), {part: among[part] for part in mine}):
            found = match({"name": "Edgar Colby", "address": claimed}, {"name": "EDGAR COLBY", "raw_address": held}).fields["address"]
            if set(mine).isdisjoint(theirs) and (found.score, found.missing) != (None, "both"):
                wrong.append((claimed, held, found))
    assert wrong == []
