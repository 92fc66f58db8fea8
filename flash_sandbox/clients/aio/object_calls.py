# Derived from the calls of the clients by `python -m codegen`; do not edit.
"""The calls of a sandbox as an object."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Any, Literal

from ... import models
from ...models import (
    ExecResult,
    FileInfo,
    GetLogsResult,
    MetricsPoint,
    MetricsResult,
    ProcessInfo,
    RunPythonResult,
    SandboxInfo,
    SandboxStatus,
    SnapshotResult,
)
from ...options import NOT_GIVEN, NotGiven, Progress
from .api import AsyncSandboxAPI
from .streams import AsyncArchive, AsyncExecStream, AsyncFrames

__all__ = ["AsyncObjectCalls"]


class AsyncObjectCalls:
    """What a client does with the ID of a sandbox, without the ID."""

    _client: AsyncSandboxAPI
    _id: str

    async def stop_sandbox(
        self, *, cleanup: bool = True, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """Stop a sandbox, end all of its processes and remove what it held; its ID is unknown afterwards.

        Args:
            cleanup: False ends its processes but keeps what it holds, to be looked at: it is ``stopped``
                then, until it is stopped again.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.stop_sandbox(self._id, cleanup=cleanup, timeout=timeout)

    async def get_status(
        self, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> SandboxStatus | Literal[""]:
        """Return the state of a sandbox: ``creating``, ``running``, ``paused``, ``stopped`` or ``error``.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.get_status(self._id, timeout=timeout)

    async def get_metrics(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> MetricsResult:
        """Return what a sandbox uses at this moment.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.get_metrics(self._id, timeout=timeout)

    async def get_metrics_history(
        self,
        *,
        since: float = 0.0,
        max_points: int = 0,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> list[MetricsPoint]:
        """Return what a sandbox has used in the last hour, as the orchestrator sampled it, the oldest first.

        A sandbox that was asked about in the last minute is sampled every 5 seconds. All others together are
        sampled 5 times a second at most, each every 5 seconds at most, so that many idle ones take less than
        0.3 % of a core: 100 have a sample every 20 seconds each, 1,000 every 200. At most 720 samples of 72
        bytes are kept of each, none longer than an hour, and none where the orchestrator was started anew.

        Args:
            since: Only samples after this moment, in seconds of Unix time, such as `at` of the last point
                that was seen; 0 for all that are kept.
            max_points: Most points to return, 1 to 720; where there are more samples, some are left out
                evenly, but never the last one. 0 for all.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.get_metrics_history(
            self._id, since=since, max_points=max_points, timeout=timeout
        )

    async def snapshot_sandbox(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> SnapshotResult:
        """Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is in a state in which this cannot be done.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.snapshot_sandbox(self._id, timeout=timeout)

    async def pause_sandbox(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Freeze every process of a running sandbox; `resume_sandbox` lets them run on.

        Its memory stays as it is, and so does the time at which it expires.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.pause_sandbox(self._id, timeout=timeout)

    async def resume_sandbox(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Let a paused sandbox run on.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not paused.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.resume_sandbox(self._id, timeout=timeout)

    async def get_info(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> SandboxInfo:
        """Return what is known of a sandbox: its image, limits, labels, and when it expires.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.get_info(self._id, timeout=timeout)

    async def get_logs(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> GetLogsResult:
        """Return the last of what the main process of a sandbox has printed.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.get_logs(self._id, timeout=timeout)

    async def keep_alive(self, ttl_seconds: float, *, timeout: float | NotGiven | None = NOT_GIVEN) -> float:
        """Have a sandbox expire so many seconds from now, and return when, in seconds of Unix time.

        Args:
            ttl_seconds: Seconds, above 0 and at most ten years.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.keep_alive(self._id, ttl_seconds, timeout=timeout)

    async def exec_command(
        self,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str = "",
        user: str = "",
        stdin: bytes | str = b"",
        max_output_bytes: int = models.DEFAULT_MAX_OUTPUT_BYTES,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> ExecResult:
        """Run a command in a running sandbox and return what it printed and how it ended.

        Args:
            command: Command and its arguments, at least one element; a text is run by ``/bin/sh``.
            env: Variables that it has besides the sandbox's own: names and values, or texts ``NAME=value``.
            cwd: Directory in the sandbox to run in, absolute; empty is the sandbox's own.
            user: User to run as: a name, ``UID`` or ``UID:GID``; empty is the main process's. Some runtimes
                know no other than root.
            stdin: Its input, at most 8 MiB; a text is sent as UTF-8.
            max_output_bytes: Bytes of each output stream that are kept, at most 32 MiB; the result tells how
                many were dropped.
            timeout: Seconds that it may take; then it is ended with all that it started, and the result has
                what it printed until then. None for any time. Where it is left out, the command has no limit
                of its own, and the client's time-out is that of the call.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            SandboxEndedError: The sandbox ended while the command ran.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxTimeoutError: No answer came within the client's time-out, or within a few seconds after
                the command's own time. The command is ended with all that it started.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.exec_command(
            self._id,
            command,
            env=env,
            cwd=cwd,
            user=user,
            stdin=stdin,
            max_output_bytes=max_output_bytes,
            timeout=timeout,
        )

    async def exec_stream(
        self,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str = "",
        user: str = "",
        stdin: bytes | str = b"",
        keep_stdin: bool = False,
        tty: bool = False,
        rows: int = 24,
        columns: int = 80,
        limit: float | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> AsyncExecStream:
        """Run a command in a running sandbox and tell what it prints as it happens.

        What is returned is an iterator of frames, the last one of which tells how the command ended, and a
        context manager that ends the command. A reader that stops holds the command up.

        Args:
            command: Command and its arguments, at least one element; a text is run by ``/bin/sh``.
            env: Variables that it has besides the sandbox's own: names and values, or texts ``NAME=value``.
            cwd: Directory in the sandbox to run in, absolute; empty is the sandbox's own.
            user: User to run as: a name, ``UID`` or ``UID:GID``; empty is the main process's. Some runtimes
                know no other than root.
            stdin: Its input, or the beginning of it, at most 8 MiB; a text is sent as UTF-8.
            keep_stdin: Whether more input may come, until its end is sent, too.
            tty: Whether it gets a terminal for all of its streams, which more input may always come to.
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            limit: Seconds that it may take; then it is ended with all that it started. None for any time.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.exec_stream(
            self._id,
            command,
            env=env,
            cwd=cwd,
            user=user,
            stdin=stdin,
            keep_stdin=keep_stdin,
            tty=tty,
            rows=rows,
            columns=columns,
            limit=limit,
            timeout=timeout,
        )

    async def start_process(
        self,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str = "",
        user: str = "",
        stdin: bytes | str = b"",
        keep_stdin: bool = False,
        tty: bool = False,
        rows: int = 24,
        columns: int = 80,
        limit: float | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> str:
        """Start a command in a running sandbox that goes on by itself, and return its process ID.

        It ends with the sandbox. The last MiB of its output is kept for `wait_process` and `follow_process`.

        Args:
            command: Command and its arguments, at least one element; a text is run by ``/bin/sh``.
            env: Variables that it has besides the sandbox's own: names and values, or texts ``NAME=value``.
            cwd: Directory in the sandbox to run in, absolute; empty is the sandbox's own.
            user: User to run as: a name, ``UID`` or ``UID:GID``; empty is the main process's. Some runtimes
                know no other than root.
            stdin: Its input, or the beginning of it, at most 8 MiB; a text is sent as UTF-8.
            keep_stdin: Whether more input may come, until its end is sent, too.
            tty: Whether it gets a terminal for all of its streams, which more input may always come to.
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            limit: Seconds that it may take; then it is ended with all that it started. None for any time.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            OutcomeUnknownError: The connection was lost; the command may have been started.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.start_process(
            self._id,
            command,
            env=env,
            cwd=cwd,
            user=user,
            stdin=stdin,
            keep_stdin=keep_stdin,
            tty=tty,
            rows=rows,
            columns=columns,
            limit=limit,
            timeout=timeout,
        )

    async def list_processes(
        self, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> tuple[ProcessInfo, ...]:
        """Return the processes that `exec_stream` and `start_process` began in a sandbox, the oldest first.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.list_processes(self._id, timeout=timeout)

    async def wait_process(
        self, process_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> ExecResult:
        """Wait until a process has ended, and return what is kept of its output and how it ended.

        Args:
            process_id: ID of the process.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxEndedError: The sandbox ended while the process ran.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.wait_process(self._id, process_id, timeout=timeout)

    async def follow_process(
        self,
        process_id: str,
        *,
        offset: int = 0,
        follow: bool = True,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> AsyncFrames:
        """Tell what is kept of a process's output, and what it prints from then on until it ends.

        Args:
            process_id: ID of the process.
            offset: Bytes printed before, of both streams together, that are not wanted; to go on, `offset` of
                the last frame that was seen and the length of its `data`.
            follow: False to end with what has been printed so far.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.follow_process(
            self._id, process_id, offset=offset, follow=follow, timeout=timeout
        )

    async def signal_process(
        self,
        process_id: str,
        signal: int | str = "TERM",
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Send a signal to the first process of a command; ``KILL`` ends it with all that it started.

        Args:
            process_id: ID of the process.
            signal: Name, such as ``TERM`` or ``SIGTERM``, or number, 1 to 64.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            ConflictError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.signal_process(self._id, process_id, signal, timeout=timeout)

    async def write_stdin(
        self,
        process_id: str,
        data: bytes | str = b"",
        *,
        end: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Send input to a process, and return once it has read most of what was sent before.

        Args:
            process_id: ID of the process.
            data: What it is to read, at most 8 MiB; a text is sent as UTF-8.
            end: Whether its input ends with that.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            ConflictError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.write_stdin(self._id, process_id, data, end=end, timeout=timeout)

    async def resize_process(
        self,
        process_id: str,
        rows: int,
        columns: int,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Change the size of a process's terminal.

        Args:
            process_id: ID of the process.
            rows: Rows, 1 to 65535.
            columns: Columns, 1 to 65535.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            ConflictError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.resize_process(self._id, process_id, rows, columns, timeout=timeout)

    async def run_python(self, code: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> RunPythonResult:
        """Run Python code by the interpreter in a sandbox, and return what it printed and how it ended.

        The result is an `ExecResult`; ``str()`` of it is what was printed.

        Args:
            code: Python code, not empty, at most 8 MiB.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            UnsupportedError: There is no Python interpreter in it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.run_python(self._id, code, timeout=timeout)

    async def get_platform_info(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> dict[str, Any]:
        """Return what the processes in a sandbox find themselves on: system, release, machine and more.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.get_platform_info(self._id, timeout=timeout)

    async def read_file(
        self,
        path: str,
        *,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> bytes:
        """Return what a file in a sandbox holds, at most 8 MiB; `download` takes files of any size.

        Args:
            path: Path of the file in the sandbox, absolute. A link is followed.
            max_bytes: Most bytes that the file may hold, 0 to 2**63 - 1; None for no bound but that of 8 MiB.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            SandboxFileConflictError: It is no regular file.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read it.
            PayloadTooLargeError: It is larger than 8 MiB, or than `max_bytes`.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.read_file(self._id, path, max_bytes=max_bytes, timeout=timeout)

    async def write_file(
        self,
        path: str,
        content: bytes | str,
        *,
        mode: int = 0,
        parents: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Write a file in a sandbox, at once: who reads it meanwhile reads the old content or the new one.

        Args:
            path: Path of the file in the sandbox, absolute. A link to a file is replaced, not followed.
            content: What it is to hold, at most 8 MiB; a text is written as UTF-8. `upload` takes any size.
            mode: Its permissions, 0 to 0o7777; 0 keeps those of the file that is replaced, or is 0o644 for a
                new one. Its owner is kept where what runs in the sandbox may do so.
            parents: Whether to make the directories that the path lacks.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileConflictError: What is there is no regular file.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.write_file(self._id, path, content, mode=mode, parents=parents, timeout=timeout)

    async def stat(self, path: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> FileInfo:
        """Return what is at a path in a sandbox; of a link the link itself.

        Args:
            path: Path in the sandbox, absolute.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is nothing at the path.
            SandboxFileConflictError: The path leads through what is no directory.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not look there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.stat(self._id, path, timeout=timeout)

    async def list_dir(
        self, path: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> tuple[FileInfo, ...]:
        """Return what a directory in a sandbox holds, by name.

        In a name that is not UTF-8, U+FFFD stands for each byte that is not. No other call takes such a name;
        `download` of the directory brings the file along.

        Args:
            path: Path of the directory in the sandbox, absolute. A link is followed.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileConflictError: It is no directory.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not look there.
            PayloadTooLargeError: There are more files than one answer can tell of, some 100,000.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.list_dir(self._id, path, timeout=timeout)

    async def make_dir(
        self,
        path: str,
        *,
        mode: int = 0o755,
        parents: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Make a directory in a sandbox.

        Args:
            path: Path of the directory in the sandbox, absolute.
            mode: Its permissions, 0 to 0o7777; 0 is 0o755.
            parents: Whether to make the directories that the path lacks, and to leave one that is there.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileExistsError: There is something already.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.make_dir(self._id, path, mode=mode, parents=parents, timeout=timeout)

    async def remove(
        self,
        path: str,
        *,
        recursive: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Remove a file, a link (not what it leads to) or a directory in a sandbox.

        Args:
            path: Path in the sandbox, absolute.
            recursive: Whether a directory goes with all that it holds; else only an empty one goes.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is nothing at the path.
            SandboxFileConflictError: It is a directory that is not empty.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not remove it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.remove(self._id, path, recursive=recursive, timeout=timeout)

    async def move(
        self,
        source: str,
        target: str,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Give a file, a link or a directory in a sandbox another path. A file that is there is replaced.

        Args:
            source: Its path in the sandbox, absolute.
            target: Its new path in the sandbox, absolute: that of itself, not of the directory to put it in.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            SandboxFileConflictError: There is a directory already.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not do that.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.move(self._id, source, target, timeout=timeout)

    async def upload(
        self,
        local: str | os.PathLike[str],
        path: str,
        *,
        progress: Progress | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Copy a file, or all that a directory holds, into a sandbox, whatever its size.

        Links are copied as links; what is neither a file, a directory nor a link is left out. What is there
        is replaced file by file. An upload that fails leaves what has been copied by then.

        Args:
            local: Path of the file or directory on this machine.
            path: Its path in the sandbox, absolute: that of itself, not of the directory to put it in. The
                directories that the path lacks are made.
            progress: Called now and then with the bytes of content that are sent, and those that there are.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: There is no such file or directory on this machine, or it cannot be read.
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileConflictError: Something else is there.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            OutcomeUnknownError: The connection was lost; any part may have been copied.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.upload(self._id, local, path, progress=progress, timeout=timeout)

    async def download(
        self,
        path: str,
        local: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Copy a file, or all that a directory holds, out of a sandbox, whatever its size.

        Nothing is written but at, or below, `local`. Links are copied as links, wherever they lead; what is
        neither a file, a directory nor a link is left out, and what is there is replaced file by file. A
        download that fails leaves the files that were complete by then.

        Args:
            path: Path of the file or directory in the sandbox, absolute. A link is followed.
            local: Its path on this machine: that of itself, not of the directory to put it in. The
                directories that the path lacks are made.
            progress: Called now and then with the bytes of content that have come, and those that there are:
                None for a directory.
            max_bytes: Most bytes that may come, 0 to 2**63 - 1: what the files hold, and up to 1 KiB more for
                each file, directory and link; None for no bound.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: It cannot be written on this machine.
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            SandboxFileConflictError: It is neither a file nor a directory, or here a link is in the way.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read all of it.
            PayloadTooLargeError: More than `max_bytes` came.
            SandboxConnectionError: It broke off.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.download(
            self._id, path, local, progress=progress, max_bytes=max_bytes, timeout=timeout
        )

    async def upload_archive(
        self,
        path: str,
        chunks: AsyncIterable[bytes],
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Unpack a tar archive into a directory of a sandbox, as it comes; `upload` makes one of files.

        Args:
            path: Path of the directory in the sandbox, absolute; made where it is not there.
            chunks: The bytes of the archive, in pieces of any size.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileConflictError: Something else is there.
            ConflictError: The sandbox is not running.
            InvalidArgumentError: It is no tar archive.
            OutcomeUnknownError: The connection was lost; any part may have been unpacked.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.upload_archive(self._id, path, chunks, timeout=timeout)

    async def download_archive(
        self,
        path: str,
        *,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> AsyncArchive:
        """Pack a file or directory of a sandbox into a tar archive, and return its bytes as they come.

        Args:
            path: Path of the file or directory in the sandbox, absolute. A link is followed.
            max_bytes: Most bytes that the archive may have, 0 to 2**63 - 1; None for no bound.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            ConflictError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read all of it.
            PayloadTooLargeError: More than `max_bytes` came; raised by the archive, too.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._client.download_archive(self._id, path, max_bytes=max_bytes, timeout=timeout)
