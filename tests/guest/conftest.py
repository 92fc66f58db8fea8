"""Fixtures of the tests of the guest agent."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agents import SANITIZERS, Host, running_agent, sandbox_command

from flash_sandbox.orchestrator.runtimes.bubblewrap.bwrap import BubblewrapMissing
from hatch_build import FLAGS, CompileError, build_agent, compile_agent

Need = Callable[[str, str | None], None]


@pytest.fixture(scope="session")
def compiler(need: Need) -> list[str]:
    """Need the system's compiler, with sanitizers."""
    need("cc", None if shutil.which("cc") else "there is no cc")
    return ["cc"]


@pytest.fixture(scope="session")
def agent(need: Need) -> Path:
    """Return the agent as the package has it, and need a bwrap that can run it."""
    try:
        built = build_agent(platform.machine())
    except CompileError as error:
        need("cc", str(error))
        raise
    need("bubblewrap", _missing(built))
    return built


@pytest.fixture(scope="session")
def checked_agent(agent: Path, compiler: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the agent with AddressSanitizer and UBSan."""
    return compile_agent(tmp_path_factory.mktemp("agent") / "checked", compiler, *SANITIZERS)


@pytest.fixture(scope="session")
def attacker(compiler: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the attacker."""
    built = tmp_path_factory.mktemp("attacker") / "attacker"
    source = str(Path(__file__).parent / "attacker.c")
    subprocess.run([*compiler, *FLAGS, "-Werror", "-static", "-o", str(built), source], check=True)
    return built


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
