"""Has llm-sandbox and bubblewrap start, run a command and stop: ``llm_sandbox_round.py BWRAP``.

Reads a line for each time and answers with the seconds of the start, the command and the stop, as JSON. It
runs in the interpreter that has llm-sandbox.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

BubblewrapSession: Any = importlib.import_module("llm_sandbox.bubblewrap").BubblewrapSession


def measure(bwrap: str) -> list[float]:
    """Return the seconds of a start, a command and a stop."""
    began = time.perf_counter()
    # Without a virtual environment for the code of its caller.
    session = BubblewrapSession(bwrap_path=bwrap, skip_environment_setup=True)
    session.open()
    started = time.perf_counter()
    result = session.execute_command("true")
    executed = time.perf_counter()
    session.close()
    stopped = time.perf_counter()
    assert result.exit_code == 0, result
    return [started - began, executed - started, stopped - executed]


def main() -> None:
    for _ in sys.stdin:
        print(json.dumps(measure(sys.argv[1])), flush=True)


if __name__ == "__main__":
    main()
