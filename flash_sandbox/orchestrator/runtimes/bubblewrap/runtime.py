"""The bubblewrap runtime: real sandboxes with no daemon and, if need be, no root.

bwrap makes the namespaces, and their PID 1 is the guest agent; the launcher starts bwrap; cgroups limit,
count and freeze. Started by root, a sandbox has user IDs of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from ....errors import (
    InternalServerError,
    InvalidArgumentError,
    RuntimeUnavailableError,
    SandboxError,
    SandboxNotFoundError,
    UnsupportedError,
    WrongStateError,
)
from ....models import DEFAULT_SHM_MB, StartRequest
from ...archives.layers import mountable_over
from ...cancellation import completed
from ...guest.greeting import Greeting
from ...guest.guest import Defaults
from ...guest.streams import AgentStream
from ...images.main_command import main_command
from ...images.rootfs import HOST, Images, RootFilesystem
from ...linux import cgroup_files, cgroups, privileges, seccomp
from ...linux.limits import MIB, Group, Limits, Usage
from ...linux.memory_watch import MemoryWatch
from ...linux.network import interface_bytes
from ...linux.process_tree import ProcessTree
from ...linux.user_ids import UserIds
from ...linux.users import UserPool, missing_capabilities, user_pool
from ...snapshots.manifest import MOST_LAYERS, Manifest, layer_name, refused
from ...snapshots.store import Snapshots
from ...state.trash import Trash
from ...volumes.roots import NO_VOLUMES, OpenVolume, VolumeRoots
from ..base import Adoption, Availability, Created, Kept, unwritten
from ..capabilities import LIMIT_OPTIONS, Capabilities
from . import bwrap
from .disk import Disks
from .host import check_host
from .launcher_client import LauncherClient
from .lower_layers import LowerLayers
from .mount_points import require_mount_points
from .running import RunningSandbox
from .sandbox_launch import Mounts, launch_steps

__all__ = ["BubblewrapRuntime"]

# With less, bwrap itself would be too much, which counts where there is no cgroup.
_LEAST_MEMORY_MB: Final = 16
# A process may take a moment to come to rest that it is to be at.
_SNAPSHOT_TRIES: Final = 3
# Of what is said about a failure.
_MOST_ERROR_BYTES: Final = 4096


class BubblewrapRuntime:
    """Runs sandboxes with bubblewrap.

    Args:
        state_dir: Directory of the orchestrator's own, on a file system that overlayfs can write to.
        limits: ``enforce`` needs a cgroup; ``best-effort`` does with resource limits where there is none.
        image_roots: Directories below which images may be named, besides ``state_dir/rootfs``.
        images: Where root file systems come from, shared with other runtimes; None for one of its own.
        snapshots: Where snapshots are, shared with other runtimes; None for one of its own.
        user_ids: Which IDs sandboxes have, known to `images`, too; None to find out. It is closed with this.
        volumes: Which directories of this host sandboxes may have.
        event: Writes a line of the log: a name, and fields by name; None for no log.
    """

    name = "bubblewrap"
    default_image = HOST
    capabilities = Capabilities(
        options=LIMIT_OPTIONS | {"volumes", "disk_mb"},
        networks=("none", "policy"),
        users="any",
        snapshot="files",
        own_kernel=False,
        memory_ends="a process",
        outlives=False,
        counts_oom_kills=True,
    )

    def __init__(
        self,
        state_dir: Path,
        *,
        limits: Literal["enforce", "best-effort"] = "enforce",
        image_roots: Sequence[Path] = (),
        images: Images | None = None,
        snapshots: Snapshots | None = None,
        user_ids: UserIds | None = None,
        volumes: VolumeRoots = NO_VOLUMES,
        event: Callable[..., None] | None = None,
    ) -> None:
        self._layers = state_dir / "sandboxes"
        self._user_ids = user_ids or UserIds()
        self._trash = Trash(state_dir / "trash", event)
        self._event = event or unwritten
        self._rootfs = state_dir / "rootfs"
        roots = (self._rootfs, *image_roots)
        self._images = images or Images(state_dir / "images", roots, user_ids=self._user_ids)
        self._snapshots = snapshots or Snapshots(state_dir / "snapshots")
        self._lower = LowerLayers(self._layers, self._images, self._snapshots, self._user_ids, self._trash)
        self._program = bwrap.Bubblewrap(state_dir / "tools")
        self._filter = state_dir / "seccomp.bpf"
        self._volumes = volumes
        self._limits = limits
        self._hierarchy: cgroups.Hierarchy | None = None
        self._memory = MemoryWatch()
        self._users: UserPool | None = None
        self._disks: Disks | None = None
        self._lacking = missing_capabilities()
        self._launcher = LauncherClient(self._program)
        self._sandboxes: dict[str, RunningSandbox] = {}

    # What this host can do

    async def check(self) -> Availability:
        """Tell whether this host can run such sandboxes, and what to do where it cannot."""
        return await asyncio.to_thread(check_host, self.name)

    async def open(self, kept: Sequence[Kept] = ()) -> None:
        """Make ready: remove what an orchestrator that was killed left behind. None is kept.

        Raises:
            RuntimeUnavailableError: If limits are to be enforced and this host gives no cgroup.
        """
        self._find_hierarchy()
        await asyncio.to_thread(self._prepare)
        await self._launcher.open()

    async def adopt(self) -> Adoption:
        """Find none: these sandboxes end with their orchestrator."""
        return Adoption()

    def _find_hierarchy(self) -> None:
        try:
            self._hierarchy = cgroups.find_hierarchy()
        except cgroups.CgroupError as error:
            if self._limits == "enforce":
                raise RuntimeUnavailableError(
                    f"limits cannot be enforced: {error}; run as root, or in a delegated cgroup "
                    "(systemd-run --user --scope -p Delegate=yes), or give --limits best-effort"
                ) from error

    def _prepare(self) -> None:
        self._user_ids.open()
        if self._user_ids.of_images is None:
            self.capabilities = replace(self.capabilities, users="root", missing_users=self._user_ids.missing)
        self._users = user_pool()
        self._disks = Disks(self._layers, in_memory=self._users is None)
        if self._hierarchy is not None:
            self._hierarchy.remove_leftovers()
        for directory in (self._layers, self._rootfs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._trash.open(self._user_ids.work)
        for leftover in self._layers.iterdir():
            self._trash.throw_away(leftover)
        self._images.open()
        self._filter.write_bytes(seccomp.build_filter(one_user=self._user_ids.of_images is None))
        try:
            _ = self._program.path
        except bwrap.BubblewrapMissing as error:
            raise RuntimeUnavailableError(str(error)) from error

    async def close(self, *, end_sandboxes: bool = True) -> None:
        """End what is still there and release everything."""
        for sandbox_id in list(self._sandboxes):
            with suppress(SandboxError):
                await self.stop(sandbox_id)
        await self._images.close()
        await self._launcher.close()
        await self._memory.close()
        if self._users is not None:
            self._users.close()
        if self._hierarchy is not None:
            self._hierarchy.close()
        await asyncio.to_thread(self._remove_files)

    def _remove_files(self) -> None:
        """Remove all but images and snapshots."""
        if self._disks is not None:
            self._disks.close()
        self._trash.close()
        self._user_ids.close()
        with suppress(OSError):
            self._layers.rmdir()
        self._program.remove()
        self._filter.unlink(missing_ok=True)

    # Start

    async def create(
        self, sandbox_id: str, request: StartRequest, snapshot: Manifest | None = None
    ) -> Created:
        """Create a sandbox and return once its agent runs; leave nothing behind if that fails."""
        sandbox = await self._make(sandbox_id, request, snapshot)
        root = sandbox.root
        environment = bwrap.environment(sandbox.id, root.config, sandbox.env)
        defaults = Defaults(environment, root.working_dir, request.user)
        return Created(root.image, defaults, main_command(request, root.config))

    async def _make(
        self, sandbox_id: str, request: StartRequest, snapshot: Manifest | None
    ) -> RunningSandbox:
        if self._lacking:
            raise RuntimeUnavailableError(
                f"root lacks {', '.join(self._lacking)}; `flash-sandbox doctor` tells more"
            )
        image = snapshot.image_for(request.image) if snapshot else request.image
        root = await self._images.resolve(image)
        try:
            sandbox = self._admit(sandbox_id, request, root)
        except BaseException:
            root.release()
            raise
        try:
            await self._make_layer(sandbox, request)
            if snapshot:
                await self._lower.add_all(snapshot, sandbox.below)
            await self._leave_out_supplied(sandbox)
            with self._volumes.opened(request.volumes) as volumes:
                await self._launch(sandbox, request, volumes)
            await self._confine(sandbox)
        except BaseException:
            await asyncio.shield(self._discard(sandbox))
            raise
        return sandbox

    async def _leave_out_supplied(self, sandbox: RunningSandbox) -> None:
        """Have no file mounted over a layer below the writable one where that has no place for it."""
        run, points = self._user_ids.work.run, bwrap.MOUNT_POINTS
        for layer in sandbox.below:
            over = partial(run, mountable_over, layer.tree, points, sandbox.root.supplied)
            sandbox.root = replace(sandbox.root, supplied=await asyncio.to_thread(over))

    def _admit(self, sandbox_id: str, request: StartRequest, root: RootFilesystem) -> RunningSandbox:
        ids = self._users.take() if self._users else self._user_ids.of_images
        try:
            group = self._make_group(sandbox_id, request)
        except BaseException:
            if self._users and ids is not None:
                self._users.give_back(ids)
            raise
        sandbox = RunningSandbox(sandbox_id, root, self._layers / sandbox_id, group, ids, request.env)
        self._sandboxes[sandbox_id] = sandbox
        return sandbox

    def _make_group(self, sandbox_id: str, request: StartRequest) -> Group:
        limits = Limits.of(request)
        if self._hierarchy is None:
            if limits.memory_bytes < _LEAST_MEMORY_MB * MIB:
                raise InvalidArgumentError(
                    f"memory_mb must be at least {_LEAST_MEMORY_MB} where there is no cgroup: "
                    f"bwrap's own counts, too; not {request.memory_mb}"
                )
            return ProcessTree(limits, self._memory, has_own_user=self._users is not None)
        try:
            return self._hierarchy.create(sandbox_id, limits)
        except (OSError, cgroups.CgroupError) as error:
            raise InternalServerError(f"cannot make the sandbox's cgroup: {error}") from error

    async def _make_layer(self, sandbox: RunningSandbox, request: StartRequest) -> None:
        sandbox.layer.mkdir()
        # Its root looks into it; the directory above keeps everybody else out.
        sandbox.layer.chmod(0o755)
        if request.disk_mb:
            assert self._disks is not None
            sandbox.disk = await self._disks.make(request.disk_mb, Limits.of(request).memory_bytes)
            return
        for name in ("upper", "work"):
            directory = sandbox.layer / name
            directory.mkdir(mode=0o755)
            if self._users and sandbox.ids is not None:
                os.chown(directory, sandbox.ids.base, sandbox.ids.base)

    async def _launch(
        self, sandbox: RunningSandbox, request: StartRequest, volumes: Sequence[OpenVolume]
    ) -> None:
        """Start the processes of a sandbox: bwrap, and the guest agent as its PID 1."""
        if volumes:
            trees = [sandbox.root.lower, *(each.tree for each in sandbox.below)]
            targets = [volume.target for volume in volumes]
            run = self._user_ids.work.run
            await asyncio.to_thread(run, require_mount_points, trees, sandbox.root.read_only, targets)
        sandbox.stream, theirs = socket.socketpair()
        sandbox.errors, errors = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(sandbox.errors, False)
        info, info_write = os.pipe2(os.O_CLOEXEC)
        with os.fdopen(info, "rb") as told:
            with theirs, _closing(errors, info_write), ExitStack() as opened:
                descriptors = {
                    1: errors,
                    2: errors,
                    bwrap.STREAM_FD: theirs.fileno(),
                    bwrap.FILTER_FD: opened.enter_context(_opened(self._filter, os.O_RDONLY)),
                    bwrap.AGENT_FD: opened.enter_context(_opened(self._program.agent, os.O_PATH)),
                    bwrap.INFO_FD: info_write,
                }
                for number, volume in enumerate(volumes, bwrap.VOLUME_FD):
                    descriptors[number] = volume.descriptor
                if sandbox.disk is not None:
                    descriptors |= sandbox.disk.descriptors
                if self._user_ids.namespace is not None:
                    descriptors[bwrap.NAMESPACE_FD] = self._user_ids.namespace
                starting = asyncio.ensure_future(
                    self._launcher.start(
                        self._steps(sandbox, request.shm_mb, volumes),
                        descriptors,
                        held=self._users.new_locks() if self._users else (),
                        remains={"thaw": sandbox.group.thaw_writes, "cgroups": sandbox.group.directories},
                    )
                )
                sandbox.process = await completed(starting)
            with _failures_explained(sandbox):
                sandbox.greeting = await Greeting.over(sandbox.stream)
            if sandbox.disk is not None:
                sandbox.disk.take_hold(sandbox.process.pid)
            # By now the agent runs, and bwrap has told where.
            sandbox.init = json.load(told)["child-pid"]
            sandbox.handle = _handle_of(sandbox.init, sandbox.process.pid)
            if isinstance(sandbox.group, ProcessTree):
                sandbox.group.attach(sandbox.init)

    async def _confine(self, sandbox: RunningSandbox) -> None:
        """Confine a sandbox that runs, and leave its agent to whoever asks for the stream."""
        assert sandbox.greeting is not None
        with _failures_explained(sandbox):
            await sandbox.greeting.confine(sandbox.id)
        privileges.require_given_up(sandbox.init)
        sandbox.greeting.close()

    def _steps(self, sandbox: RunningSandbox, shm_mb: int, volumes: Sequence[OpenVolume]) -> list[str]:
        path, layer = self._program.path, str(sandbox.layer)
        lowers = [str(sandbox.root.lower), *(str(layer.tree) for layer in sandbox.below)]
        tools = path.parents[2]
        program, supplied, mounts = str(path), str(tools / bwrap.SUPPLIED), None
        places: dict[str, tuple[str, bool]] = {}
        if self._users or sandbox.root.is_shared or volumes or sandbox.disk:
            base = bwrap.mount_base([layer, *lowers, str(tools), *(volume.path for volume in volumes)])
            maps, shared = self._users is not None, sandbox.root.is_shared
            base_id = sandbox.ids.base if sandbox.ids is not None and maps else None
            binds, disk = {"layer": layer, "tools": str(tools)}, []
            if sandbox.disk is not None:
                disk = sandbox.disk.step(f"{base}/layer", base_id)
                del binds["layer"]
            owners = ["" if base_id is None else volume.owners(base_id) for volume in volumes]
            mounts = Mounts(base, binds, lowers, maps, shared, owners, disk)
            places = {
                volume.target: (mounts.volume(number), volume.read_only)
                for number, volume in enumerate(volumes)
            }
            program = f"{base}/tools/{path.relative_to(tools)}"
            lowers, layer, supplied = mounts.lowers, f"{base}/layer", f"{base}/tools/{bwrap.SUPPLIED}"
        tree = sandbox.group if isinstance(sandbox.group, ProcessTree) else None
        return launch_steps(
            bwrap.arguments(
                program,
                sandbox.root,
                lowers,
                layer,
                supplied,
                has_ids=sandbox.ids is not None,
                shm_bytes=(shm_mb or DEFAULT_SHM_MB) * MIB,
                cgroups=sandbox.group.shown,
                volumes=places,
            ),
            ids=sandbox.ids,
            enters=self._user_ids.namespace is not None,
            mounts=mounts,
            join_files=sandbox.group.join_files,
            rlimits=tree.rlimits if tree else {},
            cpus=tree.cpus if tree else (),
        )

    async def image_identity(self, image: str) -> str:
        """Return what the name of an image means now."""
        root = await self._images.resolve(image)
        root.release()
        return root.identity

    # Use

    async def stream(self, sandbox_id: str) -> AgentStream:
        """Return the stream to the agent of the sandbox, which ends with it."""
        stream = self._sandbox(sandbox_id).stream
        if stream is None or stream.fileno() < 0:
            raise WrongStateError(f"the stream to the agent of sandbox {sandbox_id} is in use")
        descriptor = stream.detach()
        return AgentStream(descriptor, descriptor)

    async def wait(self, sandbox_id: str) -> None:
        """Wait until bwrap has ended, and with it everything in the sandbox."""
        process = self._sandbox(sandbox_id).process
        assert process is not None
        await asyncio.wait({process.exited})

    async def usage(self, sandbox_id: str, *, sampled: bool = False) -> Usage:
        """Read what the sandbox uses now from the kernel."""
        sandbox = self._sandbox(sandbox_id)
        try:
            received, sent = interface_bytes(sandbox.init)
            used, limit = sandbox.disk.usage() if sandbox.disk is not None else (0, 0)
            return replace(
                sandbox.group.usage(),
                net_rx_bytes=received,
                net_tx_bytes=sent,
                disk_used_bytes=used,
                disk_limit_bytes=limit,
            )
        except OSError as error:
            sandbox.require_alive()
            raise InternalServerError(f"cannot read the sandbox's figures: {error}") from error

    async def pause(self, sandbox_id: str) -> None:
        """Freeze every process of the sandbox."""
        await self._sandbox(sandbox_id).group.freeze()

    async def resume(self, sandbox_id: str) -> None:
        """Let every process of the sandbox run on."""
        await self._sandbox(sandbox_id).group.thaw()

    async def suspend(self, sandbox_id: str) -> None:
        """Never called: what a sandbox has in memory cannot be written to the disk."""
        raise UnsupportedError(f"the {self.name} runtime suspends nothing")

    async def snapshot(self, sandbox_id: str, start: StartRequest, *, for_forks: bool = False) -> Manifest:
        """Write what the paused sandbox holds to the store, and what its start asked for.

        Raises:
            WrongStateError: If its processes run meanwhile, as without a cgroup they can have themselves do,
                or if it holds what no snapshot can.
        """
        sandbox = self._sandbox(sandbox_id)
        if for_forks and len(sandbox.below) < MOST_LAYERS:
            save = partial(self._save_for_forks, sandbox, start)
        else:
            save = partial(self._snapshots.files.made_by, partial(self._write, sandbox, start))
        if not isinstance(sandbox.group, ProcessTree):
            return await save()
        for _ in range(_SNAPSHOT_TRIES):
            await sandbox.group.freeze()
            before = sandbox.group.runs()
            made = await save()
            if sandbox.group.runs() == before:
                return made
            await self.forget_snapshot(made)
            await asyncio.to_thread(self._snapshots.files.remove, made)
        raise WrongStateError(
            "the sandbox's processes ran while it was saved, and here is no cgroup to hold them"
        )

    async def _save_for_forks(self, sandbox: RunningSandbox, start: StartRequest) -> Manifest:
        made = self._snapshots.files.described(self.name, sandbox.root.image, start=start)
        await self._lower.add_base(made.id, self._upper(sandbox), sandbox.ids, sandbox.below)
        return made

    def _upper(self, sandbox: RunningSandbox) -> Path:
        """Return where the writable layer of a sandbox can be read by what works on its files."""
        if sandbox.disk is None:
            return sandbox.layer / "upper"
        return sandbox.disk.upper(here=self._user_ids.namespace is None)

    def _write(self, sandbox: RunningSandbox, start: StartRequest) -> Manifest:
        return self._snapshots.files.write(
            self._upper(sandbox),
            self.name,
            sandbox.root.image,
            start=start,
            below=[self._lower.as_file(layer) for layer in sandbox.below],
            owners=sandbox.ids,
            work=self._user_ids.work,
        )

    async def forget_snapshot(self, snapshot: Manifest) -> None:
        """Remove its unpacked layers, but those that belong to another snapshot or to a sandbox."""
        await self._lower.forget(snapshot)

    def exporting(self, snapshot: Manifest) -> AbstractAsyncContextManager[Manifest]:
        """Give a snapshot with all that another orchestrator needs in files: all is in the store."""
        return nullcontext(snapshot)

    async def import_snapshot(self, snapshot: Manifest) -> Manifest:
        """Take over what `exporting` gave another orchestrator: unpack its layers, for starts from it."""
        names = {layer_name(number) for number in range(len(snapshot.files))}
        if snapshot.details or names != snapshot.files.keys() or len(names) > MOST_LAYERS:
            raise refused("the file is of no bubblewrap snapshot")
        try:
            await self._lower.unpack(snapshot)
        except InvalidArgumentError as error:
            raise refused(f"the file holds what cannot be unpacked: {error.detail}") from error
        return snapshot

    async def oom_kills(self, sandbox_id: str) -> int:
        """Tell how often the kernel has ended a process of the sandbox; 0 where there is no cgroup."""
        return self._sandbox(sandbox_id).group.oom_kills()

    # The end

    async def halt(self, sandbox_id: str) -> None:
        """End every process of the sandbox, and keep its writable layer and what it has printed."""
        sandbox = self._sandbox(sandbox_id)
        await self._end_processes(sandbox)
        await sandbox.group.remove()
        if sandbox.disk is not None:
            sandbox.disk.show_in(sandbox.layer)

    async def stop(self, sandbox_id: str) -> None:
        """End every process of the sandbox and remove all that it held, in whatever state it is."""
        await self._discard(self._sandbox(sandbox_id))

    async def _end_processes(self, sandbox: RunningSandbox) -> None:
        process = sandbox.process
        if process is None:
            return
        # PID 1 takes every process of the sandbox with it, and bwrap ends with PID 1.
        with suppress(ProcessLookupError):
            if sandbox.handle >= 0:
                signal.pidfd_send_signal(sandbox.handle, signal.SIGKILL)
            elif not process.exited.done():
                os.kill(process.pid, signal.SIGKILL)
        # What is frozen does not end.
        for path, text in sandbox.group.thaw_writes:
            with suppress(OSError):
                cgroup_files.write(Path(path), text)
        await asyncio.shield(process.exited)

    async def _discard(self, sandbox: RunningSandbox) -> None:
        await self._end_processes(sandbox)
        await sandbox.group.remove()
        if sandbox.greeting is not None:
            sandbox.greeting.close()
        if sandbox.stream is not None:
            sandbox.stream.close()
        for descriptor in (sandbox.errors, sandbox.handle):
            if descriptor >= 0:
                os.close(descriptor)
        sandbox.errors = sandbox.handle = -1
        if sandbox.process is not None:
            self._launcher.forget(sandbox.process)
        if sandbox.disk is not None and self._disks is not None:
            self._disks.give_up(sandbox.disk)
        # However much it is: nothing waits for it, and nobody but the orchestrator gets to it any more.
        self._trash.throw_away(sandbox.layer)
        # No process with these IDs lives, and what it leaves lies where no other sandbox can look.
        if self._users and sandbox.ids is not None:
            self._users.give_back(sandbox.ids)
        sandbox.root.release()
        self._sandboxes.pop(sandbox.id, None)
        await self._lower.release(sandbox.below)

    def _sandbox(self, sandbox_id: str) -> RunningSandbox:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None:
            raise SandboxNotFoundError(f"no sandbox {sandbox_id!r}")
        return sandbox


def _handle_of(init: int, bwrap_pid: int) -> int:
    """Open PID 1, or return -1 where it has ended already.

    What is opened is PID 1, and no later process of its number, if it still is a child of bwrap then.
    """
    try:
        handle = os.pidfd_open(init)
    except ProcessLookupError:
        return -1
    with suppress(OSError):
        children = cgroup_files.read(Path(f"/proc/{bwrap_pid}/task/{bwrap_pid}/children")).split()
        if str(init) in children:
            return handle
    os.close(handle)
    return -1


@contextmanager
def _failures_explained(sandbox: RunningSandbox) -> Iterator[None]:
    """Say what bwrap has said, if its agent could not be reached because of that."""
    try:
        yield
    except InternalServerError as error:
        said = b""
        with suppress(BlockingIOError):
            said = os.read(sandbox.errors, _MOST_ERROR_BYTES)
        if not said:
            raise
        text = said.decode(errors="replace").strip()
        raise InternalServerError(f"the sandbox was not started: {text}") from error


@contextmanager
def _opened(path: str | Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    with _closing(descriptor):
        yield descriptor


@contextmanager
def _closing(*descriptors: int) -> Iterator[None]:
    try:
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
