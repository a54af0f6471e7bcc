"""Names of businesses: what is one company, what another, and a person against a business."""

import pytest

from titleholder.matching import match


def business(claimed: str, held: str) -> object:
    return match({"business_name": claimed}, {"name": held}).fields["name"]


@pytest.mark.parametrize(
    ("claimed", "held", "low", "high", "reason"),
    [
        ("Acme Widgets, Inc.", "ACME WIDGETS INC", 99, 100, None),
        ("Acme Widgets Inc", "ACME WIDGETS", 95, 98, "LEGAL_FORM_DIFFERS"),
        ("Acme Widgets LLC", "ACME WIDGETS LTD", 0, 69, "LEGAL_FORM_CONFLICT"),
        ("Acme Services Intl", "ACME SERVICE INTERNATIONAL", 95, 99, None),
        ("Bolt Beranek & Newman Inc", "BBN CORP", 70, 89, "BUSINESS_ABBREVIATED"),
        ("Harbor Partners II", "HARBOR PARTNERS III", 0, 49, "BUSINESS_NUMBER_DIFFERS"),
        ("Gold Kist Inc", "GOLD STANDARD INC", 0, 60, "BUSINESS_NAME_DIFFERS"),
        ("Acme Widgets Inc", "ACME WIDGTES INC", 90, 94, "TYPO"),
    ],
)
def test_each_way_to_write_a_business_lands_in_its_band_with_its_reason(
    claimed: str, held: str, low: float, high: float, reason: str | None
) -> None:
    field = business(claimed, held)
    assert field.score is not None
    assert low <= field.score <= high
    if reason:
        assert reason in field.reasons


def test_words_any_business_may_use_do_not_make_two_businesses_one() -> None:
    score = business("American Software Inc", "SOFTWARE SYSTEMS INC").score
    assert score is not None
    assert score < 70


def test_a_person_and_a_business_of_that_name_are_worth_a_look_and_no_more() -> None:
    person = match({"given": "John", "family": "Smith"}, {"name": "JOHN SMITH PLUMBING LLC"})
    company = match({"business_name": "John Smith LLC"}, {"name": "JOHN SMITH"})
    for compared in (person, company):
        assert 50 <= compared.score <= 69
        assert "BUSINESS_VS_PERSON" in compared.reasons


def test_a_trade_name_counts_as_the_owners() -> None:
    field = business("Fox Landscaping", "EMMA FOX DBA FOX LANDSCAPING")
    assert field.score is not None
    assert 95 <= field.score <= 100
    assert "DOING_BUSINESS_AS" in field.reasons


@pytest.mark.parametrize(
    ("claimed", "held", "low", "high"),
    [
        ("The Testerman Family Revocable Trust", "THE TESTERMAN FAMILY REVOCABLE TRUST DTD 01/02/2003", 95, 100),
        ("Testerman Family Living Trust", "TESTERMAN FAMILY TRUST DATED 3/4/1999", 95, 100),
        ("Testerman Family Trust", "TESTERMAN FAMILY REVOCABLE TRUST", 95, 98),
        ("Testerman Family Irrevocable Trust", "TESTERMAN FAMILY REVOCABLE TRUST", 0, 69),
        ("Samplewell Family Trust", "TESTERMAN FAMILY TRUST", 0, 49),
    ],
)
def test_trust_is_recognised_by_its_name_not_by_the_day_of_its_declaration(claimed: str, held: str, low: float, high: float) -> None:
    assert low <= match({"business_name": claimed}, {"name": held}).score <= high


@pytest.mark.parametrize(
    ("claimed", "held", "low", "high", "reason"),
    [
        ("Smith Family Trust", "THE SMITH FAMILY TRUST", 99, 99, "TRUST"),
        ("Smith Family Trust", "JOHN SMITH TTEE SMITH FAMILY TRUST U/A DTD 1/2/2003", 99, 99, "TRUST"),
        ("Smith Family Trust", "JOHN SMITH TRUSTEE OF THE SMITH FAMILY TRUST", 99, 99, "TRUST"),
        ("Law Family Trust", "JULIO LAW TTEE LAW FAMILY TRUST", 99, 99, "TRUST"),
        ("John Q Smith Revocable Living Trust", "JOHN Q SMITH TTEE JOHN Q SMITH REV LIV TR", 99, 99, "TRUST"),
        ("John Smith Trust", "JOHN SMITH REVOCABLE TRUST", 95, 98, "LEGAL_FORM_DIFFERS"),
        ("John Smith Revocable Trust", "JOHN SMITH IRREVOCABLE TRUST", 50, 69, "LEGAL_FORM_CONFLICT"),
        ("John and Mary Smith Trust", "JOHN SMITH TTEE JOHN SMITH TRUST", 50, 69, "BUSINESS_WORDS_MISSING"),
        ("Smith Family Trust 2", "SMITH FAMILY TRUST", 50, 69, "BUSINESS_NUMBER_DIFFERS"),
        ("Smith Family Trust 2", "SMITH FAMILY TRUST 3", 0, 45, "BUSINESS_NUMBER_DIFFERS"),
        ("Mary Smith Trust", "JOHN SMITH TTEE JOHN SMITH TRUST", 40, 60, "RELATIVE_LIKELY"),
        ("Jones Family Trust", "JOHN SMITH TTEE SMITH FAMILY TRUST", 0, 39, "BUSINESS_NAME_DIFFERS"),
        ("Northern Trust Company", "NORTHERN TRUST CO", 95, 99, None),
    ],
)
def test_a_trust_is_recognised_by_its_own_name(claimed: str, held: str, low: float, high: float, reason: str | None) -> None:
    for claim in ({"business_name": claimed}, {"name": claimed}):
        field = match(claim, {"name": held}).fields["name"]
        assert field.score is not None
        assert low <= field.score <= high
        if reason:
            assert reason in field.reasons


