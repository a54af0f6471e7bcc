"""Bakes the lists of known names into the matcher's layer: ``python tools/matching/evidence.py``.

Needs the PyPI packages ``names`` (frequencies of the US Census of 1990, a work of the United States government) and ``faker`` (MIT), which
are installed for this tool alone, and `names_by_hand.txt` beside it. Writes `known_names.txt` into the package. Its first lines say where
the names begin that share their first three letters. After an empty line come sorted lines of ``rest=GSxCULTURES``: the name without these,
how common the name is as a given name and as a surname (0 to 9, 0: not known as one), the gender it is given to
(m, f, or - for either or unknown), and the cultures that know it as a given name (capitals) and as a surname (small letters).
"""

import importlib
import pathlib
import re
import sys
import textwrap
from collections import defaultdict

HERE = pathlib.Path(__file__).parent
PACKAGE = HERE.parents[1] / "layers" / "titleholder" / "python"
sys.path[:0] = [str(PACKAGE), str(HERE.parents[1])]

from local.command import interruptible, no_arguments  # noqa: E402
from titleholder.matching.text import fold  # noqa: E402

TARGET = PACKAGE / "titleholder" / "matching" / "known_names.txt"
MOST_BYTES = 600_000
# How many first letters names are indexed by: the same number as in `titleholder.matching.evidence`.
PREFIX = 3
# Lists of names of one culture, by the letter that the file uses for it.
LOCALES = {
    "w": "en_US en_GB en_IE en_NZ", "i": "es_AR es_CL es_CO es_ES es_MX pt_BR pt_PT", "f": "fr_FR fr_CA fr_CH fr_BE", "t": "it_IT",
    "g": "de_DE de_AT de_CH de_LU", "n": "nl_NL nl_BE sv_SE no_NO da_DK fi_FI is_IS",
    "s": "ru_RU uk_UA bg_BG pl_PL cs_CZ sk_SK hr_HR sl_SI mk_MK",
    "r": "el_GR", "a": "en_PK fr_DZ", "u": "tr_TR az_AZ", "b": "en_NG yo_NG ig_NG ha_NG tw_GH sw en_KE", "d": "en_IN", "v": "vi_VN",
    "c": "zh_CN zh_TW", "j": "ja_JP", "x": "hu_HU ro_RO lt_LT lv_LV et_EE id_ID",
}  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")
# A rare surname of the Census may be a misspelling of a common one.
LEAST_COMMON = 0.002


class Entry:
    """What is known about one name."""

    __slots__ = ("census", "cultures", "genders", "given", "surname")

    def __init__(self) -> None:
        self.given = self.surname = 0
        self.genders: set[str] = set()
        # The Census counts people. The lists only say that a name exists.
        self.census: set[str] = set()
        self.cultures: set[str] = set()


def words(text: str) -> list[str]:
    """Return the names in an entry of a list. Apostrophes join, other signs separate, particles and initials are left out."""
    return [w for w in _WORD.findall(fold(text).replace("'", "")) if w.isascii() and len(w) > 1]


def census() -> dict[str, list[tuple[str, float]]]:
    """Return the Census lists: name and share in percent."""
    folder = pathlib.Path(str(importlib.import_module("names").__file__)).parent
    found = {}
    for part in ("all.last", "male.first", "female.first"):
        rows = [line.split() for line in (folder / f"dist.{part}").read_text().splitlines() if line.strip()]
        found[part] = [(row[0].lower(), float(row[1])) for row in rows]
    return found


def rank(percent: float) -> int:
    """Return how common a share of the Census is, 1 to 9."""
    for value, least in ((9, 0.4), (8, 0.1), (7, 0.05), (6, 0.02), (5, 0.01), (4, 0.005), (3, 0.003), (2, 0.002)):
        if percent >= least:
            return value
    return 1


def gather() -> dict[str, Entry]:
    """Return every name of every source."""
    entries: dict[str, Entry] = defaultdict(Entry)

    def add(name: str, culture: str, level: int, role: str, gender: str = "") -> None:
        entry = entries[name]
        if role == "given":
            entry.given = max(entry.given, level)
            entry.cultures.add(culture.upper())
            if gender:
                entry.genders.add(gender)
        else:
            entry.surname = max(entry.surname, level)
            entry.cultures.add(culture)

    lists = census()
    for name, percent in lists["all.last"]:
        if percent >= LEAST_COMMON:
            add(name, "w", rank(percent), "surname")
    # A name counts for a gender that has it five times as often as the other.
    shares = {"m": dict(lists["male.first"]), "f": dict(lists["female.first"])}
    for gender, other in (("m", "f"), ("f", "m")):
        for name, percent in shares[gender].items():
            add(name, "w", rank(percent), "given")
            if percent >= shares[other].get(name, 0.0) / 5:
                entries[name].census.add(gender)
    for culture, locales in LOCALES.items():
        for locale in locales.split():
            provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
            for attribute in dir(provider):
                role = "given" if attribute.startswith("first_") else "surname" if "last_" in attribute else ""
                values = getattr(provider, attribute)
                if not role or not isinstance(values, tuple | list | dict) or "pairs" in attribute or "kana" in attribute or not values:
                    continue
                gender = "f" if "female" in attribute else "m" if "male" in attribute else ""
                level = 4 if len(values) < 700 else 3 if len(values) < 1600 else 2
                for value in values:
                    parts = words(str(value))
                    if culture in "cj" and "romanized" not in attribute:
                        continue
                    if len(parts) == 1:
                        add(parts[0], culture, level, role, gender)
                    elif role == "surname" and parts:
                        add(parts[-1], culture, 2, role)
                        add("".join(parts), culture, 2, role)
    for line in (HERE / "names_by_hand.txt").read_text(encoding="utf8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        head, _, names = line.partition(":")
        culture, kind = head.split()
        for name in names.split():
            for part in words(name):
                add(part, culture, 5, "surname" if kind == "s" else "given", kind if kind in "mf" else "")
    return entries


def main() -> None:
    no_arguments("tools.matching.evidence", "Bake the lists of known names.")
    """Write the file."""
    count = 0
    body = "\n"
    index: dict[str, int] = {}
    for name, entry in sorted(gather().items()):
        if len(name) < 2 or len(name) > 18:
            continue
        genders = entry.census or entry.genders
        gender = next(iter(genders)) if len(genders) == 1 else "-"
        index.setdefault(name[:PREFIX], len(body) - 1)
        body += f"{name[PREFIX:]}={entry.given}{entry.surname}{gender}{''.join(sorted(entry.cultures))}\n"
        count += 1
    marks = textwrap.fill(" ".join(f"{key} {at}" for key, at in index.items()) + f" {len(body) - 1}", 140)
    text = f"{marks}\n{body}"
    TARGET.write_text(text, encoding="ascii")
    print(f"{count} names, {len(text)} bytes")
    if len(text) > MOST_BYTES:
        raise SystemExit(f"more than {MOST_BYTES} bytes")


if __name__ == "__main__":
    sys.exit(interruptible(main))
