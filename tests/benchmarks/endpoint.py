"""An AWS that answers at once, in a process of its own: over real connections, with as little work as possible.

python -m tests.benchmarks.endpoint SECRET    prints its port; ends with its standard input
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import threading
from typing import Any


def answer(target: bytes, body: bytes, secret: str) -> dict[str, Any]:
    """The answers of the services: a put whose condition held, a message that was accepted, the secret."""
    if target.endswith(b".SendMessage"):
        digest = hashlib.md5(json.loads(body)["MessageBody"].encode(), usedforsecurity=False).hexdigest()
        return {"MessageId": "00000000-0000-4000-8000-000000000000", "MD5OfMessageBody": digest}
    return {"SecretString": secret} if target.endswith(b".GetSecretValue") else {}


def serve(connection: socket.socket, secret: str) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    while stream.readline():
        headers: dict[bytes, bytes] = {}
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get(b"content-length", 0)))
        data = json.dumps(answer(headers.get(b"x-amz-target", b""), body, secret)).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: 0000\r\nContent-Length: "
        connection.sendall(f"{head}{len(data)}\r\n\r\n".encode() + data)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, sys.argv[1]), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
