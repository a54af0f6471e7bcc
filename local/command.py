"""How commands end: with a status, and with one sentence in place of a traceback where the cause is not in the command itself.

A mistake of the command keeps its traceback, because the traceback names the place. So an `OSError` is a sentence only if the user named
the file (`readable`, `writable`, `folder`), and not if the command made the path.

Only the standard library is imported, because the tools run in several environments.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import shutil
import sys
import traceback
from collections.abc import Callable
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
ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("functions", "layers", "local", "tests", "tools")
FAILED_CALLS = {
    "botocore.exceptions.ConnectionClosedError", "botocore.exceptions.ConnectionError", "botocore.exceptions.ReadTimeoutError",
    "requests.exceptions.ConnectionError", "requests.exceptions.Timeout",
}  # fmt: skip
_SIGN_IN = "run `aws sso login` or `aws configure`, or set AWS_PROFILE to another profile"
_PROFILE = "check AWS_PROFILE and the files in ~/.aws"
AWS_SETUP = {
    "InvalidRegionError": "check AWS_REGION and --region",
    "UnknownRegionError": "check AWS_REGION and --region",
    "CredentialRetrievalError": _SIGN_IN, "NoAuthTokenError": _SIGN_IN, "TokenRetrievalError": _SIGN_IN,
    "SSOError": _SIGN_IN, "LoginError": _SIGN_IN,
    "MetadataRetrievalError": _SIGN_IN, "RefreshWithMFAUnsupportedError": _SIGN_IN,
    "ProfileNotFound": _PROFILE, "ConfigNotFound": _PROFILE, "ConfigParseError": _PROFILE, "InvalidConfigError": _PROFILE,
    "UnknownCredentialError": _PROFILE, "MissingDependencyException": _PROFILE,
}  # fmt: skip
"""Errors of botocore that are about the user's profile, credentials, token or region, and what to do."""
MALFORMED_CALLS = {
    "InvalidAction", "InvalidParameterCombination", "MalformedPolicyDocument", "MalformedQueryString", "MissingAction", "MissingParameter",
    "SerializationException", "UnknownOperationException", "ValidationException",
}  # fmt: skip
MAYBE_MALFORMED_CALLS = {"InvalidParameterException", "InvalidParameterValue", "InvalidParameterValueException", "ValidationError"}
"""The user may have named what AWS does not accept, or the command made the call wrong."""


class CommandError(Exception):
    """A command can't go on. The message says in one sentence why, and what to do."""


class NoAnswerError(CommandError):
    """Nothing answers at an address."""

    def __init__(self, url: str) -> None:
        todo = "check the address and the network"
        if _on_this_machine(url):
            todo = "start the embedded stack with `make up` (if it was running, build/stack.log says why it ended)"
        super().__init__(f"nothing answers at {_origin(url)}: {todo}")


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
    if isinstance(error, ModuleNotFoundError):
        return _missing_package(error)
    kinds = _kinds(error)
    if failed := failed_call(error):
        return str(failed)
    if isinstance(error, FileNotFoundError):
        return _missing_program(error)
    if "botocore.exceptions.ClientError" in kinds:
        return _refused_by_aws(error)
    if "botocore.exceptions.NoRegionError" in kinds:
        return "no AWS region is set: set AWS_REGION, or AWS_PROFILE to a profile with a region"
    if kinds & {"botocore.exceptions.NoCredentialsError", "botocore.exceptions.PartialCredentialsError"}:
        return "there are no AWS credentials: set AWS_PROFILE, or run `aws sso login` or `aws configure`"
    for kind, todo in AWS_SETUP.items():
        if f"botocore.exceptions.{kind}" in kinds:
            [said, *_] = str(error).strip().splitlines() or [kind]
            return f"{said.rstrip('.')}: {todo}"
    if "titleholder.errors.TitleholderError" in kinds:
        return str(error)
    return None


