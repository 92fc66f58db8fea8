"""What the build hook makes of the guest agent, with compilers and without, by the interface of PEP 517."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import packages
import pytest

Need = Callable[[str, str | None], None]

pytestmark = pytest.mark.timeout(600)

BUILD = """\
import os, platform, sys
{first}
import hatchling.build
requirements = hatchling.build.get_requires_for_build_wheel()
print(requirements, hatchling.build.build_wheel(sys.argv[1]))
"""
NO_ZIG = "sys.modules['ziglang'] = None"
MACHINE = platform.machine()
AGENT = f"flash_sandbox/orchestrator/guest/bin/agent-{MACHINE}"
LOOK = """\
{first}
from flash_sandbox.orchestrator.guest.program import AgentMissing, agent_program
try:
    print(agent_program())
except AgentMissing as missing:
    print(missing.detail)
    print(missing.remedy)
"""


@dataclass(frozen=True)
class Built:
    """What a build needed and made, and what it said."""

    requirements: str
    wheel: Path
    said: str

    def agents(self) -> dict[str, bytes]:
        with zipfile.ZipFile(self.wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist() if "/agent-" in name}

    def look(self, folder: Path, first: str = "") -> list[str]:
        """Unpack the wheel and ask it for its agent."""
        with zipfile.ZipFile(self.wheel) as archive:
            archive.extractall(folder)
        command = [sys.executable, "-c", LOOK.format(first=first)]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8")
        return done.stdout.splitlines()


@pytest.fixture
def cc(need: Need) -> None:
    """Need the system's compiler."""
    need("cc", None if shutil.which("cc") else "there is no cc")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of what the wheel is built from."""
    return packages.copy_tree(tmp_path / "tree")


def build(tree: Path, first: str = "", **environment: str) -> Built:
    """Build a wheel, as pip has it built; `first` runs before."""
    inherited = {name: text for name, text in os.environ.items() if name != "FLASH_SANDBOX_AGENTS"}
    cache = {"ZIG_GLOBAL_CACHE_DIR": str(packages.ROOT / "build" / "zig")}
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(first=first), str(tree / "dist")],
        cwd=tree,
        env=inherited | cache | environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    requirements, _, name = done.stdout.rpartition("\n")[0].rpartition("\n")[2].rpartition(" ")
    return Built(requirements, tree / "dist" / name, done.stderr)


def test_the_systems_compiler_makes_a_wheel_for_this_machine(tree: Path, tmp_path: Path, cc: None) -> None:
    built = build(tree, NO_ZIG)
    assert built.requirements == "[]"
    assert built.wheel.name.endswith(f"-py3-none-linux_{MACHINE}.whl")
    (agent,) = built.look(tmp_path / "installed")
    assert agent.endswith(f"/bin/agent-{MACHINE}")
    assert Path(agent).read_bytes() == built.agents()[AGENT]


def test_ziglang_is_required_where_no_compiler_links_static_programs(tree: Path, tmp_path: Path) -> None:
    built = build(tree, CC="false")
    assert built.requirements == "['ziglang>=0.17']"
    assert built.wheel.name.endswith(f"-py3-none-linux_{MACHINE}.whl")
    assert len(built.look(tmp_path / "installed")) == 1


def test_a_compiler_whose_programs_do_not_run_here_is_none(tree: Path, tmp_path: Path) -> None:
    compiler = tmp_path / "cross-cc"
    compiler.write_text(
        '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho foreign > "$2"; chmod +x "$2"\n'
    )
    compiler.chmod(0o755)
    assert build(tree, CC=str(compiler)).requirements == "['ziglang>=0.17']"


def test_without_any_compiler_the_clients_are_there_and_doctor_knows_why(tree: Path, tmp_path: Path) -> None:
    built = build(tree, NO_ZIG, CC="false")
    assert (built.agents(), built.wheel.name[-16:]) == ({}, "py3-none-any.whl")
    assert "The guest agent was not compiled: no C compiler" in built.said
    detail, remedy = built.look(tmp_path / "installed")
    assert "no C compiler was found that links static programs, and ziglang is not installed" in detail
    assert "apt-get install gcc libc6-dev" in remedy


def test_a_compiler_that_fails_does_not_fail_the_build(tree: Path, tmp_path: Path, cc: None) -> None:
    (tree / "guest" / "agent.c").write_text("int main(void) { return 0 }\n")
    built = build(tree)
    assert built.agents() == {}
    detail, _ = built.look(tmp_path / "installed")
    assert "agent.c:1:" in detail
    assert "error:" in detail


def test_only_what_has_changed_is_compiled_again(tree: Path, cc: None) -> None:
    first = build(tree)
    again = build(tree, NO_ZIG, CC="false")
    assert (again.requirements, again.agents()) == ("[]", first.agents())
    with (tree / "guest" / "agent.c").open("a") as source:
        source.write("/* changed */\n")
    stale = build(tree, NO_ZIG, CC="false")
    assert (stale.requirements, stale.agents()) == ("['ziglang>=0.17']", {})


def test_a_wheel_without_agents_can_be_asked_for(tree: Path, tmp_path: Path) -> None:
    built = build(tree, NO_ZIG, FLASH_SANDBOX_AGENTS="")
    assert (built.requirements, built.agents(), built.said) == ("[]", {}, "")
    detail, _ = built.look(tmp_path / "installed")
    assert "built without it" in detail


def test_a_machine_that_has_no_agent_needs_none(tree: Path, tmp_path: Path) -> None:
    pretend = "platform.machine = lambda: 'riscv64'"
    built = build(tree, pretend)
    assert (built.requirements, built.agents(), built.wheel.name[-16:]) == ("[]", {}, "py3-none-any.whl")
    assert built.look(tmp_path / "installed", f"import platform; {pretend}") == [
        "there is no guest agent for riscv64",
        "use x86_64 or aarch64",
    ]


def test_what_was_asked_for_must_be_compiled(tree: Path) -> None:
    with pytest.raises(AssertionError, match="ziglang is not installed"):
        build(tree, NO_ZIG, FLASH_SANDBOX_AGENTS="x86_64 aarch64")
    with pytest.raises(AssertionError, match="names riscv64; known are x86_64, aarch64"):
        build(tree, FLASH_SANDBOX_AGENTS="riscv64")


def test_doctor_run_and_the_demo_say_what_is_missing_and_what_to_do(tree: Path) -> None:
    build(tree, NO_ZIG, CC="false")

    def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        environment = os.environ | {"PYTHONPATH": str(tree)}
        return subprocess.run(
            command, cwd=tree, env=environment, check=False, capture_output=True, encoding="utf-8"
        )

    first, second, *_ = ran("-m", "flash_sandbox.cli", "doctor").stdout.splitlines()
    assert first.startswith("✗ bubblewrap   the guest agent was not compiled: no C compiler")
    remedy = second.removeprefix("  → ")
    assert remedy.startswith("install a C compiler (Debian: apt-get install gcc libc6-dev)")
    run = ran("-m", "flash_sandbox.cli", "run", "--", "true")
    assert (run.returncode, remedy in run.stderr) == (125, True)
    demo = ran(str(packages.ROOT / "examples" / "demo.py"))
    assert (demo.returncode, demo.stdout, remedy in demo.stderr) == (1, "", True)
