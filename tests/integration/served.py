"""`flash-sandbox serve` as a process of its own, for a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flash_sandbox import HTTPClient, SandboxClient

Client = HTTPClient | SandboxClient


@dataclass(frozen=True)
class Serving:
    """One that runs, and how to reach it."""

    process: subprocess.Popen[str]
    http: str
    grpc: str
    state_dir: Path
    log: Path

    # As an orchestrator of this process names them.
    http_address = property(lambda self: self.http)
    grpc_address = property(lambda self: self.grpc)

    def client(self, transport: str, api_key: str | None = None) -> Client:
        """Return a client over ``http`` or ``grpc``."""
        if transport == "http":
            return HTTPClient(address=self.http, api_key=api_key)
        return SandboxClient(address=self.grpc, api_key=api_key)


@contextmanager
def serve(
    state_dir: Path,
    *arguments: str,
    limits: str,
    environment: dict[str, str] | None = None,
    command: Sequence[str] = (sys.executable, "-W", "error"),
) -> Iterator[Serving]:
    """Run one for the length of a block, and kill it then."""
    command = [*command, "-m", "flash_sandbox.cli", "serve", "--limits", limits]
    command += ["--http-port", "0", "--grpc-port", "0", "--state-dir", str(state_dir), *arguments]
    log = state_dir.with_name(state_dir.name + ".log")
    with log.open("a") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=os.environ | (environment or {})
        )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        found = re.fullmatch(r"HTTP  (http://\S+)\ngRPC  (\S+)\n", "".join(lines))
        assert found, log.read_text()
        yield Serving(process, found[1], found[2], state_dir, log)
    finally:
        process.kill()
        process.communicate()
