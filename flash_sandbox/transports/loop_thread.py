"""The one event loop that runs gRPC for synchronous clients, in a thread of its own.

All clients of a process share it. A forked child starts with none and makes its own; the parent's is not
touched there, since its thread does not exist in the child.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Final, Protocol, TypeVar

from ..errors import ClientClosedError, UnsupportedError

__all__ = ["LoopThread", "loop_thread"]

T = TypeVar("T")

# On Windows, Ctrl-C does not interrupt a thread that waits for a lock: so it waits a little at a time.
_LONGEST_WAIT_SECONDS: Final = 0.05 if sys.platform == "win32" else None


class Connected(Protocol):
    """What has connections in the loop."""

    async def disconnect(self) -> None:
        """End them."""
        ...


class _Handed:
    """What one thread hands to a coroutine in another, piece by piece."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._closed = asyncio.Event()

    async def put(self, chunk: bytes | None) -> bool:
        """Hand a piece over, None for the end, once the one before is taken; tell whether more are taken."""
        putting = asyncio.ensure_future(self._queue.put(chunk))
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({putting, closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()
            closed.cancel()
        return not self._closed.is_set()

    def close(self) -> None:
        """Take no more."""
        self._closed.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk


class LoopThread:
    """An event loop that runs in a daemon thread until it is stopped."""

    def __init__(self) -> None:
        self.loop = _new_event_loop()
        self._connected: weakref.WeakSet[Connected] = weakref.WeakSet()
        self._thread = threading.Thread(target=self._run, name="flash-sandbox-grpc", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in a task of its own and wait for its result; Ctrl-C here cancels it there.

        Raises:
            UnsupportedError: This is the loop's own thread, which would wait for itself.
            ClientClosedError: The interpreter is exiting.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise UnsupportedError("a synchronous client cannot be used in the thread of its own event loop")
        return self._result(self._begin(coroutine))

    def run_with(
        self, chunks: Iterable[bytes], work: Callable[[AsyncIterable[bytes]], Coroutine[Any, Any, T]]
    ) -> T:
        """Run `work` on what `chunks` yields here, in the caller's thread, as fast as it is taken there.

        Raises what `run` does.
        """
        handed = _Handed()

        async def attended() -> T:
            try:
                return await work(handed)
            finally:
                handed.close()

        future = self._begin(attended())
        try:
            for chunk in chunks:
                if not self.run(handed.put(chunk)):
                    break
            self.run(handed.put(None))
        except BaseException:
            future.cancel()
            raise
        return self._result(future)

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError as error:
            coroutine.close()
            raise ClientClosedError("the interpreter is exiting") from error

    def _result(self, future: concurrent.futures.Future[T]) -> T:
        try:
            if _LONGEST_WAIT_SECONDS is not None:
                while not concurrent.futures.wait([future], _LONGEST_WAIT_SECONDS).done:
                    pass
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise ClientClosedError("the interpreter is exiting") from error
        except BaseException:
            future.cancel()
            raise

    def disconnect_at_stop(self, client: Connected) -> None:
        """End the connections of `client`, where it still exists then, before the loop is closed."""
        self._connected.add(client)

    def stop(self) -> None:
        """Cancel what runs, end connections and the thread, and close the loop."""
        if not self.loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._wind_up(), self.loop).result()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _wind_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # uvloop may hang when it is closed before its connections are.
        await asyncio.gather(*(client.disconnect() for client in self._connected))


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class _Shared:
    """The loop thread of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.current: LoopThread | None = None
        self.stopped = False
        self.inherited: list[LoopThread] = []

    def forget(self) -> None:
        """Start anew in a forked child, where the thread is gone and the lock may be held for ever."""
        if self.current is not None:
            self.inherited.append(self.current)
        self.lock = threading.Lock()
        self.current = None

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            if self.current is not None:
                self.current.stop()


_shared = _Shared()
atexit.register(_shared.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.forget)


def loop_thread() -> LoopThread:
    """Return the loop thread of this process, started where there is none yet.

    Raises:
        ClientClosedError: The interpreter is exiting.
    """
    current = _shared.current
    if current is not None and not _shared.stopped:
        return current
    with _shared.lock:
        if _shared.stopped:
            raise ClientClosedError("the interpreter is exiting")
        if _shared.current is None:
            _shared.current = LoopThread()
        return _shared.current
