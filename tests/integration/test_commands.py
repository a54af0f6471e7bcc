"""Every command of `local` and `tools` refuses what it can't use in one sentence, with status 1 or 2, before it starts anything."""

from __future__ import annotations

import ast
import os
import re
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, NoRegionError

from local.client import Client
from local.command import CommandError, NoAnswerError, explanation, interruptible
from tests.support.functions import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")]

NOWHERE = "http://127.0.0.1:9"
"""Nothing listens on the port of `discard`."""
DEAD_AWS = {
    "AWS_ENDPOINT_URL": NOWHERE, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}  # fmt: skip
NO_AWS = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}


def commands() -> Iterator[str]:
    """The modules of `local` and `tools` that can be run."""
    for path in sorted([*(ROOT / "local").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]):
        if '__name__ == "__main__"' in path.read_text():
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")


COMMANDS = list(commands())


def run(module: str, *arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run a command in this process; its status and what it said on standard error."""
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    if os.environ.get("PATH") != "/nowhere":
        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started a process"))
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    said = capsys.readouterr()
    code = ended.value.code
    return (code, said.err) if isinstance(code, int) else (1, f"{said.err}{code}")


def check(status: int, said: str) -> None:
    assert status in (1, 2)
    assert "Traceback" not in said
    # argparse precedes its sentence with the usage.
    *_, sentence = said.strip().splitlines()
    assert re.match(r"(.+: )?error: ", sentence), said
    assert not re.search(r"Errno|Error\b|line \d+ column|invalid \w+ value", sentence), said


def test_commands_are_found() -> None:
    assert {"local.demo", "local.stack", "local.stripe_simulator", "tools.smoke", "tools.recovery", "tools.permissions"} <= set(COMMANDS)


@pytest.mark.parametrize("module", COMMANDS)
class TestEveryCommand:
    def test_unknown_option_is_refused(self, module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        status, said = run(module, "--no-such-option", capsys=capsys, monkeypatch=monkeypatch)
        check(status, said)
        assert status == 2

    def test_help_says_what_it_does(self, module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", [module, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__")
        assert ended.value.code == 0
        assert len(capsys.readouterr().out.splitlines()) > 2

    def test_it_ends_in_the_one_place_that_explains(self, module: str) -> None:
        path = ROOT / module.replace(".", "/")
        text = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        last = ast.parse(text).body[-1]
        assert ast.unparse(last) == "if __name__ == '__main__':\n    sys.exit(interruptible(main))"


@pytest.mark.parametrize(
    ("module", "arguments", "environment", "sentence"),
    [
        ("local.aws.emulator", ["--port", "70000"], {}, "70000 is not a port from 0 to 65535"),
        ("local.stripe_simulator", ["--port", "x"], {}, "x is not a port from 0 to 65535"),
        ("local.stripe_simulator", ["--webhook-url", "http://x"], {}, "--webhook-url needs a --webhook-secret"),
        ("local.stripe_simulator", ["--webhook-url", "x", "--webhook-secret", "y"], {}, "begins with http:// or https://"),
        ("local.stripe_simulator", ["--webhook-url", "http://[::1/x", "--webhook-secret", "y"], {}, "--webhook-url is not an address"),
        ("local.sign_event", ["/nowhere.json"], {}, "there is no file /nowhere.json"),
        ("local.sign_event", ["README.md"], {}, "README.md is not a sample event"),
        ("local.run_batch", ["x"], {}, "x is not a whole number above 0"),
        ("local.run_batch", ["1", "--rate", "0"], {}, "0 is not a number above 0"),
        ("local.stack", ["x"], {}, "invalid choice: 'x'"),
        ("local.stack", ["up"], {"STRIPE_API_BASE": "ftp://x"}, "STRIPE_API_BASE must be an https URL"),
        ("local.tour", [], {"STRIPE_API_BASE": "ftp://x"}, "STRIPE_API_BASE must be an https URL"),
        ("local.desk", [], {"PATH": "/nowhere"}, "npm"),
        ("local.rehearse", ["x"], {}, "no such procedure: x"),
        ("tools.asl", ["/nowhere.json"], {}, "there is no file /nowhere.json"),
        ("tools.asl", [], {"PATH": "/nowhere"}, "is not on the PATH"),
        ("tools.batch_model", ["0"], {}, "0 is not a whole number above 0"),
        ("tools.batch_model", ["1", "--rate", "nan"], {}, "nan is not a number above 0"),
        ("tools.draw_dashboard", ["/nowhere/x.png"], {}, "/nowhere/x.png: No such file or directory"),
        ("tools.export_audit", ["--table", "x", "--from", "yesterday"], {}, "yesterday is not a day such as 2026-11-01"),
        ("tools.export_audit", ["--table", "x", "--from", "2026-11-01"], DEAD_AWS, f"nothing answers at {NOWHERE}"),
        ("tools.export_audit", ["--table", "x", "--from", "2026-11-01"], NO_AWS, "no AWS region is set"),
        ("tools.fetch_npm", ["x"], {}, "invalid choice: 'x'"),
        ("tools.matching.train", ["/nowhere"], {}, "there is no file /nowhere"),
        ("tools.mutation", ["--only", "nothing.*"], {}, "no module nothing.*"),
        ("tools.mutation", ["--sample", "x"], {}, "x is neither a whole number above 0 nor all"),
        ("tools.smoke", [], {}, "STACK is missing"),
        ("tools.smoke", ["--stack", "x", "--region", "us-east-1"], DEAD_AWS, "AWS cannot be reached"),
        ("tools.recovery", ["--stack", "x", "--region", "us-east-1", "redrive", "refresh"], DEAD_AWS, f"nothing answers at {NOWHERE}"),
        ("tools.recovery", ["--stack", "x", "--region", "us-east-1", "redrive", "x"], {}, "invalid choice: 'x'"),
    ],
)  # fmt: skip
def test_what_a_command_can_not_use_is_named_in_one_sentence(
    module: str,
    arguments: list[str],
    environment: Mapping[str, str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "STRIPE_API"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    status, said = run(module, *arguments, capsys=capsys, monkeypatch=monkeypatch)
    assert sentence in said
    if module == "local.desk":
        # A second sentence says what can be run without npm.
        said, _, note = said.strip().rpartition("\n")
        assert "`make demo` and `make up` need neither" in note
    check(status, said)


@pytest.mark.parametrize("module", ["local.aws.emulator", "local.stripe_simulator"])
def test_port_that_is_in_use_is_named(module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        status, said = run(module, "--port", port, capsys=capsys, monkeypatch=monkeypatch)
    check(status, said)
    assert f"port {port} of 127.0.0.1 cannot be used: Address already in use" in said


def test_call_of_a_stack_that_does_not_run_names_the_endpoint_and_what_to_start() -> None:
    with pytest.raises(NoAnswerError) as caught:
        Client(f"{NOWHERE}/_aws/execute-api/x").call("GET", "/verifications?account=fca_1")
    assert str(caught.value).startswith(f"nothing answers at {NOWHERE}: start the embedded stack with `make up`")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (EndpointConnectionError(endpoint_url=f"{NOWHERE}/x"), f"nothing answers at {NOWHERE}: start"),
        (EndpointConnectionError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com/"), "check the address and the network"),
        (requests.ConnectionError(request=requests.Request("GET", NOWHERE).prepare()), f"nothing answers at {NOWHERE}"),
        (NoRegionError(), "no AWS region is set"),
        (NoCredentialsError(), "there are no AWS credentials"),
        (ModuleNotFoundError("No module named 'parliament'", name="parliament"), "`make scan` installs it"),
        (FileNotFoundError(2, "No such file or directory", "x.json"), "x.json: No such file or directory"),
        (CommandError("what to do"), "what to do"),
    ],
)
def test_cause_outside_of_a_command_is_one_sentence(error: Exception, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> int:
        raise error

    assert interruptible(failing) == 1
    said = capsys.readouterr().err
    check(1, said)
    assert sentence in said


def test_mistake_of_a_command_keeps_its_traceback() -> None:
    assert explanation(KeyError("x")) is None
    assert explanation(ModuleNotFoundError("No module named 'local.x'", name="local.x")) is None
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_missing_file_is_told_by_a_path_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "x").read_text()
    assert explanation(caught.value) == f"{tmp_path / 'x'}: No such file or directory"
