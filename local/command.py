"""How commands end: with a status, and with one sentence in place of a traceback where the cause is not in the command itself.

Only the standard library is imported, because the tools run in several environments.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

OURS = ("local", "tests", "titleholder", "tools")
ON_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
SETUPS = {
    "mutmut": "`make mutants` installs it",
    "parliament": "`make scan` installs it",
    "cyclonedx": "`make sbom` installs it",
}


class CommandError(Exception):
    """A command can't go on. The message says in one sentence why, and what to do."""


class NoAnswerError(CommandError):
    """Nothing answers at an address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        todo = "check the address and the network"
        if parts.hostname in ON_THIS_MACHINE:
            todo = "start the embedded stack with `make up` (if it was running, build/stack.log says why it ended)"
        super().__init__(f"nothing answers at {origin}: {todo}")


def interruptible(main: Callable[[], int | None]) -> int:
    """Run a command; its exit status. Ctrl-C ends it with one sentence in place of a traceback, after it has stopped what it started."""
    try:
        return main() or 0
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        said = explanation(error)
        if said is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        return 1


def explanation(error: BaseException) -> str | None:
    """One sentence about an error whose cause is outside of the command; None for any other."""
    if isinstance(error, CommandError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] not in OURS:
        name = error.name.partition(".")[0]
        return f"the package {name} is not installed: {SETUPS.get(name, f'run pip install {name}')}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    for kind in _kinds(error):
        if (url := _unanswered(kind, error)) is not None:
            return str(NoAnswerError(url))
        if kind == "botocore.exceptions.NoRegionError":
            return "no AWS region is set: set AWS_REGION, or AWS_PROFILE to a profile with a region"
        if kind in ("botocore.exceptions.NoCredentialsError", "botocore.exceptions.PartialCredentialsError"):
            return "there are no AWS credentials: set AWS_PROFILE, or run `aws sso login` or `aws configure`"
        if kind == "botocore.exceptions.ClientError":
            answer = getattr(error, "response", {}).get("Error", {})
            return f"AWS refused {getattr(error, 'operation_name', 'a call')}: {answer.get('Code')}: {answer.get('Message')}"
        if kind == "titleholder.errors.TitleholderError":
            return str(error)
    return None


def _kinds(error: BaseException) -> Iterator[str]:
    return (f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__)


def _unanswered(kind: str, error: BaseException) -> str | None:
    """The address of a call that got no answer; None if the error is another."""
    if kind in ("requests.exceptions.ConnectionError", "requests.exceptions.Timeout"):
        return str(getattr(getattr(error, "request", None), "url", "") or "")
    if kind in ("botocore.exceptions.HTTPClientError", "botocore.exceptions.ConnectionError"):
        return str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
    return None


def no_arguments(program: str, description: str) -> None:
    """Refuse arguments of a command that takes none, with status 2; `--help` says what it does."""
    argparse.ArgumentParser(prog=program, description=description).parse_args()


def port(text: str) -> int:
    """A port, for argparse."""
    if not text.isdigit() or not 0 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to 65535")
    return int(text)


def count(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def number(text: str) -> float:
    """A finite number above 0, for argparse."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return found


def day(text: str) -> date:
    """A day, for argparse."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a day such as 2026-11-01") from None


def readable(path: Path) -> Path:
    """A file that can be read. Raises CommandError."""
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    return path
