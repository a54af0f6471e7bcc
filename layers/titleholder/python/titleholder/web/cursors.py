"""Opaque cursors of paged lists. A cursor names the item after which the next page begins, and is bound to its list."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping

from titleholder.errors import InvalidCursorError

MAX_LENGTH = 1000
REFUSED = "This cursor does not belong to this list. Begin again without a cursor."


def encode(query: Mapping[str, str | None], after: str) -> str:
    """A cursor for the page after the item `after` of the list that `query` describes."""
    return base64.urlsafe_b64encode(f"{_name(query)}{after}".encode()).decode().rstrip("=")


def decode(query: Mapping[str, str | None], cursor: str) -> str:
    """The item after which the page begins. Raises InvalidCursorError for a cursor that `encode` did not make for the same query.

    Cursors are not signed, because a forged cursor shows nothing that the query itself does not show.
    """
    try:
        text = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise InvalidCursorError(REFUSED) from None
    name = _name(query)
    if len(cursor) > MAX_LENGTH or not text.startswith(name) or text == name:
        raise InvalidCursorError(REFUSED)
    return text.removeprefix(name)


def _name(query: Mapping[str, str | None]) -> str:
    return hashlib.sha256(json.dumps(dict(query), sort_keys=True).encode()).hexdigest()[:16]
