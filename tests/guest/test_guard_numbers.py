"""The filter names system calls by the numbers that the kernel's headers give them, on each machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from agents import SOURCES

from hatch_build import CompileError, zig_compiler

Need = Callable[[str, str | None], None]

# A machine, and what its 32-bit programs are compiled for.
_MACHINES = [("x86_64", "x86-linux-musl"), ("aarch64", "arm-linux-musleabihf")]


def _preprocess(compiler: list[str], source: Path) -> str:
    done = subprocess.run([*compiler, "-E", "-P", str(source)], capture_output=True, text=True, check=True)
    return done.stdout


def _number(text: str) -> int:
    """Read a number, which may be a sum in brackets."""
    return sum(int(part, 0) for part in text.strip("()").split("+"))


@pytest.mark.parametrize(("machine", "target_32"), _MACHINES)
def test_numbers_are_those_of_the_kernels_headers(
    machine: str, target_32: str, need: Need, tmp_path: Path
) -> None:
    try:
        compiler = zig_compiler(machine)
    except CompileError:
        need("ziglang", "ziglang is not installed")
        raise
    compiler_32 = [target_32 if part.startswith(machine) else part for part in compiler]
    names = re.findall(r"\{CALL\((\w+),", (SOURCES / "guard.c").read_text())
    calls = tmp_path / "calls.c"
    calls.write_text("#include <asm/unistd.h>\n" + "".join(f"call {name}: __NR_{name}\n" for name in names))
    expected = [
        [
            _number(number)
            for number in re.findall(r"^call \w+: (.+)$", _preprocess(each, calls), re.MULTILINE)
        ]
        for each in (compiler, compiler_32)
    ]
    rules = _preprocess(compiler, SOURCES / "guard.c").partition(" rules[] = {")[2]
    rows = re.findall(r"\{(\d+), (\d+), [^{}]+\}", rules)
    assert [[int(row[column]) for row in rows] for column in (0, 1)] == expected
    assert len(set(names)) == 18
