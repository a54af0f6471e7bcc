"""Runs an AWS emulator on this machine: MiniStack, to which `shims` add AWS behaviours that it lacks.

    python -m local.aws.emulator --port 4566

It listens on 127.0.0.1 only, verifies signatures, enforces IAM, starts without state, and ends its Lambda workers when it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from local.aws.paths import BUILD, ROOT
from local.command import CommandError, folder, interruptible, port, writable

MINISTACK = "1.5.33"
REGION = "us-east-1"
ACCOUNT = "000000000000"
HOST = "127.0.0.1"
LOGS_KEPT_SECONDS = 86_400
START_SECONDS = 60


def last_words(log: Path) -> str:
    """Why a process ended, by its log: the last error of pip, which installs packages at the first start, or the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    if errors:
        return f"the functions' packages could not be installed, which needs a package index once: {errors[-1].removeprefix('ERROR: ')}"
    return lines[-1] if lines else "it wrote nothing"


class EmulatorError(CommandError):
    """The emulator cannot start here."""


def check_version() -> None:
    """Raise `EmulatorError` unless the installed MiniStack is the version whose private functions the shims replace."""
    try:
        found = version("ministack")
    except PackageNotFoundError:
        found = "none"
    if found != MINISTACK:
        raise EmulatorError(f"ministack {MINISTACK} is needed, found {found}: the shims replace private functions of that very version")


def free_port() -> int:
    """A port of 127.0.0.1 on which no process listens.

    It is below the ports that the system assigns, so that no other process gets it before the emulator listens.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


def client_environment(endpoint: str) -> dict[str, str]:
    """Variables that make any AWS SDK or CLI use the emulator at `endpoint`. They override the machine's own settings."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def client(service: str, endpoint: str, **options: Any) -> Any:
    """A boto3 client of the emulator at `endpoint`."""
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, **keys, **options)


class Emulator:
    """An emulator in a process of its own, for a `with` block. `endpoint` is its base URL.

    `port` 0 takes a free one. `var` is the folder for everything on disk, with the log in the file `log`. `trail` is a file that records
    IAM's decisions. `environment` adds variables to the emulator's process.

    Raises `EmulatorError` if it does not answer within `START_SECONDS`.
    """

    def __init__(
        self,
        port: int = 0,
        var: Path = BUILD,
        *,
        trail: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self.endpoint = f"http://{HOST}:{self.port}"
        self.var = Path(var).resolve()
        self.log = self.var / "aws" / f"{self.port}.log"
        self._options = ["--trail", str(trail.resolve())] if trail else []
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The emulator's process id. Raises `EmulatorError` when it does not run."""
        if self._process is None:
            raise EmulatorError("the emulator is not running")
        return self._process.pid

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the emulator."""
        return client(service, self.endpoint, **options)

    def start(self) -> None:
        check_version()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        for old in self.log.parent.glob("*.log"):
            if old.stat().st_mtime < time.time() - LOGS_KEPT_SECONDS:
                old.unlink(missing_ok=True)
        command = [sys.executable, "-m", "local.aws.emulator", "--port", str(self.port), "--var", str(self.var), "--until-eof"]
        with self.log.open("wb") as log:
            # In a session of its own, Ctrl-C at the terminal does not kill it before its owner has ended, and its workers are one group.
            self._process = subprocess.Popen(
                [*command, *self._options],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    def _wait_until_healthy(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not healthy(self.endpoint):
            code = self._process.poll()
            if code is not None:
                raise EmulatorError(f"the emulator ended with status {code}: {last_words(self.log)}; its log is {self.log}")
            if time.monotonic() > deadline:
                raise EmulatorError(f"no answer from {self.endpoint} within {START_SECONDS} s; the log is {self.log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the emulator and every process that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Processes left in its group are workers that the emulator could not end itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def healthy(endpoint: str) -> bool:
    """Whether an emulator answers at `endpoint`."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2) as answer:
            return bool(json.load(answer))
    except (OSError, ValueError):
        return False


def serve(port: int, var: Path, until_eof: bool = False, trail: Path | None = None) -> None:
    """Run the emulator in this process until SIGTERM, SIGINT, or (`until_eof`) the end of standard input.

    Raises `EmulatorError` for another version of MiniStack or a port in use.
    """
    check_version()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EmulatorError(f"port {port} of {HOST} cannot be used: {error.strerror}") from None
    state = var.resolve() / "aws" / str(port)
    shutil.rmtree(state, ignore_errors=True)
    (state / "tmp").mkdir(parents=True)
    endpoint = f"http://{HOST}:{port}"
    # MiniStack reads its settings while its modules are imported, so they are set before.
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        os.environ.pop(name, None)
    os.environ.update(client_environment(endpoint))
    os.environ.update(
        BIND_HOST=HOST,
        GATEWAY_PORT=str(port),
        MINISTACK_HOST="localhost",
        MINISTACK_REGION=REGION,
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        AUTH="true",
        TMPDIR=str(state / "tmp"),
        STATE_DIR=str(state / "state"),
        S3_DATA_DIR=str(state / "s3"),
        PERSIST_STATE="0",
        DOCKER_HOST="unix:///nonexistent",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        CLOUDTRAIL_RECORDING="0",
    )
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    import uvloop

    try:
        uvloop.run(_serve(port, var.resolve(), until_eof, trail))
    finally:
        from ministack.core import lambda_runtime

        lambda_runtime.reset()
        shutil.rmtree(state, ignore_errors=True)


async def _serve(port: int, var: Path, until_eof: bool, trail: Path | None) -> None:
    import uvicorn
    from ministack.app import app

    from local.aws.shims import apply_all

    apply_all(var, REGION, trail)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    _raise_file_limit()
    # MiniStack's own server parses HTTP in Python, which costs more time than most calls themselves.
    config = uvicorn.Config(
        app, host=HOST, port=port, http="httptools", access_log=False, proxy_headers=False, server_header=False, date_header=False,
        timeout_keep_alive=75, timeout_graceful_shutdown=1, log_level=os.environ["LOG_LEVEL"].lower(), ws="none",
    )  # fmt: skip
    server = uvicorn.Server(config)

    def end_with_input() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    # uvicorn handles these signals and then raises them again, which would end the process before the files are removed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if until_eof:
        threading.Thread(target=end_with_input, daemon=True).start()
    print(f"AWS is at http://{HOST}:{port}", flush=True)
    await server.serve()


def _raise_file_limit() -> None:
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))


def main() -> None:
    parser = argparse.ArgumentParser(prog="local.aws.emulator", description="AWS on 127.0.0.1.")
    parser.add_argument("--port", type=port, default=4566)
    parser.add_argument("--var", type=Path, default=BUILD, help="folder for everything on disk (default: build)")
    parser.add_argument("--trail", type=Path, help="file that records IAM's decisions")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    options = parser.parse_args()
    serve(options.port, folder(options.var), options.until_eof, options.trail and writable(options.trail))
    # Without waiting for the threads of workflows, which may wait for hours.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(interruptible(main))
