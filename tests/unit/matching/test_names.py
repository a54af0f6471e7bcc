"""Names of people: what is the same person, what is a relative, and which reason says so."""

import pytest

from titleholder.matching import Policy, decide, match


def name_field(claimed: object, held: str) -> object:
    claim = claimed if isinstance(claimed, dict) else {"name": claimed}
    return match(claim, {"name": held}).fields["name"]


JOHN = {"given": "John", "middle": "Quincy", "family": "Smith"}


@pytest.mark.parametrize(
    ("held", "low", "high", "reason"),
    [
        ("JOHN QUINCY SMITH", 100, 100, None),
        ("SMITH, JOHN Q", 99, 99, "MIDDLE_INITIAL"),
        ("SMITH JOHN Q", 99, 99, "SURNAME_FIRST"),
        ("Mr. John Smith", 98, 99, "MIDDLE_OMITTED"),
        ("J Q SMITH", 70, 89, "INITIALS_ONLY"),
        ("JOHN SMITH JR", 95, 98, "GENERATIONAL_SUFFIX_DIFFERS"),
        ("JACK SMITH", 90, 94, "NICKNAME"),
        ("JOHN SMTIH", 90, 94, "TYPO"),
        ("JON SMITH", 90, 94, "SPELLING_VARIANT"),
        ("JOHNSMITH", 90, 99, "GLUED"),
        ("JOHN P SMITH", 40, 69, "MIDDLE_DIFFERS"),
        ("MARY SMITH", 40, 60, "RELATIVE_LIKELY"),
        ("JOHN BAKER", 40, 60, "SURNAME_DIFFERS"),
        ("MARY BAKER", 0, 30, "NAME_DIFFERS"),
    ],
)
def test_each_way_to_write_a_name_lands_in_its_band_with_its_reason(held: str, low: float, high: float, reason: str | None) -> None:
    field = name_field(JOHN, held)
    assert field.score is not None
    assert low <= field.score <= high
    if reason is None:
        assert field.reasons == ()
    else:
        assert reason in field.reasons


@pytest.mark.parametrize(
    ("one", "other"), [("Mark", "Mary"), ("Brian", "Briana"), ("Mario", "Maria"), ("Daniel", "Daniella"), ("Eric", "Erin")]
)
def test_one_letter_does_not_make_two_known_names_one(one: str, other: str) -> None:
    field = name_field(f"{one} Olsen", f"{other} Olsen")
    assert field.score is not None
    assert field.score < 60
    assert "RELATIVE_LIKELY" in field.reasons


def test_nicknames_lead_to_the_formal_name_and_not_from_one_formal_name_to_another() -> None:
    assert name_field("Bob Miller", "ROBERT MILLER").score == 90
    assert name_field("Bert Miller", "ALBERT MILLER").score == 90
    shared = name_field("Robert Miller", "ALBERT MILLER")
    assert shared.score is not None
    assert shared.score < 60


@pytest.mark.parametrize(
    ("claimed", "held"),
    [
        ({"given": "José", "family": "Núñez"}, "JOSE NUNEZ"),
        ({"given": "Marie-Claire", "family": "O'Brien"}, "MARIE CLAIRE OBRIEN"),
        ({"given": "Juan", "family": "de la Vega"}, "DE LA VEGA, JUAN"),
        ({"given": "Juan", "family": "de la Vega"}, "JUAN DELAVEGA"),
        ({"given": "Иван", "family": "Петров"}, "IVAN PETROV"),
        ({"given": "Γιώργος", "family": "Παπάς"}, "GIORGOS PAPAS"),
        ({"given": "Maryann", "family": "Lee"}, "MARY ANN LEE"),
    ],
)
def test_accents_particles_scripts_and_glued_words_are_the_same_name(claimed: dict[str, str], held: str) -> None:
    score = name_field(claimed, held).score
    assert score is not None
    assert score >= 94


IN_TWO_SCRIPTS = [
    ("加藤真理", "KATO MARI"),
    ("加藤 真理", "KATO MARI"),
    ("加藤 真理", "KATO"),
    ("加藤 真 理", "MR KATO MARI K"),
    ("カトウ マリ", "KATO MARI"),
    ("カトウ マリ", "加藤 真理"),
    ("李 明", "LI MING"),
    ("김 민수", "MINSU KIM"),
    ("김 민수", "金 民洙"),
    ("हरि गिल", "HARI GILL"),
    ("สมชาย ใจดี", "SOMCHAI JAIDEE"),
    ("სანდრო ბერიძე", "SANDRO BERIDZE"),
    ("हरि गिल", "ХАРИ ГИЛЛ"),
    ("加藤 真理", "KATO MARI JR"),
    ("加藤 真理", "דוד כהן"),
]


