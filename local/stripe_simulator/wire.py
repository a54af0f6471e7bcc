"""Stripe's wire format: bracketed form parameters, error objects, list pages, responses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

Json = dict[str, Any]
Action = Literal["hang", "drop"]

MAX_NESTING = 16
LONGEST_INDEX = 9


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.type = type
        self.fields = {"code": code, "message": message, "param": param}

    def body(self, request_id: str, livemode: bool) -> Json:
        error: Json = {"type": self.type} | {name: value for name, value in self.fields.items() if value is not None}
        if "code" in error:
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{error['code'].replace('_', '-')}"
        error["request_log_url"] = f"https://dashboard.stripe.com/{'' if livemode else 'test/'}logs/{request_id}"
        return {"error": error}


class CaseInsensitive(Mapping[str, str]):
    """HTTP headers: a mapping whose keys ignore case, as the SDK expects of an HTTP client."""

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = items.items() if isinstance(items, Mapping) else items
        self._items = {name.lower(): (name, value) for name, value in pairs}

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._items


@dataclass(frozen=True)
class Response:
    """An answer of the simulator.

    `action` "hang": wait `seconds` before answering. `action` "drop": close the connection without an answer
    (status and body are then what the client never sees).
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    action: Action | None = None
    seconds: float = 0.0

    def json(self) -> Any:
        return json.loads(self.body)


def to_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def decode_form(text: str) -> Json:
    """Read `a[b]=1&c[0]=2&c[]=3` into nested dicts and lists of strings.

    A hash whose keys are all numbers becomes a list in numeric order; `[]` appends. Raises ApiError 400 when one name
    is used both as a value and as a hash, or nests deeper than `MAX_NESTING`.
    """
    root: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, *rest = name.replace("]", "").split("[")
        if len(rest) > MAX_NESTING:
            raise ApiError(400, f"Invalid parameter nesting: {name[:80]}", param=head)
        node, keys = root, [head, *rest]
        for position, raw_key in enumerate(keys):
            key = str(len(node)) if raw_key == "" and position else raw_key
            if position == len(keys) - 1:
                if isinstance(node.get(key), dict):
                    raise ApiError(400, f"Invalid hash: {head}", param=head)
                node[key] = value
            else:
                node = node.setdefault(key, {})
                if not isinstance(node, dict):
                    raise ApiError(400, f"Invalid string: {head}", param=head)
    return {key: _with_lists(value) for key, value in root.items()}


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    items = {key: _with_lists(item) for key, item in value.items()}
    if items and all(key.isascii() and key.isdigit() and len(key) <= LONGEST_INDEX for key in items):
        return [items[key] for key in sorted(items, key=int)]
    return items


def encode_form(params: Mapping[str, Any]) -> str:
    """The inverse of `decode_form`, with numbered lists as the SDK sends them. Empty hashes and lists are left out."""
    return urlencode(list(_flatten(params)))


def _flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in params.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, Mapping):
            yield from _flatten(value, name)
        elif isinstance(value, (list, tuple)):
            yield from _flatten({str(index): item for index, item in enumerate(value)}, name)
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def page(items: list[Json], params: Mapping[str, Any], url: str, *, cap: int | None = None) -> Json:
    """One page of `items` (in display order) as Stripe's list object.

    `params` may hold limit (default 10), starting_after, ending_before. `cap`: the most items, also if limit is larger.
    Raises ApiError 400 for an unknown cursor or two cursors.
    """
    size = min(params.get("limit", 10), cap or 100)
    after, before = params.get("starting_after"), params.get("ending_before")
    if after and before:
        raise ApiError(400, "You cannot parameterize both starting_after and ending_before.", param="starting_after")
    if before:
        chosen = items[: _cursor(items, before, "ending_before")]
        data = chosen[-size:]
    else:
        chosen = items[_cursor(items, after, "starting_after") + 1 :] if after else items
        data = chosen[:size]
    return {"object": "list", "data": data, "has_more": len(chosen) > size, "url": url}


def _cursor(items: list[Json], wanted: str, param: str) -> int:
    for index, item in enumerate(items):
        if item["id"] == wanted:
            return index
    raise ApiError(400, f"No such object: '{wanted}'", code="resource_missing", param=param)
