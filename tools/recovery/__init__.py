"""Recovery procedures of docs/recovery.md: `python -m tools.recovery --help`.

Every command only says what it would do, until it gets `--apply`. None deletes a table, a bucket, a key, a queue or an item.
"""
