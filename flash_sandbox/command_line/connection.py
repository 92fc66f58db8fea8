"""Which orchestrator a command speaks with, and what becomes of it where that fails."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import typer

from ..embedding import Endpoint, endpoint_at, own_endpoint
from ..errors import (
    AuthenticationError,
    NotFoundError,
    ProtocolError,
    SandboxConnectionError,
    SandboxError,
    SandboxTimeoutError,
    UnsupportedError,
)
from .output import print_json, printable

if TYPE_CHECKING:
    from ..clients.aio.client import AsyncHTTPClient, AsyncSandboxClient
    from ..clients.sync.client import HTTPClient, SandboxClient

__all__ = [
    "OWN_FAILURE",
    "PATIENCE_SECONDS",
    "SIGNALLED",
    "Connection",
    "Failure",
    "TransportChoice",
    "complain",
    "connected",
    "done_to_each",
    "reporting",
]

# As docker and podman have it: what no command of its own is likely to end with.
OWN_FAILURE: Final = 125
SIGNALLED: Final = 128

PATIENCE_SECONDS: Final = 600.0
"""What a start, a snapshot or an end may take: an image may have to be pulled, or much to be written."""

_PROBE_SECONDS: Final = 5.0
_STDOUT: Final = 1
# What says that nobody listens, or somebody else.
_NOBODY: Final = (
    SandboxConnectionError,
    SandboxTimeoutError,
    NotFoundError,
    UnsupportedError,
    ProtocolError,
)


class TransportChoice(StrEnum):
    """What carries the calls."""

    HTTP = "http"
    GRPC = "grpc"


class Failure(Exception):
    """What is said on standard error before a command ends with status 125."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What was said of the orchestrator.

    Attributes:
        transport: What carries the calls; None to go by the address.
        address: Its address; empty for the usual place on this machine.
        api_key: Its key; None for none.
    """

    transport: TransportChoice | None
    address: str
    api_key: str | None = field(repr=False)

    def client(self) -> HTTPClient | SandboxClient:
        """Make a client of it.

        Raises:
            Failure: The address and the transport contradict each other.
        """
        from ..clients.sync.client import HTTPClient, SandboxClient

        endpoint = self._endpoint()
        kind = SandboxClient if endpoint.transport == "grpc" else HTTPClient
        return kind(address=endpoint.address or None, api_key=endpoint.api_key)

    def async_client(self) -> AsyncHTTPClient | AsyncSandboxClient:
        """Make a client for asyncio of it; raises what `client` does."""
        from ..clients.aio.client import AsyncHTTPClient, AsyncSandboxClient

        endpoint = self._endpoint()
        kind = AsyncSandboxClient if endpoint.transport == "grpc" else AsyncHTTPClient
        return kind(address=endpoint.address or None, api_key=endpoint.api_key)

    def or_own(self, *, told: Callable[[str], None]) -> Connection:
        """Return this; where none was named and none answers, that of one of this process's own.

        Args:
            told: Is called with why, where one answers that is passed over.
        """
        if self.address:
            return self
        try:
            with self.client() as client:
                client.with_options(max_retries=0).list_sandboxes(page_size=1, timeout=_PROBE_SECONDS)
        except (*_NOBODY, AuthenticationError) as error:
            if isinstance(error, AuthenticationError) and self.api_key is not None:
                raise
            # Whoever asks for a key that was not given may be another user's.
            if isinstance(error, AuthenticationError):
                told(
                    "the orchestrator on this machine asks for a key (--api-key), and none was given: "
                    "one is started for this command"
                )
            own = own_endpoint()
            return Connection(TransportChoice(own.transport), own.address, own.api_key)
        return self

    def _endpoint(self) -> Endpoint:
        # httpx brings a command of its own along where it can, which would take a sixth of the time that a
        # command of this one does.
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # what says that it is not there
        endpoint = endpoint_at(self.address)
        if self.transport is None or self.transport == endpoint.transport:
            return Endpoint(endpoint.transport, endpoint.address, self.api_key)
        if endpoint.transport == "grpc":
            raise Failure(f"--transport {self.transport} contradicts the address {self.address}")
        return Endpoint(self.transport.value, self.address, self.api_key)


@contextmanager
def connected(verb: str, connection: Connection) -> Iterator[HTTPClient | SandboxClient]:
    """Give a client of the orchestrator, closed at the end, to a command whose failures are reported."""
    with reporting(verb), connection.client() as client:
        yield client


@contextmanager
def reporting(verb: str) -> Iterator[None]:
    """Have a failure be one line on standard error, and the status 125; Ctrl-C end the command in silence.

    Args:
        verb: Name of the command.
    """
    try:
        yield
        sys.stdout.flush()
    except (SandboxError, Failure) as error:
        complain(verb, error)
        raise typer.Exit(OWN_FAILURE) from None
    except BrokenPipeError:
        # Whoever read this has left. Nothing is to be flushed at the end, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        raise typer.Exit(SIGNALLED + signal.SIGPIPE) from None
    except OSError as error:
        complain(verb, error)
        raise typer.Exit(OWN_FAILURE) from None
    except KeyboardInterrupt:
        raise typer.Exit(SIGNALLED + signal.SIGINT) from None


def complain(verb: str, what: object) -> None:
    """Say what went wrong on standard error, in one line."""
    hint = "; flash-sandbox serve starts an orchestrator" if _was_refused(what) else ""
    typer.echo(f"flash-sandbox {verb}: {printable(str(what))}{hint}", err=True)


def _was_refused(what: object) -> bool:
    """Tell whether nothing listens at the address."""
    while isinstance(what, BaseException) and not isinstance(what, ConnectionRefusedError):
        what = what.__cause__
    return isinstance(what, ConnectionRefusedError)


def done_to_each(
    verb: str, references: Iterable[str], change: Callable[[str], str], *, as_json: bool
) -> None:
    """Do something to each, tell of each that it was done to, and complain of each that it was not."""
    done: list[str] = []
    failed = False
    for reference in references:
        try:
            done.append(change(reference))
        except (SandboxError, Failure) as error:
            complain(verb, error)
            failed = True
        else:
            if not as_json:
                typer.echo(done[-1])
    if as_json:
        print_json(done)
    if failed:
        raise typer.Exit(OWN_FAILURE)
