"""EventBridge in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.support.fakes.errors import Cross, refused
from tools.reference.events import complaints


class FakeEvents:
    """The bus: keeps announcements, except those that it `refuses`, in turn by its answer and by throttling."""

    def __init__(self, cross: Cross, refuses: Callable[[], bool] = lambda: False) -> None:
        self._cross, self._refuses = cross, refuses
        self._refused = 0
        self.announced: list[tuple[str, dict[str, Any]]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if self._refuses():
                self._refused += 1
                if self._refused % 2:
                    raise refused("PutEvents", "ThrottlingException")
                return {"FailedEntryCount": len(Entries), "Entries": [{"ErrorCode": "ThrottlingException"} for _ in Entries]}
            self.announced += [(entry["DetailType"], json.loads(entry["Detail"])) for entry in Entries]
            undescribed = [said for kind, detail in self.announced[-len(Entries) :] for said in complaints(kind, detail)]
            assert not undescribed, f"docs/reference/events.md: {undescribed}"
            return {"FailedEntryCount": 0, "Entries": [{}]}

        return self._cross("PutEvents", effect)  # type: ignore[no-any-return]
