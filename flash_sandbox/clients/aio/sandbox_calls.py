"""Calls about sandboxes as a whole: their start, life, figures and end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal

from ... import models, operations
from ...models import (
    DEFAULT_CPU_CORES,
    DEFAULT_MEMORY_MB,
    GetLogsResult,
    IdleAction,
    ListSandboxesResult,
    MetricsPoint,
    MetricsResult,
    Network,
    SandboxInfo,
    SandboxStatus,
    SandboxType,
    SnapshotInfo,
    SnapshotResult,
    StartType,
)
from ...models.checks import milliseconds
from ...options import NOT_GIVEN, NotGiven
from .calls import AsyncCalls, given
from .streams import AsyncEvents, first_of

__all__ = ["AsyncSandboxCalls"]


class AsyncSandboxCalls(AsyncCalls):
    """Start, use and stop sandboxes."""

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
        network: Network | Literal[""] | None = None,
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
            snapshot_path: Snapshot to start from, as snapshot_sandbox answered it. None is no snapshot.
            mem_file_path: Memory file of that snapshot, where the runtime captures memory apart. None is no
                file.
            network: Network of the sandbox: none (nothing but its own loopback) or bridge (out through the
                host). None is the snapshot's, or the orchestrator's default.
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
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range, or the orchestrator refuses it.
            RuntimeUnavailableError: The orchestrator's host lacks the runtime.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        # Older orchestrators have no defaults of their own.
        if not snapshot_path:
            memory_mb = DEFAULT_MEMORY_MB if memory_mb is None else memory_mb
            cpu_cores = DEFAULT_CPU_CORES if cpu_cores is None else cpu_cores
        options = given(
            type=type,
            image=image,
            command=command,
            memory_mb=memory_mb,
            cpu_cores=cpu_cores,
            kernel_image=kernel_image,
            initrd_path=initrd_path,
            snapshot_path=snapshot_path,
            mem_file_path=mem_file_path,
            network=network,
            name=name,
            labels=labels,
            ttl_seconds=ttl_seconds,
            pids=pids,
            shm_mb=shm_mb,
            env=env,
            user=user,
            image_command=image_command,
            idle_timeout=idle_timeout,
            on_idle=on_idle,
            auto_resume=auto_resume,
        )
        request = models.StartRequest(**options)
        return (await self._perform(operations.START_SANDBOX, request, timeout)).id

    async def stop_sandbox(
        self, sandbox_id: str, *, cleanup: bool = True, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """Stop a sandbox, end all of its processes and remove what it held; its ID is unknown afterwards.

        Args:
            sandbox_id: ID of the sandbox.
            cleanup: False ends its processes but keeps what it holds, to be looked at: it is ``stopped``
                then, until it is stopped again.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._perform(operations.STOP_SANDBOX, models.StopRequest(sandbox_id, not cleanup), timeout)

    async def get_status(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> SandboxStatus | Literal[""]:
        """Return the state of a sandbox: ``creating``, ``running``, ``paused``, ``stopped`` or ``error``.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return (await self._perform(operations.GET_STATUS, models.StatusRequest(sandbox_id), timeout)).status

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
        return await self._perform(operations.GET_METRICS, models.MetricsRequest(sandbox_id), timeout)

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
            since: Only samples after this moment, in seconds of Unix time, such as `at` of the last point
                that was seen; None for all that are kept.
            max_points: Most points to answer, 1 to 720; where there are more samples, some are left out
                evenly, but never the last one. None is all.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        moment = milliseconds("since", 0 if since is None else since)
        request = models.GetMetricsHistoryRequest(sandbox_id, moment, 0 if max_points is None else max_points)
        return list((await self._perform(operations.GET_METRICS_HISTORY, request, timeout)).points)

    async def snapshot_sandbox(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> SnapshotResult:
        """Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is in a state in which this cannot be done.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await self._perform(operations.SNAPSHOT_SANDBOX, models.SnapshotRequest(sandbox_id), timeout)

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
        request = models.ForkRequest(sandbox_id, count)
        return list((await self._perform(operations.FORK_SANDBOX, request, timeout)).ids)

    async def pause_sandbox(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Freeze every process of a running sandbox; `resume_sandbox` lets them run on.

        Its memory stays as it is, and so does the time at which it expires.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._perform(operations.PAUSE_SANDBOX, models.PauseRequest(sandbox_id), timeout)

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
        await self._perform(operations.RESUME_SANDBOX, models.ResumeRequest(sandbox_id), timeout)

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
        options = given(status=status, type=type, labels=labels, page_token=page_token)
        request = models.ListSandboxesRequest(page_size=page_size, **options)
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
        options = given(status=status, type=type, labels=labels, page_size=models.MAX_PAGE_SIZE)
        token: str | None = None
        while token != "":
            page = await self.list_sandboxes(page_token=token, timeout=timeout, **options)
            for info in page.sandboxes:
                yield info
            token = page.next_page_token

    async def get_info(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> SandboxInfo:
        """Return what is known of a sandbox: its image, limits, labels, and when it expires.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.GetInfoRequest(sandbox_id)
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
        return await self._perform(operations.GET_LOGS, models.GetLogsRequest(sandbox_id), timeout)

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
        request = models.KeepAliveRequest(sandbox_id, ttl)
        return (await self._perform(operations.KEEP_ALIVE, request, timeout)).expires_at

    async def watch_events(
        self, token: str | None = None, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> AsyncEvents:
        """Tell what happens to sandboxes, as it happens; nothing that happens after this returns is missed.

        Args:
            token: Where to go on: the token of the last event that was seen. None is what happens from now
                on.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            EventsMissedError: What happened after `token` is not known any more.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.WatchEventsRequest("" if token is None else token)
        events = self._stream(operations.WATCH_EVENTS, request, timeout)
        return AsyncEvents(events, await first_of(events))

    async def list_snapshots(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> list[SnapshotInfo]:
        """Return what is known of each snapshot in the orchestrator's store, the oldest first.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        result = await self._perform(operations.LIST_SNAPSHOTS, models.ListSnapshotsRequest(), timeout)
        return list(result.snapshots)

    async def remove_snapshot(
        self, snapshot_path: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """Remove a snapshot from the orchestrator's store. What was started from it goes on.

        Args:
            snapshot_path: Snapshot to remove, as snapshot_sandbox or list_snapshots answered it.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: There is no such snapshot.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.RemoveSnapshotRequest(snapshot_path)
        await self._perform(operations.REMOVE_SNAPSHOT, request, timeout)
