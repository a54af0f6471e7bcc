"""Waits for the signals that end a program: SIGTERM, and SIGINT, which is Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def end_signals() -> Iterator[Callable[[], None]]:
    """Catch the signals during a `with` block. The yielded function returns once one of them has arrived. For the main thread.

    Python runs a signal's handler in the main thread, between two instructions. A main thread that waits for a lock or in `signal.pause`
    does not run the handler of a signal that came just before the wait, or that the kernel gave to another thread. A handler that sets an
    Event deadlocks if the main thread holds the Event's lock. The interpreter itself writes each signal to the wakeup file at once, in
    any thread, so the main thread reads from there.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        old = signal.set_wakeup_fd(writer.fileno())
        # Without a handler in Python, the interpreter would end the process.
        handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}

        def wait() -> None:
            reader.recv(1, socket.MSG_PEEK)

        try:
            yield wait
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old)
