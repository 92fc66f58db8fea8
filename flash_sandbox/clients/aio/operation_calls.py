# Generated from specs/ by `python -m codegen`; do not edit.
"""The calls that make a request of their arguments, and return what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, cast

from ... import models, operations
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
from ...models.checks import milliseconds
from ...models.secret import Secret
from ...models.volumes import Volume
from ...options import NOT_GIVEN, NotGiven
from ..bound import Bound
from .calls import AsyncCalls, milliseconds_of

__all__ = ["AsyncOperationCalls"]


class AsyncOperationCalls(AsyncCalls):
    """Makes each call that the specs decide alone, and that is answered at once."""

    async def start_sandbox(
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
        request = models.StartRequest(
            type="" if type is None else type,
            image="" if image is None else image,
            command=() if command is None else cast("Any", command),
            memory_mb=0 if memory_mb is None else memory_mb,
            cpu_cores=0.0 if cpu_cores is None else cpu_cores,
            kernel_image="" if kernel_image is None else kernel_image,
            initrd_path="" if initrd_path is None else initrd_path,
            snapshot_path="" if snapshot_path is None else snapshot_path,
            mem_file_path="" if mem_file_path is None else mem_file_path,
            network="" if network is None else network,
            name="" if name is None else name,
            labels=() if labels is None else cast("Any", labels),
            ttl_seconds=0.0 if ttl_seconds is None else ttl_seconds,
            pids=0 if pids is None else pids,
            shm_mb=0 if shm_mb is None else shm_mb,
            env=() if env is None else cast("Any", env),
            user="" if user is None else user,
            image_command=image_command,
            idle_timeout=0.0 if idle_timeout is None else idle_timeout,
            on_idle="" if on_idle is None else on_idle,
            auto_resume=auto_resume,
            network_allow=() if network_allow is None else cast("Any", network_allow),
            network_deny=() if network_deny is None else cast("Any", network_deny),
            volumes=() if volumes is None else cast("Any", volumes),
            secrets=() if secrets is None else cast("Any", secrets),
            disk_mb=0 if disk_mb is None else disk_mb,
        ).completed()
        return (await self._perform(operations.START_SANDBOX, request, timeout)).id

    async def stop_sandbox(
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
        request = models.StopRequest(id=sandbox_id, skip_cleanup=not cleanup)
        await self._perform(operations.STOP_SANDBOX, request, timeout)

    async def exec_command(
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
        timeout_ms, seconds = self._command_options(limit, timeout)
        request = models.ExecRequest(
            id=sandbox_id,
            command=cast("Any", command),
            env=() if env is None else cast("Any", env),
            cwd="" if cwd is None else cwd,
            user="" if user is None else user,
            stdin=b"" if stdin is None else cast("Any", stdin),
            max_output_bytes=0 if max_output_bytes == 8388608 else max_output_bytes,
            timeout_ms=timeout_ms,
        )
        return await self._perform(operations.EXEC_COMMAND, request, seconds)

    async def get_status(
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
        request = models.StatusRequest(id=sandbox_id)
        return (await self._perform(operations.GET_STATUS, request, timeout)).status

    async def get_metrics(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> MetricsResult:
        """Return what a sandbox uses at this moment.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.MetricsRequest(id=sandbox_id)
        return await self._perform(operations.GET_METRICS, request, timeout)

    async def get_metrics_history(
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
        request = models.GetMetricsHistoryRequest(
            id=sandbox_id,
            since_ms=milliseconds("since", 0 if since is None else since),
            max_points=0 if max_points is None else max_points,
        )
        return list((await self._perform(operations.GET_METRICS_HISTORY, request, timeout)).points)

    async def snapshot_sandbox(
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
        request = models.SnapshotRequest(
            id=sandbox_id,
            name="" if name is None else name,
            labels=() if labels is None else cast("Any", labels),
        )
        return await self._perform(operations.SNAPSHOT_SANDBOX, request, timeout)

    async def pause_sandbox(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
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
        request = models.PauseRequest(id=sandbox_id)
        await self._perform(operations.PAUSE_SANDBOX, request, timeout)

    async def resume_sandbox(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Let a paused sandbox run on.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not paused.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.ResumeRequest(id=sandbox_id)
        await self._perform(operations.RESUME_SANDBOX, request, timeout)

    async def fork_sandbox(
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
        request = models.ForkRequest(id=sandbox_id, count=count)
        return list((await self._perform(operations.FORK_SANDBOX, request, timeout)).ids)

    async def list_snapshots(
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
        request = models.ListSnapshotsRequest(labels=() if labels is None else cast("Any", labels))
        return list((await self._perform(operations.LIST_SNAPSHOTS, request, timeout)).snapshots)

    async def remove_snapshot(
        self, snapshot_path: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """Remove a snapshot from the orchestrator's store. What was started from it goes on.

        Args:
            snapshot_path: Snapshot to remove, by its ID, its name or its path.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: There is no such snapshot.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.RemoveSnapshotRequest(snapshot_path=snapshot_path)
        await self._perform(operations.REMOVE_SNAPSHOT, request, timeout)

    async def create_volume(self, name: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Make a volume, an empty directory that outlives sandboxes and is mounted by its name.

        Args:
            name: Name of the volume.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            AlreadyExistsError: There is one of this name.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.CreateVolumeRequest(name=name)
        await self._perform(operations.CREATE_VOLUME, request, timeout)

    async def list_volumes(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> list[VolumeInfo]:
        """Return what is known of each named volume, by name.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.ListVolumesRequest()
        return list((await self._perform(operations.LIST_VOLUMES, request, timeout)).volumes)

    async def remove_volume(self, name: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Remove a named volume with all that it holds. Refused while a sandbox has it.

        Args:
            name: Name of the volume.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            NotFoundError: There is no such volume.
            ConflictError: A sandbox has it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.RemoveVolumeRequest(name=name)
        await self._perform(operations.REMOVE_VOLUME, request, timeout)

    async def start_process(
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
        request = models.StartProcessRequest(
            id=sandbox_id,
            command=cast("Any", command),
            env=() if env is None else cast("Any", env),
            cwd="" if cwd is None else cwd,
            user="" if user is None else user,
            stdin=b"" if stdin is None else cast("Any", stdin),
            keep_stdin=keep_stdin,
            tty=tty,
            rows=0 if rows == 24 else rows,
            columns=0 if columns == 80 else columns,
            timeout_ms=milliseconds_of(limit),
        )
        return (await self._perform(operations.START_PROCESS, request, timeout)).process_id

    async def list_processes(
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
        request = models.ListProcessesRequest(id=sandbox_id)
        return (await self._perform(operations.LIST_PROCESSES, request, timeout)).processes

    async def wait_process(
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
        request = models.WaitProcessRequest(id=sandbox_id, process_id=process_id)
        return await self._perform(operations.WAIT_PROCESS, request, timeout)

    async def signal_process(
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
        request = models.SignalProcessRequest(
            id=sandbox_id, process_id=process_id, signal=cast("Any", signal)
        )
        await self._perform(operations.SIGNAL_PROCESS, request, timeout)

    async def write_stdin(
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
        request = models.WriteStdinRequest(
            id=sandbox_id, process_id=process_id, data=cast("Any", data), end=end
        )
        await self._perform(operations.WRITE_STDIN, request, timeout)

    async def resize_process(
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
        request = models.ResizeProcessRequest(
            id=sandbox_id, process_id=process_id, rows=rows, columns=columns
        )
        await self._perform(operations.RESIZE_PROCESS, request, timeout)

    async def run_python(
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
        request = models.RunPythonRequest(id=sandbox_id, code=code)
        return await self._perform(operations.RUN_PYTHON, request, timeout)

    async def read_file(
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
        bound = Bound(path, max_bytes)
        request = models.ReadFileRequest(id=sandbox_id, path=path)
        return bound.checked((await self._perform(operations.READ_FILE, request, timeout)).content)

    async def write_file(
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
        request = models.WriteFileRequest(
            id=sandbox_id,
            path=path,
            content=cast("Any", content),
            mode=0 if mode is None else mode,
            parents=parents,
        )
        await self._perform(operations.WRITE_FILE, request, timeout)

    async def stat(
        self, sandbox_id: str, path: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> FileInfo:
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
        request = models.StatRequest(id=sandbox_id, path=path)
        return (await self._perform(operations.STAT, request, timeout)).file

    async def list_dir(
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
        request = models.ListDirRequest(id=sandbox_id, path=path)
        return (await self._perform(operations.LIST_DIR, request, timeout)).entries

    async def make_dir(
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
        request = models.MakeDirRequest(
            id=sandbox_id, path=path, mode=0 if mode == 0o755 else mode, parents=parents
        )
        await self._perform(operations.MAKE_DIR, request, timeout)

    async def remove(
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
        request = models.RemoveRequest(id=sandbox_id, path=path, recursive=recursive)
        await self._perform(operations.REMOVE, request, timeout)

    async def move(
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
        request = models.MoveRequest(id=sandbox_id, source=source, target=target)
        await self._perform(operations.MOVE, request, timeout)

    async def upload_archive(
        self,
        sandbox_id: str,
        path: str,
        chunks: AsyncIterable[bytes],
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
        request = models.UploadArchiveRequest(id=sandbox_id, path=path)
        await self._send(operations.UPLOAD_ARCHIVE, request, chunks, timeout)

    async def list_ports(
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
        request = models.ListPortsRequest(id=sandbox_id)
        return (await self._perform(operations.LIST_PORTS, request, timeout)).ports

    async def get_port_url(
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
        request = models.GetPortUrlRequest(id=sandbox_id, port=port, ttl_seconds=0 if ttl == 3600 else ttl)
        return (await self._perform(operations.GET_PORT_URL, request, timeout)).url

    async def send_to_port(
        self,
        sandbox_id: str,
        connection_id: str,
        chunks: AsyncIterable[bytes],
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
        request = models.SendToPortRequest(id=sandbox_id, connection_id=connection_id, end=end)
        await self._send(operations.SEND_TO_PORT, request, chunks, timeout)

    async def disconnect_port(
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
        request = models.DisconnectPortRequest(id=sandbox_id, connection_id=connection_id)
        await self._perform(operations.DISCONNECT_PORT, request, timeout)

    async def list_sandboxes(
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
        request = models.ListSandboxesRequest(
            status="" if status is None else status,
            type="" if type is None else type,
            labels=() if labels is None else cast("Any", labels),
            page_size=0 if page_size == 100 else page_size,
            page_token="" if page_token is None else page_token,
        )
        return await self._perform(operations.LIST_SANDBOXES, request, timeout)

    async def sandboxes(
        self,
        *,
        status: SandboxStatus | Literal[""] | None = None,
        type: SandboxType | Literal[""] | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> AsyncIterator[SandboxInfo]:
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
        page_token: str | None = None
        while page_token != "":
            page = await self.list_sandboxes(
                status=status,
                type=type,
                labels=labels,
                page_size=1000,
                page_token=page_token,
                timeout=timeout,
            )
            for each in page.sandboxes:
                yield each
            page_token = page.next_page_token

    async def get_info(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> SandboxInfo:
        """Return what is known of a sandbox: its image, limits, labels, and when it expires.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.GetInfoRequest(id=sandbox_id)
        return (await self._perform(operations.GET_INFO, request, timeout)).sandbox

    async def get_logs(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> GetLogsResult:
        """Return the last of what the main process of a sandbox has printed.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.GetLogsRequest(id=sandbox_id)
        return await self._perform(operations.GET_LOGS, request, timeout)

    async def keep_alive(
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
        request = models.KeepAliveRequest(id=sandbox_id, ttl_seconds=ttl)
        return (await self._perform(operations.KEEP_ALIVE, request, timeout)).expires_at

    async def set_network(
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
        request = models.SetNetworkRequest(
            id=sandbox_id,
            network=network,
            network_allow=() if network_allow is None else cast("Any", network_allow),
            network_deny=() if network_deny is None else cast("Any", network_deny),
        )
        await self._perform(operations.SET_NETWORK, request, timeout)
