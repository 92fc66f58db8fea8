"""Image ``host`` as an ordinary user of this host sees it.

What serves files to gVisor's kernel (its gofer) is root, and would hand out files of the host's that only
root may read. For image ``host`` it runs in a user namespace instead, whose only user is `USER` on this host,
who owns nothing and is in no group. So the kernel decides at each open, for every file below what is shown.

This user cannot enter the orchestrator's directories either. What is in them and belongs to the sandbox is
mounted where it can, in a mount namespace of the sandbox's own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from ....errors import RuntimeUnavailableError

__all__ = ["USER", "as_unprivileged", "give_away", "showing"]

# Above those of `linux.users`.
USER: Final = 0x71000000
"""User and group on this host."""

_PLACES: Final = ("/mnt", "/media", "/srv", "/opt")
_SCRIPT: Final = "show"


def as_unprivileged(config: dict[str, Any], directory: Path, public: Collection[str]) -> None:
    """Change a bundle so that the files of its sandbox are served by `USER`.

    Args:
        config: The bundle's configuration.
        directory: The bundle.
        public: Sources of mounts that every user can reach.

    Raises:
        RuntimeUnavailableError: If this process cannot become that user.
    """
    if not all(_is_mapped(kind) for kind in ("uid", "gid")):
        raise RuntimeUnavailableError(
            f"gVisor shows image host as user {USER}, whom this user namespace does not have"
        )
    place = _place(directory)
    script = [f"mount -t tmpfs -o mode=755,nosuid,nodev,size=1m tmpfs {place}"]
    sources = [(config["root"], "path")]
    sources += [(mount, "source") for mount in config["mounts"] if mount["type"] == "bind"]
    for number, (entry, key) in enumerate(sources):
        source, shown = entry[key], f"{place}/{number}"
        if source not in public:
            make = "mkdir" if os.path.isdir(source) else "touch"
            script += [f"{make} {shown}", f"mount --bind {shlex.quote(source)} {shown}"]
            entry[key] = shown
    (directory / _SCRIPT).write_text("\n".join(["set -e", *script, 'exec "$@"\n']))
    mapping = [{"containerID": 0, "hostID": USER, "size": 1}]
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}


def showing(directory: Path) -> list[str]:
    """Return the start of a command line that makes what `as_unprivileged` needs; empty without that.

    Args:
        directory: The bundle.
    """
    script = directory / _SCRIPT
    if not script.exists():
        return []
    return ["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", str(script)]


def give_away(tree: Path) -> None:
    """Give all of a root file system of this program's own to `USER`, who is root in the sandbox."""
    os.chown(tree, USER, USER)
    for _, directories, files, descriptor in os.fwalk(tree):
        for name in [*directories, *files]:
            os.chown(name, USER, USER, dir_fd=descriptor, follow_symlinks=False)


def _place(directory: Path) -> str:
    """Return a directory that every user can enter, and that nothing the orchestrator uses is below."""
    for place in _PLACES:
        if os.path.isdir(place) and os.stat(place).st_mode & 0o001 and not directory.is_relative_to(place):
            return place
    raise RuntimeUnavailableError(f"gVisor needs one of {', '.join(_PLACES)} to show image host in")


def _is_mapped(kind: str) -> bool:
    """Tell whether this user namespace has `USER`."""
    for line in Path(f"/proc/self/{kind}_map").read_text().splitlines():
        begin, _, length = map(int, line.split())
        if begin <= USER < begin + length:
            return True
    return False
