"""The build hook: compiles the guest agent (guest/*.c) into the package.

By default it compiles for this machine, with the system's C compiler if that links static programs, else with
`ziglang`, which then becomes a build requirement. A failure is only a warning: the clients need no agent.

`FLASH_SANDBOX_AGENTS` names the machines to compile for (``x86_64 aarch64``); if it is empty, none. Such a
package is for other machines, so ziglang compiles all of it, and a failure ends the build.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MACHINES: Final = ("x86_64", "aarch64")
VARIABLE: Final = "FLASH_SANDBOX_AGENTS"
# Not -Werror: the next compiler's new warning must not break an installation. The tests add it.
FLAGS: Final = ("-std=c11", "-O2", "-Wall", "-Wextra", "-fstack-protector-strong")

_ROOT: Final = Path(__file__).resolve().parent
_SOURCES: Final = _ROOT / "guest"
_OUTPUT: Final = _ROOT / "flash_sandbox" / "orchestrator" / "guest" / "bin"
_FAILURE: Final = _OUTPUT / "failure.txt"
_STATIC: Final = ("-static", "-s")
_ZIG: Final = "ziglang>=0.17"
_NO_COMPILER: Final = "no C compiler was found that links static programs, and ziglang is not installed"


class CompileError(Exception):
    """The agent could not be compiled; the text says why."""


class AgentBuildHook(BuildHookInterface[BuilderConfig]):
    """Compiles the agents that the package is to have."""

    def dependencies(self) -> list[str]:
        """Return what must be installed to build: ziglang if the system's compiler does not serve."""
        missing = [machine for machine in _wanted() if not _is_current(machine)]
        return [_ZIG] if missing and _system_compiler() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the agents, and tag a wheel that does not serve every machine."""
        wanted = _wanted()
        with suppress(OSError):
            _FAILURE.unlink(missing_ok=True)
        for machine in MACHINES:
            try:
                if machine in wanted:
                    build_agent(machine)
                elif not _is_current(machine):
                    agent_path(machine).unlink(missing_ok=True)
            except (CompileError, OSError) as error:
                if VARIABLE in os.environ:
                    raise
                self._report(machine, str(error))
        built = [machine for machine in MACHINES if agent_path(machine).exists()]
        # Agents are data to Python: with one for each machine, or with none, a wheel is the same everywhere.
        if len(built) == 1:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-linux_{built[0]}"

    def _report(self, machine: str, failure: str) -> None:
        """Warn, and leave a note for `flash-sandbox doctor`: pip hides what a build prints."""
        self.app.display_warning(f"The guest agent was not compiled: {failure}")
        with suppress(OSError):
            agent_path(machine).unlink(missing_ok=True)
            _OUTPUT.mkdir(exist_ok=True)
            _FAILURE.write_text(f"{failure}\n")


def agent_path(machine: str) -> Path:
    """Return where the agent for a machine belongs."""
    return _OUTPUT / f"agent-{machine}"


def build_agent(machine: str) -> Path:
    """Compile the agent for a machine, unless that was done from the same sources, and return its path.

    Raises:
        CompileError: There is no compiler, or it failed.
    """
    target = agent_path(machine)
    if not _is_current(machine):
        compiler = _system_compiler()
        _OUTPUT.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_OUTPUT) as folder:
            compiled = compile_agent(Path(folder, "agent"), compiler or zig_compiler(machine), *_STATIC)
            compiled.replace(target)
        _digest_path(machine).write_text(_digest("cc" if compiler else "zig"))
    return target


def compile_agent(target: Path, compiler: Sequence[str], *flags: str) -> Path:
    """Compile the agent, with more flags, and return `target`.

    Raises:
        CompileError: The compiler failed.
    """
    sources = sorted(path.name for path in _SOURCES.glob("*.c"))
    command = [*compiler, *FLAGS, *flags, "-o", str(target), *sources]
    with tempfile.TemporaryDirectory() as cache:
        # What zig keeps is of no use to a ziglang in another directory, and each build has one.
        environment = {"ZIG_GLOBAL_CACHE_DIR": cache} | os.environ
        done = subprocess.run(
            command, cwd=_SOURCES, env=environment, capture_output=True, encoding="utf-8", errors="replace"
        )
    sys.stderr.write(done.stderr)
    if done.returncode:
        lines = done.stderr.splitlines() or [f"exit status {done.returncode}"]
        first_error = next((line for line in lines if "error" in line), lines[-1])
        raise CompileError(f"{compiler[0]} failed: {first_error}")
    return target


def zig_compiler(machine: str) -> list[str]:
    """Return the command line of ziglang's C compiler for a machine.

    Raises:
        CompileError: It is not installed.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise CompileError(_NO_COMPILER)
    return [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-musl", "-mcpu=baseline"]


def _wanted() -> Sequence[str]:
    """Return the machines to compile for."""
    if VARIABLE in os.environ:
        wanted = os.environ[VARIABLE].split()
        if unknown := sorted(set(wanted) - set(MACHINES)):
            raise ValueError(f"{VARIABLE} names {', '.join(unknown)}; known are {', '.join(MACHINES)}")
        return wanted
    here = platform.machine()
    return [here] if sys.platform == "linux" and here in MACHINES else []


def _system_compiler() -> list[str] | None:
    """Return the system's C compiler if an agent for this machine alone is wanted and it can make one."""
    if VARIABLE in os.environ:
        return None
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "empty.c"), Path(folder, "empty")
        source.write_text("int main(void) { return 0; }\n")
        for command in ([*compiler, "-static", "-o", str(program), str(source)], [str(program)]):
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=60)
            except (OSError, subprocess.SubprocessError):
                return None
    return compiler


def _is_current(machine: str) -> bool:
    """Tell whether there is an agent for a machine that was compiled from the sources as they are."""
    compilers = ("zig",) if VARIABLE in os.environ else ("cc", "zig")
    try:
        built_from = _digest_path(machine).read_text()
    except OSError:
        return False
    return agent_path(machine).exists() and built_from in map(_digest, compilers)


def _digest_path(machine: str) -> Path:
    return _OUTPUT / f"{machine}.digest"


def _digest(compiler: str) -> str:
    """Return a digest of what an agent is made of."""
    digest = hashlib.sha256(repr((compiler, FLAGS, _STATIC)).encode())
    for path in sorted(_SOURCES.glob("*.[ch]")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
