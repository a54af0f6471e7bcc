"""SIGTERM and Ctrl-C end each program that runs until then, whichever of its threads the kernel interrupts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from local.aws.paths import ROOT

# In a thread: once the program is ready and waits, the signal interrupts this thread and not the main thread.
INTERRUPT = """
import collections, contextlib, pathlib, signal, sys, tempfile, threading, time
from unittest import mock

ready = threading.Event()

def interrupt():
    ready.wait()
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.{number})
    time.sleep(120)

threading.Thread(target=interrupt, daemon=True).start()
"""
# They start nothing that takes long.
PROGRAMS = {
    "simulator": """
from local.stripe_simulator import __main__ as simulator
sys.argv = ["local.stripe_simulator"]
simulator.json.dumps = lambda _: ready.set()
simulator.main()
""",
    "stack": """
from local import stack
from local.aws.emulator import Emulator
stack.running = lambda **_: contextlib.nullcontext(stack.Stack(Emulator(1), None, collections.defaultdict(str), "", "", ""))
stack.json.dumps = lambda *_, **__: (ready.set(), "{}")[1]
stack.serve(pathlib.Path(tempfile.mkdtemp()) / "stack.json", stack.Inputs.read({}))
""",
    "desk": """
from local import desk
desk.prepare = desk.check_ports = lambda *_: None
desk.running_desk = lambda **_: contextlib.nullcontext(mock.MagicMock())
desk.variables = lambda *_: contextlib.nullcontext()
desk.seed = lambda _: (ready.set(), {})[1]
desk.serve(1)
""",
}


@pytest.mark.parametrize(
    ("program", "number"), [("simulator", "SIGTERM"), ("simulator", "SIGINT"), ("stack", "SIGTERM"), ("desk", "SIGTERM")]
)
def test_program_ends_on_a_signal_that_interrupts_another_thread(program: str, number: str) -> None:
    code = INTERRUPT.format(number=number) + PROGRAMS[program] + "print('ended')\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["ended"]), done.stderr
