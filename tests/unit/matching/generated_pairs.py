"""Invented claims and owners, each determined by its number: names of people and businesses, titles of accounts, trusts, scripts, contacts.

Most owners are the claimed one, varied as banks and people vary names. Two of three pairs are then disturbed: letters and words are
exchanged, left out or put in, among them the words that the matcher's rules name. A number with a fraction, such as 12.7, is a pair that
is disturbed again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from titleholder.matching import DEFAULT_POLICY, Policy

_PARTS = tomllib.loads(Path(__file__).with_name("generated_parts.toml").read_text())
_WORDS: dict[str, list[str]] = {kind: words.split("|") for kind, words in _PARTS.pop("words").items()}
_LISTS: dict[str, list[str]] = {name: text.split("|") for name, text in _PARTS.items()}
_NICKNAMES = [line.split("=") for line in _LISTS["nickname"]]
_SCRIPTS = [line.split("=") for line in _LISTS["scripts"]]
_TOWNS = [line.split("=") for line in _LISTS["town"]]
_POLICIES = (
    DEFAULT_POLICY,
    Policy("address", required_fields=("address",)),
    Policy("contacts", 80.0, 60.0, ("phone", "email"), {"phone": 90.0, "email": 40.0}, ("TYPO", "NICKNAME")),
)

Fields = dict[str, Any]


def pair(name: str) -> tuple[Fields, list[Fields], Policy]:
    """Return a claim, the owners and the policy to compare them by."""
    number, _, further = name.partition(".")
    drawn = _Drawn(Random(int(number)))
    kind = drawn.kind()
    claim, owners = getattr(drawn, kind)()
    if kind != "contacts" and drawn.chance(0.06):
        drawn.add_contacts(claim, owners[0])
    if drawn.chance(0.05):
        owners.append({"name": drawn.written(drawn.varied(drawn.person()))})
        drawn.random.shuffle(owners)
    if drawn.chance(0.67):
        for _ in range(drawn.random.choice((1, 1, 1, 2, 3))):
            drawn.disturb(claim, owners, kind)
    if further:
        drawn.random = Random(int(further))
        for _ in range(drawn.random.choice((1, 1, 2))):
            drawn.disturb(claim, owners, kind)
    return claim, owners, _POLICIES[int(number) % 12] if int(number) % 12 < len(_POLICIES) else DEFAULT_POLICY


class _Drawn:
    """What is drawn for one pair."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def one(self, name: str) -> str:
        return self.random.choice(_LISTS[name])

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def kind(self) -> str:
        kinds = ("people", "titles", "businesses", "trusts", "scripts", "contacts")
        return self.random.choices(kinds, (30, 16, 18, 10, 8, 18))[0]

    # Kinds of pairs

    def people(self) -> tuple[Fields, list[Fields]]:
        person = self.person()
        return self.claim(person), [{"name": self.written(self.varied(person))}]

    def titles(self) -> tuple[Fields, list[Fields]]:
        person = self.person()
        owners = [{"name": self.title(self.varied(person))}]
        return {"name": self.title(person)} if self.chance(0.12) else self.claim(person), owners

    def businesses(self) -> tuple[Fields, list[Fields]]:
        if self.chance(0.1):
            person = self.person()
            name = self.random.choice((person["family"], _flat(person)))
            return self.claim(person), [{"name": f"{name} {self.one('second')} {self.one('form')}".strip().upper()}]
        business = self.business()
        claim: Fields = {"name" if self.chance(0.3) else "business_name": business}
        if self.chance(0.1):
            claim["aka"] = [self.varied_business(business)]
        if self.chance(0.15):
            claim["type"] = "business"
        return claim, [{"name": self.varied_business(business)}]

    def trusts(self) -> tuple[Fields, list[Fields]]:
        person, other = self.person(), self.person()
        varied = self.varied(person)
        name = self.trust(person, other) if self.chance(0.5) else ""
        claim: Fields = {self.random.choice(("name", "business_name")): name or self.trust(person, other)}
        if self.chance(0.25):
            claim = self.claim(person)
        return claim, [{"name": (name or self.trust(varied, other)).upper()}]

    def scripts(self) -> tuple[Fields, list[Fields]]:
        script, latin = self.random.choice(_SCRIPTS)
        claimed = self.random.choice((script, latin))
        held = self.random.choice((latin, script, " ".join(reversed(latin.split())), self.mistyped(latin)))
        if self.chance(0.4) and " " in claimed:
            first, *others = claimed.split()
            return {"given": " ".join(others), "family": first}, [{"name": held}]
        return {"name": claimed}, [{"name": held}]

    def contacts(self) -> tuple[Fields, list[Fields]]:
        person = self.person()
        claim: Fields = {"name": _flat(person)}
        owner: Fields = {"name": _flat(person if self.chance(0.7) else self.varied(person)).upper()}
        self.add_contacts(claim, owner)
        return claim, [owner]

    # People

    def person(self) -> dict[str, str]:
        given, family = self.one("given"), self.one("family")
        if self.chance(0.25):
            given = self.random.choice(_WORDS["names"]).capitalize()
        if self.chance(0.25):
            family = self.random.choice(_WORDS["names"]).capitalize()
        if self.chance(0.15):
            given = self.random.choice(_NICKNAMES)[0].capitalize()
        if self.chance(0.15):
            family = f"{self.one('prefix')} {family}"
        if self.chance(0.2):
            family = f"{family} {self.one('family')}"
        middle = self.one("middle") if self.chance(0.4) else self.random.choice(_WORDS["names"]).capitalize() if self.chance(0.2) else ""
        if self.chance(0.12):
            middle = f"{middle} {self.one('given')}".strip()
        suffix = self.one("suffix") if self.chance(0.12) else ""
        return {
            "title": self.one("title") if self.chance(0.06) else "",
            "given": given,
            "middle": middle,
            "family": family,
            "suffix": suffix,
        }

    def varied(self, person: dict[str, str]) -> dict[str, str]:
        varied = dict(person)
        for _ in range(self.random.choice((0, 1, 1, 1, 1, 2, 2, 3))):
            self.random.choice(_VARIATIONS)(self, varied)
        return varied

    def written(self, person: dict[str, str]) -> str:
        given, middle, family, suffix = (person[part] for part in ("given", "middle", "family", "suffix"))
        flat = _flat(person)
        text = self.random.choice(
            (
                *(flat,) * 6,
                f"{family}, {given} {middle} {suffix}",
                f"{family} {given} {middle} {suffix}",
                f"{family} {suffix}, {given} {middle}",
                f"{given} ({self.random.choice((middle, self.short(given), self.one('given')))}) {family}",
                f"{family},{given}",
                flat.replace("-", " ").replace("'", ""),
            )
        )
        text = " ".join(text.split())
        if self.chance(0.75):
            text = text.upper()
        return text[: self.random.choice((12, 15, 18, 22, 26))] if self.chance(0.05) else text

    def short(self, given: str) -> str:
        known = [names for names in _NICKNAMES if given.lower() in (name.lower() for name in names)]
        return self.random.choice(self.random.choice(known)).capitalize() if known else given[:3]

    def claim(self, person: dict[str, str]) -> Fields:
        claim: Fields = {"name": _flat(person)}
        form = self.random.randrange(10)
        if form < 6:
            claim = {"given": f"{person['title']} {person['given']}".strip(), "family": person["family"]}
            claim.update({part: person[part] for part in ("middle", "suffix") if person[part]})
        elif form == 9:
            claim = {"name": self.written(person)}
        if self.chance(0.06):
            claim["aka"] = [self.written(self.varied(person)) for _ in range(self.random.choice((1, 2)))]
        if self.chance(0.05):
            claim["type"] = self.random.choice(("person", "business"))
        return claim

    # Titles of accounts, businesses, trusts

    def title(self, person: dict[str, str]) -> str:
        other, third = self.person(), self.person()
        if self.chance(0.4):
            other["family"] = person["family"]
        text = self.one("title_of_account").format(
            a=_flat(person), b=_flat(other), c=_flat(third), ga=person["given"], gb=other["given"], fa=person["family"],
            fb=other["family"], bus=self.business(),
        )  # fmt: skip
        return text.upper() if self.chance(0.8) else text

    def business(self) -> str:
        words = [self.one("first") for _ in range(self.random.choice((1, 1, 2, 2, 3)))]
        words += [self.one("second") for _ in range(self.random.choice((0, 1, 1, 2)))]
        if self.chance(0.3):
            words.insert(self.random.randrange(len(words) + 1), self.random.choice(_WORDS["businesses"]).capitalize())
        name = " ".join(words)
        family = self.one("family")
        name = self.random.choice(
            (
                *(name,) * 7,
                f"{family} & {self.one('family')}",
                f"{family} {name}",
                f"The {name}",
                f"{name} of {self.random.choice(('Maine', 'Idaho', 'Reno', 'Texas', 'North Carolina'))}",
                f"{name} ({self.random.choice(('Maine', 'Idaho', 'UK', 'NY'))})",
                f"{''.join(self.random.choice('ABCDHM') for _ in range(3))} {self.one('second')}",
                f"{self.one('given')}'s {name}",
                f"{family} and Sons {self.one('second')}",
            )
        )
        return " ".join(part for part in (name, self.one("number"), self.one("form")) if part)

    def varied_business(self, name: str) -> str:
        words = name.split()
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 2, 3))):
            if not words:
                break
            at, way = self.random.randrange(len(words)), self.random.randrange(15)
            if way == 0:
                words[at] = self.mistyped(words[at])
            elif way == 1:
                words[-1] = self.one("form")
            elif way == 2:
                words.append(self.one("form"))
            elif way == 3:
                del words[at]
            elif way == 4:
                words.insert(at, self.one("second"))
            elif way == 5:
                words = ["".join(word[0] for word in words if word[:1].isalpha())]
            elif way == 6:
                words = [self.random.choice(("Holdco LLC", "Emma Fox", "Zeta Inc")), "DBA", *words]
            elif way == 7:
                words = [*words, "DBA", self.one("first"), self.one("second")]
            elif way == 8:
                words = ["The", *words]
            elif way == 9:
                words[at] = self.one("first")
            elif way == 10:
                words.append(self.random.choice(("2", "3", "II", "III", "IV", "7", "No 2")))
            elif way == 11:
                self.random.shuffle(words)
            elif way == 12:
                words = ["".join(words[:2]), *words[2:]]
            elif way == 13:
                words = [word.rstrip("s") for word in words]
            else:
                words[at] = words[at][:4]
            words = [word for word in words if word]
        text = " ".join(words)
        return text.upper() if self.chance(0.7) else text

    def trust(self, person: dict[str, str], other: dict[str, str]) -> str:
        text = self.one("trust") + self.one("trustee")
        return text.format(f=person["family"], g=person["given"], h=other["given"], m=person["middle"]).strip()

    # Contacts

    def add_contacts(self, claim: Fields, owner: Fields) -> None:
        address = self.address()
        if self.chance(0.8):
            claim["address"] = self.in_parts(address) if self.chance(0.6) else self.in_one_line(address)
        if self.chance(0.9):
            text = self.in_one_line(self.varied_address(address))
            owner["raw_address"] = text.upper() if self.chance(0.6) else text
        for name, draw in (("phone", self.phone), ("email", self.email)):
            if self.chance(0.7):
                claim[name] = draw()
            if self.chance(0.8):
                owner[name] = draw() if self.chance(0.6) else claim.get(name, "")

    def address(self) -> dict[str, str]:
        town, state, code, whole_state = self.random.choice(_TOWNS)
        return {
            "number": self.house(), "direction": self.one("direction"), "street": self.one("street"), "kind": self.one("kind"),
            "after": self.random.choice(("", "", "", "", "NW", "E")), "unit": self.one("unit"), "town": town, "state": state,
            "code": code, "whole_state": whole_state, "box": "",
        }  # fmt: skip

    def house(self) -> str:
        return self.random.choice(
            ("123", "125", "124", "1", "42", "1298", "12-14", "101 1/2", "77A", "12½", "10", "W123N456", "0042", "one")
        )

    def varied_address(self, address: dict[str, str]) -> dict[str, str]:
        varied = dict(address)
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 2))):
            part = self.random.choice(("number", "direction", "street", "kind", "unit", "after", "state", "code", "town", "box"))
            if part == "town" and self.chance(0.5):
                varied["town"], varied["state"], varied["code"], varied["whole_state"] = self.random.choice(_TOWNS)
            elif part == "number":
                varied[part] = self.random.choice((self.house(), "", self.mistyped(varied[part])))
            elif part in ("street", "town"):
                varied[part] = self.random.choice((self.mistyped(varied[part]), varied[part].replace(" ", ""), self.one("street")))
            elif part == "after":
                varied[part] = self.random.choice(("N", "S", "NE", ""))
            elif part == "state":
                varied[part] = self.random.choice(("IL", "MO", "NV", "CA", ""))
            elif part == "code":
                varied[part] = self.random.choice((varied[part][:5], "62702", "89501", "62710", "26701", "10001", "SW1A 1AB", ""))
            elif part == "box":
                varied[part] = self.random.choice(("PO Box 12", "P.O. Box 13", "POB 12", "Box 12", "PO BOX A12"))
            else:
                varied[part] = "" if self.chance(0.3) else self.one(part)
        return varied

    def in_one_line(self, address: dict[str, str]) -> str:
        separator = self.random.choice((", ", " ", ",", "\n"))
        end = self.random.choice(
            (
                "{town}{c}{state} {code}", "{town} {state} {code}", "{town}{c}{whole_state}{c}{code}", "{town} {code}", "{code}", "{town}",
                "{town}{c}{state}", "{state} {code}", "{town}{c}{state} {code}{c}USA", "{town} {state} {code} US", "{code} {town}", "",
                "{town} {state} {code} United States",
            )
        )  # fmt: skip
        unit = address["unit"] and (" " if self.chance(0.6) else separator) + address["unit"]
        return separator.join(part for part in (_street(address) + unit, end.format(c=separator, **address)) if part)

    def in_parts(self, address: dict[str, str]) -> dict[str, str]:
        state = self.random.choice((address["state"], address["whole_state"]))
        parts = {"line2": address["unit"], "city": address["town"], "state": state, "postal_code": address["code"]}
        kept = {name: part for name, part in parts.items() if part and not self.chance(0.08)}
        if self.chance(0.2):
            kept["country"] = self.random.choice(("US", "USA", "AU"))
        return {"line1": _street(address), **kept}

    def phone(self) -> str:
        digits = self.random.choice(("4155550134", "4155550143", "5035550142", "2125550100", "8003569377", "4155550134"))
        a, b, c = digits[:3], digits[3:6], digits[6:]
        form = self.random.choice(
            (
                "+1 {a}-{b}-{c}", "({a}) {b}-{c}", "{a}{b}{c}", "1{a}{b}{c}", "001{a}{b}{c}", "{b}-{c}", "{a}-{b}-{c} x12",
                "{a}.{b}.{c} ext. 9", "+44 20 7946 0958", "020 7946 0958", "+44 (0)20 7946 0958", "+64 3 331 6005", "03 331 6005",
                "1-800-FLOWERS", "+1{a}{b}{c};ext=5", "tel:+1-{a}-{b}-{c}", "{a}-{b}-{c} / 503-555-0142", "0000000000", "123", "call me",
                "+49 89 123456", "089 123456", "{a}{b}{c}0", "011 44 20 7946 0958", "{a}{b}{c}.0", "cell {a} {b} {c}", "{a}-{b}-{c} (work)",
                "{b}-{c};phone-context=+1{a}", "{a}{b}{c};phone-context=example.com", "{a}{b}{c};isub=12", "12345678", "{a}{b}", "55512",
                "{a}-{b}-{c} or 503-555-0142 or 212-555-0100 or 800-356-9377 or 415-555-0143", "{a}{b}{c},77", "{a}{b}{c} #4",
            )
        )  # fmt: skip
        return form.format(a=a, b=b, c=c)

    def email(self) -> str:
        if self.chance(0.6):
            return self.one("email")
        local = self.random.choice(
            ("john.smith", "johnsmith", "john-bank", "john+a", "test", "no.email", "joh", "jon", "+x", "john.smith+bank")
        )
        return f"{local}@{self.random.choice(_WORDS['others']).strip('@.') or 'example.com'}"

    # Disturbances

    def mistyped(self, text: str) -> str:
        if len(text) < 3:
            return text
        at = self.random.randrange(len(text))
        letter = self.random.choice("aeiouhrstnmy")
        return self.random.choice(
            (
                text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :],
                text[:at] + text[at + 1 :],
                text[:at] + text[at] + text[at:],
                text[:at] + letter + text[at + 1 :],
                text[:at] + letter + text[at:],
            )
        )

    def disturb(self, claim: Fields, owners: list[Fields], kind: str) -> None:
        """Change one text of a pair, or the same words of both sides."""
        places = [(side, name) for side in (claim, *owners) for name, value in side.items() if isinstance(value, str) and name != "type"]
        if isinstance(address := claim.get("address"), dict):
            places += [(address, name) for name in address]
        place, name = self.random.choice(places)
        words = place[name].split(" ")
        vocabulary = _WORDS[self.vocabulary(name, kind)]
        at, word = self.random.randrange(len(words)), self.random.choice(vocabulary)
        if self.chance(0.25):
            self.exchange(claim, owners, words[at], word)
            return
        way = self.random.randrange(9)
        if way == 0:
            words[at] = self.mistyped(words[at])
        elif way in (1, 2):
            words.insert(self.random.randrange(len(words) + 1), word)
        elif way == 3:
            words[at] = word
        elif way == 4:
            del words[at]
        elif way == 5 and len(words) > 1:
            other = self.random.randrange(len(words))
            words[at], words[other] = words[other], words[at]
        elif way == 6:
            words[at] = self.random.choice(
                (words[at][:1], words[at] + ",", words[at] + self.random.choice("aeiohsy"), words[at] + "-" + word)
            )
        elif way == 7 and at:
            words[at - 1 : at + 1] = [self.random.choice(("", "-", "'", "/")).join(words[at - 1 : at + 1])]
        else:
            words[at] = f"({words[at]})" if self.chance(0.5) else f"{words[at]} {words[at]}"
        place[name] = " ".join(words)

    def exchange(self, claim: Fields, owners: list[Fields], old: str, new: str) -> None:
        """Put a word for another on both sides, mistyped or varied on one."""
        if not old:
            return
        other = self.random.choice(
            (new, new, self.mistyped(new), new[:-1], new + self.random.choice("aehisy"), self.random.choice(_WORDS["names"]))
        )
        address = claim.get("address")
        for side, word in ((claim, new), (address if isinstance(address, dict) else {}, new), *((owner, other) for owner in owners)):
            for name, value in side.items():
                if isinstance(value, str) and name != "type":
                    words = value.split(" ")
                    side[name] = " ".join(word if part.lower() == old.lower() else part for part in words)

    def vocabulary(self, name: str, kind: str) -> str:
        if name in ("phone", "email"):
            return "others"
        if name in ("raw_address", "address", "line1", "line2", "city", "state", "postal_code", "country"):
            return "addresses"
        usual = {"people": "people", "titles": "titles", "trusts": "titles", "businesses": "businesses", "scripts": "scripts"}
        return usual.get(kind, "names") if self.chance(0.6) else self.random.choice(("names", "people", "titles", "businesses", "scripts"))


