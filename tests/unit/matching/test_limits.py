"""Two texts that differ only behind the last character or word that the matcher reads never agree."""

from typing import Any

import pytest

from titleholder.matching import match
from titleholder.matching.titles import read_title

WORDS = "Larkmoor " * 81
LETTERS = "Larkmoorhouse " * 45
"""More than 600 characters, and fewer than 80 words."""
LONG = "x" * 90
"""One word, longer than a word that is read."""
FULL = ("Larkmoorhouse " * 43)[:600]
"""The matcher reads this to its end, and nothing behind it."""
GROWS = "Щукин" + " Щщщщщ" * 60
"""Has fewer than 600 characters, but more than 1,200 in Latin letters."""
BRACKETS = "(Ace) (Bud) (Cal) (Dot) "


def name(text: str) -> dict[str, Any]:
    return {"name": text}


def company(text: str) -> dict[str, Any]:
    return {"business_name": text}


BEHIND: dict[str, tuple[dict[str, Any], str]] = {
    "a business's words": (company(WORDS + "Alpha LLC"), WORDS + "BETA INC"),
    "a business's characters": (company(LETTERS + "Alpha LLC"), LETTERS + "BETA INC"),
    "a business's word": (company(f"{LONG}alpha LLC"), f"{LONG}BETA LLC"),
    "a business's letters": (company(f"{GROWS} Альфа ООО"), f"{GROWS} БЕТА ООО"),
    "a business's name without its type": (name("Larkmoor LLC " + WORDS + "Alpha"), "LARKMOOR LLC " + WORDS + "BETA"),
    "a business's name by its type": ({"name": WORDS + "Alpha", "type": "business"}, WORDS + "BETA"),
    "a business's name, at a space": (company(FULL + " Alpha"), FULL + " BETA"),
    "a business's name after spaces": (company("   " + FULL + " Alpha"), "  " + FULL + " BETA"),
    "a person's words": (name("Edgar " + WORDS + "Colby"), "EDGAR " + WORDS + "VENABLE"),
    "a person's characters": (name("Edgar " + LETTERS + "Colby"), "EDGAR " + LETTERS + "VENABLE"),
    "a person's word": (name(f"Edgar {LONG}colby"), f"EDGAR {LONG}VENABLE"),
    "a person's letters": (name(f"{GROWS} Колби"), f"{GROWS} ВЕНАБЛ"),
    "a person's name, at a space": (name(FULL + " Colby"), FULL + " VENABLE"),
    "a person's brackets": (name(f"Edgar {BRACKETS} (Colby) Hale"), f"EDGAR {BRACKETS} (VENABLE) HALE"),
    "a given name": ({"given": "Edgar " + "Walter " * 40 + "Colby", "family": "Hale"}, "EDGAR " + "WALTER " * 40 + "VENABLE HALE"),
    "a given name that the bank has whole": ({"given": "Edgar " + WORDS + "Colby", "family": "Hale"}, "EDGAR " + "LARKMOOR " * 76 + "HALE"),
    "a middle name": ({"given": "Edgar", "middle": "Ames " * 41 + "Colby", "family": "Hale"}, "EDGAR " + "AMES " * 41 + "VENABLE HALE"),
    "a surname": ({"given": "Edgar", "family": "Hale " * 41 + "Colby"}, "EDGAR " + "HALE " * 41 + "VENABLE"),
    "all parts": ({"given": WORDS[:300], "middle": WORDS[:300], "family": LETTERS[:590] + " Colby"}, f"{WORDS[:599]} {LETTERS} VENABLE"),
    "a part's brackets": ({"given": f"Edgar ({LONG}colby)", "family": "Hale"}, f"EDGAR ({LONG}VENABLE) HALE"),
    "a part's word": ({"given": "Edgar", "family": f"{LONG}colby"}, f"EDGAR {LONG}VENABLE"),
    "a suffix": ({"given": "Edgar", "family": "Colby", "suffix": "Jr" + " " * 40 + "III"}, "EDGAR COLBY JR"),
    "another name": ({"name": "Alma Brodeur", "aka": [WORDS + "Alpha LLC"]}, WORDS + "BETA LLC"),
    "a trade name": (company("Holdco LLC dba " + WORDS + "Alpha"), "HOLDCO INC DBA " + WORDS + "BETA"),
    "a trade name that repeats a word": (company("Larkmoor Tiles " * 22 + "Alpha " * 60), "LARKMOOR TILES " * 22),
    "a trade name on one side": (company(WORDS + "Alpha"), "HOLDCO INC DBA " + WORDS + "BETA"),
    "a legal name": (company(LETTERS + "Alpha LLC"), LETTERS + "BETA LLC DBA TILES"),
    "several owners": (company("Colby & Venable " + WORDS + "Alpha"), "COLBY & VENABLE " + WORDS + "BETA"),
    "a joint owner": (name("Edgar " + LETTERS + "Colby"), "ALMA HALE & EDGAR " + LETTERS + "VENABLE"),
    "a trust": (name("Colby Family Trust " + WORDS + "Alpha"), "COLBY FAMILY TRUST " + WORDS + "BETA"),
    "a trust's kind": (name("Colby Family Trust " + LETTERS), "COLBY FAMILY TRUST " + LETTERS + "IRREVOCABLE"),
    "a person and a trust": (name("Edgar Colby"), "EDGAR COLBY REVOCABLE TRUST " + LETTERS + "IRREVOCABLE"),
    "a trust's grantors": (name("Edgar " + WORDS + "Colby Trust"), "EDGAR " + WORDS + "VENABLE TRUST"),
    "an estate": (name("Estate of Edgar " + WORDS + "Colby"), "ESTATE OF EDGAR " + WORDS + "VENABLE"),
    "an estate at the end": (name("Edgar Colby"), "EDGAR COLBY" + " " * 600 + "DECEASED"),
    "a business and a person": (name("Edgar " + WORDS + "Colby"), "EDGAR " + WORDS + "VENABLE ROOFING LLC"),
}


