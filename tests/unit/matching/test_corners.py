"""Rules that few verdicts show, each by the module that keeps it."""

from __future__ import annotations

import pytest

from titleholder.matching import account, addresses, decide, ranking, romanisation, titles
from titleholder.matching.evidence import UNKNOWN, Known
from titleholder.matching.names import Memo


def of(cultures: str) -> Known:
    """A name that is known as a surname of the cultures."""
    return Known(0, 5, "-", cultures)


@pytest.mark.parametrize(
    ("one", "other", "culture"), [("yehudah", "yehuda", "h"), ("brockmann", "brokmann", "g"), ("fatimah", "fatima", "a")]
)
def test_word_is_transcribed_alike_only_in_its_culture(one: str, other: str, culture: str) -> None:
    assert romanisation.one_original(one, other, of(culture), of(culture)) == culture
    assert romanisation.one_original(one, other, UNKNOWN, UNKNOWN, eastern=False) == ""


@pytest.mark.parametrize(("cultures", "same"), [("", False), ("s", True), ("r", True), ("g", False)])
@pytest.mark.parametrize(("her", "his"), [("veqina", "veqin"), ("veqa", "veqis"), ("veqna", "veqny"), ("veqta", "veqty")])
def test_short_ending_makes_a_feminine_surname_where_surnames_have_one(her: str, his: str, cultures: str, same: bool) -> None:
    assert romanisation.one_surname(her, his, of(cultures), UNKNOWN) is same
    assert romanisation.one_surname(his, her, UNKNOWN, of(cultures)) is same


@pytest.mark.parametrize(
    ("title", "words", "joined"),
    [
        ("SMITH, CAPT-JOHN PAUL", ("smith", "john", "paul"), {1}),
        ("SMITH, CAPT JEAN-PAUL", ("smith", "jean", "paul"), {1}),
        ("SMITH-COLBY, CAPT JOHN", ("smith", "colby", "john"), {0}),
    ],
)
def test_hyphen_joins_the_same_words_without_the_title(title: str, words: tuple[str, ...], joined: set[int]) -> None:
    (party,) = titles.read_title(title).parties
    assert (party.words, set(party.joined), party.title) == (words, joined, "capt")


@pytest.mark.parametrize(("suffix", "generation"), [("Jr", "2"), ("Sr", "1"), ("II", "ii"), ("III", "3")])
def test_generation_may_follow_the_given_name(suffix: str, generation: str) -> None:
    (party,) = titles.claimed_party(f"Edgar {suffix}", None, "Colby", None).parties
    assert (party.words, party.generation) == (("edgar", "colby"), generation)


def test_note_in_brackets_that_tells_a_minor_is_no_name() -> None:
    assert [(party.words, party.context) for party in titles.read_title("EDGAR COLBY (MINOR)").parties] == [(("edgar", "colby"), "minor")]


@pytest.mark.parametrize(
    ("line", "street", "kind", "directions", "tail"),
    [
        ("12 Route 66, Reno NV 89501", ("66",), "rte", set(), ("reno",)),
        ("12 Route No 66, Reno NV 89501", ("66",), "rte", set(), ("reno",)),
        ("12 Route No 66 N, Reno NV 89501", ("66",), "rte", {"n"}, ("reno",)),
        ("12 Route 66 N, Reno NV 89501", ("66",), "rte", {"n"}, ("reno",)),
        ("123 Main St Apt 4, Bldg", ("main",), "st", set(), ()),
        ("123 Main St Apt 4, Bldg, Reno", ("main",), "st", set(), ("reno",)),
    ],
)
def test_street_and_place_are_taken_apart(
    line: str, street: tuple[str, ...], kind: str, directions: set[str], tail: tuple[str, ...]
) -> None:
    found = addresses.parse(line)
    assert found is not None
    assert (found.street, found.kind, set(found.directions), found.tail) == (street, kind, directions, tail)


@pytest.mark.parametrize(
    ("mine", "held", "score"),
    [
        ("PO Box 120, Reno NV 89501", "PO BOX 120 RENO NV 89501", 100.0),
        ("PO Box 0120, Reno NV 89501", "PO BOX 120 RENO NV 89501", 100.0),
        ({"city": "Salt Lake City"}, {"city": "Salt Lake City"}, 65.0),
        ({"city": "Salt Lake City"}, {"city": "Reno"}, 20.0),
    ],
)
def test_boxes_and_towns_are_compared(mine: object, held: object, score: float) -> None:
    found = addresses.compare(mine, held)
    assert found is not None
    assert found.score == score


def test_title_that_is_not_read_to_its_end_cannot_be_accounted_for() -> None:
    title = titles.read_title("EDGAR COLBY")._replace(full=False)
    claim = titles.read_claim("Edgar Colby")
    assert account.settle(claim.parties[0], claim, title.parties[0], title, Memo()) == (
        69.0,
        ("WORDS_LEFT_OVER",),
        False,
        0.0,
        False,
        "none",
    )


@pytest.mark.parametrize("family", ["F_ALIKE", "F_CUT_EARLY", "F_NEAR", "F_TYPO_2_SHORT"])
def test_doubtful_surname_is_for_review_however_common_the_rest(family: str) -> None:
    assert ranking.person_field(ranking.Comparison(12.0, ("G_SAME", family, "M_ONE", "S_NONE", "O_SAME", "C_NONE"))).score == 69.0


@pytest.mark.parametrize(
    ("claimed", "family", "log_odds"),
    [("Johnsmith", "F_SAME", 4.27), ("Smithjohn", "F_SAME", 4.27), ("Johnsmitt", "F_TYPO", 4.02), ("Jonsmith", None, None)],
)
def test_name_in_one_word_is_compared_with_the_parts_put_together(claimed: str, family: str | None, log_odds: float | None) -> None:
    found = ranking.compare(titles.read_claim(claimed).parties[0], titles.read_title("JOHN SMITH").parties[0], Memo())
    assert found is not None
    if family:
        assert found == (log_odds, ("G_SAME", family, "M_ONE", "S_NONE", "O_SAME", "C_GLUED"))
    else:
        assert "C_GLUED" not in found.levels


@pytest.mark.parametrize(("short", "long"), [("Sto", "Santo"), ("Sta", "Santa"), ("Ste", "Sainte"), ("St", "Saint"), ("El", "Al")])
def test_particle_may_be_written_short(short: str, long: str) -> None:
    found = decide({"given": "Rosa", "family": f"{short} Tomas"}, [{"name": f"ROSA {long} TOMAS"}]).fields["name"]
    assert (found.score, found.reasons) == (99.0, ("NORMALISED",))


def test_title_of_many_beneficiaries_is_read() -> None:
    names_of = [f"EDGAR{letter * 3} COLBY{letter * 3}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    parties = titles.read_title(" POD ".join(names_of)).parties
    assert (parties[0].words, parties[0].context) == (("edgaraaa", "colbyaaa"), "plain")
    assert {party.context for party in parties[1:]} == {"beneficiary"}


def test_executor_of_an_estate_may_share_its_surname() -> None:
    parties = titles.read_title("HUGH NASH POD ESTATE OF EDGAR COLBY ALMA COLBY EXEC").parties
    found = [(party.words, party.context) for party in parties]
    assert found == [(("hugh", "nash"), "plain"), (("edgar", "colby"), "estate"), (("alma", "colby"), "executor")]
