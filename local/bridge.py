"""Lets containers on this machine reach servers that listen on 127.0.0.1 only, through the address of Docker's bridge.

Docker Desktop does this by itself. On Linux a container reaches the host at the bridge's address, usually 172.17.0.1.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType

from local.command import CommandError

LOOPBACK = "127.0.0.1"


class BridgeError(CommandError):
    """The bridge cannot, or must not, listen on the address."""


class Bridge:
    """Forwards connections from `ports` of `address` to the same ports of 127.0.0.1, for a `with` block.

    Raises `BridgeError` for an address that is not private or not this machine's, because the servers answer every client.
    """

    def __init__(self, address: str, ports: Iterable[int]) -> None:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            raise BridgeError(f"{address} is not an IP address") from None
        if parsed.is_unspecified or not parsed.is_private:
            raise BridgeError(f"{address} is not an address of a private network of this machine")
        self._listeners: list[socket.socket] = []
        try:
            for port in ports:
                self._listeners.append(socket.create_server((address, port)))
        except OSError as error:
            self.close()
            raise BridgeError(f"cannot listen on {address}: {error.strerror}") from None

    def __enter__(self) -> Bridge:
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), name="bridge", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Accept no more connections. Open ones end when their clients end them."""
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((LOOPBACK, port))
            except OSError:
                client.close()
                continue
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=(source, target), name="bridge", daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Forward data until the sender ends its side."""
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