@pytest.mark.parametrize(("one", "other"), IN_TWO_SCRIPTS)
def test_names_in_two_scripts_are_not_compared_however_many_words_they_have(one: str, other: str) -> None:
    for claimed, held in ((one, other), (other, one)):
        found = match({"name": claimed}, {"name": held})
        assert (found.score, found.reasons) == (47.11, ("SCRIPT_DIFFERS",))
        anyway = Policy("anyway", match_threshold=70, close_match_threshold=40)
        assert decide({"name": claimed}, [{"name": held}], anyway).outcome == "close_match"


@pytest.mark.parametrize(
    ("claimed", "held", "reasons"),
    [
        ({"given": "真理", "family": "加藤"}, "KATO MARI", ("SCRIPT_DIFFERS",)),
        ({"name": "加藤 真理"}, "KATO MARI & KATO KEN", ("SCRIPT_DIFFERS", "JOINT_OWNER")),
        ({"name": "加藤 真理"}, "KATO MARI REVOCABLE LIVING TRUST", ("SCRIPT_DIFFERS", "TRUST")),
        ({"name": "加藤 真理 Jr"}, "KATO MARI SR", ("GENERATIONAL_SUFFIX_CONFLICT", "SCRIPT_DIFFERS")),
        ({"name": "加藤 真理"}, "KATO TILES LLC", ("BUSINESS_VS_PERSON", "SCRIPT_DIFFERS")),
        ({"business_name": "加藤 商事"}, "KATO SHOJI LLC", ("SCRIPT_DIFFERS",)),
        ({"business_name": "加藤 商事 11"}, "KATO SHOJI 12", ("BUSINESS_NAME_DIFFERS", "BUSINESS_NUMBER_DIFFERS")),
        ({"business_name": "株式会社 加藤 商事"}, "KATO SHOJI", ("SCRIPT_DIFFERS",)),
    ],
)
def test_every_kind_of_name_in_two_scripts_is_not_compared(claimed: dict[str, str], held: str, reasons: tuple[str, ...]) -> None:
    assert match(claimed, {"name": held}).reasons == reasons


@pytest.mark.parametrize(
    ("claimed", "held", "low", "high", "reason"),
    [
        ("Иван Петров", "IVAN PETROV", 95, 100, None),
        ("Иван Петров", "ALMA VENABLE", 0, 39, "NAME_DIFFERS"),
        ("Γιώργος Παπάς", "ALMA VENABLE", 0, 39, "NAME_DIFFERS"),
        ("דוד כהן", "ALMA VENABLE", 0, 39, "NAME_DIFFERS"),
        ("加藤 真理 Kato Mari", "ALMA VENABLE", 0, 39, "NAME_DIFFERS"),
        ("加藤 真理 (Kato Mari)", "ALMA VENABLE", 0, 39, "NAME_DIFFERS"),
        ("加藤 Mari", "ALMA VENABLE", 0, 39, "NAME_DIFFERS"),
        ("加藤 マリ", "カトウ マリ", 40, 59, "RELATIVE_LIKELY"),
        ("加藤 真理", "田中 太郎", 0, 39, "NAME_DIFFERS"),
    ],
)
def test_names_of_which_a_part_can_be_compared_are_compared(claimed: str, held: str, low: int, high: int, reason: str | None) -> None:
    found = match({"name": claimed}, {"name": held})
    assert low <= found.score <= high
    assert found.reasons[:1] != ("SCRIPT_DIFFERS",)
    assert reason is None or reason in found.reasons


def test_name_in_the_owners_script_counts_if_a_claim_has_names_in_two_scripts() -> None:
    for name in ("加藤 真理", "加藤真理"):
        claim = {"name": name, "aka": ["Kato Mari"]}
        assert match(claim, {"name": "ALMA VENABLE"}).reasons[:2] == ("ALSO_KNOWN_AS", "NAME_DIFFERS")
        assert match(claim, {"name": "KATO MARI"}).score == 97


