"""Volumes of containers: mounted from outside once the container runs, before anything else does in it.

The engine has no part in it. So what is mounted is what was opened, whatever mounts the engine sees, and the
owners are mapped, which the engine cannot do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ....errors import InvalidArgumentError, UnsupportedError
from ...guest.program import agent_program
from ...volumes.roots import OpenVolume

__all__ = ["mount_volumes"]


def mount_volumes(volumes: Sequence[OpenVolume], init: int) -> None:
    """Mount volumes in a container.

    Args:
        volumes: The volumes, outer ones first.
        init: The first process of the container, as this host sees it; 0 where it is not this host's.

    Raises:
        UnsupportedError: This process cannot mount there.
        InvalidArgumentError: One cannot be mounted.
    """
    try:
        # Its root is root of this host, unless the engine maps users.
        owner = int(Path(f"/proc/{init}/uid_map").read_text().split()[1])
    except OSError as error:
        raise UnsupportedError("volumes need a container whose processes are this host's") from error
    for volume in volumes:
        read_only = "ro" if volume.read_only else ""
        step = ["inject", str(volume.descriptor), volume.target, volume.owners(owner), str(init), read_only]
        done = subprocess.run(
            [str(agent_program()), "--launch", *step, "done"],
            pass_fds=[volume.descriptor],
            stderr=subprocess.PIPE,
            text=True,
            env={},
            check=False,
        )
        if done.returncode != 0:
            raise InvalidArgumentError(f"the volume cannot be mounted: {done.stderr.strip()}")
