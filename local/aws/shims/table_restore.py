"""DynamoDB restores a table to a point in time as AWS documents it.

The new table has the items of that time, the indexes and the encryption of the source. It has no time to live, point-in-time recovery,
tags, resource policy, stream or deletion protection. MiniStack copies the present items, for any time and any settings of the source.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from typing import Any

from ministack.services import dynamodb

MOST_CHANGES = 100_000
"""How many changes of a table can be undone."""

original_emit = dynamodb._emit_stream_event
original_settings = dynamodb._update_continuous_backups
original_backups = dynamodb._describe_continuous_backups
original_restore = dynamodb._restore_table_to_point_in_time
original_description = dynamodb._table_description
_changes: dict[str, deque[tuple[float, dict[str, Any], dict[str, Any] | None]]] = {}
"""By table with point-in-time recovery: when an item changed, its keys, and what it was before."""

_since: dict[str, float] = {}
"""Since when each table has point-in-time recovery."""

_lock = threading.Lock()


def apply() -> None:
    dynamodb._emit_stream_event = emit
    dynamodb._update_continuous_backups = update_continuous_backups
    dynamodb._describe_continuous_backups = describe_continuous_backups
    dynamodb._restore_table_to_point_in_time = restore_table_to_point_in_time
    dynamodb._table_description = table_description


def table_description(table: str) -> dict[str, Any]:
    restored = dynamodb._tables[table].get("_restored")
    return {**original_description(table), **({"RestoreSummary": restored} if restored else {})}


def emit(table: str, event: str, before: dict[str, Any] | None, after: dict[str, Any] | None, *rest: Any, **more: Any) -> Any:
    """Record the change each time that MiniStack reports a change of an item."""
    with _lock:
        if (changes := _changes.get(table)) is not None:
            if len(changes) == MOST_CHANGES:
                _since[table] = changes[0][0]
            changes.append((time.time(), dict(after or before or {}), copy.deepcopy(before)))
    return original_emit(table, event, before, after, *rest, **more)


def update_continuous_backups(data: dict[str, Any]) -> Any:
    answer = original_settings(data)
    table = dynamodb._normalize_table_name(data.get("TableName"))
    with _lock:
        if not dynamodb._pitr_settings.get(table):
            _changes.pop(table, None)
        elif table not in _changes:
            # Recovery that is switched on again does not know earlier changes.
            _changes[table], _since[table] = deque(maxlen=MOST_CHANGES), time.time()
    return answer


def describe_continuous_backups(data: dict[str, Any]) -> Any:
    """AWS's latest restorable time is typically five minutes ago. Here it is now, because a rehearsal must not wait for it."""
    status, headers, body = original_backups(data)
    table = dynamodb._normalize_table_name(data.get("TableName"))
    if status != 200 or not dynamodb._pitr_settings.get(table):
        return status, headers, body
    window = {"EarliestRestorableDateTime": int(_since[table]), "LatestRestorableDateTime": int(time.time())}
    recovery = {"PointInTimeRecoveryStatus": "ENABLED", **window}
    return dynamodb.json_response(
        {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery}}
    )


def restore_table_to_point_in_time(data: dict[str, Any]) -> Any:
    source = data.get("SourceTableName") or dynamodb._normalize_table_name(data.get("SourceTableArn") or "")
    if source in dynamodb._tables and not dynamodb._pitr_settings.get(source):
        message = f"Point in time recovery is not enabled for table '{source}'"
        return dynamodb.error_response_json("PointInTimeRecoveryUnavailableException", message, 400)
    now = time.time()
    at = float(now if data.get("UseLatestRestorableTime") else data.get("RestoreDateTime", 0))
    if source in dynamodb._tables and not int(_since[source]) <= at <= now:
        message = "The specified restore time is not between EarliestRestorableDateTime and LatestRestorableDateTime"
        return dynamodb.error_response_json("InvalidRestoreTimeException", message, 400)
    with _lock:
        newer = [change for change in _changes.get(source, ()) if change[0] > at]
        status, headers, body = original_restore(data)
        if status != 200:
            return status, headers, body
        target = data["TargetTableName"]
        table = dynamodb._tables[target]
        for _, keys, before in reversed(newer):
            pk = dynamodb._extract_key_val(keys[table["pk_name"]])
            sk = dynamodb._extract_key_val(keys[table["sk_name"]]) if table["sk_name"] else "__no_sort__"
            if before is not None:
                dynamodb._set_item(table, pk, sk, before)
            elif sk in table["items"].get(pk, {}):
                dynamodb._remove_item(table, pk, sk)
        dynamodb._items_replaced(table)
    table["SSEDescription"] = copy.deepcopy(dynamodb._tables[source].get("SSEDescription"))
    table["_restored"] = {
        "SourceTableArn": dynamodb._tables[source]["TableArn"],
        "RestoreDateTime": at,
        "RestoreInProgress": False,
    }
    return dynamodb.json_response({"TableDescription": dynamodb._table_description(target)})