@pytest.mark.parametrize(
    ("surname", "one", "other"),
    [
        ("Li", "Ming", "MIN"),
        ("Guo", "Ping", "PIN"),
        ("Xu", "Qing", "QIN"),
        ("Tan", "Xiaoming", "XIAOMIN"),
        ("Kim", "Jiwon", "JIWOO"),
        ("Chen", "Jianhua", "JIANGHUA"),
    ],
)
def test_given_names_of_other_syllables_differ_in_each_order(surname: str, one: str, other: str) -> None:
    for claimed in (f"{surname} {one}", f"{one} {surname}"):
        for held in (f"{surname.upper()} {other}", f"{other} {surname.upper()}"):
            found = match({"name": claimed}, {"name": held})
            assert found.score <= 59
            assert "GIVEN_NAME_DIFFERS" in found.reasons


@pytest.mark.parametrize(
    ("claimed", "held", "low", "high"),
    [
        # No syllables, so a typing error.
        ("Li Ming", "LI MNG", 70, 89),
        # One Korean name in two spellings.
        ("Park Gwon", "PARK KWON", 60, 100),
        # The surnames of two families, behind a given name.
        ("Yan Li", "YAN LIN", 60, 69),
        ({"given": "Siew", "family": "Chan"}, "SIEW CHANG", 60, 69),
        # Other cultures' names, the first of which is also a Chinese surname.
        ("Ma Luna Reyes", "MA LUNNA REYES", 90, 94),
        ("Lin Dolan", "LIN DOLEN", 90, 94),
    ],
)
def test_syllables_say_nothing_about_other_names(claimed: object, held: str, low: int, high: int) -> None:
    assert low <= name_field(claimed, held).score <= high


def test_double_surname_in_part_is_one_step_away() -> None:
    field = name_field({"given": "Ana", "family": "García López"}, "ANA GARCIA")
    assert field.score is not None
    assert 90 <= field.score <= 94
    assert "SURNAME_IN_PART" in field.reasons


def test_maiden_name_matches_through_also_known_as() -> None:
    claim = {"given": "Anna", "family": "Becker", "aka": ["Anna Schmidt"]}
    field = name_field(claim, "ANNA SCHMIDT")
    assert field.score == 97
    assert field.reasons[0] == "ALSO_KNOWN_AS"
    assert name_field({"given": "Anna", "family": "Becker"}, "ANNA SCHMIDT").score < 60  # type: ignore[operator]


def test_a_missing_first_given_name_is_for_review() -> None:
    field = name_field({"given": "James", "middle": "Danforth", "family": "Quayle"}, "DAN QUAYLE")
    assert field.score is not None
    assert 50 <= field.score <= 69
    assert "MIDDLE_AS_GIVEN" in field.reasons


def test_a_name_cut_at_a_fixed_width_is_recognised_and_a_short_one_is_not_taken_for_cut() -> None:
    cut = name_field("Christopher Montgomery", "CHRISTOPHER MONTGOME")
    assert cut.score is not None
    assert cut.score >= 70
    assert "TRUNCATED" in cut.reasons
    assert name_field("Maria Teresa", "MARIA TERE").score <= 69  # type: ignore[operator]


@pytest.mark.parametrize(
    "held", ["JOHN & JANE SMITH", "SMITH JOHN OR JANE", "JOHN SMITH AND JANE SMITH JT TEN", "JOHN SMITH JANE SMITH JTWROS"]
)
def test_either_joint_owner_matches_and_a_third_does_not(held: str) -> None:
    for given in ("John", "Jane"):
        score = name_field({"given": given, "family": "Smith"}, held).score
        assert score is not None
        assert score >= 95
    assert name_field({"given": "Mary", "family": "Smith"}, held).score < 60  # type: ignore[operator]


@pytest.mark.parametrize(
    ("held", "owner", "other"),
    [
        ("JOHN SMITH TTEE SMITH FAMILY TRUST", "John", "Jane"),
        ("THE SMITH FAMILY TRUST JOHN SMITH TRUSTEE", "John", "Jane"),
        ("JOHN SMITH TR U/A DTD 03/14/2011", "John", "Jane"),
        ("JOHN Q SMITH REVOCABLE LIVING TRUST", "John", "Jane"),
        ("JOHN SMITH POD JANE SMITH", "John", "Jane"),
        ("JOHN SMITH DBA SMITH PLUMBING", "John", "Jane"),
    ],
)
def test_roles_in_an_account_title_tell_owner_from_others(held: str, owner: str, other: str) -> None:
    assert name_field({"given": owner, "family": "Smith"}, held).score >= 90  # type: ignore[operator]
    assert name_field({"given": other, "family": "Smith"}, held).score < 60  # type: ignore[operator]


def test_generations_that_contradict_are_two_people() -> None:
    field = name_field("John Smith Jr", "JOHN SMITH SR")
    assert "GENERATIONAL_SUFFIX_CONFLICT" in field.reasons
    assert field.score is not None
    assert field.score < 70


