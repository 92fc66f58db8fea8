"""The ``runsc`` program: where it is, what it knows, and how it is run (https://gvisor.dev/docs/)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from ...cancellation import completed
from ...guest.output import Output
from ..base import Missing
from .orphans import spawn

__all__ = [
    "Runsc",
    "RunscCrashedError",
    "RunscError",
    "choose_platform",
    "joining",
    "reported_errors",
    "then_renaming",
]

_PROGRAM: Final = "runsc"
_INSTALL: Final = (
    "install runsc (Debian: apt-get install runsc; else https://gvisor.dev/docs/user_guide/install/)"
)
_PROBE_SECONDS: Final = 10.0
# The first that the program knows is taken. kvm is left to those who ask gVisor for it: it needs /dev/kvm.
_PLATFORMS: Final = ("systrap", "ptrace")
_CRASHES: Final = [128 + number for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)]


class RunscError(Exception):
    """The program failed; the text is what it reported."""


class RunscCrashedError(RunscError):
    """The program crashed: it reported nothing, and the same again may succeed."""


class Runsc:
    """One installed program.

    Args:
        path: The program.
        version: What it says that it is.
        platform: How it is to intercept system calls.
        state: Directory of its own state.
    """

    def __init__(self, path: str, version: str, platform: str, state: Path) -> None:
        self.path = path
        self.version = version
        self.platform = platform
        self.state = state

    @classmethod
    def find(cls, state: Path) -> Runsc:
        """Return the program on PATH; raise `Missing` where there is none that works."""
        path = shutil.which(_PROGRAM)
        if path is None:
            raise Missing("the runsc program is not on PATH", _INSTALL)
        version = _ask(path, "--version").partition("\n")[0]
        platform = choose_platform(_ask(path, "help", "platforms"))
        if platform is None:
            raise Missing(
                f"{path} knows none of the platforms {', '.join(_PLATFORMS)}", "install a newer runsc"
            )
        return cls(path, version, platform, state)

    def line(self, log: str, *arguments: str) -> list[str]:
        """Return the command line for `arguments`, which begin with the name of a runsc command."""
        return [
            self.path,
            f"--root={self.state}",
            f"--platform={self.platform}",
            "--network=none",
            # The whole of it lies in a cgroup of ours, made and read back before runsc runs.
            "--ignore-cgroups",
            # What is written lies in the sandbox's own memory, under its memory limit and in its checkpoints.
            "--overlay2=root:memory",
            f"--log={log}",
            "--log-format=json",
            *arguments,
        ]

    async def run(
        self,
        *arguments: str,
        prefix: Sequence[str] = (),
        held: Sequence[int] = (),
        stream: tuple[int, int] | None = None,
    ) -> str:
        """Run a runsc command to its end, also where the caller is cancelled, and return what it printed.

        Args:
            arguments: Name of the command and its arguments.
            prefix: What is to run it; nothing is printed then.
            held: Descriptors that it and what it starts are to inherit.
            stream: Standard input and output of a container that is started.

        Raises:
            RunscError: If it fails; RunscCrashedError where it crashed.
        """
        return await completed(self._run(arguments, prefix, held, stream))

    async def _run(
        self,
        arguments: Sequence[str],
        prefix: Sequence[str],
        held: Sequence[int],
        stream: tuple[int, int] | None,
    ) -> str:
        with self.log() as log, self.null() as null, closing(Output()) as output:
            stdin, stdout = stream or (null, null if prefix else output.write_end)
            line = [*prefix, *self.line(log, *arguments)]
            end = spawn(line, stdin=stdin, stdout=stdout, stderr=null, held=held)
            output.handed_over()
            status = await end.status
            if status != 0:
                kind = RunscCrashedError if status in _CRASHES else RunscError
                raise kind(f"runsc {arguments[0]}: {reported_errors(log) or _end(status)}")
            await output.ended()
            return output.text

    @contextmanager
    def null(self) -> Iterator[int]:
        """Open a null device of our own.

        runsc gives the files that it has as standard input, output and error to the user of its sandbox,
        nobody: with /dev/null, everybody's device would be nobody's, who could deny it to all.
        """
        path = self.state / "null"
        with suppress(FileExistsError):
            os.mknod(path, stat.S_IFCHR | 0o600, os.stat("/dev/null").st_rdev)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def log(self) -> Iterator[str]:
        """Make a file for what one run reports."""
        descriptor, path = tempfile.mkstemp(dir=self.state, prefix="log-")
        os.close(descriptor)
        try:
            yield path
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def forget(self, container_id: str) -> None:
        """Remove what the program keeps of a container whose processes have ended."""
        for path in self.state.glob(f"{container_id}_sandbox:*"):
            path.unlink(missing_ok=True)


def choose_platform(listed: str) -> str | None:
    """Return the platform to use, given what ``runsc help platforms`` prints; None where it knows none."""
    known = listed.split()
    return next((platform for platform in _PLATFORMS if platform in known), None)


def reported_errors(log: str) -> str:
    """Return the first line of the last error in a log of the program; empty where there is none."""
    found = ""
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError):
                entry = json.loads(line)
                if entry.get("level") in ("error", "fatal"):
                    found = str(entry.get("msg", ""))
    return found.partition("\n")[0].strip()


def _end(status: int | None) -> str:
    if status == 128 + signal.SIGKILL:
        return "it was killed, most probably because the sandbox has too little memory"
    if status is None:
        return "nobody knows how it ended: this process ignores SIGCHLD"
    return f"it ended with {status}"


def _ask(path: str, *arguments: str) -> str:
    try:
        result = subprocess.run(
            [path, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{path} {' '.join(arguments)} failed: {error}", "install runsc anew") from error
    return result.stdout.strip()


def joining(files: Sequence[str]) -> list[str]:
    """Return the start of a command line that joins cgroups before it becomes what follows."""
    script = 'set -e; n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 > "$1"; shift; n=$((n-1)); done; exec "$@"'
    return ["/bin/sh", "-c", script, "sh", str(len(files)), *files]


def then_renaming(source: str, target: str) -> list[str]:
    """Return the start of a command line that renames a directory once what follows has succeeded."""
    return ["/bin/sh", "-c", 'from=$1; to=$2; shift 2; "$@" && mv -T "$from" "$to"', "sh", source, target]
