"""docs/reference/claims.md: the fields of a claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from titleholder.batches.manifests import AKA_SEPARATOR
from titleholder.matching.addresses import MANY_TOKENS
from titleholder.matching.phones import MAX_CHARS as PHONE_CHARS
from titleholder.matching.text import MAX_CHARS, MAX_WORD, MAX_WORDS
from titleholder.schemas import Address, Claim
from tools.reference.markdown import code, codes, page, table


@dataclass(frozen=True, slots=True)
class Read:
    """What a field means and how it is read. `same`: claims that mean the same by this field, the first as an owner has it."""

    meaning: str
    reading: str
    same: tuple[str, ...] = ()


FIELDS: Mapping[str, Read] = {
    "type": Read(
        "Whether the claimant is a person or a business.",
        "Without `type`, the words of both names decide whether they are read as names of people, of businesses, or both. With `type`, `name` and `aka` are "
        "read as names of this kind only.",
    ),
    "name": Read(
        "The whole name of a person or a business.",
        "Differences in capitals, accents and most punctuation and titles cost one point at most, and so does a surname in first place. A name that is one word on one side and two on the other (O'Neill, O NEILL) costs two points. "
        "Another order of given names or of surnames costs more, and so does `Mrs` before a man's name.",
        ("DOE JANE", "Dr. Jane Doe", "jane doe", "Doe, Jané"),
    ),
    "given": Read(
        "The given name of a person, or several.",
        "Like `name`. If you have the name in parts, send them, because they say which word is the surname.",
    ),
    "middle": Read("Middle names.", "If one side lacks a middle name or initial, the score is at most two points lower."),
    "family": Read("The surname, or a double surname.", "Particles such as `van` are part of the surname."),
    "suffix": Read(
        "The generational suffix, such as `Jr` or `III`.",
        "If one side lacks it, the score is 97 at most. `Jr` and `Sr` are different people.",
    ),
    "business_name": Read(
        "The name of a business.",
        "Differences in capitals, punctuation and common US abbreviations (also of legal forms) cost two points at most.",
        ("LARKMOOR TILES LIMITED LIABILITY COMPANY", "Larkmoor Tiles, LLC", "larkmoor tiles llc"),
    ),
    "aka": Read(
        "Other names of the same claimant, such as a former name or a trade name.",
        "The name with the highest score counts. A name in `aka` scores 97 at most. Each name counts as a claim for the limit "
        "`ClaimsPerAccountPerDay`.",
    ),
    "email": Read(
        "The claimant's e-mail address.", "Capitals cost nothing. Other dots at Gmail cost one point, another tag (`+tag`) 15.",
        ("jane.doe@gmail.com", "Jane.Doe@Gmail.com", "janedoe@googlemail.com"),
    ),
    "phone": Read(
        "The claimant's phone number.",
        "Any usual form. A number without a country code is read as a US number. If it cannot be one, it matches a foreign number with the same "
        "national digits.",
        ("+1 555-555-0101", "(555) 555-0101", "5555550101", "tel. 555.555.0101"),
    ),
    "address": Read(
        "The claimant's postal address, as one text or in parts (next table).",
        "Differences in capitals, punctuation and the postal service's abbreviations cost two points at most.",
        ("100 EXAMPLE ST APT 4, SPRINGFIELD, IL 62701", "100 Example Street #4, Springfield, Illinois 62701"),
    ),
}  # fmt: skip

PARTS: Mapping[str, str] = {
    "line1": "House number and street, or a post office box.",
    "line2": "Apartment, suite or unit.",
    "city": "Town.",
    "state": "State, as its name or its two letters.",
    "postal_code": "Postal code. The four digits after a ZIP code may be left out.",
    "country": "Country. It is not compared.",
}

PERSON: Mapping[str, Any] = {
    "type": "person",
    "given": "Margaret",
    "middle": "Anne",
    "family": "Testerman",
    "aka": ["Margaret Exampleton"],
    "email": "margaret.testerman@example.com",
    "phone": "+1 555 555 0101",
    "address": {
        "line1": "100 Example Street", "line2": "Apt 4", "city": "Springfield", "state": "IL", "postal_code": "62701", "country": "US",
    },
}  # fmt: skip

BUSINESS: Mapping[str, Any] = {
    "type": "business",
    "business_name": "Placeholder Provisions, LLC",
    "phone": "+1 555 555 0104",
    "email": "accounts@placeholder.example.com",
    "address": "7 Dummy Plaza, Suite 300, Austin, TX 78701",
}

INTRO = """
A claim says who the user claims to be. It is the field `claim` in the body of `POST /verifications`, and in each line of a batch's manifest in JSON Lines.
A claim names **one** party, a person or a business. It needs at least one of `name`, `given`, `family` and `business_name`. All other fields
are optional. More fields make the verdict more reliable. A missing address, phone number or e-mail address does not lower the score. A
[policy](policy.md) can require these fields.
"""

LIMITS = f"""
Unknown fields are refused (422 `invalid-request`), and so are control characters other than tabs and line breaks. White space at both ends is removed. If a
name, with all its parts, has more than {MAX_CHARS} characters or {2 * MAX_WORDS} words, or a word of more than {MAX_WORD} characters, only the beginning is compared, and the name never matches.
"""

RULES = f"""
- **Send one form of a name.** A claim contradicts itself if it has a person's parts (`given`, `family`) and also a `business_name`. It also contradicts
  itself if its `name` scores below 70 against the person's parts or against the `business_name`. The reason is then `CLAIM_CONTRADICTS_ITSELF`, and
  the score is at most 69. If one name contains several parties, the reason is `CLAIM_NAMES_SEVERAL`, and the score is at most 49.
