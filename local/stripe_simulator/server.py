"""The simulator as an HTTP server on 127.0.0.1, with a thread that sends the webhooks."""

from __future__ import annotations

import contextlib
import http.client
import queue
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from local.command import CommandError
from local.stripe_simulator import control
from local.stripe_simulator.core import Simulator
from local.stripe_simulator.deliveries import Outgoing
from local.stripe_simulator.options import Options

HOST = "127.0.0.1"
LONGEST_BODY = 1 << 20
SENDERS = 32
WEBHOOK_TIMEOUT = 20.0
# How late a delivery may be if a direct call of `SimulatorServer.simulator` has caused it.
TICK = 0.05
# How long `stop` waits for deliveries under way. A receiver that never answers would keep it waiting for WEBHOOK_TIMEOUT.
STOP_SECONDS = 1.0


class SimulatorServer:
    """`with SimulatorServer(port=0) as server: server.url`. Port 0 takes a free one.

    webhook_url and webhook_secrets configure a first endpoint, for the platform's snapshot events. `simulator` runs on the machine's clock.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        webhook_url: str | None = None,
        webhook_secrets: Sequence[str] = (),
        options: Options | None = None,
        seed: int = 0,
        simulator: Simulator | None = None,
    ) -> None:
        self.simulator = simulator or Simulator(time.time, seed, options)
        if webhook_url:
            self.simulator.add_endpoint(webhook_url, webhook_secrets)
        self.stopping = threading.Event()
        self.changed = threading.Event()
        try:
            self._http = _Server((HOST, port), self)
        except OSError as error:
            raise CommandError(f"port {port} of {HOST} cannot be used: {error.strerror}") from None
        self._outgoing: queue.SimpleQueue[Outgoing | None] = queue.SimpleQueue()
        self._senders: list[threading.Thread] = []
        self._threads = [
            threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, name="stripe-simulator", daemon=True),
            threading.Thread(target=self._pump, name="stripe-simulator-webhooks", daemon=True),
        ]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._http.server_address[1]}"

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop answering and sending. Hanging calls end, and deliveries under way have a second to end."""
        self.stopping.set()
        self.changed.set()
        self._http.shutdown()
        self._http.server_close()
        end = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))
        for _ in self._senders:
            self._outgoing.put(None)
        for thread in self._senders:
            thread.join(timeout=max(0.0, end - time.monotonic()))

    def __enter__(self) -> SimulatorServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _pump(self) -> None:
        while not self.stopping.is_set():
            for outgoing in self.simulator.due_deliveries():
                self._outgoing.put(outgoing)
                if len(self._senders) < SENDERS:
                    # Daemons, unlike the threads of a ThreadPoolExecutor: the interpreter ends without waiting for them.
                    sender = threading.Thread(target=self._send, name="stripe-simulator-webhook", daemon=True)
                    self._senders.append(sender)
                    sender.start()
            due = self.simulator.next_due()
            self.changed.wait(TICK if due is None else min(TICK, max(0.0, due - self.simulator.now())))
            self.changed.clear()

    def _send(self) -> None:
        while (outgoing := self._outgoing.get()) is not None:
            try:
                status = None if self.stopping.is_set() else post(outgoing)
            except Exception:
                # Other deliveries need this thread.
                traceback.print_exc()
                status = None
            self.simulator.delivered(outgoing, status)


def post(outgoing: Outgoing) -> int | None:
    """Make one delivery. Returns the HTTP status, None without an answer."""
    try:
        url = urlsplit(outgoing.url)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        with contextlib.closing(kind(url.hostname or HOST, url.port, timeout=WEBHOOK_TIMEOUT)) as connection:
            connection.request("POST", f"{url.path or '/'}{'?' + url.query if url.query else ''}", outgoing.body, outgoing.headers)
            answer = connection.getresponse()
            answer.read(LONGEST_BODY)
            return answer.status
    except (OSError, ValueError, http.client.HTTPException):
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], owner: SimulatorServer) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that has closed its connection is not an error.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LONGEST_BODY:
            self.close_connection = True
            return
        owner = self.server.owner
        body = self.rfile.read(length)
        if self.path.startswith(control.PREFIX):
            response = control.handle(owner.simulator, self.command, self.path, body)
        else:
            response = owner.simulator.handle(self.command, self.path, dict(self.headers.items()), body)
        owner.changed.set()
        if response.action == "hang":
            owner.stopping.wait(response.seconds)
        if response.action == "drop" or not response.status:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)
        self.wfile.flush()

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: `Simulator.requests` is the log."""
