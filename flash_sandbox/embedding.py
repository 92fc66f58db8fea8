"""The orchestrator that is used where none is named: the environment's, or one of this process's own.

The latter is started on first use, as a process that serves nobody else, shared by all threads. It ends with
this process, however that ends, and leaves neither sandboxes nor files behind. A forked child starts its own.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Final, Literal

from .address import is_grpc_only
from .errors import ClientClosedError, RuntimeUnavailableError

__all__ = ["ADDRESS_VARIABLE", "Endpoint", "default_endpoint", "endpoint_at", "own_endpoint"]

ADDRESS_VARIABLE: Final = "FLASH_SANDBOX_ADDR"
"""Environment variable whose value is the address of the orchestrator, where none is named."""

EXTRA: Final = "pip install 'flash-sandbox[orchestrator]'"

# Sandboxes end within milliseconds; an engine may take its time.
_END_SECONDS: Final = 30.0
# Isolated, so that neither the directory that it is started in nor the environment chooses its modules: it
# has those that this process has.
_PROGRAM: Final = """
import json, sys
told = json.loads(sys.stdin.buffer.readline())
sys.path[:] = told["path"]
try:
    from flash_sandbox.orchestrator.embedded_process import main
except ModuleNotFoundError as error:
    print(json.dumps({"missing": error.name}), flush=True)
else:
    main(told["api_key"])
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An orchestrator, and how to speak with it.

    Attributes:
        transport: ``http`` or ``grpc``.
        address: Its address, as clients take it.
        api_key: Its key; None for the environment's.
    """

    transport: Literal["http", "grpc"]
    address: str
    api_key: str | None = field(default=None, repr=False)


def endpoint_at(address: str) -> Endpoint:
    """Return the orchestrator at an address, over gRPC where the scheme is one of gRPC, else over HTTP."""
    # What is no text is refused by the client.
    grpc = isinstance(address, str) and is_grpc_only(address)
    return Endpoint("grpc" if grpc else "http", address)


def default_endpoint() -> Endpoint:
    """Return the orchestrator of the environment, else that of this process, started where need be.

    Raises:
        RuntimeUnavailableError: There is none in the environment, and this machine cannot run one.
        ClientClosedError: The interpreter is exiting.
    """
    address = os.environ.get(ADDRESS_VARIABLE, "")
    return endpoint_at(address) if address else own_endpoint()


def own_endpoint() -> Endpoint:
    """Return the orchestrator of this process, started where there is none yet.

    Raises:
        RuntimeUnavailableError: This machine cannot run one.
        ClientClosedError: The interpreter is exiting.
    """
    return _shared.endpoint()


class _Companion:
    """A process with an orchestrator."""

    def __init__(self) -> None:
        if sys.platform != "linux" or not sys.executable:
            raise RuntimeUnavailableError(
                f"${ADDRESS_VARIABLE} names no orchestrator, and one runs only on Linux"
            )
        key = secrets.token_urlsafe(32)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C here is not meant for it.
            start_new_session=True,
        )
        try:
            answer = self._begin({"path": [str(path) for path in sys.path], "api_key": key})
        except BaseException:
            self.end()
            raise
        self.endpoint = Endpoint("http", answer["address"], key)
        if answer["trouble"]:
            logging.getLogger("flash_sandbox").warning(
                "limits of sandboxes are best-effort: %s", answer["trouble"]
            )

    def _begin(self, told: dict[str, Any]) -> dict[str, Any]:
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps(told).encode() + b"\n")
            self._stdin.flush()
        line = self._stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended at once"}
        if "missing" in answer:
            raise RuntimeUnavailableError(
                f"${ADDRESS_VARIABLE} names no orchestrator, and to run one here {answer['missing']} "
                f"is missing: {EXTRA}"
            )
        if "error" in answer:
            raise RuntimeUnavailableError(f"the embedded orchestrator did not start: {answer['error']}")
        return answer

    @property
    def _stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def disown(self) -> None:
        """Let go of it in a forked child: it is the parent's, and ends when the parent lets go, too."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()

    def end(self) -> None:
        """Have it end, and wait until it has."""
        self.disown()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Shared:
    """The orchestrator of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: _Companion | None = None
        self._stopped = False

    def endpoint(self) -> Endpoint:
        with self._lock:
            if self._stopped:
                raise ClientClosedError("the interpreter is exiting")
            if self._current is not None and self._current.process.poll() is not None:
                # It was killed, and its sandboxes with it.
                self._current.end()
                self._current = None
            if self._current is None:
                self._current = _Companion()
            return self._current.endpoint

    def forget(self) -> None:
        """Start anew in a forked child, where the lock may be held for ever."""
        self._lock = threading.Lock()
        current, self._current = self._current, None
        if current is not None:
            current.disown()
            # Not its parent, this process is told that it has no such child, which is no failure.
            current.process.returncode = 0

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._current is not None:
                self._current.end()
                self._current = None


_shared = _Shared()
atexit.register(_shared.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.forget)
