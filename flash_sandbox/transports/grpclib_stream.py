"""One gRPC call on grpclib: its steps are bounded, and it keeps an answer that came whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import grpclib.client
from grpclib.exceptions import StreamTerminatedError
from grpclib.metadata import Deadline
from grpclib.protocol import Stream as H2Stream
from h2.exceptions import NoSuchStreamError

from ..codecs import MAX_ANSWER_BYTES
from ..errors import ProtocolError
from .grpc_base import wire_seconds
from .retry import Limit
from .waiting import within

__all__ = ["BEGINNING", "Half", "Stream", "WireDeadline", "is_whole"]

T = TypeVar("T")


class WireDeadline(Deadline):
    """A deadline that the server is never told too short."""

    def time_remaining(self) -> float:
        """Return the seconds that are left, rounded up where only whole ones are sent."""
        return wire_seconds(super().time_remaining())


class Half(H2Stream):
    """The HTTP/2 stream of one call, whose answer may not be larger than `MAX_ANSWER_BYTES`."""

    async def recv_data(self, size: int) -> bytes:
        """Return the next `size` bytes of the answer, or nothing at its end."""
        if size > MAX_ANSWER_BYTES:
            raise ProtocolError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        try:
            return await super().recv_data(size)
        except AssertionError as error:
            raise ProtocolError("the answer is cut short") from error


class Stream(grpclib.client.Stream[Any, Any]):
    """One call.

    Attributes:
        half: The HTTP/2 stream, once there is one.
        limit: How long each of its steps may take; None for as long as it takes.
    """

    limit: Limit | None = None
    half: Half | None = None
    concluded = False

    @property
    def sent(self) -> bool:
        """Tell whether any of the request may have reached the server."""
        return self.half is not None and self.half.id is not None

    @property
    def told(self) -> Mapping[str, Any] | None:
        """Return what came with the answer besides its messages."""
        metadata: Mapping[str, Any] | None = self.trailing_metadata or self.initial_metadata
        return metadata

    @property
    def answered(self) -> bool:
        """Tell whether the answer has begun, as it may do with an error before all is sent."""
        return self.half is not None and self.half.headers_received.is_set()

    async def send_request(self, *, end: bool = False) -> None:
        """Send the headers."""
        token = BEGINNING.set(self)
        try:
            await super().send_request(end=end)
        finally:
            BEGINNING.reset(token)

    async def send_message(self, message: Any, *, end: bool = False) -> None:
        """Send a message, the last one where `end` is true."""
        await self._step(partial(super().send_message, message, end=end))

    async def end(self) -> None:
        """Say that there is no other message, unless the server has answered already."""
        if not self.answered:
            await self._step(super().end)

    async def recv_message(self) -> Any:
        """Return the next message of the answer, or None where there is none."""
        try:
            return await self._step(super().recv_message)
        except NotImplementedError as error:
            raise ProtocolError("the answer is compressed, which was not asked for") from error

    async def _step(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await (work() if self.limit is None else within(self.limit, work))
        except NoSuchStreamError as error:
            # The server has ended the call before all was sent. grpclib tells its answer then.
            raise StreamTerminatedError(str(error)) from error

    async def recv_trailing_metadata(self) -> None:
        """Take the status and the metadata at the end of the answer."""
        self.concluded = True
        await super().recv_trailing_metadata()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        # grpclib forgets an answer that has come whole where the connection has ended since.
        if exc_val is None and self.half is not None and is_whole(self.half) and not self.concluded:
            try:
                await self._take_the_end()
            except BaseException as error:
                await super().__aexit__(type(error), error, error.__traceback__)
                raise
        await super().__aexit__(exc_type, exc_val, exc_tb)

    async def _take_the_end(self) -> None:
        if self.initial_metadata is None:
            await self.recv_initial_metadata()
        await self.recv_trailing_metadata()


BEGINNING: ContextVar[Stream] = ContextVar("beginning")
"""The call whose HTTP/2 stream is made."""


def is_whole(stream: H2Stream) -> bool:
    """Tell whether an answer has come to its end, with its status."""
    return stream.trailers is not None or "grpc-status" in dict(stream.headers or ())