def test_a_trustee_whose_surname_is_a_trade_is_a_person() -> None:
    assert match({"given": "Julio", "family": "Law"}, {"name": "JULIO LAW TTEE LAW FAMILY TRUST"}).score >= 98


@pytest.mark.parametrize("held", ["LARKMOOR TILES LARKMOOR TILES", "LARKMOOR TILES - LARKMOOR CENTER"])
def test_a_name_said_twice_is_for_review_and_an_own_phone_makes_it_a_match(held: str) -> None:
    phone, address = "+1 503 555 0142", "2140 Juniper Avenue, Tulsa, OK 74104"
    claim = {"business_name": "Larkmoor Tiles"}
    assert 50 <= match(claim, {"name": held}).score <= 69
    assert 50 <= match({**claim, "address": address}, {"name": held, "raw_address": address}).score <= 69
    assert 70 <= match({**claim, "phone": phone}, {"name": held, "phone": phone}).score <= 89


def test_a_word_of_its_own_keeps_a_business_out_of_the_match_band_whatever_agrees() -> None:
    phone = "+1 503 555 0142"
    assert match({"business_name": "Larkmoor Tiles", "phone": phone}, {"name": "LARKMOOR TILES ALDERLEY", "phone": phone}).score <= 69


@pytest.mark.parametrize(
    ("claimed", "held", "alone", "with_phone", "with_address", "with_email"),
    [
        # The same business in any spelling: no other field can raise the score.
        ("Acme Services Intl", "ACME SERVICE INTERNATIONAL", 99, 99, 99, 99),
        ("Larkmoor Tiles", "LARKMOR TILES", 92, 92, 92, 92),
        # Perhaps the same: a phone or a mailbox lifts some to a match, an address to the edge of it.
        ("Larkmoor Group", "LARKMOOR", 62, 75, 69, 75),
        ("Bolt Beranek & Newman Inc", "BBN CORP", 78.33, 80.48, 79.58, 80.93),
        # A word or a legal form too many: nothing lifts them to a match.
        ("Acme Widgets LLC", "ACME WIDGETS LTD", 60, 69, 69, 69),
        ("Larkmoor Printing", "LARKMOOR PAINTING", 60, 69, 69, 69),
        ("Larkmoor Tiles", "LARKMOOR TILES OF MAINE", 63.82, 69, 69, 69),
        # Another business: nothing lifts it at all.
        ("Larkmoor Fund VII", "LARKMOOR FUND VIII", 45, 45, 45, 45),
        ("Larkmoor Tiles", "LARKMOOR PAINTING", 43, 43, 43, 43),
        ("Larkmoor Tiles Uptown", "LARKMOOR TILES DOWNTOWN", 43, 43, 43, 43),
        ("Gold Kist Inc", "GOLD STANDARD INC", 29, 29, 29, 29),
    ],
)
def test_a_contact_lifts_a_business_only_as_far_as_its_name_allows(
    claimed: str, held: str, alone: float, with_phone: float, with_address: float, with_email: float
) -> None:
    contacts = {"phone": "4155550134", "address": "12 Elm St, Reno NV 89501", "email": "a.colby@example.com"}
    scores = [match({"business_name": claimed}, {"name": held}).score]
    for field, theirs in (("phone", "phone"), ("address", "raw_address"), ("email", "email")):
        scores.append(match({"business_name": claimed, field: contacts[field]}, {"name": held, theirs: contacts[field].upper()}).score)
    assert scores == [alone, with_phone, with_address, with_email]


@pytest.mark.parametrize(
    ("claim", "held", "score", "reasons"),
    [
        ({"name": "Larkmoor Tiles", "type": "business"}, "LARKMOOR TILES LLC", 97, ("LEGAL_FORM_DIFFERS",)),
        ({"name": "Larkmoor Tiles", "type": "person"}, "LARKMOOR TILES LLC", 62, ("BUSINESS_VS_PERSON", "NORMALISED")),
        ({"name": "Edgar Colby", "type": "business"}, "EDGAR COLBY", 100, ()),
        ({"business_name": "Edgar Colby"}, "EDGAR COLBY", 100, ()),
    ],
)
def test_a_claim_says_whether_its_name_is_a_businesss(claim: dict[str, str], held: str, score: float, reasons: tuple[str, ...]) -> None:
    compared = match(claim, {"name": held})
    assert (compared.score, compared.reasons) == (score, reasons)
