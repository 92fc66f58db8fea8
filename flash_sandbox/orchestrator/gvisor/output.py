"""What the main process of a container prints, kept bounded, also while no orchestrator is there.

It prints into a named pipe, which gVisor's kernel holds open for reading, too: so nothing breaks where nobody
reads. What the pipe has room for (64 KiB) waits for the next orchestrator, and so does who prints more. What
is read is appended to a file that is named by where it begins; there are two of them at most::

    output              the pipe
    printed.0           what was printed first
    printed.65536       what was printed then
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ...models import GetLogsResult
from ..runtimes.base import LOG_BYTES
from ..sandboxing.output import BoundedBytes

__all__ = ["MainOutput"]

_PIPE: Final = "output"
_PRINTED: Final = "printed."
_CHUNK: Final = 65536
# What comes faster than it can be told is told as far as this.
_CHUNKS_AT_ONCE: Final = 16
# Between two pieces: what prints line by line would otherwise keep the orchestrator busy for each of them.
_PAUSE_SECONDS: Final = 0.01


class MainOutput:
    """What one container prints. `follow` is bound to the running event loop.

    Args:
        directory: Directory of the container.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_end = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pause: asyncio.TimerHandle | None = None

    @contextmanager
    def write_end(self) -> Iterator[int]:
        """Open what the container is to print into, made where it is missing."""
        path = self._directory / _PIPE
        if not path.exists():
            os.mkfifo(path, 0o600)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def follow(self) -> None:
        """Read what is printed from now on, until nobody is left who could print."""
        path = self._directory / _PIPE
        # A container that was started by an older release has none.
        if self._read_end < 0 and path.exists():
            self._read_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._loop = asyncio.get_running_loop()
            self._listen()

    def close(self) -> None:
        """Read no more."""
        if self._read_end >= 0:
            assert self._loop is not None
            if self._pause is not None:
                self._pause.cancel()
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1

    def printed(self) -> GetLogsResult:
        """Return the last of what was printed."""
        for _ in range(_CHUNKS_AT_ONCE):
            if not self._take():
                break
        kept = BoundedBytes(LOG_BYTES, keep_last=True)
        files = self._files()
        for _, path in files:
            kept.add(path.read_bytes())
        begins = files[0][0] if files else 0
        return GetLogsResult(kept.kept, begins + kept.dropped)

    def _listen(self) -> None:
        assert self._loop is not None
        self._loop.add_reader(self._read_end, self._on_readable)

    def _on_readable(self) -> None:
        assert self._loop is not None
        if self._take():
            self._loop.remove_reader(self._read_end)
            self._pause = self._loop.call_later(_PAUSE_SECONDS, self._listen)

    def _take(self) -> bool:
        """Read a piece of what was printed; tell whether there was one."""
        if self._read_end < 0:
            return False
        try:
            data = os.read(self._read_end, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._add(data)
        else:
            self.close()
        return bool(data)

    def _add(self, data: bytes) -> None:
        files = self._files()
        begins, path = files[-1] if files else (0, self._directory / f"{_PRINTED}0")
        size = path.stat().st_size if files else 0
        if size >= LOG_BYTES:
            for _, older in files[:-1]:
                older.unlink()
            path = self._directory / f"{_PRINTED}{begins + size}"
        with path.open("ab") as file:
            file.write(data)

    def _files(self) -> list[tuple[int, Path]]:
        """Return where each file begins, the first one first."""
        found = self._directory.glob(f"{_PRINTED}*")
        return sorted((int(path.name.removeprefix(_PRINTED)), path) for path in found)
