"""Peers that are elsewhere: environments of their own where names clash, and programs that measure there."""

from __future__ import annotations

import fcntl
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["PROGRAMS", "REQUIREMENTS", "Worker", "environment", "lacks_peer", "running_program"]

_PROJECT: Final = Path(__file__).resolve().parents[1]
_ENVIRONMENTS: Final = _PROJECT / "build" / "peers"
PROGRAMS: Final = Path(__file__).with_name("programs")

REQUIREMENTS: Final = {
    "published": ("flash-sandbox==0.1.0",),
    "llm-sandbox": ("llm-sandbox[docker]==0.3.46",),
    # This one, but none of its extras: some libraries import what happens to be there.
    "alone": ("--editable", str(_PROJECT)),
}
"""What each environment has, with what that needs."""


@functools.cache
def environment(name: str) -> Path:
    """Return the interpreter of an environment that has this and nothing else; make it once.

    Raises:
        OSError: It cannot be installed.
    """
    directory = _ENVIRONMENTS / name
    python, stamp = directory / "bin" / "python", directory / "installed"
    wanted = "\n".join((sys.version, *REQUIREMENTS[name], (_PROJECT / "pyproject.toml").read_text()))
    _ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    # Others may want it at the same time.
    with (_ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(directory, ignore_errors=True)
            # Without a pip of its own, which takes longer to install than all the rest.
            command = [sys.executable, "-m", "venv", "--without-pip", str(directory)]
            subprocess.run(command, check=True, capture_output=True)
            command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
            command += REQUIREMENTS[name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise OSError(f"pip cannot install {name}: {done.stderr.strip().rpartition(chr(10))[2]}")
            stamp.write_text(wanted)
    return python


def lacks_peer(name: str) -> str | None:
    """Return why an environment cannot be made, or None."""
    try:
        environment(name)
    except OSError as error:
        return str(error)
    return None


@contextmanager
def running_program(python: Path | str, program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of ``programs/`` until the end of the block.

    It is isolated (-I): neither this project's folder nor PYTHONPATH is where it looks for modules.
    """
    command = [str(python), "-I", str(PROGRAMS / program), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            # Each ends at the end of its input.
            process.stdin.close()


class Worker:
    """A program that measures when it is told to, so that peers in other interpreters take turns with ours.

    Args:
        process: It reads a line of what to do and answers with a line of seconds, as a JSON array.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def measure(self, *numbers: int) -> list[float]:
        """Let it do what these numbers say, and return the times that it took."""
        print(*numbers, file=self._stdin, flush=True)
        answer = self._stdout.readline()
        if not answer:
            raise RuntimeError("the peer's program has ended")
        seconds: list[float] = json.loads(answer)
        return seconds
