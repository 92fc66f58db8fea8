"""What a process does from its start outside of a sandbox until it is a command that was asked for in it."""

from __future__ import annotations

import os
import signal
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from .elf import DATA_ADDRESS
from .privileges import CAPABILITIES, MASK
from .process_steps import (
    AT_FDCWD,
    FIRST_DESCRIPTOR,
    NOT_RUNNABLE,
    apply_limits,
    become_user,
    close_at_the_end,
    open_to_write,
)
from .seccomp import build_filter
from .steps import Failure, Step, Steps

__all__ = ["INIT", "REPORT", "STANDARD", "Entry", "command_steps"]

INIT: Final = FIRST_DESCRIPTOR
"""A descriptor of the sandbox's PID 1."""

REPORT: Final = INIT + 1
"""Where is told what went wrong, and the terminal is handed over."""

STANDARD: Final = REPORT + 1
"""Standard output and error, where there is no terminal, and then standard input, where there is one."""

# Docker's words for the same: not found (exit status of POSIX shells).
_NOT_FOUND: Final = 127
# Of -1000 to 1000 (proc_pid_oom_score_adj(5)).
_OOM_SCORE: Final = b"500"
_SAYS: Final = "flash-sandbox: "
_ROOM_BYTES: Final = 256

# Numbers for what is opened on the way.
_MASTER: Final = REPORT + 16
_TERMINAL: Final = _MASTER + 1

# Constants of the kernel: linux/sched.h, linux/prctl.h, linux/capability.h, asm-generic/ioctls.h.
_CLONE_PARENT: Final = 0x00008000
_CLONE_NEWCGROUP: Final = 0x02000000
_ALL_BUT_PID_NAMESPACE: Final = (
    0x00020000  # CLONE_NEWNS
    | _CLONE_NEWCGROUP
    | 0x04000000  # CLONE_NEWUTS
    | 0x08000000  # CLONE_NEWIPC
    | 0x10000000  # CLONE_NEWUSER
    | 0x40000000  # CLONE_NEWNET
)
_PID_NAMESPACE: Final = 0x20000000
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_SECCOMP_MODE_FILTER: Final = 2
_LINUX_CAPABILITY_VERSION_3: Final = 0x20080522
_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTPEER: Final = 0x5441
_SOL_SOCKET: Final = 1
_SCM_RIGHTS: Final = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A command, and what it is given and denied.

    Attributes:
        command: Name or path, and arguments.
        environment: Its environment.
        cwd: Directory that it starts in, where there is one.
        cwd_asked: Directory that it must start in; empty for no such.
        terminal: Rows and columns of the terminal that it opens; None for pipes.
        has_input: Whether it is given something to read from, where there is no terminal.
        join_files: Files of cgroups that its process is written to.
        hides_cgroup: Whether it is to take the sandbox's cgroup for its own, in a namespace of its own: it
            looks for its limits in ``/sys/fs/cgroup`` below its path, where its own cgroup has none.
        rlimits: Resource limits, as `apply_limits` takes them.
        cpus: CPUs that it may run on; none for all.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    cwd: str
    cwd_asked: str
    terminal: tuple[int, int] | None
    has_input: bool
    join_files: Sequence[str]
    hides_cgroup: bool
    rlimits: Sequence[Sequence[int]]
    cpus: Sequence[int]


