"""What a process does from its start until it is bwrap, which makes a sandbox."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from . import beneath
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

_INPUT: Final = FIRST_DESCRIPTOR
_LOG: Final = _INPUT + 1
_OTHERS: Final = _LOG + 1

# Numbers for what is opened on the way.
_TREE: Final = _OTHERS + 16

# Constants of the kernel: linux/sched.h, linux/mount.h, linux/fcntl.h.
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_MS_NOSUID_NODEV: Final = 2 | 4
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE_CLONE_CLOEXEC: Final = 1 | os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_MOUNT_ATTR_IDMAP: Final = 0x00100000


@dataclass(frozen=True, slots=True)
class Mounts:
    """What a sandbox is made of, put where its user can reach it and nobody else can change it.

    Attributes:
        base: Directory that it is mounted below.
        binds: Directories, by the name that each has there.
        image: Real path of what becomes ``image`` there; where the sandbox has a user of its own, its owners
            are mapped.
        image_is_shared: Whether others may put something else in the place of the image.
    """

    base: str
    binds: dict[str, str]
    image: str
    image_is_shared: bool


@dataclass(frozen=True, slots=True)
class Beginning:
    """A sandbox that is to be made.

    Attributes:
        arguments: Command line of bwrap.
        numbers: Numbers that it is given descriptors by, besides its own output.
        user: The user that it runs as; None for the orchestrator's own.
        mounts: What it is made of; None where that can be used as it is.
        join_files: Files of cgroups that its process is written to.
        rlimits: Resource limits, as `apply_limits` takes them.
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

    The process is given: what it reads from, where it prints to, what has the `numbers`; and, where it has a
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
    if beginning.mounts is not None:
        if beginning.user is None:
            _own_user_namespace(steps)
        _mount(steps, beginning.mounts, None if beginning.user is None else id_map)
    if beginning.user is not None:
        become_user(steps, beginning.user, preparing)
    numbers = (0, 1, 2, *beginning.numbers)
    sources = (_INPUT, _LOG, _LOG, *range(_OTHERS, id_map))
    for number, source in zip(numbers, sources, strict=True):
        steps.add("dup3", source, number, 0, failure=preparing)
    apply_limits(steps, beginning.rlimits, beginning.cpus, preparing)
    program = steps.text(beginning.arguments[0])
    starting = _failure(steps, "start bwrap")
    steps.add("execve", program, steps.texts(beginning.arguments), steps.texts(()), failure=starting)
    return steps.encode()


def _failure(steps: Steps, what: str) -> Failure:
    return steps.failure(_LOG, f"launcher: {what}: ", "\n", status=NOT_RUNNABLE)


def _own_user_namespace(steps: Steps) -> None:
    """Enter a user namespace with the same user, who may mount in it."""
    entering = _failure(steps, "make a user namespace to mount the image in")
    user, group = os.geteuid(), os.getegid()
    steps.add("unshare", _CLONE_NEWUSER, failure=entering)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        file = open_to_write(steps, steps.text(f"/proc/self/{name}"), entering)
        steps.add("write", file, steps.memory(text.encode()), len(text), failure=entering)


def _mount(steps: Steps, mounts: Mounts, id_map: int | None) -> None:
    """Put what the sandbox is made of together, in a mount namespace of its own.

    With an ID map, the image's owners are mapped: what root owns on disk belongs to the sandbox's user, its
    root.
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
    _mount_image(steps, mounts, id_map)


def _mount_image(steps: Steps, mounts: Mounts, id_map: int | None) -> None:
    image = steps.text(f"{mounts.base}/image")
    opening = _failure(steps, "open the image")
    steps.add("mkdirat", AT_FDCWD, image, 0o755, failure=opening)
    how = steps.memory(beneath.open_how(os.O_PATH | os.O_DIRECTORY, links=not mounts.image_is_shared))
    original = steps.add(
        "openat2", AT_FDCWD, steps.text(mounts.image), how, beneath.HOW_BYTES, failure=opening
    )
    empty = steps.text("")
    # Without what is mounted below it, unless the kernel insists: for who may not see what that covers.
    flags = _AT_EMPTY_PATH | _OPEN_TREE_CLONE_CLOEXEC | (_AT_RECURSIVE if id_map is None else 0)
    tree = steps.add("open_tree", original, empty, flags, failure=opening)
    steps.add("dup3", tree, _TREE, os.O_CLOEXEC, failure=opening)
    if id_map is not None:
        mapping = _failure(
            steps,
            "map the owners of the image (needs Linux 5.19 and a file system that supports ID-mapped mounts)",
        )
        attributes = struct.pack("=QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, id_map)
        content = steps.memory(attributes)
        size = len(attributes)
        steps.add("mount_setattr", _TREE, empty, _AT_EMPTY_PATH, content, size, failure=mapping)
    moving = _failure(steps, "mount the image")
    steps.add("move_mount", _TREE, empty, AT_FDCWD, image, _MOVE_MOUNT_F_EMPTY_PATH, failure=moving)
