"""Steps are done by `stepper` as they are written down: in order, with results, errors and branches."""

from __future__ import annotations

import errno
import os
import random
import signal
import struct
import subprocess
from pathlib import Path

import pytest
from machines import MACHINES, Need, command_line, need_machine

from flash_sandbox.orchestrator.sandboxing import stepper
from flash_sandbox.orchestrator.sandboxing.steps import Steps

AT_FDCWD = -100
TIMEOUT = 30


@pytest.fixture(params=MACHINES)
def steps(request: pytest.FixtureRequest, need: Need) -> Steps:
    """Steps of a machine whose programs can be run here."""
    need_machine(request.param, need)
    return Steps(request.param)


def do(steps: Steps, directory: Path) -> subprocess.CompletedProcess[bytes]:
    """Do steps, and return what came of it."""
    program = directory / "stepper"
    program.write_bytes(stepper.program(steps.machine))
    program.chmod(0o755)
    with open(os.memfd_create("steps"), "wb", buffering=0) as file:
        file.write(steps.encode())
        command = command_line(steps.machine, program)
        return subprocess.run(command, stdin=file, capture_output=True, timeout=TIMEOUT, check=False)


def say(steps: Steps, text: bytes) -> None:
    steps.add("write", 1, steps.memory(text), len(text))


def test_they_are_done_in_order(steps: Steps, tmp_path: Path) -> None:
    say(steps, b"one, ")
    say(steps, b"two")
    steps.add("exit_group", 7)
    done = do(steps, tmp_path)
    assert (done.stdout, done.returncode) == (b"one, two", 7)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 60_000])
def test_bytes_of_any_number_come_through(steps: Steps, tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    for _ in range(2):
        say(steps, content)
    steps.add("exit_group", 0)
    assert do(steps, tmp_path).stdout == content * 2


def test_what_one_returns_can_be_an_argument_of_a_later_one(steps: Steps, tmp_path: Path) -> None:
    path = tmp_path / "made"
    flags = os.O_WRONLY | os.O_CREAT
    opened = steps.add("openat", AT_FDCWD, steps.text(str(path)), flags, 0o600)
    say(steps, b"between")
    steps.add("write", opened, steps.memory(b"content"), 7)
    steps.add("exit_group", 0)
    assert do(steps, tmp_path).stdout == b"between"
    assert path.read_bytes() == b"content"


def test_all_six_arguments_are_passed(steps: Steps, tmp_path: Path) -> None:
    path = tmp_path / "copied"
    path.write_bytes(b"0123456789")
    opened = steps.add("openat", AT_FDCWD, steps.text(str(path)), os.O_RDWR)
    steps.add("dup3", opened, 50, 0)
    # From the third byte to the seventh, two bytes, by offsets in memory; flags must be 0.
    source, target = steps.memory([3]), steps.memory([7])
    failure = steps.failure(2, "copy: ", status=1)
    steps.add("copy_file_range", 50, source, 50, target, 2, 0, failure=failure)
    steps.add("exit_group", 0)
    done = do(steps, tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert path.read_bytes() == b"0123456349"


def test_without_a_failure_an_error_is_passed_over(steps: Steps, tmp_path: Path) -> None:
    steps.add("chdir", steps.text("/missing"))
    say(steps, b"on")
    steps.add("exit_group", 0)
    assert do(steps, tmp_path).stdout == b"on"


@pytest.mark.parametrize(
    ("path", "number", "status"),
    [
        ("/missing", errno.ENOENT, 127),
        ("/dev/null", errno.ENOTDIR, 127),
        ("x" * 300, errno.ENAMETOOLONG, 126),
    ],
)
def test_a_failure_is_told_with_its_cause(
    steps: Steps, tmp_path: Path, path: str, number: int, status: int
) -> None:
    failure = steps.failure(2, "change: ", "!", status=126, absent_status=127)
    steps.add("chdir", steps.text(path), failure=failure)
    say(steps, b"never")
    done = do(steps, tmp_path)
    assert (done.stdout, done.stderr) == (b"", f"change: {os.strerror(number)}!".encode())
    assert done.returncode == status


def test_the_way_parts_after_zero_and_more(steps: Steps, tmp_path: Path) -> None:
    pid = steps.memory([0])
    child = steps.add("clone", signal.SIGCHLD, 0, 0, 0, 0)
    child.result = (pid, 0)
    child.if_positive = steps.add_aside("wait4", -1, 0, 0, 0)
    steps.add_aside("write", 1, steps.memory(b"parent"), 6)
    steps.add_aside("exit_group", 4)
    say(steps, b"child, ")
    steps.add("exit_group", 3)
    done = do(steps, tmp_path)
    assert (done.stdout, done.returncode) == (b"child, parent", 4)


def test_it_becomes_another_program(steps: Steps, tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo $0 $NAME", "first"]
    steps.add("execve", steps.text(command[0]), steps.texts(command), steps.texts(["NAME=value"]))
    steps.add("exit_group", 126)
    done = do(steps, tmp_path)
    assert (done.stdout, done.returncode) == (b"first value\n", 0)


def test_an_error_that_has_no_text_is_told(tmp_path: Path) -> None:
    # A filter may return any (seccomp(2)): every call that is none of these two fails with 4000.
    steps = Steps()
    numbers = {"x86_64": (20, 231), "aarch64": (66, 94)}[steps.machine]
    load, equal, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0), (equal, 2, 0, numbers[0]), (equal, 1, 0, numbers[1])]
    code += [(give, 0, 0, 0x00050000 | 4000), (give, 0, 0, 0x7FFF0000)]
    program = steps.memory(b"".join(struct.pack("=HBBI", *line) for line in code))
    failure = steps.failure(2, "", status=9)
    steps.add("prctl", 38, 1, 0, 0, 0, failure=failure)
    steps.add("prctl", 22, 2, steps.memory([len(code), program]), 0, 0, failure=failure)
    steps.add("chdir", steps.text("/"), failure=failure)
    done = do(steps, tmp_path)
    assert (done.returncode, done.stderr) == (9, b"unknown error")


def test_there_is_a_limit(steps: Steps) -> None:
    steps.memory(bytes(stepper.MOST_BYTES))
    with pytest.raises(ValueError, match="the steps take"):
        steps.encode()
