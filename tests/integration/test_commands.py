"""Every command of `local` and `tools` refuses what it can't use in one sentence, with status 1 or 2, before it starts anything."""

from __future__ import annotations

import ast
import errno
import importlib
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import requests
from botocore import exceptions as aws
from urllib3.exceptions import ProtocolError

from local import client
from local.client import Client
from local.command import CommandError, NoAnswerError, explanation, folder, interruptible, readable, writable
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
    assert not re.search(r"Errno|\wError\b|line \d+ column|invalid \w+ value", sentence), said


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
        ("tools.draw_dashboard", ["/nowhere/x.png"], {}, "/nowhere/x.png: there is no folder /nowhere"),
        ("tools.draw_bench", ["/nowhere/x.png"], {}, "/nowhere/x.png: there is no folder /nowhere"),
        ("tools.draw_bench", ["docs"], {}, "docs is a folder, and a file is expected"),
        ("local.aws.emulator", ["--var", "README.md/x"], {}, "README.md/x: Not a directory"),
        ("local.aws.emulator", ["--trail", "/nowhere/x"], {}, "/nowhere/x: there is no folder /nowhere"),
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


def called(kind: type[requests.RequestException], url: str, *cause: object) -> requests.RequestException:
    """An error of a call to `url`."""
    return kind(*cause, request=requests.Request("GET", url).prepare())


def refused(code: str, message: str = "wrong") -> aws.ClientError:
    return aws.ClientError({"Error": {"Code": code, "Message": message}}, "UpdateItem")


