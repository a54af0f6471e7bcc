"""Raises, always."""


def handler(_event: object, _context: object) -> None:
    raise ValueError("no")