def test_people_called_like_a_trade_are_people() -> None:
    assert name_field({"given": "Jayde", "family": "Glass"}, "JAYDE GLASS").score == 100
    assert name_field({"given": "Ann", "family": "Church"}, "ANN M CHURCH").score >= 98  # type: ignore[operator]


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("Nancy Wslliiam", "NANCY WILLIAMS", "SURNAME_SIMILAR"),
        ("Tomiyhy Okafor", "TIMOTHY OKAFOR", "GIVEN_NAME_SIMILAR"),
    ],
)
def test_letters_out_of_order_are_for_review(one: str, other: str, reason: str) -> None:
    field = name_field(one, other)
    assert field.score is not None
    assert 50 <= field.score <= 69
    assert reason in field.reasons


def test_a_mistyped_nickname_still_leads_to_the_formal_name() -> None:
    field = name_field({"given": "Charles", "family": "Okafor"}, "CHARKIE OKAFOR")
    assert field.score is not None
    assert 70 <= field.score < 90
    assert field.reasons == ("NICKNAME",)


@pytest.mark.parametrize("held", ["JOHN PETER SMITH", "JOHN P SMITH"])
def test_another_middle_name_is_for_review_whatever_else_agrees(held: str) -> None:
    field = name_field(JOHN, held)
    assert field.score is not None
    assert 50 <= field.score <= 69
    assert field.reasons[0] == "MIDDLE_DIFFERS"


def test_a_similar_given_name_with_another_middle_name_is_a_relatives_and_no_address_lifts_it() -> None:
    home = "12 Oak St, Reno, NV 89501"
    compared = match(
        {"given": "Markell", "middle": "Samuel", "family": "Olsen", "address": home},
        {"name": "MARGARET C OLSEN", "raw_address": home},
    )
    assert compared.score < 60
    assert "RELATIVE_LIKELY" in compared.reasons


def test_of_two_wrong_names_the_one_that_is_closer_never_scores_less() -> None:
    claim = {"given": "Walter", "family": "Hutchinson"}
    same, mistyped, other = (
        match(claim, {"name": name}).score for name in ("GERALDINE HUTCHINSON", "GERALDINE HUTCHINSIN", "GERALDINE BAKER")
    )
    assert same >= mistyped >= other


@pytest.mark.parametrize(
    ("claimed", "held"),
    [
        ("Zorah Colby", "ZORA COLBY"),
        ("Tovah Colby", "TOVA COLBY"),
        ("Shlomoh Colby", "SHLOMO COLBY"),
        ("Yehudah Colby", "YEHUDA COLBY"),
        ("Quorly Colby", "QUORLIE COLBY"),
        ("Kelly Colby", "KELLEY COLBY"),
    ],
)
def test_another_spelling_of_a_given_names_end_is_the_same_name(claimed: str, held: str) -> None:
    compared = match({"name": claimed}, {"name": held})
    assert (compared.score, compared.reasons) == (93.84, ("SPELLING_VARIANT",))


@pytest.mark.parametrize(
    ("claimed", "held", "score"),
    [
        ("Alma Colby-Nash", "COLBY-NASH EDGAR OR ALMA", 99),
        ("Alma Cruz", "DE LA CRUZ EDGAR & ALMA", 99),
        ("Alma De La Cruz", "EDGAR DE LA CRUZ AND ALMA", 99),
        ("Alma Quesada Barrientos", "EDGAR AND ALMA QUESADA BARRIENTOS", 99),
        ("Alma Colby", "COLBY JAMES & ALMA", 99),
        ("Alma Venable", "EDGAR DE LA CRUZ & ALMA", 46.5),
    ],
)
def test_joint_owner_without_a_surname_has_the_whole_one_of_the_other(claimed: str, held: str, score: float) -> None:
    assert match({"name": claimed}, {"name": held}).score == score


@pytest.mark.parametrize(
    ("claim", "held", "score", "reasons"),
    [
        ({"name": "Edgar Colby"}, "EDGAR COLBY AS TRUSTEE OF THE COLBY FAMILY TRUST", 99, ("NORMALISED", "TRUST")),
        ({"name": "Edgar Colby"}, "EDGAR COLBY TTEE AS TR", 99, ("NORMALISED", "TRUST")),
        ({"given": "Edgar", "family": "iii Colby"}, "EDGAR COLBY III", 97, ("MIDDLE_OMITTED", "GENERATIONAL_SUFFIX_DIFFERS")),
        ({"given": "Edgar", "family": "III Colby"}, "EDGAR COLBY", 98, ("MIDDLE_OMITTED",)),
    ],
)
def test_capacity_or_generation_in_an_odd_place_is_read(claim: dict[str, str], held: str, score: float, reasons: tuple[str, ...]) -> None:
    compared = match(claim, {"name": held})
    assert (compared.score, compared.reasons) == (score, reasons)