def failed_call(error: BaseException) -> CommandError | None:
    """What is to be said of a call over the network that got no answer; None for any other error."""
    kinds = _kinds(error)
    if not kinds & FAILED_CALLS:
        return None
    if "requests.exceptions.RequestException" in kinds and not hasattr(error, "kwargs"):
        url = str(getattr(getattr(error, "request", None), "url", None) or "")
    else:
        url = str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
    place = _origin(url) or "a server"
    if kinds & {"requests.exceptions.SSLError", "botocore.exceptions.SSLError"}:
        todo = "check the address; if a proxy has certificates of its own, name its authority in REQUESTS_CA_BUNDLE and AWS_CA_BUNDLE"
        return CommandError(f"no secure connection to {place} can be made, because TLS failed ({_cause(error)}): {todo}")
    if kinds & {"requests.exceptions.ProxyError", "botocore.exceptions.ProxyConnectionError"}:
        return CommandError(f"the proxy made no connection to {place}: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY")
    if kinds & {"requests.exceptions.ReadTimeout", "botocore.exceptions.ReadTimeoutError"}:
        todo = "build/stack.log says what the stack did" if _on_this_machine(url) else "repeat the command"
        return CommandError(f"{place} took the request and did not answer in time: {todo}")
    if "botocore.exceptions.ConnectionClosedError" in kinds or type(next(iter(error.args), None)).__name__ == "ProtocolError":
        todo = "build/stack.log says why" if _on_this_machine(url) else "repeat the command"
        return CommandError(f"{place} closed the connection without an answer: {todo}")
    return NoAnswerError(url) if url else CommandError(f"a connection failed ({_cause(error)}): check the address and the network")


def _kinds(error: BaseException) -> set[str]:
    return {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}


def _cause(error: BaseException) -> str:
    """The innermost cause that the error's message names, in one line."""
    said = str(getattr(error, "kwargs", {}).get("error") or error)
    [line, *_] = said.strip().splitlines() or [type(error).__name__]
    return line[-200:]


def _origin(url: str) -> str:
    """Scheme, host and port of an address, without its credentials; "" without an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""


def _on_this_machine(url: str) -> bool:
    return urlsplit(url).hostname in ON_THIS_MACHINE


def _missing_package(error: ModuleNotFoundError) -> str | None:
    """None if the package is installed and lacks the module, because then the import is wrong, or the package's version."""
    name = (error.name or "").partition(".")[0]
    if not name or name in OURS or name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        return None
    return f"the package {name} is not installed: {SETUPS.get(name, f'run pip install {name}')}"


def _missing_program(error: FileNotFoundError) -> str | None:
    """None if a file is missing. `subprocess` raises the same error for a program, which it names without a folder."""
    frames = traceback.extract_tb(error.__traceback__)
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""
    started = bool(frames) and frames[-1].name in ("_execute_child", "_posix_spawn")
    return f"the program {name} is not on the PATH" if started and os.sep not in name and not shutil.which(name) else None


def _refused_by_aws(error: BaseException) -> str | None:
    """None if the call is malformed, because that is a mistake of the command."""
    answer = getattr(error, "response", {}).get("Error", {})
    if answer.get("Code") in MALFORMED_CALLS:
        return None
    said = f"AWS refused {getattr(error, 'operation_name', 'a call')}: {answer.get('Code')}: {answer.get('Message')}"
    return f"{said}{_place(error)}" if answer.get("Code") in MAYBE_MALFORMED_CALLS else said


def _place(error: BaseException) -> str:
    """Where in this repository the error arose."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in FOLDERS:
            return f" ({path.relative_to(ROOT)}:{frame.lineno})"
    return ""


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
    """A file that the user named, and that can be read. Raises CommandError."""
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    return path


def writable(path: Path) -> Path:
    """A file that the user named, and that can be written. Raises CommandError."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder, and a file is expected")
    if not path.parent.is_dir():
        raise CommandError(f"{path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CommandError(f"{path}: Permission denied")
    return path


def folder(path: Path) -> Path:
    """A folder that the user named. It is made if it does not exist. Raises CommandError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    if not os.access(path, os.W_OK):
        raise CommandError(f"{path}: Permission denied")
    return path
