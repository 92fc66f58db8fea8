"""Where functions that work on the files of sandboxes are called.

To the user whom a range of IDs was given, files of that range belong to others: they can be read, packed
and removed only in a user namespace that maps the range. A process in that namespace therefore calls such
functions, and forks a child for each call.

Functions are passed by name, arguments and results by value (pickle), and open files as descriptors.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any, Final, NoReturn, ParamSpec, Protocol, TypeVar

from ...errors import InternalServerError
from .subordinate_ids import IdMap, NoRange

__all__ = ["HERE", "FileWork", "NamespaceWork", "serve"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_WORKER: Final = Path(__file__).with_name("file_worker.py")
_PACKAGES: Final = str(Path(__file__).parents[3])
# Loaded once, and not by each call: what the functions are in that are called.
_MODULES: Final = (
    "flash_sandbox.orchestrator.archives.layer_copy",
    "flash_sandbox.orchestrator.archives.layers",
    "flash_sandbox.orchestrator.images.unpacking",
)
# Of 253 that one message may carry (unix(7)).
_MOST_DESCRIPTORS: Final = 200
_COUNT: Final = struct.Struct("=I")
_PR_SET_PDEATHSIG: Final = 1


class FileWork(Protocol):
    """Calls functions that work on files of sandboxes. Blocking and thread-safe."""

    def run(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function returns, or raise what it raises."""

    def iterate(
        self, function: Callable[_P, Iterator[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Iterator[_T]:
        """Yield what a function yields; it is given up when the iterator is."""


class _Here:
    """Calls functions in this process."""

    def run(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return function(*args, **kwargs)

    def iterate(
        self, function: Callable[_P, Iterator[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Iterator[_T]:
        return function(*args, **kwargs)


HERE: Final[FileWork] = _Here()
"""Work in this process, which owns the files."""


class NamespaceWork:
    """Calls functions in a user namespace that has a range of IDs.

    Args:
        id_map: What the namespace maps.

    Raises:
        NoRange: It cannot be made.
    """

    def __init__(self, id_map: IdMap) -> None:
        self._id_map = id_map
        self._lock = threading.Lock()
        self._closed = False
        self.namespace = -1
        """Descriptor of the user namespace."""
        self._start()

    def close(self) -> None:
        """Give up what is being done, and the namespace. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._end()
                os.close(self.namespace)

    def run(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a function returns, or raise what it raises."""
        with self._asked(False, function, args, kwargs) as answers:
            result: _T = _received(answers)[1]
            return result

    def iterate(
        self, function: Callable[_P, Iterator[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Iterator[_T]:
        """Yield what a function yields; it is given up when the iterator is."""
        with self._asked(True, function, args, kwargs) as answers:
            while (answer := _received(answers))[0] == "item":
                yield answer[1]

    def _asked(self, *call: object) -> Connection:
        """Have a function called, and return where its answers come from."""
        written = io.BytesIO()
        pickler = _Pickler(written)
        pickler.dump(call)
        ours, theirs = Pipe()
        try:
            with theirs, self._lock:
                self._hand_over([theirs.fileno(), *pickler.descriptors])
            ours.send_bytes(written.getbuffer())
        except BaseException:
            ours.close()
            raise
        return ours

    def _hand_over(self, descriptors: Sequence[int]) -> None:
        if self._closed:
            raise InternalServerError("the sandbox's files cannot be worked on: this runtime was closed")
        if self._process.poll() is not None:
            self._end()
            try:
                self._start()
            except NoRange as error:
                raise InternalServerError(f"the sandbox's files cannot be worked on: {error}") from error
        count = _COUNT.pack(len(descriptors))
        for first in range(0, len(descriptors), _MOST_DESCRIPTORS):
            socket.send_fds(self._socket, [count], descriptors[first : first + _MOST_DESCRIPTORS])

    def _start(self) -> None:
        settings = {
            "namespace": self.namespace,
            "path": [_PACKAGES, *(path for path in sys.path if os.path.isabs(path))],
            "modules": _MODULES,
        }
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WORKER), json.dumps(settings)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                pass_fds=() if self.namespace < 0 else (self.namespace,),
                start_new_session=True,
                env={},
                cwd="/",
            )
        try:
            said = self._socket.recv(4096)
            if said != b"\0":
                raise NoRange(f"cannot make a user namespace: {said.decode() or 'its process died'}")
            if self.namespace < 0:
                self._id_map.write(self._process.pid)
                path = f"/proc/{self._process.pid}/ns/user"
                self.namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._socket.send(b"\0")
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()


class _Pickler(pickle.Pickler):
    """Takes open files out of what it writes: `descriptors` has them."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.descriptors: list[int] = []

    def reducer_override(self, value: object) -> Any:
        """Tell how to make an open file of its descriptor."""
        if not isinstance(value, io.IOBase):
            return NotImplemented
        self.descriptors.append(value.fileno())
        # Where it is: what it has read ahead is beyond that.
        return _reopened, (len(self.descriptors) - 1, value.tell())


_given: list[int] = []


def _reopened(index: int, position: int) -> IO[bytes]:
    file = os.fdopen(_given[index], "rb")
    file.seek(position)
    return file


def _received(answers: Connection) -> tuple[str, Any]:
    try:
        kind, value, *text = answers.recv()
    except (EOFError, ConnectionResetError):
        raise InternalServerError("what worked on the sandbox's files was ended") from None
    if kind == "raised":
        value.add_note(text[0])
        raise value
    return kind, value


# In the worker


def serve(connection: socket.socket, modules: Sequence[str]) -> None:
    """Call what is asked for, each in a child, until the other end closes.

    Args:
        connection: Brings the descriptors of each call: its own connection, then files among its arguments.
        modules: What to import first.
    """
    for module in modules:
        import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    worker = os.getpid()
    while descriptors := _taken(connection):
        if os.fork() == 0:
            connection.close()
            _answer(descriptors, worker)
        for descriptor in descriptors:
            os.close(descriptor)


def _taken(connection: socket.socket) -> list[int]:
    descriptors: list[int] = []
    while True:
        head, more, _, _ = socket.recv_fds(connection, _COUNT.size, _MOST_DESCRIPTORS)
        descriptors += more
        if not head or len(descriptors) == _COUNT.unpack(head)[0]:
            return descriptors


def _answer(descriptors: Sequence[int], worker: int) -> NoReturn:
    """Call one function, answer, and end."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != worker:
            raise BrokenPipeError
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _given[:] = descriptors[1:]
        with Connection(descriptors[0]) as answers:
            _call(answers)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # Nobody waits for it any more.
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _call(answers: Connection) -> None:
    iterates, function, args, kwargs = pickle.loads(answers.recv_bytes())
    try:
        result = function(*args, **kwargs)
        if iterates:
            for item in result:
                answers.send(("item", item))
            result = None
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        answers.send(("raised", error, traceback.format_exc()))
    else:
        answers.send(("result", result))
