"""Two texts that differ only behind the last character or word that the matcher reads never agree."""

from typing import Any

import pytest

from titleholder.matching import match

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