@pytest.mark.parametrize("kind", BEHIND)
def test_names_that_differ_only_where_they_are_not_read_never_match(kind: str) -> None:
    claim, held = BEHIND[kind]
    contacts = {"phone": "415 555 0134", "email": "edgar@example.com"}
    alone, helped = match(claim, {"name": held}), match({**claim, **contacts}, {"name": held, **contacts})
    print(kind, alone.score, alone.reasons, helped.score)
    assert alone.score < 70
    assert helped.score < 70


@pytest.mark.parametrize(
    "claim",
    [
        name(FULL),
        company(FULL),
        name("Edgar " * 79 + "Colby"),
        company("Larkmoor " * 40 + "Tiles " * 39 + "LLC"),
        name(f"Edgar {'x' * 40}"),
        company(f"{'x' * 40} LLC"),
        name(f"Edgar {BRACKETS} Hale"),
        {"given": "Edgar", "family": "Larkmoorhouse " * 42},
    ],
)
def test_names_that_are_read_to_their_end_match(claim: dict[str, Any]) -> None:
    held = " ".join(claim.values()).upper()
    assert match(claim, {"name": held}).score >= 90


FILLED = "Elm " * 60
"""As many words of an address as are read."""
CONTACTS: dict[str, tuple[str, Any, str]] = {
    "an address's words": ("address", f"12 {FILLED}Alpha", f"12 {FILLED}BETA"),
    "an address's characters": ("address", f"12 {LETTERS}Alpha", f"12 {LETTERS}BETA"),
    "an address's town": (
        "address",
        "12 Elm St, a b c d e f g h Springfield, 89501",
        "12 ELM ST, A B C D E F G H ALBUQUERQUE, 57701",
    ),
    "a line": ("address", {"line1": f"12 {LETTERS}Alpha", "city": "Reno"}, f"12 {LETTERS}BETA, RENO"),
    "a second line": ("address", {"line1": "12 Elm St", "line2": " ".join(["Apt"] * 100) + " 7"}, "12 ELM ST" + " APT" * 100 + " 9"),
    "a town": ("address", {"city": "Elm " * 160 + "Reno"}, "ELM " * 160 + "BEND"),
    "a postal code": ("address", {"postal_code": "A1B2C3D4E5F6G7"}, "A1B2C3D4E5F6H8"),
    "a phone number": ("phone", "." * 242 + "4155550134", "." * 242 + "4155550199"),
    "a phone number after spaces": ("phone", " " * 300 + "4155550134", " " * 300 + "4159990199"),
    "an e-mail address": ("email", "e" * 600 + "dgar@example.com", "e" * 600 + "lmer@example.com"),
    "an e-mail address without its end": ("email", "edgar@" + "e" * 595 + ".com", "edgar@" + "e" * 595 + ".org"),
    "an e-mail address after spaces": ("email", " " * 2400 + "edgar@example.com", " " * 2400 + "elmer@example.com"),
}


@pytest.mark.parametrize("kind", CONTACTS)
def test_contacts_that_differ_only_where_they_are_not_read_never_agree(kind: str) -> None:
    field, mine, theirs = CONTACTS[kind]
    found = match({"name": "Edgar Colby", field: mine}, {"name": "EDGAR COLBY", "raw_address" if field == "address" else field: theirs})
    print(kind, found.fields[field])
    assert (found.fields[field].score or 0) < 70


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("address", FILLED + "Elm Alpha"),
        ("address", LETTERS),
        ("phone", "4" * 251),
        ("email", f"{'e' * 590}@example.com"),
        ("email", "e" * 601),
    ],
)
def test_contact_that_is_too_long_to_be_read_counts_as_missing(field: str, text: str) -> None:
    key = "raw_address" if field == "address" else field
    usual = {"address": "12 Elm St, Reno NV 89501", "phone": "415 555 0134", "email": "edgar@example.com"}[field]
    found = [
        match({"name": "Edgar Colby", field: mine}, {"name": "EDGAR COLBY", key: theirs}).fields[field]
        for mine, theirs in ((text, usual), (usual, text), (text, text))
    ]
    assert [(one.score, one.missing) for one in found] == [(None, "claim"), (None, "bank"), (None, "both")]


def _owners(letters: str) -> list[str]:
    return [f"EDGAR{letter} COLBY{letter}" for letter in letters]


FEW, MANY = _owners("ABCDEFG"), _owners("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@pytest.mark.parametrize(
    "text",
    [
        " & ".join(MANY),
        " POD ".join(MANY),
        " TTEE ".join(MANY),
        f"{' & '.join(FEW)} POD {' & '.join(FEW)} POD {' & '.join(FEW)}",
        f"{' & '.join(MANY[:12])} POD {' POD '.join(MANY[12:])}",
        f"{' & '.join(MANY[:11])} POD {' & '.join(FEW)}",
    ],
)
def test_title_has_at_most_twelve_parties(text: str) -> None:
    title = read_title(text)
    assert len(title.parties) == 12
    assert title.parties[0].words == ("edgara", "colbya")


def test_trade_name_after_the_last_party_is_read() -> None:
    held = f"{' TTEE '.join(MANY[:13])} DBA LARKMOOR TILES"
    assert match(company("Larkmoor Tiles"), {"name": held}).score >= 95
