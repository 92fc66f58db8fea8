"""The gvisor runtime: sandboxes under gVisor's own kernel, which runs as a process of this host.

The ``runsc`` program is driven directly, with OCI bundles made here. All that it starts in a sandbox is the
guest agent, which runs everything else. Sandboxes outlive an orchestrator that is killed: the next one on the
same state directory goes on with them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from ....errors import (
    InternalServerError,
    InvalidArgumentError,
    RuntimeUnavailableError,
    SandboxError,
    SandboxNotFoundError,
    UnavailableError,
)
from ....models import StartRequest
from ...archives.supplied import write_supplied
from ...guest.guest import Defaults
from ...guest.program import AgentMissing, agent_program
from ...guest.streams import AgentStream
from ...images.main_command import main_command
from ...images.rootfs import HOST, Images, RootFilesystem
from ...linux import cgroups
from ...linux.limits import MIB, Limits, Usage
from ...linux.tree_walk import remove_tree
from ...snapshots.manifest import Manifest, refused
from ...snapshots.store import Snapshots
from ...state.directory import owner_name
from ...volumes.roots import NO_VOLUMES, VolumeRoots
from ..base import Adoption, Availability, Created, Kept, Missing, unwritten
from ..bubblewrap.bwrap import environment
from ..capabilities import LIMIT_OPTIONS, Capabilities
from . import bundle
from .container import Container
from .runsc import Runsc, RunscCrashedError, RunscError
from .unprivileged import USER, give_away

__all__ = ["GvisorRuntime"]

_FAMILY: Final = "flash-sandbox-gvisor"
# Of this host, threads included: gVisor's kernel has some for what runs in it and, on the platform ptrace,
# needs one in each process of the sandbox for each of those. Where it gets no more, the sandbox ends.
_PIDS: Final = 4096
# With 18, gVisor's own kernel does not always start.
_LEAST_MEMORY_MB: Final = 24
_AGENT_MODE: Final = 0o555
# Of what an orchestrator before has left: each costs a program and an answer.
_ADOPTED_AT_ONCE: Final = 8
# Of its image: its digest, what it goes by in the store, where it is; empty where it has none.
_DETAILS: Final = ("digest", "chain", "lower")


@dataclass(slots=True)
class _Sandbox:
    container: Container
    root: RootFilesystem


class GvisorRuntime:
    """Runs sandboxes with ``runsc``. Needs root.

    Args:
        state_dir: Directory of the orchestrator's own.
        image_roots: Directories below which images may be named, besides ``state_dir/rootfs``.
        images: Where root file systems come from, shared with other runtimes; None for one of its own.
        snapshots: Where snapshots are, shared with other runtimes; None for one of its own.
        volumes: Which directories of this host sandboxes may have.
        event: Writes a line of the log: a name, and fields by name.
    """

    name = "gvisor"
    default_image = HOST
    capabilities = Capabilities(
        # Its own kernel counts processes, and knows no limit of them.
        options=LIMIT_OPTIONS - {"pids"} | {"volumes"},
        networks=("none", "policy"),
        users="any",
        snapshot="files, memory and processes",
        own_kernel=True,
        memory_ends="the sandbox",
        outlives=True,
        counts_oom_kills=False,
        snapshots_agent=True,
        suspends=True,
        # A file of its own in place of memory would end it with SIGBUS once no space is left for that.
        reasons={"disk_mb": "what its sandboxes write lies in their memory, which memory_mb limits"},
    )

    def __init__(
        self,
        state_dir: Path,
        *,
        image_roots: Sequence[Path] = (),
        images: Images | None = None,
        snapshots: Snapshots | None = None,
        volumes: VolumeRoots = NO_VOLUMES,
        event: Callable[..., None] = unwritten,
    ) -> None:
        self._event = event
        self._volumes = volumes
        self._state_dir = state_dir
        self._own = state_dir / "gvisor"
        self._bundles = self._own / "sandboxes"
        self._roots = self._own / "roots"
        self._images = images or Images(state_dir / "images", (state_dir / "rootfs", *image_roots))
        self._snapshots = snapshots or Snapshots(state_dir / "snapshots")
        self._hierarchy: cgroups.Hierarchy | None = None
        self._host_root: RootFilesystem | None = None
        self._found: tuple[tuple[object, ...], Runsc] | None = None
        self._sandboxes: dict[str, _Sandbox] = {}
        self._kept: dict[str, Kept] = {}
        self._starting: set[str] = set()

    # What this host can do

    async def check(self) -> Availability:
        """Tell whether this host can run such sandboxes, and what to do where it cannot."""
        try:
            runsc = await asyncio.to_thread(self._find)
            agent_program()
            hierarchy = self._hierarchy or cgroups.find_hierarchy()
        except (Missing, AgentMissing) as missing:
            return Availability(self.name, False, missing.detail, missing.remedy)
        except cgroups.CgroupError as error:
            return Availability(self.name, False, f"limits cannot be enforced: {error}", "mount the cgroups")
        if self._hierarchy is None:
            hierarchy.close()
        detail = f"{runsc.version}, platform {runsc.platform}, limits by {hierarchy.description}"
        return Availability(self.name, True, detail)

    def _find(self) -> Runsc:
        """Return the program; raise `Missing` where this host cannot run it."""
        if sys.platform != "linux":
            raise Missing(f"gVisor needs Linux, not {sys.platform}", "run the orchestrator on Linux")
        if os.geteuid() != 0:
            raise Missing("gVisor needs root, and this is an ordinary user", "run the orchestrator as root")
        path = shutil.which("runsc")
        status = os.stat(path) if path else None
        version = (path, status.st_ino, status.st_mtime_ns) if status else ()
        if self._found is None or self._found[0] != version or not version:
            self._found = (version, Runsc.find(self._own / "runsc"))
        return self._found[1]

    async def open(self, kept: Sequence[Kept] = ()) -> None:
        """Make ready. Sandboxes that an orchestrator left behind are seen to by `adopt`."""
        self._kept = {one.id: one for one in kept}
        if os.geteuid() != 0:
            return
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        for directory in (self._own, self._bundles, self._roots, self._own / "runsc"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(cgroups.CgroupError):
            self._hierarchy = cgroups.find_hierarchy(_FAMILY, owner_name(self._own))
        for log in (self._own / "runsc").glob("log-*"):
            log.unlink()
        with suppress(AgentMissing):
            self._install_agent(agent_program())
        write_supplied(self._own / "supplied")
        self._images.open()

    def _install_agent(self, program: Path) -> None:
        """Copy the agent to where bundles can link to it: a new file, unless it is there."""
        content, copy = program.read_bytes(), self._own / bundle.AGENT
        if not copy.exists() or copy.read_bytes() != content:
            unfinished = self._own / f"{bundle.AGENT}.partial"
            unfinished.unlink(missing_ok=True)
            unfinished.write_bytes(content)
            unfinished.chmod(_AGENT_MODE)
            unfinished.rename(copy)

    async def adopt(self) -> Adoption:
        """Find the sandboxes that outlived their orchestrator; remove what else is left."""
        if os.geteuid() != 0 or self._hierarchy is None:
            return Adoption(complete=not self._kept)
        known = self._sandboxes.keys() | self._starting
        directories = [path for path in sorted(self._bundles.iterdir()) if path.name not in known]
        try:
            runsc = await asyncio.to_thread(self._find) if directories else None
        except Missing:
            # Without the program nothing is known of them: it may come back.
            return Adoption(complete=not self._kept)
        room = asyncio.Semaphore(_ADOPTED_AT_ONCE)
        hierarchy = self._hierarchy

        async def adopt(directory: Path) -> bool:
            assert runsc is not None
            async with room:
                with suppress(SandboxError, OSError):
                    await self._adopt_one(runsc, hierarchy, directory)
                    return True
            return directory.name not in self._kept

        complete = all(await asyncio.gather(*map(adopt, directories)))
        if complete:
            self._kept.clear()
            roots = [self._host_root, *(one.root for one in self._sandboxes.values())]
            self._remove_unused_roots({str(root.lower) for root in roots if root is not None})
        found = [path.name for path in directories if path.name in self._sandboxes]
        return Adoption({one: _state_of(self._sandboxes[one].container) for one in found}, complete)

    async def _adopt_one(self, runsc: Runsc, hierarchy: cgroups.Hierarchy, directory: Path) -> None:
        group, kept = hierarchy.find(directory.name), self._kept.get(directory.name)
        details = kept.created.details if kept is not None else dict.fromkeys(_DETAILS, "")
        digest, chain, lower = (details[name] for name in _DETAILS)
        volumes = kept.request.volumes if kept is not None else ()
        owner = kept is not None and kept.created.image == HOST
        container = self._container(runsc, directory, group, lower, volumes, of_host=owner)
        lease = self._images.hold(chain) if chain else None
        has_image = not chain or lease is not None
        image = kept.created.image if kept is not None else ""
        root = RootFilesystem(image, Path(lower), digest=digest, chain=chain, lease=lease)
        try:
            if kept is not None and has_image and await container.attach(halted=kept.halted):
                self._sandboxes[kept.id] = _Sandbox(container, root)
            else:
                await container.destroy()
        finally:
            if directory.name not in self._sandboxes:
                root.release()

    def _remove_unused_roots(self, used: set[str]) -> None:
        for root in self._roots.iterdir():
            if str(root) not in used:
                with suppress(OSError):
                    remove_tree(root)

    async def close(self, *, end_sandboxes: bool = True) -> None:
        """Release everything; without `end_sandboxes` sandboxes go on."""
        for sandbox_id, sandbox in list(self._sandboxes.items()):
            if not end_sandboxes:
                sandbox.container.let_go()
                sandbox.root.release()
                continue
            with suppress(SandboxError):
                await self.stop(sandbox_id)
        if self._hierarchy is not None:
            self._hierarchy.close(keep=not end_sandboxes)

    # Start

    async def create(
        self, sandbox_id: str, request: StartRequest, snapshot: Manifest | None = None
    ) -> Created:
        """Create a sandbox and return once its agent runs; leave nothing behind if that fails."""
        try:
            runsc = await asyncio.to_thread(self._find)
        except Missing as missing:
            raise RuntimeUnavailableError(f"{missing.detail}; {missing.remedy}") from None
        if self._hierarchy is None:
            raise RuntimeUnavailableError("gVisor's limits cannot be enforced: this host gives no cgroup")
        if Limits.of(request).memory_bytes < _LEAST_MEMORY_MB * MIB:
            raise InvalidArgumentError(
                f"memory_mb must be at least {_LEAST_MEMORY_MB}: gVisor's own kernel counts, too; "
                f"not {request.memory_mb}"
            )
        async with self._snapshots.files.verified(snapshot) if snapshot else nullcontext():
            if snapshot:
                _require_restorable(runsc, request, snapshot)
            root = await self._root(snapshot.image_for(request.image) if snapshot else request.image)
            group = self._hierarchy.find(sandbox_id)
            container = self._container(
                runsc,
                self._bundles / sandbox_id,
                group,
                str(root.lower),
                request.volumes,
                of_host=root.image == HOST,
            )
            self._starting.add(sandbox_id)
            launch = partial(self._launch, self._hierarchy, container, request, root, snapshot)
            try:
                try:
                    await launch()
                except RunscCrashedError:
                    await container.destroy()
                    await launch()
            except BaseException as error:
                await asyncio.shield(container.destroy())
                root.release()
                if isinstance(error, RunscError):
                    raise InternalServerError(f"gVisor did not start the sandbox: {error}") from error
                raise
            else:
                self._sandboxes[sandbox_id] = _Sandbox(container, root)
            finally:
                self._starting.discard(sandbox_id)
        defaults = Defaults(environment(sandbox_id, root.config, request.env), root.working_dir, request.user)
        # Of a sandbox that was started from a snapshot, the main process may have ended before.
        command = () if snapshot else main_command(request, root.config)
        values = (root.digest, root.chain, str(root.lower))
        return Created(root.image, defaults, command, details=dict(zip(_DETAILS, values, strict=True)))

    async def _launch(
        self,
        hierarchy: cgroups.Hierarchy,
        container: Container,
        request: StartRequest,
        root: RootFilesystem,
        snapshot: Manifest | None,
    ) -> None:
        if snapshot and root.digest != snapshot.image_digest:
            raise refused(f"image {root.image!r} is another one than when the snapshot was made")
        container.directory.mkdir(mode=0o700)
        agent = container.directory / bundle.AGENT
        try:
            if snapshot:
                # The checkpoint has it in memory, so that it must be the same program.
                shutil.copyfile(snapshot.file(bundle.AGENT), agent)
                agent.chmod(_AGENT_MODE)
            else:
                os.link(self._own / bundle.AGENT, agent)
        except FileNotFoundError:
            raise _without_agent(snapshot) from None
        bundle.write_bundle(container.directory, request, container.id, root, self._own / "supplied")
        limits = replace(Limits.of(request), pids=_PIDS)
        try:
            hierarchy.create(container.id, limits)
        except (OSError, cgroups.CgroupError) as error:
            raise InternalServerError(f"cannot make the sandbox's cgroup: {error}") from error
        if snapshot:
            await container.restore(snapshot.path)
        else:
            await container.start()

    def _container(
        self,
        runsc: Runsc,
        directory: Path,
        group: cgroups.CgroupV1 | cgroups.CgroupV2,
        lower: str,
        volumes: Sequence[str],
        *,
        of_host: bool,
    ) -> Container:
        opened = partial(self._volumes.opened, volumes)
        return Container(runsc, directory, group, lower, opened, USER if of_host else 0)

    async def _root(self, image: str) -> RootFilesystem:
        """Return what to start from; of the host a copy that stays as long as sandboxes do."""
        root = await self._images.resolve(image)
        if root.image != HOST:
            return root
        if self._host_root is None:
            lower = self._roots / secrets.token_hex(8)
            try:
                shutil.copytree(root.lower, lower, symlinks=True)
            except OSError as error:
                remove_tree(lower)
                raise UnavailableError(f"the host's image cannot be copied: {error}") from error
            give_away(lower)
            self._host_root = replace(root, lower=lower)
        return self._host_root

    async def image_identity(self, image: str) -> str:
        """Return what the name of an image means now."""
        root = await self._images.resolve(image)
        root.release()
        return root.identity

    # Use

    async def stream(self, sandbox_id: str) -> AgentStream:
        """Return a stream to the agent of the sandbox."""
        return await self._sandbox(sandbox_id).container.stream()

    async def wait(self, sandbox_id: str) -> None:
        """Wait until gVisor's kernel has ended."""
        await self._sandbox(sandbox_id).container.wait()

    async def usage(self, sandbox_id: str, *, sampled: bool = False) -> Usage:
        """Read what the sandbox uses now, gVisor's own kernel included; it has no network to count."""
        container = self._sandbox(sandbox_id).container
        pids = container.last_pids if sampled else await container.processes()
        try:
            return replace(container.usage(), pids=pids)
        except OSError as error:
            raise InternalServerError(f"cannot read the sandbox's figures: {error}") from error

    async def pause(self, sandbox_id: str) -> None:
        """Stop every process of the sandbox."""
        with _reported():
            await self._sandbox(sandbox_id).container.pause()

    async def resume(self, sandbox_id: str) -> None:
        """Let every process of the sandbox run on; one that was snapshot comes back from its checkpoint."""
        with _reported():
            await self._sandbox(sandbox_id).container.resume()

    async def suspend(self, sandbox_id: str) -> None:
        """Write the paused sandbox to the disk; it takes no memory until it is resumed."""
        with _reported():
            await self._sandbox(sandbox_id).container.save()

    async def snapshot(self, sandbox_id: str, start: StartRequest, *, for_forks: bool = False) -> Manifest:
        """Write the paused sandbox, its memory and its files, to the store. It takes no memory afterwards."""
        container, root = self._sandbox(sandbox_id).container, self._sandbox(sandbox_id).root
        with _reported():
            saved = await container.save()

        def fill(directory: Path) -> None:
            for file in saved.iterdir():
                # Written once and never again: the sandbox and the snapshot can share it.
                os.link(file, directory / file.name)
            # Not shared: what is in a snapshot is for its owner alone.
            shutil.copyfile(container.directory / bundle.AGENT, directory / bundle.AGENT)

        files = self._snapshots.files
        make = partial(files.make, fill, self.name, root.image, root.digest, start=start)
        return await files.made_by(partial(make, details={"runsc": container.runsc.version}))

    async def forget_snapshot(self, snapshot: Manifest) -> None:
        """Do nothing: all of a snapshot is in the store."""

    def exporting(self, snapshot: Manifest) -> AbstractAsyncContextManager[Manifest]:
        """Give a snapshot with all that another orchestrator needs in files: all is in the store."""
        return nullcontext(snapshot)

    async def import_snapshot(self, snapshot: Manifest) -> Manifest:
        """Take over what `exporting` gave another orchestrator; runsc reads it when a sandbox starts."""
        if snapshot.details.keys() != {"runsc"} or bundle.AGENT not in snapshot.files:
            raise refused("the file is of no gvisor snapshot")
        return snapshot

    async def oom_kills(self, sandbox_id: str) -> int:
        """Tell how often the kernel has ended a process of gVisor's, which ends the sandbox."""
        return self._sandbox(sandbox_id).container.group.oom_kills()

    # The end

    async def halt(self, sandbox_id: str) -> None:
        """End every process of the sandbox, and keep its directory; its files were in its memory."""
        await self._sandbox(sandbox_id).container.halt()

    async def stop(self, sandbox_id: str) -> None:
        """End every process of the sandbox and remove all that it held, in whatever state it is."""
        sandbox = self._sandbox(sandbox_id)
        await sandbox.container.destroy()
        sandbox.root.release()
        self._sandboxes.pop(sandbox_id, None)

    def _sandbox(self, sandbox_id: str) -> _Sandbox:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None:
            raise SandboxNotFoundError(f"no sandbox {sandbox_id!r}")
        return sandbox


def _require_restorable(runsc: Runsc, request: StartRequest, snapshot: Manifest) -> None:
    if request.command or request.image_command:
        raise InvalidArgumentError(
            "a gvisor snapshot goes on with the processes that it holds: it takes no command"
        )
    made_by = snapshot.details.get("runsc", "")
    if made_by != runsc.version:
        raise refused(f"the snapshot was made by {made_by}, and this host has {runsc.version}")


def _state_of(container: Container) -> Literal["running", "paused", "stopped"]:
    if container.phase == "halted":
        return "stopped"
    return "running" if container.phase == "running" else "paused"


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except RunscError as error:
        raise InternalServerError(str(error)) from error


def _without_agent(snapshot: Manifest | None) -> SandboxError:
    if snapshot:
        return refused("the snapshot was made by an older version, without a guest agent; make it anew")
    return RuntimeUnavailableError("gVisor sandboxes need the guest agent: install the package again")
