"""The published flash-sandbox 0.1.0, as it is, drives this orchestrator over both of its transports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox.orchestrator import Orchestrator

PROGRAM = Path(__file__).parent / "programs" / "published_quickstart.py"


@pytest.fixture(scope="session")
def published_python(
    need: Callable[[str, str | None], None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the interpreter of a virtual environment that has the published package and nothing of ours."""
    folder = tmp_path_factory.mktemp("published") / "venv"
    # Without a pip of its own, which takes longer to install than all the rest.
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
    command += ["flash-sandbox==0.1.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    failure = f"pip cannot install flash-sandbox 0.1.0: {done.stderr.strip().rpartition(chr(10))[2]}"
    need("pypi", failure if done.returncode else None)
    return python


@pytest.fixture(scope="session", params=["http", "grpc"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def seen(transport: str, published_python: Path, orchestrator: Orchestrator) -> dict[str, Any]:
    """Run the Quick Start and return what the published client saw."""
    address = orchestrator.http_address if transport == "http" else orchestrator.grpc_address
    # Isolated (-I): neither this project's folder nor PYTHONPATH is where it looks for flash_sandbox.
    command = [str(published_python), "-I", str(PROGRAM), transport, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_is_the_published_release(seen: dict[str, Any]) -> None:
    assert seen["version"] == "0.1.0"


def test_command_runs(seen: dict[str, Any], transport: str) -> None:
    name = {"http": "HTTP", "grpc": "gRPC"}[transport]
    assert (seen["output"], seen["exit_code"]) == (f"Hello from {name}!", 0)


def test_states_are_told_as_they_change(seen: dict[str, Any]) -> None:
    assert (seen["status"], seen["paused"], seen["resumed"]) == ("running", "paused", "running")


def test_snapshot_has_a_path_and_no_memory_file(seen: dict[str, Any]) -> None:
    assert seen["snapshot"]["snapshot_path"]
    assert seen["snapshot"]["mem_file_path"] == ""


@pytest.mark.parametrize("transport", ["http"], indirect=True)
def test_all_nine_metrics_are_told(seen: dict[str, Any]) -> None:
    # The published gRPC client has no get_metrics.
    assert len(seen["metrics"]) == 9
    assert seen["metrics"]["memory_usage_bytes"] > 0
    assert seen["metrics"]["pids_current"] > 0


@pytest.mark.parametrize("transport", ["http"], indirect=True)
def test_sandbox_starts_from_a_snapshot(seen: dict[str, Any]) -> None:
    # The published gRPC client has no snapshot_path.
    assert seen["copy"] == "running"


def test_stopped_sandbox_is_not_found(seen: dict[str, Any], transport: str) -> None:
    code, detail = seen["stopped"]
    assert code == {"http": 404, "grpc": "NOT_FOUND"}[transport]
    assert "sandbox" in detail
