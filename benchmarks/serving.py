"""Runs an orchestrator in a process of its own, as in real use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from flash_sandbox.orchestrator.linux.cgroups import CgroupError, find_hierarchy

__all__ = ["Serving", "limits", "serving"]


class Serving(NamedTuple):
    """A running orchestrator.

    Attributes:
        http: Its address for HTTP.
        grpc: Its address for gRPC.
        pid: Its process.
    """

    http: str
    grpc: str
    pid: int


def limits() -> str:
    """Return what to enforce: limits where this host gives a cgroup."""
    try:
        find_hierarchy().close()
    except CgroupError:
        return "best-effort"
    return "enforce"


@contextmanager
def serving(
    *arguments: str, docker_host: str | None = None, state_dir: Path | None = None
) -> Iterator[Serving]:
    """Serve on free ports.

    Args:
        arguments: More of them for ``flash-sandbox serve``.
        docker_host: The Docker Engine to use; this host's, if it has one, is not the benchmarks' to use.
        state_dir: A state directory to leave, with the sandboxes that go on; None for a new one, of which
            nothing stays.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "flash_sandbox.cli", "serve", "--limits", limits()]
        command += ["--http-port", "0", "--grpc-port", "0", *arguments]
        command += (
            ["--state-dir", str(state_dir)] if state_dir else ["--state-dir", directory, "--end-sandboxes"]
        )
        environment = os.environ | {"DOCKER_HOST": docker_host or "unix:///nowhere/docker.sock"}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            try:
                assert server.stdout is not None
                text = server.stdout.readline() + server.stdout.readline()
                found = re.fullmatch(r"HTTP\s+(\S+)\ngRPC\s+(\S+)\n", text)
                if found is None:
                    raise SystemExit(f"the orchestrator did not start: {text!r}")
                yield Serving(found[1], found[2], server.pid)
            finally:
                server.terminate()
