# Derived from flash_sandbox/clients/aio/sandbox.py by `python -m codegen`; do not edit.
"""A sandbox as an object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from ...display import html_table
from ...errors import SandboxError, SandboxNotFoundError
from ...models import (
    IdleAction,
    Network,
    SandboxStatus,
    SandboxType,
    SnapshotInfo,
    SnapshotResult,
    StartType,
)
from ...options import NOT_GIVEN, NotGiven
from ..delegation import of_sandbox
from .api import SandboxAPI
from .client import connect
from .commands import Commands, Run
from .files import Files
from .object_calls import ObjectCalls

__all__ = ["Sandbox"]


class Sandbox(Run, ObjectCalls):
    """One sandbox. As a context manager it stops the sandbox at the end.

    `create`, `connect` and `list` need no client: without one, a sandbox has one of its own, closed when it
    is stopped. It uses the orchestrator that the environment names (FLASH_SANDBOX_ADDR: an address as
    `connect` takes it; FLASH_SANDBOX_API_KEY), and where it names none, one that this process starts
    for itself on first use. That ends with the process, as do its sandboxes, and keeps no files but pulled
    images. It needs Linux and the extra ``flash-sandbox[orchestrator]``.

    Args:
        client: Performs the calls; it is not closed.
        sandbox_id: ID of a sandbox; whether it exists is not asked (see `connect`).
    """

    _client: SandboxAPI
    _ids: tuple[str]
    _owns_client = False
    _is_environments = False

    status = of_sandbox(SandboxAPI.get_status)
    info = of_sandbox(SandboxAPI.get_info)
    logs = of_sandbox(SandboxAPI.get_logs)
    metrics = of_sandbox(SandboxAPI.get_metrics)
    metrics_history = of_sandbox(SandboxAPI.get_metrics_history)
    platform_info = of_sandbox(SandboxAPI.get_platform_info)
    run_python = of_sandbox(SandboxAPI.run_python)
    keep_alive = of_sandbox(SandboxAPI.keep_alive)
    snapshot = of_sandbox(SandboxAPI.snapshot_sandbox)
    pause = of_sandbox(SandboxAPI.pause_sandbox)
    resume = of_sandbox(SandboxAPI.resume_sandbox)

    def __init__(self, client: SandboxAPI, sandbox_id: str) -> None:
        super().__init__(client, sandbox_id)

    def fork(self, count: int = 1, *, timeout: float | NotGiven | None = NOT_GIVEN) -> list[Self]:
        """Start copies of it with its files, limits, variables and labels; all of them, or none.

        Of a gvisor sandbox, copies also have the memory and the processes; of others the main process starts
        anew. It goes on as it was. The copies use the client that it was given, or each has one of its own.

        Args:
            count: How many copies to start, 1 to 100.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            WrongStateError: It is in a state in which this cannot be done.
            AtCapacityError: The orchestrator takes no such number of sandboxes.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        client = None if self._is_environments else self._client
        ids = self._client.fork_sandbox(self.id, count, timeout=timeout)
        return [self._over(client, sandbox_id) for sandbox_id in ids]

    fork_sandbox = fork

    @property
    def id(self) -> str:
        """Return the ID of the sandbox."""
        return self._ids[0]

    @property
    def commands(self) -> Commands:
        """Return what runs, starts and lists commands in it."""
        return Commands(self._client, self.id)

    @property
    def files(self) -> Files:
        """Return what reads, writes and lists its files."""
        return Files(self._client, self.id)

    @classmethod
    def create(
        cls,
        image: str | None = None,
        *,
        command: Sequence[str] | None = None,
        type: StartType | None = None,
        memory_mb: int | None = None,
        cpu_cores: float | None = None,
        pids: int | None = None,
        shm_mb: int | None = None,
        network: Network | None = None,
        env: Mapping[str, str] | Sequence[str] | None = None,
        user: str | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        ttl: float | None = None,
        snapshot: SnapshotResult | SnapshotInfo | str | None = None,
        image_command: bool = False,
        idle_timeout: float | None = None,
        on_idle: IdleAction | None = None,
        auto_resume: bool = False,
        kernel_image: str | None = None,
        initrd_path: str | None = None,
        client: SandboxAPI | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Self:
        """Start a sandbox and return it once its main process runs.

        Args:
            image: Image to start from; what names one depends on the runtime. None is the runtime's default.
            command: Main process and its arguments. None has the sandbox idle until it is stopped, whatever
                the image says; see image_command.
            type: Runtime that runs the sandbox: bubblewrap, docker, gvisor, firecracker, or auto for the best
                one that the host has. None is auto.
            memory_mb: Memory limit in MiB, 1 to 2147483647. None is the snapshot's, or 512.
            cpu_cores: CPU limit in cores, above 0 and at most 1024. None is the snapshot's, or 1.
            pids: Most processes and threads, 16 to 4194304. None is the snapshot's, or 512.
            shm_mb: Size of /dev/shm in MiB, 1 to 2147483647. None is the snapshot's, or 64.
            network: Network of the sandbox: none (nothing but its own loopback) or bridge (out through the
                host). None is the snapshot's, or the orchestrator's default.
            env: Variables of every process of the sandbox besides the image's, each NAME=value. Those of the
                snapshot stay where none of these has their name. Or a mapping of names to values.
            user: User that the main process runs as, and each command that names none: a name, UID or
                UID:GID; which can be given depends on the runtime. None is the snapshot's, or the runtime's
                default.
            name: Name that the sandbox can be found by, of the same form as an ID. None is no name.
            labels: Labels that the sandbox can be found by, each NAME=value. Or a mapping of names to values.
            ttl: Seconds after which the sandbox expires and is removed, at most ten years. None is the
                snapshot's, or the orchestrator's default.
            snapshot: Snapshot to start from, or its path.
            image_command: Whether the main process is the image's own command. Refused where a command is
                given, too, or the image has none.
            idle_timeout: Seconds after which a sandbox is idle that no call uses, that prints nothing and
                that needs less than 1 % of a core, at most ten years. None is never.
            on_idle: What is done with an idle sandbox: stop, pause, or suspend (paused, its memory on the
                disk; gvisor only). None is stop.
            auto_resume: Whether a call that uses the sandbox resumes it where it is paused.
            kernel_image: Path of a guest kernel on the orchestrator's host. Firecracker only. None is the
                engine's.
            initrd_path: Path of an initial RAM disk on the orchestrator's host. Firecracker only. None is the
                engine's.
            client: Performs the calls, and is not closed; None for one of the sandbox's own.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range, or the orchestrator refuses it.
            RuntimeUnavailableError: The orchestrator's host lacks the runtime.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        sandbox = cls._over(client)
        try:
            sandbox_id = sandbox._client.start_sandbox(
                type,
                image,
                command,
                memory_mb,
                cpu_cores,
                kernel_image,
                initrd_path,
                snapshot if snapshot is None or isinstance(snapshot, str) else snapshot.snapshot_path,
                snapshot.mem_file_path if isinstance(snapshot, SnapshotResult) else None,
                network,
                name=name,
                labels=labels,
                ttl_seconds=ttl,
                pids=pids,
                shm_mb=shm_mb,
                env=env,
                user=user,
                image_command=image_command,
                idle_timeout=idle_timeout,
                on_idle=on_idle,
                auto_resume=auto_resume,
                timeout=timeout,
            )
        except BaseException:
            sandbox.close()
            raise
        sandbox._ids = (sandbox_id,)
        return sandbox

    @classmethod
    def connect(
        cls,
        sandbox_id: str,
        *,
        client: SandboxAPI | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Self:
        """Return a sandbox that was started before, once the orchestrator says that it is there.

        Args:
            sandbox_id: ID of the sandbox.
            client: Performs the calls, and is not closed; None for one of the sandbox's own.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        sandbox = cls._over(client, sandbox_id)
        try:
            sandbox.status(timeout=timeout)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    @classmethod
    def list(
        cls,
        *,
        status: SandboxStatus | None = None,
        type: SandboxType | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        client: SandboxAPI | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Iterator[Self]:
        """Yield each of the sandboxes that there are, the oldest first; see the clients' `sandboxes`, too.

        Args:
            status: Only sandboxes in this state. None is all.
            type: Only sandboxes of this runtime. None is all.
            labels: Only sandboxes that have each of these labels, NAME=value. Or a mapping of names to
                values.
            client: Performs the calls, and is not closed; None for one of each sandbox's own.
            timeout: Seconds for the call of each page; None for no time-out; the client's where it is left
                out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        lister = cls._over(client)
        try:
            found = lister._client.sandboxes(status=status, type=type, labels=labels, timeout=timeout)
            for info in found:
                yield cls._over(client, info.id)
        finally:
            lister.close()

    @classmethod
    def _over(cls, client: SandboxAPI | None, sandbox_id: str = "") -> Self:
        """Return one that uses a client, or else has one of its own."""
        sandbox = cls(connect() if client is None else client, sandbox_id)
        sandbox._owns_client = sandbox._is_environments = client is None
        return sandbox

    def stop(self, *, cleanup: bool = True, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Stop it, end all of its processes and remove what it held; its ID is unknown afterwards.

        Args:
            cleanup: False ends the processes of the sandbox but keeps what it holds, to be looked at, until
                it is stopped again.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        try:
            self._client.stop_sandbox(self.id, cleanup=cleanup, timeout=timeout)
        except SandboxNotFoundError:
            self.close()
            raise
        if cleanup:
            self.close()

    stop_sandbox = stop

    def close(self) -> None:
        """Release the connections of its own client, if it has one. The sandbox goes on."""
        if self._owns_client:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except SandboxNotFoundError:
            pass
        except SandboxError as error:
            if exc is None:
                raise
            # What went wrong inside the block matters more.
            exc.add_note(f"the sandbox could not be stopped: {error}")
        finally:
            self.close()

    def __copy__(self) -> Self:
        # Its client stays this one's, which closes it.
        copied = object.__new__(type(self))
        vars(copied).update(vars(self), _owns_client=False)
        return copied

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        # What is unpickled has a client of its own, shared with no other sandbox.
        return vars(self) | {
            "_client": self._client.with_options(),
            "_owns_client": True,
            "_is_environments": False,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self._client!r})"

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [("id", self.id), ("client", repr(self._client))])
