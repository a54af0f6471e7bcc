"""Checks the state of KMS keys. What a key encrypts can't be read once the key is disabled or scheduled for deletion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def unusable(kms: Any, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The keys (ids, ARNs or aliases) that can't be used, each with its state, such as `PendingDeletion`; through a boto3 KMS client."""
    for key in keys:
        state = str(kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"])
        if state != "Enabled":
            yield key, state
