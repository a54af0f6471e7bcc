"""Compares e-mail addresses by case, tag, and the rules of providers that deliver several spellings to one mailbox."""

from titleholder.matching.result import FieldMatch
from titleholder.matching.text import fold, fold_to_end, within_two
from titleholder.matching.titles import is_placeholder

# Domains of one provider that lead to the same mailbox.
_ALIASES = {
    "googlemail.com": "gmail.com",
    "pm.me": "proton.me",
    "protonmail.com": "proton.me",
    "ya.ru": "yandex.ru",
    "yandex.com": "yandex.ru",
}
_DOTLESS = frozenset(("gmail.com",))
_DASH_TAGS = frozenset(
    ("yahoo.com", "ymail.com", "rocketmail.com", "yahoo.co.uk", "yahoo.fr", "yahoo.de", "yahoo.ca", "yahoo.co.in", "yahoo.in")
)


def _parse(value: object) -> tuple[str, str, str, str] | None:
    text = fold(value).strip().removeprefix("mailto:").strip("<> ")
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        return None
    domain = domain.strip(". ")
    domain = _ALIASES.get(domain, domain)
    separator = "-" if domain in _DASH_TAGS or domain.startswith("yahoo.") else "+"
    base, _, tag = local.partition(separator)
    if not base:
        base, tag = local, ""
    box = base.replace(".", "") if domain in _DOTLESS else base
    return box, tag, domain, base


# Mailbox names that people type if a form requires an address and they have or give none.
_NOBODY = frozenset(
    ("test", "none", "na", "noemail", "no", "email", "nomail", "unknown", "notprovided", "null", "noone", "nobody", "fake", "asdf")
)


def _is_placeholder(value: object) -> bool:
    text = fold(value).strip()
    local, at, domain = text.rpartition("@")
    if not at:
        return is_placeholder(text)
    host = domain.split(".", 1)[0].replace("-", "")
    return local.replace(".", "").replace("-", "") in _NOBODY and host in _NOBODY


def is_missing(value: object) -> bool:
    """Return whether a text is empty, a placeholder, or too long to be read."""
    text, whole = fold_to_end(str(value or "").strip())
    return not text or not whole or _is_placeholder(text)


def compare(claimed: object, held: object) -> FieldMatch | None:
    """Return how two e-mail addresses compare, or ``None`` when either is missing.

    100: the same; 99: the same mailbox by the provider's rules; 85: apart from a tag; below 70: another address.
    """
    if is_missing(claimed) or is_missing(held):
        return None
    a, b = _parse(claimed), _parse(held)
    if a is None or b is None:
        same = fold(claimed).strip() == fold(held).strip()
        return FieldMatch(100.0) if same else FieldMatch(0.0, None, ("EMAIL_DIFFERS",))
    box_a, tag_a, domain_a, base_a = a
    box_b, tag_b, domain_b, base_b = b
    if domain_a == domain_b and box_a == box_b:
        if tag_a != tag_b:
            return FieldMatch(85.0, None, ("EMAIL_TAG_DIFFERS",))
        return FieldMatch(100.0) if base_a == base_b else FieldMatch(99.0, None, ("EMAIL_PROVIDER_RULE",))
    x, y = f"{box_a}@{domain_a}", f"{box_b}@{domain_b}"
    if within_two(x, y) < 3 and len(box_a) > 3 and len(box_b) > 3:
        return FieldMatch(50.0, None, ("EMAIL_SIMILAR", "EMAIL_DIFFERS"))
    return FieldMatch(0.0, None, ("EMAIL_DIFFERS",))
