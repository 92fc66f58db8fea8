"""The streams of a ``runsc exec``: a pipe for each, or a terminal of this host."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import Final, Literal

from ..runtimes.base import Program, Resize
from ..sandboxing.pipes import END_OF_INPUT, Outputs, resize
from .orphans import ProcessEnd, spawn
from .program import Runsc

__all__ = ["Streams"]

# In a session of its own: what it opens first becomes its terminal (tty_ioctl(4)). gVisor uses the first
# descriptor for all three streams.
_ON_TERMINAL: Final = ("/bin/sh", "-c", 'exec "$@" <> "$0" >&0 2>&0')


class Streams:
    """What a program reads from and prints to. A context manager, which closes them.

    Args:
        runsc: What runs it.
        program: What runs.
        has_input: Whether it has input.

    Attributes:
        input: Where its input is written, or -1.
        outputs: What it prints.
    """

    def __init__(self, runsc: Runsc, program: Program, *, has_input: bool) -> None:
        self.input = -1
        self.outputs = Outputs({})
        self._runsc = runsc
        self._terminal = program.terminal
        self._has_input = has_input
        self._stack = ExitStack()

    def __enter__(self) -> Streams:
        self._stack.callback(self._close_input)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def spawn(self, line: list[str]) -> ProcessEnd:
        """Run a command line of runsc on new streams."""
        if self._terminal is None:
            return self._spawn_on_pipes(line)
        return self._spawn_on_terminal(line, self._terminal)

    def _spawn_on_pipes(self, line: list[str]) -> ProcessEnd:
        with ExitStack() as theirs:
            if self._has_input:
                stdin, self.input = os.pipe2(os.O_CLOEXEC)
                theirs.callback(os.close, stdin)
                os.set_blocking(self.input, False)
            else:
                stdin = theirs.enter_context(self._runsc.null())
            ours: dict[Literal["stdout", "stderr"], int] = {}
            ours["stdout"], stdout = os.pipe2(os.O_CLOEXEC)
            ours["stderr"], stderr = os.pipe2(os.O_CLOEXEC)
            theirs.callback(os.close, stdout)
            theirs.callback(os.close, stderr)
            self._read(ours)
            return spawn(line, stdin=stdin, stdout=stdout, stderr=stderr)

    def _spawn_on_terminal(self, line: list[str], size: Resize) -> ProcessEnd:
        """Run it with a terminal, from which it takes signals and passes them on to what is in front."""
        ours, theirs = os.openpty()
        try:
            resize(ours, size.rows, size.columns)
            # One of its own: the other is closed when the program has ended.
            self.input = os.dup(ours)
            self._read({"stdout": ours})
            with self._runsc.null() as null:
                return spawn(
                    [*_ON_TERMINAL, os.ttyname(theirs), *line],
                    # Open from the beginning: a terminal that nobody has open has ended.
                    stdin=theirs,
                    stdout=null,
                    stderr=null,
                    new_session=True,
                )
        finally:
            os.close(theirs)

    def _read(self, descriptors: dict[Literal["stdout", "stderr"], int]) -> None:
        self.outputs = Outputs(descriptors)
        self._stack.callback(self.outputs.close)

    def end_input(self) -> None:
        """Let the program read the end of its input."""
        if self._terminal is None:
            self._close_input()
        else:
            with suppress(OSError):
                os.write(self.input, END_OF_INPUT)

    def _close_input(self) -> None:
        if self.input >= 0:
            os.close(self.input)
            self.input = -1
