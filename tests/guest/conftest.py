"""Fixtures of the tests of the guest agent."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agents import SANITIZERS, Host, compile_agent, running_agent, sandbox_command

from flash_sandbox.orchestrator.sandboxing.bwrap import BubblewrapMissing

Need = Callable[[str, str | None], None]


@pytest.fixture(scope="session")
def compiler(need: Need) -> None:
    """Need a compiler that links statically."""
    need("cc", None if shutil.which("cc") else "there is no cc")


@pytest.fixture(scope="session")
def agent(compiler: None, need: Need, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the agent as it ships, and need a bwrap that can run it."""
    built = compile_agent(tmp_path_factory.mktemp("agent") / "agent", "-static")
    need("bubblewrap", _missing(built))
    return built


@pytest.fixture(scope="session")
def checked_agent(agent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the agent with AddressSanitizer and UBSan."""
    return compile_agent(tmp_path_factory.mktemp("agent") / "checked", *SANITIZERS)


@pytest.fixture
def host(checked_agent: Path) -> Iterator[Host]:
    """Run an agent with sanitizers in a sandbox that shows this host's files, read-only."""
    with running_agent(checked_agent) as running:
        yield running


def _missing(agent: Path) -> str | None:
    try:
        done = subprocess.run(sandbox_command(agent), capture_output=True, text=True, check=False, timeout=30)
    except BubblewrapMissing as error:
        return str(error)
    # Without arguments the agent says how it is called.
    return None if "usage" in done.stderr else done.stderr.strip()
