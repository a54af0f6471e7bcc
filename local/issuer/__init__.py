"""An issuer of tokens for people who review, for `make desk` and the browser tests: oidc-provider from npm, in a process of its own.

The lock file pins every package by its hash and names no registry. It was made with
`npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved=true`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from local.aws.paths import BUILD
from local.aws.runtime import exclusively
from local.command import CommandError

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "issuer.mjs")
AUDIENCE = "titleholder"
CLIENT_ID = "titleholder-desk"
SCOPE_PREFIX = "titleholder/"
INSTALL_SECONDS = 300
NODE_VERSION = 20
LOG = BUILD / "issuer.log"


class IssuerError(CommandError):
    """The issuer cannot run here. The message says what is missing."""


@dataclass(frozen=True)
class User:
    """A person who signs in by name and password. `scopes`: some of read, review and support."""

    name: str
    password: str
    scopes: tuple[str, ...]


def check_programs() -> None:
    """Raise `IssuerError` unless there are npm and a Node.js that is new enough."""
    missing = [name for name in ("npm", "node") if shutil.which(name) is None]
    if missing:
        raise IssuerError(f"{' and '.join(missing)} must be on the PATH (Debian: apt-get install nodejs npm)")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if not version.startswith("v") or int(version[1:].split(".")[0]) < NODE_VERSION:
        raise IssuerError(f"Node.js {NODE_VERSION} or newer is needed, found {version or 'none that starts'}")


def installed(folder: Path = BUILD / "issuer") -> Path:
    """The folder with the issuer and its packages. Makes it if it is missing; no script of a package runs.

    Raises `IssuerError` if a package cannot be downloaded or has another hash than the lock file's.
    """
    identity = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    home = folder / identity
    with exclusively(folder):
        if not home.exists():
            shutil.rmtree(folder, ignore_errors=True)
            partial = home.with_suffix(".partial")
            partial.mkdir(parents=True)
            for name in FILES:
                shutil.copy(HERE / name, partial / name)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--silent"]
            try:
                done = subprocess.run(command, cwd=partial, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
            except subprocess.TimeoutExpired:
                raise IssuerError(f"`npm ci` took more than {INSTALL_SECONDS} s") from None
            if done.returncode:
                raise IssuerError(f"`npm ci` ended with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
            partial.rename(home)
    return home


class LocalIssuer:
    """Runs for a `with` block. `url` is the issuer's name. Port 0 takes a free one."""

    url: str

    def __init__(self, users: Sequence[User], *, port: int = 0, log: Path = LOG) -> None:
        self._config = {"port": port, "audience": AUDIENCE, "scope_prefix": SCOPE_PREFIX, "client_id": CLIENT_ID}
        self._config["users"] = [asdict(user) for user in users]
        self._log = log

    def __enter__(self) -> LocalIssuer:
        check_programs()
        home = installed()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["node", "issuer.mjs"],
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is for the process that started it, which then ends it.
                start_new_session=True,
            )
        try:
            self.url = self._tell(self._config)["issuer"]
        except IssuerError:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def allow(self, redirect_uri: str) -> None:
        """Send people back to this address, and to no other, after they have signed in or out."""
        self._tell({"redirect_uris": [redirect_uri]})

    def limit_access_tokens(self, seconds: int) -> None:
        """Set how many seconds future access tokens are valid."""
        self._tell({"access_token_seconds": seconds})

    @property
    def parameters(self) -> dict[str, str]:
        """The template's parameters for a stack whose desk uses this issuer."""
        return {
            "ReviewIssuer": self.url,
            "ReviewAudience": AUDIENCE,
            "DeskClientId": CLIENT_ID,
            "JwtScopePrefix": SCOPE_PREFIX,
        }

    def _tell(self, line: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            answer = ""
        else:
            answer = self._process.stdout.readline()
        if not answer:
            raise IssuerError(f"the issuer does not run: {self._log.read_text().strip()[-1000:]}")
        return json.loads(answer)

    def _end(self) -> None:
        self._process.terminate()
        self._process.communicate()
