"""Lambda runs Python functions under AWS's Runtime Interface Client, isolated from the host, and keeps the environment after an error.

MiniStack serves the Lambda Runtime API for `provided.*` only. Here Python functions use that server too, in the interpreter of
`local.aws.runtime`. A function imports from its code first, then from its layers (the last one first, because on AWS it overwrites the
others in /opt), then from what the runtime ships. Error types, init errors, the context object and the log format are the real client's.

A function has at most `MAX_WORKERS` environments, and callers queue for them, where AWS would start another one. Few cold starts run at the
same time. Otherwise a burst would start a hundred interpreters on a laptop.
"""

from __future__ import annotations

import array
import fcntl
import os
import queue
import socket
import socketserver
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

from local.aws import runtime

MAX_WORKERS = int(os.environ.get("LAMBDA_MAX_WORKERS", "6"))
INHERITED = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "AWS_CA_BUNDLE", "LD_LIBRARY_PATH")
GIVEN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_DISABLE_HOST_PREFIX_INJECTION",
    "_HANDLER",
)


class _RuntimeApi(socketserver.ThreadingTCPServer):
    """A server that sleeps until a client connects. The usual polling loop, once for each worker, would keep an idle machine busy."""

    daemon_threads = True
    allow_reuse_address = True
    closing = False

    def serve_forever(self, poll_interval: float = 0) -> None:
        while True:
            try:
                request, address = self.socket.accept()
            except OSError:
                return
            if self.closing:
                request.close()
                return
            self.process_request(request, address)

    def shutdown(self) -> None:
        self.closing = True
        socket.create_connection(self.server_address[:2], timeout=1).close()  # type: ignore[arg-type]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Events(queue.Queue[Any]):
    """The next event for the function. `get` ignores its timeout: it sleeps until there is an event or the environment ends."""

    def __init__(self) -> None:
        super().__init__(maxsize=1)
        self.closed = False

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        with self.not_empty:
            self.not_empty.wait_for(lambda: self._qsize() or self.closed)
            if not self._qsize():
                raise queue.Empty
            event = self._get()
            self.not_full.notify()
            return event

    def close(self) -> None:
        with self.not_empty:
            self.closed = True
            self.not_empty.notify_all()


