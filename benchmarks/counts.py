"""What one warm call takes that is not time, and must not drift: ``python -m benchmarks.counts --write``.

For get_status and exec_command of each client: ``calls`` of functions, Python's and C's, on all threads of
the client; ``peak_bytes``, what it has at most while it runs; ``blocks_left``, the blocks of memory that it
leaves behind; and ``syscalls``, without those that threads wait for each other by.

They are the same from run to run, but not from one minor version of Python to the next: ``counts.json`` has
those of the versions that it was written by.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from flash_sandbox import HTTPClient

from .peers import PROGRAMS
from .serving import Serving, serving

__all__ = [
    "BOUNDS",
    "CLIENTS",
    "OPERATIONS",
    "committed",
    "counted",
    "lacks_strace",
    "system_calls",
    "warm_call",
]

CLIENTS: Final = ("HTTPClient", "SandboxClient", "AsyncHTTPClient", "AsyncSandboxClient")
OPERATIONS: Final = ("get_status", "exec_command")
BOUNDS: Final = {"calls": 1.10, "peak_bytes": 1.15, "blocks_left": 1.0, "syscalls": 1.15}
"""How many times the committed figure each may be."""

_COUNTS: Final = Path(__file__).with_name("counts.json")
_VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_ROUNDS: Final = 20
# How often threads wait for each other, and memory comes from the kernel, is chance.
_BY_CHANCE: Final = re.compile(r"(futex|sched_yield|mmap|munmap|madvise|brk)\(|<\.\.\. |---|\+\+\+")


def lacks_strace() -> str | None:
    """Return why system calls cannot be counted here, or None."""
    found = shutil.which("strace")
    return None if found else "there is no strace on PATH (on Debian: apt-get install strace)"


def committed() -> dict[str, Any] | None:
    """Return the committed figures of this version of Python, by client, by operation; None for none."""
    found: dict[str, Any] | None = json.loads(_COUNTS.read_text()).get(_VERSION)
    return found


def counted(server: Serving, sandbox_id: str, client: str, operation: str) -> dict[str, int]:
    """Return today's figures of a call, without its system calls.

    Args:
        server: Who answers.
        sandbox_id: A running sandbox of it.
        client: Whose call.
        operation: Which.
    """
    found: dict[str, int] = {}
    for mode in ("counts", "memory"):
        found |= json.loads(_output(warm_call(mode, server, sandbox_id, client, operation, _ROUNDS)))
    return found


def warm_call(
    mode: str, server: Serving, sandbox_id: str, client: str, operation: str, rounds: int
) -> list[str]:
    """Return the command line that takes a call apart; `mode` is one of those that the program tells."""
    address = server.http if "HTTP" in client else server.grpc
    program = [sys.executable, "-I", str(PROGRAMS / "warm_call.py")]
    return [*program, mode, client, address, sandbox_id, operation, str(rounds)]


def _output(line: list[str]) -> str:
    return subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout


def system_calls(server: Serving, sandbox_id: str, client: str, operation: str) -> int:
    """Return how many system calls a call makes today."""
    line = warm_call("watched", server, sandbox_id, client, operation, _ROUNDS)
    with tempfile.NamedTemporaryFile("r") as file:
        _output(["strace", "-f", "-qq", "-o", file.name, *line])
        text = file.read()
    between = text.partition('"/begin of the calls"')[2].partition('"/end of the calls"')[0]
    # The first line is the rest of the mark's, the last the beginning of the other one's.
    lines = between.splitlines()[1:-1]
    return round(sum(not _BY_CHANCE.match(line.partition(" ")[2].lstrip()) for line in lines) / _ROUNDS)


def main() -> None:
    """Print today's figures, and write them where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write them to {_COUNTS.name}")
    arguments = parser.parse_args()
    with serving() as server, HTTPClient(address=server.http) as client:
        sandbox_id = client.start_sandbox("bubblewrap", "host")
        found = {
            name: {
                operation: counted(server, sandbox_id, name, operation)
                | {"syscalls": system_calls(server, sandbox_id, name, operation)}
                for operation in OPERATIONS
            }
            for name in CLIENTS
        }
        client.stop_sandbox(sandbox_id)
    print(json.dumps(found, indent=2))
    if arguments.write:
        versions = json.loads(_COUNTS.read_text()) if _COUNTS.exists() else {}
        versions[_VERSION] = found
        _COUNTS.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
