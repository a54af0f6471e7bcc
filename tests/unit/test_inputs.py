"""A value that `make` or the embedded stack cannot use is refused in one line, before anything is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local import ports, rehearse, stack
from local.command import interruptible
from local.stripe_simulator.options import PREVIEW_VERSION
from tests.support.functions import ROOT

pytestmark = pytest.mark.slow

SECRET, KEY = "whsec_0123456789abcdef", "rk_test_0123456789"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What make would do: it runs nothing that could start something."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("test", "TESTS=nothing"), "TESTS=nothing: there is no nothing"),
        (("test", "TESTS=tests/unit nothing/test_x.py::test_y -k z"), "there is no nothing/test_x.py::test_y"),
        (("test", "WORKERS=many"), "WORKERS=many is not a whole number from 0 or auto"),
        (("fuzz", "CASES=abc"), "CASES=abc is not a whole number above 0"),
        (("fuzz", "CASES=0"), "CASES=0 is not"),
        (("fuzz", "SEED=-1"), "SEED=-1 is not a whole number from 0"),
        (("simulate", "SEEDS=abc"), "SEEDS=abc is not a whole number above 0"),
        (("simulate", "SEEDS=1 2"), "SEEDS=1 2 is not"),
        (("simulate", "SEEDS="), "SEEDS= is not"),
        (("simulate", "SEEDS=5", "START=1.5"), "START=1.5 is not a whole number from 0"),
        (("simulate", "SEEDS=it's"), "SEEDS=it's is not"),
        (("batch", "ACCOUNTS=-1"), "ACCOUNTS=-1 is not a whole number from 1 to 9999999"),
        (("batch", "LIVE=1", "RATE=0.0"), "RATE=0.0 is not a number above 0"),
        (("smoke", "STACK=Titleholder"), "STACK=Titleholder is not a name of at most 27 lower-case letters"),
        (("smoke", "STACK=default"), "STACK=default is not a name that a stack may have"),
        (("smoke", "STACK=x-keys"), "STACK=x-keys is not a name that a stack may have"),
        (("desk", "REVIEWERS=0"), "REVIEWERS=0 is not 1 or 2"),
        (("up", "REVIEWERS=3"), "REVIEWERS=3 is not 0, 1 or 2"),
        (("up", "REVIEWERS=1 2"), "REVIEWERS=1 2 is not"),
        (("mutants", "MUTANTS=some"), "MUTANTS=some is not a whole number above 0 or all"),
    ],
)
def test_value_that_a_target_cannot_use_is_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = make(*arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert message in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("test",),
        ("test", "TESTS=tests/unit tests/unit/test_inputs.py::test_x -k nothing"),
        ("simulate", "SEEDS=10000", "START=0"),
        ("batch", "ACCOUNTS=9999999", "LIVE=1", "RATE=0.5"),
        ("fuzz", "CASES=300", "SEED=0"),
        ("mutants", "MUTANTS=all"),
        ("smoke", "STACK=default-keys-2", "REGION=eu-west-1"),
        ("up", "REVIEWERS=2"),
        ("up", "REVIEWERS="),
        ("desk", "REVIEWERS=2"),
        ("help", "SEEDS=abc"),
    ],
)
def test_value_that_a_target_can_use_is_passed_on(arguments: tuple[str, ...]) -> None:
    done = make(*arguments)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STRIPE_API_BASE", "ftp://stripe.example", "STRIPE_API_BASE must be an https URL"),
        ("STRIPE_API_BASE", "http://stripe.example", "STRIPE_API_BASE must be an https URL"),
        ("STRIPE_API_BASE", "stripe.example", "STRIPE_API_BASE must be an https URL"),
        ("STRIPE_API_BASE", "https://user@stripe.example", "STRIPE_API_BASE must be an https URL"),
        ("STRIPE_API_BASE", "https://stripe.example:port", "STRIPE_API_BASE must be an https URL"),
        ("STRIPE_PREVIEW_VERSION", "newest", "STRIPE_PREVIEW_VERSION must "),
        ("REVIEWERS", "three", "REVIEWERS must be 0, 1 or 2"),
        ("STRIPE_WEBHOOK_SECRET", "hunter2", "STRIPE_WEBHOOK_SECRET has not the form of a webhook signing secret (whsec_...)"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_short", "STRIPE_WEBHOOK_SECRET has not the form"),
        ("STRIPE_API_KEY", "pk_test_1", "STRIPE_API_KEY has not the form of a Stripe API key (sk_... or rk_...)"),
    ],
)
def test_value_that_the_functions_would_refuse_is_refused_at_once(name: str, value: str, message: str) -> None:
    with pytest.raises(stack.InputError) as caught:
        stack.Inputs.read({name: value})
    assert str(caught.value).startswith(message)
    assert value not in str(caught.value)


@pytest.mark.parametrize("base", ["https://stripe.example", "https://stripe.example/v0", "http://127.0.0.1:12111", "http://stripe:12111"])
def test_values_of_another_server_are_taken(base: str) -> None:
    inputs = stack.Inputs.read({"STRIPE_API_BASE": base, "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_KEY": KEY, "BRIDGE": ""})
    assert inputs == stack.Inputs(base, SECRET, KEY, "", None)
    assert inputs.ports == [ports.AWS_PORT]


def test_number_of_reviewers_is_passed_from_make_to_the_stack() -> None:
    assert "REVIEWERS='2' .venv/bin/python -m local.stack up" in make("up", "REVIEWERS=2").stdout
    assert "REVIEWERS='' .venv/bin/python -m local.stack up" in make("up").stdout
    assert "local.desk --reviewers 1" in make("desk").stdout
    assert "local.desk --reviewers 2" in make("desk", "REVIEWERS=2").stdout
    assert [stack.Inputs.read(each).reviewers for each in ({}, {"REVIEWERS": ""}, {"REVIEWERS": "2"})] == ["0", "0", "2"]


def test_unset_and_empty_values_mean_the_simulator() -> None:
    empty = dict.fromkeys(("STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_KEY", "BRIDGE"), "")
    inputs = stack.Inputs.read({})
    assert inputs == stack.Inputs.read(empty) == stack.Inputs(None, None, stack.DEFAULT_API_KEY, PREVIEW_VERSION, None)
    assert inputs.ports == [ports.AWS_PORT, ports.STRIPE_PORT]


@pytest.mark.parametrize(("tests", "linted"), [((), True), (("TESTS=tests",), True), (("TESTS=tests/unit/test_inputs.py",), False)])
def test_only_the_whole_is_linted_before_its_tests(tests: tuple[str, ...], linted: bool) -> None:
    """A file under work may not be clean yet, so lint must not keep its test from running."""
    planned = make("test", *tests).stdout
    assert ("ruff check" in planned, "mypy" in planned) == (linted, linted)
    assert "--collect-only" in planned


def test_ports_are_checked_before_anything_is_installed() -> None:
    planned = make("up", "VENV=build/no-such-environment").stdout
    assert 0 < planned.index("local.ports") < planned.index("-m venv") < planned.index("local.stack up")


def test_every_port_in_use_is_named_with_what_needs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["local.ports"])
    monkeypatch.setattr(ports, "STATE", tmp_path / "stack.json")
    monkeypatch.delenv("STRIPE_API_BASE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        aws, stripe = one.getsockname()[1], other.getsockname()[1]
        monkeypatch.setattr(ports, "AWS_PORT", aws)
        monkeypatch.setattr(ports, "STRIPE_PORT", stripe)
        monkeypatch.setattr(ports, "USERS", {aws: " (AWS)", stripe: " (Stripe)"})
        with pytest.raises(ports.PortError) as caught:
            ports.main()
        said = "port {} of 127.0.0.1 cannot be used: Address already in use ({})"
        assert str(caught.value) == f"{said.format(aws, 'AWS')}; {said.format(stripe, 'Stripe')}. {ports.HOLDERS}"
        monkeypatch.setenv("STRIPE_API_BASE", "https://stripe.example")
        with pytest.raises(ports.PortError) as caught:
            ports.main()
        assert str(caught.value) == f"{said.format(aws, 'AWS')}. {ports.HOLDERS}"
        (tmp_path / "stack.json").touch()
        ports.main()


@pytest.mark.parametrize("wrong", ["a port in use", "STRIPE_API_BASE", "BRIDGE"])
def test_up_says_what_is_wrong_in_one_line_and_starts_nothing(
    wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_KEY", "BRIDGE", "REVIEWERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(stack, "STATE", tmp_path / "stack.json")
    monkeypatch.setattr(stack, "LOG", tmp_path / "stack.log")
    monkeypatch.setattr(stack.subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    monkeypatch.setattr(sys, "argv", ["local.stack", "up"])
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(stack, "AWS_PORT", 0)
        monkeypatch.setattr(stack, "STRIPE_PORT", other.getsockname()[1])
        if wrong == "BRIDGE":
            monkeypatch.setattr(stack, "STRIPE_PORT", 0)
            monkeypatch.setenv(wrong, "999.1.1.1")
            expected = "999.1.1.1 is not an IP address"
        elif wrong == "a port in use":
            expected = f"port {stack.STRIPE_PORT} of 127.0.0.1 cannot be used: Address already in use. If another stack "
            expected += "uses it, stop that: `make down` in its checkout after `make up`, or Ctrl-C for `make desk`"
        else:
            monkeypatch.setenv(wrong, "ftp://stripe.example")
            expected = "STRIPE_API_BASE must be an https URL"
        assert interruptible(stack.main) == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith(f"error: {expected}")
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_rehearsal_of_an_unknown_release_names_those_that_are_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rehearse, "FROM", "9.9")
    monkeypatch.setattr(rehearse, "rehearse", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(sys, "argv", ["local.rehearse", "upgrade"])
    with pytest.raises(SystemExit) as exit_:
        rehearse.main()
    assert exit_.value.code == 2
    assert f"no such release: FROM=9.9. Known are {', '.join(rehearse.RELEASES)}" in capsys.readouterr().err


def test_interrupted_command_ends_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert interruptible(interrupted) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    assert interruptible(lambda: 1) == 1


@pytest.mark.parametrize("module", ["demo", "rehearse", "run_batch", "stack", "tour"])
def test_every_command_with_a_stack_can_be_interrupted(module: str) -> None:
    assert (ROOT / "local" / f"{module}.py").read_text().endswith("sys.exit(interruptible(main))\n")
