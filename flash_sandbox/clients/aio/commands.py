"""The commands of a sandbox, as objects."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ...models import ExecFrame, ExecResult
from ...options import NOT_GIVEN, NotGiven
from ..delegation import async_handle_of, of_process, of_sandbox
from .api import AsyncSandboxAPI
from .run import AsyncRun
from .streams import AsyncProcessControls

__all__ = ["AsyncCommands", "AsyncProcess"]


class AsyncProcess(AsyncProcessControls):
    """A program in a sandbox that goes on by itself: `AsyncCommands.start` returns it.

    It is an iterable of frames: what is kept of its output, and what it prints from then on until it ends.

    Args:
        client: Performs the calls.
        sandbox_id: ID of the sandbox.
        process_id: ID of the process.
    """

    _client: AsyncSandboxAPI

    follow = of_process(AsyncSandboxAPI.follow_process)

    def __init__(self, client: AsyncSandboxAPI, sandbox_id: str, process_id: str) -> None:
        super().__init__(client, sandbox_id, process_id)

    @property
    def process_id(self) -> str:
        """Return the ID of the process."""
        return self._ids[1]

    async def wait(self, *, check: bool = False, timeout: float | NotGiven | None = NOT_GIVEN) -> ExecResult:
        """Wait until it has ended, and return what is kept of its output and how it ended.

        Args:
            check: True raises CommandFailedError where it does not end by itself with status 0.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            CommandFailedError: It failed, and `check` is True; the error has the result.
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxEndedError: The sandbox ended while the process ran.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        result = await self._client.wait_process(*self._ids, timeout=timeout)
        return result.check() if check else result

    async def __aiter__(self) -> AsyncIterator[ExecFrame]:
        async with await self.follow() as frames:
            async for frame in frames:
                yield frame

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.process_id!r}, sandbox_id={self._ids[0]!r})"


class AsyncCommands(AsyncRun):
    """The commands of one sandbox: `AsyncSandbox.commands`."""

    stream = of_sandbox(AsyncSandboxAPI.exec_stream)
    list = of_sandbox(AsyncSandboxAPI.list_processes)
    start = async_handle_of(AsyncSandboxAPI.start_process, AsyncProcess)

    def process(self, process_id: str) -> AsyncProcess:
        """Return a handle of a process by its ID, such as `list` tells; whether it exists is not asked."""
        return AsyncProcess(self._client, *self._ids, process_id)