def test_contacts_do_not_lift_another_trust() -> None:
    claim = {"name": "Colby Family Trust", "phone": "4155550134", "address": "12 Elm St, Reno NV 89501"}
    owner = {"name": "LARKMOOR FAMILY TRUST", "phone": "4155550134", "raw_address": "12 ELM ST RENO NV 89501"}
    assert match(claim, owner).fields["name"] == (20.0, None, ("BUSINESS_NAME_DIFFERS", "TRUST"))
    assert match(claim, owner).score == 20


@pytest.mark.parametrize(
    ("claim", "held", "score", "reasons"),
    [
        # Two short forms of one name, which may be two men's.
        ({"name": "Bobby Colby"}, "ROB COLBY", 67, ("NICKNAME",)),
        ({"name": "Liz Colby"}, "BETH COLBY", 67, ("NICKNAME",)),
        # Words in brackets are another name, however short.
        ({"name": "Al Liang"}, "MINHONG (AL) LIANG", 92, ("NICKNAME", "NORMALISED")),
        ({"name": "Minhong Liang"}, "MINHONG (AL) LIANG", 92, ("NICKNAME", "NORMALISED")),
        # Written as one word, with a typing error if the word is long enough to show which.
        ({"name": "Alma Colby"}, "ALMACOLBY", 98, ("GLUED",)),
        ({"name": "Alma Colby"}, "ALMACOLBX", 91.25, ("GLUED", "TYPO")),
        ({"name": "Edgar Venable"}, "EDGARVENABLX", 91.3, ("GLUED", "TYPO")),
        ({"name": "Alma Colby"}, "ALMACOLB", 51.13, ("SURNAME_MISSING", "GIVEN_NAME_MISSING", "SURNAME_SIMILAR", "SURNAME_FIRST")),
        ({"name": "Edgarvenable"}, "EDGAR VENABLE", 98, ("GLUED",)),
        ({"name": "Edgarvenablx"}, "EDGAR VENABLE", 91.45, ("GLUED", "TYPO")),
        # One word is the whole name if it is on both sides.
        ({"name": "Suharto"}, "SUHARTO", 92.45, ("SURNAME_MISSING",)),
        ({"name": "Suharto"}, "SOEHARTO", 90.45, ("SPELLING_VARIANT",)),
        ({"name": "Suharto"}, "SUHATRO", 90.45, ("TYPO",)),
        ({"name": "王小明"}, "王小明", 100, ()),
        ({"name": "S"}, "S", 69, ("SURNAME_MISSING", "GIVEN_NAME_MISSING")),
        # A part of a name.
        ({"given": "Edgar"}, "EDGAR COLBY", 69, ("SURNAME_MISSING",)),
        ({"given": "Edgar"}, "COLBY EDGAR", 69, ("SURNAME_MISSING", "SURNAME_FIRST")),
        ({"family": "Colby"}, "EDGAR COLBY", 69, ("SURNAME_MISSING", "GIVEN_NAME_MISSING")),
        ({"given": "Edgar", "middle": "Hugh"}, "EDGAR COLBY", 59, ("SURNAME_DIFFERS", "SURNAME_MISSING", "MIDDLE_OMITTED")),
        ({"given": "Edgar Colby"}, "EDGAR COLBY", 100, ()),
        ({"family": "Edgar Colby"}, "COLBY EDGAR", 99, ("SURNAME_FIRST",)),
        ({"given": "Colby", "family": "Edgar"}, "COLBY EDGAR", 100, ()),
        # A saint is a part of the surname, an article is not.
        ({"name": "Ana St Tomas"}, "ANA TOMAS", 69, ("WORDS_LEFT_OVER", "NORMALISED")),
        ({"name": "Ana Del Tomas"}, "ANA TOMAS", 99, ("NORMALISED",)),
    ],
)
def test_name_in_pieces_has_one_score(claim: dict[str, str], held: str, score: float, reasons: tuple[str, ...]) -> None:
    compared = match(claim, {"name": held})
    assert (compared.score, compared.reasons) == (score, reasons)
