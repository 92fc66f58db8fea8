"""Every code block of the README runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flash_sandbox.orchestrator import Orchestrator

ROOT = Path(__file__).parents[2]
BLOCKS = [
    (match[1], match[2].strip())
    for match in re.finditer(
        r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
COMMANDS = [text for kind, text in BLOCKS if kind == "sh"]


@pytest.fixture
def to_this_orchestrator(orchestrator: Orchestrator) -> Iterator[dict[str, str]]:
    """Return the ports that the README names and those that stand for them here."""
    return {
        "port=8080": f"port={orchestrator.http_address.rpartition(':')[2]}",
        "port=50051": f"port={orchestrator.grpc_address.rpartition(':')[2]}",
        "localhost:50051": orchestrator.grpc_address,
        'host="localhost")': f'host="localhost", port={orchestrator.grpc_address.rpartition(":")[2]})',
    }


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, cwd=ROOT)


def test_there_are_blocks_of_both_kinds_and_no_others():
    assert {kind for kind, _ in BLOCKS} == {"python", "sh"}
    assert len(PYTHON) >= 4


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_a_python_block_runs(number, to_this_orchestrator):
    program = PYTHON[number]
    for said, here in to_this_orchestrator.items():
        program = program.replace(said, here)
    done = run(sys.executable, "-W", "error", "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_http_block_prints_what_it_promises(to_this_orchestrator):
    program = next(text for text in PYTHON if "Hello from HTTP!" in text)
    for said, here in to_this_orchestrator.items():
        program = program.replace(said, here)
    printed = run(sys.executable, "-c", program).stdout
    assert re.fullmatch(
        r"Sandbox ID: \w+\nOutput: Hello from HTTP!\nExit code: 0\nStatus: running\n"
        r"Memory: \d+ / \d+\nCPU: \d+\.\d%\nSnapshot: /\S+\n",
        printed,
    )


def test_the_grpc_block_prints_what_it_promises(to_this_orchestrator):
    program = next(text for text in PYTHON if "Hello from gRPC!" in text)
    for said, here in to_this_orchestrator.items():
        program = program.replace(said, here)
    assert (
        run(sys.executable, "-c", program).stdout
        == "Output: Hello from gRPC!\nsandbox_not_found 404 NOT_FOUND\n"
    )


def test_the_two_commands_are_the_first_two_blocks_and_can_be_made():
    assert COMMANDS[:2] == ["make demo", "make test"]
    for command in COMMANDS[:2]:
        # What they do is tested where a fresh clone is made; here, that the names are right.
        assert run(*shlex.split(command), "--dry-run").returncode == 0


@pytest.mark.parametrize("command", [text for text in COMMANDS if "flash-sandbox" in text])
def test_a_command_of_the_package_is_one(command):
    program, *words = shlex.split(command)
    assert os.path.basename(program) == "flash-sandbox"
    done = run(sys.executable, "-m", "flash_sandbox.cli", *words, "--help")
    assert done.returncode == 0
    assert words[0] in done.stdout