- **`middle` and `suffix` are read only together with `given` or `family`.**
- **Placeholders count as missing** in a name, a phone number, an e-mail address and a whole address: `N/A`, `unknown`, `none` and similar texts, and for a phone number also `0000000000`. An address in parts counts as missing only if all its parts but `country` do. So leave out a part that you do not know. `test` counts as missing only outside `given`, `middle`, `family` and `suffix`. The verdict's `missing` then
  names the side with the placeholder.
- **Texts that are too long count as missing**: an e-mail address of more than {MAX_CHARS} characters, a phone number of more than {PHONE_CHARS}, and an
  address with a part of more than {MAX_CHARS} characters or {MANY_TOKENS} words.
- **In a CSV manifest** the fields are columns. `aka` contains several names separated by `{AKA_SEPARATOR}`. The parts of the address are columns of their
  own. A line has either these columns or `address`.
- **A claim is stored encrypted**, for `ClaimRetentionDays`, at least until seven days after its verification's deadline. It is never logged.
"""


def render() -> str:
    return page(
        "Claims", INTRO,
        table(("field", "required", "limits", "meaning", "how it is read"), (_row(name, read) for name, read in FIELDS.items())),
        LIMITS, "## An address in parts",
        table(("field", "limits", "meaning"), ((code(name), limits(Address, name), text) for name, text in PARTS.items())),
        "All parts are optional. A part that only one side has is not compared. There is one exception: if both sides have a street, and only one side has a "
        "unit, a house number or a compass direction, the score of the address is lower.",
        "## Rules", RULES,
        "## Examples", "A person:", _json(PERSON), "A business:", _json(BUSINESS),
        "They match the accounts `single_owner` and `business` of the [simulator](simulator.md).",
    )  # fmt: skip


def limits(model: type[Claim] | type[Address], name: str) -> str:
    """A field's limits, from the model that checks requests."""
    schema = model.model_json_schema()["properties"][name]
    kinds = [kind for kind in schema["anyOf"] if kind.get("type") != "null"]
    return " or ".join(_limit(kind) for kind in kinds)


def _limit(kind: Mapping[str, Any]) -> str:
    if "$ref" in kind:
        return "an object"
    if "enum" in kind:
        return codes(kind["enum"], " or ")
    if kind["type"] == "array":
        return f"a list of at most {kind['maxItems']} texts of {_length(kind['items'])}"
    return f"a text of {_length(kind)}"


def _length(kind: Mapping[str, Any]) -> str:
    return f"{kind['minLength']} to {kind['maxLength']} characters"


NAMES = ("name", "given", "family", "business_name")
"""One of these is required."""


def _row(name: str, read: Read) -> tuple[str, ...]:
    return code(name), "one of these four" if name in NAMES else "no", limits(Claim, name), read.meaning, read.reading


def _json(example: Mapping[str, Any]) -> str:
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in example.items())
    return f"```json\n{{\n{lines}\n}}\n```"