def _flat(person: dict[str, str]) -> str:
    return " ".join(part for part in person.values() if part)


def _street(address: dict[str, str]) -> str:
    return address["box"] or " ".join(address[part] for part in ("number", "direction", "street", "kind", "after") if address[part])


def _last(family: str) -> str:
    return family.split(" ")[-1].split("-")[-1]


_Variation = Callable[[_Drawn, dict[str, str]], object]


def _set(part: str, change: Callable[[_Drawn, dict[str, str]], str]) -> _Variation:
    return lambda drawn, person: person.update({part: change(drawn, person)})


_VARIATIONS: Sequence[_Variation] = (
    _set("given", lambda drawn, person: drawn.short(person["given"])),
    _set("given", lambda drawn, person: drawn.short(person["given"])),
    _set("given", lambda drawn, person: drawn.mistyped(person["given"])),
    _set("given", lambda drawn, person: drawn.mistyped(drawn.mistyped(person["given"]))),
    _set("given", lambda drawn, person: person["given"][:1]),
    _set("given", lambda drawn, person: drawn.one("given")),
    _set("given", lambda drawn, person: person["given"].replace("-", " ") + drawn.random.choice(("", "a", "o", "ie", "y", "ah"))),
    _set("given", lambda drawn, person: (person["given"] + person["middle"]).replace(" ", "")),
    _set("middle", lambda drawn, person: person["middle"][:1]),
    _set("middle", lambda drawn, person: ""),
    _set("middle", lambda drawn, person: drawn.one("middle")),
    _set("middle", lambda drawn, person: person["family"]),
    _set("family", lambda drawn, person: drawn.mistyped(person["family"])),
    _set("family", lambda drawn, person: drawn.mistyped(drawn.mistyped(person["family"]))),
    _set("family", lambda drawn, person: person["family"].replace(" ", "").replace("-", "")),
    _set("family", lambda drawn, person: _last(person["family"])),
    _set("family", lambda drawn, person: person["family"].split(" ")[0].split("-")[0]),
    _set("family", lambda drawn, person: drawn.one("family")),
    _set("family", lambda drawn, person: f"{person['family']}{drawn.random.choice('- ')}{drawn.one('family')}"),
    _set("family", lambda drawn, person: f"{drawn.random.choice(('van ', 'de ', 'al-', 'Mc', 'bin ', 'el '))}{_last(person['family'])}"),
    _set("family", lambda drawn, person: person["family"][: max(3, len(person["family"]) - drawn.random.choice((1, 2, 3)))]),
    _set("family", lambda drawn, person: person["family"] + drawn.random.choice(("s", "z", "a", "ova", "es"))),
    _set("suffix", lambda drawn, person: drawn.one("suffix")),
    _set("suffix", lambda drawn, person: ""),
    _set("title", lambda drawn, person: drawn.one("title")),
    lambda drawn, person: person.update({"given": person["family"], "family": person["given"]}),
    lambda drawn, person: person.update({"given": person["middle"], "middle": person["given"]}),
)
