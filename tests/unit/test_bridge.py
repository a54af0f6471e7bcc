"""The bridge passes connections on from one address of this machine to 127.0.0.1, and never listens for everybody."""

from __future__ import annotations

import socket
import threading

import pytest

from local.bridge import LOOPBACK, Bridge, BridgeError

OTHER = "127.0.0.2"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "8.8.8.8", "localhost", ""])
def test_address_that_others_reach_or_none_is_refused(address: str) -> None:
    with pytest.raises(BridgeError):
        Bridge(address, [0])


def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(BridgeError, match="cannot listen on"):
        Bridge("10.255.255.254", [0])


def test_bytes_pass_both_ways_until_both_sides_have_ended() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        try:
            bridge = Bridge(OTHER, [port])
        except BridgeError as error:
            pytest.skip(f"this machine has no second loopback address: {error}")

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                received = b""
                while part := connection.recv(4096):
                    received += part
                connection.sendall(received.upper())

        threading.Thread(target=answer, daemon=True).start()
        with bridge, socket.create_connection((OTHER, port), timeout=5) as client:
            client.sendall(b"over the " * 20_000)
            client.shutdown(socket.SHUT_WR)
            answered = b""
            while part := client.recv(65_536):
                answered += part
        assert answered == b"OVER THE " * 20_000
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((OTHER, port), timeout=1)
