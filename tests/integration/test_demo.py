"""`make demo`, as whoever runs the tests and as an ordinary user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ordinary_user

DEMO = ordinary_user.ROOT / "examples" / "demo.py"


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [*command, "-W", "error", str(DEMO)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shows_the_quick_start(output: str) -> None:
    """Check what the Quick Start printed, over HTTP and over gRPC, and that nothing is left."""
    _, http, grpc, left = output.split("---")
    for transport, part in (("HTTP", http), ("gRPC", grpc)):
        assert re.search(
            rf"Output: Hello from {transport}!\n"
            r"Exit code: 0\n"
            r"Sorted: \['Ada', 'Grace'\]\n"
            r"Status: running\n"
            r"Memory: [1-9]\d* / \d+\n"
            r"CPU: \d+\.\d%\n"
            r"Snapshot: /\S+\n"
            r"Resumed: running\n"
            r"Stopped\n",
            part,
        ), part
    assert re.search(r"processes: none \(of [1-9]\d* seen\)", left)
    state_dirs = {path.parents[1] for path in map(Path, re.findall(r"Snapshot: (\S+)", output))}
    assert len(state_dirs) == 1
    assert not state_dirs.pop().exists()


def test_the_demo_shows_the_quick_start_over_both_transports() -> None:
    shows_the_quick_start(run([sys.executable], dict(os.environ)))


def test_the_demo_works_as_an_ordinary_user(need: Callable[[str, str | None], None]) -> None:
    found = ordinary_user.command()
    if isinstance(found, str):
        need("ordinary-user", found)
        return
    shows_the_quick_start(run(*found))
