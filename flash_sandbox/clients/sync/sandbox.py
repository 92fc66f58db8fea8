# Derived from flash_sandbox/clients/aio/sandbox.py by `python -m codegen`; do not edit.
"""A sandbox as an object: what a client does with an ID, without the ID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

from ...display import html_table
from ...errors import SandboxError, SandboxNotFoundError
from ...models import Network, StartType
from ...options import NOT_GIVEN, NotGiven
from .api import SandboxAPI
from .client import connect
from .object_calls import ObjectCalls

__all__ = ["Sandbox"]


class Sandbox(ObjectCalls):
    """One sandbox. As a context manager it stops the sandbox at the end.

    `create` needs no client: then the sandbox has one of its own, closed when it is stopped. It uses the
    orchestrator that the environment names (FLASH_SANDBOX_ADDR: an address as clients take it, with
    ``grpc://`` or ``grpcs://`` before it for gRPC; FLASH_SANDBOX_API_KEY), and where it names none, one that
    this process starts for itself on first use. That ends with the process, as do its sandboxes, and keeps no
    files but pulled images. It needs Linux and the extra ``flash-sandbox[orchestrator]``.

    Args:
        client: Performs the calls; it is not closed.
        sandbox_id: ID of a sandbox; whether it exists is not asked (see `connect`).
    """

    def __init__(self, client: SandboxAPI, sandbox_id: str) -> None:
        self._client = client
        self._id = sandbox_id
        self._owns_client = False

    @property
    def id(self) -> str:
        """Return the ID of the sandbox."""
        return self._id

    @classmethod
    def create(
        cls,
        client: SandboxAPI | None = None,
        type: StartType | Literal[""] = "",
        image: str = "",
        command: Sequence[str] | None = None,
        memory_mb: int | None = None,
        cpu_cores: float | None = None,
        kernel_image: str | None = None,
        initrd_path: str | None = None,
        snapshot_path: str | None = None,
        mem_file_path: str | None = None,
        network: Network | Literal[""] | None = None,
        *,
        name: str = "",
        labels: Mapping[str, str] | Sequence[str] | None = None,
        ttl_seconds: float = 0.0,
        pids: int | None = None,
        shm_mb: int | None = None,
        env: Mapping[str, str] | Sequence[str] | None = None,
        user: str = "",
        image_command: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Self:
        """Start a sandbox and return it once its main process runs.

        Args:
            client: Performs the calls, and is not closed; None for one of the sandbox's own.
            type: Runtime: ``bubblewrap``, ``docker``, ``gvisor``, ``firecracker``, or ``auto`` (also when
                empty) for the best one that the orchestrator's host has.
            image: Image to start from; empty is the runtime's default.
            command: Main process and its arguments; None has the sandbox idle until it is stopped, whatever
                the image says.
            memory_mb: Memory limit in MiB, 1 to 2**31 - 1; None is the snapshot's, or 512.
            cpu_cores: CPU limit in cores, above 0 and at most 1024; None is the snapshot's, or 1.
            kernel_image: Guest kernel on the orchestrator's host (Firecracker only).
            initrd_path: Initial RAM disk on the orchestrator's host (Firecracker only).
            snapshot_path: Snapshot to start from, as `snapshot_sandbox` returned it.
            mem_file_path: Memory file of that snapshot, where the runtime keeps one.
            network: ``none`` (nothing but its own loopback) or ``bridge`` (out through the host); None is
                the snapshot's, or the orchestrator's default.
            name: Name that it can be found by, of the same form as an ID.
            labels: Labels that it can be found by: names and values, or texts ``NAME=value``.
            ttl_seconds: Seconds after which it expires and is removed, at most ten years; 0 is the
                snapshot's, or never.
            pids: Most processes and threads, 16 to 2**22; None is the snapshot's, or 512.
            shm_mb: Size of ``/dev/shm`` in MiB, 1 to 2**31 - 1; None is the snapshot's, or 64.
            env: Variables of every process besides the image's: names and values, or texts ``NAME=value``.
                Those of the snapshot stay where none of these has their name.
            user: User that the main process runs as, and each command that names none: a name, ``UID`` or
                ``UID:GID``; empty is the snapshot's, or the runtime's default. Some know no other than root.
            image_command: True runs the image's own command as the main process.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range, or the orchestrator refuses it.
            RuntimeUnavailableError: The orchestrator's host lacks the runtime.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        performer = connect() if client is None else client
        try:
            sandbox_id = performer.start_sandbox(
                type,
                image,
                command,
                memory_mb,
                cpu_cores,
                kernel_image,
                initrd_path,
                snapshot_path,
                mem_file_path,
                network,
                name=name,
                labels=labels,
                ttl_seconds=ttl_seconds,
                pids=pids,
                shm_mb=shm_mb,
                env=env,
                user=user,
                image_command=image_command,
                timeout=timeout,
            )
        except BaseException:
            if client is None:
                performer.close()
            raise
        sandbox = cls(performer, sandbox_id)
        sandbox._owns_client = client is None
        return sandbox

    @classmethod
    def connect(
        cls, client: SandboxAPI, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> Self:
        """Return a sandbox that was started before, once the orchestrator says that it is there.

        Args:
            client: Performs the calls; it is not closed.
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        client.get_status(sandbox_id, timeout=timeout)
        return cls(client, sandbox_id)

    def stop_sandbox(self, *, cleanup: bool = True, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Stop a sandbox, end all of its processes and remove what it held; its ID is unknown afterwards.

        Args:
            cleanup: False ends its processes but keeps what it holds, to be looked at: it is ``stopped``
                then, until it is stopped again.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        try:
            super().stop_sandbox(cleanup=cleanup, timeout=timeout)
        except SandboxNotFoundError:
            self._close_own_client()
            raise
        if cleanup:
            self._close_own_client()

    def _close_own_client(self) -> None:
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
            self.stop_sandbox()
        except SandboxNotFoundError:
            pass
        except SandboxError as error:
            if exc is None:
                raise
            # What went wrong inside the block matters more.
            exc.add_note(f"the sandbox could not be stopped: {error}")
        finally:
            self._close_own_client()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._id!r}, {self._client!r})"

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [("id", self._id), ("client", repr(self._client))])
