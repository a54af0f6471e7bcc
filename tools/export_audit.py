"""Prints the audit log: which callers asked for which actions, as JSON lines, the oldest first.

    python tools/export_audit.py --table titleholder --from 2026-11-01 --to 2026-11-30 > audit.jsonl

Only who looked at what in reviews, and who decided what and why:

    python tools/export_audit.py --table titleholder --from 2026-11-01 --to 2026-11-30 --action comparison.read --action review.

Needs the right to query the table and to decrypt with its key. AWS is found as by the AWS CLI.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

sys.path.insert(0, str(Path(__file__).parents[1]))

from local.command import day, interruptible

DIGITS = "0123456789abcdef"
"""Entries of a day have one of these at the end of their partition key. Those of earlier releases have none."""


def entries(dynamodb: Any, table: str, first: date, last: date) -> Iterator[dict[str, str]]:
    """Every entry of the days from `first` to `last` (UTC, both included)."""
    for number in range((last - first).days + 1):
        day = f"AUDIT#{first + timedelta(days=number)}"
        parts = [_items(dynamodb, table, pk) for pk in (day, *(f"{day}#{digit}" for digit in DIGITS))]
        yield from rows(heapq.merge(*parts, key=lambda item: item["sk"]["S"]))


def _items(dynamodb: Any, table: str, pk: str) -> Iterator[Mapping[str, Any]]:
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": pk}}
    )
    for page in pages:
        yield from page["Items"]


def rows(items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """The entries in items of the table."""
    for item in items:
        entry = {name: str(next(iter(value.values()))) for name, value in item.items()}
        at = datetime.fromtimestamp(int(entry.pop("at_ms")) / 1000, UTC).isoformat(timespec="milliseconds")
        # Entries of earlier releases have no state, because they were written after the action.
        yield {"at": at, "state": "done", **{name: value for name, value in entry.items() if name not in ("pk", "sk", "expires_at")}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="export_audit", description="Print the audit log: which callers asked for which actions.")
    parser.add_argument("--table", required=True, help="the stack's output TableName")
    parser.add_argument("--from", dest="first", type=day, required=True, help="first day, such as 2026-11-01 (UTC)")
    parser.add_argument("--to", dest="last", type=day, help="last day (default: the first)")
    parser.add_argument("--action", action="append", help="only actions that begin so, such as owners.read or review.; may be repeated")
    options = parser.parse_args(arguments)
    for entry in entries(boto3.client("dynamodb"), options.table, options.first, options.last or options.first):
        if entry["action"].startswith(tuple(options.action or [""])):
            print(json.dumps(entry))


if __name__ == "__main__":
    sys.exit(interruptible(main))
