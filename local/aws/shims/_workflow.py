"""What the workflow shims share: when an execution has ended, how to wait within one, and its history."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

from ministack.services import stepfunctions

Execution = dict[str, Any]
TaskError = stepfunctions._ExecutionError
LARGEST_PAYLOAD = 262_144
TERMINAL = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")

current: contextvars.ContextVar[Execution | None] = contextvars.ContextVar("execution", default=None)
_waiting: dict[int, tuple[Execution, threading.Event]] = {}
_waiting_lock = threading.Lock()
_waiting_ids = itertools.count()
original_add_event = stepfunctions._add_event


class Ended(TaskError):  # type: ignore[misc, valid-type]
    """The execution was stopped or timed out. No state may retry or catch it."""

    def __init__(self) -> None:
        super().__init__("States.Aborted", "")


def lineage(execution: Execution | None) -> Iterator[Execution]:
    """The execution, its parent, and so on."""
    while execution is not None:
        yield execution
        execution = execution.get("_parent")


def live(execution: Execution) -> bool:
    now = time.monotonic()
    return all(one["status"] == "RUNNING" and now < one.get("_deadline", float("inf")) for one in lineage(execution))


def check(execution: Execution) -> None:
    """Raise `Ended` if the execution has ended."""
    if not live(execution):
        raise Ended


def pause(execution: Execution | None, seconds: float | None, event: threading.Event | None = None) -> None:
    """Sleep for `seconds` (None: without end) or until `event` is set. Raises `Ended` as soon as the execution has ended."""
    event = event or threading.Event()
    limits = [one["_deadline"] - time.monotonic() for one in lineage(execution) if "_deadline" in one]
    limits += [] if seconds is None else [seconds]
    if execution is None:
        event.wait(seconds)
        return
    ticket = next(_waiting_ids)
    with _waiting_lock:
        _waiting[ticket] = (execution, event)
    try:
        if live(execution):
            event.wait(max(0.0, min(limits)) if limits else None)
    finally:
        with _waiting_lock:
            del _waiting[ticket]
    check(execution)


def interrupt(ended: Execution) -> None:
    """End all waits within an execution that was stopped."""
    with _waiting_lock:
        waiting = list(_waiting.values())
    for execution, event in waiting:
        if any(one is ended for one in lineage(execution)):
            event.set()


def add_event(execution: Execution, kind: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """Append to the history as AWS does: no event follows the end, and each names the event before it."""
    if execution.get("_express") or (execution["status"] in TERMINAL and not kind.startswith("Execution")):
        return {}
    event: dict[str, Any] = original_add_event(execution, kind, details)
    event["previousEventId"] = 0 if event["id"] <= 2 else event["id"] - 1
    return event


@contextlib.contextmanager
def within(execution: Execution) -> Iterator[None]:
    """Let this thread's waits belong to `execution`."""
    token = current.set(execution)
    try:
        yield
    finally:
        current.reset(token)
