"""What is to be removed, and is removed in the background: nobody waits for it, however much it is."""

from __future__ import annotations

import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from ...errors import InternalServerError
from ..linux.file_work import HERE, FileWork
from ..linux.tree_walk import removing

__all__ = ["Trash"]

# So many trees in turn: a large one holds up no small one.
_TREES_AT_ONCE: Final = 4
_STEPS_IN_TURN: Final = 16
_GRACE_SECONDS: Final = 5.0


class Trash:
    """A directory of trees that are being removed; its owner alone may look into it.

    Args:
        directory: The directory, on the file system of what is thrown away.
        event: Writes a line of the log: a name, and fields by name; None for no log.
    """

    def __init__(self, directory: Path, event: Callable[..., None] | None = None) -> None:
        self._directory = directory
        self._file_work = HERE
        self._event = event
        self._waiting: deque[Path] = deque()
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._closed = False

    def open(self, work: FileWork = HERE) -> None:
        """Make ready, and go on with what an orchestrator before has left there.

        Args:
            work: Where it can be removed.
        """
        self._file_work = work
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._closed = False
        for path in self._directory.iterdir():
            self._remove_later(path)

    def throw_away(self, path: Path) -> None:
        """Take a file or directory away from where it is, and remove it later; nothing where it is not there.

        Where it cannot be moved it is removed where it is.
        """
        target = self._directory / secrets.token_hex(8)
        try:
            path.rename(target)
        except FileNotFoundError:
            return
        except OSError:
            target = path
        self._remove_later(target)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all is removed, or cannot be, or for so many seconds; tell which."""
        with self._changed:
            return self._changed.wait_for(lambda: self._worker is None, seconds)

    def close(self) -> None:
        """Give removing a short grace; what is left is for the next time."""
        self.wait(_GRACE_SECONDS)
        self._closed = True
        self.wait()
        with suppress(OSError):
            self._directory.rmdir()

    def _remove_later(self, path: Path) -> None:
        with self._changed:
            self._waiting.append(path)
            if self._worker is None and not self._closed:
                # A daemon: what is left when this process ends is for the next time.
                worker = threading.Thread(target=self._work, name="flash-sandbox-trash", daemon=True)
                worker.start()
                self._worker = worker

    def _work(self) -> None:
        turns: deque[tuple[Path, Iterator[None]]] = deque()
        try:
            while self._has_work(turns):
                path, steps = turns.popleft()
                if self._goes_on(path, steps):
                    turns.append((path, steps))
        finally:
            # Whatever has ended it, `close` does not wait for it. By now there may be another one.
            with self._changed:
                if self._worker is threading.current_thread():
                    self._worker = None
                    self._changed.notify_all()

    def _has_work(self, turns: deque[tuple[Path, Iterator[None]]]) -> bool:
        with self._changed:
            while self._waiting and len(turns) < _TREES_AT_ONCE:
                path = self._waiting.popleft()
                turns.append((path, self._file_work.iterate(removing, path)))
            if turns and not self._closed:
                return True
            self._worker = None
            self._changed.notify_all()
            return False

    def _goes_on(self, path: Path, steps: Iterator[None]) -> bool:
        """Do some steps; tell whether there are more."""
        try:
            return sum(1 for _ in islice(steps, _STEPS_IN_TURN)) == _STEPS_IN_TURN
        except (OSError, InternalServerError) as error:
            if self._event is not None:
                self._event("leftover not removed", path=os.fspath(path), detail=str(error))
            return False
