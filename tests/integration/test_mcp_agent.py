"""The example of an agent: its model is played by a script, its tools are real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator

EXAMPLE = Path(__file__).parents[2] / "examples" / "mcp_agent.py"


def test_an_agent_repairs_a_program(orchestrator: Orchestrator) -> None:
    with HTTPClient(address=orchestrator.http_address) as client:
        before = {info.id for info in client.sandboxes()}
        done = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLE)],
            env=os.environ | {"FLASH_SANDBOX_ADDR": orchestrator.http_address},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [line.partition(":")[0] for line in lines[:-1]] == [
            "create_sandbox",
            "write_file",
            "write_file",
            "run_command",
            "read_file",
            "edit_file",
            "run_command",
            "stop_sandbox",
        ]
        assert "FAILED (failures=1)" in lines[3]
        assert "OK" in lines[6]
        assert lines[-1] == "The test ended with 1 before and 0 after the repair."
        assert {info.id for info in client.sandboxes()} <= before
