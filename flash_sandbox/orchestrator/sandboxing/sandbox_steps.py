"""What a process does from its start until it is bwrap, which makes a sandbox."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .process_steps import (
    AT_FDCWD,
    FIRST_DESCRIPTOR,
    NOT_RUNNABLE,
    apply_limits,
    become_user,
    close_at_the_end,
    open_to_write,
)
from .steps import Failure, Steps

__all__ = ["Beginning", "Mounts", "sandbox_steps"]

_NULL: Final = FIRST_DESCRIPTOR
_LOG: Final = _NULL + 1
_OTHERS: Final = _LOG + 1

# Numbers for what is opened on the way.
_TREE: Final = _OTHERS + 16

# Constants of the kernel: linux/sched.h, linux/mount.h, linux/fcntl.h.
_CLONE_NEWNS: Final = 0x00020000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_MS_NOSUID_NODEV: Final = 2 | 4
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE_CLOEXEC: Final = 1 | os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_MOUNT_ATTR_IDMAP: Final = 0x00100000


@dataclass(frozen=True, slots=True)
class Mounts:
    """What a sandbox with a user of its own is made of, put where that user can reach it.

    Attributes:
        base: Directory that it is mounted below.
        binds: Directories, by the name that each has there.
        image: What becomes ``image`` there, its owners mapped.
    """

    base: str
    binds: dict[str, str]
    image: str


@dataclass(frozen=True, slots=True)
class Beginning:
    """A sandbox that is to be made.

    Attributes:
        arguments: Command line of bwrap.
        numbers: Numbers that it is given descriptors by, besides its own output.
        user: The user that it runs as; None for the orchestrator's own.
        mounts: What it is made of; None where that can be reached as it is.
        join_files: Files of cgroups that its process is written to.
        rlimits: Resource limits, each a number of the resource.
        cpus: CPUs that it may run on; none for all.
    """

    arguments: Sequence[str]
    numbers: Sequence[int]
    user: int | None
    mounts: Mounts | None
    join_files: Sequence[str]
    rlimits: Sequence[Sequence[int]]
    cpus: Sequence[int]


def sandbox_steps(beginning: Beginning) -> bytes:
    """Return the steps to bwrap.

    The process is given: the null device, where it prints to, what has the `numbers`; and, where it has a
    user of its own, a user namespace that maps the owners of its image.
    """
    steps = Steps()
    id_map = _OTHERS + len(beginning.numbers)
    preparing = _failure(steps, "prepare the sandbox")
    close_at_the_end(steps, id_map + (beginning.user is not None) - FIRST_DESCRIPTOR, preparing)
    for path in beginning.join_files:
        cgroup = open_to_write(steps, steps.text(path), preparing)
        steps.add("write", cgroup, steps.memory(b"0"), 1, failure=preparing)
    steps.add("setsid", failure=preparing)
    if beginning.user is not None:
        if beginning.mounts is not None:
            _mount(steps, beginning.mounts, id_map)
        become_user(steps, beginning.user, preparing)
    numbers = (0, 1, 2, *beginning.numbers)
    sources = (_NULL, _LOG, _LOG, *range(_OTHERS, id_map))
    for number, source in zip(numbers, sources, strict=True):
        steps.add("dup3", source, number, 0, failure=preparing)
    apply_limits(steps, beginning.rlimits, beginning.cpus, preparing)
    program = steps.text(beginning.arguments[0])
    starting = _failure(steps, "start bwrap")
    steps.add("execve", program, steps.texts(beginning.arguments), steps.texts(()), failure=starting)
    return steps.encode()


def _failure(steps: Steps, what: str) -> Failure:
    return steps.failure(_LOG, f"launcher: {what}: ", "\n", status=NOT_RUNNABLE)


def _mount(steps: Steps, mounts: Mounts, id_map: int) -> None:
    """Put what the sandbox is made of together, in a mount namespace of its own.

    The image's owners are mapped: what root owns on disk belongs to the sandbox's user, its root.
    """
    mounting = _failure(steps, f"mount on {mounts.base}")
    none, root = steps.text("none"), steps.text("/")
    steps.add("unshare", _CLONE_NEWNS, failure=mounting)
    steps.add("mount", none, root, 0, _MS_REC | _MS_PRIVATE, 0, failure=mounting)
    tmpfs = steps.text("tmpfs")
    options = steps.text("mode=755")
    steps.add("mount", tmpfs, steps.text(mounts.base), tmpfs, _MS_NOSUID_NODEV, options, failure=mounting)
    for name, source in mounts.binds.items():
        binding = _failure(steps, f"bind {name}")
        target = steps.text(f"{mounts.base}/{name}")
        steps.add("mkdirat", AT_FDCWD, target, 0o755, failure=binding)
        steps.add("mount", steps.text(source), target, 0, _MS_BIND, 0, failure=binding)
    image = steps.text(f"{mounts.base}/image")
    opening = _failure(steps, "open the image")
    steps.add("mkdirat", AT_FDCWD, image, 0o755, failure=opening)
    original = steps.text(mounts.image)
    tree = steps.add("open_tree", AT_FDCWD, original, _OPEN_TREE_CLONE_CLOEXEC, failure=opening)
    steps.add("dup3", tree, _TREE, os.O_CLOEXEC, failure=opening)
    mapping = _failure(
        steps,
        "map the owners of the image (needs Linux 5.19 and a file system that supports ID-mapped mounts)",
    )
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, id_map)
    empty = steps.text("")
    steps.add(
        "mount_setattr",
        _TREE,
        empty,
        _AT_EMPTY_PATH,
        steps.memory(attributes),
        len(attributes),
        failure=mapping,
    )
    moving = _failure(steps, "mount the image")
    steps.add("move_mount", _TREE, empty, AT_FDCWD, image, _MOVE_MOUNT_F_EMPTY_PATH, failure=moving)