AWAY = "https://api.example.com"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (aws.EndpointConnectionError(endpoint_url=f"{NOWHERE}/x"), f"nothing answers at {NOWHERE}: start"),
        (aws.EndpointConnectionError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com/"), "check the address and the network"),
        (aws.ConnectTimeoutError(endpoint_url=f"{AWAY}/"), f"nothing answers at {AWAY}: check the address"),
        (called(requests.ConnectionError, NOWHERE), f"nothing answers at {NOWHERE}: start"),
        (called(requests.ConnectTimeout, AWAY), f"nothing answers at {AWAY}: check the address"),
        (requests.ConnectionError("no route"), "a connection failed (no route): check the address and the network"),
        (called(requests.exceptions.SSLError, AWAY, "self-signed"), f"no secure connection to {AWAY} can be made, because TLS failed ("),
        (aws.SSLError(endpoint_url=AWAY, error="self-signed"), f"no secure connection to {AWAY} can be made, because TLS failed ("),
        (called(requests.exceptions.ProxyError, AWAY, "407"), f"the proxy made no connection to {AWAY}: check HTTPS_PROXY"),
        (aws.ProxyConnectionError(proxy_url="http://me:secret@proxy:1", error="407"), "the proxy made no connection to a server: check"),
        (called(requests.ReadTimeout, NOWHERE), f"{NOWHERE} took the request and did not answer in time: build/stack.log says"),
        (aws.ReadTimeoutError(endpoint_url=AWAY), f"{AWAY} took the request and did not answer in time: repeat"),
        (called(requests.ConnectionError, AWAY, ProtocolError("aborted")), f"{AWAY} closed the connection without an answer: repeat"),
        (aws.ConnectionClosedError(endpoint_url=NOWHERE), f"{NOWHERE} closed the connection without an answer: build/stack.log says why"),
        (aws.NoRegionError(), "no AWS region is set"),
        (aws.InvalidRegionError(region_name="eu west"), "check AWS_REGION"),
        (aws.NoCredentialsError(), "there are no AWS credentials"),
        (aws.ProfileNotFound(profile="prod"), "profile (prod) could not be found: check AWS_PROFILE"),
        (aws.ConfigParseError(path="/x/config"), "Unable to parse config file: /x/config: check AWS_PROFILE"),
        (aws.UnauthorizedSSOTokenError(), "run `aws sso login`"),
        (aws.TokenRetrievalError(provider="sso", error_msg="Token has expired"), "Token has expired: run `aws sso login`"),
        (aws.CredentialRetrievalError(provider="process", error_msg="gone"), "from process: gone: run `aws sso login`"),
        (refused("AccessDeniedException", "no right"), "AWS refused UpdateItem: AccessDeniedException: no right"),
        (ModuleNotFoundError("No module named 'parliament'", name="parliament"), "`make scan` installs it"),
        (CommandError("what to do"), "what to do"),
    ],
)  # fmt: skip
def test_cause_outside_of_a_command_is_one_sentence(error: Exception, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> int:
        raise error

    assert interruptible(failing) == 1
    said = capsys.readouterr().err
    check(1, said)
    assert sentence in said
    assert "secret" not in said


def test_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert interruptible(lambda: subprocess.run(["no-such-program"], check=True).returncode) == 1
    assert capsys.readouterr().err == "error: the program no-such-program is not on the PATH\n"


def absent(name: str) -> object:
    return importlib.import_module(name)


@pytest.mark.parametrize(
    ("mistake", "kind"),
    [
        (lambda: {}["x"], KeyError),
        (lambda: 1 // 0, ZeroDivisionError),
        (lambda: (ROOT / "local" / "templte.yaml").read_text(), FileNotFoundError),
        (lambda: Path("templte.yaml").read_text(), FileNotFoundError),
        (lambda: (ROOT / "local").mkdir(), FileExistsError),
        (lambda: subprocess.run([str(ROOT / "bin" / "nothing")], check=True), FileNotFoundError),
        (lambda: subprocess.run([sys.executable, "-c", "raise SystemExit(1)"], check=True), subprocess.CalledProcessError),
        (lambda: absent("local.nothing"), ModuleNotFoundError),
        (lambda: absent("botocore.no_such_module"), ModuleNotFoundError),
        (lambda: absent("asyncio.nothing"), ModuleNotFoundError),
    ],
)
def test_mistake_of_a_command_keeps_its_traceback(mistake: Callable[[], object], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        interruptible(lambda: None if mistake() else 0)


@pytest.mark.parametrize(
    "error",
    [
        refused("ValidationException", "Invalid UpdateExpression"),
        refused("SerializationException"),
        aws.ParamValidationError(report="Missing required parameter"),
        aws.UnknownServiceError(service_name="dynamo", known_service_names=""),
        aws.HTTPClientError(error="unhandled"),
        requests.exceptions.InvalidURL("x"),
        OSError(errno.ENOSPC, "No space left on device", "build/x"),
        FileNotFoundError(2, "No such file or directory", "x.json"),
    ],
)
def test_error_of_a_malformed_call_or_path_is_not_explained(error: Exception) -> None:
    assert explanation(error) is None


def test_refusal_that_may_be_a_mistake_of_the_command_names_the_place() -> None:
    def failing() -> None:
        raise refused("ValidationError", "Stack with id x does not exist")

    with pytest.raises(aws.ClientError) as caught:
        failing()
    said = explanation(caught.value)
    assert said is not None
    assert re.fullmatch(r"AWS refused UpdateItem: .* does not exist \(tests/integration/test_commands\.py:\d+\)", said)


def test_file_that_the_user_named_and_that_can_not_be_used_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    with pytest.raises(CommandError, match=f"there is no file {path}"):
        readable(path)
    path.touch()
    assert (readable(path), writable(path), folder(tmp_path / "a" / "b")) == (path, path, tmp_path / "a" / "b")
    with pytest.raises(CommandError, match=f"{path}: File exists"):
        folder(path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # The tests may run as root, who may do everything.
    for use, named in ((writable, path), (writable, tmp_path / "y"), (folder, tmp_path)):
        with pytest.raises(CommandError, match=f"{named}: Permission denied"):
            use(named)


@pytest.mark.parametrize(("answer", "said"), [(b"", "closed the connection without an answer"), (None, "did not answer in time")])
def test_call_of_a_stack_that_runs_does_not_say_that_nothing_answers(
    answer: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        caught: list[str] = []

        def call() -> None:
            try:
                Client(f"http://127.0.0.1:{server.getsockname()[1]}/x").call("GET", "/verifications")
            except CommandError as error:
                caught.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        connection, _ = server.accept()
        connection.recv(65_536)
        if answer is not None:
            connection.close()
        thread.join(10)
        connection.close()
    [sentence] = caught
    assert said in sentence
    assert "nothing answers" not in sentence
