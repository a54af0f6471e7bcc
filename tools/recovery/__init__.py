"""Recovery procedures of docs/recovery.md: `python -m tools.recovery --help`.

Without `--apply`, a command only says what it would do. No command deletes a table, a bucket, a key, a queue or an item.
"""
