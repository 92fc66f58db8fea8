"""What a test looks for in a sandbox, through any of the four clients."""

from __future__ import annotations

import time

from flash_sandbox import SandboxAPI

__all__ = ["until_gone"]


def until_gone(client: SandboxAPI, sandbox_id: str, command: str, patience: float = 60) -> None:
    """Wait until no process of a sandbox has a command line with `command` in it, `patience` seconds at most.

    More than a number: the ID of the sandbox is in the command line of its first process.
    """
    arguments = command.replace(" ", "\0")
    deadline = time.monotonic() + patience
    while arguments in client.exec_command(sandbox_id, ["/bin/sh", "-c", "cat /proc/[0-9]*/cmdline"]).stdout:
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.01)
