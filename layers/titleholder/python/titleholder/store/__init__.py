"""DynamoDB: one repository for each aggregate. docs/data-model.md names every row and attribute."""

from titleholder.store.store import Retention, Store

__all__ = ["Retention", "Store"]
