"""Finds words in bytes, in each encoding that they may have got on the way."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote, quote_plus


def disguises(word: str) -> set[bytes]:
    """The forms of a word, in lower case except base64: plain, in JSON, in a URL, in hexadecimal and in base64."""
    shapes = {word, word.lower(), word.upper(), word.title()}
    found = {shape.lower().encode() for shape in (word, json.dumps(word)[1:-1], quote(word), quote_plus(word))}
    found |= {shape.encode().hex().encode() for shape in shapes}
    for shape in shapes:
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + shape.encode())
            # In base64 the first and last characters depend on the bytes beside them.
            found.add(encoded[-(-shift * 8 // 6) : len(encoded) - 4])
    return {disguise for disguise in found if len(disguise) > 4}


def hits(places: Mapping[str, bytes], words: Sequence[str]) -> list[str]:
    """`place: word` for each word that is found in a place."""
    wanted = {word: disguises(word) for word in words}
    return [
        f"{place}: {word}"
        for place, content in places.items()
        for texts in [(content, content.lower())]
        for word, shapes in wanted.items()
        if any(shape in text for shape in shapes for text in texts)
    ]
