"""The docker runtime: sandboxes as hardened containers of Docker Engine.

The first process of each is the guest agent; the engine starts no other. A container has few capabilities
(`privileges`), no way to gain others, the engine's seccomp profile, limits of memory (no swap), CPU and PIDs
that are read back before it starts, nothing of the host but the agent's directory, read-only, and no network
unless it is asked for. Containers bear the name of the state directory, so that the next orchestrator on it
finds them.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from ....errors import (
    InternalServerError,
    InvalidArgumentError,
    PermissionDeniedError,
    RuntimeUnavailableError,
    SandboxError,
    SandboxNotFoundError,
    UnavailableError,
    UnsupportedError,
    WrongStateError,
)
from ....models import StartRequest
from ...cancellation import completed
from ...guest.program import AgentMissing, agent_program
from ...guest.streams import AgentStream
from ...images.store import DEFAULT_REGISTRIES
from ...linux.limits import MIB, Limits, Usage
from ...network.egress import INTERNET, Egress
from ...snapshots.manifest import Manifest
from ...snapshots.store import Snapshots
from ...state.directory import owner_name
from ...volumes.roots import NO_VOLUMES, VolumeRoots
from ..base import Adoption, Availability, Created, Kept, unwritten
from ..capabilities import LIMIT_OPTIONS, Capabilities
from .api import Engine, EngineError, EngineMissing
from .bridge import Bridge
from .containers import LEAST_CPU_CORES, Container, Labels, disk_obstacle, usage_of_engine, usage_of_host
from .guest_container import GuestContainer
from .guest_containers import GuestContainers
from .image_configs import ImageConfigs
from .lifecycle import Running, halt, remove, running_container
from .pull import Event, Puller, checked_name
from .snapshots import SnapshotImages

__all__ = ["DockerRuntime"]

_ENGINE_BACK_SECONDS: Final = (0.5, 30.0)
_RECOVERED_AT_ONCE: Final = 16


@dataclass(slots=True)
class _Sandbox:
    request: StartRequest
    image: str
    container: str
    running: Running
    # None for one whose processes have been ended.
    live: GuestContainer | None = None
    # As counted last.
    disk_used: int = 0

    async def let_go(self) -> None:
        """Give its agent up."""
        if self.live is not None:
            await self.live.close()


class DockerRuntime:
    """Runs sandboxes with Docker Engine.

    The engine may come and go: only what needs it fails while it is away.

    Args:
        state_dir: Directory of the orchestrator's own.
        host: Where the engine is, as in ``$DOCKER_HOST``; None for what that says, or the usual socket.
        registries: Patterns of the registries whose images may be started; ``docker-daemon`` for every image
            of the engine's.
        egress: What sandboxes with a network may reach.
        snapshots: Where snapshots are, shared with other runtimes; None for one of its own.
        volumes: Which directories of this host sandboxes may have.
        event: Writes a line of the orchestrator's log.
    """

    name = "docker"
    default_image = "alpine:latest"
    capabilities = Capabilities(
        options=LIMIT_OPTIONS | {"volumes", "disk_mb"},
        networks=("none", "policy", "bridge"),
        users="any",
        snapshot="files",
        own_kernel=False,
        memory_ends="a process",
        outlives=True,
        counts_oom_kills=False,
    )
    shares_kernel = True
    """Whether a sandbox's processes are processes of the engine's host, which can be looked at there."""

    def __init__(
        self,
        state_dir: Path,
        *,
        host: str | None = None,
        registries: Sequence[str] = DEFAULT_REGISTRIES,
        egress: Egress = INTERNET,
        snapshots: Snapshots | None = None,
        volumes: VolumeRoots = NO_VOLUMES,
        event: Event = unwritten,
    ) -> None:
        self._engine = Engine(host)
        self._volumes = volumes
        self._egress = egress
        self._bridge: Bridge | None = None
        self._event = event
        self._puller = Puller(self._engine, registries, event)
        self._directory = state_dir / "containers" / self.name
        self._owner = ""
        self._guests = GuestContainers(
            self._engine,
            self._directory / "agents",
            may_dial=self.shares_kernel and self._engine.is_local,
        )
        self._configs = ImageConfigs(self._engine)
        self._images = SnapshotImages(
            self._engine, self._configs, snapshots or Snapshots(state_dir / "snapshots"), self.name
        )
        self._sandboxes: dict[str, _Sandbox] = {}
        self._starting: set[str] = set()
        # Not looked for yet; found again, and not reported yet.
        self._kept: dict[str, Kept] = {}
        self._found: dict[str, Literal["running", "paused", "stopped"]] = {}
        self._recovery = asyncio.Lock()
        self._recovered = False
        self._cpus = 0

    # What this host can do

    async def check(self) -> Availability:
        """Tell whether an engine answers that can run such sandboxes, and what to do where none does."""
        engine = Engine(self._engine.host)
        try:
            version = await engine.version()
            info = await engine.call("GET", "/info")
            agent_program(str(info.get("Architecture") or ""))
            detail = await self._describe(engine, info)
            bridge = Bridge(engine, self._egress, "", self._is_bridged, self._event)
            obstacle = await bridge.obstacle()
        except (AgentMissing, EngineMissing) as missing:
            return Availability(self.name, False, missing.detail, missing.remedy)
        except EngineError as error:
            return Availability(
                self.name, False, f"Docker Engine refuses: {error.message}", "look at the engine's own log"
            )
        finally:
            await engine.close()
        warnings = _warnings(info)
        if obstacle is not None:
            warnings.append(f"the network bridge is refused: {obstacle}")
        return Availability(self.name, True, f"{detail} (API {version})", warnings=tuple(warnings))

    async def _describe(self, engine: Engine, info: Mapping[str, Any]) -> str:
        return f"Docker Engine {info.get('ServerVersion', '')} at {engine.host}"

    async def open(self, kept: Sequence[Kept] = ()) -> None:
        """Make ready. Needs no engine."""
        self._kept = {one.id: one for one in kept}
        self._owner = await asyncio.to_thread(owner_name, self._directory)
        self._bridge = Bridge(self._engine, self._egress, self._owner, self._is_bridged, self._event)

    async def close(self, *, end_sandboxes: bool = True) -> None:
        """Release everything; without `end_sandboxes` containers go on, and the network with them."""
        async with AsyncExitStack() as stack:
            # The connection last, and whatever fails before.
            stack.push_async_callback(self._engine.close)
            if self._bridge is not None:
                stack.push_async_callback(self._bridge.close)
            for sandbox_id, sandbox in list(self._sandboxes.items()):
                if not end_sandboxes:
                    await sandbox.let_go()
                    continue
                with suppress(SandboxError):
                    await self.stop(sandbox_id)

    # Sandboxes that outlived their orchestrator

    async def adopt(self) -> Adoption:
        """Find the sandboxes that are alive, as soon as the engine is there."""
        try:
            await self._recover()
        except (EngineMissing, EngineError):
            if self._kept:
                return Adoption(complete=False)
        found, self._found = self._found, {}
        return Adoption(found)

    async def _recover(self) -> None:
        """Adopt what is kept and alive, and remove the rest of what bears this owner's name."""
        async with self._recovery:
            if self._recovered:
                return
            info = await self._engine.call("GET", "/info")
            self._cpus = int(info.get("NCPU") or 0)
            self._guests.machine = str(info.get("Architecture") or platform.machine())
            query = {"all": "true", "filters": json.dumps({"label": [f"{Labels.OWNER}={self._owner}"]})}
            room = asyncio.Semaphore(_RECOVERED_AT_ONCE)

            async def recover(container: Mapping[str, Any]) -> None:
                async with room:
                    await self._recover_one(container)

            found = await self._engine.call("GET", "/containers/json", query=query)
            # All of them end before one that has failed lets this be tried again.
            for outcome in await asyncio.gather(*map(recover, found), return_exceptions=True):
                if outcome is not None:
                    raise outcome
            self._kept.clear()
            await self._guests.keep({*self._sandboxes, *self._starting})
            await self._images.collect(self._owner)
            if self._is_bridged():
                await self._guard()
            self._recovered = True

    async def _recover_one(self, container: Mapping[str, Any]) -> None:
        sandbox_id = str(container["Labels"].get(Labels.SANDBOX, ""))
        if sandbox_id in self._sandboxes.keys() | self._starting:
            return
        kept = self._kept.get(sandbox_id)
        if kept is not None and (kept.halted or container["State"] in ("running", "paused")):
            await self._adopt_one(kept, str(container["Id"]), container["State"])
        else:
            await remove(self._engine, str(container["Id"]))

    def _is_bridged(self) -> bool:
        """Tell whether a sandbox has a network, or may be about to."""
        sandboxes = self._sandboxes.values()
        return bool(self._starting) or any(one.request.network == "bridge" for one in sandboxes)

    async def _guard(self) -> None:
        """Put the rules back that adopted sandboxes had, in case somebody removed them meanwhile."""
        try:
            await self._network("bridge")
        except PermissionDeniedError as error:
            self._event("network unguarded", runtime=self.name, detail=error.detail)

    async def _adopt_one(self, kept: Kept, container_id: str, state: str) -> None:
        if kept.halted and state != "exited":
            await halt(self._engine, container_id)
        running = running_container(await self._engine.call("GET", f"/containers/{container_id}/json"))
        sandbox = _Sandbox(kept.request, kept.created.image, container_id, running)
        if not kept.halted:
            sandbox.live = self._guests.adopt(kept.id, container_id, running, kept.created.details)
        self._sandboxes[kept.id] = sandbox
        self._found[kept.id] = "stopped" if kept.halted else "paused" if state == "paused" else "running"
        self._event("sandbox adopted", sandbox=kept.id, runtime=self.name, state=self._found[kept.id])

    # Start

    async def create(
        self, sandbox_id: str, request: StartRequest, snapshot: Manifest | None = None
    ) -> Created:
        """Create a sandbox and return once its agent runs; leave nothing behind if that fails."""
        if request.volumes and os.geteuid() != 0:
            raise UnsupportedError(
                f"the {self.name} runtime gives volumes only where the orchestrator is root"
            )
        self._starting.add(sandbox_id)
        try:
            await self._recover()
            started_from, image = await self._image(request, snapshot)
            container = await self._container(sandbox_id, request, started_from)
            config = await self._configs.of(started_from)
            with self._volumes.opened(request.volumes) as volumes:
                live, agent = await self._guests.start(replace(container, volumes=volumes), config)
        except AgentMissing as missing:
            raise RuntimeUnavailableError(str(missing)) from missing
        except EngineMissing as missing:
            self._recovered = False
            raise RuntimeUnavailableError(f"{missing.detail}; {missing.remedy}") from missing
        except EngineError as error:
            raise InternalServerError(f"Docker Engine: {error.message}") from error
        finally:
            self._starting.discard(sandbox_id)
        self._sandboxes[sandbox_id] = _Sandbox(request, image, live.id, live.running, live)
        return replace(agent, image=image)

    async def _image(self, request: StartRequest, snapshot: Manifest | None) -> tuple[str, str]:
        """Return what to start from, and the name of the image."""
        if snapshot:
            return await self._images.image_of(snapshot), snapshot.image_for(request.image)
        image = checked_name(request.image or self.default_image)
        # By its ID: the name may mean another image in a moment.
        return await self._puller.image_id(image), image

    async def _container(self, sandbox_id: str, request: StartRequest, image: str) -> Container:
        """Return what is asked of the engine."""
        labels = {
            Labels.OWNER: self._owner,
            Labels.RUNTIME: self.name,
            Labels.SANDBOX: sandbox_id,
        }
        limits = Limits.of(request)
        if limits.cpu_cores < LEAST_CPU_CORES:
            raise InvalidArgumentError(
                f"cpu_cores must be at least {LEAST_CPU_CORES:g} for the kernel to enforce it, "
                f"not {limits.cpu_cores:g}"
            )
        if request.disk_mb and (obstacle := disk_obstacle(await self._engine.call("GET", "/info"))):
            raise UnsupportedError(f"disk_mb cannot be enforced by Docker Engine: {obstacle}")
        if self._cpus:
            # The engine refuses more cores than there are, where the limit would be none.
            limits = replace(limits, cpu_cores=min(limits.cpu_cores, self._cpus))
        container = Container(
            sandbox_id=sandbox_id,
            image=image,
            request=request,
            limits=limits,
            network=await self._network(request.network),
            labels=labels,
        )
        return await self._refine(container, request)

    async def _network(self, asked: str) -> str:
        """Return the engine's name of the network that a start asks for, which is ready."""
        if asked != "bridge":
            return "none"
        assert self._bridge is not None
        return await self._bridge.ready()

    async def _refine(self, container: Container, request: StartRequest) -> Container:
        """Return the container with what a kind of this runtime adds to it."""
        return container

    async def image_identity(self, image: str) -> str:
        """Return the ID of the image that a name means now."""
        try:
            return await self._puller.image_id(checked_name(image))
        except EngineMissing as missing:
            raise RuntimeUnavailableError(f"{missing.detail}; {missing.remedy}") from missing
        except EngineError as error:
            raise InternalServerError(f"Docker Engine: {error.message}") from error

    # Use

    async def stream(self, sandbox_id: str) -> AgentStream:
        """Return a stream to the agent of the sandbox."""
        return await self._live(sandbox_id).link.connect()

    async def wait(self, sandbox_id: str) -> None:
        """Wait until the container has ended."""
        live = self._live(sandbox_id)
        await asyncio.wait({live.ended})
        # It can be counted only as long as the container is there.
        live.oom_kills()

    async def usage(self, sandbox_id: str, *, sampled: bool = False) -> Usage:
        """Read what the sandbox uses now from the kernel, through the engine where it runs elsewhere."""
        sandbox = self._sandbox(sandbox_id)
        async with self._engine_errors():
            usage = await self._read(sandbox.container, sandbox.running.init)
            disk_mb = sandbox.request.disk_mb
            if not disk_mb:
                return usage
            if not sampled:
                query = {"size": "true"}
                found = await self._engine.call("GET", f"/containers/{sandbox.container}/json", query=query)
                sandbox.disk_used = int(found.get("SizeRw") or 0)
            return replace(usage, disk_used_bytes=sandbox.disk_used, disk_limit_bytes=disk_mb * MIB)

    async def _read(self, container_id: str, init: int) -> Usage:
        usage = usage_of_host(container_id, init)
        if usage is not None:
            return usage
        # Without one-shot the engine waits a second for another reading, to compute a percentage from.
        query = {"stream": "false", "one-shot": "true"}
        return usage_of_engine(
            await self._engine.call("GET", f"/containers/{container_id}/stats", query=query)
        )

    async def pause(self, sandbox_id: str) -> None:
        """Freeze every process of the sandbox."""
        await self._switch(self._live(sandbox_id).id, "pause", paused=True)

    async def resume(self, sandbox_id: str) -> None:
        """Let every process of the sandbox run on."""
        await self._switch(self._live(sandbox_id).id, "unpause", paused=False)

    async def _switch(self, container: str, action: str, *, paused: bool) -> None:
        async with self._engine_errors():
            try:
                await completed(self._engine.call("POST", f"/containers/{container}/{action}"))
            except EngineError:
                state = (await self._engine.call("GET", f"/containers/{container}/json"))["State"]
                if not state["Running"] or state["Paused"] != paused:
                    raise

    async def suspend(self, sandbox_id: str) -> None:
        """Never called: what a sandbox has in memory cannot be written to the disk."""
        raise UnsupportedError(f"the {self.name} runtime suspends nothing")

    async def snapshot(self, sandbox_id: str, start: StartRequest, *, for_forks: bool = False) -> Manifest:
        """Write what the paused sandbox holds: its writable layer, as an image of the engine."""
        sandbox = self._sandbox(sandbox_id)
        async with self._engine_errors():
            return await self._images.commit(
                sandbox.container, start, sandbox.image, sandbox.running.image_digest, self._owner
            )

    async def forget_snapshot(self, snapshot: Manifest) -> None:
        """Remove the image of a snapshot; where the engine is away, the next start does."""
        try:
            await self._images.remove(snapshot)
        except (EngineMissing, EngineError):
            self._recovered = False

    @asynccontextmanager
    async def exporting(self, snapshot: Manifest) -> AsyncIterator[Manifest]:
        """Give a snapshot with the layers of its image as files, for the length of the block."""
        async with self._engine_errors(), self._images.exported(snapshot) as whole:
            yield whole

    async def import_snapshot(self, snapshot: Manifest) -> Manifest:
        """Load the image of a snapshot that `exporting` gave another orchestrator into the engine."""
        async with self._engine_errors():
            return await self._images.imported(snapshot, self._owner)

    async def oom_kills(self, sandbox_id: str) -> int:
        """Tell how often the kernel has ended a process for want of memory; 1 if only the engine knows."""
        sandbox = self._sandbox(sandbox_id)
        kills = sandbox.live.oom_kills() if sandbox.live is not None else None
        if kills is not None:
            return kills
        async with self._engine_errors():
            inspected = await self._engine.call("GET", f"/containers/{sandbox.container}/json")
        return int(bool(inspected["State"].get("OOMKilled")))

    # The end

    async def halt(self, sandbox_id: str) -> None:
        """End every process of the sandbox, and keep its container."""
        sandbox = self._sandbox(sandbox_id)
        await sandbox.let_go()
        async with self._engine_errors():
            await completed(halt(self._engine, sandbox.container))

    async def stop(self, sandbox_id: str) -> None:
        """End every process of the sandbox and remove all that it held, in whatever state it is."""
        sandbox = self._sandbox(sandbox_id)
        await sandbox.let_go()
        async with self._engine_errors():
            await self._guests.remove(sandbox_id, sandbox.container)
            if sandbox.request.snapshot_path:
                await self._images.let_go(sandbox.running.image_digest)
        self._sandboxes.pop(sandbox_id, None)

    def _sandbox(self, sandbox_id: str) -> _Sandbox:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None:
            raise SandboxNotFoundError(f"there is no {self.name} sandbox {sandbox_id}")
        return sandbox

    def _live(self, sandbox_id: str) -> GuestContainer:
        live = self._sandbox(sandbox_id).live
        if live is None:
            raise WrongStateError(f"the processes of {self.name} sandbox {sandbox_id} have been ended")
        return live

    @asynccontextmanager
    async def _engine_errors(self) -> AsyncIterator[None]:
        """Raise what the engine refuses, or that it is away, as an error of the interface."""
        try:
            yield
        except EngineMissing as missing:
            # What it still holds of a start that failed meanwhile is removed by the next one.
            self._recovered = False
            raise UnavailableError(missing.detail) from missing
        except EngineError as error:
            if error.status in (404, 409):
                raise WrongStateError(f"Docker Engine: {error.message}") from error
            if error.lacks_room:
                raise UnavailableError(f"Docker Engine: {error.message}") from error
            raise InternalServerError(f"Docker Engine: {error.message}") from error


def _warnings(info: Mapping[str, Any]) -> list[str]:
    needed = {"MemoryLimit": "memory", "SwapLimit": "swap", "CpuCfsQuota": "CPU", "PidsLimit": "PIDs"}
    found = [
        f"the engine cannot limit {what}: starts are refused"
        for key, what in needed.items()
        if not info.get(key)
    ]
    if obstacle := disk_obstacle(info):
        found.append(f"starts with disk_mb are refused: {obstacle}")
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    if not any(option.startswith("name=seccomp") and "unconfined" not in option for option in options):
        found.append("the engine has no seccomp profile: system calls of sandboxes are not filtered")
    return found
