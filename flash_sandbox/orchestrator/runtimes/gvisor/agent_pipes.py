"""The named pipes between the orchestrator and the agent of a container.

gVisor's kernel has both ends of each pipe open. So the agent's stream does not end when an orchestrator
closes its ends, and the next one goes on where that one stopped.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ...guest.streams import AgentStream

__all__ = ["AgentPipes"]

_TO_AGENT: Final = "to-agent"
_FROM_AGENT: Final = "from-agent"
_BYTES: Final = 1 << 20


class AgentPipes:
    """The pipes of one container.

    Args:
        directory: Directory of the container.
    """

    def __init__(self, directory: Path) -> None:
        self._to_agent = directory / _TO_AGENT
        self._from_agent = directory / _FROM_AGENT
        self._is_quiet = False

    @contextmanager
    def made(self) -> Iterator[tuple[int, int]]:
        """Make new pipes, and open them for gVisor's kernel: the agent's standard input and output."""
        opened: list[int] = []
        try:
            for path in (self._to_agent, self._from_agent):
                path.unlink(missing_ok=True)
                os.mkfifo(path, 0o600)
                opened.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
                # A host may allow its users no more than the default.
                with suppress(PermissionError):
                    fcntl.fcntl(opened[-1], fcntl.F_SETPIPE_SZ, _BYTES)
            self._is_quiet = True
            yield opened[0], opened[1]
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def open(self) -> AgentStream:
        """Open the orchestrator's ends.

        Raises:
            OSError: gVisor's kernel has ended.
        """
        read = os.open(self._from_agent, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            write = os.open(self._to_agent, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except BaseException:
            os.close(read)
            raise
        stream = AgentStream(read, write, may_break=not self._is_quiet)
        self._is_quiet = False
        return stream

    def note_quiet(self) -> None:
        """Note that no frame has been broken off: the agent was asked to hold, and the stream was closed."""
        self._is_quiet = True
