"""A process gives up what a sandbox must not have before it runs anything of the sandbox."""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path

import pytest

from flash_sandbox.orchestrator.sandboxing import syscalls
from flash_sandbox.orchestrator.sandboxing.command_steps import INIT, Entry, command_steps
from flash_sandbox.orchestrator.sandboxing.elf import DATA_ADDRESS
from flash_sandbox.orchestrator.sandboxing.stepper import STEP_WORDS

NAMES = {number: name for name, number in syscalls.numbers(platform.machine()).items()}
NAMES[{"x86_64": 308, "aarch64": 268}[platform.machine()]] = "setns"
NAMES[{"x86_64": 272, "aarch64": 97}[platform.machine()]] = "unshare"
GIVEN = 5
ALL_NAMESPACES = 0x7E020000
NEW_PID_NAMESPACE = 0x20000000


def entry(**changes: object) -> Entry:
    usual: dict[str, object] = {
        "command": ("true",),
        "environment": {"PATH": "/bin"},
        "cwd": "/",
        "cwd_asked": "",
        "terminal": None,
        "has_input": True,
        "join_files": ["/sys/fs/cgroup/one/cgroup.procs"],
        "hides_cgroup": False,
        "rlimits": [],
        "cpus": [],
    }
    return Entry(**(usual | changes))  # type: ignore[arg-type]


def calls(encoded: bytes) -> list[tuple[str, tuple[int, ...]]]:
    """Return the calls until a program is run, each with its arguments; a child is followed."""
    found = []
    address = DATA_ADDRESS
    while not found or found[-1][0] != "execve":
        number, *words = struct.unpack_from(f"={STEP_WORDS}Q", encoded, address - DATA_ADDRESS)
        found.append((NAMES[number], tuple(words[:6])))
        # What comes next after zero.
        address = words[8]
    return found


@pytest.mark.parametrize("from_within", [False, True])
def test_nobody_in_the_sandbox_can_look_into_it_once_it_is_there(from_within: bool) -> None:
    names = calls(command_steps(entry(), GIVEN, from_within))
    hidden = names.index(("prctl", (4, 0, 0, 0, 0, 0)))  # PR_SET_DUMPABLE
    (joins,) = [index for index, (name, _) in enumerate(names) if name == "setns"]
    assert hidden < joins


@pytest.mark.parametrize("from_within", [False, True])
def test_it_joins_every_namespace(from_within: bool) -> None:
    ((descriptor, kinds, *_),) = [
        arguments for name, arguments in calls(command_steps(entry(), GIVEN, from_within)) if name == "setns"
    ]
    assert descriptor == INIT
    # Of that of PIDs is its parent, or only its child.
    assert kinds == (ALL_NAMESPACES if from_within else ALL_NAMESPACES & ~NEW_PID_NAMESPACE)


def test_every_capability_but_roots_own_is_dropped_and_then_the_filter_is_installed() -> None:
    made = calls(command_steps(entry(), GIVEN, False))
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    dropped = [arguments[1] for name, arguments in made if name == "prctl" and arguments[0] == 24]
    assert dropped == [number for number in range(last + 1) if not 0x800404FB >> number & 1]
    after = [name for name, _ in made[made.index(("prctl", (38, 1, 0, 0, 0, 0))) :]]
    assert after == ["prctl", "capset", "prctl", "chdir", "chdir", "execve"]
    assert made[-4][1][:2] == (22, 2)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


@pytest.mark.parametrize("from_within", [False, True])
def test_it_takes_the_sandboxs_cgroup_for_its_own_once_it_is_in_one_below(from_within: bool) -> None:
    names = [name for name, _ in calls(command_steps(entry(hides_cgroup=True), GIVEN, from_within))]
    assert names.index("setns") < names.index("write", names.index("setns")) < names.index("unshare")
    assert names.index("unshare") < names.index("capset")
    assert "unshare" not in [name for name, _ in calls(command_steps(entry(), GIVEN, from_within))]


@pytest.mark.parametrize("terminal", [None, (24, 80)])
def test_of_what_it_is_given_the_command_has_its_streams_alone(terminal: tuple[int, int] | None) -> None:
    given = 2 if terminal else GIVEN
    made = calls(command_steps(entry(terminal=terminal), given, False))
    closed = [arguments[:3] for name, arguments in made if name == "fcntl"]
    assert closed == [(INIT + index, 2, 1) for index in range(given)]  # F_SETFD, FD_CLOEXEC
    kept = [arguments[1] for name, arguments in made if name == "dup3" and not arguments[2]]
    assert kept == [0, 1, 2]
    opened = [arguments for name, arguments in made if name == "openat"]
    assert all(flags & os.O_CLOEXEC for _, _, flags, *_ in opened)
