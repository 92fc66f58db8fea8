"""What every call of a client goes through, and what all asynchronous clients have besides their calls."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from ...operations import Operation
from ...options import MAX_TIMEOUT, NOT_GIVEN, CallOptions, NotGiven, seconds_of
from ..watching import Watch, watch_call

if TYPE_CHECKING:
    from ...transports.aio.transport import AsyncTransport
    from ...transports.base import AsyncStream

__all__ = ["AsyncCalls", "given", "milliseconds_of"]

Req = TypeVar("Req")
Res = TypeVar("Res")

# How much longer than the command a call may take, so that what was printed until then comes back.
_ANSWER_SECONDS: Final = 5.0


class AsyncCalls:
    """Makes calls over the transport that a subclass chooses."""

    _transport: AsyncTransport
    _options: CallOptions
    _unpicklable: Sequence[str] = ()
    """Arguments of the constructor that a pickle cannot hold, or must not."""

    def with_options(
        self, *, timeout: float | NotGiven | None = NOT_GIVEN, max_retries: int | NotGiven = NOT_GIVEN
    ) -> Self:
        """Return a client with other options that shares the connections; closing either closes both.

        Args:
            timeout: Seconds for each whole call; None for no time-out; unchanged where it is left out.
            max_retries: How often a failed call may be repeated; unchanged where it is left out.
        """
        client = object.__new__(type(self))
        vars(client).update(vars(self))
        client._options = self._options.replace(timeout, max_retries)
        return client

    async def close(self) -> None:
        """Release the connections. Later calls raise ClientClosedError; closing twice does nothing."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __copy__(self) -> Self:
        return self.with_options()

    def __deepcopy__(self, memo: object) -> Self:
        # A key, a session and connections are no data.
        return self.with_options()

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        # The key stays here: whoever unpickles the client has one in the environment.
        if self._unpicklable:
            given = ", ".join(f"{name}=" for name in self._unpicklable)
            raise TypeError(f"this {type(self).__name__} cannot be pickled: it was made with {given}")
        kind: Callable[..., Self] = type(self)
        options = {"timeout": self._options.timeout, "max_retries": self._options.max_retries}
        return partial(kind, address=self._transport.address.url, **options), ()

    def __repr__(self) -> str:
        options = f"timeout={self._options.timeout}, max_retries={self._options.max_retries}"
        return f"{type(self).__name__}({str(self._transport.address)!r}, {options})"

    async def _perform(
        self, operation: Operation[Req, Res], request: Req, timeout: float | NotGiven | None
    ) -> Res:
        options = self._chosen(timeout)
        watch = watch_call(self._transport, operation, request)
        if watch is None:
            return await self._transport.perform(operation, request, options)
        with watch:
            options = replace(options, watch=watch)
            return watch.answered(await self._transport.perform(operation, request, options))

    def _stream(
        self,
        operation: Operation[Req, Res],
        request: Req,
        timeout: float | NotGiven | None = NOT_GIVEN,
        going_on: Callable[[Req, Res], Req] | None = None,
    ) -> AsyncStream[Res]:
        options = self._chosen(timeout)
        watch = watch_call(self._transport, operation, request)
        if watch is None:
            return self._transport.stream(operation, request, options, going_on)
        options = replace(options, watch=watch)
        return self._watched_stream(watch, self._transport.stream(operation, request, options, going_on))

    async def _watched_stream(self, watch: Watch, pieces: AsyncStream[Res]) -> AsyncStream[Res]:
        with watch:
            try:
                async for piece in pieces:
                    yield piece
            finally:
                await pieces.aclose()

    async def _send(
        self,
        operation: Operation[Req, Res],
        request: Req,
        chunks: AsyncIterable[bytes],
        timeout: float | NotGiven | None,
    ) -> Res:
        options = self._chosen(timeout)
        watch = watch_call(self._transport, operation, request)
        if watch is None:
            return await self._transport.send(operation, request, chunks, options)
        with watch:
            return await self._transport.send(operation, request, chunks, replace(options, watch=watch))

    def _chosen(self, timeout: float | NotGiven | None) -> CallOptions:
        return self._options if timeout is NOT_GIVEN else self._options.replace(timeout)

    def _command_options(
        self, limit: float | NotGiven | None, timeout: float | NotGiven | None
    ) -> tuple[int, float | None]:
        """Return the milliseconds that a command may take, 0 for any, and the seconds that its call may."""
        seconds = self._chosen(timeout).timeout
        if isinstance(limit, NotGiven):
            if seconds is None or timeout is NOT_GIVEN:
                return 0, seconds
            return milliseconds_of(seconds), min(seconds + _ANSWER_SECONDS, MAX_TIMEOUT)
        if limit is None:
            return 0, seconds
        milliseconds = milliseconds_of(limit)
        if seconds is not None and timeout is NOT_GIVEN:
            seconds = max(seconds, min(limit + _ANSWER_SECONDS, MAX_TIMEOUT))
        return milliseconds, seconds


def milliseconds_of(limit: float | None) -> int:
    """Return the milliseconds that a command may take; 0 for any, which None says.

    Raises:
        InvalidArgumentError: It is no number, or out of range.
    """
    if limit is None:
        return 0
    return max(math.ceil(seconds_of("limit", limit) * 1000), 1)


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None: a request has a default for each other one."""
    return {name: value for name, value in fields.items() if value is not None}
