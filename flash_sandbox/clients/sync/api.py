# Derived from flash_sandbox/clients/aio/api.py by `python -m codegen`; do not edit.
# Derived from the calls of the clients by `python -m codegen`; do not edit.
"""The interface that all synchronous clients share."""

from __future__ import annotations

import os
from collections.abc import (
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from ...models import (
    ExecResult,
    FileInfo,
    GetLogsResult,
    IdleAction,
    ListSandboxesResult,
    MetricsPoint,
    MetricsResult,
    NetworkMode,
    PortInfo,
    ProcessInfo,
    RunPythonResult,
    SandboxInfo,
    SandboxStatus,
    SandboxType,
    SnapshotInfo,
    SnapshotResult,
    StartType,
    VolumeInfo,
)
from ...models.secret import Secret
from ...models.volumes import Volume
from ...options import (
    NOT_GIVEN,
    NotGiven,
    Progress,
)
from .connections import PortConnection
from .streams import Archive, Events, ExecStream, Frames

__all__ = ["SandboxAPI"]


class SandboxAPI(Protocol):
    """What every synchronous client can do, over whichever transport."""

    def start_sandbox(
        self,
        type: StartType | Literal[""] | None = None,
        image: str | None = None,
        command: Sequence[str] | None = None,
        memory_mb: int | None = None,
        cpu_cores: float | None = None,
        kernel_image: str | None = None,
        initrd_path: str | None = None,
        snapshot_path: str | None = None,
        mem_file_path: str | None = None,
        network: NetworkMode | Literal[""] | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        ttl_seconds: float | None = None,
        pids: int | None = None,
        shm_mb: int | None = None,
        env: Mapping[str, str] | Sequence[str] | None = None,
        user: str | None = None,
        image_command: bool = False,
        idle_timeout: float | None = None,
        on_idle: IdleAction | Literal[""] | None = None,
        auto_resume: bool = False,
        network_allow: Sequence[str] | None = None,
        network_deny: Sequence[str] | None = None,
        volumes: Mapping[str, str | PathLike[str] | Volume] | Sequence[str] | None = None,
        secrets: Mapping[str, Secret] | Sequence[str] | None = None,
        disk_mb: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> str:
        """Start a sandbox and return its ID once its main process runs.

        Args:
            type: Runtime that runs the sandbox: bubblewrap, docker, gvisor, firecracker, or auto for the best
                one that the host has. None is auto.
            image: Image to start from; what names one depends on the runtime. None is the runtime's default.
            command: Main process and its arguments. None has the sandbox idle until it is stopped, whatever
                the image says; see image_command.
            memory_mb: Memory limit in MiB, 1 to 2147483647. None is the snapshot's, or 512.
            cpu_cores: CPU limit in cores, above 0 and at most 1024. None is the snapshot's, or 1.
            kernel_image: Path of a guest kernel on the orchestrator's host. Firecracker only. None is the
                engine's.
            initrd_path: Path of an initial RAM disk on the orchestrator's host. Firecracker only. None is the
                engine's.
            snapshot_path: Snapshot to start from, by its ID, its name or its path. None is no snapshot.
            mem_file_path: Memory file of that snapshot, where the runtime captures memory apart. None is no
                file.
            network: Network of the sandbox: none (nothing but its own loopback), policy (what network_allow
                names, through the orchestrator), or bridge, also called open (out through the host). None is
                the snapshot's, or the orchestrator's default.
            name: Name that the sandbox can be found by, of the same form as an ID. None is no name.
            labels: Labels that the sandbox can be found by, each NAME=value. Or a mapping of names to values.
            ttl_seconds: Seconds after which the sandbox expires and is removed, at most ten years. None is
                the snapshot's, or the orchestrator's default.
            pids: Most processes and threads, 16 to 4194304. None is the snapshot's, or 512.
            shm_mb: Size of /dev/shm in MiB, 1 to 2147483647. None is the snapshot's, or 64.
            env: Variables of every process of the sandbox besides the image's, each NAME=value. Those of the
                snapshot stay where none of these has their name. Or a mapping of names to values.
            user: User that the main process runs as, and each command that names none: a name, UID or
                UID:GID; which can be given depends on the runtime. None is the snapshot's, or the runtime's
                default.
            image_command: Whether the main process is the image's own command. Refused where a command is
                given, too, or the image has none.
            idle_timeout: Seconds after which a sandbox is idle that no call uses, that prints nothing and
                that needs less than 1 % of a core, at most ten years. None is never.
            on_idle: What is done with an idle sandbox: stop, pause, or suspend (paused, its memory on the
                disk; gvisor only). None is stop.
            auto_resume: Whether a call that uses the sandbox resumes it where it is paused.
            network_allow: What a policy lets the sandbox reach, each HOST or HOST:PORT: a name, ``*.NAME``
                for all below it, * for all, an address or a network such as 10.1.0.0/16. Without a port it is
                ports 80 and 443; port * is every port.
            network_deny: What of that it does not reach, in the same form. Without a port it is every port.
            volumes: Volumes that the sandbox has, each SOURCE:TARGET, or SOURCE:TARGET:ro to be read alone.
                The source is the name of a volume, or the absolute path of a directory of the orchestrator's
                host. Those of the snapshot stay where none of these has their target. Or a mapping of targets
                to sources, each a name, a path that may be relative, or a `Volume`.
            secrets: Secrets that programs have placeholders of, each NAME@HOST,HOST=VALUE: the gate of a
                network policy puts the value into requests to those hosts, each named as in network_allow.
                Never answered, and no part of snapshots. Or a mapping of names to `Secret`.
            disk_mb: Most that the sandbox may have written, in MiB, 1 to 2147483647: files that it makes or
                changes, and what its file system needs for them. None is the snapshot's, or no limit.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range, or the orchestrator refuses it.
            RuntimeUnavailableError: The orchestrator's host lacks the runtime.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def stop_sandbox(
        self, sandbox_id: str, *, cleanup: bool = True, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """Stop a sandbox, end all of its processes and remove what it held; its ID is unknown afterwards.

        Args:
            sandbox_id: ID of the sandbox.
            cleanup: False ends the processes of the sandbox but keeps what it holds, to be looked at, until
                it is stopped again.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def exec_command(
        self,
        sandbox_id: str,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        stdin: bytes | str | None = None,
        max_output_bytes: int = 8388608,
        limit: float | NotGiven | None = NOT_GIVEN,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> ExecResult:
        """Run a command in a running sandbox and return what it printed and how it ended.

        It is confined as the main process of the sandbox is.

        Args:
            sandbox_id: ID of the sandbox.
            command: Command and its arguments. The first element is a path, or a name looked up in the
                sandbox's PATH. A text is run by ``/bin/sh``.
            env: Variables that the command has besides the sandbox's own, each NAME=value. Or a mapping of
                names to values.
            cwd: Directory in the sandbox to run in, absolute. None is the sandbox's own.
            user: User to run as: a name, UID or UID:GID; which can be given depends on the runtime. None is
                the main process's.
            stdin: Input of the command, at most 8 MiB. A text is sent as UTF-8.
            max_output_bytes: Bytes of each output stream that are kept, at most 33554432. The result tells
                how many were dropped.
            limit: Seconds that it may take; then it is ended with all that it started, and the result has
                what it printed until then. None for any time. Where it is left out, `timeout` is the limit.
            timeout: Seconds for the whole call; None for no time-out. Where it is left out, the client's, or
                a few seconds more than `limit` where that is longer. Without `limit` it is that of the
                command, and the call may take a few seconds more.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxEndedError: The sandbox ended while the command ran.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxTimeoutError: No answer came in time, or within a few seconds after the command's own time.
                The command is ended with all that it started.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def get_status(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> SandboxStatus | Literal[""]:
        """Return the state of a sandbox: creating, running, paused, stopped or error.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def get_metrics(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> MetricsResult:
        """Return what a sandbox uses at this moment.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def get_metrics_history(
        self,
        sandbox_id: str,
        *,
        since: float | None = None,
        max_points: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> list[MetricsPoint]:
        """Return what a sandbox has used in the last hour, as the orchestrator sampled it, the oldest first.

        A sandbox that was asked about in the last minute is sampled every 5 seconds. All others together are
        sampled 5 times a second at most, each every 5 seconds at most, so that many idle ones take less than
        0.3 % of a core: 100 have a sample every 20 seconds each, 1,000 every 200. At most 720 samples of 72
        bytes are kept of each, none longer than an hour, and none where the orchestrator was started anew.

        Args:
            sandbox_id: ID of the sandbox.
            since: Only samples after this moment, in seconds of Unix time. None is all that are kept.
            max_points: Most points to answer, 1 to 720; where there are more samples, some are left out
                evenly, but never the last one. None is all.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def snapshot_sandbox(
        self,
        sandbox_id: str,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> SnapshotResult:
        """Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.

        Args:
            sandbox_id: ID of the sandbox.
            name: Name that the snapshot can be found by, of the same form as an ID. None is no name.
            labels: Labels that the snapshot can be found by, each NAME=value. Or a mapping of names to
                values.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is in a state in which this cannot be done.
            AlreadyExistsError: A snapshot has that name.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def pause_sandbox(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Freeze every process of a running sandbox; resume_sandbox lets them run on.

        Its memory stays as it is, and so does the time at which it expires.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def resume_sandbox(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Let a paused sandbox run on.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not paused.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def fork_sandbox(
        self, sandbox_id: str, count: int = 1, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> list[str]:
        """Start copies of a sandbox with its files, limits, variables and labels, and return their IDs.

        All are started, or none. The sandbox itself goes on as it was. Of a gvisor sandbox, copies also have
        the memory and the processes; of others the main process starts anew.

        Args:
            sandbox_id: ID of the sandbox.
            count: How many copies to start, 1 to 100.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is in a state in which this cannot be done.
            AtCapacityError: The orchestrator takes no such number of sandboxes.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def list_snapshots(
        self,
        *,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> list[SnapshotInfo]:
        """Return what is known of each snapshot in the orchestrator's store, the oldest first.

        Args:
            labels: Only snapshots that have each of these labels, NAME=value. Or a mapping of names to
                values.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def remove_snapshot(self, snapshot_path: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Remove a snapshot from the orchestrator's store. What was started from it goes on.

        Args:
            snapshot_path: Snapshot to remove, by its ID, its name or its path.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: There is no such snapshot.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def create_volume(self, name: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Make a volume, an empty directory that outlives sandboxes and is mounted by its name.

        Args:
            name: Name of the volume.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            AlreadyExistsError: There is one of this name.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def list_volumes(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> list[VolumeInfo]:
        """Return what is known of each named volume, by name.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def remove_volume(self, name: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Remove a named volume with all that it holds. Refused while a sandbox has it.

        Args:
            name: Name of the volume.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            NotFoundError: There is no such volume.
            ConflictError: A sandbox has it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def start_process(
        self,
        sandbox_id: str,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        stdin: bytes | str | None = None,
        keep_stdin: bool = False,
        tty: bool = False,
        rows: int = 24,
        columns: int = 80,
        limit: float | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> str:
        """Start a command in a running sandbox that goes on by itself, and return its process ID.

        It ends with the sandbox. The last MiB of its output is kept for wait_process and follow_process.

        Args:
            sandbox_id: ID of the sandbox.
            command: Command and its arguments. The first element is a path, or a name looked up in the
                sandbox's PATH. A text is run by ``/bin/sh``.
            env: Variables that the command has besides the sandbox's own, each NAME=value. Or a mapping of
                names to values.
            cwd: Directory in the sandbox to run in, absolute. None is the sandbox's own.
            user: User to run as: a name, UID or UID:GID; which can be given depends on the runtime. None is
                the main process's.
            stdin: Input of the command, or the beginning of it, at most 8 MiB. A text is sent as UTF-8.
            keep_stdin: Whether more input may come, by write_stdin.
            tty: Whether the command gets a terminal for all of its streams. More input may always come to
                that.
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            limit: Seconds that it may take; then it is ended with all that it started. None for any time.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            OutcomeUnknownError: The connection was lost; the command may have been started.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def list_processes(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> tuple[ProcessInfo, ...]:
        """Return the processes that exec_stream and start_process began in a sandbox, the oldest first.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def wait_process(
        self, sandbox_id: str, process_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> ExecResult:
        """Wait until a process has ended, and return what is kept of its output and how it ended.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxEndedError: The sandbox ended while the process ran.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def signal_process(
        self,
        sandbox_id: str,
        process_id: str,
        signal: int | str = "TERM",
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Send a signal to the first process of a command; KILL ends it with all that it started.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            signal: Number of the signal, 1 to 64. Or its name, such as ``TERM`` or ``SIGTERM``.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            WrongStateError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def write_stdin(
        self,
        sandbox_id: str,
        process_id: str,
        data: bytes | str = b"",
        *,
        end: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Send input to a process, and return once it has read most of what was sent before.

        It was begun with keep_stdin or a terminal.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            data: What it is to read, at most 8 MiB. A text is sent as UTF-8.
            end: Whether its input ends with that.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            WrongStateError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def resize_process(
        self,
        sandbox_id: str,
        process_id: str,
        rows: int,
        columns: int,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Change the size of a process's terminal.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            WrongStateError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def run_python(
        self, sandbox_id: str, code: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> RunPythonResult:
        """Run Python code by the interpreter in a sandbox, and return what it printed and how it ended.

        Args:
            sandbox_id: ID of the sandbox.
            code: Python code, not empty, at most 8 MiB.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            UnsupportedError: There is no Python interpreter in it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def read_file(
        self,
        sandbox_id: str,
        path: str,
        *,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> bytes:
        """Return what a file in a sandbox holds, at most 8 MiB; download_archive takes files of any size.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of a file in the sandbox, absolute. Links are followed.
            max_bytes: Most bytes that may come, 0 to 2**63 - 1; None for no bound of the caller's.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            SandboxFileConflictError: It is no regular file.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read it.
            PayloadTooLargeError: It is larger than 8 MiB, or than `max_bytes`.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def write_file(
        self,
        sandbox_id: str,
        path: str,
        content: bytes | str,
        *,
        mode: int | None = None,
        parents: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Write a file in a sandbox, at once: who reads it meanwhile reads the old content or the new one.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of the file in the sandbox, absolute. A link at its end is replaced, not followed.
            content: What the file is to hold, at most 8 MiB; upload_archive takes files of any size. A text
                is sent as UTF-8.
            mode: Permissions of the file, at most 4095 (octal 7777). None keeps those of the file that is
                replaced, or is octal 644 for a new one. Its owner is kept where whoever writes may.
            parents: Whether to make the directories that the path lacks.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileConflictError: What is there is no regular file.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def stat(self, sandbox_id: str, path: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> FileInfo:
        """Return what is at a path in a sandbox; of a link the link itself.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path in the sandbox, absolute.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is nothing at the path.
            SandboxFileConflictError: The path leads through what is no directory.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not look there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def list_dir(
        self, sandbox_id: str, path: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> tuple[FileInfo, ...]:
        """Return what a directory in a sandbox holds, by name.

        In a name that is not UTF-8, U+FFFD stands for each byte that is not. No other call takes such a name;
        download_archive of the directory brings the file along.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of a directory in the sandbox, absolute. Links are followed.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileConflictError: It is no directory.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not look there.
            PayloadTooLargeError: There are more files than one answer can tell of, some 100,000.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def make_dir(
        self,
        sandbox_id: str,
        path: str,
        *,
        mode: int = 0o755,
        parents: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Make a directory in a sandbox.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of the directory in the sandbox, absolute.
            mode: Permissions of the directory, at most 4095 (octal 7777).
            parents: Whether to make the directories that the path lacks, and to leave one that is there.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileExistsError: There is something already.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def remove(
        self,
        sandbox_id: str,
        path: str,
        *,
        recursive: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Remove a file, a link (not what it leads to) or a directory in a sandbox.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path in the sandbox, absolute.
            recursive: Whether to remove a directory with all that it holds. Otherwise only an empty one is
                removed.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is nothing at the path.
            SandboxFileConflictError: It is a directory that is not empty.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not remove it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def move(
        self, sandbox_id: str, source: str, target: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """Give a file, a link or a directory in a sandbox another path. A file that is there is replaced.

        Args:
            sandbox_id: ID of the sandbox.
            source: Path in the sandbox, absolute.
            target: Its new path in the sandbox, absolute. That is the path of itself, not of the directory to
                put it in.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            SandboxFileConflictError: There is a directory already.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not do that.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def upload_archive(
        self,
        sandbox_id: str,
        path: str,
        chunks: Iterable[bytes],
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Unpack a tar archive into a directory of a sandbox, as it comes.

        Over gRPC the first message alone says where.

        Args:
            sandbox_id: ID of the sandbox.
            path: Directory in the sandbox to unpack into, absolute; made where it is not there.
            chunks: The bytes to send, in pieces of any size.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileConflictError: Something else is there.
            WrongStateError: The sandbox is not running.
            InvalidArgumentError: It is no tar archive.
            OutcomeUnknownError: The connection was lost; any part may have been unpacked.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def list_ports(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> tuple[PortInfo, ...]:
        """Return the TCP ports that programs in a sandbox listen on, the lowest first.

        A port that was not there when they were listed before is also told as the event port_opened, one that
        has gone as port_closed.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def get_port_url(
        self, sandbox_id: str, port: int, *, ttl: float = 3600, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> str:
        """Return a URL by which whoever has it reaches a port of a sandbox over HTTP, until it expires.

        It names one port, and no other one is reached by it. It ends with the orchestrator, too.

        Args:
            sandbox_id: ID of the sandbox.
            port: TCP port on the loopback interface of the sandbox, 1 to 65535.
            ttl: Seconds after which the URL expires.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def send_to_port(
        self,
        sandbox_id: str,
        connection_id: str,
        chunks: Iterable[bytes],
        *,
        end: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Send bytes over a connection that connect_port has made.

        Over gRPC the first message alone says over which.

        Args:
            sandbox_id: ID of the sandbox.
            connection_id: ID of the connection.
            chunks: The bytes to send, in pieces of any size.
            end: Whether nothing is sent after that.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            PortClosedError: The connection has ended.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def disconnect_port(
        self, sandbox_id: str, connection_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """End a connection that connect_port has made, if it is still there.

        Args:
            sandbox_id: ID of the sandbox.
            connection_id: ID of the connection.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def list_sandboxes(
        self,
        *,
        status: SandboxStatus | Literal[""] | None = None,
        type: SandboxType | Literal[""] | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        page_size: int = 100,
        page_token: str | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> ListSandboxesResult:
        """Return a page of the sandboxes that there are, the oldest first.

        Args:
            status: Only sandboxes in this state. None is all.
            type: Only sandboxes of this runtime. None is all.
            labels: Only sandboxes that have each of these labels, NAME=value. Or a mapping of names to
                values.
            page_size: Most sandboxes that a page holds, 1 to 1000.
            page_token: Where to go on: next_page_token of the page before. None is the first page.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def sandboxes(
        self,
        *,
        status: SandboxStatus | Literal[""] | None = None,
        type: SandboxType | Literal[""] | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Iterator[SandboxInfo]:
        """Yield each of the sandboxes that there are, the oldest first, page by page.

        Args:
            status: Only sandboxes in this state. None is all.
            type: Only sandboxes of this runtime. None is all.
            labels: Only sandboxes that have each of these labels, NAME=value. Or a mapping of names to
                values.
            timeout: Seconds for the call of each page; None for no time-out; the client's where it is left
                out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def get_info(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> SandboxInfo:
        """Return what is known of a sandbox: its image, limits, labels, and when it expires.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def get_logs(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> GetLogsResult:
        """Return the last of what the main process of a sandbox has printed.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def keep_alive(
        self, sandbox_id: str, ttl: float, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> float:
        """Have a sandbox expire so many seconds from now, and return when, in seconds of Unix time.

        Args:
            sandbox_id: ID of the sandbox.
            ttl: Seconds from now after which it expires, above 0.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def set_network(
        self,
        sandbox_id: str,
        network: NetworkMode | Literal[""],
        *,
        network_allow: Sequence[str] | None = None,
        network_deny: Sequence[str] | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Change what a running sandbox may reach. Connections to anything else end.

        Programs that run already do not learn of a proxy that was not there when they were started.

        Args:
            sandbox_id: ID of the sandbox.
            network: Network of the sandbox: none or policy.
            network_allow: What a policy lets the sandbox reach, each HOST or HOST:PORT: a name, ``*.NAME``
                for all below it, * for all, an address or a network such as 10.1.0.0/16. Without a port it is
                ports 80 and 443; port * is every port.
            network_deny: What of that it does not reach, in the same form. Without a port it is every port.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            NetworkRefusedError: The orchestrator gives no sandbox that network.
            UnsupportedError: The sandbox has the network bridge, or is to have it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def exec_stream(
        self,
        sandbox_id: str,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        stdin: bytes | str | None = None,
        keep_stdin: bool = False,
        tty: bool = False,
        rows: int = 24,
        columns: int = 80,
        limit: float | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> ExecStream:
        """Run a command in a running sandbox and tell what it prints as it happens.

        The last frame tells how the command ended. It ends with the stream, and a reader that stops holds it
        up.

        Args:
            sandbox_id: ID of the sandbox.
            command: Command and its arguments. The first element is a path, or a name looked up in the
                sandbox's PATH. A text is run by ``/bin/sh``.
            env: Variables that the command has besides the sandbox's own, each NAME=value. Or a mapping of
                names to values.
            cwd: Directory in the sandbox to run in, absolute. None is the sandbox's own.
            user: User to run as: a name, UID or UID:GID; which can be given depends on the runtime. None is
                the main process's.
            stdin: Input of the command, or the beginning of it, at most 8 MiB. A text is sent as UTF-8.
            keep_stdin: Whether more input may come, by write_stdin.
            tty: Whether the command gets a terminal for all of its streams. More input may always come to
                that.
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            limit: Seconds that it may take; then it is ended with all that it started. None for any time.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def follow_process(
        self,
        sandbox_id: str,
        process_id: str,
        *,
        offset: int = 0,
        follow: bool = True,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Frames:
        """Tell what is kept of a process's output, and what it prints from then on until it ends.

        The last frame tells how it ended.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            offset: Where to begin: bytes printed before, of both streams together. What is not kept any more
                is left out. To go on: offset of the last frame that was seen, and the length of its data.
            follow: False to end with what has been printed so far.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def watch_events(
        self, token: str | None = None, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> Events:
        """Tell what happens to sandboxes, as it happens; nothing that happens after this returns is missed.

        Args:
            token: Where to go on: the token of the last event that was seen. None is what happens from now
                on.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            EventsMissedError: What happened after `token` is not known any more.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def get_platform_info(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> dict[str, Any]:
        """Return what the processes in a sandbox find themselves on: system, release, machine and more.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def export_snapshot(
        self,
        snapshot_path: str,
        local: str | os.PathLike[str],
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> str:
        """Write a snapshot to a file, which another orchestrator can import, and return the file's SHA-256.

        The file holds the files of the sandbox and its variables, so that only its owner may read it. It
        appears under its name once all of it is there.

        Args:
            snapshot_path: Snapshot to export, by its ID, its name or its path.
            local: Path of the file on this machine. A file that is there is replaced.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: It cannot be written on this machine.
            InvalidArgumentError: There is no such snapshot, or it was changed after it had been made.
            SandboxConnectionError: It broke off.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def import_snapshot(
        self,
        local: str | os.PathLike[str],
        *,
        name: str | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> SnapshotInfo:
        """Add the snapshot in a file that `export_snapshot` has written, and return what is known of it.

        It has the labels that it had, and an ID of its own. Nothing of a file that is damaged remains.

        Args:
            local: Path of the file on this machine.
            name: Name that the snapshot can be found by, of the same form as an ID. None is no name.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: There is no such file on this machine, or it cannot be read.
            InvalidArgumentError: The file is damaged, or of a runtime that is not known there.
            AlreadyExistsError: A snapshot has that name.
            OutcomeUnknownError: The connection was lost; the snapshot may have been added.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def upload(
        self,
        sandbox_id: str,
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
            sandbox_id: ID of the sandbox.
            local: Path of the file or directory on this machine.
            path: Its path in the sandbox, absolute: that of itself, not of the directory to put it in. The
                directories that the path lacks are made.
            progress: Called now and then with the bytes of content that are sent, and those that there are.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: There is no such file or directory on this machine, or it cannot be read.
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileConflictError: Something else is there.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            OutcomeUnknownError: The connection was lost; any part may have been copied.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def download(
        self,
        sandbox_id: str,
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
            sandbox_id: ID of the sandbox.
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
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read all of it.
            PayloadTooLargeError: More than `max_bytes` came.
            SandboxConnectionError: It broke off.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def download_archive(
        self,
        sandbox_id: str,
        path: str,
        *,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Archive:
        """Pack a file or directory of a sandbox into a tar archive, and return its bytes as they come.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of a file or directory in the sandbox, absolute. A link is followed.
            max_bytes: Most bytes that the archive may have, 0 to 2**63 - 1; None for no bound.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read all of it.
            PayloadTooLargeError: More than `max_bytes` came; raised by the archive, too.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def connect_port(
        self, sandbox_id: str, port: int, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> PortConnection:
        """Connect to a TCP port that a program in a sandbox listens on, and return the connection.

        It needs no network in the sandbox. The program sees a connection from its own loopback interface.

        Args:
            sandbox_id: ID of the sandbox.
            port: TCP port on the loopback interface of the sandbox, 1 to 65535.
            timeout: Seconds until it is connected; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            PortClosedError: Nothing listens on the port.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def with_options(
        self, *, timeout: float | NotGiven | None = NOT_GIVEN, max_retries: int | NotGiven = NOT_GIVEN
    ) -> Self:
        """Return a client with other options that shares the connections; closing either closes both.

        Args:
            timeout: Seconds for each whole call; None for no time-out; unchanged where it is left out.
            max_retries: How often a failed call may be repeated; unchanged where it is left out.
        """
        ...

    def close(self) -> None:
        """Release the connections. Later calls raise ClientClosedError; closing twice does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
