"""An orchestrator of its own process, which can be killed, on a Docker Engine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(state_dir: Path, docker_host: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``flash-sandbox serve`` and yield the process and the address of its HTTP front door.

    It ends its sandboxes, unless it is killed.

    Args:
        state_dir: Its state directory.
        docker_host: Address of the engine that it uses.
    """
    command = [sys.executable, "-m", "flash_sandbox.cli", "serve", "--limits", "best-effort"]
    command += ["--http-port", "0", "--grpc-port", "0", "--state-dir", str(state_dir), "--end-sandboxes"]
    environment = os.environ | {"DOCKER_HOST": docker_host}
    log = state_dir.with_name(f"{state_dir.name}.log")
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.fullmatch(r"HTTP\s+(\S+)\n", process.stdout.readline())
            assert found is not None, log.read_text()
            process.stdout.readline()
            yield process, found[1]
        finally:
            process.terminate()


def kill(process: subprocess.Popen[str]) -> None:
    """Kill an orchestrator."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def owner(state_dir: Path) -> str:
    """Return the name that the containers of a state directory bear."""
    return (state_dir / "containers/docker/owner").read_text()
