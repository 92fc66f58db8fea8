# Generated from specs/ and the clients' calls by `python -m codegen`; do not edit.
"""What starts and lists sandboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from os import PathLike
from typing import Self

from ...models import (
    IdleAction,
    NetworkMode,
    SandboxStatus,
    SandboxType,
    SnapshotInfo,
    SnapshotResult,
    StartType,
)
from ...models.network import Network, network_fields
from ...models.secret import Secret
from ...models.volumes import Volume
from ...options import NOT_GIVEN, NotGiven
from .api import AsyncSandboxAPI
from .sandbox_handle import AsyncSandboxHandle

__all__ = ["AsyncCreation"]


class AsyncCreation(AsyncSandboxHandle):
    """Starts and lists sandboxes as objects."""

    @classmethod
    async def create(
        cls,
        image: str | None = None,
        *,
        type: StartType | None = None,
        command: Sequence[str] | None = None,
        memory_mb: int | None = None,
        cpu_cores: float | None = None,
        kernel_image: str | None = None,
        initrd_path: str | None = None,
        network: Network | NetworkMode | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        ttl: float | None = None,
        pids: int | None = None,
        shm_mb: int | None = None,
        env: Mapping[str, str] | Sequence[str] | None = None,
        user: str | None = None,
        image_command: bool = False,
        idle_timeout: float | None = None,
        on_idle: IdleAction | None = None,
        auto_resume: bool = False,
        volumes: Mapping[str, str | PathLike[str] | Volume] | Sequence[str] | None = None,
        secrets: Mapping[str, Secret] | Sequence[str] | None = None,
        disk_mb: int | None = None,
        snapshot: SnapshotResult | SnapshotInfo | str | None = None,
        client: AsyncSandboxAPI | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Self:
        """Start a sandbox and return it once its main process runs.

        Args:
            image: Image to start from; what names one depends on the runtime. None is the runtime's default.
            type: Runtime that runs the sandbox: bubblewrap, docker, gvisor, firecracker, or auto for the best
                one that the host has. None is auto.
            command: Main process and its arguments. None has the sandbox idle until it is stopped, whatever
                the image says; see image_command.
            memory_mb: Memory limit in MiB, 1 to 2147483647. None is the snapshot's, or 512.
            cpu_cores: CPU limit in cores, above 0 and at most 1024. None is the snapshot's, or 1.
            kernel_image: Path of a guest kernel on the orchestrator's host. Firecracker only. None is the
                engine's.
            initrd_path: Path of an initial RAM disk on the orchestrator's host. Firecracker only. None is the
                engine's.
            network: Network of the sandbox: none (nothing but its own loopback), policy (what network_allow
                names, through the orchestrator), or bridge, also called open (out through the host). None is
                the snapshot's, or the orchestrator's default. A `Network` is a policy.
            name: Name that the sandbox can be found by, of the same form as an ID. None is no name.
            labels: Labels that the sandbox can be found by, each NAME=value. Or a mapping of names to values.
            ttl: Seconds after which the sandbox expires and is removed, at most ten years. None is the
                snapshot's, or the orchestrator's default.
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
            volumes: Volumes that the sandbox has, each SOURCE:TARGET, or SOURCE:TARGET:ro to be read alone.
                The source is the name of a volume, or the absolute path of a directory of the orchestrator's
                host. Those of the snapshot stay where none of these has their target. Or a mapping of targets
                to sources, each a name, a path that may be relative, or a `Volume`.
            secrets: Secrets that programs have placeholders of, each NAME@HOST,HOST=VALUE: the gate of a
                network policy puts the value into requests to those hosts, each named as in network_allow.
                Never answered, and no part of snapshots. Or a mapping of names to `Secret`.
            disk_mb: Most that the sandbox may have written, in MiB, 1 to 2147483647: files that it makes or
                changes, and what its file system needs for them. None is the snapshot's, or no limit.
            snapshot: Snapshot to start from, or its ID, name or path.
            client: Performs the calls, and is not closed; None for one of the sandbox's own.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range, or the orchestrator refuses it.
            RuntimeUnavailableError: The orchestrator's host lacks the runtime.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return await cls._started(
            client,
            snapshot,
            type=type,
            image=image,
            command=command,
            memory_mb=memory_mb,
            cpu_cores=cpu_cores,
            kernel_image=kernel_image,
            initrd_path=initrd_path,
            **network_fields(network),
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
            volumes=volumes,
            secrets=secrets,
            disk_mb=disk_mb,
            timeout=timeout,
        )

    @classmethod
    def list(
        cls,
        *,
        status: SandboxStatus | None = None,
        type: SandboxType | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        client: AsyncSandboxAPI | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> AsyncIterator[Self]:
        """Yield each of the sandboxes that there are, the oldest first.

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
        return cls._listed(client, status=status, type=type, labels=labels, timeout=timeout)
