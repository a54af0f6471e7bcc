"""Amazon's DynamoDB Local as the tests run it: it listens on 127.0.0.1 only, ends with its owner, and names what it lacks."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import dynamodb_local, judges
from tests.support.dynamodb_local import DynamoDBLocal, DynamoDBLocalError
from tests.support.functions import ROOT

OWNER = """
import time
from tests.support.dynamodb_local import DynamoDBLocal
with DynamoDBLocal() as engine:
    print(engine.endpoint.rpartition(":")[2], flush=True)
    time.sleep(60)
"""


def listeners(port: int) -> set[str]:
    """The addresses on which a process listens on the port, of those that the system's own network namespace has."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                found.add(local.rpartition(":")[0])
    return found


@pytest.mark.slow
def test_engine_listens_on_loopback_only_and_ends_with_its_owner() -> None:
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stderr is not None
        port = owner.stdout.readline()
        judges.require(dynamodb_local.NAME, bool(port), owner.stderr.read().rpartition("Error: ")[2] if not port else "")
        assert listeners(int(port)) == {socket.inet_aton("127.0.0.1")[::-1].hex().upper()}
        assert not listeners(dynamodb_local.INNER_PORT)
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while listeners(int(port)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not listeners(int(port))


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("java", r"java is not on the PATH \(Debian: apt-get install default-jre-headless\)"),
        ("unshare", r"unshare is not on the PATH \(Debian: apt-get install util-linux\)"),
        ("namespaces", "this system gives it no network namespace of its own: .*Operation not permitted"),
        ("new enough java", "it did not start: UnsupportedClassVersionError"),
    ],
)
def test_what_it_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str, said: str) -> None:
    refuses, passes_on = (
        'echo "unshare failed: Operation not permitted" >&2; exit 1',
        'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    )
    programs = {
        "java": "echo UnsupportedClassVersionError; exit 1",
        "unshare": refuses if lacking == "namespaces" else passes_on,
    }
    programs.pop(lacking, None)
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    (tmp_path / "true").symlink_to("/bin/true")
    jar = tmp_path / "node_modules" / dynamodb_local.TOOL / "lib/one/DynamoDBLocal.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    monkeypatch.setattr(dynamodb_local, "fetch", lambda _: tmp_path / "node_modules")
    monkeypatch.setattr(dynamodb_local, "_loopback_up", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DynamoDBLocalError, match=said), DynamoDBLocal():
        pass
