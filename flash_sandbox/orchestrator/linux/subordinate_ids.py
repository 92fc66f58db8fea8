"""The IDs that an ordinary user may use besides the own one, and the user namespace that has them all.

/etc/subuid and /etc/subgid list them (subuid(5)); newuidmap(1) and newgidmap(1) may map them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .id_range import IDS, IdRange

__all__ = ["IdMap", "NoRange", "find_range"]

_TOOLS: Final = ("newuidmap", "newgidmap")
# Some distributions have them where only root's PATH leads.
_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


class NoRange(Exception):
    """This user has one ID only; the text says what is missing for more."""


@dataclass(frozen=True, slots=True)
class IdMap:
    """What a user namespace maps: root to this user, and the IDs from 1 on to a range.

    Attributes:
        first_user: First user ID of the range.
        first_group: First group ID of the range.
        count: How many of each there are.
    """

    first_user: int
    first_group: int
    count: int

    @property
    def ids(self) -> IdRange:
        """The IDs in the namespace, for a process in it."""
        return IdRange(0, 1 + self.count)

    def write(self, pid: int) -> None:
        """Give the user namespace of a process this map.

        Raises:
            NoRange: The programs refuse.
        """
        ids = ((os.geteuid(), self.first_user), (os.getegid(), self.first_group))
        for tool, (root, first) in zip(_TOOLS, ids, strict=True):
            line = [_tool(tool), *map(str, (pid, 0, root, 1, 1, first, self.count))]
            done = subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                raise NoRange(f"{tool} refuses: {done.stderr.strip()}")


def find_range(etc: Path = Path("/etc")) -> IdMap:
    """Return what this user's sandboxes can have.

    Args:
        etc: The directory of ``subuid`` and ``subgid``.

    Raises:
        NoRange: There is no range, or nothing to map it with.
    """
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise NoRange(f"user {os.geteuid()} has no name, which newuidmap asks for") from None
    for tool in _TOOLS:
        _tool(tool)
    (user, users), (group, groups) = (_range(etc / kind, name) for kind in ("subuid", "subgid"))
    return IdMap(user, group, min(users, groups, IDS - 1))


def _tool(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise NoRange(f"there is no {name} (Debian's package uidmap, Fedora's shadow-utils)")
    return found


def _range(file: Path, name: str) -> tuple[int, int]:
    """Return the largest range of a user: its first ID, and how many it has."""
    found = []
    with suppress(OSError):
        for line in file.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                owner, first, count = line.split(":")
                if owner in (name, str(os.geteuid())) and int(count) > 0:
                    found.append((int(first), int(count)))
    if not found:
        raise NoRange(
            f"{file} has no range for {name} (sudo usermod --add-subuids ... --add-subgids ... {name})"
        )
    return max(found, key=lambda one: one[1])
