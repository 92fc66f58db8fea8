"""What a test looks for in a sandbox, through any of the four clients."""

from __future__ import annotations

import time

from flash_sandbox import SandboxAPI

__all__ = ["until_gone"]


def until_gone(client: SandboxAPI, sandbox_id: str, word: str) -> None:
    """Wait until no process of a sandbox has `word` among its arguments."""
    deadline = time.monotonic() + 60
    while word in client.exec_command(sandbox_id, ["/bin/sh", "-c", "cat /proc/[0-9]*/cmdline"]).stdout:
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.01)
