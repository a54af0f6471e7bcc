"""docs/reference/claims.md: the fields of a claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from titleholder.batches.manifests import AKA_SEPARATOR
from titleholder.matching.text import MAX_CHARS, MAX_WORDS
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
        "Without it, a name is read both ways and the better result counts. With `person`, a business is never compared as the claimant.",
    ),
    "name": Read(
        "The whole name of a person or a business.",
        "Capitals, accents, punctuation, titles and the order of the words cost a point at most.",
        ("DOE JANE", "Dr. Jane Doe", "jane doe", "Doe, Jané"),
    ),
    "given": Read("A person's given name, or several.", "Like `name`. Use the parts if you have them, because they say which word is the surname."),
    "middle": Read("Middle names.", "A middle name or initial that one side lacks costs two points at most."),
    "family": Read("The surname, or a double surname.", "Particles such as `van` are part of it."),
    "suffix": Read("The generation: `Jr`, `III`.", "If one side lacks it, the score is 3 points lower. `Jr` and `Sr` are different people."),
    "business_name": Read(
        "The name of a business.", "Capitals, punctuation and usual abbreviations, also of the legal form, cost two points at most.",
        ("LARKMOOR TILES LIMITED LIABILITY COMPANY", "Larkmoor Tiles, LLC", "larkmoor tiles llc"),
    ),
    "aka": Read(
        "Other names of the same claimant: a former surname, a trade name.",
        "The best of all names counts; a name from here scores 97 at most. Each name counts as a claim for "
        "`ClaimsPerAccountPerDay`.",
    ),
    "email": Read(
        "The claimant's e-mail address.", "Capitals cost nothing. Spellings of one mailbox, such as dots at Gmail, cost a point.",
        ("jane.doe@gmail.com", "Jane.Doe@Gmail.com", "janedoe@googlemail.com"),
    ),
    "phone": Read(
        "The claimant's phone number.",
        "Any usual form. Without a country code it is taken for a number of the United States. It can also match a foreign number by its digits.",
        ("+1 555-555-0101", "(555) 555-0101", "5555550101", "tel. 555.555.0101"),
    ),
    "address": Read(
        "The claimant's postal address, as one text or in parts (next table).",
        "Capitals, punctuation and the postal service's abbreviations cost two points at most.",
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
A claim names **one** party, a person or a business. It needs a name: `name`, `given` or `family`, or `business_name`. All other fields may
be left out. A claim with more fields gets a surer verdict. A missing field never counts against a claim, unless the
[policy](policy.md) requires the field.
"""

LIMITS = f"""
Unknown fields are refused (422 `invalid-request`), and so are control characters other than tabs and line breaks. White space at both ends is removed. The `limits` are checked when the request arrives; if
a name has more than {MAX_CHARS} characters or {2 * MAX_WORDS} words, only its beginning is compared, and it never matches.
"""

RULES = f"""
- **Send one form of a name.** If a claim has a person's parts (`given`, `middle`, `family`, `suffix`) and also a `business_name`, or if it has
  one of them and a different `name`, the result is `CLAIM_CONTRADICTS_ITSELF` and at most 69 points. If one name contains two parties, the
  result is `CLAIM_NAMES_SEVERAL`.
- **Placeholders count as missing**: `N/A`, `unknown`, `none`, `0000000000`, `test` and the like, in any field.
- **In a CSV manifest** the fields are columns. `aka` holds several names separated by `{AKA_SEPARATOR}`. The parts of the address are columns of
  their own, and a line has either them or `address`.
- **A claim is stored encrypted**, for `ClaimRetentionDays`, and never logged.
"""


def render() -> str:
    return page(
        "Claims", INTRO,
        table(("field", "required", "limits", "meaning", "how it is read"), (_row(name, read) for name, read in FIELDS.items())),
        LIMITS, "## An address in parts",
        table(("field", "limits", "meaning"), ((code(name), limits(Address, name), text) for name, text in PARTS.items())),
        "All parts are optional. If one side has only a part of the address, only that part is compared.",
        "## Rules", RULES,
        "## Examples", "A person:", _json(PERSON), "A business:", _json(BUSINESS),
        "Both match accounts of the [simulator](simulator.md): `single_owner` and `business`.",
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
    return code(name), "one of these" if name in NAMES else "no", limits(Claim, name), read.meaning, read.reading


def _json(example: Mapping[str, Any]) -> str:
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in example.items())
    return f"```json\n{{\n{lines}\n}}\n```"