def command_steps(entry: Entry, descriptors: int, from_within: bool) -> bytes:
    """Return the steps to a command.

    Args:
        entry: The command.
        descriptors: How many descriptors the process is given, from `INIT` on.
        from_within: Whether it has to join the sandbox's PID namespace, too, which only a child of it is in
            then. It is given one more descriptor, which the process ID of that child is written to.
    """
    paths = [os.fsencode(path) for path in entry.join_files]
    entrance = _entrance(
        tuple(len(path) // _ROOM_BYTES + 1 for path in paths),
        tuple(tuple(limit) for limit in entry.rlimits),
        tuple(entry.cpus),
        entry.terminal,
        entry.has_input,
        descriptors,
        from_within,
        entry.hides_cgroup,
    )
    encoded = bytearray(entrance.encoded)
    for path, place in zip(paths, entrance.places, strict=True):
        encoded[place : place + len(path)] = path
    steps = Steps(base=DATA_ADDRESS + len(encoded))
    _change_directory(steps, entry)
    _execute(steps, entry)
    return bytes(encoded) + steps.encode()


@dataclass(frozen=True, slots=True)
class _Entrance:
    """Steps until a process is confined in a sandbox, the same for all that is alike but in name.

    Attributes:
        encoded: The steps.
        places: Where in them there is room for the path of each cgroup's file.
    """

    encoded: bytes
    places: tuple[int, ...]


# To write them down takes longer than to do them.
@lru_cache(maxsize=16)
def _entrance(
    rooms: tuple[int, ...],
    rlimits: tuple[tuple[int, ...], ...],
    cpus: tuple[int, ...],
    terminal: tuple[int, int] | None,
    has_input: bool,
    descriptors: int,
    from_within: bool,
    hides_cgroup: bool,
) -> _Entrance:
    """Return the steps to the sandbox; `rooms` is for the paths of the cgroups' files, in `_ROOM_BYTES`."""
    steps = Steps()
    told_to = INIT + descriptors if from_within else REPORT
    joining = _failure(steps, "join the sandbox", told_to)
    close_at_the_end(steps, descriptors + from_within, joining)
    # What runs out of memory is to be the command, not the sandbox's PID 1.
    score = open_to_write(steps, steps.text("/proc/self/oom_score_adj"), joining)
    steps.add("write", score, steps.memory(_OOM_SCORE), len(_OOM_SCORE), failure=joining)
    paths = [steps.memory(bytes(room * _ROOM_BYTES)) for room in rooms]
    cgroups = [open_to_write(steps, path, joining) for path in paths]
    # What it has open and in memory is not to be looked at by others in the sandbox (proc_pid_fd(5)).
    steps.add("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0, failure=joining)
    namespaces = _ALL_BUT_PID_NAMESPACE | (_PID_NAMESPACE if from_within else 0)
    steps.add("setns", INIT, namespaces, failure=joining)
    if from_within:
        _leave_a_child(steps, told_to, joining)
    preparing = _failure(steps, "prepare the command")
    for cgroup in cgroups:
        steps.add("write", cgroup, steps.memory(b"0"), 1, failure=preparing)
    if hides_cgroup:
        steps.add("unshare", _CLONE_NEWCGROUP, failure=preparing)
    apply_limits(steps, rlimits, cpus, preparing)
    become_user(steps, 0, preparing)
    # To become another user sets it to what the host has chosen (fs.suid_dumpable).
    steps.add("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0, failure=preparing)
    if terminal is not None:
        standard = _open_terminal(steps, *terminal)
    elif has_input:
        standard = (STANDARD + 2, STANDARD, STANDARD + 1)
    else:
        # The sandbox's: whoever owns the host's could deny that to all by its descriptor.
        null = steps.text("/dev/null")
        opened = steps.add("openat", AT_FDCWD, null, os.O_RDONLY | os.O_CLOEXEC, failure=preparing)
        steps.add("dup3", opened, _TERMINAL, os.O_CLOEXEC, failure=preparing)
        standard = (_TERMINAL, STANDARD, STANDARD + 1)
    for number, source in enumerate(standard):
        steps.add("dup3", source, number, 0, failure=preparing)
    _confine(steps)
    if terminal is not None:
        steps.add("ioctl", 0, termios.TIOCSCTTY, 0, failure=preparing)
    encoded = steps.encode()
    return _Entrance(encoded, tuple(path.address - DATA_ADDRESS for path in paths))


def _failure(steps: Steps, what: str, descriptor: int = REPORT) -> Failure:
    return steps.failure(descriptor, f"{what}: ", status=NOT_RUNNABLE)


def _leave_a_child(steps: Steps, told_to: int, joining: Failure) -> None:
    """Go on in a child, whose parent is that of this process, which spares one that waits for it."""
    pid = steps.memory([0])
    child = steps.add("clone", _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0, failure=joining)
    child.result = (pid, 0)
    child.if_positive = steps.add_aside("write", told_to, pid, 8)
    steps.add_aside("exit_group", 0)


def _open_terminal(steps: Steps, rows: int, columns: int) -> tuple[int, int, int]:
    """Open a new terminal of the sandbox's own, and hand its other end over through a socket."""
    opening = _failure(steps, "open a terminal")
    path, flags = steps.text("/dev/ptmx"), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = steps.add("openat", AT_FDCWD, path, flags, failure=opening)
    steps.add("dup3", master, _MASTER, os.O_CLOEXEC, failure=opening)
    steps.add("ioctl", _MASTER, _TIOCSPTLCK, steps.memory([0]), failure=opening)
    # Not by its name: /dev may have another one of that number.
    terminal = steps.add("ioctl", _MASTER, _TIOCGPTPEER, flags, failure=opening)
    steps.add("dup3", terminal, _TERMINAL, os.O_CLOEXEC, failure=opening)
    size = steps.memory(struct.pack("=HHHH", rows, columns, 0, 0))
    steps.add("ioctl", _TERMINAL, termios.TIOCSWINSZ, size, failure=opening)
    # struct iovec, cmsghdr and msghdr.
    byte = steps.memory([steps.memory(b"\0"), 1])
    rights = steps.memory(struct.pack("=QiiI", 20, _SOL_SOCKET, _SCM_RIGHTS, _MASTER))
    message = steps.memory([0, 0, byte, 1, rights, 24, 0])
    steps.add("sendmsg", REPORT, message, 0, failure=opening)
    return _TERMINAL, _TERMINAL, _TERMINAL


@cache
def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _confine(steps: Steps) -> None:
    """Give up, for good, all that the sandbox's main process lacks."""
    confining = _failure(steps, "confine the command")
    steps.add("setsid", failure=confining)
    for capability in range(_last_capability() + 1):
        if capability not in CAPABILITIES.values():
            steps.add("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0, failure=confining)
    steps.add("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, failure=confining)
    steps.add("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, failure=confining)
    header = steps.memory(struct.pack("=II", _LINUX_CAPABILITY_VERSION_3, 0))
    # Effective and permitted, none inheritable; then the upper 32 of each.
    kept = struct.pack("=IIIIII", MASK, MASK, 0, 0, 0, 0)
    steps.add("capset", header, steps.memory(kept), failure=confining)
    # struct sock_fprog: a length of two bytes, then an address.
    seccomp_filter = build_filter()
    program = steps.memory([len(seccomp_filter) // 8, steps.memory(seccomp_filter)])
    steps.add("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0, failure=confining)


def _change_directory(steps: Steps, entry: Entry) -> None:
    if entry.cwd_asked:
        failure = steps.failure(2, f"{_SAYS}{entry.cwd_asked}: ", "\n", status=NOT_RUNNABLE)
        steps.add("chdir", steps.text(entry.cwd_asked), failure=failure)
        return
    steps.add("chdir", steps.text("/"))
    # The sandbox may have removed it; what is asked for may well put it back.
    steps.add("chdir", steps.text(entry.cwd))


def _execute(steps: Steps, entry: Entry) -> None:
    """Become the command, looked for where its PATH says."""
    name = entry.command[0]
    failure = steps.failure(2, f"{_SAYS}{name}: ", "\n", status=NOT_RUNNABLE, absent_status=_NOT_FOUND)
    arguments = steps.texts(entry.command)
    environment = steps.texts([f"{key}={value}" for key, value in entry.environment.items()])
    paths = [name]
    if not os.path.dirname(name):
        directories = entry.environment.get("PATH", os.defpath).split(os.pathsep)
        paths = [os.path.join(directory, name) for directory in directories]
    texts = [steps.text(path) for path in paths]
    tries = [steps.add("execve", path, arguments, environment, failure=failure) for path in texts]
    # The same after one that was found and could not be run: its error is the one that counts.
    later: list[Step] = [steps.add_aside("execve", path, arguments, environment) for path in texts[1:]]
    for this, following, after in zip(tries, tries[1:], later, strict=False):
        this.absent, this.otherwise = following, after
    for this, after in zip(later, [*later[1:], failure.otherwise], strict=False):
        this.then = this.otherwise = after
