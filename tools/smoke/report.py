"""The lines that report a check's findings, and how exceptions become such lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from requests.exceptions import RequestException

from local.command import CommandError

State = Literal["ok", "FAILED", "could not be checked"]

_NO_RIGHT = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "Forbidden", "ForbiddenException")
_NO_SUCH_CALL = ("InvalidAction", "UnknownOperationException", "NotImplemented", "UnsupportedOperation", "400", "404")
"""How a service answers an operation that it does not have, as emulators do."""


class SmokeError(CommandError):
    """The checks cannot begin. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `todo`: what to do about it."""

    state: State
    about: str
    found: str = ""
    todo: str = ""

    def __str__(self) -> str:
        text = f"{self.state:20}  {self.about}"
        if self.found:
            text += f": {self.found}"
        return text + (f"  -> {self.todo}" if self.todo else "")


def ok(about: str, found: str = "") -> Line:
    return Line("ok", about, found)


def failed(about: str, found: str, todo: str) -> Line:
    return Line("FAILED", about, found, todo)


def unchecked(about: str, found: str, todo: str = "") -> Line:
    return Line("could not be checked", about, found, todo)


@dataclass(frozen=True, slots=True)
class Check:
    """A check by its name. `find` yields what it finds; what it raises becomes a line."""

    name: str
    find: Callable[[], Iterable[Line]]

    def lines(self) -> Iterator[Line]:
        try:
            yield from self.find()
        except ClientError as error:
            yield _of_client_error(self.name, error)
        except (BotoCoreError, RequestException) as error:
            yield failed(
                self.name, f"no answer ({type(error).__name__})", "check the network, the region and the stack's state, then repeat"
            )


def _of_client_error(name: str, error: ClientError) -> Line:
    code, operation = str(error.response.get("Error", {}).get("Code", "")), error.operation_name
    if code in _NO_RIGHT:
        return unchecked(name, f"you may not call {operation}", "give yourself the policy for the smoke test in docs/deploying.md")
    if code in _NO_SUCH_CALL:
        return unchecked(name, f"{operation} does not exist here ({code})")
    if "Throttl" in code or "TooManyRequests" in code:
        return unchecked(name, f"{operation} was throttled", "repeat in a minute")
    message = str(error.response.get("Error", {}).get("Message", ""))[:200]
    return failed(name, f"{operation} answered {code}: {message}", "if it is gone or was changed by hand, deploy the stack again")


@contextmanager
def absences(about: str, lines: list[Line]) -> Iterator[None]:
    """If a resource that the block asks for does not exist, add a line to `lines` and continue after the block."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if not any(word in code for word in ("NotFound", "NonExistent", "DoesNotExist", "NoSuchEntity")):
            raise
        lines.append(failed(about, "it does not exist", "it was deleted: deploy the stack again; if it held data, see docs/recovery.md"))


def run(checks: Sequence[Check], say: Callable[[str], None]) -> list[Line]:
    """Run the checks at the same time, and say each one's lines in order as they are found."""
    lines: list[Line] = []
    with ThreadPoolExecutor(len(checks) or 1) as pool:
        for future in [pool.submit(list, check.lines()) for check in checks]:
            for line in future.result():
                say(str(line))
                lines.append(line)
    return lines


def eventually(probe: Callable[[], Any], seconds: float, pause: float = 0.5) -> Any:
    """The first true value of `probe`; None if there is none within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        if value := probe():
            return value
        if time.monotonic() > end:
            return None
        time.sleep(pause)
