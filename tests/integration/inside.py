"""Scripts run inside a sandbox, as its main process or through exec, for tests that look from within."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flash_sandbox import HTTPClient
from flash_sandbox.models import DEFAULT_MAX_OUTPUT_BYTES, ExecResult
from flash_sandbox.orchestrator.executions import Execution
from flash_sandbox.orchestrator.runtimes.base import Program, Runtime

IDLE = "exec tail -f /dev/null"


def wait_until(condition: Callable[[], object], what: str, patience: float = 20.0) -> None:
    """Return once the condition holds; fail when it does not for `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain: {what}"
        time.sleep(0.01)


@contextmanager
def running(client: HTTPClient, **options: object) -> Iterator[str]:
    """Start a sandbox of the embedded runtime for the length of a block."""
    sandbox_id = client.start_sandbox(**{"type": "bubblewrap", "image": "host", **options})
    try:
        yield sandbox_id
    finally:
        client.stop_sandbox(sandbox_id)


def output_of_main(client: HTTPClient, script: str, **options: object) -> str:
    """Run a script as (a part of) a main process and return what it printed, on either stream."""
    command = ["sh", "-c", f"({script}) > /out 2>&1; touch /done; {IDLE}"]
    with running(client, command=command, **options) as sandbox_id:
        wait_until(
            lambda: client.exec_command(sandbox_id, ["test", "-e", "/done"]).exit_code == 0,
            "the main process to end its script",
        )
        return client.exec_command(sandbox_id, ["cat", "/out"]).stdout


def output_of_exec(client: HTTPClient, script: str, **options: object) -> str:
    """Run a script through exec and return what it printed, on either stream."""
    with running(client, **options) as sandbox_id:
        return client.exec_command(sandbox_id, ["sh", "-c", f"({script}) 2>&1"]).stdout


@dataclass(frozen=True)
class Place:
    """A sandbox of a runtime that is used without a service core."""

    runtime: Runtime
    id: str
    has_ended: bool = False


async def run_in(runtime: Runtime, sandbox_id: str, *command: str) -> ExecResult:
    """Run a command in a sandbox of a runtime to its end."""
    return await Execution(Place(runtime, sandbox_id), Program(command)).result(DEFAULT_MAX_OUTPUT_BYTES)
