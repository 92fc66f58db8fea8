"""An orchestrator of its own process, which can be killed, on a Docker Engine."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from served import serve


@contextmanager
def serving(state_dir: Path, docker_host: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``flash-sandbox serve`` and yield the process and the address of its HTTP front door.

    It ends its sandboxes, unless it is killed.

    Args:
        state_dir: Its state directory.
        docker_host: Address of the engine that it uses.
    """
    with serve(
        state_dir, "--end-sandboxes", limits="best-effort", environment={"DOCKER_HOST": docker_host}
    ) as served:
        try:
            yield served.process, served.http
        finally:
            served.process.terminate()
            served.process.wait()


def kill(process: subprocess.Popen[str]) -> None:
    """Kill an orchestrator."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def owner(state_dir: Path) -> str:
    """Return the name that the containers of a state directory bear."""
    return (state_dir / "containers/docker/owner").read_text()
