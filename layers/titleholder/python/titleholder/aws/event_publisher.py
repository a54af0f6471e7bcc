"""Publishes events on the EventBridge bus: ids, verdicts and scores; never personal data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from titleholder.errors import AwsUnavailableError

SOURCE = "titleholder"


class AnnouncementRefusedError(AwsUnavailableError):
    """EventBridge did not accept an announcement. The announcement is stored with its change, and `reconcile` publishes it later."""


class EventPublisher:
    """The bus named `name`, through a boto3 EventBridge client."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def publish(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Publish an event. Raises AnnouncementRefusedError if EventBridge did not accept it."""
        entry = {"Source": SOURCE, "DetailType": detail_type, "Detail": json.dumps(detail), "EventBusName": self._name}
        answer = self._client.put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            raise AnnouncementRefusedError(f"EventBridge did not take {detail_type}: {answer['Entries'][0].get('ErrorCode')}")
