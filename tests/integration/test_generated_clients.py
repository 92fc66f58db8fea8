"""Each generated low-level client drives the orchestrator by itself: no facade is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).with_name("programs")
KEY = "key-of-this-test"


@pytest.fixture(scope="module")
def orchestrator(limits: Limits) -> Iterator[Orchestrator]:
    with running_orchestrator(api_key=KEY, limits=limits) as running:
        yield running


def answers(program: str, address: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAMS / program), address, KEY],
        # Nothing but the generated packages of this repository is put on the path.
        env=os.environ | {"PYTHONPATH": str(ROOT / "generated")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def over_http(orchestrator: Orchestrator) -> dict[str, Any]:
    return answers("http_alone.py", orchestrator.http_address)


@pytest.fixture(scope="module")
def over_grpc(orchestrator: Orchestrator) -> dict[str, Any]:
    return answers("grpc_alone.py", orchestrator.grpc_address)


@pytest.fixture(params=["over_http", "over_grpc"])
def answered(request: pytest.FixtureRequest) -> dict[str, Any]:
    result: dict[str, Any] = request.getfixturevalue(request.param)
    return result


def test_a_command_is_run(answered: dict[str, Any]) -> None:
    assert (answered["stdout"], answered["exit_code"]) == ("hello\n", 3)


def test_the_sandbox_runs_until_it_is_stopped(answered: dict[str, Any]) -> None:
    assert answered["status"] == "running"


def test_the_facade_is_not_imported(answered: dict[str, Any]) -> None:
    assert [name for name in answered["modules"] if name.split(".")[0] == "flash_sandbox"] == []


def test_http_answers_no_content_to_a_stop(over_http: dict[str, Any]) -> None:
    assert over_http["stopped"] == 204


def test_http_answers_the_error_schema_once_it_is_stopped(over_http: dict[str, Any]) -> None:
    assert over_http["gone"] == "sandbox_not_found"


def test_grpc_answers_not_found_once_it_is_stopped(over_grpc: dict[str, Any]) -> None:
    assert over_grpc["gone"] == "NOT_FOUND"