def apply(var: Path) -> None:
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    python = runtime.interpreter(var)
    cold_starts = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))

    class PythonWorker(lambda_runtime.ProvidedWorker):  # type: ignore[misc]
        def _spawn(self, init_timeout: float | None = None) -> None:
            self._teardown()
            with cold_starts:
                self._start(init_timeout)
            self._start_time = time.time()

        def _start(self, init_timeout: float | None) -> None:
            events, log = _Events(), queue.Queue[str](maxsize=lambda_runtime._PROVIDED_LOG_MAX_LINES)
            with self._state_lock:
                self._generation += 1
                generation = self._generation
                self._stopping = False
                self._first_poll.clear()
                self._init_settled.clear()
                self._response_ready.clear()
                self._init_error = self._current_request_id = None
                self._result: dict[str, Any] = {}
                self._pending, self._stderr_queue = events, log
            try:
                code = runtime.unpacked(self.code_zip, var)
                handler = self._build_handler_class(generation, events)
                handler.disable_nagle_algorithm = True
                self._server = _RuntimeApi(("127.0.0.1", 0), handler)
                self._server_thread = threading.Thread(target=self._server.serve_forever, daemon=True)
                self._server_thread.start()
                self._proc = subprocess.Popen(
                    [str(python), "-m", "awslambdaric", self.config.get("Handler", "app.handler").replace("/", ".")],
                    cwd=code,
                    env=self._environment(code, self._server.server_address[1]),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                self._log_thread = threading.Thread(target=self._pump_output, args=(self._proc.stdout, log), daemon=True)
                self._log_thread.start()
                self._stderr_thread = self._log_thread
                self._await_init(init_timeout)
            except BaseException:
                self._teardown()
                raise

        def _layer_folders(self) -> list[str]:
            folders = []
            for layer in reversed(self.config.get("Layers") or []):
                blob = lambda_svc._resolve_layer_zip(layer)
                if blob:
                    root = runtime.unpacked(blob, var)
                    declared = f"python/lib/{self.config.get('Runtime')}/site-packages"
                    folders += [str(root / part) for part in (declared, "python") if (root / part).is_dir()]
            return folders

        def _environment(self, code: Path, port: int) -> dict[str, str]:
            full: dict[str, str] = lambda_svc._provided_worker_env(self.config, str(code), port)
            variables = (self.config.get("Environment") or {}).get("Variables") or {}
            kept = {*INHERITED, *GIVEN, *variables}
            environment = {name: value for name, value in full.items() if name in kept or name.startswith("AWS_LAMBDA_")}
            if not environment.get("AWS_SESSION_TOKEN"):
                environment.pop("AWS_SESSION_TOKEN", None)
            logging_config = self.config.get("LoggingConfig") or {}
            environment |= {
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.config.get('Runtime')}",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "AWS_LAMBDA_LOG_GROUP_NAME": logging_config.get("LogGroup") or f"/aws/lambda/{self.func_name}",
                "AWS_LAMBDA_LOG_FORMAT": logging_config.get("LogFormat") or "Text",
                "LAMBDA_TASK_ROOT": str(code),
                "LAMBDA_RUNTIME_DIR": str(python.parent),
                "LANG": "C.UTF-8",
                "TZ": ":UTC",
                "PYTHONPATH": os.pathsep.join(self._layer_folders()),
                "PYTHONNOUSERSITE": "1",
                "PYTHONUNBUFFERED": "1",
                # On AWS the folders are read-only. Here root could write into them.
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            if level := logging_config.get("ApplicationLogLevel"):
                environment["AWS_LAMBDA_LOG_LEVEL"] = level
            return environment

        def invoke(self, event: Any, request_id: str, **options: Any) -> dict[str, Any]:
            try:
                return dict(super().invoke(event, request_id, **options))
            except lambda_runtime.ProvidedInitTimeout:
                seconds = self.config.get("Timeout", 3)
                message = f"{request_id} Task timed out after {seconds:.2f} seconds"
                return self._failed({"errorMessage": message, "errorType": "Sandbox.Timedout"})
            except RuntimeError as error:
                payload = self._init_error
                if not isinstance(payload, dict):
                    payload = {"errorMessage": str(error), "errorType": getattr(error, "error_type", "Runtime.ExitError")}
                return self._failed(payload)

        def _failed(self, payload: dict[str, Any]) -> dict[str, Any]:
            message = payload.get("errorMessage")
            return {"status": "error", "error": message, "error_payload": payload, "cold_start": True, "log": self._drain_stderr()}

        def _drain_stderr(self) -> str:
            lines = []
            while True:
                try:
                    lines.append(self._stderr_queue.get_nowait())
                except queue.Empty:
                    return "\n".join(lines)

        def _drain_stderr_bounded(self, first_line_wait: float = 0, idle_confirm: float = 0, hard_cap: float = 0.25) -> str:
            # A handler's output is in the pipe before its answer is posted, so an empty pipe has no more output to wait for.
            unread = array.array("i", [0])
            end = time.monotonic() + hard_cap
            process = self._proc
            while process is not None and process.stdout is not None and time.monotonic() < end:
                try:
                    fcntl.ioctl(process.stdout, termios.FIONREAD, unread)
                except (OSError, ValueError):
                    break
                if not unread[0]:
                    break
                time.sleep(0.0005)
            time.sleep(0.0005)
            return self._drain_stderr()

        def _teardown(self) -> None:
            self._close_events()
            super()._teardown()

        def _discard_tmpdir(self) -> None:
            self._close_events()
            super()._discard_tmpdir()

        def _close_events(self) -> None:
            with self._state_lock:
                self._stopping = True
            if isinstance(self._pending, _Events):
                self._pending.close()

    original_class = lambda_runtime._worker_class_for
    lambda_runtime._worker_class_for = lambda config: PythonWorker if _is_python(config) else original_class(config)

    original_warm = lambda_svc._execute_function_warm

    def execute_warm(function: dict[str, Any], event: Any, request_id: str) -> Any:
        run = lambda_svc._execute_function_provided_warm if _is_python(function.get("config") or function) else original_warm
        return run(function, event, request_id)

    lambda_svc._execute_function_warm = execute_warm
    _queue_at_limit(lambda_runtime, lambda_svc)


def _queue_at_limit(lambda_runtime: Any, lambda_svc: Any) -> None:
    released = threading.Condition()
    original_acquire, original_release = lambda_runtime.acquire_worker, lambda_runtime.release_worker

    def acquire(name: str, config: dict[str, Any], code: bytes, qualifier: str = "$LATEST", max_concurrency: int | None = None) -> Any:
        end = time.monotonic() + 30 + config.get("Timeout", 3)
        with released:
            while True:
                worker, reason = original_acquire(name, config, code, qualifier=qualifier, max_concurrency=max_concurrency or MAX_WORKERS)
                left = end - time.monotonic()
                if worker is not None or left <= 0:
                    return worker, reason
                released.wait(min(left, 1))

    def release(worker: Any) -> None:
        original_release(worker)
        with released:
            released.notify_all()

    lambda_runtime.acquire_worker = lambda_svc.acquire_worker = acquire
    lambda_runtime.release_worker = lambda_svc.release_worker = release


def _is_python(config: dict[str, Any]) -> bool:
    return str(config.get("Runtime", "")).startswith("python")
