"""The emulator's process: where it listens, what it needs, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.aws import emulator
from local.aws.deploy import deploy
from local.aws.emulator import Emulator, EmulatorError
from local.aws.paths import BUILD, ROOT

from .conftest import APP, Stack, eventually


def test_listens_on_the_loopback_address_only(stack: Stack) -> None:
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", stack.aws.port))


def test_another_ministack_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "version", lambda _: "1.6.0")
    with pytest.raises(EmulatorError, match=r"ministack 1\.5\.33 is needed, found 1\.6\.0"):
        Emulator().start()


def test_port_in_use_is_refused_with_the_reason(stack: Stack) -> None:
    command = [sys.executable, "-m", "local.aws.emulator", "--port", str(stack.aws.port)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"port {stack.aws.port} of 127.0.0.1 cannot be used" in done.stderr


@pytest.mark.parametrize("end", ["stop", "kill", "owner gone"])
def test_no_process_is_left_however_the_emulator_ends(end: str) -> None:
    aws = Emulator()
    aws.start()
    process = aws._process
    assert process is not None
    assert process.stdin is not None
    outputs = deploy(APP / "template.yaml", aws.endpoint, "brief", {"Architecture": "x86_64"})
    worker = int(Stack(aws, outputs).invoke("ApiFunction", {})["pid"])
    assert alive(worker)
    if end == "kill":
        os.kill(aws.pid, signal.SIGKILL)
    if end == "owner gone":
        process.stdin.close()
        process.wait(15)
    else:
        aws.stop()
    eventually(lambda: not alive(worker) and process.poll() is not None, 10)
    aws.stop()


def test_emulator_ends_while_a_map_waits() -> None:
    waiting = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **waiting}
    definition = {"StartAt": "Map", "States": {"Map": {"Type": "Map", "ItemProcessor": processor, "End": True}}}
    with Emulator() as aws:
        states = aws.client("stepfunctions")
        role = aws.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        machine = states.create_state_machine(name="waits", definition=json.dumps(definition), roleArn=role)["stateMachineArn"]
        execution = states.start_execution(stateMachineArn=machine, input="[1]")["executionArn"]
        eventually(lambda: states.list_map_runs(executionArn=execution)["mapRuns"])
        process = aws._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def test_nothing_of_an_earlier_run_is_there_at_the_next_start() -> None:
    port = emulator.free_port()
    with Emulator(port) as first:
        first.client("s3").create_bucket(Bucket="left-over")
        first.client("sqs").create_queue(QueueName="left-over")
    with Emulator(port) as second:
        assert second.client("s3").list_buckets()["Buckets"] == []
        assert not second.client("sqs").list_queues().get("QueueUrls")
    assert not (BUILD / "aws" / str(port)).exists()


def test_everything_on_disk_is_under_the_folder_given(tmp_path: Path) -> None:
    (tmp_path / "runtime").symlink_to(BUILD / "runtime")
    (tmp_path / "home").mkdir()
    with Emulator(var=tmp_path, environment={"HOME": str(tmp_path / "home")}) as aws:
        aws.client("s3").create_bucket(Bucket="somewhere")
    assert not list((tmp_path / "home").iterdir())
    assert {path.name for path in tmp_path.iterdir()} <= {"aws", "home", "packages", "runtime"}


def test_idle_emulator_with_warm_functions_leaves_the_processor_alone(stack: Stack) -> None:
    stack.invoke("ApiFunction", {})
    eventually(lambda: cpu(stack.aws.pid, 0.5) < 0.2, 10)
    assert cpu(stack.aws.pid, 2) < 0.1


def cpu(pid: int, seconds: float) -> float:
    """The share of one processor that the process uses within `seconds`."""

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    time.sleep(seconds)
    return (used() - before) / seconds


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie is not running. Its parent has not yet read its exit status.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "ERROR: Could not find a version\nERROR: No matching distribution found for x==1\nTraceback:\nCalledProcessError: ... 1.\n",
            "the functions' packages could not be installed, which needs a package index once: No matching distribution found for x==1",
        ),
        ("starting\nOSError: no space\n\n", "OSError: no space"),
        ("", "it wrote nothing"),
    ],
)
def test_end_at_the_start_is_explained_by_the_log(tmp_path: Path, log: str, reason: str) -> None:
    (tmp_path / "log").write_text(log)
    assert emulator.last_words(tmp_path / "log") == reason
